"""From the sections of a configuration to what each layer wants to be told."""

from __future__ import annotations

from typing import Any

from sipd.b2bua.transfer import TransferPolicy, TransferSettings
from sipd.b2bua.trust import HistoryForStrangers, IdentityForm, IdentityPolicy
from sipd.daemon.certificates import CertificateFiles
from sipd.daemon.policies import takes_referrals_somewhere
from sipd.daemon.sections import Config, Limits, Listen, Media, RouteRule, Tls, TrunkSection, User
from sipd.interfaces import Credentials, CryptoPolicy, Entropy, ListeningPoint, MediaPolicy
from sipd.media.ports import MediaAddress
from sipd.registrar.bindings import RegistrarSettings
from sipd.registrar.keepalive import KeepAliveSettings, Ping, Silence
from sipd.sip.event_requests import ExpiryBounds
from sipd.sip.session_timer import SessionTimerPolicy
from sipd.sip.timers import TimerValues
from sipd.transport.cache import CacheLimits, NameCache
from sipd.transport.dns import NameClient
from sipd.transport.hostfiles import HostsFile, ResolvConf
from sipd.transport.layer import TransportLayer
from sipd.transport.limits import TransportLimits
from sipd.transport.names import DomainNames
from sipd.transport.resolver import Resolver
from sipd.transport.resting import RestingTargets
from sipd.transport.tls import ClientVerification, TlsSettings
from sipd.transport.upgrade import WebSocketSettings
from sipd.ua.settings import AgentSettings
from sipd.watching.service import WatchingSettings
from sipd.watching.subscriptions import SubscriptionSettings


def listening_point(listen: Listen) -> ListeningPoint:
    """Give the point to bind; an advertised port of 0 becomes the one that is bound."""
    return ListeningPoint(
        name=listen.name,
        transport=listen.transport,
        host=listen.address,
        port=listen.bound_port,
        advertised_host=listen.advertised_address or listen.address,
        advertised_port=listen.advertised_port or 0,
    )


def domain_in_uri(config: Config) -> str:
    """Give the first domain as it stands in a URI: an IPv6 address in brackets."""
    domain = config.domains[0]
    return f"[{domain}]" if ":" in domain else domain


def tls_settings(listen: Listen, tls: Tls, self_signed: CertificateFiles | None) -> TlsSettings:
    """Give how a TLS or WSS listening point speaks, with the self-signed certificate if it has none of its own."""
    own = (
        CertificateFiles(certificate=listen.certificate, key=listen.key) if listen.certificate and listen.key else None
    )
    files = own or self_signed
    return TlsSettings(
        certificate=str(files.certificate) if files else "",
        key=str(files.key) if files else "",
        passphrase=listen.key_passphrase.text if listen.key_passphrase else "",
        authorities=(str(tls.ca),) if tls.ca else (),
        client_authorities=(str(listen.ca),) if listen.ca else (),
        client_verification=ClientVerification(listen.client_verification),
        verify_server=tls.verify,
        allow_wildcards=tls.allow_wildcards,
    )


def websocket_settings(listen: Listen) -> WebSocketSettings:
    """Give which path and which web sites a listening point for WebSocket takes."""
    return WebSocketSettings(path=listen.path or "", origins=listen.origins)


def transport_limits(limits: Limits) -> TransportLimits:
    """Give the bounds of the transport layer."""
    return TransportLimits(
        max_head_octets=limits.head_size_octets,
        max_body_octets=limits.body_size_octets,
        max_queue_octets=limits.write_queue_octets,
        max_connections=limits.connections,
        max_connections_per_source=limits.connections_per_source,
        connect_timeout=limits.connect_timeout,
        handshake_timeout=limits.handshake_timeout,
        message_timeout=limits.message_timeout,
        idle_timeout=limits.idle_timeout,
    )


def timer_values(config: Config) -> TimerValues:
    """Give T1, T2 and T4."""
    return TimerValues(t1=config.timers.t1, t2=config.timers.t2, t4=config.timers.t4)


def transfer_settings(config: Config) -> TransferSettings:
    """Give how calls are transferred."""
    transfer = config.transfer
    return TransferSettings(policy=TransferPolicy(transfer.policy), timeout=transfer.timeout, limit=transfer.limit)


def agent_settings(config: Config) -> AgentSettings:
    """Give what the user agent is told about itself."""
    timers = config.timers
    return AgentSettings(
        supported=AgentSettings().supported | {"replaces"},
        takes_referrals=config.transfer.policy != "refuse" or takes_referrals_somewhere(config),
        timers=timer_values(config),
        target_timeout=config.dns.target_timeout,
        ping_interval=timers.ping,
        session_timer=SessionTimerPolicy(interval=timers.session or None, minimum=timers.session_minimum),
    )


def cache_limits(config: Config) -> CacheLimits:
    """Give the bounds of what is remembered of names."""
    return CacheLimits(
        max_entries=config.dns.cache_entries,
        max_ttl=config.dns.maximum_ttl,
        max_negative_ttl=config.dns.maximum_negative_ttl,
    )


def resolver(config: Config, reactor: Any, transport: TransportLayer, entropy: Entropy) -> Resolver:
    """Make what finds servers: with name servers of its own or those of this host, or by the system's resolver."""
    dns = config.dns
    names = None
    if dns.lookup == "dns":
        resolv_conf = ResolvConf()
        servers = dns.servers
        names = DomainNames(
            NameCache(NameClient(reactor, lambda: servers or resolv_conf.servers()), reactor, cache_limits(config)),
            hosts=HostsFile(),
            resolv_conf=resolv_conf,
            versions=(6, 4) if dns.prefer == "ipv6" else (4, 6),
        )
    return Resolver(
        reactor,
        names=names,
        points=lambda: transport.points,
        entropy=entropy,
        timeout=dns.timeout,
        resting=RestingTargets(reactor, rest=dns.target_rest),
    )


def registrar_settings(config: Config) -> RegistrarSettings:
    """Give the bounds of registration."""
    registrar = config.registrar
    return RegistrarSettings(
        min_expires=registrar.minimum_expires,
        max_expires=registrar.maximum_expires,
        default_expires=registrar.default_expires,
        max_contacts=registrar.max_contacts,
    )


def keep_alive_settings(config: Config) -> KeepAliveSettings | None:
    """Give how contacts behind NAT are kept alive; ``None`` for not at all."""
    nat = config.nat
    if nat.keepalive == "off":
        return None
    return KeepAliveSettings(
        ping=Ping(nat.keepalive), interval=nat.interval, misses=nat.misses, silence=Silence(nat.silent)
    )


def identity_policy(config: Config) -> IdentityPolicy:
    """Give who is believed, and what others are told."""
    identity = config.identity
    return IdentityPolicy(
        trust=(*identity.trust, *(one for trunk in config.trunks if trunk.trusted for one in trunk.networks)),
        domains=config.domains,
        owned={user.name: user.identities for user in config.users},
        form=IdentityForm(identity.form),
        anonymises=identity.anonymise,
        tells_strangers=identity.tell_strangers,
        history=HistoryForStrangers(identity.history),
        relays_media=config.media.relay,
    )


def watching_settings(config: Config) -> WatchingSettings:
    """Give who may watch and publish, and how much."""
    section, limits = config.subscriptions, config.limits
    return WatchingSettings(
        subscriptions=SubscriptionSettings(
            expiry=ExpiryBounds(
                minimum=section.minimum_expires, default=section.default_expires, maximum=section.maximum_expires
            ),
            max_subscriptions=limits.subscriptions,
            max_per_user=section.per_user,
            notify_interval=section.notify_interval,
        ),
        max_publications=limits.publications,
        max_publications_per_user=section.publications_per_user,
        max_publication_size_octets=section.publication_size_octets,
        is_open=section.watching == "users",
        watchers=section.watchers or {},
        mailbox_servers=frozenset(section.mailbox_servers),
    )


def credentials_of(user: User) -> Credentials:
    """Give what is known of a user."""
    return Credentials(username=user.name, password=user.password.text if user.password else None, ha1=user.hashes())


def media_of(given: RouteRule | TrunkSection | User, default: Media) -> MediaPolicy:
    """Give how media is relayed of legs of a route, a trunk or a user: where that says nothing, as for all."""
    record = given.record or default.record
    ringback = None if isinstance(given, User) else given.ringback
    return MediaPolicy(
        crypto=CryptoPolicy(given.srtp or default.srtp),
        record="" if record == "no" else record,
        hold_music=given.hold_music or default.hold_music or "",
        ringback=ringback or default.ringback or "",
    )


def media_policy(config: Config) -> MediaPolicy:
    """Give how media is relayed of legs of which nothing else is said."""
    media = config.media
    return MediaPolicy(
        crypto=CryptoPolicy(media.srtp),
        record="" if media.record == "no" else media.record,
        hold_music=media.hold_music or "",
        ringback=media.ringback or "",
    )


def user_media(config: Config) -> dict[str, MediaPolicy]:
    """Give the same for users of whom something else is said."""
    return {
        user.name: media_of(user, config.media) for user in config.users if user.srtp or user.record or user.hold_music
    }


def media_addresses(config: Config) -> tuple[MediaAddress, ...]:
    """Give where media comes in, and what session descriptions say."""
    return tuple(
        MediaAddress(host=media.address, advertised_host=media.advertised_address or media.address)
        for media in config.media_addresses
    )
