"""What the tests of media share: a reactor whose time stands still, parties with real sockets, descriptions."""

from __future__ import annotations

import select
import socket
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.interfaces import StreamStatistics
from sipd.media.engine import DEFAULT_ENGINE_SETTINGS, Engine, EngineSettings
from sipd.media.monitor import Monitor
from sipd.media.pacer import Pacer
from sipd.media.ports import MediaAddress, PortAllocator
from sipd.media.reactor import ReactorEngine
from sipd.media.relay import MediaRelay
from sipd.media.session import RelaySession
from sipd.sdp.description import SessionDescription, parse_description

T = TypeVar("T")

#: Where the relay of the tests takes its ports: not where the system takes those it chooses itself.
LOW, HIGH = 30000, 31999

IP4 = MediaAddress(host="127.0.0.1", advertised_host="127.0.0.1")
IP6 = MediaAddress(host="::1", advertised_host="::1")

#: The longest that a test waits for the kernel.
_PATIENCE = 2.0


class PumpedReactor(Clock):
    """Time stands still and nothing is read until the test says so; the descriptors are real."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[IReadDescriptor] = set()

    def addReader(self, reader: IReadDescriptor) -> None:
        """See `IReactorFDSet`."""
        self.readers.add(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See `IReactorFDSet`."""
        self.readers.discard(reader)

    def settle(self) -> None:
        """Let arrive what is on its way between parts of the relay: here there is nothing between them."""

    def read_all(self) -> None:
        """Let readers read until none has anything."""
        while True:
            ready = select.select(list(self.readers), [], [], 0)[0]
            if not ready:
                return
            for reader in ready:
                reader.doRead()


class Party:
    """A phone's media socket."""

    def __init__(self, reactor: PumpedReactor, host: str = "127.0.0.1", port: int = 0) -> None:
        self._reactor = reactor
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self._socket.setblocking(False)
        self.host = host
        self.port: int = self._socket.getsockname()[1]

    @property
    def address(self) -> tuple[str, int]:
        """Where it is."""
        return self.host, self.port

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Send to the relay, and let the relay work."""
        self._socket.sendto(data, to)
        self._reactor.read_all()

    def send_unseen(self, data: bytes, to: tuple[str, int]) -> None:
        """Send to the relay, which does not look yet."""
        self._socket.sendto(data, to)

    def received(self) -> list[bytes]:
        """Give all that has come and was not given yet."""
        self._reactor.read_all()
        return self.waiting()

    def waiting(self) -> list[bytes]:
        """Give the same without letting the relay work."""
        got = []
        while select.select([self._socket], [], [], 0)[0]:
            got.append(self._socket.recv(65536))
        return got

    def expect(self, data: bytes, source: tuple[str, int] | None = None) -> None:
        """Wait for exactly that datagram, and nothing before it."""
        self._reactor.read_all()
        if not select.select([self._socket], [], [], _PATIENCE)[0]:
            raise AssertionError(f"{data!r} did not come")
        got, origin = self._socket.recvfrom(65536)
        if got != data or (source is not None and origin[:2] != source):
            raise AssertionError(f"{got!r} from {origin} came instead of {data!r} from {source}")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def describe(
    *media: str | tuple[str, int], address: str = "127.0.0.1", extra: tuple[str, ...] = ()
) -> SessionDescription:
    """Make a description: of each media either its lines, or the kind and the port of one over RTP.

    `extra` are lines that follow the last media line.
    """
    kind = "IP6" if ":" in address else "IP4"
    lines = ["v=0", f"o=- 1 1 IN {kind} {address}", "s=-", f"c=IN {kind} {address}", "t=0 0"]
    for one in media:
        lines.append(one if isinstance(one, str) else f"m={one[0]} {one[1]} RTP/AVP 0")
    return parse_description("\r\n".join((*lines, *extra)))


class RelayTestCase(SynchronousTestCase):
    """Gives each test a relay on loopback, and checks that nothing is left of it."""

    addresses: tuple[MediaAddress, ...] = (IP4, IP6)
    latch_window = 5.0
    stream_limit = 16
    ports = (LOW, HIGH)
    engine_settings: EngineSettings = DEFAULT_ENGINE_SETTINGS

    def setUp(self) -> None:
        """Make the relay and one session."""
        self.reactor = self.make_reactor()
        self.allocator = PortAllocator(clock=self.reactor, low=self.ports[0], high=self.ports[1])
        self.relay = MediaRelay(
            engine=self.make_engine(),
            addresses=self.addresses,
            ports=self.allocator,
            latch_window=self.latch_window,
            stream_limit=self.stream_limit,
            monitor=self.make_monitor(),
            seconds=self.reactor.seconds,
            pacer=Pacer(self.reactor),
        )
        self.events: list[tuple[str, str]] = []
        self.session = self.open_session()
        self.addCleanup(self._check_nothing_is_left)

    def make_reactor(self) -> PumpedReactor:
        """Make the reactor of the test."""
        return PumpedReactor()

    def make_engine(self) -> Engine:
        """Make what forwards; other classes test another one."""
        return ReactorEngine(self.reactor, pause=0, settings=self.engine_settings)

    def make_monitor(self) -> Monitor | None:
        """Make what looks after calls; most tests do without."""
        return None

    def open_session(self) -> RelaySession:
        """Open a session whose events are kept in `events`."""
        return self.relay.open_session("call", lambda kind, text: self.events.append((kind, text)))

    def party(self, host: str = "127.0.0.1", port: int = 0) -> Party:
        """Make a party that is closed at the end."""
        party = Party(self.reactor, host, port)
        self.addCleanup(party.close)
        return party

    def offer(self, sender: str, receiver: str, description: SessionDescription) -> SessionDescription:
        """Offer, and give what the receiver is offered."""
        return self.result(self.session.offer(sender, receiver, description))

    def answer(self, sender: str, receiver: str, description: SessionDescription) -> SessionDescription:
        """Answer, and give what the receiver is answered."""
        return self.result(self.session.answer(sender, receiver, description))

    def result(self, deferred: Deferred[T]) -> T:
        """Give the result of a Deferred that has one."""
        result = self.successResultOf(deferred)
        self.reactor.settle()
        return result

    def statistics(self) -> list[StreamStatistics]:
        """Give the counters of the session, as soon as they are known."""
        self.session.statistics()
        self.reactor.read_all()
        return list(self.session.statistics())

    def kinds(self, kind: str) -> list[str]:
        """Give the texts of the events of a kind."""
        return [text for event, text in self.events if event == kind]

    def _check_nothing_is_left(self) -> None:
        self.relay.close()
        self.reactor.read_all()
        self.assertEqual(len(self.relay), 0)
        self.assertEqual(len(self.allocator), 0)
        self.assertEqual(self.reactor.readers, set())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        taken, released = self.kinds("port-taken"), self.kinds("port-released")
        self.assertEqual(sorted(taken), sorted(released))


def place_of(description: SessionDescription, index: int = 0) -> tuple[str, int]:
    """Give where a description says that the media of one media line goes."""
    media = description.media[index]
    connection = description.connection_of(media)
    assert connection is not None
    return connection.host, media.port


def rtcp_of(description: SessionDescription, index: int = 0) -> tuple[str, int]:
    """Give where the RTCP of one media line goes, without `a=rtcp`."""
    host, port = place_of(description, index)
    return host, port + 1
