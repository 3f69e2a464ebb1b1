"""How a trunk is, for a person or a program that asks."""

from __future__ import annotations

from dataclasses import dataclass

from sipd.sip.registrant import State
from sipd.sip.uri import SipUri
from sipd.trunks.settings import OperatorState


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """How a server is.

    Args:
        uri: where it is.
        weight: its share.
        is_up: whether calls may go there.
        reason: of the last change, or failure; empty if there was none.
        failures: in a row, up to now.
        rests: seconds for which it has no calls, as it wishes.
        calls: attempts that it was chosen for since the start.
    """

    uri: SipUri
    weight: int
    is_up: bool
    reason: str
    failures: int
    rests: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationStatus:
    """How a registration is.

    Args:
        state: where it stands.
        aor: the address of record.
        contact_user: the user part of the contact.
        registrar: that has granted the binding; ``None`` without one.
        expires: seconds until the binding expires.
        bindings: how many contacts the address of record has.
        service_route: which way calls out take.
        failure: why the last request failed; empty if it did not.
    """

    state: State
    aor: SipUri
    contact_user: str
    registrar: SipUri | None
    expires: float
    bindings: int
    service_route: tuple[str, ...]
    failure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkStatus:
    """How a trunk is.

    Args:
        name: of the trunk.
        state: what the operator wants.
        obstacle: in a few words why no call can go out by it now; empty if one can.
        servers: where calls go.
        registration: ``None`` for a trunk without one, and while the operator does not want it.
    """

    name: str
    state: OperatorState
    obstacle: str
    servers: tuple[ServerStatus, ...]
    registration: RegistrationStatus | None
