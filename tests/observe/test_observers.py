"""The fan-out, the explain log, the ledger and the console."""

from __future__ import annotations

from typing import cast

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.interfaces import CallObserver, CallRecord, Decision, ICallObserver
from sipd.observe.console import CallConsole
from sipd.observe.explain import ExplainLog
from sipd.observe.ledger import Leak, ResourceLedger
from sipd.observe.observers import CallObservers
from tests.observe.support import decision, record


@implementer(ICallObserver)
class Witness:
    """Writes down what it sees; breaks on the events it is told to break on."""

    def __init__(self, *breaks_on: str) -> None:
        self.seen: list[str] = []
        self.breaks_on = breaks_on

    def note(self, event: str) -> None:
        """Write down or break."""
        self.seen.append(event)
        if event in self.breaks_on:
            raise KeyError(event)

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self.note("started")

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""
        self.note("decided")

    def call_resource_taken(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        self.note("taken")

    def call_resource_released(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        self.note("released")

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self.note("ended")


def tell_all(observer: ICallObserver) -> None:
    """Tell an observer one whole call."""
    observer.call_started("1", record())
    observer.call_decided("1", decision("x"))
    observer.call_resource_taken("1", "leg", "a")
    observer.call_resource_released("1", "leg", "a")
    observer.call_ended("1", record(ended_at=1001.0))


EVENTS = ["started", "decided", "taken", "released", "ended"]


class LoggedCase(SynchronousTestCase):
    """Collects what is logged."""

    def setUp(self) -> None:
        """Listen to the log."""
        self.events: list[LogEvent] = []
        listen = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(listen)
        self.addCleanup(globalLogPublisher.removeObserver, listen)

    def logged(self, level: str) -> list[str]:
        """Give what was logged at a level."""
        return [formatEvent(event) for event in self.events if event["log_level"].name == level]


class CallObserversTests(SynchronousTestCase):
    """Several observers behind one."""

    def test_interfaces(self) -> None:
        """Every observer provides the interface."""
        for observer in (CallObserver(), CallObservers(), ExplainLog(), ResourceLedger(), CallConsole()):
            verifyObject(ICallObserver, observer)

    def test_passes_everything_on(self) -> None:
        """Each observer sees every event, in order."""
        one, other = Witness(), Witness()
        tell_all(CallObservers([one, other]))
        self.assertEqual((one.seen, other.seen), (EVENTS, EVENTS))

    def test_some_events(self) -> None:
        """An observer of some events sees these, whether its class or somebody later has defined them."""

        class Ends(CallObserver):
            def __init__(self) -> None:
                self.seen: list[str] = []

            def call_ended(self, call: str, record: CallRecord) -> None:
                self.seen.append(call)

        ends, patched = Ends(), CallObserver()
        started: list[str] = []
        patched.call_started = lambda call, record: started.append(call)  # type: ignore[method-assign]
        tell_all(CallObservers([ends, patched]))
        self.assertEqual((ends.seen, started), (["1"], ["1"]))

    def test_failure_is_logged_and_stays_alone(self) -> None:
        """An observer that raises at every event disturbs neither the others nor the caller."""
        broken, other = Witness(*EVENTS), Witness()
        tell_all(CallObservers([broken, other]))
        self.assertEqual((broken.seen, other.seen), (EVENTS, EVENTS))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 5)

    def test_add_and_remove(self) -> None:
        """Observers come and go."""
        one, other = Witness(), Witness()
        observers = CallObservers([one])
        observers.add(other)
        observers.remove(one)
        tell_all(observers)
        self.assertEqual((one.seen, other.seen), ([], EVENTS))


class ExplainLogTests(SynchronousTestCase):
    """Decisions as lines."""

    def test_explains_a_call(self) -> None:
        """The explanation is a line about the call, then a line for each decision, with time, leg and kind."""
        log = ExplainLog()
        log.call_started("1", record())
        log.call_decided("1", decision("from 192.0.2.1 at udp", "received", at=0.25))
        log.call_decided("1", decision("486 Busy Here", "refused", "b1", at=3661.5))
        self.assertEqual(
            log.explain("1"),
            [
                "1: sip:alice@example.com -> sip:bob@example.com, trying",
                "00:00:00.250 -   received       from 192.0.2.1 at udp",
                "01:01:01.500 b1  refused        486 Busy Here",
            ],
        )

    def test_first_line_says_what_came_of_it(self) -> None:
        """The first line follows the record through the states of a call."""
        for changes, expected in (
            ({"ringing_at": 1001.0}, "ringing"),
            ({"ringing_at": 1001.0, "answered_at": 1002.0}, "talking"),
            ({"ended_at": 1003.5, "status": 486, "reason": "Busy Here"}, "failed after 3.5 s: 486 Busy Here"),
            (
                {"answered_at": 1002.0, "ended_at": 1012.0, "ended_by": "caller", "cause": "BYE"},
                "talked 10.0 s, ended by caller (BYE)",
            ),
        ):
            log = ExplainLog()
            log.call_started("1", record(**changes))
            self.assertTrue(log.explain("1")[0].endswith(f", {expected}"), log.explain("1"))

    def test_calls_are_bounded(self) -> None:
        """At the bound the call that ended first is forgotten; without one, the oldest in progress."""
        log = ExplainLog(max_calls=2)
        for call in ("1", "2"):
            log.call_started(call, record())
        log.call_ended("2", record())
        log.call_started("3", record())
        self.assertEqual(log.calls(), ["1", "3"])
        log.call_started("4", record())
        self.assertEqual(log.calls(), ["3", "4"])
        self.assertRaises(KeyError, log.explain, "1")
        log.call_decided("1", decision("nobody remembers"))
        log.call_ended("1", record())
        self.assertEqual(len(log), 2)

    def test_decisions_are_bounded(self) -> None:
        """Of too many decisions the first and the last stay, and the number between them."""
        log = ExplainLog(max_decisions=4)
        log.call_started("1", record())
        for number in range(10):
            log.call_decided("1", decision(str(number)))
        self.assertEqual([line.split()[-1] for line in log.explain("1")[1:]], ["0", "1", "...", "8", "9"])
        self.assertIn("... 6 more ...", log.explain("1"))

    def test_finds_by_call_id(self) -> None:
        """A call is found by the Call-ID of its incoming leg, the newest first."""
        log = ExplainLog()
        for call, call_id in (("1", "x"), ("2", "y"), ("3", "x")):
            log.call_started(call, record(call_id))
        self.assertEqual((log.find("x"), log.find("y"), log.find("z")), ("3", "2", None))

    def test_late_decision(self) -> None:
        """A decision that comes after the end is kept as well."""
        log = ExplainLog()
        log.call_started("1", record())
        log.call_ended("1", record())
        log.call_decided("1", decision("late 200 ended with BYE"))
        self.assertIn("late 200", log.explain("1")[-1])


class ResourceLedgerTests(LoggedCase):
    """Who holds what."""

    def test_counts_follow_the_books(self) -> None:
        """What is taken and not given back is held, by call and by kind."""
        ledger = ResourceLedger()
        for call in ("1", "2"):
            ledger.call_started(call, record())
            ledger.call_resource_taken(call, "leg", "a")
        ledger.call_resource_taken("1", "ports", "20000")
        self.assertEqual(ledger.counts(), {"leg": 2, "ports": 1})
        ledger.call_resource_released("1", "leg", "a")
        self.assertEqual(ledger.held("1"), [("ports", "20000")])
        self.assertEqual((len(ledger), ledger.calls()), (2, ["1", "2"]))

    def test_clean_end(self) -> None:
        """A call that gave everything back ends without a word."""
        ledger = ResourceLedger()
        tell_all(ledger)
        self.assertEqual((ledger.leaks, len(ledger), ledger.counts(), self.logged("error")), (0, 0, {}, []))

    def test_leak(self) -> None:
        """What a call still holds at its end is a logged error, and counted."""
        ledger = ResourceLedger()
        ledger.call_started("1", record())
        ledger.call_resource_taken("1", "ports", "20000")
        ledger.call_ended("1", record())
        self.assertEqual((ledger.leaks, list(ledger.leaked)), (1, [Leak(call="1", kind="ports", name="20000")]))
        self.assertEqual(self.logged("error"), ["call 1 leaked ports 20000: still held at the end"])
        self.assertEqual(ledger.held("1"), [])

    def test_taken_after_the_end(self) -> None:
        """What a call takes after its end leaks at once."""
        ledger = ResourceLedger()
        tell_all(ledger)
        ledger.call_resource_taken("1", "timer", "t")
        self.assertEqual((ledger.leaks, len(self.logged("error"))), (1, 1))

    def test_wrong_entries(self) -> None:
        """Taking twice and giving back what is not held are errors, and change nothing."""
        ledger = ResourceLedger()
        ledger.call_started("1", record())
        ledger.call_resource_taken("1", "leg", "a")
        ledger.call_resource_taken("1", "leg", "a")
        ledger.call_resource_released("1", "leg", "b")
        self.assertEqual(ledger.held("1"), [("leg", "a")])
        self.assertEqual(self.logged("error"), ["call 1 took leg a twice", "call 1 gave back leg b without holding it"])


class CallConsoleTests(LoggedCase):
    """Lines for a person."""

    def test_answered_call(self) -> None:
        """An answered call has a line at its answer and a line at its end, whatever else is decided."""
        console = CallConsole()
        kept = record()
        console.call_started("1", kept)
        console.call_decided("1", decision("x"))
        kept.answered_at = 1002.0
        console.call_decided("1", decision("bob answered", "answered"))
        console.call_decided("1", decision("x"))
        kept.ended_at, kept.ended_by = 1005.0, "callee"
        console.call_ended("1", kept)
        parties = "sip:alice@example.com -> sip:bob@example.com"
        self.assertEqual(
            self.logged("info"),
            [
                f"call 1 answered: {parties} after 2.0 s",
                f"call 1 ended: {parties}, talked 3.0 s, ended by callee",
            ],
        )

    def test_failed_call(self) -> None:
        """A failed call has one line, with its status and why."""
        console = CallConsole()
        tell_all(CallObservers([console]))
        console.call_started("1", record())
        console.call_ended("1", record(ended_at=1001.5, status=404, reason="Not Found", cause="no contact"))
        self.assertTrue(self.logged("info")[-1].endswith("failed after 1.5 s: 404 Not Found (no contact)"))
