"""Calls of pairs of scripted telephones through one sipd, all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.interop.case import InteropTestCase
from tests.interop.programs import ProgramError
from tests.interop.script import Callee, Caller
from tests.interop.server import Server
from tests.interop.sipp import Sipp

_SETTLES = 0.5


@dataclass(frozen=True, slots=True)
class Pair:
    """Who calls whom: the callee's name is what the caller dials."""

    caller: Caller
    callee: Callee


class PairCase(InteropTestCase):
    """Runs scripts of callers against those of callees."""

    programs = ("sipp",)
    timeout = 120

    async def converse(self, server: Server, *pairs: Pair, limit: float = 30.0) -> list[dict[str, Any]]:
        """Let every pair have its call, at the same time, and all see what their scripts say.

        Returns:
            The record of each call, in the order in which they ended.
        """
        called = []
        for pair in pairs:
            port = self.ports.take()
            server.add_route(pair.callee.name, pair.callee.name, port)
            called.append(Sipp(self, pair.callee, port=port, limit=limit))
        await server.start()
        await self.pause(_SETTLES)
        calling = [
            Sipp(
                self,
                pair.caller,
                port=self.ports.take(),
                target=server.address,
                service=pair.callee.name,
                caller=pair.caller.name,
                limit=limit,
            )
            for pair in pairs
        ]
        failures = []
        for one in (*calling, *called):
            try:
                await one.succeeds()
            except ProgramError as error:
                failures.append(str(error))
        if failures:
            raise ProgramError("\n".join(failures))
        return await server.finish()
