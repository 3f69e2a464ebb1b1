"""From ``[accounts]`` and ``[[users]]`` to the directory of all users."""

from __future__ import annotations

from collections.abc import Container, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, gatherResults

from sipd.accounts.cache import AccountCache, CacheSettings
from sipd.accounts.directory import AccountDirectory, ProvedUsers
from sipd.accounts.interfaces import IAccountStore, StoredAccount
from sipd.accounts.reading import AccountReader, Reader
from sipd.daemon import layers
from sipd.daemon.sections import Config
from sipd.daemon.sections.accounts import AccountStore
from sipd.errors import ConfigurationError, LocalError
from sipd.interfaces import Account, Entropy, IDigestVerifier
from sipd.media.libsrtp import available
from sipd.policies import PRESETS
from sipd.registrar.authentication import ConfiguredCredentials

if TYPE_CHECKING:
    from sipd.accounts.radius import RadiusVerifier

#: Seconds for which a RADIUS server that did not answer is asked after the others.
_RADIUS_REST = 30.0
#: What a type of store needs: a module, and the extra that brings it.
_NEEDED = {"http": ("treq", "http"), "radius": ("pyrad", "radius")}


class AccountStores:
    """Everything that is asked about users who are not in the configuration: it has sockets and threads, and stays.

    Args:
        config: says what there is.
        reactor: gives sockets, threads and time.
        entropy: for RADIUS.

    Attributes:
        caches: the stores, each behind its memory, in order.
        verifier: checks the proofs of those whom no store knows; ``None`` without RADIUS.
        proved: those whose proofs it has found right.

    Raises:
        ConfigurationError: a package that is needed is not installed, or a file makes no sense.
    """

    def __init__(self, config: Config, reactor: Any, entropy: Entropy) -> None:
        self.proved = ProvedUsers()
        self.caches: list[AccountCache] = []
        self._radius: RadiusVerifier | None = None
        self._reader = _reader(config)
        for index, section in enumerate(config.accounts.stores):
            module, extra = _NEEDED.get(section.type, ("sqlalchemy", ""))
            if find_spec(module) is None:
                text = f"accounts.stores[{index}]: needs the extra: pip install 'sipd[{extra}]'"
                raise ConfigurationError([text])
            if section.type == "radius":
                self._radius = _radius(config, section, reactor, entropy, self.proved)
                continue
            try:
                make = _sql if section.type == "sql" else _http
                store = make(config, section, reactor, self)
            except LocalError as error:
                raise ConfigurationError([f"accounts.stores[{index}]: {error}"]) from None
            self.caches.append(AccountCache(store, name=section.name, clock=reactor, settings=_cache_settings(section)))

    def configure(self, config: Config) -> None:
        """Read what is asked from now on by what another configuration says of media and policies."""
        self._reader = _reader(config)

    def read(self, name: str, values: Mapping[str, object]) -> StoredAccount:
        """See `Reader`."""
        return self._reader.read(name, values)

    @property
    def verifier(self) -> IDigestVerifier | None:
        """See above."""
        return self._radius

    @property
    def are_none(self) -> bool:
        """Whether all users are in the configuration."""
        return not self.caches and self._radius is None

    def close(self) -> Deferred[None]:
        """Close connections, threads and sockets."""
        closing = [cache.close() for cache in self.caches]
        if self._radius is not None:
            closing.append(self._radius.close())
        return gatherResults(closing).addCallback(lambda _: None)


class UsersOf(Container[str]):
    """The users of a directory, as a set that is only asked whether it has a name."""

    def __init__(self, directory: AccountDirectory) -> None:
        self._directory = directory

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._directory.is_user(name)


def make_directory(config: Config, stores: AccountStores | None, entropy: Entropy) -> AccountDirectory:
    """Make the directory of all users: those of the configuration, before those of the stores, if there are any."""
    return AccountDirectory(
        configured=configured_accounts(config),
        credentials=ConfiguredCredentials([layers.credentials_of(user) for user in config.users]),
        entropy=entropy,
        stores=() if stores is None else stores.caches,
        domains=config.domains,
        retry_after=config.accounts.retry_after,
        proved=None if stores is None else stores.proved,
    )


def configured_accounts(config: Config) -> Mapping[str, Account]:
    """Give the users of the configuration by their names."""
    media = layers.user_media(config)
    return {
        user.name: Account(
            name=user.name,
            identities=user.identities,
            policy=user.policy or "",
            max_calls=user.max_calls,
            media=media.get(user.name),
        )
        for user in config.users
    }


def _reader(config: Config) -> AccountReader:
    return AccountReader(
        media=layers.media_policy(config),
        can_record=config.recording.directory is not None,
        can_encrypt=available() is None,
        policies=frozenset(PRESETS) | {policy.name for policy in config.policies},
    )


def _cache_settings(section: AccountStore) -> CacheSettings:
    return CacheSettings(
        ttl=section.ttl,
        negative_ttl=section.negative_ttl,
        stale=section.stale,
        max_entries=section.entries,
        max_questions=section.questions,
        timeout=section.timeout,
    )


def _sql(config: Config, section: AccountStore, reactor: Any, reader: Reader) -> IAccountStore:
    from sipd.accounts.sql import DatabaseSettings, DatabaseThreads, SqlStore

    return SqlStore(
        DatabaseSettings(
            url=(section.url or config.database).text,
            subscribers=section.table if section.layout == "kamailio" else "",
            realm=config.realm,
            domains=config.domains,
            connections=section.connections,
            timeout=section.timeout,
        ),
        reader=reader,
        workers=DatabaseThreads(reactor, section.connections),
        max_waiting=2 * section.questions,
    )


def _http(config: Config, section: AccountStore, reactor: Any, reader: Reader) -> IAccountStore:
    # treq takes a while to import, and most do not need it.
    from sipd.accounts.web import HttpStore, WebSettings, make_agent

    settings = WebSettings(
        url=section.url.text if section.url is not None else "",
        realm=config.realm,
        token=section.token.text if section.token is not None else "",
        authorities=section.ca.read_text(encoding="ascii", errors="replace") if section.ca is not None else "",
        timeout=section.timeout,
    )
    agent, pool = make_agent(settings, reactor)
    return HttpStore(settings, reader=reader, agent=agent, reactor=reactor, pool=pool)


def _radius(
    config: Config, section: AccountStore, reactor: Any, entropy: Entropy, proved: ProvedUsers
) -> RadiusVerifier:
    from sipd.accounts.attributes import DigestForm, QuestionMaker, QuestionSettings
    from sipd.accounts.radius import RadiusVerifier
    from sipd.radius.peer import RadiusServer, RadiusSettings
    from sipd.radius.peers import RadiusPeers

    secret = section.secret.text.encode("utf-8", "surrogateescape") if section.secret is not None else b""
    peers = RadiusPeers(
        [RadiusServer(host=host, port=port, secret=secret) for host, port in section.servers],
        RadiusSettings(
            timeout=section.timeout / section.tries,
            tries=section.tries,
            rest=_RADIUS_REST,
            needs_message_authenticator=section.message_authenticator,
        ),
        reactor=reactor,
        first_identifier=entropy(1)[0],
    )
    questions = QuestionSettings(
        form=DigestForm(section.digest),
        has_realm=section.user_name == "user@realm",
        nas_identifier=section.nas_identifier,
    )
    return RadiusVerifier(
        peers,
        QuestionMaker(questions, entropy),
        retry_after=config.accounts.retry_after,
        domains=(*config.domains, config.realm.lower()),
        proved=proved.add,
    )
