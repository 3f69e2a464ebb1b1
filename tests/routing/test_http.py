"""Tests of `sipd.routing.http`: what becomes of an answer, and of none. The service is a fake."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.interfaces import Attempt, IRouter, ITrunks, LegPolicy, Route, RoutingRequest
from sipd.routing.http import Fallback, HttpRouter, HttpRouterSettings, ServiceFailedError
from sipd.routing.questions import Answer, read_answer
from sipd.routing.registered import RegisteredUsers
from sipd.routing.rules import StaticRoute, is_emergency
from sipd.sip.locate import Target
from sipd.sip.uri import Uri, parse_uri
from tests.routing.case import Location, PlanCase, asked, binding

_NUMBER = "sip:+49301234@example.com"


class FakeService:
    """Answers what the test says; `None` fails."""

    def __init__(self) -> None:
        self.questions: list[dict[str, Any]] = []
        self.answer: Answer | None = None
        self.last: tuple[Answer, float] | None = None

    def ask(self, question: dict[str, Any]) -> Deferred[Answer]:
        """See `Service`."""
        self.questions.append(question)
        if self.answer is None:
            return fail(ServiceFailedError("late", "no answer within 2 s"))
        return succeed(self.answer)

    def remembered(self, question: dict[str, Any]) -> tuple[Answer, float] | None:
        """See `Service`."""
        return self.last


@implementer(ITrunks)
class Carriers:
    """One trunk that is up, and one that is down."""

    def identify(
        self, source: Target, peer_names: Sequence[str], uri: Uri | None = None, user: str | None = None
    ) -> str | None:
        """See `ITrunks`."""
        return None

    def attempt(self, name: str, number: str, request: RoutingRequest) -> Attempt | str:
        """See `ITrunks`."""
        if name == "down":
            return "it does not answer"
        if name != "up":
            raise KeyError(name)
        uri = parse_uri(f"sip:{number}@carrier.example.net")
        return Attempt(uri=uri, label="trunk up", trunk="up", timeout=25, stops=frozenset((486,)), trusted=True)

    def attempt_ended(
        self, name: str, status: int, server: Uri | None = None, retry_after: float | None = None
    ) -> None:
        """See `ITrunks`."""


class HttpRouterTests(PlanCase):
    """A service in front of a dial plan."""

    def setUp(self) -> None:
        self.service = FakeService()
        self.plan = self.table(
            StaticRoute(name="gateway", sources=(), to="sip:{0}@gateway.example.net", user=None, authenticate=False),
            emergency=("112",),
        )
        self.location = Location(binding("sip:bob@192.0.2.5"), binding("sip:bob@192.0.2.6", q=0.5))
        self.policy = LegPolicy()
        self.settings = HttpRouterSettings(domain="example.com", headers=("X-Account",), timeout=45.0)

    def router(self, **changes: Any) -> HttpRouter:
        """Make the router."""
        registered = RegisteredUsers(
            domains=frozenset(("example.com",)),
            location=self.location,
            is_user=("alice", "bob").__contains__,
            timeout=45.0,
        )
        router = HttpRouter(
            self.service,
            self.plan,
            replace(self.settings, **changes),
            is_emergency=lambda one: is_emergency(one.request.uri, frozenset(("112",))),
            users=registered.route,
            trunks=Carriers(),
            policies={"hide": self.policy},
        )
        verifyObject(IRouter, router)
        return router

    def answered(self, values: dict[str, Any], uri: str = _NUMBER) -> Route:
        """Give where a call goes of which the service says that."""
        self.service.answer = read_answer(json.dumps(values).encode())
        return self.successResultOf(self.router().route(asked(uri)))

    def test_attempts(self) -> None:
        """Rounds of attempts become those of the route, with what is said of each."""
        route = self.answered(
            {
                "name": "lcr",
                "rounds": [
                    [
                        {
                            "uri": "sip:9@192.0.2.1",
                            "next_hop": "sip:192.0.2.2;transport=tcp",
                            "timeout": 20,
                            "response_timeout": 3,
                            "stops": [486, 600],
                            "redirects": 2,
                            "codecs": ["PCMA", "opus/48000"],
                            "label": "first choice",
                            "caller": "+4930 5",
                            "caller_name": "Sales",
                        },
                        {"uri": "tel:+4930"},
                    ],
                    [{"trunk": "up", "number": "+49301234"}],
                ],
                "setup_timeout": 90,
                "duration": 3600,
                "warning": 30,
            }
        )
        self.assertEqual(self.uris(route), [["sip:9@192.0.2.1", "tel:+4930"], ["sip:+49301234@carrier.example.net"]])
        self.assertEqual((route.name, route.refusal), ("lcr", None))
        self.assertEqual((route.setup_timeout, route.duration, route.warning), (90, 3600, 30))
        (first, second), (by_trunk,) = route.rounds
        self.assertEqual(str(first.next_hop), "sip:192.0.2.2;transport=tcp")
        self.assertEqual((first.timeout, first.response_timeout, first.redirects), (20, 3, 2))
        self.assertEqual((first.stops, first.codecs), (frozenset((486, 600)), ("pcma", "opus/48000")))
        self.assertEqual((first.label, first.caller, first.caller_name), ("first choice", "+4930%205", "Sales"))
        self.assertEqual((second.timeout, second.label), (45.0, "route lcr"))
        self.assertEqual((by_trunk.timeout, by_trunk.trusted, by_trunk.label), (25, True, "trunk up"))

    def test_users(self) -> None:
        """A user is called at every contact at once; one that has none is passed over, and that is said."""
        route = self.answered({"rounds": [[{"user": "bob"}], [{"user": "alice"}, {"user": "nobody"}]]})
        self.assertEqual(self.uris(route), [["sip:bob@192.0.2.5", "sip:bob@192.0.2.6"]])
        self.assertEqual({attempt.user for attempt in route.rounds[0]}, {"bob"})
        self.assertIn("alice: passed over: Not Registered", route.considered)
        self.assertIn("nobody: passed over: No Such User", route.considered)

    def test_trunks_that_cannot_be_used(self) -> None:
        """A trunk that is down, or is none, is passed over; where nothing is left the call is refused with 503."""
        rounds = [[{"trunk": "down", "number": "1"}], [{"trunk": "none", "number": "1"}]]
        route = self.answered({"rounds": rounds})
        self.assertEqual((route.rounds, route.refusal), ((), (503, "No Way There Can Be Used")))
        self.assertEqual(
            route.considered,
            (
                "the routing service has answered",
                "down: passed over: it does not answer",
                "none: passed over: there is no such trunk",
                "none of its attempts can be made",
            ),
        )
        route = self.answered({"rounds": [*rounds, [{"trunk": "up", "number": "1 2"}]]})
        self.assertEqual(self.uris(route), [["sip:1%202@carrier.example.net"]])

    def test_policies(self) -> None:
        """An attempt may name a policy; where there is none of that name it is passed over, not made without."""
        attempts = [{"uri": "sip:a@192.0.2.1", "policy": "hide"}, {"uri": "sip:b@192.0.2.1", "policy": "none"}]
        route = self.answered({"rounds": [attempts]})
        self.assertEqual(self.uris(route), [["sip:a@192.0.2.1"]])
        self.assertIs(route.rounds[0][0].policy, self.policy)
        self.assertIn("sip:b@192.0.2.1: passed over: there is no policy none", route.considered)

    def test_refusals(self) -> None:
        """A refusal is that of the route, with when to come again."""
        route = self.answered({"refuse": {"status": 603, "reason": "Declined", "retry_after": 9}})
        self.assertEqual((route.refusal, route.retry_after, route.rounds), ((603, "Declined"), 9, ()))
        self.assertIn("it refuses: 603 Declined", route.considered)

    def test_left_to_the_dial_plan(self) -> None:
        """A call that the service leaves to the dial plan goes where that says, and both are explained."""
        route = self.answered({"continue": True})
        self.assertEqual(route.name, "gateway")
        self.assertEqual(
            route.considered[:2], ("the routing service has answered", "it leaves this call to the dial plan")
        )
        self.assertIn("route gateway: taken", route.considered)

    def test_no_answer(self) -> None:
        """Without an answer the dial plan decides, or the call is refused with 503, and why is explained."""
        route = self.successResultOf(self.router().route(asked(_NUMBER)))
        self.assertEqual(route.name, "gateway")
        self.assertEqual(route.considered[0], "the routing service failed (late): no answer within 2 s")
        route = self.successResultOf(self.router(fallback=Fallback.REFUSE).route(asked(_NUMBER)))
        self.assertEqual(route.refusal, (503, "Routing Service Unavailable"))
        self.assertIsNotNone(route.retry_after)

    def test_the_last_answer(self) -> None:
        """Without an answer the last good one to the same question is used, whatever the fallback is."""
        self.service.last = (read_answer(b'{"rounds": [[{"uri": "sip:old@192.0.2.1"}]]}'), 12.3)
        route = self.successResultOf(self.router(fallback=Fallback.REFUSE).route(asked(_NUMBER)))
        self.assertEqual(self.uris(route), [["sip:old@192.0.2.1"]])
        self.assertIn("its last answer to this question is used, which is 12 s old", route.considered)

    def test_emergency_calls(self) -> None:
        """An emergency call never waits for the service."""
        self.service.answer = read_answer(b'{"refuse": {"status": 403, "reason": "No"}}')
        route = self.successResultOf(self.router().route(asked("sip:112@example.com")))
        self.assertEqual((route.name, route.is_emergency), ("gateway", True))
        self.assertEqual(self.service.questions, [])
        self.assertIn("emergency", route.considered[0])

    def test_other_methods(self) -> None:
        """About requests of other methods the service is not asked, unless that is wanted."""
        self.service.answer = read_answer(b'{"refuse": {"status": 403, "reason": "No"}}')
        message = asked(_NUMBER)
        message.request.method = "MESSAGE"
        self.assertEqual(self.successResultOf(self.router().route(message)).name, "gateway")
        self.assertEqual(self.service.questions, [])
        router = self.router(methods=frozenset(("INVITE", "MESSAGE")))
        self.assertEqual(self.successResultOf(router.route(message)).refusal, (403, "No"))

    def test_who_has_to_prove_something(self) -> None:
        """Who has to prove who it is is for the dial plan to say."""
        self.assertFalse(self.router().needs_authentication(asked(_NUMBER)))
        self.plan = self.table()
        self.assertTrue(self.router().needs_authentication(asked(_NUMBER)))
        self.assertEqual(self.service.questions, [])

    def test_what_is_asked(self) -> None:
        """The question has what is known of the call, and the header fields that are wanted."""
        request = asked(_NUMBER, user="alice", headers=(("X-Account", "17"),))
        self.successResultOf(self.router().route(request))
        (question,) = self.service.questions
        self.assertEqual((question["user"], question["headers"]), ("alice", {"X-Account": ["17"]}))
