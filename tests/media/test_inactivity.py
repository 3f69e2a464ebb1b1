"""Tests of `sipd.media.inactivity`: what is negotiated, what was heard when, and what is due then."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.media.inactivity import Action, Finding, Inactivity, InactivityLimits, LegActivity, Limit, Missing

END, LOG, OFF = Action.END, Action.LOG, Action.OFF

#: The call of the tests is answered then.
ANSWERED = 100.0

#: Ten seconds for the first packet, thirty for the next, an hour on hold.
LIMITS = InactivityLimits(
    no_media=Limit(seconds=10, action=LOG),
    media_loss=Limit(seconds=30, action=END),
    hold=Limit(seconds=3600, action=END),
)

BOTH, SENDS, RECEIVES, INACTIVE = (True, True), (True, False), (False, True), (False, False)


def leg(
    direction: tuple[bool, bool] = BOTH,
    rtp: float | None = None,
    rtcp: float | None = None,
    *,
    since: float = ANSWERED,
    name: str = "a",
) -> LegActivity:
    """Make what is known of a leg."""
    sends, receives = direction
    return LegActivity(leg=name, sends=sends, receives=receives, since=since, last_rtp=rtp, last_rtcp=rtcp)


def finding(missing: Missing, silence: float, action: Action, name: str = "a") -> Finding:
    """Make a finding."""
    return Finding(missing=missing, leg=name, silence=silence, action=action)


class RowTests(SynchronousTestCase):
    """Each row: the time, a leg, what is found, and when to look again if that is nothing."""

    ROWS: tuple[tuple[str, float, LegActivity, Finding | None, float | None], ...] = (
        # what                           now     leg                              found                    look again
        ("just answered", 100, leg(), None, 110),
        ("no packet in 9.9 s", 109.9, leg(), None, 110),
        ("no packet in 10 s", 110, leg(), finding(Missing.NO_MEDIA, 10, LOG), 110),
        ("reports alone are no media", 110, leg(rtcp=109), finding(Missing.NO_MEDIA, 10, LOG), 110),
        ("early media alone", 110, leg(rtp=99), finding(Missing.NO_MEDIA, 10, LOG), 110),
        ("media flows", 200, leg(rtp=199.98), None, 229.98),
        ("media gone for 30 s", 230, leg(rtp=200), finding(Missing.MEDIA_LOSS, 30, END), 230),
        ("and reports go on", 230, leg(rtp=200, rtcp=229), finding(Missing.MEDIA_LOSS, 30, END), 230),
        ("on hold since 200", 3000, leg(RECEIVES, rtp=200, since=200), None, 3800),
        ("on hold, RTCP is life", 3801, leg(RECEIVES, rtp=200, rtcp=3000, since=200), None, 6600),
        ("on hold, RTP is life", 3801, leg(RECEIVES, rtp=3000, since=200), None, 6600),
        ("on hold, dead", 3800, leg(RECEIVES, rtp=200, since=200), finding(Missing.HOLD, 3600, END), 3800),
        ("holds, and sends no music", 3799, leg(SENDS, rtp=200, since=200), None, 3800),
        ("holds, dead", 3800, leg(SENDS, rtp=200, since=200), finding(Missing.HOLD, 3600, END), 3800),
        ("on hold from the answer", 200, leg(RECEIVES), None, 3700),
        ("inactive", 1e6, leg(INACTIVE, rtp=200, since=200), None, None),
        ("taken back from hold", 5001, leg(rtp=200, since=5000), None, 5030),
        ("taken back, but silent", 5030, leg(rtp=200, since=5000), finding(Missing.MEDIA_LOSS, 30, END), 5030),
        ("negotiated before the answer", 109, leg(since=50), None, 110),
    )

    def test_rows(self) -> None:
        """What is due depends on what is negotiated now and on what was heard last."""
        for what, now, activity, found, next_check in self.ROWS:
            machine = Inactivity(LIMITS, ANSWERED)
            self.assertEqual(machine.check(now, [activity]), found, what)
            self.assertEqual(machine.next_check, next_check, what)

    def test_off(self) -> None:
        """What is off is not looked for, and nothing is to be looked at then."""
        off = Limit(seconds=1, action=OFF)
        for limits, activity in (
            (InactivityLimits(no_media=off, media_loss=LIMITS.media_loss, hold=LIMITS.hold), leg()),
            (InactivityLimits(no_media=LIMITS.no_media, media_loss=off, hold=LIMITS.hold), leg(rtp=101)),
            (InactivityLimits(no_media=LIMITS.no_media, media_loss=LIMITS.media_loss, hold=off), leg(SENDS)),
        ):
            machine = Inactivity(limits, ANSWERED)
            self.assertIsNone(machine.check(1e6, [activity]))
            self.assertIsNone(machine.next_check)

    def test_limits_are_above_zero(self) -> None:
        """A limit of no time makes no sense, nor one that is no number."""
        for seconds in (0.0, -1.0, float("nan")):
            self.assertRaises(ValueError, Limit, seconds=seconds, action=LOG)


class OnceTests(SynchronousTestCase):
    """Each thing is found once, until there is a sign of life."""

    def setUp(self) -> None:
        """Log everything after ten seconds."""
        limit = Limit(seconds=10, action=LOG)
        self.machine = Inactivity(InactivityLimits(no_media=limit, media_loss=limit, hold=limit), ANSWERED)

    def missing(self, now: float, *legs: LegActivity) -> Missing | None:
        """Give what is found."""
        found = self.machine.check(now, legs)
        return None if found is None else found.missing

    def test_once(self) -> None:
        """It is found once; to look again is worth while when it could be missed again."""
        self.assertEqual(self.missing(110, leg()), Missing.NO_MEDIA)
        self.assertIsNone(self.missing(110, leg()))
        self.assertEqual(self.machine.next_check, 120)
        self.assertIsNone(self.missing(120, leg()))

    def test_comes_back_and_goes(self) -> None:
        """After media has come back it may be lost again."""
        for now, rtp, found in (
            (110, None, Missing.NO_MEDIA),
            (120, 115, None),
            (125, 115, Missing.MEDIA_LOSS),
            (135, 115, None),
            (145, 136, None),
            (146, 136, Missing.MEDIA_LOSS),
        ):
            self.assertEqual(self.missing(now, leg(rtp=rtp)), found, str(now))

    def test_another_direction(self) -> None:
        """A leg that was missed, was put on hold and is taken back is missed again."""
        self.assertEqual(self.missing(120, leg(rtp=101)), Missing.MEDIA_LOSS)
        self.assertIsNone(self.missing(125, leg(RECEIVES, rtp=101, since=125)))
        self.assertEqual(self.missing(135, leg(RECEIVES, rtp=101, since=125)), Missing.HOLD)
        self.assertEqual(self.missing(150, leg(rtp=101, since=140)), Missing.MEDIA_LOSS)

    def test_two_legs(self) -> None:
        """Each leg is found by itself, one in each check; the next check is at once."""
        legs = (leg(), leg(name="b", rtp=101))
        self.assertEqual(self.machine.check(115, legs), finding(Missing.NO_MEDIA, 15, LOG))
        self.assertEqual(self.machine.next_check, 115)
        self.assertEqual(self.machine.check(115, legs), finding(Missing.MEDIA_LOSS, 14, LOG, "b"))
        self.assertIsNone(self.machine.check(115, legs))
        self.assertEqual(self.machine.next_check, 125)

    def test_the_end_comes_first(self) -> None:
        """A finding that ends the call goes before one that is only logged."""
        machine = Inactivity(LIMITS, ANSWERED)
        legs = (leg(), leg(name="b", rtp=101))
        self.assertEqual(machine.check(140, legs), finding(Missing.MEDIA_LOSS, 39, END, "b"))

    def test_no_legs(self) -> None:
        """Without legs there is nothing to look at."""
        self.assertIsNone(self.missing(200))
        self.assertIsNone(self.machine.next_check)

    def test_texts(self) -> None:
        """A finding says in a line what is missing, where and for how long."""
        for missing, text in (
            (Missing.NO_MEDIA, "leg a has sent no media since the answer, 10 s"),
            (Missing.MEDIA_LOSS, "leg a sends no media any more, 10 s"),
            (Missing.HOLD, "leg a is on hold and gives no sign of life, 10 s"),
        ):
            self.assertEqual(str(finding(missing, 10, LOG)), text)


class TimerTests(SynchronousTestCase):
    """Looking at `next_check` alone is enough."""

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.integers(0, 60), max_size=20), st.sampled_from([LOG, END]))
    def test_finds_each_loss_in_time(self, pauses: list[int], action: Action) -> None:
        """Every pause of 30 s and more between packets is found once, and no later than two limits after its start."""
        arrivals = [ANSWERED]
        for pause in pauses:
            arrivals.append(arrivals[-1] + pause)
        end = arrivals[-1]
        limit = Limit(seconds=30, action=action)
        off = Limit(seconds=1, action=OFF)
        machine = Inactivity(InactivityLimits(no_media=off, media_loss=limit, hold=off), ANSWERED)
        found = []
        while machine.next_check is not None and machine.next_check <= end:
            now = machine.next_check
            heard = max(arrival for arrival in arrivals if arrival <= now)
            result = machine.check(now, [leg(rtp=heard)])
            if result is not None:
                found.append(now - result.silence)
                self.assertLess(result.silence, 60)
        lost = [begin for begin, pause in zip(arrivals, pauses, strict=False) if pause > 30]
        self.assertEqual(found, lost)
