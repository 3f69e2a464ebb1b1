"""Tests of `sipd.transport.sockets`."""

from __future__ import annotations

import socket
import sys
from functools import partial
from typing import Any, cast
from unittest import skipUnless

from twisted.internet.task import deferLater

from sipd.errors import ConnectionRefused
from sipd.sip.locate import Target
from tests.ports import Ports
from tests.transport.support import (
    TCP,
    TLS,
    UDP,
    LoopbackTestCase,
    Receiver,
    point,
    reactor,
    request_octets,
    target,
)
from tests.transport.test_tls import TlsTestCase


class UdpSocketTests(LoopbackTestCase):
    """Bounded batches."""

    async def test_flood_of_empty_datagrams(self) -> None:
        """However many datagrams wait, only so many are taken before others have their turn."""
        layer, receiver, at = await self.endpoint(UDP)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
            for _ in range(250):
                flood.sendto(b"", (at.host, at.port))
            flood.sendto(request_octets(), (at.host, at.port))
        turns = []
        while not receiver.messages:
            await deferLater(reactor, 0)
            turns.append(layer.counters.keep_alives)
        self.assertEqual([turn for turn in sorted(set(turns)) if turn], [*range(32, 250, 32), 250])


@skipUnless(sys.platform == "linux", "Linux alone tells")
class RefusedTests(LoopbackTestCase):
    """Datagrams to where nobody listens (ICMP)."""

    def nobody(self, host: str) -> Target:
        """Give a place where nobody listens."""
        return Target(transport=UDP, host=host, port=Ports().take(host))

    async def test_refused(self) -> None:
        """The flow fails, soon; the socket goes on as before. Over IPv6, too."""
        for host in ("127.0.0.1", "::1"):
            layer, receiver = self.layer()
            at = await layer.listen(point(UDP, host))
            for count in (1, 2):
                flow = layer.flow_to(self.nobody(host))
                flow.send(request_octets())
                await self.until(partial(self.has_failed, receiver, count))
                failed, error = receiver.failures[-1]
                self.assertEqual(failed, flow)
                self.assertIsInstance(error, ConnectionRefused)
                self.assertIn("Connection refused", error.reason)
            layer.flow_to(target(at)).send(request_octets())
            await self.until(partial(receiver.has, 1))
            self.assertEqual(layer.incidents.counts["refused-datagram"], 2)

    async def test_error_of_another_datagram(self) -> None:
        """What the kernel says while one datagram is sent may be about an earlier one: it is sent all the same."""
        layer, receiver, at = await self.endpoint(UDP)
        dead = layer.flow_to(self.nobody("127.0.0.1"))
        for _ in range(50):
            dead.send(request_octets())
            layer.flow_to(target(at)).send(request_octets())
        await self.until(lambda: receiver.has(50) and receiver.failures)
        self.assertEqual({flow for flow, _ in receiver.failures}, {dead})
        self.assertEqual(layer.incidents.counts["send-failed"], 0)

    @staticmethod
    def has_failed(receiver: Receiver, count: int) -> bool:
        """Say whether that many flows have failed."""
        return len(receiver.failures) >= count


class PeerTests(TlsTestCase):
    """The kernel watches over connections."""

    def check(self, transport: Any) -> None:
        """Check the options of a connection with a stall time of 7 s."""
        handle = transport.getHandle()
        self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertTrue(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), 7000)

    async def test_options(self) -> None:
        """A peer that vanishes is noticed by the kernel, over TCP and TLS, whoever made the connection (lesson 21)."""
        for transport in (TCP, TLS):
            layer, receiver = self.layer(stall_timeout=7)
            at = await layer.listen(point(transport), self.settings("127.0.0.1") if transport is TLS else None)
            flow = layer.flow_to(target(at))
            flow.send(request_octets())
            await self.until(partial(receiver.has, 1))
            for each in (flow, receiver.messages[0][1]):
                wire = cast(Any, each)._wire
                self.check(wire if transport is TCP else wire.transport)
