"""Session timers with SIPp at both ends of sipd (RFC 4028), and what takes their place where a phone has none."""

from __future__ import annotations

from pathlib import Path

from tests.interop.brisk import INTERVAL
from tests.interop.pairs import NO_UPDATE, TALK, Pair, PairCase
from tests.interop.script import Callee, Caller, Script, has
from tests.interop.server import Server

_NO_TIMER = "Supported: replaces"
#: What the one who sends a request says of the interval, where it refreshes, and where the one who answers does.
_UAC, _UAS = (f"Session-Expires: {INTERVAL};refresher={side}" for side in ("uac", "uas"))
_EXPIRED = (has("SIP ?;.*cause=408", "Reason"), has("expired", "Reason"))


class TimerTests(PairCase):
    """Timers of seconds, on each leg by itself."""

    def brisk(self) -> Server:
        """Give a server whose sessions live for seconds without a refresh."""
        server = Server(self)
        server.command = ("-y", str(Path(__file__).with_name("brisk.py")))
        return server

    async def test_timers(self) -> None:
        """Sessions that are refreshed outlive their first interval; those that are not end in time, on both legs."""
        refreshed = [self.refreshed_by_update(), self.refreshed_by_invite(), self.refreshed_by_peers()]
        left = [self.left_by_caller(), self.left_by_callee(), self.forgotten()]
        records = await self.converse(self.brisk(), *refreshed, *left)
        for pair in refreshed:
            record = records.pop(pair.callee.name)
            self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))
            self.assertGreater(record["duration"], INTERVAL * 2 / 3)
        causes = {name: (record["ended_by"], record["cause"]) for name, record in records.items()}
        self.assertEqual(causes.pop("left-by-caller"), ("sipd", "caller-lost"))
        self.assertEqual(causes, dict.fromkeys(("silent-callee", "forgetful"), ("sipd", "callee-lost")))

    async def test_pings(self) -> None:
        """A phone without a timer is asked by OPTIONS whether it is there; if it says 481 both legs end."""
        server = Server(self)
        server.configure("\n[timers]\nsession = 0\nping = 0.5\n")
        caller, callee = Caller("has-a-timer"), Callee("forgets")
        caller.call(TALK, fields=("Session-Expires: 1800;refresher=uac",))
        callee.pick_up(TALK, fields=(_NO_TIMER,))
        callee.expect("OPTIONS")
        callee.answer()
        callee.expect("OPTIONS")
        callee.answer(481)
        callee.end()
        caller.end(has("cause", "Reason"))
        record = (await self.converse(server, Pair(caller, callee)))["forgets"]
        self.assertEqual((record["ended_by"], record["cause"]), ("sipd", "callee-lost"))

    def left_by_caller(self) -> Pair:
        """The caller promised to refresh, and does not: both hear why it is over."""
        caller, callee = Caller("silent-caller"), Callee("left-by-caller")
        caller.call(TALK, has(f"{INTERVAL};refresher=uac", "Session-Expires"), fields=(_UAC,))
        callee.pick_up(TALK)
        caller.end(*_EXPIRED)
        callee.end(has("cause", "Reason"))
        return Pair(caller, callee)

    def left_by_callee(self) -> Pair:
        """The callee did; the caller has no timer."""
        caller, callee = Caller("left-by-callee"), Callee("silent-callee")
        caller.call(TALK, fields=(_NO_TIMER,))
        callee.pick_up(TALK, fields=(_UAS, "Require: timer"))
        callee.end(*_EXPIRED)
        caller.end(has("cause", "Reason"))
        return Pair(caller, callee)

    def forgotten(self) -> Pair:
        """A callee that answers a refresh with 481 has no call any more (RFC 4028 section 10)."""
        caller, callee = Caller("not-forgetful"), Callee("forgetful")
        caller.call(TALK, fields=(_NO_TIMER,))
        callee.pick_up(TALK, fields=(_UAC, "Require: timer"))
        callee.expect("UPDATE")
        callee.answer(481)
        callee.end()
        caller.end(has("cause", "Reason"))
        return Pair(caller, callee)

    def refreshed_by_update(self) -> Pair:
        """Both legs leave the refresh to sipd, and know UPDATE."""
        caller, callee = Caller("updated-caller"), Callee("updated")
        caller.call(TALK, has(f"{INTERVAL};refresher=uas", "Session-Expires"), fields=(_UAS,))
        callee.pick_up(TALK, fields=(_UAC, "Require: timer"))
        for script in (caller, callee):
            self.is_refreshed(script, "UPDATE")
        return self.ended(caller, callee)

    def refreshed_by_invite(self) -> Pair:
        """Both legs leave it to sipd, and do not know UPDATE: the INVITE says of the media what was said before."""
        caller, callee = Caller("invited-caller"), Callee("invited")
        caller.call(TALK, has(f"{INTERVAL};refresher=uas", "Session-Expires"), fields=(_UAS, NO_UPDATE))
        callee.pick_up(TALK, fields=(_UAC, "Require: timer", NO_UPDATE))
        for script in (caller, callee):
            self.is_refreshed(script, "INVITE")
        return self.ended(caller, callee)

    def is_refreshed(self, script: Script, method: str) -> None:
        """Take one refresh, and agree to it."""
        is_invite = method == "INVITE"
        named = has(f"{INTERVAL};refresher=uac", "Session-Expires")
        script.expect(method, named, *((has("o=- [0-9]+ 1 IN"),) if is_invite else ()))
        script.answer(200, TALK if is_invite else "", _UAC, "Require: timer", *((NO_UPDATE,) if is_invite else ()))
        if is_invite:
            script.expect("ACK")

    def refreshed_by_peers(self) -> Pair:
        """Caller and callee refresh their legs, one by UPDATE, the other by INVITE."""
        caller, callee = Caller("refreshing-caller"), Callee("refreshing")
        caller.call(TALK, has(f"{INTERVAL};refresher=uac", "Session-Expires"), fields=(_UAC,))
        callee.pick_up(TALK, fields=(_UAS, "Require: timer"))
        agreed = has(f"{INTERVAL};refresher=uac", "Session-Expires")
        caller.pause(INTERVAL * 500)
        caller.ask("UPDATE", "", _UAC)
        caller.get(200, agreed)
        callee.pause(INTERVAL * 500)
        # It says again what it said: that changes nothing, and is not heard on the other side.
        callee.reinvite(TALK, agreed, has("m=audio [1-9]"), fields=(_UAC,))
        return self.ended(caller, callee)

    def ended(self, caller: Caller, callee: Callee) -> Pair:
        """Let the caller hang up when the session would have expired, and before the next refresh."""
        caller.pause(INTERVAL * 500 - 1000)
        caller.hang_up()
        callee.end()
        return Pair(caller, callee)
