"""Tests of `sipd.media.rewrite`: descriptions in, descriptions out."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import SdpError
from sipd.media.rewrite import SignalledStream, StreamPlace, read_streams, rewrite
from sipd.sdp.description import AddressType, parse_description

RELAY = "203.0.113.1"
RELAY6 = "2001:db8::1"


class RewriteTests(SynchronousTestCase):
    """Each case: lines after `t=` as they came, ports of the relay, and lines as they leave."""

    def check(
        self,
        came: list[str],
        ports: list[int],
        leaves: list[str],
        *,
        session: str | None = "IN IP4 192.0.2.1",
        expected: str | None = f"IN IP4 {RELAY}",
        host: str = RELAY,
    ) -> None:
        """Check one case; `session` is the session's address, and `expected` what it becomes."""
        head = ["v=0", "o=alice 1 1 IN IP4 192.0.2.1", "s=-"]
        before = [*head, *([f"c={session}"] if session else []), "t=0 0", *came]
        after = [*head, *([f"c={expected}"] if expected else []), "t=0 0", *leaves]
        places = [StreamPlace(host=host, port=port) if port else None for port in ports]
        result = rewrite(parse_description("\r\n".join(before)), places, host)
        self.assertEqual(str(result), "\r\n".join(after) + "\r\n")

    def test_session_address(self) -> None:
        """The address of the session is replaced, and none is added to the streams."""
        self.check(
            ["m=audio 4000 RTP/AVP 0", "a=ptime:20", "m=video 4002 RTP/AVP 96"],
            [20000, 20002],
            ["m=audio 20000 RTP/AVP 0", "a=ptime:20", "m=video 20002 RTP/AVP 96"],
        )

    def test_addresses_of_streams(self) -> None:
        """Addresses of streams are replaced where they stand, and with them that of the session."""
        self.check(
            ["m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.7", "b=AS:64", "m=video 4002 RTP/AVP 96"],
            [20000, 20002],
            ["m=audio 20000 RTP/AVP 0", f"c=IN IP4 {RELAY}", "b=AS:64", "m=video 20002 RTP/AVP 96"],
        )
        self.check(
            ["m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.7"],
            [20000],
            ["m=audio 20000 RTP/AVP 0", f"c=IN IP4 {RELAY}"],
            session=None,
            expected=None,
        )

    def test_to_the_other_version(self) -> None:
        """The type of the address is that of the relay's."""
        self.check(
            ["m=audio 4000 RTP/AVP 0", "a=rtcp:53020 IN IP4 192.0.2.8"],
            [20000],
            ["m=audio 20000 RTP/AVP 0", f"a=rtcp:20001 IN IP6 {RELAY6}"],
            expected=f"IN IP6 {RELAY6}",
            host=RELAY6,
        )

    def test_rtcp(self) -> None:
        """`a=rtcp` names the relay's port; it goes where RTCP has no port of its own."""
        self.check(
            [
                "m=audio 4000 RTP/AVP 0",
                "a=rtcp:53020",
                "m=video 4002 RTP/AVP 96",
                "a=rtcp:4002",
                "a=rtcp-mux",
                "m=video 0 RTP/AVP 96",
                "a=rtcp:53022 IN IP4 192.0.2.8",
            ],
            [20000, 20002, 0],
            [
                "m=audio 20000 RTP/AVP 0",
                "a=rtcp:20001",
                "m=video 20002 RTP/AVP 96",
                "a=rtcp-mux",
                "m=video 0 RTP/AVP 96",
            ],
        )

    def test_streams_that_are_off(self) -> None:
        """A stream that is off has port 0 and no address of the party; one of several ports becomes one pair."""
        self.check(
            ["m=audio 0 RTP/AVP 0", "c=IN IP4 192.0.2.7", "m=video 4002/2 RTP/AVP 96", "m=text 9 TCP/MSRP *"],
            [0, 20002, 0],
            ["m=audio 0 RTP/AVP 0", f"c=IN IP4 {RELAY}", "m=video 20002 RTP/AVP 96", "m=text 0 TCP/MSRP *"],
        )

    def test_hold_by_address(self) -> None:
        """0.0.0.0 stays, of the session or of one stream, in the version of the relay's address."""
        audio, video = ["m=audio 4000 RTP/AVP 0"], ["m=video 4002 RTP/AVP 96"]
        to_audio, to_video = ["m=audio 20000 RTP/AVP 0"], ["m=video 20002 RTP/AVP 96"]
        held, free = "c=IN IP4 0.0.0.0", f"c=IN IP4 {RELAY}"
        self.check(audio, [20000], to_audio, session="IN IP4 0.0.0.0", expected="IN IP4 0.0.0.0")
        self.check(audio, [20000], to_audio, session="IN IP4 0.0.0.0", expected="IN IP6 ::", host=RELAY6)
        self.check([*audio, held, *video], [20000, 20002], [*to_audio, held, *to_video])
        self.check(
            [*audio, *video, "c=IN IP4 192.0.2.7"],
            [20000, 20002],
            [*to_audio, *to_video, free],
            session="IN IP4 0.0.0.0",
            expected="IN IP4 0.0.0.0",
        )

    def test_places_of_both_versions(self) -> None:
        """A stream at another address than the session's gets a `c=` line of its own."""
        description = parse_description(
            "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 1 RTP/AVP 0\r\ni=one\r\na=x\r\nm=audio 2 RTP/AVP 0\r\n"
        )
        places = [StreamPlace(host=RELAY, port=20000), StreamPlace(host=RELAY6, port=20002)]
        result = rewrite(description, places, RELAY)
        self.assertEqual(result.media[0].lines, ("m=audio 20000 RTP/AVP 0", "i=one", "a=x"))
        self.assertEqual(result.media[1].lines, ("m=audio 20002 RTP/AVP 0", f"c=IN IP6 {RELAY6}"))

    def test_ice_is_left_out(self) -> None:
        """Attributes of ICE go from the session and from streams, and none that only looks like one."""
        self.check(
            [
                "a=ice-lite",
                "a=ice-options:ice2",
                "a=icecream",
                "m=audio 4000 RTP/AVP 0",
                "a=candidate:1 1 UDP 2130706431 192.0.2.1 8998 typ host",
                "a=ice-ufrag:x",
                "a=fingerprint:sha-256 00",
                "a=ice-pwd:y",
            ],
            [20000],
            ["a=icecream", "m=audio 20000 RTP/AVP 0", "a=fingerprint:sha-256 00"],
        )


class ReadTests(SynchronousTestCase):
    """Where a party wants its media."""

    def read(self, *lines: str, address: str = "IN IP4 192.0.2.1") -> SignalledStream | None:
        """Read a description of one stream."""
        (stream,) = read_streams(parse_description("\r\n".join(("v=0", f"c={address}", *lines))))
        return stream

    def check(self, stream: SignalledStream | None, rtp: tuple[str, int] | None, rtcp: tuple[str, int] | None) -> None:
        """Check where RTP and RTCP go."""
        assert stream is not None
        self.assertEqual((stream.rtp, stream.rtcp), (rtp, rtcp))

    def test_addresses(self) -> None:
        """RTCP goes to the port after that of RTP, or where `a=rtcp` says."""
        audio = "m=audio 4000 RTP/AVP 0"
        self.check(self.read(audio), ("192.0.2.1", 4000), ("192.0.2.1", 4001))
        self.check(self.read(audio, "a=rtcp:5"), ("192.0.2.1", 4000), ("192.0.2.1", 5))
        self.check(self.read(audio, "a=rtcp:5 IN IP4 192.0.2.2"), ("192.0.2.1", 4000), ("192.0.2.2", 5))
        self.check(self.read("m=audio 65535 RTP/AVP 0"), ("192.0.2.1", 65535), None)

    def test_spelling_of_addresses(self) -> None:
        """An address of IPv6 is spelled as the system spells the sources of datagrams, whatever its type says."""
        stream = self.read("m=audio 4000 RTP/AVP 0", address="IN IP4 2001:DB8:0:0::0:A")
        self.check(stream, ("2001:db8::a", 4000), ("2001:db8::a", 4001))
        assert stream is not None
        self.assertIs(stream.address_type, AddressType.IP6)

    def test_unknown_addresses(self) -> None:
        """Names, broken addresses and 0.0.0.0 say nothing about where to send."""
        for host in ("phone.example.com", "192.0.2.999", "0.0.0.0"):
            self.check(self.read("m=audio 4000 RTP/AVP 0", address=f"IN IP4 {host}"), None, None)

    def test_nothing_to_relay(self) -> None:
        """There is nothing to relay for a stream that is off, or not one of datagrams."""
        for line in ("m=audio 0 RTP/AVP 0", "m=message 7394 TCP/TLS/MSRP *", "m=image 4000 tcp t38"):
            self.assertIsNone(self.read(line))

    def test_mux(self) -> None:
        """Only a stream of RTP can have RTCP on its port."""
        for line, expected in (("m=audio 4000 RTP/SAVPF 0", True), ("m=image 4000 udptl t38", False)):
            stream = self.read(line, "a=rtcp-mux")
            assert stream is not None
            self.assertEqual(stream.wants_mux, expected)

    def test_multicast(self) -> None:
        """A multicast group is refused."""
        with self.assertRaisesRegex(SdpError, "multicast is not relayed"):
            self.read("m=audio 4000 RTP/AVP 0", address="IN IP4 224.2.1.1/127")
