"""Session timers with SIPp at both ends of sipd (RFC 4028), and what takes their place where a phone has none."""

from __future__ import annotations

from pathlib import Path

from tests.interop.brisk import INTERVAL
from tests.interop.pairs import Pair, PairCase
from tests.interop.script import Callee, Caller, Script, audio, has, sdp
from tests.interop.server import Server

TALK = sdp(audio())
_NO_TIMER = "Supported: replaces"
_NO_UPDATE = "Allow: INVITE, ACK, CANCEL, BYE"
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

    async def test_refresh(self) -> None:
        """Who promised it refreshes each leg: the peer, or sipd by UPDATE, or by INVITE where that is not allowed.

        The calls outlive their first interval, and what happens on one leg is not heard on the other.
        """
        pairs = [self.refreshed_by_update(), self.refreshed_by_invite(), self.refreshed_by_peers()]
        records = await self.converse(self.brisk(), *pairs)
        self.assertEqual([(one["status"], one["ended_by"]) for one in records], [(200, "caller")] * len(pairs))
        self.assertTrue(all(one["duration"] > INTERVAL * 2 / 3 for one in records), records)

    async def test_expiry(self) -> None:
        """A peer that does not refresh as it promised, or forgot the call: both legs end, and are told why."""
        silent_caller = Pair(Caller("silent-caller"), Callee("left-by-caller"))
        silent_caller.caller.call(TALK, has(f"{INTERVAL};refresher=uac", "Session-Expires"), fields=(_UAC,))
        silent_caller.callee.pick_up(TALK)
        silent_caller.caller.end(*_EXPIRED)
        silent_caller.callee.end(has("cause", "Reason"))
        silent_callee = Pair(Caller("left-by-callee"), Callee("silent-callee"))
        silent_callee.caller.call(TALK, fields=(_NO_TIMER,))
        silent_callee.callee.pick_up(TALK, fields=(_UAS, "Require: timer"))
        silent_callee.callee.end(*_EXPIRED)
        silent_callee.caller.end(has("cause", "Reason"))
        forgetful = Pair(Caller("left-in-time"), Callee("forgetful"))
        forgetful.caller.call(TALK, fields=(_NO_TIMER,))
        forgetful.callee.pick_up(TALK, fields=(_UAC, "Require: timer"))
        forgetful.callee.expect("UPDATE")
        forgetful.callee.answer(481)
        forgetful.callee.end()
        forgetful.caller.end(has("cause", "Reason"))
        records = await self.converse(self.brisk(), silent_caller, silent_callee, forgetful)
        causes = {one["route"]: (one["ended_by"], one["cause"]) for one in records}
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
        (record,) = await self.converse(server, Pair(caller, callee))
        self.assertEqual((record["ended_by"], record["cause"]), ("sipd", "callee-lost"))

    async def test_too_small(self) -> None:
        """An interval that is too short for sipd, or for the callee, is asked for again with the Min-SE of the 422."""
        caller, callee = Caller("hasty"), Callee("leisurely")
        caller.invite(TALK, "Session-Expires: 60")
        caller.get(422, has("^ *90", "Min-SE"))
        caller.acknowledge_refusal()
        caller.invite(TALK, "Session-Expires: 90", "Min-SE: 90")
        caller.get_if_any(180)
        caller.get(200, has("^ *90;refresher=", "Session-Expires"))
        caller.acknowledge()
        caller.pause(200)
        caller.hang_up()
        callee.expect("INVITE", has("^ *1800", "Session-Expires"))
        callee.answer(422, "", "Min-SE: 3600")
        callee.expect("ACK")
        callee.pick_up(TALK, has("^ *3600", "Session-Expires"), has("^ *3600", "Min-SE"))
        callee.end()
        (record,) = await self.converse(Server(self), Pair(caller, callee))
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))

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
        caller.call(TALK, has(f"{INTERVAL};refresher=uas", "Session-Expires"), fields=(_UAS, _NO_UPDATE))
        callee.pick_up(TALK, fields=(_UAC, "Require: timer", _NO_UPDATE))
        for script in (caller, callee):
            self.is_refreshed(script, "INVITE")
        return self.ended(caller, callee)

    def is_refreshed(self, script: Script, method: str) -> None:
        """Take one refresh, and agree to it."""
        is_invite = method == "INVITE"
        named = has(f"{INTERVAL};refresher=uac", "Session-Expires")
        script.expect(method, named, *((has("o=- [0-9]+ 1 IN"),) if is_invite else ()))
        script.answer(200, TALK if is_invite else "", _UAC, "Require: timer", *((_NO_UPDATE,) if is_invite else ()))
        if is_invite:
            script.expect("ACK")

    def refreshed_by_peers(self) -> Pair:
        """Caller and callee refresh their legs, each in its way."""
        caller, callee = Caller("refreshing-caller"), Callee("refreshing")
        caller.call(TALK, has(f"{INTERVAL};refresher=uac", "Session-Expires"), fields=(_UAC,))
        callee.pick_up(TALK, fields=(_UAS, "Require: timer"))
        for script in (caller, callee):
            script.pause(INTERVAL * 500)
            script.ask("UPDATE", "", _UAC)
            script.get(200, has(f"{INTERVAL};refresher=uac", "Session-Expires"))
        return self.ended(caller, callee)

    def ended(self, caller: Caller, callee: Callee) -> Pair:
        """Let the caller hang up when the session would have expired, and before the next refresh."""
        caller.pause(INTERVAL * 500 - 1000)
        caller.hang_up()
        callee.end()
        return Pair(caller, callee)
