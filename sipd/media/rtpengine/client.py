"""One rtpengine daemon: requests over UDP, repeated until they are answered or given up, and whether it is alive.

The socket is not connected to the daemon: Twisted's reactors end a connected one when ICMP says that nobody is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUDP, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from sipd.errors import MediaEngineError, ResourcesExhaustedError
from sipd.media.rtpengine.ng import (
    COOKIE_SIZE_OCTETS,
    MAX_SIZE_OCTETS,
    Dictionary,
    check_result,
    decode,
    encode,
    ping,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from sipd.interfaces import Entropy
    from sipd.media.rtpengine.settings import ClientSettings, DaemonAddress


class ClientReactor(IReactorTime, IReactorUDP):
    """What is needed of a reactor."""


class _Pending:
    """A request that waits for its answer."""

    __slots__ = ("data", "deadline", "deferred", "interval", "timer")

    def __init__(self, data: bytes, deferred: Deferred[Dictionary], interval: float, deadline: float) -> None:
        self.data = data
        self.deferred = deferred
        self.interval = interval
        self.deadline = deadline
        self.timer: IDelayedCall | None = None


class NgClient(DatagramProtocol):
    """Speaks with one daemon.

    Args:
        address: of the daemon.
        settings: how to speak with it.
        reactor: gives the time and the socket.
        entropy: gives cookies.

    Attributes:
        is_alive: whether it answers. It is trusted to, until it does not.
    """

    _log = Logger()

    def __init__(
        self, *, address: DaemonAddress, settings: ClientSettings, reactor: ClientReactor, entropy: Entropy
    ) -> None:
        self.address = address
        self._place = address.place
        self.is_alive = True
        self._settings = settings
        self._reactor = reactor
        self._entropy = entropy
        self._pending: dict[str, _Pending] = {}
        self._listening: IListeningPort | None = None
        self._ping_timer: IDelayedCall | None = None
        self._ping_cookie = ""
        self._misses = 0
        self._has_complained = False

    def __str__(self) -> str:
        return str(self.address)

    def __len__(self) -> int:
        """Count the requests that wait for an answer."""
        return len(self._pending)

    def start(self) -> None:
        """Open the socket, and begin to ask whether the daemon is there.

        Raises:
            CannotListenError: there is no socket.
        """
        interface = "::" if ":" in self.address.host else ""
        self._listening = self._reactor.listenUDP(0, self, interface=interface, maxPacketSize=MAX_SIZE_OCTETS + 1)
        self._ping()

    def request(self, request: Dictionary) -> Deferred[Dictionary]:
        """Ask the daemon for something.

        Returns:
            Fires with the answer, which says that it was done. Cancelling it forgets the request.

        Fails with `MediaEngineError`: no answer came in time, or the daemon refused it; with `ResourcesExhaustedError`
        if too many requests wait for an answer already.
        """
        return Deferred.fromCoroutine(self._request(request))

    async def _request(self, request: Dictionary) -> Dictionary:
        if self._listening is None:
            raise MediaEngineError(f"rtpengine {self} is not spoken to any more")
        if len(self._pending) >= self._settings.pending_limit:
            raise ResourcesExhaustedError(
                f"{self._settings.pending_limit} requests wait for an answer of rtpengine {self}, and no more may"
            )
        cookie = self._entropy(COOKIE_SIZE_OCTETS).hex()
        deferred: Deferred[Dictionary] = Deferred()
        deadline = self._reactor.seconds() + self._settings.time_limit
        pending = _Pending(encode(cookie, request), deferred, self._settings.first_interval, deadline)
        self._pending[cookie] = pending
        try:
            self._transmit(cookie, pending)
            result = await deferred
        finally:
            self._pending.pop(cookie, None)
            if pending.timer is not None and pending.timer.active():
                pending.timer.cancel()
        try:
            check_result(result)
        except MediaEngineError as error:
            raise MediaEngineError(f"rtpengine {self} refuses to {request['command']}: {error}") from None
        return result

    def close(self) -> Deferred[None]:
        """Give up what waits for an answer, and close the socket. Idempotent."""
        if self._ping_timer is not None and self._ping_timer.active():
            self._ping_timer.cancel()
        listening, self._listening = self._listening, None
        self._give_up("is not spoken to any more")
        stopped = None if listening is None else listening.stopListening()
        return succeed(None) if stopped is None else stopped

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Take an answer. What comes from elsewhere, is no answer, or comes late or again, is ignored."""
        if self._listening is None or tuple(addr[:2]) != self._place:
            return
        try:
            cookie, dictionary = decode(datagram)
        except MediaEngineError as error:
            if not self._has_complained:
                self._has_complained = True
                self._log.warn("rtpengine {peer} sends rubbish, ignored from now on: {error}", peer=self, error=error)
            return
        if cookie == self._ping_cookie:
            self._ping_cookie = ""
            self._came_alive()
            return
        pending = self._pending.pop(cookie, None)
        if pending is not None:
            self._came_alive()
            pending.deferred.callback(dictionary)

    def _transmit(self, cookie: str, pending: _Pending) -> None:
        """Send a request, and see to what comes next."""
        self._send(pending.data)
        now = self._reactor.seconds()
        if now + pending.interval < pending.deadline:
            pending.timer = self._reactor.callLater(pending.interval, self._transmit, cookie, pending)
            pending.interval *= 2
        else:
            # This may be late already, where this process stood still.
            pending.timer = self._reactor.callLater(max(0.0, pending.deadline - now), self._look_again, cookie, pending)

    def _look_again(self, cookie: str, pending: _Pending) -> None:
        """Read what has come first: if it was this process that stood still, the answer is there."""
        pending.timer = self._reactor.callLater(0, self._timed_out, cookie)

    def _timed_out(self, cookie: str) -> None:
        pending = self._pending.pop(cookie)
        limit = self._settings.time_limit
        self._failed(f"no answer within {limit:g} s")
        pending.deferred.errback(MediaEngineError(f"rtpengine {self} gives no answer within {limit:g} s"))

    def _ping(self) -> None:
        """Ask whether the daemon is there, after a look at whether the last question was answered."""
        if self._ping_cookie:
            self._misses += 1
            if self._misses >= self._settings.ping_misses:
                self._failed(f"{self._misses} pings without an answer")
        self._ping_cookie = self._entropy(COOKIE_SIZE_OCTETS).hex()
        self._send(encode(self._ping_cookie, ping()))
        self._ping_timer = self._reactor.callLater(self._settings.ping_interval, self._ping)

    def _send(self, data: bytes) -> None:
        try:
            self._transport.write(data, self._place)
        except (OSError, MessageLengthError) as error:
            # As if it was lost on the way: it is sent again.
            self._log.debug("nothing can be sent to rtpengine {peer}: {error}", peer=self, error=error)

    def _give_up(self, why: str) -> None:
        """Let every request fail that waits now."""
        waiting = list(self._pending.values())
        self._pending.clear()
        for pending in waiting:
            pending.deferred.errback(MediaEngineError(f"rtpengine {self} {why}"))

    def _failed(self, why: str) -> None:
        if self.is_alive:
            self.is_alive = False
            self._log.warn("rtpengine {peer} counts as dead: {why}", peer=self, why=why)

    def _came_alive(self) -> None:
        self._misses = 0
        if not self.is_alive:
            self.is_alive = True
            self._log.info("rtpengine {peer} is alive again", peer=self)

    @property
    def _transport(self) -> IUDPTransport:
        assert self.transport is not None
        return self.transport
