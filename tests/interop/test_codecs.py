"""What sipd relays it does not touch: codecs of audio, video, and reports, between baresip phones."""

from __future__ import annotations

from typing import Any

from tests.interop.baresip import Phone
from tests.interop.calls import TALK, assert_heard, connect
from tests.interop.media import MediaCase, all_of
from tests.interop.tones import RATE_HZ
from tests.ports import HOST

_WIDEBAND_HZ = 16_000
_ENOUGH = 50
#: Until phones have sent reports, and there is a verdict; in seconds.
_REPORTS = 7.0
_DYNAMIC = range(96, 128)


class CodecTests(MediaCase):
    """Two phones with the same codec, and no other."""

    async def call(self, codec: str, *media: str, rate_hz: int = RATE_HZ) -> int:
        """Let them talk; check that each hears the other; give the payload type."""
        await self.start_server()
        alice, bob = await all_of(*[self.phone(user, media=media, codecs=codec) for user in ("alice", "bob")])
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.pause(TALK)
        await self.hang_up(alice, bob)
        for phone, other in ((alice, bob), (bob, alice)):
            assert_heard(self, phone, other.tone_hz, rate_hz)
            assert_untouched(self, phone, other)
        (record,) = await self.finish(alice, bob)
        types = {stream["payload_type"] for stream in record["media"]}
        self.assertEqual([(stream["lost"], stream["unexpected"]) for stream in record["media"]], [(0, 0)] * 2, record)
        self.assertEqual(len(types), 1, record)
        return int(types.pop())

    async def test_alaw(self) -> None:
        """G.711, A-law."""
        self.assertEqual(await self.call("PCMA"), 8)

    async def test_g722(self) -> None:
        """G.722, whose clock rate is said to be another one than it is (RFC 3551 section 4.5.2)."""
        self.assertEqual(await self.call("G722/16000/1", "g722", rate_hz=_WIDEBAND_HZ), 9)


class StreamTests(MediaCase):
    """More than one stream, and one port less for each."""

    programs = ("baresip", "tshark")

    async def call(
        self, *settings: str, media: tuple[str, ...] = (), parameters: str = "", streams: int = 1
    ) -> dict[str, Any]:
        """Let two phones talk that are configured so; give the record."""
        await self.start_server()
        options: dict[str, Any] = {"media": media, "settings": settings, "parameters": parameters}
        alice, bob = await all_of(self.phone("alice", **options), self.phone("bob", **options))
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.pause(_REPORTS)
        await self.hang_up(alice, bob)
        for phone, other in ((alice, bob), (bob, alice)):
            assert_heard(self, phone, other.tone_hz)
            assert_untouched(self, phone, other)
        (record,) = await self.finish(alice, bob)
        self.assertEqual(record["media_verdict"], "ok", record)
        for stream in record["media"]:
            self.assertGreater(stream["packets"], _ENOUGH, record)
            self.assertGreater(stream["rtcp_packets"], 0, record)
            self.assertEqual((stream["lost"], stream["unexpected"]), (0, 0), record)
        await self.assert_muxed(alice, bob, streams=streams)
        return dict(record)

    async def test_rtcp_mux(self) -> None:
        """Reports come and go on the port of RTP (RFC 5761)."""
        record = await self.call("rtcp_mux yes")
        self.assertEqual(len(record["media"]), 2)

    async def test_video(self) -> None:
        """Audio and video, each with its reports on its own port."""
        settings = (
            "rtcp_mux yes",
            "video_source fakevideo,any",
            "video_display fakevideo,any",
            "video_size 176x144",
            "video_fps 10",
        )
        record = await self.call(*settings, media=("vp8", "fakevideo"), parameters=";video_codecs=vp8", streams=2)
        found = [(stream["leg"], stream["media"]) for stream in record["media"]]
        self.assertEqual(sorted(found), [("a", "audio"), ("a", "video"), ("b1", "audio"), ("b1", "video")])

    async def assert_muxed(self, *phones: Phone, streams: int) -> None:
        """Check that every description says so of every stream, and that no other port was used by a phone."""
        for attributes in await self.descriptions("media_attr", *phones):
            self.assertEqual(attributes.count("rtcp-mux"), streams, attributes)
        self.assertEqual(len([port for port, sent in self.ears.said.items() if sent]), 2 * streams)


def assert_untouched(case: MediaCase, phone: Phone, other: Phone) -> None:
    """Check that what went to one phone is what came from the other one, octet by octet."""
    said = {datagram for port in other.media_ports for datagram in case.ears.said[port]}
    told = [datagram for port in phone.media_ports for datagram in case.ears.told[port]]
    case.assertGreater(len(told), _ENOUGH)
    case.assertTrue(said.issuperset(told))
