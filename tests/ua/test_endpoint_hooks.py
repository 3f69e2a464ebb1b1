"""The endpoint: its hooks, what comes in another way, its life, and real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from sipd.errors import ConfigurationError, ParseError, RemoteError
from sipd.interfaces import IFlow, IMessageObserver, IServerTransaction, ITransactionCore
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.testing import builders
from sipd.testing.wire import DatagramWire
from sipd.ua.endpoint import Endpoint
from sipd.ua.handling import Elsewhere
from sipd.ua.hooks import Event, EventKind, Hooks
from sipd.ua.interfaces import IMessageModule
from tests.transport.certificates import Authority
from tests.ua.endpoints import EndpointCase
from tests.ua.support import THEM, US

reactor: Any = global_reactor

THERE = Target(transport=Transport.UDP, host=THEM, port=5060)


class HookTests(EndpointCase):
    """Who is told of what happens on the wire."""

    def send_nonsense(self) -> None:
        """Send a datagram that is no message."""
        host = self.network.host("192.0.2.66")
        wire = DatagramWire(host, ("192.0.2.66", 5060), lambda message, source: None)
        wire._port.write(b"nonsense\r\n\r\n", (US, 5060))
        self.clock.advance(0.1)
        wire.close()

    def test_all(self) -> None:
        """Each kind of thing is told to its hook and, as an event, to the one for all."""
        calls: list[tuple[str, object]] = []
        events: list[Event] = []

        def note(name: str, index: int) -> Callable[..., object]:
            return lambda *arguments: calls.append((name, arguments[index]))

        self.endpoint.add_hooks(
            Hooks(
                on_datagram=note("datagram", 0),
                on_parse_error=note("parse error", 2),
                on_request=note("request", 0),
                on_response=note("response", 0),
                on_sent=note("sent", 0),
                on_error=note("error", 1),
                on_event=events.append,
            )
        )
        self.receive()
        asked = self.ask()
        self.answer()
        self.successResultOf(asked)
        self.send_nonsense()
        self.assertEqual([name for name, _ in calls], [event.kind.value for event in events])
        self.assertEqual(
            [(event.kind, event.method, event.status) for event in events],
            [
                (EventKind.DATAGRAM, "", 0),
                (EventKind.REQUEST, "OPTIONS", 0),
                (EventKind.SENT, "", 200),
                (EventKind.SENT, "OPTIONS", 0),
                (EventKind.DATAGRAM, "", 0),
                (EventKind.RESPONSE, "", 200),
                (EventKind.DATAGRAM, "", 0),
                (EventKind.PARSE_ERROR, "", 0),
            ],
        )
        self.assertEqual({event.address for event in events[:6]}, {(THEM, 5060)})
        self.assertEqual(events[6].address, ("192.0.2.66", 5060))
        self.assertIsInstance(events[7].error, ParseError)
        self.assertEqual((events[0].raw, events[6].raw), (events[1].raw, events[7].raw))
        self.assertEqual(parse_datagram(events[2].raw), events[2].response)

    def test_answers(self) -> None:
        """Each answer of a handler is told of once, with its request, however often it leaves."""
        answered: list[tuple[str, int, str]] = []

        def note(request: Request, response: Response, flow: IFlow) -> None:
            answered.append((request.method, response.status, flow.host))

        hooks = Hooks(on_answer=note)
        self.endpoint.add_hooks(hooks)

        def ring(request: Request, transaction: IServerTransaction) -> Response:
            self.endpoint.respond(transaction, 180)
            return request.response(486)

        self.endpoint.on("INVITE", ring)
        self.endpoint.on_stateless("MESSAGE", lambda request, flow: request.response(202))
        self.receive()
        self.receive("INVITE")
        self.receive("MESSAGE")
        self.clock.advance(3.0)
        self.assertEqual(
            answered, [("OPTIONS", 200, THEM), ("INVITE", 180, THEM), ("INVITE", 486, THEM), ("MESSAGE", 202, THEM)]
        )
        self.endpoint.remove_hooks(hooks)
        self.receive()
        self.assertEqual(len(answered), 4)

    def test_errors(self) -> None:
        """A flow that fails is told of, with its error."""
        errors: list[tuple[str, RemoteError]] = []
        self.endpoint.add_hooks(Hooks(on_error=lambda flow, error: errors.append((flow.host, error))))
        asked = self.ask(uri=f"sip:bob@{THEM}:9;transport=tcp")
        self.clock.advance(1.0)
        self.failureResultOf(asked, RemoteError)
        self.assertEqual([(host, isinstance(error, RemoteError)) for host, error in errors], [(THEM, True)])

    def test_disturb_nobody(self) -> None:
        """A hook that fails is logged; the others are told, and the request is answered."""
        seen: list[Request] = []

        def fail(request: Request, flow: IFlow) -> None:
            raise ZeroDivisionError

        self.endpoint.add_hooks(Hooks(on_request=fail))
        self.endpoint.add_hooks(Hooks(on_request=lambda request, flow: seen.append(request)))
        self.receive()
        self.assertEqual((len(seen), self.them.kinds()), (1, ["200"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_is_no_message(self) -> None:
        """Octets of a program's own that are no message are sent, and not told of."""
        sent: list[Request | Response] = []
        self.endpoint.add_hooks(Hooks(on_sent=lambda message, flow: sent.append(message)))
        self.endpoint.layers.transport.flow_to(THERE).send(b"no message")
        self.receive()
        self.assertEqual([type(message) for message in sent], [Response])

    def test_cost_nothing(self) -> None:
        """Hooks are on the wire only while there are some."""
        transport = self.endpoint.layers.transport
        before = transport.observers
        one, other = Hooks(), Hooks()
        self.endpoint.add_hooks(one)
        self.endpoint.add_hooks(other)
        verifyObject(IMessageObserver, transport.observers[-1])
        verifyObject(IMessageModule, next(iter(self.endpoint.messages)))
        self.endpoint.remove_hooks(one)
        self.receive()
        self.endpoint.remove_hooks(other)
        self.endpoint.remove_hooks(other)
        self.assertEqual((transport.observers, transport.parse_observer), (before, None))
        self.assertEqual(len(self.endpoint.messages), 0)


class ElsewhereTests(EndpointCase):
    """Messages that come in another way."""

    def flow(self) -> IFlow:
        """Give some flow."""
        return self.endpoint.layers.transport.flow_to(THERE)

    def dispatch(self, method: str, **options: Any) -> Deferred[Response | None]:
        """Give a request to its handler."""
        return self.endpoint.dispatch(builders.request(method, via=f"{THEM}:5060"), self.flow(), **options)

    def test_dispatch(self) -> None:
        """A handler's response is given back, finished, and nothing is sent."""
        self.endpoint.on("INVITE", lambda request, transaction: request.response(200))
        response = self.successResultOf(self.dispatch("INVITE"))
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertTrue(response.to.tag)
        unknown = self.successResultOf(self.dispatch("DANCE"))
        cancel = self.successResultOf(self.dispatch("CANCEL"))
        assert unknown is not None and cancel is not None
        self.assertEqual((unknown.status, cancel.status), (501, 481))
        self.clock.advance(40.0)
        self.assertEqual((self.them.kinds(), len(self.endpoint.layers.transactions)), ([], 0))

    def test_all_responses(self) -> None:
        """Who asks for it is told of each response, also of those that come when the handler has finished."""
        told: list[int] = []
        taken: list[IServerTransaction] = []
        self.endpoint.on("INVITE", lambda request, transaction: taken.append(transaction))
        given = self.dispatch("INVITE", respond=lambda response: told.append(response.status))
        self.assertIsNone(self.successResultOf(given))
        verifyObject(IServerTransaction, taken[0])
        taken[0].standing = (("Session-ID", "x"),)
        for status in (180, 200, 486):
            self.endpoint.respond(taken[0], status)
        self.assertEqual((told, taken[0].is_answered), ([180, 200], True))
        assert isinstance(taken[0], Elsewhere) and taken[0].final is not None
        self.assertEqual(taken[0].final.headers.get("Session-ID"), "x")

    def test_later(self) -> None:
        """The Deferred waits for the handler; cancelling it cancels the handler."""
        ended: list[bool] = []
        waiting: list[Deferred[Response]] = []

        def take(request: Request, transaction: IServerTransaction) -> Deferred[Response]:
            waiting.append(Deferred(lambda _: ended.append(True)))
            return waiting[-1]

        self.endpoint.on("INFO", take)
        first, second = self.dispatch("INFO"), self.dispatch("INFO")
        self.assertNoResult(first)
        waiting[0].callback(builders.request("INFO").response(200))
        response = self.successResultOf(first)
        assert response is not None
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual((response.status, ended), (200, [True]))

    def test_mistakes(self) -> None:
        """A handler that fails is answered for, as on the wire; an ACK has no answer."""

        def fail(request: Request, transaction: object) -> Response:
            raise ZeroDivisionError if request.method != "MESSAGE" else RemoteError("No", status=403)

        self.endpoint.otherwise(fail)
        self.endpoint.on_ack(fail)
        for method, status in (("INFO", 500), ("MESSAGE", 403), ("ACK", None)):
            response = self.successResultOf(self.dispatch(method))
            self.assertEqual(response.status if response is not None else None, status)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_responses(self) -> None:
        """A response goes to its transaction, and to the hooks without octets."""
        events: list[Event] = []
        asked = self.ask()
        self.endpoint.add_hooks(Hooks(on_event=events.append))
        self.endpoint.response_received(builders.response(self.them.request("OPTIONS"), 200), self.flow())
        self.assertEqual(self.successResultOf(asked).status, 200)
        self.assertEqual([(event.kind, event.raw) for event in events], [(EventKind.RESPONSE, b"")])


class LifeTests(EndpointCase):
    """How an endpoint begins and ends."""

    def test_serve(self) -> None:
        """What `serve` gives fires when the endpoint is closed; cancelling it closes the endpoint."""
        serving = self.endpoint.serve()
        self.assertNoResult(serving)
        self.successResultOf(self.endpoint.close())
        self.successResultOf(serving)
        self.successResultOf(self.endpoint.close())
        self.successResultOf(self.endpoint.serve())
        other = self.make("192.0.2.9")
        serving = other.serve()
        serving.cancel()
        self.failureResultOf(serving, CancelledError)
        self.assertEqual(list(other.points), [])

    def test_async_with(self) -> None:
        """It can be used as a context, which closes it."""

        async def use() -> Endpoint:
            async with self.make("192.0.2.9") as other:
                self.assertEqual(len(other.points), 2)
                self.assertIs(await other.when_ready(), other)
            return other

        other = self.successResultOf(Deferred.fromCoroutine(use()))
        self.assertEqual(list(other.points), [])

    def test_no_port(self) -> None:
        """Where a port cannot be had, or the address is no URI, there is no endpoint."""
        host = self.network.host("192.0.2.8")
        DatagramWire(host, ("192.0.2.8", 5060), lambda message, source: None)
        self.assertRaises(ConfigurationError, Endpoint, host, ["udp:0.0.0.0:5060"])
        self.assertRaises(ConfigurationError, Endpoint, host, ["udp:0.0.0.0:5070"], address="alice\r\nX: y")
        self.assertRaises(ConfigurationError, Endpoint, host, ["udp:0.0.0.0:5070"], address="alice")

    def test_without_listening_points(self) -> None:
        """One that listens nowhere says so in From, and can send nothing."""
        other = Endpoint(self.network.host("192.0.2.9"), [])
        self.assertEqual(other.address, "sip:anonymous@anonymous.invalid")
        self.failureResultOf(other.request(Request("OPTIONS", f"sip:{THEM}")), RemoteError)
        verifyObject(ITransactionCore, other._handling)
        self.successResultOf(other.close())


class LoopbackTests(TestCase):
    """Two endpoints on the real reactor."""

    timeout = 30

    def make(self, *listen: str | socket.socket) -> Endpoint:
        """Make an endpoint that is closed at the end of the test."""
        endpoint = Endpoint(reactor, listen)
        self.addCleanup(endpoint.close)
        return endpoint

    async def test_every_transport(self) -> None:
        """A request and its answer over UDP, TCP and TLS; a big one over TCP as it is."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = Authority(folder)
        certificate, key = authority.sign(["127.0.0.1"])
        listen = (
            "udp:127.0.0.1:0",
            "tcp:127.0.0.1:0",
            f"tls:127.0.0.1:0:cert={certificate}:key={key}:ca={authority.path}",
        )
        ours, theirs = self.make(*listen), self.make(*listen)

        @theirs.on("MESSAGE")
        async def echo(request: Request, transaction: IServerTransaction) -> Response:
            return request.response(200, body=request.body)

        for point in theirs.points:
            uri = f"sip:bob@{point.sent_by};transport={point.transport.uri_parameter}"
            response = await ours.request(Request("MESSAGE", uri, body=b"x" * 2000))
            self.assertEqual((response.status, len(response.body)), (200, 2000))

    async def test_adopted_socket(self) -> None:
        """An endpoint serves on a socket that is bound already."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        made.bind(("127.0.0.1", 0))
        theirs = self.make(made)
        response = await self.make("udp:127.0.0.1:0").request(Request("OPTIONS", f"sip:{theirs.points[0].sent_by}"))
        self.assertEqual(response.status, 200)

    async def test_requests_on_a_connection_of_ours(self) -> None:
        """A client that has connected is reached on its connection, which is used again."""
        ours, theirs = self.make("tcp:127.0.0.1:0"), self.make("tcp:127.0.0.1:0")
        flows: list[IFlow] = []

        @theirs.on("REGISTER")
        def take(request: Request, transaction: IServerTransaction) -> Response:
            flows.append(transaction.flow)
            return request.response(200)

        for _ in range(2):
            await ours.request(Request("REGISTER", f"sip:{theirs.points[0].sent_by};transport=tcp"))
        response = await theirs.request(Request("OPTIONS", "sip:client.invalid"), to=flows[0])
        self.assertEqual((response.status, flows[0]), (200, flows[1]))
        self.assertEqual(ours.layers.transport.connection_count, 1)
