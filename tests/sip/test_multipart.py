"""Bodies of several parts (RFC 5621)."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.multipart import find_part

BODY = (
    b"a preamble\r\n--frontier\r\nContent-Type: application/isup; version=itu-t\r\n\r\n\x01\x00\xff\r\n"
    b"--frontier\r\nContent-Disposition: session\r\ncontent-type:\r\n application/sdp\r\n\r\nv=0\r\ns=-\r\n"
    b"--frontier--\r\nan epilogue"
)
KIND = 'multipart/mixed; boundary="frontier"'


class FindPartTests(SynchronousTestCase):
    """Where a part stands."""

    def test_finds_a_part_by_its_type(self) -> None:
        """The content of the part comes without its header fields and without the line end before the boundary."""
        place = find_part(BODY, KIND, "application/sdp")
        assert place is not None
        self.assertEqual(BODY[place[0] : place[1]], b"v=0\r\ns=-")

    def test_finds_binary_parts(self) -> None:
        """Octets that are no text are content like any other."""
        place = find_part(BODY, KIND, "application/isup")
        assert place is not None
        self.assertEqual(BODY[place[0] : place[1]], b"\x01\x00\xff")

    def test_says_that_there_is_none(self) -> None:
        """A type that no part has gives None."""
        self.assertIsNone(find_part(BODY, KIND, "application/pidf+xml"))

    def test_part_without_header_fields_is_plain_text(self) -> None:
        """RFC 2046 section 5.1: the empty line stands right after the boundary."""
        body = b"--b\r\n\r\nhello\r\n--b--"
        place = find_part(body, "multipart/mixed;boundary=b", "text/plain")
        assert place is not None
        self.assertEqual(body[place[0] : place[1]], b"hello")

    def test_nothing_counts_after_the_last_boundary(self) -> None:
        """What looks like a part in the epilogue is none (RFC 2046 section 5.1.1)."""
        body = b"--b\r\n\r\nhello\r\n--b--\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\n"
        self.assertIsNone(find_part(body, "multipart/mixed;boundary=b", "application/sdp"))

    def test_empty_parts(self) -> None:
        """A part without a line, or without an end of its header fields, is passed over."""
        sdp = b"--b\r\nc: application/sdp\r\n\r\nv=0\r\n--b--"
        for empty in (b"--b\r\n", b"--b \r\n\r\n", b"--b\r\nContent-Type: application/sdp\r\n"):
            body = empty + sdp
            place = find_part(body, "multipart/mixed;boundary=b", "application/sdp")
            assert place is not None
            self.assertEqual(body[place[0] : place[1]], b"v=0")
            self.assertIsNone(find_part(empty + b"--b--", "multipart/mixed;boundary=b", "application/sdp"))

    def test_boundary_of_any_octets(self) -> None:
        """A boundary that is no text is found all the same: nobody else has to like it."""
        body = b"--\xff.\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--\xff.--"
        place = find_part(body, 'multipart/mixed; boundary="\udcff."', "application/sdp")
        assert place is not None
        self.assertEqual(body[place[0] : place[1]], b"v=0")

    def test_type_of_any_octets(self) -> None:
        """A part whose type is no text is of another type."""
        body = b"--b\r\nContent-Type: application/\xff\r\n\r\nv=0\r\n--b--"
        self.assertIsNone(find_part(body, "multipart/mixed; boundary=b", "application/sdp"))

    def test_needs_its_boundary(self) -> None:
        """Without a boundary parameter, or without the boundary, the parts cannot be told apart."""
        self.assertRaises(ParseError, find_part, BODY, "multipart/mixed", "application/sdp")
        self.assertRaises(ParseError, find_part, b"nothing", KIND, "application/sdp")

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=80), st.sampled_from([KIND, "multipart/mixed;boundary=b", "multipart/x", ";;;"]))
    def test_raises_nothing_but_parse_error(self, noise: bytes, kind: str) -> None:
        """Whatever the octets, there is a place, no place, or a ParseError."""
        for body in (noise, b"--b\r\n" + noise + b"\r\n--b--", BODY.replace(b"session", noise)):
            with contextlib.suppress(ParseError):
                find_part(body, kind, "application/sdp")
