"""Tests of `sipd.sip.framing`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.framing import KeepAlive, StreamFramer

PING = KeepAlive.PING


def message(body: bytes = b"", length_line: bytes | None = None) -> bytes:
    """Build a message whose Content-Length line is right unless it is given."""
    line = b"Content-Length: %d" % len(body) if length_line is None else length_line
    head = [b"OPTIONS sip:bob@example.com SIP/2.0", b"Via: SIP/2.0/TCP a.example.com;branch=z9hG4bK1"]
    if line:
        head.append(line)
    return b"\r\n".join([*head, b"", b""]) + body


def run(*chunks: bytes, framer: StreamFramer | None = None) -> tuple[list[bytes | KeepAlive], str]:
    """Feed chunks until one raises; give what came out, and the reason or an empty text."""
    framer = framer or StreamFramer()
    items: list[bytes | KeepAlive] = []
    try:
        for chunk in chunks:
            for item in framer.feed(chunk):
                items.append(item)  # one by one: what comes before an error counts
    except ParseError as error:
        return items, error.reason
    return items, ""


class WholeMessagesTests(SynchronousTestCase):
    """What comes out when the stream is well formed."""

    def test_one_message(self) -> None:
        """A message that comes in one piece comes out octet for octet."""
        self.assertEqual(run(message(b"hello")), ([message(b"hello")], ""))

    def test_several_messages_in_one_chunk(self) -> None:
        """Messages back to back are told apart by Content-Length."""
        self.assertEqual(run(message(b"a") + message() + message(b"bc"))[0], [message(b"a"), message(), message(b"bc")])

    def test_body_that_looks_like_a_message(self) -> None:
        """A body may hold empty lines, keep-alives, bare LFs and whole messages."""
        body = b"\r\n\r\n\n\n" + message(b"inner")
        self.assertEqual(run(message(body) + message())[0], [message(body), message()])

    def test_spellings_of_content_length(self) -> None:
        """Compact form, any case, white space, leading zeros and folding are all understood."""
        for line in (
            b"l: 2",
            b"L:2",
            b"CONTENT-LENGTH \t:  2  ",
            b"content-length:\r\n 2",
            b"Content-Length: \r\n\t 002",
            b"l: 2\r\nContent-Length: 02",
        ):
            data = message(b"hi", line)
            self.assertEqual(run(data + message()), ([data, message()], ""), line)

    def test_other_headers_do_not_count(self) -> None:
        """A folded line, a longer name or a parameter is not taken for Content-Length."""
        data = message(b"hi", b"X-Content-Length: 9\r\nSubject: a\r\n Content-Length: 9\r\nLl: 9\r\nl: 2")
        self.assertEqual(run(data), ([data], ""))

    def test_unfinished_message_waits(self) -> None:
        """Nothing comes out before the last octet, and the framer says that it holds a part."""
        framer = StreamFramer()
        self.assertTrue(framer.is_between_messages)
        data = message(b"hello")
        self.assertEqual(list(framer.feed(data[:-1])), [])
        self.assertFalse(framer.is_between_messages)
        self.assertEqual(list(framer.feed(data[-1:])), [data])
        self.assertTrue(framer.is_between_messages)


class KeepAliveTests(SynchronousTestCase):
    """What may stand between messages (lesson 19)."""

    def test_ping(self) -> None:
        """CRLFCRLF is a ping, in one piece or in four."""
        self.assertEqual(run(b"\r\n\r\n"), ([PING], ""))
        self.assertEqual(run(b"\r", b"\n", b"\r", b"\n"), ([PING], ""))

    def test_pong_is_ignored(self) -> None:
        """A lone CRLF gives nothing, and the message behind it is whole."""
        self.assertEqual(run(b"\r\n", message(b"x")), ([message(b"x")], ""))
        self.assertEqual(run(b"\r\n" + message(b"x")), ([message(b"x")], ""))

    def test_ping_at_every_border(self) -> None:
        """Pings before, between and after messages are each reported once."""
        stream = b"\r\n\r\n" + message(b"a") + b"\r\n\r\n\r\n\r\n" + message() + b"\r\n\r\n"
        self.assertEqual(run(stream)[0], [PING, message(b"a"), PING, PING, message(), PING])

    def test_lone_line_ends_around_messages_are_no_ping(self) -> None:
        """One CRLF before a message and one after it do not add up to a ping."""
        self.assertEqual(run(b"\r\n" + message() + b"\r\n" + message())[0], [message(), message()])

    def test_lone_cr_waits(self) -> None:
        """A CR at the end of a chunk is not taken for the start of a message."""
        self.assertEqual(run(message() + b"\r", b"\n" + message()), ([message(), message()], ""))


class RefusalTests(SynchronousTestCase):
    """What ends a stream, with a reason."""

    def check(self, data: bytes, reason: str, status: int = 400) -> StreamFramer:
        """Check that a good message before it still comes out, and that the reason is given each time."""
        framer = StreamFramer(max_head_octets=500, max_body_octets=100)
        items, found = run(message(b"ok") + data, framer=framer)
        self.assertEqual(items, [message(b"ok")])
        self.assertIn(reason, found)
        with self.assertRaises(ParseError) as caught:
            list(framer.feed(message()))
        self.assertEqual(caught.exception.status, status)
        self.assertEqual(run(*[bytes((octet,)) for octet in data], framer=StreamFramer(max_head_octets=500))[0], [])
        return framer

    def test_missing(self) -> None:
        """Without a Content-Length nobody knows where the message ends."""
        framer = self.check(message(b"", b""), "needs a Content-Length")
        self.assertEqual(framer.rejected, message(b"", b""))

    def test_not_a_number(self) -> None:
        """Signs, hexadecimal digits, lists, other alphabets and nothing at all are no length."""
        for value in (b"-1", b"+1", b"0x1", b"1.0", b"1, 1", b"1 1", b"", b"\xd9\xa1", b"ten"):
            self.check(message(b"", b"Content-Length: " + value), "not a number")

    def test_repeated_with_different_values(self) -> None:
        """Two lengths that differ leave open which one counts."""
        self.check(message(b"abc", b"Content-Length: 3\r\nl: 0"), "twice with different values")
        self.check(message(b"abc", b"Content-Length: 3\r\nl: x"), "not a number")

    def test_absurd(self) -> None:
        """A length above the bound ends the stream before anything is stored."""
        self.check(message(b"", b"Content-Length: 101"), "larger than 100", 513)
        self.check(message(b"", b"Content-Length: " + b"9" * 40), "too large", 513)

    def test_bare_line_feed(self) -> None:
        """A bare LF in a head is refused, where it ends the head and where it hides in it (lesson 53)."""
        self.check(b"OPTIONS sip:a@b SIP/2.0\nContent-Length: 0\n\n", "bare LF")
        self.check(message(b"", b"X: y\nContent-Length: 5\r\nContent-Length: 0"), "bare LF")
        self.check(b"\n" + message(), "bare LF")

    def test_head_without_end(self) -> None:
        """A head that does not end within the bound ends the stream, however many lines it has."""
        self.check(b"OPTIONS sip:a@b SIP/2.0\r\n" + b"X: y\r\n" * 200, "larger than 500", 513)

    def test_head_too_large_in_one_piece(self) -> None:
        """The bound holds for a head that comes whole, too."""
        self.check(message(b"", b"X: " + b"y" * 600 + b"\r\nl: 0"), "larger than 500", 513)


class BoundTests(SynchronousTestCase):
    """The bounds are exact, and what arrives costs what its size says."""

    def test_exact_bounds(self) -> None:
        """A head and a body of exactly the allowed size pass; one octet more does not, in one piece or in many."""
        data = message(b"abc")
        head_size = len(data) - 3
        for cut in ([data], [bytes((octet,)) for octet in data]):
            exact = StreamFramer(max_head_octets=head_size, max_body_octets=3)
            self.assertEqual(run(*cut, framer=exact), ([data], ""))
            small_head = StreamFramer(max_head_octets=head_size - 1, max_body_octets=3)
            self.assertIn("head is larger", run(*cut, framer=small_head)[1])
            small_body = StreamFramer(max_head_octets=head_size, max_body_octets=2)
            self.assertIn("Content-Length is larger", run(*cut, framer=small_body)[1])

    def test_octet_by_octet_is_not_searched_again(self) -> None:
        """Each octet of a head that comes one by one is looked at a bounded number of times."""
        searched = 0

        class CountingBuffer(bytearray):
            def find(self, *arguments: object) -> int:
                nonlocal searched
                start = arguments[1]
                assert isinstance(start, int)
                searched += len(self) - start
                return super().find(*arguments)  # type: ignore[arg-type]  # passed on as they came

        framer = StreamFramer()
        framer._buffer = CountingBuffer()
        data = message(b"", b"X: " + b"y" * 20000 + b"\r\nl: 0")
        items = [item for octet in data for item in framer.feed(bytes((octet,)))]
        self.assertEqual(items, [data])
        self.assertLess(searched, 5 * len(data))


PIECES = st.one_of(
    st.just(b"\r\n\r\n"),
    st.just(b"\r\n"),
    st.binary(max_size=20).map(message),
    st.sampled_from([message(b"\r\n\r\n"), message(b"\r\n"), message(b"hi", b"l:\r\n 2"), message(b"x", b"L : 1")]),
)
FAULTS = st.sampled_from([b"", b"", message(b"", b""), message(b"", b"l: -1"), b"GET\n\n", b"\n", b"\rX\r\n\r\n"])


class SplitTests(SynchronousTestCase):
    """The splits of a stream do not matter."""

    @settings(deadline=None, max_examples=200)
    @given(st.lists(PIECES, max_size=6), FAULTS, st.data())
    def test_every_split_gives_the_same(self, pieces: list[bytes], fault: bytes, data: st.DataObject) -> None:
        """Messages, pings and the reason of a refusal are the same for any split of any stream."""
        stream = b"".join(pieces) + fault
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
        chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        whole = run(stream)
        self.assertEqual(run(*chunks), whole)
        self.assertEqual(run(*[bytes((octet,)) for octet in stream]), whole)
        self.assertEqual([item for item in whole[0] if item is not PING], [p for p in pieces if p.strip(b"\r\n")])

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.binary(max_size=40), max_size=8))
    def test_any_octets(self, chunks: list[bytes]) -> None:
        """Whatever comes in, nothing but `ParseError` comes out."""
        run(*chunks)
