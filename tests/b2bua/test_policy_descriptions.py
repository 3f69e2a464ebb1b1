"""Policies of legs in whole calls: what each side says and hears of the session (RFC 3264)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sipd.policies import (
    PRESETS,
    AddressPolicy,
    CodecRule,
    DescriptionPolicy,
    EarlyMedia,
    HeaderPolicy,
    HoldForm,
    LegPolicy,
    ReasonForm,
    ReliablePolicy,
    StatusPolicy,
)
from sipd.sdp.description import SessionDescription, parse_description
from sipd.sdp.offer_answer import check_answer
from sipd.sip.message import Request, Response
from sipd.sip.validation import find_fault
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from tests.b2bua.policed import CARRIER, PolicyCase

ALICE = "192.0.2.2"
HEAD = "v=0\r\no=- 5 {version} IN IP4 {host}\r\ns=Phone\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
AUDIO = (
    "m=audio 4000 RTP/AVP 9 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=ptime:30\r\na=x-secret:1\r\na=sendrecv\r\n"
)
VIDEO = "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
G711 = LegPolicy(
    description=DescriptionPolicy(
        kinds=frozenset(("audio",)),
        codecs=(CodecRule(allow=("pcma", "pcmu"), order=("pcma",)),),
        ptime=20,
        denied_attributes=None,
        is_bare=True,
    )
)


def says(*media: str, host: str = ALICE, version: int = 1, direction: str = "sendrecv") -> bytes:
    """Make a description."""
    text = HEAD.format(host=host, version=version) + "".join(media)
    return text.replace("a=sendrecv", f"a={direction}").encode()


class DescriptionCase(PolicyCase):
    """Looks at what the carrier, and Alice, are told."""

    def heard(self, call: PeerCall) -> SessionDescription:
        """Give what a side was told last."""
        return parse_description(call.remote_body)

    def assert_g711(self, description: SessionDescription, lines: int = 1) -> None:
        """Make sure that a description is as the carrier wants them."""
        self.assertEqual(len(description.media), lines)
        audio = description.media[0]
        self.assertLessEqual(set(audio.formats), {"8", "0", "101"})
        self.assertEqual(audio.attribute("ptime"), "20")
        self.assertTrue(all(media.is_disabled for media in description.media[1:]))


class FilterTests(DescriptionCase):
    """A carrier with G.711 of 20 ms, and no video."""

    def test_offer_and_answer(self) -> None:
        """The carrier is offered what it wants and sees no other line; the caller's answer has a line for each."""
        self.begin(G711)
        offer = says(AUDIO, VIDEO)
        call, answered = self.talking(body=offer)
        self.assert_g711(self.heard(answered))
        self.assertEqual(self.heard(answered).media[0].formats, ("8", "0", "101"))
        answer = self.heard(call)
        check_answer(parse_description(offer), answer)
        self.assertEqual([media.is_disabled for media in answer.media], [False, True])
        call.hang_up()
        self.finish()

    def test_video_first(self) -> None:
        """Lines that are left out keep their places on the side that has them."""
        self.begin(G711)
        offer = says(VIDEO, AUDIO)
        call, answered = self.talking(body=offer)
        self.assert_g711(self.heard(answered))
        check_answer(parse_description(offer), self.heard(call))
        self.assertEqual([media.is_disabled for media in self.heard(call).media], [True, False])
        call.hang_up()
        self.finish()

    def test_reinvites_of_both_sides(self) -> None:
        """Re-INVITEs of either side pass the same filter, and answers fit their offers."""
        self.begin(G711)
        call, answered = self.talking(body=says(AUDIO, VIDEO))
        for version in (2, 3):
            offer = says(AUDIO, VIDEO, version=version)
            done = call.reinvite(offer)
            self.clock.advance(2.0)
            response = self.successResultOf(done)
            assert response is not None
            self.assertEqual(response.status, 200)
            check_answer(parse_description(offer), parse_description(response.body))
            self.assert_g711(self.heard(answered))
        offer = says(AUDIO, VIDEO, host=CARRIER, version=2)
        done = answered.reinvite(offer)
        self.clock.advance(2.0)
        response = self.successResultOf(done)
        assert response is not None
        self.assertEqual(response.status, 200)
        check_answer(parse_description(offer), parse_description(response.body))
        self.assert_g711(parse_description(response.body), 2)
        self.assert_g711(self.heard(call), 2)
        call.hang_up()
        self.finish()

    def test_new_line_later(self) -> None:
        """A kind that may not be used, and comes with a re-INVITE, is refused; the call goes on with the rest."""
        self.begin(G711)
        call, answered = self.talking(body=says(AUDIO))
        offer = says(AUDIO, VIDEO, version=2)
        done = call.reinvite(offer)
        self.clock.advance(2.0)
        response = self.successResultOf(done)
        assert response is not None
        self.assertEqual([media.is_disabled for media in parse_description(response.body).media], [False, True])
        self.assert_g711(self.heard(answered))
        call.hang_up()
        self.finish()

    def test_late_offer(self) -> None:
        """An offer that comes in the answer passes the filter of both legs, and so does the answer in the ACK."""
        self.begin(G711)
        self.carrier.on_call = lambda call: call.later(0.5, lambda: call.answer(body=says(AUDIO, VIDEO, host=CARRIER)))
        call, answered = self.talking(body=b"")
        self.assert_g711(self.heard(call))
        check_answer(parse_description(says(AUDIO, VIDEO)), self.heard(answered))
        self.assert_g711(self.heard(answered), 2)
        call.hang_up()
        self.finish()

    def test_early_media(self) -> None:
        """What is said before the answer passes the filter, too."""
        self.begin(caller=G711)
        self.carrier.on_call = lambda call: call.ring(
            183, body=builders.sdp_answer(call.invite.body, CARRIER).replace(b"a=sendrecv", b"a=ptime:60\r\na=sendrecv")
        )
        call = self.out(body=says(AUDIO))
        self.assert_g711(parse_description(self.last(self.alice, 183).body))
        call.cancel()
        self.finish()

    def test_callers_policy(self) -> None:
        """What a caller may not use is not offered to anybody."""
        self.begin(caller=G711)
        call, answered = self.talking(body=says(AUDIO, VIDEO))
        self.assertEqual(self.heard(answered).media[0].formats, ("8", "0", "101"))
        self.assertEqual([media.media for media in self.heard(answered).media], ["audio"])
        self.assert_g711(self.heard(call), 2)
        call.hang_up()
        self.finish()

    def test_nothing_left(self) -> None:
        """A call with nothing that may be used is refused with 488, and so is a re-INVITE, which changes nothing."""
        self.begin(G711)
        call = self.out(body=says(VIDEO))
        self.assertEqual(call.status, 488)
        call, _ = self.talking(body=says(AUDIO))
        done = call.reinvite(says(AUDIO.replace("9 8 0 101", "9"), version=2))
        self.clock.advance(2.0)
        response = self.successResultOf(done)
        assert response is not None
        self.assertEqual(response.status, 488)
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.settle()

    def test_answer_without_anything(self) -> None:
        """A callee that answers with what it was not offered is let go, and the caller told 488."""
        self.begin(G711)
        self.carrier.on_call = lambda call: call.later(
            0.5, lambda: call.answer(body=says(AUDIO.replace("9 8 0 101", "9"), host=CARRIER))
        )
        call = self.out(body=says(AUDIO))
        self.settle()
        self.assertEqual(call.status, 488)


class HoldTests(DescriptionCase):
    """How the carrier is told that it is on hold."""

    def test_forms(self) -> None:
        """It is told in the form that it wants, or not at all; the answer fits what was offered."""
        for form, told in (
            (HoldForm.PASS, "sendonly"),
            (HoldForm.INACTIVE, "inactive"),
            (HoldForm.HIDE, "sendrecv"),
        ):
            self.begin(LegPolicy(description=DescriptionPolicy(hold=form)))
            call, answered = self.talking(body=says(AUDIO))
            done = call.reinvite(says(AUDIO, version=2, direction="sendonly"))
            self.clock.advance(2.0)
            response = self.successResultOf(done)
            assert response is not None
            heard, answer = self.heard(answered), parse_description(response.body)
            self.assertEqual(heard.direction_of(heard.media[0]).value, told)
            self.assertIn(answer.direction_of(answer.media[0]).value, ("recvonly", "inactive"))
            call.hang_up()
            self.settle()


_descriptions = st.sampled_from(
    (
        None,
        PRESETS["hide"].description,
        G711.description,
        DescriptionPolicy(denied_kinds=frozenset(("video",)), bandwidth=64),
        DescriptionPolicy(kinds=frozenset(("video",))),
        DescriptionPolicy(codecs=(CodecRule(kind="*", deny=("g722",), order=("pcmu",)),), hold=HoldForm.INACTIVE),
    )
)
_policies = st.builds(
    lambda preset, description, early_media, reliable, user_agent, also: replace(
        PRESETS[preset],
        description=description,
        early_media=early_media,
        reliable=reliable,
        user_agent=user_agent,
        headers=HeaderPolicy(also=also, deny=("x-*",)),
        statuses=StatusPolicy(reasons=ReasonForm.Q850),
        addresses=AddressPolicy(domain="pbx.example", is_phone=True, to_is_target=True),
    ),
    st.sampled_from(sorted(PRESETS)),
    _descriptions,
    st.sampled_from((None, EarlyMedia.AS_180, EarlyMedia.AS_183)),
    st.sampled_from((ReliablePolicy.SUPPORTED, ReliablePolicy.OFF)),
    st.sampled_from((None, "", "PBX")),
    st.sampled_from(((), ("*",))),
)


class PropertyTests(DescriptionCase):
    """What no policies can do."""

    @settings(deadline=None, max_examples=40)
    @given(
        _policies,
        _policies,
        st.sampled_from((says(AUDIO), says(AUDIO, VIDEO), says(VIDEO, AUDIO), says(VIDEO), b"")),
        st.booleans(),
    )
    def test_calls_stay_calls(self, policy: LegPolicy, caller: LegPolicy, body: bytes, is_early: bool) -> None:
        """With any two policies a call is answered or refused and ends; all messages are good, and nothing leaks."""
        self.begin(policy, caller)

        def take(call: PeerCall) -> None:
            has_offer = bool(call.invite.body)
            answer = says(AUDIO, VIDEO, host=CARRIER)
            if has_offer:
                answer = builders.sdp_answer(call.invite.body, CARRIER)
            call.ring(183 if is_early and has_offer else 180, body=answer if is_early and has_offer else b"")
            call.later(0.5, lambda: call.answer(body=answer))

        self.carrier.on_call = take
        call = self.out(body=body, headers=[("X-A", "1"), ("User-Agent", "p"), ("Supported", "timer")])
        if call.is_answered:
            done = call.reinvite(says(AUDIO, VIDEO, version=2, direction="sendonly"))
            self.clock.advance(3.0)
            self.assertIsNotNone(self.successResultOf(done))
            call.hang_up()
        else:
            self.assertGreaterEqual(call.status or 0, 400)
        self.settle()
        ids = {call.call_id} | {one.call_id for one in self.carrier.calls}
        for peer, own in ((self.alice, {call.call_id}), (self.carrier, {one.call_id for one in self.carrier.calls})):
            for message in peer.seen:
                if message.call_id in ids:
                    self.assert_good(message, own)

    def assert_good(self, message: Request | Response, own: set[str]) -> None:
        """Make sure that a message is one of its own leg."""
        if isinstance(message, Request):
            self.assertIsNone(find_fault(message))
        self.assertIn(message.call_id, own)
        for name in ("Call-ID", "CSeq", "From", "To", "Content-Length", "User-Agent", "Max-Forwards"):
            self.assertLessEqual(message.headers.count(name), 1, name)
        self.assertNotIn("X-A", message.headers)
        if message.content_type == "application/sdp" and message.body:
            parse_description(message.body)
