"""Every exception of sipd.

An exception is a `RemoteError` (the peer's doing: it carries a SIP status and is never logged with a
traceback), a `LocalError` (ours: configuration, resources), or a bug (anything else: always a traceback).
"""

from __future__ import annotations


class SipdError(Exception):
    """The root of all exceptions raised by sipd."""


class RemoteError(SipdError):
    """Something that another element did or failed to do.

    Args:
        reason: one line for a person; becomes the reason phrase where a response is sent.
        status: the SIP status (RFC 3261 section 21) that describes it best.
    """

    status = 500

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        if status is not None:
            self.status = status


class ParseError(RemoteError):
    """Octets or text that break the grammar of RFC 3261 section 25 or RFC 8866 section 9."""

    status = 400


class RequestRefusedError(RemoteError):
    """A request that must be answered with an error status (RFC 3261 section 8.2).

    Args:
        headers: header fields that the refusal must carry, as (name, value) pairs.
    """

    def __init__(self, reason: str, *, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(reason, status=status)
        self.headers = headers


class TransactionTimeoutError(RemoteError):
    """No final response came in time: timer B or F (RFC 3261 section 17.1), or H for a server."""

    status = 408


class TransportError(RemoteError):
    """A message could not be sent, or its flow ended (RFC 3261 section 18.4)."""

    status = 503


class ConnectionRefused(TransportError):
    """The peer, or its host, refused the connection."""


class TlsError(TransportError):
    """The TLS handshake failed: name mismatch, unknown authority, no common version."""


class UnresolvableError(RemoteError):
    """A URI that names no reachable server (RFC 3263)."""

    status = 502


class CallFailedError(RemoteError):
    """A call attempt that ended with a final response of 300 to 699, or with no response at all."""


class TransferError(RemoteError):
    """A transfer that the other side refused, or that came to nothing (RFC 3515)."""


class RegistrationError(RemoteError):
    """A registration of our own that the registrars refuse, or that was stopped (RFC 3261 section 10.2)."""

    status = 480


class SubscriptionError(RemoteError):
    """A subscription of our own that the notifier refuses or has ended, or that was stopped (RFC 6665 section 4.1)."""

    status = 480


class PublicationError(RemoteError):
    """A publication of our own that is refused, or that was stopped (RFC 3903 section 4)."""

    status = 480


class SdpError(ParseError):
    """A session description, or an offer/answer exchange, that cannot be used (488)."""

    status = 488


class LocalError(SipdError):
    """Something that this side lacks: configuration, ports, state."""


class ConfigurationError(LocalError):
    """A configuration that cannot be used. `problems` holds one line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InvalidStateError(LocalError):
    """An operation that the present state of a session, dialog or transaction does not allow."""


class ResourcesExhaustedError(LocalError):
    """A bound was reached: ports, transactions, calls, queue. The text says which, and its size."""


class MediaEngineError(LocalError):
    """A media engine is not there, or cannot do what it is asked: the kernel, a worker, another program."""


class MissingCodecError(LocalError):
    """A codec whose package, or library, is not installed."""


class SoundError(LocalError):
    """A sound that cannot be played: no such file, too large, or not in a format that is known."""
