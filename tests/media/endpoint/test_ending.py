"""How an endpoint ends: what is closed, who is told, and that nothing is left."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sipd.errors import InvalidStateError
from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.settings import EndpointSettings, Security
from sipd.media.endpoint.sinks import QueueSink
from sipd.rtp.rtcp import Goodbye, parse_compound
from sipd.testing.links import Fate, Link
from tests.media.endpoint.support import ALICE, BOB, EndpointTestCase, Outcome


def _close(alice: AudioEndpoint, *_: object) -> None:
    """Close an endpoint, whatever one is told."""
    alice.close()


def _closing(close: Callable[..., None]) -> Any:
    """Give a source and sink that closes."""
    return SimpleNamespace(read=close, write=close)


#: Who closes an endpoint when it tells him something.
_CLOSED_WHEN: dict[str, Callable[[AudioEndpoint, Callable[..., None]], object]] = {
    "played": lambda alice, close: alice.play("silence:0.1").addCallback(close),
    "digits sent": lambda alice, close: alice.send_digits("1").addCallback(close),
    "sound heard": lambda alice, close: alice.connect(None, _closing(close)),
    "sound wanted": lambda alice, close: alice.connect(_closing(close), None),
    "digit": lambda alice, close: alice.on_digit.append(close),
    "packet": lambda alice, close: setattr(alice, "on_rtp", close),
    "packet read": lambda alice, close: alice.read_rtp().addCallback(close),
    "first packet": lambda alice, close: alice.wait_for_media().addCallback(close),
}


class EndingTests(EndpointTestCase):
    """Alice is closed."""

    def test_nothing_is_left(self) -> None:
        """No timer, no port, nobody on the pacer; and a second time it is done at once."""
        alice, bob = self.pair()
        alice.play("tone:440", times=None)
        alice.collect(4, timeout=60.0)
        alice.send_digits("1,2,3")
        self.run_for(0.5)
        self.successResultOf(alice.close())
        self.successResultOf(alice.close())
        self.successResultOf(bob.close())
        self.assertEqual(len(self.pacer), 0)
        self.assertEqual(self.hosts[ALICE].ports, {})
        self.clock.advance(0.02)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_everybody_is_told(self) -> None:
        """What is played, sent, collected, read and waited for ends."""
        alice = self.endpoint(ALICE)
        playing = alice.play("tone:440", times=None)
        sending = alice.send_digits("123")
        collecting = alice.collect(4, timeout=60.0)
        waiting, reading, reports = alice.wait_for_media(), alice.read_rtp(), alice.read_rtcp()
        sink = QueueSink()
        alice.connect(None, sink)
        alice.close()
        self.successResultOf(playing)
        self.successResultOf(sending)
        self.assertEqual(self.successResultOf(collecting), "")
        for deferred in (waiting, reading, reports, sink.read(), alice.read_rtp(), alice.play("silence:1")):
            self.failureResultOf(deferred, InvalidStateError)
        self.assertRaises(InvalidStateError, alice.make_offer)
        self.assertRaises(InvalidStateError, alice.record, "nowhere.wav")
        self.assertEqual(alice.statistics.packets_sent, 0)

    def test_closed_from_within(self) -> None:
        """It may be closed by whoever it tells something, and sends nothing after its goodbye."""
        settings = EndpointSettings(security=Security.OFFERED, codecs=("g722",), detect_inband=True)
        for when, arrange in _CLOSED_WHEN.items():
            with self.subTest(when):
                alice, bob = self.pair(settings)
                bob.send_digits("1")
                bob.play("tone:697+1209", times=None)
                arrange(alice, partial(_close, alice))
                self.run_for(1.0)
                self.assertEqual(self.flushLoggedErrors(), [])
                self.assertFalse(alice.is_sending)
                sent = [event for event in self.network.log if event.source[0] == ALICE and event.fate is Fate.SENT]
                self.assertEqual(sent[-1].source[1] % 2, 1)
                self.finish()

    def test_played_from_within(self) -> None:
        """Who is told that a sound gave way to another one may play a third one, which is heard."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        third: list[Outcome] = []
        alice.play("tone:440", times=None).addCallback(
            lambda _: third.append(self.outcome(alice.play("tone:1000", times=None)))
        )
        self.run_for(0.2)
        second = self.outcome(alice.play("tone:700", times=None))
        self.run_for(0.6)
        self.assertTrue(second.is_there)
        self.assertFalse(third[0].is_there)
        self.assertTone(ear, 1000)

    def test_statistics_stay(self) -> None:
        """What was counted can be asked for afterwards."""
        alice, bob = self.pair(EndpointSettings(security=Security.OFFERED))
        self.network.set_link(ALICE, BOB, Link(delay=0.01, jitter=0.02, reordering=0.2, holdback=1.0, loss=0.1))
        self.run_for(10.0)
        before = bob.statistics
        self.assertGreater(before.late, 0)
        self.successResultOf(bob.close())
        after = bob.statistics
        self.assertEqual(
            (after.packets_received, after.late, after.lost, after.is_secure, after.codec, after.remote),
            (before.packets_received, before.late, before.lost, True, "pcmu/8000", alice.local),
        )

    def test_goodbye(self) -> None:
        """The peer gets a report and a BYE (RFC 3550 section 6.3.7), unless there is no RTCP."""
        for interval, expected in ((5.0, 1), (0.0, 0)):
            with self.subTest(interval):
                alice, _ = self.pair(EndpointSettings(rtcp_interval=interval))
                self.run_for(1.0)
                before = len(self.network.log)
                alice.close()
                sent = [
                    parse_compound(event.data)
                    for event in self.network.log[before:]
                    if event.fate is Fate.SENT and event.source[1] % 2
                ]
                self.assertEqual(len(sent), expected)
                if sent:
                    self.assertEqual(type(sent[0][-1]), Goodbye)
                self.finish()

    def test_recordings_are_completed(self) -> None:
        """The end waits until the file is there."""
        alice, _ = self.pair()
        path = Path(self.mktemp()) / "call.wav"
        alice.record(path)
        self.run_for(1.0)
        self.writer.is_stuck = True
        closing = alice.close()
        self.assertNoResult(closing)
        self.assertFalse(path.exists())
        self.writer.is_stuck = False
        self.writer.work()
        self.successResultOf(closing)
        self.assertTrue(path.exists())

    def test_is_forgotten(self) -> None:
        """A closed endpoint that nobody refers to is gone, without the garbage collector's help."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        alice, bob = self.pair(EndpointSettings(codecs=("pcma",)))
        alice.play("tone:440", times=None)
        digits: list[str] = []
        alice.on_digit.append(digits.append)
        self.ear(alice)
        self.run_for(0.5)
        bob.send_digits("1")
        self.run_for(0.5)
        self.agree(bob, alice)
        alice.close()
        bob.close()
        self.run_for(1.0)
        watched = [weakref.ref(alice), weakref.ref(bob)]
        self.endpoints.clear()
        del alice, bob
        self.assertEqual([each() for each in watched], [None, None])
        self.assertEqual(self.hosts[BOB].ports, {})
