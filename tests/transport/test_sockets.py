"""Tests of `sipd.transport.sockets`."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, cast

from twisted.internet.task import deferLater

from tests.transport.support import TCP, TLS, UDP, LoopbackTestCase, point, reactor, request_octets, target
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
        self.assertEqual([turn for turn in sorted(set(turns)) if turn], [100, 200, 250])


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
