"""What is known of an endpoint's media at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from sipd.media.endpoint.agreement import Agreement
from sipd.media.endpoint.wire import Wire
from sipd.media.latch import Address
from sipd.rtp.emodel import equipment_of, estimate_mos


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatistics:
    """Counters and figures. Times are seconds.

    Args:
        codec: that is sent, ``pcmu/8000``; ``None`` before anything is agreed on.
        is_secure: whether it is SRTP.
        local: where media comes in; ``None`` before the sockets are open.
        remote: where media goes; ``None`` if nobody knows.
        packets_sent: RTP packets.
        octets_sent: of their payloads.
        unsent: datagrams that the system refused.
        packets_received: RTP packets of the peer.
        octets_received: of their payloads.
        lost: expected and not received.
        late: received too late to be heard.
        foreign: datagrams that came from elsewhere, and were dropped.
        malformed: datagrams that were no RTP or RTCP, or of no kind that was agreed on.
        refused: datagrams that were not encrypted as they should be.
        jitter: of what comes (RFC 3550 section 6.4.1); ``None`` if nothing can be told.
        round_trip: to the peer and back; ``None`` if its reports do not say.
        remote_loss: fraction that the peer lost between its last two reports; ``None`` if it reported nothing.
        remote_lost: packets that the peer lost.
        remote_jitter: that the peer has; ``None`` if it reported nothing.
        digits: that were heard.
        mos: what is heard, as people would judge it: 1.0 to 4.5 (`sipd.rtp.emodel`); ``None`` if nothing came.
    """

    codec: str | None
    is_secure: bool
    local: Address | None
    remote: Address | None
    packets_sent: int
    octets_sent: int
    unsent: int
    packets_received: int
    octets_received: int
    lost: int
    late: int
    foreign: int
    malformed: int
    refused: int
    jitter: float | None
    round_trip: float | None
    remote_loss: float | None
    remote_lost: int | None
    remote_jitter: float | None
    digits: int
    mos: float | None


def statistics_of(wire: Wire, agreement: Agreement | None, digits: int) -> EndpointStatistics:
    """Collect what is known.

    Args:
        wire: where packets come and go.
        agreement: that holds; ``None`` if there is none yet.
        digits: that were heard.
    """
    receiver = wire.receiver
    quality = receiver.quality()
    peer = wire.reporter.peer
    mos = None
    if quality.received and agreement is not None:
        mos = estimate_mos(
            equipment_of(agreement.name),
            loss=quality.loss,
            burst_ratio=quality.burst_ratio,
            round_trip=peer.round_trip or 0.0,
            jitter=quality.jitter or 0.0,
        )
    jitter_units = peer.jitter_units
    return EndpointStatistics(
        codec=None if agreement is None else agreement.encoding,
        is_secure=wire.protection.is_secure,
        local=wire.local,
        remote=wire.remote,
        packets_sent=wire.packets_sent,
        octets_sent=wire.octets_sent,
        unsent=wire.unsent,
        packets_received=receiver.packets,
        octets_received=receiver.octets,
        lost=quality.lost,
        late=receiver.late,
        foreign=receiver.foreign,
        malformed=wire.malformed,
        refused=wire.protection.refused,
        jitter=quality.jitter,
        round_trip=peer.round_trip,
        remote_loss=peer.fraction_lost,
        remote_lost=peer.packets_lost,
        remote_jitter=None if jitter_units is None or agreement is None else jitter_units / agreement.clock_rate,
        digits=digits,
        mos=mos,
    )
