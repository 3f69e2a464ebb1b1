"""Why a call of a phone was not answered; the other errors are in `sipd.errors`."""

from __future__ import annotations

from sipd.errors import (
    CallFailedError,
    ConnectionRefused,
    RemoteError,
    TlsError,
    TransactionTimeoutError,
    TransportError,
    UnresolvableError,
)
from sipd.sip.message import Request, Response


class DialError(CallFailedError):
    """A call of a phone that was not answered. Its subclasses say why there is no answer at all.

    Args:
        reason: one line for a person.
        status: of the response, or what describes the failure best.
        request: the INVITE as it was sent last, or ``None`` if none was.
        response: the final response, 300 to 699, or the 2xx that could not be used; ``None`` if there was none.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        request: Request | None = None,
        response: Response | None = None,
    ) -> None:
        super().__init__(reason, status=status)
        self.request = request
        self.response = response


class DialTimeoutError(DialError, TransactionTimeoutError):
    """Nobody has answered in time, or nobody has said anything at all."""

    status = 408


class DialUnresolvableError(DialError, UnresolvableError):
    """The address leads nowhere (RFC 3263)."""

    status = 502


class DialTransportError(DialError, TransportError):
    """The INVITE could not be sent, or its connection ended."""

    status = 503


class DialConnectionRefused(DialTransportError, ConnectionRefused):
    """The other side refused the connection."""


class DialTlsError(DialTransportError, TlsError):
    """The TLS handshake failed."""


#: What a failure becomes, the most special one first.
_KINDS: tuple[tuple[type[RemoteError], type[DialError]], ...] = (
    (TransactionTimeoutError, DialTimeoutError),
    (UnresolvableError, DialUnresolvableError),
    (ConnectionRefused, DialConnectionRefused),
    (TlsError, DialTlsError),
    (TransportError, DialTransportError),
)


def dial_error(error: RemoteError, request: Request | None = None) -> DialError:
    """Give what a phone says of a call that has no answer, its cause attached."""
    kind = next((kind for cause, kind in _KINDS if isinstance(error, cause)), DialError)
    told = kind(error.reason, status=error.status, request=request)
    told.__cause__ = error
    return told
