"""Sections on users: who they are, where they are, whom they may watch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sipd.daemon.sections.base import Section
from sipd.daemon.values import (
    Count,
    Hashes,
    Identity,
    Name,
    Network,
    Realm,
    Seconds,
    SecretText,
    Sound,
)

DigestAlgorithm = Literal["SHA-512-256", "SHA-256", "MD5"]


class User(Section):
    """``[[users]]``: who may register and call."""

    name: Name
    password: SecretText | None = None
    ha1: Hashes | None = None
    identities: tuple[Identity, ...] = Field(default=(), strict=False)
    srtp: Literal["off", "optional", "required", "pass"] | None = None
    record: Literal["wave", "pcap", "no"] | None = None
    hold_music: Sound | None = None
    policy: Name | None = None
    max_calls: int | None = Field(default=None, ge=0)

    def hashes(self) -> dict[str, str]:
        """Give algorithm to H(user:realm:password)."""
        return {algorithm: secret.text for algorithm, secret in (self.ha1 or {}).items()}


class Registrar(Section):
    """``[registrar]``: bindings (RFC 3261 section 10.3)."""

    database: SecretText | None = None
    minimum_expires: int = Field(default=60, ge=1, le=3600)
    default_expires: Count = 3600
    maximum_expires: Count = 7200
    max_contacts: Count = 10


class Authentication(Section):
    """``[authentication]``: digest as a server (RFC 7616, RFC 8760)."""

    realm: Realm | None = None
    algorithms: tuple[DigestAlgorithm, ...] = Field(
        default=("SHA-512-256", "SHA-256", "MD5"), min_length=1, strict=False
    )
    nonce_lifetime: Seconds = 300.0


class CallerIdentity(Section):
    """``[identity]``: who is believed, and what others are told of who calls (RFC 3323, RFC 3325, RFC 7044)."""

    trust: tuple[Network, ...] = Field(default=(), strict=False)
    form: Literal["pai", "rpid", "both"] = "pai"
    anonymise: bool = True
    tell_strangers: bool = False
    history: Literal["remove", "anonymise", "pass"] = "remove"


class Subscriptions(Section):
    """``[subscriptions]``: who may watch whom, and publish what (RFC 6665, RFC 3903)."""

    watching: Literal["users", "own"] = "users"
    watchers: dict[Name, Annotated[tuple[Name, ...], Field(strict=False)]] | None = None
    mailbox_servers: tuple[Name, ...] = Field(default=(), strict=False)
    minimum_expires: int = Field(default=60, ge=1, le=3600)
    default_expires: Count = 3600
    maximum_expires: Count = 7200
    notify_interval: float = Field(default=1.0, ge=0)
    per_user: Count = 200
    publications_per_user: Count = 10
    publication_size_octets: int = Field(default=16384, ge=1024, le=1 << 20)
