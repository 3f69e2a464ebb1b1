"""Tests of `sipd.rtp.stun`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.rtp.stun import MAGIC_COOKIE, is_stun

BINDING_REQUEST = b"\0\1\0\0" + MAGIC_COOKIE + bytes(12)


class StunTests(SynchronousTestCase):
    """RFC 8489 section 5."""

    def test_recognises_messages(self) -> None:
        """Requests, indications and responses, with attributes and without, are STUN."""
        self.assertTrue(is_stun(BINDING_REQUEST))
        self.assertTrue(is_stun(b"\1\1\0\4" + MAGIC_COOKIE + bytes(16)))

    def test_everything_else_is_not(self) -> None:
        """RTP, RTCP, DTLS, a wrong cookie or a wrong length are not STUN."""
        for data in (
            b"",
            b"\r\n\r\n",
            BINDING_REQUEST[:-1],
            BINDING_REQUEST + b"\0\0\0\0",
            b"\x80" + BINDING_REQUEST[1:],
            b"\x16\xfe\xfd" + BINDING_REQUEST[3:],
            BINDING_REQUEST[:4] + bytes(16),
            b"\0\1\0\1" + MAGIC_COOKIE + bytes(13),
        ):
            self.assertFalse(is_stun(data), data)
