"""Tests of `sipd.ice.checklist`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.ice.candidates import Gathering, LocalCandidate
from sipd.ice.checklist import PAIR_LIMIT, CheckList, Pair, PairState
from sipd.ice.effects import Role
from sipd.sdp.candidates import Candidate


def gather(host: str, count: int = 1, *, first: int = 5000, is_reflexive: bool = False) -> tuple[LocalCandidate, ...]:
    """Give host candidates of two components, on so many hosts."""
    gathering = Gathering()
    for number in range(count):
        for component in (1, 2):
            address = (f"{host}.{number + 1}", first + component)
            gathering.add_host(address, component, local_preference=1000 - number)
            if is_reflexive:
                gathering.add_server_reflexive(("192.0.2.1", address[1]), component, base=address, server="192.0.2.9")
    return gathering.candidates


def theirs(count: int = 1) -> list[Candidate]:
    """Give as many remote candidates."""
    return [each.candidate for each in gather("10.2.0", count)]


def made(local: int = 1, remote: int = 1, *, is_reflexive: bool = False) -> CheckList:
    """Give a checklist of that many hosts."""
    checks = CheckList(Role.CONTROLLING)
    checks.fill(gather("10.1.0", local, is_reflexive=is_reflexive), theirs(remote))
    return checks


def states(checks: CheckList) -> list[tuple[int, PairState]]:
    """Give component and state of each pair."""
    return [(pair.component, pair.state) for pair in checks.pairs]


class FillTests(SynchronousTestCase):
    """What a checklist begins with."""

    def test_one_of_each_foundation_waits(self) -> None:
        """The first component waits, the second is frozen."""
        self.assertEqual(states(made()), [(1, PairState.WAITING), (2, PairState.FROZEN)])
        checks = made(2, 2)
        self.assertEqual(len(checks.pairs), 8)
        self.assertEqual({state for component, state in states(checks) if component == 1}, {PairState.WAITING})
        self.assertEqual({state for component, state in states(checks) if component == 2}, {PairState.FROZEN})

    def test_sorted_by_priority(self) -> None:
        """The best comes first."""
        priorities = [pair.priority for pair in made(3, 3).pairs]
        self.assertEqual(priorities, sorted(priorities, reverse=True))

    def test_reflexive_pairs_are_pruned(self) -> None:
        """What would send the same way is there once, with the better priority."""
        self.assertEqual(
            [pair.priority for pair in made(1, 1, is_reflexive=True).pairs], [pair.priority for pair in made().pairs]
        )

    def test_limit(self) -> None:
        """Of many pairs the 100 best are taken."""
        checks = made(20, 20)
        self.assertEqual(len(checks.pairs), PAIR_LIMIT)
        everything = CheckList(Role.CONTROLLING)
        priorities = sorted(
            (
                everything.make_pair(one, other).priority
                for one in gather("10.1.0", 20)
                for other in theirs(20)
                if one.candidate.component == other.component
            ),
            reverse=True,
        )
        self.assertEqual([pair.priority for pair in checks.pairs], priorities[:PAIR_LIMIT])


class OrderTests(SynchronousTestCase):
    """Which pair is checked next."""

    def test_waiting_pairs_by_priority(self) -> None:
        """Those that wait are checked in order; frozen ones while nobody of their foundation is busy."""
        checks = made()
        first = checks.take()
        self.assertIs(first, checks.pairs[0])
        self.assertFalse(checks.is_ready)
        self.assertIsNone(checks.take())
        assert first is not None
        first.state = PairState.FAILED
        self.assertTrue(checks.is_ready)
        self.assertIs(checks.take(), checks.pairs[1])
        self.assertTrue(checks.is_busy)

    def test_success_unfreezes(self) -> None:
        """Success lets the pairs of that foundation wait."""
        checks = made()
        checks.unfreeze(checks.pairs[0].foundation)
        self.assertEqual(checks.pairs[1].state, PairState.WAITING)
        self.assertEqual(checks.busy_count, 2)

    def test_triggered_first(self) -> None:
        """A triggered pair comes first, and once."""
        checks = made(2, 2)
        last = checks.pairs[-1]
        checks.trigger(last)
        checks.trigger(last)
        self.assertIs(checks.take(), last)
        self.assertIs(checks.take(), checks.pairs[0])
        checks.trigger(last)
        checks.untrigger(last)
        self.assertIsNot(checks.take(), last)

    def test_keep_only(self) -> None:
        """Once a pair is selected the others of its component are gone."""
        checks = made(2, 2)
        kept = checks.pairs[0]
        checks.trigger(checks.pairs[1])
        removed = checks.keep_only((kept,), 1)
        self.assertEqual(len(removed), 3)
        self.assertEqual([pair.component for pair in checks.pairs], [1, 2, 2, 2, 2])

    def test_change_role(self) -> None:
        """Priorities are those of the role."""
        checks = made(3, 2)
        paths = {pair.path for pair in checks.pairs}
        checks.change_role(Role.CONTROLLED)
        other = CheckList(Role.CONTROLLED)
        other.fill(gather("10.1.0", 3), theirs(2))
        self.assertEqual([pair.priority for pair in checks.pairs], [pair.priority for pair in other.pairs])
        self.assertEqual({pair.path for pair in checks.pairs}, paths)


class LaterTests(SynchronousTestCase):
    """Pairs that come while checks run."""

    def test_later_candidates(self) -> None:
        """A new foundation waits, one that is being checked is frozen, and known pairs stay."""
        checks = made()
        first = list(checks.pairs)
        checks.extend(gather("10.1.0"), theirs(2))
        self.assertEqual(len(checks.pairs), 4)
        self.assertTrue(set(first) <= set(checks.pairs))
        self.assertEqual(
            [pair.state for pair in checks.pairs if pair not in first], [PairState.WAITING, PairState.FROZEN]
        )

    def test_triggered_pair_takes_the_place_of_a_failed_one(self) -> None:
        """At the limit what has failed goes first, then what nobody waits for; what succeeded stays."""
        checks = made(20, 20)
        checks.pairs[3].state = PairState.FAILED
        failed = checks.pairs[3]
        for number in range(2):
            self.assertTrue(checks.add_triggered(self.another(checks, number)))
            self.assertEqual(len(checks.pairs), PAIR_LIMIT)
        self.assertNotIn(failed, checks.pairs)
        for pair in checks.pairs:
            pair.state = PairState.SUCCEEDED
        while checks.take():
            pass
        for pair in checks.pairs:
            pair.state = PairState.SUCCEEDED
        self.assertFalse(checks.add_triggered(self.another(checks, 3)))
        self.assertIsNone(checks.take())

    def another(self, checks: CheckList, number: int) -> Pair:
        """Give a pair of low priority that is in no list."""
        [local, _] = gather("10.9.0", first=7000 + 10 * number)
        return checks.make_pair(local, Candidate.parse(f"x 1 udp {number + 1} 10.8.0.1 9 typ prflx"))

    def test_replace_remote(self) -> None:
        """What the other side says of a peer-reflexive candidate changes its pairs' priority."""
        checks = CheckList(Role.CONTROLLED)
        [local, _] = gather("10.1.0")
        old, new = (Candidate.parse(f"{each} 1 udp {each} 10.8.0.1 9 typ host") for each in (5, 6))
        pair = checks.make_pair(local, old)
        checks.add_triggered(pair)
        checks.replace_remote(old, new)
        self.assertIs(pair.remote, new)
        self.assertEqual(pair.priority, checks.make_pair(local, new).priority)
        self.assertIs(checks.find(*pair.path), pair)
