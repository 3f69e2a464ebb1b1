"""Tests of `sipd.sdp.crypto`."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import SdpError
from sipd.sdp.crypto import (
    AEAD_AES_128_GCM,
    AES_CM_128_HMAC_SHA1_80,
    MAX_LIFETIME,
    SUITES,
    CryptoAttribute,
    KeyParameter,
    Mki,
    SessionParameter,
    SrtpKey,
    read_crypto,
)
from sipd.sdp.description import MediaDescription

#: The key of the examples of RFC 4568, section 4.1 and others.
TEXT = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"
MASTER = b"=-n@%^x!Bjufr9)?,#5h\\`=&]{qiPQ"
OTHER_TEXT = "YUJDZGVmZ2hpSktMbW9QUXJzVHVWd3l6MTIzNDU2"


def crypto(rest: str) -> CryptoAttribute:
    """Parse an attribute of that suite."""
    return CryptoAttribute.parse(f"1 AES_CM_128_HMAC_SHA1_80 {rest}")


class ReadingTests(SynchronousTestCase):
    """What an attribute says."""

    def test_key_alone(self) -> None:
        """Tag, suite and key are all that is needed."""
        attribute = CryptoAttribute.parse(f"2 AES_CM_128_HMAC_SHA1_80 inline:{TEXT}")
        self.assertEqual(
            attribute,
            CryptoAttribute(tag=2, suite="AES_CM_128_HMAC_SHA1_80", keys=(KeyParameter(master=MASTER),)),
        )
        self.assertEqual(str(attribute), f"2 AES_CM_128_HMAC_SHA1_80 inline:{TEXT}")

    def test_lifetime_and_mki(self) -> None:
        """Either may be missing; a lifetime is a number or a power of two."""
        for rest, lifetime, mki in (
            ("|2^20|1:4", 2**20, Mki(value=1, size_octets=4)),
            ("|2^48", 2**48, None),
            ("|1048576", 2**20, None),
            ("|1000|66051:3", 1000, Mki(value=66051, size_octets=3)),
            ("|1:128", None, Mki(value=1, size_octets=128)),
        ):
            [key] = crypto(f"inline:{TEXT}{rest}").keys
            self.assertEqual((key.lifetime, key.mki), (lifetime, mki), rest)
        self.assertEqual(Mki(value=66051, size_octets=4).to_bytes(), b"\0\1\2\3")

    def test_several_keys(self) -> None:
        """Several keys are told apart by MKIs of the same length."""
        attribute = crypto(f"inline:{TEXT}|2^20|1:4;inline:{OTHER_TEXT}|2^20|2:4 FEC_ORDER=FEC_SRTP")
        self.assertEqual(
            [key.mki for key in attribute.keys], [Mki(value=1, size_octets=4), Mki(value=2, size_octets=4)]
        )
        for rest in ("", "|2:2", "|1:4"):
            self.assertRaises(SdpError, crypto, f"inline:{TEXT}|1:4;inline:{OTHER_TEXT}{rest}")

    def test_session_parameters(self) -> None:
        """They are kept in order, and each says whether it can be passed over."""
        names = "KDR=24 UNENCRYPTED_SRTCP WSH=64 -x=y=z new=1 KDR"
        self.assertRaises(SdpError, crypto, f"inline:{TEXT} {names}")
        attribute = crypto(f"inline:{TEXT} {names.removesuffix(' KDR')} FEC_KEY=inline:{OTHER_TEXT}")
        self.assertEqual(
            attribute.parameters,
            (
                SessionParameter("KDR", "24"),
                SessionParameter("UNENCRYPTED_SRTCP"),
                SessionParameter("WSH", "64"),
                SessionParameter("-x", "y=z"),
                SessionParameter("new", "1"),
                SessionParameter("FEC_KEY", f"inline:{OTHER_TEXT}"),
            ),
        )
        self.assertEqual(
            [each.asks_for_nothing for each in attribute.parameters], [False, False, True, True, False, False]
        )
        self.assertTrue(crypto(f"inline:{TEXT} KDR=0").parameters[0].asks_for_nothing)

    def test_dialects(self) -> None:
        """Names in lower case, more spaces than one and base64 without its padding are understood."""
        master = bytes(range(28))
        padded = b64encode(master).decode()
        self.assertTrue(padded.endswith("=="))
        for text in (f"0  aead_aes_128_gcm  INLINE:{padded}", f"0 AEAD_AES_128_GCM inline:{padded.rstrip('=')} "):
            attribute = CryptoAttribute.parse(text)
            self.assertEqual((attribute.suite, attribute.keys[0].master), (AEAD_AES_128_GCM.name, master))
            self.assertEqual(str(attribute), f"0 AEAD_AES_128_GCM inline:{padded}")

    def test_unknown_suite(self) -> None:
        """The keys of a suite that nobody knows may have any length."""
        attribute = CryptoAttribute.parse("7 F8_128_HMAC_SHA1_80 inline:AAAA")
        self.assertEqual((attribute.suite, attribute.keys[0].master), ("F8_128_HMAC_SHA1_80", b"\0\0\0"))

    def test_what_is_none(self) -> None:
        """Everything that breaks the grammar or a bound is refused."""
        for text in (
            "",
            "1",
            "1 AES_CM_128_HMAC_SHA1_80",
            f"x AES_CM_128_HMAC_SHA1_80 inline:{TEXT}",
            f"1234567890 AES_CM_128_HMAC_SHA1_80 inline:{TEXT}",
            f"1 AES-CM inline:{TEXT}",
            f"1 AEAD_AES_128_GCM inline:{TEXT}",
            f"1 X inline:{'A' * 5000}",
        ):
            self.assertRaises(SdpError, CryptoAttribute.parse, text)
        for rest in (
            f"uri:{TEXT}",
            f"inline:{TEXT[:-1]}",
            f"inline:{TEXT}=",
            f"inline:{TEXT}A",
            f"inline:{TEXT}AAAA",
            f"inline:{TEXT[:-2]}==",
            "inline:",
            f"inline:{TEXT}|",
            f"inline:{TEXT}|0",
            f"inline:{TEXT}|2^49",
            f"inline:{TEXT}|2^48|1:4|1:4",
            f"inline:{TEXT}|1:0",
            f"inline:{TEXT}|1:129",
            f"inline:{TEXT}|256:1",
            f"inline:{TEXT};",
            ";".join(f"inline:{TEXT}|{number}:4" for number in range(17)),
            f"inline:{TEXT} =1",
            f"inline:{TEXT} KDR=25",
            f"inline:{TEXT} KDR=0 KDR=1",
            f"inline:{TEXT} WSH=63",
            f"inline:{TEXT} UNENCRYPTED_SRTP=1",
            f"inline:{TEXT} FEC_ORDER=NONE",
            f"inline:{TEXT} FEC_KEY={TEXT}",
            f"inline:{TEXT} ä",
            f"inline:{TEXT}" + " -x" * 17,
        ):
            self.assertRaises(SdpError, crypto, rest)

    def test_of_a_stream(self) -> None:
        """Of a stream, what is malformed is left out, so are a tag that was there and what is far down."""
        lines = ["m=audio 4000 RTP/SAVP 0", "a=crypto:1 nothing", "a=crypto", f"a=crypto:1 X inline:{TEXT}"]
        lines += [f"a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{TEXT}" for tag in (1, *range(2, 60))]
        found = read_crypto(MediaDescription(lines=lines))
        self.assertEqual([attribute.tag for attribute in found], list(range(1, 31)))
        self.assertEqual(found[0].suite, "X")


class SecrecyTests(SynchronousTestCase):
    """Where keys are not."""

    def test_repr(self) -> None:
        """No key is in a `repr`."""
        attribute = crypto(f"inline:{TEXT}|2^20|1:4 FEC_KEY=inline:{OTHER_TEXT}")
        key = SrtpKey(suite=AES_CM_128_HMAC_SHA1_80, master=MASTER)
        shown = repr((attribute, key))
        for secret in (TEXT, OTHER_TEXT, repr(MASTER)[2:-1], MASTER.hex()):
            self.assertNotIn(secret[:8], shown)

    def test_errors(self) -> None:
        """No key is in an error."""
        for text in (f"1 AEAD_AES_128_GCM inline:{TEXT}", f"1 X inline:{TEXT}|2^99", f"{TEXT} X inline:{TEXT}"):
            error = self.assertRaises(SdpError, CryptoAttribute.parse, text)
            self.assertNotIn(TEXT[:8], str(error))

    def test_length(self) -> None:
        """A key has the length of its suite."""
        self.assertRaises(ValueError, SrtpKey, suite=AEAD_AES_128_GCM, master=MASTER)


_NAMES = st.from_regex(r"-?[A-Za-z][!-<>-~]{0,20}", fullmatch=True).filter(
    lambda name: not name.startswith(("KDR", "UN", "FEC", "WSH"))
)
_PARAMETERS = st.one_of(
    st.builds(SessionParameter, _NAMES, st.none() | st.from_regex(r"[!-~]{0,20}", fullmatch=True)),
    st.builds(SessionParameter, st.just("-WSH"), st.just("1")),
)
_LIFETIMES = st.none() | st.integers(1, MAX_LIFETIME) | st.integers(0, 48).map(lambda exponent: 2**exponent)


@st.composite
def attributes(draw: st.DrawFn) -> CryptoAttribute:
    """Make any attribute that there may be."""
    name = draw(st.sampled_from([*SUITES, "F8_128_HMAC_SHA1_80"]))
    octets = SUITES[name].master_octets if name in SUITES else draw(st.integers(1, 150))
    count = draw(st.integers(1, 4))
    size = draw(st.integers(1, 128))
    has_mki = count > 1 or draw(st.booleans())
    values = draw(st.lists(st.integers(0, 256**size - 1), min_size=count, max_size=count, unique=True))
    return CryptoAttribute(
        tag=draw(st.integers(0, 999_999_999)),
        suite=name,
        keys=tuple(
            KeyParameter(
                master=draw(st.binary(min_size=octets, max_size=octets)),
                lifetime=draw(_LIFETIMES),
                mki=Mki(value=value, size_octets=size) if has_mki else None,
            )
            for value in values
        ),
        parameters=tuple(draw(st.lists(_PARAMETERS, max_size=4))),
    )


class PropertyTests(SynchronousTestCase):
    """What holds for any."""

    @settings(max_examples=150, deadline=None)
    @given(attributes())
    def test_round_trip(self, attribute: CryptoAttribute) -> None:
        """What is printed is read as what it was."""
        self.assertEqual(CryptoAttribute.parse(str(attribute)), attribute)

    @settings(max_examples=300, deadline=None)
    @given(
        st.text()
        | st.text("1 AES_CM128HMAC0inline:|^;=", max_size=80).map(lambda text: "1 X inline:" + text)
        | st.text("0123456789:|^;= ABCinlWSHKDR-é", max_size=40).map(lambda text: f"1 X inline:{TEXT}{text}")
    )
    def test_any_text(self, text: str) -> None:
        """Any text is read, or refused with `SdpError`; what is read can be printed and read again."""
        try:
            attribute = CryptoAttribute.parse(text)
        except SdpError:
            return
        self.assertEqual(CryptoAttribute.parse(str(attribute)), attribute)
