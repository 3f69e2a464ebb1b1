"""Waits for many media sockets at the price of one reader of the reactor.

The sockets are in an epoll set of their own, and the reactor watches that set: a wake-up costs the reactor's
book-keeping once, not once for each socket. After a turn the set rests for some milliseconds, so that the next one
finds more than one datagram; while media flow, a timer begins each turn, and the reactor need not watch. Together they
save about a third of the processor time of each datagram. Where there is no epoll each socket is a reader of the
reactor.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.media.express import DatagramBuffer, Path, pass_on

if TYPE_CHECKING:
    from sipd.media.rtp_socket import RtpSocket

#: Datagrams taken in one turn before the reactor looks after everything else again.
_TURN = 256
#: Turns in a row of a process that does nothing else.
_TURNS = 8


class MediaReactor(Protocol):
    """What a relay needs of a reactor: parts of ``IReactorFDSet`` and ``IReactorTime``."""

    def addReader(self, reader: IReadDescriptor) -> None:
        """See ``IReactorFDSet``."""

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See ``IReactorFDSet``."""

    def seconds(self) -> float:
        """See ``IReactorTime``."""

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        """See ``IReactorTime``."""


class Cancellable(Protocol):
    """Something that may still be called off, such as ``IDelayedCall``."""

    def cancel(self) -> None:
        """Call it off."""


#: Calls a function after so many seconds.
Later = Callable[[float, Callable[[], object]], Cancellable]


class Receiver(Protocol):
    """A socket that can be read."""

    def fileno(self) -> int:
        """Give the descriptor; the same from `Poller.add` to `Poller.remove`."""

    def receive(self) -> None:
        """Take one datagram, if there is one."""


class Poller(Protocol):
    """Calls `receive` of each of its receivers when there is something to read.

    Attributes:
        now: the reactor's time, when it last looked.
        paths: of sockets whose packets need no thought, by their descriptors.
    """

    now: float
    paths: dict[int, Path]

    def add(self, receiver: Receiver) -> None:
        """Begin to watch."""

    def remove(self, receiver: Receiver) -> None:
        """Watch no more. Must be called before the descriptor is closed."""


@implementer(IReadDescriptor)
class EpollPoller:
    """Many sockets behind one reader.

    While it has no socket, it has no descriptor and no part in the reactor.

    Args:
        reactor: which waits.
        buffer: for the datagram at hand.
        pause: seconds to rest after a turn: the most by which a datagram is delayed; 0 for never.
        sleep: how to rest, for a process that does nothing else: blocks. It costs less than a timer, and can be shorter
            than a millisecond. ``None`` to let the reactor do other things.
        later: begins the next turn after a rest; the reactor's `callLater` if ``None``.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: MediaReactor,
        buffer: DatagramBuffer,
        *,
        pause: float,
        sleep: Callable[[float], object] | None = None,
        later: Later | None = None,
    ) -> None:
        self._reactor = reactor
        self._sleep = sleep
        self._pause = pause
        self._buffer = buffer
        self.now = 0.0
        self.paths: dict[int, Path] = {}
        self._epoll: select.epoll | None = None
        self._receivers: dict[int, Receiver] = {}
        #: Begins the next turn; while there is one, the reactor does not watch.
        self._next: Cancellable | None = None
        self._later: Later = reactor.callLater if later is None else later

    def __len__(self) -> int:
        """Count the sockets."""
        return len(self._receivers)

    def add(self, receiver: Receiver) -> None:
        """See `Poller`."""
        if self._epoll is None:
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        descriptor = receiver.fileno()
        self._epoll.register(descriptor, select.EPOLLIN)
        self._receivers[descriptor] = receiver

    def remove(self, receiver: Receiver) -> None:
        """See `Poller`."""
        descriptor = receiver.fileno()
        if self._receivers.pop(descriptor, None) is None or self._epoll is None:
            return
        self._epoll.unregister(descriptor)
        if not self._receivers:
            if self._next is not None:
                self._next.cancel()
                self._next = None
            else:
                self._reactor.removeReader(self)
            self._epoll.close()
            self._epoll = None

    def fileno(self) -> int:
        """See ``twisted.internet.interfaces.IFileDescriptor``."""
        return -1 if self._epoll is None else self._epoll.fileno()

    def doRead(self) -> None:
        """Take a turn, and rest after it unless there may be more already."""
        if self._sleep is not None:
            self._take_turns(self._sleep)
            return
        epoll = self._epoll
        count = self._take_turn()
        if self._pause and count < _TURN and epoll is not None and epoll is self._epoll:
            self._reactor.removeReader(self)
            self._next = self._later(self._pause, self._rested)

    def logPrefix(self) -> str:
        """See ``twisted.internet.interfaces.ILoggingContext``."""
        return "media"

    def connectionLost(self, reason: Failure) -> None:
        """See ``twisted.internet.interfaces.IFileDescriptor``. An epoll set does not hang up."""

    def _take_turns(self, sleep: Callable[[float], object]) -> None:
        """Take some turns, rest after each, and let the reactor look after everything else then."""
        for _ in range(_TURNS):
            if not self._take_turn() or self._epoll is None:
                return
            sleep(self._pause)

    def _take_turn(self) -> int:
        """Let sockets that have something take one datagram each, again and again; give how many turns they had.

        To let one take several at once costs more than it saves: nearly always the second attempt finds nothing.
        """
        count = 0
        while count < _TURN and self._epoll is not None:
            events = self._epoll.poll(0, _TURN)
            if not events:
                break
            self.now = now = self._reactor.seconds()
            count += len(events)
            pass_on(events, self.paths, self._buffer, now, self._receive, self._forward)
        return count

    def _receive(self, descriptor: int) -> None:
        receiver = self._receivers.get(descriptor)
        if receiver is None:
            return  # closed by one before it
        try:
            receiver.receive()
        except Exception:
            self._log.failure("a media datagram could not be relayed")

    def _forward(self, socket: RtpSocket, size: int) -> None:
        """Let a socket do what is unusual."""
        try:
            socket.forward(size)
        except Exception:
            self._log.failure("a media datagram could not be relayed")

    def _rested(self) -> None:
        """Take the next turn; when it finds nothing, or more than it may take, let the reactor watch again."""
        self._next = None
        epoll = self._epoll
        count = self._take_turn()
        if epoll is not self._epoll:
            return  # the last socket went away, and for one that came after it the reactor watches already
        if 0 < count < _TURN:
            self._next = self._later(self._pause, self._rested)
        else:
            self._reactor.addReader(self)


@implementer(IReadDescriptor)
class _Reader:
    """One socket as a reader of the reactor."""

    _log = Logger()

    def __init__(self, poller: ReaderPoller, receiver: Receiver) -> None:
        self._poller = poller
        self._receiver = receiver

    def fileno(self) -> int:
        return self._receiver.fileno()

    def doRead(self) -> None:
        self._poller.look_at_the_clock()
        try:
            self._receiver.receive()
        except Exception:
            self._log.failure("a media datagram could not be relayed")

    def logPrefix(self) -> str:
        return "media"

    def connectionLost(self, reason: Failure) -> None:
        """See ``twisted.internet.interfaces.IFileDescriptor``. A datagram socket does not hang up."""


class ReaderPoller:
    """Each socket a reader: for systems without epoll."""

    def __init__(self, reactor: MediaReactor) -> None:
        self._reactor = reactor
        self.now = 0.0
        self.paths: dict[int, Path] = {}
        self._readers: dict[int, _Reader] = {}

    def __len__(self) -> int:
        """Count the sockets."""
        return len(self._readers)

    def add(self, receiver: Receiver) -> None:
        """See `Poller`."""
        reader = self._readers[receiver.fileno()] = _Reader(self, receiver)
        self._reactor.addReader(reader)

    def look_at_the_clock(self) -> None:
        """Set `now`."""
        self.now = self._reactor.seconds()

    def remove(self, receiver: Receiver) -> None:
        """See `Poller`."""
        reader = self._readers.pop(receiver.fileno(), None)
        if reader is not None:
            self._reactor.removeReader(reader)


def make_poller(
    reactor: MediaReactor,
    buffer: DatagramBuffer,
    *,
    pause: float,
    sleep: Callable[[float], object] | None = None,
    later: Later | None = None,
) -> Poller:
    """Give the poller that is best on this system; see `EpollPoller`."""
    if hasattr(select, "epoll"):
        return EpollPoller(reactor, buffer, pause=pause, sleep=sleep, later=later)
    return ReaderPoller(reactor)
