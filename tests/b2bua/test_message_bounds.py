"""Messages outside of calls at the limits: large ones, too many, the end of the server, and what breaks."""

from __future__ import annotations

import gc
import re
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from sipd.b2bua.delivery import Delivery
from sipd.b2bua.identity import Identities
from sipd.b2bua.page import Page
from sipd.b2bua.trust import IdentityPolicy
from sipd.errors import RemoteError
from sipd.interfaces import Attempt, IResolver, IRouter, Route, RoutingRequest
from sipd.routing.rules import StaticRoute
from sipd.sip.locate import Target, Transport
from sipd.sip.uri import SipUri, Uri
from sipd.testing import builders
from sipd.testing.stack import SimulatedServer
from tests.b2bua.support import BOB, SIPD, USERS
from tests.b2bua.writing import LONG, MessageCase

DESK, SPARE = "192.0.2.5", "192.0.2.8"


@implementer(IRouter, IResolver)
class Broken:
    """A router, or a resolver, that fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        return False

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        return fail(self._error)

    def locate(self, uri: Uri) -> Deferred[Sequence[Target]]:
        """See `IResolver`."""
        return fail(self._error)

    def target_failed(self, target: Target, rest: float | None = None) -> None:
        """See `IResolver`."""


class LargeTests(MessageCase):
    """Messages above 1300 octets (RFC 3428 section 8)."""

    def transports(self, source: str) -> set[str]:
        """Give what the octets of a long message went over, from that host."""
        return {event.transport for event in self.network.log if event.source[0] == source and LONG[:500] in event.data}

    def test_goes_over_tcp(self) -> None:
        """It goes over TCP to where UDP was meant."""
        there = StaticRoute(name="there", user=re.compile("away"), to="sip:carol@" + SPARE, authenticate=False)
        self.server.b2bua.router._routes = (there,)  # type: ignore[attr-defined]
        home = StaticRoute(name="home", to="sip:carol@example.com", authenticate=False)
        other = SimulatedServer(self.network.host(SPARE), USERS, routes=(home,))
        carol = other.peer(self.network.host(DESK), "carol", transport=Transport.TCP)
        carol.register()
        self.clock.advance(1.0)
        self.assertEqual(self.answer(self.alice.message("away", LONG)).status, 200)
        self.assertEqual(carol.messages[0].body, LONG)
        self.assertEqual(self.transports(SIPD), {"TCP"})
        carol.close()
        self.assertEqual(other.leftovers(), [])

    def test_never_over_udp(self) -> None:
        """A phone that speaks UDP alone does not get it: 513, not fragments."""
        response = self.answer(self.alice.message("bob", LONG))
        self.assertEqual((response.status, response.reason), (513, "Message Too Large"))
        self.assertEqual((self.bob.messages, self.transports(SIPD)), ([], set()))

    def test_limit(self) -> None:
        """What arrives over UDP is never above 1300 octets, and just below they do go over UDP."""
        sizes = []
        for size in range(700, 1000, 7):
            self.bob.messages.clear()
            status = self.answer(self.alice.message("bob", b"y" * size)).status
            sizes += [len(one.to_bytes()) for one in self.bob.messages]
            self.assertEqual(status, 200 if self.bob.messages else 513)
        self.assertLessEqual(max(sizes), 1300)
        self.assertGreater(max(sizes), 1250)


class BoundTests(MessageCase):
    """How many messages there may be at a time, and how they end."""

    max_messages = 2

    def pending(self) -> list[Any]:
        """Send two messages that nobody answers."""
        self.bob.close()
        waiting = [self.alice.message("bob") for _ in range(2)]
        self.clock.advance(1.0)
        self.assertEqual(len(self.server.messages), 2)
        return waiting

    def test_too_many(self) -> None:
        """One more gets 503 with Retry-After; with the end of another there is room. Each time it is one line."""
        waiting = self.pending()
        for _ in range(3):
            refused = self.answer(self.alice.message("carol"))
            self.assertEqual((refused.status, refused.reason), (503, "Too Many Messages"))
            self.assertEqual(refused.headers.get("Retry-After"), "30")
        self.assertEqual(self.lines, ["2 messages are pending: new ones get 503"])
        self.clock.advance(30.0)
        for one in waiting:
            response = self.successResultOf(one)
            self.assertEqual(response.status, 480)
        self.assertEqual(self.answer(self.alice.message("carol")).status, 200)
        self.lines.clear()
        self.pending()
        for _ in range(2):
            self.assertEqual(self.answer(self.alice.message("carol")).status, 503)
        self.assertEqual(self.lines, ["2 messages are pending: new ones get 503"])

    def test_drain(self) -> None:
        """While it drains new messages get 503; it is over when the last one is answered."""
        waiting = self.pending()
        drained = self.server.messages.drain()
        refused = self.answer(self.alice.message("carol"))
        self.assertEqual((refused.status, refused.reason), (503, "Shutting Down"))
        self.assertIn("Retry-After", refused.headers)
        self.assertNoResult(drained)
        self.clock.advance(40.0)
        self.successResultOf(drained)
        self.assertEqual([self.successResultOf(one).status for one in waiting], [480, 480])

    def test_drain_of_nothing(self) -> None:
        """Without messages it is over at once."""
        self.successResultOf(self.server.messages.drain())

    def test_stop(self) -> None:
        """Stopped, every message that waits is answered with 503 at once."""
        waiting = self.pending()
        self.server.messages.stop()
        self.assertEqual([self.answer(one, 0.5).status for one in waiting], [503, 503])
        self.assertEqual(len(self.server.messages), 0)

    def test_leaves_no_timers(self) -> None:
        """A delivery that is over has none of its two timers left."""
        found: Deferred[Sequence[Target]] = Deferred()
        self.server.agent.resolver.locate = lambda uri: found  # type: ignore[method-assign]
        delivery = Delivery(self.server.agent)
        request = builders.request("MESSAGE", via=None)
        page = Page(self.server.agent, request, Identities(IdentityPolicy(), bytes, request, "192.0.2.2"))
        before = len(self.clock.getDelayedCalls())
        done = Deferred.fromCoroutine(delivery.run(page, [[Attempt(uri=SipUri("bob.example"), label="bob")]]))
        self.assertEqual(len(self.clock.getDelayedCalls()), before + 2)
        delivery.stop()
        self.assertEqual((self.successResultOf(done).status, delivery.notes), (503, ["bob: stopped"]))
        self.assertEqual(len(self.clock.getDelayedCalls()), before)

    def test_given_up(self) -> None:
        """What the sender was told is given up is not sent any more, whatever is found out later."""
        found: Deferred[Sequence[Target]] = Deferred()
        self.server.agent.resolver.locate = lambda uri: found  # type: ignore[method-assign]
        waiting = self.alice.message("bob")
        self.assertEqual(self.answer(waiting, 31.0).status, 480)
        found.callback([Target(transport=Transport.UDP, host=BOB, port=5060)])
        self.clock.advance(1.0)
        self.assertEqual(self.bob.messages, [])


class FaultTests(MessageCase):
    """What goes wrong on this side."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="away", user=re.compile("away"), to="sip:a@carrier.example", authenticate=False),
    )

    def test_no_transaction_left(self) -> None:
        """Without room for one more transaction the sender is told 502, and the log says why."""
        self.clock.advance(60.0)
        # Asked, challenged, asked again: what is left is none for the way out.
        self.server.transactions._max_transactions = 2
        response = self.answer(self.alice.message("bob"))
        self.assertEqual((response.status, response.reason), (502, "The Other Side Is Unreachable"))
        self.assertIn("2 SIP transactions are live", self.lines[0])
        self.server.transactions._max_transactions = 1000

    def test_no_transaction_left_on_a_connection(self) -> None:
        """The same for a phone on a connection."""
        self.bob.unregister()
        self.phone(DESK, "bob", transport=Transport.TCP)
        self.clock.advance(60.0)
        self.server.transactions._max_transactions = 2
        self.assertEqual(self.answer(self.alice.message("bob")).status, 502)
        self.server.transactions._max_transactions = 1000

    def test_router_out_of_reach(self) -> None:
        """What a router of an application fails with is the answer."""
        self.server.b2bua.router = Broken(RemoteError("The number database is gone", status=504))
        response = self.answer(self.alice.message("bob"))
        self.assertEqual((response.status, response.reason), (504, "The number database is gone"))
        self.assertIn("504 The number database is gone", self.lines[0])

    def test_bug_on_the_way(self) -> None:
        """A bug has its traceback, and the sender 500."""
        self.server.agent.resolver = Broken(ValueError("a bug"))
        self.assertEqual(self.answer(self.alice.message("away")).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_late_bug(self) -> None:
        """A bug of which the sender hears nothing any more has its traceback, too."""
        late: list[Deferred[Sequence[Target]]] = [Deferred()]
        here = Target(transport=Transport.UDP, host=BOB, port=5060)

        def locate(uri: Uri) -> Deferred[Sequence[Target]]:
            return late[0] if str(uri) == "sip:late.example" else succeed([here])

        self.server.agent.resolver.locate = locate  # type: ignore[method-assign]
        delivery = Delivery(self.server.agent)
        request = builders.request("MESSAGE", via=None)
        page = Page(self.server.agent, request, Identities(IdentityPolicy(), bytes, request, "192.0.2.2"))
        attempts = [Attempt(uri=SipUri(host), label=host) for host in ("late.example", "bob.example")]
        done = Deferred.fromCoroutine(delivery.run(page, [attempts]))
        self.clock.advance(1.0)
        outcome = self.successResultOf(done)
        self.assertEqual((outcome.status, delivery.notes), (200, ["bob.example: 200 OK"]))
        del delivery
        late.pop().errback(ValueError("a bug"))
        gc.collect()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
