"""What is kept of a call: its decisions, its record, and what was counted of its media."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class StreamStatistics:
    """What one leg sent on one stream, as it came in here.

    An engine that does not know something leaves it at its default.

    Args:
        leg: its name.
        stream: the number of the media line, from 0.
        media: its kind, as in ``m=``.
        packets: that were relayed, without RTCP.
        size_octets: of them, with their RTP headers.
        rtcp_packets: that were relayed.
        dropped: foreign ones, and those that came while nobody was connected.
        source: where they come from, as ``host:port``.
        foreign_source: the first one that was not believed.
        lost: that never came, by their sequence numbers.
        late: that came out of order.
        duplicates: that came twice.
        jitter: seconds (RFC 3550 section 6.4.1).
        jitter_max: the worst of it.
        bursts: periods of heavy loss (RFC 3611 section 4.7.2).
        burst_length: packets in such a period, on average.
        ssrc: the last synchronization source.
        ssrc_changes: how often it became another.
        payload_type: the last one.
        unexpected: packets of a payload type that was not agreed on.
        failures: packets that could not be decrypted.
        unreachable: how often sending to the leg failed, or ICMP said that nobody is there.
        round_trip: seconds to the leg and back, by RTCP; 0 if unknown.
        reported_lost: what the leg itself says that it lost (0.0 to 1.0) of what it is sent; -1 if it says nothing.
        mos: estimated quality of what comes from the leg, 1.0 to 4.5; 0 if unknown.
        engine: what relays it, or did last.
    """

    leg: str
    stream: int
    media: str
    packets: int = 0
    size_octets: int = 0
    rtcp_packets: int = 0
    dropped: int = 0
    source: str = ""
    foreign_source: str = ""
    lost: int = 0
    late: int = 0
    duplicates: int = 0
    jitter: float = 0.0
    jitter_max: float = 0.0
    bursts: int = 0
    burst_length: float = 0.0
    ssrc: int = 0
    ssrc_changes: int = 0
    payload_type: int = -1
    unexpected: int = 0
    failures: int = 0
    unreachable: int = 0
    round_trip: float = 0.0
    reported_lost: float = -1.0
    mos: float = 0.0
    engine: str = ""


@dataclass(slots=True, kw_only=True)
class Decision:
    """One entry of a call's explanation.

    Args:
        at: seconds of the wall clock.
        kind: a short fixed word: ``received``, ``authenticated``, ``routed``, ``attempt``, ``answered``, ``ended``, ...
        text: one line for a person.
        leg: ``a``, ``b1``, ... or empty for the call.
        user: the name of the user of ours on that leg, where the leg has ``joined`` or ``left`` an answered call.
    """

    at: float
    kind: str
    text: str
    leg: str = ""
    user: str | None = None


@dataclass(slots=True, kw_only=True)
class AttemptRecord:
    """What is kept of one leg beside the caller's. Times are Unix seconds; ``None`` if it did not happen.

    Args:
        leg: its name.
        label: what was tried, as in the explanation.
        call_id: of its dialog.
        uri: the request URI; empty for a leg that was not called from here.
        trunk: by which it was called, if by one.
        user: the user of ours whose contact it is, if it is one.
        identity: the address that who answered is proved to have.
        ringing_at: when the first provisional response but 100 came.
        status: how it ended, as the caller may be told; 0 if it had no outcome of its own.
        reason: the phrase, or why it was given up.
        cause: a short word for a failure: ``sip:486``, ``timeout``, ``no-answer``, ...
        reasons: the Reason values of the response that refused it (RFC 3326), as they came.
        codecs: that were agreed on: ``pcma/8000``.
    """

    leg: str
    label: str = ""
    call_id: str = ""
    uri: str = ""
    trunk: str = ""
    user: str | None = None
    identity: str = ""
    started_at: float | None = None
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    status: int = 0
    reason: str = ""
    cause: str = ""
    reasons: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """What is kept of a call that is over, answered or not. Times are Unix seconds; ``None`` if it did not happen."""

    id: str
    call_id: str
    caller: str
    #: As its From displays it.
    caller_name: str = ""
    #: The address that it is proved to have: by a trusted peer (RFC 3325), or as a user of ours.
    caller_identity: str = ""
    callee: str
    user: str | None
    source: str
    point: str
    started_at: float
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    status: int = 0
    reason: str = ""
    ended_by: str = ""
    cause: str = ""
    route: str = ""
    #: Where it came from, if that is a trunk.
    trunk: str = ""
    #: The user of ours that it was for, as an address of record; empty if it was for somebody else.
    aor: str = ""
    attempts: list[AttemptRecord] = field(default_factory=list)
    media: list[StreamStatistics] = field(default_factory=list)
    #: Why somebody heard nothing, or that all did (`sipd.media.verdict.Cause`); empty if nobody looked.
    media_verdict: str = ""
    #: Of the caller and the callee, as the caller sees it (RFC 7989); empty where neither has one.
    session_id: str = ""
    #: The Reason values of what ended it (RFC 3326): a CANCEL, a BYE or the response that refused it, as they came.
    reasons: tuple[str, ...] = ()
    #: That were agreed on with the caller.
    codecs: tuple[str, ...] = ()
    #: How often somebody in it was transferred.
    transfers: int = 0
    #: Identifiers of calls that a leg came from, or went to.
    related: list[str] = field(default_factory=list)
