"""Sections on the peers beside the users."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sipd.daemon.dialling import Status
from sipd.daemon.sections.base import Section
from sipd.daemon.sections.routing import RouteCredentials
from sipd.daemon.trunking import (
    AddressOfRecord,
    CertifiedName,
    ContactUser,
    Expiry,
    ServerEntry,
    ServerUri,
    Statuses,
    UserPart,
)
from sipd.daemon.values import CodecName, Count, Host, Name, Network, Seconds, Sound


class TrunkRegistration(Section):
    """``[trunks.registration]``: what sipd registers at a trunk, and where."""

    aor: AddressOfRecord
    registrars: tuple[ServerUri, ...] = Field(default=(), strict=False)
    uri: ServerUri | None = None
    contact_user: ContactUser | None = None
    needed: bool = True
    expires: Expiry = 3600
    retry: Seconds = 30.0
    retry_limit: Seconds = 600.0
    return_after: Seconds = 300.0
    patience: Seconds = 10.0
    leave_limit: Seconds = 3.0
    empty_lines: float = Field(default=25.0, ge=0)


class TrunkHealth(Section):
    """``[trunks.health]``: how it is found out which servers of a trunk are up."""

    interval: float = Field(default=30.0, ge=0)
    failures: Count = 3
    successes: Count = 2
    up: tuple[Statuses, ...] = Field(default=("2xx", "3xx", "4xx"), min_length=1, strict=False)
    recovery: Seconds = 60.0


class TrunkSection(Section):
    """``[[trunks]]``: a carrier, another exchange, a gateway."""

    name: Name
    servers: tuple[ServerEntry, ...] = Field(default=(), strict=False)
    domain: Host | None = None
    credentials: RouteCredentials | None = None
    networks: tuple[Network, ...] = Field(default=(), strict=False)
    certificate_names: tuple[CertifiedName, ...] = Field(default=(), strict=False)
    users: tuple[Name, ...] = Field(default=(), strict=False)
    point: Name | None = None
    numbers: Literal["as-is", "plus", "e164", "national"] = "as-is"
    caller: UserPart | None = None
    trusted: bool = False
    calls: int = Field(default=0, ge=0)
    calls_in: int = Field(default=0, ge=0)
    calls_out: int = Field(default=0, ge=0)
    calls_per_second_in: float = Field(default=0.0, ge=0)
    calls_per_second_out: float = Field(default=0.0, ge=0)
    timeout: Seconds = 60.0
    response_timeout: Seconds | None = None
    stops: tuple[Status, ...] = Field(default=(), strict=False)
    redirects: int = Field(default=0, ge=0, le=10)
    early_media: Literal["pass", "180->183", "183->180"] = "pass"
    codecs: tuple[CodecName, ...] = Field(default=(), strict=False)
    srtp: Literal["off", "optional", "required", "pass"] | None = None
    relay: bool = True
    asymmetric: bool = False
    record: Literal["wave", "pcap", "no"] | None = None
    hold_music: Sound | None = None
    ringback: Sound | None = None
    dtmf: Literal["pass", "info", "rtp"] = "pass"
    policy: Name | None = None
    registration: TrunkRegistration | None = None
    health: TrunkHealth = TrunkHealth()
