"""Tests of `sipd.sdp.codecs`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import SdpError
from sipd.sdp.codecs import agreed_codecs, allow_codecs, deny_codecs, encodings, filter_codecs
from sipd.sdp.description import MediaDescription
from tests.sdp.test_offer_answer import describe

PHONE = MediaDescription(
    lines=(
        "m=audio 4000 RTP/AVP 0 8 96 101",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
    )
)
CAMERA = MediaDescription(
    lines=(
        "m=video 4002 RTP/AVPF 96 97 98",
        "a=rtpmap:96 H264/90000",
        "a=rtcp-fb:96 nack",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=rtpmap:98 VP8/90000",
        "a=rtcp-fb:* ccm fir",
    )
)
FAX = MediaDescription(lines=("m=image 4004 udptl t38",))


class EncodingTests(SynchronousTestCase):
    """What formats mean."""

    def test_names(self) -> None:
        """An `a=rtpmap` counts more than the fixed table; what nobody explains is its own name."""
        media = MediaDescription(
            lines=(
                "m=audio 1 RTP/AVP 0 9 18 97 98",
                "a=rtpmap:18 G729A/8000/1",
                "a=rtpmap:97 L16/44100/2",
                "a=rtpmap:0",
            )
        )
        self.assertEqual(
            encodings(media), {"0": "pcmu/8000", "9": "g722/8000", "18": "g729a/8000", "97": "l16/44100/2", "98": "98"}
        )
        self.assertEqual(encodings(FAX), {"t38": "t38"})

    def test_agreed(self) -> None:
        """The same encoding is the same codec, whatever its payload types are; each is used once."""
        theirs = MediaDescription(
            lines=("m=audio 1 RTP/AVP 101 8 111", "a=rtpmap:101 OPUS/48000/2", "a=rtpmap:111 telephone-event/8000")
        )
        self.assertEqual(
            [(codec.name, codec.local, codec.remote) for codec in agreed_codecs(PHONE, theirs)],
            [("pcma", "8", "8"), ("opus", "96", "101"), ("telephone-event", "101", "111")],
        )
        twice = MediaDescription(lines=("m=video 1 RTP/AVP 96 97", "a=rtpmap:96 H264/90000", "a=rtpmap:97 H264/90000"))
        back = MediaDescription(lines=("m=video 1 RTP/AVP 97 98", "a=rtpmap:97 H264/90000", "a=rtpmap:98 H264/90000"))
        self.assertEqual([(c.local, c.remote) for c in agreed_codecs(back, twice)], [("97", "97"), ("98", "96")])
        self.assertEqual(agreed_codecs(PHONE, FAX), ())


class FilterTests(SynchronousTestCase):
    """What a leg may use."""

    def test_allow(self) -> None:
        """Only these, by name or encoding, and what accompanies them; their lines go with the others."""
        filtered = allow_codecs(["opus/48000/2"])(PHONE)
        self.assertEqual(filtered.lines, ("m=audio 4000 RTP/AVP 96 101", *PHONE.lines[1:]))
        filtered = allow_codecs(["pcma", "pcmu"])(PHONE)
        self.assertEqual(filtered.lines, ("m=audio 4000 RTP/AVP 0 8 101", *PHONE.lines[3:]))

    def test_deny(self) -> None:
        """All but these; `telephone-event`, too, if it is named."""
        self.assertEqual(deny_codecs(["telephone-event", "pcmu"])(PHONE).formats, ("8", "96"))

    def test_all_is_well(self) -> None:
        """What may stay as it is stays the same object, and so do streams that are not RTP."""
        self.assertIs(deny_codecs(["g729"])(PHONE), PHONE)
        self.assertIs(allow_codecs([])(FAX), FAX)

    def test_retransmissions_go_with_their_codec(self) -> None:
        """An `rtx` whose `apt` names a codec that is gone would retransmit nothing (RFC 4588)."""
        filtered = deny_codecs(["h264"])(CAMERA)
        self.assertEqual(filtered.lines, ("m=video 4002 RTP/AVPF 98", "a=rtpmap:98 VP8/90000", "a=rtcp-fb:* ccm fir"))
        self.assertIs(allow_codecs(["h264", "vp8"])(CAMERA), CAMERA)

    def test_stream_without_a_codec_is_refused(self) -> None:
        """DTMF alone is no conversation."""
        self.assertEqual(allow_codecs(["g729"])(PHONE).lines, ("m=audio 0 RTP/AVP 0 8 96 101",))

    def test_description(self) -> None:
        """A stream of which nothing is left gets port 0; if it was the last one there is nothing to talk about."""
        both = describe(*PHONE.lines, *CAMERA.lines)
        filtered = filter_codecs(both, allow_codecs(["pcmu"]))
        self.assertEqual([media.is_disabled for media in filtered.media], [False, True])
        self.assertEqual(filtered.lines, both.lines)
        self.assertIs(filter_codecs(both, deny_codecs([])), both)
        with self.assertRaises(SdpError):
            filter_codecs(both, allow_codecs(["g729"]))
        ended = describe("m=audio 0 RTP/AVP 0")
        self.assertIs(filter_codecs(ended, allow_codecs(["g729"])), ended)
