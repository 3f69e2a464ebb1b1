"""STUN messages (RFC 8489 sections 5 and 14), with the attributes of TURN (RFC 8656) and ICE (RFC 8445), as values.

A media port takes STUN beside RTP, RTCP and DTLS (RFC 7983): `is_stun` tells them apart.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from ipaddress import ip_address
from zlib import crc32

from sipd.errors import ParseError

#: The fixed octets 4 to 7 of every STUN message.
MAGIC_COOKIE = b"\x21\x12\xa4\x42"
#: Octets of a transaction id.
TRANSACTION_SIZE = 12
#: A message with more attributes than this is not parsed.
MAX_ATTRIBUTES = 64
#: Methods above are reserved, since their messages would look like something else (RFC 8489 section 18.2).
MAX_METHOD = 0xFF

_HEADER_SIZE = 20
_ATTRIBUTE_HEADER_SIZE = 4
_LENGTH_LIMIT = 0xFFFC
_INTEGRITY_SIZE = 20
_FINGERPRINT_SIZE = 4
_FINGERPRINT_XOR = 0x5354554E
#: Attributes from here on may be passed over by who does not know them (RFC 8489 section 14).
_FIRST_OPTIONAL = 0x8000
_IPV4, _IPV6 = 1, 2
_ADDRESS_SIZES = {_IPV4: 4, _IPV6: 16}
#: Characters of a reason phrase (RFC 8489 section 14.8).
_REASON_LIMIT = 127


class Kind(Enum):
    """The class of a message, as its two bits have it (RFC 8489 section 5)."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Method(IntEnum):
    """RFC 8489 section 18.2, RFC 8656 section 17."""

    BINDING = 1
    ALLOCATE = 3
    REFRESH = 4
    SEND = 6
    DATA = 7
    CREATE_PERMISSION = 8
    CHANNEL_BIND = 9


class Attribute(IntEnum):
    """RFC 8489 section 18.3, RFC 8656 section 18, RFC 8445 section 16.1."""

    MAPPED_ADDRESS = 0x01
    USERNAME = 0x06
    MESSAGE_INTEGRITY = 0x08
    ERROR_CODE = 0x09
    UNKNOWN_ATTRIBUTES = 0x0A
    CHANNEL_NUMBER = 0x0C
    LIFETIME = 0x0D
    XOR_PEER_ADDRESS = 0x12
    DATA = 0x13
    REALM = 0x14
    NONCE = 0x15
    XOR_RELAYED_ADDRESS = 0x16
    REQUESTED_TRANSPORT = 0x19
    DONT_FRAGMENT = 0x1A
    XOR_MAPPED_ADDRESS = 0x20
    PRIORITY = 0x24
    USE_CANDIDATE = 0x25
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


_KNOWN = frozenset(int(kind) for kind in Attribute)


@dataclass(frozen=True, slots=True)
class StunMessage:
    """One STUN message.

    Args:
        method: 0 to 255; those that are known are in `Method`.
        kind: request, indication, success or error.
        transaction: the transaction id, 12 octets.
        attributes: type and value of each, in order. Where one comes twice, the first counts.
        octets: as it was received; only `parse` gives it.

    Raises:
        ValueError: a method or a transaction id out of bounds.
    """

    method: int
    kind: Kind
    transaction: bytes
    attributes: tuple[tuple[int, bytes], ...] = ()
    octets: bytes = field(default=b"", repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not 0 <= self.method <= MAX_METHOD:
            raise ValueError(f"no STUN method {self.method}")
        if len(self.transaction) != TRANSACTION_SIZE:
            raise ValueError(f"a transaction id has {TRANSACTION_SIZE} octets, not {len(self.transaction)}")

    @classmethod
    def parse(cls, data: bytes) -> StunMessage:
        """Parse one datagram as one message.

        What comes after MESSAGE-INTEGRITY does not count and is left out, but for FINGERPRINT (RFC 8489 section
        14.5). A FINGERPRINT is checked.

        Raises:
            ParseError: it is no STUN message, is cut off, has more than `MAX_ATTRIBUTES` attributes, or its
                FINGERPRINT is wrong or not at its end.
        """
        if not is_stun(data):
            raise ParseError("not a STUN message")
        attributes: list[tuple[int, bytes]] = []
        is_protected = False
        position = _HEADER_SIZE
        for _ in range(MAX_ATTRIBUTES + 1):
            if position == len(data):
                break
            # Everything is a multiple of four octets, so that an attribute's header is never cut off.
            kind = int.from_bytes(data[position : position + 2], "big")
            size = int.from_bytes(data[position + 2 : position + 4], "big")
            start = position + _ATTRIBUTE_HEADER_SIZE
            end = start + size + -size % 4
            if end > len(data):
                raise ParseError("a STUN attribute is longer than its message")
            value = data[start : start + size]
            if kind == Attribute.FINGERPRINT:
                if end != len(data) or value != _fingerprint(data[:position]):
                    raise ParseError("the FINGERPRINT of a STUN message is wrong")
                attributes.append((kind, value))
            elif not is_protected:
                attributes.append((kind, value))
                is_protected = kind == Attribute.MESSAGE_INTEGRITY
            position = end
        else:
            raise ParseError(f"a STUN message with more than {MAX_ATTRIBUTES} attributes")
        number = int.from_bytes(data[:2], "big")
        return cls(
            method=(number & 0x000F) | (number & 0x00E0) >> 1 | (number & 0x3E00) >> 2,
            kind=Kind((number & 0x0010) >> 4 | (number & 0x0100) >> 7),
            transaction=data[8:_HEADER_SIZE],
            attributes=tuple(attributes),
            octets=data,
        )

    def to_bytes(self, *, key: bytes | None = None, with_fingerprint: bool = False) -> bytes:
        """Print the message.

        A MESSAGE-INTEGRITY or FINGERPRINT among the attributes is left out: both are made here.

        Args:
            key: what to sign with, at the end of the attributes; ``None`` not to.
            with_fingerprint: add a FINGERPRINT (RFC 8489 section 14.7).

        Raises:
            ValueError: it is longer than its length fields can say.
        """
        body = b"".join(
            _attribute(kind, value)
            for kind, value in self.attributes
            if kind not in (Attribute.MESSAGE_INTEGRITY, Attribute.FINGERPRINT)
        )
        if len(body) > _LENGTH_LIMIT - 2 * _ATTRIBUTE_HEADER_SIZE - _INTEGRITY_SIZE - _FINGERPRINT_SIZE:
            raise ValueError("a STUN message is too long")
        number = self.method & 0x0F | (self.method & 0x70) << 1 | (self.method & 0xF80) << 2
        number |= (self.kind.value & 1) << 4 | (self.kind.value & 2) << 7
        data = _with_length(number.to_bytes(2, "big") + b"\0\0" + MAGIC_COOKIE + self.transaction + body)
        if key is not None:
            data = _with_length(data + _attribute(Attribute.MESSAGE_INTEGRITY, _integrity(data, key)))
        if with_fingerprint:
            counted = _with_length(data, more=_ATTRIBUTE_HEADER_SIZE + _FINGERPRINT_SIZE)
            data = counted + _attribute(Attribute.FINGERPRINT, _fingerprint(counted))
        return data

    def get(self, kind: int) -> bytes | None:
        """Give the value of the first attribute of that type, or ``None`` if there is none."""
        for each, value in self.attributes:
            if each == kind:
                return value
        return None

    def is_signed_with(self, key: bytes) -> bool:
        """Say whether this message, as it was received, has a MESSAGE-INTEGRITY made with that key.

        ``False`` if it has none, and for a message that was not parsed. The time that it takes says nothing of the
        key (RFC 8489 section 14.5).
        """
        found = self.get(Attribute.MESSAGE_INTEGRITY)
        if found is None or not self.octets:
            return False
        position = _HEADER_SIZE
        for kind, value in self.attributes:
            if kind == Attribute.MESSAGE_INTEGRITY:
                break
            position += _ATTRIBUTE_HEADER_SIZE + len(value) + -len(value) % 4
        return hmac.compare_digest(found, _integrity(self.octets[:position], key))

    @property
    def mapped_address(self) -> tuple[str, int] | None:
        """XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS; ``None`` if there is none, or it cannot be read."""
        try:
            if (value := self.get(Attribute.XOR_MAPPED_ADDRESS)) is not None:
                return read_xor_address(value, self.transaction)
            if (value := self.get(Attribute.MAPPED_ADDRESS)) is not None:
                return read_address(value)
        except ParseError:
            return None
        return None

    @property
    def error_code(self) -> tuple[int, str] | None:
        """ERROR-CODE: 300 to 699, and its reason phrase, cut at 127 characters, all of them printable.

        ``None`` if there is none, or it cannot be read (RFC 8489 section 14.8).
        """
        value = self.get(Attribute.ERROR_CODE)
        if value is None or len(value) < 4:
            return None
        hundreds, rest = value[2] & 7, value[3]
        if not 3 <= hundreds <= 6 or rest > 99:
            return None
        reason = value[4:].decode(errors="replace")[:_REASON_LIMIT]
        return hundreds * 100 + rest, "".join(each if each.isprintable() else "\ufffd" for each in reason)

    @property
    def unknown_required(self) -> tuple[int, ...]:
        """The types of attributes that must be understood and are not in `Attribute`, each once, in order."""
        return tuple(
            dict.fromkeys(kind for kind, _ in self.attributes if kind < _FIRST_OPTIONAL and kind not in _KNOWN)
        )


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


def xor_address(address: tuple[str, int], transaction: bytes) -> bytes:
    """Write an address as XOR-MAPPED-ADDRESS has it (RFC 8489 section 14.2).

    Args:
        address: an IPv4 or IPv6 address as text, and a port.
        transaction: the id of the message, 12 octets.

    Raises:
        ValueError: the text is no address, or the port is none.
    """
    host, port = address
    packed = ip_address(host).packed
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"no port: {port}")
    family = _IPV4 if len(packed) == _ADDRESS_SIZES[_IPV4] else _IPV6
    return bytes((0, family)) + _xor(port.to_bytes(2, "big") + packed, transaction)


def read_xor_address(value: bytes, transaction: bytes) -> tuple[str, int]:
    """Read the value of XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS or XOR-RELAYED-ADDRESS.

    Raises:
        ParseError: its family is not known, or its size is not that of its family.
    """
    return read_address(value[:2] + _xor(value[2:], transaction))


def read_address(value: bytes) -> tuple[str, int]:
    """Read the value of MAPPED-ADDRESS or ALTERNATE-SERVER (RFC 8489 section 14.1).

    Raises:
        ParseError: its family is not known, or its size is not that of its family.
    """
    if len(value) < 4 or len(value) - 4 != _ADDRESS_SIZES.get(value[1]):
        raise ParseError("an address in a STUN message cannot be read")
    return str(ip_address(value[4:])), int.from_bytes(value[2:4], "big")


def error_code_value(code: int, reason: str) -> bytes:
    """Write the value of ERROR-CODE: 300 to 699, and a reason of which 127 characters are taken.

    Raises:
        ValueError: no such code.
    """
    if not 300 <= code <= 699:
        raise ValueError(f"no STUN error code: {code}")
    return bytes((0, 0, code // 100, code % 100)) + reason[:_REASON_LIMIT].encode()


def unknown_attributes_value(kinds: tuple[int, ...]) -> bytes:
    """Write the value of UNKNOWN-ATTRIBUTES, which a 420 has (RFC 8489 section 14.9)."""
    return b"".join(kind.to_bytes(2, "big") for kind in kinds)


def long_term_key(user: str, realm: str, password: str) -> bytes:
    """Give the key of a long-term credential (RFC 8489 section 9.2.2).

    That of a short-term one is the password in UTF-8 (section 9.1.1).
    """
    text = ":".join(unicodedata.normalize("NFC", each) for each in (user, realm, password))
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def _attribute(kind: int, value: bytes) -> bytes:
    if len(value) > _LENGTH_LIMIT:
        raise ValueError("the value of a STUN attribute is too long")
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)


def _with_length(data: bytes, *, more: int = 0) -> bytes:
    """Write the length field anew, as if `more` octets followed."""
    return data[:2] + (len(data) - _HEADER_SIZE + more).to_bytes(2, "big") + data[4:]


def _integrity(data: bytes, key: bytes) -> bytes:
    """Sign what comes before the attribute; the length field counts the attribute itself (RFC 8489 section 14.5)."""
    return hmac.digest(key, _with_length(data, more=_ATTRIBUTE_HEADER_SIZE + _INTEGRITY_SIZE), "sha1")


def _fingerprint(data: bytes) -> bytes:
    """Give the CRC of what comes before the attribute (RFC 8489 section 14.7)."""
    return (crc32(data) ^ _FINGERPRINT_XOR).to_bytes(_FINGERPRINT_SIZE, "big")


def _xor(value: bytes, transaction: bytes) -> bytes:
    """Turn a port and an address, either way: the port with the cookie's first half, the address from its start."""
    mask = MAGIC_COOKIE[:2] + MAGIC_COOKIE + transaction
    return bytes(octet ^ other for octet, other in zip(value, mask, strict=False)) + value[len(mask) :]
