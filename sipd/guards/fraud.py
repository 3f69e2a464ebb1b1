"""Toll fraud: how long an account may talk, how often it may call, and how many calls it may have, by prefix.

A stolen password is used to call numbers that pay whoever owns them, for as long and as often as it goes: at night, by
many calls at once, to countries where nobody of that account ever called.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from sipd.guards.counts import Key, LiveCalls
from sipd.guards.numbers import country_code


class Action(Enum):
    """What is done about a call that should not be."""

    OFF = "off"
    LOG = "log"
    REFUSE = "refuse"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What each account may spend on some numbers. 0 is no bound.

    Args:
        name: for logs and explanations.
        prefixes: of the numbers that it is about, as they are dialled (``+882``, ``0900``); all numbers if empty.
        accounts: that it is about; each if empty.
        window: seconds; windows follow one another, each begins with nothing spent.
        seconds: of talk.
        attempts: calls, answered or not.
        parallel: calls at the same time.
        action: what is done about a call beyond it. `Action.OFF` is not useful here, and counts without a word.
    """

    name: str
    prefixes: tuple[str, ...] = ()
    accounts: frozenset[str] = frozenset()
    window: float = 86400.0
    seconds: float = 0.0
    attempts: int = 0
    parallel: int = 0
    action: Action = Action.REFUSE

    def is_about(self, account: str, numbers: Sequence[str]) -> bool:
        """Say whether calls of an account to these numbers are spent from it."""
        if self.accounts and account not in self.accounts:
            return False
        return not self.prefixes or any(number.startswith(self.prefixes) for number in numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountrySettings:
    """Calls to countries where an account never called before.

    Args:
        action: what is done about them.
        known: country codes (``+49``) that everybody calls.
        learning: seconds from the first call of an account in which its countries are learned without a word.
    """

    action: Action = Action.OFF
    known: frozenset[str] = frozenset()
    learning: float = 604800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FraudSettings:
    """What is watched.

    Args:
        budgets: all those that are about a call count.
        countries: see there.
        international_prefixes: what stands for ``+`` in numbers that users dial.
        max_accounts: of which is remembered what they spent, for each budget, and where they called; beyond them that
            one is forgotten which did not call for the longest time.
    """

    budgets: tuple[Budget, ...] = ()
    countries: CountrySettings = field(default_factory=CountrySettings)
    international_prefixes: tuple[str, ...] = ()
    max_accounts: int = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that somebody should look at.

    Args:
        rule: the name of the budget, or `countries`.
        account: whose calls these are.
        text: what it is, for a person.
        is_refused: the call is refused.
        is_first: nobody was told of this rule and account in this window yet.
    """

    rule: str
    account: str
    text: str
    is_refused: bool
    is_first: bool


@dataclass(slots=True)
class _Spent:
    """What an account has spent of a budget in a window."""

    window: int
    attempts: int = 0
    seconds: float = 0.0
    is_told: bool = False


@dataclass(slots=True)
class _Call:
    """A call in progress."""

    account: str
    budgets: tuple[Budget, ...]
    answered_at: float | None = None


@dataclass(slots=True)
class _Travels:
    """Where an account called."""

    since: float
    codes: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)


class FraudGuard:
    """Keeps what each account spends. Nothing of it outlives this process.

    Args:
        seconds: of the wall clock.
        settings: what is watched; may be replaced.
    """

    def __init__(self, seconds: Callable[[], float], settings: FraudSettings | None = None) -> None:
        self.settings = settings or FraudSettings()
        self._seconds = seconds
        self._spent: OrderedDict[tuple[str, str], _Spent] = OrderedDict()
        self._travels: OrderedDict[str, _Travels] = OrderedDict()
        self._calls: dict[str, _Call] = {}
        self._live = LiveCalls()

    def check(self, account: str, numbers: Sequence[str]) -> list[Alert]:
        """Look at a call that is about to begin; none of it is counted yet.

        Args:
            account: who pays.
            numbers: that it may call, as `called_number` gives them.

        Returns:
            What is wrong with it. It must not begin if one of them says that it is refused.
        """
        alerts = []
        for budget in self._budgets_of(account, numbers):
            text = self._fault(budget, account)
            if text:
                spent = self._spent_of(budget, account)
                alerts.append(
                    Alert(
                        rule=budget.name,
                        account=account,
                        text=text,
                        is_refused=budget.action is Action.REFUSE,
                        is_first=not spent.is_told,
                    )
                )
                spent.is_told = True
        return alerts + self._new_countries(account, numbers)

    def begin(self, call: str, account: str, numbers: Sequence[str]) -> float | None:
        """Count a call from now on.

        Returns:
            The seconds that it may last at most, by what is left of budgets that refuse; ``None`` for no bound.
        """
        budgets = tuple(self._budgets_of(account, numbers))
        self.end(call)
        # Kept in any case: its parts are found by the row of their numbers.
        self._calls[call] = _Call(account, budgets)
        if not budgets:
            return None
        left: list[float] = []
        for budget in budgets:
            self._spent_of(budget, account).attempts += 1
            if budget.seconds and budget.action is Action.REFUSE:
                left.append(max(1.0, budget.seconds - self.seconds_spent(budget, account)))
        self._live.begin(call, [Key(budget.name, account) for budget in budgets])
        return min(left, default=None)

    def answered(self, call: str) -> None:
        """Take note that people talk: from now on the call spends seconds, and so does each part that counts as one.

        A part, such as what a transfer calls, has the name of the call, a stroke and a number from 1.
        """
        for number in count():
            found = self._calls.get(f"{call}/{number}" if number else call)
            if found is None:
                return
            if found.answered_at is None:
                found.answered_at = self._seconds()

    def end(self, call: str) -> None:
        """Take note that a call is over. Idempotent."""
        found = self._calls.pop(call, None)
        if found is None:
            return
        self._live.end(call)
        if found.answered_at is None:
            return
        for budget in found.budgets:
            self._spent_of(budget, found.account).seconds += self._talked(found.answered_at, budget)

    def seconds_spent(self, budget: Budget, account: str) -> float:
        """Give the seconds that an account has spent in this window, calls in progress included."""
        running = 0.0
        for call in self._live.calls(Key(budget.name, account)):
            answered_at = self._calls[call].answered_at
            if answered_at is not None:
                running += self._talked(answered_at, budget)
        return self._spent_of(budget, account).seconds + running

    def _budgets_of(self, account: str, numbers: Sequence[str]) -> Iterable[Budget]:
        return (budget for budget in self.settings.budgets if budget.is_about(account, numbers)) if numbers else ()

    def _fault(self, budget: Budget, account: str) -> str:
        within = f"within {budget.window:g} s"
        parallel = self._live.count(Key(budget.name, account))
        if budget.parallel and parallel >= budget.parallel:
            return f"{budget.parallel} calls at a time"
        if budget.attempts and self._spent_of(budget, account).attempts >= budget.attempts:
            return f"{budget.attempts} calls {within}"
        if budget.seconds and self.seconds_spent(budget, account) >= budget.seconds:
            return f"{budget.seconds:g} s of talk {within}"
        return ""

    def _new_countries(self, account: str, numbers: Sequence[str]) -> list[Alert]:
        settings = self.settings.countries
        if settings.action is Action.OFF:
            return []
        codes = [code for number in numbers if (code := country_code(number)) and code not in settings.known]
        if not codes:
            return []
        travels = self._travels_of(account)
        alerts = []
        for code in dict.fromkeys(codes):
            if code in travels.codes:
                continue
            if self._seconds() < travels.since + settings.learning:
                travels.codes.add(code)
                continue
            is_refused = settings.action is Action.REFUSE
            alerts.append(
                Alert(
                    rule="countries",
                    account=account,
                    text=f"no call to {code} before",
                    is_refused=is_refused,
                    is_first=code not in travels.told,
                )
            )
            (travels.told if is_refused else travels.codes).add(code)
        return alerts

    def _travels_of(self, account: str) -> _Travels:
        travels = self._travels.get(account)
        if travels is None:
            if len(self._travels) >= self.settings.max_accounts:
                self._travels.popitem(last=False)
            travels = self._travels[account] = _Travels(self._seconds())
        self._travels.move_to_end(account)
        return travels

    def _spent_of(self, budget: Budget, account: str) -> _Spent:
        key, window = (budget.name, account), self._window(budget)
        spent = self._spent.get(key)
        if spent is None or spent.window != window:
            if spent is None and len(self._spent) >= self.settings.max_accounts * len(self.settings.budgets):
                self._spent.popitem(last=False)
            spent = self._spent[key] = _Spent(window)
        self._spent.move_to_end(key)
        return spent

    def _window(self, budget: Budget) -> int:
        return int(self._seconds() // budget.window)

    def _talked(self, answered_at: float, budget: Budget) -> float:
        """Give how long somebody has talked in this window since then."""
        began_at = self._window(budget) * budget.window
        return max(0.0, self._seconds() - max(answered_at, began_at))
