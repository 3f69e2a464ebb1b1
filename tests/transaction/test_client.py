"""Client transactions as the layer runs them (RFC 3261 section 17.1)."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from sipd.errors import RemoteError, TransactionTimeoutError, TransportError
from sipd.interfaces import IClientTransaction, ITransactionUser
from sipd.sip.locate import Transport
from sipd.sip.message import Response
from tests.transaction.fakes import FakeFlow, LayerTestCase, RecordingUser, make_request


class ClientTestCase(LayerTestCase):
    """Sends requests as a user."""

    def setUp(self) -> None:
        """Make the user."""
        super().setUp()
        self.user = RecordingUser()

    def receive(self, status: int, *, to_tag: str = "b1", flow: FakeFlow | None = None) -> Response:
        """Receive a response to the first request that was sent, and give it."""
        flow = flow or self.flow
        request = flow.sent[0][1]
        assert not isinstance(request, Response)
        response = request.response(status, to_tag=to_tag)
        self.layer.message_received(response, flow)
        return response


class InviteClientTests(ClientTestCase):
    """An INVITE over UDP."""

    def test_retransmits_until_timeout(self) -> None:
        """Unanswered, the INVITE goes out at 0, 0.5, 1.5 ... 31.5 s, then it fails at 32 s."""
        self.layer.start(make_request(), self.flow, self.user)
        self.clock.pump([0.25] * 127)
        self.assertEqual(self.user.errors, [])
        self.clock.advance(0.25)
        self.assertEqual(self.sent(), [(time, "INVITE") for time in (0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5)])
        self.assertEqual([type(error) for error in self.user.errors], [TransactionTimeoutError])
        self.assertEqual(len(self.layer), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_repeats_octet_for_octet(self) -> None:
        """Each retransmission has the same octets."""
        self.layer.start(make_request(), self.flow, self.user)
        self.clock.pump([0.25] * 20)
        self.assertEqual(len(set(self.flow.octets)), 1)

    def test_adds_via(self) -> None:
        """A Via with a new branch and rport stands on top; what was there stays below."""
        for transport in (Transport.UDP, Transport.TLS):
            flow = FakeFlow(self.clock, transport)
            self.layer.start(make_request(branch="z9hG4bKbelow"), flow, self.user)
            request = self.last_request(flow)
            self.assertEqual(len(request.vias), 2)
            self.assertRegex(
                str(request.vias[0]), rf"^SIP/2\.0/{transport.value} 192\.0\.2\.1:5060;branch=z9hG4bK[0-9a-f]+;rport$"
            )
            self.assertEqual(request.vias[1].branch, "z9hG4bKbelow")

    def test_provides_its_interface(self) -> None:
        """What `start` gives is an `IClientTransaction` with the request as sent."""
        transaction = self.layer.start(make_request(), self.flow, self.user)
        verifyObject(IClientTransaction, transaction)
        verifyObject(ITransactionUser, self.user)
        self.assertEqual(transaction.request.to_bytes(), self.flow.octets[0])

    def test_provisional_stops_retransmission(self) -> None:
        """After a 1xx nothing is sent and no timer runs: the user bounds the ringing."""
        self.layer.start(make_request(), self.flow, self.user)
        self.receive(100)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.pump([1] * 1000)
        self.receive(180)
        self.receive(486)
        self.assertEqual(self.user.statuses, [100, 180, 486])

    def test_failure_is_acknowledged(self) -> None:
        """A 486 is delivered once and acknowledged each time; 32 s later the transaction is gone."""
        self.layer.start(make_request(), self.flow, self.user)
        self.receive(486)
        self.clock.advance(0.5)
        self.receive(486)
        self.clock.advance(31.25)
        self.receive(486)
        self.assertEqual(len(self.layer), 1)
        self.clock.advance(0.25)
        self.assertEqual(len(self.layer), 0)
        self.assertEqual(self.user.statuses, [486])
        self.assertEqual(self.sent(), [(0.0, "INVITE"), (0.0, "ACK"), (0.5, "ACK"), (31.75, "ACK")])
        ack = self.last_request()
        self.assertEqual(ack.via, self.flow.sent[0][1].via)
        self.assertEqual((ack.to.tag, str(ack.cseq)), ("b1", "1 ACK"))

    def test_forked_and_repeated_2xx(self) -> None:
        """Each 2xx reaches the user until timer M fires; from then on the core gets them (RFC 6026)."""
        self.layer.start(make_request(), self.flow, self.user)
        self.receive(200, to_tag="b1")
        self.receive(200, to_tag="b2")
        self.clock.advance(31.5)
        self.receive(200, to_tag="b1")
        self.clock.advance(0.5)
        self.assertEqual(len(self.layer), 0)
        late = self.receive(200, to_tag="b1")
        self.assertEqual([response.to.tag for response in self.user.responses], ["b1", "b2", "b1"])
        self.assertEqual(self.core.responses, [late])
        self.assertEqual(self.sent(), [(0.0, "INVITE")])

    def test_response_of_another_method_or_branch(self) -> None:
        """A response that matches no transaction goes to the core."""
        self.layer.start(make_request(), self.flow, self.user)
        request = self.last_request()
        request.headers.set("CSeq", "1 OPTIONS")
        self.layer.message_received(request.response(200), self.flow)
        self.layer.message_received(make_request(branch="z9hG4bKother").response(200), self.flow)
        self.assertEqual(len(self.core.responses), 2)
        self.assertEqual(self.user.responses, [])

    def test_over_tcp(self) -> None:
        """Over a connection the INVITE goes out once, and fails after 32 s all the same."""
        flow = FakeFlow(self.clock, Transport.TCP)
        self.layer.start(make_request(), flow, self.user)
        self.clock.pump([0.5] * 64)
        self.assertEqual(self.sent(flow), [(0.0, "INVITE")])
        self.assertEqual([type(error) for error in self.user.errors], [TransactionTimeoutError])

    def test_failure_over_tcp(self) -> None:
        """Over a connection an acknowledged failure is the end at once."""
        flow = FakeFlow(self.clock, Transport.TCP)
        self.layer.start(make_request(), flow, self.user)
        self.receive(486, flow=flow)
        self.assertEqual(self.sent(flow), [(0.0, "INVITE"), (0.0, "ACK")])
        self.assertEqual((len(self.layer), self.clock.getDelayedCalls()), (0, []))

    def test_user_that_starts_another_from_a_response(self) -> None:
        """A user may start the next attempt while it is told of a response; the ACK still leaves first."""
        layer, flow = self.layer, self.flow

        class Retrying(RecordingUser):
            def response_received(self, response: Response) -> None:
                super().response_received(response)
                if len(self.responses) == 1:
                    layer.start(make_request(cseq=2), flow, self)
                    assert [text for _, text in test_sent()] == ["INVITE", "ACK"]

        test_sent = self.sent
        user = Retrying()
        self.layer.start(make_request(), self.flow, user)
        self.receive(401)
        self.assertEqual([text for _, text in self.sent()], ["INVITE", "ACK", "INVITE"])
        self.assertEqual(self.flushLoggedErrors(), [])


class NonInviteClientTests(ClientTestCase):
    """An OPTIONS."""

    def test_retransmits_until_timeout(self) -> None:
        """Unanswered, it goes out at 0, 0.5, 1.5, 3.5 s and then every 4 s, and fails at 32 s."""
        self.layer.start(make_request("OPTIONS"), self.flow, self.user)
        self.clock.pump([0.25] * 128)
        times = (0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
        self.assertEqual(self.sent(), [(time, "OPTIONS") for time in times])
        self.assertEqual([type(error) for error in self.user.errors], [TransactionTimeoutError])
        self.assertEqual(len(self.layer), 0)

    def test_provisional_slows_retransmission(self) -> None:
        """After a 100 the request is repeated every 4 s from the next repetition on, and still fails at 32 s."""
        self.layer.start(make_request("OPTIONS"), self.flow, self.user)
        self.clock.advance(0.25)
        self.receive(100)
        self.clock.pump([0.25] * 127)
        times = (0.0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5)
        self.assertEqual(self.sent(), [(time, "OPTIONS") for time in times])
        self.assertEqual([type(error) for error in self.user.errors], [TransactionTimeoutError])

    def test_final_response(self) -> None:
        """The first final response is delivered; others are absorbed for 5 s and stray after that."""
        self.layer.start(make_request("OPTIONS"), self.flow, self.user)
        self.receive(200)
        self.clock.advance(4.5)
        self.receive(200)
        self.assertEqual(self.user.statuses, [200])
        self.clock.advance(0.5)
        self.assertEqual(len(self.layer), 0)
        stray = self.receive(200)
        self.assertEqual(self.core.responses, [stray])

    def test_final_response_over_tcp(self) -> None:
        """Over a connection the final response is the end at once."""
        flow = FakeFlow(self.clock, Transport.TCP)
        self.layer.start(make_request("OPTIONS"), flow, self.user)
        self.receive(404, flow=flow)
        self.assertEqual(self.user.statuses, [404])
        self.assertEqual((len(self.layer), self.clock.getDelayedCalls()), (0, []))


class FlowFailureTests(ClientTestCase):
    """RFC 3261 section 17.1.4."""

    def setUp(self) -> None:
        """Make a connection."""
        super().setUp()
        self.tcp = FakeFlow(self.clock, Transport.TCP)
        self.error = TransportError("refused")

    def test_all_that_wait_on_it_fail(self) -> None:
        """Each transaction on the flow fails with its error, once; those on other flows go on."""
        others = RecordingUser()
        self.layer.start(make_request(), self.tcp, self.user)
        self.layer.start(make_request("OPTIONS"), self.tcp, self.user)
        self.layer.start(make_request(), FakeFlow(self.clock, Transport.TCP), others)
        self.layer.start(make_request(), self.flow, others)
        self.layer.flow_failed(self.tcp, self.error)
        self.layer.flow_failed(self.tcp, self.error)
        self.assertEqual(self.user.errors, [self.error, self.error])
        self.assertEqual(others.errors, [])
        self.assertEqual(len(self.layer), 2)

    def test_when_others_on_it_are_over(self) -> None:
        """The end of one transaction does not hide the others from the loss of their connection."""
        over = self.layer.start(make_request("OPTIONS"), self.tcp, RecordingUser())
        self.layer.start(make_request("OPTIONS"), self.tcp, self.user)
        self.layer.message_received(over.request.response(200), self.tcp)
        self.assertEqual(len(self.layer), 1)
        self.layer.flow_failed(self.tcp, self.error)
        self.assertEqual(self.user.errors, [self.error])

    def test_ringing_fails(self) -> None:
        """A call that rings on a lost connection fails."""
        self.layer.start(make_request(), self.tcp, self.user)
        self.receive(180, flow=self.tcp)
        self.layer.flow_failed(self.tcp, self.error)
        self.assertEqual(self.user.errors, [self.error])
        self.assertEqual(len(self.layer), 0)

    def test_after_an_answer_it_is_no_failure(self) -> None:
        """Once answered, the loss of the connection is not the transaction's business."""
        self.layer.start(make_request(), self.tcp, self.user)
        self.receive(200, flow=self.tcp)
        self.layer.flow_failed(self.tcp, self.error)
        self.assertEqual(self.user.errors, [])
        self.assertEqual(self.user.statuses, [200])

    def test_user_that_tries_elsewhere(self) -> None:
        """A user that is told of the failure may start again, on the same flow or another."""
        layer, flow, tcp = self.layer, self.flow, self.tcp

        class Retrying(RecordingUser):
            def transaction_failed(self, error: Exception) -> None:
                layer.start(make_request(), flow, RecordingUser())
                layer.start(make_request(), tcp, RecordingUser())

        self.layer.start(make_request(), self.tcp, Retrying())
        self.layer.flow_failed(self.tcp, self.error)
        self.assertEqual(len(self.layer), 2)
        self.assertEqual([text for _, text in self.sent(self.flow)], ["INVITE"])
        self.assertEqual([text for _, text in self.sent(self.tcp)], ["INVITE", "INVITE"])

    def test_datagram_that_cannot_be_sent(self) -> None:
        """When UDP cannot send, what nothing is heard of yet fails; a ringing call and a server go on."""
        ringing, calling, asking, elsewhere = (RecordingUser() for _ in range(4))
        self.layer.start(make_request(), self.flow, ringing)
        self.receive(180)
        self.layer.start(make_request(), self.flow, calling)
        self.layer.start(make_request("OPTIONS"), self.flow, asking)
        self.layer.start(make_request(), FakeFlow(self.clock, host="192.0.2.8"), elsewhere)
        self.layer.message_received(make_request("OPTIONS", branch="z9hG4bK1"), self.flow)
        self.layer.flow_failed(self.flow, self.error)
        self.assertEqual((calling.errors, asking.errors), ([self.error], [self.error]))
        self.assertEqual((ringing.errors, elsewhere.errors, self.core.users[0].errors), ([], [], []))
        self.receive(486)

    def test_silent_connection_is_closed(self) -> None:
        """A connection on which nothing came while a request timed out is closed, then the user is told (lesson 21)."""
        tcp, was_open = self.tcp, []

        class User(RecordingUser):
            def transaction_failed(self, error: RemoteError) -> None:
                was_open.append(tcp.is_open)

        self.layer.start(make_request("OPTIONS"), self.tcp, User())
        self.clock.advance(32)
        self.assertEqual(was_open, [False])

    def test_connection_with_signs_of_life_is_kept(self) -> None:
        """A peer that sends anything at all while a request times out keeps its connection; so does a UDP flow."""
        self.layer.start(make_request("OPTIONS"), self.tcp, self.user)
        self.layer.start(make_request("OPTIONS"), self.flow, self.user)
        self.clock.advance(31)
        self.layer.message_received(make_request("ACK", branch="z9hG4bK1"), self.tcp)
        self.clock.advance(1)
        self.assertEqual(len(self.user.errors), 2)
        self.assertTrue(self.tcp.is_open and self.flow.is_open)

    def test_of_an_unknown_flow(self) -> None:
        """The loss of a connection that nobody waits on does nothing."""
        self.layer.flow_failed(self.tcp, self.error)
        self.layer.flow_failed(self.flow, self.error)
        self.assertEqual(len(self.layer), 0)


class AckTests(ClientTestCase):
    """The ACK of a 2xx, which is no transaction."""

    def test_own_branch(self) -> None:
        """It leaves with a branch of its own and without a transaction."""
        self.layer.start(make_request(), self.flow, self.user)
        self.receive(200)
        self.layer.send_ack(make_request("ACK", to_tag="b1"), self.flow)
        self.assertNotEqual(self.last_request().via.branch, self.flow.sent[0][1].via.branch)
        self.assertEqual(len(self.layer), 1)

    def test_again(self) -> None:
        """For a repeated 2xx the same ACK leaves again, octet for octet."""
        ack = make_request("ACK", to_tag="b1")
        self.layer.send_ack(ack, self.flow)
        self.layer.send_ack(ack, self.flow)
        self.assertEqual(self.flow.octets[0], self.flow.octets[1])
