"""Tests of `sipd.guards.bans`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.guards.bans import Bans, BanSettings

SETTINGS = BanSettings(duration=100.0, factor=3.0, maximum=1000.0, max_sources=3)


class BanTests(SynchronousTestCase):
    """Who is banned, and for how long."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.bans = Bans(self.clock.seconds, SETTINGS, lambda host: host.startswith("10."))
        self.told: list[str] = []
        self.bans.changed = self.told.append

    def test_expires(self) -> None:
        """A ban ends by itself."""
        ban = self.bans.ban("192.0.2.1", "many reasons")
        assert ban is not None
        self.assertEqual((ban.until, ban.times, ban.reason), (100.0, 1, "many reasons"))
        self.assertEqual([one.source for one in self.bans], ["192.0.2.1"])
        self.clock.advance(99.9)
        self.assertIs(self.bans.find("192.0.2.1"), ban)
        self.assertIsNone(self.bans.find("192.0.2.2"))
        self.clock.advance(0.1)
        self.assertIsNone(self.bans.find("192.0.2.1"))
        self.assertEqual((len(self.bans), self.bans.made, self.told), (0, 1, ["192.0.2.1"]))

    def test_the_next_is_longer(self) -> None:
        """Each ban of the same source is longer than the last one, up to the maximum."""
        durations = []
        for _ in range(4):
            ban = self.bans.ban("192.0.2.1", "again")
            assert ban is not None
            durations.append(ban.duration)
            self.clock.advance(ban.duration + 1)
        self.assertEqual(durations, [100.0, 300.0, 900.0, 1000.0])

    def test_good_again(self) -> None:
        """A source that was good for the maximum after its last ban is as good as new."""
        self.bans.ban("192.0.2.1", "once")
        self.clock.advance(100.0 + 1000.0)
        ban = self.bans.ban("192.0.2.1", "much later")
        assert ban is not None
        self.assertEqual((ban.times, ban.duration), (1, 100.0))

    def test_while_it_lasts(self) -> None:
        """Who is banned is not banned again, and for no longer."""
        self.assertIsNotNone(self.bans.ban("192.0.2.1", "once"))
        self.assertIsNone(self.bans.ban("192.0.2.1", "twice"))
        self.assertEqual((self.bans.made, self.told), (1, ["192.0.2.1"]))

    def test_the_trusted_are_never_banned(self) -> None:
        """Whoever is spared is not banned."""
        self.assertIsNone(self.bans.ban("10.0.0.1", "a misled scanner"))
        self.assertEqual(len(self.bans), 0)

    def test_bound(self) -> None:
        """At the bound the ban that was made first is forgotten."""
        for number in range(4):
            self.bans.ban(f"192.0.2.{number}", "many")
        self.assertEqual([one.source for one in self.bans], ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
        self.assertEqual(self.told, ["192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.0", "192.0.2.3"])

    def test_lift(self) -> None:
        """A ban can be lifted, by address or as it is listed; what is not banned says so."""
        self.bans.ban("2001:db8::7", "an address of a /64")
        self.assertIsNotNone(self.bans.find("2001:db8::8"))
        (ban,) = self.bans
        self.assertEqual(ban.source, "2001:db8::/64")
        self.assertTrue(self.bans.lift("2001:db8::/64"))
        self.bans.ban("2001:db8::7", "again")
        self.assertTrue(self.bans.lift("2001:db8::9"))
        self.assertFalse(self.bans.lift("2001:db8::9"))
        self.bans.ban("192.0.2.1", "short")
        self.clock.advance(101)
        self.assertFalse(self.bans.lift("192.0.2.1"))
