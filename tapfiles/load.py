"""Makes so many calls at so many a second, each for so long.

python tapfiles/load.py sip:bob@192.0.2.7 100 10 5
"""

import sys
from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater, react

from sipd.ua import DialError, Phone


async def call(reactor: Any, phone: Phone, callee: str, duration: float) -> str:
    """Make one call, and say what became of it."""
    try:
        async with await phone.dial(callee):
            await deferLater(reactor, duration)
        return "answered"
    except DialError as error:
        return error.reason


async def main(
    reactor: Any, callee: str, calls: str = "100", rate: str = "10", duration: str = "5", listen: str = "udp:0.0.0.0:0"
) -> Counter[str]:
    """Make the calls, and say how they were."""
    async with Phone(reactor, listen=listen) as phone:
        going = []
        for _ in range(int(calls)):
            going.append(Deferred.fromCoroutine(call(reactor, phone, callee, float(duration))))
            await deferLater(reactor, 1 / float(rate))
        outcomes = Counter(outcome for _, outcome in await DeferredList(going, fireOnOneErrback=True))
    print(*(f"{count} {outcome}" for outcome, count in outcomes.most_common()), sep="\n")
    return outcomes


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
