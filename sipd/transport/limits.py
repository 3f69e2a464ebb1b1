"""The bounds of the transport layer, and a count of what happens at them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """Every bound of the transport layer. What is beyond one is dropped, refused or closed, counted and logged.

    Args:
        max_head_octets: of start line and header fields of a message on a stream.
        max_body_octets: of a body on a stream.
        max_queue_octets: unsent octets of one connection, beyond the 64 KiB that Twisted buffers.
        max_connections: open at once, in both directions.
        max_connections_per_source: accepted from one address and open at once; a NAT counts as one.
        connect_timeout: seconds for a connection that we make, TLS handshake included; well below timer B, so that
            the next target can be tried.
        handshake_timeout: seconds for the TLS handshake of a connection that we accept.
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
        counts: kind of incident to how often it happened. The kinds are short fixed words: `malformed`, `refused`,
            `stray-response`, `framing`, `too-many-connections`, `too-many-from-source`, `connect-failed`, `tls`,
            `connect-timeout`, `handshake-timeout`, `slow-message`, `idle`, `stalled`, `queue-full`, `close-timeout`,
            `send-failed`, `refused-datagram`, `bug`, and `not-logged` for those that the log does not have.
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


@dataclass(slots=True)
class TransportCounters:
    """How much came and went since the start."""

    messages_received: int = 0
    messages_sent: int = 0
    keep_alives: int = 0
