"""Calls somebody, plays a file or a tone, and hangs up.

python tapfiles/dial.py sip:bob@192.0.2.7 hello.wav
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from sipd.ua import DialError, Phone


async def main(reactor: Any, callee: str, sound: str = "tone:us:dial", listen: str = "udp:0.0.0.0:0") -> None:
    """Make one call."""
    async with Phone(reactor, listen=listen) as phone:
        try:
            call = await phone.dial(callee, on_progress=print)
        except DialError as error:
            raise SystemExit(f"{callee}: {error.reason}") from error
        async with call:
            playing = call.play(sound, times=1 if sound.endswith(".wav") else None)
            await playing.addTimeout(3.0, reactor, onTimeoutCancel=lambda result, seconds: None)
        print(call.statistics)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
