"""The phone and baresip where the way is found by ICE, and keys are had by DTLS."""

from __future__ import annotations

from sipd.media.endpoint.settings import EndpointSettings, Ice, Security
from tests.interop.test_phone_api import PhoneCase
from tests.ports import HOST

#: Of baresip: RTCP goes with RTP.
_MUX = "rtcp_mux yes"


class WayTests(PhoneCase):
    """Without a server between them."""

    async def call_each_other(
        self, audio: EndpointSettings, media: tuple[str, ...], parameters: str, *settings: str
    ) -> None:
        """Let the phone call baresip, and baresip the phone; both are heard each time."""
        bob = await self.baresip(media=media, parameters=parameters, settings=settings)
        phone = self.phone(audio=audio)
        call = await self.talk(phone, bob, f"sip:bob@{HOST}:{bob.port}")
        self.assertEqual(call.statistics.is_secure, "srtp" in parameters)
        answering = phone.answer()
        bob.send("dial", f"sip:phone@{HOST}:{phone.points[0].port}")
        call = await answering
        await bob.event("CALL_ESTABLISHED")
        await self.talk_in(call, bob)
        self.assertEqual(call.statistics.is_secure, "srtp" in parameters)
        await bob.stop()

    async def test_dtls(self) -> None:
        """Keys by DTLS: who calls offers it."""
        audio = EndpointSettings(security=Security.DTLS)
        await self.call_each_other(audio, ("dtls_srtp", "srtp"), ";mediaenc=dtls_srtp", _MUX)

    async def test_ice(self) -> None:
        """The way by ICE, where RTCP has a port of its own."""
        await self.call_each_other(EndpointSettings(ice=Ice.OFFERED), ("ice",), ";medianat=ice")

    async def test_ice_with_one_port(self) -> None:
        """The way by ICE, where RTCP goes with RTP."""
        await self.call_each_other(EndpointSettings(ice=Ice.OFFERED), ("ice",), ";medianat=ice", _MUX)

    async def test_both(self) -> None:
        """Both."""
        audio = EndpointSettings(security=Security.DTLS, ice=Ice.OFFERED)
        parameters = ";mediaenc=dtls_srtp;medianat=ice"
        await self.call_each_other(audio, ("dtls_srtp", "srtp", "ice"), parameters, _MUX)
