"""A server on a simulated network with a stranger beside it, and counts of what the stranger makes it do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, cast

from twisted.internet.interfaces import IAddress, IPushProducer, ITCPTransport
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.sip.parser import is_keep_alive, parse_datagram
from sipd.sip.validation import find_fault, is_usable
from sipd.testing import builders
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Address
from sipd.testing.network import Host, Network
from sipd.testing.peer import Peer
from sipd.testing.stack import SimulatedServer

SERVER, STRANGER, ALICE, BOB = "192.0.2.100", "203.0.113.9", "192.0.2.1", "192.0.2.2"
USERS = {"alice": "secret", "bob": "hidden"}
#: 64*T1, and what a BYE takes that nobody answers after it: by then all transactions are over.
QUIET = 200.0


class Arena:
    """A server, and a stranger's host that may send it anything.

    Args:
        users: name to password.
        routes: static routes.
        stranger: the address that the stranger's host has.
        options: for the server.
    """

    def __init__(
        self,
        users: dict[str, str] | None = None,
        routes: Sequence[StaticRoute] = (),
        stranger: str = STRANGER,
        **options: Any,
    ) -> None:
        self.clock = SimulatedClock(1_000_000.0)
        self.network = Network(self.clock, seed=1)
        self.server = SimulatedServer(self.network.host(SERVER), users or USERS, routes=routes, **options)
        self.stranger = self.network.host(stranger)
        self.datagrams = RawDatagrams(self.stranger)
        self._mark = 0
        self._probes = 0

    # --- what the stranger does

    def send(self, data: bytes, *, port: int = 5060) -> None:
        """Send a datagram, and let it be handled; no timer fires."""
        self.network.send_datagram(self.stranger, (self.stranger.address, port), (SERVER, 5060), data)
        self.clock.advance(0.05)

    def connect(self) -> RawStream:
        """Give a new connection from the stranger; it is made when this returns, or refused."""
        (stream,) = self.connect_many(1)
        return stream

    def connect_many(self, number: int) -> list[RawStream]:
        """Give so many new connections, all made at once."""
        factories = [_Streams() for _ in range(number)]
        for factory in factories:
            self.stranger.connectTCP(SERVER, 5060, factory)
        self.clock.advance(0.05)
        return [factory.stream for factory in factories]

    def peer(self, user: str, address: str, *, registered: bool = True) -> Peer:
        """Give a phone that behaves, on a host of its own."""
        peer = self.server.peer(self.network.host(address), user)
        if registered:
            peer.register()
            self.clock.advance(1.0)
        return peer

    # --- what the server does

    def mark(self) -> None:
        """Forget what the server has sent up to now."""
        self._mark = len(self.network.log)

    def datagrams_sent(self) -> list[tuple[Address, bytes]]:
        """Give where the server has sent datagrams to since the mark, and which; none to itself."""
        here = (SERVER, 5060)
        return [
            (event.destination, event.data)
            for event in self.network.log[self._mark :]
            if event.fate.is_departure and event.transport == "UDP" and event.source == here != event.destination
        ]

    def sent(self) -> list[Request | Response]:
        """Give the messages that the server has sent in datagrams since the mark; all of them are well formed."""
        messages = [parse_datagram(data) for _, data in self.datagrams_sent() if not is_keep_alive(data)]
        for message in messages:
            if not is_well_formed(message):
                raise AssertionError(f"the server sent {message.to_bytes()!r}")
        return messages

    def answers(self) -> list[Response]:
        """Give the final responses among them."""
        return [message for message in self.sent() if isinstance(message, Response) and message.status >= 200]

    def statuses(self) -> list[int]:
        """Give their status codes."""
        return [answer.status for answer in self.answers()]

    def is_serving(self) -> bool:
        """Say whether a good OPTIONS from the stranger is answered with 200, once."""
        self._probes += 1
        self.mark()
        name = f"probe-{self._probes}"
        address = f"{self.stranger.address}:5060"
        probe = builders.options("sip:example.com", via=address, branch=f"z9hG4bK-{name}", call_id=name, from_tag=name)
        self.send(probe.to_bytes())
        return [answer.status for answer in self.answers() if answer.headers.get("Call-ID") == name] == [200]

    def problems(self) -> list[str]:
        """Let everything come to its end, and say what should not be: bugs, leftovers, timers, a server that is deaf.

        The server is closed afterwards.
        """
        found = [] if self.is_serving() else ["a good OPTIONS is not answered with one 200"]
        self.clock.advance(QUIET)
        found += self.server.leftovers()
        bugs = self.server.transport.incidents.counts["bug"]
        found += [f"{bugs} bugs"] if bugs else []
        self.server.close()
        self.clock.run()
        found += [f"a timer is left: {call}" for call in self.clock.getDelayedCalls()]
        connections = self.server.transport.connection_count
        return found + ([f"{connections} connections"] if connections else [])


class HostileCase(SynchronousTestCase):
    """Tests in one arena.

    Attributes:
        arena: made anew for each test.
    """

    users: dict[str, str] = USERS
    routes: Sequence[StaticRoute] = ()

    def setUp(self) -> None:
        self.arena = Arena(self.users, self.routes)

    def assert_unharmed(self, arena: Arena | None = None) -> None:
        """Say that the server still serves, that nothing is left, and that nobody logged a traceback."""
        self.assertEqual((arena or self.arena).problems(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class RawDatagrams(DatagramProtocol):
    """A UDP socket on port 5060 of a host, which is deaf: what comes is in the network's log."""

    noisy = False

    def __init__(self, host: Host) -> None:
        host.listenUDP(5060, self, maxPacketSize=65536)

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """See `DatagramProtocol`."""


class RawStream(Protocol):
    """One end of a connection that keeps what comes.

    Attributes:
        data: all of it.
        is_lost: whether the connection has ended.
    """

    def __init__(self) -> None:
        self.data = b""
        self.is_lost = False

    @property
    def wire(self) -> ITCPTransport:
        """What it writes to."""
        return cast(ITCPTransport, self.transport)

    def stop_reading(self) -> None:
        """Take nothing that comes from now on."""
        cast(IPushProducer, self.transport).pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self.is_lost = True

    def statuses(self) -> list[int]:
        """Give the final status codes that came, in order."""
        found = []
        rest = self.data.lstrip(b"\r\n")
        while rest:
            message = parse_datagram(rest)
            if not is_well_formed(message) or isinstance(message, Request):
                raise AssertionError(f"the server sent {rest[:1000]!r}")
            found += [message.status] if message.status >= 200 else []
            rest = rest.partition(b"\r\n\r\n")[2][len(message.body) :].lstrip(b"\r\n")
        return found


class _Streams(ClientFactory[RawStream]):
    noisy = False

    def __init__(self) -> None:
        self.stream = RawStream()

    def buildProtocol(self, addr: IAddress | None) -> RawStream:
        return self.stream


def is_well_formed(message: Request | Response) -> bool:
    """Say whether a message that the server sent is one that it would take itself; a 4xx echoes what it refuses."""
    if isinstance(message, Request):
        return find_fault(message) is None
    return is_usable(message) or (400 <= message.status < 600 and bool(message.via))


def count_lines(function: Callable[[], object]) -> int:
    """Give how many lines of Python a call executes, loops and all: a cost that is the same on every machine."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count
