"""All users of ours: those of the configuration, then those of each store, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, gatherResults, succeed
from zope.interface import implementer

from sipd.accounts.cache import AccountCache
from sipd.accounts.interfaces import (
    AccountNotLoadedError,
    MalformedAccountError,
    StoredAccount,
    StoreUnavailableError,
)
from sipd.accounts.reading import is_name
from sipd.errors import RequestRefusedError
from sipd.interfaces import Account, Credentials, Entropy, IAccounts, ICredentialStore
from sipd.sip.digest import available_algorithms
from sipd.sip.grammar import unescape

T = TypeVar("T")


class ProvedUsers:
    """Those who are known only by what they proved, to a server that tells nothing else of them.

    Args:
        max_users: that are remembered; beyond it, the one is forgotten who proved it longest ago.
    """

    def __init__(self, max_users: int = 10_000) -> None:
        self._max_users = max_users
        self._accounts: dict[str, Account] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def add(self, name: str) -> None:
        """Take note of one."""
        self._accounts.pop(name, None)
        self._accounts[name] = Account(name=name)
        if len(self._accounts) > self._max_users:
            del self._accounts[next(iter(self._accounts))]

    def find(self, name: str) -> Account | None:
        """Give the account of one."""
        return self._accounts.get(name)


@implementer(IAccounts, ICredentialStore)
class AccountDirectory:
    """Knows every user. The first that has one of a name decides, the configuration before all stores.

    Users of the configuration cost no more than without stores: a look into a dictionary. A store that cannot be asked
    does not pass for one that knows nobody: it is then uncertain who the user is, and who asks gets 503.

    Args:
        configured: the users of the configuration.
        credentials: what they know.
        entropy: for what nobody can know: the password of a user who is not enabled.
        stores: asked in that order.
        domains: that may stand behind a name in the username of a digest, in lower case.
        retry_after: seconds that somebody is told to wait who cannot be told who it is.
        proved: further users.
    """

    def __init__(
        self,
        *,
        configured: Mapping[str, Account],
        credentials: ICredentialStore,
        entropy: Entropy,
        stores: Sequence[AccountCache] = (),
        domains: Sequence[str] = (),
        retry_after: int = 10,
        proved: ProvedUsers | None = None,
    ) -> None:
        self.stores = tuple(stores)
        self._configured = configured
        self._credentials = credentials
        self._domains = frozenset(domains)
        self._retry_after = retry_after
        self._proved = proved or ProvedUsers()
        self._unknowable = {algorithm: entropy(32).hex() for algorithm in available_algorithms()}

    def names(self) -> Iterator[str]:
        """Give the names of all users that are known here and now, in no order, some perhaps twice."""
        yield from self._configured
        for store in self.stores:
            yield from store.names()
        yield from self._proved

    def known(self, name: str) -> Account | None:
        """See `IAccounts`."""
        account = self._configured.get(name)
        if account is not None:
            return account
        for store in self.stores:
            found = store.known(name)
            if found is not None:
                return found.account
        return self._proved.find(name)

    def account(self, name: str) -> Deferred[Account | None]:
        """See `IAccounts`."""
        account = self._configured.get(name)
        if account is not None or not is_name(name):
            return succeed(account)
        return Deferred.fromCoroutine(self._account(name))

    def credentials(self, username: str, realm: str) -> Deferred[Credentials | None]:
        """See `ICredentialStore`. Those of a user who is not enabled are such that nobody can prove to know them.

        Fails with `RequestRefusedError` (503).
        """
        name, at, domain = username.partition("@")
        if name in self._configured:
            # Under its address, too, a user of the configuration is nobody's whom somebody else knows.
            return succeed(self._unprovable(name)) if at else self._credentials.credentials(name, realm)
        if not is_name(name) or (at and domain.lower() not in self._domains | {realm}):
            return succeed(None)
        if not self.stores:
            return succeed(None)
        return Deferred.fromCoroutine(self._stored_credentials(name, username, realm))

    def is_user(self, user: str) -> bool:
        """Say whether there is a user, by the user part of a URI.

        Raises:
            AccountNotLoadedError: that has to be asked first.
        """
        name = unescape(user)
        account = self.known(name)
        if account is None and is_name(name) and not all(store.answered(name) for store in self.stores):
            raise AccountNotLoadedError(name)
        return account is not None and account.is_enabled

    def may_be_user(self, name: str) -> bool:
        """Say whether there may be a user of that name, as far as it is known without asking."""
        try:
            return self.is_user(name)
        except AccountNotLoadedError:
            return True

    def close(self) -> Deferred[None]:
        """Close all stores."""
        return gatherResults([store.close() for store in self.stores]).addCallback(lambda _: None)

    async def _account(self, name: str) -> Account | None:
        found = await self._find(name)
        return self._proved.find(name) if found is None else found.account

    async def _stored_credentials(self, name: str, username: str, realm: str) -> Credentials | None:
        found = await self._find(name)
        if found is None:
            return None
        if not found.account.is_enabled:
            return self._unprovable(name)
        credentials = found.credentials(username, realm)
        # Where its store knows anything of what the user knows, nobody else is asked.
        return self._unprovable(name) if found.is_secret and not credentials.ha1 else credentials

    def _unprovable(self, name: str) -> Credentials:
        return Credentials(username=name, ha1=self._unknowable)

    async def _find(self, name: str) -> StoredAccount | None:
        try:
            for store in self.stores:
                found = await store.find(name)
                if found is not None:
                    return found
        except (StoreUnavailableError, MalformedAccountError) as error:
            # Which store it is, and why, is for the log alone.
            is_away = isinstance(error, StoreUnavailableError)
            reason = "User Database Out Of Reach" if is_away else "User Database Makes No Sense"
            raise RequestRefusedError(reason, status=503, headers=(("Retry-After", str(self._retry_after)),)) from None
        return None


class OfAccounts(Mapping[str, T]):
    """One property of those users that are known here and now, by their names.

    Args:
        directory: who they are.
        of: gives the property; ``None`` if the user has none.
    """

    def __init__(self, directory: AccountDirectory, of: Callable[[Account], T | None]) -> None:
        self._directory = directory
        self._of = of

    def __getitem__(self, name: str) -> T:
        """Give the property of a user; KeyError if the user is not known, or has none."""
        account = self._directory.known(name)
        value = None if account is None else self._of(account)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter({name: None for name in self._directory.names() if name in self})

    def __len__(self) -> int:
        return sum(1 for _ in self)
