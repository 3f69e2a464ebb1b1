"""Answers every call, and sends back what it hears.

python tapfiles/echo.py [udp:127.0.0.1:5060]
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from sipd.ua import IncomingCall, Phone


async def take(call: IncomingCall) -> None:
    """Answer one call."""
    call.ring()
    await call.answer()
    call.echo()
    print("echo for", call.remote.uri, "until", (await call.ended).text)


async def main(reactor: Any, listen: str = "udp:127.0.0.1:5060") -> None:
    """Answer calls until somebody ends the program."""
    async with Phone(reactor, listen=listen) as phone:
        phone.on_call = take
        await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
