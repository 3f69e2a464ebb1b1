"""Tests of `sipd.sdp.description`."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import SdpError
from sipd.sdp.description import (
    AddressType,
    Connection,
    Direction,
    MediaDescription,
    RtcpAddress,
    parse_description,
)

#: Every kind of line, and attributes that nobody here knows.
FULL = (
    b"v=0\r\n"
    b"o=alice 2890844526 2890844527 IN IP4 host.example.com\r\n"
    b"s=A call \xe4\r\n"
    b"i=about things\r\n"
    b"u=http://www.example.com/\r\n"
    b"e=alice@example.com (Alice)\r\n"
    b"p=+1 617 555-6011\r\n"
    b"c=IN IP4 192.0.2.1\r\n"
    b"b=AS:64\r\n"
    b"b=CT:128\r\n"
    b"t=0 0\r\n"
    b"z=2882844526 -1h\r\n"
    b"a=recvonly\r\n"
    b"x=letter that nobody knows\r\n"
    b"m=audio 49170 RTP/AVP 0 8 9 101\r\n"
    b"i=the voice\r\n"
    b"a=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:9 G722/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-15\r\n"
    b"a=maxptime:150\r\n"
    b"a=username:joe\r\n"
    b"a=sendrecv\r\n"
    b"m=video 51372/2 RTP/SAVPF 96\r\n"
    b"c=IN IP6 2001:db8::1\r\n"
    b"a=rtcp:53020 IN IP6 2001:db8::2\r\n"
    b"a=rtcp-mux\r\n"
    b"a=rtcp-fb:96 nack pli\r\n"
    b"m=application 0 UDP/BFCP *\r\n"
)


class ParseTests(SynchronousTestCase):
    """What is read, and what is not."""

    def test_leaves_every_line_as_it_came(self) -> None:
        """A description that nobody touches is printed octet for octet, unknown lines in their place."""
        self.assertEqual(parse_description(FULL).to_bytes(), FULL)

    def test_reads_media_lines(self) -> None:
        """Of each media line the kind, the ports, the protocol and the formats are read."""
        audio, video, slides = parse_description(FULL).media
        self.assertEqual((audio.media, audio.port, audio.port_count, audio.protocol), ("audio", 49170, 1, "RTP/AVP"))
        self.assertEqual(audio.formats, ("0", "8", "9", "101"))
        self.assertEqual((video.media, video.port, video.port_count, video.protocol), ("video", 51372, 2, "RTP/SAVPF"))
        self.assertEqual((slides.media, slides.port, slides.formats), ("application", 0, ("*",)))
        self.assertEqual([media.is_disabled for media in (audio, video, slides)], [False, False, True])
        self.assertEqual([media.is_rtp for media in (audio, video, slides)], [True, True, False])

    def test_reads_attributes(self) -> None:
        """Attributes are found by name: with a value, without, and not at all."""
        audio, video, _ = parse_description(FULL).media
        self.assertEqual(audio.attribute("maxptime"), "150")
        self.assertEqual(audio.attribute("username"), "joe")
        self.assertEqual(audio.attribute("sendrecv"), "")
        self.assertIsNone(audio.attribute("max"))
        self.assertEqual(video.attributes[-2:], [("rtcp-mux", None), ("rtcp-fb", "96 nack pli")])
        self.assertEqual(audio.rtpmaps, {"0": "PCMU/8000", "9": "G722/8000", "101": "telephone-event/8000"})
        self.assertEqual([audio.has_rtcp_mux, video.has_rtcp_mux], [False, True])

    def test_media_inherits_from_the_session(self) -> None:
        """A stream has the session's address and direction unless it has its own; without either it is sendrecv."""
        description = parse_description(FULL)
        audio, video, slides = description.media
        self.assertEqual(str(description.connection_of(audio)), "IN IP4 192.0.2.1")
        self.assertEqual(str(description.connection_of(video)), "IN IP6 2001:db8::1")
        self.assertEqual(
            [description.direction_of(media) for media in (audio, video)], [Direction.SENDRECV, Direction.RECVONLY]
        )
        bare = parse_description("v=0\r\nm=audio 1 RTP/AVP 0\r\n")
        self.assertIsNone(bare.connection_of(bare.media[0]))
        self.assertIs(bare.direction_of(bare.media[0]), Direction.SENDRECV)
        self.assertIs(slides.direction, None)

    def test_reads_rtcp_address(self) -> None:
        """RFC 3605: `a=rtcp` has a port, and may have an address."""
        _, video, _ = parse_description(FULL).media
        expected = Connection(address_type=AddressType.IP6, host="2001:db8::2")
        self.assertEqual(video.rtcp, RtcpAddress(port=53020, connection=expected))
        self.assertEqual(str(video.rtcp), "53020 IN IP6 2001:db8::2")
        self.assertEqual(RtcpAddress.parse("53020"), RtcpAddress(port=53020))
        for text in ("", "x", "1 IN", "70000", "-1", "1 IN IP4"):
            self.assertRaises(SdpError, RtcpAddress.parse, text)

    def test_reads_connections(self) -> None:
        """Numeric addresses, names and multicast groups are read and printed as they were; nonsense is refused."""
        for text in ("IN IP4 192.0.2.1", "IN IP6 2001:db8::1", "IN IP4 a.example.com", "IN IP4 224.2.36.42/127/3"):
            self.assertEqual(str(Connection.parse(text)), text)
        self.assertEqual(Connection.parse("IN IP4 224.2.36.42/127").host, "224.2.36.42")
        for text in ("", "IN IP4", "IN IP5 192.0.2.1", "ATM NSAP 1", "IN IP4 /127", "IN IP4 a b"):
            self.assertRaises(SdpError, Connection.parse, text)

    def test_unspecified_addresses(self) -> None:
        """Hold by address is known in every spelling."""
        for host, expected in (("0.0.0.0", True), ("::", True), ("0:0::0", True), ("::1", False), ("10.0.0.0", False)):
            connection = Connection(address_type=AddressType.of(host), host=host)
            self.assertEqual(connection.is_unspecified, expected, host)

    def test_is_lenient_about_line_ends(self) -> None:
        """LF, CR, a missing last line end and empty lines are read; CRLF is written."""
        canonical = b"v=0\r\ns=-\r\nm=audio 1 RTP/AVP 0\r\n"
        for data in (
            b"v=0\ns=-\nm=audio 1 RTP/AVP 0\n",
            b"v=0\r\ns=-\r\nm=audio 1 RTP/AVP 0",
            b"v=0\rs=-\rm=audio 1 RTP/AVP 0\r",
            b"v=0\r\n\r\ns=-\r\nm=audio 1 RTP/AVP 0\r\n\r\n\r\n",
        ):
            self.assertEqual(parse_description(data).to_bytes(), canonical)

    def test_refuses_what_is_none(self) -> None:
        """Nonsense raises `SdpError`, whose status is 488."""
        for data in (
            b"",
            b"\r\n",
            b"hello",
            b"v=1\r\n",
            b"s=-\r\nv=0\r\n",
            b"v=0\r\nnonsense\r\n",
            b"v=0\r\n=x\r\n",
            b"v=0\r\n1=x\r\n",
            b"v=0\r\nm=audio\r\n",
            b"v=0\r\nm=audio 1\r\n",
            b"v=0\r\nm= audio 1 RTP/AVP 0\r\n",
            b"v=0\r\nm=audio x RTP/AVP 0\r\n",
            b"v=0\r\nm=audio -1 RTP/AVP 0\r\n",
            b"v=0\r\nm=audio 65536 RTP/AVP 0\r\n",
            b"v=0\r\nm=audio 1/0 RTP/AVP 0\r\n",
            b"v=0\r\nm=audio 1/x RTP/AVP 0\r\n",
            b"v=0\r\nm=audio 1/ RTP/AVP 0\r\n",
            "v=0\r\nm=audio ٣ RTP/AVP 0\r\n".encode(),
        ):
            with self.assertRaises(SdpError, msg=repr(data)) as caught:
                parse_description(data)
            self.assertEqual(caught.exception.status, 488)

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.sampled_from(FULL.splitlines(keepends=True)) | st.binary(max_size=20), max_size=20))
    @example([b"v=0\r\n", b"m=x 1 \xff\r\n", b"a=rtcp:\r\n", b"c=\r\n"])
    def test_raises_nothing_but_sdp_error(self, parts: list[bytes]) -> None:
        """Whatever comes is parsed or raises `SdpError`; what is parsed prints as something that parses alike."""
        try:
            description = parse_description(b"v=0\r\n" + b"".join(parts))
        except SdpError:
            return
        self.assertEqual(parse_description(description.to_bytes()), description)
        for media in description.media:
            for read in (lambda m: m.rtcp, lambda m: m.rtpmaps, description.connection_of, description.direction_of):
                try:
                    read(media)
                except SdpError:
                    continue
            self.assertEqual(media.with_port(media.port).port, media.port)
            self.assertEqual((media.port_count > 0, len(media.formats) >= 0), (True, True))


class ChangeTests(SynchronousTestCase):
    """Copies that differ in one thing."""

    def setUp(self) -> None:
        """Parse the description."""
        self.description = parse_description(FULL)

    def test_port(self) -> None:
        """A new port takes the place of the old ones; the rest of the line stays."""
        _, video, slides = self.description.media
        self.assertEqual(video.with_port(4000).lines, ("m=video 4000 RTP/SAVPF 96", *video.lines[1:]))
        self.assertEqual(slides.with_port(9).lines, ("m=application 9 UDP/BFCP *",))

    def test_formats(self) -> None:
        """New formats take the place of the old ones."""
        audio = self.description.media[0].with_formats(["8", "101"])
        self.assertEqual(audio.lines[0], "m=audio 49170 RTP/AVP 8 101")
        self.assertEqual(audio.lines[1:], self.description.media[0].lines[1:])

    def test_direction(self) -> None:
        """A new direction removes the old one, whichever it was."""
        audio = self.description.media[0].with_direction(Direction.INACTIVE)
        self.assertIs(audio.direction, Direction.INACTIVE)
        self.assertIsNone(audio.attribute("sendrecv"))
        self.assertEqual(len(audio.lines), len(self.description.media[0].lines))

    def test_connection(self) -> None:
        """A new address takes the place of the old one, or stands where RFC 8866 section 5 wants it."""
        audio, video, slides = self.description.media
        address = Connection(address_type=AddressType.IP4, host="198.51.100.1")
        line = "c=IN IP4 198.51.100.1"
        self.assertEqual(audio.with_connection(address).lines[1:4], ("i=the voice", line, "a=rtpmap:0 PCMU/8000"))
        self.assertEqual(video.with_connection(address).lines[1:3], (line, video.lines[2]))
        self.assertEqual(slides.with_connection(address).lines[1:], (line,))
        twice = MediaDescription(lines=(audio.lines[0], "c=IN IP4 224.0.0.1", "c=IN IP4 224.0.0.2", "a=x"))
        self.assertEqual(twice.with_connection(address).lines[1:], (line, "a=x"))

    def test_attribute(self) -> None:
        """An attribute is set where it was, once; or added at the end."""
        audio = self.description.media[0]
        self.assertEqual(audio.with_attribute("ptime", "20").lines, (*audio.lines, "a=ptime:20"))
        both = audio.with_attribute("rtpmap", "0 PCMU/8000")
        self.assertEqual(both.rtpmaps, {"0": "PCMU/8000"})
        self.assertEqual(both.lines[2], "a=rtpmap:0 PCMU/8000")
        self.assertEqual(len(both.lines), len(audio.lines) - 2)

    def test_without_attributes(self) -> None:
        """Attributes go by their whole name, and a description without them is not copied."""
        audio = self.description.media[0]
        self.assertEqual(len(audio.without_attributes(["rtpmap", "fmtp"]).lines), len(audio.lines) - 4)
        self.assertIs(audio.without_attributes(["rtp", "max"]), audio)

    def test_origin(self) -> None:
        """The origin is replaced where it stands, added after `v=`, or left out."""
        self.assertEqual(self.description.origin, "alice 2890844526 2890844527 IN IP4 host.example.com")
        self.assertEqual(self.description.with_origin("- 1 1 IN IP4 192.0.2.9").lines[1], "o=- 1 1 IN IP4 192.0.2.9")
        bare = self.description.without_origin()
        self.assertIsNone(bare.origin)
        self.assertEqual(bare.with_origin("x").lines[:3], ("v=0", "o=x", self.description.lines[2]))

    def test_other_octets_survive_changes(self) -> None:
        """Octets that are not UTF-8 are printed as they came, beside what was changed."""
        self.assertIn(b"s=A call \xe4\r\n", self.description.with_origin("- 1 2 IN IP4 192.0.2.9").to_bytes())
