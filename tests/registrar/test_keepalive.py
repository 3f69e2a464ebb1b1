"""When contacts are pinged, which of them, and what becomes of those that do not answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import ConnectionRefused, RemoteError, ResourcesExhaustedError, TransactionTimeoutError
from sipd.interfaces import (
    Binding,
    IClientTransaction,
    IFlow,
    IMessageReceiver,
    IRegistrationObserver,
    IServerTransaction,
    ITransactionLayer,
    ITransactionUser,
    ITransportLayer,
    ListeningPoint,
)
from sipd.registrar.bindings import RegistrarSettings, Registration, read_registration
from sipd.registrar.keepalive import JITTER, KeepAlive, KeepAliveSettings, Ping, Silence, needs_keep_alive
from sipd.registrar.location import LocationService
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request, Response
from sipd.testing import builders
from tests.registrar.fakes import Diary, FakeFlow, LogLines, MemoryStore, binding, request, seeded

ALICE = "sip:alice@example.com"
SETTINGS = RegistrarSettings(min_expires=60, max_expires=7200, default_expires=7200)
NAT = Target(transport=Transport.UDP, host="198.51.100.7", port=40000)
CONNECTION = Target(transport=Transport.TCP, host="198.51.100.8", port=50000)
INSIDE = "<sip:alice@10.0.0.5>"
INTERVAL = 25.0


class Flow(FakeFlow):
    """A flow that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        """See `IFlow`."""
        self.sent.append(data)


@implementer(ITransportLayer)
class Flows:
    """A transport layer that has a flow to everybody, but for those who are gone."""

    receiver: IMessageReceiver | None = None
    points: Sequence[ListeningPoint] = ()

    def __init__(self) -> None:
        self.flows: dict[Target, Flow] = {}
        self.gone: set[Target] = set()

    def flow_to(self, target: Target) -> IFlow:
        """See `ITransportLayer`."""
        raise AssertionError("a ping makes no connection")

    def find_flow(self, target: Target) -> IFlow | None:
        """See `ITransportLayer`."""
        return None if target in self.gone else self.flows.setdefault(target, Flow())

    def send_response(self, response: Response, flow: IFlow) -> None:
        """See `ITransportLayer`."""


@implementer(ITransactionLayer)
class Asked:
    """A transaction layer that keeps the requests, and is told what becomes of them."""

    def __init__(self, clock: Clock) -> None:
        self.requests: list[tuple[float, Request]] = []
        self.waiting: list[tuple[Request, Deferred[Response]]] = []
        self._clock = clock

    def start(self, request: Request, flow: IFlow, user: ITransactionUser) -> IClientTransaction:
        """See `ITransactionLayer`."""
        raise AssertionError("not used")

    def request(
        self, request: Request, flow: IFlow, provisional: Callable[[Response], None] | None = None
    ) -> Deferred[Response]:
        """See `ITransactionLayer`."""
        self.requests.append((self._clock.seconds(), request))
        self.waiting.append((request, Deferred()))
        return self.waiting[-1][1]

    def send_ack(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionLayer`."""

    def drop(self, transaction: IClientTransaction | IServerTransaction) -> None:
        """See `ITransactionLayer`."""

    def is_merged(self, transaction: IServerTransaction) -> bool:
        """See `ITransactionLayer`."""
        return False

    def answer(self, status: int = 200) -> None:
        """Let everything be answered that waits."""
        waiting, self.waiting = self.waiting, []
        for asked, deferred in waiting:
            deferred.callback(builders.response(asked, status))

    def fail(self, error: Exception | None = None) -> None:
        """Let everything fail that waits."""
        waiting, self.waiting = self.waiting, []
        for _, deferred in waiting:
            deferred.errback(error or TransactionTimeoutError("64*T1 have passed"))


class KeepAliveCase(SynchronousTestCase):
    """A location service whose bindings are kept alive."""

    how = KeepAliveSettings(interval=INTERVAL)

    def setUp(self) -> None:
        """Make it."""
        self.log = LogLines(self)
        self.clock = Clock()
        self.kept: dict[str, tuple[Binding, ...]] = {}
        self.diary = Diary()
        self.location = LocationService(clock=self.clock, store=MemoryStore(self.kept), observer=self.diary)
        self.flows, self.asked = Flows(), Asked(self.clock)
        self.keep_alive = self.make()

    def make(self) -> KeepAlive:
        """Make a service."""
        return KeepAlive(
            clock=self.clock,
            location=self.location,
            transport=self.flows,
            transactions=self.asked,
            entropy=seeded(),
            host="example.com",
            settings=self.how,
        )

    def tearDown(self) -> None:
        """Stop, and leave no timer behind."""
        self.keep_alive.stop()
        self.keep_alive.stop()
        self.location.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def register(
        self, *contacts: str, source: Target | None = NAT, aor: str = ALICE, cseq: int = 1, expires: int = 3600
    ) -> None:
        """Register contacts."""
        message = request(*contacts, cseq=cseq, headers=[("Expires", str(expires))])
        registration = read_registration(message, aor=aor, settings=SETTINGS, source=source)
        self.location.register(registration, max_contacts=10)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, smoothly."""
        self.clock.pump([0.1] * round(seconds * 10))


class WhomTests(KeepAliveCase):
    """Who needs it."""

    def test_interfaces(self) -> None:
        """Everything is what it says."""
        verifyObject(IRegistrationObserver, self.keep_alive)
        verifyObject(ITransportLayer, self.flows)
        verifyObject(ITransactionLayer, self.asked)

    def test_table(self) -> None:
        """Connections, and addresses other than the Contact's; not what a proxy sent, and not who is where it says."""
        here = Target(transport=Transport.UDP, host="192.0.2.9", port=40000)
        for contact, source, path, expected in (
            (INSIDE, NAT, (), True),
            ("<sip:alice@phone.example.net>", NAT, (), True),
            ("<tel:+123>", NAT, (), True),
            ("<sip:alice@198.51.100.8>", CONNECTION, (), True),
            ("<sip:alice@192.0.2.9:5060>", here, (), False),
            (INSIDE, None, (), False),
            (INSIDE, NAT, ("<sip:proxy.example.com;lr>",), False),
        ):
            one = binding(contact, source=source, path=path)
            self.assertIs(needs_keep_alive(one), expected, (contact, source))

    def test_only_those(self) -> None:
        """Nobody else is asked."""
        self.keep_alive.start()
        self.register(INSIDE)
        self.register("<sip:bob@198.51.100.7>", aor="sip:bob@example.com")
        self.assertEqual(len(self.keep_alive), 1)
        self.pass_time(INTERVAL)
        self.assertEqual([one.uri_text for _, one in self.asked.requests], ["sip:alice@10.0.0.5"])


class WhenTests(KeepAliveCase):
    """When they are pinged."""

    def test_interval(self) -> None:
        """Each ping comes an interval after the one before, or up to a fifth of it earlier, and never later."""
        self.keep_alive.start()
        self.register(INSIDE)
        for _ in range(200):
            self.clock.advance(1.0)
            self.asked.answer()
        times = [0.0, *(time for time, _ in self.asked.requests)]
        waits = [later - earlier for earlier, later in pairwise(times)]
        self.assertGreater(len(waits), 7)
        for wait in waits:
            self.assertTrue((1 - JITTER) * INTERVAL <= wait <= INTERVAL + 1.0, waits)
        self.assertGreater(len({round(wait) for wait in waits}), 1)

    def test_one_at_a_time(self) -> None:
        """While one is under way no other is sent to the same contact; the next one follows at once then."""
        self.keep_alive.start()
        self.register(INSIDE)
        self.pass_time(60.0)
        self.assertEqual(len(self.asked.requests), 1)
        self.asked.fail()
        self.pass_time(0.2)
        self.assertEqual(len(self.asked.requests), 2)

    def test_what_is_there_at_the_start(self) -> None:
        """10,000 bindings of a restart are spread over the interval: never more than twice the average a second."""
        count = 10_000
        for number in range(count):
            self.register(f"<sip:{number}@10.0.0.5>", aor=f"sip:{number}@example.com")
        self.keep_alive.start()
        for _ in range(30):
            self.clock.pump([0.1] * 10)
            self.asked.answer()
        seconds = Counter(int(time) for time, _ in self.asked.requests)
        self.assertLessEqual(max(seconds.values()), 2 * count / INTERVAL + 10)
        self.assertGreater(min(seconds[second] for second in range(1, 20)), 0.7 * count / INTERVAL)
        self.assertEqual(len({one.uri_text for _, one in self.asked.requests}), count)

    def test_registered_at_once(self) -> None:
        """Nor do they come in a burst when all have registered in one moment, or when the server stood still."""
        count = 10_000
        self.keep_alive.start()
        for number in range(count):
            self.register(f"<sip:{number}@10.0.0.5>", aor=f"sip:{number}@example.com")
        self.clock.advance(2 * INTERVAL)
        most = len(self.asked.requests)
        for _ in range(200):
            before = len(self.asked.requests)
            self.clock.advance(0.1)
            most = max(most, len(self.asked.requests) - before)
        self.assertLessEqual(most, 2 * count / INTERVAL * 0.1 + 1)
        self.assertEqual(len(self.asked.requests), count)

    def test_removed_and_expired(self) -> None:
        """Who is not registered any more is not pinged, and nothing is kept of it."""
        self.keep_alive.start()
        self.register(INSIDE, expires=60)
        self.register("<sip:bob@10.0.0.6>", aor="sip:bob@example.com")
        self.register("<sip:bob@10.0.0.6>", aor="sip:bob@example.com", cseq=2, expires=0)
        self.pass_time(61.0)
        self.asked.answer()
        self.pass_time(100.0)
        self.assertEqual({one.uri_text for _, one in self.asked.requests}, {"sip:alice@10.0.0.5"})
        self.assertEqual((len(self.keep_alive), self.keep_alive._due), (0, []))

    def test_refreshed_from_elsewhere(self) -> None:
        """A refresh says where the phone is now, and may say that it needs nothing, or something, from now on."""
        self.keep_alive.start()
        self.register(INSIDE)
        other = Target(transport=Transport.UDP, host="198.51.100.9", port=41000)
        self.register(INSIDE, source=other, cseq=2)
        self.assertEqual(len(self.keep_alive), 1)
        self.pass_time(INTERVAL)
        self.assertEqual(list(self.flows.flows), [other])
        self.asked.answer()
        self.register(INSIDE, source=Target(transport=Transport.UDP, host="10.0.0.5", port=5060), cseq=3)
        self.assertEqual(len(self.keep_alive), 0)
        self.register(INSIDE, cseq=4)
        self.assertEqual(len(self.keep_alive), 1)
        self.pass_time(INTERVAL)
        self.assertEqual(len(self.asked.requests), 2)

    def test_refreshed_while_it_is_asked(self) -> None:
        """What waits for an answer at the old place does not hold up the questions at the new one, nor count there."""
        self.keep_alive.start()
        self.register(INSIDE)
        self.pass_time(INTERVAL)
        self.asked.answer()
        self.pass_time(INTERVAL)
        other = Target(transport=Transport.UDP, host="198.51.100.9", port=41000)
        self.register(INSIDE, source=other, cseq=2)
        (old,) = self.asked.waiting
        self.asked.waiting.clear()
        self.pass_time(INTERVAL)
        self.assertIn(other, self.flows.flows)
        for _ in range(3):
            self.assertEqual(len(self.location.lookup(ALICE)), 1)
            self.asked.fail()
            self.pass_time(INTERVAL)
        self.assertEqual(len(self.location.lookup(ALICE)), 0)
        old[1].callback(builders.response(old[0], 200))
        self.assertEqual(len(self.location.lookup(ALICE)), 0)

    def test_connection_has_ended(self) -> None:
        """Nothing is pinged without a connection, nor is one made: to a private address it would lead nowhere."""
        self.keep_alive.start()
        self.register(INSIDE, source=CONNECTION)
        self.flows.gone.add(CONNECTION)
        self.pass_time(INTERVAL)
        self.assertEqual((len(self.keep_alive), self.asked.requests), (0, []))
        self.assertEqual(len(self.location.lookup(ALICE)), 0)
        self.assertIn("sip:alice@10.0.0.5 of alice has no connection any more, and is not called", self.log.lines)
        self.flows.gone.clear()
        self.register(INSIDE, source=CONNECTION, cseq=2)
        self.assertEqual(len(self.location.lookup(ALICE)), 1)
        self.pass_time(INTERVAL)
        self.assertEqual(len(self.asked.requests), 1)

    def test_connection_that_may_be_made_again(self) -> None:
        """A contact that names a public address, or a name, is called there when its connection has ended."""
        self.keep_alive.start()
        for number, contact in enumerate(("<sip:a@198.51.100.8>", "<sip:a@phone.example.net>")):
            source = Target(transport=Transport.TCP, host="198.51.100.8", port=50001 + number)
            self.flows.gone.add(source)
            self.register(contact, source=source, cseq=number + 1)
        self.pass_time(INTERVAL)
        self.assertEqual((len(self.keep_alive), len(self.location.lookup(ALICE))), (0, 2))

    def test_stopped(self) -> None:
        """After the stop nothing is sent, whatever still comes."""
        self.keep_alive.start()
        self.register(INSIDE)
        self.pass_time(INTERVAL)
        self.keep_alive.stop()
        self.asked.fail(RemoteError("closed"))
        self.register("<sip:alice@10.0.0.6>", cseq=2)
        self.pass_time(100.0)
        self.assertEqual(len(self.asked.requests), 1)


class OptionsCase(KeepAliveCase):
    """A phone with two contacts, which is asked."""

    how = KeepAliveSettings(interval=INTERVAL, misses=3)

    def setUp(self) -> None:
        """Register it, and let it answer once."""
        super().setUp()
        self.keep_alive.start()
        self.register(INSIDE, "<sip:alice@10.0.0.6>;q=0.5")
        self.pass_time(INTERVAL)
        self.asked.answer()
        self.diary.entries.clear()

    def silence(self, times: int, error: Exception | None = None) -> None:
        """Let so many questions go unanswered."""
        for _ in range(times):
            self.pass_time(INTERVAL)
            self.asked.fail(error)

    def found(self) -> list[str]:
        """Give who would be called."""
        return [str(one.uri) for one in self.location.lookup(ALICE)]


class OptionsTests(OptionsCase):
    """What is asked, and what follows from the answers."""

    def test_request(self) -> None:
        """It is addressed to the contact as registered, comes from the domain, and each is a request of its own."""
        self.pass_time(INTERVAL)
        first, second = (one for _, one in self.asked.requests if one.uri_text == "sip:alice@10.0.0.5")
        self.assertEqual((first.method, str(first.to.uri), str(first.from_.uri)), ("OPTIONS", ALICE, "sip:example.com"))
        self.assertNotEqual(first.call_id, second.call_id)
        self.assertNotEqual(first.from_.tag, second.from_.tag)

    def test_any_answer(self) -> None:
        """Whatever a phone answers, it is there."""
        for status in (404, 405, 481, 486, 503, 603):
            self.pass_time(INTERVAL)
            self.asked.answer(status)
        self.assertEqual(len(self.found()), 2)

    def test_silent(self) -> None:
        """So many questions without an answer, and the contact is not called, though it stays registered."""
        self.silence(2)
        self.assertEqual(len(self.found()), 2)
        self.silence(1, ConnectionRefused("refused"))
        self.assertEqual(self.found(), [])
        self.assertEqual(len(self.location.register(_query(), max_contacts=10)), 2)
        self.assertEqual(self.diary.entries, [])
        self.assertIn("sip:alice@10.0.0.5 of alice does not answer, and is not called", self.log.lines)
        lines = len(self.log.lines)
        self.silence(3)
        self.assertEqual(len(self.log.lines), lines)

    def test_answers_again(self) -> None:
        """A contact that answers again is called again."""
        self.silence(3)
        self.pass_time(INTERVAL)
        self.asked.answer()
        self.assertEqual(self.found(), ["sip:alice@10.0.0.5", "sip:alice@10.0.0.6"])
        self.assertIn("sip:alice@10.0.0.6 of alice answers again", self.log.lines)
        self.silence(2)
        self.assertEqual(len(self.found()), 2)

    def test_registers_again(self) -> None:
        """One that registers again is called at once, and has all its tries again."""
        self.silence(3)
        self.register(INSIDE, cseq=2)
        self.assertEqual(self.found(), ["sip:alice@10.0.0.5"])
        self.silence(2)
        self.assertEqual(self.found(), ["sip:alice@10.0.0.5"])
        self.silence(1)
        self.assertEqual(self.found(), [])

    def test_misses_in_a_row(self) -> None:
        """An answer in between begins the count anew."""
        for _ in range(4):
            self.silence(2)
            self.pass_time(INTERVAL)
            self.asked.answer()
        self.assertEqual(len(self.found()), 2)

    def test_never_answered(self) -> None:
        """A phone that does not know OPTIONS at all is called as ever."""
        self.register("<sip:bob@10.0.0.7>", aor="sip:bob@example.com")
        self.silence(6)
        self.assertEqual(len(self.location.lookup("sip:bob@example.com")), 1)

    def test_own_trouble(self) -> None:
        """A question that could not be sent says nothing of the phone."""
        self.silence(6, ResourcesExhaustedError("full"))
        self.assertEqual(len(self.found()), 2)

    def test_written_in_another_way(self) -> None:
        """A contact that is left out, and then registered in capitals, is called, and nothing is kept of the first."""
        self.register("<sip:bob@phone.example.net>", aor="sip:bob@example.com")
        self.pass_time(INTERVAL)
        self.asked.answer()
        self.silence(3)
        self.assertEqual(len(self.location.lookup("sip:bob@example.com")), 0)
        self.register("<sip:bob@PHONE.example.net>", aor="sip:bob@example.com", cseq=2)
        self.assertEqual(len(self.location.lookup("sip:bob@example.com")), 1)
        self.register("<sip:bob@phone.example.net>", aor="sip:bob@example.com", cseq=3, expires=0)
        self.assertEqual(list(self.location._left_out), [ALICE])

    def test_removed_while_silent(self) -> None:
        """Nothing is kept of a contact that goes while it is left out."""
        self.silence(3)
        self.register(INSIDE, cseq=2, expires=0)
        self.assertEqual(list(self.location._left_out[ALICE]), ["sip:alice@10.0.0.6"])
        self.pass_time(3700.0)
        self.assertEqual((self.location._left_out, len(self.keep_alive)), ({}, 0))


class UnregisterTests(OptionsCase):
    """The same, where silence ends the registration."""

    how = KeepAliveSettings(interval=INTERVAL, misses=3, silence=Silence.UNREGISTER)

    def test_silent(self) -> None:
        """The contact is removed, here, in the store, and for the observers."""
        self.silence(3)
        self.assertEqual((self.found(), self.kept[ALICE], len(self.location), len(self.keep_alive)), ([], (), 0, 0))
        self.assertEqual(
            sorted(self.diary.entries), [("removed", "sip:alice@10.0.0.5"), ("removed", "sip:alice@10.0.0.6")]
        )
        self.assertIn("sip:alice@10.0.0.5 of alice does not answer, and is unregistered", self.log.lines)
        self.location.remove(binding(INSIDE))
        self.assertEqual(len(self.diary.entries), 2)

    def test_answers_again(self) -> None:
        """What is not registered is not asked any more."""
        self.silence(3)
        count = len(self.asked.requests)
        self.pass_time(3 * INTERVAL)
        self.assertEqual(len(self.asked.requests), count)

    def test_removed_while_silent(self) -> None:
        """Nothing is kept of it."""
        self.silence(3)
        self.assertEqual(self.location._left_out, {})


class HistoryTests(KeepAliveCase):
    """Whatever happens, everybody who needs it is kept alive, once, and nobody else."""

    how = KeepAliveSettings(interval=INTERVAL, misses=1, silence=Silence.UNREGISTER)
    sources = (NAT, CONNECTION, Target(transport=Transport.UDP, host="10.0.0.1", port=5060))

    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("register"), st.integers(1, 3), st.integers(0, 2)),
                st.tuples(st.sampled_from(("remove", "answer", "fail", "wait")), st.integers(1, 3), st.integers(0, 40)),
            ),
            max_size=40,
        )
    )
    @settings(deadline=None, max_examples=150)
    def test_histories(self, history: list[tuple[str, int, int]]) -> None:
        """Those that are watched are those that need it, and each has one question on its way or before it."""
        self.setUp()
        self.keep_alive.start()
        for cseq, (what, number, value) in enumerate(history, 1):
            contact = f"<sip:alice@10.0.0.{number}>"
            if what == "register":
                self.register(contact, source=self.sources[value], cseq=cseq, expires=60 + value)
            elif what == "remove":
                self.register(contact, cseq=cseq, expires=0)
            elif what == "answer":
                self.asked.answer()
            elif what == "fail":
                self.asked.fail()
            else:
                self.clock.pump([0.5] * value)
            needy = [one for one in self.location.lookup(ALICE) if needs_keep_alive(one)]
            self.assertEqual(len(self.keep_alive), len(needy))
            queued = [watched.binding.contact for _, _, watched in self.keep_alive._due if not watched.is_left]
            self.assertEqual(len(queued), len(set(queued)))
            asked = {str(one.uri) for one, _ in self.asked.waiting}
            for one in needy:
                self.assertTrue(one.contact in queued or str(one.uri) in asked, (what, one.contact))
        self.tearDown()


class EmptyLineTests(KeepAliveCase):
    """Keep-alives that are no messages."""

    how = KeepAliveSettings(ping=Ping.CRLF, interval=INTERVAL)

    def test_sent(self) -> None:
        """Two empty lines go out in each interval, and nobody is found to be gone by them."""
        self.keep_alive.start()
        self.register(INSIDE)
        self.pass_time(101.0)
        sent = self.flows.flows[NAT].sent
        self.assertIn(len(sent), (4, 5))
        self.assertEqual((set(sent), self.asked.requests), ({b"\r\n\r\n"}, []))


def _query() -> Registration:
    return read_registration(request(cseq=9), aor=ALICE, settings=SETTINGS)
