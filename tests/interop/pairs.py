"""Calls of pairs of scripted telephones through one sipd, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.interop.case import InteropTestCase
from tests.interop.programs import ProgramError
from tests.interop.script import Callee, Caller, Script, audio, has, sdp
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp

#: Milliseconds that somebody waits before doing the next thing.
A_MOMENT = 200
#: What everybody says who just talks.
TALK = sdp(audio())
#: Of a phone that is changed by re-INVITE only.
NO_UPDATE = "Allow: INVITE, ACK, CANCEL, BYE, NOTIFY"


@dataclass(frozen=True, slots=True)
class Pair:
    """Who calls whom: the callee's name is what the caller dials."""

    caller: Caller
    callee: Callee


#: A pair, and of that the one who begins something, and the other.
Talk = tuple[Pair, Script, Script]


def talking(name: str, *fields: str) -> Pair:
    """Give a caller and a callee who have begun to talk; both said these fields, too."""
    pair = Pair(Caller(f"{name}-caller"), Callee(name))
    pair.caller.call(TALK, has("m=audio [1-9]"), fields=fields)
    pair.callee.pick_up(TALK, has("m=audio [1-9]"), fields=fields)
    return pair


def talking_both_ways(name: str, *fields: str) -> list[Talk]:
    """Give two such pairs: in the first the caller begins what is to be seen, in the second the callee."""
    forth, back = talking(f"{name}-forth", *fields), talking(f"{name}-back", *fields)
    return [(forth, forth.caller, forth.callee), (back, back.callee, back.caller)]


class PairCase(InteropTestCase):
    """Runs scripts of callers against those of callees."""

    programs: ClassVar[tuple[str, ...]] = ("sipp",)
    timeout = 120

    async def converse(
        self, server: Server, *pairs: Pair, others: Sequence[Callee] = (), limit: float = 60.0
    ) -> dict[str, dict[str, Any]]:
        """Let every pair have its call, at the same time, and all see what their scripts say.

        Args:
            server: not started yet.
            pairs: who talks.
            others: who is called by nobody of these.
            limit: seconds until it has to be over.

        Returns:
            The record of each call, by the name of its callee.
        """
        callees = [*[pair.callee for pair in pairs], *others]
        ports = [self.place(server, callee) for callee in callees]
        await server.start()
        called = [Sipp(self, callee, port=port, limit=limit) for callee, port in zip(callees, ports, strict=True)]
        for callee in called:
            await callee.listens()
        calling = [self.dial(server, pair, limit) for pair in pairs]
        await self.all_succeed(*calling, *called)
        return {record["route"]: record for record in await server.finish()}

    def place(self, server: Server, callee: Callee) -> int:
        """Find a port for a callee, and tell the server of it; to be called before that is started."""
        port = self.ports.take()
        server.add_route(callee.name, callee.name, port)
        return port

    def wait(self, server: Server, callee: Callee, limit: float = 60.0) -> Sipp:
        """Start a callee, and tell the server where it is; to be called before that is started."""
        return Sipp(self, callee, port=self.place(server, callee), limit=limit)

    def dial(self, server: Server, pair: Pair, limit: float = 60.0) -> Sipp:
        """Let a caller begin. It has credentials if it is called like a user of the server's."""
        caller, callee = pair.caller.name, pair.callee.name
        return Sipp(
            self,
            pair.caller,
            port=self.ports.take(),
            target=server.address,
            service=callee,
            caller=caller,
            credentials=(caller, USERS[caller]) if caller in USERS else None,
            digest_uri=f"{callee}@{server.address}",
            limit=limit,
        )

    async def all_succeed(self, *sipps: Sipp) -> None:
        """Wait until all have seen what their scripts say.

        Raises:
            ProgramError: somebody has not; says what each of those saw instead.
        """
        failures = []
        for one in sipps:
            try:
                await one.succeeds()
            except ProgramError as error:
                failures.append(str(error))
        if failures:
            raise ProgramError("\n".join(failures))
