"""Media in another process: the same behaviour, and what happens when either process ends."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols.amp import Command

from sipd.errors import MediaEngineError
from sipd.media.engine import Engine
from sipd.media.reactor import ReactorEngine
from sipd.media.worker.commands import Adopt, Do, List
from sipd.media.worker.engine import PATIENCE, WorkerEngine
from tests.media import test_datagrams, test_looking_after, test_session
from tests.media.support import PumpedReactor, RelayTestCase, describe, place_of
from tests.media.wires import LocalWorker, WiredReactor

#: A step of the clock, which a float holds exactly, and the steps up to the last one before a worker is let go of.
_STEP = 1 / 64
_NEARLY_PATIENCE = [_STEP] * (round(PATIENCE / _STEP) - 1)


class WorkerTestCase(RelayTestCase):
    """Lets a worker forward, in the process of the test."""

    worker: LocalWorker

    def make_reactor(self) -> PumpedReactor:
        """See `RelayTestCase`."""
        return WiredReactor()

    def make_engine(self) -> Engine:
        """See `RelayTestCase`."""
        assert isinstance(self.reactor, WiredReactor)
        self.worker = LocalWorker(self.reactor, self.engine_settings)
        return self.worker.engine


class RelayingTests(test_datagrams.RelayingTests, WorkerTestCase):
    """See `tests.media.test_datagrams`."""


class SourceTests(test_datagrams.SourceTests, WorkerTestCase):
    """See `tests.media.test_datagrams`."""


class RtcpTests(test_datagrams.RtcpTests, WorkerTestCase):
    """See `tests.media.test_datagrams`."""


class MuxTests(test_datagrams.MuxTests, WorkerTestCase):
    """See `tests.media.test_datagrams`."""


class FloodTests(test_looking_after.FloodTests, WorkerTestCase):
    """See `tests.media.test_looking_after`."""


class KeepaliveTests(test_looking_after.KeepaliveTests, WorkerTestCase):
    """See `tests.media.test_looking_after`."""


class ReportsTests(test_looking_after.ReportsTests, WorkerTestCase):
    """See `tests.media.test_looking_after`."""


class AsymmetricTests(test_looking_after.AsymmetricTests, WorkerTestCase):
    """See `tests.media.test_looking_after`."""


class RtpSourceTests(test_looking_after.RtpSourceTests, WorkerTestCase):
    """See `tests.media.test_looking_after`."""


class NegotiationTests(test_session.NegotiationTests, WorkerTestCase):
    """See `tests.media.test_session`."""


class ForkTests(test_session.ForkTests, WorkerTestCase):
    """See `tests.media.test_session`."""


class FamilyTests(test_session.FamilyTests, WorkerTestCase):
    """See `tests.media.test_session`."""


class SwitchTests(test_datagrams.CallTestCase):
    """A call whose media another engine takes over."""

    def make_reactor(self) -> PumpedReactor:
        """See `RelayTestCase`."""
        return WiredReactor()

    def setUp(self) -> None:
        super().setUp()
        assert isinstance(self.reactor, WiredReactor)
        self.worker = LocalWorker(self.reactor)
        self.addCleanup(self.reactor.settle)
        self.addCleanup(self.worker.engine.close)

    def move(self, engine: Engine) -> None:
        """Let that one go on, with datagrams waiting in the sockets."""
        sent = [b"%d" % number for number in range(20)]
        for data in sent[:10]:
            self.alice.send_unseen(data, self.to_bob)
        self.session.move(engine)
        for data in sent[10:]:
            self.alice.send_unseen(data, self.to_bob)
        self.reactor.read_all()
        self.assertEqual(self.bob.received(), sent)
        self.check_flows()

    def test_nothing_is_lost(self) -> None:
        """There and back, before and after the sources are settled, each datagram arrives once and in order."""
        here, there = self.session.engine, self.worker.engine
        for _ in range(2):
            self.move(there)
            self.assertEqual(len(self.worker.streams), 2)
            self.move(here)
            self.assertEqual(len(self.worker.streams), 0)
            self.settle()
        packets = {entry.leg: entry.packets for entry in self.statistics()}
        self.assertEqual(packets, {"a": 90, "b1": 10})

    def test_sources_go_along(self) -> None:
        """A source that one engine has latched on to is not up for anybody with the next one."""
        self.settle()
        foreign = self.party()
        for engine in (self.worker.engine, self.session.engine):
            self.session.move(engine)
            self.reactor.settle()
            foreign.send(b"spoofed", self.to_bob)
            self.assertEqual((self.bob.received(), foreign.received()), ([], []))
            self.check_flows()

    def test_source_found_by_the_worker(self) -> None:
        """What the worker has latched on to is known here when it dies; the call goes on without a gap."""
        self.session.move(self.worker.engine)
        self.settle()
        self.worker.kill()
        self.assertEqual(self.worker.lost, [self.worker.engine])
        foreign = self.party()
        self.session.move(ReactorEngine(self.reactor, pause=0))
        foreign.send(b"spoofed", self.to_bob)
        self.assertEqual(self.bob.received(), [])
        self.check_flows()
        self.assertEqual({entry.engine for entry in self.statistics()}, {"reactor"})

    def test_dead_worker_takes_nothing(self) -> None:
        """A call stays where it is if the other engine cannot take it."""
        self.worker.kill()
        with self.assertRaises(MediaEngineError):
            self.session.move(self.worker.engine)
        self.check_flows()

    def test_worker_that_hangs(self) -> None:
        """One that answers nothing is let go of; who waits for its counters waits no longer than that."""
        self.session.move(self.worker.engine)
        self.settle()
        self.worker.hang()
        closing = self.session.close()
        self.reactor.pump(_NEARLY_PATIENCE)
        self.assertNoResult(closing)
        self.assertEqual(self.worker.lost, [])
        self.reactor.advance(_STEP)
        self.assertEqual(self.worker.lost, [self.worker.engine])
        self.assertTrue(self.worker.engine.is_stuck)
        self.assertEqual([entry.leg for entry in self.successResultOf(closing)], ["a", "b1"])

    def test_controller_that_stood_still(self) -> None:
        """Who could not look for an hour looks whether there is an answer before it lets go of anybody."""
        self.session.move(self.worker.engine)
        assert isinstance(self.reactor, WiredReactor)
        for before in (0.0, PATIENCE - 1.5):
            asked = self.session.refresh()
            self.reactor.pump([0.5] * round(before / 0.5))
            self.reactor.advance(3600.0)
            self.reactor.settle()
            self.successResultOf(asked)
        self.assertEqual(self.worker.lost, [])
        self.session.close()
        self.reactor.settle()

    def test_worker_that_is_slow(self) -> None:
        """One that answers in time, and has then nothing to answer, is not let go of."""
        self.session.move(self.worker.engine)
        assert isinstance(self.reactor, WiredReactor)
        for _ in range(3):
            asked = self.session.refresh()
            self.reactor.pump(_NEARLY_PATIENCE)
            self.reactor.settle()
            self.successResultOf(asked)
        self.reactor.pump([1.0] * round(2 * PATIENCE))
        self.assertEqual(self.worker.lost, [])
        self.session.close()
        self.reactor.settle()


class LifeTests(WorkerTestCase):
    """A worker whose controller ends."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.party(), self.party()
        offered = self.offer("a", "b1", describe(("audio", self.alice.port)))
        answered = self.answer("b1", "a", describe(("audio", self.bob.port)))
        self.to_bob, self.to_alice = place_of(answered), place_of(offered)

    def crash(self) -> None:
        """End the controller as a crash does: without a word."""
        assert isinstance(self.reactor, WiredReactor)
        self.reactor.wires[0].cut()

    def test_calls_go_on(self) -> None:
        """Without its controller a worker goes on, as long as somebody talks; then it ends."""
        self.crash()
        for _ in range(10):
            self.reactor.advance(10.0)
            self.alice.send(b"hello", self.to_bob)
            self.bob.expect(b"hello")
        self.assertFalse(self.worker.is_stopped)
        self.reactor.pump([10.0] * 4)
        self.assertTrue(self.worker.is_stopped)
        self.assertEqual(len(self.worker.streams), 0)

    def test_not_for_ever(self) -> None:
        """However long they talk: an orphan has a time limit."""
        self.crash()
        for _ in range(31):
            self.alice.send(b"hello", self.to_bob)
            self.reactor.advance(10.0)
        self.assertTrue(self.worker.is_stopped)

    def test_another_controller(self) -> None:
        """Whoever comes later finds the streams, and takes them over with their sockets and sources."""
        self.alice.send(b"hello", self.to_bob)
        self.bob.expect(b"hello")
        self.crash()
        engine = self.worker.connect()
        listed = self.ask(engine, List, after=0)["streams"]
        self.assertEqual([(number, peer) for number, _, peer in listed], [(1, 2), (2, 1)])
        self.assertEqual({state["leg"] for _, state, _ in listed}, {"a", "b1"})
        self.assertEqual({state["call_id"] for _, state, _ in listed}, {"call"})
        adopted = self.ask(engine, Adopt, number=1)
        self.assertEqual(adopted["state"]["latch"][1], [self.alice.host, self.alice.port])
        with socket.socket(fileno=adopted["rtp"]) as rtp, socket.socket(fileno=adopted["rtcp"]) as rtcp:
            self.assertEqual(rtp.getsockname()[1] + 1, rtcp.getsockname()[1])
        self.reactor.advance(400.0)
        self.assertFalse(self.worker.is_stopped)
        results = self.ask(engine, Do, operations=[["close", 1], ["close", 2], ["close", 3]])["results"]
        self.assertEqual([number for number, *_ in results], [1, 2])
        engine.close()
        self.reactor.settle()
        self.assertTrue(self.worker.is_stopped)

    def test_nothing_to_adopt(self) -> None:
        """A stream that is not there cannot be taken over."""
        reasons: list[str] = []
        asked: Deferred[object] = self.worker.engine.callRemote(Adopt, number=7)
        asked.addErrback(lambda failure: reasons.append(str(failure.trap(MediaEngineError) and failure.value)))
        self.reactor.settle()
        self.assertEqual(reasons, ["no stream 7"])

    def ask(self, engine: WorkerEngine, command: type[Command], **arguments: object) -> dict[str, Any]:
        """Ask the worker for something."""
        asked: Deferred[dict[str, Any]] = engine.callRemote(command, **arguments)
        self.reactor.settle()
        return self.successResultOf(asked)
