"""Server transactions as the layer runs them (RFC 3261 section 17.2)."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from sipd.errors import TransactionTimeoutError, TransportError
from sipd.interfaces import IServerTransaction, IServerTransactionUser
from sipd.sip.locate import Transport
from sipd.sip.message import Request
from tests.transaction.fakes import FakeFlow, LayerTestCase, RecordingCore, RecordingUser, make_request

BRANCH = "z9hG4bKin1"


class ServerTestCase(LayerTestCase):
    """Receives requests."""

    def receive(
        self,
        method: str = "INVITE",
        *,
        branch: str = BRANCH,
        flow: FakeFlow | None = None,
        to_tag: str = "",
        cseq: int = 1,
    ) -> Request:
        """Receive a request, and give it."""
        request = make_request(method, branch=branch, to_tag=to_tag, cseq=cseq)
        self.layer.message_received(request, flow or self.flow)
        return request

    def respond(self, status: int, index: int = -1) -> None:
        """Respond to a request that the core has."""
        transaction = self.core.transactions[index]
        transaction.respond(transaction.request.response(status, to_tag="b1"))


class InviteServerTests(ServerTestCase):
    """An INVITE over UDP."""

    def test_is_offered_once(self) -> None:
        """The core gets the request once, however often it comes."""
        for _ in range(3):
            self.receive()
        self.assertEqual(len(self.core.transactions), 1)
        transaction = self.core.transactions[0]
        verifyObject(IServerTransaction, transaction)
        verifyObject(IServerTransactionUser, self.core.users[0])
        self.assertIs(transaction.flow, self.flow)
        self.respond(486)

    def test_standing_fields(self) -> None:
        """What stands for a transaction is in each response that says nothing else, also when it is sent again."""
        self.receive()
        transaction = self.core.transactions[0]
        transaction.standing = (("Session-ID", "1"),)
        transaction.respond(transaction.request.response(180, to_tag="b1", headers=[("Session-ID", "2")]))
        self.assertEqual(self.last_response().headers.get_all("Session-ID"), ["2"])
        self.respond(486)
        self.clock.advance(0.6)
        self.assertEqual([text for _, text in self.sent()][-2:], ["486", "486"])
        self.assertEqual(self.last_response().headers.get_all("Session-ID"), ["1"])

    def test_trying_after_200_ms(self) -> None:
        """A silent core is answered for with 100 after 200 ms, and the 100 is repeated with the INVITE."""
        self.receive()
        self.clock.advance(0.19)
        self.assertEqual(self.sent(), [])
        self.clock.advance(0.02)
        self.assertEqual([text for _, text in self.sent()], ["100"])
        self.assertIsNone(self.last_response().to.tag)
        self.receive()
        self.assertEqual([text for _, text in self.sent()], ["100", "100"])
        self.respond(486)

    def test_no_trying_after_a_provisional(self) -> None:
        """A core that rings in time sends no 100; the 180 is repeated with the INVITE."""
        self.receive()
        self.respond(180)
        self.clock.advance(1)
        self.receive()
        self.assertEqual([text for _, text in self.sent()], ["180", "180"])
        self.respond(486)

    def test_failure_is_repeated_until_timer_h(self) -> None:
        """Without an ACK the 486 goes out at 0, 0.5, 1.5, 3.5 s and every 4 s; at 32 s the user is told."""
        self.receive()
        self.respond(486)
        self.clock.pump([0.25] * 128)
        times = (0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
        self.assertEqual(self.sent(), [(time, "486") for time in times])
        self.assertEqual([type(error) for error in self.core.users[0].errors], [TransactionTimeoutError])
        self.assertEqual(len(self.layer), 0)

    def test_ack_ends_it(self) -> None:
        """The ACK stops the repetition and is absorbed; after 5 s the transaction is gone."""
        self.receive()
        self.respond(486)
        self.clock.advance(0.5)
        self.receive("ACK", to_tag="b1")
        self.receive("ACK", to_tag="b1")
        self.receive()
        self.clock.advance(4.5)
        self.assertEqual(len(self.layer), 1)
        self.clock.advance(0.5)
        self.assertEqual(len(self.layer), 0)
        self.assertEqual(self.sent(), [(0.0, "486"), (0.5, "486")])
        self.assertEqual((self.core.acks, self.core.users[0].errors), ([], []))

    def test_lost_ack(self) -> None:
        """When the ACK is lost, the repeated 486 brings another one."""
        self.receive()
        self.respond(486)
        self.clock.advance(0.5)
        self.clock.advance(1.0)
        self.receive("ACK", to_tag="b1")
        self.clock.pump([0.5] * 80)
        self.assertEqual(self.sent(), [(0.0, "486"), (0.5, "486"), (1.5, "486")])

    def test_accepted(self) -> None:
        """After a 2xx repeated INVITEs are absorbed, and the user repeats the 2xx, for 32 s (RFC 6026)."""
        self.receive()
        self.respond(200)
        self.assertTrue(self.core.transactions[0].is_answered)
        self.clock.advance(0.5)
        self.receive()
        self.respond(200)
        self.clock.advance(31)
        self.respond(200)
        self.receive()
        self.assertEqual(self.sent(), [(0.0, "200"), (0.5, "200"), (31.5, "200")])
        self.clock.advance(0.5)
        self.assertEqual(len(self.layer), 0)
        self.respond(200)
        self.assertEqual(len(self.sent()), 3)
        self.assertEqual(len(self.core.transactions), 1)

    def test_ack_of_2xx(self) -> None:
        """The ACK of a 2xx, with its own branch, goes to the core."""
        self.receive()
        self.respond(200)
        ack = self.receive("ACK", branch="z9hG4bKack", to_tag="b1")
        self.assertEqual(self.core.acks, [ack])

    def test_ack_of_2xx_with_the_branch_of_the_invite(self) -> None:
        """The ACK of a 2xx that wrongly has the branch of the INVITE goes to the core as well."""
        self.receive()
        self.respond(200)
        ack = self.receive("ACK", to_tag="b1")
        self.assertEqual((self.core.acks, len(self.core.transactions)), ([ack], 1))

    def test_late_responses_are_absorbed(self) -> None:
        """After a final response another one, and a provisional one, is not sent."""
        self.receive()
        self.respond(486)
        self.respond(200)
        self.respond(180)
        self.receive("ACK", to_tag="b1")
        self.respond(200)
        self.assertEqual(self.sent(), [(0.0, "486")])

    def test_over_tcp(self) -> None:
        """Over a connection a failure goes out once, and the ACK is the end."""
        flow = FakeFlow(self.clock, Transport.TCP)
        self.receive(flow=flow)
        self.respond(486)
        self.clock.advance(10)
        self.receive("ACK", flow=flow, to_tag="b1")
        self.assertEqual(self.sent(flow), [(0.0, "486")])
        self.assertEqual((len(self.layer), self.clock.getDelayedCalls()), (0, []))

    def test_lost_ack_over_tcp(self) -> None:
        """Over a connection, too, the user is told when no ACK comes."""
        flow = FakeFlow(self.clock, Transport.TCP)
        self.receive(flow=flow)
        self.respond(486)
        self.clock.advance(32)
        self.assertEqual([type(error) for error in self.core.users[0].errors], [TransactionTimeoutError])
        self.assertEqual(len(self.layer), 0)

    def test_ack_from_behind_nat(self) -> None:
        """An ACK whose sent-by changed still ends the repetition (lesson 7)."""
        self.receive()
        self.respond(486)
        ack = make_request("ACK", branch=BRANCH, to_tag="b1")
        ack.headers.set("Via", f"SIP/2.0/UDP 203.0.113.5:40000;branch={BRANCH}")
        self.layer.message_received(ack, self.flow)
        self.clock.advance(5)
        self.assertEqual(len(self.layer), 0)
        self.assertEqual(self.core.acks, [])

    def test_rfc_2543(self) -> None:
        """A client without the magic cookie is served: repetition, ACK, end."""
        self.receive(branch="1")
        self.receive(branch="1")
        self.assertEqual(len(self.core.transactions), 1)
        self.respond(486)
        self.receive("ACK", branch="1", to_tag="b1")
        self.clock.advance(5)
        self.assertEqual(len(self.layer), 0)
        self.assertEqual(self.core.acks, [])


class NonInviteServerTests(ServerTestCase):
    """An OPTIONS."""

    def test_final_response_is_repeated_with_the_request(self) -> None:
        """The 200 goes out for each copy of the request, for 32 s; after that a copy is a new request."""
        self.receive("OPTIONS")
        self.receive("OPTIONS")
        self.assertEqual(self.sent(), [])
        self.respond(200)
        self.clock.advance(31.5)
        self.receive("OPTIONS")
        self.assertEqual(self.sent(), [(0.0, "200"), (31.5, "200")])
        self.clock.advance(0.5)
        self.assertEqual(len(self.layer), 0)
        self.receive("OPTIONS")
        self.assertEqual(len(self.core.transactions), 2)

    def test_trying_after_3_5_seconds(self) -> None:
        """A silent core is answered for with 100 when the client's timer E reaches T2 (RFC 4320)."""
        self.receive("OPTIONS")
        self.clock.advance(3.25)
        self.assertEqual(self.sent(), [])
        self.clock.advance(0.25)
        self.receive("OPTIONS")
        self.assertEqual(self.sent(), [(3.5, "100"), (3.5, "100")])

    def test_provisional_and_408_are_not_sent(self) -> None:
        """Neither a 180 nor a 408 leaves (RFC 4320)."""
        self.receive("OPTIONS")
        self.respond(180)
        self.respond(408)
        self.receive("OPTIONS")
        self.assertEqual(self.sent(), [])
        self.assertTrue(self.core.transactions[0].is_answered)

    def test_never_answered(self) -> None:
        """A request that nobody answers is forgotten after 32 s; its user is told, and a late answer is absorbed."""
        self.receive("OPTIONS")
        self.clock.advance(32)
        self.assertEqual([type(error) for error in self.core.users[0].errors], [TransactionTimeoutError])
        self.assertEqual(len(self.layer), 0)
        sent = len(self.sent())
        self.assertTrue(self.core.transactions[0].is_answered)
        self.respond(200)
        self.assertEqual(len(self.sent()), sent)

    def test_over_tcp(self) -> None:
        """Over a connection the final response is the end at once."""
        flow = FakeFlow(self.clock, Transport.TCP)
        self.receive("OPTIONS", flow=flow)
        self.respond(200)
        self.assertEqual((len(self.layer), self.clock.getDelayedCalls()), (0, []))

    def test_stray_ack(self) -> None:
        """An ACK that belongs to nothing goes to the core, and no transaction is made for it."""
        ack = self.receive("ACK")
        self.assertEqual(self.core.acks, [ack])
        self.assertEqual(len(self.layer), 0)


class FlowFailureTests(ServerTestCase):
    """RFC 3261 section 17.2.4, RFC 6026 section 8.8."""

    def test_user_is_told_once(self) -> None:
        """The user hears of the lost connection, once; the transaction stays to be answered."""
        flow = FakeFlow(self.clock, Transport.TCP)
        self.receive(flow=flow)
        error = TransportError("reset")
        self.layer.flow_failed(flow, error)
        self.layer.flow_failed(flow, error)
        self.assertEqual(self.core.users[0].errors, [error])
        self.assertFalse(self.core.transactions[0].is_answered)
        self.respond(500)
        self.clock.advance(32)
        self.assertEqual(self.core.users[0].errors, [error])

    def test_other_flows_are_not_touched(self) -> None:
        """The loss of one connection says nothing of the other."""
        flow, other = FakeFlow(self.clock, Transport.TCP), FakeFlow(self.clock, Transport.TCP)
        self.receive("OPTIONS", flow=flow)
        self.layer.flow_failed(other, TransportError("reset"))
        self.assertEqual(self.core.users[0].errors, [])


class MergedTests(ServerTestCase):
    """RFC 3261 section 8.2.2.2."""

    def test_copy_on_another_path(self) -> None:
        """The second of two copies with different branches is merged, the first is not."""
        self.receive("OPTIONS", branch="z9hG4bKpath1")
        self.receive("OPTIONS", branch="z9hG4bKpath2")
        self.receive("OPTIONS", branch="z9hG4bKpath3", cseq=2)
        self.assertEqual(
            [self.layer.is_merged(transaction) for transaction in self.core.transactions], [False, True, False]
        )

    def test_in_a_dialog(self) -> None:
        """A request within a dialog is never merged."""
        self.receive("OPTIONS", branch="z9hG4bKpath1", to_tag="b1")
        self.receive("OPTIONS", branch="z9hG4bKpath2", to_tag="b1")
        self.assertFalse(any(self.layer.is_merged(transaction) for transaction in self.core.transactions))

    def test_when_the_first_is_gone(self) -> None:
        """Once the first copy is forgotten, a later one is a request like any other."""
        self.receive("OPTIONS", branch="z9hG4bKpath1")
        self.respond(200)
        self.clock.advance(32)
        self.receive("OPTIONS", branch="z9hG4bKpath2")
        self.assertFalse(self.layer.is_merged(self.core.transactions[1]))


class CallingBackTests(ServerTestCase):
    """A core that does everything at once."""

    def test_answer_within_the_call(self) -> None:
        """A core that answers while it is offered the request has answered when its call returns."""
        answered: list[bool] = []

        class Core(RecordingCore):
            def request_received(self, transaction: IServerTransaction) -> None:
                transaction.user = RecordingUser()
                transaction.respond(transaction.request.response(180, to_tag="b1"))
                transaction.respond(transaction.request.response(486, to_tag="b1"))
                answered.append(transaction.is_answered)

        self.layer.core = Core()
        self.receive()
        self.assertEqual(answered, [True])
        self.assertEqual(self.sent(), [(0.0, "180"), (0.0, "486")])
