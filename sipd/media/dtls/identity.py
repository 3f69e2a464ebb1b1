"""What this side shows of itself in DTLS: a certificate that nobody signed but itself, and its fingerprint (RFC 8122).

The peer does not verify who signed it, or for how long it is good: the description says its fingerprint, and whoever
can be trusted with the description can be trusted with the certificate (RFC 5763 section 5).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from sipd.errors import ConfigurationError, MediaEngineError
from sipd.media.libsrtp import usable_suites
from sipd.sdp.crypto import AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_80, Suite
from sipd.sdp.fingerprints import Fingerprint

#: Protection profiles of SRTP as OpenSSL calls them, in the order of preference (RFC 5764 section 4.1.2, RFC 7714
#: section 14.2), and the suites that they are.
PROFILES = {
    b"SRTP_AEAD_AES_128_GCM": AEAD_AES_128_GCM,
    b"SRTP_AES128_CM_SHA1_80": AES_CM_128_HMAC_SHA1_80,
}

_DTLS1_2_VERSION = 0xFEFD
#: Forward secrecy and authenticated encryption alone: what RFC 8827 section 6.5 demands is among them.
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL:!PSK"
_OPTIONS = (
    SSL.OP_NO_COMPRESSION
    | SSL.OP_NO_TICKET
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    | SSL.OP_NO_QUERY_MTU
)
#: Good at any time: the last moment is what RFC 5280 section 4.1.2.5 has for certificates that do not expire.
_NOT_BEFORE = datetime(2000, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

_Key: TypeAlias = ec.EllipticCurvePrivateKey | RSAPrivateKey
#: Asked with the certificate of a peer, in DER.
CertificateCheck: TypeAlias = Callable[[bytes], bool]


class DtlsIdentity:
    """A certificate with its key, and all that connections with it have in common. Not changed after it is made.

    One is enough for a process: see `make_identity` and `load_identity`.

    Args:
        certificate: shown to peers.
        key: its private key, for elliptic curves or RSA.

    Attributes:
        fingerprint: of the certificate, by SHA-256: for descriptions.
        suites: of SRTP that are offered and accepted, in this order.

    Raises:
        MediaEngineError: SRTP is not to be had (see `sipd.media.libsrtp.available`), or OpenSSL cannot do what is
            needed.
        ConfigurationError: the key is not that of the certificate.
    """

    __slots__ = ("_context", "fingerprint", "suites")

    def __init__(self, certificate: x509.Certificate, key: _Key) -> None:
        usable = frozenset(usable_suites())
        profiles = [name for name, suite in PROFILES.items() if suite in usable]
        self.suites: tuple[Suite, ...] = tuple([PROFILES[name] for name in profiles])
        self.fingerprint = Fingerprint.of(certificate.public_bytes(Encoding.DER))
        if not profiles:
            raise MediaEngineError("libsrtp can do none of the protection profiles of DTLS-SRTP")
        try:
            self._context = _make_context(b":".join(profiles))
        except SSL.Error as error:
            raise MediaEngineError("this OpenSSL cannot do DTLS 1.2 with SRTP") from error
        try:
            self._context.use_certificate(certificate)
            self._context.use_privatekey(key)
            self._context.check_privatekey()
        except SSL.Error as error:
            raise ConfigurationError(["the private key is not that of the certificate, or too weak"]) from error

    def __repr__(self) -> str:
        return f"<DtlsIdentity {self.fingerprint}>"

    def connect(self, check: CertificateCheck, *, mtu_octets: int) -> SSL.Connection:
        """Give a connection without a socket, which is client or server as it is told to be.

        Args:
            check: asked during the handshake whether the certificate of the peer is the right one. If not, the peer
                gets an alert, and the handshake fails.
            mtu_octets: the largest record to make during a handshake.
        """
        connection = SSL.Connection(self._context)
        connection.set_app_data(check)
        connection.set_ciphertext_mtu(mtu_octets)
        return connection


def make_identity() -> DtlsIdentity:
    """Give an identity with a new key on the curve P-256. It takes less than a millisecond.

    Raises:
        MediaEngineError: see `DtlsIdentity`.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sipd")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=_NOT_BEFORE,
        not_valid_after=_NOT_AFTER,
    )
    return DtlsIdentity(builder.sign(key, hashes.SHA256()), key)


def load_identity(certificate: str, key: str) -> DtlsIdentity:
    """Give an identity that stays the same when the process is started again.

    Args:
        certificate: path of a PEM file; the first certificate in it is used.
        key: path of a PEM file with its private key, not encrypted.

    Raises:
        ConfigurationError: a file is missing, unreadable or not what it should be, or they do not belong together.
            Everything that is wrong is named, and nothing of the key is shown.
        MediaEngineError: see `DtlsIdentity`.
    """
    problems: list[str] = []
    shown = _read_certificate(certificate, problems)
    private = _read_key(key, problems)
    if shown is None or private is None:
        raise ConfigurationError(problems)
    try:
        return DtlsIdentity(shown, private)
    except ConfigurationError as error:
        raise ConfigurationError([f"{key}, {certificate}: {problem}" for problem in error.problems]) from error


def certificate_octets(certificate: crypto.X509) -> bytes:
    """Give a certificate in DER, as fingerprints are made of it."""
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _make_context(profiles: bytes) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS1_2_VERSION)
    context.set_max_proto_version(_DTLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(_CIPHERS)
    context.set_tlsext_use_srtp(profiles)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    return context


def _verify(connection: SSL.Connection, certificate: crypto.X509, _: int, depth: int, __: int) -> bool:
    """Ask about the peer's own certificate. Who signed it, and whether it has expired, does not matter."""
    check: CertificateCheck | None = connection.get_app_data()
    return depth > 0 or (check is not None and check(certificate_octets(certificate)))


def _read_certificate(path: str, problems: list[str]) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())[0]
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    except ValueError:
        problems.append(f"{path}: no PEM certificate")
    return None


def _read_key(path: str, problems: list[str]) -> _Key | None:
    try:
        key = load_pem_private_key(Path(path).read_bytes(), None)
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    except TypeError:
        problems.append(f"{path}: the private key is encrypted")
    except ValueError:
        problems.append(f"{path}: no PEM private key")
    else:
        if isinstance(key, _Key):
            return key
        problems.append(f"{path}: a private key of a kind that DTLS does not use here")
    return None
