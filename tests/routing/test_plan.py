"""What becomes of a call that a rule is about."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

from zope.interface.verify import verifyObject

from sipd.errors import RequestRefusedError
from sipd.interfaces import (
    Attempt,
    Credentials,
    Dtmf,
    EarlyMedia,
    ITrunks,
    MediaPolicy,
    Route,
    RoutingRequest,
)
from sipd.routing.choice import Candidate, Strategy
from sipd.routing.numbers import Form, Normalise, Numbering, Prepend, StripPrefix, Substitute, Write
from sipd.routing.prefixes import read_prefixes
from sipd.routing.rules import Hunt, StaticRoute
from sipd.routing.sippy import parse_routing
from sipd.testing.trunks import FakeTrunks
from tests.routing.case import PlanCase, asked, binding

BERLIN = Numbering(country_code="49", area_code="30", local_length=(4, 8))
A, B, C = Candidate("a", 3, 0.3), Candidate("b", 1, 0.1), Candidate("c", 1, 0.2)


def trunks(**down: str) -> FakeTrunks:
    """Make three trunks, of which some are down."""
    return FakeTrunks({"a": "192.0.2.10", "b": "192.0.2.20", "c": "192.0.2.30"}, dict(down))


class RewritingTests(PlanCase):
    """Numbers that change on the way."""

    def test_called_in_a_template(self) -> None:
        """`{called}` is the rewritten number, `{0}` what was dialled."""
        rule = StaticRoute(name="r", user=re.compile("0(.*)"), called=(Normalise(BERLIN),), to="sip:{called}@h;x={0}")
        route = self.route(self.table(rule), asked("sip:030123@example.com"))
        self.assertEqual(self.uris(route), [["sip:+4930123@h;x=030123"]])
        self.assertEqual(route.considered, ("route r: taken", "route r: called 030123 becomes +4930123"))

    def test_called_without_a_template(self) -> None:
        """Without a template the request URI has the new number, and keeps everything else."""
        rule = StaticRoute(name="r", called=(Prepend("+49"),))
        for uri, expected in (
            ("sip:30123@h:5070;user=phone", "sip:+4930123@h:5070;user=phone"),
            ("tel:30-123", "tel:+4930123"),
        ):
            self.assertEqual(self.uris(self.route(self.table(rule), asked(uri))), [[expected]])

    def test_nothing_is_slipped_in(self) -> None:
        """What a caller escapes stays escaped: no host, no parameter comes of a number."""
        rule = StaticRoute(name="r", called=(Substitute(re.compile("x(.*)"), "{1}"),), to="sip:{called}@h")
        route = self.route(self.table(rule), asked("sip:xa%40evil.example%3Eb@example.com"))
        self.assertEqual(self.uris(route), [["sip:a%40evil.example%3Eb@h"]])
        by_trunk = StaticRoute(name="r", called=rule.called, trunks=(A,))
        route = self.route(self.table(by_trunk, trunks=trunks()), asked("sip:xa%40evil.example@example.com"))
        self.assertEqual(self.uris(route), [["sip:a%40evil.example@192.0.2.10"]])

    def test_calling(self) -> None:
        """The caller's number is rewritten for whatever attempts there are; without a word nothing is said of it."""
        steps = (Normalise(BERLIN), Write(BERLIN, Form.E164))
        for rule in (
            StaticRoute(name="r", calling=steps, to="sip:x@h"),
            StaticRoute(name="r", calling=steps, to="sip:bob@example.com"),
            StaticRoute(name="r", calling=steps, trunks=(A, B)),
            StaticRoute(name="r", calling=steps, sippy=parse_routing("h")),
        ):
            table = self.table(rule, trunks=trunks(), bindings=[binding("sip:b@192.0.2.2")])
            for caller, expected in (("sip:030123@example.com", "4930123"), ("sip:alice@example.com", None)):
                route = self.route(table, asked("sip:1@example.com", caller=caller))
                self.assertEqual({one.caller for attempts in route.rounds for one in attempts}, {expected})

    def test_who_is_anonymous_stays_so(self) -> None:
        """The number of a caller who wants to be anonymous is not touched."""
        rule = StaticRoute(name="r", calling=(Substitute(re.compile(".*"), "4930"),), to="sip:x@h")
        request = asked("sip:1@h", caller="sip:anonymous@anonymous.invalid", headers=[("Privacy", "id")])
        route = self.route(self.table(rule), request)
        self.assertIsNone(route.rounds[0][0].caller)
        self.assertEqual(route.considered, ("route r: taken", "route r: the caller stays anonymous"))

    def test_what_a_trunk_says_of_the_caller_counts(self) -> None:
        """A trunk that has only one number says that, whatever rules have made."""
        fake = FakeTrunks({"a": "192.0.2.10"}, attempts={"a": {"caller": "4930999"}})
        rule = StaticRoute(name="r", calling=(Prepend("9"),), trunks=(A,))
        route = self.route(self.table(rule, trunks=fake), asked("sip:1@h", caller="sip:12@example.com"))
        self.assertEqual(route.rounds[0][0].caller, "4930999")

    def test_called_number(self) -> None:
        """An attempt by a trunk says which number it calls as rules have made it, however the trunk writes it."""
        rule = StaticRoute(name="r", called=(StripPrefix("9"),), trunks=(A,))
        route = self.route(self.table(rule, trunks=FakeTrunks({"a": "192.0.2.10"})), asked("sip:95312@h"))
        self.assertEqual(route.rounds[0][0].called, "5312")

    def test_goes_on(self) -> None:
        """Rules that only rewrite are followed by the next ones, which see what they have made, and the users, too."""
        first = StaticRoute(name="first", called=(StripPrefix("9"),), calling=(Prepend("+4930"),), goes_on=True)
        second = StaticRoute(name="second", user=re.compile("9.*"), to="sip:wrong@h")
        third = StaticRoute(name="third", user=re.compile("1"), caller=re.compile(r"sip:\+4930.*"), to="sip:{0}@h")
        caller = "sip:12@example.com"
        route = self.route(self.table(first, second, third), asked("sip:91@example.com", caller=caller))
        self.assertEqual((route.name, self.uris(route), route.rounds[0][0].caller), ("third", [["sip:1@h"]], "+493012"))
        self.assertEqual(
            route.considered,
            (
                "route first: taken, and the next ones",
                "route first: called 91 becomes 1",
                "route first: calling 12 becomes +493012",
                "route second: user 1 does not match",
                "route third: taken",
            ),
        )
        to_bob = StaticRoute(name="bob", called=(Substitute(re.compile("5"), "bob"),), goes_on=True)
        route = self.route(self.table(to_bob, bindings=[binding("sip:b@192.0.2.2")]), asked("sip:5@example.com"))
        self.assertEqual((route.name, self.uris(route)), ("registered", [["sip:b@192.0.2.2"]]))

    def test_impossible_numbers(self) -> None:
        """A `tel` URI can hold no name: 484, explained; whoever calls so has to prove who it is."""
        rule = StaticRoute(name="r", called=(Substitute(re.compile(".*"), "bob"),), goes_on=True)
        table = self.table(rule, StaticRoute(name="open", to="sip:x@h", authenticate=False))
        self.assertTrue(table.needs_authentication(asked("tel:1")))
        route = self.route(table, asked("tel:1"))
        self.assertEqual((route.name, route.refusal), ("r", (484, "Address Incomplete")))
        self.assertIn("makes no usable URI", route.considered[-1])


class TrunkTests(PlanCase):
    """Calls by trunks."""

    def test_the_fake_is_one(self) -> None:
        """The trunks of these tests are trunks."""
        fake = trunks()
        verifyObject(ITrunks, fake)
        self.assertEqual(fake.identify(asked("sip:1@h", source="192.0.2.20").source, ()), "b")
        self.assertIsNone(fake.identify(asked("sip:1@h").source, ()))
        fake.attempt_ended("a", 503)
        self.assertEqual(fake.ended, [("a", 503)])

    def test_orders(self) -> None:
        """Trunks are tried in sequence or by cost, one after another or all at once."""
        for strategy, hunt, expected in (
            (Strategy.SEQUENCE, Hunt.SEQUENTIAL, [["a"], ["b"], ["c"]]),
            (Strategy.COST, Hunt.SEQUENTIAL, [["b"], ["c"], ["a"]]),
            (Strategy.COST, Hunt.PARALLEL, [["b", "c", "a"]]),
        ):
            rule = StaticRoute(name="r", trunks=(A, B, C), strategy=strategy, hunt=hunt)
            route = self.route(self.table(rule, trunks=trunks()), asked("sip:1@example.com"))
            self.assertEqual([[one.trunk for one in attempts] for attempts in route.rounds], expected)
            order = ", ".join(name for names in expected for name in names)
            self.assertEqual(route.considered[-1], f"route r: {strategy.value} gives {order}, {hunt.value}")

    def test_weights(self) -> None:
        """Over 1,000 calls trunks have their shares; the same seed gives the same orders."""

        def first_trunks(seed: int) -> list[str | None]:
            rule = StaticRoute(name="r", trunks=(A, B), strategy=Strategy.WEIGHT)
            table = self.table(rule, trunks=trunks(), entropy=Random(seed).randbytes)
            return [self.route(table, asked("sip:1@h")).rounds[0][0].trunk for _ in range(1000)]

        counts = Counter(first_trunks(3))
        self.assertLess(abs(counts["a"] - 750), 50)
        self.assertEqual(first_trunks(3), first_trunks(3))

    def test_one_that_is_down_is_passed_over(self) -> None:
        """A trunk that cannot be used, or is not there, is passed over, and the explanation says why."""
        rule = StaticRoute(name="r", trunks=(A, Candidate("x"), B))
        route = self.route(self.table(rule, trunks=trunks(a="no answer to OPTIONS")), asked("sip:1@h"))
        self.assertEqual(self.uris(route), [["sip:1@192.0.2.20"]])
        self.assertEqual(
            route.considered,
            (
                "route r: taken",
                "route r: trunk a passed over: no answer to OPTIONS",
                "route r: trunk x passed over: there is no such trunk",
            ),
        )

    def test_all_are_down(self) -> None:
        """If none is left the caller is refused with 503 and Retry-After; no other rule is tried."""
        rule = StaticRoute(name="r", trunks=(A, B), setup_timeout=3.0)
        other = StaticRoute(name="other", to="sip:x@h")
        for fake in (trunks(a="down", b="drained"), None):
            route = self.route(self.table(rule, other, trunks=fake), asked("sip:1@h"))
            self.assertEqual((route.name, route.refusal, route.rounds), ("r", (503, "No Trunk Available"), ()))
            self.assertEqual(route.considered[-1], "route r: no trunk is left")
            error = self.assertRaises(RequestRefusedError, route.check)
            self.assertEqual((error.status, error.headers), (503, (("Retry-After", "30"),)))

    def test_the_rule_says_more_than_the_trunk(self) -> None:
        """What a rule says of an attempt counts; what it says nothing of stays as the trunk has it."""
        own = {"timeout": 11.0, "stops": frozenset((486,)), "codecs": ("pcma",), "redirects": 2}
        fake = FakeTrunks({"a": "192.0.2.10"}, attempts={"a": own})
        silent = self.route(self.table(StaticRoute(name="r", trunks=(A,)), trunks=fake), asked("sip:1@h"))
        attempt = silent.rounds[0][0]
        self.assertEqual((attempt.timeout, attempt.stops, attempt.codecs, attempt.redirects), tuple(own.values()))
        rule = StaticRoute(name="r", trunks=(A,), timeout=5.0, stops=frozenset(), codecs=("opus",), trusted=True)
        attempt = self.route(self.table(rule, trunks=fake), asked("sip:1@h")).rounds[0][0]
        self.assertEqual(
            (attempt.timeout, attempt.stops, attempt.codecs, attempt.redirects), (5.0, set(), ("opus",), 2)
        )
        self.assertTrue(attempt.trusted)

    def test_prefixes(self) -> None:
        """The longest prefix of the rewritten number says which trunks; without one the next rule is tried."""
        table = read_prefixes("prefix,trunk,cost\n+49,a,0.2\n+49,b,0.1\n+4930,c,5\n", "p")
        rule = StaticRoute(name="lcr", called=(Normalise(BERLIN),), prefixes=table, strategy=Strategy.COST)
        other = StaticRoute(name="other", to="sip:x@h")
        plan = self.table(rule, other, trunks=trunks())
        for number, expected, line in (
            ("089123", ["b", "a"], "route lcr: +4989123 begins with +49, which leads to a, b"),
            ("030123", ["c"], "route lcr: +4930123 begins with +4930, which leads to c"),
        ):
            route = self.route(plan, asked(f"sip:{number}@example.com"))
            self.assertEqual([attempts[0].trunk for attempts in route.rounds], expected)
            self.assertEqual(str(route.rounds[0][0].uri)[:8], "sip:+49" + number[1])
            self.assertIn(line, route.considered)
        route = self.route(plan, asked("sip:0044123@example.com"))
        self.assertEqual(route.name, "other")
        self.assertEqual(route.considered[0], "route lcr: +44123 begins with none of its prefixes")


class OtherDestinationTests(PlanCase):
    """Users, refusals, Sippy's routes; and what a rule says of the call."""

    def test_registered(self) -> None:
        """A rule may lead to the registered user that the request names, rewritten, and says how it is called."""
        rule = StaticRoute(
            name="r", called=(Substitute(re.compile("49305550(.*)"), "{1}"),), is_registered=True, timeout=9.0,
            redirects=1, duration=60.0,
        )  # fmt: skip
        table = self.table(rule, bindings=[binding("sip:b@192.0.2.2")])
        route = self.route(table, asked("sip:49305550bob@example.com"))
        ((attempt,),) = route.rounds
        self.assertEqual((str(attempt.uri), attempt.user), ("sip:b@192.0.2.2", "bob"))
        self.assertEqual((attempt.timeout, attempt.redirects, route.duration), (9.0, 1, 60.0))
        for uri, refusal in (
            ("sip:eve@example.com", (404, "No Such User")),
            ("sip:bob@elsewhere.example", (403, "No Relay To Other Domains")),
        ):
            self.assertEqual(self.route(table, asked(uri)).refusal, refusal)

    def test_sippy(self) -> None:
        """Sippy's routes are tried one after another; the call may last as long as the least of all bounds says."""
        sippy = parse_routing("a.example;credit-time=90;cli=77\n9@b.example;credit-time=30;expires=5")
        for duration, expected in ((None, 30.0), (60.0, 30.0), (10.0, 10.0)):
            rule = StaticRoute(name="r", called=(Prepend("+"),), sippy=sippy, duration=duration)
            route = self.route(self.table(rule), asked("sip:49@example.com"))
            self.assertEqual(self.uris(route), [["sip:+49@a.example"], ["sip:9@b.example"]])
            self.assertEqual(route.duration, expected)
            self.assertEqual([attempts[0].caller for attempts in route.rounds], ["77", None])
            self.assertEqual([attempts[0].timeout for attempts in route.rounds], [60.0, 5.0])
        self.assertIsNone(
            self.route(self.table(StaticRoute(name="r", sippy=parse_routing("h"))), asked("sip:1@h")).duration
        )

    def test_what_a_rule_says_of_the_call(self) -> None:
        """Times, sounds, stops and what else there is reach the attempt and the route."""
        credentials = Credentials(username="u", password="p")
        rule = StaticRoute(
            name="r", to="sip:x@h", timeout=1.0, response_timeout=2.0, stops=frozenset((486,)), redirects=3,
            setup_timeout=4.0, duration=60.0, warning=5.0, warning_sound="tone:de:busy", trusted=True,
            credentials=credentials, caller_credentials=credentials, early_media=EarlyMedia.AS_183, codecs=("pcma",),
            media=MediaPolicy(is_bypassed=True), dtmf=Dtmf.INFO, caller_dtmf=Dtmf.RTP,
        )  # fmt: skip
        route = self.route(self.table(rule), asked("sip:1@h"))
        uri = route.rounds[0][0].uri
        expected = Attempt(
            uri=uri, label="route r", timeout=1.0, response_timeout=2.0, stops=frozenset((486,)), redirects=3,
            trusted=True, credentials=credentials, early_media=EarlyMedia.AS_183, codecs=("pcma",),
            media=MediaPolicy(is_bypassed=True), dtmf=Dtmf.INFO,
        )  # fmt: skip
        self.assertEqual(
            route,
            Route(
                name="r", rounds=((expected,),), considered=("route r: taken",), caller_credentials=credentials,
                caller_dtmf=Dtmf.RTP, setup_timeout=4.0, duration=60.0, warning=5.0, warning_sound="tone:de:busy",
            ),
        )  # fmt: skip


class EmergencyTests(PlanCase):
    """Calls for help."""

    HELP = StaticRoute(name="help", trunks=(A,), is_emergency=True, authenticate=False)
    BARRED = StaticRoute(name="barred", user=re.compile("1.*"), refusal=(403, "Barred"))

    def ask(self, request: RoutingRequest, *rules: StaticRoute, **down: str) -> Route:
        """Give where a call goes where 110 and 112 are emergency numbers."""
        return self.route(self.table(*rules, trunks=trunks(**down), emergency=("110", "112")), request)

    def test_before_everything(self) -> None:
        """A route for emergency numbers comes before those that stand in front of it, and nobody is asked who it is."""
        for uri in ("sip:112@example.com", "tel:112", "sip:1%312@h"):
            route = self.ask(asked(uri), self.BARRED, self.HELP)
            self.assertEqual((route.name, route.is_emergency), ("help", True))
            self.assertEqual(route.considered, ("route help: taken",))
        table = self.table(self.BARRED, self.HELP, emergency=("112",))
        self.assertFalse(table.needs_authentication(asked("sip:112@example.com")))
        self.assertTrue(table.needs_authentication(asked("sip:1121@example.com")))

    def test_for_nothing_else(self) -> None:
        """Other numbers do not go that way, and are no emergency calls."""
        route = self.ask(asked("sip:113@example.com"), self.HELP, self.BARRED)
        self.assertEqual((route.name, route.is_emergency), ("barred", False))
        self.assertEqual(route.considered, ("route barred: taken",))

    def test_by_any_other_way(self) -> None:
        """If its trunks are down, a call for help goes on to the next ways; and says 503 if there is none."""
        second = StaticRoute(name="second", trunks=(B,), is_emergency=True, authenticate=False)
        normal = StaticRoute(name="normal", to="sip:x@h", authenticate=False)
        for rules, down, name, refusal in (
            ((self.HELP, second), {"a": "down"}, "second", None),
            ((self.HELP, second, normal), {"a": "down", "b": "down"}, "normal", None),
            ((self.HELP, second), {"a": "down", "b": "down"}, "help", (503, "No Trunk Available")),
        ):
            route = self.ask(asked("sip:112@example.com"), *rules, **down)
            self.assertEqual((route.name, route.is_emergency, route.refusal), (name, True, refusal))
            self.assertEqual(route.retry_after, None if refusal is None else 30)

    def test_no_closed_way_is_opened(self) -> None:
        """Who was not asked who it is gets no further than routes that do not want to know."""
        closed = StaticRoute(name="closed", to="sip:x@h")
        route = self.ask(asked("sip:112@example.com"), self.HELP, closed, a="down")
        self.assertEqual((route.name, route.refusal), ("help", (503, "No Trunk Available")))
        self.assertEqual(route.considered[-1], "route closed: the caller has not proved who it is")
        route = self.ask(asked("sip:112@example.com", user="alice"), self.HELP, closed, a="down")
        self.assertEqual(route.name, "closed")

    def test_without_a_route_of_its_own(self) -> None:
        """An emergency number without such a route goes where others go, and is an emergency call all the same."""
        route = self.ask(asked("sip:112@example.com"), StaticRoute(name="r", to="sip:x@h"))
        self.assertEqual((route.name, route.is_emergency), ("r", True))
