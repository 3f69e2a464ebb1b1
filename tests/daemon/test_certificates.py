"""Tests of `sipd.daemon.certificates`: made once, good for its names, renewed in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.certificates import LIFETIME, CertificateFiles, ensure_self_signed
from sipd.transport.tls import TlsContext, TlsSettings, find_identities, is_good_for

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAMES = ("sip.example.com", "localhost", "192.0.2.1", "2001:db8::1")


class CertificateTests(SynchronousTestCase):
    """The self-signed certificate of a first start."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()) / "deep" / "tls"

    def ensure(self, names: tuple[str, ...] = NAMES, now: datetime = NOW) -> CertificateFiles:
        """Make or keep the certificate."""
        return ensure_self_signed(self.directory, names, now)

    def serial(self, files: CertificateFiles) -> int:
        """Tell one certificate from another."""
        return x509.load_pem_x509_certificate(files.certificate.read_bytes()).serial_number

    def test_is_good_for_its_names(self) -> None:
        """It is good for each name and address, and for no other."""
        certificate = x509.load_pem_x509_certificate(self.ensure().certificate.read_bytes())
        identities = find_identities(certificate)
        for name in NAMES:
            self.assertTrue(is_good_for(identities, name), name)
        for name in ("example.com", "192.0.2.2", "other.example.com"):
            self.assertFalse(is_good_for(identities, name), name)

    def test_can_be_used(self) -> None:
        """Certificate and key are taken by the transport layer, and the certificate as its own authority."""
        files = self.ensure()
        settings = TlsSettings(
            certificate=str(files.certificate), key=str(files.key), authorities=(str(files.certificate),)
        )
        TlsContext(settings)

    def test_the_key_is_its_owners_alone(self) -> None:
        """Nobody else can read the key, nor look into its directory."""
        files = self.ensure()
        self.assertEqual(files.key.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), ["certificate.pem", "key.pem"])

    def test_is_made_once(self) -> None:
        """The next start keeps it: phones trust exactly this one. Fewer names are no reason for another."""
        first = self.serial(self.ensure())
        self.assertEqual(self.serial(self.ensure(now=NOW + timedelta(days=300))), first)
        self.assertEqual(self.serial(self.ensure(NAMES[:2])), first)

    def test_is_replaced(self) -> None:
        """A month before it expires, for a new name, or when a file is damaged, there is another."""
        serials = {self.serial(self.ensure())}
        serials.add(self.serial(self.ensure(now=NOW + LIFETIME - timedelta(days=29))))
        serials.add(self.serial(self.ensure((*NAMES, "new.example.com"), now=NOW + LIFETIME)))
        (self.directory / "key.pem").write_text("damaged")
        serials.add(self.serial(self.ensure((*NAMES, "new.example.com"), now=NOW + LIFETIME)))
        (self.directory / "certificate.pem").unlink()
        serials.add(self.serial(self.ensure((*NAMES, "new.example.com"), now=NOW + LIFETIME)))
        self.assertEqual(len(serials), 5)

    def test_a_key_of_another_certificate(self) -> None:
        """A certificate and a key that do not belong together are both replaced."""
        other = ensure_self_signed(self.directory.with_name("other"), NAMES, NOW)
        first = self.ensure()
        serial = self.serial(first)
        first.key.write_bytes(other.key.read_bytes())
        self.assertNotEqual(self.serial(self.ensure()), serial)

    def test_a_clock_that_went_back(self) -> None:
        """One that is not valid yet, since the clock was wrong, is replaced."""
        first = self.serial(self.ensure())
        self.assertNotEqual(self.serial(self.ensure(now=NOW - timedelta(days=400))), first)

    def test_cannot_be_written(self) -> None:
        """A directory that cannot be made is an OSError, for the caller to explain."""
        self.directory.parent.parent.mkdir(parents=True)
        self.directory.parent.write_text("a file")
        self.assertRaises(OSError, self.ensure)
