"""The location service on a clock."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.errors import LocalError, RequestRefusedError
from sipd.interfaces import Binding, ILocationService, IRegistrationObserver
from sipd.registrar.bindings import RegistrarSettings, read_registration
from sipd.registrar.interfaces import IBindingStore
from sipd.registrar.location import LocationService
from tests.registrar.fakes import Diary, MemoryStore, binding, request

SETTINGS = RegistrarSettings(min_expires=60, max_expires=600, default_expires=300)
A = "<sip:alice@10.0.0.1>"
B = "<sip:alice@10.0.0.2>"
ALICE = "sip:alice@example.com"


class LocationCase(SynchronousTestCase):
    """A location service with a store and an observer."""

    def setUp(self) -> None:
        """Make them, and start."""
        self.clock = Clock()
        self.kept: dict[str, tuple[Binding, ...]] = {}
        self.store = MemoryStore(self.kept)
        self.diary = Diary()
        self.location = LocationService(clock=self.clock, store=self.store, observer=self.diary)
        self.successResultOf(self.location.start())

    def tearDown(self) -> None:
        """Stop, and leave no timer behind."""
        self.successResultOf(self.location.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.store.is_closed)

    def register(self, *contacts: str, aor: str = ALICE, cseq: int = 1, expires: int | None = None) -> None:
        """Register contacts."""
        headers = [] if expires is None else [("Expires", str(expires))]
        message = request(*contacts, cseq=cseq, headers=headers)
        self.location.register(read_registration(message, aor=aor, settings=SETTINGS), max_contacts=10)

    def bound(self, aor: str = ALICE) -> list[str]:
        """Give the contacts of an AOR."""
        return [one.contact for one in self.location.lookup(aor)]


class RegisterTests(LocationCase):
    """What is registered is found, kept and told."""

    def test_interfaces(self) -> None:
        """The service and the fakes are what they say."""
        verifyObject(ILocationService, self.location)
        verifyObject(IBindingStore, self.store)
        verifyObject(IRegistrationObserver, self.diary)

    def test_nobody(self) -> None:
        """An unknown AOR has no bindings."""
        self.assertEqual(self.bound("sip:nobody@example.com"), [])

    def test_lookup(self) -> None:
        """The highest q comes first, and AORs do not mix."""
        self.register(f"{A};q=0.1", f"{B};q=0.9")
        self.register(A, aor="sip:bob@example.com")
        self.assertEqual(self.bound(), [f"{B};q=0.9", f"{A};q=0.1"])
        self.assertEqual(self.bound("sip:bob@example.com"), [A])
        self.assertEqual(sorted(self.location.addresses_of_record()), [ALICE, "sip:bob@example.com"])
        self.assertEqual(len(self.location), 2)

    def test_query(self) -> None:
        """A request without a Contact changes nothing and gives what is there."""
        self.register(A)
        self.diary.entries.clear()
        self.kept.clear()
        registration = read_registration(request(), aor=ALICE, settings=SETTINGS)
        self.assertEqual(self.location.register(registration, max_contacts=10), self.location.lookup(ALICE))
        self.assertEqual((self.diary.entries, self.kept), ([], {}))

    def test_observer(self) -> None:
        """Each binding that is made, refreshed or removed is told once."""
        self.register(A, B)
        self.register(f"{A};expires=60", f"{B};expires=0", cseq=2)
        self.register("*", cseq=3, expires=0)
        self.assertEqual(
            self.diary.entries,
            [
                ("made", "sip:alice@10.0.0.1", 300),
                ("made", "sip:alice@10.0.0.2", 300),
                ("refreshed", "sip:alice@10.0.0.1", 60),
                ("removed", "sip:alice@10.0.0.2"),
                ("removed", "sip:alice@10.0.0.1"),
            ],
        )

    def test_store(self) -> None:
        """The store has what memory has, also when the last binding is gone."""
        self.register(A, B)
        self.assertEqual(self.kept[ALICE], tuple(self.location.lookup(ALICE)))
        self.register("*", cseq=2, expires=0)
        self.assertEqual(self.kept[ALICE], ())
        self.assertEqual(len(self.location), 0)

    def test_refusal_changes_nothing(self) -> None:
        """A request that is refused leaves memory, store and observer as they were."""
        self.register(A, cseq=5)
        before, entries, kept = self.location.lookup(ALICE), list(self.diary.entries), dict(self.kept)
        self.assertRaises(RequestRefusedError, self.register, B, A, cseq=5)
        self.assertEqual((self.location.lookup(ALICE), self.diary.entries, self.kept), (before, entries, kept))

    def test_without_store_and_observer(self) -> None:
        """Both are optional."""
        location = LocationService(clock=self.clock)
        self.successResultOf(location.start())
        location.register(read_registration(request(A), aor=ALICE, settings=SETTINGS), max_contacts=1)
        self.assertEqual(len(location.lookup(ALICE)), 1)
        self.successResultOf(location.stop())


class ExpiryTests(LocationCase):
    """Bindings end by themselves."""

    def test_exactly(self) -> None:
        """A binding is there until its time, and gone from memory and store at it."""
        self.register(A)
        self.clock.advance(299.9)
        self.assertEqual(self.bound(), [A])
        self.clock.advance(0.1)
        self.assertEqual((self.bound(), len(self.location), self.kept[ALICE]), ([], 0, ()))
        self.assertEqual(self.diary.entries[-1], ("expired", "sip:alice@10.0.0.1"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_of_two(self) -> None:
        """The other binding stays, and ends at its own time."""
        self.register(f"{A};expires=60", B)
        self.clock.advance(60)
        self.assertEqual((self.bound(), len(self.kept[ALICE])), ([B], 1))
        self.clock.advance(240)
        self.assertEqual(self.bound(), [])

    def test_one_timer(self) -> None:
        """However many bindings there are, one timer is pending, for the earliest."""
        for number in range(50):
            self.register(A, aor=f"sip:{number}@example.com", expires=100 + number)
        self.register(A, aor="sip:early@example.com", expires=60)
        (timer,) = self.clock.getDelayedCalls()
        self.assertEqual(timer.getTime(), 60)
        self.clock.advance(60)
        self.assertEqual([timer.getTime() for timer in self.clock.getDelayedCalls()], [100])

    def test_refresh(self) -> None:
        """A binding that is refreshed again and again stays, and costs one entry."""
        for cseq in range(1, 100):
            self.register(A, cseq=cseq)
            self.clock.advance(200)
        self.assertEqual(self.bound(), [A])
        self.assertLessEqual(len(self.location._heap), 2)

    def test_shortened(self) -> None:
        """A refresh with an earlier end counts."""
        self.register(A, expires=600)
        self.register(A, expires=60, cseq=2)
        self.clock.advance(60)
        self.assertEqual(len(self.location), 0)

    def test_lookup_does_not_wait_for_the_timer(self) -> None:
        """What has expired is not found even while the timer is late."""
        self.register(f"{A};expires=60", B)
        self.clock.rightNow += 60
        self.assertEqual(self.bound(), [B])

    def test_many_at_once(self) -> None:
        """A thousand that expire together are dropped in several goes, so that nothing else waits long."""
        for number in range(1000):
            self.register(A, aor=f"sip:{number}@example.com")
        left: list[int] = []
        self.clock.callLater(300, lambda: left.append(len(self.location)))
        self.clock.advance(300)
        self.assertEqual((left, len(self.location)), ([800], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from((0, 60, 100, 600)), st.integers(0, 90)), max_size=20))
    @settings(deadline=None, max_examples=100)
    def test_histories(self, history: list[tuple[int, int, int]]) -> None:
        """After any history memory has what is alive, the store has the same, and time ends it all."""
        self.kept.clear()
        location = LocationService(clock=self.clock, store=MemoryStore(self.kept))
        alive: dict[str, float] = {}
        for cseq, (user, expires, wait) in enumerate(history, 1):
            aor = f"sip:{user}@example.com"
            message = request(f"{A};expires={expires}", cseq=cseq)
            location.register(read_registration(message, aor=aor, settings=SETTINGS), max_contacts=1)
            alive[aor] = self.clock.seconds() + expires
            self.clock.advance(wait)
            now = self.clock.seconds()
            expected = {aor for aor, end in alive.items() if end > now}
            self.assertEqual(set(location.addresses_of_record()), expected)
            self.assertEqual({aor for aor, bindings in self.kept.items() if bindings}, expected)
        self.clock.advance(601)
        self.clock.pump([0.0] * 3)
        self.assertEqual((len(location), self.clock.getDelayedCalls()), (0, []))


class RestartTests(LocationCase):
    """What the store kept comes back."""

    def restart(self) -> LocationService:
        """Give another service on the same data."""
        location = LocationService(clock=self.clock, store=MemoryStore(self.kept))
        self.successResultOf(location.start())
        self.addCleanup(location.stop)
        return location

    def test_bindings_come_back(self) -> None:
        """All bindings are there again, in order, and still end when they should."""
        self.register(f"{A};q=0.1", f"{B};expires=60")
        again = self.restart()
        self.assertEqual(again.lookup(ALICE), self.location.lookup(ALICE))
        self.clock.advance(60)
        self.assertEqual([one.contact for one in again.lookup(ALICE)], [f"{A};q=0.1"])

    def test_order_survives(self) -> None:
        """A REGISTER from before the restart is still refused after it."""
        self.register(A, cseq=5)
        again = self.restart()
        old = read_registration(request(A, cseq=5), aor=ALICE, settings=SETTINGS)
        self.assertRaises(RequestRefusedError, again.register, old, max_contacts=10)

    def test_expired_meanwhile(self) -> None:
        """What expired while nobody ran is not loaded."""
        self.kept[ALICE] = (binding(expires_at=5.0), binding(B, expires_at=50.0))
        self.clock.advance(10)
        self.assertEqual([one.contact for one in self.restart().lookup(ALICE)], [B])

    def test_registered_while_loading(self) -> None:
        """What came in before the store answered is newer than what it kept."""
        self.kept[ALICE] = (binding(B),)
        location = LocationService(clock=self.clock, store=MemoryStore(self.kept))
        self.addCleanup(location.stop)
        location.register(read_registration(request(A), aor=ALICE, settings=SETTINGS), max_contacts=1)
        self.kept[ALICE] = (binding(B),)
        self.successResultOf(location.start())
        self.assertEqual([one.contact for one in location.lookup(ALICE)], [A])

    def test_store_cannot_be_read(self) -> None:
        """The start fails with the store's own words."""
        store = MemoryStore(self.kept)
        store.error = LocalError("no such file")
        location = LocationService(clock=self.clock, store=store)
        failure = self.failureResultOf(location.start(), LocalError)
        self.assertEqual(str(failure.value), "no such file")
