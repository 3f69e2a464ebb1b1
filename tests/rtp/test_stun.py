"""Tests of `sipd.rtp.stun`."""

from __future__ import annotations

import hmac
import random
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.rtp.stun import (
    MAGIC_COOKIE,
    MAX_ATTRIBUTES,
    Attribute,
    Kind,
    Method,
    StunMessage,
    error_code_value,
    is_stun,
    long_term_key,
    read_address,
    read_xor_address,
    unknown_attributes_value,
    xor_address,
)

BINDING_REQUEST = b"\0\1\0\0" + MAGIC_COOKIE + bytes(12)
TRANSACTION = bytes(range(12))

# RFC 5769 section 2.
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
SAMPLE_TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
SAMPLE_REQUEST = bytes.fromhex(
    "00010058 2112a442 b7e7a701bc34d686fa87dfae"
    "80220010 5354554e207465737420636c69656e74"
    "00240004 6e0001ff"
    "80290008 932ff9b151263b36"
    "00060009 6576746a3a68367659202020"
    "00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004 e57a3bcf"
)
SAMPLE_IPV4_RESPONSE = bytes.fromhex(
    "0101003c 2112a442 b7e7a701bc34d686fa87dfae"
    "8022000b 7465737420766563746f7220"
    "00200008 0001a147e112a643"
    "00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004 c07d4c96"
)
SAMPLE_IPV6_RESPONSE = bytes.fromhex(
    "01010048 2112a442 b7e7a701bc34d686fa87dfae"
    "8022000b 7465737420766563746f7220"
    "00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014 a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004 c8fb0b4c"
)
SAMPLE_LONG_TERM_REQUEST = bytes.fromhex(
    "00010060 2112a442 78ad3433c6ad72c029da412e"
    "00060012 e3839ee38388e383aae38383e382afe382b90000"
    "0015001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b 6578616d706c652e6f726700"
    "00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666"
)


def raw(*attributes: tuple[int, bytes], number: int = 1) -> bytes:
    """Print a message without the code under test."""
    body = b"".join(
        kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
        for kind, value in attributes
    )
    return number.to_bytes(2, "big") + len(body).to_bytes(2, "big") + MAGIC_COOKIE + TRANSACTION + body


def with_attributes(*attributes: tuple[int, bytes], kind: Kind = Kind.REQUEST) -> StunMessage:
    """Make a message of a BINDING."""
    return StunMessage(Method.BINDING, kind, TRANSACTION, attributes)


class RecognitionTests(SynchronousTestCase):
    """RFC 8489 section 5."""

    def test_recognises_messages(self) -> None:
        """Requests, indications and responses, with attributes and without, are STUN."""
        self.assertTrue(is_stun(BINDING_REQUEST))
        self.assertTrue(is_stun(b"\1\1\0\4" + MAGIC_COOKIE + bytes(16)))

    def test_everything_else_is_not(self) -> None:
        """RTP, RTCP, DTLS, a wrong cookie or a wrong length are not STUN."""
        for data in (
            b"",
            b"\r\n\r\n",
            BINDING_REQUEST[:-1],
            BINDING_REQUEST + b"\0\0\0\0",
            b"\x80" + BINDING_REQUEST[1:],
            b"\x16\xfe\xfd" + BINDING_REQUEST[3:],
            BINDING_REQUEST[:4] + bytes(16),
            b"\0\1\0\1" + MAGIC_COOKIE + bytes(13),
        ):
            self.assertFalse(is_stun(data), data)
            self.assertRaises(ParseError, StunMessage.parse, data)


class VectorTests(SynchronousTestCase):
    """RFC 5769 section 2."""

    def test_request(self) -> None:
        """The sample request has its attributes, its fingerprint is right, and its password is known by it."""
        message = StunMessage.parse(SAMPLE_REQUEST)
        self.assertEqual((message.method, message.kind), (Method.BINDING, Kind.REQUEST))
        self.assertEqual(message.transaction, SAMPLE_TRANSACTION)
        self.assertEqual(message.get(Attribute.SOFTWARE), b"STUN test client")
        self.assertEqual(message.get(Attribute.PRIORITY), bytes.fromhex("6e0001ff"))
        self.assertEqual(message.get(Attribute.ICE_CONTROLLED), bytes.fromhex("932ff9b151263b36"))
        self.assertEqual(message.get(Attribute.USERNAME), b"evtj:h6vY")
        self.assertTrue(message.is_signed_with(PASSWORD))
        self.assertFalse(message.is_signed_with(PASSWORD[:-1]))

    def test_responses(self) -> None:
        """The sample responses are signed, and say the addresses of both families."""
        for data, host in (
            (SAMPLE_IPV4_RESPONSE, "192.0.2.1"),
            (SAMPLE_IPV6_RESPONSE, "2001:db8:1234:5678:11:2233:4455:6677"),
        ):
            message = StunMessage.parse(data)
            self.assertEqual(message.kind, Kind.SUCCESS)
            self.assertEqual(message.mapped_address, (host, 32853))
            self.assertTrue(message.is_signed_with(PASSWORD))
            self.assertEqual(xor_address((host, 32853), SAMPLE_TRANSACTION), message.get(Attribute.XOR_MAPPED_ADDRESS))

    def test_long_term_request(self) -> None:
        """The sample request with long-term authentication is signed with the key of user, realm and password."""
        message = StunMessage.parse(SAMPLE_LONG_TERM_REQUEST)
        user = (message.get(Attribute.USERNAME) or b"").decode()
        self.assertEqual(user, "マトリックス")
        self.assertTrue(message.is_signed_with(long_term_key(user, "example.org", "TheMatrIX")))
        self.assertFalse(message.is_signed_with(long_term_key(user, "example.com", "TheMatrIX")))

    def test_printing(self) -> None:
        """What was parsed is printed and signed again octet for octet, where its padding is of zeros."""
        message = StunMessage.parse(SAMPLE_LONG_TERM_REQUEST)
        key = long_term_key("マトリックス", "example.org", "TheMatrIX")
        self.assertEqual(message.to_bytes(key=key), SAMPLE_LONG_TERM_REQUEST)


class PrintingTests(SynchronousTestCase):
    """Messages that are made here."""

    def test_types(self) -> None:
        """Method and class stand in the first two octets as RFC 8489 section 5 interleaves them."""
        for method, kind, number in (
            (Method.BINDING, Kind.REQUEST, 0x0001),
            (Method.BINDING, Kind.INDICATION, 0x0011),
            (Method.BINDING, Kind.SUCCESS, 0x0101),
            (Method.BINDING, Kind.ERROR, 0x0111),
            (Method.ALLOCATE, Kind.ERROR, 0x0113),
            (Method.DATA, Kind.INDICATION, 0x0017),
            (0x1F, Kind.SUCCESS, 0x012F),
            (0xFF, Kind.ERROR, 0x03FF),
        ):
            message = StunMessage(method, kind, TRANSACTION)
            self.assertEqual(message.to_bytes(), raw(number=number))
            self.assertEqual(StunMessage.parse(raw(number=number)), message)

    def test_signing(self) -> None:
        """The signature is an HMAC with SHA-1 over what is before it, the length counting it, and no fingerprint."""
        data = with_attributes((Attribute.USERNAME, b"ab:cd")).to_bytes(key=b"secret", with_fingerprint=True)
        before = data[:32]
        counted = before[:2] + (12 + 24).to_bytes(2, "big") + before[4:]
        self.assertEqual(data[32:36], b"\0\x08\0\x14")
        self.assertEqual(data[36:56], hmac.new(b"secret", counted, "sha1").digest())
        self.assertEqual(data[56:], b"\x80\x28\0\4" + (crc32(data[:56]) ^ 0x5354554E).to_bytes(4, "big"))
        message = StunMessage.parse(data)
        self.assertTrue(message.is_signed_with(b"secret"))
        self.assertFalse(message.is_signed_with(b"Secret"))

    def test_signing_anew(self) -> None:
        """A parsed message is printed without its old signature and fingerprint."""
        message = StunMessage.parse(with_attributes().to_bytes(key=b"one", with_fingerprint=True))
        self.assertEqual(message.to_bytes(), with_attributes().to_bytes())
        self.assertTrue(StunMessage.parse(message.to_bytes(key=b"two")).is_signed_with(b"two"))

    def test_bounds(self) -> None:
        """Methods, transaction ids, values, messages, codes, hosts and ports out of bounds are refused."""
        self.assertRaises(ValueError, StunMessage, 256, Kind.REQUEST, TRANSACTION)
        self.assertRaises(ValueError, StunMessage, 1, Kind.REQUEST, TRANSACTION[1:])
        self.assertRaises(ValueError, with_attributes((Attribute.DATA, bytes(65536))).to_bytes)
        self.assertRaises(ValueError, with_attributes(*[(Attribute.DATA, bytes(40000))] * 2).to_bytes)
        self.assertRaises(ValueError, xor_address, ("example.org", 1), TRANSACTION)
        self.assertRaises(ValueError, xor_address, ("192.0.2.1", 65536), TRANSACTION)
        self.assertRaises(ValueError, error_code_value, 299, "")

    def test_no_octets_in_its_text(self) -> None:
        """What was received is not repeated in the text of a message, and does not count when two are compared."""
        message = StunMessage.parse(SAMPLE_REQUEST)
        self.assertNotIn("octets", repr(message))
        self.assertEqual(message, StunMessage(1, Kind.REQUEST, SAMPLE_TRANSACTION, message.attributes))


class AttributeTests(SynchronousTestCase):
    """RFC 8489 section 14."""

    def test_the_first_of_two_counts(self) -> None:
        """Where an attribute comes twice, the first one is taken."""
        message = StunMessage.parse(raw((Attribute.USERNAME, b"a"), (Attribute.USERNAME, b"b")))
        self.assertEqual(message.get(Attribute.USERNAME), b"a")
        self.assertIsNone(message.get(Attribute.REALM))

    def test_nothing_counts_after_the_signature(self) -> None:
        """What stands between MESSAGE-INTEGRITY and FINGERPRINT was added by anybody, and is left out."""
        signed = with_attributes((Attribute.PRIORITY, bytes(4))).to_bytes(key=b"secret")
        signature = StunMessage.parse(signed).get(Attribute.MESSAGE_INTEGRITY)
        assert signature is not None
        message = StunMessage.parse(
            raw(
                (Attribute.PRIORITY, bytes(4)),
                (Attribute.MESSAGE_INTEGRITY, signature),
                (Attribute.USE_CANDIDATE, b""),
                (0x1C, bytes(32)),
                (Attribute.MESSAGE_INTEGRITY, bytes(20)),
            )
        )
        self.assertTrue(message.is_signed_with(b"secret"))
        self.assertIsNone(message.get(Attribute.USE_CANDIDATE))
        self.assertEqual(message.unknown_required, ())
        self.assertEqual(len(message.attributes), 2)

    def test_unsigned(self) -> None:
        """A message without a signature, with a short one, or that was not received, is signed with no key."""
        self.assertFalse(StunMessage.parse(BINDING_REQUEST).is_signed_with(b""))
        self.assertFalse(StunMessage.parse(raw((Attribute.MESSAGE_INTEGRITY, b""))).is_signed_with(b""))
        self.assertFalse(with_attributes((Attribute.MESSAGE_INTEGRITY, bytes(20))).is_signed_with(b""))

    def test_fingerprint(self) -> None:
        """A fingerprint that is wrong, short, or not the last attribute makes the message none."""
        good = with_attributes().to_bytes(with_fingerprint=True)
        self.assertIsNotNone(StunMessage.parse(good).get(Attribute.FINGERPRINT))
        for data in (
            good[:-1] + bytes((good[-1] ^ 1,)),
            raw((Attribute.FINGERPRINT, b"")),
            raw((Attribute.FINGERPRINT, good[-4:]), (Attribute.SOFTWARE, b"")),
        ):
            self.assertRaises(ParseError, StunMessage.parse, data)

    def test_addresses(self) -> None:
        """An address without XOR is read where there is none with it; what cannot be read is none."""
        plain = bytes.fromhex("0001 1f90 c0000201")
        xored = xor_address(("192.0.2.9", 9), TRANSACTION)
        self.assertEqual(with_attributes((Attribute.MAPPED_ADDRESS, plain)).mapped_address, ("192.0.2.1", 8080))
        both = with_attributes((Attribute.MAPPED_ADDRESS, plain), (Attribute.XOR_MAPPED_ADDRESS, xored))
        self.assertEqual(both.mapped_address, ("192.0.2.9", 9))
        self.assertIsNone(with_attributes().mapped_address)
        for value in (b"", b"\0", plain[:-1], plain + b"\0", b"\0\3" + plain[2:], b"\0\2" + plain[2:], bytes(30)):
            self.assertRaises(ParseError, read_address, value)
            self.assertRaises(ParseError, read_xor_address, value, TRANSACTION)
            self.assertIsNone(with_attributes((Attribute.XOR_MAPPED_ADDRESS, value)).mapped_address)
        self.assertRaises(ParseError, read_xor_address, b"\0\2" + bytes(19), TRANSACTION)

    def test_error_code(self) -> None:
        """An error says its code and a reason that is fit for a log; what cannot be read is none."""
        self.assertEqual(
            with_attributes((Attribute.ERROR_CODE, error_code_value(487, "Role Conflict"))).error_code,
            (487, "Role Conflict"),
        )
        noisy = with_attributes((Attribute.ERROR_CODE, b"\0\0\4\1a\r\n\x1b\xff" + b"x" * 500)).error_code
        assert noisy is not None
        self.assertEqual(noisy[0], 401)
        self.assertTrue(noisy[1].isprintable())
        self.assertEqual(len(noisy[1]), 127)
        self.assertIsNone(with_attributes().error_code)
        for value in (b"", b"\0\0\4", b"\0\0\2\0", b"\0\0\7\0", b"\0\0\4\x64"):
            self.assertIsNone(with_attributes((Attribute.ERROR_CODE, value)).error_code)

    def test_unknown_attributes(self) -> None:
        """Unknown attributes of the lower half have to be understood, and are named once each."""
        message = with_attributes((0x7FFF, b""), (Attribute.USERNAME, b""), (0x8FFF, b""), (0x02, b""), (0x7FFF, b""))
        self.assertEqual(message.unknown_required, (0x7FFF, 0x02))
        self.assertEqual(unknown_attributes_value(message.unknown_required), b"\x7f\xff\0\2")


class HostileTests(SynchronousTestCase):
    """Any octets give a message or a `ParseError`."""

    def use(self, data: bytes) -> None:
        """Parse, and read all that can be read."""
        try:
            message = StunMessage.parse(data)
        except ParseError:
            return
        _ = (message.mapped_address, message.error_code, message.unknown_required, message.is_signed_with(b"key"))
        self.assertLessEqual(len(message.attributes), MAX_ATTRIBUTES)
        self.assertEqual(StunMessage.parse(message.to_bytes()).transaction, message.transaction)

    @given(st.binary(max_size=200))
    def test_any_body(self, body: bytes) -> None:
        """Any octets behind a right header do no harm."""
        self.use(b"\1\1" + len(body).to_bytes(2, "big") + MAGIC_COOKIE + bytes(12) + body)

    @given(st.binary(max_size=60))
    def test_any_octets(self, data: bytes) -> None:
        """Any octets do no harm."""
        self.use(data)

    def test_damaged_messages(self) -> None:
        """Neither do messages of which some octets are others, or the end is missing."""
        dice = random.Random(5769)
        for sample in (SAMPLE_REQUEST, SAMPLE_IPV6_RESPONSE, SAMPLE_LONG_TERM_REQUEST):
            for _ in range(500):
                data = bytearray(sample)
                for _ in range(dice.randrange(1, 4)):
                    data[dice.randrange(20, len(data))] = dice.randrange(256)
                self.use(bytes(data))
            for end in range(len(sample)):
                self.assertRaises(ParseError, StunMessage.parse, sample[:end])
                cut = sample[:2] + max(end - 20, 0).to_bytes(2, "big") + sample[4:end]
                self.use(cut)

    def test_attribute_longer_than_the_message(self) -> None:
        """An attribute that says more octets than follow makes the message none."""
        for value in (b"\0\6\0\1", b"\0\6\xff\xff", b"\0\6\0\5abcd"):
            data = b"\0\1" + len(value).to_bytes(2, "big") + MAGIC_COOKIE + bytes(12) + value
            self.assertRaises(ParseError, StunMessage.parse, data)

    def test_many_attributes(self) -> None:
        """A message with more attributes than the bound is none."""
        StunMessage.parse(raw(*[(Attribute.SOFTWARE, b"")] * MAX_ATTRIBUTES))
        self.assertRaises(ParseError, StunMessage.parse, raw(*[(Attribute.SOFTWARE, b"")] * (MAX_ATTRIBUTES + 1)))
        self.assertRaises(ParseError, StunMessage.parse, raw(*[(Attribute.SOFTWARE, b"")] * 16000))
