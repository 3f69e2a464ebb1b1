"""Times of the week, on the clock on the wall of some place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_DAY = timedelta(days=1)
_DATE = re.compile(r"(?:(?P<year>[0-9]{4})-)?(?P<month>[0-9]{2})-(?P<day>[0-9]{2})\Z")
_SPAN = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})\Z")
_TIME_EXAMPLES = '"mon-fri 08:00-18:00", "sat,sun", "22:00-06:00" or "2026-12-24 08:00-12:00"'
_DATE_EXAMPLES = '"12-25" or "2026-04-03"'


@dataclass(frozen=True, slots=True)
class Day:
    """A date, of one year or of each.

    Args:
        month: 1 to 12.
        day: 1 to 31.
        year: ``None`` for each.
    """

    month: int
    day: int
    year: int | None = None

    @classmethod
    def parse(cls, text: str) -> Day:
        """Read ``2026-12-24``, or ``12-24`` for that day of each year.

        Raises:
            ValueError: it is no date; the text says what was expected.
        """
        match = _DATE.match(text.strip())
        if match is None:
            raise ValueError(f"a date such as {_DATE_EXAMPLES} expected")
        year = int(match["year"]) if match["year"] else None
        try:
            # A leap year has every date that there is.
            date(2000 if year is None else year, int(match["month"]), int(match["day"]))
        except ValueError:
            raise ValueError(f"a date that there is, such as {_DATE_EXAMPLES}, expected") from None
        return cls(int(match["month"]), int(match["day"]), year)

    def is_on(self, day: date) -> bool:
        """Say whether that day is meant."""
        return (day.month, day.day) == (self.month, self.day) and self.year in (None, day.year)


@dataclass(frozen=True, slots=True)
class Times:
    """A span of some days.

    Args:
        weekdays: 0 for Monday to 6 for Sunday; none where a date is meant.
        day: the date; ``None`` where weekdays are meant.
        begin: minutes after midnight.
        end: the same; not after `begin` where the span goes on into the next day.
    """

    weekdays: frozenset[int] = frozenset(range(7))
    day: Day | None = None
    begin: int = 0
    end: int = _DAY_MINUTES

    @classmethod
    def parse(cls, text: str) -> Times:
        """Read days, a span, or both: ``mon-fri 08:00-18:00``, ``sat,sun``, ``22:00-06:00``, ``12-24 08:00-12:00``.

        A span over midnight belongs to the day on which it begins. ``24:00`` is the end of a day.

        Raises:
            ValueError: it is none of these; the text says what was expected.
        """
        words = text.lower().split()
        begin, end = 0, _DAY_MINUTES
        if words and ":" in words[-1]:
            begin, end = _parse_span(words.pop())
        elif not words:
            raise ValueError(f"times such as {_TIME_EXAMPLES} expected")
        if len(words) > 1:
            raise ValueError(f"times such as {_TIME_EXAMPLES} expected")
        if words and words[0][0].isdigit():
            return cls(frozenset(), Day.parse(words[0]), begin, end)
        return cls(_parse_weekdays(words[0]) if words else frozenset(range(7)), None, begin, end)

    def is_on(self, day: date, holidays: Iterable[Day]) -> bool:
        """Say whether the span begins on that day. Weekdays do not count on holidays."""
        if self.day is not None:
            return self.day.is_on(day)
        return day.weekday() in self.weekdays and not any(holiday.is_on(day) for holiday in holidays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Some spans of the week.

    Args:
        zone: where the clock hangs. When it is set forward, the hour that is left out is in no span; when it is set
            back, both hours of the same name are in the same spans.
        times: a moment counts that is in any of them.
        holidays: dates on which those do not begin that are given by weekdays.
    """

    zone: tzinfo
    times: tuple[Times, ...]
    holidays: tuple[Day, ...] = ()

    def include(self, at: float) -> bool:
        """Say whether a moment, in seconds of Unix time, is among them."""
        moment = datetime.fromtimestamp(at, self.zone)
        today = moment.date()
        minute = moment.hour * 60 + moment.minute
        for times in self.times:
            is_over_midnight = times.end <= times.begin
            end = _DAY_MINUTES if is_over_midnight else times.end
            if times.begin <= minute < end and times.is_on(today, self.holidays):
                return True
            if is_over_midnight and minute < times.end and times.is_on(today - _DAY, self.holidays):
                return True
        return False


def _parse_span(text: str) -> tuple[int, int]:
    match = _SPAN.match(text)
    if match is None:
        raise ValueError('a span such as "08:00-18:00" expected')
    hours = int(match[1]), int(match[3])
    minutes = int(match[2]), int(match[4])
    begin, end = (hour * 60 + minute for hour, minute in zip(hours, minutes, strict=True))
    if max(minutes) > 59 or begin >= _DAY_MINUTES or end > _DAY_MINUTES:
        raise ValueError("hours from 00:00 to 24:00 expected")
    if begin == end:
        raise ValueError('a span that ends when it does not begin expected; a whole day is "00:00-24:00"')
    return begin, end


def _parse_weekdays(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in _WEEKDAYS or (dash and last not in _WEEKDAYS):
            raise ValueError(f'weekdays ({", ".join(_WEEKDAYS)}) such as "mon-fri" or "sat,sun" expected')
        begin = _WEEKDAYS.index(first)
        count = (_WEEKDAYS.index(last) - begin) % 7 + 1 if dash else 1
        found.update((begin + step) % 7 for step in range(count))
    return frozenset(found)
