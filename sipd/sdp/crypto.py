"""Keys of SRTP in a session description: the ``a=crypto`` attribute (RFC 4568), with suites of RFC 6188 and RFC 7714.

Key material is printed by ``str`` alone, which is what the wire needs: it is in no ``repr`` and in no error.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from dataclasses import dataclass, field

from sipd.errors import SdpError
from sipd.sdp.description import MediaDescription

#: What one attribute may have: characters, keys, session parameters. Of one media line, so many attributes are read.
_LONGEST = 4096
_KEY_LIMIT = 16
_PARAMETER_LIMIT = 16
_ATTRIBUTE_LIMIT = 32

#: RFC 3711 section 9.2: packets that one master key may protect at most.
MAX_LIFETIME = 2**48
#: RFC 4568 section 6.1: octets of an MKI in the packets.
_MAX_MKI_OCTETS = 128

_TAG = re.compile(r"[0-9]{1,9}")
_SUITE = re.compile(r"[A-Za-z0-9_]{1,64}")
#: The padding may be missing.
_INLINE = re.compile(
    r"(?i:inline):([A-Za-z0-9+/]{1,256})(={0,2})(?:\|(2\^[0-9]{1,2}|[0-9]{1,15}))?(?:\|([0-9]{1,310}):([0-9]{1,3}))?"
)
_PARAMETER = re.compile(r"([!-<>-~]+)(?:=([!-~]*))?")

_FLAG = re.compile("")
#: What follows the names of the session parameters of RFC 4568 section 6.3.
_VALUES = {
    "KDR": re.compile(r"=(?:[0-9]|1[0-9]|2[0-4])"),
    "UNENCRYPTED_SRTP": _FLAG,
    "UNENCRYPTED_SRTCP": _FLAG,
    "UNAUTHENTICATED_SRTP": _FLAG,
    "FEC_ORDER": re.compile(r"=(?:FEC_SRTP|SRTP_FEC)"),
    "FEC_KEY": re.compile(r"=(?i:inline):[!-~]+"),
    "WSH": re.compile(r"=(?:6[4-9]|[7-9][0-9]|[1-9][0-9]{2,4})"),
}


@dataclass(frozen=True, slots=True)
class Suite:
    """A crypto suite.

    Args:
        name: as it is registered.
        key_octets: length of the master key.
        salt_octets: length of the master salt, which follows the key.
        rtp_tag_octets: what follows the MKI in SRTP: the authentication tag; 0 where that is part of the cipher text.
        rtcp_tag_octets: the same in SRTCP.
    """

    name: str
    key_octets: int
    salt_octets: int
    rtp_tag_octets: int
    rtcp_tag_octets: int

    @property
    def master_octets(self) -> int:
        """Length of key and salt together."""
        return self.key_octets + self.salt_octets


#: RFC 4568 section 6.2, RFC 6188 section 5, RFC 7714 section 14.2. Strongest first.
AEAD_AES_256_GCM = Suite("AEAD_AES_256_GCM", 32, 12, 0, 0)
AEAD_AES_128_GCM = Suite("AEAD_AES_128_GCM", 16, 12, 0, 0)
AES_256_CM_HMAC_SHA1_80 = Suite("AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10)
AES_CM_128_HMAC_SHA1_80 = Suite("AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10)
AES_256_CM_HMAC_SHA1_32 = Suite("AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10)
AES_CM_128_HMAC_SHA1_32 = Suite("AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10)

SUITES = {
    suite.name: suite
    for suite in (
        AEAD_AES_256_GCM,
        AEAD_AES_128_GCM,
        AES_256_CM_HMAC_SHA1_80,
        AES_CM_128_HMAC_SHA1_80,
        AES_256_CM_HMAC_SHA1_32,
        AES_CM_128_HMAC_SHA1_32,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mki:
    """The identifier of a master key in the packets (RFC 3711 section 3.1).

    Args:
        value: fits into the octets.
        size_octets: 1 to 128.
    """

    value: int
    size_octets: int

    def to_bytes(self) -> bytes:
        """Give it as it is in the packets."""
        return self.value.to_bytes(self.size_octets, "big")

    def __str__(self) -> str:
        return f"{self.value}:{self.size_octets}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParameter:
    """One ``inline:`` key (RFC 4568 section 6.1).

    Args:
        master: master key, then master salt.
        lifetime: packets that it may protect: 1 to 2**48; ``None`` if it does not say.
        mki: what says in a packet that it is this key's; ``None`` if nothing does.
    """

    master: bytes = field(repr=False)
    lifetime: int | None = None
    mki: Mki | None = None

    def __str__(self) -> str:
        parts = ["inline:" + b64encode(self.master).decode()]
        if self.lifetime is not None:
            exponent = self.lifetime.bit_length() - 1
            parts.append(f"2^{exponent}" if exponent and self.lifetime == 1 << exponent else str(self.lifetime))
        if self.mki is not None:
            parts.append(str(self.mki))
        return "|".join(parts)


@dataclass(frozen=True, slots=True)
class SessionParameter:
    """One session parameter (RFC 4568 section 6.3).

    Args:
        name: ``KDR``, ``WSH``, ...; with the ``-`` before it, if whoever does not know it may pass over it.
        value: what follows ``=``; ``None`` if there is none. Not in the ``repr``: that of FEC_KEY is a key.
    """

    name: str
    value: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"

    @property
    def asks_for_nothing(self) -> bool:
        """Whether it can be passed over by who does no more than RFC 3711 asks for.

        The window size is a hint, and no key derivation rate is the default. Others would change what the packets are:
        no encryption, no authentication, another order with FEC, or something nobody here knows.
        """
        return self.name[0] == "-" or self.name == "WSH" or (self.name == "KDR" and self.value == "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CryptoAttribute:
    """The value of an ``a=crypto`` attribute (RFC 4568 section 4).

    Args:
        tag: 0 to 999999999.
        suite: its name in upper case, which need not be known.
        keys: at least one; several have an MKI of the same length each.
        parameters: in order.
    """

    tag: int
    suite: str
    keys: tuple[KeyParameter, ...]
    parameters: tuple[SessionParameter, ...] = ()

    @classmethod
    def parse(cls, text: str) -> CryptoAttribute:
        """Parse ``1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 KDR=0``.

        Args:
            text: the value of the attribute; at most 4096 characters, 16 keys and 16 session parameters.

        Raises:
            SdpError: it is not that, or a key has not the length that a known suite wants.
        """
        fields = text.split(" ") if len(text) <= _LONGEST else []
        fields = [each for each in fields if each]
        if len(fields) < 3 or not _TAG.fullmatch(fields[0]) or not _SUITE.fullmatch(fields[1]):
            raise SdpError("crypto attribute that is not a tag, a suite and a key")
        name = fields[1].upper()
        if len(fields) - 3 > _PARAMETER_LIMIT:
            raise SdpError("crypto attribute with too many session parameters")
        parameters = tuple([_parse_parameter(each) for each in fields[3:]])
        names = [each.name for each in parameters if each.name in _VALUES]
        if len(set(names)) < len(names):
            raise SdpError("crypto attribute that has a session parameter twice")
        return cls(tag=int(fields[0]), suite=name, keys=_parse_keys(fields[2], SUITES.get(name)), parameters=parameters)

    def __str__(self) -> str:
        return " ".join([str(self.tag), self.suite, ";".join(map(str, self.keys)), *map(str, self.parameters)])


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpKey:
    """What protects one direction of a stream.

    Args:
        suite: what it is for.
        master: master key, then master salt, of the length that the suite has.
        mki: what each packet says it by; ``None`` if packets do not.

    Raises:
        ValueError: the length is another.
    """

    suite: Suite
    master: bytes = field(repr=False)
    mki: Mki | None = None

    def __post_init__(self) -> None:
        if len(self.master) != self.suite.master_octets:
            raise ValueError(f"key for {self.suite.name} that has not {self.suite.master_octets} octets")


def read_crypto(media: MediaDescription) -> list[CryptoAttribute]:
    """Give the crypto attributes of a stream in order, that is in the order of preference (RFC 4568 section 5.1.1).

    What is malformed is left out, and so is one with the tag of another, and what comes after the first 32.
    """
    found: dict[int, CryptoAttribute] = {}
    values = [value for name, value in media.attributes if name == "crypto" and value is not None]
    for value in values[:_ATTRIBUTE_LIMIT]:
        try:
            attribute = CryptoAttribute.parse(value)
        except SdpError:
            continue
        found.setdefault(attribute.tag, attribute)
    return list(found.values())


def _parse_keys(text: str, suite: Suite | None) -> tuple[KeyParameter, ...]:
    """Give the keys of ``inline:...;inline:...``, or raise `SdpError`."""
    parts = text.split(";")
    if len(parts) > _KEY_LIMIT:
        raise SdpError("crypto attribute with too many keys")
    keys = tuple([_parse_key(part) for part in parts])
    if suite is not None and any(len(key.master) != suite.master_octets for key in keys):
        raise SdpError(f"crypto attribute whose key has not the length of {suite.name}")
    if len(keys) > 1:
        identifiers = {key.mki for key in keys if key.mki is not None}
        if len(identifiers) < len(keys) or len({mki.size_octets for mki in identifiers}) > 1:
            raise SdpError("crypto attribute with several keys that nothing tells apart")
    return keys


def _parse_key(text: str) -> KeyParameter:
    """Give one key, or raise `SdpError`."""
    found = _INLINE.fullmatch(text)
    if found is None:
        raise SdpError("crypto attribute with a key that is not inline, or malformed")
    encoded, padding, lifetime, mki, mki_octets = found.groups()
    missing = -len(encoded) % 4
    if missing == 3 or (padding and len(padding) != missing):
        raise SdpError("crypto attribute with a key that is not base64")
    return KeyParameter(
        master=binascii.a2b_base64(encoded + "=" * missing),
        lifetime=None if lifetime is None else _parse_lifetime(lifetime),
        mki=None if mki is None else _parse_mki(mki, mki_octets),
    )


def _parse_lifetime(text: str) -> int:
    """Give a number of packets, or raise `SdpError`."""
    lifetime = 1 << int(text[2:]) if text.startswith("2^") else int(text)
    if not 0 < lifetime <= MAX_LIFETIME:
        raise SdpError("crypto attribute with a lifetime that no key has")
    return lifetime


def _parse_mki(value: str, size: str) -> Mki:
    """Give an MKI, or raise `SdpError`."""
    mki = Mki(value=int(value), size_octets=int(size))
    if not 0 < mki.size_octets <= _MAX_MKI_OCTETS or mki.value >> 8 * mki.size_octets:
        raise SdpError("crypto attribute with an MKI that does not fit")
    return mki


def _parse_parameter(text: str) -> SessionParameter:
    """Give one session parameter, or raise `SdpError`."""
    found = _PARAMETER.fullmatch(text)
    if found is None:
        raise SdpError("crypto attribute with a session parameter that is not one")
    name, value = found.groups()
    wanted = _VALUES.get(name)
    if wanted is not None and not wanted.fullmatch("" if value is None else f"={value}"):
        raise SdpError(f"crypto attribute with a {name} that is malformed")
    return SessionParameter(name, value)
