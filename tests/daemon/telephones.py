"""What the tests of `sipd phone` share: telephones of the command line on a simulated network."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.telephone.answerer import AnswerWanted, answer
from sipd.daemon.telephone.desk import Desk
from sipd.daemon.telephone.dialer import DialWanted, dial
from sipd.daemon.telephone.screen import Screen
from sipd.daemon.telephone.settings import LineWanted
from sipd.daemon.telephone.tracing import Trace
from sipd.media.endpoint.settings import EndpointSettings
from sipd.observe.sniffing.files import SavedCapture
from sipd.rtp.wave import parse_wave
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Host, Network
from sipd.ua.listening import parse_listen

ALICE, BOB, CAROL, SERVER = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.100"
LISTEN = (parse_listen("udp:0.0.0.0:5060"),)
TO_BOB = f"sip:bob@{BOB}"


class Station:
    """A host with a desk on it, and what is on its screen."""

    def __init__(
        self,
        case: TelephoneCase,
        address: str,
        *,
        as_json: bool = False,
        saved: Path | None = None,
        shows_whole: bool = False,
        shows_secrets: bool = False,
    ) -> None:
        self.host: Host = case.network.host(address)
        case.stations.append(self)
        self.lines: list[str] = []
        self.complaints: list[str] = []
        self.arrows: list[str] = []
        self.screen = Screen(
            self.lines.append, self.complaints.append, as_json=as_json, seconds=case.network.clock.seconds
        )
        drawing = Screen(self.arrows.append, self.complaints.append, seconds=case.network.clock.seconds)
        self.trace = Trace(
            drawing,
            draws=True,
            shows_whole=shows_whole,
            saved=None if saved is None else SavedCapture(saved, size_octets=10**6),
            shows_secrets=shows_secrets,
        )
        self.desk = Desk(
            self.host,
            self.screen,
            observers=[self.trace],
            entropy=case.network.entropy,
            look_up=lambda name: "",
        )
        self.running: Deferred[int] = Deferred()

    def run(self, act: Callable[[Desk, Any], Coroutine[Any, Any, int]], wanted: object) -> Deferred[int]:
        """Begin a command."""
        self.running = Deferred.fromCoroutine(act(self.desk, wanted))
        return self.running

    def messages(self) -> list[str]:
        """Give what was drawn, without times and addresses: `> INVITE 1 sdp`."""
        found = []
        for arrow in self.arrows:
            words = arrow.split("|")[1]
            found.append(f"{'>' if words.endswith('>') else '<'} {words.strip('-<> ')}")
        return found

    def events(self) -> list[dict[str, Any]]:
        """Give the JSON objects that were written."""
        return [json.loads(line) for line in self.lines]


class TelephoneCase(SynchronousTestCase):
    """Has a network and two stations on it, which leave nothing."""

    def setUp(self) -> None:
        self.clock = SimulatedClock()
        self.network = Network(self.clock, seed=11)
        self.network.tells_refusals = True
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.stations: list[Station] = []
        self.alice, self.bob = Station(self, ALICE), Station(self, BOB)
        self.addCleanup(self.check_nothing_is_left)

    def check_nothing_is_left(self) -> None:
        """After some time there are no sockets and no timers."""
        self.clock.advance(300.0)
        for station in self.stations:
            self.assertEqual((station.host.ports, station.host.listeners), ({}, {}))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def line(self, **more: Any) -> LineWanted:
        """Give a line without reports on media."""
        return LineWanted(audio=EndpointSettings(rtcp_interval=0.0), **more)

    def answering(self, **more: Any) -> Deferred[int]:
        """Let Bob answer one call."""
        wanted = AnswerWanted(line=self.line(listen=LISTEN), is_once=more.pop("is_once", True), **more)
        running = self.bob.run(answer, wanted)
        self.clock.advance(0.1)
        return running

    def dialling(self, seconds: float = 30.0, **more: Any) -> Deferred[int]:
        """Let Alice call Bob, and time pass."""
        wanted = DialWanted(line=more.pop("line", self.line()), recipient=more.pop("recipient", TO_BOB), **more)
        running = self.alice.run(dial, wanted)
        self.clock.advance(seconds)
        return running

    def samples(self, name: str) -> Any:
        """Read what was recorded."""
        return parse_wave((self.directory / name).read_bytes()).samples()

    def end(self, station: Station) -> None:
        """End a command as Ctrl-C does."""
        station.running.cancel()
        self.clock.advance(10.0)
        self.failureResultOf(station.running, CancelledError)
