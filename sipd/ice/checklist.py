"""The checklist of one data stream: its pairs, their states, and which one is checked next (RFC 8445 section 6.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sipd.ice.candidates import LocalCandidate, as_base, can_be_paired, pair_priority
from sipd.ice.effects import Role
from sipd.sdp.candidates import Address, Candidate

if TYPE_CHECKING:
    from sipd.ice.checks import Check

#: Pairs of one checklist (section 6.1.2.5).
PAIR_LIMIT = 100


class PairState(Enum):
    """RFC 8445 section 6.1.2.6."""

    FROZEN = "waits for another one of its foundation"
    WAITING = "is to be checked"
    IN_PROGRESS = "is being checked"
    SUCCEEDED = "its check was answered"
    FAILED = "its check was not answered, or refused"

    __hash__ = object.__hash__


#: No check of such a pair is to come by itself.
_SETTLED = (PairState.SUCCEEDED, PairState.FAILED)


@dataclass(slots=True, eq=False, kw_only=True)
class Pair:
    """A local and a remote candidate of one component.

    Args:
        local: whose base sends.
        remote: where it sends to.
        priority: by the roles of the two sides; higher is better.
        state: of its check.
        check: what is under way, or was the last.
        earlier: the check before, which was given up for a triggered one, but may still be answered (7.3.1.4).
        valid: the pair that the answer has shown to work: this one, or one whose local candidate is as the other side
            sees it (7.2.5.3.2).
        produced_by: of a valid pair, the one whose check has shown it.
        is_wanted: the controlling side has nominated it, and its check is not yet answered (7.3.1.5).
        to_nominate: the next check of it is to nominate it (8.1.1).
    """

    local: LocalCandidate
    remote: Candidate
    priority: int
    state: PairState = PairState.FROZEN
    check: Check | None = None
    earlier: Check | None = None
    valid: Pair | None = None
    produced_by: Pair | None = None
    is_wanted: bool = False
    to_nominate: bool = False

    @property
    def component(self) -> int:
        """The component of both candidates."""
        return self.local.candidate.component

    @property
    def foundation(self) -> tuple[str, str]:
        """The foundations of both."""
        return (self.local.candidate.foundation, self.remote.foundation)

    @property
    def path(self) -> tuple[Address, Address]:
        """From where to where it sends: what makes two pairs the same one (section 6.1.2.4)."""
        return (self.local.base, self.remote.address)

    @property
    def is_settled(self) -> bool:
        """Whether its check has succeeded or failed."""
        return self.state in _SETTLED


class CheckList:
    """The pairs of one stream, the best first, without two that would send the same way; at most 100.

    Args:
        role: ours.
    """

    def __init__(self, role: Role) -> None:
        self.pairs: list[Pair] = []
        self._triggered: deque[Pair] = deque()
        self._role = role

    def make_pair(self, local: LocalCandidate, remote: Candidate) -> Pair:
        """Make a pair that is in no list."""
        return Pair(local=local, remote=remote, priority=self._priority(local, remote))

    def fill(self, local: Iterable[LocalCandidate], remote: Iterable[Candidate]) -> None:
        """Form the pairs of what is known at the start, and set their states: sections 6.1.2.2 to 6.1.2.6.

        Of each foundation the pair with the lowest component waits, or the best one of several; the others are frozen.
        """
        self._form(local, remote)
        firsts: dict[tuple[str, str], Pair] = {}
        for pair in sorted(self.pairs, key=lambda each: (each.component, -each.priority)):
            firsts.setdefault(pair.foundation, pair)
        for pair in firsts.values():
            if pair.state is PairState.FROZEN:
                pair.state = PairState.WAITING

    def extend(self, local: Iterable[LocalCandidate], remote: Iterable[Candidate]) -> None:
        """Form the pairs of candidates that came later, while checks run.

        A new pair waits if none of its foundation is frozen, waiting or in progress, else it is frozen.
        """
        busy = {pair.foundation for pair in self.pairs if not pair.is_settled}
        for pair in sorted(self._form(local, remote), key=lambda each: (each.component, -each.priority)):
            if pair.foundation not in busy:
                pair.state = PairState.WAITING
                busy.add(pair.foundation)

    def _form(self, local: Iterable[LocalCandidate], remote: Iterable[Candidate]) -> list[Pair]:
        """Add the pairs that are not there yet; give those that were added and were not pruned again."""
        known = {pair.path for pair in self.pairs}
        theirs = list(remote)
        added: dict[tuple[Address, Address], Pair] = {}
        for each in map(as_base, local):
            for candidate in theirs:
                if can_be_paired(each.candidate, candidate):
                    pair = self.make_pair(each, candidate)
                    other = added.get(pair.path)
                    if pair.path not in known and (other is None or pair.priority > other.priority):
                        added[pair.path] = pair
        self.pairs += added.values()
        self._sort()
        self._prune()
        kept = set(self.pairs)
        return [pair for pair in added.values() if pair in kept]

    def add_triggered(self, pair: Pair) -> bool:
        """Add a pair that a check of the other side has shown (section 7.3.1.4); ``False`` if there is no room."""
        pair.state = PairState.WAITING
        self.pairs.append(pair)
        self._triggered.append(pair)
        self._sort()
        self._prune()
        return pair in self.pairs

    def trigger(self, pair: Pair) -> None:
        """Have a pair checked before those that only wait."""
        pair.state = PairState.WAITING
        if pair not in self._triggered:
            self._triggered.append(pair)

    def untrigger(self, pair: Pair) -> None:
        """Do without the triggered check of a pair."""
        if pair in self._triggered:
            self._triggered.remove(pair)

    def find(self, base: Address, remote: Address) -> Pair | None:
        """Give the pair that sends that way."""
        path = (base, remote)
        return next((pair for pair in self.pairs if pair.path == path), None)

    def take(self) -> Pair | None:
        """Give the pair to be checked now (section 6.1.4.2), which is in progress from then on."""
        pair = self._triggered.popleft() if self._triggered else self._waiting()
        if pair is not None:
            pair.state = PairState.IN_PROGRESS
        return pair

    def _waiting(self) -> Pair | None:
        """Give the best pair that waits; if there is none, thaw those whose foundation nobody is busy with."""
        for pair in self.pairs:
            if pair.state is PairState.WAITING:
                return pair
        self._thaw()
        return next((pair for pair in self.pairs if pair.state is PairState.WAITING), None)

    def _thaw(self) -> None:
        busy = {pair.foundation for pair in self.pairs if pair.state in (PairState.WAITING, PairState.IN_PROGRESS)}
        for pair in self.pairs:
            if pair.state is PairState.FROZEN and pair.foundation not in busy:
                pair.state = PairState.WAITING
                busy.add(pair.foundation)

    @property
    def is_ready(self) -> bool:
        """Whether `take` would give a pair now."""
        if self._triggered or any(pair.state is PairState.WAITING for pair in self.pairs):
            return True
        busy = {pair.foundation for pair in self.pairs if pair.state is PairState.IN_PROGRESS}
        return any(pair.state is PairState.FROZEN and pair.foundation not in busy for pair in self.pairs)

    @property
    def is_busy(self) -> bool:
        """Whether any check is to come, or is under way."""
        return not all(pair.is_settled for pair in self.pairs)

    @property
    def busy_count(self) -> int:
        """How many pairs wait or are in progress: what the RTO grows with (section 14.3)."""
        return sum(pair.state in (PairState.WAITING, PairState.IN_PROGRESS) for pair in self.pairs)

    def unfreeze(self, foundation: tuple[str, str]) -> None:
        """Let the frozen pairs of a foundation wait, since one of them has succeeded (section 7.2.5.3.3)."""
        for pair in self.pairs:
            if pair.state is PairState.FROZEN and pair.foundation == foundation:
                pair.state = PairState.WAITING

    def keep_only(self, kept: Sequence[Pair], component: int) -> list[Pair]:
        """Remove the other pairs of a component (section 8.1.2), and give them."""
        removed = [pair for pair in self.pairs if pair.component == component and pair not in kept]
        self._remove(set(removed))
        return removed

    def change_role(self, role: Role) -> None:
        """Compute all priorities anew (section 7.3.1.1)."""
        self._role = role
        for pair in self.pairs:
            pair.priority = self._priority(pair.local, pair.remote)
        self._sort()

    def replace_remote(self, old: Candidate, new: Candidate) -> None:
        """Have pairs with a peer-reflexive candidate know what the other side says about it."""
        for pair in self.pairs:
            if pair.remote is old:
                pair.remote = new
                pair.priority = self._priority(pair.local, new)
        self._sort()

    def _priority(self, local: LocalCandidate, remote: Candidate) -> int:
        priorities = (local.candidate.priority, remote.priority)
        return pair_priority(*(priorities if self._role is Role.CONTROLLING else priorities[::-1]))

    def _sort(self) -> None:
        self.pairs.sort(key=lambda pair: -pair.priority)

    def _prune(self) -> None:
        """Keep the limit: the worst that nobody is waiting for go first, then those that wait; then the newest."""
        if (excess := len(self.pairs) - PAIR_LIMIT) <= 0:
            return
        triggered = set(self._triggered)
        order = (PairState.FAILED, PairState.FROZEN, PairState.WAITING)
        spare = [pair for pair in reversed(self.pairs) if pair.state in order and pair not in triggered]
        spare.sort(key=lambda pair: order.index(pair.state))
        self._remove(set([*spare, *reversed(self._triggered)][:excess]))

    def _remove(self, removed: Set[Pair]) -> None:
        self.pairs = [pair for pair in self.pairs if pair not in removed]
        self._triggered = deque(pair for pair in self._triggered if pair not in removed)
