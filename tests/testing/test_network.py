"""The simulated network: what links, partitions and translators do."""

from __future__ import annotations

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime, IReactorUDP, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Address, Fate, Link
from sipd.testing.nat import Dependence, Nat
from sipd.testing.network import Host, Network

ALICE, BOB, CAROL = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class Mailbox(DatagramProtocol):
    """Keeps what it receives, with the time."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.received: list[tuple[float, bytes, Address]] = []

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """See `DatagramProtocol`."""
        self.received.append((round(self.clock.seconds(), 6), datagram, addr))

    @property
    def payloads(self) -> list[bytes]:
        """The octets, in order of arrival."""
        return [data for _, data, _ in self.received]

    @property
    def sources(self) -> list[Address]:
        """Where each came from."""
        return [source for _, _, source in self.received]


class NetworkCase(SynchronousTestCase):
    """Two hosts, a clock, a network."""

    def setUp(self) -> None:
        """Make the network."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, seed=1)
        self.alice, self.bob = self.network.host(ALICE), self.network.host(BOB)

    def bind(self, host: Host, port: int = 5060, interface: str = "") -> Mailbox:
        """Bind a mailbox to a port."""
        mailbox = Mailbox(self.clock)
        host.listenUDP(port, mailbox, interface)
        return mailbox

    def send(self, mailbox: Mailbox, data: bytes, destination: Address) -> None:
        """Send from a mailbox's socket."""
        assert mailbox.transport is not None
        mailbox.transport.write(data, destination)

    def fates(self) -> list[str]:
        """Give the fates in the log."""
        return [event.fate.value for event in self.network.log]


class DatagramTests(NetworkCase):
    """UDP."""

    def test_interfaces(self) -> None:
        """A host is a reactor as far as sockets and time go."""
        for interface in (IReactorTime, IReactorUDP, IReactorTCP):
            verifyObject(interface, self.alice)
        port = self.alice.listenUDP(5060, Mailbox(self.clock))
        verifyObject(IListeningPort, port)
        verifyObject(IUDPTransport, port)

    def test_arrives_after_the_delay(self) -> None:
        """A datagram arrives with its source's address after the link's delay."""
        self.network.set_links(ALICE, BOB, Link(delay=0.25))
        sender, receiver = self.bind(self.alice), self.bind(self.bob)
        self.send(sender, b"hello", (BOB, 5060))
        self.assertEqual(receiver.received, [])
        self.clock.run()
        self.assertEqual(receiver.received, [(0.25, b"hello", (ALICE, 5060))])
        self.assertEqual(self.fates(), ["sent", "delivered"])

    def test_links_have_a_direction(self) -> None:
        """A link that loses everything one way says nothing of the way back."""
        self.network.set_link(ALICE, BOB, Link(loss=1.0))
        here, there = self.bind(self.alice), self.bind(self.bob)
        self.send(here, b"out", (BOB, 5060))
        self.send(there, b"back", (ALICE, 5060))
        self.clock.run()
        self.assertEqual((here.payloads, there.payloads), ([b"back"], []))
        self.assertEqual(self.fates(), ["lost", "sent", "delivered"])

    def test_duplication(self) -> None:
        """A duplicated datagram arrives twice and left once."""
        self.network.set_link(ALICE, BOB, Link(duplication=1.0))
        here, there = self.bind(self.alice), self.bind(self.bob)
        self.send(here, b"twice", (BOB, 5060))
        self.clock.run()
        self.assertEqual(there.payloads, [b"twice", b"twice"])
        self.assertEqual([event.fate.is_departure for event in self.network.log], [True, False, False])

    def test_reordering(self) -> None:
        """With half of the datagrams held back they arrive in another order, and all of them."""
        self.network.set_link(ALICE, BOB, Link(reordering=0.5))
        here, there = self.bind(self.alice), self.bind(self.bob)
        sent = [str(number).encode() for number in range(20)]
        for data in sent:
            self.send(here, data, (BOB, 5060))
        self.clock.run()
        self.assertNotEqual(there.payloads, sent)
        self.assertEqual(sorted(there.payloads), sorted(sent))

    def test_loss_is_about_as_asked(self) -> None:
        """Of a thousand datagrams with a loss of 0.3, between 600 and 800 arrive."""
        self.network.set_link(ALICE, BOB, Link(loss=0.3))
        here, there = self.bind(self.alice), self.bind(self.bob)
        for _ in range(1000):
            self.send(here, b"x", (BOB, 5060))
        self.clock.run()
        self.assertTrue(600 < len(there.payloads) < 800, len(there.payloads))

    def test_unreachable(self) -> None:
        """Nothing hears what is sent to a port or a host that is not there, or was closed."""
        here = self.bind(self.alice)
        port = self.bob.listenUDP(5060, Mailbox(self.clock))
        self.successResultOf(port.stopListening())
        for destination in ((BOB, 5060), (BOB, 9), (CAROL, 5060)):
            self.send(here, b"anyone?", destination)
        self.clock.run()
        self.assertEqual(self.fates(), ["sent"] * 3 + ["unreachable"] * 3)

    def test_partition_and_heal(self) -> None:
        """A partition cuts what crosses it, both ways, and nothing within; healing undoes it."""
        carol = self.bind(self.network.host(CAROL))
        here, there = self.bind(self.alice), self.bind(self.bob)
        self.network.partition([ALICE, CAROL])
        self.send(here, b"cut", (BOB, 5060))
        self.send(there, b"cut", (ALICE, 5060))
        self.send(here, b"within", (CAROL, 5060))
        self.clock.run()
        self.assertEqual((here.payloads, there.payloads, carol.payloads), ([], [], [b"within"]))
        self.network.heal()
        self.send(here, b"healed", (BOB, 5060))
        self.clock.run()
        self.assertEqual(there.payloads, [b"healed"])

    def test_address_in_use(self) -> None:
        """A port is bound once; a port of 0 is a free one; an address must be the host's own."""
        self.bind(self.alice)
        self.assertRaises(CannotListenError, self.bind, self.alice)
        self.assertRaises(CannotListenError, self.bind, self.alice, 5061, BOB)
        ports = {self.alice.listenUDP(0, Mailbox(self.clock)).getHost().port for _ in range(3)}
        self.assertEqual(len(ports), 3)
        self.assertRaises(ValueError, self.network.host, ALICE)

    def test_two_families(self) -> None:
        """A host with two addresses sends from the one of the destination's family."""
        dual = self.network.host("192.0.2.9", "2001:db8::9")
        other = self.network.host("2001:db8::a")
        here, there, four = self.bind(dual, 5060, "2001:db8::9"), self.bind(other, 5060, "::"), self.bind(self.bob)
        wildcard = self.bind(dual, 5080)
        self.send(here, b"six", ("2001:db8::a", 5060))
        self.send(here, b"no route", (BOB, 5060))
        self.send(wildcard, b"four", (BOB, 5060))
        self.clock.run()
        self.assertEqual(there.sources, [("2001:db8::9", 5060)])
        self.assertEqual(four.sources, [("192.0.2.9", 5080)])

    def test_too_long(self) -> None:
        """A datagram larger than UDP can carry is refused; one larger than the reader's buffer is cut."""
        here, there = self.bind(self.alice), self.bind(self.bob)
        self.assertRaises(MessageLengthError, self.send, here, bytes(65508), (BOB, 5060))
        self.send(here, bytes(9000), (BOB, 5060))
        self.clock.run()
        self.assertEqual([len(data) for data in there.payloads], [8192])

    def test_connected_socket(self) -> None:
        """A connected socket sends to and hears from one address only."""
        carol, there = self.bind(self.network.host(CAROL)), self.bind(self.bob)
        mailbox = Mailbox(self.clock)
        port = self.alice.listenUDP(5060, mailbox)
        self.assertRaises(ValueError, port.write, b"to whom?")
        port.connect(BOB, 5060)
        port.write(b"hello")
        self.send(there, b"answer", (ALICE, 5060))
        self.send(carol, b"intruder", (ALICE, 5060))
        self.clock.run()
        self.assertEqual((there.payloads, mailbox.payloads), ([b"hello"], [b"answer"]))


class SeedTests(SynchronousTestCase):
    """One seed, one history."""

    def run_seed(self, seed: int) -> bytes:
        """Send a hundred datagrams over a bad link; give the log."""
        clock = SimulatedClock()
        network = Network(clock, seed, link=Link(loss=0.2, jitter=0.05, duplication=0.1, reordering=0.2))
        here, there = Mailbox(clock), Mailbox(clock)
        port = network.host(ALICE).listenUDP(5060, here)
        network.host(BOB).listenUDP(5060, there)
        for _ in range(100):
            port.write(network.entropy(8), (BOB, 5060))
            clock.advance(0.01)
        clock.run()
        return network.transcript()

    def test_same_seed_same_octets(self) -> None:
        """Two runs of a seed log the same octets."""
        self.assertEqual(self.run_seed(7), self.run_seed(7))

    def test_other_seed_other_history(self) -> None:
        """Another seed loses other datagrams."""
        self.assertNotEqual(self.run_seed(7), self.run_seed(8))


class NatTests(NetworkCase):
    """Address translation."""

    def behind(self, **options: object) -> tuple[Nat, Mailbox]:
        """Put a mailbox on a host behind a translator."""
        nat = Nat("198.51.100.1", self.clock.seconds, **options)  # type: ignore[arg-type]
        return nat, self.bind(self.network.host_behind(nat, "10.0.0.2"))

    def test_translates_and_answers_come_back(self) -> None:
        """The other side sees the public address; what it answers reaches the inner host."""
        _, inner = self.behind()
        outer = self.bind(self.bob)
        self.send(inner, b"out", (BOB, 5060))
        self.clock.run()
        self.assertEqual(outer.sources, [("198.51.100.1", 40000)])
        self.send(outer, b"back", outer.sources[0])
        self.clock.run()
        self.assertEqual(inner.received[0][1:], (b"back", (BOB, 5060)))

    def test_binding_times_out(self) -> None:
        """After the timeout nothing comes in, and the next datagram out gets another port."""
        _, inner = self.behind(timeout=30.0)
        outer = self.bind(self.bob)
        self.send(inner, b"first", (BOB, 5060))
        self.clock.advance(31.0)
        self.send(outer, b"too late", ("198.51.100.1", 40000))
        self.send(inner, b"second", (BOB, 5060))
        self.clock.run()
        self.assertEqual(inner.payloads, [])
        self.assertEqual([port for _, port in outer.sources], [40000, 40001])
        self.assertIn("filtered", self.fates())

    def test_only_what_is_sent_keeps_a_binding(self) -> None:
        """Datagrams that come in do not keep it alive; those that go out do."""
        _, inner = self.behind(timeout=30.0)
        outer = self.bind(self.bob)
        for _ in range(3):
            self.send(inner, b"keep", (BOB, 5060))
            self.clock.advance(20.0)
        self.assertEqual({port for _, port in outer.sources}, {40000})
        self.send(outer, b"in", ("198.51.100.1", 40000))
        self.clock.advance(20.0)
        self.send(outer, b"late", ("198.51.100.1", 40000))
        self.clock.run()
        self.assertEqual(inner.payloads, [b"in"])

    def test_what_comes_in_may_keep_a_binding(self) -> None:
        """Some translators count that, too, while there is a binding."""
        _, inner = self.behind(timeout=30.0, counts_inbound=True)
        outer = self.bind(self.bob)
        self.send(inner, b"open", (BOB, 5060))
        for wait in (20.0, 20.0, 20.0, 40.0):
            self.clock.advance(wait)
            self.send(outer, b"in", ("198.51.100.1", 40000))
        self.clock.run()
        self.assertEqual(inner.payloads, [b"in"] * 3)

    def test_filtering(self) -> None:
        """Who may send in is what the filter says: anyone, the address, or address and port."""
        for filtering, expected in (
            (Dependence.ENDPOINT_INDEPENDENT, [b"bob", b"other port", b"carol"]),
            (Dependence.ADDRESS_DEPENDENT, [b"bob", b"other port"]),
            (Dependence.ADDRESS_AND_PORT_DEPENDENT, [b"bob"]),
        ):
            self.setUp()
            _, inner = self.behind(filtering=filtering)
            bob, other = self.bind(self.bob), self.bind(self.bob, 5080)
            carol = self.bind(self.network.host(CAROL))
            self.send(inner, b"out", (BOB, 5060))
            self.clock.run()
            for mailbox, data in ((bob, b"bob"), (other, b"other port"), (carol, b"carol")):
                self.send(mailbox, data, ("198.51.100.1", 40000))
            self.clock.run()
            self.assertEqual(inner.payloads, expected, filtering)

    def test_symmetric_mapping(self) -> None:
        """A mapping that depends on the destination gives each destination a port of its own."""
        _, inner = self.behind(mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT)
        bob, carol = self.bind(self.bob), self.bind(self.network.host(CAROL))
        for destination in ((BOB, 5060), (CAROL, 5060), (BOB, 5060)):
            self.send(inner, b"x", destination)
        self.clock.run()
        self.assertEqual([port for _, port in bob.sources + carol.sources], [40000, 40000, 40001])

    def test_neighbours_meet_directly(self) -> None:
        """Two hosts behind one translator see each other's private address, also through its public one."""
        nat, inner = self.behind(filtering=Dependence.ENDPOINT_INDEPENDENT)
        neighbour = self.bind(self.network.host_behind(nat, "10.0.0.3"))
        self.send(inner, b"direct", ("10.0.0.3", 5060))
        self.send(neighbour, b"open a port", (BOB, 5060))
        self.send(inner, b"hairpin", ("198.51.100.1", 40000))
        self.clock.run()
        self.assertEqual(neighbour.payloads, [b"direct", b"hairpin"])
        self.assertEqual(neighbour.sources, [("10.0.0.2", 5060), ("198.51.100.1", 40001)])

    def test_same_private_address_twice(self) -> None:
        """Two translators may each have a 10.0.0.2 behind them; one may not have it twice."""
        nat, _ = self.behind()
        other = Nat("198.51.100.2", self.clock.seconds)
        self.network.host_behind(other, "10.0.0.2")
        self.assertRaises(ValueError, self.network.host_behind, nat, "10.0.0.2")

    def test_private_address_is_not_reached_from_outside(self) -> None:
        """What is sent to a private address from the public side goes nowhere."""
        _, inner = self.behind()
        self.send(self.bind(self.bob), b"?", ("10.0.0.2", 5060))
        self.clock.run()
        self.assertEqual(inner.payloads, [])
        self.assertEqual(self.network.log[-1].fate, Fate.UNREACHABLE)
