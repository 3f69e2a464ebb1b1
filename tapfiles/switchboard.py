"""A registrar and B2BUA that asks this program where calls go: `office` rings whoever is at work.

python tapfiles/switchboard.py tapfiles/sipd.toml
"""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from sipd.daemon.config import load
from sipd.daemon.service import SipService
from sipd.errors import RequestRefusedError
from sipd.interfaces import RoutingRequest
from sipd.routing.deciding import CallDecision


async def call_offered(asked: RoutingRequest) -> CallDecision:
    """Say where a call goes."""
    called = asked.request.uri_text.partition(":")[2].partition("@")[0]
    if called != "office":
        return None  # as the dial plan says
    if not 8 <= datetime.fromtimestamp(asked.at).hour < 18:
        raise RequestRefusedError("Call Again Tomorrow", status=480)
    if asked.user == "alice":
        return "bob"
    return [["alice", "bob"], "sip:answering-service@192.0.2.7"]


async def main(reactor: Any, configuration: str = "tapfiles/sipd.toml") -> None:
    """Serve until somebody ends the program."""
    service = SipService(load(Path(configuration)), reactor, call_offered=call_offered)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    service.startService()
    await service.when_ready()
    print("the switchboard is open", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
