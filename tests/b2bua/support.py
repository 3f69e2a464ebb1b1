"""A B2BUA with three users on a simulated network without faults."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from sipd.b2bua.trust import IdentityPolicy
from sipd.interfaces import CallRecord
from sipd.routing.rules import StaticRoute
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from sipd.testing.calls import PeerCall
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Link
from sipd.testing.network import Network
from sipd.testing.peer import Peer
from sipd.testing.stack import SimulatedServer
from sipd.watching.service import WatchingSettings

SIPD, ALICE, BOB, CAROL = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"
USERS = {"alice": "a", "bob": "b", "carol": "c"}


class BridgeCase(SynchronousTestCase):
    """Alice, Bob and Carol, registered at one server."""

    routes: Sequence[StaticRoute] = ()
    link = Link()
    max_calls = 2000
    identity: IdentityPolicy | None = None
    watching: WatchingSettings | None = None

    def setUp(self) -> None:
        """Make the network and register everyone."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1, link=self.link)
        self.server = SimulatedServer(
            self.network.host(SIPD),
            USERS,
            routes=self.routes,
            ring_timeout=30.0,
            max_calls=self.max_calls,
            identity=self.identity,
            watching=self.watching,
        )
        self.alice = self.phone(ALICE, "alice")
        self.bob = self.phone(BOB, "bob")
        self.carol = self.phone(CAROL, "carol")

    def phone(self, address: str, user: str, *, transport: Transport = Transport.UDP, register: bool = True) -> Peer:
        """Put a user's phone on a host of its own."""
        peer = self.server.peer(self.network.host(address), user, transport=transport)
        if register:
            peer.register()
            self.clock.advance(1.0)
        return peer

    def established(self, *, body: bytes | None = None) -> tuple[PeerCall, PeerCall]:
        """Give both ends of a call from Alice to Bob that is answered."""
        self.bob.auto_answer(after=1.0)
        call = self.alice.call("bob", body=body)
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered, call)
        return call, self.bob.calls[-1]

    def finish(self) -> CallRecord:
        """Let everything come to its end; nothing may be left. Give the only record."""
        self.settle()
        self.assertEqual(len(self.server.records.records), 1)
        return self.server.records.records[0]

    def settle(self) -> None:
        """Let every timer but the registrations' run out; nothing may be left."""
        self.clock.advance(200.0)
        self.assertEqual(self.server.leftovers(), [])
        for peer in (self.alice, self.bob, self.carol):
            self.assertEqual(len(peer.exchanges), 0, peer.user)

    def explanation(self) -> str:
        """Give the explanation of the last call that has ended, as one text."""
        return "\n".join(self.server.explanations.explain(self.server.records.records[-1].id))

    def seen(self, peer: Peer, kind: str | int) -> list[Request | Response]:
        """Give the messages of a method or status that came to a peer, repeated ones included."""
        return [
            message
            for message in peer.seen
            if (message.method if isinstance(message, Request) else message.status) == kind
        ]
