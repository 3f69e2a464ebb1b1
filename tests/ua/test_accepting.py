"""2xx that wait for their ACK, and ACKs that are asked for again: their times and bounds."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import RemoteError, TransactionTimeoutError
from sipd.interfaces import IFlow
from sipd.sip.message import Request, Response
from sipd.sip.timers import TimerValues
from sipd.testing import builders
from sipd.ua import accepting
from sipd.ua.accepting import Accepted
from sipd.ua.handling import Elsewhere
from tests.transaction.fakes import FakeFlow


class AcceptedTests(SynchronousTestCase):
    """What is sent again, and for how long."""

    def setUp(self) -> None:
        """Make a flow, and what remembers."""
        self.clock = Clock()
        self.flow = FakeFlow(self.clock)
        self.errors: list[RemoteError] = []
        self.accepted = Accepted(self.clock, TimerValues(), self.failed)

    def failed(self, flow: IFlow, error: RemoteError) -> None:
        """Take note that no ACK came."""
        self.assertIs(flow, self.flow)
        self.errors.append(error)

    def answer(self, number: int = 1) -> tuple[list[float], Request, Response]:
        """Answer an INVITE; give when it is answered again, the INVITE and the answer."""
        times: list[float] = []
        invite = builders.invite(call_id=f"c{number}")
        response = invite.response(200, to_tag="t")
        transaction = Elsewhere(invite, self.flow, None)
        transaction.respond = lambda response: times.append(self.clock.seconds())  # type: ignore[method-assign]
        self.accepted.answered(transaction, response)
        return times, invite, response

    def test_times(self) -> None:
        """A 2xx goes out again after T1, then after twice as long each time up to T2, until 64*T1 have passed."""
        times, _, _ = self.answer()
        self.clock.pump([0.25] * 200)
        self.assertEqual(times, [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        self.assertEqual([type(error) for error in self.errors], [TransactionTimeoutError])
        self.assertEqual((len(self.accepted), self.clock.getDelayedCalls()), (0, []))

    def test_acknowledged(self) -> None:
        """Its ACK ends that; a second one, and one of another call, change nothing."""
        times, invite, response = self.answer()
        ack = builders.ack(invite, response)
        self.accepted.acknowledged(builders.ack(builders.invite(call_id="other"), response.copy()))
        self.clock.advance(0.5)
        for _ in range(2):
            self.accepted.acknowledged(ack)
        self.clock.advance(40.0)
        self.assertEqual((times, self.errors, self.clock.getDelayedCalls()), ([0.5], [], []))

    def test_remembers_acks(self) -> None:
        """An ACK that was sent is found by its 2xx for 64*T1."""
        _, invite, response = self.answer()
        self.accepted.close()
        ack = builders.ack(invite, response)
        self.assertIsNone(self.accepted.find(response))
        for _ in range(2):
            self.accepted.sent(ack, self.flow)
        self.clock.advance(31.0)
        self.assertEqual(self.accepted.find(response), (ack, self.flow))
        self.clock.advance(1.0)
        self.assertIsNone(self.accepted.find(response))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounds(self) -> None:
        """Beyond the bound nothing is remembered; what is known already stays."""
        self.patch(accepting, "MAX_KNOWN", 1)
        (first, invite, response), (second, other_invite, other_response) = self.answer(1), self.answer(2)
        self.accepted.sent(builders.ack(invite, response), self.flow)
        self.accepted.sent(builders.ack(other_invite, other_response), self.flow)
        self.clock.advance(0.5)
        self.assertEqual((first, second, len(self.accepted)), ([0.5], [], 2))
        self.assertIsNone(self.accepted.find(other_response))
        self.accepted.close()
        self.assertEqual((len(self.accepted), self.clock.getDelayedCalls()), (0, []))
