"""Tests of what `sipd.rtp.jitter` drops, and of what must not matter to it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sipd.rtp.jitter import JitterBuffer
from sipd.rtp.playout import StreamFormat
from tests.rtp.test_jitter import (
    BROKEN,
    COMFORT_NOISE,
    FRAME,
    OPUS,
    SPEAKING,
    START,
    Call,
    JitterTestCase,
    formats,
    sound,
)


class BoundTests(JitterTestCase):
    """What is dropped, and what must not matter."""

    def test_packets_that_wait(self) -> None:
        """Of packets that nobody takes, the last 256 are kept."""
        buffer = JitterBuffer(formats=formats)
        for index in range(1000):
            buffer.feed(SPEAKING, index, FRAME * index, 7, bytes(2 * FRAME), START + 0.02 * index)
        self.assertEqual((len(buffer._waiting), buffer.dropped, buffer.lost), (256, 744, 0))

    def test_payloads(self) -> None:
        """A payload that is too large, or cannot be decoded, is made up."""
        call = Call()
        call.speak(20)
        call.send(payload_type=BROKEN)
        call.speak(20)
        call.buffer.feed(SPEAKING, call.sequence, call.timestamp, call.ssrc, bytes(20000), call.sending)
        self.assertNotIn(None, sound(call.heard))
        self.assert_counts(call.buffer, lost=1, concealed=1, dropped=2)

    def test_formats_are_asked_for_once(self) -> None:
        """Each payload type is asked for at its first packet, and again when all were forgotten."""
        asked: list[int] = []

        def ask(payload_type: int) -> StreamFormat:
            asked.append(payload_type)
            return formats(payload_type)

        call = Call(buffer=JitterBuffer(formats=ask))
        call.speak(3)
        call.buffer.forget_formats()
        call.speak(3)
        self.assertEqual(asked, [SPEAKING, SPEAKING])

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from((SPEAKING, OPUS, BROKEN, COMFORT_NOISE, 120)),
                st.integers(0, 0xFFFF) | st.integers(0, 40),
                st.integers(0, 0xFFFFFFFF) | st.integers(0, 40).map(lambda index: FRAME * index),
                st.integers(0, 2),
                st.integers(0, 400).map(lambda words: bytes(2 * words)),
                st.floats(-1.0, 3.0),
            ),
            max_size=80,
        ),
        st.floats(0.0, 0.1),
    )
    def test_anything_may_come(self, packets: list[tuple[int, int, int, int, bytes, float]], step: float) -> None:
        """Whatever comes, whenever, each frame is as long as the others, and no counter is negative."""
        buffer = JitterBuffer(formats=formats)
        for number, (payload_type, sequence, timestamp, ssrc, payload, at) in enumerate(packets):
            buffer.feed(payload_type, sequence, timestamp, ssrc, payload, START + at)
            frame = buffer.take(START + step * number)
            self.assertIn(len(frame) if frame is not None else FRAME, (FRAME,))
        for name in ("packets", "late", "duplicates", "lost", "concealed", "inserted", "skipped", "dropped"):
            self.assertGreaterEqual(getattr(buffer, name), 0, name)

    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.none() | st.floats(0.0, 0.4), min_size=50, max_size=200), st.sampled_from((0.01, 0.02, 0.06)))
    def test_any_network(self, delays: list[float | None], ptime: float) -> None:
        """Each packet is counted once: as taken, as late, or as lost."""
        call = Call(ptime=ptime)
        call.speak(len(delays), lambda index: 0.0 if index == 0 else delays[index])
        call.end()
        buffer = call.buffer
        came = 1 + sum(delay is not None for delay in delays[1:])
        self.assertLessEqual(buffer.packets + buffer.late + buffer.dropped, came)
        self.assertGreaterEqual(buffer.packets + buffer.late + buffer.dropped, came - 1)
        call.speak(round(25 / ptime))
        self.assertLess(call.delays[-1], 0.08)
        self.assertNotIn(None, call.speak(20))
