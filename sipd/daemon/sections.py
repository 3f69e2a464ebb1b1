"""The sections of a configuration file, as values that cannot be changed.

`tapfiles/sipd.toml` describes every option for the operator; a test compares its defaults with the ones here. What must
hold between two values is in `sipd.daemon.checks`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sipd.daemon.values import (
    Address,
    CodecName,
    Count,
    FilePath,
    Hashes,
    Host,
    Identity,
    Name,
    NameServer,
    Network,
    NextHop,
    Pattern,
    Port,
    ReadableFile,
    Realm,
    Refusal,
    RoutableAddress,
    Seconds,
    Secret,
    SecretText,
    Sound,
    TransportName,
    UsablePort,
)
from sipd.sip.locate import is_numeric

DigestAlgorithm = Literal["SHA-512-256", "SHA-256", "MD5"]
_STRONGEST_FIRST: tuple[DigestAlgorithm, ...] = ("SHA-512-256", "SHA-256", "MD5")


class Section(BaseModel):
    """What all sections have in common: unknown keys are mistakes, no type is converted, nothing changes later."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )


class Listen(Section):
    """`[[listen]]`: one listening point."""

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

    @property
    def bound_port(self) -> int:
        """The port to bind: the transport's own where none is written."""
        return self.transport.default_port if self.port is None else self.port


class User(Section):
    """`[[users]]`: who may register and call."""

    name: Name
    password: SecretText | None = None
    ha1: Hashes | None = None
    identities: tuple[Identity, ...] = Field(default=(), strict=False)
    srtp: Literal["off", "optional", "required", "pass"] | None = None
    record: Literal["wave", "pcap", "no"] | None = None
    hold_music: Sound | None = None

    def hashes(self) -> dict[str, str]:
        """Give algorithm to H(user:realm:password)."""
        return {algorithm: secret.text for algorithm, secret in (self.ha1 or {}).items()}


class Registrar(Section):
    """`[registrar]`: bindings (RFC 3261 section 10.3)."""

    database: SecretText | None = None
    minimum_expires: int = Field(default=60, ge=1, le=3600)
    default_expires: Count = 3600
    maximum_expires: Count = 7200
    max_contacts: Count = 10


class Authentication(Section):
    """`[authentication]`: digest as a server (RFC 7616, RFC 8760)."""

    realm: Realm | None = None
    algorithms: tuple[DigestAlgorithm, ...] = Field(
        default=("SHA-512-256", "SHA-256", "MD5"), min_length=1, strict=False
    )
    nonce_lifetime: Seconds = 300.0


class MediaAddress(Section):
    """`[[media.addresses]]`: where media is received, and what SDP says instead."""

    address: Address
    advertised_address: RoutableAddress | None = None


class RtpengineDaemon(Section):
    """`[[media.rtpengine]]`: where an rtpengine takes commands, and its share of the calls."""

    address: Address
    port: Port = 2223
    weight: int = Field(default=1, ge=0, le=1_000_000)


class Media(Section):
    """`[media]`: the relay of RTP and RTCP."""

    relay: bool = True
    addresses: tuple[MediaAddress, ...] = Field(default=(), strict=False)
    first_port: UsablePort = 16384
    last_port: UsablePort = 32767
    latch_window: Seconds = 5.0
    port_rest: float = Field(default=30.0, ge=0)
    srtp: Literal["off", "optional", "required", "pass"] = "pass"
    record: Literal["wave", "pcap", "no"] = "no"
    hold_music: Sound | None = None
    ringback: Sound | None = None
    pause: float = Field(default=0.001, ge=0, le=0.02)
    kernel: Literal["auto", "on", "off"] = "auto"
    kernel_flows: Count = 16384
    flood_limit: Count = 2000
    keepalive: float = Field(default=15.0, ge=0)
    workers: int = Field(default=0, ge=0, le=64)
    worker_pause: float = Field(default=0.0005, ge=0, le=0.02)
    orphan_timeout: Seconds = 300.0
    rtpengine: tuple[RtpengineDaemon, ...] = Field(default=(), strict=False)
    rtpengine_flags: tuple[str, ...] = Field(default=("strict-source",), strict=False)
    no_media: Seconds = 60.0
    no_media_action: Literal["end", "log", "off"] = "log"
    media_loss: Seconds = 60.0
    media_loss_action: Literal["end", "log", "off"] = "log"
    hold_timeout: Seconds = 7200.0
    hold_action: Literal["end", "log", "off"] = "log"


class Recording(Section):
    """`[recording]`: files of what was said."""

    directory: FilePath | None = None
    template: str = "{date}/{time}-{call_id}"
    duration: Seconds = 14400.0
    size_octets: Count = 1 << 30
    count: Count = 2000


class Nat(Section):
    """`[nat]`: what is done so that phones behind NAT can be called."""

    keepalive: Literal["options", "crlf", "off"] = "options"
    interval: float = Field(default=25.0, ge=5)
    misses: Count = 3
    silent: Literal["skip", "unregister"] = "skip"


class CallerIdentity(Section):
    """`[identity]`: who is believed, and what others are told of who calls (RFC 3323, RFC 3325, RFC 7044)."""

    trust: tuple[Network, ...] = Field(default=(), strict=False)
    form: Literal["pai", "rpid", "both"] = "pai"
    anonymise: bool = True
    tell_strangers: bool = False
    history: Literal["remove", "anonymise", "pass"] = "remove"


class RouteCredentials(Section):
    """`credentials` and `caller_credentials` of a route: what to answer digest challenges of a side with."""

    username: str = Field(min_length=1)
    password: SecretText
    realm: str = ""


class RouteRule(Section):
    """`[[routes]]`: where a call goes that is not for a registered user. The first that matches is taken."""

    name: Name
    user: Pattern | None = None
    host: Pattern | None = None
    from_: Pattern | None = Field(default=None, alias="from")
    sources: tuple[Network, ...] = Field(default=(), strict=False)
    to: str | None = None
    refuse: Refusal | None = None
    authenticate: bool = True
    timeout: Seconds = 60.0
    trusted: bool = False
    next_hop: NextHop | None = None
    credentials: RouteCredentials | None = None
    caller_credentials: RouteCredentials | None = None
    early_media: Literal["pass", "180->183", "183->180"] = "pass"
    codecs: tuple[CodecName, ...] = Field(default=(), strict=False)
    srtp: Literal["off", "optional", "required", "pass"] | None = None
    relay: bool = True
    asymmetric: bool = False
    record: Literal["wave", "pcap", "no"] | None = None
    hold_music: Sound | None = None
    ringback: Sound | None = None
    dtmf: Literal["pass", "info", "rtp"] = "pass"
    caller_dtmf: Literal["pass", "info", "rtp"] = "pass"


class Subscriptions(Section):
    """`[subscriptions]`: who may watch whom, and publish what (RFC 6665, RFC 3903)."""

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


class Transfers(Section):
    """`[transfer]`: what becomes of REFER inside of calls (RFC 3515)."""

    policy: Literal["terminate", "pass", "refuse"] = "terminate"
    timeout: Seconds = 120.0
    limit: Count = 5


class Limits(Section):
    """`[limits]`: every bound. What happens at each is in `tapfiles/sipd.toml`."""

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
    messages: Count = 1000
    subscriptions: Count = 10_000
    publications: Count = 10_000
    drain: float = Field(default=30.0, ge=0)


class Timers(Section):
    """`[timers]`: RFC 3261 section 17, table 4; how long phones ring; session timers (RFC 4028)."""

    t1: Seconds = 0.5
    t2: Seconds = 4.0
    t4: Seconds = 5.0
    ring: Seconds = 60.0
    session: int = Field(default=1800, ge=0)
    session_minimum: int = Field(default=90, ge=90)
    ping: float = Field(default=0, ge=0)


class Logging(Section):
    """`[logging]`: what the daemon says."""

    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    format: Literal["text", "json"] = "text"
    file: FilePath | None = None


class Cdr(Section):
    """`[cdr]`: call records, one JSON object a line."""

    file: FilePath | None = None
    fsync: Literal["always", "interval", "never"] = "interval"
    interval: Seconds = 1.0


class Tls(Section):
    """`[tls]`: connections that sipd makes; each shows the certificate of a listening point."""

    verify: bool = True
    ca: ReadableFile | None = None
    allow_wildcards: bool = False


class Dns(Section):
    """`[dns]`: from the host of a URI to servers (RFC 3263), and what becomes of servers that fail."""

    lookup: Literal["dns", "system"] = "dns"
    servers: tuple[NameServer, ...] = Field(default=(), strict=False)
    prefer: Literal["ipv6", "ipv4"] = "ipv6"
    timeout: Seconds = 5.0
    cache_entries: Count = 4096
    maximum_ttl: Seconds = 86400.0
    maximum_negative_ttl: Seconds = 300.0
    target_timeout: Seconds = 4.0
    target_rest: float = Field(default=60.0, ge=0)


class Capture(Section):
    """`[capture]`: every message, for Wireshark. Off without the section."""

    file: FilePath
    size_octets: int = Field(default=100_000_000, ge=65536)


class Config(Section):
    """A whole configuration.

    Relative paths begin in the directory of the file; `state_directory` holds what sipd makes by itself: the database,
    the call records, a self-signed certificate.
    """

    domains: tuple[Host, ...] = Field(min_length=1, strict=False)
    state_directory: FilePath
    listen: tuple[Listen, ...] = Field(min_length=1, strict=False)
    users: tuple[User, ...] = Field(default=(), strict=False)
    registrar: Registrar = Registrar()
    authentication: Authentication = Authentication()
    identity: CallerIdentity = CallerIdentity()
    media: Media = Media()
    recording: Recording = Recording()
    nat: Nat = Nat()
    transfer: Transfers = Transfers()
    routes: tuple[RouteRule, ...] = Field(default=(), strict=False)
    subscriptions: Subscriptions = Subscriptions()
    limits: Limits = Limits()
    timers: Timers = Timers()
    logging: Logging = Logging()
    cdr: Cdr = Cdr()
    tls: Tls = Tls()
    dns: Dns = Dns()
    capture: Capture | None = None

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
