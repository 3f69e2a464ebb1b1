"""STUN and TURN with a server that others wrote: coturn."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.interfaces import IReactorPluggableNameResolver, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from sipd.ice.requests import Address, Credentials
from sipd.media.traversal.errors import TraversalError
from sipd.media.traversal.gathering import Gatherer, RelayedAddress
from sipd.media.traversal.servers import TraversalServer, find_address
from tests.interop.case import InteropTestCase
from tests.interop.coturn import PASSWORD, USER, Coturn
from tests.ports import HOST

_LIMIT = 20.0
CREDENTIALS = Credentials(USER, PASSWORD)


class Socket(DatagramProtocol):
    """A socket of the test, with what asks servers from it, and a queue of all other datagrams."""

    noisy = False

    def __init__(self, case: InteropTestCase) -> None:
        self.received: DeferredQueue[tuple[bytes, Address]] = DeferredQueue()
        self.sizes: list[int] = []
        self.gatherer = Gatherer(case.reactor, self.send, entropy=os.urandom)
        port = cast(IReactorUDP, case.reactor).listenUDP(0, self, HOST, 8192)
        self.address: Address = (HOST, cast(IPv4Address, port.getHost()).port)
        case.addCleanup(port.stopListening)
        case.addCleanup(self.gatherer.close)

    def send(self, data: bytes, to: Address) -> None:
        """Send a datagram."""
        self.sizes.append(len(data))
        assert self.transport is not None
        self.transport.write(data, to)

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """See ``DatagramProtocol``."""
        if not self.gatherer.datagram_received(datagram, (addr[0], addr[1])):
            self.received.put((datagram, (addr[0], addr[1])))


class Relay:
    """An allocation of the test, with a queue of what peers sent."""

    def __init__(self, relayed: RelayedAddress) -> None:
        self.address = relayed
        self.received: DeferredQueue[tuple[bytes, Address]] = DeferredQueue()
        relayed.on_data = lambda data, peer: self.received.put((data, peer))


class TurnTests(InteropTestCase):
    """Asking coturn (RFC 8489, RFC 8656)."""

    programs = ("turnserver",)
    timeout = 90

    def run_coroutine(self, coroutine: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        """Let trial wait for a test."""
        return Deferred.fromCoroutine(coroutine)

    async def soon(self, deferred: Deferred[Any]) -> Any:
        """Wait for something, but not for ever; the failure shows what the server said."""

        def late(_: object, __: float) -> Failure:
            return Failure(AssertionError(f"nothing came{self.explain()}"))

        return await deferred.addTimeout(_LIMIT, self.reactor, late)

    async def serve(self, *options: str) -> tuple[Coturn, Socket]:
        """Start a server, and bind a socket."""
        server = Coturn(self, *options)
        await server.start()
        return server, Socket(self)

    async def allocate(self, server: Coturn, asking: Socket) -> Relay:
        """Make an allocation."""
        return Relay(await asking.gatherer.allocate(server.address, CREDENTIALS))

    async def failure_of(self, deferred: Deferred[Any]) -> str:
        """Wait until something fails; give the text."""
        error = await self.assertFailure(deferred, TraversalError)
        return str(error)

    def test_mapped_address(self) -> Deferred[None]:
        """The address that a server sees is the one that the socket has, where there is no NAT."""

        async def run() -> None:
            server, asking = await self.serve()
            uri = TraversalServer.parse(f"stun:localhost:{server.address[1]}")
            address = await find_address(cast(IReactorPluggableNameResolver, self.reactor), uri)
            self.assertEqual(address, server.address)
            self.assertEqual(await asking.gatherer.ask_address(address), asking.address)

        return self.run_coroutine(run())

    def test_data_by_indications(self) -> Deferred[None]:
        """Datagrams go through the relay both ways; the peer sees the relayed address. At the end it is given back."""

        async def run() -> None:
            server, asking = await self.serve()
            peer = Socket(self)
            relay = await self.allocate(server, asking)
            relayed = relay.address.relayed
            self.assertIn(relayed[1], server.relayed)
            self.assertEqual(relay.address.mapped, asking.address)
            for size in (0, 1, 172, 1200):
                relay.address.send(bytes(size), peer.address)
                self.assertEqual(await self.soon(peer.received.get()), (bytes(size), relayed))
                peer.send(b"x" * size, relayed)
                self.assertEqual(await self.soon(relay.received.get()), (b"x" * size, peer.address))
            await self.soon(relay.address.close())
            self.assertFalse(relay.address.is_open)
            assert server.program is not None
            await server.program.says("delete: realm=", _LIMIT)

        return self.run_coroutine(run())

    def test_data_by_a_channel(self) -> Deferred[None]:
        """With a channel each datagram has four octets more; the server's come by it, too."""

        async def run() -> None:
            server, asking = await self.serve()
            peer = Socket(self)
            relay = await self.allocate(server, asking)
            relay.address.bind(peer.address)
            for number in range(100):
                asking.sizes.clear()
                relay.address.send(b"%03d" % number, peer.address)
                self.assertEqual(await self.soon(peer.received.get()), (b"%03d" % number, relay.address.relayed))
                if asking.sizes == [7]:
                    break
            self.assertEqual(asking.sizes, [7])
            peer.send(b"and back", relay.address.relayed)
            self.assertEqual(await self.soon(relay.received.get()), (b"and back", peer.address))
            await self.soon(relay.address.close())

        return self.run_coroutine(run())

    def test_two_relays(self) -> Deferred[None]:
        """Two allocations send to each other's relayed address."""

        async def run() -> None:
            server, asking = await self.serve()
            one = await self.allocate(server, asking)
            two = await self.allocate(server, Socket(self))
            two.address.permit(HOST)
            one.address.send(b"first", two.address.relayed)
            self.assertEqual(await self.soon(two.received.get()), (b"first", one.address.relayed))
            two.address.send(b"second", one.address.relayed)
            self.assertEqual(await self.soon(one.received.get()), (b"second", two.address.relayed))
            await self.soon(one.address.close())
            await self.soon(two.address.close())

        return self.run_coroutine(run())

    def test_refreshed(self) -> Deferred[None]:
        """An allocation of two seconds is there after five, although the server wants a new nonce each second."""

        async def run() -> None:
            server, asking = await self.serve("--max-allocate-lifetime=2", "--stale-nonce=1")
            peer = Socket(self)
            relay = await self.allocate(server, asking)
            relay.address.send(b"early", peer.address)
            self.assertEqual((await self.soon(peer.received.get()))[0], b"early")
            await self.pause(5)
            relay.address.send(b"late", peer.address)
            self.assertEqual((await self.soon(peer.received.get()))[0], b"late")
            assert server.program is not None
            self.assertIn(b"Stale nonce", server.program.output)
            await self.soon(relay.address.close())

        return self.run_coroutine(run())

    def test_wrong_password(self) -> Deferred[None]:
        """A wrong password, or a user that the server does not know, is said plainly, and at once."""

        async def run() -> None:
            server, asking = await self.serve()
            for credentials in (Credentials(USER, "wrong"), Credentials("mallory", PASSWORD)):
                # coturn is silent for a while towards a socket that it has refused.
                text = await self.failure_of(Socket(self).gatherer.allocate(server.address, credentials))
                self.assertIn("401 Unauthorized: the server does not take these credentials", text)
            text = await self.failure_of(asking.gatherer.allocate(server.address, None))
            self.assertIn("the server wants a user and a password", text)

        return self.run_coroutine(run())

    def test_quota(self) -> Deferred[None]:
        """A user with as many allocations as the server grants is told so."""

        async def run() -> None:
            server, asking = await self.serve("--user-quota=1")
            relay = await self.allocate(server, asking)
            text = await self.failure_of(Socket(self).gatherer.allocate(server.address, CREDENTIALS))
            self.assertIn("486", text)
            self.assertIn("as many allocations as the server grants", text)
            await self.soon(relay.address.close())

        return self.run_coroutine(run())

    def test_forbidden_peer(self) -> Deferred[None]:
        """What is sent to a host that the server does not relay to is dropped; the allocation stays."""

        async def run() -> None:
            server, asking = await self.serve("--denied-peer-ip=127.0.0.9")
            peer = Socket(self)
            relay = await self.allocate(server, asking)
            relay.address.send(b"lost", ("127.0.0.9", 9))
            relay.address.send(b"heard", peer.address)
            self.assertEqual((await self.soon(peer.received.get()))[0], b"heard")
            self.assertEqual(relay.address.dropped, 1)
            await self.soon(relay.address.close())

        return self.run_coroutine(run())

    def test_redirected(self) -> Deferred[None]:
        """A server that sends us to another one has the allocation made there."""

        async def run() -> None:
            second, asking = await self.serve()
            first = Coturn(self, f"--alternate-server={second.address[0]}:{second.address[1]}")
            await first.start()
            peer = Socket(self)
            relay = await self.allocate(first, asking)
            self.assertIn(relay.address.relayed[1], second.relayed)
            relay.address.send(b"by the second", peer.address)
            self.assertEqual((await self.soon(peer.received.get()))[0], b"by the second")
            await self.soon(relay.address.close())

        return self.run_coroutine(run())

    def test_cancelled(self) -> Deferred[None]:
        """An allocation that nobody waits for any more is given back where it was made yet."""

        async def run() -> None:
            server, asking = await self.serve()
            deferred = asking.gatherer.allocate(server.address, CREDENTIALS)
            deferred.addErrback(lambda _: None)
            deferred.cancel()
            await deferred
            await self.pause(0.3)
            relay = await self.allocate(server, asking)
            await self.soon(relay.address.close())

        return self.run_coroutine(run())

    def test_server_that_goes_away(self) -> Deferred[None]:
        """Without a server questions fail in time, and closing an allocation ends within some seconds."""

        async def run() -> None:
            server, asking = await self.serve()
            relay = await self.allocate(server, asking)
            await server.stop()
            text = await self.failure_of(asking.gatherer.ask_address(server.address, timeout=1.0))
            self.assertIn("no answer within 1.0 s", text)
            text = await self.failure_of(Socket(self).gatherer.allocate(server.address, CREDENTIALS, timeout=1.0))
            self.assertIn("no answer within 1.0 s", text)
            await self.soon(relay.address.close())

        return self.run_coroutine(run())
