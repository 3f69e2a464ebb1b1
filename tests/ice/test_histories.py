"""Histories of two agents of `sipd.ice` that look for a way to each other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.ice.effects import Role, State
from sipd.testing.nat import Dependence, Nat
from tests.ice.agents import Network, Node, agree, run

#: Seconds after which two agents have come to an end, whatever is lost: they give up at 79 s.
LONGEST = 85.0
#: Seconds in which datagrams are lost: sooner than consent can expire, which needs 30 of them.
LOSSY = 20.0


class History:
    """Two agents, made by chance, that get each other's descriptions at different times.

    Args:
        seed: of everything.
        lite: which of the two are lite: those are in public.
        has_relay: whether the first agent has a relay, so that there always is a way.
    """

    def __init__(self, seed: int, *, lite: tuple[bool, bool] = (False, False), has_relay: bool = True) -> None:
        self.network = network = Network(seed)
        random = network.random
        network.loss, network.delay = random.choice((0.0, 0.1, 0.25)), random.choice((0.01, 0.2, 0.6))
        self.components = random.choice((1, 2))
        roles = [Role.CONTROLLING, Role.CONTROLLED]
        if random.random() < 0.5 and not any(lite):
            roles = [random.choice(roles)] * 2
        is_one_site = random.random() < 0.2
        nodes = []
        for number in (0, 1):
            is_public = lite[number] or random.random() < 0.2
            nat = None if is_public else self.nat(number)
            nodes.append(
                Node(
                    network,
                    f"192.0.2.{number + 1}" if nat is None else f"10.0.{number}.1",
                    roles[number],
                    site="home" if is_one_site and not any(lite) else "",
                    nat=nat,
                    relay="203.0.113.1" if has_relay and number == 0 and not lite[0] else None,
                    is_lite=lite[number],
                    components=self.components,
                    hosts=[f"172.16.{number}.1"] if nat is not None and random.random() < 0.3 else (),
                )
            )
        network.clock.callLater(LOSSY, setattr, network, "loss", 0.0)
        self.one, self.other = nodes
        self.begin()

    def nat(self, number: int) -> Nat:
        """Make a NAT of any kind."""
        random = self.network.random
        kinds = list(Dependence)
        return Nat(
            f"198.51.100.{10 + number}",
            self.network.clock.seconds,
            mapping=random.choice(kinds),
            filtering=random.choice(kinds),
            counts_inbound=random.random() < 0.5,
        )

    def begin(self) -> None:
        """Let the descriptions arrive, in any order: the later one may miss the first checks."""
        clock, random = self.network.clock, self.network.random
        clock.callLater(random.uniform(0, 2), self.one.start, self.other)
        clock.callLater(random.uniform(0, 2), self.other.start, self.one)


class HistoryTests(SynchronousTestCase):
    """Whatever is lost, overtaken and translated."""

    def check_complete(self, history: History) -> None:
        """Let it run; both have the same paths, and keep them while nothing is lost."""
        network, one, other = history.network, history.one, history.other
        run(network, LONGEST)
        self.assertEqual([one.failures, other.failures], [[], []])
        self.assertEqual([one.agent.state, other.agent.state], [State.COMPLETED] * 2)
        self.assertEqual([one.completions, other.completions], [1, 1])
        self.assertEqual(one.agent.role, other.agent.role.other)
        for component in range(1, history.components + 1):
            self.assertTrue(agree(network, one, other, component), network.log)
        run(network, 100.0)
        self.assertEqual([one.agent.state, other.agent.state], [State.COMPLETED] * 2)
        for node in (one, other):
            node.perform(node.agent.close(now=network.clock.seconds()))
        run(network, 2.0)
        self.assertEqual(network.clock.getDelayedCalls(), [])

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**32))
    def test_full_and_full(self, seed: int) -> None:
        """With a relay there is always a way, whoever believes to be controlling."""
        self.check_complete(History(seed))

    @settings(deadline=None, max_examples=25)
    @given(st.integers(0, 2**32))
    def test_full_and_lite(self, seed: int) -> None:
        """A lite agent in public is reached by any full agent that offers."""
        self.check_complete(History(seed, lite=(False, True)))

    @settings(deadline=None, max_examples=25)
    @given(st.integers(0, 2**32))
    def test_lite_and_full(self, seed: int) -> None:
        """The full agent is controlling, even if the lite one offers."""
        history = History(seed, lite=(True, False))
        self.check_complete(history)
        self.assertIs(history.other.agent.role, Role.CONTROLLING)

    @settings(deadline=None, max_examples=30)
    @given(st.integers(0, 2**32), st.sampled_from([(False, False), (False, True), (True, False)]))
    def test_restart(self, seed: int, lite: tuple[bool, bool]) -> None:
        """A restart of either side, in the middle of whatever there is, comes to the same end."""
        history = History(seed, lite=lite)
        network, one, other = history.network, history.one, history.other
        random = network.random
        run(network, random.uniform(2, 15))
        for node in random.sample([one, other], 2):
            node.perform(node.agent.restart(now=network.clock.seconds(), role=random.choice([None, *Role])))
            run(network, random.uniform(0, 2))
        history.begin()
        run(network, LONGEST)
        self.assertEqual([one.failures, other.failures], [[], []])
        self.assertEqual([one.agent.state, other.agent.state], [State.COMPLETED] * 2)
        for component in range(1, history.components + 1):
            self.assertTrue(agree(network, one, other, component), network.log)

    @settings(deadline=None, max_examples=40)
    @given(st.integers(0, 2**32))
    def test_no_relay(self, seed: int) -> None:
        """Without a relay both end alike: with a way, or, where there may be none, with a failure each."""
        history = History(seed, has_relay=False)
        run(history.network, LONGEST)
        states = {history.one.agent.state, history.other.agent.state}
        self.assertEqual(len(states), 1, history.network.log)
        self.assertTrue(states < {State.COMPLETED, State.FAILED})

    def test_same_seed_same_history(self) -> None:
        """Nothing is by chance but what the seed gives."""
        for seed in range(3):
            logs = []
            for _ in range(2):
                history = History(seed)
                run(history.network, LONGEST)
                logs.append(history.network.log)
            self.assertEqual(*logs)
            self.assertGreater(len(logs[0]), 10)
