"""Tests of `sipd.guards.scanners`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.guards.scanners import ScannerNames, Suspects, SuspicionSettings
from sipd.sip.message import Request
from sipd.testing import builders

HOST = "203.0.113.9"


def options(agent: str | None) -> Request:
    """Give an OPTIONS of a program of that name."""
    headers = () if agent is None else (("User-Agent", agent),)
    return builders.options("sip:example.com", headers=headers)


class NameTests(SynchronousTestCase):
    """What scanners call themselves."""

    def test_known_ones(self) -> None:
        """The names that scanners are known by are found, in any case, with what follows them."""
        names = ScannerNames()
        for agent in (
            "friendly-scanner",
            "Friendly-Scanner v2",
            "sipvicious",
            "my sipvicious 0.3",
            "sipcli/v1.8",
            "sundayddr",
            "pplsip",
            "VaxSIPUserAgent/3.1",
        ):
            self.assertEqual(names.find(options(agent)), agent)

    def test_phones(self) -> None:
        """Phones, and who says nothing, are none."""
        names = ScannerNames()
        for agent in ("Yealink SIP-T46S 66.85.0.5", "baresip v1.0.0", "Linphone/5.2", "sipp", "friendly phone", None):
            self.assertEqual(names.find(options(agent)), "")

    def test_patterns(self) -> None:
        """Patterns of the operator take the place of the known ones; a pattern is no regular expression."""
        names = ScannerNames(["a.b*", "exact"])
        found = [names.find(options(agent)) for agent in ("a.bc", "axbc", "exact", "exactly", "sipvicious")]
        self.assertEqual(found, ["a.bc", "", "exact", "", ""])
        self.assertEqual(ScannerNames(()).find(options("sipvicious")), "")

    def test_long_names(self) -> None:
        """Only the beginning of a name is looked at, however long it is."""
        self.assertEqual(ScannerNames().find(options("x" * 60_000 + "sipvicious")), "")


class SuspectTests(SynchronousTestCase):
    """What scanners do."""

    def setUp(self) -> None:
        self.suspects = Suspects(SuspicionSettings(window=60.0, failures=3, challenges=5, users=4, max_sources=2))

    def test_wrong_passwords(self) -> None:
        """The one that reaches the bound is reported, once in a window; right ones change nothing."""
        found = []
        for at in range(5):
            found.append(self.suspects.failed(HOST, "alice", float(at)))
            self.suspects.succeeded(HOST, "alice")
        self.assertEqual(found, ["", "", "3 wrong passwords within 60 s", "", ""])

    def test_window(self) -> None:
        """What happened before the window began is forgotten; so it is when the clock goes back."""
        for at in (0.0, 1.0, 61.0, 62.0, 5.0, 6.0):
            self.assertEqual(self.suspects.failed(HOST, "alice", at), "")
        self.assertEqual(self.suspects.failed(HOST, "alice", 7.0), "3 wrong passwords within 60 s")

    def test_without_passwords(self) -> None:
        """Requests that never prove anything are reported; those that go on with a right password are not."""
        for _ in range(20):
            self.assertEqual(self.suspects.challenged(HOST, "alice", 0.0), "")
            self.suspects.succeeded(HOST, "alice")
        found = [self.suspects.challenged(HOST, "alice", 1.0) for _ in range(6)]
        self.assertEqual(found, ["", "", "", "", "5 requests without a password within 60 s", ""])

    def test_many_users(self) -> None:
        """Many users of whom none proves anything are reported; a NAT whose phones all do is not."""
        for number in range(10):
            self.assertEqual(self.suspects.challenged(HOST, f"phone-{number}", 0.0), "")
            self.suspects.succeeded(HOST, f"phone-{number}")
        self.suspects = Suspects(SuspicionSettings(users=3))
        found = [self.suspects.challenged(HOST, user, 1.0) for user in "aabbcd"]
        text = "3 users within 60 s, and a right password of none of them"
        self.assertEqual(found, ["", "", "", "", text, ""])

    def test_no_bounds(self) -> None:
        """0 is no bound."""
        suspects = Suspects(SuspicionSettings(failures=0, challenges=0, users=0))
        for number in range(50):
            self.assertEqual(suspects.failed(HOST, str(number), 0.0), "")
            self.assertEqual(suspects.challenged(HOST, str(number), 0.0), "")

    def test_sources(self) -> None:
        """Sources are apart, a /64 of IPv6 is one, and no more are remembered than may be."""
        for host in ("2001:db8::1", "2001:db8::2"):
            self.assertEqual(self.suspects.failed(host, "x", 0.0), "")
        self.assertEqual(self.suspects.failed("192.0.2.1", "x", 0.0), "")
        self.assertTrue(self.suspects.failed("2001:db8::3", "x", 0.0))
        self.suspects.failed("192.0.2.2", "x", 0.0)
        self.assertEqual(len(self.suspects), 2)
        found = [self.suspects.failed("192.0.2.1", "x", 0.0) for _ in range(3)]
        self.assertEqual(found, ["", "", "3 wrong passwords within 60 s"])
