"""Tests of `sipd.media.securing`, `sipd.media.secured` and `sipd.media.keying`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sipd.errors import SdpError
from sipd.media.libsrtp import available
from sipd.media.secured import secure_offer
from sipd.media.securing import DEFAULT_SUITES, PLAIN, CryptoPolicy, Keys, LegCrypto
from sipd.media.srtp import InboundContext, OutboundContext, SrtpContext
from sipd.sdp.crypto import (
    AEAD_AES_128_GCM,
    AEAD_AES_256_GCM,
    AES_CM_128_HMAC_SHA1_32,
    AES_CM_128_HMAC_SHA1_80,
    CryptoAttribute,
    Mki,
    SrtpKey,
    Suite,
    read_crypto,
)
from sipd.sdp.description import MediaDescription, SessionDescription
from tests.sdp.test_offer_answer import describe

OFF, OPTIONAL, REQUIRED, PASS = CryptoPolicy
SHORT, COMMON, GCM = AES_CM_128_HMAC_SHA1_32, AES_CM_128_HMAC_SHA1_80, AEAD_AES_128_GCM


def numbered() -> Callable[[int], bytes]:
    """Give a source of entropy that never says the same twice."""
    count = 0

    def entropy(size: int) -> bytes:
        nonlocal count
        count += 1
        return count.to_bytes(2, "big") * (size // 2)

    return entropy


def line(suite: Suite | str, tag: int = 1, seed: int = 200, rest: str = "") -> str:
    """Make the crypto attribute of a party."""
    name, octets = (suite, 30) if isinstance(suite, str) else (suite.name, suite.master_octets)
    return f"a=crypto:{tag} {name} inline:{b64encode(bytes([seed]) * octets).decode()}{rest}"


def theirs(suite: Suite, seed: int = 200, mki: Mki | None = None) -> SrtpKey:
    """Make what such an attribute says."""
    return SrtpKey(suite=suite, master=bytes([seed]) * suite.master_octets, mki=mki)


def audio(profile: str, *lines: str, port: int = 4000) -> SessionDescription:
    """Make the description of one stream."""
    return describe(f"m=audio {port} {profile} 0 8", "a=rtpmap:0 PCMU/8000", *lines)


def crypto_of(description: SessionDescription, index: int = 0) -> list[CryptoAttribute]:
    """Give the crypto attributes of a stream, all of which are well-formed."""
    media = description.media[index]
    found = read_crypto(media)
    assert len(found) == str(media).count("a=crypto")
    return found


def own(description: SessionDescription, tag: int, index: int = 0) -> bytes:
    """Give the key that a description says for a tag."""
    [attribute] = [each for each in crypto_of(description, index) if each.tag == tag]
    return attribute.keys[0].master


class CryptoTestCase(SynchronousTestCase):
    """Legs that share a source of entropy, and parties that answer them."""

    def setUp(self) -> None:
        self.entropy = numbered()

    def leg(self, policy: CryptoPolicy, *suites: Suite) -> LegCrypto:
        """Make a leg."""
        return LegCrypto(policy, self.entropy, suites or DEFAULT_SUITES)

    def accept(self, offer: SessionDescription, suite: Suite = COMMON, seed: int = 100) -> SessionDescription:
        """Give the answer of a party that takes one suite, if it is there, in each stream that has any."""
        media = []
        for stream in offer.media:
            answer = stream.without_attributes(("crypto",))
            tags = [each.tag for each in read_crypto(stream) if each.suite == suite.name]
            if tags:
                answer = MediaDescription(f"{answer}{line(suite, tags[0], seed)}\r\n")
            media.append(answer)
        return SessionDescription(offer.text, tuple(media))

    def ignore(self, offer: SessionDescription) -> SessionDescription:
        """Give the answer of a party that knows nothing of keys."""
        media = [stream.without_attributes(("crypto",)) for stream in offer.media]
        return SessionDescription(offer.text, tuple(media))


#: Kinds of offers: profile, attributes.
OFFERS = {
    "plain": ("RTP/AVP", ()),
    "feedback": ("RTP/AVPF", ()),
    "opportunistic": ("RTP/AVP", (line(SHORT, 3), line(COMMON, 4))),
    "secure": ("RTP/SAVP", (line(SHORT, 3), line(COMMON, 4))),
    "secure feedback": ("RTP/SAVPF", (line(SHORT, 3), line(COMMON, 4))),
    "strange": ("RTP/AVP", (line("F8_128_HMAC_SHA1_80"),)),
    "secure strange": ("RTP/SAVP", (line("F8_128_HMAC_SHA1_80"),)),
    "secure empty": ("RTP/SAVP", ()),
    "DTLS": ("UDP/TLS/RTP/SAVPF", ("a=fingerprint:sha-256 AB", "a=setup:actpass")),
}
#: Kind of offer to what comes of it, on the side of the leg that offers, by the policy of that leg.
TAKEN = {
    "plain": {OFF: "plain", OPTIONAL: "plain", REQUIRED: "refused"},
    "feedback": {OFF: "plain", OPTIONAL: "plain", REQUIRED: "refused"},
    "opportunistic": {OFF: "plain", OPTIONAL: "encrypted", REQUIRED: "encrypted"},
    "secure": {OFF: "refused", OPTIONAL: "encrypted", REQUIRED: "encrypted"},
    "secure feedback": {OFF: "refused", OPTIONAL: "encrypted", REQUIRED: "encrypted"},
    "strange": {OFF: "plain", OPTIONAL: "plain", REQUIRED: "refused"},
    "secure strange": {OFF: "refused", OPTIONAL: "refused", REQUIRED: "refused"},
    "secure empty": {OFF: "refused", OPTIONAL: "refused", REQUIRED: "refused"},
    "DTLS": {OFF: "refused", OPTIONAL: "refused", REQUIRED: "refused"},
}


class TableTests(CryptoTestCase):
    """Each pair of policies with each kind of offer."""

    def test_each(self) -> None:
        """What is offered decides about the one side, its policy about the other, and neither about both."""
        for kind in OFFERS:
            for offerer_policy in CryptoPolicy:
                for answerer_policy in CryptoPolicy:
                    if offerer_policy is answerer_policy is PASS:
                        continue
                    for answers in (self.accept, self.ignore):
                        self.check(kind, offerer_policy, answerer_policy, answers)

    def check(
        self,
        kind: str,
        offerer_policy: CryptoPolicy,
        answerer_policy: CryptoPolicy,
        answers: Callable[[SessionDescription], SessionDescription],
    ) -> None:
        """Check one case."""
        case = (kind, offerer_policy, answerer_policy, answers.__name__)
        profile, lines = OFFERS[kind]
        offerer, answerer = self.leg(offerer_policy), self.leg(answerer_policy)
        # With another leg, one that passes keying is as one for which it is optional.
        outcome = TAKEN[kind][OPTIONAL if offerer_policy is PASS else offerer_policy]
        if outcome == "refused":
            error = self.assertRaises(SdpError, secure_offer, offerer, answerer, audio(profile, *lines))
            self.assertEqual(error.status, 488, case)
            return
        secured = secure_offer(offerer, answerer, audio(profile, *lines))
        offered = secured.description
        plain_profile = profile.replace("SAVP", "AVP")
        expected = plain_profile.replace("AVP", "SAVP") if answerer_policy is REQUIRED else plain_profile
        self.assertEqual(offered.media[0].protocol, expected, case)
        self.assertEqual(
            [each.suite for each in crypto_of(offered)],
            [] if answerer_policy is OFF else [suite.name for suite in DEFAULT_SUITES],
            case,
        )
        answer = answers(offered)
        if answerer_policy is REQUIRED and answers == self.ignore:
            self.assertEqual(self.assertRaises(SdpError, secured.answer, answer).status, 488, case)
            self.assertEqual((offerer.keys(0), answerer.keys(0)), (PLAIN, PLAIN), case)
            return
        answered = secured.answer(answer)
        self.assertEqual(answered.media[0].protocol, profile, case)
        if outcome == "plain":
            self.assertEqual((crypto_of(answered), offerer.keys(0)), ([], PLAIN), case)
        else:
            [attribute] = crypto_of(answered)
            self.assertEqual((attribute.tag, attribute.suite), (3, SHORT.name), case)
            key = SrtpKey(suite=SHORT, master=attribute.keys[0].master)
            self.assertEqual(offerer.keys(0), Keys(inbound=theirs(SHORT), outbound=key), case)
        if answerer_policy is OFF or answers == self.ignore:
            self.assertEqual(answerer.keys(0), PLAIN, case)
        else:
            [tag] = [each.tag for each in crypto_of(offered) if each.suite == COMMON.name]
            key = SrtpKey(suite=COMMON, master=own(offered, tag))
            self.assertEqual(answerer.keys(0), Keys(inbound=theirs(COMMON, 100), outbound=key), case)

    def test_end_to_end(self) -> None:
        """Between two legs that pass keying, everything goes as it came, and there are no keys of ours."""
        offerer, answerer = self.leg(PASS), self.leg(PASS)
        for profile, lines in OFFERS.values():
            offer = audio(profile, *lines)
            secured = secure_offer(offerer, answerer, offer)
            self.assertIs(secured.description, offer)
            answer = audio(profile, *lines[:1])
            self.assertIs(secured.answer(answer), answer)
            self.assertEqual((offerer.keys(0), answerer.keys(0)), (PLAIN, PLAIN))


class OfferTests(CryptoTestCase):
    """What offers are taken as, and what is made of them."""

    def test_nothing_else_changes(self) -> None:
        """All other lines stay in their place."""
        offer = audio("RTP/SAVP", "a=ptime:20", line(COMMON), "a=sendonly", "a=fmtp:101 0-16")
        secured = secure_offer(self.leg(OPTIONAL), self.leg(OFF), offer)
        self.assertEqual(secured.description, audio("RTP/AVP", "a=ptime:20", "a=sendonly", "a=fmtp:101 0-16"))

    def test_other_keying(self) -> None:
        """No keys of any kind come to another leg, not those at the session either."""
        keying = ("a=key-mgmt:mikey AQ", "a=fingerprint:sha-1 00", "a=acap:1 crypto:1 X inline:AA", "a=pcfg:1 a=1")
        offer = describe(*keying, "m=audio 4000 RTP/AVP", *keying, "a=setup:active", "a=tcap:1 RTP/SAVP")
        secured = secure_offer(self.leg(OPTIONAL), self.leg(OFF), offer)
        self.assertEqual(secured.description, describe("m=audio 4000 RTP/AVP"))
        with_fax = describe("a=fingerprint:sha-1 00", "a=key-mgmt:x y", "m=image 4000 UDP/TLS/UDPTL t38", "a=setup:x")
        self.assertEqual(
            secure_offer(self.leg(OPTIONAL), self.leg(REQUIRED), with_fax).description,
            describe("a=fingerprint:sha-1 00", "m=image 4000 UDP/TLS/UDPTL t38", "a=setup:x"),
        )

    def test_disabled_streams(self) -> None:
        """A stream without a port has no keys, and needs none."""
        offer = describe("m=video 0 RTP/SAVP 96", line(COMMON), "m=audio 4000 RTP/AVP 0", line(COMMON))
        offerer = self.leg(REQUIRED)
        secured = secure_offer(offerer, self.leg(REQUIRED), offer)
        self.assertEqual([stream.protocol for stream in secured.description.media], ["RTP/AVP", "RTP/SAVP"])
        self.assertEqual(crypto_of(secured.description), [])
        answered = secured.answer(self.accept(secured.description))
        self.assertEqual([stream.protocol for stream in answered.media], ["RTP/SAVP", "RTP/AVP"])
        self.assertEqual((crypto_of(answered), offerer.keys(0)), ([], PLAIN))
        self.assertEqual(len(crypto_of(answered, 1)), 1)

    def test_both_kinds_offered(self) -> None:
        """Of two streams of a kind, the one that the policy does not like is refused; the last of a kind is not."""
        both = describe("m=audio 4000 RTP/SAVP 0", line(COMMON), "m=audio 4002 RTP/AVP 0", "m=video 4004 RTP/AVP 96")
        offerer = self.leg(OFF)
        secured = secure_offer(offerer, self.leg(OPTIONAL), both)
        self.assertEqual([stream.port for stream in secured.description.media], [0, 4002, 4004])
        answered = secured.answer(self.accept(secured.description))
        self.assertEqual([stream.protocol for stream in answered.media], ["RTP/SAVP", "RTP/AVP", "RTP/AVP"])
        error = self.assertRaises(SdpError, secure_offer, self.leg(REQUIRED), self.leg(OFF), both)
        self.assertIn("RTP/AVP offered", error.reason)

    def test_reasons(self) -> None:
        """The error says what was offered and what would do."""
        for policy, profile, reason in (
            (OFF, "RTP/SAVP", "RTP/SAVP offered, but this side is configured for RTP that is not encrypted"),
            (REQUIRED, "RTP/AVP", "RTP/AVP offered, but this side is configured for encrypted RTP"),
            (OPTIONAL, "RTP/SAVPF", "RTP/SAVPF offered without a crypto suite that is known here"),
            (OPTIONAL, "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVP offered: only SDES keys are known here"),
            (REQUIRED, "RTP/OTHER", "RTP/OTHER offered: only SDES keys are known here"),
        ):
            error = self.assertRaises(SdpError, self.leg(policy).take_offer, audio(profile))
            self.assertEqual(error.reason, reason)
        error = self.assertRaises(SdpError, secure_offer, self.leg(OFF), self.leg(REQUIRED), audio("RTP/OTHER"))
        self.assertEqual(error.reason, "RTP/OTHER cannot be encrypted, as it has to be")

    def test_what_is_chosen(self) -> None:
        """The first that can be answered is: a suite of ours, one key, no unusual parameters, well-formed."""
        usable = line(GCM, 9, rest="|2^31|1:4 WSH=128 KDR=0 -x")
        offer = audio(
            "RTP/SAVP",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:short",
            line(COMMON, 2, rest=" UNENCRYPTED_SRTCP"),
            line(COMMON, 3, rest=" unheard-of"),
            line(COMMON, 4, rest=" KDR=1"),
            line(COMMON, 5, rest=f"|1:4;{line(COMMON, 5).split()[2]}|2:4"),
            line(AEAD_AES_256_GCM, 6),
            usable,
            line(COMMON, 10),
        )
        leg = self.leg(REQUIRED, COMMON, GCM)
        answer = leg.make_answer(leg.take_offer(offer), audio("RTP/AVP"))
        [attribute] = crypto_of(answer)
        self.assertEqual((attribute.tag, attribute.suite, attribute.parameters), (9, GCM.name, ()))
        self.assertEqual((attribute.keys[0].lifetime, attribute.keys[0].mki), (None, None))
        self.assertEqual(leg.keys(0).inbound, theirs(GCM, mki=Mki(value=1, size_octets=4)))

    def test_suites(self) -> None:
        """Those configured are offered in their order, with tags from 1, each with a key of its own."""
        leg = self.leg(OPTIONAL, SHORT, COMMON, SHORT)
        offered = leg.make_offer(audio("RTP/AVP"))
        self.assertEqual([(each.tag, each.suite) for each in crypto_of(offered)], [(1, SHORT.name), (2, COMMON.name)])
        self.assertNotEqual(own(offered, 1), own(offered, 2))
        self.assertRaises(ValueError, LegCrypto, OPTIONAL, self.entropy, ())


class AnswerTests(CryptoTestCase):
    """What answers are taken."""

    def answer_of(self, policy: CryptoPolicy, *lines: str, profile: str = "RTP/SAVP") -> LegCrypto:
        """Offer two suites to a leg, and take that answer."""
        leg = self.leg(policy, GCM, COMMON)
        leg.make_offer(audio("RTP/AVP"))
        taken = leg.take_answer(audio(profile, *lines))
        self.assertEqual(taken, audio("RTP/AVP"))
        return leg

    def test_chosen_tag(self) -> None:
        """The tag says which key of ours is used; the answer's profile may be another than the offer's."""
        for profile in ("RTP/SAVP", "RTP/AVP"):
            for policy in (OPTIONAL, REQUIRED):
                keys = self.answer_of(policy, line(COMMON, 2), profile=profile).keys(0)
                assert keys.outbound is not None
                self.assertEqual((keys.inbound, keys.outbound.suite), (theirs(COMMON), COMMON))

    def test_wrong_answers(self) -> None:
        """A tag or suite that was not offered, what is malformed, and a profile without keys are errors."""
        for lines in (
            (line(COMMON, 1),),
            (line(COMMON, 3),),
            (line(SHORT, 2),),
            (line(COMMON, 2, rest=" UNAUTHENTICATED_SRTP"),),
            (line(COMMON, 2, rest=" unheard-of"),),
            ("a=crypto:2 nothing",),
            (),
        ):
            for policy in (OPTIONAL, REQUIRED):
                self.assertRaises(SdpError, self.answer_of, policy, *lines)
            if lines:
                self.assertRaises(SdpError, self.answer_of, OPTIONAL, *lines, profile="RTP/AVP")
        self.assertRaises(SdpError, self.answer_of, REQUIRED, profile="RTP/AVP")
        self.assertRaises(SdpError, self.leg(OFF).take_answer, audio("RTP/SAVP", line(COMMON)))

    def test_our_own_key(self) -> None:
        """A party that says our key as its own is refused: it would let our packets in that somebody sends back."""
        leg = self.leg(OPTIONAL, COMMON)
        offered = leg.make_offer(audio("RTP/AVP"))
        self.assertRaises(SdpError, leg.take_answer, audio("RTP/AVP", f"a=crypto:{crypto_of(offered)[0]}"))
        self.assertRaises(SdpError, leg.take_offer, audio("RTP/SAVP", f"a=crypto:{crypto_of(offered)[0]}"))

    def test_more_than_one(self) -> None:
        """Of several attributes in an answer, the first that was offered counts."""
        keys = self.answer_of(REQUIRED, line(SHORT, 7), line(COMMON, 2, 5), line(GCM, 1, 6)).keys(0)
        self.assertEqual(keys.inbound, theirs(COMMON, 5))

    def test_unasked(self) -> None:
        """Keys in the answer of a leg that was offered none mean nothing."""
        leg = self.leg(OFF)
        leg.make_offer(audio("RTP/AVP"))
        self.assertEqual(leg.take_answer(audio("RTP/AVP", line(COMMON))), audio("RTP/AVP"))
        self.assertEqual(leg.keys(0), PLAIN)

    def test_all_or_nothing(self) -> None:
        """If one stream of an answer is wrong, the keys of all stay as they were."""
        leg = self.leg(REQUIRED, COMMON)
        offer = describe("m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 96")
        leg.take_answer(self.accept(leg.make_offer(offer)))
        before = leg.keys(0), leg.keys(1)
        bad = describe("m=audio 4000 RTP/SAVP 0", line(COMMON, 1, 9), "m=video 4002 RTP/SAVP 96")
        self.assertRaises(SdpError, leg.take_answer, bad)
        self.assertEqual((leg.keys(0), leg.keys(1)), before)
        self.assertNotEqual(before[0], before[1])

    def test_another_list(self) -> None:
        """What has not the streams of the offer is no answer to it."""
        secured = secure_offer(self.leg(OPTIONAL), self.leg(OPTIONAL), audio("RTP/AVP"))
        self.assertRaises(SdpError, secured.answer, describe())

    def test_refused_stream(self) -> None:
        """A stream that is refused has no keys, whatever the policy; its profile is as it was offered."""
        offerer, answerer = self.leg(REQUIRED), self.leg(REQUIRED)
        secured = secure_offer(offerer, answerer, audio("RTP/SAVPF", line(COMMON)))
        answered = secured.answer(audio("RTP/SAVPF", port=0))
        self.assertEqual(answered, audio("RTP/SAVPF", port=0))
        self.assertEqual((offerer.keys(0), answerer.keys(0)), (PLAIN, PLAIN))


class ChangeTests(CryptoTestCase):
    """Offers in a session that there is."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.leg(OPTIONAL), self.leg(OPTIONAL)
        self.offer = audio("RTP/SAVP", line(COMMON))

    def exchange(self, offer: SessionDescription, seed: int = 100, suite: Suite = COMMON) -> SessionDescription:
        """Let Alice offer that, and Bob answer with a key; give what Alice sees."""
        secured = secure_offer(self.alice, self.bob, offer)
        return secured.answer(self.accept(secured.description, suite, seed))

    def test_the_same_again(self) -> None:
        """With the same keys of theirs ours stay, and what is in force is offered first, so that nothing changes."""
        first = secure_offer(self.alice, self.bob, self.offer)
        answered = first.answer(self.accept(first.description))
        before = self.alice.keys(0), self.bob.keys(0)
        second = secure_offer(self.alice, self.bob, self.offer)
        offered = [
            [(one.suite, one.keys) for one in read_crypto(each.description.media[0])] for each in (first, second)
        ]
        self.assertEqual(offered[1][0][0], COMMON.name)
        self.assertCountEqual(offered[1], offered[0])
        self.assertEqual(second.answer(self.accept(second.description)), answered)
        self.assertEqual((self.alice.keys(0), self.bob.keys(0)), before)
        third = secure_offer(self.alice, self.bob, self.offer)
        self.assertEqual(third.description, second.description)

    def test_a_new_key_of_theirs(self) -> None:
        """It replaces what comes in from that leg, and nothing else."""
        self.exchange(self.offer)
        alice, bob = self.alice.keys(0), self.bob.keys(0)
        self.exchange(audio("RTP/SAVP", line(COMMON, seed=201)))
        self.assertEqual(self.alice.keys(0), Keys(inbound=theirs(COMMON, 201), outbound=alice.outbound))
        self.assertEqual(self.bob.keys(0), bob)
        self.exchange(self.offer, seed=101)
        self.assertEqual(self.alice.keys(0), alice)
        self.assertEqual(self.bob.keys(0), Keys(inbound=theirs(COMMON, 101), outbound=bob.outbound))

    def test_more_suites_than_before(self) -> None:
        """What is in force is kept if it is offered again, though another suite stands before it."""
        self.exchange(self.offer)
        before = self.alice.keys(0)
        self.exchange(audio("RTP/SAVP", line(GCM, 1), line(COMMON, 2)))
        self.assertEqual(self.alice.keys(0), before)

    def test_the_other_way(self) -> None:
        """The party that was called may offer; each side keeps its keys and its profile."""
        answered = self.exchange(self.offer)
        alice, bob = self.alice.keys(0), self.bob.keys(0)
        secured = secure_offer(self.bob, self.alice, audio("RTP/AVP", line(COMMON, 4, seed=100)))
        offered = secured.description
        self.assertEqual(offered.media[0].protocol, "RTP/SAVP")
        [tag] = [each.tag for each in crypto_of(offered) if each.suite == COMMON.name]
        self.assertEqual(own(offered, tag), own(answered, 1))
        back = secured.answer(self.accept(offered, seed=200))
        self.assertEqual((back.media[0].protocol, crypto_of(back)[0].tag), ("RTP/AVP", 4))
        self.assertEqual((self.alice.keys(0), self.bob.keys(0)), (alice, bob))

    def test_offer_that_fails(self) -> None:
        """What is refused changes nothing, and what was said before it can be said again and answered."""
        answered = self.exchange(self.offer)
        before = self.alice.keys(0), self.bob.keys(0)
        tag = crypto_of(answered)[0].tag
        secure_offer(self.bob, self.alice, audio("RTP/AVP", line(GCM, seed=7)))
        secure_offer(self.alice, self.bob, audio("RTP/SAVP", line(GCM, seed=8)))
        self.assertEqual((self.alice.keys(0), self.bob.keys(0)), before)
        self.alice.take_answer(audio("RTP/SAVP", line(COMMON, tag)))
        self.assertEqual(self.alice.keys(0), before[0])

    def test_several_answers(self) -> None:
        """Another answer to the same offer, as forking gives it, brings another key of theirs."""
        secured = secure_offer(self.alice, self.bob, self.offer)
        first = secured.answer(self.accept(secured.description, seed=1))
        outbound = self.bob.keys(0).outbound
        second = secured.answer(self.accept(secured.description, seed=2))
        self.assertEqual(first, second)
        self.assertEqual(self.bob.keys(0), Keys(inbound=theirs(COMMON, 2), outbound=outbound))
        self.assertEqual(crypto_of(secured.answer(self.ignore(secured.description))), crypto_of(first))
        self.assertEqual(self.bob.keys(0), PLAIN)

    def test_abandoned_keys(self) -> None:
        """A key of ours that was in force is not used again once it is not: neither for a suite nor for a stream."""
        self.exchange(self.offer)
        first = self.alice.keys(0).outbound, self.bob.keys(0).outbound
        self.exchange(audio("RTP/SAVP", line(GCM)), suite=GCM)
        self.exchange(self.offer)
        second = self.alice.keys(0).outbound, self.bob.keys(0).outbound
        for before, after in zip(first, second, strict=True):
            assert before is not None and after is not None
            self.assertNotEqual(before.master, after.master)
            self.assertEqual(before.suite, after.suite)
        self.exchange(describe("m=image 4000 udptl t38"))
        self.assertEqual((self.alice.keys(0), self.bob.keys(0)), (PLAIN, PLAIN))
        self.exchange(self.offer)
        self.assertNotIn(self.alice.keys(0).outbound, (*first, *second))
        self.assertNotIn(self.bob.keys(0).outbound, (*first, *second))

    def test_profile_is_remembered(self) -> None:
        """Who once spoke RTP/SAVP is offered it, for other streams and after other media, too."""
        self.exchange(self.offer)
        self.exchange(describe("m=image 4000 udptl t38"))
        secured = secure_offer(self.bob, self.alice, describe("m=audio 1 RTP/AVPF 0", "m=video 3 RTP/AVP 96"))
        self.assertEqual([stream.protocol for stream in secured.description.media], ["RTP/SAVPF", "RTP/SAVP"])
        secured.answer(self.accept(secured.description))
        self.assertEqual(self.bob.keys(1), PLAIN)
        self.assertNotEqual(self.alice.keys(1), PLAIN)

    def test_lines_elsewhere(self) -> None:
        """Slots say which lines of the leg are meant; what an exchange has no line for is not encrypted any more."""
        self.alice.make_answer(
            self.alice.take_offer(describe("m=video 2 RTP/AVP 96", line(COMMON), "m=audio 4 RTP/AVP 0", line(GCM, 6))),
            describe("m=video 2 RTP/AVP 96", "m=audio 4 RTP/AVP 0"),
        )
        audio_keys = self.alice.keys(1)
        crossed = describe("m=audio 4 RTP/SAVP 0", line(GCM, 6), "m=video 0 RTP/AVP 96")
        secured = secure_offer(self.alice, self.bob, crossed, (1, None))
        answered = secured.answer(self.accept(secured.description))
        self.assertEqual(self.alice.keys(1), audio_keys)
        self.assertEqual(self.alice.keys(0), PLAIN)
        self.assertEqual([each.tag for each in crypto_of(answered)], [6])
        self.assertNotEqual(self.bob.keys(0), PLAIN)

    def test_end(self) -> None:
        """Keys are forgotten when a leg ends, and when keying becomes end to end."""
        self.exchange(self.offer)
        self.alice.release()
        self.assertEqual(self.alice.keys(0), PLAIN)
        for leg in (self.alice, self.bob):
            leg.policy = PASS
        secure_offer(self.alice, self.bob, self.offer).answer(self.offer)
        self.assertEqual(self.bob.keys(0), PLAIN)


class SecrecyTests(CryptoTestCase):
    """Keys are where they belong, and nowhere else."""

    def test_never_on_another_leg(self) -> None:
        """No key that is said on one leg is said on another one, and no two that we say are the same."""
        for first in (OPTIONAL, REQUIRED, PASS):
            for second in (OPTIONAL, REQUIRED):
                alice, bob = self.leg(first), self.leg(second)
                offer = describe("m=audio 2 RTP/SAVP 0", line(COMMON, 1, 50), "m=video 4 RTP/SAVP 96", line(GCM, 2, 51))
                secured = secure_offer(alice, bob, offer)
                answer = self.accept(secured.description, seed=52)
                answered = secured.answer(answer)
                said = [
                    {each.keys[0].master for index in (0, 1) for each in crypto_of(description, index)}
                    for description in (offer, answered, secured.description, answer)
                ]
                self.assertEqual([len(keys) for keys in said], [2, 2, 2 * len(DEFAULT_SUITES), 1])
                self.assertEqual(len(set().union(*said)), 5 + 2 * len(DEFAULT_SUITES))

    def test_repr(self) -> None:
        """No key is in a `repr`."""
        alice, bob = self.leg(OPTIONAL), self.leg(OPTIONAL)
        offer = audio("RTP/SAVP", line(COMMON))
        taken = alice.take_offer(offer)
        secured = secure_offer(alice, bob, offer)
        secured.answer(self.accept(secured.description))
        shown = repr((alice, bob, taken, secured, alice.keys(0), bob.keys(0), alice._lines, bob._lines))
        for keys in (alice.keys(0), bob.keys(0)):
            for key in (keys.inbound, keys.outbound):
                assert key is not None
                self.assertNotIn(repr(key.master)[2:10], shown)
                self.assertNotIn(b64encode(key.master).decode()[:8], shown)


class PacketTests(CryptoTestCase):
    """What the keys are for."""

    def test_through_both_legs(self) -> None:
        """A packet of one party, protected by its suite, comes to the other one protected by another, both ways."""
        if (reason := available()) is not None:
            raise SkipTest(reason)
        alice, bob = self.leg(REQUIRED), self.leg(OPTIONAL)
        secured = secure_offer(alice, bob, audio("RTP/SAVP", line(GCM, seed=3)))
        answered = secured.answer(self.accept(secured.description, COMMON, seed=4))
        [tag] = [each.tag for each in crypto_of(secured.description) if each.suite == COMMON.name]
        alice_hears = SrtpKey(suite=GCM, master=own(answered, 1))
        bob_hears = SrtpKey(suite=COMMON, master=own(secured.description, tag))
        packet = b"\x80\0\0\1" + bytes(8) + b"voice"
        for sender, said, receiver, heard in (
            (alice, theirs(GCM, 3), bob, bob_hears),
            (bob, theirs(COMMON, 4), alice, alice_hears),
        ):
            inbound, outbound = sender.keys(0).inbound, receiver.keys(0).outbound
            assert inbound is not None and outbound is not None
            mouth, relay_out = OutboundContext(), OutboundContext()
            relay_in, ear = InboundContext(Clock().seconds), InboundContext(Clock().seconds)
            contexts: list[tuple[SrtpContext, SrtpKey]] = [(mouth, said), (relay_in, inbound)]
            for context, key in (*contexts, (relay_out, outbound), (ear, heard)):
                self.addCleanup(context.close)
                context.use(key)
            plain = relay_in.unprotect(mouth.protect(packet) or b"")
            self.assertEqual(plain, packet)
            self.assertEqual(ear.unprotect(relay_out.protect(packet) or b""), packet)
