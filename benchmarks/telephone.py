"""`python -m benchmarks.telephone`: what a call costs that one `Phone` makes and another one takes, in one process.

Both phones are in this process, so the figure is for both ends together. The calls go over UDP on loopback, ten at a
time; each is dialled, answered, acknowledged and hung up at once. At the end everything that was made for them has to
be gone: objects are counted before and after, when the last transaction has ended (33 seconds), and so are sessions,
transactions, timers and open files.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater, react

from sipd.media.endpoint.verbatim import VerbatimEndpoint
from sipd.phone.incoming import IncomingCall
from sipd.phone.phone import Phone

#: Seconds after which no transaction is left: 64*T1, and a little.
_LINGER = 33.0
_AT_ONCE = 10
_WARM_UP = 200
_SILENCE = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\n"
)


def objects() -> Counter[str]:
    """Count what there is of sipd, by type."""
    gc.collect()
    types = [type(one) for one in gc.get_objects()]
    names = [f"{one.__module__}.{one.__qualname__}" for one in types]
    return Counter(name for name in names if name.startswith("sipd."))


def books(reactor: Any, *phones: Phone) -> Counter[str]:
    """Count what phones and the process hold, by kind."""
    layers: list[Any] = [phone.agent.transactions for phone in phones]
    return Counter(
        {
            "sessions": sum([len(phone.agent) for phone in phones]),
            "transactions": sum([len(layer) for layer in layers]),
            "timers": len(reactor.getDelayedCalls()),
            "open files": len(os.listdir("/dev/fd")),
        }
    )


def cpu() -> float:
    """Give the seconds of processor time that this process has had."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def take(call: IncomingCall) -> None:
    """Answer a call."""
    await call.answer()


async def make(phone: Phone, callee: str, calls: int) -> None:
    """Make so many calls, one after the other."""
    for _ in range(calls):
        call = await phone.dial(callee)
        await call.hang_up()


async def make_at_once(phone: Phone, callee: str, calls: int) -> None:
    """Make so many calls, ten at a time."""
    making = [Deferred.fromCoroutine(make(phone, callee, calls // _AT_ONCE)) for _ in range(_AT_ONCE)]
    await DeferredList(making, fireOnOneErrback=True)


async def measure(reactor: Any, calls: int, *, has_audio: bool) -> None:
    """Make the calls, and print what they cost."""
    media = None if has_audio else lambda point: VerbatimEndpoint(_SILENCE)
    caller, callee = (Phone(reactor, listen="udp:127.0.0.1:0", media=media, max_calls=1000) for _ in range(2))
    callee.on_call = take
    async with caller, callee:
        address = f"sip:bob@{callee.points[0].sent_by}"
        await make_at_once(caller, address, _WARM_UP)
        await deferLater(reactor, _LINGER)
        before, held = objects(), books(reactor, caller, callee)
        began, used = reactor.seconds(), cpu()
        await make_at_once(caller, address, calls)
        lasted, used = reactor.seconds() - began, cpu() - used
        await deferLater(reactor, _LINGER)
        left = objects() - before + (books(reactor, caller, callee) - held)
    kind = "with its audio" if has_audio else "signalling alone"
    print(f"{calls} calls, {kind}: {1000 * used / calls:.2f} ms of CPU a call, both ends; {calls / lasted:.0f} calls/s")
    print(f"left: {sum(left.values())} {dict(left) if left else ''}")
    if left:
        raise SystemExit(1)


async def run(reactor: Any, options: argparse.Namespace) -> None:
    """Measure both kinds of calls."""
    for has_audio in (False, True):
        await measure(reactor, options.calls, has_audio=has_audio)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telephone", description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000, help="how many of each kind")
    options = parser.parse_args(arguments)
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, options)))


if __name__ == "__main__":
    main()
