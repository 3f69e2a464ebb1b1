"""Makes the certificate of a listening point that is to use TLS before anybody bought one (RFC 5922 section 7)."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Some programs refuse server certificates that live longer than this.
LIFETIME = timedelta(days=397)
#: A certificate with less than this left is replaced at the next start.
RENEWAL = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Where a certificate and its key lie, both PEM."""

    certificate: Path
    key: Path


def ensure_self_signed(directory: Path, names: Sequence[str], now: datetime) -> CertificateFiles:
    """Give a self-signed certificate for those names, made if there is none that still serves.

    Args:
        directory: where ``certificate.pem`` and ``key.pem`` lie; made if it is missing, for its owner only.
        names: host names and addresses, at least one; the first is the subject.
        now: with a time zone.

    Raises:
        OSError: the directory or a file cannot be read or written.
    """
    files = CertificateFiles(certificate=directory / "certificate.pem", key=directory / "key.pem")
    if not _serves(files, names, now):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate, key = make_self_signed(names, now)
        _write(files.key, key, mode=0o600)
        _write(files.certificate, certificate, mode=0o644)
    return files


def make_self_signed(names: Sequence[str], now: datetime) -> tuple[bytes, bytes]:
    """Make a certificate that is its own authority, so that a phone can be told to trust exactly it.

    Args:
        names: host names and addresses, at least one; the first is the subject.
        now: with a time zone.

    Returns:
        Certificate and private key, PEM.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _serves(files: CertificateFiles, names: Sequence[str], now: datetime) -> bool:
    """Say whether the files hold a matching pair for all of the names that will not expire soon."""
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return (
        key.public_key() == certificate.public_key()
        and certificate.not_valid_before_utc <= now
        and certificate.not_valid_after_utc - now > RENEWAL
        and {_general_name(name) for name in names} <= set(held)
    )


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Replace a file in one step; it never has another mode than that one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
