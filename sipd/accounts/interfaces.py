"""What a store of accounts gives, and how it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zope.interface import Interface

from sipd.errors import LocalError
from sipd.interfaces import Account, Credentials
from sipd.sip.digest import available_algorithms, compute_ha1

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


class StoreUnavailableError(LocalError):
    """A store cannot be asked now: it is away, too slow, or has too much to do. The text names it, and no secret."""


class MalformedAccountError(LocalError):
    """What a store has of one user makes no sense. The text says what, and no secret."""


class AccountNotLoadedError(LocalError):
    """Whether there is a user of that name has to be asked of a store first.

    Args:
        name: of the user.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the account of {name} is not loaded")
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    """An account, and what its user knows. The latter is never printed.

    Args:
        account: the account.
        password: clear text, or ``None``.
        ha1: digest algorithm to H(user:realm:password), lower-case hex.
        ha1_of_address: the same of H(user@domain:realm:password), for phones that put their address into the digest;
            Kamailio calls it ha1b.
    """

    account: Account
    password: str | None = field(default=None, repr=False)
    ha1: Mapping[str, str] = field(default_factory=dict, repr=False)
    ha1_of_address: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_secret(self) -> bool:
        """Whether anything is known by which the user can be told from others."""
        return bool(self.password or self.ha1 or self.ha1_of_address)

    def credentials(self, username: str, realm: str) -> Credentials:
        """Give what the proof of this user is compared with.

        Args:
            username: as in the digest: the name, or the name with a domain.
            realm: of the digest.
        """
        is_address = username != self.account.name
        hashes = dict(self.ha1_of_address if is_address else self.ha1)
        if self.password is not None:
            for algorithm in available_algorithms():
                hashes.setdefault(algorithm, compute_ha1(algorithm, username, realm, self.password))
        return Credentials(username=self.account.name, ha1=hashes)


class IAccountStore(Interface):
    """Has accounts, somewhere else."""

    def find(name: str) -> Deferred[StoredAccount | None]:
        """Give a user; ``None`` if it is certain that there is none of that name here.

        Fails with `StoreUnavailableError` or `MalformedAccountError`. Cancelling it gives up.
        """

    def close() -> Deferred[None]:
        """Let go of connections and threads. Nothing is asked after this. Never fails."""
