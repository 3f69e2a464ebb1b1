"""Times of the week."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.routing.hours import Day, Hours, Times

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")


def hours(*times: str, zone: ZoneInfo = BERLIN, holidays: tuple[str, ...] = ()) -> Hours:
    """Make hours of text."""
    return Hours(zone=zone, times=tuple(map(Times.parse, times)), holidays=tuple(map(Day.parse, holidays)))


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    """Give the seconds of a moment on the clock of a place; `fold` is 1 for the second one of that name."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


class HoursTests(SynchronousTestCase):
    """When they are."""

    def test_moments(self) -> None:
        """Days, spans, midnight and dates; the first minute belongs to a span, the last does not."""
        for times, moment, expected in (
            # 2026-11-20 is a Friday.
            ("mon-fri 08:00-18:00", "2026-11-20T08:00:00", True),
            ("mon-fri 08:00-18:00", "2026-11-20T17:59:59", True),
            ("mon-fri 08:00-18:00", "2026-11-20T18:00:00", False),
            ("mon-fri 08:00-18:00", "2026-11-20T07:59:59", False),
            ("mon-fri 08:00-18:00", "2026-11-21T12:00:00", False),
            ("sat,sun", "2026-11-22T23:59:59", True),
            ("sat,sun", "2026-11-23T00:00:00", False),
            ("sat-mon", "2026-11-23T00:00:00", True),
            ("sat-mon", "2026-11-24T00:00:00", False),
            ("fri 22:00-06:00", "2026-11-20T22:00:00", True),
            ("fri 22:00-06:00", "2026-11-21T05:59:00", True),
            ("fri 22:00-06:00", "2026-11-21T06:00:00", False),
            ("fri 22:00-06:00", "2026-11-20T05:00:00", False),
            ("22:00-06:00", "2026-11-20T05:00:00", True),
            ("fri 20:00-24:00", "2026-11-20T23:59:59", True),
            ("fri 20:00-24:00", "2026-11-21T00:00:00", False),
            ("00:00-24:00", "2026-11-21T00:00:00", True),
            ("2026-11-20 10:00-12:00", "2026-11-20T11:00:00", True),
            ("2025-11-20 10:00-12:00", "2026-11-20T11:00:00", False),
            ("11-20", "2026-11-20T00:00:00", True),
            ("12-31 22:00-02:00", "2027-01-01T01:00:00", True),
        ):
            self.assertIs(hours(times).include(at(moment)), expected, f"{times} {moment}")

    def test_holidays(self) -> None:
        """Weekdays do not count on holidays, of a year or of each; a date does, and the night before."""
        open_hours = hours("mon-fri 08:00-18:00", "thu 22:00-06:00", "12-24 09:00-12:00",
                           holidays=("12-24", "2026-11-20"))  # fmt: skip
        for moment, expected in (
            ("2026-11-20T09:00:00", False),
            ("2026-11-20T05:00:00", True),
            ("2027-11-22T09:00:00", True),
            ("2026-12-24T13:00:00", False),
            ("2026-12-24T10:00:00", True),
            ("2026-12-25T05:00:00", False),
        ):
            self.assertIs(open_hours.include(at(moment)), expected, moment)

    def test_the_zone_counts(self) -> None:
        """The same moment is noon at one place and morning at another."""
        moment = datetime(2026, 11, 20, 12, 30, tzinfo=UTC).timestamp()
        self.assertTrue(hours("13:00-14:00").include(moment))
        self.assertTrue(hours("07:00-08:00", zone=NEW_YORK).include(moment))
        self.assertFalse(hours("13:00-14:00", zone=NEW_YORK).include(moment))

    def test_clocks_set_forward(self) -> None:
        """When clocks are set forward, the hour that is left out is never, and others are where they are."""
        before = at("2026-03-29T01:59:59")
        left_out = hours("02:00-03:00")
        self.assertFalse(left_out.include(before))
        self.assertFalse(left_out.include(before + 1))
        self.assertTrue(hours("03:00-04:00").include(before + 1))
        office = hours("08:00-18:00")
        for day in (28, 29, 30):
            self.assertTrue(office.include(at(f"2026-03-{day}T08:00:00")))
            self.assertFalse(office.include(at(f"2026-03-{day}T07:59:59")))
        self.assertEqual(at("2026-03-30T08:00:00") - at("2026-03-28T08:00:00"), 47 * 3600)

    def test_clocks_set_back(self) -> None:
        """On the day on which they are set back, both hours of the same name are in the span."""
        night = hours("02:00-03:00")
        first, second = at("2026-10-25T02:30:00"), at("2026-10-25T02:30:00", fold=1)
        self.assertEqual(second - first, 3600)
        for moment, expected in ((first, True), (second, True), (first - 1801, False), (second + 1800, False)):
            self.assertIs(night.include(moment), expected)
        over_midnight = hours("sat 22:00-03:00")
        self.assertTrue(over_midnight.include(second))
        self.assertFalse(over_midnight.include(at("2026-10-25T03:00:00")))

    @given(st.integers(0, 2 * 366 * 24 * 60), st.integers(0, 1439), st.integers(1, 1439))
    @settings(deadline=None, max_examples=300)
    def test_a_span_and_the_rest_of_the_day(self, minutes: int, begin: int, length: int) -> None:
        """Each moment is in a span or in what is left of the day, never in both, whatever clocks do."""
        end = (begin + length) % 1440
        one, other = (
            Hours(zone=BERLIN, times=(Times(begin=first, end=last),)) for first, last in ((begin, end), (end, begin))
        )
        moment = at("2025-12-01T00:00:00") + minutes * 60
        self.assertNotEqual(one.include(moment), other.include(moment))


class ParsingTests(SynchronousTestCase):
    """What an operator writes."""

    def test_good(self) -> None:
        """Case and spaces do not matter."""
        self.assertEqual(Times.parse("  Mon-Fri   08:00-18:00 "), Times(frozenset(range(5)), None, 480, 1080))
        self.assertEqual(Times.parse("sun-mon,wed"), Times(frozenset((6, 0, 2))))
        self.assertEqual(Times.parse("02-29"), Times(frozenset(), Day(2, 29)))
        self.assertEqual(Day.parse("2028-02-29"), Day(2, 29, 2028))

    def test_bad_times(self) -> None:
        """What is wrong is said."""
        for text, expected in (
            ("", "times such as "),
            ("mon tue 08:00-18:00", "times such as "),
            ("08:00-18:00 mon", "times such as "),
            ("monday", "weekdays (mon, tue, wed, thu, fri, sat, sun) such as "),
            ("mon-", "weekdays"),
            ("mon,,tue", "weekdays"),
            ("8:00-18:00", "a span such as "),
            ("08:00", "a span such as "),
            ("08:60-18:00", "hours from 00:00 to 24:00 expected"),
            ("24:00-08:00", "hours from 00:00 to 24:00 expected"),
            ("08:00-24:01", "hours from 00:00 to 24:00 expected"),
            ("08:00-08:00", "a span that ends when it does not begin expected"),
            ("2026-02-29", "a date that there is"),
            ("13-01", "a date that there is"),
            ("2026-1-1", "a date such as "),
        ):
            error = self.assertRaises(ValueError, Times.parse, text)
            self.assertTrue(str(error).startswith(expected), f"{text}: {error}")

    @given(st.text(st.sampled_from("monfriu0123456789:-, ٣"), max_size=20))
    @settings(deadline=None, max_examples=400)
    def test_any_text(self, text: str) -> None:
        """Any text is times, or a ValueError of one line."""
        try:
            Times.parse(text)
        except ValueError as error:
            self.assertIn("expected", str(error))
