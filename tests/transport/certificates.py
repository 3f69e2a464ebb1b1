"""A certificate authority for tests: makes certificates when they are needed, and nothing that outlives a test."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a key, of the kind that is made fastest."""
    return ec.generate_private_key(ec.SECP256R1())


def general_name(text: str) -> x509.GeneralName:
    """Make a URI from what has a scheme, an address from what is numeric, else a DNS name."""
    if text.startswith(("sip:", "sips:", "urn:")):
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


class Authority:
    """Signs certificates, and writes everything into one folder.

    Args:
        folder: that exists.
        name: of the authority, and of its file.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = new_key()
        self._name = _name(name)
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(self._name, self._name, self._key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        #: The file with the authority's own certificate.
        self.path = self.write(f"{name}.pem", certificate.public_bytes(Encoding.PEM))

    def write(self, name: str, data: bytes) -> str:
        """Write a file, and give its path."""
        path = self._folder / name
        path.write_bytes(data)
        return str(path)

    def sign(
        self, names: Sequence[str], *, days: tuple[int, int] = (-1, 1), common_name: str = "test"
    ) -> tuple[str, str]:
        """Make a certificate for these names; give the paths of it and of its key.

        Args:
            names: each a DNS name, an address or a URI; none at all leaves the extension off.
            days: from when and until when it is valid, counted from now.
            common_name: of the subject.
        """
        key = new_key()
        certificate = self.certificate(names, key, days=days, common_name=common_name)
        stem = f"{len(list(self._folder.iterdir()))}"
        return (
            self.write(f"{stem}.pem", certificate.public_bytes(Encoding.PEM)),
            self.write(f"{stem}.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        )

    def certificate(
        self,
        names: Sequence[str],
        key: ec.EllipticCurvePrivateKey | None = None,
        *,
        days: tuple[int, int] = (-1, 1),
        common_name: str = "test",
    ) -> x509.Certificate:
        """Make a certificate without a file."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(
                self._name, _name(common_name), (key or new_key()).public_key(), x509.random_serial_number()
            )
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1]))
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())

    def encrypted_key(self) -> str:
        """Write a key that needs a password, and give its path."""
        encryption = BestAvailableEncryption(b"correct horse")
        return self.write("locked.key", new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
