"""The endpoint: what handlers give, and requests with and without transactions."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed

from sipd.errors import (
    LocalError,
    ParseError,
    RemoteError,
    RequestRefusedError,
    TransactionTimeoutError,
    UnresolvableError,
)
from sipd.interfaces import Credentials, IFlow, IServerTransaction
from sipd.sip.dialog import Dialog
from sipd.sip.headers import Headers
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.ua.hooks import Hooks
from sipd.ua.modules import Module
from tests.transaction.fakes import RecordingUser
from tests.ua.endpoints import EndpointCase
from tests.ua.support import THEM, US


class HandlerTests(EndpointCase):
    """What a handler gives, and what becomes of it."""

    def test_response(self) -> None:
        """A response is sent, with a To tag; the method's name may be written in any case."""
        seen: list[Request] = []

        @self.endpoint.on("message")
        def take(request: Request, transaction: IServerTransaction) -> Response:
            seen.append(transaction.request)
            return request.response(202)

        self.receive("MESSAGE")
        response = self.them.response(202)
        self.assertTrue(response.to.tag)
        self.assertEqual([request.method for request in seen], ["MESSAGE"])

    def test_later(self) -> None:
        """A Deferred and a coroutine of a response are sent when they are there."""
        waiting: Deferred[Response] = Deferred()

        async def take(request: Request, transaction: IServerTransaction) -> Response:
            return await waiting

        self.endpoint.on("INFO", take)
        self.endpoint.on("MESSAGE", lambda request, transaction: succeed(request.response(202)))
        request = self.receive("INFO")
        self.receive("MESSAGE")
        self.assertEqual(self.them.kinds(), ["202"])
        waiting.callback(request.response(200))
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["200"])

    def test_none(self) -> None:
        """A handler that gives nothing answers by itself, with one tag in all it says."""
        taken: list[IServerTransaction] = []
        self.endpoint.on("INVITE", lambda request, transaction: taken.append(transaction))
        self.receive("INVITE")
        self.endpoint.respond(taken[0], 180)
        self.endpoint.respond(taken[0], 486, "Not today", headers=(("Retry-After", "5"),), body=b"no")
        self.clock.advance(0.1)
        tags = {self.them.response(status).to.tag for status in (180, 486)}
        self.assertEqual(tags, {self.endpoint.tag(taken[0].request)})
        response = self.them.response(486)
        self.assertEqual((response.reason, response.headers.get("Retry-After")), ("Not today", "5"))

    def test_refusals(self) -> None:
        """A `RemoteError` is the answer, raised at once or later; nothing is logged."""
        error = RequestRefusedError("Slow down", status=480, headers=(("Retry-After", "9"),))

        def now(request: Request, transaction: IServerTransaction) -> Response:
            raise error

        async def later(request: Request, transaction: IServerTransaction) -> Response:
            raise error

        self.endpoint.on("INFO", now)
        self.endpoint.on("MESSAGE", later)
        for method in ("INFO", "MESSAGE"):
            self.receive(method)
            response = self.them.response(480)
            self.assertEqual((response.reason, response.headers.get("Retry-After")), ("Slow down", "9"))
            self.assertEqual(self.them.kinds(), ["480"])

    def test_mistakes(self) -> None:
        """Anything else that a handler raises or gives is logged, and answered with 500."""

        def now(request: Request, transaction: IServerTransaction) -> Response:
            raise ZeroDivisionError

        async def later(request: Request, transaction: IServerTransaction) -> Response:
            raise ZeroDivisionError

        nonsense: Any = lambda request, transaction: 200  # noqa: E731
        late_nonsense: Any = lambda request, transaction: succeed("200")  # noqa: E731
        for method, handler in (("INFO", now), ("MESSAGE", later), ("REFER", nonsense), ("PUBLISH", late_nonsense)):
            self.endpoint.on(method, handler)
            self.receive(method)
            self.assertEqual(self.them.kinds(), ["500"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)

    def test_otherwise(self) -> None:
        """Without a handler known methods get 405, others 501, OPTIONS 200; all say what is served."""
        self.endpoint.on("INVITE", lambda request, transaction: None)
        for method, status in (("INFO", 405), ("DANCE", 501), ("OPTIONS", 200)):
            self.receive(method)
            self.assertEqual(self.them.response(status).headers.get("Allow"), "ACK, CANCEL, INVITE, OPTIONS")
        self.endpoint.otherwise(lambda request, transaction: request.response(403))
        self.receive("DANCE", branch="z9hG4bKagain", cseq=2)
        self.assertEqual(self.them.kinds()[-1], "403")

    def test_cancel(self) -> None:
        """A CANCEL cancels the handler of the INVITE, which gets 487."""
        waiting: Deferred[Response] = Deferred()
        ends: list[type[BaseException]] = []

        async def take(request: Request, transaction: IServerTransaction) -> Response:
            try:
                return await waiting
            except CancelledError:
                ends.append(CancelledError)
                raise

        self.endpoint.on("INVITE", take)
        invite = self.receive("INVITE")
        self.them.send(builders.cancel(invite))
        self.clock.advance(0.1)
        self.assertEqual(ends, [CancelledError])
        self.assertEqual(self.them.kinds(), ["200", "487"])

    def test_cancel_handler(self) -> None:
        """A handler of CANCEL decides what the INVITE gets; it may also refuse by raising, or leave it."""
        self.endpoint.on("INVITE", lambda request, transaction: None)
        taken: list[IServerTransaction] = []

        @self.endpoint.on("CANCEL")
        def cancelled(cancel: Request, transaction: IServerTransaction) -> Response | None:
            taken.append(transaction)
            if len(taken) == 1:
                return transaction.request.response(480)
            raise RemoteError("Gone", status=410)

        for number, status in ((1, "480"), (2, "410")):
            invite = self.receive("INVITE", branch=f"z9hG4bK{number}", call_id=f"c{number}")
            self.them.send(builders.cancel(invite))
            self.clock.advance(0.1)
            self.assertEqual(self.them.kinds(), ["200", status])
        self.assertEqual([transaction.request.method for transaction in taken], ["INVITE", "INVITE"])

    def test_accepted(self) -> None:
        """A 2xx to an INVITE is sent again until its ACK comes, which is shown to who takes ACKs."""
        acks: list[tuple[Request, IFlow]] = []
        self.endpoint.on_ack(lambda ack, flow: acks.append((ack, flow)))
        self.endpoint.on("INVITE", lambda request, transaction: request.response(200))
        invite = self.receive("INVITE")
        self.clock.advance(1.5)
        self.assertEqual(self.them.kinds(), ["200", "200", "200"])
        self.clock.advance(2.0)
        self.them.send(builders.ack(invite, self.them.response(200)))
        self.them.take()
        self.clock.advance(40.0)
        self.assertEqual(self.them.kinds(), [])
        self.assertEqual([ack.method for ack, _ in acks], ["ACK"])

    def test_never_acknowledged(self) -> None:
        """Without an ACK it is given up after 64*T1, and the hooks know."""
        errors: list[tuple[float, RemoteError]] = []
        self.endpoint.add_hooks(Hooks(on_error=lambda flow, error: errors.append((self.clock.seconds(), error))))
        self.endpoint.on("INVITE", lambda request, transaction: request.response(200))
        self.receive("INVITE")
        self.clock.advance(60.0)
        self.assertEqual(len(self.them.kinds()), 11)
        self.assertEqual([(round(at), type(error)) for at, error in errors], [(32, TransactionTimeoutError)])

    def test_acks_that_fail(self) -> None:
        """What a handler of ACKs raises is logged, at once or later."""

        async def later(ack: Request, flow: IFlow) -> None:
            raise ZeroDivisionError

        self.endpoint.on_ack(later)
        self.receive("ACK")
        self.endpoint.on_ack(lambda ack, flow: 1 // 0)
        self.receive("ACK")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertRaises(ValueError, self.endpoint.on, "ACK")

    def test_void(self) -> None:
        """A handler whose request has become void is cancelled: its connection has ended."""
        ended: list[bool] = []
        waiting: Deferred[Response] = Deferred(lambda _: ended.append(True))
        self.endpoint.on("INFO", lambda request, transaction: waiting)
        other = self.make("192.0.2.9")
        asked = other.request(Request("INFO", f"sip:bob@{US};transport=tcp"))
        self.clock.advance(0.5)
        closing = other.close()
        self.clock.advance(5.0)
        self.successResultOf(closing)
        self.failureResultOf(asked, RemoteError)
        self.assertEqual(ended, [True])

    def test_closing(self) -> None:
        """Closing cancels handlers that have not finished; nothing is answered, and nothing is logged."""
        ended: list[bool] = []
        waiting: Deferred[Response] = Deferred(lambda _: ended.append(True))
        self.endpoint.on("INFO", lambda request, transaction: waiting)
        self.receive("INFO")
        self.endpoint.close()
        self.assertEqual((ended, self.them.kinds()), ([True], []))

    def test_modules(self) -> None:
        """Modules stand before the handlers."""

        class Taker(Module):
            def request_received(inner, transaction: IServerTransaction) -> bool:  # noqa: N805 - two selves
                self.endpoint.respond(transaction, 200)
                return True

        self.endpoint.modules.add(Taker())
        self.receive("INFO")
        self.assertEqual(self.them.kinds(), ["200"])

    def test_stateless(self) -> None:
        """A stateless handler sees each copy, and leaves no transaction; its answers have one tag."""
        seen: list[Request] = []

        @self.endpoint.on_stateless("info")
        def take(request: Request, flow: IFlow) -> Response | None:
            seen.append(request)
            return request.response(200) if len(seen) < 3 else None

        for _ in range(3):
            self.receive("INFO")
        self.assertEqual((len(seen), len(self.endpoint.layers.transactions)), (3, 0))
        tags = {message.to.tag for message in self.them.messages}
        self.assertEqual((self.them.kinds(), len(tags)), (["200", "200"], 1))
        self.receive("OPTIONS")
        self.assertEqual(self.them.kinds(), ["200"])
        self.endpoint.on_stateless("MESSAGE", take)
        self.receive("MESSAGE")
        self.assertEqual(self.them.kinds(), [])


class RequestTests(EndpointCase):
    """Requests that go out."""

    def test_completes(self) -> None:
        """What is missing is filled in; the request that was given stays as it was."""
        plain = Request("OPTIONS", f"sip:bob@{THEM}:5060;transport=udp")
        asked = self.endpoint.request(plain)
        self.clock.advance(0.1)
        sent = self.them.request("OPTIONS")
        self.assertEqual(sent.headers.get("Max-Forwards"), "70")
        self.assertEqual(sent.headers.get("To"), f"<sip:bob@{THEM}>")
        self.assertEqual((str(sent.from_.uri), len(sent.from_.tag or "")), (f"sip:{US}:5060", 16))
        self.assertEqual((len(sent.call_id), str(sent.cseq)), (32, "1 OPTIONS"))
        self.assertEqual(sent.headers.get("Contact"), f"<sip:{US}:5060>")
        self.assertEqual(sent.via.sent_by, f"{US}:5060")
        self.assertEqual(len(plain.headers), 0)
        self.answer()
        self.assertEqual(self.successResultOf(asked).status, 200)

    def test_what_is_there_stays(self) -> None:
        """Fields that are there are sent as they are; only a From without a tag gets one."""
        headers = [
            ("From", "Ann <sip:ann@example.com>"),
            ("To", "<sip:x@example.com>"),
            ("Call-ID", "c7"),
            ("CSeq", "7 OPTIONS"),
            ("Max-Forwards", "3"),
            ("Contact", "<sip:here@example.com>"),
        ]
        complete = self.endpoint.complete(Request("OPTIONS", f"sip:{THEM}", Headers(headers)))
        self.assertRegex(complete.headers.get("From") or "", r"^Ann <sip:ann@example\.com>;tag=[0-9a-f]{16}$")
        self.assertEqual(list(complete.headers.items())[1:], headers[1:])
        self.assertEqual(self.endpoint.complete(complete), complete)

    def test_numbers_grow(self) -> None:
        """Each CSeq number that is filled in is larger than all that were sent before, challenges included."""
        numbers = [self.endpoint.complete(Request("REGISTER", "sip:example.com")).cseq.number for _ in range(2)]
        self.endpoint.complete(Request("INFO", "sip:example.com", Headers([("CSeq", "40 INFO")])))
        numbers.append(self.endpoint.complete(Request("REGISTER", "sip:example.com")).cseq.number)
        self.assertEqual(numbers, [1, 2, 41])

    def test_contact(self) -> None:
        """Only what makes or refreshes a dialog, and OPTIONS, gets a Contact."""
        for method in ("REGISTER", "MESSAGE", "BYE"):
            self.ask(method).addErrback(lambda _: None)
            self.assertNotIn("Contact", self.them.request(method).headers)

    def test_names(self) -> None:
        """An endpoint that has a name and an address says so."""
        other = self.make("192.0.2.9", name="test/1", address="sip:alice@example.com")
        request = other.complete(Request("OPTIONS", "sip:example.com"))
        self.assertEqual(request.headers.get("User-Agent"), "test/1")
        self.assertEqual(str(request.from_.uri), "sip:alice@example.com")
        asked = self.endpoint.request(Request("OPTIONS", "sip:192.0.2.9"))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(asked).headers.get("Server"), "test/1")
        self.successResultOf(other.close())

    def test_challenge(self) -> None:
        """A challenge is answered with the credentials; without them the 401 is the answer."""
        challenge = ("WWW-Authenticate", 'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"')
        asked = self.ask(credentials=Credentials(username="alice", password="secret"))
        self.answer(401, headers=[challenge])
        self.assertIn("Authorization", self.them.request("OPTIONS").headers)
        self.answer()
        self.assertEqual(self.successResultOf(asked).status, 200)
        asked = self.ask()
        self.assertEqual(self.them.request("OPTIONS").cseq.number, 3)
        self.answer(401, headers=[challenge])
        self.assertEqual(self.successResultOf(asked).status, 401)

    def test_every_status_is_an_answer(self) -> None:
        """Any final response is the result, 503 as well."""
        asked = self.ask()
        self.answer(503)
        self.assertEqual(self.successResultOf(asked).status, 503)

    def test_next_target(self) -> None:
        """A name with two addresses is tried in turn; a target or a flow that is given is the only one."""
        self.network.names["two.example.com"] = ["192.0.2.77", THEM]
        asked = self.ask(uri="sip:two.example.com")
        self.clock.advance(4.1)
        self.answer()
        self.assertEqual(self.successResultOf(asked).status, 200)
        target = Target(transport=Transport.UDP, host=THEM, port=5060)
        for to in (target, self.endpoint.layers.transport.flow_to(target)):
            asked = self.ask(uri="sip:nowhere.example.com", to=to)
            self.answer()
            self.assertEqual(self.successResultOf(asked).status, 200)

    def test_failures(self) -> None:
        """Silence, a name that nobody knows and a request that cannot be read fail with what they are."""
        silent = self.ask()
        unknown = self.ask(uri="sip:nowhere.example.com")
        unreadable = self.endpoint.request(Request("OPTIONS", f"sip:{THEM}", Headers([("CSeq", "x")])))
        self.clock.advance(40.0)
        self.failureResultOf(silent, TransactionTimeoutError)
        self.failureResultOf(unknown, UnresolvableError)
        self.failureResultOf(unreadable, ParseError)

    def test_invite(self) -> None:
        """A 2xx is acknowledged, each time it comes, and gives a dialog whose BYE can be sent."""
        heard: list[int] = []
        invite = Request("INVITE", f"sip:bob@{THEM}")
        asked = self.ask("INVITE", provisional=lambda response: heard.append(response.status))
        self.answer(180, "INVITE")
        ok = self.answer(200, "INVITE", contact=f"<sip:bob@{THEM}>")
        response = self.successResultOf(asked)
        dialog = self.successResultOf(self.endpoint.acknowledge(invite, response))
        self.clock.advance(0.1)
        sent = self.them.request("INVITE")
        self.assertEqual(self.them.kinds(), ["INVITE", "ACK"])
        self.them.send(ok)
        self.clock.advance(0.1)
        again = self.them.request("ACK")
        self.assertEqual((again.cseq.number, again.call_id, again.to.tag), (sent.cseq.number, sent.call_id, "t1"))
        self.assertEqual(self.them.kinds(), ["ACK"])
        bye = self.endpoint.request(dialog.request("BYE"))
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("BYE").cseq.number, sent.cseq.number + 1)
        self.assertEqual(dialog.contact, f"<sip:{US}:5060>")
        self.answer(200, "BYE")
        self.assertEqual((self.successResultOf(bye).status, heard), (200, [180]))

    def test_cancelled(self) -> None:
        """Cancelling the Deferred of an INVITE sends CANCEL."""
        asked = self.ask("INVITE")
        self.answer(180, "INVITE")
        asked.cancel()
        self.clock.advance(0.1)
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.them.kinds(), ["INVITE", "CANCEL"])

    def test_start(self) -> None:
        """A client transaction tells its user of each response, and can be cancelled."""
        user = RecordingUser()
        started = self.endpoint.start(Request("INVITE", f"sip:bob@{THEM}"), user)
        transaction = self.successResultOf(started)
        self.clock.advance(0.1)
        self.answer(180, "INVITE")
        transaction.cancel()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("INVITE").headers.get("Contact"), f"<sip:{US}:5060>")
        self.answer(487, "INVITE")
        self.assertEqual(user.statuses, [180, 487])
        self.failureResultOf(self.endpoint.start(Request("INVITE", "sip:[2001:db8::1]"), user), RemoteError)

    def test_without_transaction(self) -> None:
        """A request is sent once, with a Via; a response goes to where its Via says, or to a target."""
        self.successResultOf(self.endpoint.send_stateless(Request("INFO", f"sip:bob@{THEM}")))
        self.clock.advance(10.0)
        self.assertEqual(self.them.request("INFO").via.sent_by, f"{US}:5060")
        self.assertEqual(self.them.kinds(), ["INFO"])
        response = builders.options(via=f"{THEM}:5060").response(200)
        target = Target(transport=Transport.UDP, host=THEM, port=5060)
        for to in (target, self.endpoint.layers.transport.flow_to(target)):
            self.successResultOf(self.endpoint.send_stateless(response, to))
        self.clock.advance(1.0)
        self.assertEqual(self.them.kinds(), ["200", "200"])
        self.failureResultOf(self.endpoint.send_stateless(response), LocalError)
        self.assertEqual(len(self.endpoint.layers.transactions), 0)

    def test_dialog_of_a_callee(self) -> None:
        """A dialog that was made of an INVITE that came builds requests that the endpoint sends."""
        self.endpoint.on("INVITE", lambda request, transaction: request.response(200))
        invite = self.receive("INVITE", contact=f"<sip:alice@{THEM}>")
        flow = self.endpoint.layers.transport.flow_to(Target(transport=Transport.UDP, host=THEM, port=5060))
        dialog = Dialog.of_callee(invite, self.endpoint.tag(invite), self.endpoint.contact(flow, invite.to.uri))
        self.assertEqual(self.them.response(200).to.tag, dialog.local.tag)
        self.them.send(builders.ack(invite, self.them.response(200)))
        asked = self.endpoint.request(dialog.request("BYE"))
        self.clock.advance(0.1)
        self.answer(200, "BYE")
        self.assertEqual(self.successResultOf(asked).status, 200)

    def test_stray_responses(self) -> None:
        """A response that belongs to nothing goes to who takes such."""
        strays: list[Response] = []
        self.endpoint.on_stray_response(lambda response, flow: strays.append(response))
        self.them.send(builders.options(via=f"{US}:5060").response(200))
        self.clock.advance(0.1)
        self.assertEqual(len(strays), 1)
