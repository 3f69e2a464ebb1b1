"""Tests of `sipd.sip.reliable`: each row of its machines, and a caller and a callee that lose messages."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip import reliable
from sipd.sip.fields import CSeq, RAck
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Request, Response
from sipd.sip.reliable import (
    QUEUE_LIMIT,
    Event,
    Reliability,
    ReliableAnswerMachine,
    ReliableCallMachine,
    State,
    first_rseq,
    rack_of,
    reliability,
    rseq_of,
)
from sipd.sip.timers import TimerValues
from sipd.testing import builders

INVITE = builders.invite(cseq=7)
OK = builders.response(INVITE, 200)
BODY = b"v=0\r\n"


def ringing(*, body: bytes = b"", status: int = 180) -> Response:
    """Make a provisional response as a user gives it."""
    return INVITE.response(status, to_tag="b1", body=body)


def numbered(rseq: int | str, *, status: int = 180, require: str | None = "100rel") -> Response:
    """Make a provisional response as it comes from the network."""
    fields = [("RSeq", str(rseq))] + ([("Require", require)] if require is not None else [])
    return INVITE.response(status, to_tag="b1", headers=fields)


def prack(rseq: int, cseq: int = 7, method: str = "INVITE") -> Request:
    """Make a PRACK."""
    return builders.request("PRACK", headers=[("RAck", f"{rseq} {cseq} {method}")])


def respond(response: Response) -> tuple[reliable.Effect, ...]:
    """Give what sending a response for the first time comes to."""
    return (
        reliable.Respond(response),
        StartTimer(Event.REPEAT, 0.5),
        StartTimer(Event.NO_PRACK, 32.0),
    )


class FieldTests(SynchronousTestCase):
    """What messages say of 100rel."""

    def test_reliability(self) -> None:
        """Require is more than Supported, in any case and among others."""
        for fields, expected in (
            ([("Require", "timer, 100Rel"), ("Supported", "100rel")], Reliability.REQUIRED),
            ([("Supported", "timer"), ("k", "100rel")], Reliability.SUPPORTED),
            ([("Supported", "100relx")], Reliability.NONE),
            ([], Reliability.NONE),
        ):
            self.assertIs(reliability(builders.invite(headers=fields)), expected)

    def test_first_rseq(self) -> None:
        """It is from 1 to 2**31-1."""
        for octets, expected in (
            (b"\0\0\0\0", 1),
            (b"\x7f\xff\xff\xfe", 2**31 - 1),
            (b"\x7f\xff\xff\xff", 1),
            (b"\xff\xff\xff\xff", 2),
        ):
            self.assertEqual(first_rseq(lambda count, octets=octets: octets), expected)  # type: ignore[misc]

    def test_what_asks_for_prack(self) -> None:
        """A 101 to 199 with RSeq that requires 100rel, and nothing else."""
        self.assertEqual(rseq_of(numbered(9)), 9)
        for response in (
            numbered(9, require=None),
            numbered(9, require="timer"),
            numbered(9, status=100),
            numbered(9, status=200),
            INVITE.response(180, headers=[("Require", "100rel")]),
        ):
            self.assertIsNone(rseq_of(response))
        for malformed in ("x", "-1", str(2**32)):
            with self.assertRaises(ParseError):
                rseq_of(numbered(malformed))

    def test_rack(self) -> None:
        """A PRACK has a RAck that can be read, or is refused."""
        self.assertEqual(rack_of(prack(3)), RAck(3, CSeq(7, "INVITE")))
        for fields in ([], [("RAck", "3 INVITE")]):
            with self.assertRaises(ParseError):
                rack_of(builders.request("PRACK", headers=fields))


class AnswerTests(SynchronousTestCase):
    """The callee of one INVITE."""

    def setUp(self) -> None:
        """Make a machine."""
        self.machine = ReliableAnswerMachine(TimerValues(), 5)

    def acknowledge(self, message: Request) -> tuple[reliable.Effect, ...]:
        """Feed a PRACK."""
        return self.machine.feed(self.machine.event_of_prack(message), message)

    def succeed(self) -> tuple[reliable.Effect, ...]:
        """Feed the 2xx."""
        return self.machine.feed(self.machine.event_of_success(), OK)

    def test_sends_with_number(self) -> None:
        """The response goes out with Require and RSeq, is to be repeated after T1, and has 64*T1 for its PRACK."""
        response = ringing()
        self.assertEqual(self.machine.feed(Event.RELIABLE, response), respond(response))
        self.assertEqual((response.headers.get("Require"), response.headers.get("RSeq")), ("100rel", "5"))
        self.assertIs(self.machine.state, State.WAITING)

    def test_repetition_has_no_upper_bound(self) -> None:
        """The interval doubles from T1 on; T2 does not count (section 3)."""
        response = ringing()
        self.machine.feed(Event.RELIABLE, response)
        intervals = []
        for _ in range(5):
            sent, timer = self.machine.feed(Event.REPEAT)
            self.assertEqual(sent, reliable.Respond(response))
            intervals.append(timer.duration)
        self.assertEqual(intervals, [1.0, 2.0, 4.0, 8.0, 16.0])

    def test_prack(self) -> None:
        """The PRACK stops the repetition; the same RAck again acknowledges nothing."""
        response = ringing()
        self.machine.feed(Event.RELIABLE, response)
        message = prack(5)
        self.assertEqual(self.acknowledge(message), (StopTimers(), reliable.Acknowledged(message, response)))
        self.assertIs(self.machine.state, State.IDLE)
        self.assertEqual(self.acknowledge(message), (reliable.RefusePrack(message),))

    def test_prack_for_something_else(self) -> None:
        """Number, CSeq and method must be those of the response that waits."""
        self.machine.feed(Event.RELIABLE, ringing())
        for message in (prack(4), prack(6), prack(5, 8), prack(5, 7, "UPDATE")):
            self.assertEqual(self.acknowledge(message), (reliable.RefusePrack(message),))
            self.assertIs(self.machine.state, State.WAITING)
        with self.assertRaises(ParseError):
            self.machine.event_of_prack(builders.request("PRACK"))

    def test_one_at_a_time(self) -> None:
        """Later responses wait for the PRACK of the one before, and leave with the next number."""
        first, second, third = ringing(), ringing(status=183, body=BODY), ringing(status=182)
        self.machine.feed(Event.RELIABLE, first)
        self.machine.feed(Event.REPEAT)
        self.assertEqual(self.machine.feed(Event.RELIABLE, second), ())
        self.assertEqual(self.machine.feed(Event.RELIABLE, third), ())
        for rseq, acknowledged, response in ((5, first, second), (6, second, third)):
            message = prack(rseq)
            expected = (StopTimers(), reliable.Acknowledged(message, acknowledged), *respond(response))
            self.assertEqual(self.acknowledge(message), expected)
        self.assertEqual(third.headers.get("RSeq"), "7")
        self.acknowledge(prack(7))
        self.assertIs(self.machine.state, State.IDLE)

    def test_queue_is_bounded(self) -> None:
        """More than that many responses without a body are left out; one with a body never is."""
        self.machine.feed(Event.RELIABLE, ringing())
        for _ in range(QUEUE_LIMIT + 5):
            self.machine.feed(Event.RELIABLE, ringing())
        self.machine.feed(Event.RELIABLE, ringing(body=BODY))
        count = 0
        while self.machine.state is State.WAITING:
            self.acknowledge(prack(5 + count))
            count += 1
        self.assertEqual(count, 1 + QUEUE_LIMIT + 1)

    def test_gives_up(self) -> None:
        """Without a PRACK in 64*T1 the INVITE is rejected with a 5xx."""
        for is_holding in (False, True):
            self.setUp()
            self.machine.feed(Event.RELIABLE, ringing(body=BODY))
            if is_holding:
                self.succeed()
            stop, effect = self.machine.feed(Event.NO_PRACK)
            self.assertEqual((stop, effect.error.status), (StopTimers(), 504))
            self.assertIs(self.machine.state, State.ENDED)

    def test_2xx_waits_for_what_was_said(self) -> None:
        """While a response with a body has no PRACK, nothing final goes out (section 3)."""
        response = ringing(body=BODY)
        self.machine.feed(Event.RELIABLE, response)
        self.assertEqual(self.succeed(), ())
        self.assertIs(self.machine.state, State.HOLDING)
        self.assertEqual(self.machine.feed(Event.RELIABLE, ringing()), ())
        self.assertEqual(self.machine.feed(Event.REPEAT)[1], StartTimer(Event.REPEAT, 1.0))
        self.assertEqual(self.acknowledge(prack(4)), (reliable.RefusePrack(prack(4)),))
        message = prack(5)
        expected = (StopTimers(), reliable.Acknowledged(message, response), reliable.Accept(OK))
        self.assertEqual(self.acknowledge(message), expected)
        self.assertIs(self.machine.state, State.ENDED)

    def test_2xx_waits_for_what_is_still_to_be_said(self) -> None:
        """A response with a body that waits in the queue goes first; those after it without one are left out."""
        said = ringing(body=BODY)
        self.machine.feed(Event.RELIABLE, ringing())
        for response in (ringing(), said, ringing()):
            self.machine.feed(Event.RELIABLE, response)
        self.assertEqual(self.succeed(), ())
        self.acknowledge(prack(5))
        self.assertEqual(self.acknowledge(prack(6))[2], reliable.Respond(said))
        self.assertEqual(self.acknowledge(prack(7))[-1], reliable.Accept(OK))

    def test_2xx_does_not_wait_for_ringing(self) -> None:
        """What said nothing needs no PRACK any more, but may get it; what waited is left out."""
        response = ringing()
        self.machine.feed(Event.RELIABLE, response)
        self.machine.feed(Event.RELIABLE, ringing())
        self.assertEqual(self.succeed(), (StopTimers(), reliable.Accept(OK)))
        self.assertIs(self.machine.state, State.ENDED)
        message = prack(5)
        self.assertEqual(self.acknowledge(message), (reliable.Acknowledged(message, response),))
        self.assertEqual(self.acknowledge(message), (reliable.RefusePrack(message),))

    def test_refusal_stops_everything(self) -> None:
        """A refusal may go out at any time; the PRACK of what was sent is still taken (section 3)."""
        for is_holding in (False, True):
            self.setUp()
            response = ringing(body=BODY)
            self.machine.feed(Event.RELIABLE, response)
            if is_holding:
                self.succeed()
            self.assertEqual(self.machine.feed(Event.FAILURE), (StopTimers(),))
            self.assertEqual(self.machine.feed(Event.REPEAT), ())
            message = prack(5)
            self.assertEqual(self.acknowledge(message), (reliable.Acknowledged(message, response),))

    def test_nothing_reliable(self) -> None:
        """An INVITE that is answered at once, one way or the other, and a PRACK for nothing."""
        message = prack(5)
        self.assertEqual(self.acknowledge(message), (reliable.RefusePrack(message),))
        self.assertEqual(self.succeed(), (StopTimers(), reliable.Accept(OK)))
        self.setUp()
        self.assertEqual(self.machine.feed(Event.FAILURE), (StopTimers(),))

    def test_absorbs_all_else(self) -> None:
        """These events, and no others, do something in these states."""
        both = ["FAILURE", "LAST_PRACK", "NO_PRACK", "PRACK", "REPEAT", "STRAY_PRACK"]
        expected = {
            State.IDLE: ["FAILURE", "RELIABLE", "STRAY_PRACK", "SUCCESS"],
            State.WAITING: sorted(["EARLY_SUCCESS", "RELIABLE", "SUCCESS", *both]),
            State.HOLDING: both,
            State.ENDED: ["LAST_PRACK", "STRAY_PRACK"],
        }
        for state, events in expected.items():
            self.machine.state = state
            self.assertEqual(sorted(event.name for event in Event if not self.machine.absorbs(event)), events)


class CallTests(SynchronousTestCase):
    """The caller in one early dialog."""

    def setUp(self) -> None:
        """Make a machine."""
        self.machine = ReliableCallMachine()

    def receive(self, response: Response) -> tuple[reliable.Effect, ...]:
        """Take a response as a session does."""
        event = self.machine.event_of(response)
        return () if event is None else self.machine.feed(event, response)

    def test_acknowledges_each_once(self) -> None:
        """The first number is any; the next ones follow it; repetitions and gaps are ignored (section 4)."""
        for rseq, is_new in (
            (776, True),
            (776, False),
            (778, False),
            (777, True),
            (776, False),
            (778, True),
            (0, False),
        ):
            response = numbered(rseq)
            expected = (reliable.Acknowledge(response, RAck(rseq, CSeq(7, "INVITE"))),) if is_new else ()
            self.assertEqual(self.receive(response), expected, rseq)

    def test_others_pass(self) -> None:
        """A response that asks for no PRACK is told, whatever the numbers are."""
        plain = ringing()
        self.assertEqual(self.receive(plain), (reliable.Progress(plain),))
        self.receive(numbered(1))
        self.assertEqual(self.receive(plain), (reliable.Progress(plain),))

    def test_nothing_after_the_end(self) -> None:
        """A provisional response after the final one is late, and not acknowledged."""
        for first in ((), (numbered(1),)):
            self.setUp()
            for response in first:
                self.receive(response)
            self.assertEqual(self.machine.feed(Event.FINAL), ())
            self.assertEqual(self.receive(numbered(2)), ())
            self.assertEqual(self.receive(ringing()), ())


class LossTests(SynchronousTestCase):
    """A callee and a caller whose messages are lost, repeated and late."""

    @settings(deadline=None, max_examples=200)
    @given(st.randoms(use_true_random=True), st.integers(1, 6), st.integers(0, 60))
    def test_each_arrives_once_and_in_order(self, random: Random, count: int, loss: int) -> None:
        """Whatever is lost, the caller is told of each response once, in order, as long as there is time."""
        callee, caller = ReliableAnswerMachine(TimerValues(), 1), ReliableCallMachine()
        responses = [ringing(status=181 + index % 9, body=BODY if index % 2 else b"") for index in range(count)]
        wire: list[Response | Request] = []
        told: list[Response] = []
        accepted = []

        def perform(effects: tuple[reliable.Effect, ...]) -> None:
            for effect in effects:
                if isinstance(effect, reliable.Respond):
                    wire.append(effect.response)
                elif isinstance(effect, reliable.Acknowledge):
                    told.append(effect.response)
                    # PRACK is a transaction: it is repeated by itself until it arrives.
                    wire.append(prack(effect.rack.rseq, effect.rack.cseq.number, effect.rack.cseq.method))
                elif isinstance(effect, reliable.Accept):
                    accepted.append(effect.response)

        for response in responses:
            perform(callee.feed(Event.RELIABLE, response))
        perform(callee.feed(callee.event_of_success(), OK))
        for _ in range(1000):
            if not wire:
                perform(callee.feed(Event.REPEAT))
                if not wire:
                    break
            message = wire.pop(random.randrange(len(wire)))
            if isinstance(message, Request):
                perform(callee.feed(callee.event_of_prack(message), message))
            elif random.randrange(100) >= loss:
                if random.randrange(4) == 0:
                    wire.append(message)
                event = caller.event_of(message)
                perform(caller.feed(event, message) if event is not None else ())
        self.assertEqual(accepted, [OK])
        last = max((index for index, response in enumerate(responses) if response.body), default=-1)
        self.assertEqual(told[: last + 1], responses[: last + 1])
        self.assertEqual(told, responses[: len(told)])
