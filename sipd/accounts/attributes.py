"""Digest in RADIUS: the attributes of a question (RFC 2865, RFC 5090, draft-sterman-aaa-sip).

The draft's form is what FreeRADIUS, Kamailio and Sippy understand: one attribute whose parts are what RFC 5090 later
made attributes of their own.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import Enum

from pyrad.dictionary import Dictionary
from pyrad.packet import AccessRequest, AuthPacket

from sipd.interfaces import DigestProof, Entropy

_DICTIONARY = """\
ATTRIBUTE User-Name 1 string
ATTRIBUTE Service-Type 6 integer
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Message-Authenticator 80 octets
"""
#: Service-Type of a request that is no call of its own (Kamailio's and Sippy's dictionaries: Sip-Session).
_SIP_SESSION = 15
_DIGEST_RESPONSE = 103
_OLD_DIGEST_RESPONSE = 206
_OLD_DIGEST_ATTRIBUTES = 207
#: Octets of an attribute's value (RFC 2865 section 5), and of one inside of another.
_MAX_VALUE = 253
_MAX_INNER_VALUE = _MAX_VALUE - 2


class DigestForm(Enum):
    """How a digest is put into attributes."""

    #: draft-sterman-aaa-sip-00: Digest-Response 206, Digest-Attributes 207.
    STERMAN = "sterman"
    #: RFC 5090 (and RFC 4590): attributes 103 to 122.
    RFC5090 = "rfc5090"

    __hash__ = object.__hash__


class UnfitProofError(Exception):
    """A proof that has a value too long for an attribute: no server can be asked about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSettings:
    """What questions look like.

    Args:
        form: of the digest.
        has_realm: whether User-Name is ``user@realm``, as Kamailio sends it, or the user alone.
        nas_identifier: who asks (RFC 2865 section 5.32).
    """

    form: DigestForm = DigestForm.STERMAN
    has_realm: bool = False
    nas_identifier: str = "sipd"


class QuestionMaker:
    """Makes questions.

    Args:
        settings: what they look like.
        entropy: for the request authenticators.
    """

    def __init__(self, settings: QuestionSettings, entropy: Entropy) -> None:
        self._settings = settings
        self._entropy = entropy
        self._dictionary = Dictionary(io.StringIO(_DICTIONARY))

    def make(self, proof: DigestProof, identifier: int, secret: bytes) -> AuthPacket:
        """Ask whether a proof is right.

        Args:
            proof: what the user has said.
            identifier: of the request.
            secret: shared with the server.

        Raises:
            UnfitProofError: it does not fit.
        """
        settings = self._settings
        packet = AuthPacket(code=AccessRequest, id=identifier, secret=secret, dict=self._dictionary)
        packet.authenticator = self._entropy(16)
        name = proof.username
        if settings.has_realm and "@" not in name:
            name = f"{name}@{proof.realm}"
        packet[1] = [_octets(name)]
        packet["Service-Type"] = _SIP_SESSION
        packet[32] = [_octets(settings.nas_identifier)]
        for code, values in _digest(proof, settings.form).items():
            packet[code] = values
        for values in packet.values():
            if any(len(value) > _MAX_VALUE for value in values):
                raise UnfitProofError("a value of more than 253 octets")
        packet.add_message_authenticator()
        return packet


def _digest(proof: DigestProof, form: DigestForm) -> dict[int, list[bytes]]:
    """Give attribute codes with their values."""
    response = [_octets(proof.response)]
    if form is DigestForm.RFC5090:
        values = {
            104: proof.realm,
            105: proof.nonce,
            108: proof.request.method,
            109: proof.uri,
            110: proof.qop,
            111: proof.algorithm,
            113: proof.cnonce,
            114: proof.nonce_count,
            115: proof.username,
        }
        return {_DIGEST_RESPONSE: response} | {code: [_octets(value)] for code, value in values.items() if value}
    parts = {
        1: proof.realm,
        2: proof.nonce,
        3: proof.request.method,
        4: proof.uri,
        5: proof.qop,
        6: proof.algorithm,
        8: proof.cnonce,
        9: proof.nonce_count,
        10: proof.username,
    }
    attributes = []
    for code, value in parts.items():
        octets = _octets(value)
        if len(octets) > _MAX_INNER_VALUE:
            raise UnfitProofError("a value of more than 251 octets")
        if octets:
            attributes.append(bytes((code, len(octets) + 2)) + octets)
    return {_OLD_DIGEST_RESPONSE: response, _OLD_DIGEST_ATTRIBUTES: attributes}


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
