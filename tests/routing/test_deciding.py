"""Tests of `sipd.routing.deciding`: what becomes of what the application decides, and of what it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface.verify import verifyObject

from sipd.errors import RequestRefusedError
from sipd.interfaces import Attempt, IRouter, Route, RoutingRequest
from sipd.routing.deciding import CallDecision, ContactRouter, Decider, DecidingRouter
from sipd.routing.questions import MAX_AT_ONCE, MAX_ROUNDS
from sipd.routing.registered import RegisteredUsers
from sipd.routing.rules import StaticRoute, is_emergency
from sipd.sip.message import Request
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from tests.routing.case import Location, PlanCase, asked, binding

_NUMBER = "sip:+49301234@example.com"
_EMERGENCY = frozenset(("112",))


class DecidingCase(PlanCase):
    """An application in front of a dial plan; bob has two contacts, alice has none."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.seen: list[RoutingRequest] = []
        self.decision: Any = None
        self.failure: BaseException | None = None
        self.waiting: Deferred[None] | None = None
        self.was_cancelled = False
        self.authentication: Callable[[RoutingRequest], bool | None] | None = None
        gateway = StaticRoute(
            name="gateway", sources=(), to="sip:{0}@gateway.example.net", user=None, authenticate=False
        )
        self.plan = self.table(gateway, emergency=tuple(_EMERGENCY))
        self.location = Location(binding("sip:bob@192.0.2.5"), binding("sip:bob@192.0.2.6", q=0.5))

    async def call_offered(self, asked: RoutingRequest) -> CallDecision:
        """Decide what the test says."""
        self.seen.append(asked)
        if self.waiting is not None:
            try:
                await self.waiting
            except CancelledError:
                self.was_cancelled = True
                raise
        if self.failure is not None:
            raise self.failure
        return cast(CallDecision, self.decision)

    def router(self, call_offered: Any = None) -> DecidingRouter:
        """Make the router."""
        users = RegisteredUsers(
            domains=frozenset(("example.com",)),
            location=self.location,
            is_user=("alice", "bob").__contains__,
            timeout=45.0,
        )
        self.decider = Decider(
            call_offered or self.call_offered,
            self.clock,
            patience=4.0,
            needs_authentication=self.authentication,
        )
        contacts = ContactRouter(users)
        verifyObject(IRouter, contacts)
        router = DecidingRouter(
            self.plan,
            self.decider,
            contacts=contacts,
            has_user=users.has,
            is_emergency=lambda one: is_emergency(one.request.uri, _EMERGENCY),
            domain="example.com",
            timeout=45.0,
        )
        verifyObject(IRouter, router)
        self.addCleanup(lambda: self.assertEqual((len(self.decider), self.clock.getDelayedCalls()), (0, [])))
        return router

    def decided(self, decision: object, uri: str = _NUMBER) -> Route:
        """Give where a call goes of which the application decides that."""
        self.decision = decision
        return self.successResultOf(self.router().route(asked(uri)))

    def watch_log(self) -> list[dict[str, Any]]:
        """Keep what is logged from now on."""
        events: list[dict[str, Any]] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return events


class DecisionTests(DecidingCase):
    """What may be decided."""

    def test_the_dial_plan(self) -> None:
        """`None` leaves the call to the dial plan, and that is said."""
        route = self.decided(None)
        self.assertEqual(route.name, "gateway")
        self.assertEqual(route.considered[0], "the application: leaves this call to the dial plan")
        self.assertIn("route gateway: taken", route.considered)
        self.assertEqual(len(self.seen), 1)

    def test_route(self) -> None:
        """A route is taken as it is."""
        attempt = Attempt(uri=parse_uri("sip:1@192.0.2.9"), label="one")
        route = self.decided(Route(name="mine", rounds=((attempt,),), considered=("by day",), duration=60.0))
        self.assertEqual((route.name, route.rounds, route.duration), ("mine", ((attempt,),), 60.0))
        self.assertEqual(route.considered, ("the application: route mine", "by day"))

    def test_attempt(self) -> None:
        """An attempt is tried as it is."""
        attempt = Attempt(uri=parse_uri("sip:1@192.0.2.9"), label="carrier", timeout=5.0, stops=frozenset((486,)))
        route = self.decided(attempt)
        self.assertEqual(route.rounds, ((attempt,),))
        self.assertEqual(route.considered, ("the application: carrier at sip:1@192.0.2.9",))

    def test_address(self) -> None:
        """An address elsewhere is called there, for as long as the plan lets contacts ring."""
        route = self.decided("sip:carol@192.0.2.7:5070;transport=tcp")
        self.assertEqual(self.uris(route), [["sip:carol@192.0.2.7:5070;transport=tcp"]])
        ((attempt,),) = route.rounds
        self.assertEqual((attempt.timeout, attempt.user, route.aor), (45.0, None, None))

    def test_user(self) -> None:
        """A user by name, or by an address of ours, is called at its contacts, those of the highest q first."""
        for named in ("bob", "sip:bob@example.com", "SIP:bob@EXAMPLE.COM"):
            route = self.decided(named)
            self.assertEqual(self.uris(route), [["sip:bob@192.0.2.5"], ["sip:bob@192.0.2.6"]])
            self.assertEqual(route.aor, "sip:bob@example.com")
            self.assertEqual([attempt.user for (attempt,) in route.rounds], ["bob", "bob"])
            self.assertEqual(
                route.considered, (f"the application: {named}", "registered: 2 contacts of bob"), route.considered
            )

    def test_several(self) -> None:
        """A list is tried one after another; an inner list rings together, with all contacts of its users."""
        attempt = Attempt(uri=parse_uri("sip:1@192.0.2.9"), label="one")
        route = self.decided(["sip:carol@192.0.2.7", ("bob", attempt), "bob"])
        self.assertEqual(
            self.uris(route),
            [
                ["sip:carol@192.0.2.7"],
                ["sip:bob@192.0.2.5", "sip:bob@192.0.2.6", "sip:1@192.0.2.9"],
                ["sip:bob@192.0.2.5"],
                ["sip:bob@192.0.2.6"],
            ],
        )
        self.assertEqual(
            route.considered[0],
            "the application: sip:carol@192.0.2.7, then bob and one at sip:1@192.0.2.9, then bob",
        )
        self.assertIsNone(route.aor)

    def test_nobody_there(self) -> None:
        """A user without contacts, or who is none, gives what the dial plan would give; others are tried."""
        route = self.decided("alice")
        self.assertEqual((route.refusal, route.aor), ((480, "Not Registered"), "sip:alice@example.com"))
        self.assertEqual(self.decided("nobody").refusal, (404, "No Such User"))
        route = self.decided(["nobody", ["alice"], "bob"])
        self.assertEqual(self.uris(route), [["sip:bob@192.0.2.5"], ["sip:bob@192.0.2.6"]])
        self.assertIn("registered: nobody is no user", route.considered)
        self.assertEqual(self.decided(["alice", "nobody"]).refusal, (480, "Not Registered"))

    def test_nobody_named(self) -> None:
        """A list of nobody is answered with 480."""
        nobodies: list[list[object]] = [[], [[]]]
        for nobody in nobodies:
            self.assertEqual(self.decided(nobody).refusal, (480, "Nobody To Call"))

    def test_odd_texts(self) -> None:
        """What is no address is passed over with its reason; every other text is a name, however odd."""
        route = self.decided(["sip:", "bob"])
        self.assertEqual(len(route.rounds), 2)
        self.assertIn("the application: sip: is no address", " ".join(route.considered))
        self.assertEqual(self.decided("sip:").refusal, (484, "Address Incomplete"))
        self.assertEqual(self.decided("b@b\r\nEvil: 1").refusal, (404, "No Such User"))
        self.assertNotIn("\n", "".join(self.decided("b@b\r\nEvil: 1").considered[0]))

    def test_of_a_plain_function(self) -> None:
        """A function that gives a Deferred, or the decision itself, will do."""
        self.decision = "bob"
        for hook in (lambda _: "bob", lambda one: Deferred.fromCoroutine(self.call_offered(one))):
            self.assertEqual(len(self.successResultOf(self.router(hook).route(asked(_NUMBER))).rounds), 2)


class RefusalTests(DecidingCase):
    """Calls that the application does not let pass, and decisions that are none."""

    def refused(self, error: BaseException) -> Route:
        """Give the route of a call for which the application raises that."""
        self.failure = error
        return self.successResultOf(self.router().route(asked(_NUMBER)))

    def test_refused(self) -> None:
        """`RequestRefusedError` refuses with its status, reason and Retry-After."""
        route = self.refused(RequestRefusedError("Closed Today", status=480, headers=(("Retry-After", "60"),)))
        self.assertEqual((route.refusal, route.retry_after), ((480, "Closed Today"), 60))
        self.assertEqual(route.considered, ("the application: refuses: 480 Closed Today",))
        self.assertIsNone(self.refused(RequestRefusedError("No", status=603)).retry_after)

    def test_refused_with_header_fields(self) -> None:
        """One that has other header fields is passed on as it is."""
        self.failure = RequestRefusedError("Moved", status=302, headers=(("Contact", "<sip:b@192.0.2.3>"),))
        failure = self.failureResultOf(self.router().route(asked(_NUMBER)), RequestRefusedError)
        self.assertIs(failure.value, self.failure)

    def test_failed(self) -> None:
        """Anything else is logged with its traceback and the call's id, and answered with 500."""
        events = self.watch_log()
        route = self.refused(LookupError("password is hunter2"))
        self.assertEqual(route.refusal, (500, "Server Internal Error"))
        self.assertEqual(route.considered, ("the application: has failed: LookupError",))
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        (event,) = [event for event in events if "log_failure" in event]
        self.assertEqual(event["call_id"], self.seen[0].request.call_id)

    def test_no_refusal(self) -> None:
        """A refusal with a status that refuses nothing is a mistake of the application."""
        self.assertEqual(self.refused(RequestRefusedError("OK", status=200)).refusal, (500, "Server Internal Error"))
        self.assertEqual(len(self.flushLoggedErrors(RequestRefusedError)), 1)

    def test_no_decision(self) -> None:
        """A value that is no decision is a mistake of the application: logged, and 500."""
        attempt = Attempt(uri=parse_uri("sip:1@192.0.2.9"), label="one")
        route = Route(name="r", rounds=((attempt,),))
        for decision in (5, b"bob", {"bob": 1}, [5], [["bob", None]], [route], [[["bob"]]]):
            self.assertEqual(self.decided(decision).refusal, (500, "Server Internal Error"), decision)
            self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_too_many(self) -> None:
        """More destinations than there may be are a mistake; as many as there may be are called."""
        most = ["sip:c@192.0.2.7"] * MAX_ROUNDS
        together = [["sip:c@192.0.2.7"] * MAX_AT_ONCE]
        self.assertEqual(len(self.decided(most).rounds), MAX_ROUNDS)
        self.assertEqual(len(self.decided(together).rounds[0]), MAX_AT_ONCE)
        for decision in ([*most, "bob"], [[*together[0], "bob"]]):
            self.assertEqual(self.decided(decision).refusal, (500, "Server Internal Error"))
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class PatienceTests(DecidingCase):
    """Applications that take their time."""

    def setUp(self) -> None:
        super().setUp()
        self.waiting = Deferred()

    def test_in_time(self) -> None:
        """A decision may take as long as the patience lasts."""
        self.decision = "bob"
        routing = self.router().route(asked(_NUMBER))
        self.clock.advance(3.9)
        self.assertNoResult(routing)
        self.assertEqual(len(self.decider), 1)
        assert self.waiting is not None
        self.waiting.callback(None)
        self.assertEqual(len(self.successResultOf(routing).rounds), 2)

    def test_too_late(self) -> None:
        """Then it is cancelled, and the caller gets 503, with the reason in the explanation."""
        routing = self.router().route(asked(_NUMBER))
        self.clock.advance(4.0)
        route = self.successResultOf(routing)
        self.assertEqual((route.refusal, route.retry_after), ((503, "No Routing Decision In Time"), 10))
        self.assertEqual(route.considered, ("the application: no decision within 4 s",))
        self.assertTrue(self.was_cancelled)

    def test_will_not_be_cancelled(self) -> None:
        """An application that goes on although it was cancelled keeps nobody waiting; what it raises is logged."""
        end: Deferred[None] = Deferred()

        async def stubborn(asked: RoutingRequest) -> CallDecision:
            try:
                await Deferred()
            except CancelledError:
                await end
            raise LookupError("much later")

        routing = self.router(stubborn).route(asked(_NUMBER))
        self.clock.advance(4.0)
        self.assertEqual(self.successResultOf(routing).refusal, (503, "No Routing Decision In Time"))
        end.callback(None)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_stopped(self) -> None:
        """Closed, it asks no more, and what is being asked is cancelled."""
        router = self.router()
        routing = router.route(asked(_NUMBER))
        self.decider.close()
        for route in (self.successResultOf(routing), self.successResultOf(router.route(asked(_NUMBER)))):
            self.assertEqual(route.refusal, (503, "Shutting Down"))
        self.assertTrue(self.was_cancelled)
        self.assertEqual(len(self.seen), 1)

    def test_bound(self) -> None:
        """Patience has to be some."""
        for patience in (0.0, -1.0, float("nan")):
            self.assertRaises(ValueError, Decider, self.call_offered, self.clock, patience=patience)

    def test_not_wanted_any_more(self) -> None:
        """To cancel the routing cancels the application's coroutine."""
        routing = self.router().route(asked(_NUMBER))
        routing.cancel()
        self.failureResultOf(routing, CancelledError)
        self.assertTrue(self.was_cancelled)


class QuestionTests(DecidingCase):
    """What the application is asked about."""

    def test_emergency(self) -> None:
        """An emergency call goes by the dial plan at once."""
        route = self.decided("bob", "sip:112@example.com")
        self.assertEqual((route.name, route.is_emergency, self.seen), ("gateway", True, []))

    def test_other_requests(self) -> None:
        """A MESSAGE goes by the dial plan."""
        question = asked(_NUMBER)
        message = builders.request("MESSAGE", _NUMBER)
        self.decision = "bob"
        route = self.successResultOf(self.router().route(_about(message, question)))
        self.assertEqual((route.name, self.seen), ("gateway", []))

    def test_authentication_is_the_plans(self) -> None:
        """Who has to prove who it is is for the dial plan to say."""
        self.assertFalse(self.router().needs_authentication(asked(_NUMBER)))
        self.plan = self.table()
        self.assertTrue(self.router().needs_authentication(asked(_NUMBER)))

    def test_authentication_hook(self) -> None:
        """A hook may say it instead, or leave it to the plan; it is not asked about emergency calls."""
        self.authentication = lambda one: None if one.request.uri_text == _NUMBER else True
        router = self.router()
        self.assertFalse(router.needs_authentication(asked(_NUMBER)))
        self.assertTrue(router.needs_authentication(asked("sip:1@example.com")))
        self.assertFalse(router.needs_authentication(asked("sip:112@example.com")))

    def test_authentication_hook_fails(self) -> None:
        """One that fails lets nobody in: the caller is asked, and the failure is logged."""

        def fail(_: RoutingRequest) -> bool:
            raise LookupError("no such table")

        self.authentication = fail
        self.assertTrue(self.router().needs_authentication(asked(_NUMBER)))
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)


def _about(request: Request, like: RoutingRequest) -> RoutingRequest:
    return RoutingRequest(request=request, user=like.user, source=like.source, point=like.point)
