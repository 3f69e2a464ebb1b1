"""Asks each caller for a number, and sends the call there.

python tapfiles/ivr.py udp:127.0.0.1:5060 1=sip:sales@192.0.2.7 2=sip:help@192.0.2.8
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from sipd.errors import TransferError
from sipd.ua import IncomingCall, Phone


async def serve(call: IncomingCall, choices: dict[str, str]) -> None:
    """Talk with one caller."""
    await call.answer()
    for _ in range(3):
        await call.play("tone:us:dial")
        choice = await call.collect(1, timeout=5.0)
        print(call.remote.uri, "chooses", choice or "nothing")
        if choice in choices:
            try:
                await call.transfer(choices[choice])
                return
            except TransferError as error:
                print(choices[choice], "cannot be reached:", error)
    await call.hang_up()


async def main(reactor: Any, listen: str, *arguments: str) -> None:
    """Answer calls until somebody ends the program."""
    choices = dict(argument.split("=", 1) for argument in arguments)
    async with Phone(reactor, listen=listen) as phone:
        phone.on_call = lambda call: serve(call, choices)
        await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
