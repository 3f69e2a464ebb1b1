"""Call records by HTTP: a batch as one POST of JSON, signed where there is a secret.

    POST /records HTTP/1.1
    Content-Type: application/json
    Idempotency-Key: 5e1f...                     the same for the same records
    Sipd-Signature: t=1795348800,v1=9c56...      HMAC-SHA256 of "1795348800." and the body, in hexadecimal digits

    {"version":1,"records":[{"kind":"call","id":"...",...},...]}

Any 2xx says that the records are safe there. 400, 413, 415 and 422 are about what was sent: the batch is halved until
it is known which record that is, and that one is given up. Everything else, also 401 and 404, may be mended there, and
is tried again; Retry-After is heeded. Redirections are not followed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from OpenSSL.crypto import Error as CryptoError
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IConsumer
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
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from sipd.cdr.interfaces import IRecordSink, RecordsRefusedError, SinkError
from sipd.cdr.record import VERSION, Record, to_json
from sipd.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from treq.client import HTTPClient

_PEM = b"-----BEGIN CERTIFICATE-----"
#: Statuses that speak of what was sent, not of the server.
_REFUSALS = frozenset((400, 413, 415, 422))
#: Of an answer no more than that is read; a server that says more loses its connection.
_MAX_ANSWER_OCTETS = 64 * 1024
#: What keeps a request from being answered.
_FAILURES = (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
    ResponseFailed,
    RequestTransmissionFailed,
    CancelledError,
)


@implementer(IRecordSink)
class HttpSink:
    """Posts records to a URL.

    Args:
        url: where to.
        client: makes the requests; see `make_client`.
        clock: bounds them.
        now: seconds of the wall clock, for signatures.
        secret: to sign with; ``None`` not to sign.
        timeout: seconds until an answer that is not complete is given up.
        authorization: value of the Authorization field; ``None`` for none.
        pool: the connections of the client, to be closed with this; ``None`` if somebody else does that.
    """

    def __init__(
        self,
        url: str,
        client: HTTPClient,
        *,
        clock: Any,
        now: Callable[[], float],
        secret: str | None = None,
        timeout: float = 10.0,
        authorization: str | None = None,
        pool: HTTPConnectionPool | None = None,
    ) -> None:
        self._url = url
        self._client = client
        self._clock = clock
        self._now = now
        self._secret = secret.encode() if secret is not None else None
        self._timeout = timeout
        self._authorization = authorization.encode() if authorization is not None else None
        self._pool = pool
        self._posting: Deferred[None] = succeed(None)

    def deliver(self, records: Sequence[Record]) -> Deferred[None]:
        """See `IRecordSink`."""
        posting = self._posting = Deferred.fromCoroutine(self._post(records))
        posting.addTimeout(self._timeout, self._clock, self._too_late)
        return posting.addErrback(self._explain)

    def close(self) -> Deferred[None]:
        """See `IRecordSink`."""
        self._posting.cancel()
        if self._pool is not None:
            closing: Deferred[None] = self._pool.closeCachedConnections()
            return closing
        return succeed(None)

    async def _post(self, records: Sequence[Record]) -> None:
        body = b'{"version":%d,"records":[%b]}' % (VERSION, b",".join(to_json(record) for record in records))
        ids = " ".join(str(record["id"]) for record in records)
        headers = Headers()
        headers.addRawHeader(b"Content-Type", b"application/json")
        headers.addRawHeader(b"Idempotency-Key", hashlib.sha256(ids.encode()).hexdigest().encode())
        if self._secret is not None:
            headers.addRawHeader(b"Sipd-Signature", sign(self._secret, int(self._now()), body).encode())
        if self._authorization is not None:
            headers.addRawHeader(b"Authorization", self._authorization)
        response = await self._client.post(
            self._url, data=_Body(body), headers=headers, allow_redirects=False, unbuffered=True
        )
        drain = _Drain()
        response.deliverBody(drain)
        await drain.done
        if 200 <= response.code < 300:
            return
        text = f"it answers {response.code}"
        if response.code in _REFUSALS:
            raise RecordsRefusedError(text)
        raise SinkError(text, retry_after=_retry_after(response.headers.getRawHeaders(b"Retry-After", ())))

    def _too_late(self, _: object, timeout: float) -> Failure:
        return Failure(SinkError(f"no answer within {timeout:g} s"))

    def _explain(self, failure: Failure) -> Failure:
        """Turn what keeps a request from being answered into one line."""
        if failure.check(SinkError, RecordsRefusedError):
            return failure
        failure.trap(*_FAILURES)
        error = failure.value
        reasons = getattr(error, "reasons", None)
        if reasons:
            error = reasons[0].value
        return Failure(SinkError(f"{type(error).__name__}: {error}"))


@implementer(IBodyProducer)
class _Body:
    """A body that is there already."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Give all of it at once; the connection keeps what it cannot send yet."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing left to be given."""

    def resumeProducing(self) -> None:
        """There is nothing left to be given."""

    def stopProducing(self) -> None:
        """There is nothing left to be given."""


class _Drain(Protocol):
    """Reads what nobody wants to know, as far as it is not too much."""

    def __init__(self) -> None:
        def cancelled(_: Deferred[None]) -> None:
            self._abort()

        self.done: Deferred[None] = Deferred(cancelled)
        self._size_octets = 0

    def dataReceived(self, data: bytes) -> None:
        """Count, and go when it is too much: the status is known."""
        self._size_octets += len(data)
        if self._size_octets > _MAX_ANSWER_OCTETS:
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The answer is complete, or never will be: an answer that breaks off says nothing for certain."""
        if self.done.called:
            return
        if self._size_octets > _MAX_ANSWER_OCTETS or reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _abort(self) -> None:
        # What a response gives for a transport knows more than `ITransport`.
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """Give the value of ``Sipd-Signature``.

    Args:
        secret: what both sides know.
        timestamp: seconds since 1970; the receiver turns away what is too old.
        body: the octets of it, as they are sent.
    """
    digest = hmac.new(secret, b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def make_client(reactor: Any, *, connect_timeout: float, ca: Path | None) -> tuple[HTTPClient, HTTPConnectionPool]:
    """Make what requests are made with, and its connections, which are kept. Certificates are verified.

    Args:
        reactor: makes connections.
        connect_timeout: seconds that one may take to come up.
        ca: a PEM file of authorities; ``None`` for those that the system trusts.

    Raises:
        ConfigurationError: treq is not installed, or the file holds no certificate.
    """
    try:
        from sipd.web import client as web
    except ImportError:
        raise ConfigurationError(["call records by HTTP need the package treq: pip install 'sipd[http]'"]) from None
    pool = HTTPConnectionPool(reactor)
    # A server that has closed a kept connection meanwhile is asked again by the delivery, not by the pool.
    pool.retryAutomatically = False
    root = None
    if ca is not None:
        try:
            certificates = [Certificate.loadPEM(_PEM + block) for block in ca.read_bytes().split(_PEM)[1:]]
        except CryptoError:
            certificates = []
        if not certificates:
            raise ConfigurationError([f"{ca}: a certificate in PEM expected"])
        root = trustRootFromCertificates(certificates)
    policy = BrowserLikePolicyForHTTPS(root)
    agent = Agent(reactor, policy, connectTimeout=connect_timeout, pool=pool)
    return web.make_client(agent), pool


def _retry_after(values: Sequence[bytes]) -> float | None:
    """Give the seconds that the server wants to be left alone; a date, which is rare, is not understood."""
    text = values[0].strip() if values else b""
    return float(text) if text.isdigit() and len(text) < 7 else None
