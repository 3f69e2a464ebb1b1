"""Remembers what a store said, so that it is asked seldom, and is not missed at once when it is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipd.accounts.interfaces import IAccountStore, MalformedAccountError, StoredAccount, StoreUnavailableError
from sipd.errors import LocalError

#: Seconds for which a store that failed is not asked: the first, doubled each time, up to the last.
FIRST_REST = 1.0
LAST_REST = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """The bounds of what is remembered, and of what is asked.

    Args:
        ttl: seconds for which an account is taken as it was given.
        negative_ttl: the same for that there is no such user.
        stale: seconds beyond `ttl` for which an account that is remembered serves while the store is away; 0 for
            never. That there is no such user is never taken from memory then.
        max_entries: accounts that are remembered, and as many names that nobody has; beyond it, the ones that were
            asked for longest ago are forgotten.
        max_questions: that may be open; one more fails at once.
        timeout: seconds that a question may take.
    """

    ttl: float = 60.0
    negative_ttl: float = 10.0
    stale: float = 3600.0
    max_entries: int = 10_000
    max_questions: int = 200
    timeout: float = 3.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """What was said, and when."""

    found: StoredAccount | None
    at: float


class AccountCache:
    """Stands before one store.

    Equal questions that come while one is open share its answer. A store that fails rests for a moment, in which
    questions fail at once, or get what is remembered; there is one line in the log when it fails and one when it is
    back.

    Args:
        store: is asked.
        name: of the store, for the log.
        clock: for ages and time limits.
        settings: the bounds.
    """

    _log = Logger()

    def __init__(self, store: IAccountStore, *, name: str, clock: IReactorTime, settings: CacheSettings) -> None:
        self.name = name
        self._store = store
        self._clock = clock
        self._settings = settings
        #: In the order of their last use.
        self._known: dict[str, _Entry] = {}
        self._unknown: dict[str, _Entry] = {}
        self._asking: dict[str, list[Deferred[StoredAccount | None]]] = {}
        self._questions: set[Deferred[StoredAccount | None]] = set()
        #: Seconds for which it rested after the last failure; 0 while it works.
        self._rest = 0.0
        self._rests_until = 0.0
        self._is_closed = False

    def __len__(self) -> int:
        """How many entries are remembered, of both kinds."""
        return len(self._known) + len(self._unknown)

    @property
    def questions(self) -> int:
        """How many are open."""
        return len(self._questions)

    def names(self) -> Sequence[str]:
        """Give the names of the accounts that are remembered."""
        return tuple(self._known)

    def known(self, name: str) -> StoredAccount | None:
        """Give what is remembered of a user, however old."""
        entry = self._known.get(name)
        return None if entry is None else entry.found

    def answered(self, name: str) -> bool:
        """Say whether what is remembered of a name, an account or that there is none, is as good as asking."""
        return self._fresh(name) is not None

    def find(self, name: str) -> Deferred[StoredAccount | None]:
        """Give a user; ``None`` if it is certain that there is none of that name here.

        Fails with `StoreUnavailableError` or `MalformedAccountError`.
        """
        entry = self._fresh(name)
        if entry is not None:
            return succeed(entry.found)
        waiting: Deferred[StoredAccount | None] = Deferred()
        if name in self._asking:
            self._asking[name].append(waiting)
            return waiting
        now = self._clock.seconds()
        if now < self._rests_until:
            return self._stale(name, StoreUnavailableError("it did not answer just now"))
        if len(self._asking) >= self._settings.max_questions:
            return self._stale(name, StoreUnavailableError(f"{len(self._asking)} questions are open already"))
        self._asking[name] = [waiting]
        self._ask(name)
        return waiting

    def forget(self) -> None:
        """Remember nothing."""
        self._known.clear()
        self._unknown.clear()

    def close(self) -> Deferred[None]:
        """Give up every question, and close the store."""
        self._is_closed = True
        for question in tuple(self._questions):
            question.cancel()
        return self._store.close()

    def _fresh(self, name: str) -> _Entry | None:
        for entries, ttl in ((self._known, self._settings.ttl), (self._unknown, self._settings.negative_ttl)):
            entry = entries.get(name)
            if entry is not None and self._clock.seconds() - entry.at < ttl:
                # The last used is the last to be forgotten.
                del entries[name]
                entries[name] = entry
                return entry
        return None

    def _ask(self, name: str) -> None:
        question = self._store.find(name)
        self._questions.add(question)
        question.addTimeout(self._settings.timeout, self._clock, self._too_slow)
        question.addBoth(self._answer, name, question)

    def _too_slow(self, failure: Any, timeout: float) -> Failure:
        return Failure(StoreUnavailableError(f"no answer within {timeout:g} s"))

    def _answer(
        self, result: StoredAccount | Failure | None, name: str, question: Deferred[StoredAccount | None]
    ) -> None:
        self._questions.discard(question)
        waiting = self._asking.pop(name)
        if not isinstance(result, Failure):
            self._remember(name, result)
            for deferred in waiting:
                deferred.callback(result)
            return
        error = self._explain(result)
        for deferred in waiting:
            self._stale(name, error).chainDeferred(deferred)

    def _explain(self, failure: Failure) -> LocalError:
        """Write into the log what is worth it, and give what those who ask are told."""
        error = failure.value
        if isinstance(error, MalformedAccountError):
            self._log.error("{store}: {reason}", store=self.name, reason=str(error))
            return error
        if isinstance(error, StoreUnavailableError):
            self._has_failed(str(error))
            return error
        if not isinstance(error, CancelledError):
            self._log.failure("{store} broke", failure, store=self.name)
        return StoreUnavailableError("it failed")

    def _remember(self, name: str, found: StoredAccount | None) -> None:
        if self._rest:
            self._log.info("{store} answers again", store=self.name)
            self._rest = self._rests_until = 0.0
        self._known.pop(name, None)
        self._unknown.pop(name, None)
        entries = self._unknown if found is None else self._known
        entries[name] = _Entry(found, self._clock.seconds())
        if len(entries) > self._settings.max_entries:
            del entries[next(iter(entries))]

    def _has_failed(self, reason: str) -> None:
        now = self._clock.seconds()
        if now < self._rests_until or self._is_closed:
            return  # it was asked before the failure that is known already, or was given up
        if not self._rest:
            self._log.error(
                "{store} cannot be asked: {reason}; users that are remembered go on", store=self.name, reason=reason
            )
        self._rest = min(max(FIRST_REST, 2 * self._rest), LAST_REST)
        self._rests_until = now + self._rest

    def _stale(self, name: str, error: LocalError) -> Deferred[StoredAccount | None]:
        """Give what is remembered, if that may be; else fail."""
        entry, settings = self._known.get(name), self._settings
        if entry is None or not settings.stale or not isinstance(error, StoreUnavailableError):
            return fail(error)
        is_too_old = self._clock.seconds() - entry.at >= settings.ttl + settings.stale
        return fail(error) if is_too_old else succeed(entry.found)
