"""Where the telephone stands: a reactor, a screen, keys; and how a line is opened there and closed again."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.task import deferLater

from sipd.daemon.certificates import ensure_self_signed
from sipd.daemon.telephone.conversation import Conversation
from sipd.daemon.telephone.keys import Keys
from sipd.daemon.telephone.screen import Screen
from sipd.daemon.telephone.settings import (
    LineWanted,
    Talk,
    facing,
    listening,
    make_phone,
    nearest_host,
    needs_certificate,
)
from sipd.errors import RemoteError, TransactionTimeoutError, TransportError, UnresolvableError
from sipd.interfaces import Entropy, IMessageObserver
from sipd.phone.call import Call
from sipd.phone.errors import DialError
from sipd.phone.phone import Phone
from sipd.sip.uri import Uri
from sipd.ua.messaging import ReceivedMessage

#: Exit statuses beside those of every command: nobody has answered, or can be reached.
NO_ANSWER = 3
#: Seconds that calls have to be ended in at the other side, and how often it is looked.
_ENDING = 2.0
_LOOK = 0.05
#: Seconds after a refusal in which its ACK comes, as a rule.
ACK_COMES = 0.5


class Desk:
    """What a command of the telephone stands on.

    Args:
        reactor: gives sockets and time; a host of a simulated network will do.
        screen: shows what happens.
        observers: see every message.
        entropy: for branches, tags and Call-IDs.
        look_up: gives an address of a name, or an empty text; asked once, before anything is opened.

    Attributes:
        keys: what is typed goes there.
    """

    def __init__(
        self,
        reactor: Any,
        screen: Screen,
        *,
        observers: Sequence[IMessageObserver] = (),
        entropy: Entropy = secrets.token_bytes,
        look_up: Callable[[str], str] | None = None,
    ) -> None:
        self.reactor = reactor
        self.screen = screen
        self.keys = Keys(screen)
        self._observers = tuple(observers)
        self._entropy = entropy
        self._look_up = look_up or find_address
        self._talking: set[Conversation] = set()

    @asynccontextmanager
    async def phone(self, wanted: LineWanted, places: Sequence[Uri], **more: Any) -> AsyncIterator[Phone]:
        """Open a line; at the end its calls are hung up, and it is unregistered.

        Args:
            wanted: the line.
            places: where requests go, the nearest first.
            more: for `make_phone`.

        Raises:
            ConfigurationError: a listening point or a certificate cannot be had.
        """
        points = listening(wanted, places)
        with ExitStack() as files:
            if needs_certificate(wanted, points):
                directory = files.enter_context(TemporaryDirectory(prefix="sipd-phone-"))
                made = ensure_self_signed(Path(directory), ["localhost"], datetime.now(UTC))
                tls = replace(wanted.tls, certificate=str(made.certificate), key=str(made.key))
                wanted = replace(wanted, tls=tls)
            points = facing(points, nearest_host(places, self._look_up), self.reactor)
            phone = make_phone(self.reactor, wanted, points, entropy=self._entropy, observers=self._observers, **more)
            phone.on_message = self._message_came
            phone.message_types |= {"text/xml", "text/html"}
            phone.on_replaced = self._replaced
            phone.startService()
            try:
                yield phone
            finally:
                await self._end_calls(phone)
                await phone.stopService()

    async def talk(self, call: Call, talk: Talk) -> int:
        """Do what is wanted in a call until it is over; give the exit status, 1 if something could not be done."""
        talking = Conversation(call, talk, screen=self.screen, keys=self.keys, reactor=self.reactor)
        self._talking.add(talking)
        try:
            await talking.run()
        finally:
            self._talking.discard(talking)
        return 1 if talking.has_failed else 0

    def _replaced(self, old: Call, new: Call) -> None:
        for talking in self._talking:
            place = talking.find(old)
            if place is not None:
                place.go_on_in(new)

    async def _end_calls(self, phone: Phone) -> None:
        """Hang up, and leave the other side some time to hear of it."""
        calls = list(phone.calls)
        is_refusing = any(not call.is_established for call in calls)
        for call in calls:
            call.hang_up()
        deadline = self.reactor.seconds() + _ENDING
        # What was just said may not be sent before the next turn.
        await deferLater(self.reactor, ACK_COMES if is_refusing else _LOOK)
        while len(phone.agent) and self.reactor.seconds() < deadline:
            await deferLater(self.reactor, _LOOK)

    def _message_came(self, message: ReceivedMessage) -> None:
        sender, text = str(message.sender.uri), message.text
        self.screen.show(
            "message", f"message of {sender}: {text}", sender=sender, content_type=message.content_type, text=text
        )


def exit_status(error: RemoteError) -> int:
    """Give the exit status for something that the other side did, or failed to do: 1 if it has refused, else 3."""
    if isinstance(error, DialError) and error.response is not None:
        return 1
    if isinstance(error, TransactionTimeoutError | UnresolvableError | TransportError):
        return NO_ANSWER
    return 1


def find_address(name: str) -> str:
    """Give an address of a host name, or an empty text where there is none (it may have others in the DNS)."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ""
    return str(found[0][4][0]).partition("%")[0]
