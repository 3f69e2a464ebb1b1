"""Which calls a rule is about."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from zoneinfo import ZoneInfo

from sipd.routing.hours import Hours, Times
from sipd.routing.numbers import Prepend, StripPrefix
from sipd.routing.prefixes import read_prefixes
from sipd.routing.rules import StaticRoute, dialled
from sipd.sip.uri import parse_uri
from tests.routing.case import PlanCase, asked

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = Hours(zone=BERLIN, times=(Times.parse("mon-fri 08:00-18:00"),))
NOON = datetime(2026, 11, 20, 12, tzinfo=BERLIN).timestamp()
PREFIXES = read_prefixes("+49,a\n", "p")
STRIPPED = StaticRoute(name="r", prefixes=PREFIXES, called=(StripPrefix("9"),))


def rule(**conditions: object) -> StaticRoute:
    """Make a rule that refuses what it matches."""
    return StaticRoute(name="r", refusal=(603, "Taken"), **conditions)  # type: ignore[arg-type]


class ConditionTests(PlanCase):
    """Conditions, each alone."""

    def test_conditions(self) -> None:
        """Each condition lets pass what it is about, and of anything else the explanation says why not."""
        network = ipaddress.ip_network("192.0.2.0/28")
        number = asked("sip:+4930@example.com")
        for one, request, expected in (
            (rule(), number, "taken"),
            (rule(user=re.compile(r"\+49.*")), number, "taken"),
            (rule(user=re.compile(r"49")), number, "user +4930 does not match"),
            (rule(user=re.compile(r"\+49.*")), asked("tel:+49-30"), "taken"),
            (rule(host=re.compile("example.com")), number, "taken"),
            (rule(host=re.compile("gw")), number, "host example.com does not match"),
            (rule(caller=re.compile("sip:alice@.*")), number, "taken"),
            (rule(caller=re.compile("sip:eve@.*")), number, "the caller does not match"),
            (rule(sources=(network,)), number, "taken"),
            (rule(sources=(network,)), asked("sip:1@h", source="192.0.2.77"), "192.0.2.77 is not among its sources"),
            (rule(sources=(network,)), asked("sip:1@h", source="::1"), "::1 is not among its sources"),
            (rule(users=frozenset(("bob",))), asked("sip:1@h", user="bob"), "taken"),
            (rule(users=frozenset(("bob",))), asked("sip:1@h", user="eve"), "the caller is not among its users"),
            (rule(users=frozenset(("bob",))), number, "the caller has not proved who it is"),
            (rule(from_trunks=frozenset(("a",))), asked("sip:1@h", trunk="a"), "taken"),
            (rule(from_trunks=frozenset(("a",))), asked("sip:1@h", trunk="b"), "it comes from trunk b"),
            (rule(from_trunks=frozenset(("a",))), number, "it comes from no trunk"),
            (rule(points=frozenset(("udp", "tls"))), number, "taken"),
            (rule(points=frozenset(("tls",))), number, "listening point udp is not among its points"),
            (rule(hours=OFFICE), asked("sip:1@h", at=NOON), "taken"),
            (rule(hours=OFFICE), asked("sip:1@h", at=NOON + 8 * 3600), "not in its hours"),
            (rule(headers={"X-Line": re.compile("[0-9]")}), asked("sip:1@h", headers=[("x-line", "7")]), "taken"),
            (rule(headers={"X-Line": re.compile("[0-9]")}), asked("sip:1@h", headers=[("X-Line", "77")]),
             "X-Line does not match"),
            (rule(headers={"X-Line": re.compile("7")}), asked("sip:1@h", headers=[("X-Line", "6"), ("X-Line", "7")]),
             "taken"),
            (rule(headers={"X-Line": re.compile(".*")}), number, "there is no X-Line"),
            (rule(headers={"Subject": re.compile("help")}), asked("sip:1@h", headers=[("s", "help")]), "taken"),
            (STRIPPED, number, "taken"),
            (STRIPPED, asked("sip:9+4930@h"), "9+4930 begins with none of its prefixes"),
            (STRIPPED, asked("sip:94930@h"), "4930 begins with none of its prefixes"),
            (StaticRoute(name="r", prefixes=PREFIXES, called=(Prepend("+"),)), asked("sip:4930@h"), "taken"),
        ):  # fmt: skip
            with self.subTest(f"{one} {request}"):
                considered = self.route(self.table(one), request).considered
                self.assertEqual(considered[0], f"route r: {expected}")

    def test_all_conditions_must_hold(self) -> None:
        """One condition that fails is enough."""
        both = rule(user=re.compile("1"), from_trunks=frozenset(("a",)))
        for request, status in (
            (asked("sip:1@h", trunk="a"), 603),
            (asked("sip:1@h"), 403),
            (asked("sip:2@h", trunk="a"), 403),
        ):
            refusal = self.route(self.table(both), request).refusal
            assert refusal is not None
            self.assertEqual(refusal[0], status)

    def test_what_is_dialled(self) -> None:
        """The called number has no escapes, no separators of a `tel` URI and no parameters; a name stays a name."""
        for text, expected in (
            ("sip:+4930@h", "+4930"),
            ("sip:+4930;npdi;rn=5@h", "+4930"),
            ("sip:%2B4930@h", "+4930"),
            ("sip:*21%23@h", "*21#"),
            ("tel:+49-(30)-1", "+49301"),
            ("sip:alice;x@h", "alice;x"),
            ("sip:h", ""),
            ("urn:service:sos", ""),
        ):
            self.assertEqual(dialled(parse_uri(text)), expected, text)


class AuthenticationTests(PlanCase):
    """Who is asked for a password."""

    def test_who_is_asked(self) -> None:
        """Everybody, unless the first rule that matches says otherwise; one for some users needs to know who calls."""
        opened = StaticRoute(name="open", user=re.compile("1.*"), to="sip:x@h", authenticate=False)
        closed = StaticRoute(name="closed", user=re.compile("11"), to="sip:x@h")
        some = StaticRoute(name="some", user=re.compile("12"), users=frozenset(("alice",)), to="sip:x@h")
        strip = StaticRoute(name="strip", user=re.compile("9.*"), called=(StripPrefix("9"),), goes_on=True)
        some_strip = StaticRoute(
            name="s", user=re.compile("8.*"), users=frozenset(("alice",)), called=(StripPrefix("8"),), goes_on=True
        )
        table = self.table(strip, some_strip, closed, some, opened)
        for request, expected in (
            (asked("sip:10@h"), False),
            (asked("sip:11@h"), True),
            (asked("sip:12@h"), True),
            (asked("sip:12@h", trunk="a"), False),
            (asked("sip:20@h"), True),
            (asked("sip:910@h"), False),
            (asked("sip:911@h"), True),
            (asked("sip:810@h"), True),
            (asked("sip:bob@example.com"), True),
        ):
            self.assertIs(table.needs_authentication(request), expected, str(request.request.uri))

    def test_who_proved_it_gets_there(self) -> None:
        """A rule for some users is taken by them, and passed by for others, who go on to the next one."""
        some = StaticRoute(name="some", users=frozenset(("alice",)), to="sip:some@h")
        rest = StaticRoute(name="rest", to="sip:rest@h")
        for user, name in (("alice", "some"), ("bob", "rest")):
            self.assertEqual(self.route(self.table(some, rest), asked("sip:1@h", user=user)).name, name)
