"""Records by HTTP: what is posted, how it is signed, and which answers mean what."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, cast

from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface.verify import verifyObject

from sipd.cdr.interfaces import IRecordSink, RecordsRefusedError, SinkError
from sipd.cdr.webhook import HttpSink, make_client, sign
from sipd.errors import ConfigurationError
from tests.cdr.support import NOON, record

SECRET = "s3cret"


class Receiver(Resource):
    """Takes records, and answers as it is told.

    Attributes:
        requests: headers and bodies of what came.
        code: of the answer; 0 for none at all.
        headers: of the answer.
        body: of the answer.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.code = 204
        self.headers: dict[str, str] = {}
        self.body = b""

    def render_POST(self, request: Any) -> bytes | int:
        """Take one."""
        names = (b"Content-Type", b"Sipd-Signature", b"Idempotency-Key", b"Authorization", b"Cookie")
        found = {name.decode(): request.getHeader(name) for name in names}
        headers = {name: value and value.decode() for name, value in found.items()}
        self.requests.append((headers, request.content.read()))
        if not self.code:
            return NOT_DONE_YET
        request.setResponseCode(self.code)
        for name, value in self.headers.items():
            request.setHeader(name.encode(), value.encode())
        return self.body


class HttpSinkTests(SynchronousTestCase):
    """One server."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.receiver = Receiver()
        self.agent = RequestTraversalAgent(self.receiver)
        self.sink = self.make(secret=SECRET)

    def make(self, **more: Any) -> HttpSink:
        """Make a sink that posts to the receiver."""
        client = HTTPClient(self.agent)
        return HttpSink("https://billing.example/records", client, clock=self.clock, now=lambda: NOON + 0.5, **more)

    def deliver(self, *names: str) -> Deferred[None]:
        """Deliver records, as far as the server answers."""
        done = self.sink.deliver([record(name) for name in names])
        self.agent.flush()
        return done

    def test_posts_a_batch(self) -> None:
        """All records of a batch are one POST of JSON, in order."""
        verifyObject(IRecordSink, self.sink)
        self.successResultOf(self.deliver("1", "2"))
        ((headers, body),) = self.receiver.requests
        posted = json.loads(body)
        self.assertEqual((posted["version"], posted["records"]), (1, [dict(record("1")), dict(record("2"))]))
        self.assertEqual((headers["Content-Type"], headers["Authorization"]), ("application/json", None))

    def test_signature(self) -> None:
        """Whoever knows the secret can see that the body is as it was sent, and when; no secret, no signature."""
        self.successResultOf(self.deliver("1"))
        headers, body = self.receiver.requests[0]
        stamp, digest = (part.partition("=")[2] for part in headers["Sipd-Signature"].split(","))
        self.assertEqual(int(stamp), int(NOON))
        expected = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        self.assertEqual(digest, expected)
        self.assertNotEqual(sign(b"other", int(NOON), body), headers["Sipd-Signature"])
        self.sink = self.make(authorization="Bearer x")
        self.successResultOf(self.deliver("1"))
        headers, _ = self.receiver.requests[1]
        self.assertEqual((headers["Sipd-Signature"], headers["Authorization"]), (None, "Bearer x"))

    def test_known_signature(self) -> None:
        """The signature of RFC 4231's second test case's key and a known text is what other programs make of it."""
        expected = hmac.new(b"Jefe", b"5.what do ya want for nothing?", "sha256").hexdigest()
        self.assertEqual(sign(b"Jefe", 5, b"what do ya want for nothing?"), f"t=5,v1={expected}")

    def test_the_same_again(self) -> None:
        """The same records have the same key when they come again, others another one."""
        for names in (("1", "2"), ("1", "2"), ("1", "3")):
            self.successResultOf(self.deliver(*names))
        keys = [headers["Idempotency-Key"] for headers, _ in self.receiver.requests]
        self.assertEqual((keys[0] == keys[1], keys[0] == keys[2]), (True, False))

    def test_answers(self) -> None:
        """2xx is taken; what speaks of the request is refused; all else, redirections too, is tried again."""
        for code in (200, 201, 202, 204):
            self.receiver.code = code
            self.successResultOf(self.deliver("1"))
        for code in (400, 413, 415, 422):
            self.receiver.code = code
            self.failureResultOf(self.deliver("1"), RecordsRefusedError)
        self.receiver.headers = {"Location": "https://elsewhere.example/"}
        for code in (301, 307, 401, 403, 404, 405, 429, 500, 502, 503):
            self.receiver.code = code
            before = len(self.receiver.requests)
            error = cast(SinkError, self.failureResultOf(self.deliver("1"), SinkError).value)
            self.assertEqual((str(error), error.retry_after), (f"it answers {code}", None))
            self.assertEqual(len(self.receiver.requests), before + 1)

    def test_retry_after(self) -> None:
        """Seconds that the server wants to be left alone for are heeded; what is no number is not."""
        self.receiver.code = 503
        for text, expected in (("120", 120.0), ("Sun, 22 Nov 2026 12:00:00 GMT", None), ("-1", None)):
            self.receiver.headers = {"Retry-After": text}
            error = cast(SinkError, self.failureResultOf(self.deliver("1"), SinkError).value)
            self.assertEqual(error.retry_after, expected)

    def test_no_answer(self) -> None:
        """A server that does not answer is given up after the timeout, and nothing is left running."""
        self.receiver.code = 0
        done = self.deliver("1")
        self.clock.advance(9.9)
        self.assertNoResult(done)
        self.clock.advance(0.1)
        error = self.failureResultOf(done, SinkError).value
        self.assertEqual(str(error), "no answer within 10 s")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """A close gives up what is not answered; it may come again after the next start."""
        self.receiver.code = 0
        done = self.deliver("1")
        self.successResultOf(self.sink.close())
        self.failureResultOf(done, SinkError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_endless_answer(self) -> None:
        """Of an answer that does not end only the status counts."""
        self.receiver.body = b"x" * 1_000_000
        self.receiver.code = 200
        self.successResultOf(self.deliver("1"))

    def test_failures(self) -> None:
        """What keeps a request from being answered is said in one line, without the URL."""
        refused, broken = ConnectionRefusedError("refused"), ResponseNeverReceived([Failure(OSError("broke"))])
        given_up = ConnectingCancelledError(IPv4Address("TCP", "192.0.2.1", 443))
        for error, text in (
            (refused, "ConnectionRefusedError"),
            (broken, "OSError: broke"),
            (given_up, "ConnectingCancelledError"),
        ):
            self.sink = HttpSink(
                "https://user:password@billing.example/",
                cast(HTTPClient, _Failing(error)),
                clock=self.clock,
                now=self.clock.seconds,
            )
            said = str(self.failureResultOf(self.sink.deliver([record()]), SinkError).value)
            self.assertIn(text, said)
            self.assertNotIn("password", said)

    def test_bugs_are_not_hidden(self) -> None:
        """What is neither the server's doing nor the network's comes through as it is."""
        self.sink = HttpSink("https://x/", cast(HTTPClient, _Failing(KeyError("x"))), clock=self.clock, now=float)
        self.failureResultOf(self.sink.deliver([record()]), KeyError)


class _Failing:
    """A client whose requests fail."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def post(self, *_: object, **__: object) -> None:
        """Fail."""
        raise self._error


class ClientTests(SynchronousTestCase):
    """What requests are made with."""

    def test_authorities(self) -> None:
        """A file without a certificate is a mistake in the configuration, and named."""
        for text in ("nothing", "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"):
            path = Path(self.mktemp())
            path.write_text(text)
            error = self.assertRaises(ConfigurationError, make_client, Clock(), connect_timeout=1.0, ca=path)
            self.assertIn("a certificate in PEM expected", error.problems[0])
        make_client(Clock(), connect_timeout=1.0, ca=None)


class NetworkTests(TestCase):
    """A real server."""

    timeout = 10

    async def test_no_cookies(self) -> None:
        """Cookies are not taken: nothing grows here with what a server likes to set."""
        reactor: Any = real_reactor
        receiver = Receiver()
        receiver.headers["Set-Cookie"] = "session=1; Path=/"
        listening = reactor.listenTCP(0, Site(receiver), interface="127.0.0.1")
        client, pool = make_client(reactor, connect_timeout=5.0, ca=None)
        url = f"http://127.0.0.1:{listening.getHost().port}/"
        sink = HttpSink(url, client, clock=reactor, now=reactor.seconds, pool=pool)
        try:
            await sink.deliver([record("1")])
            await sink.deliver([record("2")])
            self.assertEqual([headers["Cookie"] for headers, _ in receiver.requests], [None, None])
        finally:
            await sink.close()
            await listening.stopListening()
