"""The process of a worker: what its controllers ask it by AMP, and when it ends."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from sipd.media.poller import MediaReactor
from sipd.media.worker.commands import Adopt, Do, Happened, List, Open
from sipd.media.worker.streams import HeldStreams

#: How often an orphan looks whether somebody still talks, and for how long nobody has to.
_LOOK = 10.0
_SILENCE = 30.0


class Controlled(amp.AMP):
    """The connection to one controller.

    Args:
        life: of the worker.
    """

    def __init__(self, life: WorkerLife) -> None:
        super().__init__()
        self._life = life
        self._streams = life.streams

    def connectionMade(self) -> None:
        """See ``twisted.internet.protocol.Protocol``."""
        super().connectionMade()
        self._life.controller_came(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``twisted.internet.protocol.Protocol``."""
        super().connectionLost(reason)
        self._life.controller_went(self)

    @Open.responder
    def open(self, number: int, rtp: int, rtcp: int, state: dict[str, Any]) -> dict[str, Any]:
        """See `Open`."""
        self._streams.open(number, rtp, rtcp, state, self._tell)
        return {}

    @Do.responder
    def do(self, operations: list[list[Any]]) -> dict[str, Any]:
        """See `Do`."""
        return {"results": self._streams.do(operations)}

    @List.responder
    def list_streams(self, after: int) -> dict[str, Any]:
        """See `List`."""
        return {"streams": self._streams.list_after(after)}

    @Adopt.responder
    def adopt(self, number: int) -> dict[str, Any]:
        """See `Adopt`."""
        rtp, rtcp, state = self._streams.adopt(number, self._tell)
        # They are sent after this returns, and may be closed when that is done.
        self._life.reactor.callLater(_LOOK, _close_both, rtp, rtcp)
        return {"rtp": rtp, "rtcp": rtcp, "state": state}

    def _tell(self, number: int, kind: str, text: str, sources: list[object]) -> None:
        if self in self._life.controllers:
            self.callRemote(Happened, number=number, kind=kind, text=text, sources=sources)


class WorkerLife:
    """How long a worker lives: as long as it has a controller, and after that while its streams are in use.

    Args:
        streams: that it holds.
        reactor: for timers.
        orphan_timeout: seconds that it lives without a controller at most.
        stop: ends the process.
    """

    _log = Logger()

    def __init__(self, streams: HeldStreams, reactor: MediaReactor, *, orphan_timeout: float, stop: Any) -> None:
        self.streams = streams
        self.reactor = reactor
        self.controllers: set[Controlled] = set()
        self._orphan_timeout = orphan_timeout
        self._stop = stop
        self._timer: IDelayedCall | None = None

    def factory(self) -> Factory:
        """Make connections to controllers."""
        return _Controllers(self)

    def controller_came(self, controller: Controlled) -> None:
        """Take note of a controller."""
        self.controllers.add(controller)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def controller_went(self, controller: Controlled) -> None:
        """Take note that one is gone: the streams of a process that ended go on for a while."""
        self.controllers.discard(controller)
        if self.controllers:
            return
        if not self.streams:
            self._stop()
            return
        self._log.warn("no controller any more: {count} streams go on", count=len(self.streams))
        now = self.reactor.seconds()
        self._timer = self.reactor.callLater(_LOOK, self._look, now + self._orphan_timeout, self.streams.packets, now)

    def terminate(self) -> None:
        """Somebody wants the process to end: it does if it has no controller, which would let it end itself."""
        if not self.controllers:
            self._stop()

    def _look(self, ends_at: float, packets: int, since: float) -> None:
        """End when time is up, or nothing has come for a while."""
        self._timer = None
        now, count = self.reactor.seconds(), self.streams.packets
        if count != packets:
            since = now
        if now >= ends_at or now - since >= _SILENCE:
            self._log.warn("{count} streams without a controller are closed", count=len(self.streams))
            self.streams.close()
            self._stop()
            return
        self._timer = self.reactor.callLater(_LOOK, self._look, ends_at, count, since)


class _Controllers(Factory):
    noisy = False

    def __init__(self, life: WorkerLife) -> None:
        self._life = life

    def buildProtocol(self, addr: object) -> Controlled:
        return Controlled(self._life)


def _close_both(rtp: int, rtcp: int) -> None:
    os.close(rtp)
    os.close(rtcp)
