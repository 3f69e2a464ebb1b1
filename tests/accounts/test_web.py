"""Accounts behind HTTP: a service in memory, then a real one behind TLS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet import reactor, ssl  # noqa: TID251 (a real service needs a real reactor)
from twisted.internet.address import HostnameAddress
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.error import ConnectingCancelledError
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.accounts.interfaces import IAccountStore, MalformedAccountError, StoreUnavailableError
from sipd.accounts.reading import AccountReader
from sipd.accounts.web import MAX_ANSWER_OCTETS, HttpStore, WebSettings, make_agent
from sipd.daemon.certificates import ensure_self_signed
from sipd.errors import LocalError
from tests.ports import HOST

URL = "http://127.0.0.1/accounts/{user}?realm={realm}"


class Service(Resource):
    """Answers with what the test sets.

    Attributes:
        status, body, headers: of the answer.
        seen: the path and the Authorization of each request.
        cookies: those of each request.
        is_silent: whether it says nothing.
    """

    isLeaf = True

    def __init__(self, body: bytes = b"{}", status: int = 200) -> None:
        super().__init__()
        self.body = body
        self.status = status
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str]] = []
        self.cookies: list[str | None] = []
        self.is_silent = False
        self.is_waiting: list[Any] = []

    def render_GET(self, request: Any) -> Any:
        """Answer."""
        self.seen.append(
            (request.uri.decode(), request.requestHeaders.getRawHeaders(b"authorization", [b""])[0].decode())
        )
        self.cookies.append(request.getHeader("cookie"))
        if self.is_silent:
            self.is_waiting.append(request)
            return NOT_DONE_YET
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name.encode(), value.encode())
        return self.body


class AnswerTests(SynchronousTestCase):
    """What answers mean."""

    def setUp(self) -> None:
        """Make a service in memory."""
        self.service = Service()
        self.agent = RequestTraversalAgent(self.service)

    def store(self, **settings: str) -> HttpStore:
        """Make a store before it."""
        values = WebSettings(**{"url": URL, "realm": "example.com", **settings})  # type: ignore[arg-type]
        return HttpStore(values, reader=AccountReader(), agent=self.agent, reactor=None)

    def ask(self, name: str = "alice", **settings: str) -> Deferred[Any]:
        """Ask for a user, and let the data flow."""
        waiting = self.store(**settings).find(name)
        self.agent.flush()
        return waiting

    def reason(self, name: str = "alice") -> str:
        """Give why the service counts as away."""
        return str(self.failureResultOf(self.ask(name), StoreUnavailableError).value)

    def test_account(self) -> None:
        """200 has the account."""
        verifyObject(IAccountStore, self.store())
        self.service.body = json.dumps(
            {"name": "alice", "password": "wonderland", "identities": ["tel:+1"], "max_calls": 2, "color": "red"}
        ).encode()
        found = self.successResultOf(self.ask())
        self.assertEqual((found.password, found.account.max_calls), ("wonderland", 2))
        self.assertEqual(self.service.seen, [("/accounts/alice?realm=example.com", "")])

    def test_no_such_user(self) -> None:
        """404 says that there is none."""
        self.service.status = 404
        self.assertIsNone(self.successResultOf(self.ask()))

    def test_quoted(self) -> None:
        """A name cannot become another place."""
        for name, path in (
            ("../a", "..%2Fa"),
            ("a?b=c&d", "a%3Fb%3Dc%26d"),
            ("\u00fc%", "%C3%BC%25"),
            ("a#b", "a%23b"),
        ):
            self.successResultOf(self.ask(name))
            self.assertEqual(self.service.seen[-1][0], f"/accounts/{path}?realm=example.com")

    def test_dots(self) -> None:
        """Nobody has a name that leads elsewhere in a path: it is not asked for."""
        for name in (".", ".."):
            self.assertIsNone(self.successResultOf(self.ask(name)))
        self.assertEqual(self.service.seen, [])

    def test_no_cookies(self) -> None:
        """Cookies are not taken: one for each user would be kept for ever, and sent with the next question."""
        self.service.headers["Set-Cookie"] = "session=alice; Path=/"
        store = self.store()
        for _ in range(2):
            waiting = store.find("alice")
            self.agent.flush()
            self.successResultOf(waiting)
        self.assertEqual(self.service.cookies, [None, None])

    def test_token(self) -> None:
        """The token goes with each request, and is not printed."""
        self.successResultOf(self.ask(token="s3cret"))
        self.assertEqual(self.service.seen[0][1], "Bearer s3cret")
        self.assertNotIn("s3cret", repr(WebSettings(url=URL, realm="r", token="s3cret")))

    def test_other_statuses(self) -> None:
        """Any other status says that the service cannot be asked, and a redirection is not followed."""
        self.service.headers["Location"] = "http://127.0.0.1/elsewhere"
        for status in (201, 204, 301, 302, 307, 400, 401, 403, 410, 500, 503):
            with self.subTest(status):
                self.service.status = status
                self.assertEqual(self.reason(), f"the service answers with status {status}")
        self.assertEqual(len(self.service.seen), 11)

    def test_rubbish(self) -> None:
        """What is no JSON object, or is of somebody else, makes no sense; nothing of it is shown."""
        for body in (
            b"",
            b"secret",
            b"[]",
            b'"secret"',
            b"\xff",
            b'{"name": "bob"}',
            b'{"max_calls": "secret"}',
            b"[" * 9999,
        ):
            with self.subTest(body[:20]):
                self.service.body = body
                error = self.failureResultOf(self.ask(), MalformedAccountError).value
                self.assertNotIn("secret", str(error))

    def test_given_up_while_connecting(self) -> None:
        """A question that is given up before there is a connection says that the service cannot be asked."""
        values = WebSettings(url=URL, realm="example.com")
        store = HttpStore(values, reader=AccountReader(), agent=_Connecting(), reactor=None)
        waiting = store.find("alice")
        waiting.cancel()
        self.failureResultOf(waiting, StoreUnavailableError)

    def test_too_long(self) -> None:
        """An answer that is too long is not read to its end."""
        self.service.body = b"{" + b" " * MAX_ANSWER_OCTETS + b"}"
        self.assertEqual(self.reason(), f"the service answers with more than {MAX_ANSWER_OCTETS} octets")


@implementer(IAgent)
class _Connecting:
    """Never gets a connection."""

    def request(self, *_: object, **__: object) -> Deferred[Any]:
        """Ask, until that is given up."""
        error = ConnectingCancelledError(HostnameAddress(b"127.0.0.1", 80))
        return Deferred(lambda asking: asking.errback(error))


class NetworkTests(TestCase):
    """A real service behind TLS."""

    timeout = 10

    def setUp(self) -> None:
        """Start it."""
        self.files = ensure_self_signed(Path(self.mktemp()).absolute(), ("localhost",), _now())
        self.service = Service(b'{"password": "wonderland"}')
        context = ssl.DefaultOpenSSLContextFactory(str(self.files.key), str(self.files.certificate))
        self.port = reactor.listenSSL(0, Site(self.service), context, interface=HOST)  # type: ignore[attr-defined]
        self.addCleanup(lambda: maybeDeferred(self.port.stopListening))

    def make(self, *, host: str = "localhost", port: int = 0, **settings: Any) -> HttpStore:
        """Make a store before it that trusts its certificate; it is closed at the end."""
        values = WebSettings(
            **{
                "url": f"https://{host}:{port or self.port.getHost().port}/{{user}}",
                "realm": "example.com",
                "authorities": self.files.certificate.read_text(),
                "timeout": 5.0,
                **settings,
            }
        )
        agent, pool = make_agent(values, reactor)
        store = HttpStore(values, reader=AccountReader(), agent=agent, reactor=reactor, pool=pool)
        self.addCleanup(store.close)
        return store

    async def _reason(self, store: HttpStore) -> str:
        try:
            await store.find("alice")
        except StoreUnavailableError as error:
            return str(error)
        raise AssertionError("it answered")

    def test_trusted(self) -> None:
        """A service whose certificate is known is asked, twice over one connection."""

        async def ask() -> None:
            store = self.make()
            for name in ("alice", "bob"):
                found = await store.find(name)
                assert found is not None
                self.assertEqual((found.account.name, found.password), (name, "wonderland"))

        return ensureDeferred(ask())  # type: ignore[return-value]

    def test_not_trusted(self) -> None:
        """A certificate that nobody vouches for, or that is for another host, ends it before the token is sent."""

        async def ask() -> None:
            for store in (self.make(authorities="", token="s3cret"), self.make(host=HOST, token="s3cret")):
                reason = await self._reason(store)
                self.assertNotIn("s3cret", reason)
                self.assertIn("cannot be asked", reason)
            self.assertEqual(self.service.seen, [])

        return ensureDeferred(ask())  # type: ignore[return-value]

    def test_nobody_there(self) -> None:
        """A service that is not there cannot be asked."""

        async def ask() -> None:
            self.assertIn("refused", await self._reason(self.make(port=1)))

        return ensureDeferred(ask())  # type: ignore[return-value]

    def test_gone_in_the_middle(self) -> None:
        """Neither can one that hangs up instead of answering."""

        async def ask() -> None:
            self.service.is_silent = True
            store = self.make()
            waiting = store.find("alice")
            while not self.service.is_waiting:
                await _turn()
            self.service.is_waiting[0].transport.abortConnection()
            try:
                await waiting
            except StoreUnavailableError:
                return
            raise AssertionError("it answered")

        return ensureDeferred(ask())  # type: ignore[return-value]

    def test_given_up(self) -> None:
        """A question that is given up closes its connection."""

        async def ask() -> None:
            self.service.is_silent = True
            waiting = self.make().find("alice")
            while not self.service.is_waiting:
                await _turn()
            ended = self.service.is_waiting[0].notifyFinish()
            waiting.addErrback(lambda _: None)
            waiting.cancel()
            await ended.addErrback(lambda _: None)

        return ensureDeferred(ask())  # type: ignore[return-value]

    def test_given_up_in_the_middle(self) -> None:
        """A question that is given up after the answer has begun closes its connection, too."""

        async def ask() -> None:
            self.service.is_silent = True
            waiting = self.make().find("alice")
            while not self.service.is_waiting:
                await _turn()
            request = self.service.is_waiting[0]
            ended = request.notifyFinish()
            request.write(b"{")
            for _ in range(100):
                await _turn()
            waiting.addErrback(lambda _: None)
            waiting.cancel()
            await ended.addErrback(lambda _: None)

        return ensureDeferred(ask())  # type: ignore[return-value]

    def test_no_certificates(self) -> None:
        """Authorities that are no certificates are a mistake of this side."""
        for text in ("nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
            self.assertRaises(LocalError, self.make, authorities=text)


def _turn() -> Deferred[None]:
    waiting: Deferred[None] = Deferred()
    reactor.callLater(0, waiting.callback, None)
    return waiting


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)
