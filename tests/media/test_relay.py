"""Tests of `sipd.media.relay`: one call in the real reactor, and mistakes in its configuration."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import reactor as global_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sipd.errors import ConfigurationError
from sipd.media.ports import MediaAddress, PortAllocator
from sipd.media.reactor import ReactorEngine
from sipd.media.relay import MediaRelay
from sipd.sdp.description import SessionDescription
from tests.media.support import HIGH, IP4, IP6, LOW, PumpedReactor, describe, place_of

reactor = cast(Any, global_reactor)


class Phone(DatagramProtocol):
    """Sends a numbered packet for each that it receives, until it has enough."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self.received: list[bytes] = []
        self.done: Deferred[list[bytes]] = Deferred()
        self.relay = ("", 0)

    def send(self) -> None:
        """Send the next packet."""
        assert self.transport is not None
        self.transport.write(b"\x80\x00" + len(self.received).to_bytes(2, "big"), self.relay)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Take a packet and send the next one."""
        self.received.append(datagram)
        self.send()
        if len(self.received) == self._enough:
            self.done.callback(self.received)


class LoopbackTests(TestCase):
    """The relay as it runs."""

    timeout = 20

    async def test_call(self) -> None:
        """Two phones exchange 200 packets in the real reactor, over the moment at which the sources are settled."""
        ports = PortAllocator(clock=reactor, low=LOW, high=HIGH)
        relay = MediaRelay(engine=ReactorEngine(reactor), addresses=[IP4], ports=ports, latch_window=0.05)
        self.addCleanup(relay.close)
        events: list[tuple[str, str]] = []
        session = relay.open_session("call", lambda kind, text: events.append((kind, text)))
        alice, bob = Phone(100), Phone(100)
        listening = [reactor.listenUDP(0, phone, interface="127.0.0.1") for phone in (alice, bob)]
        for port in listening:
            self.addCleanup(port.stopListening)
        offers: list[SessionDescription] = [describe(("audio", port.getHost().port)) for port in listening]
        offered = await session.offer("a", "b1", offers[0])
        answered = await session.answer("b1", "a", offers[1])
        alice.relay, bob.relay = place_of(answered), place_of(offered)
        alice.send()
        for heard, first in ((await bob.done, 0), (await alice.done, 1)):
            numbers = [int.from_bytes(packet[2:], "big") for packet in heard[:100]]
            self.assertEqual(numbers, list(range(first, first + 100)))
        self.assertEqual([kind for kind, _ in events].count("latched"), 2)
        self.assertEqual(len(ports), 2)
        relay.close()
        self.assertEqual(len(ports), 0)


class ConfigurationTests(SynchronousTestCase):
    """What a relay needs."""

    def make(self, *addresses: MediaAddress) -> MediaRelay:
        """Make a relay with those addresses."""
        ports = PortAllocator(clock=Clock(), low=LOW, high=HIGH)
        return MediaRelay(engine=ReactorEngine(PumpedReactor()), addresses=addresses, ports=ports)

    def test_addresses(self) -> None:
        """There must be an address, and one at most of each version of IP."""
        self.assertRaises(ConfigurationError, self.make)
        self.assertRaises(ConfigurationError, self.make, IP4, IP6, IP4)
        self.assertEqual(len(self.make(IP4, IP6)), 0)

    def test_close(self) -> None:
        """Closing the relay closes its sessions, and may be repeated."""
        relay = self.make(IP4)
        events: list[tuple[str, str]] = []
        for call_id in ("one", "two"):
            session = relay.open_session(call_id, lambda kind, text: events.append((kind, text)))
            self.successResultOf(session.offer("a", "b1", describe(("audio", 4000))))
        self.assertEqual(len(relay), 2)
        relay.close()
        relay.close()
        self.assertEqual(len(relay), 0)
        kinds = [kind for kind, _ in events]
        self.assertEqual((kinds.count("port-taken"), kinds.count("port-released")), (4, 4))
