"""Transactions that are forgotten without a word."""

from __future__ import annotations

from tests.transaction.fakes import LayerTestCase, RecordingUser, make_request


class DropTests(LayerTestCase):
    """What `TransactionLayer.drop` leaves: nothing."""

    def test_client(self) -> None:
        """A client transaction is not repeated, its user hears nothing, and a late 2xx goes to the core."""
        user = RecordingUser()
        transaction = self.layer.start(make_request(), self.flow, user)
        for _ in range(2):
            self.layer.drop(transaction)
        self.assertEqual(len(self.layer), 0)
        self.clock.advance(40.0)
        self.layer.message_received(transaction.request.response(200, to_tag="b"), self.flow)
        self.assertEqual([what for _, what in self.sent()], ["INVITE"])
        self.assertEqual((user.responses, user.errors, len(self.core.responses)), ([], [], 1))

    def test_server(self) -> None:
        """A server transaction answers nothing more, whoever asks; the same request begins anew."""
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        transaction = self.core.transactions[0]
        self.layer.drop(transaction)
        self.clock.advance(1.0)
        transaction.respond(transaction.request.response(200, to_tag="b"))
        self.assertEqual((self.sent(), len(self.layer), self.core.users[0].errors), ([], 0, []))
        self.layer.message_received(make_request(branch="z9hG4bK1"), self.flow)
        self.assertEqual(len(self.core.transactions), 2)
        self.layer.drop(self.core.transactions[1])

    def test_from_within(self) -> None:
        """It may be dropped by its user, from within what it is told."""

        class Dropping(RecordingUser):
            def response_received(inner, response: object) -> None:  # noqa: N805 - two selves
                self.layer.drop(transaction)

        transaction = self.layer.start(make_request(), self.flow, Dropping())
        self.layer.message_received(transaction.request.response(180, to_tag="b"), self.flow)
        self.assertEqual((len(self.layer), self.clock.getDelayedCalls()), (0, []))
