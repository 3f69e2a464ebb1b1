"""Calls between a browser and a SIP phone: WebRTC (RFC 8825) at the one end, RTP at the other."""

from __future__ import annotations

from typing import ClassVar

from tests.interop.baresip import Account, Phone
from tests.interop.calls import TALK
from tests.interop.chromium import Browser
from tests.interop.server import Server
from tests.interop.test_examples_calls import ExampleCase
from tests.interop.tones import best_share, samples_of_tone, write_wave
from tests.ports import HOST

_BROWSER_HZ, _PHONE_HZ = 700.0, 1000.0
_TOLERANCE_HZ = 20.0


class BrowserTests(ExampleCase):
    """Chromium shows the page of the example, and somebody clicks on its button."""

    programs: ClassVar = ("baresip",)
    timeout = 150

    async def call(self, phone: Phone, callee: str) -> None:
        """Let the browser call, both talk, and the phone hang up."""
        program = self.example("browser", callee, "0", f"udp:{HOST}:0")
        url = (await program.says(r"(http://127\.0\.0\.1:\d+/) calls"))[1].decode()
        microphone = self.directory / "microphone.wav"
        write_wave(microphone, samples_of_tone(_BROWSER_HZ, 10.0))
        browser = Browser(self, microphone)
        await browser.start()
        await browser.visit(url)
        await browser.click("button")
        await phone.event("CALL_INCOMING")
        phone.send("accept")
        await phone.event("CALL_ESTABLISHED")
        await self.pause(TALK)
        heard = 0.0
        for _ in range(10):
            # The browser plays what came before, the ringing, for a while.
            heard = await browser.hears()
            if abs(heard - _PHONE_HZ) < _TOLERANCE_HZ:
                break
        self.assertLess(abs(heard - _PHONE_HZ), _TOLERANCE_HZ, f"{heard} Hz{self.explain()}")
        self.assertEqual(await browser.run("return document.querySelector('output').value"), "connected")
        phone.send("hangup")
        await phone.event("CALL_CLOSED")
        await program.says("they talked for ")
        await self.pause(0.2)
        self.assertGreater(best_share(phone.take_recording(), _BROWSER_HZ), 0.8, self.explain())
        await browser.stop()

    async def test_directly(self) -> None:
        """The phone is called without a server."""
        phone = Phone(self, Account(user="bob"), _PHONE_HZ)
        await phone.start()
        await self.call(phone, f"sip:bob@{HOST}:{phone.port}")
        await phone.stop()

    async def test_through_sipd(self) -> None:
        """The phone is called through sipd."""
        phone = Phone(self, Account(user="bob"), _PHONE_HZ)
        await phone.start()
        server = Server(self)
        server.add_route("bob", "bob", phone.port)
        await server.start()
        await self.call(phone, f"sip:bob@{HOST}:{server.port}")
        await phone.stop()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"]), (200, "callee"))
