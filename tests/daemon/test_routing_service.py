"""Tests of `[routing.http]` in a sipd that runs: calls go where a web server says, and go on when it is gone."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.web.resource import Resource
from twisted.web.server import Site

from sipd.daemon.certificates import make_self_signed
from sipd.daemon.config import build
from sipd.daemon.routing_http import make_service
from sipd.daemon.values import Surroundings
from sipd.errors import ConfigurationError
from sipd.routing.http import ServiceFailedError
from sipd.testing.peer import Peer
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase
from tests.daemon.test_service import PASSWORDS, ServiceCase
from tests.ports import HOST


class Web(Resource):
    """A routing service.

    Attributes:
        answer: to every question, as JSON can say it.
        asked: the questions.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answer: object = {"continue": True}
        self.asked: list[dict[str, Any]] = []

    def render_POST(self, request: Any) -> bytes:
        """See `Resource`."""
        self.asked.append(json.loads(request.content.read()))
        return json.dumps(self.answer).encode()


class WebCase(ServiceCase):
    """Has a web server beside sipd."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = reactor = _reactor()
        self.web = Web()
        self.listening: Any = reactor.listenTCP(0, Site(self.web), interface=HOST)
        self.addCleanup(self.listening.stopListening)
        self.url = f"http://{HOST}:{self.listening.getHost().port}/route"

    def routed(self, **options: Any) -> dict[str, Any]:
        """Give a configuration that asks the server."""
        return self.table(routing={"http": {"url": self.url, **options}})


def _reactor() -> Any:
    return real_reactor


class RoutedCallTests(WebCase):
    """Calls."""

    async def pair(self, **options: Any) -> tuple[Peer, Peer]:
        """Start sipd, and give alice and bob, registered."""
        service = await self.start(self.routed(**options))
        alice, bob = await self.register(service, "alice"), await self.register(service, "bob")
        bob.auto_answer(0.02, ring_after=None)
        return alice, bob

    async def hang_up(self, call: Any) -> None:
        """End a call, and wait until both know."""
        call.hang_up()
        for phone in self.phones:
            if phone.calls:
                await phone.calls[-1].when_ended()

    async def test_where_it_says(self) -> None:
        """A number that no rule knows rings where the service says; what it refuses is refused."""
        alice, _ = await self.pair(headers=["User-Agent"])
        self.web.answer = {"name": "lcr", "rounds": [[{"user": "bob"}]], "duration": 3600}
        call = await alice.call("4711").when_answered()
        self.assertEqual(call.status, 200)
        await self.hang_up(call)
        (question,) = self.web.asked
        self.assertEqual((question["method"], question["user"]), ("INVITE", "alice"))
        self.assertEqual(question["request_uri"], f"sip:4711@{HOST}")
        self.assertIn("User-Agent", question["headers"])
        self.web.answer = {"refuse": {"status": 410, "reason": "Gone For Good"}}
        self.assertEqual((await alice.call("4712").when_ended()).status, 410)

    async def test_a_stranger_is_not_asked_about(self) -> None:
        """The service is asked after the caller has proved who it is, not before."""
        service = await self.start(self.routed())
        PASSWORDS["mallory"] = "guessed"
        self.addCleanup(PASSWORDS.pop, "mallory")
        stranger = self.phone(service, "mallory")
        self.assertEqual((await stranger.call("bob").when_ended()).status, 407)
        self.assertEqual(self.web.asked, [])

    async def test_going_away(self) -> None:
        """Without the service a question that it has answered goes the same way, others by the dial plan."""
        alice, _ = await self.pair()
        self.web.answer = {"rounds": [[{"user": "bob"}]]}
        await self.hang_up(await alice.call("4711").when_answered())
        await self.listening.stopListening()
        for reader in self.reactor.getReaders():
            if getattr(reader, "server", None) is self.listening:
                reader.abortConnection()
        call = await alice.call("4711").when_answered()
        self.assertEqual(call.status, 200)
        await self.hang_up(call)
        self.assertEqual((await alice.call("4712").when_ended()).status, 404)
        await self.hang_up(await alice.call("bob").when_answered())

    async def test_rubbish_and_nothing_else(self) -> None:
        """With the fallback to refuse, rubbish is 503, and a reload keeps what is known of the service."""
        table = self.routed(fallback="refuse", memory=0.0)
        service = await self.start(table)
        alice = await self.register(service, "alice")
        self.web.answer = ["rubbish"]
        self.assertEqual((await alice.call("bob").when_ended()).status, 503)
        assert service.stack is not None and service.stack.routing_service is not None
        counts = service.stack.routing_service.counts
        self.assertEqual(dict(counts), {"malformed": 1})
        table["routing"]["http"]["timeout"] = 1.0
        table["limits"] = {"calls": 9}
        outcome = service.reload(build(table, Surroundings(directory=self.directory, environment={})))
        self.assertEqual([str(one) for one in outcome.pending], ["routing.http.timeout: 2.0 -> 1.0"])
        self.assertIs(service.stack.routing_service.counts, counts)
        self.assertEqual((await alice.call("bob").when_ended()).status, 503)
        self.assertEqual(dict(counts), {"malformed": 2})


class TlsTests(WebCase):
    """Whom it believes to be the service."""

    def setUp(self) -> None:
        super().setUp()
        certificate, key = make_self_signed((HOST,), datetime.now(UTC))
        self.authority = self.directory / "ca.pem"
        self.authority.write_bytes(certificate)
        self.key = self.directory / "key.pem"
        self.key.write_bytes(key)
        context = DefaultOpenSSLContextFactory(str(self.key), str(self.authority), sslmethod=SSL.TLS_METHOD)
        self.secure: Any = self.reactor.listenSSL(0, Site(self.web), context, interface=HOST)
        self.addCleanup(self.secure.stopListening)

    async def ask(self, **options: Any) -> None:
        """Ask once."""
        url = f"https://{HOST}:{self.secure.getHost().port}/"
        table = self.table(routing={"http": {"url": url, **options}})
        service = make_service(build(table, Surroundings(directory=self.directory, environment={})), self.reactor)
        assert service is not None
        try:
            await service.ask({"version": 1, "source": {"host": HOST}})
        finally:
            await service.stop()

    async def test_a_certificate_of_nobody(self) -> None:
        """A certificate that no authority has issued is not believed, and nothing is asked."""
        error: Any = await self.assertFailure(_deferred(self.ask()), ServiceFailedError)
        self.assertEqual(error.kind, "unreachable")
        self.assertEqual(self.web.asked, [])

    async def test_a_known_authority(self) -> None:
        """One that is issued by an authority in `ca`, for the host of the URL, is."""
        await self.ask(ca="ca.pem")
        self.assertEqual(len(self.web.asked), 1)

    async def test_another_name(self) -> None:
        """One for another name is not."""
        certificate, key = make_self_signed(("routing.example.com",), datetime.now(UTC))
        self.authority.write_bytes(certificate)
        self.key.write_bytes(key)
        await self.secure.stopListening()
        context = DefaultOpenSSLContextFactory(str(self.key), str(self.authority), sslmethod=SSL.TLS_METHOD)
        self.secure = self.reactor.listenSSL(0, Site(self.web), context, interface=HOST)
        self.addCleanup(self.secure.stopListening)
        await self.assertFailure(_deferred(self.ask(ca="ca.pem")), ServiceFailedError)
        self.assertEqual(self.web.asked, [])

    async def test_no_authorities(self) -> None:
        """A file without certificates ends the start."""
        self.authority.write_text("nothing")
        await self.assertFailure(_deferred(self.ask(ca="ca.pem")), ConfigurationError)


def _deferred(coroutine: Coroutine[Any, Any, None]) -> Deferred[Any]:
    return Deferred.fromCoroutine(coroutine)


class SectionTests(ConfigCase):
    """What the section may say."""

    def test_nothing_without_it(self) -> None:
        """Without the section there is no service."""
        self.assertIsNone(make_service(self.load(MINIMAL), None))

    def test_secrets(self) -> None:
        """Token and key come from where all secrets may come from, and print as stars."""
        text = f'url = "https://r.example.com/"\ntoken = "{HIDDEN}"\nkey = {{ env = "SERVICE_KEY" }}\n'
        config = self.load(f"{MINIMAL}[routing.http]\n{text}", SERVICE_KEY=HIDDEN)
        assert config.routing.http is not None and config.routing.http.key is not None
        self.assertEqual(config.routing.http.key.text, HIDDEN)
        self.assertNotIn(HIDDEN, repr(config))

    def test_mistakes(self) -> None:
        """A URL that is none, or that has a password, and names that are none, are mistakes."""
        expected = 'a URL such as "https://routing.example.com/v1/route" expected'
        for url in ("ftp://x/", "https://", "r.example.com", "https://x y/", "https://[::1/", "http://x:99999/"):
            self.assertEqual(
                self.problems(f'{MINIMAL}[routing.http]\nurl = "{url}"\n'), [f"routing.http.url: {expected}"], url
            )
        (line,) = self.problems(f'{MINIMAL}[routing.http]\nurl = "https://u:{HIDDEN}@x/"\n')
        self.assertRegex(line, "a URL without a password expected")
        (line,) = self.problems(f'{MINIMAL}[routing.http]\nurl = "http://x/"\nheaders = ["X Y"]\n')
        self.assertRegex(line, r"^routing\.http\.headers\[0\]: the name of a header field expected")
