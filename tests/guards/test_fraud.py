"""Tests of `sipd.guards.fraud`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.guards.fraud import Action, Budget, CountrySettings, FraudGuard, FraudSettings

PREMIUM = ("+88299", "0900")
NUMBER = ("0900123",)
DAY = 86400.0


class FraudCase(SynchronousTestCase):
    """A guard, and calls."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 10 * DAY

    def guard(self, *budgets: Budget, countries: CountrySettings | None = None, accounts: int = 100) -> None:
        """Make the guard."""
        settings = FraudSettings(budgets=budgets, countries=countries or CountrySettings(), max_accounts=accounts)
        self.fraud = FraudGuard(self.clock.seconds, settings)

    def texts(self, account: str = "alice", numbers: tuple[str, ...] = NUMBER) -> list[str]:
        """Give what is said about a call that is about to begin."""
        return [alert.text for alert in self.fraud.check(account, numbers)]

    def talk(self, seconds: float, call: str = "call", account: str = "alice") -> None:
        """Make a call of that length."""
        self.fraud.begin(call, account, NUMBER)
        self.fraud.answered(call)
        self.clock.advance(seconds)
        self.fraud.end(call)


class BudgetTests(FraudCase):
    """What may be spent."""

    def test_attempts(self) -> None:
        """So many calls of an account to these prefixes pass in a window, and then none until the next one."""
        self.guard(Budget(name="premium", prefixes=PREMIUM, attempts=2))
        for number in range(2):
            self.assertEqual(self.texts(), [])
            self.fraud.begin(str(number), "alice", NUMBER)
            self.fraud.end(str(number))
        self.assertEqual(self.texts(), ["2 calls within 86400 s"])
        self.assertEqual(self.texts(account="bob"), [])
        self.assertEqual(self.texts(numbers=("0301234",)), [])
        self.assertEqual(self.texts(numbers=("0301234", "+8829912")), ["2 calls within 86400 s"])
        self.clock.advance(DAY)
        self.assertEqual(self.texts(), [])

    def test_seconds(self) -> None:
        """Time counts from the answer; what rings spends none; a call in progress spends while it goes on."""
        self.guard(Budget(name="premium", prefixes=PREMIUM, seconds=100.0))
        self.fraud.begin("rings", "alice", NUMBER)
        self.clock.advance(500.0)
        self.fraud.end("rings")
        self.talk(60.0)
        self.assertEqual(self.texts(), [])
        self.assertEqual(self.fraud.begin("running", "alice", NUMBER), 40.0)
        self.fraud.answered("running")
        self.clock.advance(10.0)
        self.fraud.answered("running")
        self.clock.advance(29.0)
        self.assertEqual(self.texts(), [])
        self.clock.advance(1.0)
        self.assertEqual(self.texts(), ["100 s of talk within 86400 s"])
        self.fraud.end("running")
        self.fraud.end("running")
        self.assertEqual(self.texts(), ["100 s of talk within 86400 s"])

    def test_over_the_end_of_a_window(self) -> None:
        """A call that lasts from one window to the next spends of each what it lasted in it."""
        budget = Budget(name="premium", prefixes=PREMIUM, seconds=100.0, window=1000.0)
        self.guard(budget)
        self.clock.rightNow = 10_990.0
        self.talk(30.0)
        self.assertEqual(self.fraud.seconds_spent(budget, "alice"), 20.0)

    def test_parallel(self) -> None:
        """So many calls at the same time; the next one may begin when one of them ends."""
        self.guard(Budget(name="premium", prefixes=PREMIUM, parallel=2))
        for call in ("1", "2"):
            self.assertEqual(self.texts(), [])
            self.fraud.begin(call, "alice", NUMBER)
        self.assertEqual(self.texts(), ["2 calls at a time"])
        self.fraud.end("1")
        self.assertEqual(self.texts(), [])

    def test_who_and_what(self) -> None:
        """A budget is about some accounts or all, about some numbers or all that lead elsewhere; all that are count."""
        self.guard(
            Budget(name="all", attempts=1),
            Budget(name="alice", accounts=frozenset(("alice",)), prefixes=("+49",), attempts=1, action=Action.LOG),
        )
        self.fraud.begin("1", "alice", ("+4930",))
        self.fraud.begin("2", "bob", ("",))
        found = self.fraud.check("alice", ("+4930",))
        self.assertEqual([(alert.rule, alert.is_refused) for alert in found], [("all", True), ("alice", False)])
        self.assertEqual([alert.rule for alert in self.fraud.check("bob", ("+4930",))], ["all"])
        self.assertEqual(self.fraud.check("alice", ()), [])

    def test_log_only(self) -> None:
        """A budget that only logs refuses nothing, and shortens no call."""
        self.guard(Budget(name="premium", prefixes=PREMIUM, seconds=10.0, action=Action.LOG))
        self.talk(20.0)
        (alert,) = self.fraud.check("alice", NUMBER)
        self.assertFalse(alert.is_refused)
        self.assertIsNone(self.fraud.begin("next", "alice", NUMBER))

    def test_told_once(self) -> None:
        """Only the first alert of a budget, an account and a window is one to tell somebody."""
        self.guard(Budget(name="premium", prefixes=PREMIUM, attempts=1))
        self.fraud.begin("1", "alice", NUMBER)
        found = [alert.is_first for _ in range(3) for alert in self.fraud.check("alice", NUMBER)]
        self.assertEqual(found, [True, False, False])
        self.clock.advance(DAY)
        self.fraud.begin("2", "alice", NUMBER)
        self.assertEqual([alert.is_first for alert in self.fraud.check("alice", NUMBER)], [True])

    def test_bound(self) -> None:
        """No more accounts are remembered than may be; the one that was silent for the longest time goes."""
        budget = Budget(name="premium", prefixes=PREMIUM, attempts=1)
        self.guard(budget, accounts=2)
        for account in ("old", "new", "newest"):
            self.fraud.begin(account, account, NUMBER)
            self.fraud.end(account)
        self.assertEqual([bool(self.texts(account)) for account in ("new", "newest")], [True, True])
        self.assertEqual(self.texts("old"), [])

    def test_settings_that_change(self) -> None:
        """What was spent stays spent when budgets change while calls go on."""
        self.guard(Budget(name="premium", prefixes=PREMIUM, attempts=5))
        self.fraud.begin("1", "alice", NUMBER)
        self.fraud.settings = FraudSettings(budgets=(Budget(name="premium", prefixes=PREMIUM, attempts=1),))
        self.assertEqual(self.texts(), ["1 calls within 86400 s"])
        self.fraud.settings = FraudSettings()
        self.assertEqual(self.texts(), [])
        self.fraud.end("1")


class CountryTests(FraudCase):
    """Calls to where an account never called."""

    def countries(self, action: Action) -> None:
        """Make a guard that learns for a day."""
        self.guard(countries=CountrySettings(action=action, known=frozenset(("+49",)), learning=DAY))

    def test_learns_first(self) -> None:
        """In the first time of an account its countries are learned; those that all call are never new."""
        self.countries(Action.REFUSE)
        self.assertEqual(self.texts(numbers=("+4930",)), [])
        self.assertEqual(self.texts(numbers=("+3312",)), [])
        self.clock.advance(DAY)
        self.assertEqual(self.texts(numbers=("+3399",)), [])
        self.assertEqual(self.texts(numbers=("+4930",)), [])
        self.assertEqual(self.texts(numbers=("+5312",)), ["no call to +53 before"])
        self.assertEqual(self.texts(numbers=("0301234",)), [])

    def test_refused(self) -> None:
        """A country that is refused stays so, and is told once."""
        self.countries(Action.REFUSE)
        self.texts(numbers=("+3312",))
        self.clock.advance(DAY)
        alerts = [alert for _ in range(2) for alert in self.fraud.check("alice", ("+5312",))]
        self.assertEqual([(alert.is_refused, alert.is_first) for alert in alerts], [(True, True), (True, False)])

    def test_logged(self) -> None:
        """A country that is only told of is known from then on."""
        self.countries(Action.LOG)
        self.texts(numbers=("+3312",))
        self.clock.advance(DAY)
        alerts = [alert for _ in range(2) for alert in self.fraud.check("alice", ("+5312",))]
        self.assertEqual([(alert.is_refused, alert.is_first) for alert in alerts], [(False, True)])

    def test_off(self) -> None:
        """Switched off, nothing is remembered."""
        self.countries(Action.OFF)
        self.clock.advance(2 * DAY)
        self.assertEqual(self.texts(numbers=("+5312",)), [])
