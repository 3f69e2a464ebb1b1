"""Tests of `sipd.rtp.roundtrip`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.rtp.roundtrip import PartyReport, RoundTrip
from sipd.rtp.rtcp import Goodbye, OtherRtcp, ReceiverReport, ReportBlock, RtcpPacket, SenderReport

A, B = "a", "b"
SSRC_A, SSRC_B = 0xA, 0xB

NOTHING = PartyReport(
    round_trip=None,
    round_trip_mean=None,
    round_trip_maximum=None,
    measurements=0,
    reports=0,
    fraction_lost=None,
    fraction_lost_maximum=None,
    packets_lost=None,
    jitter_units=None,
)


def sender_report(ssrc: int, middle: int, *blocks: ReportBlock) -> SenderReport:
    """Make a sender report of which the middle of the NTP timestamp is that."""
    return SenderReport(
        ssrc=ssrc, ntp_timestamp=0xABCD << 48 | middle << 16 | 0x1234, rtp_timestamp=0, packet_count=0, octet_count=0,
        reports=blocks,
    )  # fmt: skip


def block(ssrc: int, last_report: int, delay: float, *, fraction_lost: float = 0.0, lost: int = 0) -> ReportBlock:
    """Make a report block about a source."""
    return ReportBlock(
        ssrc=ssrc, fraction_lost=fraction_lost, packets_lost=lost, highest_sequence=0, jitter=80,
        last_report=last_report, delay=delay,
    )  # fmt: skip


def receiver_report(ssrc: int, *blocks: ReportBlock) -> ReceiverReport:
    """Make a receiver report."""
    return ReceiverReport(ssrc=ssrc, reports=blocks)


class RoundTripTests(SynchronousTestCase):
    """The round trip from the relay to each party."""

    def setUp(self) -> None:
        """Begin with a sender report of A that is passed to B at 100."""
        self.watch = RoundTrip(A, B)
        self.watch.take(A, (sender_report(SSRC_A, 0x11112222),), 100.0)

    def answer(self, delay: float, now: float, *, ssrc: int = SSRC_A, last_report: int = 0x11112222) -> None:
        """Let B report on it."""
        self.watch.take(B, (receiver_report(SSRC_B, block(ssrc, last_report, delay)),), now)

    def test_nothing_yet(self) -> None:
        """Before reports nothing is known."""
        self.assertEqual(RoundTrip(A, B).report(A), NOTHING)
        self.assertEqual(self.watch.report(B), NOTHING)
        self.assertIsNone(self.watch.between)

    def test_round_trip(self) -> None:
        """It is the time since the sender report was passed on, less what the party held it for."""
        self.answer(2.5, 102.58)
        report = self.watch.report(B)
        self.assertAlmostEqual(report.round_trip or 0, 0.08)
        self.assertEqual((report.measurements, report.reports), (1, 1))
        self.assertEqual(self.watch.report(A), NOTHING)

    def test_both(self) -> None:
        """Both are known when both send sender reports; the sum is the way between the parties."""
        both = sender_report(SSRC_B, 0x33334444, block(SSRC_A, 0x11112222, 1.0))
        self.watch.take(B, (both, Goodbye(sources=())), 101.08)
        self.assertIsNone(self.watch.between)
        self.watch.take(A, (sender_report(SSRC_A, 0x55556666, block(SSRC_B, 0x33334444, 0.5)),), 101.6)
        self.assertAlmostEqual(self.watch.report(B).round_trip or 0, 0.08)
        self.assertAlmostEqual(self.watch.report(A).round_trip or 0, 0.02)
        self.assertAlmostEqual(self.watch.between or 0, 0.1)

    def test_mean_and_maximum(self) -> None:
        """Each report on the same sender report is another measurement."""
        for delay, now in ((1.0, 101.1), (3.0, 103.3), (5.0, 105.2)):
            self.answer(delay, now)
        report = self.watch.report(B)
        self.assertEqual(report.measurements, 3)
        for value, expected in (
            (report.round_trip, 0.2),
            (report.round_trip_mean, 0.2),
            (report.round_trip_maximum, 0.3),
        ):
            self.assertAlmostEqual(value or 0, expected)

    def test_rubbish(self) -> None:
        """What fits to no sender report, or gives an impossible time, is no measurement."""
        self.answer(0.0, 100.1, last_report=0)
        self.answer(0.0, 100.1, last_report=0x11112223)
        self.answer(0.0, 100.1, ssrc=SSRC_B)
        self.answer(5.0, 102.0)
        self.answer(0.0, 111.0)
        report = self.watch.report(B)
        self.assertEqual((report.measurements, report.round_trip, report.reports), (0, None, 5))

    def test_rounded_clocks(self) -> None:
        """A party next door that rounds is at no distance rather than at a negative one."""
        self.answer(1.001, 101.0)
        self.assertEqual(self.watch.report(B).round_trip, 0.0)

    def test_no_time_of_day(self) -> None:
        """A sender report without a time can be answered by nobody: an answer of 0 means another thing."""
        self.watch.take(A, (sender_report(SSRC_A, 0),), 200.0)
        self.answer(0.0, 200.05, last_report=0)
        self.assertEqual(self.watch.report(B).measurements, 0)

    def test_same_report_again(self) -> None:
        """If a sender report is passed twice, the later time counts."""
        self.watch.take(A, (sender_report(SSRC_A, 0x11112222),), 100.5)
        self.answer(1.0, 101.55)
        self.assertAlmostEqual(self.watch.report(B).round_trip or 0, 0.05)

    def test_remembers_eight(self) -> None:
        """The last eight sender reports can be answered, older ones cannot."""
        for number in range(1, 9):
            self.watch.take(A, (sender_report(SSRC_A, number),), 100.0 + number)
        self.answer(9.0, 109.01)
        self.assertEqual(self.watch.report(B).measurements, 0)
        self.answer(8.0, 109.01, last_report=1)
        self.assertAlmostEqual(self.watch.report(B).round_trip or 0, 0.01)

    def test_unknown_leg(self) -> None:
        """Only the two legs have reports."""
        self.assertRaises(KeyError, self.watch.take, "c", (), 0.0)
        self.assertRaises(KeyError, self.watch.report, "c")


class ReportTests(SynchronousTestCase):
    """What a party says of what it receives."""

    def test_last_report(self) -> None:
        """The last block is kept, and the highest fraction lost."""
        watch = RoundTrip(A, B)
        for fraction, lost in ((0.1, 10), (0.25, 40), (0.0, 40)):
            reported = block(SSRC_A, 0, 0.0, fraction_lost=fraction, lost=lost)
            watch.take(B, (receiver_report(SSRC_B, reported),), 1.0)
        report = watch.report(B)
        self.assertEqual((report.fraction_lost, report.fraction_lost_maximum, report.packets_lost), (0.0, 0.25, 40))
        self.assertEqual((report.jitter_units, report.reports), (80, 3))

    def test_several_blocks(self) -> None:
        """Of several blocks the one about the present source of the other leg counts."""
        watch = RoundTrip(A, B)
        watch.take(A, (sender_report(SSRC_A, 1),), 1.0)
        blocks = (block(0x99, 0, 0.0, lost=99), block(SSRC_A, 1, 1.0, lost=3))
        watch.take(B, (receiver_report(SSRC_B, *blocks),), 2.1)
        self.assertEqual((watch.report(B).packets_lost, watch.report(B).measurements), (3, 1))

    def test_empty_reports(self) -> None:
        """A report without blocks, and other packets, say nothing."""
        watch = RoundTrip(A, B)
        others = (receiver_report(SSRC_A), Goodbye(sources=(SSRC_A,)), OtherRtcp(packet_type=204, count=0, body=b""))
        watch.take(A, others, 1.0)
        self.assertEqual(watch.report(A), NOTHING)

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([A, B]),
                st.integers(0, 3),
                st.integers(0, 0xFFFFFFFF) | st.integers(0, 3),
                st.integers(0, 0xFFFFFFFF) | st.integers(0, 3),
                st.floats(0, 65536),
                st.floats(-1e6, 1e6),
            ),
            max_size=40,
        )
    )
    def test_any_reports(self, rows: list[tuple[str, int, int, int, float, float]]) -> None:
        """Nothing raises, and each round trip is between nothing and ten seconds."""
        watch = RoundTrip(A, B)
        for leg, ssrc, middle, last_report, delay, now in rows:
            packets: tuple[RtcpPacket, ...] = (sender_report(ssrc, middle, block(ssrc, last_report, delay)),)
            watch.take(leg, packets, now)
        for leg in (A, B):
            found = watch.report(leg)
            for value in (found.round_trip, found.round_trip_mean, found.round_trip_maximum):
                self.assertTrue(value is None or 0.0 <= value <= 10.0)
