"""A router before which accounts are loaded."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.accounts.interfaces import StoreUnavailableError
from sipd.accounts.loading import MAX_LOADS, LoadingRouter
from sipd.errors import RequestRefusedError
from sipd.interfaces import Attempt, IRouter, Route, RoutingRequest
from sipd.sip.locate import Target, Transport
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from tests.accounts.fakes import FakeStore, stored
from tests.accounts.test_directory import DirectoryCase

ASKED = RoutingRequest(
    request=builders.invite("sip:alice@example.com"),
    user=None,
    source=Target(transport=Transport.UDP, host="192.0.2.1", port=5060),
    point="udp",
)


@implementer(IRouter)
class AsksFor:
    """Finds out whether some users exist, one after another, and sends calls to all of them."""

    def __init__(self, is_user: Callable[[str], bool], *names: str, contacts: tuple[str, ...] = ()) -> None:
        self.is_user = is_user
        self.names = names
        self.contacts = contacts
        self.count = 0

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        return "alice" in self.names

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        self.count += 1
        known = tuple(f"{name}: {self.is_user(name)}" for name in self.names)
        rounds = tuple(
            (Attempt(uri=parse_uri(f"sip:{name}@192.0.2.9"), label=name, user=name),) for name in self.contacts
        )
        return succeed(Route(name="r", rounds=rounds, considered=known, aor="sip:x@example.com"))


class LoadingTests(DirectoryCase):
    """Before the router."""

    def router(self, *names: str, contacts: tuple[str, ...] = ()) -> LoadingRouter:
        """Make one."""
        self.behind = AsksFor(self.directory.is_user, *names, contacts=contacts)
        return LoadingRouter(self.behind, self.directory)

    def test_interface(self) -> None:
        """It is a router, and leaves it to the one behind who has to prove who it is."""
        router = self.router("alice")
        verifyObject(IRouter, router)
        self.assertTrue(router.needs_authentication(ASKED))
        self.assertFalse(self.router("bob").needs_authentication(ASKED))

    def test_loads(self) -> None:
        """Whoever the router asks for is loaded, and then it is asked again."""
        route = self.successResultOf(self.router("alice", "root", "dave", "carol").route(ASKED))
        self.assertEqual(route.considered, ("alice: True", "root: True", "dave: False", "carol: True"))
        self.assertEqual(self.behind.count, 4)

    def test_known_costs_nothing(self) -> None:
        """Where everybody is known the router is asked once, and nobody else."""
        self.account("alice")
        self.first.asked.clear()
        self.successResultOf(self.router("alice", "root", contacts=("alice", "root")).route(ASKED))
        self.assertEqual((self.behind.count, self.first.asked), (1, []))

    def test_callees_are_loaded(self) -> None:
        """The accounts of those who are called are there when the route is."""
        self.successResultOf(self.router(contacts=("alice", "carol", "dave")).route(ASKED))
        self.assertIsNotNone(self.directory.known("alice"))
        self.assertIsNotNone(self.directory.known("carol"))

    def test_store_is_away(self) -> None:
        """If that cannot be found out, the call is refused with 503, and is not taken for one to nobody."""
        self.first.error = StoreUnavailableError("away")
        for router in (self.router("alice"), self.router(contacts=("alice",))):
            self.assertEqual(self.refusal(router.route(ASKED))[0], 503)

    def test_stale(self) -> None:
        """While a store is away, users that are remembered are called."""
        self.account("alice")
        self.clock.advance(100)
        self.first.error = StoreUnavailableError("away")
        route = self.successResultOf(self.router("alice", contacts=("alice",)).route(ASKED))
        self.assertEqual((route.considered, len(route.rounds)), (("alice: True",), 1))

    def test_disabled(self) -> None:
        """A user who is not enabled is not called, though a phone may still be registered."""
        self.first.has["alice"] = stored("alice", enabled=False)
        route = self.successResultOf(self.router(contacts=("alice", "bob")).route(ASKED))
        self.assertEqual([attempt.user for (attempt,) in route.rounds], ["bob"])
        self.assertEqual((route.considered, route.refusal), (("account of alice: not enabled",), None))
        route = self.successResultOf(self.router(contacts=("alice",)).route(ASKED))
        self.assertEqual((route.rounds, route.refusal, route.aor), ((), (404, "No Such User"), None))

    def test_too_many(self) -> None:
        """A router that never has enough is stopped."""
        names = [f"user{number}" for number in range(MAX_LOADS + 1)]
        error = self.failureResultOf(self.router(*names).route(ASKED), RequestRefusedError).value
        self.assertEqual(error.status, 503)

    def test_failure_of_the_router(self) -> None:
        """Any other failure of the router is the router's."""
        router = self.router("alice")
        self.behind.is_user = lambda name: 1 / 0 > 0
        self.failureResultOf(router.route(ASKED), ZeroDivisionError)


class NothingToLoadTests(SynchronousTestCase):
    """The fake."""

    def test_fake(self) -> None:
        """A store that is slow keeps questions open."""
        store = FakeStore(stored())
        store.is_slow = True
        question = store.find("alice")
        self.assertNoResult(question)
        store.answer()
        self.assertIsNotNone(self.successResultOf(question))
