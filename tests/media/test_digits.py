"""Telephone events in a session, with each engine: heard, taken out, sent, and under the right number."""

from __future__ import annotations

import struct
from typing import NamedTuple

from zope.interface.verify import verifyObject

from sipd.interfaces import CryptoPolicy, IMediaSession, MediaPolicy
from sipd.media.bypass import Bypass
from sipd.media.events import QUEUE_LIMIT
from sipd.media.session import RelaySession
from sipd.rtp.dtmf import DigitReceiver, TelephoneEvent
from sipd.rtp.packet import parse_packet
from sipd.sdp.description import SessionDescription
from tests.media import test_kernel_engine, test_session_crypto
from tests.media.support import Party, PumpedReactor, RelayTestCase, describe, place_of
from tests.media.wires import LocalWorker, WiredReactor

_HEADER = struct.Struct("!BBHII")
_KEYS = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"


def audio(sequence: int, *, ssrc: int = 7) -> bytes:
    """Make a packet of sound."""
    return _HEADER.pack(0x80, 0, sequence, 160 * sequence, ssrc) + bytes(160)


def event(sequence: int, digit: str, timestamp: int, count: int = 1, *, number: int = 101, ssrc: int = 7) -> bytes:
    """Make a packet of a telephone event, `count` intervals after it began; the third is the end."""
    payload = TelephoneEvent.of_digit(digit, duration=160 * count, is_end=count > 2)
    return _HEADER.pack(0x80, number, sequence, timestamp, ssrc) + payload.to_bytes()


class Seen(NamedTuple):
    """What is to be seen of a packet."""

    sequence: int
    timestamp: int
    second_octet: int


def seen(packets: list[bytes]) -> list[Seen]:
    """Look at packets."""
    return [
        Seen(sequence, timestamp, second) for _, second, sequence, timestamp, _ in map(_HEADER.unpack_from, packets)
    ]


def digits_in(packets: list[bytes], number: int = 101) -> str:
    """Give the digits that a phone would hear."""
    receiver = DigitReceiver(number)
    return "".join(receiver.feed(parse_packet(each)) or "" for each in packets)


class DigitCase(RelayTestCase):
    """Alice and Bob, who know telephone events by these numbers."""

    alice_number, bob_number = 101, 101

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.party(), self.party()
        self.connect()
        self.heard: list[tuple[str, str]] = []
        self.session.on_digit = lambda leg, digit: self.heard.append((leg, digit))

    def connect(self) -> None:
        """Negotiate."""
        self.offered = self.offer("a", "b1", self.describe(self.alice, self.alice_number))
        self.answered = self.answer("b1", "a", self.describe(self.bob, self.bob_number))
        self.to_alice, self.to_bob = place_of(self.offered), place_of(self.answered)

    def describe(self, party: Party, number: int, direction: str = "sendrecv") -> SessionDescription:
        """Describe a party's audio."""
        return describe(
            f"m=audio {party.port} RTP/AVP 0 {number}",
            extra=(f"a=rtpmap:{number} telephone-event/8000", f"a={direction}"),
        )

    def say(self, *packets: bytes) -> list[bytes]:
        """Let Alice send; give what Bob gets."""
        for packet in packets:
            self.alice.send(packet, self.to_bob)
        self.reactor.read_all()
        self.reactor.settle()
        return self.bob.received()

    def beats(self, count: int) -> list[bytes]:
        """Let time pass; give what Bob gets."""
        for _ in range(count):
            self.reactor.advance(0.02)
        return self.bob.received()

    def settle(self) -> None:
        """Let nothing but signalling change where the media comes from; the kernel may take it from here."""
        self.bob.send(audio(1, ssrc=8), self.to_alice)
        self.alice.expect(audio(1, ssrc=8))
        self.say(audio(1))
        self.reactor.advance(6.0)
        self.bob.send(audio(2, ssrc=8), self.to_alice)
        self.alice.expect(audio(2, ssrc=8))
        self.say(audio(2), audio(3))


class HearingTests(DigitCase):
    """Events that a leg sends."""

    def test_once(self) -> None:
        """A digit is heard once, with whatever of its packets comes first, and all of them pass as they are."""
        self.settle()
        sent = [event(4 + count, "5", 1000, count + 1) for count in range(5)]
        self.assertEqual(self.say(*sent), sent)
        self.assertEqual(self.say(event(9, "#", 3000, 3)), [event(9, "#", 3000, 3)])
        self.assertEqual(self.heard, [("a", "5"), ("a", "#")])

    def test_between_sound(self) -> None:
        """Sound before, between and after changes nothing; the same key pressed again is another digit."""
        self.say(audio(1), event(2, "1", 320), audio(3), event(4, "1", 320, 3), audio(5), event(6, "1", 960))
        self.assertEqual(self.heard, [("a", "1"), ("a", "1")])

    def test_new_terms(self) -> None:
        """A re-INVITE in the middle of an event does not make two of it."""
        self.say(event(1, "1", 320))
        self.connect()
        self.say(event(2, "1", 320, 3))
        self.assertEqual(self.heard, [("a", "1")])

    def test_explanation(self) -> None:
        """The explanation says once of each leg that it sends events, and never which."""
        self.say(event(1, "1", 320), event(2, "2", 960))
        self.bob.send(event(1, "3", 320), self.to_alice)
        self.reactor.read_all()
        self.assertEqual(self.kinds("dtmf"), ["a sends telephone events", "b1 sends telephone events"])
        self.assertEqual(self.kinds("digit"), [])
        self.assertEqual(self.session.digit_counts, {"a": 2, "b1": 1})
        self.assertEqual(self.heard, [("a", "1"), ("a", "2"), ("b1", "3")])

    def test_nobody_listens(self) -> None:
        """Nobody has to hear them."""
        self.session.on_digit = None
        self.say(event(1, "1", 320))
        self.assertEqual(self.session.digit_counts, {"a": 1})

    def test_rubbish(self) -> None:
        """What is too short for an event passes, and is none; neither is an event that is no digit."""
        short = _HEADER.pack(0x80, 101, 1, 320, 7) + b"\1"
        flash = _HEADER.pack(0x80, 101, 2, 640, 7) + b"\x10\0\0\xa0"
        self.assertEqual(self.say(short, flash), [short, flash])
        self.assertEqual(self.heard, [])

    def test_flood(self) -> None:
        """Of more than anybody can press in a second 50 are heard; all of them pass."""
        sent = [event(number, "1", 320 * number) for number in range(1, 101)]
        self.assertEqual(self.say(*sent), sent)
        self.assertEqual(len(self.heard), 50)
        self.reactor.advance(1.5)
        self.say(event(101, "2", 50000))
        self.assertEqual(self.heard[50:], [("a", "2")])

    def test_payload_type_of_sound(self) -> None:
        """Events do not hide in which codec the party talks."""
        self.say(audio(1), event(2, "1", 320))
        self.assertEqual(self.statistics()[0].payload_type, 0)

    def test_whoever_hears_ends_the_call(self) -> None:
        """A session that is closed by who hears a digit sends nothing more."""
        self.session.on_digit = lambda leg, digit: self.session.close()
        self.say(event(1, "1", 320))
        self.assertEqual(len(self.relay), 0)


class TakingTests(DigitCase):
    """Events that do not pass."""

    def test_taken(self) -> None:
        """They are heard and do not pass; in the numbers there is no gap, and the other way nothing changes."""
        self.settle()
        self.session.take_events("a")
        got = self.say(audio(4), event(5, "1", 800), event(6, "1", 800, 3), audio(7), event(8, "2", 1200), audio(9))
        self.assertEqual([one.sequence for one in seen(got)], [4, 5, 6])
        self.assertEqual(got[1][4:], audio(7)[4:])
        self.assertEqual(self.heard, [("a", "1"), ("a", "2")])
        self.bob.send(event(3, "3", 320), self.to_alice)
        self.alice.expect(event(3, "3", 320))

    def test_passing_again(self) -> None:
        """When they pass again the numbers stay shifted."""
        self.session.take_events("a")
        self.say(audio(1), event(2, "1", 320), audio(3))
        self.session.pass_events("a")
        self.session.pass_events("nobody")
        got = self.say(event(4, "2", 800), audio(5))
        self.assertEqual([one.sequence for one in seen(got)], [3, 4])
        self.assertEqual(digits_in(got), "2")

    def test_before_the_leg_is_known(self) -> None:
        """A leg whose events are to be taken may come later, and may come to talk with another one."""
        self.session.take_events("c1")
        carol = self.party()
        offered = self.offer("c1", "a", self.describe(carol, 101))
        self.answer("a", "c1", self.describe(self.alice, 101))
        self.assertNotEqual(place_of(offered), self.to_alice)
        carol.send(event(1, "1", 320), place_of(self.answer("a", "c1", self.describe(self.alice, 101))))
        self.reactor.read_all()
        self.assertEqual((self.alice.received(), self.heard), ([], [("c1", "1")]))


class SendingTests(DigitCase):
    """Events that are sent from here."""

    def test_in_the_stream(self) -> None:
        """An event is in the stream of the other leg: its source, its next numbers, a time of its own."""
        self.settle()
        self.say(audio(4))
        self.assertTrue(self.session.send_digit("b1", "5"))
        self.say(audio(5))  # the first that this engine sees, if it has not seen the others
        got = self.beats(1)
        for number in range(6, 12):
            self.alice.send(audio(number), self.to_bob)
            got += self.beats(1)
        got += self.say(audio(12), audio(13))
        events, sound = got[:7], got[7:]
        self.assertEqual([one.second_octet for one in seen(events)], [0x80 | 101] + [101] * 6)
        self.assertEqual(len({one.timestamp for one in seen(events)}), 1)
        self.assertGreaterEqual(seen(events)[0].timestamp, 160 * 5)
        self.assertLessEqual(seen(events)[0].timestamp, 160 * 6)
        self.assertEqual([one.sequence for one in seen(got)], list(range(6, 15)))
        said = [TelephoneEvent.parse(each[12:]) for each in events]
        self.assertEqual([one.duration for one in said], [160, 320, 480, 640, 800, 800, 800])
        self.assertEqual([one.is_end for one in said], [False] * 4 + [True] * 3)
        self.assertEqual({one.digit for one in said}, {"5"})
        self.assertEqual({each[8:12] for each in got}, {audio(1)[8:12]})
        self.assertEqual([each[4:] for each in sound], [audio(12)[4:], audio(13)[4:]])

    def test_before_any_media(self) -> None:
        """Where nothing has come for 100 ms the event has a source of its own; what comes then is another one."""
        self.assertTrue(self.session.send_digit("b1", "#", 0.04))
        self.assertEqual(self.beats(4), [])
        got = self.beats(6)
        self.assertEqual((digits_in(got), len(got)), ("#", 4))
        first = seen(got)[0].sequence
        self.assertEqual([one.sequence for one in seen(got)], [first + place for place in range(4)])
        self.assertEqual(self.say(audio(1)), [audio(1)])

    def test_queue(self) -> None:
        """Several are sent in order, with pauses in which the other leg is heard; beyond the bound they are refused."""
        self.say(audio(1))
        digits = "1123456789*0#ABCD"
        for digit in digits:
            self.assertTrue(self.session.send_digit("b1", digit))
        for _ in range(QUEUE_LIMIT - len(digits)):
            self.assertTrue(self.session.send_digit("b1", "7"))
        self.assertFalse(self.session.send_digit("b1", "8"))
        self.assertRaises(ValueError, self.session.send_digit, "b1", "E")
        got: list[bytes] = []
        for number in range(2, 500):
            self.alice.send(audio(number), self.to_bob)
            got += self.beats(1)
        self.assertEqual(digits_in(got), digits + "7" * (QUEUE_LIMIT - len(digits)))
        numbers = [one.sequence for one in seen(got)]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
        times = [one.timestamp for one in seen(got) if one.second_octet & 0x7F == 101]
        self.assertEqual(times, sorted(times))
        self.assertEqual(len(set(times)), QUEUE_LIMIT)
        pacer = self.relay._settings.pacer
        assert pacer is not None
        self.assertEqual(len(pacer), 0)

    def test_long(self) -> None:
        """An event is as long as its field can say, at most, and no shorter than two packets."""
        self.say(audio(1))
        self.session.send_digit("b1", "1", 60.0)
        self.session.send_digit("b1", "2", 0.0)
        got = [packet for _ in range(9) for packet in self.beats(50)]
        durations = [(said.digit, said.duration) for said in (TelephoneEvent.parse(each[12:]) for each in got)]
        self.assertEqual(max(durations), ("2", 320))
        self.assertEqual(max(duration for digit, duration in durations if digit == "1"), 409 * 160)

    def test_both_ways(self) -> None:
        """What is taken out and what is put in go together: in the numbers there is still no gap."""
        self.session.take_events("a")
        got = self.say(audio(1))
        self.session.send_digit("b1", "9", 0.04)
        got += self.beats(6) + self.say(event(2, "1", 480), audio(3), event(4, "1", 480, 3), audio(5))
        self.assertEqual([one.sequence for one in seen(got)], list(range(1, 8)))
        self.assertEqual((digits_in(got), self.heard), ("9", [("a", "1")]))

    def test_to_nobody(self) -> None:
        """Who is not there, holds, or wants no events is sent none."""
        self.assertFalse(self.session.send_digit("c1", "1"))
        self.offer("a", "b1", describe(("audio", self.alice.port)))
        self.answer("b1", "a", describe(("audio", self.bob.port)))
        self.assertFalse(self.session.send_digit("b1", "1"))
        self.offer("a", "b1", self.describe(self.alice, 101, "recvonly"))
        self.answer("b1", "a", self.describe(self.bob, 101, "sendonly"))
        self.assertFalse(self.session.send_digit("b1", "1"))
        self.assertTrue(self.session.send_digit("a", "1"))

    def test_end_of_the_leg(self) -> None:
        """A leg that ends, or a call, ends the event, and nothing is left."""
        self.say(audio(1))
        self.session.send_digit("b1", "1")
        self.beats(2)
        self.session.leg_ended("b1")
        self.assertEqual(self.beats(3), [])
        self.session.send_digit("a", "1")


class NumberTests(DigitCase):
    """Parties that call events by other numbers, and one that uses its own."""

    alice_number, bob_number = 101, 96

    def test_renumbered(self) -> None:
        """Who sends events under its own number is understood, and the explanation says so once."""
        self.settle()
        self.assertEqual(self.say(event(4, "1", 640), event(5, "1", 640, 3)), [
            event(4, "1", 640, number=96), event(5, "1", 640, 3, number=96),
        ])  # fmt: skip
        self.bob.send(event(3, "2", 320, number=96), self.to_alice)
        self.alice.expect(event(3, "2", 320))
        self.assertEqual(self.heard, [("a", "1"), ("b1", "2")])
        self.connect()
        self.say(event(6, "3", 2000))
        self.assertEqual(
            self.kinds("payload-type"),
            [
                "a/0 sends telephone events as 101; passed on as 96",
                "b1/0 sends telephone events as 96; passed on as 101",
            ],
        )

    def test_right_number(self) -> None:
        """Who uses the number that it was told is left alone."""
        self.assertEqual(self.say(event(1, "1", 320, number=96)), [event(1, "1", 320, number=96)])
        self.assertEqual(self.kinds("payload-type"), [])

    def test_treated(self) -> None:
        """The same holds where packets are treated."""
        self.session.treatment(self.session.streams()[0]).taps = (lambda packet, now: None,)
        self.session.treat(self.session.streams()[0])
        self.assertEqual(self.say(event(1, "1", 320)), [event(1, "1", 320, number=96)])

    def test_sent(self) -> None:
        """What is sent from here has the number that the leg wants."""
        self.say(audio(1))
        self.session.send_digit("b1", "1", 0.04)
        self.say(audio(2))
        self.assertEqual(digits_in(self.beats(8), 96), "1")


class WorkerCase(RelayTestCase):
    """Calls are forwarded by a worker, and come home when there is something to be done with packets."""

    def make_reactor(self) -> PumpedReactor:
        """See `RelayTestCase`."""
        return WiredReactor()

    def open_session(self) -> RelaySession:
        """See `RelayTestCase`."""
        assert isinstance(self.reactor, WiredReactor)
        self.worker = LocalWorker(self.reactor)
        self.relay.choose = lambda: self.worker.engine
        return super().open_session()

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self._end)

    def _end(self) -> None:
        """End the call, then the worker."""
        self.session.close()
        self.reactor.settle()
        self.worker.engine.close()
        self.reactor.settle()


class WorkerHearingTests(HearingTests, WorkerCase):
    """The same with a worker."""


class WorkerTakingTests(TakingTests, WorkerCase):
    """The same with a worker."""


class WorkerSendingTests(SendingTests, WorkerCase):
    """The same with a worker."""


class WorkerNumberTests(NumberTests, WorkerCase):
    """The same with a worker."""


class KernelHearingTests(HearingTests, test_kernel_engine.KernelTestCase):
    """The same with the kernel."""


class KernelTakingTests(TakingTests, test_kernel_engine.KernelTestCase):
    """The same with the kernel."""


class KernelSendingTests(SendingTests, test_kernel_engine.KernelTestCase):
    """The same with the kernel."""


class KernelNumberTests(NumberTests, test_kernel_engine.KernelTestCase):
    """The same with the kernel."""


class EncryptedTests(test_session_crypto.CryptoTestCase):
    """Events where legs encrypt."""

    def describe(self, party: Party, *crypto: str) -> SessionDescription:
        """Describe the audio of somebody who knows events."""
        lines = ("a=rtpmap:101 telephone-event/8000", *(f"a=crypto:{line}" for line in crypto))
        return describe(f"m=audio {party.port} RTP/{'SAVP' if crypto else 'AVP'} 0 101", extra=lines)

    def connect(self) -> None:
        """Let Alice encrypt, and Bob not."""
        self.heard: list[tuple[str, str]] = []
        self.session.on_digit = lambda leg, digit: self.heard.append((leg, digit))
        self.session.set_policy("a", MediaPolicy(crypto=CryptoPolicy.OPTIONAL))
        self.session.set_policy("b1", MediaPolicy(crypto=CryptoPolicy.OFF))
        self.offered = self.offer("a", "b1", self.describe(self.alice, _KEYS))
        self.answered = self.answer("b1", "a", self.describe(self.bob))
        self.to_alice, self.to_bob = place_of(self.offered), place_of(self.answered)

    def test_heard(self) -> None:
        """What comes encrypted is heard, and can be taken out."""
        self.connect()
        phone = test_session_crypto.Crypter(_KEYS, self.answered)
        self.session.take_events("a")
        for packet in (audio(1), event(2, "1", 320), audio(3)):
            self.alice.send(phone.encrypt(packet), self.to_bob)
        self.assertEqual([one.sequence for one in seen(self.bob.received())], [1, 2])
        self.assertEqual(self.heard, [("a", "1")])

    def test_sent(self) -> None:
        """What is sent goes out encrypted, under the numbers that follow."""
        self.connect()
        phone = test_session_crypto.Crypter(_KEYS, self.answered)
        self.bob.send(audio(1), self.to_alice)
        self.session.send_digit("a", "5", 0.04)
        self.bob.send(audio(2), self.to_alice)
        for _ in range(8):
            self.reactor.advance(0.02)
        self.bob.send(audio(3), self.to_alice)
        got = [packet for packet in phone.decrypt(self.alice.received()) if packet is not None]
        numbers = [one.sequence for one in seen(got)]
        self.assertEqual(numbers, list(range(1, 1 + len(numbers))))
        self.assertEqual((digits_in(got), len(got)), ("5", 7))

    def test_end_to_end(self) -> None:
        """Where the parties encrypt end to end nothing is read or changed, and nothing can be sent."""
        self.heard = []
        self.session.on_digit = lambda leg, digit: self.heard.append((leg, digit))
        self.offered = self.offer("a", "b1", self.describe(self.alice, _KEYS))
        self.answered = self.answer("b1", "a", self.describe(self.bob, _KEYS))
        self.alice.send(event(1, "1", 320), place_of(self.answered))
        self.bob.expect(event(1, "1", 320))
        self.assertEqual(self.heard, [])
        self.assertFalse(self.session.send_digit("b1", "1"))


class ElsewhereTests(RelayTestCase):
    """Media that does not come here."""

    def test_bypass(self) -> None:
        """Nothing is heard, nothing can be sent, and nobody is kept who would hear."""
        session = Bypass().open_session("call", lambda kind, text: None)
        self.assertTrue(verifyObject(IMediaSession, session))
        session.on_digit = lambda leg, digit: None
        session.take_events("a")
        session.pass_events("a")
        self.assertEqual((session.on_digit, session.send_digit("a", "1")), (None, False))

    def test_relay(self) -> None:
        """A session here is a session."""
        self.assertTrue(verifyObject(IMediaSession, self.session))
