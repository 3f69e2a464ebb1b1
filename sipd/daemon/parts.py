"""What a configuration says about new calls, as one value: it is made whole, and takes the place of another one whole.

What is bound to this machine (sockets, files, threads) is in `sipd.daemon.stack`, and stays.
"""

from __future__ import annotations

import secrets
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipd.accounts.directory import AccountDirectory, OfAccounts
from sipd.accounts.loading import LoadingRouter
from sipd.b2bua.service import B2buaSettings
from sipd.daemon import layers
from sipd.daemon.accounts import AccountStores, UsersOf, make_directory
from sipd.daemon.guards import guard_settings
from sipd.daemon.media import check_srtp
from sipd.daemon.policies import make_policies, trunk_policies, user_policies
from sipd.daemon.routing import make_router
from sipd.daemon.routing_http import make_http_router
from sipd.daemon.sections import Config
from sipd.daemon.trunks import number_writer, trunk_limits, trunk_settings
from sipd.guards.guards import GuardSettings
from sipd.interfaces import Credentials, ICredentialStore, ILocationService, IRouter, ITrunks
from sipd.registrar.bindings import RegistrarSettings
from sipd.routing.deciding import ContactRouter, Decider, DecidingRouter
from sipd.routing.http import Service
from sipd.routing.registered import RegisteredUsers
from sipd.routing.rules import is_emergency
from sipd.sip.digest import available_algorithms
from sipd.transport.limits import TransportLimits
from sipd.trunks.settings import TrunkSettings
from sipd.trunks.trunk import NumberWriter
from sipd.ua.settings import AgentSettings
from sipd.watching.service import WatchingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What holds for new calls.

    Args:
        config: what the parts were made from.
        users: the names of those in the configuration who may register and call.
        accounts: all users, those of databases and services, too, and what they know.
        algorithms: of digest, in the order in which they are offered.
        router: where calls go.
        agent: what the user agent is told about itself.
        b2bua: bounds and names.
        registrar: the bounds of registration.
        watching: who may watch and publish.
        transport: the bounds of the transport layer.
        guards: what is too much, and who is not listened to.
        trunks: the peers beside the users, in order.
        write_number: writes a number as one of them wants it.
    """

    config: Config
    users: frozenset[str]
    accounts: AccountDirectory
    algorithms: Sequence[str]
    router: IRouter
    agent: AgentSettings
    b2bua: B2buaSettings
    registrar: RegistrarSettings
    watching: WatchingSettings
    transport: TransportLimits
    guards: GuardSettings
    trunks: tuple[TrunkSettings, ...]
    write_number: NumberWriter


@implementer(ICredentialStore)
class CurrentCredentials:
    """The users that there are now: another store may take the place of the first.

    Attributes:
        current: who is asked.
    """

    def __init__(self, current: ICredentialStore) -> None:
        self.current = current

    def credentials(self, username: str, realm: str) -> Deferred[Credentials | None]:
        """See `ICredentialStore`."""
        return self.current.credentials(username, realm)


def make_parts(
    config: Config,
    location: ILocationService,
    service: Service | None = None,
    stores: AccountStores | None = None,
    trunks: ITrunks | None = None,
    decider: Decider | None = None,
) -> Parts:
    """Make them. Nothing is opened, and nothing that runs is touched.

    Args:
        config: what to make them from.
        location: who is registered where.
        service: who is asked where calls go, before the dial plan is; ``None`` for the dial plan alone.
        stores: where further users are; ``None`` for those of the configuration alone.
        trunks: what routes lead to by name; those of `Parts.trunks` when the parts hold. ``None`` if there are none.
        decider: asks the application where calls go, before all of these; ``None`` where that does not decide.

    Raises:
        ConfigurationError: somebody is to encrypt, and this installation cannot.
    """
    check_srtp(config)
    users = frozenset(user.name for user in config.users)
    domains = own_hosts(config)
    accounts = make_directory(config, stores, secrets.token_bytes)
    has_stores = stores is not None and not stores.are_none
    all_users: Container[str] = UsersOf(accounts) if has_stores else users
    router: IRouter = make_router(config, location, domains=domains, users=all_users, trunks=trunks)
    if service is not None:
        router = make_http_router(config, service, router, location, domains=domains, users=all_users, trunks=trunks)
    policies = make_policies(config)
    b2bua = B2buaSettings(
        realm=config.realm,
        domains=domains,
        host=layers.media_addresses(config)[0].advertised_host,
        max_calls=config.limits.calls,
        identity=layers.identity_policy(config),
        transfer=layers.transfer_settings(config),
        media=layers.media_policy(config),
        user_media=layers.user_media(config),
        user_policies=user_policies(config, policies),
        trunk_policies=trunk_policies(config, policies),
    )
    if has_stores:
        router = LoadingRouter(router, accounts)
    if decider is not None:
        users_at = RegisteredUsers(
            domains=domains, location=location, is_user=all_users.__contains__, timeout=config.timers.ring
        )
        emergency = frozenset(config.routing.emergency)
        contacts: IRouter = ContactRouter(users_at)
        router = DecidingRouter(
            router,
            decider,
            contacts=LoadingRouter(contacts, accounts) if has_stores else contacts,
            has_user=users_at.has,
            is_emergency=lambda asked: is_emergency(asked.request.uri, emergency),
            domain=layers.domain_in_uri(config),
            timeout=config.timers.ring,
        )
    if has_stores:
        b2bua = replace(
            b2bua,
            identity=replace(b2bua.identity, owned=OfAccounts(accounts, lambda one: one.identities or None)),
            user_media=OfAccounts(accounts, lambda one: one.media),
            user_policies=OfAccounts(accounts, lambda one: policies.get(one.policy)),
        )
    return Parts(
        config=config,
        users=users,
        accounts=accounts,
        algorithms=_algorithms(config),
        router=router,
        agent=layers.agent_settings(config),
        b2bua=b2bua,
        registrar=layers.registrar_settings(config),
        watching=layers.watching_settings(config),
        transport=layers.transport_limits(config.limits),
        guards=guard_settings(config, trunk_limits(config)),
        trunks=trunk_settings(config),
        write_number=number_writer(config),
    )


def own_hosts(config: Config) -> frozenset[str]:
    """Give every host that means us in a request URI: the domains, and the addresses of the listening points."""
    hosts = set(config.domains)
    for listen in config.listen:
        hosts.add(listen.address)
        if listen.advertised_address is not None:
            hosts.add(listen.advertised_address)
    return frozenset(hosts)


def _algorithms(config: Config) -> Sequence[str]:
    """Give the algorithms to offer: those that were asked for by name have to be there, of the default any."""
    authentication = config.authentication
    if "algorithms" in authentication.model_fields_set:
        return authentication.algorithms
    return [algorithm for algorithm in authentication.algorithms if algorithm in available_algorithms()]
