"""SRTP on either leg of a session: keys by SDES, packets in the clear in between."""

from __future__ import annotations

import struct

from sipd.errors import SdpError
from sipd.interfaces import CryptoPolicy, MediaPolicy
from sipd.media.libsrtp import available
from sipd.media.srtp import InboundContext, OutboundContext
from sipd.sdp.crypto import AES_CM_128_HMAC_SHA1_80, CryptoAttribute, SrtpKey, read_crypto
from sipd.sdp.description import SessionDescription
from tests.media.support import Party, RelayTestCase, describe, place_of
from tests.media.wires import BesideWorker

_LINE = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
_OTHER = "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"


def _rtp(sequence: int, ssrc: int = 7) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, ssrc) + bytes(160)


def _key(text: str) -> SrtpKey:
    attribute = CryptoAttribute.parse(text)
    return SrtpKey(suite=AES_CM_128_HMAC_SHA1_80, master=attribute.keys[0].master)


class Crypter:
    """A phone's two contexts: its own key, and that of the relay."""

    def __init__(self, own: str, theirs: SessionDescription) -> None:
        self.outbound, self.inbound = OutboundContext(), InboundContext(lambda: 0.0)
        self.outbound.use(_key(own))
        [line] = read_crypto(theirs.media[0])[:1]
        self.inbound.use(SrtpKey(suite=AES_CM_128_HMAC_SHA1_80, master=line.keys[0].master))

    def encrypt(self, packet: bytes) -> bytes:
        """Give the packet as it goes over the wire."""
        result = self.outbound.protect(packet)
        assert result is not None
        return result

    def decrypt(self, packets: list[bytes]) -> list[bytes | None]:
        """Give packets as they were before."""
        return [self.inbound.unprotect(packet) for packet in packets]


class CryptoTestCase(RelayTestCase):
    """Alice and Bob, each with a policy."""

    skip = available()

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.party(), self.party()

    def secure(self, party: Party, *crypto: str, protocol: str = "RTP/SAVP") -> SessionDescription:
        """Describe the audio of somebody who encrypts."""
        return describe(f"m=audio {party.port} {protocol} 0", extra=tuple(f"a=crypto:{line}" for line in crypto))

    def plain(self, party: Party) -> SessionDescription:
        """Describe the audio of somebody who does not."""
        return describe(("audio", party.port))


class PlainCalleeTests(CryptoTestCase):
    """A caller who encrypts, and a callee who does not."""

    def connect(self, line: str = _LINE) -> None:
        """Negotiate."""
        self.session.set_policy("a", MediaPolicy(crypto=CryptoPolicy.OPTIONAL))
        self.session.set_policy("b1", MediaPolicy(crypto=CryptoPolicy.OFF))
        self.offered = self.offer("a", "b1", self.secure(self.alice, line))
        self.answered = self.answer("b1", "a", self.plain(self.bob))
        self.to_alice, self.to_bob = place_of(self.offered), place_of(self.answered)

    def test_both_ways(self) -> None:
        """The callee sends and hears RTP, the caller SRTP, and neither knows of the other."""
        self.connect()
        self.assertEqual(self.offered.media[0].protocol, "RTP/AVP")
        self.assertNotIn("crypto", str(self.offered))
        self.assertEqual(self.answered.media[0].protocol, "RTP/SAVP")
        crypter = Crypter(_LINE, self.answered)
        for sequence in range(1, 20):
            self.alice.send(crypter.encrypt(_rtp(sequence)), self.to_bob)
            self.bob.send(_rtp(sequence, 8), self.to_alice)
        self.assertEqual(self.bob.received(), [_rtp(sequence) for sequence in range(1, 20)])
        heard = self.alice.received()
        self.assertNotIn(_rtp(1, 8), heard)
        self.assertEqual(crypter.decrypt(heard), [_rtp(sequence, 8) for sequence in range(1, 20)])
        self.assertEqual([(entry.packets, entry.lost) for entry in self.statistics()], [(19, 0), (19, 0)])
        self.assertEqual({entry.engine for entry in self.statistics()}, {"reactor"})

    def test_roll_over_of_a_refreshed_session(self) -> None:
        """A re-INVITE with the same key goes on where the sequence numbers are, past 65535."""
        self.connect()
        crypter = Crypter(_LINE, self.answered)
        numbers = [*range(65530, 65536), *range(10)]
        for place, sequence in enumerate(numbers):
            if place == 9:
                before = str(self.answered.media[0].attribute("crypto"))
                self.connect()
                self.assertEqual(str(self.answered.media[0].attribute("crypto")), before)
            self.alice.send(crypter.encrypt(_rtp(sequence)), self.to_bob)
        self.assertEqual(self.bob.received(), [_rtp(sequence) for sequence in numbers])

    def test_new_key(self) -> None:
        """A new key of the caller's is used at once."""
        self.connect()
        crypter = Crypter(_LINE, self.answered)
        self.alice.send(crypter.encrypt(_rtp(1)), self.to_bob)
        self.connect(_OTHER)
        crypter = Crypter(_OTHER, self.answered)
        self.alice.send(crypter.encrypt(_rtp(2)), self.to_bob)
        self.assertEqual(self.bob.received(), [_rtp(1), _rtp(2)])

    def test_wrong_key(self) -> None:
        """What cannot be decrypted goes nowhere, and is counted."""
        self.connect()
        crypter = Crypter(_OTHER, self.answered)
        for sequence in range(5):
            self.alice.send(crypter.encrypt(_rtp(sequence)), self.to_bob)
            self.alice.send(_rtp(sequence), self.to_bob)
        self.assertEqual(self.bob.received(), [])
        [alice] = [entry for entry in self.statistics() if entry.leg == "a"]
        self.assertEqual(alice.failures, 10)

    def test_reports(self) -> None:
        """RTCP is encrypted and decrypted, too."""
        self.connect()
        crypter = Crypter(_LINE, self.answered)
        alice, bob = self.party(port=self.alice.port + 1), self.party(port=self.bob.port + 1)
        report = struct.pack("!BBHI", 0x80, 201, 1, 7)
        secret = crypter.outbound.protect_rtcp(report)
        assert secret is not None
        alice.send(secret, (self.to_bob[0], self.to_bob[1] + 1))
        self.assertEqual(bob.received(), [report])
        bob.send(report, (self.to_alice[0], self.to_alice[1] + 1))
        self.assertEqual([crypter.inbound.unprotect_rtcp(packet) for packet in alice.received()], [report])


class BothTests(CryptoTestCase):
    """Two who encrypt, with different keys."""

    def test_different_keys(self) -> None:
        """What one sends is encrypted anew for the other, whose key the first one never sees."""
        for leg in ("a", "b1"):
            self.session.set_policy(leg, MediaPolicy(crypto=CryptoPolicy.REQUIRED))
        offered = self.offer("a", "b1", self.secure(self.alice, _LINE))
        tag = read_crypto(offered.media[0])
        chosen = next(line for line in tag if line.suite == AES_CM_128_HMAC_SHA1_80.name)
        answer = f"{chosen.tag} {_OTHER.partition(' ')[2]}"
        answered = self.answer("b1", "a", self.secure(self.bob, answer))
        self.assertNotIn(_LINE.rpartition(":")[2], str(offered))
        self.assertNotIn(_OTHER.rpartition(":")[2], str(answered))
        alice = Crypter(_LINE, answered)
        bob = Crypter(_OTHER, answered)
        bob.inbound.use(SrtpKey(suite=AES_CM_128_HMAC_SHA1_80, master=chosen.keys[0].master))
        self.alice.send(alice.encrypt(_rtp(1)), place_of(answered))
        self.assertEqual(bob.decrypt(self.bob.received()), [_rtp(1)])
        self.bob.send(bob.encrypt(_rtp(2, 8)), place_of(offered))
        self.assertEqual(alice.decrypt(self.alice.received()), [_rtp(2, 8)])

    def test_end_to_end(self) -> None:
        """Where both legs pass their keys these cross, and the packets as they are."""
        offered = self.offer("a", "b1", self.secure(self.alice, _LINE))
        answered = self.answer("b1", "a", self.secure(self.bob, _OTHER))
        self.assertIn(_LINE, str(offered))
        self.assertIn(_OTHER, str(answered))
        self.alice.send(b"\x80anything at all", place_of(answered))
        self.bob.expect(b"\x80anything at all")

    def test_refused(self) -> None:
        """An encrypted offer of a leg that is not to encrypt is refused, and leaves nothing behind."""
        self.session.set_policy("a", MediaPolicy(crypto=CryptoPolicy.OFF))
        offering = self.session.offer("a", "b1", self.secure(self.alice, _LINE))
        self.failureResultOf(offering, SdpError)
        self.assertEqual(len(self.allocator), 0)

    def test_callee_without(self) -> None:
        """A leg that has to encrypt and does not is refused."""
        self.session.set_policy("b1", MediaPolicy(crypto=CryptoPolicy.REQUIRED))
        self.offer("a", "b1", self.plain(self.alice))
        answering = self.session.answer("b1", "a", self.plain(self.bob))
        self.failureResultOf(answering, SdpError)


class WorkerTests(BesideWorker, PlainCalleeTests):
    """The same where a worker would forward: keys stay in this process, so it does so itself."""
