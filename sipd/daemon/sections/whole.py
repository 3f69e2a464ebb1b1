"""A whole configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from sipd.daemon.sections.accounts import Accounts
from sipd.daemon.sections.base import Section
from sipd.daemon.sections.calls import Transfers
from sipd.daemon.sections.guards import GuardRules
from sipd.daemon.sections.media import Media, MediaAddress, Recording
from sipd.daemon.sections.metrics import Metrics
from sipd.daemon.sections.policies import PolicySection
from sipd.daemon.sections.records import Cdr
from sipd.daemon.sections.routing import RouteRule, Routing
from sipd.daemon.sections.signalling import Capture, Dns, Limits, Listen, Nat, Timers, Tls
from sipd.daemon.sections.trunks import TrunkSection
from sipd.daemon.sections.users import Authentication, CallerIdentity, Registrar, Subscriptions, User
from sipd.daemon.values import FilePath, Host, Secret
from sipd.sip.locate import is_numeric


class Logging(Section):
    """``[logging]``: what the daemon says."""

    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    format: Literal["text", "json"] = "text"
    file: FilePath | None = None


class Config(Section):
    """A whole configuration.

    Relative paths begin in the directory of the file; `state_directory` holds what sipd makes by itself: the database,
    the call records, a self-signed certificate.
    """

    domains: tuple[Host, ...] = Field(min_length=1, strict=False)
    state_directory: FilePath
    listen: tuple[Listen, ...] = Field(min_length=1, strict=False)
    users: tuple[User, ...] = Field(default=(), strict=False)
    accounts: Accounts = Accounts()
    registrar: Registrar = Registrar()
    authentication: Authentication = Authentication()
    identity: CallerIdentity = CallerIdentity()
    media: Media = Media()
    recording: Recording = Recording()
    nat: Nat = Nat()
    transfer: Transfers = Transfers()
    trunks: tuple[TrunkSection, ...] = Field(default=(), strict=False)
    routing: Routing = Routing()
    routes: tuple[RouteRule, ...] = Field(default=(), strict=False)
    policies: tuple[PolicySection, ...] = Field(default=(), strict=False)
    subscriptions: Subscriptions = Subscriptions()
    limits: Limits = Limits()
    guards: GuardRules = GuardRules()
    timers: Timers = Timers()
    logging: Logging = Logging()
    cdr: Cdr = Cdr()
    tls: Tls = Tls()
    dns: Dns = Dns()
    capture: Capture | None = None
    metrics: Metrics | None = None

    @property
    def realm(self) -> str:
        """The realm of challenges: the first domain where none is set."""
        return self.authentication.realm or self.domains[0]

    @property
    def database(self) -> Secret:
        """The database URL (it may hold a password): SQLite in the state directory where none is set."""
        return self.registrar.database or Secret(f"sqlite:///{self.state_directory / 'sipd.sqlite'}")

    @property
    def cdr_file(self) -> Path:
        """Where call records go."""
        return self.cdr.file or self.state_directory / "calls.jsonl"

    @property
    def cdr_spool(self) -> Path:
        """Where call records wait for the places that they go to: a directory for each of them below this one."""
        return self.cdr.spool or self.state_directory / "records"

    @property
    def media_addresses(self) -> tuple[MediaAddress, ...]:
        """Where media is received: where none is set, at the first listening address of each version of IP."""
        if self.media.addresses:
            return self.media.addresses
        found: dict[bool, MediaAddress] = {}
        for point in self.listen:
            advertised = point.advertised_address
            numeric = advertised if advertised is not None and is_numeric(advertised) else None
            found.setdefault(":" in point.address, MediaAddress(address=point.address, advertised_address=numeric))
        return tuple(found.values())
