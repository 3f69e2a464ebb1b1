"""Tests of `sipd.rtp.quality`: rows of packets, and a naive model of what is lost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.rtp.quality import Quality, StreamQuality

RATES = {0: 8000, 8: 8000, 96: 90000}
PCMU, CN, EVENT, UNKNOWN, VIDEO, MARKER = 0, 13, 101, 111, 96, 0x80
SSRC, OTHER = 0x1111, 0x2222

#: Second octet, sequence, timestamp, SSRC, arrival.
Row = tuple[int, int, int, int, float]


def speech(
    numbers: Iterable[int], *, ssrc: int = SSRC, begin: float = 0.0, timestamp: int = 0, octet: int = PCMU
) -> list[Row]:
    """Make packets of 20 ms that arrive when they are sent; the places may be past 65535."""
    return [
        (octet, n & 0xFFFF, (timestamp + 160 * n) & 0xFFFFFFFF, ssrc, begin + 0.02 * place)
        for place, n in enumerate(numbers)
    ]


def observe(rows: Iterable[Row], rates: dict[int, int] | None = None) -> Quality:
    """Give what is known after these packets."""
    stream = StreamQuality(RATES if rates is None else rates)
    for row in rows:
        stream.packet(*row)
    return stream.snapshot()


def without(numbers: Iterable[int], *lost: int) -> list[int]:
    """Leave out what is lost."""
    return [number for number in numbers if number not in lost]


class CountTests(SynchronousTestCase):
    """Each row: the sequence numbers as they arrive, and what is counted."""

    def check(self, numbers: Iterable[int], **expected: object) -> Quality:
        """Check some of the counts."""
        quality = observe(speech(numbers))
        self.assertEqual({name: getattr(quality, name) for name in expected}, expected)
        return quality

    def test_nothing(self) -> None:
        """Of a stream without packets nothing is known."""
        quality = self.check((), received=0, expected=0, lost=0, ssrc=None, payload_type=None, jitter=None, loss=0.0)
        self.assertEqual((quality.first_arrival, quality.last_arrival, quality.burst_ratio), (None, None, 1.0))

    def test_one(self) -> None:
        """One packet is expected and received."""
        self.check([7], received=1, expected=1, lost=0, ssrc=SSRC, payload_type=PCMU, first_arrival=0.0)

    def test_in_order(self) -> None:
        """Nothing is lost, over three wraps of the sequence numbers."""
        self.check(range(65000, 265000), received=200000, expected=200000, lost=0, duplicates=0, reordered=0, strays=0)

    def test_loss(self) -> None:
        """What is left out is lost."""
        quality = self.check(without(range(100), 10, 50, 51), received=97, expected=100, lost=3, loss_runs=2)
        self.assertEqual(quality.loss, 0.03)

    def test_reordering(self) -> None:
        """A packet that comes late is not lost, even 64 places late."""
        self.check([0, 2, 1, 3], received=4, expected=4, lost=0, reordered=1, duplicates=0)
        self.check([*without(range(65), 1), 1, 65], received=66, lost=0, reordered=1)

    def test_too_late(self) -> None:
        """Of what is more places late nobody knows whether it came before: it stays lost."""
        self.check([*without(range(66), 1), 1, 66], received=66, lost=1, reordered=0, strays=1)

    def test_much_too_late(self) -> None:
        """Even two of these in a row do not begin anything new, up to 100 places late."""
        self.check([*range(200), 105, 106, 200], received=201, lost=0, strays=2, restarts=0)

    def test_late_to_the_beginning(self) -> None:
        """Packets that the first one overtook belong to the stream; what is between is missing until it comes."""
        self.check([5, 3, 6], received=3, expected=4, lost=1, reordered=1)
        self.check([5, 3, 4, 3, 6], received=4, expected=4, lost=0, reordered=2, duplicates=1)
        self.check([0x10000, 0xFFFE, 0xFFFF], received=3, expected=3, lost=0, reordered=2)

    def test_duplicates(self) -> None:
        """What comes again is counted apart, the last packet and late ones too."""
        self.check([0, 0, 1, 3, 2, 2, 3, 0, 4], received=5, expected=5, lost=0, duplicates=4, reordered=1)

    def test_every_packet_twice(self) -> None:
        """A stream that comes twice loses nothing by it, and hides no loss."""
        numbers = [number for number in without(range(1000), 500) for _ in range(2)]
        self.check(numbers, received=999, expected=1000, lost=1, duplicates=999)

    def test_long_loss(self) -> None:
        """Up to 2999 packets may be lost in a row."""
        self.check([0, 3000, 3001], received=3, expected=3002, lost=2999, restarts=0, loss_runs=1)

    def test_loss_long_ago(self) -> None:
        """A loss is remembered when its place is long gone from the window."""
        self.check(without(range(100000), 5), received=99999, lost=1, loss_runs=1, bursts=0)


class SourceTests(SynchronousTestCase):
    """Other sources, and numbers that begin anew (RFC 3550 appendix A.1)."""

    def test_another_source_takes_over(self) -> None:
        """Two packets of another source in a row are the new one; what was lost before stays lost."""
        rows = [*speech(without(range(50), 10)), *speech(range(900, 950), ssrc=OTHER, begin=1.0)]
        quality = observe(rows)
        self.assertEqual((quality.received, quality.expected, quality.lost), (99, 100, 1))
        self.assertEqual((quality.ssrc, quality.ssrc_changes, quality.restarts, quality.strays), (OTHER, 1, 0, 0))

    def test_one_forged_packet(self) -> None:
        """A packet of another source, or far from the numbers at hand, alone changes nothing."""
        for forged in ((PCMU, 500, 0, OTHER, 0.5), (PCMU, 30000, 0, SSRC, 0.5)):
            rows = [*speech(range(25)), forged, *speech(range(25, 50), begin=0.5)]
            quality = observe(rows)
            self.assertEqual((quality.received, quality.lost, quality.strays), (50, 0, 1))
            self.assertEqual((quality.ssrc, quality.ssrc_changes, quality.restarts), (SSRC, 0, 0))

    def test_second_source_beside_the_first(self) -> None:
        """A source does not take over while the present one goes on."""
        mixed = [row for pair in zip(speech(range(50)), speech(range(50), ssrc=OTHER), strict=True) for row in pair]
        quality = observe(mixed)
        self.assertEqual((quality.received, quality.strays, quality.ssrc, quality.ssrc_changes), (50, 50, SSRC, 0))

    def test_says_what_belongs_to_the_stream(self) -> None:
        """Packets on probation and duplicates are none of the stream; late ones are."""
        stream = StreamQuality(RATES)
        rows = [*speech([0, 2, 1, 1]), *speech([700, 701, 702], ssrc=OTHER, begin=1.0)]
        self.assertEqual([stream.packet(*row) for row in rows], [True, True, True, False, False, True, True])

    def test_numbers_begin_anew(self) -> None:
        """A source whose numbers jump is followed with the second packet, backwards and forwards."""
        for begin in (40000, 100):
            rows = [*speech(range(20000, 20050)), *speech(range(begin, begin + 50), begin=1.0)]
            quality = observe(rows)
            self.assertEqual((quality.received, quality.expected, quality.lost), (100, 100, 0))
            self.assertEqual((quality.restarts, quality.ssrc_changes, quality.strays), (1, 0, 0))

    def test_numbers_begin_anew_at_the_wrap(self) -> None:
        """A new run may begin with 65535."""
        quality = observe([*speech(range(10)), *speech([0xFFFF, 0, 1, 3], ssrc=OTHER)])
        self.assertEqual((quality.received, quality.expected, quality.lost), (14, 15, 1))

    def test_late_packets_of_the_source_before(self) -> None:
        """What the previous source still had on its way does not bring it back."""
        late = [(PCMU, 50, 8000, SSRC, 1.05)]
        rows = [*speech(range(50)), *speech(range(2), ssrc=OTHER, begin=1.0), *late]
        quality = observe([*rows, *speech(range(2, 50), ssrc=OTHER, begin=1.1)])
        self.assertEqual((quality.ssrc, quality.ssrc_changes, quality.strays), (OTHER, 1, 1))


class BurstTests(SynchronousTestCase):
    """RFC 3611 section 4.7.2: each row has what is lost of 1000 packets, and the bursts."""

    ROWS: tuple[tuple[str, Sequence[int], int, float, float, float, int], ...] = (
        # what                      lost                  bursts, length, density, gap density, runs
        ("no loss", (), 0, 0.0, 0.0, 0.0, 0),
        ("one alone", (100,), 0, 0.0, 0.0, 1 / 1000, 1),
        ("16 between: alone", (100, 117), 0, 0.0, 0.0, 2 / 1000, 2),
        ("15 between: a burst", (100, 116), 1, 17.0, 2 / 17, 0.0, 2),
        ("two in a row", (100, 101), 1, 2.0, 1.0, 0.0, 1),
        ("a chain", (100, 110, 120, 130), 1, 31.0, 4 / 31, 0.0, 4),
        ("two bursts and one alone", (100, 101, 300, 303, 305, 600), 2, 4.0, 5 / 8, 1 / 992, 5),
        ("at the end", (990, 995), 1, 6.0, 2 / 6, 0.0, 2),
        ("longer than the window", tuple(range(200, 400)), 1, 200.0, 1.0, 0.0, 1),
    )

    def test_rows(self) -> None:
        """Losses that are near to each other are a burst; others belong to the gaps."""
        for what, lost, bursts, length, density, gap_density, runs in self.ROWS:
            quality = observe(speech(without(range(1000), *lost)))
            self.assertEqual((quality.bursts, quality.loss_runs), (bursts, runs), what)
            self.assertEqual((quality.burst_length, quality.burst_density), (length, density), what)
            self.assertAlmostEqual(quality.gap_density, gap_density, msg=what)

    def test_looking_changes_nothing(self) -> None:
        """A snapshot in the middle of a burst does not end it."""
        stream = StreamQuality(RATES)
        for row in speech(without(range(200), 100, 101, 110, 112)):
            stream.packet(*row)
            stream.snapshot()
        self.assertEqual((stream.snapshot().bursts, stream.snapshot().burst_length), (1, 13.0))

    def test_bursts_end_with_their_source(self) -> None:
        """Losses of two sources are no burst."""
        rows = [*speech(without(range(50), 48)), *speech(without(range(50), 2), ssrc=OTHER, begin=1.0)]
        self.assertEqual((observe(rows).lost, observe(rows).bursts), (2, 0))

    def test_burst_ratio(self) -> None:
        """Loss in long runs has a ratio above 1; spread loss has 1."""
        self.assertAlmostEqual(observe(speech(without(range(100), *range(40, 50)))).burst_ratio, 10 * 0.9)
        self.assertEqual(observe(speech(without(range(100), 1, 20, 40, 60, 80))).burst_ratio, 1.0)


class TimeTests(SynchronousTestCase):
    """Jitter (RFC 3550 appendix A.8) and interruptions."""

    def test_regular(self) -> None:
        """Packets that come as they are sent have no jitter; the longest interruption is one packet."""
        quality = observe(speech(range(100)))
        assert quality.jitter is not None
        self.assertAlmostEqual(quality.jitter, 0.0)
        self.assertAlmostEqual(quality.longest_interruption, 0.02)

    def test_jitter_by_hand(self) -> None:
        """Each difference counts a sixteenth; the maximum stays."""
        rows = [(PCMU, 0, 0, SSRC, 0.0), (PCMU, 1, 160, SSRC, 0.036), (PCMU, 2, 320, SSRC, 0.056)]
        quality = observe(rows)
        assert quality.jitter is not None and quality.jitter_maximum is not None
        self.assertAlmostEqual(quality.jitter_maximum, 0.016 / 16)
        self.assertAlmostEqual(quality.jitter, 0.001 - 0.001 / 16)

    def test_jitter_over_wraps(self) -> None:
        """The wraps of the sequence number and of the timestamp leave no trace, one of each at the same time too."""
        for first, timestamp in ((0xFFF0, 0), (0, (-3200) & 0xFFFFFFFF), (0xFFF0, (-160 * 0xFFFF) & 0xFFFFFFFF)):
            quality = observe(speech(range(first, first + 100), timestamp=timestamp))
            assert quality.jitter_maximum is not None
            self.assertAlmostEqual(quality.jitter_maximum, 0.0)
            self.assertEqual((quality.lost, quality.restarts), (0, 0))

    def test_loss_is_no_jitter(self) -> None:
        """Over lost packets timestamps are compared as ever."""
        numbers = without(range(100), 10, 11, 50)
        rows = [(PCMU, n, 160 * n, SSRC, 0.02 * n) for n in numbers]
        quality = observe(rows)
        assert quality.jitter_maximum is not None
        self.assertAlmostEqual(quality.jitter_maximum, 0.0)
        self.assertAlmostEqual(quality.longest_interruption, 0.06)

    def test_silence(self) -> None:
        """Each row: what follows ten packets of speech; neither jitter, loss nor interruption comes of it."""
        rows: dict[str, list[Row]] = {
            "marker": [(PCMU | MARKER, 10, 160 * 100, SSRC, 2.0)],
            "timestamp alone": [(PCMU, 10, 160 * 100, SSRC, 2.0)],
            "marker, clock of the sender off": [(PCMU | MARKER, 10, 160 * 100, SSRC, 2.01)],
            "comfort noise": [
                (CN, 10, 1600, SSRC, 0.2),
                (CN, 11, 1600 + 1600, SSRC, 0.4),
                (CN, 12, 1600 + 8000, SSRC, 1.2),
                (PCMU, 13, 1600 + 16000, SSRC, 2.2),
            ],
        }
        for what, following in rows.items():
            end = following[-1]
            after = [(PCMU, end[1] + n, end[2] + 160 * n, SSRC, end[4] + 0.02 * n) for n in range(1, 10)]
            quality = observe([*speech(range(10)), *following, *after])
            assert quality.jitter_maximum is not None
            self.assertAlmostEqual(quality.jitter_maximum, 0.0, msg=what)
            self.assertAlmostEqual(quality.longest_interruption, 0.02, msg=what)
            self.assertEqual((quality.lost, quality.restarts, quality.received), (0, 0, end[1] + 10), what)

    def test_telephone_events(self) -> None:
        """Events repeat one timestamp and end three times: no jitter, even if their clock rate is known."""
        events = [(EVENT | (MARKER if n == 10 else 0), n, 1600, SSRC, 0.02 * n) for n in range(10, 20)]
        after = [(PCMU, n, 160 * n, SSRC, 0.02 * n) for n in range(20, 30)]
        for rates in (RATES, {**RATES, EVENT: 8000}):
            quality = observe([*speech(range(10)), *events, *after], rates)
            assert quality.jitter_maximum is not None
            self.assertAlmostEqual(quality.jitter_maximum, 0.0)
            self.assertEqual((quality.received, quality.lost), (30, 0))

    def test_video_frames(self) -> None:
        """Packets of one frame have one timestamp and the last a marker: frames are compared once each."""
        rows = []
        for frame in range(30):
            for part in range(3):
                octet = VIDEO | (MARKER if part == 2 else 0)
                rows.append((octet, 3 * frame + part, 3000 * frame, SSRC, frame / 30 + 0.0001 * part))
        quality = observe(rows)
        assert quality.jitter_maximum is not None
        self.assertLess(quality.jitter_maximum, 0.001)

    def test_unknown_clock_rate(self) -> None:
        """Without a clock rate there is no jitter; an interruption is seen all the same, and a marker excuses it."""
        rows = speech(range(10), octet=UNKNOWN)
        self.assertEqual((observe(rows).jitter, observe(rows).jitter_maximum), (None, None))
        for octet, interruption in ((UNKNOWN, 3.0), (UNKNOWN | MARKER, 0.02)):
            late = (octet, 10, 1600, SSRC, rows[-1][4] + 3.0)
            self.assertAlmostEqual(observe([*rows, late]).longest_interruption, interruption)
        self.assertEqual(observe(speech(range(10)), {0: -8000}).jitter, None)

    def test_interruption(self) -> None:
        """Each row: the packet after 1 s of speech and 3 s of nothing, and how long that interruption was."""
        before = speech(range(50))
        rows: dict[str, tuple[Row, float]] = {
            "late": ((PCMU, 50, 8000, SSRC, 3.98), 3.0),
            "lost": ((PCMU, 200, 32000, SSRC, 3.98), 3.0),
            "half of it silence": ((PCMU | MARKER, 50, 8000 + 12000, SSRC, 3.98), 1.48),
            "timestamp that goes back": ((PCMU, 50, 10, SSRC, 3.98), 3.0),
        }
        for what, (row, interruption) in rows.items():
            self.assertAlmostEqual(observe([*before, row]).longest_interruption, interruption, msg=what)

    def test_interruption_by_a_change_of_source(self) -> None:
        """The time until another source has taken over is an interruption."""
        rows = [*speech(range(50)), *speech(range(50), ssrc=OTHER, begin=3.0)]
        self.assertAlmostEqual(observe(rows).longest_interruption, 3.02 - 0.98)

    def test_pause(self) -> None:
        """Hold is no interruption, and no jitter, whether the source stays the same or not."""
        for ssrc in (SSRC, OTHER):
            stream = StreamQuality(RATES)
            for row in speech(range(50)):
                stream.packet(*row)
            stream.pause()
            for row in speech(range(50, 100), ssrc=ssrc, begin=60.0):
                stream.packet(*row)
            quality = stream.snapshot()
            assert quality.jitter_maximum is not None
            self.assertAlmostEqual(quality.longest_interruption, 0.02)
            self.assertAlmostEqual(quality.jitter_maximum, 0.0)
            self.assertEqual((quality.received, quality.lost), (100, 0))
            stream.packet(PCMU, 100, 16000, ssrc, 61.016)
            self.assertAlmostEqual(stream.snapshot().jitter or 0.0, 0.016 / 16)

    def test_jitter_of_a_new_source(self) -> None:
        """A new source begins with no jitter; the maximum is that of the stream."""
        shaken = [(*row[:4], row[4] + (0.01 if row[1] % 2 else 0.0)) for row in speech(range(50))]
        quality = observe([*shaken, *speech(range(3), ssrc=OTHER, begin=1.0)])
        assert quality.jitter is not None and quality.jitter_maximum is not None
        self.assertAlmostEqual(quality.jitter, 0.0)
        self.assertGreater(quality.jitter_maximum, 0.009)


def model(places: Sequence[int]) -> dict[str, int]:
    """Count naively what arrives in that order."""
    seen: set[int] = set()
    duplicates = reordered = 0
    for place in places:
        duplicates += place in seen
        reordered += place not in seen and bool(seen) and place < max(seen)
        seen.add(place)
    lost = [place for place in range(min(seen), max(seen)) if place not in seen]
    clusters: list[list[int]] = []
    for place in lost:
        if clusters and place - clusters[-1][-1] - 1 < 16:
            clusters[-1].append(place)
        else:
            clusters.append([place])
    bursts = [cluster for cluster in clusters if len(cluster) > 1]
    return {
        "received": len(seen),
        "expected": max(seen) - min(seen) + 1,
        "lost": len(lost),
        "duplicates": duplicates,
        "reordered": reordered,
        "strays": 0,
        "restarts": 0,
        "bursts": len(bursts),
        "burst_places": sum(burst[-1] - burst[0] + 1 for burst in bursts),
        "loss_runs": sum(place - 1 not in lost for place in lost),
    }


@st.composite
def arrivals(draw: st.DrawFn) -> list[int]:
    """Give places of packets as they arrive: some lost, some twice, some up to 60 places late."""
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    loss, twice, late = (draw(st.sampled_from([0.0, 0.02, 0.3, 0.9])) for _ in range(3))
    count = draw(st.integers(1, 400))
    sent = [(place, place) for place in range(count) if chance.random() >= loss or not place]
    sent += [(place + chance.randrange(30), place) for _, place in sent if chance.random() < twice]
    return [place for _, place in sorted((at + chance.randrange(30) * (chance.random() < late), p) for at, p in sent)]


class PropertyTests(SynchronousTestCase):
    """What holds for any packets."""

    @settings(deadline=None, max_examples=200)
    @given(arrivals(), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
    def test_agrees_with_the_model(self, places: list[int], first: int, timestamp: int) -> None:
        """The counts are those of a naive model, wherever the numbers wrap, and looking on the way changes nothing."""
        stream = StreamQuality(RATES)
        for number, place in enumerate(places):
            row = (PCMU, (first + place) & 0xFFFF, (timestamp + 160 * place) & 0xFFFFFFFF, SSRC, 0.02 * number)
            stream.packet(*row)
            if number % 7 == 0:
                stream.snapshot()
        quality = stream.snapshot()
        expected = model(places)
        burst_places = expected.pop("burst_places")
        self.assertEqual({name: getattr(quality, name) for name in expected}, expected)
        self.assertAlmostEqual(quality.burst_length * quality.bursts, burst_places)

    @settings(deadline=None, max_examples=100)
    @given(arrivals(), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
    def test_numbers_mean_nothing_by_themselves(self, places: list[int], first: int, timestamp: int) -> None:
        """Jitter and all else are the same wherever the numbers begin."""
        base = observe((PCMU, p, 160 * p, SSRC, 0.013 * n) for n, p in enumerate(places))
        moved = observe(
            (PCMU, (first + p) & 0xFFFF, (timestamp + 160 * p) & 0xFFFFFFFF, SSRC, 0.013 * n)
            for n, p in enumerate(places)
        )
        for name in ("jitter", "jitter_maximum"):
            one, other = getattr(base, name), getattr(moved, name)
            self.assertEqual(one is None, other is None)
            self.assertAlmostEqual(one or 0.0, other or 0.0, places=9)
        base, moved = (replace(each, jitter=None, jitter_maximum=None) for each in (base, moved))
        self.assertAlmostEqual(base.longest_interruption, moved.longest_interruption)
        self.assertEqual(replace(base, longest_interruption=0.0), replace(moved, longest_interruption=0.0))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.floats(0.0, 0.1), min_size=2, max_size=100))
    def test_jitter_is_that_of_the_rfc(self, delays: list[float]) -> None:
        """In order, the jitter is what appendix A.8 computes."""
        rows = [(PCMU, n, 160 * n, SSRC, 0.02 * n + delay) for n, delay in enumerate(delays)]
        jitter = 0.0
        for before, after in itertools.pairwise(delays):
            jitter += (abs(after - before) - jitter) / 16
        found = observe(rows).jitter
        assert found is not None
        self.assertAlmostEqual(found, jitter)

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 255) | st.sampled_from([0, 8, 13, 96, 128]),
                st.integers(0, 0xFFFF) | st.integers(0, 70),
                st.integers(0, 0xFFFFFFFF) | st.integers(0, 2000),
                st.integers(0, 0xFFFFFFFF) | st.sampled_from([1, 2]),
                st.floats(-1e9, 1e9),
            ),
            max_size=60,
        )
    )
    def test_any_packets(self, rows: list[Row]) -> None:
        """Nothing raises, every packet is counted once, and fractions are fractions."""
        quality = observe(rows)
        self.assertEqual(quality.received + quality.duplicates + quality.strays, len(rows))
        self.assertEqual(quality.received + quality.lost, quality.expected)
        self.assertGreaterEqual(quality.longest_interruption, 0.0)
        for fraction in (quality.loss, quality.burst_density, quality.gap_density):
            self.assertGreaterEqual(fraction, 0.0)
            self.assertLessEqual(fraction, 1.0)
        self.assertGreaterEqual(quality.burst_ratio, 1.0)
