"""All that is wanted of one leg, in one value: of a user's, of one that a route leads to, of one by a trunk."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.policies.headers import HeaderPolicy
from sipd.policies.identity import AddressPolicy, HistoryForStrangers, IdentityForm
from sipd.policies.media import EarlyMedia
from sipd.policies.statuses import StatusPolicy
from sipd.sdp.filters import DescriptionPolicy
from sipd.sip.session_timer import SessionTimerPolicy


class TransferPolicy(Enum):
    """What becomes of a REFER inside of a call."""

    #: sipd calls the target, and the other party talks with it by a re-INVITE.
    TERMINATE = "terminate"
    #: The other party gets the REFER, and does it.
    PASS = "pass"
    REFUSE = "refuse"

    __hash__ = object.__hash__


class ReliablePolicy(Enum):
    """What a leg is told of provisional responses that arrive for certain (RFC 3262)."""

    #: They are supported, and used as the peer wants.
    SUPPORTED = "supported"
    #: They are not offered; a peer that requires them gets them.
    OFF = "off"
    #: A caller without them is refused with 421, and a callee is asked for them by Require.
    REQUIRED = "required"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class LegPolicy:
    """What is wanted of one leg. What is left out is as it is without a policy.

    Args:
        name: for people.
        headers: what the leg gets of header fields.
        heard_headers: what others get of the fields that come from it.
        statuses: what it is told of outcomes on the other side.
        heard_statuses: what its own are taken for.
        addresses: how it is told who calls.
        description: what it says and hears of the session, and how it is put on hold.
        early_media: what it is told as a caller of media before the answer; or of a callee, what the caller is.
        reliable: provisional responses that arrive for certain.
        session_timer: how long it lives without a refresh.
        transfer: what becomes of its REFER.
        trusted: whether it is in the trust domain, whatever its address says.
        form: how it is told an identity.
        anonymises: whether, if it is not trusted, callers who ask for privacy are anonymous for it.
        tells_strangers: whether, if it is not trusted, it is told an identity that nobody asks to hide.
        history: what of History-Info and Diversion it is told, if it is not trusted.
        user_agent: what User-Agent says to it; empty for no such field.
    """

    name: str = ""
    headers: HeaderPolicy | None = None
    heard_headers: HeaderPolicy | None = None
    statuses: StatusPolicy | None = None
    heard_statuses: StatusPolicy | None = None
    addresses: AddressPolicy | None = None
    description: DescriptionPolicy | None = None
    early_media: EarlyMedia | None = None
    reliable: ReliablePolicy = ReliablePolicy.SUPPORTED
    session_timer: SessionTimerPolicy | None = None
    transfer: TransferPolicy | None = None
    trusted: bool | None = None
    form: IdentityForm | None = None
    anonymises: bool | None = None
    tells_strangers: bool | None = None
    history: HistoryForStrangers | None = None
    user_agent: str | None = None

    @property
    def own_name(self) -> str | None:
        """What User-Agent says; ``None`` for what it says to all. Where the other side's passes it is not replaced."""
        if self.headers is not None and self.headers.passes("user-agent"):
            return ""
        return self.user_agent
