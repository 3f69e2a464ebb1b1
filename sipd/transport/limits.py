"""The bounds of the transport layer, and a count of what happens at them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sipd.sip.locate import Transport

#: What messages are counted as: methods, classes of responses, and whatever else there is.
_METHODS = (
    "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER", "REGISTER",
    "SUBSCRIBE", "UPDATE",
)  # fmt: skip
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "6xx")
OTHER = "other"
KINDS = (*_METHODS, *_CLASSES, OTHER)

#: How a message that is sent begins: the first octets tell the methods apart, and one more those of responses.
_BEGINNING_OCTETS = 4
_BEGINNINGS = {
    **{f"{method} "[:_BEGINNING_OCTETS].encode("ascii"): method for method in _METHODS},
    **{b"SIP/2.0 " + name[:1].encode("ascii"): name for name in _CLASSES},
}
_RESPONSE = b"SIP/"
_RESPONSE_OCTETS = len("SIP/2.0 2")

#: The kinds of `Incidents`.
INCIDENTS = (
    "malformed", "refused", "stray-response", "framing", "too-many-connections", "too-many-from-source",
    "connect-failed", "tls", "connect-timeout", "handshake-timeout", "slow-message", "idle", "stalled", "queue-full",
    "close-timeout", "send-failed", "refused-datagram", "websocket", "bug", "not-logged",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """Every bound of the transport layer. What is beyond one is dropped, refused or closed, counted and logged.

    Args:
        max_head_octets: of start line and header fields of a message on a stream.
        max_body_octets: of a body on a stream.
        max_queue_octets: unsent octets of one connection, beyond the 64 KiB that Twisted buffers.
        max_connections: open at once, in both directions.
        max_connections_per_source: accepted from one address and open at once; a NAT counts as one.
        connect_timeout: seconds for a connection that we make, handshakes of TLS and WebSocket included; well below
            timer B, so that the next target can be tried.
        handshake_timeout: seconds for these handshakes of a connection that we accept.
        message_timeout: seconds from the first octet of a message to its last, and from the start of an accepted
            connection to its first message.
        idle_timeout: seconds without an octet from the peer. Longer than a registration usually lasts, since a
            phone without keep-alives is reachable over this connection alone.
        stall_timeout: seconds in which a peer reads nothing of what is written to it, or does not even confirm it.
        close_timeout: seconds that a connection has to end in good order.
        max_udp_flows: remembered for each UDP listening point; a forgotten one is simply made again.
        refusals_per_second: of defective requests that are answered; others are dropped.
        reroutings_per_second: of responses that are sent to the servers of a sent-by; others are lost.
        log_lines_per_second: about incidents; counters always count.
    """

    max_head_octets: int = 65536
    max_body_octets: int = 65536
    max_queue_octets: int = 1048576
    max_connections: int = 8192
    max_connections_per_source: int = 256
    connect_timeout: float = 10.0
    handshake_timeout: float = 10.0
    message_timeout: float = 30.0
    idle_timeout: float = 3900.0
    stall_timeout: float = 30.0
    close_timeout: float = 2.0
    max_udp_flows: int = 8192
    refusals_per_second: int = 100
    reroutings_per_second: int = 10
    log_lines_per_second: int = 10


class RateLimit:
    """Lets so many things a second pass, in bursts of as many.

    Args:
        clock: what tells the time.
        per_second: more than 0.
    """

    __slots__ = ("_available", "_checked_at", "_clock", "_per_second")

    def __init__(self, clock: IReactorTime, per_second: int) -> None:
        self._clock = clock
        self._per_second = per_second
        self._available = float(per_second)
        self._checked_at = clock.seconds()

    def allow(self) -> bool:
        """Say whether one more may pass now, and count it if so."""
        now = self._clock.seconds()
        self._available += (now - self._checked_at) * self._per_second
        self._available = min(self._available, float(self._per_second))
        self._checked_at = now
        if self._available < 1.0:
            return False
        self._available -= 1.0
        return True


class Incidents:
    """What went wrong on the wire: always counted, logged at a bounded rate.

    Attributes:
        counts: kind of incident to how often it happened. The kinds are short fixed words, those of `INCIDENTS`;
            ``not-logged`` counts those that the log does not have.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, lines_per_second: int) -> None:
        self.counts: Counter[str] = Counter()
        self._rate = RateLimit(clock, lines_per_second)

    def note(self, kind: str, peer: object, reason: str) -> None:
        """Count an incident, and say it in the log unless there is too much of it.

        Args:
            kind: one of the fixed words.
            peer: its text says who it was.
            reason: one line for a person.
        """
        self.counts[kind] += 1
        if self._rate.allow():
            self._log.info("{kind}: {peer}: {reason}", kind=kind, peer=str(peer), reason=reason)
        else:
            self.counts["not-logged"] += 1


class TransportCounters:
    """How much came and went since the start.

    Attributes:
        messages_received: all that came and was no keep-alive, whether it could be read or not.
        keep_alives: that came.
    """

    __slots__ = ("_received", "_sent", "keep_alives", "messages_received")

    def __init__(self) -> None:
        self.messages_received = 0
        self.keep_alives = 0
        # By method, by class of status; and by how a message begins. These are the only keys: no peer makes more.
        kinds: tuple[str | int, ...] = (*_METHODS, *range(1, 7), OTHER)
        self._received = {transport: dict.fromkeys(kinds, 0) for transport in Transport}
        self._sent = {transport: dict.fromkeys((*_BEGINNINGS, b""), 0) for transport in Transport}

    @property
    def received(self) -> dict[Transport, dict[str, int]]:
        """Messages that could be read, by transport and kind (`KINDS`); a method that is not known is ``other``."""
        return {
            transport: {kind if isinstance(kind, str) else f"{kind}xx": count for kind, count in counts.items()}
            for transport, counts in self._received.items()
        }

    @property
    def sent(self) -> dict[Transport, dict[str, int]]:
        """Messages that were sent, in the same way; keep-alives of ours are ``other``."""
        return {
            transport: {_BEGINNINGS.get(beginning, OTHER): count for beginning, count in counts.items()}
            for transport, counts in self._sent.items()
        }

    @property
    def messages_sent(self) -> int:
        """All that was sent."""
        return sum(sum(counts.values()) for counts in self._sent.values())

    def count_received(self, kind: str | int, transport: Transport) -> None:
        """Count a message that could be read: by the method of a request, or the class of a response, 1 to 6."""
        try:
            self._received[transport][kind] += 1
        except KeyError:
            self._received[transport][OTHER] += 1

    def count_sent(self, data: bytes, transport: Transport) -> None:
        """Count a message that sipd has printed, by how it begins."""
        beginning = data[:_BEGINNING_OCTETS]
        if beginning == _RESPONSE:
            beginning = data[:_RESPONSE_OCTETS]
        try:
            self._sent[transport][beginning] += 1
        except KeyError:
            self._sent[transport][b""] += 1
