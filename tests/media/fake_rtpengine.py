"""A daemon that speaks "ng" and behaves as rtpengine 10.5 does, as far as a controller can see.

It acts on an offer at once: who is offered something is connected with who offers, whoever was connected before. It
gives each party of a call ports of its own, which stay with it, and writes descriptions in its own manner. The last but
one party that is deleted takes the call with it. An answer that was given is given again for the same cookie.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from sipd.media.rtpengine.client import ClientReactor
from sipd.media.rtpengine.engine import RtpengineRelay
from sipd.media.rtpengine.session import RtpengineSession
from sipd.media.rtpengine.settings import ClientSettings, DaemonAddress, RtpengineSettings
from sipd.sdp.description import (
    AddressType,
    Connection,
    MediaDescription,
    RtcpAddress,
    SessionDescription,
    parse_description,
)
from sipd.sdp.streams import Slots
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Link
from sipd.testing.network import Host, Network
from tests.media.support import describe

T = TypeVar("T")

DAEMON_PORT = 2223
_FIRST_PORT = 30000
_REMEMBERED = 1000


@dataclass(slots=True)
class FakeMedia:
    """One media line of a party."""

    port: int
    media: str
    endpoint: tuple[str, int] = ("", 0)
    packets: int = 0
    size_octets: int = 0
    rtcp_packets: int = 0
    is_muxed: bool = False


@dataclass(slots=True)
class FakeParty:
    """A party of a call; `peer` is the tag of who gets its media."""

    tag: str
    medias: list[FakeMedia] = field(default_factory=list)
    peer: str = ""
    is_deleted: bool = False


@dataclass(slots=True)
class FakeCall:
    """A call."""

    parties: dict[str, FakeParty] = field(default_factory=dict)

    def ports(self, tag: str) -> list[int]:
        """Give the ports of a party; none if it was deleted."""
        party = self.parties[tag]
        return [] if party.is_deleted else [media.port for media in party.medias]


class FakeRtpengine(DatagramProtocol):
    """The daemon.

    Args:
        host: a simulated one.
        port: where it listens.
        addresses: where its ports are, by version of IP.

    Attributes:
        calls: those that it has, by name.
        requests: what it has carried out, in order.
        refusal: if set, the reason for which it refuses offers.
        hook: if set, gives the datagrams that are sent for a request, given its cookie, itself and the answer. That of
            a request that came again is `repeated`.
    """

    def __init__(self, host: Host, port: int, addresses: dict[str, str] | None = None) -> None:
        self.calls: dict[str, FakeCall] = {}
        self.requests: list[dict[str, Any]] = []
        self.refusal = ""
        self.hook: Callable[[str, dict[str, Any], bytes], list[bytes]] | None = None
        self._addresses = addresses or {"IP4": "198.51.100.9", "IP6": "2001:db8::9"}
        self._host = host
        self._port = port
        self._listening: IListeningPort | None = None
        self._answers: OrderedDict[str, bytes] = OrderedDict()
        self._next_port = _FIRST_PORT
        self.start()

    def start(self) -> None:
        """Begin to listen; what was known before a `stop` is forgotten."""
        self.calls.clear()
        self._answers.clear()
        self._listening = self._host.listenUDP(self._port, self, interface=self._host.address, maxPacketSize=65536)

    def stop(self) -> None:
        """Die. Idempotent."""
        if self._listening is not None:
            self._listening.stopListening()
            self._listening = None

    @property
    def is_listening(self) -> bool:
        """Whether it is there."""
        return self._listening is not None

    @property
    def only_call(self) -> FakeCall:
        """The call, if there is one only."""
        (call,) = self.calls.values()
        return call

    def commands(self) -> list[str]:
        """Give the commands it has carried out, without pings."""
        return [request["command"] for request in self.requests if request["command"] != "ping"]

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Take a request, and answer it."""
        cookie, _, document = datagram.decode().partition(" ")
        assert self.transport is not None
        data = self._answers.get(cookie)
        if data is None:
            request = json.loads(document)
            self.requests.append(request)
            result = getattr(self, "_" + request["command"])(request)
            data = self._answers[cookie] = f"{cookie} {json.dumps(result)}".encode()
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        else:
            request = {"command": "repeated"}
        meddled = [data] if self.hook is None else self.hook(cookie, request, data)
        for answer in meddled:
            self.transport.write(answer, addr)

    def _ping(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"result": "pong"}

    def _offer(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.refusal:
            return {"result": "error", "error-reason": self.refusal}
        call = self.calls.setdefault(request["call-id"], FakeCall())
        return self._exchange(call, request, request["from-tag"], request["to-tag"])

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        call = self.calls.get(request["call-id"])
        if call is None:
            return {"result": "error", "error-reason": "Unknown call-id"}
        return self._exchange(call, request, request["to-tag"], request["from-tag"])

    def _exchange(self, call: FakeCall, request: dict[str, Any], sender: str, receiver: str) -> dict[str, Any]:
        """Take what one party says, and give what the other one is to be told."""
        said = parse_description(request["sdp"])
        if said.origin is None or any(said.connection_of(media) is None for media in said.media):
            return {"result": "error", "error-reason": "Incomplete SDP specification"}
        ours, theirs = (call.parties.setdefault(tag, FakeParty(tag)) for tag in (sender, receiver))
        for party in (ours, theirs):
            party.medias += [self._media() for _ in said.media[len(party.medias) :]]
        ours.peer, theirs.peer = receiver, sender
        host = self._addresses[request.get("address family", "IP4")]
        lines = []
        for media, own, other in zip(said.media, ours.medias, theirs.medias, strict=False):
            connection = said.connection_of(media)
            assert connection is not None
            own.endpoint = (connection.host, media.port)
            own.media = other.media = media.media
            if request["command"] == "offer":
                own.is_muxed = media.has_rtcp_mux
            lines.append(self._line(media, other, request))
        text = said.with_connection(Connection(address_type=AddressType.of(host), host=host)).text
        return {"result": "ok", "sdp": str(SessionDescription(text, tuple(lines)))}

    def _line(self, media: MediaDescription, other: FakeMedia, request: dict[str, Any]) -> MediaDescription:
        """Write a media line: the address at the session, `a=rtcp` always, and attributes sorted."""
        if media.is_disabled:
            return MediaDescription(lines=media.lines[:1])
        first, *rest = [line for line in media.with_port(other.port).lines if not line.startswith("c=")]
        protocol = request.get("transport protocol")
        if protocol:
            first = first.replace(media.protocol, protocol)
            rest.append("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:daemon")
        line = MediaDescription(lines=[first, *sorted(rest)])
        if request["command"] == "answer" and "accept" in request.get("rtcp-mux", ()) and other.is_muxed:
            line = line.with_attribute("rtcp-mux")
        return line.with_attribute("rtcp", str(RtcpAddress(port=other.port + 1)))

    def _media(self) -> FakeMedia:
        self._next_port += 2
        return FakeMedia(port=self._next_port - 2, media="audio")

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        call = self.calls.get(request["call-id"])
        if call is None:
            return {"result": "error", "error-reason": "Unknown call-id"}
        return {"result": "ok", **self._counters(list(call.parties.values()))}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        call = self.calls.get(request["call-id"])
        if call is None:
            return {"result": "ok", "warning": "Call-ID not found or tags didn't match"}
        tag = request.get("from-tag")
        if tag is None:
            del self.calls[request["call-id"]]
            return {"result": "ok"}
        if tag not in call.parties:
            return {"result": "ok", "warning": "Call-ID not found or tags didn't match"}
        call.parties[tag].is_deleted = True
        gone = [call.parties[tag]]
        living = [party for party in call.parties.values() if not party.is_deleted]
        if len(living) < 2:
            gone += living
            del self.calls[request["call-id"]]
        return {"result": "ok", **self._counters(gone)}

    @staticmethod
    def _counters(parties: list[FakeParty]) -> dict[str, Any]:
        return {"tags": {party.tag: {"medias": _print_medias(party)} for party in parties}}


def _print_medias(party: FakeParty) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "type": media.media,
            "streams": [
                {
                    "flags": ["RTP"],
                    "endpoint": {"family": "IPv4", "address": media.endpoint[0], "port": media.endpoint[1]},
                    "stats": {"packets": media.packets, "bytes": media.size_octets, "errors": 0},
                    "SSRC": 4711,
                },
                {"flags": ["RTCP"], "stats": {"packets": media.rtcp_packets, "bytes": 0, "errors": 0}},
            ],
        }
        for index, media in enumerate(party.medias, 1)
    ]


class RtpengineTestCase(SynchronousTestCase):
    """Gives each test daemons on a simulated network and a relay, and checks that nothing is left of it."""

    weights: tuple[int, ...] = (1,)
    client = ClientSettings()
    options: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        """Make the daemons, the relay and one session."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1, link=Link(delay=0.001))
        self.host = self.network.host("192.0.2.1")
        self.daemons = []
        addresses = []
        for number, weight in enumerate(self.weights):
            host = self.network.host(f"192.0.2.{10 + number}")
            self.daemons.append(FakeRtpengine(host, DAEMON_PORT))
            addresses.append(DaemonAddress(host=host.address, port=DAEMON_PORT, weight=weight))
        settings = RtpengineSettings(daemons=tuple(addresses), client=self.client, **self.options)
        reactor = cast(ClientReactor, self.host)
        self.relay = RtpengineRelay(reactor=reactor, settings=settings, entropy=self.network.entropy)
        self.relay.start()
        self.events: list[tuple[str, str]] = []
        self.session = self.open_session()
        self.addCleanup(self._check_nothing_is_left)

    @property
    def daemon(self) -> FakeRtpengine:
        """The first daemon."""
        return self.daemons[0]

    @property
    def call(self) -> FakeCall:
        """The only call that the first daemon has."""
        return self.daemon.only_call

    def open_session(self) -> RtpengineSession:
        """Open a session whose events are kept in `events`."""
        return self.relay.open_session("call", lambda kind, text: self.events.append((kind, text)))

    def offer(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None = None
    ) -> SessionDescription:
        """Offer, and give what the receiver is offered."""
        return self.result(self.session.offer(sender, receiver, description, slots))

    def answer(self, sender: str, receiver: str, description: SessionDescription) -> SessionDescription:
        """Answer, and give what the receiver is answered."""
        return self.result(self.session.answer(sender, receiver, description))

    def connect(self, one: str = "a", other: str = "b1") -> tuple[SessionDescription, SessionDescription]:
        """Let one leg offer audio and the other one answer; give what each was told."""
        return self.offer(one, other, describe_leg(one)), self.answer(other, one, describe_leg(other))

    def settle(self) -> None:
        """Let everything that was begun come to its end."""
        self.clock.advance(0.1)

    def result(self, deferred: Deferred[T]) -> T:
        """Wait for the result of a Deferred."""
        self._wait(deferred)
        return self.successResultOf(deferred)

    def failure(self, deferred: Deferred[Any], kind: type[Exception]) -> str:
        """Wait for a Deferred to fail; give the text of the error."""
        self._wait(deferred)
        return str(self.failureResultOf(deferred, kind).value)

    def _wait(self, deferred: Deferred[Any]) -> None:
        self.clock.run_until(lambda: deferred.called and not deferred.paused, limit=60)

    def _check_nothing_is_left(self) -> None:
        self.result(self.relay.close())
        self.clock.advance(0.1)
        self.assertEqual(len(self.relay), 0)
        self.assertEqual(self.host.ports, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for daemon in self.daemons:
            if daemon.is_listening:
                self.assertEqual(daemon.calls, {})


def describe_leg(leg: str, *kinds: str) -> SessionDescription:
    """Describe a leg, by default with audio: each has ports of its own."""
    first = 4000 + 100 * ["a", "b1", "b2", "b3", "b4"].index(leg)
    return describe(*[(kind, first + 2 * line) for line, kind in enumerate(kinds or ("audio",))], address="203.0.113.5")
