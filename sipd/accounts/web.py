"""A store of accounts behind HTTP: one GET for each user, answered with JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from OpenSSL import crypto
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from sipd.accounts.interfaces import IAccountStore, MalformedAccountError, StoredAccount, StoreUnavailableError
from sipd.accounts.reading import Reader
from sipd.errors import LocalError
from sipd.web.client import make_client

#: Octets of an answer.
MAX_ANSWER_OCTETS = 64 * 1024
#: Connections that are kept open, and the seconds for which one is that nothing uses.
MAX_IDLE_CONNECTIONS = 4
_IDLE_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Which service.

    Args:
        url: with ``{user}``, and ``{realm}`` where it is wanted.
        realm: of challenges.
        token: that it wants to see (RFC 6750), or empty. Never printed.
        authorities: PEM of the authorities that may have issued its certificate; empty for those the system trusts.
        timeout: seconds to connect in.
    """

    url: str
    realm: str
    token: str = field(default="", repr=False)
    authorities: str = ""
    timeout: float = 3.0


#: How a service that cannot be asked shows.
_FAILURES = (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
    RequestTransmissionFailed,
    ResponseFailed,
    SchemeNotSupported,
)


class _TooLongError(Exception):
    """The answer has more octets than an account can have."""


@implementer(IAccountStore)
class HttpStore:
    """Asks a service. 200 has the account as a JSON object (see `AccountReader`), 404 says that there is none.

    Everything else says that the service cannot be asked now. Redirections are not followed: the token would go along.

    Args:
        settings: which.
        reader: makes accounts of what it answers.
        agent: connects; see `make_agent`.
        reactor: for treq, which takes the global one otherwise.
        pool: that the agent has its connections from, to be closed at the end.
    """

    def __init__(
        self,
        settings: WebSettings,
        *,
        reader: Reader,
        agent: IAgent,
        reactor: Any,
        pool: HTTPConnectionPool | None = None,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._client = make_client(agent)
        self._reactor = reactor
        self._pool = pool

    def find(self, name: str) -> Deferred[StoredAccount | None]:
        """See `IAccountStore`."""
        return Deferred.fromCoroutine(self._find(name))

    def close(self) -> Deferred[None]:
        """See `IAccountStore`."""
        return succeed(None) if self._pool is None else self._pool.closeCachedConnections()

    async def _find(self, name: str) -> StoredAccount | None:
        if name in (".", ".."):
            return None  # in a path they lead elsewhere, and no escape keeps them from that
        settings = self._settings
        url = settings.url.replace("{user}", quote(name, safe="")).replace("{realm}", quote(settings.realm, safe=""))
        headers = Headers({b"Accept": [b"application/json"]})
        if settings.token:
            headers.setRawHeaders(b"Authorization", [b"Bearer " + settings.token.encode()])
        try:
            response = await self._client.get(
                url, headers=headers, allow_redirects=False, unbuffered=True, reactor=self._reactor
            )
            body = await _Body().read(response)
        except _FAILURES as error:
            raise StoreUnavailableError(f"the service cannot be asked: {_reason(error)}") from None
        except _TooLongError:
            raise StoreUnavailableError(f"the service answers with more than {MAX_ANSWER_OCTETS} octets") from None
        if response.code == 404:
            return None
        if response.code != 200:
            raise StoreUnavailableError(f"the service answers with status {response.code}")
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise MalformedAccountError(f"the account of {name}: a JSON object expected")
        if values.get("name", name) != name:
            raise MalformedAccountError(f"the account of {name}: name: the name that was asked for expected")
        return self._reader.read(name, values)


def make_agent(settings: WebSettings, reactor: Any) -> tuple[IAgent, HTTPConnectionPool]:
    """Make what connects: certificates are verified.

    Raises:
        LocalError: the authorities are no certificates.
    """
    policy = BrowserLikePolicyForHTTPS()
    if settings.authorities:
        policy = BrowserLikePolicyForHTTPS(trustRootFromCertificates(_certificates(settings.authorities)))
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = MAX_IDLE_CONNECTIONS
    pool.cachedConnectionTimeout = _IDLE_TIMEOUT  # type: ignore[assignment]
    return Agent(reactor, policy, connectTimeout=settings.timeout, pool=pool), pool


class _Body(Protocol):
    """Reads the body of a response, as far as it is not too long; cancelled, it ends the connection."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._read: Deferred[bytes] = Deferred(lambda _: self._end())

    def read(self, response: Any) -> Deferred[bytes]:
        """Give it; fails with `_TooLongError`."""
        response.deliverBody(self)
        return self._read

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        if self._read.called:
            return
        self._data += data
        if len(self._data) > MAX_ANSWER_OCTETS:
            self._read.errback(_TooLongError())
            self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``IProtocol``. Without a length a body ends with its connection; if that is too early, it is no JSON."""
        if self._read.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self._read.callback(bytes(self._data))
        else:
            self._read.errback(reason)

    def _end(self) -> None:
        # What a response gives for a transport knows more than `ITransport`.
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()


def _certificates(text: str) -> list[Certificate]:
    end = "-----END CERTIFICATE-----"
    try:
        return [Certificate.loadPEM((part + end).encode()) for part in text.split(end)[:-1]] or _no_certificates()
    except crypto.Error:
        return _no_certificates()


def _no_certificates() -> list[Certificate]:
    raise LocalError("certificates of authorities expected, in PEM")


def _reason(error: Exception) -> str:
    """Give one line; what wraps others is opened."""
    if isinstance(error, ResponseFailed | RequestTransmissionFailed) and error.reasons:
        return _reason(error.reasons[-1].value)
    return " ".join(str(error).split()) or type(error).__name__
