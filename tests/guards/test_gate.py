"""Tests of `sipd.guards.gate`: each limit, what its refusal says, and what it leaves to others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from zope.interface.verify import verifyObject

from sipd.guards.fraud import Action, Budget, CountrySettings, FraudSettings
from sipd.guards.limits import CallLimits, TrunkLimits
from sipd.guards.overload import OverloadSettings
from sipd.interfaces import IGate, Route, RoutingRequest
from tests.guards.support import HOST, GuardCase, asked, attempt, refusal, route

BOB = "sip:bob@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyRoute(Route):
    """A route of an emergency number."""

    is_emergency: bool = True


class CountTests(GuardCase):
    """How many calls at the same time."""

    #: Name of the limit, limits, a call of which two pass, and status, text and Retry-After of the third one.
    TABLE: tuple[tuple[str, CallLimits, RoutingRequest, Route, tuple[int, str, str | None]], ...] = (
        ("calls", CallLimits(calls=2), asked(), route(), (503, "No More Than 2 Calls", "10")),
        (
            "user",
            CallLimits(calls_per_user=2),
            asked(user="alice"),
            route(),
            (480, "No More Than 2 Calls Of User alice", "10"),
        ),
        (
            "source",
            CallLimits(calls_per_source=2, retry_after=7),
            asked(),
            route(),
            (480, f"No More Than 2 Calls From {HOST}", "7"),
        ),
        (
            "callee",
            CallLimits(calls_per_callee=2),
            asked(),
            route(aor=BOB),
            (486, f"No More Than 2 Calls For {BOB}", None),
        ),
        (
            "trunk-in",
            CallLimits(trunk=TrunkLimits(calls_in=2)),
            asked(trunk="carrier"),
            route(),
            (503, "No More Than 2 calls from trunk carrier", None),
        ),
        (
            "trunk-in",
            CallLimits(trunk=TrunkLimits(calls_in=9), trunks={"carrier": TrunkLimits(calls=2)}),
            asked(trunk="carrier"),
            route(),
            (503, "No More Than 2 calls from and to trunk carrier", None),
        ),
    )

    def test_gate(self) -> None:
        """It is what a B2BUA asks."""
        verifyObject(IGate, self.gate)

    def test_each(self) -> None:
        """So many calls pass; the next one is refused and told why, until one of them ends, however often it does."""
        for name, limits, call, path, expected in self.TABLE:
            with self.subTest(name, limits=limits):
                self.guard(limits=limits)
                for number in range(2):
                    self.gate.call_offered(call)
                    self.gate.call_routed(str(number), call, path)
                self.assertEqual(refusal(self, self.gate.call_routed, "2", call, path), expected)
                self.assertEqual(dict(self.gate.refused), {name: 1})
                self.assertEqual(len(self.gate), 2)
                for _ in range(2):
                    self.gate.call_ended("0")
                self.gate.call_ended("never began")
                self.gate.call_routed("2", call, path)
                self.assertEqual(len(self.gate), 2)
                for number in range(3):
                    self.gate.call_ended(str(number))
                self.assertEqual(len(self.gate), 0)

    def test_before_anybody_is_asked(self) -> None:
        """What is known before the caller is asked for a password is refused before, too; nothing is counted then."""
        self.guard(limits=CallLimits(calls_per_source=1))
        for _ in range(5):
            self.gate.call_offered(asked())
        self.gate.call_routed("1", asked(), route())
        self.assertEqual(refusal(self, self.gate.call_offered, asked())[0], 480)
        self.gate.call_offered(asked(host="192.0.2.1"))

    def test_nobody_else(self) -> None:
        """A limit of one is none of another user, source, callee or trunk."""
        everything = CallLimits(
            calls_per_user=1, calls_per_source=1, calls_per_callee=1, trunk=TrunkLimits(calls_in=1, calls_out=1)
        )
        self.guard(limits=everything)
        self.gate.call_routed("1", asked(user="alice"), route(aor=BOB))
        self.gate.call_routed("2", asked(user="carol", host="192.0.2.1"), route(aor="sip:dan@example.com"))
        self.gate.call_routed("3", asked(trunk="a"), route())
        self.gate.call_routed("4", asked(trunk="b"), route())
        self.assertEqual(self.gate.counts("user"), {"alice": 1, "carol": 1})
        self.assertEqual(self.gate.counts("trunk-in"), {"a": 1, "b": 1})

    def test_a_users_own_bound(self) -> None:
        """What is known of a user goes before what holds for all; 0 is no call at all."""
        self.guard(limits=CallLimits(calls_per_user=1))
        self.gate.max_calls_of = {"many": 2, "none": 0}.get
        for number in range(2):
            self.gate.call_routed(str(number), asked(user="many"), route())
        self.assertEqual(refusal(self, self.gate.call_routed, "2", asked(user="many"), route())[0], 480)
        text = "No More Than 0 Calls Of User none"
        self.assertEqual(refusal(self, self.gate.call_routed, "3", asked(user="none"), route())[1], text)

    def test_the_trusted(self) -> None:
        """Limits of sources are not about networks that are trusted, nor about trunks; a /64 is one source."""
        from ipaddress import ip_network

        limits = CallLimits(calls_per_source=1, per_second_source=1.0)
        self.guard(limits=limits, trust=(ip_network("203.0.113.0/24"),))
        for number in range(3):
            self.gate.call_routed(str(number), asked(), route())
            self.gate.call_routed(f"t{number}", asked(host="192.0.2.1", trunk="carrier"), route())
        self.gate.call_routed("a", asked(host="2001:db8::1"), route())
        text = "No More Than 1 Calls From 2001:db8::/64"
        self.assertEqual(refusal(self, self.gate.call_routed, "b", asked(host="2001:db8::2"), route())[1], text)

    def test_names_in_a_phrase(self) -> None:
        """A name cannot break the response that it stands in."""
        self.guard(limits=CallLimits(calls_per_user=1))
        evil = "a\r\nVia: x" + "y" * 500
        self.gate.call_routed("1", asked(user=evil), route())
        _, text, _ = refusal(self, self.gate.call_routed, "2", asked(user=evil), route())
        self.assertTrue(text.isprintable() and len(text) < 120, text)


class RateTests(GuardCase):
    """How many calls a second."""

    TABLE: tuple[tuple[str, CallLimits, RoutingRequest, tuple[int, str, str | None]], ...] = (
        ("all-rate", CallLimits(per_second=2), asked(), (503, "No More Than 2 Calls A Second", "1")),
        (
            "user-rate",
            CallLimits(per_second_user=2),
            asked(user="alice"),
            (480, "No More Than 2 Calls A Second Of User alice", "1"),
        ),
        (
            "source-rate",
            CallLimits(per_second_source=2),
            asked(),
            (480, f"No More Than 2 Calls A Second From {HOST}", "1"),
        ),
        (
            "trunk-in-rate",
            CallLimits(trunk=TrunkLimits(per_second_in=2)),
            asked(trunk="carrier"),
            (503, "No More Than 2 Calls A Second From Trunk carrier", None),
        ),
    )

    def test_each(self) -> None:
        """A second's worth passes at once, then as many as time brings; calls that ended count as well."""
        for name, limits, call, expected in self.TABLE:
            with self.subTest(name):
                self.guard(limits=limits)
                for number in range(2):
                    self.gate.call_offered(call)
                    self.gate.call_routed(str(number), call, route())
                    self.gate.call_ended(str(number))
                self.assertEqual(refusal(self, self.gate.call_routed, "2", call, route()), expected)
                self.assertEqual(dict(self.gate.refused), {name: 1})
                self.clock.advance(0.5)
                self.gate.call_routed("2", call, route())
                self.assertEqual(refusal(self, self.gate.call_routed, "3", call, route()), expected)

    def test_what_is_refused_takes_nothing(self) -> None:
        """A call that one limit stops does not use up another one."""
        self.guard(limits=CallLimits(per_second=2, per_second_user=1))
        self.gate.call_routed("1", asked(user="alice"), route())
        for number in range(5):
            refusal(self, self.gate.call_routed, f"r{number}", asked(user="alice"), route())
        self.gate.call_routed("2", asked(user="bob"), route())
        self.assertEqual(dict(self.gate.refused), {"user-rate": 5})


class TrunkTests(GuardCase):
    """Legs that go out."""

    def test_legs(self) -> None:
        """So many legs to a trunk at the same time; others go on, and a leg that ended makes room, once."""
        self.guard(limits=CallLimits(trunks={"carrier": TrunkLimits(calls_out=2)}))
        legs = [attempt(trunk="carrier") for _ in range(3)]
        self.assertEqual([self.gate.attempt("1", leg) for leg in legs[:2]], ["", ""])
        self.assertEqual(self.gate.attempt("2", legs[2]), "no more than 2 calls to trunk carrier")
        self.assertEqual(dict(self.gate.refused), {"trunk-out": 1})
        self.assertEqual(self.gate.attempt("2", attempt(trunk="other")), "")
        self.assertEqual(self.gate.attempt("2", attempt()), "")
        self.gate.attempt_ended("2", legs[2])
        for _ in range(2):
            self.gate.attempt_ended("1", legs[0])
        self.assertEqual(self.gate.count("trunk-out", "carrier"), 1)
        self.assertEqual(self.gate.attempt("2", legs[2]), "")

    def test_the_same_leg_twice(self) -> None:
        """Two legs that look alike are two; the end of a call is the end of all that is left of it."""
        self.guard(limits=CallLimits(trunk=TrunkLimits(calls_out=5)))
        one, other = attempt(trunk="carrier"), attempt(trunk="carrier")
        self.assertEqual(one, other)
        for leg in (one, other, one):
            self.gate.attempt("1", leg)
        self.assertEqual(self.gate.counts("trunk-out"), {"carrier": 3})
        self.gate.attempt_ended("1", one)
        self.assertEqual(self.gate.count("trunk-out", "carrier"), 2)
        self.gate.call_ended("1")
        self.assertEqual(self.gate.count("trunk-out", "carrier"), 0)
        self.gate.attempt_ended("1", other)

    def test_legs_a_second(self) -> None:
        """So many a second go out to a trunk."""
        self.guard(limits=CallLimits(trunk=TrunkLimits(per_second_out=1)))
        self.assertEqual(self.gate.attempt("1", attempt(trunk="carrier")), "")
        expected = "no more than 1 calls a second to trunk carrier"
        self.assertEqual(self.gate.attempt("2", attempt(trunk="carrier")), expected)
        self.clock.advance(1.0)
        self.assertEqual(self.gate.attempt("2", attempt(trunk="carrier")), "")

    def test_both_ways(self) -> None:
        """What comes and what goes counts together where a trunk has one bound for both."""
        self.guard(limits=CallLimits(trunk=TrunkLimits(calls=2)))
        self.gate.call_routed("1", asked(trunk="carrier"), route())
        self.assertEqual(self.gate.attempt("2", attempt(trunk="carrier")), "")
        text = "no more than 2 calls from and to trunk carrier"
        self.assertEqual(self.gate.attempt("3", attempt(trunk="carrier")), text)
        self.assertEqual(refusal(self, self.gate.call_routed, "4", asked(trunk="carrier"), route())[0], 503)


class DurationTests(GuardCase):
    """How long a call may last."""

    def test_the_tightest(self) -> None:
        """The route's own bound, that of all calls and what is left of a budget: the smallest counts."""
        budget = Budget(name="all", seconds=50.0)
        leg = attempt()
        for limits, fraud, of_route, expected in (
            (CallLimits(), FraudSettings(), None, None),
            (CallLimits(), FraudSettings(), 30.0, 30.0),
            (CallLimits(duration=20.0), FraudSettings(), 30.0, 20.0),
            (CallLimits(duration=40.0), FraudSettings(), None, 40.0),
            (CallLimits(duration=60.0), FraudSettings(budgets=(budget,)), None, 50.0),
        ):
            self.guard(limits=limits, fraud=fraud)
            found = self.gate.call_routed("1", asked("sip:030@example.com"), route(leg, duration=of_route))
            self.assertEqual(found.duration, expected)
            self.assertEqual(found.rounds, ((leg,),))


class OverloadTests(GuardCase):
    """When there is too much to do."""

    def load(self, cpu: float, number: int = 40) -> None:
        """Let the processor be that busy for a while."""
        for _ in range(number):
            self.guards.overload.measured(0.0, cpu)

    def setUp(self) -> None:
        super().setUp()
        overload = OverloadSettings(cpu=0.5, lag=0.5, last_lag=2.0)
        self.guard(overload=overload, emergency_numbers=frozenset(("112",)))

    def test_refuses(self) -> None:
        """What cannot be taken gets 503, a Retry-After that is not the same for all, and says what is measured."""
        self.load(1.0)
        found = {refusal(self, self.gate.call_offered, asked(call_id=str(number))) for number in (1, 2, 3, 4)}
        self.assertEqual({status for status, _, _ in found}, {503})
        text = "Overloaded: lag 0.00 s of 0.5, CPU 100% of 50%; 1% of new calls taken"
        self.assertEqual({text for _, text, _ in found}, {text})
        waits = {int(wait or 0) for _, _, wait in found}
        self.assertTrue(len(waits) > 1 and min(waits) >= 10 and max(waits) <= 20, waits)
        self.assertEqual(self.gate.refused["overload"], 4)

    def test_the_same_luck(self) -> None:
        """A call that comes again with a password is taken if it was taken without; about the share of all is."""
        self.guards.overload.share = 0.5
        taken: list[bool] = []
        for number in range(400):
            call = asked(call_id=f"call-{number}")
            fates = {self.is_taken(self.gate.call_offered, call) for _ in range(3)}
            self.assertEqual(len(fates), 1)
            taken += fates
        self.assertTrue(150 < sum(taken) < 250, sum(taken))

    def is_taken(self, function: Callable[..., object], *arguments: object) -> bool:
        """Say whether something is not refused."""
        try:
            function(*arguments)
        except Exception as error:
            self.assertEqual(getattr(error, "status", None), 503)
            return False
        return True

    def test_emergency_calls(self) -> None:
        """They pass by what they call until it is known that they do not; only the last step stops them."""
        self.load(1.0)
        for to in ("sip:112@example.com", "tel:1-1-2", "urn:service:sos", "urn:service:sos.fire"):
            self.gate.call_offered(asked(to))
        emergency = EmergencyRoute(name="emergency", rounds=())
        self.assertIs(self.gate.call_routed("1", asked("sip:112@example.com"), emergency), emergency)
        # Somebody of that name is called.
        self.assertEqual(refusal(self, self.gate.call_routed, "2", asked("sip:112@example.com"), route())[0], 503)
        for _ in range(40):
            self.guards.overload.measured(9.0, 1.0)
        self.assertEqual(refusal(self, self.gate.call_offered, asked("urn:service:sos"))[0], 503)
        self.assertEqual(refusal(self, self.gate.call_routed, "3", asked("urn:service:sos"), emergency)[0], 503)

    def test_a_request_without_a_call_id(self) -> None:
        """What a transfer asks about is no message that came, and is asked about all the same."""
        self.guards.overload.share = 0.5
        strange = asked()
        strange.request.headers.remove("Call-ID")
        self.assertIn(self.is_taken(self.gate.call_offered, strange), (True, False))


class EmergencyTests(GuardCase):
    """Emergency calls and limits."""

    def test_pass_all_limits(self) -> None:
        """No number of calls, no rate, no duration and no budget stops one; it counts as a call."""
        limits = CallLimits(
            calls=1,
            per_second=1,
            calls_per_user=1,
            duration=10.0,
            trunk=TrunkLimits(calls_out=1, per_second_out=1),
        )
        self.guard(limits=limits, fraud=FraudSettings(budgets=(Budget(name="all", attempts=1),)))
        leg = attempt("sip:112@carrier.example", trunk="carrier")
        emergency = EmergencyRoute(name="emergency", rounds=((leg,),))
        for number in range(3):
            self.gate.call_offered(asked("urn:service:sos", user="alice"))
            found = self.gate.call_routed(str(number), asked("sip:112@example.com", user="alice"), emergency)
            self.assertIsNone(found.duration)
            self.assertEqual(self.gate.attempt(str(number), leg), "")
        self.assertEqual((len(self.gate), self.gate.count("user", "alice")), (3, 3))
        self.assertEqual(refusal(self, self.gate.call_routed, "9", asked(user="alice"), route())[0], 503)
        self.assertNotEqual(self.gate.attempt("9", leg), "")
        for number in range(3):
            self.gate.call_ended(str(number))
        self.assertEqual((len(self.gate), self.gate.counts("trunk-out")), (0, {}))


class FraudTests(GuardCase):
    """What looks like fraud."""

    def test_refused(self) -> None:
        """A call beyond a budget gets 403, says which one, and somebody is told once."""
        budget = Budget(name="premium", prefixes=("0900",), attempts=1)
        self.guard(fraud=FraudSettings(budgets=(budget,)))
        call = asked("sip:0900123@example.com", user="alice")
        self.gate.call_routed("1", call, route(attempt()))
        for _ in range(2):
            expected = (403, "Budget premium Of alice: 1 calls within 86400 s", None)
            self.assertEqual(refusal(self, self.gate.call_routed, "2", call, route(attempt())), expected)
        self.assertEqual(dict(self.gate.refused), {"fraud": 2})
        self.assertEqual(
            self.lines,
            [
                f'security: fraud src={HOST} port=5060 account="alice" rule="premium" number="0900123" '
                'reason="1 calls within 86400 s" refused="yes"'
            ],
        )

    def test_what_the_trunk_is_asked_for(self) -> None:
        """The number counts as it was dialled, and as it leaves; calls to our own users do not count."""
        self.guard(fraud=FraudSettings(budgets=(Budget(name="cuba", prefixes=("+53",), parallel=1),)))
        self.gate.call_routed("1", asked("sip:77@example.com", user="alice"), route(attempt("tel:+5312")))
        number = asked("sip:+5399@example.com", user="alice")
        self.assertEqual(refusal(self, self.gate.call_routed, "2", number, route(attempt("sip:99@c.example")))[0], 403)
        self.gate.call_routed("2", number, route(attempt("sip:+5399@192.0.2.7", user="bob"), aor=BOB))

    def test_what_the_dial_plan_calls(self) -> None:
        """A number counts as the dial plan knows it, whatever stands before it, and however the trunk wants it."""
        self.guard(fraud=FraudSettings(budgets=(Budget(name="cuba", prefixes=("+53",), parallel=1),)))
        written = dataclasses.replace(attempt("sip:5312@c.example"), called="+5312")
        self.gate.call_routed("1", asked("sip:9005312@example.com", user="alice"), route(written))
        again = asked("sip:9005399@example.com", user="alice")
        written = dataclasses.replace(attempt("sip:5399@c.example"), called="+5399")
        self.assertEqual(refusal(self, self.gate.call_routed, "2", again, route(written))[0], 403)

    def test_logged(self) -> None:
        """Where only a line is wanted, the call goes on."""
        countries = CountrySettings(action=Action.LOG, learning=10.0)
        self.guard(fraud=FraudSettings(countries=countries, international_prefixes=("00",)))
        self.gate.call_routed("1", asked("sip:0033@example.com", trunk="pbx"), route(attempt()))
        self.clock.advance(10.0)
        self.gate.call_routed("2", asked("sip:0053@example.com", trunk="pbx"), route(attempt()))
        (line,) = self.lines
        self.assertIn('account="trunk:pbx" rule="countries" number="+53" reason="no call to +53 before"', line)

    def test_seconds_from_the_answer(self) -> None:
        """The watch of answers tells the guard when people talk; parts of a call that count as calls hear it, too."""
        from sipd.interfaces import Decision

        budget = Budget(name="all", seconds=100.0)
        self.guard(fraud=FraudSettings(budgets=(budget,)))
        for name in ("call", "call/1"):
            self.gate.call_routed(name, asked("sip:030@example.com", user="alice"), route(attempt()))
            self.guards.answers.call_decided("call", Decision(at=0.0, kind="progress", text="180"))
            self.guards.answers.call_decided("call", Decision(at=0.0, kind="answered", text="200"))
            self.clock.advance(10.0)
        self.assertEqual(self.guards.fraud.seconds_spent(budget, "alice"), 20.0 + 10.0)
        for name in ("call", "call/1"):
            self.gate.call_ended(name)
        self.assertEqual(self.guards.fraud.seconds_spent(budget, "alice"), 30.0)

    def test_seconds_of_a_part(self) -> None:
        """What a transfer calls spends seconds even where the call itself spends none."""
        budget = Budget(name="all", seconds=100.0)
        self.guard(fraud=FraudSettings(budgets=(budget,)))
        self.gate.call_routed("call", asked(user="alice"), route(attempt(BOB, user="bob"), aor=BOB))
        self.gate.call_routed("call/1", asked("sip:030@example.com", user="alice"), route(attempt()))
        self.guards.fraud.answered("call")
        self.clock.advance(10.0)
        self.assertEqual(self.guards.fraud.seconds_spent(budget, "alice"), 10.0)


class ReloadTests(GuardCase):
    """Settings that change while calls go on."""

    def test_apply(self) -> None:
        """New limits hold for the calls that there are, which count on."""
        from sipd.guards.guards import GuardSettings

        self.gate.call_routed("1", asked(), route())
        self.guards.apply(GuardSettings(limits=CallLimits(calls=1)))
        self.assertEqual(refusal(self, self.gate.call_routed, "2", asked(), route())[0], 503)
        self.guards.apply(GuardSettings())
        self.gate.call_routed("2", asked(), route())
