"""TLS for SIP: certificates, trust, and whom a certificate is for (RFC 5922, RFC 8996).

A connection that we make is verified against the host of the URI that led there, never against the address that was
looked up. Application protocols are not negotiated: some carriers refuse a client that offers any.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import ClassVar, Protocol, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from service_identity import CertificateError
from service_identity.hazmat import DNS_ID, DNSPattern
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from sipd.errors import ConfigurationError, ParseError
from sipd.sip.locate import is_numeric
from sipd.sip.uri import SipUri, parse_uri

#: Forward secrecy first; plain RSA last, for telephones that know only what RFC 3261 section 26.2.1 demanded.
_CIPHERS = (
    b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES:!aNULL:!eNULL:!MD5:!DSS"
)
_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE
_Key = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey


class ClientVerification(Enum):
    """What a listening point wants of the certificate of a client."""

    #: It is not asked for.
    NONE = "none"
    #: It is asked for; without one the client is served, with one that cannot be verified it is not.
    OPTIONAL = "optional"
    #: Without a certificate that can be verified there is no connection.
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How a listening point speaks TLS, on connections in both directions.

    Args:
        certificate: path of a PEM file: the certificate, then its chain. It is shown to clients, and to servers that
            ask for one.
        key: path of a PEM file with the private key.
        passphrase: what the key is encrypted with; empty if it is not.
        authorities: paths of PEM files with the certificates that are trusted; those of the system if it is empty.
        client_authorities: the same for the certificates of clients; `authorities` if it is empty.
        client_verification: what is asked of clients.
        verify_server: whether the certificate of a server must be trusted and be good for the host of the URI.
        allow_wildcards: whether ``*.example.com`` in a certificate is good for ``sip.example.com``. RFC 5922 section
            7.2 forbids it; some carriers have nothing else.
    """

    certificate: str = ""
    key: str = ""
    passphrase: str = field(default="", repr=False)
    authorities: tuple[str, ...] = ()
    client_authorities: tuple[str, ...] = ()
    client_verification: ClientVerification = ClientVerification.NONE
    verify_server: bool = True
    allow_wildcards: bool = False


class VerifiedProtocol(Protocol):
    """What wants to know why a certificate was not accepted: the protocol inside of TLS."""

    def certificate_refused(self, reason: str) -> None:
        """Take note of a reason, in one line."""


class TlsContext:
    """Settings with their files read: makes TLS connections in both directions.

    Args:
        settings: what to read.

    Raises:
        ConfigurationError: a file is missing, unreadable or not what it should be; certificate and key do not belong
            together. Everything that is wrong is named, and nothing of a key is shown.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self._context = _make_context(settings, settings.authorities)
        self._server_context = self._context
        if settings.client_authorities not in ((), settings.authorities):
            self._server_context = _make_context(settings, settings.client_authorities)

    def server_creator(self) -> IOpenSSLServerConnectionCreator:
        """Give what makes the TLS side of connections that come in."""
        return _ServerCreator(self._server_context, self.settings)

    def client_creator(self, server_name: str) -> IOpenSSLClientConnectionCreator:
        """Give what makes the TLS side of one connection that goes out.

        Args:
            server_name: the host of the URI: sent as SNI if it is a name, and verified.
        """
        return _ClientCreator(self._context, self.settings, server_name)


@implementer(IOpenSSLServerConnectionCreator)
class _ServerCreator:
    """Makes server connections; the context is shared."""

    _MODES: ClassVar = {
        ClientVerification.NONE: SSL.VERIFY_NONE,
        ClientVerification.OPTIONAL: SSL.VERIFY_PEER,
        ClientVerification.REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
    }

    def __init__(self, context: SSL.Context, settings: TlsSettings) -> None:
        self._context = context
        self._mode = self._MODES[settings.client_verification]

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLServerConnectionCreator``."""
        connection = SSL.Connection(self._context)
        connection.set_verify(self._mode, _Verifier(cast(VerifiedProtocol, protocol.wrappedProtocol)))
        return connection


@implementer(IOpenSSLClientConnectionCreator)
class _ClientCreator:
    """Makes client connections to one name; the context is shared."""

    def __init__(self, context: SSL.Context, settings: TlsSettings, server_name: str) -> None:
        self._context = context
        self._settings = settings
        self._server_name = server_name

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLClientConnectionCreator``."""
        connection = SSL.Connection(self._context)
        name = self._server_name
        if not is_numeric(name):
            connection.set_tlsext_host_name(name.removesuffix(".").encode("ascii", "ignore"))
        if self._settings.verify_server:
            listener = cast(VerifiedProtocol, protocol.wrappedProtocol)
            verifier = _Verifier(listener, name, allow_wildcards=self._settings.allow_wildcards)
            connection.set_verify(SSL.VERIFY_PEER, verifier)
        else:
            connection.set_verify(SSL.VERIFY_NONE)
        return connection


class _Verifier:
    """OpenSSL calls it for each certificate of the chain, the peer's own last. It must not raise.

    Args:
        listener: told why a certificate is not accepted.
        server_name: what the peer's own must be good for, or empty.
        allow_wildcards: see `TlsSettings`.
    """

    __slots__ = ("_allow_wildcards", "_listener", "_server_name")

    def __init__(self, listener: VerifiedProtocol, server_name: str = "", *, allow_wildcards: bool = False) -> None:
        self._listener = listener
        self._server_name = server_name
        self._allow_wildcards = allow_wildcards

    def __call__(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if not ok:
            self._listener.certificate_refused(_ERRORS.get(error, f"the certificate cannot be verified ({error})"))
            return False
        if depth == 0 and self._server_name:
            identities = _identities_of(certificate)
            if not is_good_for(identities, self._server_name, allow_wildcards=self._allow_wildcards):
                self._listener.certificate_refused(
                    f"the certificate is for {', '.join(identities)[:200] or 'nobody'}, not for {self._server_name}"
                )
                return False
        return True


def verified_identities(connection: SSL.Connection) -> tuple[str, ...]:
    """Give whom the peer has proved to be, once the handshake is done; empty if it was not asked to."""
    if not connection.get_verify_mode() & SSL.VERIFY_PEER:
        return ()
    certificate = connection.get_peer_certificate()
    return () if certificate is None else _identities_of(certificate)


def find_identities(certificate: x509.Certificate) -> tuple[str, ...]:
    """Give the SIP domain identities of a certificate (RFC 5922 section 7.1), in lower case.

    Returns:
        ``sip:host`` for SIP URIs without a user part, then DNS names, then IP addresses. The common name counts for
        nothing, and neither does an extension that does not parse.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    uris = [_sip_identity(text) for text in names.get_values_for_type(x509.UniformResourceIdentifier)]
    domains = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return (*filter(None, uris), *domains, *addresses)


def is_good_for(identities: tuple[str, ...], host: str, *, allow_wildcards: bool = False) -> bool:
    """Say whether one of these identities is that host (RFC 5922 section 7.2).

    Args:
        identities: as `find_identities` gives them.
        host: of a URI: a name, or a numeric address.
        allow_wildcards: see `TlsSettings`.
    """
    host = host.lower().removesuffix(".")
    if is_numeric(host):
        address = ipaddress.ip_address(host)
        hosts = (identity.removeprefix("sip:") for identity in identities)
        return any(is_numeric(name) and ipaddress.ip_address(name) == address for name in hosts)
    try:
        wanted = DNS_ID(host)
    except ValueError:
        return False
    for identity in identities:
        name = identity.removeprefix("sip:")
        if "*" in name and (name != identity or not allow_wildcards):
            continue
        try:
            if wanted.verify(DNSPattern.from_bytes(name.encode())):
                return True
        except CertificateError:
            continue
    return False


def _identities_of(certificate: crypto.X509) -> tuple[str, ...]:
    try:
        return find_identities(certificate.to_cryptography())
    except ValueError:  # OpenSSL takes some certificates that cryptography does not
        return ()


def _sip_identity(text: str) -> str:
    try:
        uri = parse_uri(text)
    except ParseError:
        return ""
    return f"sip:{uri.host}" if isinstance(uri, SipUri) and uri.scheme == "sip" and uri.user is None else ""


# --- reading the files ---------------------------------------------------------------------------------------


def _make_context(settings: TlsSettings, authorities: tuple[str, ...]) -> SSL.Context:
    problems: list[str] = []
    chain = _read_certificates(settings.certificate, problems) if settings.certificate else []
    key = _read_key(settings.key, settings.passphrase, problems) if settings.key else None
    if bool(settings.certificate) != bool(settings.key):
        problems.append("A TLS certificate and its key are needed together")
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    for path in authorities:
        # OpenSSL's own message for a missing file and for a wrong one is the same.
        if _read_certificates(path, problems):
            context.load_verify_locations(path)
    if not authorities:
        context.set_default_verify_paths()
    if chain and key is not None:
        try:
            context.use_certificate(chain[0])
            for certificate in chain[1:]:
                context.add_extra_chain_cert(certificate)
            context.use_privatekey(key)
            context.check_privatekey()
        except SSL.Error:
            problems.append(f"{settings.key}: not the key of the certificate in {settings.certificate}")
    if problems:
        raise ConfigurationError(problems)
    context.set_cipher_list(_CIPHERS)
    return context


def _read_certificates(path: str, problems: list[str]) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    except ValueError:
        problems.append(f"{path}: no PEM certificate")
    return []


def _read_key(path: str, passphrase: str, problems: list[str]) -> _Key | None:
    try:
        key = load_pem_private_key(Path(path).read_bytes(), passphrase.encode() or None)
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    except TypeError:
        problems.append(f"{path}: the private key is {'not ' if passphrase else ''}encrypted")
    except ValueError:
        problems.append(f"{path}: no PEM private key{', or another passphrase' if passphrase else ''}")
    else:
        if isinstance(key, _Key):
            return key
        problems.append(f"{path}: a private key of a kind that TLS does not use")
    return None


#: What X509_verify_cert_error_string of OpenSSL says, for what happens in practice; by its number.
_ERRORS = {
    2: "the authority of the certificate is not known",
    7: "the signature of the certificate is wrong",
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is signed by itself and not trusted",
    19: "the authority of the certificate is not trusted",
    20: "the authority of the certificate is not known",
    21: "the first certificate cannot be verified",
    22: "the certificate chain is too long",
    23: "the certificate is revoked",
    24: "an authority in the chain may not sign",
    26: "the certificate is not made for this purpose",
}
