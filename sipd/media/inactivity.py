"""When media that should come does not: the timeouts of a call's media, as a machine without timers.

What is due depends on what is negotiated at the moment of the check, not when the timer was set: else calls on hold end
(RFC 3264 section 8.4). A leg that is to send and to receive has to send RTP: comfort noise is media, reports are not.
A leg of one direction, either one, is on hold: who only receives sends reports at most, and many who say that they only
send do not. There a report is a sign of life too. On a leg that is inactive nothing is to come, so nothing can be told:
there the timers of the signalling have to find out (RFC 4028).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """What to do when media is missing."""

    END = "end"
    LOG = "log"
    OFF = "off"

    __hash__ = object.__hash__


class Missing(Enum):
    """What is missing."""

    NO_MEDIA = "no-media"
    MEDIA_LOSS = "media-loss"
    HOLD = "hold"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How long something may be missing, and what then.

    Args:
        seconds: above 0.
        action: nothing is looked for if it is `OFF`.

    Raises:
        ValueError: `seconds` is not above 0.
    """

    seconds: float
    action: Action

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError("a limit for missing media that is not above 0 seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class InactivityLimits:
    """The limits of a call.

    Args:
        no_media: from the answer until the first RTP of a leg.
        media_loss: from one RTP packet to the next.
        hold: from one sign of life to the next while a leg is on hold; hours, if many phones say nothing then.
    """

    no_media: Limit
    media_loss: Limit
    hold: Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class LegActivity:
    """What is negotiated with a leg now, and when it was heard.

    Args:
        leg: its name.
        sends: whether it is to send.
        receives: whether it is to receive.
        since: when that was negotiated; an offer or answer that changes neither does not count.
        last_rtp: when the last RTP packet came that was believed, comfort noise too; ``None`` if there was none.
        last_rtcp: the same for RTCP.
    """

    leg: str
    sends: bool
    receives: bool
    since: float
    last_rtp: float | None
    last_rtcp: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is missing for too long.

    Args:
        missing: what.
        leg: from which it should come.
        silence: for how many seconds.
        action: what is to be done.
    """

    missing: Missing
    leg: str
    silence: float
    action: Action

    def __str__(self) -> str:
        what = {
            Missing.NO_MEDIA: "has sent no media since the answer",
            Missing.MEDIA_LOSS: "sends no media any more",
            Missing.HOLD: "is on hold and gives no sign of life",
        }[self.missing]
        return f"leg {self.leg} {what}, {self.silence:.0f} s"


class Inactivity:
    """The timeouts of one call.

    Whoever uses it calls `check` until it finds nothing more, then once more at `next_check`, and after each offer and
    answer. Media that comes needs no call: the check finds it. It remembers one finding for each name of a leg.

    Args:
        limits: for all legs.
        answered: when the call was answered.
    """

    __slots__ = ("_answered", "_found", "_limits", "next_check")

    def __init__(self, limits: InactivityLimits, answered: float) -> None:
        self._limits = limits
        self._answered = answered
        #: For each leg what was found, and since when it was missing.
        self._found: dict[str, tuple[Missing, float]] = {}
        #: When to look again, unless something else is negotiated before; ``None`` if there is nothing to look for.
        self.next_check: float | None = answered

    def check(self, now: float, legs: Sequence[LegActivity]) -> Finding | None:
        """Say what is missing for too long: each thing once, until there is a sign of life or another direction.

        Args:
            now: the time.
            legs: those that media is relayed for.

        Returns:
            The first finding that is due: one that ends the call before others, then by the order of the legs. After
            it `next_check` is the present, since there may be more.
        """
        due: list[tuple[float, Finding]] = []
        times: list[float] = []
        for activity in legs:
            expected = self._expect(activity)
            if expected is None:
                continue
            missing, since, limit = expected
            if self._found.get(activity.leg) == (missing, since):
                times.append(now + limit.seconds)  # if it came back right now, it could be missed again then
            elif now < since + limit.seconds:
                times.append(since + limit.seconds)
            else:
                silence = now - since
                due.append((since, Finding(missing=missing, leg=activity.leg, silence=silence, action=limit.action)))
        if not due:
            self.next_check = min(times, default=None)
            return None
        since, finding = next((each for each in due if each[1].action is Action.END), due[0])
        self._found[finding.leg] = (finding.missing, since)
        self.next_check = now
        return finding

    def _expect(self, activity: LegActivity) -> tuple[Missing, float, Limit] | None:
        """Say what a leg could be missing, since when, and for how long it may; ``None`` if nothing is expected."""
        if not (activity.sends or activity.receives):
            return None
        limits = self._limits
        since = max(self._answered, activity.since)
        heard = activity.last_rtp
        if not (activity.sends and activity.receives):
            signs = (since, heard, activity.last_rtcp)
            missing, limit = Missing.HOLD, limits.hold
            since = max(sign for sign in signs if sign is not None)
        elif heard is None or heard < self._answered:
            missing, limit = Missing.NO_MEDIA, limits.no_media
        else:
            missing, limit = Missing.MEDIA_LOSS, limits.media_loss
            since = max(since, heard)
        return None if limit.action is Action.OFF else (missing, since, limit)
