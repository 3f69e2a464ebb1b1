"""`python -m tests.media.orphan PORT PORT`: relays between two phones by a worker, until it is killed.

It prints, as JSON: the process of the worker, and the ports that the phones send to.
"""

from __future__ import annotations

import json
import sys

from twisted.internet.epollreactor import EPollReactor

from sipd.media.ports import PortAllocator
from sipd.media.reactor import ReactorEngine
from sipd.media.relay import MediaRelay
from sipd.media.worker.pool import WorkerPool
from tests.media.support import HIGH, IP4, LOW, describe, place_of


def main() -> None:
    """Run."""
    alice, bob = (describe(("audio", int(port))) for port in sys.argv[1:])
    reactor = EPollReactor()
    ports = PortAllocator(clock=reactor, low=LOW, high=HIGH)
    relay = MediaRelay(engine=ReactorEngine(reactor), addresses=[IP4], ports=ports, latch_window=0.2)
    pool = WorkerPool(reactor, count=1, pause=0.0, orphan_timeout=2.0, directory=None, lost=relay.engine_lost)
    pool.start()
    relay.choose = pool.choose
    session = relay.open_session("call", lambda kind, text: None)
    offered: list[int] = []
    session.offer("a", "b1", alice).addCallback(lambda given: offered.append(place_of(given)[1]))
    session.answer("b1", "a", bob).addCallback(lambda given: offered.append(place_of(given)[1]))

    def tell(_: object) -> None:
        print(json.dumps({"worker": pool.pids[0], "to_alice": offered[0], "to_bob": offered[1]}), flush=True)  # noqa: T201

    session.engine.settle().addCallback(tell)
    reactor.run()


if __name__ == "__main__":
    main()
