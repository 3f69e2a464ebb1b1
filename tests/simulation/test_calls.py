"""Whatever the network does to datagrams, both legs of every call end the same way, and nothing is left."""

from __future__ import annotations

import os
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.scenario import Scenario

#: Other seeds than the usual ones, as `FIRST:END` or a single number: for a long night, or for one that failed.
SEEDS = os.environ.get("SIPD_SIMULATION_SEEDS", "")


class CallSimulationTests(SynchronousTestCase):
    """Two hundred seeds, with registrations and calls between five phones."""

    def check(self, seeds: Iterable[int], **more: int) -> None:
        """Run seeds; the first one that fails prints the ladders of the calls in question."""
        for seed in seeds:
            scenario = Scenario(seed, **more).run()
            if scenario.problems:
                self.fail(scenario.report())

    def test_seeds_0_to_49(self) -> None:
        """Both legs end the same way, with one record, and nothing is left: seeds 0 to 49."""
        self.check(range(50))

    def test_seeds_50_to_99(self) -> None:
        """Both legs end the same way, with one record, and nothing is left: seeds 50 to 99."""
        self.check(range(50, 100))

    def test_seeds_100_to_149(self) -> None:
        """Both legs end the same way, with one record, and nothing is left: seeds 100 to 149."""
        self.check(range(100, 150))

    def test_seeds_150_to_199(self) -> None:
        """Both legs end the same way, with one record, and nothing is left: seeds 150 to 199."""
        self.check(range(150, 200))

    def test_standstills(self) -> None:
        """The same where everything stops for seconds now and then, so that timers are late and many at once."""
        self.check(range(200, 250), standstills=20)

    def test_seeds_asked_for(self) -> None:
        """The seeds in `SIPD_SIMULATION_SEEDS` hold, too."""
        first, colon, end = SEEDS.partition(":")
        if first:
            self.check(range(int(first), int(end) if colon else int(first) + 1))

    def test_replay(self) -> None:
        """A seed replays to the octet, and another seed goes another way."""
        one, again, other = (Scenario(seed).run().network.transcript() for seed in (7, 7, 8))
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)
