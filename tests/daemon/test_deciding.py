"""Tests of `SipService(call_offered=...)`: the application decides where calls go. Over real sockets, mostly."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from sipd.accounts.loading import LoadingRouter
from sipd.daemon.config import build
from sipd.daemon.service import SipService
from sipd.daemon.values import Surroundings
from sipd.errors import RequestRefusedError
from sipd.interfaces import Route, RoutingRequest
from sipd.routing.deciding import CallDecision, ContactRouter, Decider, DecidingRouter
from sipd.routing.registered import RegisteredUsers
from sipd.testing.peer import Peer
from tests.accounts.fakes import FakeStore, stored
from tests.accounts.test_directory import REALM, DirectoryCase
from tests.daemon.test_service import ServiceCase
from tests.ports import HOST
from tests.routing.case import Location, asked, binding


class CallOfferedTests(ServiceCase):
    """A service inside of an application."""

    def setUp(self) -> None:
        super().setUp()
        self.seen: list[tuple[str | None, str]] = []
        self.more: dict[str, Any] = {}
        self.was_cancelled = False

    async def call_offered(self, asked: RoutingRequest) -> CallDecision:
        """Decide by who is called."""
        uri = asked.request.uri_text
        self.seen.append((asked.user, uri))
        called = uri.partition(":")[2].partition("@")[0]
        match called:
            case "office":
                return "bob"
            case "hunt":
                return ["nobody", "bob"]
            case "closed":
                raise RequestRefusedError("Closed Today", status=603)
            case "slow":
                try:
                    await Deferred()
                except CancelledError:
                    self.was_cancelled = True
                    raise
            case "broken":
                raise LookupError("no such table")
        return None

    def make(self, table: dict[str, Any]) -> SipService:
        """Make a service that asks."""
        config = build(table, Surroundings(directory=self.directory, environment={}))
        return SipService(config, real_reactor, call_offered=self.call_offered, **self.more)

    def explained(self, service: SipService) -> str:
        """Give the explanation of the last call."""
        assert service.stack is not None
        explanations = service.stack.explanations
        return "\n".join(explanations.explain(explanations.calls()[-1]))

    def stranger(self, service: SipService) -> Peer:
        """Give a phone that proves nothing."""
        assert service.stack is not None
        point = service.stack.transport.points[0]
        stranger = Peer(
            real_reactor,
            "mallory",
            HOST,
            self.ports.take(),
            proxy=(point.host, point.port),
            entropy=self.entropy,
            domain=HOST,
            media=(HOST, self.ports.take()),
        )
        self.phones.append(stranger)
        return stranger

    async def phones_of(self, service: SipService) -> tuple[Peer, Peer]:
        """Register both; bob answers."""
        alice, bob = await self.register(service, "alice"), await self.register(service, "bob")
        bob.auto_answer(0.05, ring_after=None)
        return alice, bob

    async def test_decides(self) -> None:
        """The call goes to whom the application names; it was told who calls, which stands in the explanation."""
        service = await self.start()
        alice, bob = await self.phones_of(service)
        call = await alice.call("office").when_answered()
        self.assertEqual(call.status, 200)
        self.assertEqual(self.seen, [("alice", f"sip:office@{HOST}")])
        self.assertIn("the application: bob", self.explained(service))
        call.hang_up()
        await bob.calls[0].when_ended()

    async def test_dial_plan(self) -> None:
        """Calls that it leaves to the dial plan go there; nobody calls without a proof of who it is."""
        service = await self.start()
        alice, bob = await self.phones_of(service)
        call = await alice.call("bob").when_answered()
        call.hang_up()
        await bob.calls[0].when_ended()
        self.assertEqual((await alice.call("nobody").when_ended()).status, 404)
        stranger = self.stranger(service)
        self.assertEqual((await stranger.call("office").when_ended()).status, 407)
        self.assertEqual(len(self.seen), 2)

    async def test_refusals(self) -> None:
        """It refuses; what it does wrong is a 500 in the caller's eyes, and a traceback in the log."""
        service = await self.start()
        alice, _ = await self.phones_of(service)
        self.assertEqual((await alice.call("closed").when_ended()).status, 603)
        self.assertIn("the application: refuses: 603 Closed Today", self.explained(service))
        self.assertEqual((await alice.call("broken").when_ended()).status, 500)
        self.assertIn("the application: has failed: LookupError", self.explained(service))
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    async def test_impatient(self) -> None:
        """One that takes too long is cancelled; the caller gets 503."""
        self.more = {"patience": 0.2}
        service = await self.start()
        alice, _ = await self.phones_of(service)
        self.assertEqual((await alice.call("slow").when_ended()).status, 503)
        self.assertTrue(self.was_cancelled)
        self.assertIn("the application: no decision within 0.2 s", self.explained(service))

    async def test_the_caller_leaves(self) -> None:
        """A caller may leave while the application decides; what is decided then calls nobody."""
        self.more = {"patience": 0.3}
        service = await self.start()
        alice, bob = await self.phones_of(service)
        call = alice.call("slow")
        call.later(0.1, call.hang_up)
        self.assertEqual((await call.when_ended()).status, 487)
        self.assertEqual(bob.calls, [])

    async def test_authentication(self) -> None:
        """A hook of the application lets callers in whom the dial plan would have asked."""
        self.more = {"needs_authentication": lambda asked: False if "office" in asked.request.uri_text else None}
        service = await self.start()
        await self.phones_of(service)
        stranger = self.stranger(service)
        call = await stranger.call("office").when_answered()
        self.assertEqual((call.status, self.seen[-1][0]), (200, None))
        call.hang_up()
        await call.when_ended()
        self.assertEqual((await stranger.call("bob").when_ended()).status, 407)

    async def test_reload(self) -> None:
        """It goes on deciding after a reload, and the new dial plan has what it leaves."""
        table = self.table()
        service = await self.start(table)
        alice, bob = await self.phones_of(service)
        barred = {"name": "barred", "user": "9.*", "refuse": [410, "Barred Now"]}
        surroundings = Surroundings(directory=self.directory, environment={})
        service.reload(build({**table, "routes": [barred]}, surroundings))
        self.assertEqual((await alice.call("911").when_ended()).status, 410)
        call = await alice.call("hunt").when_answered()
        self.assertIn("registered: nobody is no user", self.explained(service))
        call.hang_up()
        await bob.calls[-1].when_ended()
        self.assertEqual(len(self.seen), 2)

    async def test_stopped_meanwhile(self) -> None:
        """When the service stops, a call that is being decided about is refused, and nothing is left."""
        service = await self.start()
        alice, _ = await self.phones_of(service)
        call = alice.call("slow")
        while not self.seen:
            await deferLater(real_reactor, 0.01)
        service.end_now()
        stopping = service.stopService()
        self.assertEqual((await call.when_ended()).status, 503)
        await stopping
        self.assertTrue(self.was_cancelled)
        (record,) = self.records()
        self.assertEqual(record["status"], 503)


class StoredUserTests(DirectoryCase):
    """Users that a store knows: alice, who is registered, and carol, who is not."""

    def route(self, decision: CallDecision) -> Route:
        """Give where a call goes of which the application decides that, asked once."""
        questions: list[RoutingRequest] = []

        async def call_offered(asked: RoutingRequest) -> CallDecision:
            questions.append(asked)
            return decision

        users = RegisteredUsers(
            domains=frozenset((REALM,)),
            location=Location(binding("sip:alice@192.0.2.5", aor="sip:alice@example.com")),
            is_user=self.directory.is_user,
            timeout=45.0,
        )
        contacts = LoadingRouter(ContactRouter(users), self.directory)
        router = DecidingRouter(
            LoadingRouter(contacts, self.directory),
            Decider(call_offered, self.clock),
            contacts=contacts,
            has_user=users.has,
            is_emergency=lambda asked: False,
            domain=REALM,
        )
        route = self.successResultOf(router.route(asked("sip:office@example.com")))
        self.assertEqual(len(questions), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return route

    def test_loaded(self) -> None:
        """A user whose account is not known yet is looked up, and the application is not asked again for that."""
        route = self.route("alice")
        self.assertEqual([str(attempt.uri) for (attempt,) in route.rounds], ["sip:alice@192.0.2.5"])
        self.assertEqual(self.route("carol").refusal, (480, "Not Registered"))
        self.assertEqual(self.route("nobody").refusal, (404, "No Such User"))

    def test_not_enabled(self) -> None:
        """A user who is not enabled is passed over, as by the dial plan."""
        self.directory = self.make(FakeStore(stored("alice", enabled=False)))
        self.assertEqual(self.route("alice").refusal, (404, "No Such User"))
        self.assertEqual(len(self.route(["alice", "sip:bob@192.0.2.7"]).rounds), 1)
