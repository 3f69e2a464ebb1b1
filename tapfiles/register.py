"""Registers, and waits for calls.

PASSWORD=secret python tapfiles/register.py sip:alice@example.org [PROXY]
"""

import os
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from sipd.ua import Account, Phone


async def main(reactor: Any, uri: str, proxy: str = "", listen: str = "udp:0.0.0.0:0") -> None:
    """Register, and answer one call after the other until somebody ends the program."""
    account = Account(uri, os.environ.get("PASSWORD"), proxy=proxy, register=True)
    async with Phone(reactor, listen=listen, account=account) as phone:
        print("registered", uri)
        async for call in phone.incoming():
            await call.answer()
            call.play("tone:de:dial", times=None).addErrback(lambda failure: None)
            print(call.remote.uri, "was here for", round((await call.ended).duration), "s")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
