"""STUN on a media port: only how to recognise it (RFC 8489 section 5, RFC 7983)."""

from __future__ import annotations

#: The fixed octets 4 to 7 of every STUN message.
MAGIC_COOKIE = b"\x21\x12\xa4\x42"

_HEADER_SIZE = 20


def is_stun(data: bytes) -> bool:
    """Say whether a datagram is a STUN message rather than RTP, RTCP or DTLS.

    Its two first bits are zero, the magic cookie is there, and its length field says how long it is.
    """
    return (
        len(data) >= _HEADER_SIZE
        and data[0] < 4
        and data[4:8] == MAGIC_COOKIE
        and int.from_bytes(data[2:4], "big") == len(data) - _HEADER_SIZE
        and len(data) % 4 == 0
    )
