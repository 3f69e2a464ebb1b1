"""The layer itself: its bound, its nets, its end, and the order in which things happen."""

from __future__ import annotations

import gc
from typing import cast

from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from sipd.errors import (
    InvalidStateError,
    ParseError,
    RemoteError,
    RequestRefusedError,
    ResourcesExhaustedError,
    TransactionTimeoutError,
    TransportError,
)
from sipd.interfaces import IFlow, IMessageReceiver, IServerTransaction, ITransactionLayer
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from tests.transaction.fakes import FakeFlow, LayerTestCase, RecordingCore, RecordingUser, make_request


class Mistake(Exception):
    """A bug of a user."""


class RequestTests(LayerTestCase):
    """A client transaction as a Deferred."""

    def receive(self, status: int, *, to_tag: str = "b1") -> None:
        """Receive a response to the first request that was sent."""
        request = cast(Request, self.flow.sent[0][1])
        self.layer.message_received(request.response(status, to_tag=to_tag), self.flow)

    def test_final_response(self) -> None:
        """The Deferred fires with the final response, whatever its status; provisional ones go to a listener."""
        heard: list[int] = []
        deferred = self.layer.request(make_request(), self.flow, lambda response: heard.append(response.status))
        self.receive(100)
        self.receive(180)
        self.assertNoResult(deferred)
        self.receive(603)
        self.assertEqual(self.successResultOf(deferred).status, 603)
        self.assertEqual(heard, [100, 180])

    def test_without_a_listener(self) -> None:
        """Provisional responses may be ignored."""
        deferred = self.layer.request(make_request("OPTIONS"), self.flow)
        self.receive(100)
        self.receive(200)
        self.assertEqual(self.successResultOf(deferred).status, 200)

    def test_timeout(self) -> None:
        """The Deferred fails when no final response comes."""
        deferred = self.layer.request(make_request("OPTIONS"), self.flow)
        self.clock.pump([0.5] * 64)
        self.failureResultOf(deferred, TransactionTimeoutError)

    def test_lost_connection(self) -> None:
        """The Deferred fails when the connection is lost."""
        flow = FakeFlow(self.clock, Transport.TCP)
        deferred = self.layer.request(make_request("OPTIONS"), flow)
        self.layer.flow_failed(flow, TransportError("reset"))
        self.failureResultOf(deferred, TransportError)

    def test_cancel_invite(self) -> None:
        """To cancel the Deferred cancels the INVITE the SIP way; nobody is told of the 487."""
        heard: list[int] = []
        deferred = self.layer.request(make_request(), self.flow, lambda response: heard.append(response.status))
        self.receive(180)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.assertEqual(self.last_request().method, "CANCEL")
        self.receive(183)
        self.receive(487)
        self.assertEqual([text for _, text in self.sent()], ["INVITE", "CANCEL", "ACK"])
        self.assertEqual((heard, self.core.responses), ([180], []))

    def test_2xx_after_cancel(self) -> None:
        """A 2xx that crosses the CANCEL goes to the core, which has to end the session (lesson 26)."""
        deferred = self.layer.request(make_request(), self.flow)
        self.receive(180)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.receive(200)
        self.assertEqual([response.status for response in self.core.responses], [200])

    def test_forked_2xx(self) -> None:
        """A second 2xx goes to the core."""
        deferred = self.layer.request(make_request(), self.flow)
        self.receive(200, to_tag="b1")
        self.receive(200, to_tag="b2")
        self.assertEqual(self.successResultOf(deferred).to.tag, "b1")
        self.assertEqual([response.to.tag for response in self.core.responses], ["b2"])

    def test_cancel_another_request(self) -> None:
        """To cancel the Deferred of another request only forgets it: its transaction goes on to its end."""
        deferred = self.layer.request(make_request("OPTIONS"), self.flow)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.clock.advance(0.5)
        self.assertEqual([text for _, text in self.sent()], ["OPTIONS", "OPTIONS"])
        self.receive(200)
        self.assertEqual(self.core.responses, [])

    def test_timeout_after_cancel(self) -> None:
        """A failure after the Deferred was cancelled is nobody's business."""
        deferred = self.layer.request(make_request(), self.flow)
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.clock.pump([0.5] * 64)
        self.assertEqual(len(self.layer), 0)

    def test_refused_at_the_bound(self) -> None:
        """What `start` would raise arrives through the Deferred."""
        self.layer = self.make_layer(max_transactions=0)
        self.failureResultOf(self.layer.request(make_request(), self.flow), ResourcesExhaustedError)
        self.layer.close()
        self.failureResultOf(self.layer.request(make_request(), self.flow), InvalidStateError)


class BoundTests(LayerTestCase):
    """So many transactions, and no more."""

    def setUp(self) -> None:
        """Fill a layer that holds two."""
        super().setUp()
        self.layer = self.make_layer(max_transactions=2)
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        self.user = RecordingUser()
        self.client = self.layer.start(make_request(), self.flow, self.user)
        self.addCleanup(self.finish)

    def finish(self) -> None:
        """Answer the INVITE that fills the layer."""
        transaction = self.core.transactions[0]
        transaction.respond(transaction.request.response(486, to_tag="b1"))

    def test_start(self) -> None:
        """A client transaction more is refused with an exception that says how many there are."""
        with self.assertRaises(ResourcesExhaustedError) as caught:
            self.layer.start(make_request(), self.flow, self.user)
        self.assertIn("2 SIP transactions", str(caught.exception))
        self.assertEqual(len(self.layer), 2)

    def test_request(self) -> None:
        """A request more gets 503 with Retry-After and the same To tag each time, and no transaction."""
        for _ in range(2):
            self.layer.message_received(make_request("OPTIONS", branch="z9hG4bK2"), self.flow)
        first, second = self.flow.octets[-2:]
        self.assertEqual(first, second)
        response = self.last_response()
        self.assertEqual((response.status, response.headers.get("Retry-After")), (503, "10"))
        self.assertTrue(response.to.tag)
        self.assertEqual((len(self.layer), len(self.core.transactions)), (2, 1))

    def test_is_logged_once(self) -> None:
        """The operator reads once that the bound is reached, and again only when there was room in between."""
        with capturedLogs() as events:
            for number in range(3):
                self.layer.message_received(make_request("OPTIONS", branch=f"z9hG4bK2{number}"), self.flow)
            self.assertEqual([event["limit"] for event in events], [2])
            self.clock.pump([0.5] * 64)
            for number in range(3):
                self.layer.message_received(make_request("OPTIONS", branch=f"z9hG4bK3{number}"), self.flow)
            self.assertEqual([event["limit"] for event in events], [2, 2])

    def test_what_is_known_is_served(self) -> None:
        """Repetitions, responses and ACKs of what is live are handled as ever."""
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        self.layer.message_received(self.client.request.response(180), self.flow)
        self.layer.message_received(make_request("ACK", branch="z9hG4bK9"), self.flow)
        self.assertEqual(self.user.statuses, [180])
        self.assertEqual(len(self.core.acks), 1)
        self.assertEqual([text for _, text in self.sent()], ["INVITE"])
        self.client.cancel()
        self.layer.message_received(self.client.request.response(487), self.flow)

    def test_cancel_passes(self) -> None:
        """A CANCEL that ends something passes in both directions; one that does not is refused."""
        self.layer.message_received(make_request("CANCEL", branch="z9hG4bK1"), self.flow)
        self.assertEqual(self.last_response().status, 200)
        self.assertEqual(len(self.core.cancels), 1)
        self.layer.message_received(make_request("CANCEL", branch="z9hG4bK9"), self.flow)
        self.assertEqual(self.last_response().status, 503)
        self.layer.message_received(self.client.request.response(180), self.flow)
        self.client.cancel()
        self.assertEqual(self.last_request().method, "CANCEL")
        self.layer.message_received(self.client.request.response(487), self.flow)

    def test_room_again(self) -> None:
        """When a transaction ends, a new one has its place."""
        self.layer.message_received(make_request("OPTIONS", branch="z9hG4bK2"), self.flow)
        self.clock.pump([0.5] * 64)
        self.layer.message_received(make_request("OPTIONS", branch="z9hG4bK2"), self.flow)
        self.assertEqual(len(self.core.transactions), 2)


class NetTests(LayerTestCase):
    """A mistake stays where it was made."""

    def test_core_that_raises(self) -> None:
        """A request on which the core fails gets 500, once, and the failure is logged with its traceback."""

        class Core(RecordingCore):
            def request_received(self, transaction: IServerTransaction) -> None:
                raise Mistake

        self.layer.core = Core()
        for _ in range(2):
            self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        self.assertEqual([text for _, text in self.sent()], ["500", "500"])
        self.assertTrue(self.last_response().to.tag)
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)

    def test_core_that_raises_after_it_answered(self) -> None:
        """An answer that was given before the failure stands."""

        class Core(RecordingCore):
            def request_received(self, transaction: IServerTransaction) -> None:
                transaction.respond(transaction.request.response(486, to_tag="b1"))
                raise Mistake

        self.layer.core = Core()
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        self.assertEqual([text for _, text in self.sent()], ["486"])
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)

    def test_core_that_refuses(self) -> None:
        """A `RemoteError` of the core is the answer, with its header fields, and is not logged."""

        class Core(RecordingCore):
            def request_received(self, transaction: IServerTransaction) -> None:
                raise RequestRefusedError("Not today", status=420, headers=(("Unsupported", "foo"),))

        self.layer.core = Core()
        self.layer.message_received(make_request("OPTIONS", branch="z9hG4bK1"), self.flow)
        response = self.last_response()
        self.assertEqual((response.status, response.reason), (420, "Not today"))
        self.assertEqual(response.headers.get("Unsupported"), "foo")

    def test_user_that_raises(self) -> None:
        """A user that fails on each thing it is told changes nothing for its transaction, nor for others."""

        class User(RecordingUser):
            def response_received(self, response: Response) -> None:
                raise Mistake

            def transaction_failed(self, error: RemoteError) -> None:
                raise Mistake

        failing = self.layer.start(make_request(), self.flow, User())
        self.layer.message_received(failing.request.response(486, to_tag="b1"), self.flow)
        self.assertEqual(self.last_request().method, "ACK")
        user = RecordingUser()
        self.layer.start(make_request("OPTIONS"), self.flow, User())
        self.layer.start(make_request("OPTIONS"), self.flow, user)
        self.clock.pump([0.5] * 64)
        self.assertEqual([type(error) for error in user.errors], [TransactionTimeoutError])
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 2)

    def test_core_that_raises_elsewhere(self) -> None:
        """A failure on a CANCEL, an ACK or a stray response is logged, and the CANCEL is answered."""

        class Core(RecordingCore):
            def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> None:
                raise Mistake

            def ack_received(self, ack: Request, flow: IFlow) -> None:
                raise Mistake

            def response_received(self, response: Response, flow: IFlow) -> None:
                raise Mistake

        core = self.layer.core = Core()
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        self.layer.message_received(make_request("CANCEL", branch="z9hG4bK1"), self.flow)
        self.layer.message_received(make_request("ACK", branch="z9hG4bK2"), self.flow)
        self.layer.message_received(make_request(branch="z9hG4bK3").response(200), self.flow)
        self.assertEqual([text for _, text in self.sent()], ["200"])
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 3)
        core.transactions[0].respond(core.transactions[0].request.response(487, to_tag="b1"))

    def test_step_that_fails(self) -> None:
        """A transaction that cannot take its next step is ended, and its user told; the layer goes on."""
        user = RecordingUser()
        broken = self.layer.start(make_request(), self.flow, user)
        response = broken.request.response(486, to_tag="b1")
        broken.request.headers.set("CSeq", "nonsense")
        self.layer.message_received(response, self.flow)
        self.assertEqual([type(error) for error in user.errors], [RemoteError])
        self.assertEqual(len(self.layer), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_response_that_cannot_be_sent(self) -> None:
        """When a response cannot be sent for a mistake of ours, the transaction is ended and nothing runs on."""
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)

        def send_response(response: Response, flow: IFlow) -> None:
            raise Mistake

        self.transport.send_response = send_response  # type: ignore[method-assign]
        transaction = self.core.transactions[0]
        transaction.respond(transaction.request.response(486, to_tag="b1"))
        self.assertEqual(len(self.layer), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([type(error) for error in self.core.users[0].errors], [RemoteError])
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)

    def test_responses_that_cannot_be_sent(self) -> None:
        """A mistake between two responses given at once leaves no timer of the second one."""
        send_response, failures = self.transport.send_response, [Mistake()]

        def send_or_fail(response: Response, flow: IFlow) -> None:
            if failures:
                raise failures.pop()
            send_response(response, flow)

        class Core(RecordingCore):
            def request_received(self, transaction: IServerTransaction) -> None:
                transaction.respond(transaction.request.response(180, to_tag="b1"))
                transaction.respond(transaction.request.response(486, to_tag="b1"))

        self.transport.send_response = send_or_fail  # type: ignore[method-assign]
        self.layer.core = Core()
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)

    def test_message_that_cannot_be_handled(self) -> None:
        """A message that breaks the contract of the transport is dropped, with a traceback."""
        request = make_request(branch="z9hG4bK1")
        request.headers.remove("Via")
        self.layer.message_received(request, self.flow)
        self.assertEqual(len(self.layer), 0)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_request_that_cannot_be_printed(self) -> None:
        """A request that cannot be printed is the caller's mistake, and no transaction begins."""
        request = make_request()
        request.headers.set("Subject", "half a character: \ud800")
        self.assertRaises(ParseError, self.layer.start, request, self.flow, RecordingUser())
        self.assertEqual(len(self.layer), 0)


class CloseTests(LayerTestCase):
    """The end of a layer."""

    def test_close(self) -> None:
        """Clients fail, servers are forgotten, and no timer is left."""
        user = RecordingUser()
        tcp = FakeFlow(self.clock, Transport.TCP)
        self.layer.start(make_request(), self.flow, user)
        self.layer.start(make_request("OPTIONS"), tcp, user)
        self.layer.message_received(make_request(branch="z9hG4bK1"), tcp)
        self.layer.message_received(make_request("OPTIONS", branch="z9hG4bK1"), self.flow)
        self.layer.close()
        self.layer.close()
        self.assertEqual([type(error) for error in user.errors], [TransportError, TransportError])
        self.assertEqual([user.errors for user in self.core.users], [[], []])
        self.assertEqual((len(self.layer), self.clock.getDelayedCalls()), (0, []))

    def test_answered_client_does_not_fail(self) -> None:
        """A client that has its final response is forgotten without a word."""
        user = RecordingUser()
        client = self.layer.start(make_request(), self.flow, user)
        self.layer.message_received(client.request.response(200, to_tag="b1"), self.flow)
        self.layer.close()
        self.assertEqual((user.errors, len(self.layer)), ([], 0))

    def test_after_close(self) -> None:
        """Nothing is received, started or sent any more."""
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        self.layer.close()
        self.layer.message_received(make_request(branch="z9hG4bK2"), self.flow)
        self.core.transactions[0].respond(self.core.transactions[0].request.response(200, to_tag="b1"))
        self.assertRaises(InvalidStateError, self.layer.start, make_request(), self.flow, RecordingUser())
        self.assertEqual(self.flow.sent, [])
        self.assertEqual((len(self.layer), self.clock.getDelayedCalls()), (0, []))

    def test_from_within_a_response(self) -> None:
        """A user may close the layer while it is told of something."""
        layer = self.layer

        class Closing(RecordingUser):
            def response_received(self, response: Response) -> None:
                layer.close()

        other = RecordingUser()
        self.layer.start(make_request(), self.flow, other)
        client = self.layer.start(make_request(), self.flow, Closing())
        self.layer.message_received(client.request.response(200, to_tag="b1"), self.flow)
        self.assertEqual([type(error) for error in other.errors], [TransportError])
        self.assertEqual((len(self.layer), self.clock.getDelayedCalls()), (0, []))


class LifeTests(LayerTestCase):
    """What the layer is, and what it leaves."""

    def test_provides_its_interfaces(self) -> None:
        """It is what the transport and the core expect."""
        verifyObject(IMessageReceiver, self.layer)
        verifyObject(ITransactionLayer, self.layer)

    def test_finished_transactions_are_freed(self) -> None:
        """What is over is freed at once: nothing of it is left to the garbage collector."""
        self.addCleanup(gc.garbage.clear)
        self.addCleanup(gc.set_debug, gc.get_debug())
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        client = self.layer.start(make_request(), self.flow, RecordingUser())
        self.layer.message_received(client.request.response(486, to_tag="b1"), self.flow)
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        server = self.core.transactions.pop()
        server.respond(server.request.response(486, to_tag="b1"))
        self.layer.message_received(make_request("ACK", branch="z9hG4bK1"), self.flow)
        deferred = self.layer.request(make_request("OPTIONS"), self.flow)
        self.layer.message_received(self.last_request().response(200), self.flow)
        self.assertEqual(self.successResultOf(deferred).status, 200)
        self.clock.pump([0.5] * 64)
        self.assertEqual(len(self.layer), 0)
        del client, server, deferred
        gc.collect()
        modules = {type(item).__module__ for item in gc.garbage}
        self.assertEqual([module for module in modules if module.startswith("sipd")], [])
