"""One RADIUS server (RFC 2865, RFC 2866) over UDP: asked until it answers, and believed only what it has signed.

The octets are pyrad's; what is sent when is decided here, on the reactor. An answer counts only if it comes from where
the request went, its authenticator is made of that request with the secret that is shared with that server, and it is
of a kind that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

from pyrad.packet import Packet, PacketError
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from sipd.errors import LocalError

#: Requests that a server can be asked at a time: an identifier has eight bits (RFC 2865 section 3).
MAX_REQUESTS = 256

#: Makes a request that has this identifier, for the server that shares this secret.
MakeRequest = Callable[[int, bytes], Packet]


class RadiusUnavailableError(LocalError):
    """No answer that counts. The text says of which server, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiusServer:
    """Where to ask.

    Args:
        host: a numeric address.
        port: 1812 for authentication, 1813 for accounting, as a rule.
        secret: shared with it. Never printed.
    """

    host: str
    port: int
    secret: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiusSettings:
    """How to ask.

    Args:
        timeout: seconds that one try waits for an answer.
        tries: at each server, before the next one is asked.
        rest: seconds for which a server that did not answer is asked after the others.
        needs_message_authenticator: whether an answer to an Access-Request that has none is taken for forged (RFC 3579,
            CVE-2024-3596).
    """

    timeout: float = 1.0
    tries: int = 2
    rest: float = 30.0
    needs_message_authenticator: bool = True


@dataclass(slots=True)
class _Open:
    """A request without an answer."""

    request: Packet
    data: bytes
    codes: Container[int]
    answer: Deferred[int]
    tries: int = 0
    timer: IDelayedCall | None = None


class RadiusPeer(DatagramProtocol):
    """Talks with one server, by one socket, which is opened when it is needed.

    Args:
        server: which.
        settings: how.
        reactor: gives time and the socket.
        first_identifier: that no request has yet; the next ones follow it.

    Attributes:
        server: as given.
        is_closed: whether nothing can be asked any more.
    """

    noisy = False
    transport: Any
    _log = Logger()

    def __init__(
        self, server: RadiusServer, settings: RadiusSettings, *, reactor: Any, first_identifier: int = 0
    ) -> None:
        self.server = server
        self.is_closed = False
        self._settings = settings
        self._reactor = reactor
        self._last = first_identifier
        self._open: dict[int, _Open] = {}
        self._port: Any = None
        self._rests_until = 0.0
        self._has_complained = False

    def __len__(self) -> int:
        """How many requests are open."""
        return len(self._open)

    @property
    def is_resting(self) -> bool:
        """Whether it has not answered of late."""
        return bool(self._reactor.seconds() < self._rests_until)

    async def ask(self, make: MakeRequest, codes: Container[int]) -> int:
        """Send a request until it is answered, or was sent often enough.

        Args:
            make: makes it; what that raises ends it all.
            codes: of packets that are answers to it.

        Returns:
            The code of the answer.

        Raises:
            RadiusUnavailableError: there is none; or no socket, or there are `MAX_REQUESTS` already.
        """
        self._bind()
        identifier = self._free_identifier()
        request = make(identifier, self.server.secret)
        asked = self._open[identifier] = _Open(request, request.RequestPacket(), codes, Deferred())
        try:
            self._send(asked)
            code = await asked.answer
        finally:
            del self._open[identifier]
            if asked.timer is not None:
                asked.timer.cancel()
        self._rests_until = 0.0
        return code

    def close(self) -> Deferred[None]:
        """Give up every request, and close the socket. Idempotent."""
        self.is_closed = True
        for asked in tuple(self._open.values()):
            asked.answer.errback(RadiusUnavailableError("it is closed"))
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening if port is not None else lambda: None)

    def datagramReceived(self, datagram: bytes, addr: tuple[Any, ...]) -> None:
        """Take an answer; anything else is dropped."""
        if addr[:2] != (self.server.host, self.server.port) or len(datagram) < 20:
            return
        asked = self._open.get(datagram[1])
        if asked is None:
            return
        if self._is_signed(datagram, asked.request):
            if datagram[0] in asked.codes:
                asked.answer.callback(datagram[0])
        elif not self._has_complained:
            self._has_complained = True
            self._log.error(
                "RADIUS server {server} sends what is not signed as it has to be: another secret? An old server "
                "without Message-Authenticator?",
                server=str(self.server),
            )

    def _is_signed(self, datagram: bytes, request: Packet) -> bool:
        try:
            answer = request.CreateReply(packet=datagram)
            return bool(request.VerifyReply(answer, datagram, enforce_ma=self._settings.needs_message_authenticator))
        except PacketError:
            return False

    def _bind(self) -> None:
        if self.is_closed:
            raise RadiusUnavailableError("it is closed")
        if self._port is not None:
            return
        interface = "::" if ":" in self.server.host else "0.0.0.0"
        try:
            # Not connected: Twisted closes a connected socket when its peer is refused once.
            self._port = self._reactor.listenUDP(0, self, interface=interface)
        except CannotListenError as error:
            raise RadiusUnavailableError(f"no socket for {self.server}: {error}") from None

    def _free_identifier(self) -> int:
        """Give the one that was not used for the longest time: what comes late is of no other request."""
        for _ in range(MAX_REQUESTS):
            self._last = (self._last + 1) % MAX_REQUESTS
            if self._last not in self._open:
                return self._last
        raise RadiusUnavailableError(f"{self.server} has {MAX_REQUESTS} requests to answer, and no more can be")

    def _send(self, asked: _Open) -> None:
        asked.timer = None
        if asked.tries >= self._settings.tries:
            self._rests_until = self._reactor.seconds() + self._settings.rest
            asked.answer.errback(RadiusUnavailableError(f"no answer from {self.server}"))
            return
        asked.tries += 1
        asked.timer = self._reactor.callLater(self._settings.timeout, self._send, asked)
        try:
            self.transport.write(asked.data, (self.server.host, self.server.port))
        except OSError:
            return  # as if it were lost on the way
