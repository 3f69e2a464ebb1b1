"""What a leg may say and hear of a session."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import SdpError
from sipd.policies.text import compile_globs
from sipd.sdp.description import SessionDescription, parse_description
from sipd.sdp.filters import CodecRule, DescriptionPolicy, HoldForm, tell_hold
from sipd.sdp.negotiation import Carrier, Meaning, Negotiation
from sipd.sdp.offer_answer import LocalOrigin, check_answer
from sipd.sdp.streams import cross_offer, leave_out_disabled

HEAD = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=Phone 1.2\r\ni=info\r\ne=a@b\r\nc=IN IP4 192.0.2.1\r\nb=CT:512\r\nt=0 0\r\n"
)
AUDIO = (
    "m=audio 4000 RTP/AVP 9 8 0 18 101 13\r\ni=mine\r\nb=AS:80\r\n"
    "a=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:30\r\na=maxptime:40\r\n"
    "a=sendrecv\r\na=rtcp:4001\r\na=X-secret:1\r\na=ssrc:5 cname:gw7\r\n"
)
VIDEO = "m=video 4002 RTP/AVP 96\r\nb=TIAS:512000\r\na=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\n"
FAX = "m=image 4004 udptl t38\r\na=T38FaxVersion:0\r\n"


def says(*parts: str) -> SessionDescription:
    """Make a description."""
    return parse_description("".join((HEAD, *parts)))


def globs(*names: str) -> Any:
    """Make names."""
    return compile_globs(names)


class StreamTests(SynchronousTestCase):
    """Kinds and codecs."""

    def test_codecs(self) -> None:
        """Allow, deny and order, for one kind or all; the formats that are left are explained, and no others."""
        for rules, audio, video in (
            ([CodecRule(allow=("pcma",))], "8 101 13", "96"),
            ([CodecRule(allow=("pcma", "pcmu"), deny=("cn",))], "8 0 101", "96"),
            ([CodecRule(deny=("g722", "telephone-event"))], "8 0 18 13", "96"),
            ([CodecRule(order=("pcmu", "pcma/8000"))], "0 8 9 18 101 13", "96"),
            ([CodecRule(kind="video", deny=("h264",))], "9 8 0 18 101 13", None),
            ([CodecRule(kind="*", allow=("pcmu", "h264"))], "0 101 13", "96"),
            ([CodecRule(allow=("g722", "pcmu")), CodecRule(order=("pcmu",))], "0 9 101 13", "96"),
        ):
            made = DescriptionPolicy(codecs=tuple(rules)).apply(says(AUDIO, VIDEO))
            self.assertEqual(" ".join(made.media[0].formats), audio, rules)
            self.assertEqual(None if made.media[1].is_disabled else " ".join(made.media[1].formats), video, rules)
            self.assertLessEqual(made.media[0].rtpmaps.keys(), set(made.media[0].formats))

    def test_kinds(self) -> None:
        """A kind that may not be used keeps its line, with port 0."""
        for options, ports in (
            ({"kinds": frozenset(("audio",))}, [4000, 0, 0]),
            ({"denied_kinds": frozenset(("video",))}, [4000, 0, 4004]),
            ({"kinds": frozenset(("audio", "video")), "denied_kinds": frozenset(("audio",))}, [0, 4002, 0]),
        ):
            made = DescriptionPolicy(**options).apply(says(AUDIO, VIDEO, FAX))  # type: ignore[arg-type]
            self.assertEqual([media.port for media in made.media], ports)

    def test_nothing_left(self) -> None:
        """Where nothing is left to talk about there is no session; where there was nothing it stays so."""
        policy = DescriptionPolicy(kinds=frozenset(("audio",)))
        self.assertRaises(SdpError, policy.apply, says(VIDEO))
        nothing = says(VIDEO.replace("4002", "0"))
        self.assertIs(policy.apply(nothing), nothing)

    def test_packet_times(self) -> None:
        """`ptime` and `maxptime` of audio are written, and do not contradict each other."""
        for options, expected in (
            ({"ptime": 20}, ("20", "40")),
            ({"ptime": 60}, ("60", "60")),
            ({"maxptime": 150}, ("30", "150")),
            ({"ptime": 20, "maxptime": 20}, ("20", "20")),
        ):
            made = DescriptionPolicy(**options).apply(says(AUDIO, VIDEO))  # type: ignore[arg-type]
            self.assertEqual((made.media[0].attribute("ptime"), made.media[0].attribute("maxptime")), expected)
            self.assertIsNone(made.media[1].attribute("ptime"))


class LineTests(SynchronousTestCase):
    """Attributes and other lines."""

    def names(self, policy: DescriptionPolicy) -> set[str]:
        """Give the attributes that are left of the audio stream."""
        return {name for name, _ in policy.apply(says(AUDIO)).media[0].attributes}

    def test_attributes(self) -> None:
        """What nobody can do without stays; of the others what is allowed and not denied."""
        needed = {"rtpmap", "fmtp", "sendrecv", "rtcp"}
        for options, expected in (
            ({"attributes": globs("ptime")}, needed | {"ptime"}),
            ({"attributes": globs("*"), "denied_attributes": globs("x-*", "ssrc")}, needed | {"ptime", "maxptime"}),
            ({"denied_attributes": globs("*")}, needed),
            ({"denied_attributes": globs("*"), "ptime": 20}, needed | {"ptime"}),
            ({"attributes": globs("none"), "maxptime": 60}, needed | {"maxptime"}),
        ):
            self.assertEqual(self.names(DescriptionPolicy(**options)), expected, options)

    def test_bare(self) -> None:
        """What tells of people and programs is left out, at the session and at streams."""
        made = str(DescriptionPolicy(is_bare=True).apply(says("a=tool:x\r\n", AUDIO)))
        for secret in ("Phone 1.2", "i=", "e=", "tool"):
            self.assertNotIn(secret, made)
        self.assertIn("\r\ns=-\r\n", made)

    def test_bandwidth(self) -> None:
        """Bandwidth is limited in its own unit, or left out."""
        made = str(DescriptionPolicy(bandwidth=64).apply(says("b=XX:9\r\nb=AS:x\r\n", AUDIO, VIDEO)))
        for line in ("b=CT:64", "b=AS:64", "b=TIAS:64000", "b=XX:9", "b=AS:x"):
            self.assertIn(f"\r\n{line}\r\n", made)
        self.assertIn("b=AS:80", str(DescriptionPolicy(bandwidth=100).apply(says(AUDIO))))
        self.assertNotIn("b=", str(DescriptionPolicy(bandwidth=0).apply(says(AUDIO, VIDEO))))

    def test_nothing_to_do(self) -> None:
        """What is right already is the same object."""
        description = says(AUDIO, VIDEO)
        policy = DescriptionPolicy(kinds=frozenset(("audio", "video")), bandwidth=1000, attributes=globs("*"))
        self.assertIs(policy.apply(description), description)


class HoldTests(SynchronousTestCase):
    """How a hold is told."""

    def test_table(self) -> None:
        """Streams that are held say so in that form; others stay."""
        for form, given_as, expected in (
            (HoldForm.PASS, "inactive", "inactive"),
            (HoldForm.SENDONLY, "inactive", "sendonly"),
            (HoldForm.SENDONLY, "sendonly", "sendonly"),
            (HoldForm.INACTIVE, "sendonly", "inactive"),
            (HoldForm.HIDE, "sendonly", "sendrecv"),
            (HoldForm.HIDE, "inactive", "sendrecv"),
            (HoldForm.INACTIVE, "recvonly", "recvonly"),
            (HoldForm.INACTIVE, "sendrecv", "sendrecv"),
        ):
            offer = says(AUDIO.replace("sendrecv", given_as), VIDEO.replace("4002", "0"))
            made = tell_hold(offer, form)
            self.assertEqual(made.direction_of(made.media[0]).value, expected, (form, given_as))
            self.assertEqual(made.media[1], offer.media[1])


class OfferAnswerTests(SynchronousTestCase):
    """The filter in a negotiation."""

    def setUp(self) -> None:
        self.negotiation = Negotiation(LocalOrigin(session_id=1, host="192.0.2.9"), bytes)
        self.negotiation.policy = DescriptionPolicy(
            kinds=frozenset(("audio",)), codecs=(CodecRule(allow=("pcma",)),), ptime=20
        )

    def check(self, description: SessionDescription | None) -> None:
        """Make sure that the policy holds."""
        assert description is not None
        audio, video = description.media
        self.assertEqual((audio.formats, audio.attribute("ptime")), (("8", "101", "13"), "20"))
        self.assertTrue(video.is_disabled)

    def test_sent_offer_and_received_answer(self) -> None:
        """What is offered has passed the filter, and so has what the peer answers to it."""
        self.check(self.negotiation.send(Carrier.INVITE, says(AUDIO, VIDEO)))
        self.assertIs(self.negotiation.receive(Carrier.SUCCESS, says(AUDIO, VIDEO)), Meaning.ANSWER)
        self.check(self.negotiation.remote)

    def test_received_offer_and_sent_answer(self) -> None:
        """What the peer offers has passed it, and so has the answer."""
        self.negotiation.receive(Carrier.INVITE, says(AUDIO, VIDEO))
        self.check(self.negotiation.offer)
        self.check(self.negotiation.send(Carrier.SUCCESS, says(AUDIO, VIDEO)))

    def test_preview(self) -> None:
        """What the peer will probably answer has passed it; without anything left it is of no use."""
        self.negotiation.send(Carrier.INVITE, says(AUDIO, VIDEO))
        self.assertIs(self.negotiation.receive(Carrier.PROVISIONAL, says(AUDIO, VIDEO)), Meaning.PREVIEW)
        self.check(self.negotiation.preview)
        other = says(AUDIO.replace(" 8 ", " "), VIDEO)
        self.assertIs(self.negotiation.receive(Carrier.PROVISIONAL, other), Meaning.NOTHING)

    def test_unusable_answer(self) -> None:
        """An answer of which nothing is left ends the exchange."""
        self.negotiation.send(Carrier.INVITE, says(AUDIO, VIDEO))
        other = says(AUDIO.replace(" 8 ", " "), VIDEO)
        self.assertRaises(SdpError, self.negotiation.receive, Carrier.SUCCESS, other)
        self.assertTrue(self.negotiation.is_doubtful)

    def test_repeated_offer(self) -> None:
        """An offer that is the same after the filter is known to be."""
        self.negotiation.receive(Carrier.INVITE, says(AUDIO, VIDEO))
        self.negotiation.send(Carrier.SUCCESS, says(AUDIO, VIDEO))
        self.negotiation.receive(Carrier.ACK)
        self.negotiation.receive(Carrier.UPDATE, says(AUDIO, VIDEO))
        self.assertTrue(self.negotiation.is_repeated)

    def test_forks(self) -> None:
        """Each fork has the filter."""
        self.negotiation.send(Carrier.INVITE, says(AUDIO, VIDEO))
        fork = self.negotiation.fork()
        fork.receive(Carrier.SUCCESS, says(AUDIO, VIDEO))
        self.check(fork.remote)


class LeaveOutTests(SynchronousTestCase):
    """First offers without lines that mean nothing."""

    def test_lines_find_their_way_back(self) -> None:
        """The answer to what is left is one to the whole offer."""
        offer = says(VIDEO.replace("4002", "0"), AUDIO)
        crossing = leave_out_disabled(cross_offer(offer, None))
        self.assertEqual([media.media for media in crossing.description.media], ["audio"])
        self.assertEqual((crossing.slots, crossing.reverse_slots), ((None, 0), (1,)))
        answer = crossing.answer(says(AUDIO))
        check_answer(offer, answer)
        self.assertEqual([media.port for media in answer.media], [0, 4000])

    def test_nothing_to_leave_out(self) -> None:
        """An offer without such lines, and one of nothing else, cross as they are."""
        for offer in (says(AUDIO, VIDEO), says(VIDEO.replace("4002", "0"))):
            crossing = cross_offer(offer, None)
            self.assertIs(leave_out_disabled(crossing), crossing)


_codecs = st.lists(st.sampled_from(("pcma", "pcmu", "g722", "g729/8000", "telephone-event", "h264", "cn")), max_size=3)
_kinds = st.frozensets(st.sampled_from(("audio", "video", "image")), max_size=2)
_globs = st.sampled_from((None, "*", "x-*", "rtpmap", "ptime", "send*", "ssrc"))


class PropertyTests(SynchronousTestCase):
    """What no policy can do."""

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(st.sampled_from((AUDIO, VIDEO, FAX)), min_size=1, max_size=4),
        st.builds(
            lambda kinds, denied, allow, deny, order, times, attributes, denied_attributes, bandwidth, bare: (
                DescriptionPolicy(
                    kinds=kinds,
                    denied_kinds=denied,
                    codecs=(CodecRule(kind="*", allow=tuple(allow), deny=tuple(deny), order=tuple(order)),),
                    ptime=times[0],
                    maxptime=times[1],
                    attributes=None if attributes is None else globs(attributes),
                    denied_attributes=None if denied_attributes is None else globs(denied_attributes),
                    bandwidth=bandwidth,
                    is_bare=bare,
                )
            ),
            _kinds, _kinds, _codecs, _codecs, _codecs,
            st.tuples(st.sampled_from((None, 10, 20)), st.sampled_from((None, 20, 60))),
            _globs, _globs, st.sampled_from((None, 0, 64)), st.booleans(),
        ),
    )  # fmt: skip
    def test_descriptions_stay_good(self, parts: list[str], policy: DescriptionPolicy) -> None:
        """What passes a filter can be read again, has the same lines of media, and passes it again unchanged."""
        before = says(*parts)
        try:
            after = policy.apply(before)
        except SdpError:
            return
        self.assertEqual(parse_description(after.to_bytes()), after)
        check_answer(before, after)
        self.assertEqual(policy.apply(after), after)
        for media in after.media:
            self.assertLessEqual(media.rtpmaps.keys(), set(media.formats))
