"""Users who write to each other, for tests of messages outside of calls."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.peer import Peer
from tests.b2bua.support import BridgeCase

#: More than may go over UDP.
LONG = b"x" * 1300


def answering(status: int, reason: str | None = None, **options: object) -> Callable[[Request], Response]:
    """Give what answers a message like that."""
    return lambda message: builders.response(message, status, reason, **options)  # type: ignore[arg-type]


def silent(message: Request) -> None:
    """Say nothing to a message."""


class MessageCase(BridgeCase):
    """Three users who write to each other, and a log that is read."""

    max_messages = 1000

    def setUp(self) -> None:
        """Listen to the log."""
        super().setUp()
        self.server.messages.max_pending = self.max_messages
        self.lines: list[str] = []

        @implementer(ILogObserver)
        def listen(event: LogEvent) -> None:
            if event.get("log_namespace") == "sipd.b2bua.messages.Messages":
                self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(listen)
        self.addCleanup(globalLogPublisher.removeObserver, listen)

    def answer(self, waiting: Deferred[Response | None], seconds: float = 1.0) -> Response:
        """Give the final response that came after so many seconds."""
        self.clock.advance(seconds)
        response = self.successResultOf(waiting)
        assert response is not None
        return response

    def register(self, peer: Peer, q: str) -> None:
        """Register a phone with a preference."""
        contact, peer.contact = peer.contact, f"{peer.contact};q={q}"
        peer.register()
        self.clock.advance(1.0)
        peer.contact = contact

    def tearDown(self) -> None:
        """Let every timer run out; nothing may be left."""
        self.settle()
        self.assertEqual(self.server.records.records, [])
