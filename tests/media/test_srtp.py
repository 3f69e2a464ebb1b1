"""Tests of `sipd.media.srtp` and `sipd.media.libsrtp`."""

from __future__ import annotations

import struct
import sys
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sipd.errors import MediaEngineError
from sipd.media.libsrtp import Library, available, load_library, usable_suites
from sipd.media.srtp import MAX_PACKET_OCTETS, SOURCE_LIMIT, InboundContext, OutboundContext
from sipd.sdp.crypto import (
    AEAD_AES_128_GCM,
    AES_256_CM_HMAC_SHA1_32,
    AES_256_CM_HMAC_SHA1_80,
    AES_CM_128_HMAC_SHA1_32,
    AES_CM_128_HMAC_SHA1_80,
    SUITES,
    Mki,
    SrtpKey,
    Suite,
)
from tests.media.srtp_reference import derive, protect, protect_rtcp, seal

SSRC = 0xCAFEBABE
GRACE = 5.0


def rtp(sequence: int, ssrc: int = SSRC, payload: bytes = 160 * b"\xd5") -> bytes:
    """Make an RTP packet of 172 octets."""
    return struct.pack("!BBHII", 0x80, 8, sequence & 0xFFFF, 160 * sequence & 0xFFFFFFFF, ssrc) + payload


def rtcp(count: int, ssrc: int = SSRC) -> bytes:
    """Make a sender report."""
    return struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, count, count, count, count)


def key_of(suite: Suite, seed: int = 1, mki: Mki | None = None) -> SrtpKey:
    """Make a key."""
    return SrtpKey(
        suite=suite, master=bytes((seed * 7 + place) & 0xFF for place in range(suite.master_octets)), mki=mki
    )


class SrtpTestCase(SynchronousTestCase):
    """Contexts, if the library is there."""

    def setUp(self) -> None:
        reason = available()
        if reason is not None:
            raise SkipTest(reason)
        self.clock = Clock()

    def outbound(self, key: SrtpKey) -> OutboundContext:
        """Make a context that protects with a key."""
        context = OutboundContext()
        self.addCleanup(context.close)
        context.use(key)
        return context

    def inbound(self, key: SrtpKey) -> InboundContext:
        """Make a context that expects a key."""
        context = InboundContext(self.clock.seconds, grace=GRACE)
        self.addCleanup(context.close)
        context.use(key)
        return context

    def protected(self, context: OutboundContext, packet: bytes) -> bytes:
        """Protect a packet that can be protected."""
        result = context.protect(packet)
        assert result is not None
        self.assertNotIn(packet[12:], result)
        return result

    def assert_failures(self, context: InboundContext | OutboundContext, **expected: int) -> None:
        """Check what was counted; what is not named is zero."""
        counted = {failure.name.lower(): count for failure, count in context.failures.items() if count}
        self.assertEqual(counted, expected)


class KnownAnswerTests(SrtpTestCase):
    """What others have computed."""

    def test_key_derivation(self) -> None:
        """The reference derives what RFC 3711 appendix B.3 and RFC 6188 section 7.2 say."""
        for key, salt, cipher_key, cipher_salt, authentication in (
            (
                "e1f97a0d3e018be0d64fa32c06de4139",
                "0ec675ad498afeebb6960b3aabe6",
                "c61e7a93744f39ee10734afe3ff7a087",
                "30cbbc08863d8c85d49db34a9ae1",
                "cebe321f6ff7716b6fd4ab49af256a156d38baa4",
            ),
            (
                "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
                "3b04803de51ee7c96423ab5b78d2",
                "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
                "fa31791685ca444a9e07c6c64e93",
                "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
            ),
        ):
            master = bytes.fromhex(key), bytes.fromhex(salt)
            self.assertEqual(derive(*master, 0, len(key) // 2).hex(), cipher_key)
            self.assertEqual(derive(*master, 1, 20).hex(), authentication)
            self.assertEqual(derive(*master, 2, 14).hex(), cipher_salt)

    def test_gcm(self) -> None:
        """The reference seals the packet of RFC 7714 section 16.1.1 as it is there."""
        packet = bytes.fromhex("8040f17b8041f8d35501a0b2") + b"Gallia est omnis divisa in partes tres"
        sealed = seal(bytes(range(16)), b"Quid pro quo", 0x5501A0B2 << 48 | 0xF17B, packet[12:], packet[:12])
        self.assertEqual(
            sealed.hex(),
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833"
            "899d7f27beb16a9152cf765ee4390cce",
        )

    def test_packets(self) -> None:
        """The packet that libsrtp validates itself with comes out as it should, with each cipher and tag."""
        packet = bytes.fromhex("800f1234decafbadcafebabe" + 16 * "ab")
        short = "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6"
        long = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b63b04803de51ee7c96423ab5b78d2"
        for suite, master, expected in (
            (AES_CM_128_HMAC_SHA1_80, short, "4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"),
            (AES_CM_128_HMAC_SHA1_32, short, "4e55dc4ce79978d88ca4d215949d2402b78d6acc"),
            (AES_256_CM_HMAC_SHA1_80, long, "f1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b"),
            (AES_256_CM_HMAC_SHA1_32, long, "f1d9de17ff251ff1aa007774b0b4b40da08d9d9a"),
            (
                AEAD_AES_128_GCM,
                "000102030405060708090a0b0c0d0e0fa0a1a2a3a4a5a6a7a8a9aaab",
                "c5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
            ),
        ):
            key = SrtpKey(suite=suite, master=bytes.fromhex(master))
            self.assertEqual(self.protected(self.outbound(key), packet).hex(), packet[:12].hex() + expected)
            self.assertEqual(protect(key, packet, 0).hex(), packet[:12].hex() + expected)


class RoundTripTests(SrtpTestCase):
    """Each suite, there and back, and as the reference has it."""

    def test_all_suites_are_there(self) -> None:
        """This library can do each of them."""
        self.assertEqual(usable_suites(), tuple(SUITES.values()))

    def test_rtp(self) -> None:
        """What is protected is what the reference makes of it, and comes back as it was."""
        for suite in usable_suites():
            key = key_of(suite)
            outbound, inbound = self.outbound(key), self.inbound(key)
            for sequence in (1, 2, 5, 4):
                packet = rtp(sequence)
                result = self.protected(outbound, packet)
                self.assertEqual(result, protect(key, packet, 0), suite.name)
                self.assertEqual(inbound.unprotect(result), packet, suite.name)
            self.assert_failures(inbound)

    def test_rtcp(self) -> None:
        """The same for reports; the tag of SRTCP is 80 bits with a suite of 32, too."""
        for suite in usable_suites():
            key = key_of(suite)
            outbound, inbound = self.outbound(key), self.inbound(key)
            for count in range(1, 4):
                packet = rtcp(count)
                result = outbound.protect_rtcp(packet)
                self.assertEqual(result, protect_rtcp(key, packet, count), suite.name)
                assert result is not None
                self.assertEqual(inbound.unprotect_rtcp(result), packet, suite.name)
            self.assert_failures(inbound)

    def test_kinds_of_octets(self) -> None:
        """A packet may be in a part of a buffer; the buffer stays as it is."""
        key = key_of(AES_CM_128_HMAC_SHA1_80)
        outbound, inbound = self.outbound(key), self.inbound(key)
        buffer = bytearray(b"----" + rtp(1) + b"----")
        before = bytes(buffer)
        result = outbound.protect(memoryview(buffer)[4:-4])
        assert result is not None
        self.assertEqual(inbound.unprotect(memoryview(bytearray(result))), rtp(1))
        self.assertEqual(buffer, before)

    def test_large_packets(self) -> None:
        """Any datagram fits; what is larger than one is malformed."""
        key = key_of(AES_CM_128_HMAC_SHA1_80)
        outbound, inbound = self.outbound(key), self.inbound(key)
        for sequence, size in enumerate((1357, 1500, 2049, 9000, MAX_PACKET_OCTETS - 10)):
            packet = rtp(sequence, payload=bytes(size - 12))
            self.assertEqual(inbound.unprotect(outbound.protect(packet) or b""), packet)
        self.assertIsNone(outbound.protect(bytes([0x80]) + bytes(MAX_PACKET_OCTETS)))
        self.assert_failures(outbound, malformed=1)

    def test_master_key_identifier(self) -> None:
        """Packets that say which key they are of are understood; those that say another one are dropped."""
        for suite in usable_suites():
            identifier = Mki(value=0x0102, size_octets=3)
            inbound = self.inbound(key_of(suite, mki=identifier))
            octets = identifier.to_bytes()
            self.assertEqual(inbound.unprotect(protect(key_of(suite), rtp(1), 0, octets)), rtp(1))
            self.assertEqual(inbound.unprotect_rtcp(protect_rtcp(key_of(suite), rtcp(1), 1, octets)), rtcp(1))
            self.assertIsNone(inbound.unprotect(protect(key_of(suite), rtp(2), 0, b"\0\0\0")))
            self.assertIsNone(inbound.unprotect(rtp(3, payload=b"")))
            self.assertIsNone(inbound.unprotect_rtcp(protect_rtcp(key_of(suite), rtcp(2), 2)))
            self.assert_failures(inbound, no_key=3)


class CounterTests(SrtpTestCase):
    """The rollover counter belongs to the key and the source."""

    def test_rolls_over(self) -> None:
        """After 65535 comes 0 with a counter that is one higher; late packets of before are still read."""
        for suite in usable_suites():
            key = key_of(suite)
            outbound, inbound = self.outbound(key), self.inbound(key)
            late = b""
            for number in range(65500, 3 * 65536, 40):
                packet = rtp(number)
                result = self.protected(outbound, packet)
                if number == 65500:
                    self.assertEqual(result, protect(key, packet, 0))
                self.assertEqual(inbound.unprotect(result), packet)
                if number == 131060:
                    late = self.protected(outbound, rtp(number + 1))
                if number == 131100:
                    self.assertEqual(result, protect(key, packet, 2))
                    self.assertEqual(inbound.unprotect(late), rtp(131061))
            self.assert_failures(inbound)

    def test_the_same_key_again(self) -> None:
        """A re-INVITE with the key as it was changes nothing: neither the counter nor what was seen."""
        key = key_of(AES_CM_128_HMAC_SHA1_80)
        outbound, inbound = self.outbound(key), self.inbound(key)
        last = b""
        for number in range(60000, 70000, 500):
            last = self.protected(outbound, rtp(number))
            self.assertIsNotNone(inbound.unprotect(last))
        again = SrtpKey(suite=key.suite, master=bytes(key.master))
        self.assertFalse(outbound.use(again))
        self.assertFalse(inbound.use(again))
        result = self.protected(outbound, rtp(70000))
        self.assertEqual(result, protect(key, rtp(70000), 1))
        self.assertEqual(inbound.unprotect(result), rtp(70000))
        self.assertIsNone(inbound.unprotect(last))
        self.assert_failures(inbound, replay=1)

    def test_another_source(self) -> None:
        """Each source under a key has a counter of its own, and goes on where it was when it comes back."""
        key = key_of(AES_CM_128_HMAC_SHA1_80)
        outbound, inbound = self.outbound(key), self.inbound(key)
        for number in range(60000, 70000, 500):
            self.assertIsNotNone(inbound.unprotect(self.protected(outbound, rtp(number))))
        first = self.protected(outbound, rtp(3, ssrc=7))
        self.assertEqual(first, protect(key, rtp(3, ssrc=7), 0))
        self.assertEqual(inbound.unprotect(first), rtp(3, ssrc=7))
        back = self.protected(outbound, rtp(70000))
        self.assertEqual(back, protect(key, rtp(70000), 1))
        self.assertEqual(inbound.unprotect(back), rtp(70000))
        self.assert_failures(inbound)

    def test_sources_are_bounded(self) -> None:
        """There is a last source; those that are known go on."""
        key = key_of(AES_CM_128_HMAC_SHA1_80)
        outbound, inbound = self.outbound(key), self.inbound(key)
        for ssrc in range(SOURCE_LIMIT):
            self.assertIsNotNone(inbound.unprotect(self.protected(outbound, rtp(1, ssrc=ssrc))))
        self.assertIsNone(outbound.protect(rtp(1, ssrc=SOURCE_LIMIT)))
        self.assertIsNone(inbound.unprotect(protect(key, rtp(1, ssrc=SOURCE_LIMIT), 0)))
        self.assertIsNotNone(inbound.unprotect(self.protected(outbound, rtp(2, ssrc=0))))
        self.assert_failures(outbound, too_many_sources=1)
        self.assert_failures(inbound, too_many_sources=1)


class FailureTests(SrtpTestCase):
    """What is dropped, and how it is counted."""

    def test_replay(self) -> None:
        """A packet that was there already is dropped, at both ends, and so is one that is far behind."""
        for suite in usable_suites():
            key = key_of(suite)
            outbound, inbound = self.outbound(key), self.inbound(key)
            result = self.protected(outbound, rtp(1))
            self.assertIsNotNone(inbound.unprotect(result))
            self.assertIsNone(inbound.unprotect(result))
            self.assertIsNone(outbound.protect(rtp(1, payload=b"other")))
            self.assertIsNotNone(inbound.unprotect(self.protected(outbound, rtp(2000))))
            self.assertIsNone(inbound.unprotect(protect(key, rtp(2), 0)))
            report = outbound.protect_rtcp(rtcp(1))
            assert report is not None
            self.assertIsNotNone(inbound.unprotect_rtcp(report))
            self.assertIsNone(inbound.unprotect_rtcp(report))
            self.assert_failures(inbound, replay=3)
            self.assert_failures(outbound, replay=1)

    def test_wrong_key(self) -> None:
        """What was protected with another key is dropped; what comes after it with the right one is not."""
        for suite in usable_suites():
            right, wrong = self.outbound(key_of(suite)), self.outbound(key_of(suite, seed=2))
            inbound = self.inbound(key_of(suite))
            self.assertIsNone(inbound.unprotect(self.protected(wrong, rtp(1))))
            self.assertIsNone(inbound.unprotect_rtcp(wrong.protect_rtcp(rtcp(1)) or b""))
            self.assertEqual(inbound.unprotect(self.protected(right, rtp(1))), rtp(1))
            self.assert_failures(inbound, authentication=2)

    def test_changed_on_the_way(self) -> None:
        """No octet of a packet can be changed."""
        for suite in usable_suites():
            key = key_of(suite)
            inbound = self.inbound(key)
            result = protect(key, rtp(1, payload=b"voice"), 0)
            for place in range(1, len(result)):
                changed = bytearray(result)
                changed[place] ^= 1
                self.assertIsNone(inbound.unprotect(changed), (suite.name, place))
            self.assertEqual(inbound.unprotect(result), rtp(1, payload=b"voice"))

    def test_malformed(self) -> None:
        """What is no packet of RTP is dropped in either direction: it is too short, or of another protocol."""
        key = key_of(AES_CM_128_HMAC_SHA1_80)
        outbound, inbound = self.outbound(key), self.inbound(key)
        for packet in (b"", b"\0\0\0\0", rtp(1)[:11], b"\0\1\0\0" + bytes(100), b"\xb0" + rtp(1)[1:11]):
            self.assertIsNone(outbound.protect(packet))
            self.assertIsNone(inbound.unprotect(packet))
        self.assertIsNone(outbound.protect_rtcp(rtcp(1)[:7]))
        self.assertIsNone(inbound.unprotect_rtcp(rtcp(1)[:7]))
        # The header says that there are contributors, or an extension, which are not there.
        self.assertIsNone(outbound.protect(b"\x8f" + rtp(1)[1:20]))
        self.assertIsNone(outbound.protect(b"\x90" + rtp(1)[1:12]))
        self.assert_failures(outbound, malformed=8)
        self.assert_failures(inbound, malformed=6)

    def test_no_key(self) -> None:
        """Without a key nothing passes: before the first, and after the end."""
        outbound, inbound = OutboundContext(), InboundContext(self.clock.seconds)
        for _ in range(2):
            self.assertFalse(outbound.has_key)
            self.assertIsNone(outbound.protect(rtp(1)))
            self.assertIsNone(outbound.protect_rtcp(rtcp(1)))
            self.assertIsNone(inbound.unprotect(rtp(1)))
            self.assertIsNone(inbound.unprotect_rtcp(rtcp(1)))
            outbound.use(key_of(AEAD_AES_128_GCM))
            self.assertTrue(outbound.has_key)
            outbound.close()
            outbound.close()
            inbound.close()
        self.assert_failures(outbound, no_key=4)
        self.assert_failures(inbound, no_key=4)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=80), st.sampled_from(list(SUITES.values())), st.booleans(), st.integers(0, 171))
    def test_any_octets(self, octets: bytes, suite: Suite, is_version_2: bool, cut: int) -> None:
        """No octets make an error, and nothing comes through that nobody protected, or in part only."""
        key = key_of(suite, mki=Mki(value=1, size_octets=1) if cut % 2 else None)
        outbound, inbound = self.outbound(key), self.inbound(key)
        packet = (b"\x80" if is_version_2 else b"") + octets
        self.assertIsNone(inbound.unprotect(packet))
        self.assertIsNone(inbound.unprotect_rtcp(packet))
        for result in (outbound.protect(packet), outbound.protect_rtcp(packet)):
            if result is not None:
                self.assertGreater(len(result), len(packet))
        result = protect(key_of(suite), rtp(1), 0)[:cut]
        self.assertIsNone(inbound.unprotect(result))
        self.assertIsNone(inbound.unprotect_rtcp(result))


class ChangeTests(SrtpTestCase):
    """Another key."""

    def test_begins_anew(self) -> None:
        """With another key, counters begin at zero, and what was seen is forgotten."""
        old, new = key_of(AES_CM_128_HMAC_SHA1_80), key_of(AES_CM_128_HMAC_SHA1_80, seed=2)
        outbound, inbound = self.outbound(old), self.inbound(old)
        for number in range(60000, 70000, 500):
            self.assertIsNotNone(inbound.unprotect(self.protected(outbound, rtp(number))))
        self.assertTrue(outbound.use(new))
        self.assertTrue(inbound.use(new))
        result = self.protected(outbound, rtp(69500))
        self.assertEqual(result, protect(new, rtp(69500), 0))
        self.assertEqual(inbound.unprotect(result), rtp(69500))
        self.assert_failures(inbound)

    def test_late_packets(self) -> None:
        """For a while, what is late comes through with the key before, each once; after that it does not."""
        for old_suite, new_suite in (
            (AES_CM_128_HMAC_SHA1_80, AEAD_AES_128_GCM),
            (AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_32),
        ):
            old, new = key_of(old_suite), key_of(new_suite, seed=2)
            outbound, inbound = self.outbound(old), self.inbound(old)
            packets = [self.protected(outbound, rtp(number)) for number in range(1, 5)]
            report = outbound.protect_rtcp(rtcp(1))
            assert report is not None
            self.assertEqual(inbound.unprotect(packets[0]), rtp(1))
            inbound.use(new)
            outbound.use(new)
            self.assertEqual(inbound.unprotect(self.protected(outbound, rtp(5))), rtp(5))
            self.clock.advance(GRACE - 0.1)
            self.assertEqual(inbound.unprotect(packets[2]), rtp(3))
            self.assertEqual(inbound.unprotect(packets[1]), rtp(2))
            self.assertEqual(inbound.unprotect_rtcp(report), rtcp(1))
            self.assertIsNone(inbound.unprotect(packets[0]))
            self.assertIsNone(inbound.unprotect(packets[2]))
            self.clock.advance(0.2)
            self.assertIsNone(inbound.unprotect(packets[3]))
            self.assert_failures(inbound, authentication=3)

    def test_back_and_forth(self) -> None:
        """The key before the present one goes on where it stopped: of two answers, either may be the last."""
        one, other = key_of(AES_CM_128_HMAC_SHA1_80), key_of(AES_CM_128_HMAC_SHA1_80, seed=2)
        outbound, inbound = self.outbound(one), self.inbound(one)
        first = self.protected(outbound, rtp(1))
        self.assertIsNotNone(inbound.unprotect(first))
        for key in (other, one):
            self.assertTrue(outbound.use(key))
            self.assertTrue(inbound.use(key))
        self.assertIsNone(outbound.protect(rtp(1, payload=b"other")))
        self.assertIsNone(inbound.unprotect(first))
        self.assert_failures(outbound, replay=1)
        self.assert_failures(inbound, replay=1)

    def test_the_one_before_the_last(self) -> None:
        """Of the keys before the present one, only the last is remembered."""
        keys = [key_of(AES_CM_128_HMAC_SHA1_80, seed=seed) for seed in range(3)]
        outbound, inbound = self.outbound(keys[0]), self.inbound(keys[0])
        packets = [self.protected(outbound, rtp(1))]
        for key in keys[1:]:
            outbound.use(key)
            inbound.use(key)
            packets.append(self.protected(outbound, rtp(1)))
        self.assertEqual([inbound.unprotect(packet) for packet in packets], [None, rtp(1), rtp(1)])
        self.assert_failures(inbound, authentication=1)


class LibraryTests(SynchronousTestCase):
    """Whether it is there."""

    def setUp(self) -> None:
        load_library.cache_clear()
        self.addCleanup(load_library.cache_clear)

    def test_is_missing(self) -> None:
        """Without pylibsrtp there is a reason of one line, and no context."""
        self.patch(sys, "modules", {**sys.modules, "pylibsrtp": None})
        reason = available()
        self.assertEqual(reason, "SRTP needs pylibsrtp, which is not there: pip install sipd[srtp]")
        self.assertRaises(MediaEngineError, OutboundContext)
        self.assertRaises(MediaEngineError, usable_suites)

    def test_is_another(self) -> None:
        """A version that has not what is needed is not used."""
        self.patch(sys, "modules", {**sys.modules, "pylibsrtp": sys, "pylibsrtp._binding": SimpleNamespace()})
        self.assertEqual(available(), "this version of pylibsrtp is not one that sipd can use: 1.0 is")

    def test_has_other_functions(self) -> None:
        """A version whose functions take other arguments is not used."""
        if available() is not None:
            raise SkipTest("pylibsrtp is not there")
        real = load_library()
        lib = SimpleNamespace(**{name: real.lib.srtp_create for name in dir(real.lib) if "protect" in name})
        self.assertRaises(MediaEngineError, Library, SimpleNamespace(ffi=real.ffi, lib=lib))

    def test_cannot_do_all(self) -> None:
        """A suite that the library has no profile for, or makes other policies of, is left out."""
        if available() is not None:
            raise SkipTest("pylibsrtp is not there")
        real = load_library()

        class Other:
            """The library, whose AES_CM_128 is something else."""

            def __getattr__(self, name: str) -> object:
                if name == "srtp_profile_aes128_cm_sha1_80":
                    name = "srtp_profile_aead_aes_128_gcm"
                return getattr(real.lib, name)

        suites = Library(SimpleNamespace(ffi=real.ffi, lib=Other())).suites
        self.assertNotIn(AES_256_CM_HMAC_SHA1_80, suites)
        self.assertIn(AES_256_CM_HMAC_SHA1_32, suites)
        self.assertIn(AEAD_AES_128_GCM, suites)

    def test_no_suite(self) -> None:
        """A library that gives no context for any suite is of no use."""
        if available() is not None:
            raise SkipTest("pylibsrtp is not there")
        real = load_library()

        class Broken:
            """The library, which is out of memory."""

            def __getattr__(self, name: str) -> object:
                return (lambda *_: 3) if name == "srtp_create" else getattr(real.lib, name)

        self.assertRaises(MediaEngineError, Library, SimpleNamespace(ffi=real.ffi, lib=Broken()))
