"""Tests of `sources`, `sinks` and `queues` of `sipd.media.endpoint`."""

from __future__ import annotations

from array import array
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError, SoundError
from sipd.media.endpoint.interfaces import IEndingSink, ISink, ISource
from sipd.media.endpoint.sinks import EchoPair, Loop, QueueSink, Tee
from sipd.media.endpoint.sources import FileSource, QueueSource, SilenceSource, ToneSource, load_source
from sipd.media.sounds import SoundLibrary
from sipd.rtp.tones import TonePattern, ToneStep
from sipd.rtp.wave import WaveFormat, little_endian
from tests.media.endpoint.support import Ear, EndpointTestCase

_TONE = TonePattern(steps=(ToneStep(frequencies=(440,), duration=1.0),))


def samples(*values: int) -> array[int]:
    """Give samples."""
    return array("h", values)


class SourceTests(SynchronousTestCase):
    """Sources without an endpoint."""

    def test_interfaces(self) -> None:
        """All are sources, or sinks."""
        for source in (FileSource(samples(1)), ToneSource(_TONE), SilenceSource(), QueueSource(), Loop()):
            self.assertTrue(verifyObject(ISource, source))
        for sink in (QueueSink(), Tee(), Loop(), EchoPair().left):
            self.assertTrue(verifyObject(ISink, sink))
        self.assertTrue(verifyObject(IEndingSink, QueueSink()))
        self.assertTrue(verifyObject(IEndingSink, Tee()))

    def test_samples(self) -> None:
        """Samples come in pieces, as often as wanted, without a gap in between."""
        source = FileSource(samples(1, 2, 3), times=3)
        pieces = [source.read(4) for _ in range(4)]
        self.assertEqual(pieces, [samples(1, 2, 3, 1), samples(2, 3, 1, 2), samples(3), None])
        endless = FileSource(samples(1, 2), times=None)
        self.assertEqual([endless.read(5), endless.read(5)], [samples(1, 2, 1, 2, 1), samples(2, 1, 2, 1, 2)])
        self.assertRaises(ValueError, FileSource, samples())
        self.assertRaises(ValueError, FileSource, samples(1), times=0)

    def test_tones_and_silence(self) -> None:
        """They last as long as was said."""
        for source in (ToneSource(_TONE, duration=0.03), SilenceSource(0.03)):
            sizes = [None if piece is None else len(piece) for piece in (source.read(160) for _ in range(3))]
            self.assertEqual(sizes, [160, 80, None])
        self.assertEqual(SilenceSource().read(3), samples(0, 0, 0))

    def test_files(self) -> None:
        """A WAVE file is loaded through the library."""
        library = SoundLibrary(in_thread=lambda function: maybeDeferred(function))
        path = Path(self.mktemp())
        data = little_endian(array("h", [8000] * 320)).tobytes()
        path.write_bytes(WaveFormat().header(len(data)) + data)
        source = self.successResultOf(load_source(library, path))
        piece = source.read(160)
        assert piece is not None
        self.assertApproximates(piece[0], 8000, 200)
        self.failureResultOf(load_source(library, "/nowhere.wav"), SoundError)
        self.failureResultOf(load_source(library, "tone:none:x"), SoundError)

    def test_queue_source(self) -> None:
        """Who gives too much waits until there is room; what waits is read before the end."""
        source = QueueSource(limit=0.02)
        self.successResultOf(source.put(samples(*[1] * 100)))
        waiting = source.put(samples(*[2] * 100))
        self.assertNoResult(waiting)
        self.assertEqual(source.backlog, 0.025)
        self.assertEqual(source.read(160), samples(*[1] * 100, *[2] * 60))
        self.successResultOf(waiting)
        cancelled = source.put([3] * 200)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        source.end()
        self.failureResultOf(source.put(samples(1)), InvalidStateError)
        self.assertEqual(source.read(160), samples(*[2] * 40, *[3] * 120))
        self.assertEqual(source.read(160), samples(*[3] * 80))
        self.assertIsNone(source.read(160))
        self.assertEqual(source.starved, 0)

    def test_queue_source_that_is_starved(self) -> None:
        """Nothing there is not the end, but is counted; what waits can be thrown away."""
        source = QueueSource()
        self.assertEqual(source.read(160), samples())
        self.assertEqual(source.starved, 1)
        waiting = source.put([1] * 9000)
        source.clear()
        self.successResultOf(waiting)
        self.assertEqual(source.read(160), samples())


class SinkTests(SynchronousTestCase):
    """Sinks without an endpoint."""

    def test_queue_sink(self) -> None:
        """Frames come in order; of too many the oldest are dropped and counted; then it ends."""
        sink = QueueSink(limit=2)
        got: list[int] = []

        async def listen() -> None:
            async for frame in sink:
                got.append(frame[0])

        for value in (1, 2, 3):
            sink.write(samples(value))
        self.assertEqual((len(sink), sink.dropped), (2, 1))
        listening = Deferred.fromCoroutine(listen())
        sink.write(samples(4))
        self.assertNoResult(listening)
        sink.end()
        self.successResultOf(listening)
        self.assertEqual(got, [2, 3, 4])

    def test_tee_and_pair(self) -> None:
        """A tee gives to all; of a pair each end reads what the other one wrote."""
        first, second = Ear(), QueueSink()
        tee = Tee(first, second)
        tee.write(samples(5))
        tee.end()
        self.assertEqual((first.samples, self.successResultOf(second.read())), (samples(5), samples(5)))
        self.failureResultOf(second.read(), InvalidStateError)
        pair = EchoPair()
        pair.left.write(samples(1, 2))
        pair.right.write(samples(3))
        self.assertEqual((pair.right.read(1), pair.right.read(1)), (samples(1), samples(2)))
        self.assertEqual((pair.left.read(160), pair.left.read(160)), (samples(3), samples()))

    def test_loop_is_bounded(self) -> None:
        """What is too much is dropped, the oldest first."""
        loop = Loop(limit=1)
        loop.write(samples(1))
        loop.write(samples(2))
        self.assertEqual((loop.read(160), loop.dropped), (samples(2), 1))


class ConnectedTests(EndpointTestCase):
    """Sources and sinks at endpoints."""

    def test_a_relay_of_two_calls(self) -> None:
        """Two calls are joined by a pair: each caller hears the other one."""
        alice, first = self.pair()
        second, bob = self.endpoint("192.0.2.3"), self.endpoint("192.0.2.4")
        self.agree(second, bob)
        pair = EchoPair()
        first.connect(pair.left, pair.left)
        second.connect(pair.right, pair.right)
        at_alice, at_bob = self.ear(alice), self.ear(bob)
        alice.play("tone:440", times=None)
        bob.play("tone:1000", times=None)
        self.run_for(1.0)
        self.assertTone(at_alice, 1000)
        self.assertTone(at_bob, 440)

    def test_a_coroutine_speaks(self) -> None:
        """A coroutine that gives sound is held back to the speed of the call."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        source = QueueSource(limit=0.1)
        given: list[float] = []

        async def speak() -> None:
            for number in range(20):
                await source.put(_TONE.samples(400 * number, 400))
                given.append(self.clock.seconds())
            source.end()

        alice.connect(source, None)
        speaking = Deferred.fromCoroutine(speak())
        self.run_for(0.7)
        self.assertTone(ear, 440)
        self.assertNoResult(speaking)
        self.run_for(0.6)
        self.successResultOf(speaking)
        self.assertApproximates(given[-1] - given[0], 0.9, 0.1)
        self.assertSilent(ear)

    def test_a_sink_that_is_replaced(self) -> None:
        """The sink before is told that nothing more comes."""
        _, bob = self.pair()
        sink = QueueSink()
        bob.connect(None, sink)
        self.run_for(0.1)
        bob.connect(None, None)
        self.assertGreater(len(sink), 0)
        for _ in range(len(sink)):
            self.successResultOf(sink.read())
        self.failureResultOf(sink.read(), InvalidStateError)

    def test_a_source_that_fails(self) -> None:
        """Its traceback is in the log, it is not asked again, and the endpoint goes on."""

        class Broken:
            def read(self, count: int) -> array[int] | None:
                raise ZeroDivisionError

        alice, bob = self.pair()
        alice.connect(Broken(), None)  # type: ignore[arg-type]
        self.run_for(0.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertGreater(bob.statistics.packets_received, 20)
        playing = alice.play(Broken())  # type: ignore[arg-type]
        self.run_for(0.1)
        self.failureResultOf(playing, ZeroDivisionError)

    def test_a_sink_that_fails(self) -> None:
        """The same: it hears nothing more, and the endpoint speaks on."""

        class Broken:
            def write(self, samples: array[int]) -> None:
                raise ZeroDivisionError

        alice, bob = self.pair()
        alice.connect(None, Broken())  # type: ignore[arg-type]
        self.run_for(0.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertGreater(bob.statistics.packets_received, 20)
