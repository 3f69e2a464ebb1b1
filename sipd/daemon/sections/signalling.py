"""Sections on what listens, connects and resolves."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sipd.daemon.sections.base import Section
from sipd.daemon.values import (
    Address,
    Count,
    FilePath,
    Host,
    Name,
    NameServer,
    Origin,
    Port,
    ReadableFile,
    Seconds,
    SecretText,
    TransportName,
    UrlPath,
    UsablePort,
)


class Listen(Section):
    """``[[listen]]``: one listening point."""

    name: Name
    transport: TransportName
    address: Address
    port: Port | None = None
    advertised_address: Host | None = None
    advertised_port: UsablePort | None = None
    required: bool = True
    certificate: ReadableFile | None = None
    key: ReadableFile | None = None
    key_passphrase: SecretText | None = None
    self_signed: bool = False
    ca: ReadableFile | None = None
    client_verification: Literal["none", "optional", "required"] = "none"
    path: UrlPath | None = None
    origins: tuple[Origin, ...] = Field(default=(), strict=False)

    @property
    def bound_port(self) -> int:
        """The port to bind: the transport's own where none is written."""
        return self.transport.default_port if self.port is None else self.port


class Tls(Section):
    """``[tls]``: connections that sipd makes; each shows the certificate of a listening point."""

    verify: bool = True
    ca: ReadableFile | None = None
    allow_wildcards: bool = False


class Dns(Section):
    """``[dns]``: from the host of a URI to servers (RFC 3263), and what becomes of servers that fail."""

    lookup: Literal["dns", "system"] = "dns"
    servers: tuple[NameServer, ...] = Field(default=(), strict=False)
    prefer: Literal["ipv6", "ipv4"] = "ipv6"
    timeout: Seconds = 5.0
    cache_entries: Count = 4096
    maximum_ttl: Seconds = 86400.0
    maximum_negative_ttl: Seconds = 300.0
    target_timeout: Seconds = 4.0
    target_rest: float = Field(default=60.0, ge=0)


class Timers(Section):
    """``[timers]``: RFC 3261 section 17, table 4; how long phones ring; session timers (RFC 4028)."""

    t1: Seconds = 0.5
    t2: Seconds = 4.0
    t4: Seconds = 5.0
    ring: Seconds = 60.0
    session: int = Field(default=1800, ge=0)
    session_minimum: int = Field(default=90, ge=90)
    ping: float = Field(default=0, ge=0)


class Limits(Section):
    """``[limits]``: every bound. What happens at each is in ``tapfiles/sipd.toml``."""

    head_size_octets: int = Field(default=65536, ge=4096, le=1 << 20)
    body_size_octets: int = Field(default=65536, ge=4096, le=1 << 24)
    connections: Count = 8192
    connections_per_source: Count = 256
    write_queue_octets: int = Field(default=1 << 20, ge=65536)
    connect_timeout: Seconds = 10.0
    handshake_timeout: Seconds = 10.0
    message_timeout: Seconds = 30.0
    idle_timeout: Seconds = 3900.0
    transactions: Count = 100_000
    calls: Count = 2000
    calls_per_second: float = Field(default=0.0, ge=0)
    calls_per_user: int = Field(default=0, ge=0)
    calls_per_second_per_user: float = Field(default=0.0, ge=0)
    calls_per_source: int = Field(default=0, ge=0)
    calls_per_second_per_source: float = Field(default=0.0, ge=0)
    calls_per_callee: int = Field(default=0, ge=0)
    call_duration: float = Field(default=0.0, ge=0)
    retry_after: int = Field(default=10, ge=1, le=3600)
    messages: Count = 1000
    subscriptions: Count = 10_000
    publications: Count = 10_000
    drain: float = Field(default=30.0, ge=0)


class Nat(Section):
    """``[nat]``: what is done so that phones behind NAT can be called."""

    keepalive: Literal["options", "crlf", "off"] = "options"
    interval: float = Field(default=25.0, ge=5)
    misses: Count = 3
    silent: Literal["skip", "unregister"] = "skip"


class Capture(Section):
    """``[capture]``: every message, for Wireshark. Off without the section."""

    file: FilePath
    size_octets: int = Field(default=100_000_000, ge=65536)
