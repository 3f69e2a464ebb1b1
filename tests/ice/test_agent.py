"""Tests of `sipd.ice.agent`: what a full agent sends, and what comes of it. Answers are in `test_answers`."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import InvalidStateError
from sipd.ice.agent import IceAgent
from sipd.ice.candidates import Gathering, pair_priority
from sipd.ice.checks import RoleClaim, write_check, write_error, write_success
from sipd.ice.effects import Effects, Failed, IceCredentials, Learned, Role, Selected, Send, Side, State
from sipd.rtp.stun import Attribute, Kind, StunMessage
from sipd.sdp.candidates import Address, Candidate, CandidateKind, IceDescription
from sipd.sip.machine import StartTimer, StopTimers
from tests.ice.agents import Network, Node, agree, run

BASE = ("192.0.2.1", 4000)
THEM = ("192.0.2.2", 5000)
ELSEWHERE = ("192.0.2.3", 6000)
PEER = IceCredentials(ufrag="peer", pwd="p" * 22)


#: Octets that are the same in each run.
octets = Random(1).randbytes


def remote(*addresses: Address, component: int = 1, is_lite: bool = False, trickles: bool = False) -> IceDescription:
    """Describe a peer with host candidates."""
    return IceDescription(
        ufrag=PEER.ufrag,
        pwd=PEER.pwd,
        is_lite=is_lite,
        options=("trickle",) if trickles else (),
        candidates=tuple([host(address, component, 2000 - place) for place, address in enumerate(addresses)]),
    )


def host(address: Address, component: int = 1, priority: int = 2000) -> Candidate:
    """Make a host candidate."""
    return Candidate(
        foundation=str(priority),
        component=component,
        priority=priority,
        host=address[0],
        port=address[1],
        kind=CandidateKind.HOST,
    )


def sent(effects: Effects) -> list[tuple[Address, StunMessage]]:
    """Give where messages go, and what they say."""
    return [(each.remote, StunMessage.parse(each.data)) for each in effects if isinstance(each, Send)]


class AgentTestCase(SynchronousTestCase):
    """One agent, whose peer is the test."""

    def setUp(self) -> None:
        self.now = 0.0
        self.agent = self.make(Role.CONTROLLING)

    def make(self, role: Role, *bases: Address) -> IceAgent:
        """Make an agent with host candidates of component 1."""
        gathering = Gathering()
        for number, base in enumerate(bases or (BASE,)):
            gathering.add_host(base, 1, local_preference=65535 - number)
        return IceAgent(role=role, local=gathering.candidates, entropy=octets)

    def start(self, description: IceDescription) -> Effects:
        """Start, and give what is done at once and with the first timer."""
        effects = self.agent.start(description, now=self.now)
        return effects + self.agent.timer_fired(now=self.now)

    def tick(self, seconds: float = 0.0) -> Effects:
        """Let time pass, and have the timer fire."""
        self.now += seconds
        return self.agent.timer_fired(now=self.now)

    def take(self, data: bytes, source: Address = THEM, base: Address = BASE) -> Effects:
        """Have a datagram arrive."""
        return self.agent.datagram_received(data, source, base, now=self.now)

    def accept(self, request: StunMessage, *, mapped: Address = BASE, source: Address = THEM) -> Effects:
        """Answer a check."""
        return self.take(write_success(request, mapped, PEER), source)

    def check(self, role: Role = Role.CONTROLLED, *, nominates: bool = False, tie_breaker: int = 0) -> bytes:
        """Make a check of the peer."""
        return write_check(
            octets(12),
            local=PEER,
            remote=self.agent.credentials,
            priority=1000,
            claim=RoleClaim(role=role, tie_breaker=tie_breaker),
            nominates=nominates,
        )


class CheckTests(AgentTestCase):
    """Checks that an agent sends."""

    def test_what_a_check_says(self) -> None:
        """It names both sides, is signed with the peer's password, and has a priority and the role."""
        [(address, message)] = sent(self.start(remote(THEM)))
        self.assertEqual(address, THEM)
        self.assertEqual(message.get(Attribute.USERNAME), f"peer:{self.agent.credentials.ufrag}".encode())
        self.assertTrue(message.is_signed_with(PEER.key))
        self.assertIsNotNone(message.get(Attribute.FINGERPRINT))
        self.assertEqual(message.get(Attribute.PRIORITY), (110 << 24 | 65535 << 8 | 255).to_bytes(4, "big"))
        self.assertEqual(len(message.get(Attribute.ICE_CONTROLLING) or b""), 8)
        self.assertIsNone(message.get(Attribute.USE_CANDIDATE))

    def test_one_check_each_50_ms(self) -> None:
        """Checks are paced, and go to the best candidates first."""
        addresses = [("192.0.2.2", 5000 + number) for number in range(3)]
        found = sent(self.start(remote(*addresses))) + sent(self.tick(0.02))
        self.assertEqual([address for address, _ in found], addresses[:1])
        found = sent(self.tick(0.03)) + sent(self.tick(0.05))
        self.assertEqual([address for address, _ in found], addresses[1:])

    def test_retransmissions(self) -> None:
        """Seven times in 31.5 s; at 39.5 s it is over."""
        times = [self.now for _ in sent(self.start(remote(THEM)))]
        effects: Effects = ()
        while self.now < 39.0:
            times += [self.now for _ in sent(self.tick(0.5))]
        self.assertEqual(times, [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        effects = self.tick(0.5)
        self.assertEqual(effects[0], Failed("no pair of component 1 works"))
        self.assertIs(self.agent.state, State.FAILED)
        self.assertEqual(self.tick(5.0), ())

    def test_patience(self) -> None:
        """Without any candidate of use it waits as long, since the peer may come (RFC 8863)."""
        effects = self.start(remote(("x.local", 5000), ("224.0.0.1", 5000), ("192.0.2.9", 0)))
        self.assertEqual([type(each) for each in effects], [StartTimer, StartTimer])
        self.assertEqual(self.tick(39.0)[:-1], ())
        self.assertEqual(self.tick(0.5)[0], Failed("no pair of component 1 works"))

    def test_patience_while_checks_run(self) -> None:
        """A check that began late is waited for."""
        self.start(remote(trickles=True))
        self.tick(30.0)
        self.agent.add_remote([host(THEM)], now=self.now)
        self.tick()
        while self.now < 69.0:
            self.assertNotIn(Failed, [type(each) for each in self.tick(0.5)])
        self.assertIsInstance(self.tick(0.5)[0], Failed)

    def test_limit_of_remote_candidates(self) -> None:
        """Of the candidates that the peer tells of, early and late, 64 are checked."""
        effects = self.start(remote(*[("192.0.2.2", 5000 + number) for number in range(40)]))
        later = [host(("192.0.2.2", 6000 + number), priority=100 + number) for number in range(40)]
        self.agent.add_remote(later, now=self.now)
        for _ in range(100):
            effects += self.tick(0.05)
        self.assertEqual(len({address for address, _ in sent(effects)}), 64)

    def test_unsigned_answers_never_came(self) -> None:
        """An answer that is not signed with the peer's password, of either kind, changes nothing."""
        [(_, check)] = sent(self.start(remote(THEM)))
        other = IceCredentials(ufrag="peer", pwd="q" * 22)
        for data in (
            write_success(check, BASE, other),
            StunMessage(1, Kind.SUCCESS, check.transaction, ()).to_bytes(),
            write_error(check, 401),
            write_error(check, 487),
            write_success(replace(check, transaction=bytes(12)), BASE, PEER),
        ):
            self.assertEqual(self.take(data), ())
        self.assertIs(self.agent.role, Role.CONTROLLING)
        self.assertTrue(self.accept(check))

    def test_answer_from_elsewhere(self) -> None:
        """A way there with another one back does not work (section 7.2.5.2.1)."""
        [(_, check)] = sent(self.start(remote(THEM)))
        self.accept(check, source=ELSEWHERE)
        self.assertEqual(sent(self.tick(10.0)), [])
        self.assertIsNone(self.agent.path(1))

    def test_refused(self) -> None:
        """A signed refusal ends a check, and so does an answer without an address."""
        for data in (
            lambda check: write_error(check, 400, PEER),
            lambda check: StunMessage(1, Kind.SUCCESS, check.transaction, ()).to_bytes(key=PEER.key),
            lambda check: StunMessage(1, Kind.ERROR, check.transaction, ()).to_bytes(key=PEER.key),
        ):
            self.agent = self.make(Role.CONTROLLING)
            [(_, check)] = sent(self.start(remote(THEM)))
            self.take(data(check))
            self.assertEqual(sent(self.tick(10.0)), [])


class NominationTests(AgentTestCase):
    """How a pair is selected."""

    def test_nominates_the_best_at_once(self) -> None:
        """Once no better pair is to be checked the next check nominates, and its answer selects."""
        [(_, check)] = sent(self.start(remote(THEM)))
        self.accept(check)
        self.assertEqual(self.agent.path(1), (BASE, THEM))
        self.assertEqual(self.agent.selected, {})
        [(_, nomination)] = sent(self.tick(0.05))
        self.assertIsNotNone(nomination.get(Attribute.USE_CANDIDATE))
        effects = self.accept(nomination)
        selected = next(each for each in effects if isinstance(each, Selected))
        self.assertEqual((selected.component, selected.local.base, selected.remote.address), (1, BASE, THEM))
        self.assertIs(self.agent.state, State.COMPLETED)

    def test_waits_for_a_better_one(self) -> None:
        """A pair that is not the best waits half a second for the better one, then it is nominated."""
        checks = sent(self.start(remote(ELSEWHERE, THEM))) + sent(self.tick(0.05))
        self.accept(checks[1][1])
        self.now += 0.44
        before = sent(self.tick())
        self.assertFalse([each for _, each in before if each.get(Attribute.USE_CANDIDATE) is not None])
        after = sent(self.tick(0.1)) + sent(self.tick(0.05))
        self.assertIn(THEM, [address for address, each in after if each.get(Attribute.USE_CANDIDATE) is not None])

    def test_failed_nomination_fails_all(self) -> None:
        """No second pair is nominated: the peer might use the first (section 8.1.1)."""
        [(_, check)] = sent(self.start(remote(THEM)))
        self.accept(check)
        [(_, nomination)] = sent(self.tick(0.05))
        effects = self.take(write_error(nomination, 400, PEER))
        self.assertEqual(effects[0], Failed("the nominated pair of component 1 is refused with 400"))
        self.assertIsInstance(effects[1], StopTimers)
        self.assertIsNone(self.agent.path(1))

    def test_peer_reflexive_on_our_side(self) -> None:
        """The peer sees another address: a candidate of ours is learned, and it is the one of the valid pair."""
        [(_, check)] = sent(self.start(remote(THEM)))
        mapped = ("198.51.100.1", 7)
        effects = self.accept(check, mapped=mapped)
        learned = next(each for each in effects if isinstance(each, Learned))
        self.assertEqual((learned.side, learned.candidate.address), (Side.LOCAL, mapped))
        self.assertEqual(learned.candidate.priority, 110 << 24 | 65535 << 8 | 255)
        [(_, nomination)] = sent(self.tick(0.05))
        effects = self.accept(nomination, mapped=mapped)
        self.assertEqual([each.local.candidate.address for each in effects if isinstance(each, Selected)], [mapped])
        self.assertEqual([each.port for each in self.agent.description.candidates], [BASE[1]])

    def test_controlled_waits_for_the_nomination(self) -> None:
        """What the peer nominates is selected once our own check of it is answered."""
        self.agent = self.make(Role.CONTROLLED)
        [(_, check)] = sent(self.start(remote(THEM)))
        self.assertIsNotNone(check.get(Attribute.ICE_CONTROLLED))
        effects = self.take(self.check(Role.CONTROLLING, nominates=True))
        self.assertEqual([message.kind for _, message in sent(effects)], [Kind.SUCCESS])
        self.assertEqual(self.agent.selected, {})
        # The triggered check comes in the place of the first, whose answer still counts.
        [(_, triggered)] = sent(self.tick(0.05))
        self.assertNotEqual(triggered.transaction, check.transaction)
        self.assertIn(Selected, [type(each) for each in self.accept(check)])
        self.assertEqual([type(each) for each in self.accept(triggered)], [])

    def test_nominated_after_success(self) -> None:
        """What works already is selected as soon as the peer nominates it."""
        self.agent = self.make(Role.CONTROLLED)
        [(_, check)] = sent(self.start(remote(THEM)))
        self.accept(check)
        self.assertEqual(sent(self.tick(1.0)), [])
        self.assertIn(Selected, [type(each) for each in self.take(self.check(Role.CONTROLLING, nominates=True))])

    def test_superseded_check(self) -> None:
        """A check that a triggered one has taken the place of is not sent again, and is no failure."""
        self.agent = self.make(Role.CONTROLLED)
        self.start(remote(THEM))
        self.take(self.check(Role.CONTROLLING))
        [(_, triggered)] = sent(self.tick(0.1))
        found = []
        while self.now < 9.0:
            found += [message.transaction for _, message in sent(self.tick(0.1))]
        self.assertEqual(found, [triggered.transaction] * 4)

    def test_no_checks_after_selection(self) -> None:
        """Once a pair is selected others of its component are not checked, nor checked again."""
        addresses = [THEM, *[("192.0.2.9", 5000 + number) for number in range(5)]]
        [(_, check)] = sent(self.start(remote(*addresses)))
        self.tick(0.05)
        self.accept(check)
        [(_, nomination)] = sent(self.tick(0.05))
        self.accept(nomination)
        self.assertEqual(sent(self.tick(0.05)) + sent(self.tick(1.0)), [])

    def test_several_nominated(self) -> None:
        """Of a peer that nominates everything the better pair is used, whatever comes first (RFC 5245)."""
        self.agent = self.make(Role.CONTROLLED)
        first, second = sent(self.start(remote(ELSEWHERE, THEM))) + sent(self.tick(0.05))
        self.accept(second[1])
        self.take(self.check(Role.CONTROLLING, nominates=True))
        self.assertEqual(self.agent.path(1), (BASE, THEM))
        self.take(self.check(Role.CONTROLLING, nominates=True), ELSEWHERE)
        [(address, triggered)] = sent(self.tick(0.05))
        self.assertEqual(address, ELSEWHERE)
        self.accept(triggered, source=ELSEWHERE)
        self.assertEqual(self.agent.path(1), (BASE, ELSEWHERE))
        self.take(self.check(Role.CONTROLLING, nominates=True))
        self.assertEqual(sent(self.tick(0.05)), [])
        self.assertEqual(first[0], ELSEWHERE)

    def test_never_nominated(self) -> None:
        """What works is not used for ever without a nomination."""
        self.agent = self.make(Role.CONTROLLED)
        [(_, check)] = sent(self.start(remote(THEM)))
        self.accept(check)
        self.assertEqual(self.tick(39.5)[0], Failed("no pair of component 1 was nominated in time"))


class RoleTests(AgentTestCase):
    """Role conflicts: RFC 8445 sections 7.2.5.1 and 7.3.1.1."""

    def test_refused_role(self) -> None:
        """Who is refused with 487 takes the other role, and checks the pair again at once."""
        [(_, check)] = sent(self.start(remote(THEM)))
        self.take(write_error(check, 487, PEER))
        self.assertIs(self.agent.role, Role.CONTROLLED)
        [(_, again)] = sent(self.tick(0.05))
        self.assertIsNotNone(again.get(Attribute.ICE_CONTROLLED))

    def test_two_refusals(self) -> None:
        """Two refusals of the same role change it once."""
        checks = sent(self.start(remote(THEM, ELSEWHERE))) + sent(self.tick(0.05))
        for address, check in checks:
            self.take(write_error(check, 487, PEER), address)
        self.assertIs(self.agent.role, Role.CONTROLLED)

    def test_larger_tie_breaker_is_controlling(self) -> None:
        """Of two in one role the one with the larger tie-breaker becomes controlling, or stays it."""
        for role, tie_breaker, expected, kind in (
            (Role.CONTROLLING, 0, Role.CONTROLLING, Kind.ERROR),
            (Role.CONTROLLING, 2**64 - 1, Role.CONTROLLED, Kind.SUCCESS),
            (Role.CONTROLLED, 0, Role.CONTROLLING, Kind.SUCCESS),
            (Role.CONTROLLED, 2**64 - 1, Role.CONTROLLED, Kind.ERROR),
        ):
            self.agent = self.make(role)
            self.start(remote(THEM))
            [(_, answer)] = sent(self.take(self.check(role, tie_breaker=tie_breaker)))
            self.assertIs(answer.kind, kind)
            self.assertIs(self.agent.role, expected)
            self.assertTrue(answer.is_signed_with(self.agent.credentials.key))
            if kind is Kind.ERROR:
                self.assertEqual(answer.error_code, (487, ""))

    def test_lite_peer(self) -> None:
        """With a lite peer a full agent is controlling, whoever offers."""
        self.agent = self.make(Role.CONTROLLED)
        self.start(remote(THEM, is_lite=True))
        self.assertIs(self.agent.role, Role.CONTROLLING)

    def test_priorities_follow_roles(self) -> None:
        """With the role the priorities of pairs change."""
        self.agent = self.make(Role.CONTROLLED)
        [(_, check)] = sent(self.start(remote(THEM)))
        self.take(write_error(check, 487, PEER))
        [(_, again)] = sent(self.tick(0.05))
        self.accept(again)
        [(_, nomination)] = sent(self.tick(0.05))
        self.accept(nomination)
        self.assertEqual(
            self.agent.selected[1].priority, pair_priority(self.agent.description.candidates[0].priority, 2000)
        )


class LaterTests(AgentTestCase):
    """What happens after the start."""

    def complete(self) -> Network:
        """Have two agents complete."""
        network = Network(1)
        self.one = Node(network, "192.0.2.1", Role.CONTROLLING, components=2)
        self.other = Node(network, "192.0.2.2", Role.CONTROLLED, components=2)
        self.one.start(self.other)
        self.other.start(self.one)
        run(network, 2.0)
        self.assertIs(self.one.agent.state, State.COMPLETED)
        return network

    def test_consent(self) -> None:
        """Each component is asked for consent each 4 to 6 s, with another transaction each time."""
        network = self.complete()
        network.sent.clear()
        run(network, 60.0)
        requests = [
            StunMessage.parse(data) for base, _, data in network.sent if base == self.one.addresses[0] if data[0] == 0
        ]
        self.assertTrue(10 <= len(requests) <= 15, len(requests))
        self.assertEqual(len({each.transaction for each in requests}), len(requests))

    def test_consent_expires(self) -> None:
        """30 s after the last answer nothing is sent any more, and that is said once."""
        network = self.complete()
        network.loss = 1.0
        run(network, 35.0)
        for node in (self.one, self.other):
            self.assertEqual(len(node.failures), 1)
            self.assertIn("consent", node.failures[0])
            self.assertIsNone(node.agent.path(1))
        network.sent.clear()
        run(network, 100.0)
        self.assertEqual((network.sent, network.clock.getDelayedCalls()), ([], []))

    def test_false_consent(self) -> None:
        """An answer that is wrongly signed, or comes another way, is no consent."""
        [(_, check)] = sent(self.start(remote(THEM)))
        self.accept(check)
        [(_, nomination)] = sent(self.tick(0.05))
        self.accept(nomination)
        for _ in range(5):
            [(_, request)] = sent(self.tick(5.9))
            self.take(write_success(request, BASE, IceCredentials(ufrag="peer", pwd="x" * 22)))
            self.take(write_success(request, BASE, PEER), ELSEWHERE)
        self.assertIsInstance(self.tick(0.5)[0], Failed)

    def test_consent_and_roles(self) -> None:
        """Who is refused for its role when it asks for consent has the other one the next time."""
        [(_, check)] = sent(self.start(remote(THEM)))
        self.accept(check)
        [(_, nomination)] = sent(self.tick(0.05))
        self.accept(nomination)
        [(_, first)] = sent(self.tick(6.0))
        self.take(write_error(first, 487, PEER))
        [(_, second)] = sent(self.tick(6.0))
        self.assertIsNotNone(second.get(Attribute.ICE_CONTROLLED))
        self.accept(second)
        self.assertEqual([len(sent(self.tick(6.0))) for _ in range(4)], [1] * 4)
        self.assertIsInstance(self.tick(6.0)[0], Failed)

    def test_restart(self) -> None:
        """Until a restart has come to its end the way before stays in use, and consent goes on."""
        network = self.complete()
        now = network.clock.seconds
        path, before = self.one.agent.path(1), self.one.agent.description
        self.one.perform(self.one.agent.restart(now=now()))
        self.assertTrue(self.one.agent.description.is_restart_of(before))
        self.assertEqual(self.one.agent.path(1), path)
        run(network, 40.0)
        self.assertEqual((self.one.failures, self.other.failures), ([], []))
        self.other.perform(self.other.agent.restart(now=now()))
        self.other.start(self.one)
        run(network, 1.0)
        self.one.start(self.other)
        run(network, 60.0)
        for node in (self.one, self.other):
            self.assertEqual((node.completions, node.failures, len(node.selected)), (2, [], 4))
            self.assertIs(node.agent.state, State.COMPLETED)
        self.assertTrue(agree(network, self.one, self.other, 1))

    def test_restart_with_other_roles(self) -> None:
        """Who offers the restart may be controlling though it was not."""
        network = self.complete()
        now = network.clock.seconds
        self.other.perform(self.other.agent.restart(now=now(), role=Role.CONTROLLING))
        run(network, 20.0)
        self.one.perform(self.one.agent.restart(now=now(), role=Role.CONTROLLED))
        self.one.start(self.other)
        self.other.start(self.one)
        run(network, 60.0)
        self.assertEqual((self.one.failures, self.other.failures), ([], []))
        self.assertEqual((self.one.agent.role, self.other.agent.role), (Role.CONTROLLED, Role.CONTROLLING))
        self.assertEqual((self.one.completions, self.other.completions), (2, 2))

    def test_restart_after_failure(self) -> None:
        """What has failed can be begun anew."""
        network = self.complete()
        network.loss = 1.0
        run(network, 40.0)
        network.loss = 0.0
        for node in (self.one, self.other):
            node.perform(node.agent.restart(now=network.clock.seconds()))
        self.one.start(self.other)
        self.other.start(self.one)
        run(network, 5.0)
        self.assertEqual((self.one.completions, self.other.completions), (2, 2))

    def test_later_candidates(self) -> None:
        """A candidate that comes later is checked."""
        self.assertEqual(sent(self.start(remote(trickles=True))), [])
        self.agent.add_remote([host(THEM), host(THEM), host(("a.local", 1))], now=self.now)
        self.assertEqual([address for address, _ in sent(self.tick())], [THEM])
        self.assertEqual(self.agent.add_remote([host(THEM)], now=self.now), ())

    def test_later_candidate_that_is_known_from_a_check(self) -> None:
        """What the peer says of a candidate that a check has shown is believed, and it is not checked twice."""
        self.start(remote(trickles=True))
        self.take(self.check())
        [(_, check)] = sent(self.tick(0.05))
        self.agent.add_remote([host(THEM)], now=self.now)
        self.assertEqual(sent(self.tick(0.05)), [])
        self.accept(check)
        [(_, nomination)] = sent(self.tick(0.05))
        [selected] = [each for each in self.accept(nomination) if isinstance(each, Selected)]
        self.assertEqual((selected.remote.kind, selected.remote.priority), (CandidateKind.HOST, 2000))

    def test_one_component(self) -> None:
        """Where RTCP comes on the port of RTP, or the peer has no second component, the second is given up."""
        for wanted, offered in ((1, 2), (None, 1)):
            network = Network(1)
            one = Node(network, "192.0.2.1", Role.CONTROLLING, components=2)
            other = Node(network, "192.0.2.2", Role.CONTROLLED, components=offered)
            one.start(other, components=wanted)
            other.start(one, components=wanted)
            run(network, 1.0)
            self.assertEqual([each.component for each in one.selected], [1])
            self.assertEqual((one.completions, other.completions), (1, 1))
            self.assertEqual(one.agent.components, {1})

    def test_close(self) -> None:
        """Nothing is left, and nothing is answered."""
        network = self.complete()
        for node in (self.one, self.other):
            node.perform(node.agent.close(now=network.clock.seconds()))
        self.assertEqual(network.clock.getDelayedCalls(), [])
        self.assertEqual(self.one.agent.timer_fired(now=1000.0), ())
        self.assertRaises(InvalidStateError, self.one.agent.restart, now=1000.0)

    def test_wrong_order(self) -> None:
        """A second start without a restart, and candidates without a start, are mistakes."""
        self.assertRaises(InvalidStateError, self.agent.add_remote, [], now=0.0)
        self.start(remote(THEM))
        self.assertRaises(InvalidStateError, self.agent.start, remote(THEM), now=0.0)
        self.assertRaises(ValueError, IceAgent, role=Role.CONTROLLED, local=(), entropy=octets)

    def test_secrets(self) -> None:
        """Passwords are in no ``repr``."""
        effects = self.start(remote(THEM))
        shown = repr((effects, self.agent.credentials, self.agent.description, self.agent.remote, self.agent.selected))
        self.assertNotIn(PEER.pwd, shown)
        self.assertNotIn(self.agent.credentials.pwd, shown)
