"""A process with one of sipd's media engines in it and nothing else: what `benchmarks.media` measures.

It reads one line of JSON, the addresses of the phones of each call, sets the calls up as the B2BUA does, answers with
one line of JSON, the addresses that the phones send to, and relays until its input ends.

    python -m benchmarks.media_relay ENGINE HOST
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from benchmarks.processes import allow_many_sockets
from sipd.media.kernel.offload import make_offload
from sipd.media.ports import MediaAddress, PortAllocator
from sipd.media.reactor import ReactorEngine
from sipd.media.relay import MediaRelay
from sipd.media.session import RelaySession
from sipd.media.timer import make_timer
from sipd.media.worker.pool import WorkerPool
from sipd.sdp.description import SessionDescription, parse_description

#: Short, so that latching is over before the warm-up is.
_LATCH_WINDOW = 0.5
_ORPHAN_TIMEOUT = 1.0


def _in_reactor(reactor: EPollReactor, address: MediaAddress, ports: PortAllocator, pause: float) -> MediaRelay:
    engine = ReactorEngine(reactor, pause=pause, timer=make_timer(reactor))
    return MediaRelay(engine=engine, addresses=[address], ports=ports, latch_window=_LATCH_WINDOW)


def _in_worker(reactor: EPollReactor, address: MediaAddress, ports: PortAllocator, pause: float) -> MediaRelay:
    relay = _in_reactor(reactor, address, ports, pause)
    workers = WorkerPool(
        reactor, count=1, pause=pause, orphan_timeout=_ORPHAN_TIMEOUT, directory=None, lost=relay.engine_lost
    )
    workers.start()
    relay.choose = workers.choose
    reactor.addSystemEventTrigger("during", "shutdown", workers.close)
    return relay


def _in_kernel(reactor: EPollReactor, address: MediaAddress, ports: PortAllocator, pause: float) -> MediaRelay:
    engine = ReactorEngine(reactor, pause=pause, timer=make_timer(reactor), offload=make_offload((address,)))
    return MediaRelay(engine=engine, addresses=[address], ports=ports, latch_window=_LATCH_WINDOW)


#: Each engine of sipd, by name: how to make a relay that uses it.
ENGINES: dict[str, Callable[[EPollReactor, MediaAddress, PortAllocator, float], MediaRelay]] = {
    "reactor": _in_reactor,
    "worker": _in_worker,
    "kernel": _in_kernel,
}


def make_relay(name: str, reactor: EPollReactor, host: str, pause: float) -> MediaRelay:
    """Make a relay with that engine.

    Args:
        name: of the engine.
        reactor: runs it.
        host: the address for media.
        pause: seconds for which datagrams are gathered at most.
    """
    address = MediaAddress(host=host, advertised_host=host)
    return ENGINES[name](reactor, address, PortAllocator(clock=reactor, low=10000, high=31999), pause)


def describe(host: str, port: int) -> str:
    """Describe the audio of a phone."""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        "a=rtpmap:0 PCMU/8000\r\n"
    )


@implementer(IReadDescriptor)
class _Input:
    """Stops the reactor when the standard input ends."""

    def __init__(self, reactor: EPollReactor) -> None:
        self._reactor = reactor

    def fileno(self) -> int:
        return 0

    def doRead(self) -> None:
        if not os.read(0, 4096):
            self._reactor.removeReader(self)
            self._reactor.stop()

    def logPrefix(self) -> str:
        return "input"

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor`."""


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("host", help="the address for media")
    parser.add_argument("--pause", type=float, required=True, help="seconds for which datagrams are gathered")
    options = parser.parse_args()
    allow_many_sockets()
    reactor = EPollReactor()
    relay = make_relay(options.engine, reactor, options.host, options.pause)
    sessions: list[RelaySession] = []

    def set_up() -> None:
        answers = []
        for index, phones in enumerate(json.loads(sys.stdin.readline())):
            session = relay.open_session(str(index), lambda kind, text: None)
            found: list[SessionDescription] = []
            session.offer("a", "b", parse_description(describe(*phones[0]))).addCallback(found.append)
            session.answer("b", "a", parse_description(describe(*phones[1]))).addCallback(found.append)
            offered, answered = found
            answers.append([(options.host, answered.media[0].port), (options.host, offered.media[0].port)])
            sessions.append(session)
        sessions[-1].engine.settle().addCallback(lambda _: set_up_done(answers))

    def set_up_done(answers: object) -> None:
        gc.collect()
        gc.freeze()
        print(json.dumps(answers), flush=True)
        reactor.addReader(_Input(reactor))

    def shut_down() -> Deferred[None]:
        engines = {session.engine for session in sessions}
        relay.close()
        return gatherResults([engine.settle() for engine in engines]).addCallback(lambda _: None)

    reactor.callWhenRunning(set_up)
    reactor.addSystemEventTrigger("before", "shutdown", shut_down)
    reactor.run()


if __name__ == "__main__":
    main()
