"""Click-to-dial: calls one person, then another, and lets the two talk until either hangs up.

python tapfiles/click_to_dial.py sip:alice@192.0.2.7 sip:bob@192.0.2.8
"""

import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

from sipd.media.endpoint.sinks import EchoPair
from sipd.ua import DialError, Phone


async def connect(phone: Phone, first: str, second: str) -> float:
    """Let two people talk; give for how many seconds they did. Raises `DialError` where one cannot be reached."""
    async with await phone.dial(first) as caller:
        caller.play("tone:us:ringback", times=None)
        dialling = phone.dial(second)
        caller.ended.addCallback(lambda end: dialling.cancel())
        try:
            callee = await dialling
        except CancelledError:
            if not caller.is_over:
                raise
            return 0.0
        async with callee:
            line: Any = EchoPair()
            caller.stop_playing()
            caller.connect(line.left, line.left)
            callee.connect(line.right, line.right)
            caller.ended.addCallback(lambda end: callee.hang_up())
            await callee.ended
        return callee.duration


async def main(reactor: Any, first: str, second: str, listen: str = "udp:0.0.0.0:0") -> None:
    """Make the two calls."""
    async with Phone(reactor, listen=listen) as phone:
        try:
            print(f"they talked for {await connect(phone, first, second):.0f} s")
        except DialError as error:
            raise SystemExit(f"{first} and {second}: {error.reason}") from error


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
