"""What the transaction layer counts of what is sent and comes again."""

from __future__ import annotations

from tests.transaction.fakes import LayerTestCase, RecordingUser, make_request


class CountTests(LayerTestCase):
    """Retransmissions, and who is alive."""

    def test_what_is_sent_again(self) -> None:
        """Each retransmission of a request counts, its first sending and its end do not."""
        for method in ("INVITE", "OPTIONS"):
            before = self.layer.retransmissions
            self.flow.sent.clear()
            self.layer.start(make_request(method), self.flow, RecordingUser())
            self.clock.pump([0.25] * 140)
            self.assertEqual(len(self.layer), 0)
            self.assertEqual(self.layer.retransmissions - before, len(self.flow.sent) - 1)

    def test_what_comes_again(self) -> None:
        """A request that comes again counts; another one does not."""
        for branch in ("z9hG4bK1", "z9hG4bK1", "z9hG4bK1", "z9hG4bK2"):
            self.layer.message_received(make_request("OPTIONS", branch=branch), self.flow)
        self.assertEqual(self.layer.repetitions, 2)

    def test_sides(self) -> None:
        """Client transactions are told from server transactions."""
        self.layer.start(make_request(), self.flow, RecordingUser())
        for branch in ("z9hG4bK1", "z9hG4bK2"):
            self.layer.message_received(make_request("OPTIONS", branch=branch), self.flow)
        self.assertEqual((self.layer.client_count, len(self.layer)), (1, 3))
        self.layer.close()
        self.assertEqual((self.layer.client_count, len(self.layer)), (0, 0))
