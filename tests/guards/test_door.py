"""Tests of `sipd.guards.door` and of the lines that it writes."""

from __future__ import annotations

import re
from ipaddress import ip_network

from zope.interface.verify import verifyObject

from sipd.guards.bans import BanSettings
from sipd.guards.door import ScannerAction
from sipd.interfaces import ISourceGuard
from sipd.testing import builders
from tests.guards.support import HOST, GuardCase


class FakeFlow:
    """Where a request came from."""

    host = HOST
    port = 5062


class DropTests(GuardCase):
    """Before anything is read."""

    def drops(self, number: int, host: str = HOST) -> int:
        """Send so many messages; give how many are dropped."""
        return sum(self.door.drops(host) for _ in range(number))

    def test_guard(self) -> None:
        """It is what the transport layer asks."""
        verifyObject(ISourceGuard, self.door)

    def test_nobody(self) -> None:
        """Without settings everybody is listened to."""
        self.assertEqual(self.drops(100_000), 0)

    def test_rate(self) -> None:
        """In each second so many messages of a source are read; others are not touched by that."""
        self.guard(messages_per_second=10)
        self.assertEqual(self.drops(25), 15)
        self.assertEqual(self.drops(10, "192.0.2.1"), 0)
        self.clock.advance(0.99)
        self.assertEqual(self.drops(1), 1)
        self.clock.advance(0.02)
        self.assertEqual(self.drops(10), 0)
        self.assertEqual(self.door.flooded, 16)
        self.assertEqual(self.lines, [f'security: flood src={HOST} port= messages="10"'])

    def test_a_clock_that_goes_back(self) -> None:
        """Nobody stays outside because of it."""
        self.guard(messages_per_second=10)
        self.drops(20)
        self.clock.rightNow -= 3600.0
        self.assertEqual(self.drops(10), 0)

    def test_a_network_of_ipv6(self) -> None:
        """All addresses of a /64 share what is left to one source."""
        self.guard(messages_per_second=10)
        dropped = sum(self.door.drops(f"2001:db8::{number:x}") for number in range(30))
        self.assertEqual(dropped, 20)

    def test_denied(self) -> None:
        """Networks that are denied are dropped without a word, but for a line each minute."""
        self.guard(deny=(ip_network("203.0.113.0/24"),), allow=(ip_network("203.0.113.64/26"),))
        for _ in range(50):
            self.assertEqual(self.drops(10), 10)
            self.clock.advance(1.0)
        self.assertEqual(self.drops(10, "203.0.113.70"), 0)
        self.assertEqual((self.door.denied, self.lines), (500, [f"security: denied src={HOST} port="]))
        self.assertEqual((self.guards.security.counts["denied"], self.guards.security.unwritten), (50, 49))

    def test_banned(self) -> None:
        """A ban holds from the next message on, and ends by itself."""
        self.guard(bans=BanSettings(duration=10.0))
        self.assertEqual(self.drops(1), 0)
        self.assertTrue(self.door.ban(HOST, 5060, "a reason"))
        self.assertFalse(self.door.ban(HOST, 5060, "a reason"))
        self.assertEqual(self.drops(5), 5)
        self.clock.advance(9.0)
        self.assertEqual(self.drops(1), 1)
        self.clock.advance(1.0)
        self.assertEqual(self.drops(5), 0)
        self.assertEqual(self.door.banned, 6)
        line = f'security: banned src={HOST} port=5060 reason="a reason" seconds="10" times="1"'
        self.assertEqual(self.lines, [line])

    def test_a_ban_that_is_lifted(self) -> None:
        """Who is forgiven is heard at once."""
        self.door.ban(HOST, 5060, "a reason")
        self.assertEqual(self.drops(1), 1)
        self.guards.bans.lift(HOST)
        self.assertEqual(self.drops(1), 0)

    def test_the_trusted(self) -> None:
        """Networks that are trusted, and trunks, are neither denied nor banned nor counted."""
        self.guard(trust=(ip_network(HOST),), deny=(ip_network("0.0.0.0/0"),), messages_per_second=1)
        self.guards.trusts_also = lambda host: host == "192.0.2.1"
        for host in (HOST, "192.0.2.1"):
            self.assertFalse(self.door.ban(host, None, "a mistake"))
            self.assertEqual(self.drops(1000, host), 0)
        self.assertEqual(self.drops(1, "192.0.2.2"), 1)

    def test_neighbours_in_a_network_of_ipv6(self) -> None:
        """Who is trusted or denied by its address is so, whatever its neighbours in the same /64 did before."""
        self.guard(trust=(ip_network("2001:db8::1"),), deny=(ip_network("2001:db8::2"),), messages_per_second=5)
        self.assertEqual(self.drops(10, "2001:db8::3"), 5)
        self.assertEqual(self.drops(10, "2001:db8::1"), 0)
        self.clock.advance(1.0)
        self.assertEqual(self.drops(10, "2001:db8::1"), 0)
        self.assertEqual(self.drops(1, "2001:db8::2"), 1)
        self.assertEqual(self.drops(10, "2001:db8::3"), 5)
        self.door.ban("2001:db8::3", None, "a reason")
        self.assertEqual(self.drops(1, "2001:db8::4"), 1)
        self.assertEqual(self.drops(1, "2001:db8::1"), 0)

    def test_more_sources_than_are_counted(self) -> None:
        """However many sources there are, no more are remembered than may be."""
        from dataclasses import replace

        self.door.settings = replace(self.door.settings, max_sources=100, messages_per_second=1)
        for number in range(10_000):
            self.door.drops(f"10.0.{number // 256}.{number % 256}")
        self.assertLessEqual(len(self.door._sources), 102)


class TakeTests(GuardCase):
    """Requests that were read."""

    def ask(self, agent: str = "friendly-scanner") -> bool:
        """Send an OPTIONS of a program of that name."""
        request = builders.options("sip:example.com", headers=(("User-Agent", agent),))
        flow: object = FakeFlow()
        return self.door.takes(request, flow)  # type: ignore[arg-type]

    def test_phones(self) -> None:
        """What is no scanner's is taken, and costs no line."""
        self.assertTrue(self.ask("a phone"))
        self.assertEqual(self.lines, [])

    def test_actions(self) -> None:
        """A scanner is left alone, told of, dropped or banned, as is set."""
        line = f'security: scanner src={HOST} port=5062 agent="friendly-scanner" method="OPTIONS"'
        ban = f'security: banned src={HOST} port=5062 reason="the name of a scanner" seconds="600" times="1"'
        for action, is_taken, is_banned, lines in (
            (ScannerAction.OFF, True, False, []),
            (ScannerAction.LOG, True, False, [line]),
            (ScannerAction.DROP, False, False, [line]),
            (ScannerAction.BAN, False, True, [line, ban]),
        ):
            with self.subTest(action):
                self.lines.clear()
                self.guard(scanners=action)
                self.assertEqual(self.ask(), is_taken)
                self.assertEqual(self.door.drops(HOST), is_banned)
                self.assertEqual(self.lines, lines)

    def test_the_trusted(self) -> None:
        """Who is trusted may be called as it likes."""
        self.guard(trust=(ip_network(HOST),), scanners=ScannerAction.BAN)
        self.assertTrue(self.ask())
        self.door.suspect(HOST, 5060, "many things")
        self.assertEqual((self.lines, len(self.guards.bans)), ([], 0))

    def test_suspects(self) -> None:
        """A source that behaves like a scanner is told of, and banned where that is set."""
        for action, is_banned in ((ScannerAction.OFF, 0), (ScannerAction.DROP, 0), (ScannerAction.BAN, 1)):
            self.lines.clear()
            self.guard(scanners=action)
            self.door.suspect(HOST, 5060, "20 wrong passwords")
            self.assertEqual(len(self.guards.bans), is_banned)
        self.assertEqual(self.lines[0], f'security: scanner src={HOST} port=5060 reason="20 wrong passwords"')

    def test_what_a_caller_chose(self) -> None:
        """It comes after the address, on one line, quoted, escaped and short."""
        self.ask('friendly-scanner" src=192.0.2.66 port=1\x1b[2Jsecurity: banned src=192.0.2.66 port=' + "\u202e" * 100)
        (line,) = self.lines
        self.assertTrue(line.isascii() and line.isprintable(), line)
        self.assertLess(len(line), 250)
        self.assertTrue(line.startswith(f'security: scanner src={HOST} port=5062 agent="friendly-scanner\\"'), line)
        self.assertEqual(len(re.findall(r'(?<!\\)"', line)), 4)

    def test_lines_are_bounded(self) -> None:
        """A flood of sources writes no flood of lines, and each is counted."""
        for number in range(1000):
            self.guards.security.note("denied", f"192.0.{number // 256}.{number % 256}")
        self.assertEqual((len(self.lines), self.guards.security.unwritten), (100, 900))
        self.assertEqual(self.guards.security.counts["denied"], 1000)
        self.clock.advance(1.0)
        self.guards.security.note("denied", "198.51.100.1")
        self.assertEqual(len(self.lines), 101)
