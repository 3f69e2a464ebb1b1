"""Watches whether people are there.

PASSWORD=secret python tapfiles/watcher.py sip:alice@example.org PROXY bob carol
"""

import os
import sys
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from sipd.sip.presence_documents import Presence
from sipd.ua import Account, Phone


async def watch(phone: Phone, friend: str) -> None:
    """Say how one friend is each time that it changes."""
    async for notified in phone.subscribe(friend, "presence", accept=["application/pidf+xml"]):
        is_there = bool(notified.body) and Presence.parse(notified.body).is_open
        print(friend, "is", "there" if is_there else "away", flush=True)


async def main(reactor: Any, uri: str, proxy: str, *friends: str, listen: str = "udp:0.0.0.0:0") -> None:
    """Watch until somebody ends the program."""
    account = Account(uri, os.environ.get("PASSWORD"), proxy=proxy)
    async with Phone(reactor, listen=listen, account=account) as phone:
        await gatherResults([Deferred.fromCoroutine(watch(phone, friend)) for friend in friends], consumeErrors=True)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
