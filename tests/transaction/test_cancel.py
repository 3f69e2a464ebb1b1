"""CANCEL, sent and received (RFC 3261 section 9), and its races."""

from __future__ import annotations

from sipd.errors import TransactionTimeoutError, TransportError
from sipd.interfaces import IServerTransaction
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from tests.transaction.fakes import FakeFlow, LayerTestCase, RecordingUser, make_request

BRANCH = "z9hG4bKin1"


class SentCancelTests(LayerTestCase):
    """A client that cancels."""

    def setUp(self) -> None:
        """Send an INVITE."""
        super().setUp()
        self.user = RecordingUser()
        self.invite = self.layer.start(make_request(), self.flow, self.user)

    def receive(self, status: int, request: Request | None = None) -> None:
        """Receive a response to the INVITE, or to another request."""
        response = (request or self.invite.request).response(status, to_tag="b1")
        self.layer.message_received(response, self.flow)

    def methods(self) -> list[str]:
        """Give what was sent."""
        return [text for _, text in self.sent()]

    def test_golden(self) -> None:
        """The CANCEL is the INVITE's hop and identity, to the octet (section 9.1, lesson 27)."""
        self.receive(180)
        self.invite.cancel([("Reason", "SIP;cause=200")])
        branch = self.invite.request.via.branch
        self.assertEqual(
            self.flow.octets[-1].decode(),
            "CANCEL sip:bob@192.0.2.7:5070 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch};rport\r\n"
            "Max-Forwards: 70\r\n"
            "From: Alice <sip:alice@example.com>;tag=a1\r\n"
            "To: Bob <sip:bob@example.com>\r\n"
            "Call-ID: call-1\r\n"
            "CSeq: 1 CANCEL\r\n"
            "Reason: SIP;cause=200\r\n"
            "Content-Length: 0\r\n\r\n",
        )
        self.receive(487)

    def test_waits_for_the_first_response(self) -> None:
        """Before a 1xx no CANCEL leaves; the first one sends it (lesson 25)."""
        self.invite.cancel()
        self.clock.advance(0.5)
        self.assertEqual(self.methods(), ["INVITE", "INVITE"])
        self.receive(100)
        self.assertEqual(self.methods(), ["INVITE", "INVITE", "CANCEL"])
        self.receive(200, self.last_request())
        self.receive(487)
        self.assertEqual(self.methods()[-1], "ACK")
        self.assertEqual(self.user.statuses, [100, 487])

    def test_without_any_response(self) -> None:
        """When nothing ever comes, timer B ends the INVITE and no CANCEL was sent."""
        self.invite.cancel()
        self.clock.pump([0.5] * 64)
        self.assertEqual(set(self.methods()), {"INVITE"})
        self.assertEqual([type(error) for error in self.user.errors], [TransactionTimeoutError])
        self.assertEqual(len(self.layer), 0)

    def test_twice(self) -> None:
        """A second cancel does nothing."""
        self.receive(180)
        self.invite.cancel()
        self.invite.cancel()
        self.assertEqual(self.methods(), ["INVITE", "CANCEL"])
        self.receive(200, self.last_request())
        self.receive(487)

    def test_is_a_transaction_of_its_own(self) -> None:
        """The CANCEL is repeated until it is answered; its response does not reach the user of the INVITE."""
        self.receive(180)
        self.invite.cancel()
        cancel = self.last_request()
        self.assertEqual(len(self.layer), 2)
        self.clock.advance(0.5)
        self.receive(200, cancel)
        self.clock.advance(4)
        self.assertEqual(self.methods(), ["INVITE", "CANCEL", "CANCEL"])
        self.receive(487)
        self.assertEqual(self.user.statuses, [180, 487])

    def test_no_final_response(self) -> None:
        """64*T1 after the CANCEL the INVITE is given up, whatever the CANCEL was answered with (section 9.1)."""
        self.receive(180)
        self.clock.advance(100)
        self.invite.cancel()
        self.receive(200, self.last_request())
        self.clock.advance(31.5)
        self.receive(183)
        self.assertEqual(self.user.errors, [])
        self.clock.advance(0.5)
        self.assertEqual([type(error) for error in self.user.errors], [TransactionTimeoutError])
        self.assertEqual(len(self.layer), 0)
        self.receive(200)
        self.assertEqual([response.status for response in self.core.responses], [200])

    def test_cancel_refused(self) -> None:
        """A 481 to the CANCEL changes nothing for the INVITE."""
        self.receive(180)
        self.invite.cancel()
        self.receive(481, self.last_request())
        self.receive(200)
        self.assertEqual(self.user.statuses, [180, 200])

    def test_2xx_crosses_it(self) -> None:
        """A 200 that crosses the CANCEL reaches the user, which has to end the call (lesson 26)."""
        self.receive(180)
        self.invite.cancel()
        self.receive(200)
        self.receive(481, self.last_request())
        self.assertEqual(self.user.statuses, [180, 200])
        self.assertEqual(self.user.errors, [])

    def test_2xx_before_any_1xx(self) -> None:
        """A 200 as first response makes the CANCEL that waits needless."""
        self.invite.cancel()
        self.receive(200)
        self.assertEqual(self.methods(), ["INVITE"])
        self.assertEqual(self.user.statuses, [200])

    def test_failure_before_any_1xx(self) -> None:
        """A 486 as first response makes the CANCEL that waits needless."""
        self.invite.cancel()
        self.receive(486)
        self.assertEqual(self.methods(), ["INVITE", "ACK"])

    def test_after_a_final_response(self) -> None:
        """After a final response, and after the end, cancel does nothing."""
        self.receive(200)
        self.invite.cancel()
        self.clock.advance(32)
        self.invite.cancel()
        self.assertEqual(self.methods(), ["INVITE"])

    def test_of_another_request(self) -> None:
        """Only INVITE can be cancelled."""
        options = self.layer.start(make_request("OPTIONS"), self.flow, self.user)
        options.cancel()
        self.receive(100, options.request)
        self.assertNotIn("CANCEL", self.methods())

    def test_lost_connection(self) -> None:
        """When the connection is lost under INVITE and CANCEL, the user hears of it once."""
        flow = FakeFlow(self.clock, Transport.TCP)
        user = RecordingUser()
        invite = self.layer.start(make_request(), flow, user)
        self.layer.message_received(invite.request.response(180), flow)
        invite.cancel()
        error = TransportError("reset")
        self.layer.flow_failed(flow, error)
        self.assertEqual(user.errors, [error])
        self.assertEqual(len(self.layer), 1)

    def test_from_within_a_response(self) -> None:
        """A user may cancel while it is told of the first 1xx."""

        class Cancelling(RecordingUser):
            def response_received(inner, response: Response) -> None:  # noqa: N805
                super().response_received(response)
                self.invite.cancel()

        self.invite.user = Cancelling()
        self.receive(180)
        self.receive(180)
        self.assertEqual(self.methods(), ["INVITE", "CANCEL"])


class ReceivedCancelTests(LayerTestCase):
    """A server whose client cancels."""

    def receive(self, method: str, *, via: str = "", branch: str = BRANCH, flow: FakeFlow | None = None) -> Request:
        """Receive a request, and give it."""
        request = make_request(method, branch=branch)
        if via:
            request.headers.set("Via", via)
        self.layer.message_received(request, flow or self.flow)
        return request

    def respond(self, status: int) -> None:
        """Respond to the INVITE."""
        transaction = self.core.transactions[0]
        transaction.respond(transaction.request.response(status, to_tag="b1"))

    def test_ringing(self) -> None:
        """The CANCEL of a ringing call gets 200 with the To tag of the 180, and the core is told."""
        self.receive("INVITE")
        self.respond(180)
        cancel = self.receive("CANCEL")
        self.assertEqual(self.core.cancels, [(cancel, self.core.transactions[0])])
        self.assertEqual((self.last_response().status, str(self.last_response().cseq)), (200, "1 CANCEL"))
        self.assertEqual(self.last_response().to.tag, "b1")
        self.respond(487)
        self.assertEqual([text for _, text in self.sent()], ["180", "200", "487"])
        self.assertEqual(len(self.core.transactions), 1)

    def test_before_any_response(self) -> None:
        """Without a To tag to agree with, the 200 has one of its own."""
        self.receive("INVITE")
        self.receive("CANCEL")
        self.assertTrue(self.last_response().to.tag)
        self.respond(487)

    def test_repeated(self) -> None:
        """A repeated CANCEL gets the same 200 again, and the core is told once."""
        self.receive("INVITE")
        self.receive("CANCEL")
        self.receive("CANCEL")
        self.assertEqual(len(self.core.cancels), 1)
        self.assertEqual(self.flow.octets[0], self.flow.octets[1])
        self.respond(487)

    def test_core_that_answers_at_once(self) -> None:
        """When the core answers 487 while it is told, the 200 to the CANCEL has left before."""
        self.receive("INVITE")

        def cancel_received(cancel: Request, transaction: IServerTransaction) -> None:
            transaction.respond(transaction.request.response(487, to_tag="b1"))

        self.core.cancel_received = cancel_received  # type: ignore[method-assign]
        self.receive("CANCEL")
        self.assertEqual([text for _, text in self.sent()], ["200", "487"])

    def test_answered_call(self) -> None:
        """The CANCEL of an answered call gets 200, with the To tag of the answer, and has no effect."""
        self.receive("INVITE")
        self.respond(200)
        self.receive("CANCEL")
        self.assertEqual((str(self.last_response().cseq), self.last_response().to.tag), ("1 CANCEL", "b1"))
        self.assertEqual([text for _, text in self.sent()], ["200", "200"])
        self.assertEqual(self.core.cancels, [])

    def test_for_nothing(self) -> None:
        """A CANCEL that matches no INVITE gets 481."""
        self.receive("CANCEL")
        self.receive("OPTIONS")
        self.respond(200)
        self.receive("CANCEL", branch="z9hG4bKother")
        self.assertEqual([text for _, text in self.sent()], ["481", "200", "481"])
        self.assertEqual(self.core.cancels, [])

    def test_after_the_end(self) -> None:
        """A CANCEL that comes when the INVITE is forgotten gets 481."""
        self.receive("INVITE")
        self.respond(486)
        self.receive("ACK")
        self.clock.advance(5)
        self.receive("CANCEL")
        self.assertEqual(self.last_response().status, 481)

    def test_from_behind_nat(self) -> None:
        """A CANCEL whose sent-by changed, as a client behind NAT sends it, meets its INVITE (lesson 7)."""
        self.receive("INVITE")
        self.receive("CANCEL", via=f"SIP/2.0/UDP 203.0.113.5:40000;branch={BRANCH};rport")
        self.assertEqual(self.last_response().status, 200)
        self.assertEqual(len(self.core.cancels), 1)
        self.respond(487)

    def test_from_elsewhere(self) -> None:
        """A CANCEL with the right branch, another sent-by and another source gets 481."""
        self.receive("INVITE")
        other = FakeFlow(self.clock, host="203.0.113.66")
        self.receive("CANCEL", via=f"SIP/2.0/UDP 203.0.113.66:5060;branch={BRANCH}", flow=other)
        self.assertEqual(self.last_response(other).status, 481)
        self.respond(486)

    def test_rfc_2543(self) -> None:
        """A CANCEL without the magic cookie meets its INVITE by the rules of RFC 2543."""
        self.receive("INVITE", branch="7")
        self.receive("CANCEL", branch="7")
        self.assertEqual(len(self.core.cancels), 1)
        self.respond(487)

    def test_find_invite(self) -> None:
        """Whoever has a CANCEL in hand can ask for its INVITE."""
        self.receive("INVITE")
        cancel = make_request("CANCEL", branch=BRANCH)
        self.assertIs(self.layer.find_invite(cancel, self.flow), self.core.transactions[0])
        self.assertIsNone(self.layer.find_invite(make_request("CANCEL", branch="z9hG4bKx"), self.flow))
        self.respond(486)
