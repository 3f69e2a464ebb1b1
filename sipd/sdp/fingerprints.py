"""Certificates and roles of DTLS in a session description: ``a=fingerprint`` (RFC 8122) and ``a=setup`` (RFC 4145).

Who is client and who is server, and what an endpoint that gets no ``a=setup`` takes it for: RFC 4145 section 4,
RFC 5763 section 5, RFC 8842 section 5.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from sipd.errors import SdpError
from sipd.sdp.description import MediaDescription, Section, SessionDescription

#: Hash functions that are looked at, and octets of what they give; strongest first. Others never match.
ALGORITHMS = {"sha-512": 64, "sha-384": 48, "sha-256": 32}
#: Of one section, so many fingerprints are read.
_LIMIT = 32
#: The longest value of an attribute: a name, and 64 octets in hexadecimal with colons.
_LONGEST = 256

_VALUE = re.compile(r"([!#$%&'*+\-.^_`{|}~0-9A-Za-z]{1,32}) +([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*)")

T = TypeVar("T", bound=Section)


class Setup(Enum):
    """What a side says of its role (RFC 4145 section 4.1, RFC 8842 section 5.2)."""

    #: In an offer: either.
    ACTPASS = "actpass"
    #: It begins: the client of DTLS.
    ACTIVE = "active"
    #: It waits: the server of DTLS.
    PASSIVE = "passive"

    __hash__ = object.__hash__


_ROLES = {role.value: role for role in Setup}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The value of an ``a=fingerprint`` attribute (RFC 8122 section 5).

    Args:
        algorithm: the name of the hash function, in lower case: ``sha-256``.
        octets: the hash of the certificate in DER; of any length if the hash function is not one of `ALGORITHMS`.

    Raises:
        ValueError: the hash function gives another number of octets.
    """

    algorithm: str
    octets: bytes

    def __post_init__(self) -> None:
        if ALGORITHMS.get(self.algorithm, len(self.octets)) != len(self.octets):
            raise ValueError(f"fingerprint of {len(self.octets)} octets, which is not what {self.algorithm} gives")

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Parse ``sha-256 4A:AD:B9:...``; small letters are taken, too.

        Raises:
            SdpError: it is not that, has more than 256 characters, or not the length that a known hash function gives.
        """
        found = _VALUE.fullmatch(text.strip(" ")) if len(text) <= _LONGEST else None
        if found is None:
            raise SdpError("fingerprint that is not a hash function and octets")
        try:
            return cls(found[1].lower(), bytes.fromhex(found[2].replace(":", "")))
        except ValueError as error:
            raise SdpError(str(error)) from None

    @classmethod
    def of(cls, certificate: bytes, algorithm: str = "sha-256") -> Fingerprint:
        """Give that of a certificate.

        Args:
            certificate: in DER.
            algorithm: one of `ALGORITHMS`.

        Raises:
            ValueError: the hash function is none of them.
        """
        if algorithm not in ALGORITHMS:
            raise ValueError(f"hash function {algorithm}: one of {', '.join(ALGORITHMS)} expected")
        return cls(algorithm, hashlib.new(algorithm.replace("-", ""), certificate).digest())

    def __str__(self) -> str:
        return f"{self.algorithm} {self.octets.hex(':').upper()}"

    @property
    def is_known(self) -> bool:
        """Whether its hash function is one of `ALGORITHMS`."""
        return self.algorithm in ALGORITHMS


def matches(certificate: bytes, expected: Sequence[Fingerprint]) -> bool:
    """Say whether a certificate is one of those that the peer named.

    Of the hash functions that are known the strongest one decides, whatever is said by others (RFC 8122 section 5.1).
    Each comparison takes a time that does not depend on what is compared.

    Args:
        certificate: in DER.
        expected: what the description of the peer says; without one of a known hash function, nothing matches.
    """
    named = {fingerprint.algorithm for fingerprint in expected}
    algorithm = next((each for each in ALGORITHMS if each in named), None)
    if algorithm is None:
        return False
    own = Fingerprint.of(certificate, algorithm).octets
    return any(hmac.compare_digest(own, each.octets) for each in expected if each.algorithm == algorithm)


def answer_setup(offered: Setup | None) -> Setup:
    """Give the role to say in an answer: passive, if the peer lets us (RFC 5763 section 5).

    Who waits needs to send nothing before it has been heard of, and the offerer has got the answer when it begins.

    Args:
        offered: what the offer says; ``None``, if it says nothing, is active (RFC 4145 section 4).
    """
    return Setup.ACTIVE if offered is Setup.PASSIVE else Setup.PASSIVE


def offerer_setup(answered: Setup | None) -> Setup:
    """Give the role of who offered, and said ``actpass``, by what the answer says.

    Args:
        answered: ``None``, if it says nothing, is passive (RFC 4145 section 4).

    Raises:
        SdpError: it leaves the choice to us, which an answer may not.
    """
    if answered is Setup.ACTPASS:
        raise SdpError("answer that does not say who begins with DTLS")
    return Setup.PASSIVE if answered is Setup.ACTIVE else Setup.ACTIVE


def read_fingerprints(description: SessionDescription, media: MediaDescription) -> tuple[Fingerprint, ...]:
    """Give the fingerprints of a stream: its own or, if it has none, those of the session (RFC 8122 section 5).

    What is malformed is left out, and so is what comes after the first 32. A stream that has malformed ones alone has
    none: those of the session are for streams that say nothing.
    """
    for section in (media, description):
        values = [value for name, value in section.attributes if name == "fingerprint"]
        if values:
            return tuple(_parse_all([value for value in values[:_LIMIT] if value is not None]))
    return ()


def read_setup(description: SessionDescription, media: MediaDescription) -> Setup | None:
    """Give what is said of the role for a stream: by itself or, if it says nothing, by the session.

    Returns:
        The role; ``None`` if nothing is said, or nothing that DTLS has a use for.
    """
    own = media.attribute("setup")
    value = description.attribute("setup") if own is None else own
    return None if value is None else _ROLES.get(value.strip(" ").lower())


def with_dtls(section: T, fingerprints: Iterable[Fingerprint], setup: Setup | None = None) -> T:
    """Give a stream, or a session for all of its streams, with those fingerprints and that role, and no others.

    Args:
        section: what they are to be in.
        fingerprints: in order; none to have none.
        setup: ``None`` to say nothing.
    """
    attributes = [f"fingerprint:{fingerprint}" for fingerprint in fingerprints]
    if setup is not None:
        attributes.append(f"setup:{setup.value}")
    return section.without_attributes(("fingerprint", "setup")).with_more_attributes(attributes)


def _parse_all(values: Sequence[str]) -> Iterable[Fingerprint]:
    for value in values:
        try:
            yield Fingerprint.parse(value)
        except SdpError:
            continue
