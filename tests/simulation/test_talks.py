"""Whatever phones do in the middle of calls, both ends believe the same when all is quiet, and nothing is left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.phones.agreement import disagreements
from tests.phones.media import Understanding, Wish
from tests.simulation.talk import ACTIONS, Talk
from tests.simulation.test_calls import SEEDS


class TalkSimulationTests(SynchronousTestCase):
    """Five hundred seeds of calls between three phones that change their minds."""

    def check(self, seeds: Iterable[int], **more: int) -> None:
        """Run seeds; the first one that fails prints everything that happened."""
        for seed in seeds:
            talk = Talk(seed, **more).run()
            if talk.problems:
                self.fail(talk.report())

    def test_seeds_0_to_124(self) -> None:
        """Both ends agree in every quiet moment, and nothing is left: seeds 0 to 124."""
        self.check(range(125))

    def test_seeds_125_to_249(self) -> None:
        """Both ends agree in every quiet moment, and nothing is left: seeds 125 to 249."""
        self.check(range(125, 250))

    def test_seeds_250_to_374(self) -> None:
        """Both ends agree in every quiet moment, and nothing is left: seeds 250 to 374."""
        self.check(range(250, 375))

    def test_seeds_375_to_499(self) -> None:
        """Both ends agree in every quiet moment, and nothing is left: seeds 375 to 499."""
        self.check(range(375, 500))

    def test_standstills(self) -> None:
        """The same where everything stops for seconds while much happens: seeds 500 to 549."""
        self.check(range(500, 550), standstills=6)

    def test_seeds_asked_for(self) -> None:
        """The seeds in `SIPD_SIMULATION_SEEDS` hold, too."""
        first, colon, end = SEEDS.partition(":")
        if first:
            self.check(range(int(first), int(end) if colon else int(first) + 1))

    def test_replay(self) -> None:
        """A seed replays to the octet."""
        one, again = (Talk(7).run().network.transcript() for _ in range(2))
        self.assertEqual(one, again)

    def test_every_action(self) -> None:
        """A few seeds have taken every action there is, and looked at many calls that were up."""
        talks = [Talk(seed).run() for seed in range(40)]
        done = " ".join(text for talk in talks for text in talk.done)
        self.assertEqual([name for name, _ in ACTIONS if name not in done], [])
        self.assertGreater(sum(talk.quiet_calls for talk in talks), 200)


class AgreementTests(SynchronousTestCase):
    """What is looked at in a quiet moment."""

    def setUp(self) -> None:
        """Let two ends agree by way of a relay at R, with one port for each."""
        self.one, self.other = Understanding("1"), Understanding("2")
        offer = self.one.offer(Wish(host="A", port=10))
        self.other.take_offer(offer.replace(b"IP4 A", b"IP4 R").replace(b" 10 ", b" 22 "))
        answer = self.other.answer(Wish(host="B", port=12))
        self.one.take_answer(answer.replace(b"IP4 B", b"IP4 R").replace(b" 12 ", b" 20 "))

    def _texts(self, ports: Iterable[int] = (20, 22)) -> str:
        return "; ".join(disagreements(self.one, self.other, "R", set(ports)))

    def _change(self, **what: object) -> None:
        """Let one end believe something else of what the other one said."""
        remote = self.one.remote
        assert remote is not None
        self.one.remote = replace(remote, streams=(replace(remote.streams[0], **what),))  # type: ignore[arg-type]

    def test_agreement(self) -> None:
        """Both believe the same."""
        self.assertEqual(self._texts(), "")

    def test_direction(self) -> None:
        """One believes to be on hold, the other does not."""
        self._change(receives=False)
        self.assertIn("hears sendonly", self._texts())

    def test_codecs(self) -> None:
        """One would use a codec that the other does not know of."""
        self._change(codecs=("PCMU",))
        self.assertIn("one end talks", self._texts())

    def test_streams(self) -> None:
        """A stream is up for one end only."""
        self._change(port=0)
        self.assertIn("one end has []", self._texts())

    def test_addresses(self) -> None:
        """Media go to a port that is not open, past the relay, or where the other end's go."""
        self.assertIn("port 22, which is not open", self._texts([20]))
        self._change(host="B")
        self.assertIn("not go through the relay, but to B", self._texts())
        self._change(host="R", port=22)
        self.assertIn("two streams go to one port", self._texts())

    def test_open_offer(self) -> None:
        """An offer waits still."""
        self.one.offer(Wish(host="A", port=10, is_holding=True))
        self.assertIn("never answered", self._texts())
