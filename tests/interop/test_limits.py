"""SIPp offers twice what may be: those calls that are taken succeed, and the rest is refused at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.interop.case import InteropTestCase
from tests.interop.server import Server
from tests.interop.sipp import Sipp

#: Seconds in which a refusal has to be there, on a machine that has other things to do as well.
AT_ONCE = 1.0


class LimitTests(InteropTestCase):
    """More calls than are allowed."""

    programs = ("sipp",)
    timeout = 90

    async def offer(
        self, configuration: str, *, calls: int, rate: int, hold: float, status: int, overload: str = "lag = 0"
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Offer calls, each of which must be taken and go well, or be refused so; give the records of both."""
        server = Server(self, overload=overload)
        server.configure(configuration)
        port = self.ports.take()
        server.add_route("sipp", "callee", port)
        await server.start()
        await Sipp(self, "uas_answers", port=port, calls=1_000_000, limit=60).listens()
        offering = Sipp(
            self,
            "uac_answered_or_refused",
            port=self.ports.take(),
            target=server.address,
            calls=calls,
            rate=rate,
            hold=hold,
            status=status,
            limit=50,
        )
        await offering.succeeds()
        records = await server.finish()
        self.assertEqual(len(records), calls)
        taken = [record for record in records if record["status"] == 200]
        refused = [record for record in records if record["status"] == status]
        self.assertEqual(len(taken) + len(refused), calls, Counter(record["status"] for record in records))
        self.assertEqual({(record["ended_by"], record["cause"]) for record in taken}, {("caller", "bye")})
        slow = [record for record in refused if record["ended_at"] - record["started_at"] > AT_ONCE]
        self.assertEqual(slow, [])
        return taken, refused

    async def test_calls_at_a_time(self) -> None:
        """Of 20 calls at a time 10 are taken, no more; the others are told which limit it is."""
        taken, refused = await self.offer("[limits]\ncalls = 10\n", calls=50, rate=20, hold=1.0, status=503)
        self.assertTrue(10 <= len(taken) <= 35, len(taken))
        # The B2BUA has the same bound, of calls that it does not know anything of yet.
        self.assertLessEqual({record["reason"] for record in refused}, {"No More Than 10 Calls", "Too Many Calls"})
        changes = [(record["started_at"], 1) for record in taken] + [(record["ended_at"], -1) for record in taken]
        number = most = 0
        for _, change in sorted(changes):
            number += change
            most = max(most, number)
        self.assertLessEqual(most, 10)

    async def test_calls_of_a_source(self) -> None:
        """One source has as many calls at a time as it may have, and is told 480."""
        taken, refused = await self.offer("[limits]\ncalls_per_source = 5\n", calls=40, rate=20, hold=0.5, status=480)
        self.assertTrue(taken and refused, (len(taken), len(refused)))
        self.assertEqual({record["reason"] for record in refused}, {"No More Than 5 Calls From 127.0.0.1"})

    async def test_calls_a_second(self) -> None:
        """Of 20 calls a second 10 are taken, beside those that a full bucket has at first."""
        taken, refused = await self.offer("[limits]\ncalls_per_second = 10\n", calls=50, rate=20, hold=0.1, status=503)
        self.assertTrue(20 <= len(taken) <= 45, len(taken))
        self.assertEqual({record["reason"] for record in refused}, {"No More Than 10 Calls A Second"})

    async def test_overload(self) -> None:
        """With more to do than the processor may be used for, calls are refused, and those that are taken go well."""
        taken, refused = await self.offer("", overload="cpu = 0.02", calls=100, rate=40, hold=0.3, status=503)
        self.assertTrue(taken and refused, (len(taken), len(refused)))
        self.assertTrue(all(record["reason"].startswith("Overloaded: lag ") for record in refused))
