"""Whatever the network does to datagrams: who watches is told in order and once, both legs end, and nothing is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from xml.etree import ElementTree

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Link
from sipd.testing.network import Network
from sipd.testing.peer import Peer
from sipd.testing.stack import SimulatedServer
from sipd.watching.service import WatchingSettings
from sipd.watching.subscriptions import SubscriptionSettings
from tests.watching.watchers import Watched, Watcher

SERVER, USERS = "192.0.2.1", {"alice": "a", "bob": "b", "carol": "c"}
#: Seconds in which something happens, and in which everything comes to rest.
BUSY, REST = 200.0, 400.0


@implementer(ILogObserver)
class Story:
    """What the log says of subscriptions, and of bugs."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.bugs: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Take note of an event."""
        if "log_failure" in event:
            self.bugs.append(event["log_failure"].getTraceback())
        elif event.get("log_namespace") == "sipd.watching.subscriptions.Subscriptions":
            self.ends[event["call_id"]] += 1


class Scenario:
    """Alice watches Bob, whose phone tells, whose calls are seen, and Carol, who publishes. All by chance.

    Args:
        seed: of everything.

    Attributes:
        problems: what does not hold.
    """

    def __init__(self, seed: int) -> None:
        self.problems: list[str] = []
        self._random = random = Random(seed)
        self._clock = SimulatedClock()
        self._network = Network(self._clock, seed)
        self._server = SimulatedServer(
            self._network.host(SERVER),
            USERS,
            watching=WatchingSettings(
                subscriptions=SubscriptionSettings(notify_interval=random.choice((0.0, 1.0))),
            ),
        )
        self._alice, self._bob, self._carol = (
            self._server.peer(self._network.host(f"192.0.2.{2 + number}"), user) for number, user in enumerate(USERS)
        )
        for peer in (self._alice, self._bob, self._carol):
            peer.register(10_000)
            self._clock.advance(0.5)
        self._bob.auto_answer(after=random.uniform(0.2, 5.0))
        self._target = Watched(self._bob)
        self._target.answers = self._answer
        self._watchers: list[Watcher] = []
        self._tag = ""
        self._told = 0
        self._timers: list[IDelayedCall] = []

    def run(self) -> Scenario:
        """Let it happen."""
        story = Story()
        globalLogPublisher.addObserver(story)
        try:
            self._run(story)
        finally:
            globalLogPublisher.removeObserver(story)
        return self

    def _run(self, story: Story) -> None:
        random, clock = self._random, self._clock
        link = Link(
            loss=random.choice((0.0, 0.1, 0.25)),
            jitter=random.choice((0.0, 0.3)),
            duplication=random.choice((0.0, 0.1)),
            reordering=random.choice((0.0, 0.1)),
        )
        for peer in (self._alice, self._bob, self._carol):
            self._network.set_links(SERVER, peer.exchanges.local[0], link)
        actions = (self._watch, self._notify, self._notify, self._refresh, self._leave, self._forget, self._call)
        for _ in range(40):
            clock.callLater(random.uniform(0.0, BUSY), random.choice((*actions, self._publish, self._end)))
        clock.advance(BUSY + REST)
        self._check_lamps()
        clock.advance(10_000.0)
        self._check(story)

    # --- what happens ---------------------------------------------------------------------------------------

    def _watch(self) -> None:
        package, user = self._random.choice(
            (("x-lunch", "bob"), ("x-lunch", "bob"), ("dialog", "bob"), ("presence", "carol"))
        )
        expires = self._random.choice((0, 60, 300, 3600))
        self._watchers.append(Watcher(self._alice, user, f"{package};id={len(self._watchers)}", expires))

    def _answer(self, request: Request, tag: str) -> Response | None:
        status = self._random.choice((200, 200, 200, 200, 500, 481 if request.to.tag else 403, 0))
        if not status:
            return None
        if request.headers.get("Expires") == "0" and status == 200 and request.to.tag is not None:
            self._clock.callLater(0.0, self._tell, self._target.subscribes.index(request), "terminated;reason=timeout")
        return self._target.accept(request, tag) if status == 200 else builders.response(request, status, to_tag=tag)

    def _notify(self) -> None:
        if self._target.dialogs:
            self._tell(self._random.randrange(len(self._target.dialogs)), "active;expires=300")

    def _end(self) -> None:
        if self._target.dialogs:
            self._tell(self._random.randrange(len(self._target.dialogs)), "terminated;reason=noresource")

    def _tell(self, number: int, state: str) -> None:
        self._told += 1
        dialog = self._target.dialogs[min(number, len(self._target.dialogs) - 1)]
        event = next(one.headers.get("Event") or "" for one in self._target.subscribes if one.call_id == dialog.call_id)
        headers = [("Event", event), ("Subscription-State", state), ("Content-Type", "application/x-state")]
        dialog.request("NOTIFY", headers, b"%d" % self._told)

    def _established(self) -> Watcher | None:
        watchers = [one for one in self._watchers if one.dialog is not None]
        return self._random.choice(watchers) if watchers else None

    def _refresh(self) -> None:
        watcher = self._established()
        if watcher is not None:
            watcher.refresh(self._random.choice((60, 3600)))

    def _leave(self) -> None:
        watcher = self._established()
        if watcher is not None:
            watcher.refresh(0)

    def _forget(self) -> None:
        watcher = self._established()
        if watcher is not None:
            watcher.answer = self._random.choice((481, 500, None))

    def _call(self) -> None:
        call = self._carol.call("bob")
        call.later(self._random.uniform(1.0, 20.0), call.hang_up)

    def _publish(self) -> None:
        peer: Peer = self._carol
        self._told += 1
        request = builders.request(
            "PUBLISH", peer.aor, caller=peer.aor, callee=peer.aor, from_tag=new_tag(peer.entropy),
            call_id=new_call_id(peer.entropy), via=None, contact=None,
            headers=[("Event", "presence"), ("Expires", "300")], body=b"%d" % self._told,
            content_type="application/pidf+xml",
        )  # fmt: skip
        peer.ask(request)

    # --- what holds -----------------------------------------------------------------------------------------

    def _check_lamps(self) -> None:
        """When all calls are over, whoever still watches knows it."""
        if len(self._server.b2bua):
            self.problems.append("a call goes on")
        for watcher in self._watchers:
            if watcher.event.startswith("dialog") and watcher.states and "terminated" not in watcher.states[-1]:
                if self._server.agent.find_dialog(_key(watcher)) is None:
                    continue
                states = {element.text for element in ElementTree.fromstring(watcher.bodies[-1]).iter() if element.text}
                if states - {"terminated"}:
                    self.problems.append(f"a lamp is {states}")

    def _check(self, story: Story) -> None:
        self.problems += story.bugs
        self.problems += self._server.leftovers()
        if self._server.agent._dialogs:
            self.problems.append(f"dialogs are left: {self._server.agent._dialogs}")
        for watcher in self._watchers:
            if watcher.status and story.ends[watcher.call_id] != 1:
                self.problems.append(f"{story.ends[watcher.call_id]} lines about {watcher.event}")
            if any("terminated" in state for state in watcher.states[:-1]):
                self.problems.append(f"{watcher.event} was told something after its end: {watcher.states}")
            numbers = [int(body) for body in watcher.bodies if body.isdigit()]
            if watcher.event.startswith("x-lunch") and numbers != sorted(set(numbers)):
                self.problems.append(f"{watcher.event} was told {numbers}")


def _key(watcher: Watcher) -> tuple[str, str, str]:
    assert watcher.dialog is not None
    return watcher.call_id, watcher.dialog.remote.partition("tag=")[2], watcher.tag


class SubscriptionSimulationTests(SynchronousTestCase):
    """A hundred seeds."""

    def check(self, seeds: Iterable[int]) -> None:
        """Run seeds."""
        for seed in seeds:
            scenario = Scenario(seed).run()
            if scenario.problems:
                self.fail(f"seed {seed}: " + "\n".join(scenario.problems))

    def test_seeds_0_to_49(self) -> None:
        """Told in order and once, a line each, and nothing is left: seeds 0 to 49."""
        self.check(range(50))

    def test_seeds_50_to_99(self) -> None:
        """Told in order and once, a line each, and nothing is left: seeds 50 to 99."""
        self.check(range(50, 100))
