"""TCP streams to messages: order, repetition, gaps, joining in the middle, TLS, bounds."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.sniffing.segments import Segment, parse_segment
from sipd.observe.sniffing.streams import Encrypted, StreamEvent, TcpStreams
from tests.observe.sniffing.wires import ALICE, BOB, SYN, request, response, tcp

_FIRST = 2**32 - 50  # the numbers begin anew soon
_MESSAGES = [request(), response(180), response(200), request("BYE", cseq=2, body="x" * 700)]
_TEXT = b"\r\n\r\n".join(_MESSAGES)


def segments(data: bytes, size: int, first: int = _FIRST) -> list[Segment]:
    """Cut octets into segments."""
    return [parse_segment(tcp(data[at : at + size], first + at)) for at in range(0, len(data), size)]


def opening(first: int = _FIRST) -> Segment:
    """Make the SYN before them."""
    return parse_segment(tcp(b"", first - 1, SYN))


class StreamTests(SynchronousTestCase):
    """One direction of one connection."""

    def setUp(self) -> None:
        self.streams = TcpStreams()

    def feed(self, *parts: Segment, at: float = 0.0) -> list[StreamEvent]:
        """Give them to it; give what came of it."""
        return [event for part in parts for event in self.streams.feed(at, ALICE, BOB, part)]

    def test_in_order(self) -> None:
        """From the SYN on, each message is there once, keep-alives between them left out."""
        for size in (1, 7, 300, 5000):
            self.streams = TcpStreams()
            self.assertEqual(self.feed(opening(), *segments(_TEXT, size)), _MESSAGES)

    def test_any_order(self) -> None:
        """Segments that come late, or again, or cut otherwise change nothing."""
        for seed in range(20):
            shuffled = random.Random(seed)
            parts = segments(_TEXT, 97) + segments(_TEXT, 211)
            shuffled.shuffle(parts)
            self.streams = TcpStreams()
            self.assertEqual(self.feed(opening(), *parts, opening()), _MESSAGES)

    def test_joined_in_the_middle(self) -> None:
        """Without its beginning a stream is read from the next start of a message on."""
        self.assertEqual(self.feed(*segments(_TEXT[30:], 101)), _MESSAGES[1:])

    def test_joined_at_a_message(self) -> None:
        """A segment that begins with a message is read from there, also if the start line is cut."""
        for size in (10, 5000):
            self.streams = TcpStreams()
            self.assertEqual(self.feed(*segments(_TEXT, size)), _MESSAGES)

    def test_a_gap(self) -> None:
        """What is lost is waited for, and then given up: the next whole message comes."""
        parts = segments(_TEXT, 100)
        del parts[1]
        self.assertEqual(self.feed(opening(), *parts, at=1.0), [])
        (later,) = segments(request("OPTIONS"), 5000, _FIRST + len(_TEXT))
        self.assertEqual(self.feed(later, at=9.0), [*_MESSAGES[1:], request("OPTIONS")])

    def test_a_gap_at_the_end(self) -> None:
        """At the end nothing more is waited for."""
        parts = segments(_TEXT, 100)
        del parts[1]
        self.feed(opening(), *parts)
        self.assertEqual(self.streams.finish(), [(ALICE, BOB, _MESSAGES[1:])])
        self.assertEqual(len(self.streams), 0)

    def test_too_many_wait(self) -> None:
        """Only so many segments wait."""
        self.streams = TcpStreams(max_waiting=3)
        parts = segments(_TEXT, 100)
        del parts[1]
        self.assertEqual(self.feed(opening(), *parts), _MESSAGES[1:])

    def test_no_border(self) -> None:
        """Behind a message without Content-Length the next one with a beginning of its own segment is found."""
        broken = b"OPTIONS sip:x SIP/2.0\r\nCall-ID: 1\r\n\r\n"
        first, second = segments(broken, 500), segments(request(), 500, _FIRST + len(broken))
        self.assertEqual(self.feed(opening(), *first, *second), [request()])

    def test_port_used_again(self) -> None:
        """A new connection between the same ports is another one; so is one that is far away in its numbers."""
        self.feed(opening(), *segments(_TEXT[:50], 50))
        self.assertEqual(self.feed(opening(7), *segments(_TEXT, 500, 7)), _MESSAGES)
        self.assertEqual(self.feed(*segments(_TEXT, 500, 2**31)), _MESSAGES)

    def test_tls(self) -> None:
        """A TLS connection is told once, from its start or from the middle."""
        for start in (b"\x16\x03\x01\x02\x00\x01", b"\x17\x03\x03\x00\x20abc"):
            for before in ([opening()], []):
                self.streams = TcpStreams()
                self.assertEqual(self.feed(*before, *segments(start + _TEXT, 100)), [Encrypted()])

    def test_without_payload(self) -> None:
        """Bare acknowledgements make no state."""
        self.assertEqual(self.feed(parse_segment(tcp(b"", 1))), [])
        self.assertEqual(len(self.streams), 0)

    def test_bounds(self) -> None:
        """Too many connections, or too many unfinished octets: the oldest is forgotten."""
        self.streams = TcpStreams(max_directions=10)
        for port in range(1024, 1124):
            self.streams.feed(0.0, (ALICE[0], port), BOB, opening())
        self.assertEqual(len(self.streams), 10)
        self.streams = TcpStreams(max_octets=3000)
        unfinished = request(body="x" * 2000)[:-1]
        for port in range(1024, 1124):
            for part in (opening(), *segments(unfinished, 5000)):
                self.streams.feed(0.0, (ALICE[0], port), BOB, part)
        self.assertEqual(len(self.streams), 1)
        (last,) = segments(b"x", 1, _FIRST + len(unfinished))
        self.assertEqual(self.streams.feed(0.0, (ALICE[0], 1123), BOB, last), [unfinished + b"x"])

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.integers(-2000, 2000),
                st.booleans(),
                st.one_of(st.binary(max_size=50), st.sampled_from([*_MESSAGES, b"\r\n\r\n", b"\x16\x03\x01"])),
            )
        )
    )
    def test_anything(self, parts: list[tuple[int, bool, bytes]]) -> None:
        """Whatever comes, in whatever order, nothing fails, and nothing is left at the end."""
        streams = TcpStreams()
        for at, (number, opens, data) in enumerate(parts):
            segment = parse_segment(tcp(data, _FIRST + number, SYN if opens else 0))
            streams.feed(at / 2, ALICE, BOB, segment)
        streams.finish()
        self.assertEqual(len(streams), 0)
