"""Agents over a simulated network, for tests: sites behind NATs, relays, loss, delay, and a log of everything."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from twisted.internet.task import Clock

from sipd.ice.agent import IceAgent
from sipd.ice.candidates import Gathering
from sipd.ice.effects import Completed, Effect, Effects, Failed, IceTiming, Learned, Role, Selected, Send
from sipd.ice.lite import LiteAgent
from sipd.ice.party import Party
from sipd.sdp.candidates import Address
from sipd.sip.machine import StartTimer, StopTimers
from sipd.testing.nat import Nat

STUN_SERVER = ("198.51.100.1", 3478)


class Network:
    """Where datagrams go.

    Args:
        seed: of everything that is by chance.
        loss: 0 to 1.
        delay: seconds at most; datagrams overtake each other.
    """

    def __init__(self, seed: int = 0, *, loss: float = 0.0, delay: float = 0.02) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.loss = loss
        self.delay = delay
        self.nodes: list[Node] = []
        self.log: list[str] = []
        self.sent: list[tuple[Address, Address, bytes]] = []

    def send(self, node: Node, base: Address, remote: Address, data: bytes) -> None:
        """Send a datagram from a base of a node."""
        self.sent.append((base, remote, data))
        self.log.append(f"{self.clock.seconds():.4f} {base} {remote} {data.hex()}")
        if self.random.random() >= self.loss:
            self.clock.callLater(self.delay * (0.1 + 0.9 * self.random.random()), self.arrive, node, base, remote, data)

    def arrive(self, node: Node, base: Address, remote: Address, data: bytes) -> None:
        """Have a datagram arrive, if there is a way."""
        way = self.route(node, base, remote)
        if way is not None:
            receiver, place, source = way
            receiver.receive(data, source, place)

    def route(self, sender: Node, base: Address, remote: Address) -> tuple[Node, Address, Address] | None:
        """Give who receives what is sent from a base, at which base, and from whom it seems to come."""
        source, at_home = base, True
        if base in sender.relays:
            sender.relays[base].add(remote[0])
            at_home = False
        for node in self.nodes:
            if remote in node.addresses and at_home and (node.site == sender.site or not (node.nat or sender.nat)):
                return node, remote, source
        if sender.nat is not None and at_home:
            source = sender.nat.outbound(base, remote)
        for node in self.nodes:
            if remote in node.relays:
                return (node, remote, source) if source[0] in node.relays[remote] else None
            if node.nat is not None and remote[0] == node.nat.address:
                inner = node.nat.inbound(remote[1], source)
                return None if inner is None else (node, inner, source)
            if node.nat is None and remote in node.addresses:
                return node, remote, source
        return None


class Node:
    """An agent, and what performs its effects.

    Args:
        network: where it is.
        host: its address; so far it has nothing but sockets there.
        role: at the start.
        site: nodes of one site reach each other directly.
        nat: what it is behind.
        relay: the host of a TURN server that allocates addresses for it.
        is_lite: a lite agent, with host candidates only.
        components: 1 or 2.
        timing: of the agent.
    """

    def __init__(
        self,
        network: Network,
        host: str,
        role: Role,
        *,
        site: str = "",
        nat: Nat | None = None,
        relay: str | None = None,
        is_lite: bool = False,
        components: int = 1,
        timing: IceTiming | None = None,
        hosts: Sequence[str] = (),
    ) -> None:
        self.network = network
        self.site = site or host
        self.nat = nat
        self.relays: dict[Address, set[str]] = {}
        self.addresses = [(each, 4000 + place) for each in (host, *hosts) for place in range(components)]
        gathering = Gathering()
        for number, address in enumerate(self.addresses):
            component = 1 + number % components
            gathering.add_host(address, component, local_preference=65535 - number // components)
            if not is_lite:
                mapped = address
                if nat is not None:
                    mapped = nat.outbound(address, STUN_SERVER)
                    gathering.add_server_reflexive(mapped, component, base=address, server=STUN_SERVER[0])
                if relay is not None and number < components:
                    allocated = (relay, 6000 + component)
                    self.relays[allocated] = set()
                    gathering.add_relayed(allocated, component, mapped=mapped, server=relay)
        kind = LiteAgent if is_lite else IceAgent
        self.agent: Party = kind(role=role, local=gathering.candidates, entropy=network.random.randbytes, timing=timing)
        self.effects: list[Effect] = []
        self._timer: object = None
        network.nodes.append(self)

    def receive(self, data: bytes, source: Address, base: Address) -> None:
        """Have a datagram arrive."""
        self.perform(self.agent.datagram_received(data, source, base, now=self.network.clock.seconds()))

    def start(self, other: Node, *, components: int | None = None) -> None:
        """Take the other node's description."""
        now = self.network.clock.seconds()
        self.perform(self.agent.start(other.agent.description, now=now, components=components))

    def perform(self, effects: Effects) -> None:
        """Do what the agent wants."""
        for effect in effects:
            self.effects.append(effect)
            if isinstance(effect, Send):
                self.network.send(self, effect.base, effect.remote, effect.data)
            elif isinstance(effect, StartTimer | StopTimers):
                self.stop_timer()
                if isinstance(effect, StartTimer):
                    self._timer = self.network.clock.callLater(effect.duration, self._fire)
            else:
                self.network.log.append(f"{self.network.clock.seconds():.4f} {self.site} {effect}")

    def stop_timer(self) -> None:
        """Let the timer not fire."""
        for call in self.network.clock.getDelayedCalls():
            if call is self._timer:
                call.cancel()

    def _fire(self) -> None:
        self._timer = None
        self.perform(self.agent.timer_fired(now=self.network.clock.seconds()))

    @property
    def selected(self) -> list[Selected]:
        """What was selected, in order."""
        return [each for each in self.effects if isinstance(each, Selected)]

    @property
    def learned(self) -> list[Learned]:
        """What was learned, in order."""
        return [each for each in self.effects if isinstance(each, Learned)]

    @property
    def failures(self) -> list[str]:
        """Why it has failed."""
        return [each.text for each in self.effects if isinstance(each, Failed)]

    @property
    def completions(self) -> int:
        """How often it was complete."""
        return sum(isinstance(each, Completed) for each in self.effects)


def run(network: Network, seconds: float) -> None:
    """Let time pass, from event to event."""
    clock = network.clock
    end = clock.seconds() + seconds
    for _ in range(100_000):
        calls = clock.getDelayedCalls()
        if not calls or calls[0].getTime() > end:
            break
        clock.advance(max(0.0, calls[0].getTime() - clock.seconds()))
    else:
        raise AssertionError("an agent that does not come to rest")
    clock.advance(max(0.0, end - clock.seconds()))


def agree(network: Network, one: Node, other: Node, component: int) -> bool:
    """Say whether what one sends on its path arrives on the other's, and the other way round."""
    for sender, receiver in ((one, other), (other, one)):
        path, back = sender.agent.path(component), receiver.agent.path(component)
        if path is None or back is None or network.route(sender, *path) != (receiver, *back):
            return False
    return True
