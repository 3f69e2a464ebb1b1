"""``python -m sipd.media.worker``: a worker. sipd starts it, with a connection to itself as descriptor 3."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from types import FrameType

from twisted.internet.epollreactor import EPollReactor
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from sipd import garbage
from sipd.errors import MediaEngineError
from sipd.media.engine import EngineSettings
from sipd.media.kernel.offload import KernelOffload, make_offload
from sipd.media.ports import MediaAddress
from sipd.media.reactor import ReactorEngine
from sipd.media.worker.child import WorkerLife
from sipd.media.worker.streams import HeldStreams

CONTROL = 3
#: This process has nothing better to do.
sleep = time.sleep  # noqa: TID251


def main() -> None:
    """Run until no controller wants it any more."""
    parser = argparse.ArgumentParser(prog="sipd.media.worker", description="relays media for a sipd; not for people")
    parser.add_argument("--pause", type=float, required=True, help="seconds for which datagrams are gathered")
    parser.add_argument("--orphan-timeout", type=float, required=True, help="seconds to live without a controller")
    parser.add_argument("--listen", help="path of a Unix socket for controllers that come later")
    parser.add_argument("--flood-limit", type=int, required=True, help="datagrams that a socket of RTP takes in 1 s")
    parser.add_argument("--rtcp-flood-limit", type=int, required=True, help="the same for a socket of RTCP")
    parser.add_argument("--keepalive", type=float, required=True, help="seconds until an empty datagram is sent, or 0")
    parser.add_argument("--kernel", action="append", default=[], help="an address on which the kernel is to forward")
    options = parser.parse_args()
    settings = EngineSettings(
        flood_limit=options.flood_limit, rtcp_flood_limit=options.rtcp_flood_limit, keepalive=options.keepalive
    )
    # A process group of its own: Ctrl-C is for the signalling. What ends that does not end calls.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    failures = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [failures])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    reactor = EPollReactor()
    offload = _make_offload(options.kernel)
    engine = ReactorEngine(reactor, pause=options.pause, sleep=sleep, settings=settings, offload=offload)
    streams = HeldStreams(engine, reactor)
    life = WorkerLife(streams, reactor, orphan_timeout=options.orphan_timeout, stop=reactor.stop)

    def terminate(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(life.terminate)

    signal.signal(signal.SIGTERM, terminate)
    reactor.adoptStreamConnection(CONTROL, socket.AF_UNIX, life.factory())
    os.close(CONTROL)
    if options.listen:
        # That of a worker that was killed may still be there.
        with suppress(FileNotFoundError):
            os.unlink(options.listen)
        reactor.listenUNIX(options.listen, life.factory(), mode=0o600)
    garbage.settle()
    reactor.run(installSignalHandlers=False)


def _make_offload(hosts: list[str]) -> KernelOffload | None:
    if not hosts:
        return None
    try:
        return make_offload(tuple(MediaAddress(host=host, advertised_host=host) for host in hosts))
    except MediaEngineError as error:
        Logger().warn("media is not forwarded by the kernel: {reason}", reason=error)
        return None


if __name__ == "__main__":
    main()
