"""Metrics of calls, of their media and of registrations, out of what observers are told.

What is in progress is counted among the live calls when somebody asks; only what is over is added up. No label has
anything that a peer made up: no user, no number, no address, no method or media type that is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from zope.interface import implementer

from sipd.interfaces import (
    Binding,
    CallObserver,
    CallRecord,
    Decision,
    IRegistrationObserver,
    StreamStatistics,
)
from sipd.observe.tallies import OTHER, Histogram, Tally
from sipd.records import AttemptRecord
from sipd.sip.locate import Target
from sipd.sip.status import reason_phrase

_RINGING_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0)
_ANSWER_BOUNDS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0)
_DURATION_BOUNDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0)
_LOSS_BOUNDS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_JITTER_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
_ROUND_TRIP_BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
_MOS_BOUNDS = (1.5, 2.0, 2.5, 3.0, 3.3, 3.6, 3.8, 4.0, 4.2, 4.3, 4.4, 4.5)

#: The kinds of media that IANA has for ``m=``; others are the peer's invention.
_MEDIA = frozenset(("audio", "video", "text", "application", "message", "image"))

_STATES = ("setup", "ringing", "answered")


@dataclass(slots=True)
class _LiveCall:
    """A call, and what of it was counted already."""

    record: CallRecord
    is_ringing: bool = False
    is_answered: bool = False


class CallMetrics(CallObserver):
    """Counts calls, their attempts, and at the end of each how its media was.

    Args:
        verdicts: every cause that a verdict on media may have; they are there from the start, and no others.
    """

    def __init__(self, verdicts: Iterable[str] = ()) -> None:
        self._live: dict[str, _LiveCall] = {}
        self._started = Tally("sipd_calls_started_total", "Calls that were offered by a caller who may call.")
        self._answered = Tally("sipd_calls_answered_total", "Calls that were answered.")
        self._refused = Tally(
            "sipd_calls_refused_total", "Calls that ended without an answer, by status and cause.", ("class", "cause")
        )
        self._ended = Tally("sipd_calls_ended_total", "Answered calls that ended, by who and why.", ("by", "cause"))
        self._attempts = Tally(
            "sipd_call_attempts_total", "Legs that were tried and have an outcome.", ("trunk", "result")
        )
        self._ringing_delay = Histogram(
            "sipd_call_ringing_delay_seconds", "From the INVITE to the first ringing.", _RINGING_BOUNDS
        )
        self._answer_delay = Histogram(
            "sipd_call_answer_delay_seconds", "From the INVITE to the answer.", _ANSWER_BOUNDS
        )
        self._duration = Histogram(
            "sipd_call_duration_seconds", "From the answer to the end of the call.", _DURATION_BOUNDS
        )
        self._attempt_ringing_delay = Histogram(
            "sipd_call_attempt_ringing_delay_seconds",
            "From the INVITE of a leg to its first provisional response.",
            _RINGING_BOUNDS,
            ("trunk",),
        )
        self._attempt_duration = Histogram(
            "sipd_call_attempt_duration_seconds", "From the answer of a leg to its end.", _DURATION_BOUNDS, ("trunk",)
        )
        self._media = MediaMetrics(verdicts)

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self._live[call] = _LiveCall(record)
        self._started.add()

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`. Something has happened: the record may have got further."""
        live = self._live.get(call)
        if live is not None and not live.is_answered:
            self._advance(live)

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        live = self._live.pop(call, None)
        if live is not None:
            self._advance(live)
        if record.answered_at is None:
            self._refused.add(_class_of(record.status), _cause_of(record.cause))
        else:
            self._ended.add(record.ended_by or "unknown", _cause_of(record.cause))
            if record.ended_at is not None:
                self._duration.add(max(0.0, record.ended_at - record.answered_at))
        for attempt in record.attempts:
            if attempt.status or attempt.reason:
                self._add_attempt(attempt)
        self._media.add(record)

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        states = Counter(map(_state_of, self._live.values()))
        family = GaugeMetricFamily("sipd_calls", "Calls in progress.", labels=("state",))
        for state in _STATES:
            family.add_metric((state,), states[state])
        yield family
        for tally in (self._started, self._answered, self._refused, self._ended, self._attempts):
            yield tally.family()
        for histogram in (
            self._ringing_delay,
            self._answer_delay,
            self._duration,
            self._attempt_ringing_delay,
            self._attempt_duration,
        ):
            yield histogram.family()
        yield from self._media.collect()

    def _add_attempt(self, attempt: AttemptRecord) -> None:
        """Add a leg that was tried, and so has an outcome; one that took the place of another has none."""
        trunk = attempt.trunk
        self._attempts.add(trunk, _result_of(attempt))
        if attempt.started_at is not None and attempt.ringing_at is not None:
            self._attempt_ringing_delay.add(max(0.0, attempt.ringing_at - attempt.started_at), trunk)
        if attempt.answered_at is not None and attempt.ended_at is not None:
            self._attempt_duration.add(max(0.0, attempt.ended_at - attempt.answered_at), trunk)

    def _advance(self, live: _LiveCall) -> None:
        """Count what has happened since the last look."""
        record = live.record
        if record.ringing_at is not None and not live.is_ringing:
            live.is_ringing = True
            self._ringing_delay.add(max(0.0, record.ringing_at - record.started_at))
        if record.answered_at is not None and not live.is_answered:
            live.is_answered = True
            self._answered.add()
            self._answer_delay.add(max(0.0, record.answered_at - record.started_at))


class MediaMetrics:
    """Adds up what the streams of calls came to, and who heard whom.

    Args:
        verdicts: every cause that a verdict may have.
    """

    def __init__(self, verdicts: Iterable[str] = ()) -> None:
        known = frozenset(verdicts)
        self._causes = known
        self._verdicts = Tally(
            "sipd_media_verdicts_total",
            "Calls by who heard whom: ok, or why somebody heard nothing.",
            ("cause",),
            ((cause,) for cause in sorted(known)),
        )
        ends = ("side", "media", "engine")
        self._packets = Tally("sipd_media_packets_total", "RTP packets that were relayed.", ends)
        self._dropped = Tally("sipd_media_dropped_packets_total", "RTP packets that were not believed.", ends)
        self._lost = Tally("sipd_media_lost_packets_total", "RTP packets that never came.", ends)
        sides = ("side", "media")
        self._loss = Histogram(
            "sipd_media_loss_ratio", "What part of a stream from a side never came.", _LOSS_BOUNDS, sides
        )
        self._reported_loss = Histogram(
            "sipd_media_reported_loss_ratio", "What part a side says that it lost.", _LOSS_BOUNDS, sides
        )
        self._jitter = Histogram("sipd_media_jitter_seconds", "Jitter of a stream from a side.", _JITTER_BOUNDS, sides)
        self._round_trip = Histogram(
            "sipd_media_round_trip_seconds", "From here to a side and back, by RTCP.", _ROUND_TRIP_BOUNDS, sides
        )
        self._mos = Histogram("sipd_media_mos", "Estimated quality of what comes from a side.", _MOS_BOUNDS, sides)

    def add(self, record: CallRecord) -> None:
        """Add a call that is over."""
        if record.media_verdict:
            self._verdicts.add(record.media_verdict if record.media_verdict in self._causes else OTHER)
        for stream in record.media:
            self._add_stream(stream)

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        for tally in (self._verdicts, self._packets, self._dropped, self._lost):
            yield tally.family()
        for histogram in (self._loss, self._reported_loss, self._jitter, self._round_trip, self._mos):
            yield histogram.family()

    def _add_stream(self, stream: StreamStatistics) -> None:
        """Add a stream. What its engine does not know it leaves out: an unknown jitter is not a good one."""
        side = "caller" if stream.leg == "a" else "callee"
        media = stream.media if stream.media in _MEDIA else OTHER
        engine = stream.engine.partition(" ")[0] or "none"
        self._packets.add(side, media, engine, count=stream.packets)
        self._dropped.add(side, media, engine, count=stream.dropped)
        lost = max(0, stream.lost)
        self._lost.add(side, media, engine, count=lost)
        is_known = lost > 0 or stream.jitter > 0 or stream.mos > 0
        if stream.packets and is_known:
            self._loss.add(lost / (stream.packets + lost), side, media)
        if stream.jitter > 0:
            self._jitter.add(stream.jitter, side, media)
        if stream.round_trip > 0:
            self._round_trip.add(stream.round_trip, side, media)
        if stream.reported_lost >= 0:
            self._reported_loss.add(stream.reported_lost, side, media)
        if stream.mos > 0:
            self._mos.add(stream.mos, side, media)


@implementer(IRegistrationObserver)
class RegistrationMetrics:
    """Counts what happens to bindings."""

    def __init__(self) -> None:
        self._events = Tally(
            "sipd_bindings_changed_total",
            "Contacts that were bound, refreshed, removed, or not refreshed in time.",
            ("event",),
            (("made",), ("refreshed",), ("removed",), ("expired",)),
        )
        self._refused = Tally(
            "sipd_registrations_refused_total",
            "REGISTER that was answered with an error other than a challenge.",
            ("status",),
        )

    def binding_made(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        self._events.add("made")

    def binding_refreshed(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        self._events.add("refreshed")

    def binding_removed(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self._events.add("removed")

    def binding_expired(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self._events.add("expired")

    def registration_refused(self, aor: str, source: Target, status: int, reason: str) -> None:
        """See `IRegistrationObserver`."""
        self._refused.add(str(status))

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        yield self._events.family()
        yield self._refused.family()


def _state_of(live: _LiveCall) -> str:
    record = live.record
    if record.answered_at is not None:
        return "answered"
    return "setup" if record.ringing_at is None else "ringing"


def _class_of(status: int) -> str:
    return f"{status // 100}xx" if 300 <= status <= 699 else "none"


def _cause_of(cause: str) -> str:
    """Give a cause as a label: a callee may answer with any number, so only those that stand for something are told."""
    kind, colon, status = cause.partition(":")
    if not colon:
        return cause or "unknown"
    return cause if status.isdecimal() and _stands_for_something(int(status)) else f"{kind}:{OTHER}"


def _stands_for_something(status: int) -> bool:
    """Say whether a status is more than one of its class."""
    first = status // 100 * 100
    return status == first or reason_phrase(status) != reason_phrase(first)


def _result_of(attempt: AttemptRecord) -> str:
    """Say what became of an attempt."""
    if attempt.answered_at is not None:
        return "answered"
    if attempt.cause in ("timeout", "no-answer"):
        return attempt.cause
    return _class_of(attempt.status) if attempt.status else "cancelled"
