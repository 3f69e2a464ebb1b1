"""The records of DTLS in datagrams: RFC 6347 section 4.1, RFC 7983.

Nothing inside of a record is looked at: only where it ends, and of which type and epoch it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

#: Type, version, epoch, sequence number, length.
_HEADER_OCTETS = 13
#: RFC 6347 section 4.1, and RFC 5246 section 6.2.3 for what encryption adds.
_MAX_RECORD_OCTETS = _HEADER_OCTETS + 2**14 + 2048
#: DTLS 1.0, which the first flights of others may say, and 1.2.
_VERSIONS = (b"\xfe\xff", b"\xfe\xfd")


class ContentType(IntEnum):
    """The first octet of a record (RFC 5246 section 6.2.1)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


_TYPES = frozenset(ContentType)


def is_dtls(data: bytes) -> bool:
    """Say whether a datagram of a port that RTP, STUN and DTLS share is for DTLS (RFC 7983 section 7)."""
    return bool(data) and 20 <= data[0] <= 63


def split_records(data: bytes) -> list[bytes]:
    """Give the records of one datagram.

    Args:
        data: the datagram, or several in one piece.

    Returns:
        The records in order, each with its header. What follows one that is cut off, of no known type or of another
        version is left out with it: nobody can tell where the next one begins (RFC 6347 section 4.1.2.7).
    """
    records: list[bytes] = []
    start = 0
    while start + _HEADER_OCTETS <= len(data):
        end = start + _HEADER_OCTETS + int.from_bytes(data[start + 11 : start + _HEADER_OCTETS], "big")
        is_good = data[start] in _TYPES and data[start + 1 : start + 3] in _VERSIONS
        if not is_good or end > len(data) or end - start > _MAX_RECORD_OCTETS:
            break
        records.append(data[start:end])
        start = end
    return records


def pack_records(records: Iterable[bytes], limit_octets: int) -> list[bytes]:
    """Give records as datagrams: as few as can be, each one ending where a record ends.

    Args:
        records: in order.
        limit_octets: the largest datagram. A record that is larger goes alone.
    """
    datagrams: list[bytes] = []
    for record in records:
        if datagrams and len(datagrams[-1]) + len(record) <= limit_octets:
            datagrams[-1] += record
        else:
            datagrams.append(record)
    return datagrams
