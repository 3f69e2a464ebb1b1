"""Digits of real phones that cross in another way than they come."""

from __future__ import annotations

from sipd.rtp.dtmf import DigitReceiver
from sipd.rtp.packet import parse_packet
from tests.interop.baresip import Account, Phone
from tests.interop.calls import connect
from tests.interop.capture import find_faults, read_capture
from tests.interop.case import InteropTestCase
from tests.interop.ears import ADVERTISED, Ears
from tests.interop.server import USERS, Server
from tests.interop.test_features import TONES_HZ, all_of

_EVENTS = 101


class DigitTests(InteropTestCase):
    """Alice calls Bob, who wants digits in a certain way; both are baresip."""

    programs = ("baresip", "tshark")

    async def begin(self, wish: str, sends: str) -> tuple[Server, Phone, Phone]:
        """Start sipd, with ears in front of it, and the two phones, and let them talk."""
        server = Server(self, media_host=ADVERTISED, media_ports=40)
        self.ears = Ears(self, server.media_ports)
        alice, bob = (
            Phone(self, Account(user="alice", server=server.address, password=USERS["alice"], parameters=sends), 440.0),
            Phone(self, Account(user="bob"), TONES_HZ["bob"]),
        )
        server.add_route(wish, "bob", bob.port)
        server.configure(f'dtmf = "{wish}"\n')
        await server.start()
        await all_of(alice.start(), bob.start())
        await alice.registered()
        await connect(alice, bob, f"sip:bob@{server.host}")
        await self.both_hear(alice, bob)
        return server, alice, bob

    async def both_hear(self, alice: Phone, bob: Phone) -> None:
        """Check that they hear each other."""
        await all_of(self.ears.hear(alice, bob.tone_hz), self.ears.hear(bob, alice.tone_hz))

    async def finish(self, server: Server, alice: Phone, bob: Phone) -> None:
        """End the call and all of them."""
        alice.send("hangup")
        for phone in (alice, bob):
            await phone.event("CALL_CLOSED")
        await all_of(alice.stop(), bob.stop())
        await server.finish()
        self.assertEqual(await find_faults(self, server), [])
        self.assertNotIn("Signal", server.program.output.decode(errors="replace"))

    async def infos_to(self, server: Server, phone: Phone) -> int:
        """Count the INFOs that a phone was sent."""
        shown = f"sip.Method == INFO && udp.dstport == {phone.port}"
        return len(await read_capture(self, server, "-Y", shown, "-T", "fields", "-e", "sip.Call-ID"))

    def events_to(self, phone: Phone) -> str:
        """Give the digits in the media that went to a phone, and check that its numbers have no gap."""
        (told,) = [told for port, told in self.ears.told.items() if port in phone.media_ports and not port % 2]
        receiver = DigitReceiver(_EVENTS)
        packets = [parse_packet(each) for each in told]
        numbers = [packet.sequence for packet in packets]
        self.assertEqual(numbers, [(numbers[0] + place) & 0xFFFF for place in range(len(numbers))])
        self.assertEqual(len({packet.ssrc for packet in packets}), 1)
        return "".join(receiver.feed(packet) or "" for packet in packets)

    async def test_events_to_info(self) -> None:
        """Digits that Alice's phone sends in its audio reach Bob's by INFO, and not in the audio, which has no gap."""
        server, alice, bob = await self.begin("info", ";dtmfmode=rtpevent")
        alice.send("sndcode", "7#7")
        for digit in "7#7":
            await bob.says(f"received DTMF: '{digit}'")
        await self.both_hear(alice, bob)
        self.assertEqual(self.events_to(bob), "")
        await self.finish(server, alice, bob)
        self.assertEqual(await self.infos_to(server, bob), 3)

    async def test_info_to_events(self) -> None:
        """Digits that Alice's phone says by INFO reach Bob's in the audio, as part of the one stream."""
        server, alice, bob = await self.begin("rtp", ";dtmfmode=info")
        alice.send("sndcode", "7#7")
        self.assertEqual([(await bob.event("CALL_DTMF_START"))["param"] for _ in range(3)], ["7", "#", "7"])
        await self.both_hear(alice, bob)
        self.assertEqual(self.events_to(bob), "7#7")
        await self.finish(server, alice, bob)
        self.assertEqual(await self.infos_to(server, bob), 0)
