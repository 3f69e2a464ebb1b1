"""Tests of `sipd.media.endpoint.describing` and `agreement`: what an endpoint offers, and answers."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import InvalidStateError, LocalError, SdpError
from sipd.media.endpoint import describing
from sipd.media.endpoint.agreement import Agreement
from sipd.media.endpoint.describing import Describer
from sipd.media.endpoint.path import Path
from sipd.media.endpoint.settings import EndpointSettings, Security
from sipd.sdp.codecs import encodings
from sipd.sdp.description import Direction, SessionDescription, parse_description
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from tests.media.endpoint.support import ALICE, BOB, describe

PORT = 4000
#: As a phone offers.
OFFER = (
    "m=audio 5000 RTP/AVP 96 8 0 97 13",
    "a=rtpmap:96 opus/48000/2",
    "a=rtpmap:97 telephone-event/8000",
    "a=fmtp:97 0-16",
    "a=rtcp:5011",
)
_KEY = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"


class FixedPlace:
    """A socket that nobody has opened."""

    def port(self) -> int:
        """See `Place`."""
        return PORT

    def path(self) -> Path:
        """See `Place`."""
        raise AssertionError("nothing here speaks of ICE or DTLS")


class DescribingTestCase(SynchronousTestCase):
    """A describer whose port is 4000."""

    def setUp(self) -> None:
        self.network = Network(SimulatedClock(), seed=3)

    def describer(self, **settings: object) -> Describer:
        """Make one."""
        return Describer(EndpointSettings(**settings), ALICE, ALICE, self.network.entropy)  # type: ignore[arg-type]

    def offer(self, describer: Describer, direction: Direction = Direction.SENDRECV) -> SessionDescription:
        """Let it offer."""
        return parse_description(describer.make_offer(direction, FixedPlace()).to_bytes())

    def answer(
        self, describer: Describer, offer: SessionDescription, direction: Direction = Direction.SENDRECV
    ) -> tuple[SessionDescription, Agreement]:
        """Let it answer."""
        answer, outcome = describer.answer_offer(offer, direction, FixedPlace())
        return parse_description(answer.to_bytes()), outcome.agreement


class OfferTests(DescribingTestCase):
    """What is offered."""

    def test_codecs_in_their_order(self) -> None:
        """All codecs are offered, the best first, with telephone events for each of their clocks."""
        offer = self.offer(self.describer(codecs=("opus", "g722", "pcma")))
        self.assertEqual(
            list(encodings(offer.media[0]).values()),
            ["opus/48000/2", "g722/8000", "pcma/8000", "telephone-event/8000", "telephone-event/48000"],
        )

    def test_events_for_those_who_know_one_clock(self) -> None:
        """Opus is offered with telephone events of 8000 Hz, too; those of its own clock are used if both are there."""
        for rates, used in (("100/8000", (100, 8000)), ("100/8000 99/48000", (99, 48000))):
            with self.subTest(rates):
                describer = self.describer(codecs=("opus",))
                offer = self.offer(describer)
                self.assertEqual(offer.media[0].formats, ("96", "101", "102"))
                answered = [each.split("/") for each in rates.split()]
                answer = describe(
                    (
                        f"m=audio 5000 RTP/AVP 96 {' '.join(number for number, _ in answered)}",
                        "a=rtpmap:96 opus/48000/2",
                        *(f"a=rtpmap:{number} telephone-event/{rate}" for number, rate in answered),
                    )
                )
                self.assertEqual(describer.take_answer(answer).agreement.event, used)

    def test_no_telephone_events(self) -> None:
        """They can be left out."""
        offer = self.offer(self.describer(telephone_events=False))
        self.assertEqual(offer.media[0].formats, ("0", "8"))

    def test_direction(self) -> None:
        """What puts the peer on hold is said."""
        self.assertEqual(self.offer(self.describer(), Direction.SENDONLY).media[0].direction, Direction.SENDONLY)

    def test_version_goes_on(self) -> None:
        """The origin's version is one higher exactly when something changed (RFC 3264 section 8)."""
        describer = self.describer()
        versions = []
        for direction in (Direction.SENDRECV, Direction.SENDRECV, Direction.SENDONLY):
            versions.append(int((self.offer(describer, direction).origin or "").split()[2]))
            describer.offer_rejected()
        self.assertEqual(versions, [1, 1, 2])

    def test_one_at_a_time(self) -> None:
        """No second offer, and no answer, while an offer waits."""
        describer = self.describer()
        self.offer(describer)
        self.assertRaises(InvalidStateError, self.offer, describer)
        self.assertRaises(InvalidStateError, self.answer, describer, describe(OFFER))

    def test_lines_stay_where_they_are(self) -> None:
        """After an answer to three streams an offer has three, the one in use in its place (RFC 3264 section 8)."""
        describer = self.describer()
        self.answer(describer, describe(("m=video 6000 RTP/AVP 34", *OFFER, "m=image 7000 udptl t38")))
        offer = self.offer(describer)
        self.assertEqual(
            [(each.media, each.port) for each in offer.media], [("video", 0), ("audio", PORT), ("image", 0)]
        )

    def test_payload_types_stay_what_they_are(self) -> None:
        """What the peer called 97 is called so in later offers, too."""
        describer = self.describer(codecs=("opus", "pcmu"))
        self.answer(describer, describe(OFFER))
        known = encodings(self.offer(describer).media[0])
        self.assertEqual(known["96"], "opus/48000/2")
        self.assertEqual(known["97"], "telephone-event/8000")

    def test_the_answer_holds(self) -> None:
        """The peer's first codec is sent, by the peer's numbers; its address is where it goes."""
        describer = self.describer(codecs=("pcmu", "opus"))
        self.offer(describer)
        agreement = describer.take_answer(
            describe(
                (
                    "m=audio 5000 RTP/AVP 111 0 100",
                    "a=rtpmap:111 opus/48000/2",
                    "a=rtpmap:100 telephone-event/48000",
                )
            )
        ).agreement
        self.assertEqual((agreement.encoding, agreement.payload_type), ("opus/48000/2", 111))
        self.assertEqual(agreement.event, (100, 48000))
        self.assertEqual((agreement.remote, agreement.remote_rtcp), ((BOB, 5000), (BOB, 5001)))
        self.assertEqual(agreement.received[96], "opus/48000/2")
        self.assertEqual(agreement.received[111], "opus/48000/2")

    def test_another_answer_to_the_same_offer(self) -> None:
        """The answer of another fork replaces the first one."""
        describer = self.describer()
        self.offer(describer)
        describer.take_answer(describe(("m=audio 5000 RTP/AVP 0",)))
        agreement = describer.take_answer(describe(("m=audio 6000 RTP/AVP 8",))).agreement
        self.assertEqual((agreement.encoding, agreement.remote), ("pcma/8000", (BOB, 6000)))

    def test_answers_that_are_none(self) -> None:
        """Refused, without a codec, with another one, with other lines, with keys, or with half an address."""
        for media in (
            ("m=audio 0 RTP/AVP 0",),
            ("m=audio 5000 RTP/AVP 18",),
            ("m=audio 5000 RTP/AVP 0", "m=video 5002 RTP/AVP 34"),
            ("m=video 5000 RTP/AVP 34",),
            ("m=audio 5000 RTP/SAVP 0", f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {_KEY}"),
            ("m=audio 5000 RTP/AVP 0", "c=IN IP6 2001:db8::1"),
            ("m=audio 5000 RTP/AVP 0", "c=IN IP4"),
            ("m=audio 5000 RTP/AVP 999", "a=rtpmap:999 PCMU/8000"),
            (),
        ):
            with self.subTest(media):
                describer = self.describer()
                self.offer(describer)
                self.assertRaises(SdpError, describer.take_answer, describe(media))
                self.assertRaises(InvalidStateError, self.offer, describer)
                describer.offer_rejected()
                self.offer(describer)

    def test_no_answer_without_an_offer(self) -> None:
        """There is nothing to be answered before an offer was made."""
        self.assertRaises(InvalidStateError, self.describer().take_answer, describe(OFFER))


class AnswerTests(DescribingTestCase):
    """What is answered."""

    def test_codecs_of_both(self) -> None:
        """The codecs of both, as this side likes them best, with the numbers of the offer."""
        answer, agreement = self.answer(self.describer(), describe(OFFER))
        self.assertEqual(answer.media[0].formats, ("0", "8", "97"))
        self.assertEqual((agreement.encoding, agreement.event), ("pcmu/8000", (97, 8000)))
        self.assertEqual((agreement.remote, agreement.remote_rtcp), ((BOB, 5000), (BOB, 5011)))

    def test_first_usable_stream(self) -> None:
        """The first stream of audio that can be used is taken, and all others are refused."""
        answer, agreement = self.answer(
            self.describer(),
            describe(("m=video 6000 RTP/AVP 34", "m=audio 5002 RTP/AVP 18", *OFFER, "m=audio 5008 RTP/AVP 0")),
        )
        self.assertEqual([each.port for each in answer.media], [0, 0, PORT, 0])
        self.assertEqual(agreement.remote, (BOB, 5000))

    def test_the_stream_in_use_stays(self) -> None:
        """A re-offer with another usable stream before it does not move the call there."""
        describer = self.describer()
        self.answer(describer, describe(("m=audio 0 RTP/AVP 0", *OFFER)))
        answer, _ = self.answer(describer, describe(("m=audio 5100 RTP/AVP 0", *OFFER)))
        self.assertEqual([each.port for each in answer.media], [0, PORT])

    def test_directions(self) -> None:
        """An answer says as much as the offer allows and this side wants (RFC 3264 section 6.1)."""
        for offered, wanted, said in (
            ("sendrecv", Direction.SENDRECV, Direction.SENDRECV),
            ("sendonly", Direction.SENDRECV, Direction.RECVONLY),
            ("recvonly", Direction.SENDRECV, Direction.SENDONLY),
            ("inactive", Direction.SENDRECV, Direction.INACTIVE),
            ("sendrecv", Direction.SENDONLY, Direction.SENDONLY),
            ("sendonly", Direction.SENDONLY, Direction.INACTIVE),
        ):
            with self.subTest(offered=offered, wanted=wanted):
                answer, agreement = self.answer(self.describer(), describe((*OFFER, f"a={offered}")), wanted)
                self.assertEqual(answer.media[0].direction, said)
                self.assertEqual(agreement.direction, said)
                self.assertEqual(agreement.is_held, offered in ("sendonly", "inactive"))

    def test_direction_of_the_session(self) -> None:
        """Hold may be said for the whole session."""
        answer, agreement = self.answer(self.describer(), describe(OFFER, session=("a=sendonly",)))
        self.assertEqual(answer.media[0].direction, Direction.RECVONLY)
        self.assertTrue(agreement.is_held)

    def test_mux(self) -> None:
        """RTCP shares the port of RTP if that is offered, and only then; later offers say so, too (RFC 5761)."""
        describer = self.describer()
        answer, agreement = self.answer(describer, describe(OFFER))
        self.assertFalse(answer.media[0].has_rtcp_mux or agreement.has_mux)
        answer, agreement = self.answer(describer, describe((*OFFER, "a=rtcp-mux")))
        self.assertTrue(answer.media[0].has_rtcp_mux and agreement.has_mux)
        self.assertTrue(self.offer(describer).media[0].has_rtcp_mux)

    def test_nothing_usable(self) -> None:
        """No audio, no codec, no profile that is known: 488, and what held goes on."""
        describer = self.describer()
        for media in (
            ("m=video 6000 RTP/AVP 34",),
            ("m=audio 5000 RTP/AVP 18",),
            ("m=audio 0 RTP/AVP 0",),
            ("m=audio 5000 UDP/TLS/RTP/SAVPF 0",),
            ("m=audio 5000 RTP/SAVP 0",),
            ("m=audio 5000 RTP/AVP 300", "a=rtpmap:300 PCMU/8000"),
            (),
        ):
            with self.subTest(media):
                self.assertEqual(self.assertRaises(SdpError, self.answer, describer, describe(media)).status, 488)
        answer, _ = self.answer(describer, describe(OFFER))
        self.assertEqual((answer.origin or "").split()[2], "1")

    def test_a_name_instead_of_an_address(self) -> None:
        """Nobody is asked where a name leads: media goes to where media comes from."""
        _, agreement = self.answer(self.describer(), describe(OFFER, address="phone.example"))
        self.assertIsNone(agreement.remote)
        self.assertTrue(agreement.sends)

    def test_secure_or_plain(self) -> None:
        """Of an encrypted and a plain stream the first is answered, as it was offered."""
        crypto = f"a=crypto:4 AES_CM_128_HMAC_SHA1_80 {_KEY}"
        answer, _ = self.answer(
            self.describer(), describe(("m=audio 5000 RTP/SAVP 0", crypto, "m=audio 5000 RTP/AVP 0"))
        )
        self.assertEqual([each.port for each in answer.media], [PORT, 0])
        self.assertEqual(answer.media[0].protocol, "RTP/SAVP")
        self.assertTrue((answer.media[0].attribute("crypto") or "").startswith("4 AES_CM_128_HMAC_SHA1_80 inline:"))
        answer, _ = self.answer(
            self.describer(),
            describe(("m=audio 5000 RTP/SAVP 0", "a=crypto:1 UNKNOWN inline:AAAA", "m=audio 5000 RTP/AVP 0")),
        )
        self.assertEqual([each.port for each in answer.media], [0, PORT])
        self.assertEqual(answer.media[1].protocol, "RTP/AVP")

    def test_profiles(self) -> None:
        """The profile with feedback is offered if that is wanted, and what was agreed on stays in later offers."""
        for security, profile in ((Security.NONE, "RTP/AVPF"), (Security.OFFERED, "RTP/SAVPF")):
            offer = self.offer(self.describer(security=security, profile="RTP/AVPF"))
            self.assertEqual(offer.media[0].protocol, profile)
            describer = self.describer()
            self.answer(describer, offer)
            self.assertEqual(self.offer(describer).media[0].protocol, profile)

    def test_secure_offers(self) -> None:
        """What is offered encrypted is not accepted in plain."""
        describer = self.describer(security=Security.OFFERED)
        offer = self.offer(describer)
        self.assertEqual(offer.media[0].protocol, "RTP/SAVP")
        self.assertRaises(SdpError, describer.take_answer, describe(("m=audio 5000 RTP/AVP 0",)))


class WithoutLibraryTests(DescribingTestCase):
    """SRTP where its library is not installed."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(describing, "available", lambda: "no libsrtp")

    def test_what_is_plain_goes_on(self) -> None:
        """Plain offers are answered, encrypted ones are not, and of both the plain one is taken."""
        secure = ("m=audio 5000 RTP/SAVP 0", f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {_KEY}")
        answer, _ = self.answer(self.describer(), describe((*secure, *OFFER)))
        self.assertEqual([each.port for each in answer.media], [0, PORT])
        self.assertRaises(SdpError, self.answer, self.describer(), describe(secure))

    def test_what_has_to_be_encrypted(self) -> None:
        """An offer that has to be encrypted is a `LocalError`."""
        self.assertRaises(LocalError, self.offer, self.describer(security=Security.OFFERED))


class RubbishTests(DescribingTestCase):
    """Descriptions that are damaged on their way."""

    def test_nothing_else_is_raised(self) -> None:
        """Whatever a peer says is an `SdpError` or can be used, in offers and in answers."""
        chance = random.Random(5)
        good = str(
            describe(
                (
                    "m=audio 5002 RTP/SAVP 0 101",
                    "a=rtpmap:101 telephone-event/8000",
                    f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {_KEY}",
                    *OFFER,
                    "a=rtcp-mux",
                    "a=ptime:40",
                    "a=maxptime:60",
                )
            )
        )
        pieces = ("", "0", "99999999999", " ", "\r\n", "/", ":", "-1", "IP6", "::", "\u0663", "m=audio", "a=", "=", "x")
        usable = 0
        for number in range(3000):
            text = good
            for _ in range(chance.randrange(1, 4)):
                place = chance.randrange(len(text))
                text = text[:place] + chance.choice(pieces) + text[place + chance.randrange(4) :]
            try:
                description = parse_description(text)
            except SdpError:
                continue
            describer = self.describer(codecs=("pcmu", "opus"))
            try:
                if number % 2:
                    self.answer(describer, description)
                else:
                    self.offer(describer)
                    describer.take_answer(SessionDescription(description.text, description.media[1:]))
                usable += 1
            except SdpError:
                continue
        self.assertGreater(usable, 300)


class SettingsTests(SynchronousTestCase):
    """What settings may be."""

    def test_what_cannot_be(self) -> None:
        """Codecs nobody knows, none, one twice; ports without a pair; other profiles; times below nothing."""
        for wrong in (
            {"codecs": ("g729",)},
            {"codecs": ()},
            {"codecs": ("pcmu", "pcmu")},
            {"ports": (5001, 5002)},
            {"ports": (6000, 5000)},
            {"ports": (65535, 70000)},
            {"advertised_port": 65535},
            {"profile": "RTP/SAVP"},
            {"rtcp_interval": -1.0},
        ):
            with self.subTest(wrong):
                self.assertRaises(ValueError, EndpointSettings, **wrong)
