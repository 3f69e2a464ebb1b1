"""Tests of `sipd.media.dtls.identity`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ConfigurationError, MediaEngineError
from sipd.media.dtls.identity import load_identity, make_identity
from sipd.media.libsrtp import available, load_library
from sipd.sdp.crypto import AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_80
from sipd.sdp.fingerprints import Fingerprint

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def sign(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.Certificate:
    """Make a certificate that is signed by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    return x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), moment, moment.replace(year=2021)
    ).sign(key, hashes.SHA256())


class MakingTests(SynchronousTestCase):
    """A certificate of our own."""

    skip = available()

    def test_fresh(self) -> None:
        """Each one has a fingerprint of its own by SHA-256, which is all that its repr shows."""
        one, other = make_identity(), make_identity()
        self.assertEqual(one.fingerprint.algorithm, "sha-256")
        self.assertNotEqual(one.fingerprint, other.fingerprint)
        self.assertEqual(repr(one), f"<DtlsIdentity {one.fingerprint}>")

    def test_suites(self) -> None:
        """Authenticated encryption comes first, then what everybody knows."""
        self.assertEqual(make_identity().suites, (AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_80))

    def test_without_library(self) -> None:
        """Where pylibsrtp is not installed, there is a clear error."""
        load_library.cache_clear()
        self.addCleanup(load_library.cache_clear)
        self.patch(sys, "modules", {**sys.modules, "pylibsrtp": None})
        error = self.assertRaises(MediaEngineError, make_identity)
        self.assertIn("pip install sipd[srtp]", str(error))


class LoadingTests(SynchronousTestCase):
    """A certificate of files."""

    skip = available()

    def setUp(self) -> None:
        """Make a directory, and a certificate with its key in it."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = sign(self.key)
        self.certificate_path = self.write("certificate.pem", self.certificate.public_bytes(Encoding.PEM))
        self.key_path = self.write_key("key.pem", self.key)

    def write(self, name: str, data: bytes) -> str:
        """Write a file; give its path."""
        path = self.directory / name
        path.write_bytes(data)
        return str(path)

    def write_key(self, name: str, key: Key, encryption: KeySerializationEncryption | None = None) -> str:
        """Write a key; give its path."""
        return self.write(name, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))

    def problems(self, certificate: str, key: str) -> list[str]:
        """Give what is wrong with two files."""
        error: ConfigurationError = self.assertRaises(ConfigurationError, load_identity, certificate, key)
        return error.problems

    def test_files(self) -> None:
        """The fingerprint is that of the certificate in the file, expired or not."""
        identity = load_identity(self.certificate_path, self.key_path)
        self.assertEqual(identity.fingerprint, Fingerprint.of(self.certificate.public_bytes(Encoding.DER)))

    def test_rsa(self) -> None:
        """A key for RSA is taken, too."""
        key = rsa.generate_private_key(65537, 2048)
        certificate = sign(key)
        path = self.write("rsa.pem", certificate.public_bytes(Encoding.PEM))
        identity = load_identity(path, self.write_key("rsa-key.pem", key))
        self.assertEqual(identity.fingerprint, Fingerprint.of(certificate.public_bytes(Encoding.DER)))

    def test_problems(self) -> None:
        """Everything that is wrong is named with its file."""
        missing = str(self.directory / "missing")
        self.assertEqual(self.problems(missing, missing), 2 * [f"{missing}: No such file or directory"])
        swapped = self.problems(self.key_path, self.certificate_path)
        self.assertEqual(
            swapped, [f"{self.key_path}: no PEM certificate", f"{self.certificate_path}: no PEM private key"]
        )

    def test_unusable_keys(self) -> None:
        """A key that is encrypted, of another kind, or of another certificate is refused."""
        encrypted = self.write_key("encrypted.pem", self.key, BestAvailableEncryption(b"secret"))
        self.assertEqual(
            self.problems(self.certificate_path, encrypted), [f"{encrypted}: the private key is encrypted"]
        )
        other_kind = self.write_key("ed25519.pem", ed25519.Ed25519PrivateKey.generate())
        [problem] = self.problems(self.certificate_path, other_kind)
        self.assertIn("of a kind that DTLS does not use", problem)
        other = self.write_key("other.pem", ec.generate_private_key(ec.SECP256R1()))
        [problem] = self.problems(self.certificate_path, other)
        self.assertIn("not that of the certificate", problem)
