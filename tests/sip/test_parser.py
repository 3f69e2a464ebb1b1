"""Octets to messages: framing of datagrams, start lines, and what is refused."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.message import Request, Response
from sipd.sip.parser import (
    MAX_HEAD_OCTETS,
    MAX_HEADER_LINES,
    is_keep_alive,
    parse_datagram,
    parse_head,
    parse_message,
)

HEAD = b"OPTIONS sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n"


def request(data: bytes) -> Request:
    """Parse what must be a request."""
    message = parse_datagram(data)
    assert isinstance(message, Request)
    return message


def response(data: bytes) -> Response:
    """Parse what must be a response."""
    message = parse_datagram(data)
    assert isinstance(message, Response)
    return message


class KeepAliveTests(SynchronousTestCase):
    """Noise (S1.9, RFC 5626 section 3.5.1)."""

    def test_knows_noise(self) -> None:
        """Nothing, line ends, blanks, NULs and a few octets are noise; anything that could be SIP is not."""
        for data in (b"", b"\r\n\r\n", b"\0" * 100, b" \t\r\n" * 5, b"\0\0\0\0", b"jaK", b"ping"):
            self.assertTrue(is_keep_alive(data), data)
        for data in (HEAD, b"\r\n\r\n" + HEAD, b"hello", b"\xff" * 10):
            self.assertFalse(is_keep_alive(data), data)


class StartLineTests(SynchronousTestCase):
    """Request lines and status lines (RFC 3261 sections 7.1 and 7.2)."""

    def test_takes_a_request_line(self) -> None:
        """Method, URI and version are kept as written."""
        message = request(b"RE%47IST%45R sip:A@B;lr SIP/2.0\r\n\r\n")
        self.assertEqual((message.method, message.uri_text, message.version), ("RE%47IST%45R", "sip:A@B;lr", "SIP/2.0"))

    def test_leaves_faults_in_the_uri_to_validation(self) -> None:
        """White space and brackets in the URI are kept, so that the request can be answered (RFC 4475 3.1.2.7)."""
        for text in ("<sip:a@b>", "sip:a@b; lr", " sip:a@b ", "sip:a@b?X=y", "nonsense"):
            self.assertEqual(request(f"INVITE {text} SIP/2.0\r\n\r\n".encode()).uri_text, text)
        self.assertEqual(request(b"INVITE sip:a@b SIP/2.0 \t \r\n\r\n").uri_text, "sip:a@b")

    def test_takes_other_versions(self) -> None:
        """They are answered with 505, so they must parse."""
        for version in ("SIP/7.0", "sip/2.0", "SIP/3.15"):
            self.assertEqual(request(f"X sip:a@b {version}\r\n\r\n".encode()).version, version)

    def test_takes_a_status_line(self) -> None:
        """The phrase may be absent, empty, or in any alphabet."""
        for line, status, reason in (
            (b"SIP/2.0 200 OK", 200, "OK"),
            (b"sip/2.0 100 ", 100, ""),
            (b"SIP/2.0 100", 100, ""),
            (b"SIP/2.0  699 \t two  words ", 699, "two  words "),
            ("SIP/2.0 200 = 2**3 * 5**2 но".encode(), 200, "= 2**3 * 5**2 но"),
        ):
            message = response(line + b"\r\n\r\n")
            self.assertEqual((message.status, message.reason), (status, reason))

    def test_refuses_malformed_lines(self) -> None:
        """No method, no URI, no version, a method that is no token, a status that is none."""
        for line in (
            "",
            "INVITE",
            "INVITE sip:a@b",
            "INVITE  SIP/2.0",
            "INVITE SIP/2.0",
            " INVITE sip:a@b SIP/2.0",
            "INV ITE",
            "INV,ITE sip:a@b SIP/2.0",
            "é sip:a@b SIP/2.0",
            "INVITE sip:a@b HTTP/1.1",
            "INVITE sip:a@b SIP/2",
            "INVITE sip:a@b SIP/2.0x",
            "INVITE\tsip:a@b SIP/2.0",
            "SIP/2.0",
            "SIP/2.0 ",
            "SIP/2.0 20 OK",
            "SIP/2.0 2000 OK",
            "SIP/2.0 099 OK",
            "SIP/2.0 700 OK",
            "SIP/2.0 4294967301 better not break",
            "SIP/3.0 200 OK",
            "SIP/2.0 ٢٠٠ OK",
            "\u017fIP/2.0 200 OK",
            "SIP/2.0\x0b200 OK",
            "SIP/2.0 200\x0bOK",
            "INVITE sip:a@b \u017fIP/2.0",
        ):
            self.assertRaises(ParseError, parse_datagram, line.encode() + b"\r\nTo: x\r\n\r\n")


class FramingTests(SynchronousTestCase):
    """Where head and body of a datagram end (RFC 3261 sections 7.5 and 18.3)."""

    def test_line_ends_before_a_message_are_dropped(self) -> None:
        """Section 7.5."""
        self.assertEqual(request(b"\r\n\r\n\n" + HEAD + b"\r\n").method, "OPTIONS")

    def test_a_head_may_end_where_the_datagram_ends(self) -> None:
        """The archive of RFC 4475 has such a message; with or without the last line end it is a head."""
        for data in (HEAD, HEAD[:-2], HEAD + b"\r\n", HEAD + b"\r\n\r\n"):
            self.assertEqual(request(data).headers.lines(), ["To: <sip:a@b>"])
        self.assertEqual(request(b"OPTIONS sip:a@b SIP/2.0").headers.lines(), [])

    def test_bare_line_feeds_end_lines_too(self) -> None:
        """S1.24: on a datagram nothing can be smuggled behind them; mixtures end at the first empty line."""
        for data in (
            HEAD.replace(b"\r\n", b"\n") + b"l: 4\n\nbody",
            HEAD + b"l: 4\n\r\nbody",
            HEAD + b"l: 4\r\n\nbody",
            HEAD.replace(b"\r\n", b"\n", 1) + b"l: 4\r\n\r\nbody",
        ):
            message = request(data)
            self.assertEqual(message.headers.lines(), ["To: <sip:a@b>", "l: 4"])
            self.assertEqual(message.body, b"body")
        message = request(HEAD + b"l: 12\n\nEvil: 1\r\n\r\nX")
        self.assertNotIn("Evil", message.headers)
        self.assertEqual(message.body, b"Evil: 1\r\n\r\nX")

    def test_folds_at_bare_line_feeds_are_printed_with_crlf(self) -> None:
        """What leaves has CRLF everywhere (lesson 53)."""
        message = request(b"OPTIONS sip:a@b SIP/2.0\nSubject: a\n b\n\n")
        self.assertEqual(message.headers.get("Subject"), "a b")
        self.assertEqual(
            message.to_bytes(), b"OPTIONS sip:a@b SIP/2.0\r\nSubject: a\r\n b\r\nContent-Length: 0\r\n\r\n"
        )

    def test_a_bare_carriage_return_is_refused(self) -> None:
        """Some take it for a line end and some do not: that is how a header is smuggled."""
        for data in (HEAD + b"X: a\rEvil: 1\r\n\r\n", HEAD + b"X: a\r\r\n\r\n", b"OPTIONS sip:a@b\r SIP/2.0\r\n\r\n"):
            self.assertRaises(ParseError, parse_datagram, data)

    def test_no_other_separator_ends_a_line(self) -> None:
        """Python knows many line separators, SIP does not."""
        message = request(HEAD + "Subject: a\x0bb\x0cc\x85d\u2028e\u2029f\x1cg\r\n\r\n".encode())
        self.assertEqual(message.headers.get("Subject"), "a\x0bb\x0cc\x85d\u2028e\u2029f\x1cg")

    def test_a_body_is_as_long_as_it_says(self) -> None:
        """Without Content-Length it ends with the datagram; with one, what follows is thrown away (section 18.3)."""
        self.assertEqual(request(HEAD + b"\r\nabc").body, b"abc")
        self.assertEqual(request(HEAD + b"l: 2\r\n\r\nabc").body, b"ab")
        self.assertEqual(request(HEAD + b"Content-Length: 0\r\n\r\nabc").body, b"")
        self.assertEqual(request(HEAD + b"Content-Length:\r\n 002\r\n\r\nabc").body, b"ab")

    def test_an_impossible_length_is_left_to_validation(self) -> None:
        """The body is what is there."""
        for length in ("4", "-1", "x", "", "+2", "1 2", "9" * 30, "٢", "0x2"):
            self.assertEqual(request(HEAD + f"l: {length}\r\n\r\nabc".encode()).body, b"abc")

    def test_bodies_are_octets(self) -> None:
        """Nothing in a body is looked at: NULs, line ends, broken UTF-8, whole messages, multipart."""
        body = b"\0\r\n\r\n\xff\xfeINVITE sip:a@b SIP/2.0\r\n\r\n--boundary\r\n\r\n"
        self.assertEqual(request(HEAD + b"\r\n" + body).body, body)
        self.assertEqual(request(HEAD.replace(b"\r\n", b"\n") + b"\n" + body).body, body)


class StreamTests(SynchronousTestCase):
    """`parse_message`, for what a `StreamFramer` has cut, and `parse_head`."""

    def test_takes_one_message(self) -> None:
        """Head, empty line, body."""
        message = parse_message(HEAD + b"l: 3\r\n\r\nabc")
        self.assertEqual((message.headers.lines(), message.body), (["To: <sip:a@b>", "l: 3"], b"abc"))
        self.assertEqual(parse_message(HEAD + b"\r\n").body, b"")

    def test_refuses_bare_line_feeds_and_open_heads(self) -> None:
        """A stream has CRLF and nothing else."""
        for data in (HEAD, HEAD + b"X: a\nY: b\r\n\r\n", HEAD + b"X: a\rY: b\r\n\r\n", b""):
            self.assertRaises(ParseError, parse_message, data)

    def test_takes_a_head_alone(self) -> None:
        """With or without the end of its last line."""
        self.assertEqual(parse_head(HEAD).headers.lines(), ["To: <sip:a@b>"])
        self.assertEqual(parse_head(HEAD[:-2]).headers.lines(), ["To: <sip:a@b>"])


class BoundTests(SynchronousTestCase):
    """Size and cost."""

    def test_heads_are_bounded(self) -> None:
        """Too many lines, or too many octets, are refused with 513."""
        lines = b"A: 1\r\n" * (MAX_HEADER_LINES - 2)
        self.assertEqual(len(request(HEAD + lines + b"\r\n").headers), MAX_HEADER_LINES - 1)
        for data in (HEAD + lines + b"A: 1\r\nA: 1\r\n\r\n", HEAD + b"A: " + b"x" * MAX_HEAD_OCTETS + b"\r\n\r\n"):
            self.assertEqual(self.assertRaises(ParseError, parse_datagram, data).status, 513)

    def test_long_input_is_cheap(self) -> None:
        """A million header lines, 64 KiB of line ends, folds, colons or blanks: each well under a second."""
        size = 65536
        for data in (
            HEAD + b"A: 1\r\n" * 1_000_000, b"\r\n" * size, HEAD + b"X: 1\r\n" + b" \r\n" * 500, HEAD + b":" * size,
            b" " * size, b"\n" * size + b"x", b"\r" * size, HEAD + b"\r" * size,
            HEAD + b"\n\r" * size, b"SIP/2.0 200" + b" " * size,
            b"X " + b" " * size, HEAD + b"X:" + b" " * 60000 + b"x\r\n\r\n", b"A" * size, b"\xff" * size,
            b"X" * 10 + b"\n " * 500,
        ):  # fmt: skip
            start = time.process_time()
            try:
                message = parse_datagram(data)
                message.headers.get("X")
                message.to_bytes()
            except ParseError:
                continue
            finally:
                self.assertLess(time.process_time() - start, 1.0, data[:20])
