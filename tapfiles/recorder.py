"""Answers every call, and records both sides of it.

python tapfiles/recorder.py recordings [udp:127.0.0.1:5060]
"""

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from sipd.ua import IncomingCall, Phone


async def take(call: IncomingCall, directory: Path) -> None:
    """Record one call, in two channels: the caller is on the left."""
    await call.answer()
    path = directory / f"call-{call.phone.entropy(8).hex()}.wav"
    recording = call.record(path, both=True)
    await call.play("tone:us:congestion")
    await call.ended
    print(path, "has", round(await recording.stop(), 1), "s")


async def main(reactor: Any, directory: str, listen: str = "udp:127.0.0.1:5060") -> None:
    """Record calls until somebody ends the program."""
    Path(directory).mkdir(exist_ok=True)
    async with Phone(reactor, listen=listen) as phone:
        phone.on_call = lambda call: take(call, Path(directory))
        await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
