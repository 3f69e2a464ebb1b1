"""Accounting requests to RADIUS servers (RFC 2866) over UDP: repeated, to one server after another, until one answers.

The octets are pyrad's; what is sent when is decided here, on the reactor. An answer counts only if it comes from the
server that was asked and its authenticator is made with the secret that is shared with that server.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from sipd.cdr.interfaces import SinkError
from sipd.errors import ConfigurationError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

#: Attributes by name, in order; a name may come more than once.
Attributes = Sequence[tuple[str, str | int]]

_ACCOUNTING_RESPONSE = 5
_IDENTIFIERS = 256
#: Requests that may be unanswered together; fewer than there are identifiers, which are not used again at once.
_WINDOW = 64
#: Octets of a text: of an attribute, and inside of one of a vendor.
_MAX_TEXT, _MAX_VENDOR_TEXT = 253, 247

#: The attributes that are sent (RFC 2865, RFC 2866, RFC 2869 and Cisco's), as pyrad reads them.
_DICTIONARY = """\
VENDOR Cisco 9
ATTRIBUTE User-Name 1 string
ATTRIBUTE Called-Station-Id 30 string
ATTRIBUTE Calling-Station-Id 31 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Delay-Time 41 integer
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Acct-Session-Time 46 integer
ATTRIBUTE Acct-Terminate-Cause 49 integer
ATTRIBUTE Acct-Multi-Session-Id 50 string
ATTRIBUTE Event-Timestamp 55 date
BEGIN-VENDOR Cisco
ATTRIBUTE Cisco-AVPair 1 string
ATTRIBUTE h323-remote-address 23 string
ATTRIBUTE h323-conf-id 24 string
ATTRIBUTE h323-setup-time 25 string
ATTRIBUTE h323-call-origin 26 string
ATTRIBUTE h323-call-type 27 string
ATTRIBUTE h323-connect-time 28 string
ATTRIBUTE h323-disconnect-time 29 string
ATTRIBUTE h323-disconnect-cause 30 string
ATTRIBUTE h323-voice-quality 31 string
END-VENDOR Cisco
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiusServer:
    """A server.

    Args:
        host: its address, in numbers.
        port: for accounting.
        secret: shared with it.
    """

    host: str
    port: int = 1813
    secret: bytes = field(repr=False)


class RadiusClient:
    """Asks servers, the first that is believed to be there first.

    Args:
        servers: in order.
        reactor: for sockets and timers.
        timeout: seconds until a request is sent again.
        tries: how often one is sent to a server.
        dead_time: seconds for which a server that did not answer is asked last.

    Raises:
        ConfigurationError: pyrad is not installed.
    """

    _log = Logger()

    def __init__(
        self,
        servers: Sequence[RadiusServer],
        reactor: Any,
        *,
        timeout: float = 2.0,
        tries: int = 3,
        dead_time: float = 60.0,
    ) -> None:
        try:
            from pyrad.dictionary import Dictionary
        except ImportError:
            raise ConfigurationError(
                ["call records by RADIUS need the package pyrad: pip install 'sipd[radius]'"]
            ) from None
        dictionary = Dictionary(io.StringIO(_DICTIONARY))
        self._peers = [_Peer(server, reactor, dictionary, timeout, tries) for server in servers]
        self._reactor = reactor
        self._dead_time = dead_time
        self._window = DeferredSemaphore(_WINDOW)

    def account(self, attributes: Attributes) -> Deferred[None]:
        """Send an accounting request; the Deferred fires when a server has answered.

        Fails with `SinkError` if none did.
        """
        return self._window.run(lambda: Deferred.fromCoroutine(self._ask(attributes)))

    def close(self) -> None:
        """Give up what is unanswered, and the sockets. Idempotent."""
        for peer in self._peers:
            peer.close()

    async def _ask(self, attributes: Attributes) -> None:
        now = self._reactor.seconds()
        for peer in sorted(self._peers, key=lambda peer: peer.dead_until > now):
            if await peer.ask(attributes):
                peer.dead_until = 0.0
                return
            if peer.is_closed:
                raise SinkError("it is closed")
            peer.dead_until = self._reactor.seconds() + self._dead_time
        raise SinkError(f"no answer from {', '.join(peer.name for peer in self._peers)}")


@dataclass(slots=True)
class _Request:
    """A request that is not answered yet."""

    packet: Any
    data: bytes
    done: Deferred[bool]
    tries: int
    timer: IDelayedCall | None = None


class _Peer(DatagramProtocol):
    """One server: a socket and the identifiers that are in use with it."""

    noisy = False

    def __init__(self, server: RadiusServer, reactor: Any, dictionary: Any, timeout: float, tries: int) -> None:
        self.name = f"[{server.host}]:{server.port}" if ":" in server.host else f"{server.host}:{server.port}"
        self.dead_until = 0.0
        self.is_closed = False
        self._server = server
        self._reactor = reactor
        self._dictionary = dictionary
        self._timeout = timeout
        self._tries = tries
        self._port: IListeningPort | None = None
        self._pending: dict[int, _Request] = {}
        self._last = 0

    def ask(self, attributes: Attributes) -> Deferred[bool]:
        """Send a request until it is answered, or was sent often enough; say whether it was."""
        done: Deferred[bool] = Deferred()
        if self.is_closed:
            done.callback(False)
            return done
        if self._port is None:
            family = "::" if ":" in self._server.host else "0.0.0.0"
            self._port = self._reactor.listenUDP(0, self, interface=family)
        identifier = self._free_identifier()
        packet = self._packet(identifier, attributes)
        request = _Request(packet, packet.RequestPacket(), done, self._tries)
        self._pending[identifier] = request
        self._send(identifier, request)
        return done

    def datagramReceived(self, data: bytes, address: tuple[str, int]) -> None:
        """Take an answer, if it is one."""
        from pyrad.packet import PacketError

        if address[:2] != (self._server.host, self._server.port) or len(data) < 20 or data[0] != _ACCOUNTING_RESPONSE:
            return
        request = self._pending.get(data[1])
        if request is None:
            return
        try:
            reply = request.packet.CreateReply(packet=data)
            is_right = request.packet.VerifyReply(reply, data)
        except PacketError:
            return
        if is_right:
            self._end(data[1], is_answered=True)

    def connectionRefused(self) -> None:
        """ICMP says that nobody is there; the timer says the same, a little later."""

    def close(self) -> None:
        """Give up everything."""
        self.is_closed = True
        for identifier in list(self._pending):
            self._end(identifier, is_answered=False)
        if self._port is not None:
            self._port.stopListening()
            self._port = None

    def _free_identifier(self) -> int:
        """Give the one that was not used for the longest time; the window leaves enough of them."""
        for _ in range(_IDENTIFIERS):
            self._last = (self._last + 1) % _IDENTIFIERS
            if self._last not in self._pending:
                break
        return self._last

    def _packet(self, identifier: int, attributes: Attributes) -> Any:
        from pyrad.packet import AcctPacket

        packet = AcctPacket(id=identifier, secret=self._server.secret, dict=self._dictionary)
        for name, value in attributes:
            is_vendor = self._dictionary.attributes[name].vendor
            limit = _MAX_VENDOR_TEXT if is_vendor else _MAX_TEXT
            packet.AddAttribute(name, _cut(value, limit) if isinstance(value, str) else value)
        return packet

    def _send(self, identifier: int, request: _Request) -> None:
        request.timer = None
        if not request.tries:
            self._end(identifier, is_answered=False)
            return
        request.tries -= 1
        request.timer = self._reactor.callLater(self._timeout, self._send, identifier, request)
        assert self.transport is not None
        try:
            self.transport.write(request.data, (self._server.host, self._server.port))
        except OSError:
            # No route, or no room: it is sent again like one that was lost.
            return

    def _end(self, identifier: int, *, is_answered: bool) -> None:
        request = self._pending.pop(identifier)
        if request.timer is not None:
            request.timer.cancel()
        request.done.callback(is_answered)


def _cut(text: str, size_octets: int) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= size_octets else data[:size_octets].decode("utf-8", "ignore")
