"""What a leg hears before anybody has answered it: verified by tones, at its socket."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import InvalidStateError, LocalError, SdpError
from sipd.interfaces import CryptoPolicy, MediaPolicy
from sipd.media.greeting import answer_to, greeter_of, hearing_part, is_greeter
from sipd.media.libsrtp import available
from sipd.rtp.g711 import decode_ulaw
from sipd.rtp.packet import parse_packet
from sipd.sdp.description import Direction, SessionDescription
from tests.media.support import describe, place_of
from tests.media.test_session_crypto import Crypter
from tests.media.test_studio import StudioTestCase, Talker
from tests.media.wires import BesideWorker

_RINGING = "tone:eu:dial"
_LINE = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
_OTHER = "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"


class DescriptionTests(SynchronousTestCase):
    """Offers and the answers to them."""

    def answer(self, *media: str, extra: tuple[str, ...] = ()) -> SessionDescription:
        """Give the answer to an offer."""
        return answer_to(hearing_part(describe(*media, extra=extra)))

    def test_first_codec(self) -> None:
        """Of what can be played the first one that is offered is chosen, under its number, and nothing beside it."""
        answer = self.answer(
            "m=audio 4000 RTP/AVP 96 97 0 101", "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
        )  # fmt: skip
        self.assertEqual(answer.media[0].formats, ("97",))
        self.assertEqual(answer.media[0].rtpmaps, {"97": "PCMA/8000"})
        self.assertIs(answer.direction_of(answer.media[0]), Direction.SENDRECV)

    def test_other_lines(self) -> None:
        """Every line has an answer, but only one is accepted."""
        answer = self.answer("m=video 4000 RTP/AVP 34", "m=audio 4002 RTP/AVP 8 0", "m=audio 4004 RTP/AVP 0")
        self.assertEqual([media.is_disabled for media in answer.media], [True, False, True])

    def test_nothing_to_hear(self) -> None:
        """Who offers no codec that can be played, does not listen, or is on hold by address, is told so."""
        audio = "m=audio 4000 RTP/AVP 0"
        for media in (
            ("m=audio 4000 RTP/AVP 9 18",),
            (audio, "a=sendonly"),
            (audio, "a=inactive"),
            (audio, "c=IN IP4 0.0.0.0"),
            ("m=audio 0 RTP/AVP 0",),
            ("m=video 4000 RTP/AVP 34",),
            ("m=audio 4000 TCP/MSRP *",),
            (),
        ):
            with self.assertRaises(SdpError):
                self.answer(*media)

    def test_names(self) -> None:
        """Legs nobody is behind are told by their names."""
        self.assertEqual(greeter_of("a"), "~a")
        self.assertEqual([is_greeter(name) for name in ("~a", "a", "b1")], [True, False, False])


class GreetingTests(StudioTestCase):
    """Alice calls; it rings at Bob's."""

    def setUp(self) -> None:
        super().setUp()
        self.call = describe(("audio", self.alice.party.port))

    def ring(self, offer: SessionDescription | None = None) -> SessionDescription:
        """Offer to Bob, and let Alice hear a tone; give what she is told."""
        self.offered = self.offer("a", "b1", offer or self.call)
        answered = self.result(self.session.studio.greet("a", offer or self.call))
        self.playing = self.session.studio.play("a", _RINGING, times=None)
        return answered

    def stop(self) -> None:
        """Let nothing be played any more."""
        self.session.studio.stop_playing("a")
        self.session.leg_ended("~a")

    def test_before_the_answer(self) -> None:
        """The tone is at the caller's socket at once; after the answer each hears the other one, on the same ports."""
        greeted = self.ring()
        self.talk(0.5)
        self.check_tone(self.alice.heard(), 425)
        self.stop()
        self.talk(0.1)
        self.alice.heard()
        answered = self.answer("b1", "a", describe(("audio", self.bob.party.port)))
        self.assertEqual(place_of(answered), place_of(greeted))
        self.alice.to, self.bob.to = place_of(answered), place_of(self.offered)
        self.talk(0.5, self.alice, self.bob)
        self.check_tone(self.alice.heard(), 1000)
        self.check_tone(self.bob.heard(), 440)
        self.assertFalse(self.successResultOf(self.playing).is_complete)
        self.finish()

    def test_nothing_is_left(self) -> None:
        """The ports of the leg nobody is behind are free when it has ended, and it is not in the statistics."""
        self.ring()
        self.assertEqual(len(self.allocator), 3)
        self.stop()
        self.assertEqual(len(self.allocator), 2)
        self.session.leg_ended("b1")
        self.assertEqual({each.leg for each in self.session.statistics()}, {"a", "b1"})

    def test_again(self) -> None:
        """It may end and begin, as callees come and go; the caller's port stays, and only one more pair is taken."""
        places = set()
        for _ in range(3):
            places.add(place_of(self.ring()))
            self.talk(0.2)
            self.check_tone(self.alice.heard(), 425)
        self.assertEqual(len(self.allocator), 3)
        self.stop()
        places.add(place_of(self.ring()))
        self.assertEqual(len(places), 1)
        self.assertEqual(len(self.allocator), 3)

    def test_refused(self) -> None:
        """An announcement, then the end of the call: nothing is left."""
        self.result(self.session.studio.greet("a", self.call))
        playing = self.session.studio.play("a", _RINGING, duration=0.4)
        self.talk(0.5)
        self.assertTrue(self.successResultOf(playing))
        self.check_tone(self.alice.heard(), 425)
        self.finish()

    def test_intruder(self) -> None:
        """Nobody can talk to the caller through the port that nobody is behind."""
        self.ring()
        (stream,) = [each for each in self.session.streams() if each.leg == "~a"]
        self.bob.to = ("127.0.0.1", stream.pair.port)
        self.talk(0.5, self.bob)
        self.check_tone(self.alice.heard(), 425)
        self.stop_playing_only()
        self.talk(0.3, self.bob)
        self.assertEqual(len(self.alice.heard()), 0)
        self.alice.to = place_of(self.offered)
        self.talk(0.2, self.alice)
        self.assertEqual(len(self.bob.heard()), 0)

    def stop_playing_only(self) -> None:
        """Let the leg nobody is behind stay."""
        self.session.studio.stop_playing("a")
        self.talk(0.1)
        self.alice.heard()

    def test_hold_music(self) -> None:
        """Who waits for an answer is not on hold."""
        self.session.set_policy("a", MediaPolicy(hold_music="tone:eu:busy"))
        self.result(self.session.greet("a", self.call))
        self.talk(0.5)
        self.assertEqual(len(self.alice.heard()), 0)

    def test_not_possible(self) -> None:
        """Where media does not come here, or nothing can be offered, it fails, and holds nothing."""
        self.failureResultOf(self.session.greet("a", describe("m=audio 4000 RTP/AVP 9")), SdpError)
        self.assertEqual(len(self.allocator), 0)
        self.session.set_policy("a", MediaPolicy(is_bypassed=True))
        self.failureResultOf(self.session.greet("a", self.call), InvalidStateError)
        self.assertEqual(len(self.allocator), 0)
        self.session.close()
        self.failureResultOf(self.session.greet("a", self.call), LocalError)

    def test_callee_past_the_relay(self) -> None:
        """A caller may hear a tone here though the callee's media will not come here."""
        self.session.set_policy("b1", MediaPolicy(is_bypassed=True))
        self.ring()
        self.talk(0.3)
        self.check_tone(self.alice.heard(), 425)
        self.stop()
        self.answer("b1", "a", describe(("audio", self.bob.party.port)))
        self.assertEqual(len(self.allocator), 0)


class SecureTests(StudioTestCase):
    """A caller that encrypts."""

    skip = available()

    def setUp(self) -> None:
        super().setUp()
        self.call = self.secure(self.alice, _LINE)

    def secure(self, talker: Talker, line: str) -> SessionDescription:
        """Describe the audio of somebody who encrypts."""
        return describe(f"m=audio {talker.party.port} RTP/SAVP 0", extra=(f"a=crypto:{line}",))

    def hear_tone(self) -> Crypter:
        """Let the caller hear a tone, which it can decrypt with what it was told, and that come to its end."""
        self.greeted = self.result(self.session.studio.greet("a", self.call))
        self.session.studio.play("a", _RINGING, times=None)
        crypter = Crypter(_LINE, self.greeted)
        self.talk(0.5)
        packets = crypter.decrypt(self.alice.party.received())
        self.assertGreater(len(packets), 20)
        self.check_tone(decode_ulaw(b"".join(parse_packet(packet or b"").payload for packet in packets)), 425)
        return crypter

    def stop(self) -> None:
        """Let nothing be played any more."""
        self.session.studio.stop_playing("a")
        self.session.leg_ended("~a")
        self.talk(0.1)
        self.alice.party.received()

    def test_keys_of_ours(self) -> None:
        """The tone is encrypted by the caller's policy; with the answer the keys stay what they are."""
        self.session.set_policy("a", MediaPolicy(crypto=CryptoPolicy.REQUIRED))
        self.session.set_policy("b1", MediaPolicy(crypto=CryptoPolicy.OFF))
        offered = self.offer("a", "b1", self.call)
        crypter = self.hear_tone()
        self.stop()
        answered = self.answer("b1", "a", describe(("audio", self.bob.party.port)))
        self.assertEqual(answered.media[0].attribute("crypto"), self.greeted.media[0].attribute("crypto"))
        self.alice.to, self.bob.to = place_of(answered), place_of(offered)
        self.talk(0.3, self.bob)
        packets = crypter.decrypt(self.alice.party.received())
        self.assertEqual((len(packets), None in packets), (15, False))
        packet = bytes.fromhex("80000001000000a000000008") + bytes(160)
        self.alice.party.send(crypter.encrypt(packet), self.alice.to)
        self.bob.party.expect(packet)

    def test_keys_end_to_end(self) -> None:
        """Of two phones that keep their keys to themselves the caller has keys with us for the tone, and no longer."""
        offered = self.offer("a", "b1", self.call)
        self.hear_tone()
        self.assertEqual(self.offer("a", "b2", self.call).media[0].attribute("crypto"), _LINE)
        self.stop()
        self.assertEqual(offered.media[0].attribute("crypto"), _LINE)
        self.check_end_to_end(offered)

    def test_keys_of_another_fork(self) -> None:
        """That stays so if another callee, who encrypts nothing, was asked, too."""
        offered = self.offer("a", "b1", self.call)
        self.session.set_policy("b2", MediaPolicy(crypto=CryptoPolicy.OFF))
        self.offer("a", "b2", self.call)
        self.hear_tone()
        self.stop()
        self.check_end_to_end(offered)

    def check_end_to_end(self, offered: SessionDescription) -> None:
        """Let the callee answer with a key of its own, and check that neither that nor a packet is changed."""
        answered = self.answer("b1", "a", self.secure(self.bob, _OTHER))
        self.assertEqual(answered.media[0].attribute("crypto"), _OTHER)
        packet = bytes.fromhex("80000001000000a000000008") + bytes(170)
        self.bob.party.send(packet, place_of(offered))
        self.alice.party.expect(packet)
        self.alice.party.send(packet, place_of(answered))
        self.bob.party.expect(packet)

    def test_refused_by_policy(self) -> None:
        """A caller that has to encrypt, and does not, hears nothing."""
        self.session.set_policy("a", MediaPolicy(crypto=CryptoPolicy.REQUIRED))
        self.failureResultOf(self.session.greet("a", describe(("audio", self.alice.party.port))), SdpError)
        self.assertEqual(len(self.allocator), 0)


class WorkerTests(BesideWorker, GreetingTests):
    """The same where a worker would forward."""
