"""What a relay learns from the RTCP of both parties that passes it: RFC 3550 sections 6.4.1 and 6.4.3.

A party that receives a sender report says in its next report which one it was and how long ago it came. The relay knows
when it passed that sender report on, so it knows the round trip from itself to that party without sending anything.
The round trip between the parties is the sum of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sipd.rtp.rtcp import ReceiverReport, ReportBlock, RtcpPacket, SenderReport

#: Sender reports of each party that are remembered. They are seconds apart, so an answer to an older one says little.
_REPORT_LIMIT = 8

#: A round trip that is longer is rubbish: nobody could talk.
_LONGEST = 10.0

#: How far below zero a round trip is still one of nothing: clocks are rounded, and the party's own may be coarse.
_ROUNDING = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyReport:
    """What one party's RTCP says, and how far away it is.

    Args:
        round_trip: seconds from the relay to the party and back, as measured last; ``None`` if it never was.
        round_trip_mean: of all measurements.
        round_trip_maximum: of all measurements.
        measurements: how many there were.
        reports: report blocks that the party sent about what it receives.
        fraction_lost: between its last two reports, 0.0 to 1.0; ``None`` if it reported nothing.
        fraction_lost_maximum: the highest that it was.
        packets_lost: since the beginning; below zero if there were duplicates.
        jitter_units: interarrival jitter in units of the RTP timestamp.
    """

    round_trip: float | None
    round_trip_mean: float | None
    round_trip_maximum: float | None
    measurements: int
    reports: int
    fraction_lost: float | None
    fraction_lost_maximum: float | None
    packets_lost: int | None
    jitter_units: int | None


class _Party:
    """What is known of one party."""

    __slots__ = ("block", "count", "fraction_maximum", "last", "maximum", "passed", "reports", "total")

    def __init__(self) -> None:
        #: Its last sender reports: SSRC, middle of the NTP timestamp, and when each was passed on.
        self.passed: list[tuple[int, int, float]] = []
        self.block: ReportBlock | None = None
        self.reports = 0
        self.fraction_maximum = 0.0
        self.last: float | None = None
        self.total = self.maximum = 0.0
        self.count = 0


class RoundTrip:
    """Watches the RTCP of one stream between two legs. Memory is bounded, whatever comes.

    Args:
        first: name of one leg.
        second: name of the other.
    """

    __slots__ = ("_legs",)

    def __init__(self, first: str, second: str) -> None:
        one, other = _Party(), _Party()
        self._legs = {first: (one, other), second: (other, one)}

    def take(self, leg: str, packets: Iterable[RtcpPacket], now: float) -> None:
        """Take what a party sent and what is passed on to the other at this moment.

        Args:
            leg: of the sender.
            packets: of one datagram.
            now: the time, on a clock that does not go back.

        Raises:
            KeyError: there is no such leg.
        """
        sender, receiver = self._legs[leg]
        for packet in packets:
            if isinstance(packet, SenderReport):
                middle = packet.ntp_timestamp >> 16 & 0xFFFFFFFF
                if middle:  # 0 says that no sender report came (section 6.4.1): no answer to this one could be told
                    sender.passed.append((packet.ssrc, middle, now))
                    del sender.passed[:-_REPORT_LIMIT]
            if isinstance(packet, SenderReport | ReceiverReport) and packet.reports:
                self._take_blocks(sender, receiver, packet.reports, now)

    def report(self, leg: str) -> PartyReport:
        """Say what is known by now.

        Raises:
            KeyError: there is no such leg.
        """
        party, _ = self._legs[leg]
        block = party.block
        return PartyReport(
            round_trip=party.last,
            round_trip_mean=party.total / party.count if party.count else None,
            round_trip_maximum=party.maximum if party.count else None,
            measurements=party.count,
            reports=party.reports,
            fraction_lost=block.fraction_lost if block else None,
            fraction_lost_maximum=party.fraction_maximum if block else None,
            packets_lost=block.packets_lost if block else None,
            jitter_units=block.jitter if block else None,
        )

    @property
    def between(self) -> float | None:
        """Seconds from one party to the other and back, by the last measurements; ``None`` unless both are known."""
        (one, other), _ = self._legs.values()
        return None if one.last is None or other.last is None else one.last + other.last

    def _take_blocks(self, reporter: _Party, reported: _Party, blocks: tuple[ReportBlock, ...], now: float) -> None:
        """Take what a party says of what it receives from the other."""
        current = reported.passed[-1][0] if reported.passed else None
        block = next((block for block in blocks if block.ssrc == current), blocks[0])
        reporter.block = block
        reporter.reports += 1
        reporter.fraction_maximum = max(reporter.fraction_maximum, block.fraction_lost)
        for ssrc, middle, passed_at in reversed(reported.passed):
            if ssrc == block.ssrc and middle == block.last_report:
                round_trip = now - passed_at - block.delay
                if -_ROUNDING <= round_trip <= _LONGEST:
                    reporter.last = round_trip = max(0.0, round_trip)
                    reporter.total += round_trip
                    reporter.maximum = max(reporter.maximum, round_trip)
                    reporter.count += 1
                return
