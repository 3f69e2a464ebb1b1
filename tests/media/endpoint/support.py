"""What the tests of endpoints share: two of them on a simulated network, ears, and the time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.interfaces import ISink
from sipd.media.endpoint.settings import EndpointSettings
from sipd.media.pacer import Pacer
from sipd.media.sounds import SoundLibrary
from sipd.rtp.g711 import tone_level
from sipd.sdp.description import Direction, SessionDescription, parse_description
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Host, Network
from tests.media.recordings import StepWriter

ALICE = "192.0.2.1"
BOB = "192.0.2.2"
MALLORY = "192.0.2.66"

#: When the tests begin.
BEGIN = 1000.0
#: What counts as the tone, and as its absence, in `tone_level`.
CLEAR = 0.45
FAINT = 0.05


@implementer(ISink)
class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.samples = array("h")

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        self.samples.extend(samples)

    def last(self, seconds: float) -> array[int]:
        """Give what was heard last."""
        return self.samples[-round(8000 * seconds) :]

    def level(self, frequency: float, seconds: float = 0.2) -> float:
        """Say how much of a tone is in what was heard last."""
        return tone_level(self.last(seconds), frequency)


@dataclass
class Outcome:
    """What became of a Deferred, if anything has."""

    results: list[Any]

    @property
    def is_there(self) -> bool:
        """Whether it has fired."""
        return bool(self.results)

    @property
    def value(self) -> Any:
        """What it gave."""
        (result,) = self.results
        return result


class EndpointTestCase(SynchronousTestCase):
    """A network, and endpoints that are closed when the test is over."""

    def setUp(self) -> None:
        self.clock = SimulatedClock(BEGIN)
        self.network = Network(self.clock, seed=7)
        self.pacer = Pacer(self.clock)
        self.writer = StepWriter()
        self.sounds = SoundLibrary(in_thread=lambda function: maybeDeferred(function))
        self.hosts: dict[str, Host] = {}
        self.endpoints: list[AudioEndpoint] = []
        self.addCleanup(self.finish)

    def finish(self) -> None:
        """Close what is open; nothing may be left."""
        for endpoint in self.endpoints:
            self.successResultOf(endpoint.close())
        self.endpoints.clear()
        self.clock.run()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([host.ports for host in self.hosts.values() if host.ports], [])

    def host(self, address: str) -> Host:
        """Give the host of an address."""
        if address not in self.hosts:
            self.hosts[address] = self.network.host(address)
        return self.hosts[address]

    def endpoint(self, address: str = ALICE, settings: EndpointSettings | None = None, **kwargs: Any) -> AudioEndpoint:
        """Make an endpoint."""
        reactor: Any = self.host(address)
        made = AudioEndpoint(
            reactor,
            settings=settings or EndpointSettings(),
            pacer=self.pacer,
            sounds=self.sounds,
            entropy=self.network.entropy,
            writer=self.writer,
            **{"host": address, **kwargs},
        )
        self.endpoints.append(made)
        return made

    def pair(
        self, settings: EndpointSettings | None = None, other: EndpointSettings | None = None
    ) -> tuple[AudioEndpoint, AudioEndpoint]:
        """Make two endpoints that have agreed; the first one offered."""
        alice, bob = self.endpoint(ALICE, settings), self.endpoint(BOB, other or settings)
        self.agree(alice, bob)
        return alice, bob

    def agree(
        self,
        offerer: AudioEndpoint,
        answerer: AudioEndpoint,
        direction: Direction = Direction.SENDRECV,
        answered: Direction = Direction.SENDRECV,
    ) -> tuple[SessionDescription, SessionDescription]:
        """Let one offer, and the other answer; give what they said, as it comes out of messages."""
        offer = parse_description(offerer.make_offer(direction).to_bytes())
        answer = parse_description(answerer.answer_offer(offer, answered).to_bytes())
        offerer.take_answer(answer)
        return offer, answer

    def ear(self, endpoint: AudioEndpoint) -> Ear:
        """Let an ear hear what an endpoint hears."""
        ear = Ear()
        endpoint.connect(None, ear)
        return ear

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run(until=self.clock.seconds() + seconds)

    def outcome(self, deferred: Deferred[Any]) -> Outcome:
        """Watch a Deferred."""
        outcome = Outcome([])
        deferred.addBoth(outcome.results.append)
        return outcome

    def assertTone(self, ear: Ear, *frequencies: int) -> None:
        """Check that these tones are heard now, and nothing else."""
        levels = [ear.level(frequency) for frequency in frequencies]
        self.assertTrue(
            all(level > 0.9 / len(frequencies) * 0.85 for level in levels) and sum(levels) > 0.85,
            f"heard {dict(zip(frequencies, levels, strict=True))}",
        )

    def assertSilent(self, ear: Ear, seconds: float = 0.2) -> None:
        """Check that nothing was heard for some time."""
        self.assertLess(max(map(abs, ear.last(seconds)), default=0), 64)


def describe(media: Iterable[str], *, address: str = BOB, session: Iterable[str] = ()) -> SessionDescription:
    """Make a description of a peer that is no endpoint."""
    family = "IP6" if ":" in address else "IP4"
    head = ["v=0", f"o=- 1 1 IN {family} {address}", "s=-", f"c=IN {family} {address}", "t=0 0", *session]
    return parse_description("\r\n".join([*head, *media]) + "\r\n")
