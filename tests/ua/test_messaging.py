"""Messages outside of calls, out and in (RFC 3428)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, ServerFactory
from zope.interface.verify import verifyObject

from sipd.errors import RemoteError, RequestRefusedError, TransactionTimeoutError
from sipd.interfaces import Credentials, IRequestHandler
from sipd.sip.fields import NameAddr
from sipd.sip.framing import StreamFramer
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_message
from sipd.sip.uri import SipUri
from sipd.testing import builders
from sipd.ua.messaging import MessageAnswer, MessageError, MessageInbox, MessageRequest, ReceivedMessage, send_message
from tests.ua.support import OTHER, THEM, US, AgentCase


class Answering(Protocol):
    """A server over TCP that says what it got."""

    def __init__(self) -> None:
        self._framer = StreamFramer()

    def dataReceived(self, data: bytes) -> None:
        """Answer each request."""
        assert self.transport is not None
        for octets in self._framer.feed(data):
            assert isinstance(octets, bytes)
            message = parse_message(octets)
            assert isinstance(message, Request)
            reason = f"{message.method} {len(message.body)} {message.via.transport}"
            self.transport.write(message.response(200, reason, to_tag="b1").to_bytes())


class SendTests(AgentCase):
    """Messages that go out."""

    def send(self, body: bytes = b"tea?", **options: Any) -> Deferred[Response]:
        """Send one."""
        values = {"target": SipUri(THEM, "bob"), "from_": NameAddr(SipUri(US, "alice")), "body": body, **options}
        sending = send_message(self.agent, MessageRequest(**values))
        self.clock.advance(0.1)
        return sending

    def respond(self, status: int, *headers: tuple[str, str]) -> None:
        """Answer it."""
        message = self.them.request("MESSAGE")
        self.them.send(builders.response(message, status, to_tag="b1", contact=None, headers=headers))
        self.clock.advance(0.1)

    def tearDown(self) -> None:
        self.settle()

    def test_sent(self) -> None:
        """It has the text and its type, and no Contact; 200 and 202 are success."""
        for status in (200, 202):
            sending = self.send(headers=(("Expires", "60"),), next_hop=SipUri(THEM), route=(f"<sip:{THEM};lr>",))
            message = self.them.request("MESSAGE")
            self.assertEqual((message.body, message.content_type), (b"tea?", "text/plain"))
            self.assertEqual((message.expires, message.uri_text), (60, f"sip:bob@{THEM}"))
            self.assertNotIn("Contact", message.headers)
            self.respond(status)
            self.assertEqual(self.successResultOf(sending).status, status)

    def test_refused(self) -> None:
        """Everything else is a failure, with the response."""
        for status in (302, 404, 415, 503, 603):
            sending = self.send()
            self.respond(status)
            error = self.failureResultOf(sending, RemoteError).value
            self.assertEqual(error.status, status)
            assert isinstance(error, MessageError)
            self.assertEqual(error.response.status, status)

    def test_silence(self) -> None:
        """Without an answer it fails after 32 seconds."""
        sending = self.send()
        self.clock.advance(33.0)
        self.failureResultOf(sending, TransactionTimeoutError)

    def test_challenged(self) -> None:
        """A challenge is answered, if there are credentials."""
        credentials = Credentials(username="alice", password="secret")
        sending = self.send(credentials=credentials)
        self.respond(407, ("Proxy-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'))
        self.assertIn("Proxy-Authorization", self.them.request("MESSAGE").headers)
        self.respond(200)
        self.successResultOf(sending)

    def test_cancelled(self) -> None:
        """Who does not want to wait any more gets an error at once."""
        sending = self.send()
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.respond(200)

    def test_large_message(self) -> None:
        """What is too large for UDP goes over TCP, and nowhere where that is not spoken (section 8)."""
        server: Any = ServerFactory.forProtocol(Answering)
        self.network.host(OTHER).listenTCP(5060, server)
        sending = self.send(b"x" * 1300, target=SipUri(OTHER, "bob"))
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(sending).reason, "MESSAGE 1300 TCP")
        self.them.take()
        sending = self.send(b"x" * 1300)
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(sending, RemoteError).value.status, 513)
        self.assertEqual(self.them.take(), [])


class InboxTests(AgentCase):
    """Messages that come in."""

    def inbox(self, handler: Callable[..., Any], **options: Any) -> MessageInbox:
        """Take messages."""
        inbox = MessageInbox(self.agent, handler, **options)
        self.agent.handlers["MESSAGE"] = inbox
        return inbox

    def receive(self, number: int = 1, **options: Any) -> Request:
        """Let one come in."""
        values = {"via": f"{THEM}:5060", "body": b"tea?", "content_type": "text/plain", "contact": None, **options}
        message = builders.request(
            "MESSAGE", f"sip:bob@{US}", branch=f"z9hG4bK-m{number}", call_id=f"m{number}", **values
        )
        self.them.send(message)
        self.clock.advance(0.1)
        return message

    def statuses(self) -> list[str]:
        """Give the statuses that came since the last time."""
        return self.them.kinds()

    def tearDown(self) -> None:
        self.settle()

    def test_taken(self) -> None:
        """The handler gets who, what and from where; 200 is the answer if it says nothing else."""
        received: list[ReceivedMessage] = []

        async def take(message: ReceivedMessage) -> None:
            received.append(message)

        inbox = self.inbox(take)
        verifyObject(IRequestHandler, inbox)
        self.receive()
        self.assertEqual(self.statuses(), ["200"])
        (message,) = received
        self.assertEqual((str(message.sender.uri), message.text), (builders.ALICE, "tea?"))
        self.assertEqual((message.content_type, message.host), ("text/plain", THEM))
        self.assertEqual(len(inbox), 0)

    def test_answers(self) -> None:
        """The handler's value is the answer: a number, or one with more to say; a `RemoteError`, too."""
        answers: list[Any] = [202, MessageAnswer(status=486, reason="Asleep", headers=(("X-Note", "1"),))]

        async def take(message: ReceivedMessage) -> Any:
            if not answers:
                raise RequestRefusedError("Who Are You", status=401, headers=(("WWW-Authenticate", "Digest x"),))
            return answers.pop(0)

        self.inbox(take)
        for number in range(3):
            self.receive(number)
        asleep = self.them.response(486)
        self.assertEqual((asleep.reason, asleep.headers.get("X-Note")), ("Asleep", "1"))
        self.assertEqual(self.them.response(401).headers.get("WWW-Authenticate"), "Digest x")
        self.assertEqual(self.statuses(), ["202", "486", "401"])

    def test_errors(self) -> None:
        """What a handler gets wrong is 500 and in the log, and nobody says 408."""
        errors = [TransactionTimeoutError("no answer"), ZeroDivisionError("a bug")]

        async def take(message: ReceivedMessage) -> int:
            if errors:
                raise errors.pop(0)
            return 100

        self.inbox(take)
        for number in range(3):
            self.receive(number)
        self.assertEqual(self.statuses(), ["480", "500", "500"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_types(self) -> None:
        """Types that are not taken get 415 and hear which are; a message without a body is taken."""

        async def take(message: ReceivedMessage) -> None:
            self.assertEqual(message.content_type, "")

        self.inbox(take)
        self.receive(1, content_type="text/html")
        self.assertEqual(self.them.response(415).headers.get("Accept"), "text/plain")
        self.receive(2, headers=(("Content-Encoding", "gzip"),))
        self.receive(3, body=b"")
        self.assertEqual(self.statuses(), ["415", "415", "200"])

    def test_size(self) -> None:
        """A larger body than is taken gets 413."""

        async def take(message: ReceivedMessage) -> None:
            raise AssertionError

        self.inbox(take, max_size_octets=3)
        self.receive()
        self.assertEqual(self.statuses(), ["413"])

    def test_bound(self) -> None:
        """Above the bound messages get 503, and are taken again when others are decided about."""
        waiting: list[Deferred[None]] = []

        async def take(message: ReceivedMessage) -> None:
            waiting.append(Deferred())
            await waiting[-1]

        inbox = self.inbox(take, max_pending=2)
        for number in range(3):
            self.receive(number)
        self.assertIsNotNone(self.them.response(503).headers.get("Retry-After"))
        self.assertEqual((self.statuses(), len(inbox)), (["503"], 2))
        waiting[0].callback(None)
        self.receive(4)
        self.assertEqual((self.statuses(), len(inbox)), (["200"], 2))
        inbox.close()
        self.clock.advance(0.1)
        self.assertEqual((self.statuses(), len(inbox)), (["480", "480"], 0))

    def test_patience(self) -> None:
        """Who takes too long to decide is cancelled, and the answer is 480, before the sender gives up."""
        cancelled: list[bool] = []

        async def take(message: ReceivedMessage) -> None:
            try:
                await Deferred()
            finally:
                cancelled.append(True)

        self.inbox(take)
        self.receive()
        self.clock.advance(20.0)
        self.assertEqual(self.statuses()[-1], "480")
        self.assertEqual(cancelled, [True])
