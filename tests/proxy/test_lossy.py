"""Whole calls of user agents through a stateful proxy, on links that lose, double and reorder."""

from __future__ import annotations

from collections.abc import Callable

from sipd.testing.calls import Outcome, PeerCall
from sipd.testing.links import Link
from sipd.testing.peer import Peer
from tests.proxy.support import ALICE, BOB, CAROL, ProxyCase, target

SEEDS = range(21)
LOSSY = Link(loss=0.1, duplication=0.05, jitter=0.03, reordering=0.1)


class LossyTests(ProxyCase):
    """Alice calls; Bob and Carol are behind the proxy. In the end both sides agree, and nothing is left."""

    def prepare(self, seed: int, *, in_turn: bool = False) -> None:
        """Make the network of a seed."""
        self.make(LOSSY, seed)
        self.alice = self.peer("alice", ALICE)
        self.bob, self.carol = self.peer("bob", BOB), self.peer("carol", CAROL)
        targets = [target(f"sip:bob@{BOB}"), target(f"sip:carol@{CAROL}")]
        self.router.rounds["all"] = [[one] for one in targets] if in_turn else [targets]
        self.router.rounds["bob"] = [targets[:1]]

    def finish(self, seed: int) -> None:
        """See that nothing is left anywhere."""
        self.clock.run(until=self.clock.seconds() + 700)
        for peer in (self.alice, self.bob, self.carol):
            self.assertEqual(len(peer.exchanges), 0, seed)
            peer.close()
        self.settle()
        self.clock.run()
        self.assertEqual(self.clock.getDelayedCalls(), [], seed)

    def outcomes(self, peer: Peer) -> list[Outcome]:
        """Give what became of a peer's calls."""
        return [call.outcome for call in peer.calls]

    def for_each_seed(self, run: Callable[[int], None], *, in_turn: bool = False) -> None:
        """Do it on each network."""
        for seed in SEEDS:
            self.prepare(seed, in_turn=in_turn)
            run(seed)
            self.finish(seed)

    def test_answered(self) -> None:
        """A call is answered, and Alice hangs up; the BYE finds its way back."""

        def run(seed: int) -> None:
            self.bob.auto_answer(after=1.0)
            call = self.alice.call("bob")
            self.clock.run_until(lambda: call.is_answered, limit=60)
            self.clock.advance(35)
            call.hang_up()
            self.clock.advance(60)
            self.assertEqual(self.outcomes(self.bob), [Outcome.ANSWERED], seed)
            self.assertEqual((call.outcome, call.ended_by), (Outcome.ANSWERED, "us"), seed)

        self.for_each_seed(run)

    def test_callee_hangs_up(self) -> None:
        """The same, but Bob hangs up."""

        def run(seed: int) -> None:
            self.bob.auto_answer(after=1.0)
            call = self.alice.call("bob")
            self.clock.run_until(lambda: call.is_answered, limit=60)
            self.clock.advance(35)
            self.bob.calls[0].hang_up()
            self.clock.advance(60)
            self.assertEqual(self.outcomes(self.bob), [Outcome.ANSWERED], seed)
            self.assertEqual((call.outcome, call.ended_by), (Outcome.ANSWERED, "them"), seed)

        self.for_each_seed(run)

    def test_refused(self) -> None:
        """Bob is busy."""

        def run(seed: int) -> None:
            self.bob.auto_refuse(486)
            call = self.alice.call("bob")
            self.clock.advance(60)
            self.assertEqual((call.outcome, call.status), (Outcome.REFUSED, 486), seed)

        self.for_each_seed(run)

    def test_cancelled(self) -> None:
        """Alice gives up while it rings."""

        def run(seed: int) -> None:
            self.bob.auto_ring()
            call = self.alice.call("bob")
            self.clock.run_until(lambda: bool(self.bob.calls), limit=60)
            self.clock.advance(1)
            call.cancel()
            self.clock.advance(100)
            self.assertEqual((call.outcome, call.status), (Outcome.CANCELLED, 487), seed)
            self.assertEqual(self.outcomes(self.bob), [Outcome.CANCELLED], seed)

        self.for_each_seed(run)

    def test_fork(self) -> None:
        """Bob and Carol ring together; Bob answers, and Carol's phone stops."""

        def run(seed: int) -> None:
            self.bob.auto_answer(after=2.0)
            self.carol.auto_ring()
            call = self.alice.call("all")
            self.clock.run_until(lambda: call.is_answered, limit=60)
            self.clock.advance(40)
            self.assertTrue(call.is_answered, seed)
            call.hang_up()
            self.clock.advance(60)
            self.assertEqual(self.outcomes(self.bob), [Outcome.ANSWERED], seed)
            self.assertEqual(self.outcomes(self.carol), [Outcome.CANCELLED], seed)

        self.for_each_seed(run)

    def test_race(self) -> None:
        """Bob and Carol answer at the same moment: Alice takes one call and ends the other, which she hears of."""

        def run(seed: int) -> None:
            for peer in (self.bob, self.carol):
                peer.auto_answer(after=1.0, ring_after=None)
            call = self.alice.call("all")
            self.clock.run_until(lambda: call.is_answered, limit=60)
            self.clock.advance(60)
            self.assertTrue(call.is_answered, seed)
            answered: list[PeerCall] = [one for one in (*self.bob.calls, *self.carol.calls) if one.is_answered]
            self.assertEqual([one.is_acknowledged for one in answered], [True], seed)
            call.hang_up()
            self.clock.advance(60)
            self.assertEqual([one for one in (*self.bob.calls, *self.carol.calls) if one.outcome is Outcome.LOST], [])

        self.for_each_seed(run)

    def test_in_turn(self) -> None:
        """Bob is busy, so Carol is called; the caller hears of her only."""

        def run(seed: int) -> None:
            self.bob.auto_refuse(486)
            self.carol.auto_answer(after=1.0)
            call = self.alice.call("all")
            self.clock.run_until(lambda: call.is_answered, limit=90)
            self.clock.advance(35)
            call.hang_up()
            self.clock.advance(60)
            self.assertEqual(call.outcome, Outcome.ANSWERED, seed)
            self.assertEqual(self.outcomes(self.carol), [Outcome.ANSWERED], seed)

        self.for_each_seed(run, in_turn=True)

    def test_messages(self) -> None:
        """Requests that are no INVITE arrive once each, and are answered."""

        def run(seed: int) -> None:
            asked = [self.alice.message("bob", str(number).encode()) for number in range(5)]
            self.clock.advance(60)
            for one in asked:
                response = self.successResultOf(one)
                assert response is not None
                self.assertEqual(response.status, 200, seed)
            self.assertEqual(len(self.bob.messages), 5, seed)
            self.assertTrue(all(one.max_forwards == 69 for one in self.bob.messages))

        self.for_each_seed(run)
