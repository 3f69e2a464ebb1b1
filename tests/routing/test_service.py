"""Tests of `sipd.routing.service` with a web server that answers rightly, wrongly, late, never, too much."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from sipd.routing.http import ServiceFailedError
from sipd.routing.questions import Answer, question_of
from sipd.routing.service import RoutingService, ServiceSettings
from tests.ports import Ports
from tests.routing.test_questions import asked

_GOOD = b'{"rounds": [[{"uri": "sip:9@192.0.2.1"}]]}'
_TOKEN, _KEY = "hunter2-token", "hunter2-key"


class Web(Resource):
    """What is asked, and what answers.

    Attributes:
        behave: answers a request.
        asked: the requests that came: their header fields and bodies.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.behave: Callable[[Request], bytes | int] = lambda request: _GOOD
        self.asked: list[tuple[dict[bytes, bytes], bytes]] = []

    def render_POST(self, request: Any) -> bytes | int:
        """See `Resource`."""
        self.asked.append((request.getAllHeaders(), request.content.read()))
        return self.behave(request)


class ServiceTests(TestCase):
    """One service, one server."""

    timeout = 30

    def setUp(self) -> None:
        reactor: Any = real_reactor
        self.reactor = reactor
        self.web = Web()
        self.site = Site(self.web)
        self.port = Ports().take()
        self.listen()
        self.pool = HTTPConnectionPool(reactor)
        self.addCleanup(self.end)

    def listen(self) -> None:
        """Let the server be there."""
        self.listening = self.reactor.listenTCP(self.port, self.site, interface="127.0.0.1")

    async def go_away(self) -> None:
        """Let the server be gone, and its connections with it."""
        await self.listening.stopListening()
        for channel in list(self.channels()):
            channel.abortConnection()
        await deferLater(self.reactor, 0.01)

    def channels(self) -> list[Any]:
        """Give the server's ends of its connections."""
        return [one for one in self.reactor.getReaders() if getattr(one, "server", None) is self.listening]

    async def end(self) -> None:
        """Let nothing be left."""
        await self.pool.closeCachedConnections()
        if self.listening.connected:
            await self.go_away()
        await deferLater(self.reactor, 0.02)

    def service(self, **changes: Any) -> RoutingService:
        """Make a service."""
        values: dict[str, Any] = {
            "url": f"http://127.0.0.1:{self.port}/route",
            "token": _TOKEN,
            "key": _KEY,
            "timeout": 5.0,
            **changes,
        }
        agent = Agent(self.reactor, connectTimeout=values["timeout"], pool=self.pool)
        service = RoutingService(ServiceSettings(**values), agent=agent, reactor=self.reactor)
        self.addCleanup(service.close)
        return service

    def question(self, user: str = "alice") -> dict[str, Any]:
        """Give a question."""
        return question_of(asked(user=user), ())

    async def fails(self, service: RoutingService, kind: str, pattern: str = ".") -> None:
        """Ask in vain, for that reason."""
        before = service.counts[kind]
        error: Any = await self.assertFailure(service.ask(self.question()), ServiceFailedError)
        self.assertEqual((error.kind, service.counts[kind]), (kind, before + 1), error.reason)
        self.assertRegex(error.reason, pattern)
        for secret in (_TOKEN, _KEY):
            self.assertNotIn(secret, error.reason)
        self.assertEqual(len(service), 0)

    async def test_a_good_answer(self) -> None:
        """The question arrives as JSON with the token and a signature; the answer is read and counted."""
        service = self.service()
        answer = await service.ask(self.question())
        assert answer.rounds is not None
        self.assertEqual(answer.rounds[0][0].uri, "sip:9@192.0.2.1")
        ((headers, body),) = self.web.asked
        self.assertEqual(json.loads(body), self.question())
        self.assertEqual(headers[b"authorization"], f"Bearer {_TOKEN}".encode())
        self.assertEqual(headers[b"content-type"], b"application/json")
        fields = dict(part.split("=") for part in headers[b"x-sipd-signature"].decode().split(","))
        expected = hmac.digest(_KEY.encode(), f"{fields['t']}.".encode() + body, "sha256").hex()
        self.assertEqual(fields["v1"], expected)
        self.assertEqual((dict(service.counts), len(service)), ({"answered": 1}, 0))
        self.assertNotIn("hunter2", repr(service.settings))

    async def test_connections_are_used_again(self) -> None:
        """Questions one after another take one connection."""
        service = self.service()
        for _ in range(3):
            await service.ask(self.question())
        self.assertEqual(len(self.channels()), 1)

    async def test_without_a_length(self) -> None:
        """An answer may end with its connection, as those of HTTP/1.0 do; cut off, it is none."""

        def behave(body: bytes) -> Callable[[Any], int]:
            def answer(request: Any) -> int:
                request.channel.transport.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)
                request.channel.transport.loseConnection()
                return NOT_DONE_YET

            return answer

        service = self.service()
        self.web.behave = behave(_GOOD)
        answer = await service.ask(self.question())
        self.assertIsNotNone(answer.rounds)
        self.web.behave = behave(_GOOD[:-1])
        await self.fails(service, "malformed")

    async def test_broken(self) -> None:
        """A mistake of ours counts as a failure: a service that rests is asked again after that."""
        service = self.service(failures=1, rest=0.01)

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("oh")

        self.web.behave = lambda request: b""
        await self.fails(service, "malformed")
        for _ in range(2):
            await deferLater(self.reactor, 0.02)
            patch = self.patch(service, "_send", broken)
            await self.assertFailure(service.ask(self.question()), RuntimeError)
            patch.restore()
        self.web.behave = lambda request: _GOOD
        await deferLater(self.reactor, 0.02)
        await service.ask(self.question())

    async def test_no_cookies(self) -> None:
        """Cookies are not taken: nothing grows here with what a service likes to set."""

        def behave(request: Any) -> bytes:
            request.addCookie("session", str(len(self.web.asked)))
            return _GOOD

        self.web.behave = behave
        service = self.service()
        for _ in range(2):
            await service.ask(self.question())
        self.assertNotIn(b"cookie", self.web.asked[1][0])

    async def test_without_secrets(self) -> None:
        """Where no secret is configured none is sent."""
        await self.service(token="", key="").ask(self.question())
        ((headers, _),) = self.web.asked
        self.assertNotIn(b"authorization", headers)
        self.assertNotIn(b"x-sipd-signature", headers)

    async def test_errors_and_redirections(self) -> None:
        """Any status but 200 is a failure; a redirection is not followed, and the token stays here."""
        service = self.service(failures=100)
        for status in (204, 301, 302, 307, 401, 404, 500, 503):

            def answer(request: Any, status: int = status) -> bytes:
                request.setResponseCode(status)
                request.setHeader("Location", f"http://127.0.0.1:{self.port}/other")
                return b"" if status == 204 else _GOOD

            self.web.behave = answer
            await self.fails(service, "status", f"status {status}")
        self.assertEqual(len(self.web.asked), 8)

    async def test_rubbish(self) -> None:
        """What is no JSON, or no answer, is a failure that says why."""
        service = self.service(failures=100)
        for body in (b"<html>", b"", b"\xff" * 50, b"[]", b'{"rounds": [[{"uri": "x"}]]}', b'{"continue": 1}'):
            self.web.behave = lambda request, body=body: body  # type: ignore[misc]
            await self.fails(service, "malformed", "its answer cannot be used: ")

    async def test_too_much(self) -> None:
        """An answer that is too long, or has no end, is given up at the limit, and its connection with it."""
        service = self.service(answer_limit=2000, failures=100)
        self.web.behave = lambda request: b"x" * 1_000_000
        await self.fails(service, "too-long", "more than 2000 octets")

        def without_end(request: Any) -> int:
            def more() -> None:
                if not request._disconnected:
                    request.write(b" " * 500)
                    self.reactor.callLater(0.001, more)

            more()
            return NOT_DONE_YET

        self.web.behave = without_end
        await self.fails(service, "too-long")
        await deferLater(self.reactor, 0.05)
        self.assertEqual(self.channels(), [])

    async def test_never(self) -> None:
        """An answer that does not come, or whose body does not, is given up in time, and so is its connection."""

        def nothing(request: Any) -> int:
            return NOT_DONE_YET

        def half(request: Any) -> int:
            request.write(_GOOD[:10])
            return NOT_DONE_YET

        service = self.service(timeout=0.1, failures=100)
        for behave in (nothing, half):
            self.web.behave = behave
            await self.fails(service, "late", "no answer within 0.1 s")
            await deferLater(self.reactor, 0.05)
            self.assertEqual(self.channels(), [])
        self.assertEqual(len(self.web.asked), 2)

    async def test_slow(self) -> None:
        """A slow answer that comes in time, in pieces, is one."""

        def slow(request: Any) -> int:
            for number in range(len(_GOOD)):
                self.reactor.callLater(0.002 * number, request.write, _GOOD[number : number + 1])
            self.reactor.callLater(0.002 * len(_GOOD) + 0.02, request.finish)
            return NOT_DONE_YET

        self.web.behave = slow
        answer = await self.service().ask(self.question())
        self.assertIsInstance(answer, Answer)

    async def test_going_away_in_the_middle(self) -> None:
        """A service that ends while it answers fails; one that has ended an idle connection is asked on another."""
        service = self.service(failures=100)

        def half(request: Any) -> int:
            request.setHeader("Content-Length", "100")
            request.write(_GOOD[:10])
            self.reactor.callLater(0.01, request.transport.abortConnection)
            return NOT_DONE_YET

        self.web.behave = half
        await self.fails(service, "unreachable", "cannot be asked")
        self.web.behave = lambda request: _GOOD
        await service.ask(self.question())
        for channel in self.channels():
            channel.abortConnection()
        await service.ask(self.question())
        self.assertEqual(service.counts["answered"], 2)

    async def test_a_connection_that_ends_without_an_answer(self) -> None:
        """A question to which nothing at all came is asked once more, and not for ever."""
        service = self.service(failures=100)
        count = 0

        def behave(request: Any) -> bytes | int:
            nonlocal count
            count += 1
            if count == 2:
                return _GOOD
            request.transport.abortConnection()
            return NOT_DONE_YET

        self.web.behave = behave
        await service.ask(self.question())
        self.assertEqual(count, 2)
        count = 2
        await self.fails(service, "unreachable")
        self.assertEqual(count, 4)

    async def test_nobody_there(self) -> None:
        """A service that is not there fails at once, and is asked again when it is back."""
        service = self.service(failures=100)
        await self.go_away()
        await self.fails(service, "unreachable", "refused")
        self.listen()
        await service.ask(self.question())

    async def test_too_many_at_once(self) -> None:
        """Beyond the bound nothing is asked, and what is being asked is answered all the same."""
        waiting: list[Any] = []

        def wait(request: Any) -> int:
            waiting.append(request)
            return NOT_DONE_YET

        self.web.behave = wait
        service = self.service(concurrency=2)
        asking = [service.ask(self.question(name)) for name in ("a", "b")]
        error: Any = await self.assertFailure(service.ask(self.question("c")), ServiceFailedError)
        self.assertEqual((error.kind, len(service)), ("busy", 2))
        while len(waiting) < 2:
            await deferLater(self.reactor, 0.005)
        for request in waiting:
            request.write(_GOOD)
            request.finish()
        for one in asking:
            self.assertIsInstance(await one, Answer)

    async def test_rest(self) -> None:
        """After failures in a row nothing is asked for a while; that, and its end, is a line of the log each."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: dict[str, Any]) -> None:
            if event.get("log_namespace", "").startswith("sipd.routing"):
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        service = self.service(failures=3, rest=0.1)
        self.web.behave = lambda request: b"rubbish"
        for _ in range(3):
            await self.fails(service, "malformed")
        for _ in range(5):
            await self.fails(service, "resting")
        self.assertEqual(len(self.web.asked), 3)
        await deferLater(self.reactor, 0.12)
        self.web.behave = lambda request: _GOOD
        await service.ask(self.question())
        self.assertEqual(len(lines), 2, lines)
        self.assertRegex(lines[0], r"is not asked for 0\.1 s: its answer cannot be used: no JSON")
        self.assertRegex(lines[1], "answers again")
        self.assertNotIn("hunter2", "".join(lines))

    async def test_memory(self) -> None:
        """A good answer is remembered for its question alone, for a while, and no more of them than the bound."""
        service = self.service(memory=0.15, memory_entries=2)
        self.assertIsNone(service.remembered(self.question()))
        await service.ask(self.question("a"))
        await service.ask(self.question("b"))
        found = service.remembered(self.question("a"))
        assert found is not None
        self.assertLess(found[1], 0.1)
        self.assertIsNone(service.remembered(self.question("c")))
        await service.ask(self.question("c"))
        self.assertIsNone(service.remembered(self.question("a")))
        self.assertIsNotNone(service.remembered(self.question("b")))
        self.web.behave = lambda request: b"rubbish"
        await self.assertFailure(service.ask(self.question("b")), ServiceFailedError)
        self.assertIsNotNone(service.remembered(self.question("b")))
        await deferLater(self.reactor, 0.16)
        self.assertIsNone(service.remembered(self.question("b")))

    async def test_no_memory(self) -> None:
        """With a memory of 0 seconds nothing is remembered."""
        service = self.service(memory=0.0)
        await service.ask(self.question())
        self.assertIsNone(service.remembered(self.question()))

    async def test_the_end(self) -> None:
        """Closed, what is being asked fails at once, and nothing is asked a second time."""
        self.web.behave = lambda request: NOT_DONE_YET
        service = self.service()
        asking: Deferred[Answer] = service.ask(self.question())
        while not self.web.asked:
            await deferLater(self.reactor, 0.005)
        service.close()
        error: Any = await self.assertFailure(asking, ServiceFailedError)
        self.assertEqual(error.kind, "unreachable")
        await deferLater(self.reactor, 0.02)
        self.assertEqual(len(self.web.asked), 1)
