"""Watches who proves who they are, and who does not."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import RequestRefusedError
from sipd.guards.door import Door
from sipd.guards.scanners import Suspects
from sipd.interfaces import IAuthenticator
from sipd.sip.message import Request
from sipd.sip.uri import SipUri

#: Characters of a name that are remembered.
_REMEMBERED = 64


@implementer(IAuthenticator)
class WatchedAuthenticator:
    """Asks another authenticator, and tells the door of sources that fail too often.

    A nonce that is too old is no failure: the phone did know the password.

    Args:
        inner: who decides.
        suspects: counts.
        door: told of who fails too often.
        seconds: tells the time.
    """

    def __init__(self, inner: IAuthenticator, suspects: Suspects, door: Door, seconds: Callable[[], float]) -> None:
        self._inner = inner
        self._suspects = suspects
        self._door = door
        self._seconds = seconds

    def authenticate(self, request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
        """See `IAuthenticator`."""
        asking = self._inner.authenticate(request, realm, proxy=proxy)
        return asking.addCallbacks(self._succeeded, self._failed, (request,), errbackArgs=(request, proxy))

    def _succeeded(self, user: str, request: Request) -> str:
        self._suspects.succeeded(_source(request)[0], _claimed(request))
        return user

    def _failed(self, failure: Failure, request: Request, proxy: bool) -> Failure:
        error = failure.value
        if not isinstance(error, RequestRefusedError) or error.status not in (401, 407):
            return failure
        if not any("stale=true" in value for _, value in error.headers):
            self._refused(request, "Proxy-Authorization" if proxy else "Authorization")
        return failure

    def _refused(self, request: Request, header: str) -> None:
        host, port = _source(request)
        note = self._suspects.failed if header in request.headers else self._suspects.challenged
        reason = note(host, _claimed(request), self._seconds())
        if reason:
            self._door.suspect(host, port, reason)


def _source(request: Request) -> tuple[str, int | None]:
    """Give where a request came from, as the transport layer wrote it into its topmost Via."""
    via = request.via
    port = via.rport or ""
    return via.received or via.host, int(port) if port.isascii() and port.isdigit() else via.port


def _claimed(request: Request) -> str:
    """Give who a request says that it comes from: the user of From, which that of a REGISTER is, too."""
    uri = request.from_.uri
    return (uri.user or "" if isinstance(uri, SipUri) else str(uri))[:_REMEMBERED]
