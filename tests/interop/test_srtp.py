"""Calls with SRTP by SDES (RFC 3711, RFC 4568) between baresip phones: which leg is encrypted, and that it truly is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sipd.rtp.g711 import decode_ulaw
from tests.interop.baresip import Phone
from tests.interop.calls import TALK, assert_heard, connect
from tests.interop.media import TONES_HZ, MediaCase
from tests.interop.tones import share_of_tone
from tests.ports import HOST

#: What baresip 1.0 says for itself: RTP/SAVP, and RTP/AVP with keys beside it.
_DEMANDS = ";mediaenc=srtp-mand"
_OFFERS = ";mediaenc=srtp"
_HEADER_OCTETS = 12
_PLAIN_OCTETS = _HEADER_OCTETS + 160
_ENOUGH = 50
#: Until there is a verdict, in seconds.
_VERDICT = 5.5
#: The share of a tone in what is noise.
_NONE = 0.02
_PCMU = 0
_FIRST_REPORT, _LAST_REPORT = 192, 223
_IS_ENCRYPTED = 0x80


@dataclass(frozen=True, slots=True)
class Suite:
    """What a suite adds to packets.

    Args:
        tag_octets: to those of RTP.
        index_from_end: where in SRTCP the index is, whose first bit says that it is encrypted.
    """

    tag_octets: int
    index_from_end: int


#: The one that baresip 1.0 offers (RFC 3711), and the one that it takes of what sipd offers (RFC 7714).
_AES_CM_128 = Suite(10, 4 + 10)
_AES_GCM_256 = Suite(16, 4)


class SrtpCase(MediaCase):
    """Alice calls Bob, and each may encrypt."""

    programs = ("baresip", "tshark")

    async def secure_phone(self, user: str, encryption: str = _DEMANDS) -> Phone:
        """Start a phone with SRTP."""
        return await self.phone(user, media=("srtp",), parameters=encryption)

    def rtp(self, datagrams: dict[int, list[bytes]], phone: Phone) -> list[bytes]:
        """Give what is audio of all that came from a phone, or went to it."""
        found = [packet for port in phone.media_ports for packet in datagrams[port] if packet[1] & 0x7F == _PCMU]
        self.assertGreater(len(found), _ENOUGH, self.explain())
        return found

    def assert_encrypted(self, phone: Phone, suite: Suite, keeper: Phone | None = None) -> None:
        """Check that no audio is in the clear between a phone and sipd, in both directions, and no report to it.

        Args:
            phone: the phone.
            suite: that it and its peer have agreed on.
            keeper: the other phone, if that is the peer, and sipd passes on what it says as it is.
        """
        for datagrams in (self.ears.said, self.ears.told):
            packets = self.rtp(datagrams, phone)
            self.assertEqual({len(packet) for packet in packets}, {_PLAIN_OCTETS + suite.tag_octets})
            samples = decode_ulaw(b"".join(packet[_HEADER_OCTETS:_PLAIN_OCTETS] for packet in packets))
            for tone_hz in TONES_HZ.values():
                self.assertLess(share_of_tone(samples, tone_hz), _NONE)
        # Baresip itself begins with a small report in the clear, before it knows the keys.
        passed = [] if keeper is None else [one for port in keeper.media_ports for one in self.ears.said[port]]
        told = [datagram for port in phone.media_ports for datagram in self.ears.told[port]]
        for datagram in told:
            if datagram in passed:
                continue
            if _FIRST_REPORT <= datagram[1] <= _LAST_REPORT:
                self.assertTrue(datagram[-suite.index_from_end] & _IS_ENCRYPTED)

    def assert_plain(self, phone: Phone) -> None:
        """Check that a phone talks and hears without keys."""
        for datagrams in (self.ears.said, self.ears.told):
            self.assertEqual({len(packet) for packet in self.rtp(datagrams, phone)}, {_PLAIN_OCTETS})

    def assert_same_audio(self, secure: Phone, plain: Phone) -> None:
        """Check that what one has encrypted is what the other one has in the clear, packet by packet."""
        for hidden, clear in ((self.ears.said, self.ears.told), (self.ears.told, self.ears.said)):
            by_header = _by_header(self.rtp(hidden, secure))
            common = [packet for packet in self.rtp(clear, plain) if packet[:_HEADER_OCTETS] in by_header]
            self.assertGreater(len(common), _ENOUGH)
            for packet in common:
                self.assertNotEqual(by_header[packet[:_HEADER_OCTETS]], packet[_HEADER_OCTETS:])

    async def profiles(self, phone: Phone) -> set[str]:
        """Give the profiles of all descriptions that went to a phone's port for SIP and came from it."""
        return {profile for profiles in await self.descriptions("media.proto", phone) for profile in profiles}

    async def hold_and_resume(self, holds: Phone, secure: Phone, plain: Phone) -> None:
        """Let one hold and resume; then let the encrypting one echo, for what it hears to be heard outside."""
        holds.send("hold")
        await self.ears.hear_nothing(plain)
        holds.send("resume")
        await self.ears.hear(plain, secure.tone_hz)
        secure.send("ausrc", "aubridge,speaker")
        await self.ears.hear(plain, plain.tone_hz)


def _by_header(packets: Iterable[bytes]) -> dict[bytes, bytes]:
    """Give the payloads of packets by their headers."""
    return {packet[:_HEADER_OCTETS]: packet[_HEADER_OCTETS:_PLAIN_OCTETS] for packet in packets}


class OneSideTests(SrtpCase):
    """One leg is encrypted, the other one is not."""

    async def from_secure(self, media: str = "") -> tuple[Phone, Phone]:
        """Start sipd, Alice, who demands encryption, and Bob, who knows nothing of it."""
        await self.start_server(media, {"alice": 'srtp = "required"', "bob": 'srtp = "off"'})
        return await self.secure_phone("alice"), await self.phone("bob")

    async def to_secure(self) -> tuple[Phone, Phone]:
        """Start sipd, Alice, who knows nothing of encryption, and Bob, who has it."""
        await self.start_server(users={"alice": 'srtp = "off"', "bob": 'srtp = "required"'})
        return await self.phone("alice"), await self.secure_phone("bob")

    async def talk(self, alice: Phone, bob: Phone, *, secure: Phone, holds: Phone, suite: Suite) -> None:
        """Let them talk, hold, resume and hang up."""
        plain = bob if secure is alice else alice
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.ears.hear(plain, secure.tone_hz)
        await self.pause(TALK)
        await self.hold_and_resume(holds, secure, plain)
        # One suite all the time: a hold is no reason for another one.
        self.assert_encrypted(secure, suite)
        self.assert_plain(plain)
        self.assert_same_audio(secure, plain)
        self.assertEqual(await self.profiles(secure), {"RTP/SAVP"})
        self.assertEqual(await self.profiles(plain), {"RTP/AVP"})
        await self.hang_up(plain, secure)
        # What it heard before the hold, since baresip 1.0 records nothing after it.
        assert_heard(self, secure, plain.tone_hz)
        (record,) = await self.finish(alice, bob)
        self.assertEqual((record["status"], record["media_verdict"]), (200, "ok"), record)
        for stream in record["media"]:
            self.assertEqual((stream["lost"], stream["engine"], stream["unexpected"]), (0, "reactor", 0), record)

    async def test_caller_is_held(self) -> None:
        """The caller demands encryption, the callee holds and resumes."""
        alice, bob = await self.from_secure()
        await self.talk(alice, bob, secure=alice, holds=bob, suite=_AES_CM_128)

    async def test_callee_is_held(self) -> None:
        """The callee has encryption, the caller holds and resumes."""
        alice, bob = await self.to_secure()
        await self.talk(alice, bob, secure=bob, holds=alice, suite=_AES_GCM_256)

    async def test_beside_a_worker(self) -> None:
        """Where there is a worker such a call does not go to it, and is as good."""
        alice, bob = await self.from_secure("workers = 1")
        await self.talk(alice, bob, secure=alice, holds=alice, suite=_AES_CM_128)


class BothSidesTests(SrtpCase):
    """Both legs are encrypted."""

    is_passed = False

    async def talk(self, alice: Phone, bob: Phone, suite: Suite) -> None:
        """Let Alice call Bob; check what they heard, and that nothing was in the clear."""
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.pause(_VERDICT)
        await self.hang_up(bob, alice)
        for phone, other in ((alice, bob), (bob, alice)):
            assert_heard(self, phone, other.tone_hz)
        self.assert_encrypted(alice, _AES_CM_128, bob if self.is_passed else None)
        self.assert_encrypted(bob, suite, alice if self.is_passed else None)
        (record,) = await self.finish(alice, bob)
        self.assertEqual((record["status"], record["media_verdict"]), (200, "ok"), record)

    async def test_required(self) -> None:
        """Either side has keys of its own with sipd, RTP/SAVP at both ends."""
        await self.start_server('srtp = "required"')
        alice, bob = [await self.secure_phone(user) for user in ("alice", "bob")]
        await self.talk(alice, bob, _AES_GCM_256)
        for phone in (alice, bob):
            self.assertEqual(await self.profiles(phone), {"RTP/SAVP"})
        self.assertTrue((await self.keys(alice)).isdisjoint(await self.keys(bob)))

    async def test_optional(self) -> None:
        """Phones that offer keys beside RTP/AVP, and take them, encrypt with RTP/AVP (RFC 8643)."""
        await self.start_server('srtp = "optional"')
        alice, bob = [await self.secure_phone(user, _OFFERS) for user in ("alice", "bob")]
        await self.talk(alice, bob, _AES_GCM_256)
        for phone in (alice, bob):
            self.assertEqual(await self.profiles(phone), {"RTP/AVP"})
        self.assertTrue((await self.keys(alice)).isdisjoint(await self.keys(bob)))

    async def test_passed(self) -> None:
        """Without a policy the keys are the phones' own, and sipd, which cannot read them, passes on what comes."""
        self.is_passed = True
        await self.start_server()
        alice, bob = [await self.secure_phone(user) for user in ("alice", "bob")]
        await self.talk(alice, bob, _AES_CM_128)
        keys = await self.keys(alice)
        self.assertEqual((len(keys), await self.keys(bob)), (2, keys))

    async def keys(self, phone: Phone) -> set[str]:
        """Give the keys in all descriptions that went to a phone and came from it."""
        attributes = [attribute for said in await self.descriptions("media_attr", phone) for attribute in said]
        return {attribute.partition(" inline:")[2] for attribute in attributes if attribute.startswith("crypto:")}


class RefusalTests(SrtpCase):
    """What two sides cannot agree on."""

    async def refused(self, alice: Phone, bob: Phone, status: int = 488) -> None:
        """Let Alice call; she must be refused."""
        alice.send("dial", f"sip:bob@{HOST}")
        closed = await alice.event("CALL_CLOSED")
        self.assertIn(str(status), closed["param"])
        (record,) = await self.finish(alice, bob)
        self.assertEqual((record["status"], record["media_verdict"]), (status, ""), record)

    async def test_demands_what_is_off(self) -> None:
        """A phone that demands encryption, of a user who has none by policy, is refused."""
        await self.start_server(users={"alice": 'srtp = "off"'})
        await self.refused(await self.secure_phone("alice"), await self.phone("bob"))

    async def test_offers_what_is_off(self) -> None:
        """A phone that offers encryption, of a user who has none by policy, is answered without."""
        await self.start_server(users={"alice": 'srtp = "off"'})
        alice, bob = await self.secure_phone("alice", _OFFERS), await self.phone("bob")
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.both_hear(alice, bob)
        await self.pause(TALK)
        for phone in (alice, bob):
            self.assert_plain(phone)
        await self.hang_up(alice, bob)
        await self.finish(alice, bob)

    async def test_lacks_what_is_required(self) -> None:
        """A phone without encryption, of a user who has to have it, cannot call."""
        await self.start_server(users={"alice": 'srtp = "required"'})
        await self.refused(await self.phone("alice"), await self.phone("bob"))

    async def test_callee_lacks_what_is_required(self) -> None:
        """A callee that knows nothing of the encryption that it has to have refuses."""
        await self.start_server(users={"bob": 'srtp = "required"'})
        await self.refused(await self.phone("alice"), await self.phone("bob"))
