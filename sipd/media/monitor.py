"""Looks after the media of answered calls: who hears whom, and whose media is missing for too long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from sipd.media.datagrams import print_address
from sipd.media.inactivity import Action, Inactivity, InactivityLimits, LegActivity, Limit
from sipd.media.poller import MediaReactor
from sipd.media.stream import RelayStream
from sipd.media.verdict import Cause, LegMedia, Verdict, judge

#: How often it is looked which calls are due, and how often a call is listened to at least, in seconds.
_INTERVAL = 1.0
_LISTEN = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """How calls are looked after.

    Args:
        verdict_after: seconds from the answer until somebody should have heard something.
        limits: for how long media may be missing.
    """

    verdict_after: float = 4.0
    limits: InactivityLimits = field(
        default_factory=lambda: InactivityLimits(
            no_media=Limit(seconds=60.0, action=Action.LOG),
            media_loss=Limit(seconds=60.0, action=Action.LOG),
            hold=Limit(seconds=7200.0, action=Action.LOG),
        )
    )


class Watched(Protocol):
    """A session that is looked after."""

    def streams(self) -> Sequence[RelayStream]:
        """Give the streams in force."""

    def refresh(self) -> Deferred[None]:
        """Bring their statistics up to date."""


@dataclass(slots=True)
class _Heard:
    """What was known of a leg when it was looked at last.

    Args:
        packets: of RTP that had come from it; `rtcp` of RTCP.
        last_rtp: about when the last one came; `last_rtcp` the same for RTCP.
        directions: what was negotiated, and `since` when.
    """

    packets: int = 0
    rtcp: int = 0
    last_rtp: float | None = None
    last_rtcp: float | None = None
    directions: tuple[bool, bool] | None = None
    since: float = 0.0


class SessionMonitor:
    """Looks after the media of one answered call.

    Args:
        session: its media.
        settings: how.
        reactor: for the time.
        report: for the call's explanation. ``media-lost`` says that the call is to end.

    Attributes:
        verdict: the last one; ``None`` before the first.
    """

    def __init__(
        self, session: Watched, settings: MonitorSettings, reactor: MediaReactor, report: Callable[[str, str], None]
    ) -> None:
        self.verdict: Verdict | None = None
        self._session = session
        self._settings = settings
        self._report = report
        self._reactor = reactor
        self._answered = reactor.seconds()
        self._inactivity = Inactivity(settings.limits, self._answered)
        self._heard: dict[str, _Heard] = {}
        self._listened = self._answered

    def is_due(self, now: float) -> bool:
        """Say whether it is time to look."""
        if self.verdict is None and now >= self._answered + self._settings.verdict_after:
            return True
        next_check = self._inactivity.next_check
        return now >= self._listened + _LISTEN or (next_check is not None and now >= next_check)

    def look(self) -> None:
        """Look, with statistics that are up to date."""
        now = self._reactor.seconds()
        if now >= self._answered + self._settings.verdict_after and not self._is_well:
            self.judge()
        self.negotiated()

    def negotiated(self) -> None:
        """Take note that something else may be expected now, by an offer and answer that have come into force."""
        now = self._reactor.seconds()
        self._listen(now)
        while (finding := self._inactivity.check(now, self._activities())) is not None:
            self._report("media-lost" if finding.action is Action.END else "media-missing", str(finding))

    @property
    def _is_well(self) -> bool:
        return self.verdict is not None and self.verdict.cause is Cause.OK

    def judge(self) -> None:
        """Say who hears whom, if it is something new."""
        verdict = self._judge()
        if verdict is not None and (self.verdict is None or verdict.cause is not self.verdict.cause):
            self._report("media-verdict", f"{verdict.cause}: {verdict.text}")
            self.verdict = verdict

    def _judge(self) -> Verdict | None:
        """Judge each pair of streams of RTP; the first that has something wrong speaks for the call, audio first."""
        verdicts = []
        for stream in sorted(self._session.streams(), key=lambda one: one.statistics.media != "audio"):
            peer = stream.peer
            if peer is not None and stream.terms is not None and stream.terms.is_rtp and stream.leg < peer.leg:
                verdicts.append(judge(_known_of(stream), _known_of(peer)))
        bad = (verdict for verdict in verdicts if verdict.cause not in (Cause.OK, Cause.ON_HOLD))
        return next(bad, verdicts[0] if verdicts else None)

    def _listen(self, now: float) -> None:
        """Find out whether something came since the last time."""
        self._listened = now
        packets: dict[str, list[int]] = {}
        directions: dict[str, tuple[bool, bool]] = {}
        for stream in self._session.streams():
            if stream.terms is None or not stream.terms.is_rtp:
                continue
            counted = packets.setdefault(stream.leg, [0, 0])
            counted[0] += stream.statistics.packets
            counted[1] += stream.statistics.rtcp_packets
            sends, receives = directions.get(stream.leg, (False, False))
            directions[stream.leg] = (sends or stream.terms.sends, receives or stream.terms.receives)
        self._heard = {leg: self._heard.get(leg) or _Heard(since=now) for leg in packets}
        for leg, heard in self._heard.items():
            rtp, rtcp = packets[leg]
            if rtp != heard.packets:
                heard.packets, heard.last_rtp = rtp, now
            if rtcp != heard.rtcp:
                heard.rtcp, heard.last_rtcp = rtcp, now
            if directions[leg] != heard.directions:
                heard.directions, heard.since = directions[leg], now

    def _activities(self) -> list[LegActivity]:
        return [
            LegActivity(
                leg=leg,
                sends=heard.directions is not None and heard.directions[0],
                receives=heard.directions is not None and heard.directions[1],
                since=heard.since,
                last_rtp=heard.last_rtp,
                last_rtcp=heard.last_rtcp,
            )
            for leg, heard in self._heard.items()
        ]


class Monitor:
    """Looks after all answered calls, by one timer.

    Args:
        reactor: for the time.
        settings: how.
    """

    _log = Logger()

    def __init__(self, reactor: MediaReactor, settings: MonitorSettings) -> None:
        self._reactor = reactor
        self._settings = settings
        self._monitors: dict[Watched, SessionMonitor] = {}
        self._timer: IDelayedCall | None = None

    def begin(self, session: Watched, report: Callable[[str, str], None]) -> SessionMonitor:
        """Look after a session from now on: its call is answered."""
        monitor = self._monitors[session] = SessionMonitor(session, self._settings, self._reactor, report)
        if self._timer is None:
            self._timer = self._reactor.callLater(_INTERVAL, self._look)
        return monitor

    def end(self, session: Watched) -> None:
        """Look after it no more."""
        self._monitors.pop(session, None)
        if not self._monitors and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._reactor.callLater(_INTERVAL, self._look)
        now = self._reactor.seconds()
        for session, monitor in [item for item in self._monitors.items() if item[1].is_due(now)]:
            session.refresh().addCallback(self._look_at, session, monitor).addErrback(self._failed)

    def _look_at(self, _: object, session: Watched, monitor: SessionMonitor) -> None:
        if self._monitors.get(session) is monitor:
            monitor.look()

    def _failed(self, failure: object) -> None:
        self._log.error("the media of a call could not be looked after: {failure}", failure=failure)


def _known_of(stream: RelayStream) -> LegMedia:
    statistics, terms = stream.statistics, stream.terms
    assert terms is not None and stream.peer is not None
    signalled, source = stream.latch.signalled, stream.latch.source
    return LegMedia(
        leg=stream.leg,
        sends=terms.sends,
        receives=terms.receives,
        packets=statistics.packets,
        rtcp_packets=statistics.rtcp_packets,
        foreign_packets=statistics.dropped,
        foreign_source=statistics.foreign_source,
        signalled="" if signalled is None else print_address(signalled),
        source="" if source is None else print_address(source),
        unexpected_payload_packets=statistics.unexpected,
        unexpected_payload_types=(statistics.payload_type,) if statistics.unexpected else (),
        srtp_failures=statistics.failures,
        icmp_errors=statistics.unreachable,
        sent=stream.peer.statistics.packets,
    )
