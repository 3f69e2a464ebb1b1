"""Asking STUN and TURN servers from a UDP socket that somebody else has bound (RFC 8445 section 5.1.1)."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipd.errors import InvalidStateError, ParseError, ResourcesExhaustedError
from sipd.ice import relaying
from sipd.ice.allocation import DEFAULT_LIFETIME, Allocation, State
from sipd.ice.requests import (
    Address,
    Answered,
    Credentials,
    Effects,
    Refused,
    Requests,
    Send,
    StartTimer,
    StopTimer,
    shown,
)
from sipd.interfaces import Entropy
from sipd.media.traversal.errors import TraversalError
from sipd.rtp.stun import Method, StunMessage, is_stun
from sipd.timers import Timers

#: Sends a datagram to an address.
SendDatagram: TypeAlias = Callable[[bytes, Address], object]
#: Takes a datagram, and the peer that it came from.
Receive: TypeAlias = Callable[[bytes, Address], object]
#: Seconds after which nobody waits for a server any more; its requests are repeated until then.
DEFAULT_TIMEOUT = 5.0
#: Questions, and allocations, of one socket at a time.
MAX_QUESTIONS = 16


class RelayedAddress:
    """An allocation on a TURN server: datagrams go to peers, and come from them, by an address of the server.

    Attributes:
        relayed: the address that peers send to.
        mapped: the socket's address, as the server sees it; ``None`` if it does not say.
        on_data: is given each datagram from a peer, and the peer's address.
        on_end: is called once when the allocation fails, with why; not after `close`.
    """

    _log = Logger()

    def __init__(self, gatherer: Gatherer, machine: Allocation, on_data: Receive | None) -> None:
        self.relayed: Address = ("", 0)
        self.mapped: Address | None = None
        self.on_data = on_data
        self.on_end: Callable[[TraversalError], object] | None = None
        self._gatherer = gatherer
        self._machine = machine
        self._timers = Timers(gatherer.clock, self._timer_fired)
        self._ready: Deferred[RelayedAddress] | None = None
        self._closed: list[Deferred[None]] = []

    @property
    def is_open(self) -> bool:
        """Whether datagrams can be sent."""
        return self._machine.state is State.READY

    @property
    def dropped(self) -> int:
        """How many datagrams were not sent; see `sipd.ice.allocation.Allocation`."""
        return self._machine.dropped

    def send(self, data: bytes, peer: Address) -> None:
        """Send a datagram to a peer. Dropped if the allocation has ended, or the server does not let it through."""
        if self.is_open:
            self._perform(self._machine.send(data, peer))

    def permit(self, host: str) -> None:
        """Let a host send to the relayed address.

        Raises:
            InvalidStateError: the allocation has ended.
            ResourcesExhaustedError: too many hosts.
            ValueError: not a numeric address of the relayed address's version of IP.
        """
        self._perform(self._machine.permit(host))

    def bind(self, peer: Address) -> None:
        """Ask for a channel to a peer: less overhead for what is sent often. Raises what `permit` does."""
        self._perform(self._machine.bind(peer))

    def close(self) -> Deferred[None]:
        """Give the allocation back.

        Returns:
            Called when the server knows, or does not answer for some seconds. Can be cancelled: then it is given back
            all the same.
        """
        deferred: Deferred[None] = Deferred(self._closed_no_more)
        self._closed.append(deferred)
        if self._machine.state is State.ENDED:
            self._tell_closed()
        else:
            self._perform(self._machine.close())
        return deferred

    def abandon(self) -> None:
        """Forget the allocation at once; it ends on the server when its time is over."""
        self._leave()
        if self._ready is not None:
            ready, self._ready = self._ready, None
            ready.errback(Failure(TraversalError("the allocation was abandoned")))
        self._tell_closed()

    def _closed_no_more(self, deferred: Deferred[None]) -> None:
        self._closed.remove(deferred)

    def _begin(self) -> Deferred[RelayedAddress]:
        self._ready = Deferred(self._cancelled)
        ready = self._ready
        self._perform(self._machine.start())
        return ready

    def _cancelled(self, _: object) -> None:
        """Nobody waits for the allocation any more; if it is made yet, it is given back."""
        self._ready = None
        self._perform(self._machine.close())

    def _received(self, data: bytes, source: Address) -> None:
        self._perform(self._machine.datagram_received(data, source))

    def _timer_fired(self, name: Hashable) -> None:
        if isinstance(name, relaying.Timer):
            self._perform(self._machine.timer_fired(name))

    def _perform(self, effects: relaying.Effects) -> None:
        for effect in effects:
            match effect:
                case Send(octets, to):
                    self._gatherer.send(octets, to)
                case StartTimer(name, duration):
                    self._timers.start(name, duration)
                case StopTimer(name):
                    self._timers.cancel(name)
                case relaying.StopTimers():
                    self._timers.stop()
                case relaying.Deliver(peer, data):
                    if self.on_data is not None:
                        self.on_data(data, peer)
                case relaying.Allocated(relayed, mapped):
                    self._allocated(relayed, mapped)
                case relaying.PeerRefused(host, text):
                    self._log.info(
                        "{server} relays nothing to {peer}: {error}", server=self._server, peer=host, error=text
                    )
                case relaying.Failed(text):
                    self._failed(TraversalError(f"TURN server {self._server}: {text}"))
                case relaying.Over():
                    self._leave()
                    self._tell_closed()

    @property
    def _server(self) -> str:
        """The server, for messages."""
        return shown(self._machine.server)

    def _allocated(self, relayed: Address, mapped: Address | None) -> None:
        self.relayed, self.mapped = relayed, mapped
        if self._ready is not None:
            ready, self._ready = self._ready, None
            ready.callback(self)

    def _failed(self, error: TraversalError) -> None:
        self._leave()
        if self._ready is not None:
            ready, self._ready = self._ready, None
            ready.errback(Failure(error))
        elif not self._closed and self.on_end is not None:
            self.on_end(error)
        self._tell_closed()

    def _leave(self) -> None:
        self._timers.stop()
        self._gatherer._left(self)

    def _tell_closed(self) -> None:
        waiting, self._closed = self._closed, []
        for deferred in waiting:
            deferred.callback(None)


class Gatherer:
    """Asks servers from one socket.

    Args:
        clock: gives time.
        send: sends a datagram from the socket. What cannot be sent is lost without a word: it is repeated.
        entropy: gives random octets.
    """

    def __init__(self, clock: IReactorTime, send: SendDatagram, *, entropy: Entropy = os.urandom) -> None:
        self.clock = clock
        self.send = send
        self._entropy = entropy
        self._questions: list[_Question] = []
        self._allocations: list[RelayedAddress] = []

    def datagram_received(self, data: bytes, source: Address) -> bool:
        """Take a datagram that came to the socket.

        Returns:
            Whether it came from a TURN server with an allocation, or answers a question; if not, it is for others.
        """
        if self._questions and is_stun(data) and self._answers_question(data, source):
            return True
        asked = [relayed for relayed in self._allocations if relayed._machine.server == source]
        for relayed in asked:
            relayed._received(data, source)
        return bool(asked)

    def ask_address(self, server: Address, *, timeout: float = DEFAULT_TIMEOUT) -> Deferred[Address]:
        """Ask a STUN server which address this socket has for it.

        Args:
            server: its numeric address.
            timeout: seconds.

        Returns:
            The address beyond the NATs between. Can be cancelled.

        Raises:
            TraversalError: no answer in time, or one without an address.
            ResourcesExhaustedError: `MAX_QUESTIONS` are asked already.
        """
        self._check(len(self._questions))
        question = _Question(self, server, self._entropy)
        self._questions.append(question)
        return question.begin(timeout)

    def allocate(
        self,
        server: Address,
        credentials: Credentials | None,
        *,
        on_data: Receive | None = None,
        lifetime: int = DEFAULT_LIFETIME,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Deferred[RelayedAddress]:
        """Ask a TURN server for a relayed address.

        Args:
            server: its numeric address.
            credentials: what it knows us by.
            on_data: see `RelayedAddress`.
            lifetime: seconds to ask for, 1 to 3600; refreshed while it is open.
            timeout: seconds until it has to be there.

        Returns:
            The allocation. Can be cancelled: then, and after the timeout, the server's answer is waited for during
            four seconds more, so that the allocation can be given back.

        Raises:
            TraversalError: the server refuses, or does not answer in time.
            ResourcesExhaustedError: `MAX_QUESTIONS` allocations are open.
            InvalidStateError: this socket has one on that server already.
        """
        self._check(len(self._allocations))
        if any(server == relayed._machine.server for relayed in self._allocations):
            raise InvalidStateError("a socket has one allocation on a server")
        machine = Allocation(server, credentials, entropy=self._entropy, lifetime=lifetime)
        relayed = RelayedAddress(self, machine, on_data)
        self._allocations.append(relayed)
        return relayed._begin().addTimeout(timeout, self.clock, partial(_too_late, f"TURN server {relayed._server}"))

    def close(self) -> None:
        """Forget all questions and allocations at once: the socket is about to be closed."""
        for question in tuple(self._questions):
            question.fail("the socket was closed")
        for relayed in tuple(self._allocations):
            relayed.abandon()

    def _answers_question(self, data: bytes, source: Address) -> bool:
        try:
            message = StunMessage.parse(data)
        except ParseError:
            return False
        return any(question.received(message, source) for question in tuple(self._questions))

    @staticmethod
    def _check(number: int) -> None:
        if number >= MAX_QUESTIONS:
            raise ResourcesExhaustedError(f"a socket asks {MAX_QUESTIONS} servers at a time")

    def _left(self, relayed: RelayedAddress) -> None:
        if relayed in self._allocations:
            self._allocations.remove(relayed)

    def _answered(self, question: _Question) -> None:
        if question in self._questions:
            self._questions.remove(question)


class _Question:
    """One Binding request."""

    def __init__(self, gatherer: Gatherer, server: Address, entropy: Entropy) -> None:
        self._gatherer = gatherer
        self._requests = Requests(server, entropy=entropy)
        self._timers = Timers(gatherer.clock, self._timer_fired)
        self._name = f"STUN server {shown(server)}"
        self._deferred: Deferred[Address] = Deferred(self._cancelled)

    def begin(self, timeout: float) -> Deferred[Address]:
        """Ask."""
        deferred = self._deferred
        self._perform(self._requests.start("binding", Method.BINDING))
        return deferred.addTimeout(timeout, self._gatherer.clock, partial(_too_late, self._name))

    def received(self, message: StunMessage, source: Address) -> bool:
        """Take a message; say whether it answers this."""
        effects = self._requests.message_received(message, source)
        self._perform(effects)
        return bool(effects)

    def fail(self, text: str) -> None:
        """Ask no more."""
        self._leave()
        self._deferred.errback(Failure(TraversalError(f"{self._name}: {text}")))

    def _timer_fired(self, name: Hashable) -> None:
        self._perform(self._requests.timer_fired(name))

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Send(octets, to):
                    self._gatherer.send(octets, to)
                case StartTimer(name, duration):
                    self._timers.start(name, duration)
                case StopTimer(name):
                    self._timers.cancel(name)
                case Answered(_, message):
                    self._answered(message)
                case Refused(text=text):
                    self.fail(text)

    def _answered(self, message: StunMessage) -> None:
        mapped = message.mapped_address
        if mapped is None:
            self.fail("an answer without an address that can be read")
            return
        self._leave()
        self._deferred.callback(mapped)

    def _cancelled(self, _: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._timers.stop()
        self._gatherer._answered(self)


def _too_late(name: str, _: object, timeout: float) -> Failure:
    return Failure(TraversalError(f"{name}: no answer within {timeout} s"))
