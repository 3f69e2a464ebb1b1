"""Connectivity checks as STUN messages (RFC 8445 sections 7.1 to 7.3), and when one is sent again (section 14.3)."""

from __future__ import annotations

from dataclasses import dataclass

from sipd.ice.checklist import Pair
from sipd.ice.effects import IceCredentials, Role
from sipd.rtp.stun import (
    Attribute,
    Kind,
    Method,
    StunMessage,
    error_code_value,
    unknown_attributes_value,
    xor_address,
)
from sipd.sdp.candidates import Address

#: RFC 8489 section 6.2.1: requests of one transaction, and how many RTOs the last one is waited for.
REQUEST_COUNT = 7
_LAST_WAIT = 16

BAD_REQUEST = 400
UNAUTHENTICATED = 401
UNKNOWN_ATTRIBUTE = 420
ROLE_CONFLICT = 487

_ROLE_ATTRIBUTES = {Role.CONTROLLING: Attribute.ICE_CONTROLLING, Role.CONTROLLED: Attribute.ICE_CONTROLLED}


@dataclass(slots=True, eq=False, kw_only=True)
class Check:
    """A check that was sent: a client transaction.

    Args:
        transaction: its id.
        pair: that is checked.
        data: the request, the same each time.
        role: ours, as the request says it.
        priority: as the request says it: that of a peer-reflexive candidate, if there is one.
        nominates: whether the request has USE-CANDIDATE.
        rto: seconds before the first retransmission.
        due: when something is to be done: the request sent again, or the check given up.
        count: how often it was sent.
        is_cancelled: it is not sent again, and it is no failure if nothing answers (section 7.3.1.4).
    """

    transaction: bytes
    pair: Pair
    data: bytes
    role: Role
    priority: int
    nominates: bool
    rto: float
    due: float
    count: int = 1
    is_cancelled: bool = False

    def advance(self, now: float) -> bool:
        """Say whether the request is to be sent again; ``False`` if nobody will answer it any more."""
        if self.is_cancelled or self.count == REQUEST_COUNT:
            return False
        self.due = now + self.rto * (2**self.count if self.count + 1 < REQUEST_COUNT else _LAST_WAIT)
        self.count += 1
        return True

    def cancel(self, now: float) -> None:
        """Send it no more; an answer still counts for as long as the last request would be waited for."""
        self.is_cancelled = True
        self.due = now + self.rto * _LAST_WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleClaim:
    """The role that a request says its sender has, and the tie-breaker."""

    role: Role
    tie_breaker: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A check that came, rightly signed.

    Args:
        priority: for a peer-reflexive candidate.
        nominates: whether it has USE-CANDIDATE.
        claim: about roles; ``None`` if it says nothing, as one of an older protocol.
    """

    priority: int
    nominates: bool
    claim: RoleClaim | None

    @classmethod
    def read(cls, message: StunMessage) -> Request | None:
        """Read what a request says; ``None`` if its PRIORITY is not 1 to 2**31 - 1, or its role is none."""
        priority = message.get(Attribute.PRIORITY)
        if priority is None or len(priority) != 4 or not 1 <= int.from_bytes(priority, "big") < 2**31:
            return None
        claim = None
        for role, attribute in _ROLE_ATTRIBUTES.items():
            if (value := message.get(attribute)) is not None:
                if len(value) != 8 or claim is not None:
                    return None
                claim = RoleClaim(role=role, tie_breaker=int.from_bytes(value, "big"))
        return cls(
            priority=int.from_bytes(priority, "big"),
            nominates=message.get(Attribute.USE_CANDIDATE) is not None,
            claim=claim,
        )


def write_check(
    transaction: bytes,
    *,
    local: IceCredentials,
    remote: IceCredentials,
    priority: int,
    claim: RoleClaim,
    nominates: bool,
) -> bytes:
    """Write a check, or one of consent: RFC 8445 section 7.1, RFC 7675 section 5.1."""
    attributes: list[tuple[int, bytes]] = [
        (Attribute.USERNAME, f"{remote.ufrag}:{local.ufrag}".encode()),
        (Attribute.PRIORITY, priority.to_bytes(4, "big")),
        (_ROLE_ATTRIBUTES[claim.role], claim.tie_breaker.to_bytes(8, "big")),
    ]
    if nominates:
        attributes.append((Attribute.USE_CANDIDATE, b""))
    message = StunMessage(Method.BINDING, Kind.REQUEST, transaction, tuple(attributes))
    return message.to_bytes(key=remote.key, with_fingerprint=True)


def write_success(request: StunMessage, source: Address, local: IceCredentials) -> bytes:
    """Write the answer to a check that came from there."""
    attributes = ((int(Attribute.XOR_MAPPED_ADDRESS), xor_address(source, request.transaction)),)
    message = StunMessage(Method.BINDING, Kind.SUCCESS, request.transaction, attributes)
    return message.to_bytes(key=local.key, with_fingerprint=True)


def write_error(request: StunMessage, code: int, local: IceCredentials | None = None) -> bytes:
    """Write a refusal: signed with those credentials, or not at all where the request was not rightly signed.

    It has no reason phrase, which only a person would read.
    """
    attributes: list[tuple[int, bytes]] = [(Attribute.ERROR_CODE, error_code_value(code, ""))]
    if code == UNKNOWN_ATTRIBUTE:
        attributes.append((Attribute.UNKNOWN_ATTRIBUTES, unknown_attributes_value(request.unknown_required)))
    message = StunMessage(Method.BINDING, Kind.ERROR, request.transaction, tuple(attributes))
    return message.to_bytes(key=None if local is None else local.key, with_fingerprint=True)


def write_keepalive(transaction: bytes) -> bytes:
    """Write a Binding indication: RFC 8445 section 11."""
    return StunMessage(Method.BINDING, Kind.INDICATION, transaction).to_bytes(with_fingerprint=True)


def named_fragment(message: StunMessage) -> str | None:
    """Give the user name fragment of the receiver that a request names (section 7.3); ``None`` if it names none."""
    name, colon, _ = (message.get(Attribute.USERNAME) or b"").partition(b":")
    return name.decode("ascii", "replace") if colon else None
