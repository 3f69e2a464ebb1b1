"""Tests of `sipd.media.traversal.gathering`."""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import InvalidStateError, ResourcesExhaustedError
from sipd.ice.requests import Address, Credentials
from sipd.media.traversal.errors import TraversalError
from sipd.media.traversal.gathering import MAX_QUESTIONS, Gatherer, RelayedAddress
from sipd.rtp.stun import Kind, Method, StunMessage
from sipd.testing.clock import SimulatedClock
from tests.media.traversal.server import CLIENT, PASSWORD, RELAYED, SERVER, USER, FakeServer

CREDENTIALS = Credentials(USER, PASSWORD)
PEER = ("198.51.100.7", 5000)
SECOND = ("192.0.2.20", 3479)
#: From here to a server, and back.
WAY = 0.01


class GathererCase(SynchronousTestCase):
    """A socket, and two servers."""

    def setUp(self) -> None:
        """Make them."""
        self.clock = SimulatedClock()
        self.server = FakeServer()
        self.servers = {SERVER: self.server, SECOND: FakeServer(SECOND)}
        self.is_heard = True
        self.sent = 0
        numbers = count(1)
        self.gatherer = Gatherer(self.clock, self.send, entropy=lambda size: next(numbers).to_bytes(size, "big"))

    def send(self, data: bytes, to: Address) -> None:
        """Carry a datagram to a server, and the answers back."""
        self.sent += 1
        if self.is_heard:
            for answer in self.servers[to].receive(data):
                self.clock.callLater(2 * WAY, self.gatherer.datagram_received, answer, to)

    def allocate(self, server: Address = SERVER) -> RelayedAddress:
        """Make an allocation."""
        deferred = self.gatherer.allocate(server, CREDENTIALS)
        self.clock.advance(1)
        return self.successResultOf(deferred)

    def failure_of(self, deferred: Deferred[Any]) -> str:
        """Give the text of a failure."""
        return str(self.failureResultOf(deferred, TraversalError).value)

    def assert_idle(self) -> None:
        """No timer runs."""
        self.assertEqual(self.clock.getDelayedCalls(), [])


class QuestionTests(GathererCase):
    """Which address a socket has for a server."""

    def test_answered(self) -> None:
        """The server's answer is the address; lost requests are repeated, and no timer is left."""
        self.is_heard = False
        deferred = self.gatherer.ask_address(SERVER)
        self.clock.advance(0.4)
        self.is_heard = True
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(deferred), CLIENT)
        self.assertEqual(self.sent, 2)
        self.assert_idle()

    def test_several(self) -> None:
        """Several servers are asked at the same time; what is no answer is for others."""
        one, two = self.gatherer.ask_address(SERVER), self.gatherer.ask_address(SECOND)
        check = StunMessage(Method.BINDING, Kind.REQUEST, bytes(12)).to_bytes()
        damaged = check[:3] + b"\4" + check[4:] + b"\0\1\0\1"
        for data in (check, damaged, b"\x80" + bytes(11), b""):
            self.assertFalse(self.gatherer.datagram_received(data, SERVER))
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(one), CLIENT)
        self.assertEqual(self.successResultOf(two), CLIENT)
        self.assertFalse(self.gatherer.datagram_received(check, SERVER))

    def test_no_answer(self) -> None:
        """Without an answer in time it fails and names the server."""
        self.is_heard = False
        deferred = self.gatherer.ask_address(SERVER, timeout=3.0)
        self.clock.run()
        self.assertEqual(self.failure_of(deferred), "STUN server 192.0.2.10:3478: no answer within 3.0 s")
        self.assertEqual(self.clock.seconds(), 3.0)

    def test_refused(self) -> None:
        """An error, or an answer without an address, is a failure."""
        self.server.refusals[Method.BINDING] = (500, ())
        deferred = self.gatherer.ask_address(SERVER)
        self.clock.advance(1)
        self.assertEqual(self.failure_of(deferred), "STUN server 192.0.2.10:3478: 500 Reason")
        self.is_heard = False
        deferred = self.gatherer.ask_address(SERVER)
        answer = StunMessage(Method.BINDING, Kind.SUCCESS, (2).to_bytes(12, "big")).to_bytes()
        self.assertTrue(self.gatherer.datagram_received(answer, SERVER))
        self.assertIn("without an address", self.failure_of(deferred))
        self.assert_idle()

    def test_cancelled(self) -> None:
        """A question can be cancelled, and nothing of it is left."""
        deferred = self.gatherer.ask_address(SERVER)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.clock.run()
        self.assertEqual(self.sent, 1)

    def test_bounded(self) -> None:
        """More than the bound are not asked; closing ends them."""
        asked = [self.gatherer.ask_address(SERVER) for _ in range(MAX_QUESTIONS)]
        self.assertRaises(ResourcesExhaustedError, self.gatherer.ask_address, SERVER)
        self.gatherer.close()
        for deferred in asked:
            self.assertIn("the socket was closed", self.failure_of(deferred))
        self.clock.run()


class AllocationTests(GathererCase):
    """An address on a TURN server."""

    def test_data(self) -> None:
        """Datagrams go to peers and come from them, by indications and by a channel; at the end it is given back."""
        relayed = self.allocate()
        self.assertEqual((relayed.relayed, relayed.mapped), (RELAYED, CLIENT))
        received: list[tuple[bytes, Address]] = []
        self.gatherer.datagram_received(self.server.relay(b"nobody listens", PEER), SERVER)
        relayed.on_data = lambda data, peer: received.append((data, peer))
        relayed.send(b"one", PEER)
        self.clock.advance(1)
        self.assertTrue(self.gatherer.datagram_received(self.server.relay(b"two", PEER), SERVER))
        relayed.bind(PEER)
        self.clock.advance(1)
        relayed.send(b"three", PEER)
        self.assertTrue(self.gatherer.datagram_received(self.server.relay(b"four", PEER), SERVER))
        self.assertFalse(self.gatherer.datagram_received(b"\x40\0\0\0", PEER))
        self.assertEqual(self.server.sent, [(b"one", PEER), (b"three", PEER)])
        self.assertEqual(received, [(b"two", PEER), (b"four", PEER)])
        deferred = relayed.close()
        self.assertNoResult(deferred)
        self.clock.advance(1)
        self.successResultOf(deferred)
        self.assertFalse(self.server.has)
        self.assertFalse(relayed.is_open)
        self.successResultOf(relayed.close())
        relayed.send(b"lost", PEER)
        self.assertRaises(InvalidStateError, relayed.permit, PEER[0])
        self.assertFalse(self.gatherer.datagram_received(b"\x40\0\0\0", SERVER))
        self.assert_idle()

    def test_question_to_the_same_server(self) -> None:
        """A server with an allocation can be asked for the address, too."""
        self.allocate()
        deferred = self.gatherer.ask_address(SERVER)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(deferred), CLIENT)

    def test_refreshed(self) -> None:
        """It is there as long as it is open."""
        relayed = self.allocate()
        self.clock.advance(3600)
        self.assertTrue(relayed.is_open)
        self.assertEqual(self.server.requests[Method.REFRESH], 6)

    def test_refused(self) -> None:
        """A refusal is a failure with the server's name."""
        self.server.refusals[Method.ALLOCATE] = (486, ())
        deferred = self.gatherer.allocate(SERVER, CREDENTIALS)
        self.clock.advance(1)
        text = self.failure_of(deferred)
        self.assertIn("TURN server 192.0.2.10:3478: Allocate: 486 Reason", text)
        self.assert_idle()

    def test_no_answer(self) -> None:
        """Without an answer in time it fails; some seconds later nothing of it is left."""
        self.is_heard = False
        deferred = self.gatherer.allocate(SERVER, CREDENTIALS, timeout=2.0)
        self.clock.advance(2.0)
        self.assertEqual(self.failure_of(deferred), "TURN server 192.0.2.10:3478: no answer within 2.0 s")
        self.clock.run()
        self.assertEqual(self.clock.seconds(), 6.0)

    def test_cancelled(self) -> None:
        """One that nobody waits for any more is given back when it is made."""
        deferred = self.gatherer.allocate(SERVER, CREDENTIALS)
        self.clock.advance(3 * WAY)
        self.assertTrue(self.server.has)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.clock.run()
        self.assertFalse(self.server.has)
        self.assertEqual(self.server.lifetimes, [600, 0])

    def test_server_that_goes_away(self) -> None:
        """Who uses it is told once when it ends by itself."""
        relayed = self.allocate()
        ended: list[TraversalError] = []
        relayed.on_end = ended.append
        self.is_heard = False
        self.clock.run()
        self.assertEqual(
            [str(error) for error in ended], ["TURN server 192.0.2.10:3478: Refresh: no answer from 192.0.2.10:3478"]
        )
        self.assertFalse(relayed.is_open)
        self.successResultOf(relayed.close())

    def test_closing_without_an_answer(self) -> None:
        """Closing ends within four seconds, whoever waits for it; nobody is told of an end then."""
        relayed = self.allocate()
        relayed.on_end = self.fail
        self.is_heard = False
        one, two = relayed.close(), relayed.close()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.clock.advance(4.0)
        self.successResultOf(two)
        self.assert_idle()

    def test_refused_peer(self) -> None:
        """A host that the server refuses is logged; what goes there is dropped."""
        self.server.refusals[Method.CREATE_PERMISSION] = (403, ())
        relayed = self.allocate()
        relayed.send(b"lost", PEER)
        self.clock.advance(1)
        self.assertEqual(relayed.dropped, 1)
        self.assertTrue(relayed.is_open)

    def test_one_for_each_server(self) -> None:
        """A socket has one allocation on a server, and may have others elsewhere."""
        one = self.allocate()
        self.assertRaises(InvalidStateError, self.gatherer.allocate, SERVER, CREDENTIALS)
        two = self.allocate(SECOND)
        one.send(b"one", PEER)
        two.send(b"two", PEER)
        self.clock.advance(1)
        self.assertEqual(self.server.sent, [(b"one", PEER)])
        self.assertEqual(self.servers[SECOND].sent, [(b"two", PEER)])

    def test_abandoned(self) -> None:
        """Closing the gatherer leaves no timer, and nobody waiting."""
        relayed = self.allocate()
        closing = relayed.close()
        waiting = self.gatherer.allocate(SECOND, CREDENTIALS)
        self.gatherer.close()
        self.successResultOf(closing)
        self.assertIn("abandoned", self.failure_of(waiting))
        self.clock.advance(2 * WAY)
        self.assert_idle()
