"""Every race ends as it should, on both legs, at every delay; and docs/races.md says so."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.testing.links import Link
from tests.races import crossing, forks, losses, moratorium, mortal, offers, transfers
from tests.races.flow import Flow, race
from tests.races.stage import Leg, RaceError, Stage
from tests.races.table import PATH, SECTIONS, render


class RaceTests(SynchronousTestCase):
    """What is played, by its modules."""

    def check(self, *flows: Flow) -> None:
        """Play races; each has to pass, and to stand in the table as it went."""
        table = PATH.read_text()
        for flow in flows:
            result = flow.run()
            self.assertEqual(result.texts[:1], [])
            self.assertIn(result.row(), table, "docs/races.md is not up to date: make races")

    def test_moratorium(self) -> None:
        """What meets a 200 before its ACK, and CANCEL (RFC 5407 section 3.1)."""
        self.check(*moratorium.FLOWS)

    def test_mortal(self) -> None:
        """What meets a BYE (RFC 5407 section 3.2)."""
        self.check(*mortal.FLOWS)

    def test_crossing(self) -> None:
        """Changes that meet (RFC 5407 section 3.3, RFC 6337 section 4)."""
        self.check(*crossing.FLOWS)

    def test_offers(self) -> None:
        """Where offers and answers travel, and what they meet there (RFC 6337 sections 2 to 5)."""
        self.check(*offers.FLOWS)

    def test_forks(self) -> None:
        """Several phones that answer one INVITE (RFC 5407 appendix E)."""
        self.check(*forks.FLOWS)

    def test_transfers(self) -> None:
        """Transfers that meet something else (RFC 5407 section 3.3.3)."""
        self.check(*transfers.FLOWS)

    def test_losses(self) -> None:
        """Messages that are lost, late, or come twice (RFC 3261 sections 13, 14 and 17)."""
        self.check(*losses.FLOWS)


class TableTests(SynchronousTestCase):
    """The page, and what makes a row of it fail."""

    def test_page(self) -> None:
        """It has every race, and nothing else."""
        page = PATH.read_text()
        empty = render((heading, []) for heading, _ in SECTIONS)
        rows = [line for line in page.splitlines(keepends=True) if line not in empty.splitlines(keepends=True)]
        titles = [row.split(" | ")[1] for row in rows]
        self.assertEqual(titles, [flow.title for _, flows in SECTIONS for flow in flows])
        self.assertEqual(len(set(titles)), len(titles))
        self.assertEqual("".join(line for line in page.splitlines(keepends=True) if line not in rows), empty)

    def test_outcome_that_is_not_declared(self) -> None:
        """A race with another outcome than those of its row fails, on the leg and at the delay where it has it."""

        @race("0, 0", "nothing", delays=(0.0, 1.0), outcomes=("silence",))
        def flow(stage: Stage, delay: float) -> str:
            """Say nothing."""
            stage.talk()
            stage.hang_up()
            return "silence" if delay < 1.0 or stage.actor is stage.caller else "noise"

        result = flow.run()
        self.assertEqual({leg: len(texts) for leg, texts in result.failures.items()}, {Leg.CALLER: 0, Leg.CALLEE: 1})
        self.assertIn("at 1 s: 'noise'", result.texts[0])
        self.assertTrue(result.row().endswith("| 2, 0.00 to 1.00 s | pass | fail |"), result.row())

    def test_outcome_that_never_comes(self) -> None:
        """A race fails if it declares an outcome that it never has: its row would say too much."""

        @race("0, 0", "nothing", delays=(0.0,), outcomes=("silence", "noise"), legs=(Leg.CALLER,))
        def flow(stage: Stage, delay: float) -> str:
            """Say nothing."""
            stage.talk()
            stage.hang_up()
            return "silence"

        result = flow.run()
        self.assertIn("['noise'] never happened", result.texts[0])
        self.assertTrue(result.row().endswith("| fail | – |"), result.row())

    def test_disagreement(self) -> None:
        """Two ends that believe different things are found out."""
        stage = Stage(Leg.CALLER)
        _, callee = stage.talk()
        stage.expect_agreement()
        callee.change(is_holding=True)
        stage.run(0.05)
        stage.network.set_links(stage.caller.host.address, stage.server.host.address, Link(loss=1.0))
        stage.run(0.2)
        with self.assertRaisesRegex(RaceError, "was never answered|one end says"):
            stage.expect_agreement()

    def test_what_is_left(self) -> None:
        """A call that nobody ends is found out."""
        stage = Stage(Leg.CALLEE)
        stage.talk()
        with self.assertRaisesRegex(RaceError, "is open"):
            stage.finish()
