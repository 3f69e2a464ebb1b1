"""Tests of `sipd.ice.party`, what full and lite agents answer, and of `sipd.ice.lite`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.ice.agent import IceAgent
from sipd.ice.candidates import Gathering
from sipd.ice.checks import RoleClaim, write_check, write_success
from sipd.ice.effects import Completed, Effects, IceCredentials, Learned, Role, Selected, Send, Side, State
from sipd.ice.lite import LiteAgent
from sipd.ice.party import EARLY_LIMIT, Party
from sipd.rtp.stun import Attribute, Kind, Method, StunMessage
from sipd.sdp.candidates import CANDIDATE_LIMIT, Address, IceDescription
from tests.ice.agents import Network, Node, run
from tests.ice.test_agent import BASE, ELSEWHERE, PEER, THEM, octets, remote, sent


def make(kind: type[Party], role: Role = Role.CONTROLLED) -> Party:
    """Make an agent."""
    gathering = Gathering()
    gathering.add_host(BASE, 1)
    return kind(role=role, local=gathering.candidates, entropy=octets)


def check(
    agent: Party,
    *,
    nominates: bool = False,
    role: Role = Role.CONTROLLING,
    key: str | None = None,
    ufrag: str | None = None,
    tie_breaker: int = 0,
) -> bytes:
    """Make a check of an agent; by default one that it can only like."""
    mine = agent.credentials
    return write_check(
        octets(12),
        local=PEER,
        remote=IceCredentials(ufrag=ufrag or mine.ufrag, pwd=key or mine.pwd),
        priority=1000,
        claim=RoleClaim(role=role, tie_breaker=tie_breaker),
        nominates=nominates,
    )


def request(*attributes: tuple[int, bytes], key: bytes | None = None) -> bytes:
    """Make a request of anything."""
    return StunMessage(Method.BINDING, Kind.REQUEST, bytes(12), attributes).to_bytes(key=key)


class AnswerTests(SynchronousTestCase):
    """What is answered, and what is not: alike for full and lite agents."""

    def setUp(self) -> None:
        self.agents = [make(IceAgent), make(LiteAgent)]

    def take(self, agent: Party, data: bytes, source: Address = THEM) -> Effects:
        """Have a datagram arrive at time 0."""
        return agent.datagram_received(data, source, BASE, now=0.0)

    def test_signed_check(self) -> None:
        """It is answered at once, before the peer is known, with the address that it came from."""
        for agent in self.agents:
            [(address, answer)] = sent(self.take(agent, check(agent)))
            self.assertEqual((address, answer.kind, answer.mapped_address), (THEM, Kind.SUCCESS, THEM))
            self.assertTrue(answer.is_signed_with(agent.credentials.key))
            self.assertIsNotNone(answer.get(Attribute.FINGERPRINT))

    def test_not_rightly_signed(self) -> None:
        """Unsigned is 400; wrongly signed, or for somebody else, is 401; neither answer is signed, nor counts."""
        for agent in self.agents:
            agent.start(remote(), now=0.0)
            user = (int(Attribute.USERNAME), f"{agent.credentials.ufrag}:peer".encode())
            for data, code in (
                (request(user), 400),
                (request((int(Attribute.PRIORITY), bytes(4)), key=agent.credentials.key), 400),
                (check(agent, nominates=True, key="x" * 22), 401),
                (check(agent, nominates=True, ufrag="nobody"), 401),
            ):
                effects = self.take(agent, data)
                [(_, answer)] = sent(effects)
                self.assertEqual((answer.kind, answer.error_code), (Kind.ERROR, (code, "")))
                self.assertIsNone(answer.get(Attribute.MESSAGE_INTEGRITY))
                self.assertEqual(len(effects), 1)
            self.assertEqual(agent.selected, {})

    def test_no_answer_is_longer_than_a_stranger_s_request(self) -> None:
        """A request that is shorter than its refusal gets none."""
        for agent in self.agents:
            self.assertEqual(self.take(agent, request()), ())
            self.assertEqual(self.take(agent, request((int(Attribute.USERNAME), b"a:b"))), ())

    def test_malformed_though_signed(self) -> None:
        """What is unknown and required is 420, a missing priority or two roles are 400; both are signed."""
        for agent in self.agents:
            user = (int(Attribute.USERNAME), f"{agent.credentials.ufrag}:peer".encode())
            roles = (int(Attribute.ICE_CONTROLLED), bytes(8)), (int(Attribute.ICE_CONTROLLING), bytes(8))
            priority = (int(Attribute.PRIORITY), b"\0\0\1\0")
            for attributes, code in (
                ((user, priority, (0x7777, b"")), 420),
                ((user,), 400),
                ((user, (int(Attribute.PRIORITY), bytes(4))), 400),
                ((user, (int(Attribute.PRIORITY), b"\x80\0\0\0")), 400),
                ((user, priority, *roles), 400),
                ((user, priority, (int(Attribute.ICE_CONTROLLING), bytes(7))), 400),
            ):
                [(_, answer)] = sent(self.take(agent, request(*attributes, key=agent.credentials.key)))
                self.assertEqual(answer.error_code, (code, ""), attributes)
                self.assertTrue(answer.is_signed_with(agent.credentials.key))
            [(_, answer)] = sent(self.take(agent, request(user, priority, key=agent.credentials.key)))
            self.assertIs(answer.kind, Kind.SUCCESS)

    def test_other_messages(self) -> None:
        """Indications, answers to nothing, other methods, media, and what comes to no base of ours are passed over."""
        for agent in self.agents:
            message = StunMessage.parse(check(agent))
            for data in (
                StunMessage(Method.BINDING, Kind.INDICATION, bytes(12)).to_bytes(),
                write_success(message, BASE, PEER),
                StunMessage(Method.ALLOCATE, Kind.REQUEST, bytes(12), message.attributes).to_bytes(key=b"x"),
                b"\x80" + bytes(20),
                b"",
            ):
                self.assertEqual(self.take(agent, data), ())
            self.assertEqual(agent.datagram_received(check(agent), THEM, ELSEWHERE, now=0.0), ())

    def test_early_checks(self) -> None:
        """Checks before the description are answered; of 16 ways they are kept, and looked at afterwards."""
        for agent in self.agents:
            for number in range(2 * EARLY_LIMIT):
                for nominates in (False, True, False):
                    effects = self.take(agent, check(agent, nominates=nominates), ("192.0.2.9", 1000 + number))
                    self.assertEqual(len(sent(effects)), 1)
            effects = agent.start(remote(THEM), now=0.0)
            learned = [each.candidate.port for each in effects if isinstance(each, Learned)]
            self.assertEqual(learned, list(range(1000, 1000 + EARLY_LIMIT)))
        self.assertEqual(self.agents[1].path(1), (BASE, ("192.0.2.9", 1000)))

    def test_limit_of_candidates(self) -> None:
        """A peer that checks from everywhere is answered, but no more than 64 candidates are remembered."""
        for agent in self.agents:
            effects = agent.start(remote(THEM), now=0.0)
            for number in range(3 * CANDIDATE_LIMIT):
                source = ("192.0.2.9", 1000 + number)
                effects += self.take(agent, check(agent, nominates=True), source)
            self.assertEqual(sum(isinstance(each, Learned) for each in effects), CANDIDATE_LIMIT - 1)
            self.assertEqual(len([each for each in effects if isinstance(each, Send)]), 3 * CANDIDATE_LIMIT)

    def test_addresses_that_lie(self) -> None:
        """However many addresses of ours a peer claims to see, no more than 64 candidates are remembered."""
        agent = make(IceAgent, Role.CONTROLLING)
        hosts = [("192.0.2.9", 1000 + number) for number in range(64)]
        effects = agent.start(remote(*hosts), now=0.0)
        count = 0
        for step in range(200):
            for each in effects:
                if isinstance(each, Send):
                    count += 1
                    message = StunMessage.parse(each.data)
                    if message.get(Attribute.USE_CANDIDATE) is None:
                        answer = write_success(message, ("203.0.113.1", count), PEER)
                        effects += agent.datagram_received(answer, each.remote, each.base, now=step * 0.05)
            effects = agent.timer_fired(now=step * 0.05)
        self.assertLessEqual(len(agent._local), CANDIDATE_LIMIT)


class LiteTests(SynchronousTestCase):
    """What is different in a lite agent."""

    def setUp(self) -> None:
        self.agent = make(LiteAgent, Role.CONTROLLING)

    def take(self, data: bytes, source: Address = THEM, now: float = 0.0) -> Effects:
        """Have a datagram arrive."""
        return self.agent.datagram_received(data, source, BASE, now=now)

    def test_description(self) -> None:
        """It says that it is lite."""
        self.assertTrue(self.agent.description.is_lite)

    def test_takes_what_is_nominated(self) -> None:
        """A check that nominates selects, one that does not is only answered; nothing is checked."""
        self.agent.start(remote(THEM), now=0.0)
        self.assertIs(self.agent.role, Role.CONTROLLED)
        self.assertEqual([type(each) for each in self.take(check(self.agent))], [Send])
        self.assertIsNone(self.agent.path(1))
        effects = self.take(check(self.agent, nominates=True))
        self.assertEqual([type(each) for each in effects][:3], [Send, Selected, Completed])
        self.assertEqual([type(each) for each in self.take(check(self.agent, nominates=True))], [Send])
        self.assertEqual(self.agent.path(1), (BASE, THEM))

    def test_peer_reflexive(self) -> None:
        """A nominated way that the peer has not told of is learned."""
        self.agent.start(remote(THEM), now=0.0)
        effects = self.take(check(self.agent, nominates=True), ELSEWHERE)
        [learned] = [each for each in effects if isinstance(each, Learned)]
        self.assertEqual((learned.side, learned.candidate.address), (Side.REMOTE, ELSEWHERE))
        self.assertEqual(self.agent.path(1), (BASE, ELSEWHERE))

    def test_roles(self) -> None:
        """It refuses who wants to be controlled, and nobody else, whatever the tie-breakers."""
        for role, kind in ((Role.CONTROLLED, Kind.ERROR), (Role.CONTROLLING, Kind.SUCCESS)):
            for tie_breaker in (0, 2**64 - 1):
                [(_, answer)] = sent(self.take(check(self.agent, role=role, tie_breaker=tie_breaker)))
                self.assertIs(answer.kind, kind)
        self.assertIs(self.agent.role, Role.CONTROLLING)

    def test_component_that_was_given_up(self) -> None:
        """What comes for a component that is not used is answered, and selects nothing, before the start or after."""
        gathering = Gathering()
        other = (BASE[0], BASE[1] + 1)
        gathering.add_host(BASE, 1)
        gathering.add_host(other, 2)
        self.agent = LiteAgent(role=Role.CONTROLLED, local=gathering.candidates, entropy=octets)
        for _ in range(2):
            effects = self.agent.datagram_received(check(self.agent, nominates=True), THEM, other, now=0.0)
            self.assertEqual([type(each) for each in effects], [Send])
            if self.agent.state is State.NEW:
                self.assertEqual(self.agent.start(remote(THEM), now=0.0, components=1), ())
        self.assertEqual(self.agent.selected, {})

    def test_better_pair(self) -> None:
        """A better way replaces a worse one, and not the other way round, unless the better one is silent."""
        self.agent.start(remote(THEM, ELSEWHERE), now=0.0)
        self.take(check(self.agent, nominates=True), ELSEWHERE)
        self.take(check(self.agent, nominates=True), THEM, 1.0)
        self.assertEqual(self.agent.path(1), (BASE, THEM))
        self.take(check(self.agent, nominates=True), ELSEWHERE, 2.0)
        self.take(check(self.agent), THEM, 9.0)
        self.take(check(self.agent, nominates=True), ELSEWHERE, 18.0)
        self.assertEqual(self.agent.path(1), (BASE, THEM))
        self.take(check(self.agent, nominates=True), ELSEWHERE, 19.5)
        self.assertEqual(self.agent.path(1), (BASE, ELSEWHERE))

    def test_keepalives(self) -> None:
        """Every 15 s there is an indication on the way in use, so that NATs keep it; it never fails."""
        network = Network(1)
        lite = Node(network, "192.0.2.1", Role.CONTROLLED, is_lite=True)
        full = Node(network, "192.0.2.2", Role.CONTROLLING)
        lite.start(full)
        full.start(lite)
        run(network, 1.0)
        network.loss = 1.0
        network.sent.clear()
        run(network, 60.0)
        messages = [StunMessage.parse(data) for base, _, data in network.sent if base == lite.addresses[0]]
        self.assertEqual([each.kind for each in messages], [Kind.INDICATION] * 4)
        self.assertEqual((lite.failures, len(full.failures)), ([], 1))

    def test_two_lite_agents(self) -> None:
        """Two of them use the best pair of each component, without a check."""
        network = Network(1)
        nodes = [
            Node(network, f"192.0.2.{number}", role, is_lite=True, components=2, hosts=[f"192.0.2.{number + 10}"])
            for number, role in ((1, Role.CONTROLLING), (2, Role.CONTROLLED))
        ]
        nodes[0].start(nodes[1])
        nodes[1].start(nodes[0])
        self.assertEqual(network.sent, [])
        self.assertEqual(nodes[0].agent.path(1), (("192.0.2.1", 4000), ("192.0.2.2", 4000)))
        self.assertEqual(nodes[1].agent.path(2), (("192.0.2.2", 4001), ("192.0.2.1", 4001)))
        self.assertEqual([node.completions for node in nodes], [1, 1])
        self.assertEqual([node.agent.role for node in nodes], [Role.CONTROLLING, Role.CONTROLLED])

    def test_restart(self) -> None:
        """After a restart the way before stays, and is answered, until another one is nominated."""
        self.agent.start(remote(THEM), now=0.0)
        self.take(check(self.agent, nominates=True))
        before = check(self.agent, nominates=True)
        self.agent.restart(now=1.0)
        self.assertEqual((self.agent.path(1), self.agent.state), ((BASE, THEM), State.NEW))
        [(_, answer)] = sent(self.take(before))
        self.assertIs(answer.kind, Kind.SUCCESS)
        self.agent.start(remote(THEM), now=2.0)
        self.assertIn(Selected, [type(each) for each in self.take(check(self.agent, nominates=True), ELSEWHERE, 3.0)])
        self.assertEqual(self.agent.path(1), (BASE, ELSEWHERE))
        self.assertIs(StunMessage.parse(sent(self.take(before, now=4.0))[0][1].octets).kind, Kind.ERROR)


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    """Give octets: any, or those of a message of which some are changed."""
    kind = draw(st.sampled_from(Kind))
    attributes = draw(
        st.lists(
            st.tuples(st.sampled_from([int(each) for each in Attribute] + [0x7777]), st.binary(max_size=24)), max_size=6
        )
    )
    key = draw(st.none() | st.just(PEER.key) | st.binary(max_size=30))
    data = StunMessage(draw(st.integers(0, 15)), kind, draw(st.binary(min_size=12, max_size=12)), tuple(attributes))
    made = bytearray(data.to_bytes(key=key, with_fingerprint=draw(st.booleans())))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=3)):
        made[place % len(made)] = value
    return draw(st.sampled_from([bytes(made), bytes(made[: draw(st.integers(0, len(made)))])]))


class HostileTests(SynchronousTestCase):
    """Whatever comes."""

    @settings(deadline=None)
    @given(st.lists(datagrams() | st.binary(max_size=100), max_size=20), st.sampled_from([IceAgent, LiteAgent]))
    def test_any_octets(self, data: list[bytes], kind: type[Party]) -> None:
        """No octets raise anything, are answered with more than they are, or select anything."""
        agent = make(kind, Role.CONTROLLING)
        for number, each in enumerate(data):
            if number == 5:
                agent.start(IceDescription(ufrag=PEER.ufrag, pwd=PEER.pwd), now=0.0)
            for effect in agent.datagram_received(each, THEM, BASE, now=0.0):
                if isinstance(effect, Send):
                    self.assertLessEqual(len(effect.data), len(each))
        self.assertEqual(agent.selected, {})

    @settings(deadline=None)
    @given(st.data())
    def test_hostile_peer(self, data: st.DataObject) -> None:
        """A peer that knows the passwords and sends anything, answers among it, raises nothing either."""
        kinds: list[type[Party]] = [IceAgent, LiteAgent]
        agent = make(data.draw(st.sampled_from(kinds)), data.draw(st.sampled_from(Role)))
        now = 0.0
        effects = agent.start(remote(THEM, ELSEWHERE), now=now)
        seen: list[bytes] = []
        for _ in range(data.draw(st.integers(0, 30))):
            seen += [StunMessage.parse(each.data).transaction for each in effects if isinstance(each, Send)][:5]
            source = data.draw(st.sampled_from([THEM, ELSEWHERE, ("192.0.2.7", 9)]))
            names = [int(each) for each in Attribute if each not in (Attribute.MESSAGE_INTEGRITY, Attribute.USERNAME)]
            attributes = [(int(Attribute.USERNAME), f"{agent.credentials.ufrag}:peer".encode())]
            attributes += data.draw(st.lists(st.tuples(st.sampled_from(names), st.binary(max_size=20)), max_size=3))
            if data.draw(st.booleans()):
                attributes.append((int(Attribute.PRIORITY), b"\0\0\1\0"))
            if data.draw(st.booleans()):
                attributes.append((int(Attribute.ERROR_CODE), b"\0\0\4\x57"))
            kind = data.draw(st.sampled_from(Kind))
            transaction = data.draw(st.sampled_from([*seen, bytes(12)]))
            key = agent.credentials.key if kind is Kind.REQUEST else PEER.key
            message = StunMessage(Method.BINDING, kind, transaction, tuple(attributes)).to_bytes(key=key)
            effects = agent.datagram_received(message, source, BASE, now=now)
            now += data.draw(st.sampled_from([0.0, 0.05, 1.0, 40.0]))
            effects += agent.timer_fired(now=now)
