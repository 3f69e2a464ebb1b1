"""Tests of `sipd.sdp.fingerprints`."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import SdpError
from sipd.sdp.description import MediaDescription, SessionDescription, parse_description
from sipd.sdp.fingerprints import (
    ALGORITHMS,
    Fingerprint,
    Setup,
    answer_setup,
    matches,
    offerer_setup,
    read_fingerprints,
    read_setup,
    with_dtls,
)

CERTIFICATE = b"a certificate in DER"
OTHER = b"another one"
DIGEST = hashlib.sha256(CERTIFICATE).digest()
TEXT = "sha-256 " + DIGEST.hex(":").upper()

algorithms = st.sampled_from(sorted(ALGORITHMS))


def session(*lines: str, stream: tuple[str, ...] = ()) -> SessionDescription:
    """Make a description with one stream."""
    text = "\r\n".join(["v=0", "s=-", *lines, "m=audio 9 UDP/TLS/RTP/SAVPF 0", *stream])
    return parse_description(text)


def of(description: SessionDescription) -> tuple[Fingerprint, ...]:
    """Read the fingerprints of the only stream."""
    return read_fingerprints(description, description.media[0])


def setup_of(description: SessionDescription) -> Setup | None:
    """Read the role for the only stream."""
    return read_setup(description, description.media[0])


class ParsingTests(SynchronousTestCase):
    """What one attribute says."""

    def test_known(self) -> None:
        """A hash function and its octets are read, and printed in capital letters."""
        fingerprint = Fingerprint.parse(TEXT)
        self.assertEqual(fingerprint, Fingerprint("sha-256", DIGEST))
        self.assertTrue(fingerprint.is_known)
        self.assertEqual(str(fingerprint), TEXT)

    def test_lenient(self) -> None:
        """The name in capital letters, the octets in small ones, and more spaces than one are taken."""
        self.assertEqual(Fingerprint.parse(f" SHA-256   {DIGEST.hex(':')} "), Fingerprint("sha-256", DIGEST))

    def test_unknown(self) -> None:
        """Another hash function is kept with octets of any number."""
        fingerprint = Fingerprint.parse("sha-1 4A:AD")
        self.assertEqual(fingerprint, Fingerprint("sha-1", b"\x4a\xad"))
        self.assertFalse(fingerprint.is_known)

    def test_malformed(self) -> None:
        """What is not a name and octets with colons, or too short for its hash function, is refused."""
        for text in (
            "",
            "sha-256",
            "sha-256 ",
            "sha-256 4A:AD",
            "sha-1 4A:A",
            "sha-1 4AAD",
            "sha-1 4A:AD:",
            "sha-1 4G",
            "sha-1 4A\n",
            "sha-1 " + 85 * "4A:" + "4A",
            "sha 1 4A",
        ):
            self.assertRaises(SdpError, Fingerprint.parse, text)
        self.assertRaises(ValueError, Fingerprint, "sha-256", b"short")

    @given(st.text(max_size=300))
    def test_any_text(self, text: str) -> None:
        """Whatever is parsed is printed so that it is parsed again; everything else is an `SdpError`."""
        try:
            fingerprint = Fingerprint.parse(text)
        except SdpError:
            return
        self.assertEqual(Fingerprint.parse(str(fingerprint)), fingerprint)

    @given(st.binary(), algorithms)
    def test_of_certificate(self, certificate: bytes, algorithm: str) -> None:
        """That of a certificate has the length of its hash function and survives the way through a description."""
        fingerprint = Fingerprint.of(certificate, algorithm)
        self.assertEqual(len(fingerprint.octets), ALGORITHMS[algorithm])
        self.assertEqual(Fingerprint.parse(str(fingerprint)), fingerprint)
        self.assertTrue(matches(certificate, [fingerprint]))
        self.assertFalse(matches(certificate + b"x", [fingerprint]))

    def test_of_certificate_by_weak_hash(self) -> None:
        """There is none by SHA-1."""
        self.assertRaises(ValueError, Fingerprint.of, CERTIFICATE, "sha-1")


class MatchingTests(SynchronousTestCase):
    """Which certificates are the right ones."""

    def test_one_of_several(self) -> None:
        """A peer may name several certificates by one hash function."""
        both = [Fingerprint.of(OTHER), Fingerprint.of(CERTIFICATE)]
        self.assertTrue(matches(CERTIFICATE, both))
        self.assertTrue(matches(OTHER, both))
        self.assertFalse(matches(b"a third one", both))

    def test_strongest_decides(self) -> None:
        """What a weaker hash function says does not help against what a stronger one says."""
        expected = [Fingerprint.of(CERTIFICATE), Fingerprint.of(OTHER, "sha-512")]
        self.assertFalse(matches(CERTIFICATE, expected))
        self.assertTrue(matches(OTHER, expected))

    def test_unknown_never_matches(self) -> None:
        """A correct SHA-1 is worth nothing, alone or beside others."""
        weak = Fingerprint("sha-1", hashlib.sha1(CERTIFICATE, usedforsecurity=False).digest())
        self.assertFalse(matches(CERTIFICATE, [weak]))
        self.assertFalse(matches(CERTIFICATE, [weak, Fingerprint.of(OTHER)]))
        self.assertTrue(matches(CERTIFICATE, [weak, Fingerprint.of(CERTIFICATE)]))

    def test_nothing_expected(self) -> None:
        """Without fingerprints no certificate is the right one."""
        self.assertFalse(matches(CERTIFICATE, []))


class RoleTests(SynchronousTestCase):
    """Who begins."""

    def test_answer(self) -> None:
        """An answer is passive, unless the offerer is."""
        roles = {offered: answer_setup(offered) for offered in (*Setup, None)}
        self.assertEqual(
            roles,
            {
                Setup.ACTPASS: Setup.PASSIVE,
                Setup.ACTIVE: Setup.PASSIVE,
                Setup.PASSIVE: Setup.ACTIVE,
                None: Setup.PASSIVE,
            },
        )

    def test_offerer(self) -> None:
        """Who offered either takes the role that the answer leaves."""
        self.assertIs(offerer_setup(Setup.ACTIVE), Setup.PASSIVE)
        self.assertIs(offerer_setup(Setup.PASSIVE), Setup.ACTIVE)
        self.assertIs(offerer_setup(None), Setup.ACTIVE)
        self.assertRaises(SdpError, offerer_setup, Setup.ACTPASS)

    def test_roles_differ(self) -> None:
        """Both sides come to opposite roles."""
        for offered in (Setup.ACTPASS, None):
            answer = answer_setup(offered)
            self.assertNotEqual(offerer_setup(answer), answer)


class DescriptionTests(SynchronousTestCase):
    """Where in a description they are."""

    def test_session_is_default(self) -> None:
        """What the session says is for streams that say nothing."""
        of_session = session(f"a=fingerprint:{TEXT}", "a=setup:actpass")
        self.assertEqual(of(of_session), (Fingerprint("sha-256", DIGEST),))
        self.assertIs(setup_of(of_session), Setup.ACTPASS)

    def test_stream_comes_first(self) -> None:
        """What a stream says is in the place of all that the session says."""
        own = Fingerprint.of(OTHER)
        description = session(
            f"a=fingerprint:{TEXT}", "a=setup:passive", stream=(f"a=fingerprint:{own}", "a=setup:Active")
        )
        self.assertEqual(of(description), (own,))
        self.assertIs(setup_of(description), Setup.ACTIVE)

    def test_malformed_are_left_out(self) -> None:
        """A malformed one is left out, and does not bring back that of the session."""
        self.assertEqual(of(session(f"a=fingerprint:{TEXT}", stream=("a=fingerprint:sha-256 1",))), ())
        self.assertEqual(of(session(f"a=fingerprint:{TEXT}", stream=("a=fingerprint",))), ())
        both = session(stream=("a=fingerprint:?", f"a=fingerprint:{TEXT}"))
        self.assertEqual(of(both), (Fingerprint("sha-256", DIGEST),))

    def test_too_many(self) -> None:
        """Of one section 32 are read."""
        lines = tuple(f"a=fingerprint:sha-1 {number:02X}" for number in range(40))
        self.assertEqual(len(of(session(stream=lines))), 32)

    def test_none(self) -> None:
        """Without them there is nothing; neither is there in a role that DTLS has no use for."""
        self.assertEqual(of(session()), ())
        self.assertIsNone(setup_of(session()))
        self.assertIsNone(setup_of(session(stream=("a=setup:holdconn",))))

    def test_write_to_stream(self) -> None:
        """Those of a stream are written in the place of what was there."""
        description = session(stream=("a=fingerprint:sha-1 AA", "a=setup:active", "a=sendrecv"))
        fingerprints = [Fingerprint.of(CERTIFICATE), Fingerprint.of(OTHER)]
        written = with_dtls(description.media[0], fingerprints, Setup.PASSIVE)
        self.assertIsInstance(written, MediaDescription)
        self.assertEqual(
            written.lines[1:],
            ("a=sendrecv", *[f"a=fingerprint:{each}" for each in fingerprints], "a=setup:passive"),
        )
        self.assertEqual(with_dtls(written, ()).lines[1:], ("a=sendrecv",))

    def test_write_to_session(self) -> None:
        """Those of a session are written before its streams, which stay."""
        description = session(stream=("a=setup:active",))
        written = with_dtls(description, [Fingerprint.of(CERTIFICATE)])
        self.assertEqual(written.media, description.media)
        self.assertEqual(of(parse_description(str(written))), (Fingerprint("sha-256", DIGEST),))
