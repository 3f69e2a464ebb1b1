"""Why there are no keys by DTLS. All are the peer's doing; what is missing here is a `sipd.errors.MediaEngineError`."""

from __future__ import annotations

from sipd.errors import RemoteError


class DtlsError(RemoteError):
    """The handshake failed: the peer, or somebody in its place, sent what DTLS does not allow."""

    status = 488


class FingerprintMismatchError(DtlsError):
    """The certificate is none of those that the description of the peer named (RFC 8122 section 6)."""


class NoSrtpProfileError(DtlsError):
    """The peer knows no protection profile of SRTP that we do (RFC 5764 section 4.1)."""


class DtlsTimeoutError(DtlsError):
    """The handshake was not complete in time."""

    status = 408


class DtlsAlertError(DtlsError):
    """The peer ended the handshake by an alert (RFC 5246 section 7.2)."""


class DtlsLimitError(DtlsError):
    """More datagrams, or octets, came than any handshake needs."""
