"""What name servers said, for as long as it holds (RFC 1035 section 7.4, RFC 2308, RFC 8767)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from sipd.errors import UnresolvableError
from sipd.transport.interfaces import INameClient
from sipd.transport.records import MAX_ALIASES, Answer, Question, Value, read_answer

#: Seconds for which an answer holds at least, so that a burst of calls asks once.
_MIN_TTL = 1.0
#: Seconds for which it holds that there is nothing, where the server does not say (RFC 2308 section 5).
_NEGATIVE_TTL = 5.0
#: Seconds until a question that no server answered is asked again (RFC 2308 section 7.2).
_FAILURE_TTL = 1.0
#: Seconds for which an answer that holds no longer is better than none (RFC 8767 section 5), and until it is renewed.
_MAX_STALE = 3600.0
_STALE_TTL = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """The bounds of a cache.

    Args:
        max_entries: answers that are kept; beyond that the one that was not asked for the longest goes.
        max_ttl: seconds for which any answer holds at most.
        max_negative_ttl: the same for "there is nothing".
        max_questions: at a time, each with a socket of its own; one more fails.
    """

    max_entries: int = 4096
    max_ttl: float = 86400.0
    max_negative_ttl: float = 300.0
    max_questions: int = 256


@dataclass(slots=True)
class _Entry:
    """What is known: values, or why there are none to be had."""

    values: tuple[Value, ...]
    renew_at: float
    useless_at: float
    error: UnresolvableError | None = None


class NameCache:
    """Answers from memory, and asks for what is not there; the same question that comes meanwhile waits for it.

    Args:
        client: who is asked.
        clock: says how old an answer is.
        limits: the bounds.
    """

    def __init__(self, client: INameClient, clock: IReactorTime, limits: CacheLimits | None = None) -> None:
        self._client = client
        self._clock = clock
        self._limits = limits or CacheLimits()
        self._entries: dict[Question, _Entry] = {}
        self._waiting: dict[Question, list[Deferred[Sequence[Value]]]] = {}
        self._asking: dict[Question, Deferred[None]] = {}
        self._is_closed = False

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._entries)

    def find(self, name: str, kind: int) -> Deferred[Sequence[Value]]:
        """Give what the records of a name say, aliases followed; nothing if it has none, or does not exist.

        Args:
            name: in lower case, without a final dot.
            kind: ``dns.A``, ``dns.SRV``, ...

        Fails with `UnresolvableError` if no server gives an answer and no old one is left. Cancelling it disturbs
        nobody else.
        """
        question = name, kind
        entry = self._entries.pop(question, None)
        if entry is not None:
            self._entries[question] = entry  # the last that was asked for
            if self._clock.seconds() < entry.renew_at:
                return succeed(entry.values) if entry.error is None else fail(entry.error)
        if self._is_closed:
            return fail(_too_late(name))
        waiter: Deferred[Sequence[Value]] = Deferred()
        if question in self._waiting:
            self._waiting[question].append(waiter)
            return waiter
        if len(self._waiting) >= self._limits.max_questions:
            return fail(UnresolvableError(f"{name} cannot be looked up: {len(self._waiting)} questions wait"))
        self._waiting[question] = [waiter]
        asking = self._asking[question] = Deferred.fromCoroutine(self._ask(question))
        asking.addErrback(self._give_up, question)
        if asking.called:
            self._asking.pop(question, None)
        return waiter

    def close(self) -> None:
        """Give up every question; whoever waits is told so, and nothing is asked any more."""
        self._is_closed = True
        for asking in list(self._asking.values()):
            asking.cancel()

    async def _ask(self, question: Question) -> None:
        try:
            self._finish(question, await self._follow(question))
        except UnresolvableError as error:
            self._finish(question, self._keep_failure(question, error))

    async def _follow(self, question: Question) -> tuple[Value, ...]:
        """Ask until there are records, or none at the end of all aliases."""
        name, kind = question
        ttl = self._limits.max_ttl
        for _ in range(MAX_ALIASES):
            answer = read_answer(await self._client.ask(name, kind), (name, kind))
            for other, more in answer.others.items():
                self._keep(other, more)
            if answer.ttl is not None:
                ttl = min(ttl, answer.ttl)
            if not answer.alias:
                known = None if answer.ttl is None else ttl
                self._keep(question, Answer(values=answer.values, ttl=known))
                return answer.values
            name = answer.alias
        raise UnresolvableError(f"{question[0]} is an alias of an alias, and so on without an end")

    def _keep(self, question: Question, answer: Answer) -> None:
        limits = self._limits
        longest = limits.max_ttl if answer.values else min(limits.max_ttl, limits.max_negative_ttl)
        ttl = max(_MIN_TTL, min(answer.ttl if answer.ttl is not None else _NEGATIVE_TTL, longest))
        now = self._clock.seconds()
        self._store(question, _Entry(answer.values, now + ttl, now + ttl + _MAX_STALE))

    def _keep_failure(self, question: Question, error: UnresolvableError) -> tuple[Value, ...] | UnresolvableError:
        """Remember that nobody answers; give what was known before, if it is not too old."""
        now = self._clock.seconds()
        old = self._entries.get(question)
        if old is not None and old.error is None and now < old.useless_at:
            old.renew_at = now + _STALE_TTL
            return old.values
        self._store(question, _Entry((), now + _FAILURE_TTL, now, error))
        return error

    def _store(self, question: Question, entry: _Entry) -> None:
        entries = self._entries
        entries.pop(question, None)
        if len(entries) >= self._limits.max_entries:
            del entries[next(iter(entries))]
        entries[question] = entry

    def _finish(self, question: Question, outcome: tuple[Value, ...] | UnresolvableError) -> None:
        self._asking.pop(question, None)
        for waiter in self._waiting.pop(question, ()):
            if isinstance(outcome, UnresolvableError):
                waiter.errback(outcome)
            else:
                waiter.callback(outcome)

    def _give_up(self, failure: Failure, question: Question) -> None:
        """It was cancelled, or went wrong in a way of its own: a bug's traceback is for those who wait."""
        if failure.check(CancelledError):
            self._finish(question, _too_late(question[0]))
            return
        self._asking.pop(question, None)
        for waiter in self._waiting.pop(question, ()):
            waiter.errback(failure)


def _too_late(name: str) -> UnresolvableError:
    return UnresolvableError(f"{name} is looked up no longer")
