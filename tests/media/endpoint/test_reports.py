"""Tests of `sipd.media.endpoint.reports`: RTCP as it is printed, and when it is due."""

from __future__ import annotations

from itertools import pairwise

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.media.endpoint.reports import Reporter, compose
from sipd.media.endpoint.settings import EndpointSettings
from sipd.rtp.rtcp import (
    Goodbye,
    OtherRtcp,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    parse_compound,
)
from sipd.sdp.description import Direction
from tests.media.endpoint.support import EndpointTestCase

_BLOCK = ReportBlock(
    ssrc=7, fraction_lost=0.25, packets_lost=-3, highest_sequence=70000, jitter=12, last_report=99, delay=1.5
)


class ComposeTests(SynchronousTestCase):
    """What is printed is what is parsed."""

    def test_every_kind(self) -> None:
        """All kinds come back as they were, in one datagram."""
        packets: tuple[RtcpPacket, ...] = (
            SenderReport(
                ssrc=1, ntp_timestamp=1 << 63, rtp_timestamp=2, packet_count=3, octet_count=4, reports=(_BLOCK,)
            ),
            ReceiverReport(ssrc=5, reports=(_BLOCK, _BLOCK)),
            SourceDescription(chunks=((1, ((1, b"a@b"),)), (2, ((1, b"abcd"), (2, b""))))),
            Goodbye(sources=(1, 2), reason="over"),
            Goodbye(sources=(1,)),
            OtherRtcp(packet_type=204, count=3, body=b"12345678"),
        )
        self.assertEqual(parse_compound(compose(packets)), packets)

    def test_what_does_not_fit(self) -> None:
        """Nothing, a number that is too large, or another type of packet, is a `ValueError`."""
        for packets in (
            (),
            (ReceiverReport(ssrc=1 << 32, reports=()),),
            (Goodbye(sources=(-1,)),),
            (Goodbye(sources=tuple(range(32))),),
            (SourceDescription(chunks=((1, ((1, bytes(256)),)),)),),
            (OtherRtcp(packet_type=100, count=0, body=b""),),
            (OtherRtcp(packet_type=204, count=32, body=b""),),
        ):
            with self.subTest(packets):
                self.assertRaises(ValueError, compose, packets)


class TimingTests(EndpointTestCase):
    """When reports are sent, and what they say."""

    def test_intervals(self) -> None:
        """They are spread around the interval, between half and one and a half of it (RFC 3550 section 6.3.1)."""
        reporter = Reporter(interval=5.0, canonical_name="x", entropy=self.network.entropy, seconds=self.clock.seconds)
        moments = [step / 10 for step in range(20000) if reporter.due(step / 10)]
        waits = [after - before for before, after in pairwise(moments)]
        self.assertGreaterEqual(min(waits), 2.0)
        self.assertLessEqual(max(waits), 6.3)
        self.assertGreater(max(waits) - min(waits), 3.0)
        self.assertApproximates(sum(waits) / len(waits), 5.0 / 1.21828, 0.3)

    def test_none(self) -> None:
        """With an interval of 0 there are no reports."""
        _, bob = self.pair(EndpointSettings(rtcp_interval=0.0))
        reading = self.outcome(bob.read_rtcp())
        self.run_for(30.0)
        self.assertFalse(reading.is_there)

    def test_what_a_report_says(self) -> None:
        """It tells packets, octets, the sender's clock, and its name."""
        alice, bob = self.pair()
        reading = bob.read_rtcp()
        self.run_for(10.0)
        report, names = self.successResultOf(reading)
        assert isinstance(report, SenderReport)
        assert isinstance(names, SourceDescription)
        self.assertEqual(report.octet_count, 160 * report.packet_count)
        self.assertEqual(list(names.canonical_names), [report.ssrc])
        self.assertEqual(len(names.canonical_names[report.ssrc]), 24)
        self.assertEqual(report.reports[0].packets_lost, 0)
        self.assertEqual(alice.statistics.remote_lost, 0)

    def test_who_listens_only(self) -> None:
        """Who may not send reports what it receives (RFC 3550 section 6.4.2)."""
        alice, bob = self.pair()
        self.run_for(10.0)
        self.agree(alice, bob, Direction.SENDONLY)
        self.run_for(10.0)
        kinds = []
        alice.on_rtcp = lambda packets, sent: None if sent else kinds.append(type(packets[0]))
        self.run_for(10.0)
        self.assertEqual(set(kinds), {ReceiverReport})

    def test_log(self) -> None:
        """Statistics are logged as often as asked for, and not else."""
        events: list[object] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if "statistics" in event:
                events.append(event["statistics"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.pair(EndpointSettings(log_interval=2.0), EndpointSettings())
        self.run_for(9.0)
        self.assertEqual(len(events), 4)
