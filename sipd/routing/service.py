"""The HTTP service that is asked where calls go: one POST for each question, bounded in every way."""

from __future__ import annotations

import hmac
import json
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import RequestTransmissionFailed, ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from sipd.routing.breaker import Breaker
from sipd.routing.http import ServiceFailedError
from sipd.routing.questions import Answer, MalformedAnswerError, key_of, read_answer
from sipd.web.client import make_client

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Which service, and what it may cost.

    Args:
        url: where questions are posted.
        token: that it wants to see (RFC 6750), or empty. Never printed.
        key: signs questions (``X-Sipd-Signature``), or empty. Never printed.
        timeout: seconds for one question, from the first packet to the last.
        concurrency: questions at a time; further ones are not asked.
        answer_limit: octets of an answer.
        memory: seconds for which a good answer to the same question may be used when there is no new one.
        memory_entries: answers that are remembered.
        failures: so many in a row, and nothing is asked for `rest` seconds.
        rest: seconds.
    """

    url: str
    token: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    timeout: float = 2.0
    concurrency: int = 64
    answer_limit: int = 65536
    memory: float = 300.0
    memory_entries: int = 10_000
    failures: int = 5
    rest: float = 30.0


class RoutingService:
    """Asks, and remembers good answers.

    A question to which not even the beginning of an answer came is asked once more: the connection may have been one
    that the service was just closing.

    Redirections are not followed: what proves who asks would go along.

    Args:
        settings: which service.
        agent: connects; verifies certificates.
        reactor: for time.

    Attributes:
        counts: how often each of `sipd.routing.http.KINDS` happened.
    """

    _log = Logger()

    def __init__(self, settings: ServiceSettings, *, agent: IAgent, reactor: Any) -> None:
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self._client = make_client(agent)
        self._reactor = reactor
        self._breaker = Breaker(reactor.seconds, failures=settings.failures, rest=settings.rest)
        self._asking: set[Deferred[Answer]] = set()
        self._is_closed = False
        #: By question: when it was answered, and how. The oldest first.
        self._memory: OrderedDict[str, tuple[float, Answer]] = OrderedDict()

    def __len__(self) -> int:
        """How many questions are not answered yet."""
        return len(self._asking)

    def ask(self, question: dict[str, Any]) -> Deferred[Answer]:
        """Give the answer to a question.

        Fails with `ServiceFailedError` if there is none, or none that can be used.
        """
        return Deferred.fromCoroutine(self._ask(question))

    def remembered(self, question: dict[str, Any]) -> tuple[Answer, float] | None:
        """Give the last good answer to the same question, and its age in seconds, if it is not too old."""
        known = self._memory.get(key_of(question))
        if known is None:
            return None
        age = self._reactor.seconds() - known[0]
        return (known[1], age) if age <= self.settings.memory else None

    def close(self) -> None:
        """Ask no more: what is being asked fails at once."""
        self._is_closed = True
        for asking in list(self._asking):
            asking.cancel()

    async def _ask(self, question: dict[str, Any]) -> Answer:
        try:
            answer = await self._ask_within_bounds(question)
        except ServiceFailedError as error:
            self.counts[error.kind] += 1
            raise
        self.counts["answered"] += 1
        self._remember(key_of(question), answer)
        return answer

    async def _ask_within_bounds(self, question: dict[str, Any]) -> Answer:
        settings = self.settings
        if len(self._asking) >= settings.concurrency:
            raise ServiceFailedError("busy", f"{settings.concurrency} questions are being asked")
        if not self._breaker.allow():
            raise ServiceFailedError("resting", "it has failed too often, and is not asked for a while")
        asking: Deferred[Answer] = Deferred.fromCoroutine(self._post(question))
        self._asking.add(asking)
        answer, reason = None, "asking it failed here"
        try:
            answer = await asking.addTimeout(settings.timeout, self._reactor, _late)
        except ServiceFailedError as error:
            reason = error.reason
            raise
        finally:
            self._asking.discard(asking)
            # Whatever it was, it has to be told: or else a question that was let through alone would be the last one.
            if answer is None and self._breaker.failed():
                self._log.error(
                    "the routing service at {url} is not asked for {rest:g} s: {reason}",
                    url=settings.url,
                    rest=settings.rest,
                    reason=reason,
                )
        if self._breaker.succeeded():
            self._log.info("the routing service at {url} answers again", url=settings.url)
        return answer

    async def _post(self, question: dict[str, Any]) -> Answer:
        settings = self.settings
        body = json.dumps(question).encode("ascii")
        deadline = self._reactor.seconds() + settings.timeout
        try:
            try:
                response = await self._send(body)
            except (RequestTransmissionFailed, ResponseNeverReceived):
                if self._is_closed or self._reactor.seconds() >= deadline:
                    raise
                response = await self._send(body)
            answered = await _Body(settings.answer_limit).read(response)
        except _FAILURES as error:
            raise ServiceFailedError("unreachable", f"it cannot be asked: {_reason(error)}") from None
        except CancelledError:
            raise ServiceFailedError("unreachable", "sipd is being stopped") from None
        if response.code != 200:
            raise ServiceFailedError("status", f"it answers with status {response.code}")
        if answered is None:
            raise ServiceFailedError("too-long", f"it answers with more than {settings.answer_limit} octets")
        try:
            return read_answer(answered)
        except MalformedAnswerError as error:
            raise ServiceFailedError("malformed", f"its answer cannot be used: {error}") from None

    def _send(self, body: bytes) -> Deferred[Any]:
        sending: Deferred[Any] = self._client.post(
            self.settings.url,
            data=body,
            headers=self._headers(body),
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        return sending

    def _headers(self, body: bytes) -> Headers:
        settings = self.settings
        headers = Headers({"Accept": ["application/json"], "Content-Type": ["application/json"]})
        if settings.token:
            headers.setRawHeaders("Authorization", [f"Bearer {settings.token}"])
        if settings.key:
            headers.setRawHeaders("X-Sipd-Signature", [sign(settings.key, int(self._reactor.seconds()), body)])
        return headers

    def _remember(self, key: str, answer: Answer) -> None:
        if not self.settings.memory:
            return
        self._memory[key] = (self._reactor.seconds(), answer)
        self._memory.move_to_end(key)
        if len(self._memory) > self.settings.memory_entries:
            self._memory.popitem(last=False)


def sign(key: str, second: int, body: bytes) -> str:
    """Give the signature of a question: ``t=`` Unix time, ``v1=`` HMAC-SHA256 of that time, a dot, and the body."""
    digest = hmac.digest(key.encode(), b"%d." % second + body, "sha256").hex()
    return f"t={second},v1={digest}"


class _Body(Protocol):
    """Reads the body of a response, up to a limit; cancelled, it ends the connection."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._read: Deferred[bytes | None] = Deferred(self._cancelled)

    def read(self, response: Any) -> Deferred[bytes | None]:
        """Give the body; ``None`` if it is longer than the limit."""
        response.deliverBody(self)
        return self._read

    def dataReceived(self, data: bytes) -> None:
        """See ``IProtocol``."""
        self._size += len(data)
        if self._size > self._limit:
            self._end(None)
        else:
            self._parts.append(data)

    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:  # noqa: B008 - as in Twisted
        """See ``IProtocol``."""
        if self._read.called:
            return
        # Without a length it ends with its connection; if that is too early, it is no JSON.
        if reason.check(ResponseDone, PotentialDataLoss):
            self._read.callback(b"".join(self._parts))
        else:
            self._read.errback(reason)

    def _end(self, outcome: None) -> None:
        if not self._read.called:
            self._read.callback(outcome)
        self._parts.clear()
        self._lose()

    def _cancelled(self, _: object) -> None:
        self._parts.clear()
        self._lose()

    def _lose(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def _late(outcome: object, timeout: float) -> Failure:
    return Failure(ServiceFailedError("late", f"no answer within {timeout:g} s"))


def _reason(error: BaseException | None) -> str:
    """Give one line; what wraps others is opened."""
    if isinstance(error, ResponseFailed | RequestTransmissionFailed) and error.reasons:
        return _reason(error.reasons[-1].value)
    return " ".join(str(error).split())[:200] or type(error).__name__
