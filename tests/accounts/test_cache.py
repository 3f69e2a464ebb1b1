"""What is remembered of a store, for how long, and what happens when it is away."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.accounts.cache import FIRST_REST, LAST_REST, AccountCache, CacheSettings
from sipd.accounts.interfaces import (
    IAccountStore,
    MalformedAccountError,
    StoredAccount,
    StoreUnavailableError,
)
from tests.accounts.fakes import FakeStore, LogLines, stored

AWAY = StoreUnavailableError("connection refused")


class CacheCase(SynchronousTestCase):
    """A cache before a store that has alice."""

    def setUp(self) -> None:
        """Make them."""
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.alice = stored("alice")
        self.store = FakeStore(self.alice)
        self.cache = self.make()
        self.log = LogLines(self)

    def tearDown(self) -> None:
        """Nothing is pending."""
        self.assertEqual((self.clock.getDelayedCalls(), self.cache.questions), ([], 0))

    def make(self, **settings: float) -> AccountCache:
        """Make a cache: 60 s, 10 s for nobody, an hour while the store is away."""
        return AccountCache(
            self.store,
            name="staff",
            clock=self.clock,
            settings=CacheSettings(**settings),  # type: ignore[arg-type]
        )

    def find(self, name: str = "alice") -> StoredAccount | None:
        """Ask, and give the answer."""
        return self.successResultOf(self.cache.find(name))

    def failure(self, name: str = "alice") -> str:
        """Ask, and give what it fails with."""
        return str(self.failureResultOf(self.cache.find(name), StoreUnavailableError).value)


class MemoryTests(CacheCase):
    """How long something is remembered."""

    def test_store(self) -> None:
        """The fake store is one."""
        verifyObject(IAccountStore, self.store)

    def test_ttl(self) -> None:
        """An account is asked for once in its time."""
        self.assertIs(self.find(), self.alice)
        self.clock.advance(59.9)
        self.assertIs(self.find(), self.alice)
        self.assertEqual(self.store.asked, ["alice"])
        self.clock.advance(0.2)
        self.assertIs(self.find(), self.alice)
        self.assertEqual(self.store.asked, ["alice"] * 2)

    def test_negative_ttl(self) -> None:
        """That there is no such user is believed for a shorter time."""
        self.assertIsNone(self.find("bob"))
        self.clock.advance(9.9)
        self.assertTrue(self.cache.answered("bob"))
        self.assertIsNone(self.find("bob"))
        self.assertEqual(self.store.asked, ["bob"])
        self.clock.advance(0.2)
        self.assertFalse(self.cache.answered("bob"))
        self.store.has["bob"] = stored("bob")
        self.assertIs(self.find("bob"), self.store.has["bob"])
        self.assertTrue(self.cache.answered("bob"))
        self.assertEqual(len(self.cache), 1)

    def test_deleted(self) -> None:
        """Who is no user any more is forgotten with the next question."""
        self.find()
        del self.store.has["alice"]
        self.assertIsNotNone(self.cache.known("alice"))
        self.clock.advance(60)
        self.assertIsNone(self.find())
        self.assertIsNone(self.cache.known("alice"))

    def test_bound_of_accounts(self) -> None:
        """Beyond the bound the account is forgotten that was asked for longest ago."""
        self.store.has |= {name: stored(name) for name in ("bob", "carol")}
        self.cache = self.make(max_entries=2)
        for name in ("alice", "bob", "alice", "carol"):
            self.find(name)
        self.assertEqual(list(self.cache.names()), ["alice", "carol"])

    def test_bound_of_names_that_nobody_has(self) -> None:
        """A flood of names that nobody has drives no account out."""
        self.cache = self.make(max_entries=3)
        self.find()
        for number in range(100):
            self.assertIsNone(self.find(f"x{number}"))
        self.assertEqual(len(self.cache), 4)
        self.assertIs(self.cache.known("alice"), self.alice)

    def test_forget(self) -> None:
        """What is to be forgotten is asked for again."""
        self.find()
        self.find("bob")
        self.cache.forget()
        self.assertEqual((len(self.cache), self.cache.known("alice")), (0, None))


class QuestionTests(CacheCase):
    """How it asks."""

    def test_equal_questions(self) -> None:
        """Questions for the same user that come while one is open are one question."""
        self.store.is_slow = True
        waiting = [self.cache.find("alice") for _ in range(5)]
        self.assertEqual(self.store.asked, ["alice"])
        self.store.answer()
        self.assertEqual([self.successResultOf(one) for one in waiting], [self.alice] * 5)

    def test_bound_of_questions(self) -> None:
        """Beyond the bound a question fails at once, and takes the memory if there is one; the others go on."""
        self.cache = self.make(max_questions=3)
        self.find()
        self.clock.advance(60)
        self.store.is_slow = True
        waiting = [self.cache.find(f"u{number}") for number in range(3)]
        self.assertEqual(self.failure("bob"), "3 questions are open already")
        self.assertIs(self.find("alice"), self.alice)
        self.assertEqual(len(self.store.open), 3)
        self.store.answer()
        self.assertEqual([self.successResultOf(one) for one in waiting], [None] * 3)
        self.store.is_slow = False
        self.assertIsNone(self.find("bob"))
        self.assertEqual(self.log.lines, [])

    def test_too_slow(self) -> None:
        """A store that takes too long counts as away, and the question is taken back."""
        self.store.is_slow = True
        waiting = self.cache.find("alice")
        self.clock.advance(2.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.failureResultOf(waiting, StoreUnavailableError)
        self.assertEqual(self.store.given_up, ["alice"])
        self.assertEqual(
            self.log.lines, ["staff cannot be asked: no answer within 3 s; users that are remembered go on"]
        )

    def test_who_asks_gives_up(self) -> None:
        """Somebody who gives up takes nothing away from the others."""
        self.store.is_slow = True
        first, second = self.cache.find("alice"), self.cache.find("alice")
        second.addErrback(lambda _: None)
        second.cancel()
        self.store.answer()
        self.assertIs(self.successResultOf(first), self.alice)


class AwayTests(CacheCase):
    """What happens while the store is away."""

    def lose(self) -> None:
        """Let it be away from now on."""
        self.store.error = AWAY

    def test_stale(self) -> None:
        """Who is remembered goes on for an hour beyond the time, and not longer."""
        self.find()
        self.lose()
        self.clock.advance(60 + 3599)
        self.assertIs(self.find(), self.alice)
        self.clock.advance(2)
        self.assertEqual(self.failure(), "connection refused")

    def test_stale_is_off(self) -> None:
        """With `stale = 0`, nobody does."""
        self.cache = self.make(stale=0)
        self.find()
        self.lose()
        self.clock.advance(60)
        self.assertEqual(self.failure(), "connection refused")

    def test_nobody_is_no_stale_answer(self) -> None:
        """That there was no such user a while ago is not said of a user while nobody can be asked."""
        self.assertIsNone(self.find("bob"))
        self.lose()
        self.clock.advance(10)
        self.assertEqual(self.failure("bob"), "connection refused")

    def test_rest(self) -> None:
        """A store that failed is left alone for a second, then two, four, at most fifteen; then it is asked again."""
        self.lose()
        self.failure("u")
        rest, gaps = FIRST_REST, []
        for _ in range(6):
            self.clock.advance(rest - 0.01)
            asked = len(self.store.asked)
            self.assertEqual(self.failure("u"), "it did not answer just now")
            self.assertEqual(len(self.store.asked), asked)
            self.clock.advance(0.01)
            self.failure("u")
            self.assertEqual(len(self.store.asked), asked + 1)
            gaps.append(rest)
            rest = min(2 * rest, LAST_REST)
        self.assertEqual(gaps, [1, 2, 4, 8, 15, 15])

    def test_log(self) -> None:
        """There is one line when it fails and one when it is back."""
        self.lose()
        for _ in range(10):
            self.failure()
            self.clock.advance(20)
        self.store.error = None
        self.assertIs(self.find(), self.alice)
        self.clock.advance(100)
        self.find()
        self.assertEqual(
            self.log.lines,
            [
                "staff cannot be asked: connection refused; users that are remembered go on",
                "staff answers again",
            ],
        )

    def test_failures_of_one_moment(self) -> None:
        """Questions that were open together when it failed do not make the rest longer."""
        self.store.is_slow = True
        waiting = [self.cache.find(f"u{number}") for number in range(10)]
        self.lose()
        self.store.answer()
        for one in waiting:
            self.failureResultOf(one, StoreUnavailableError)
        self.store.error, self.store.is_slow = None, False
        self.clock.advance(FIRST_REST)
        self.assertIs(self.find(), self.alice)

    def test_malformed(self) -> None:
        """An account that makes no sense is nobody else's failure, and old memory does not stand in for it."""
        self.find()
        self.clock.advance(60)
        self.store.error = MalformedAccountError("the account of alice: srtp: nonsense")
        self.failureResultOf(self.cache.find("alice"), MalformedAccountError)
        self.store.error = None
        self.assertIsNone(self.find("bob"))
        self.assertEqual(self.log.lines, ["staff: the account of alice: srtp: nonsense"])

    def test_bug(self) -> None:
        """A store that breaks is a failure of the store to who asks, with a traceback in the log."""
        self.store.error = ZeroDivisionError("bug")
        self.assertEqual(self.failure(), "it failed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_close(self) -> None:
        """At the end every open question fails, without a word in the log, and the store is closed."""
        self.store.is_slow = True
        waiting = [self.cache.find("alice"), self.cache.find("bob")]
        closed: Deferred[None] = self.cache.close()
        self.successResultOf(closed)
        for one in waiting:
            self.failureResultOf(one, StoreUnavailableError)
        self.assertTrue(self.store.is_closed)
        self.assertEqual(self.log.lines, [])
