"""Calls between phones as people would make them, with ears at both ends."""

from collections.abc import Sequence
from typing import Any

from tests.interop.baresip import Phone
from tests.interop.case import InteropTestCase
from tests.interop.server import Server
from tests.interop.tones import FRAME, RATE_HZ, frames_of_tone, share_of_tone
from tests.ports import HOST

TALK = 1.5
_LEAST_SHARE = 0.9
#: Of the time for which they talk.
LEAST_HEARD = 0.5


async def connect(caller: Phone, callee: Phone, target: str) -> None:
    """Call and answer.

    Raises:
        ProgramError: a phone did not see what it must.
    """
    caller.send("dial", target)
    await callee.event("CALL_INCOMING")
    await caller.event("CALL_RINGING")
    callee.send("accept")
    for phone in (caller, callee):
        await phone.event("CALL_ESTABLISHED")


async def talk(case: InteropTestCase, caller: Phone, callee: Phone, target: str, hangs_up: Phone) -> None:
    """Call, answer, let both tones sound, hang up at one end, and check what each end heard.

    Raises:
        ProgramError: a phone did not see what it must.
    """
    await connect(caller, callee, target)
    await case.pause(TALK)
    hangs_up.send("hangup")
    for phone in (caller, callee):
        await phone.event("CALL_CLOSED")
    await case.pause(0.2)
    for phone, other in ((caller, callee), (callee, caller)):
        assert_heard(case, phone, other.tone_hz)


async def talk_as_each(case: InteropTestCase, server: Server, alice: Phone, bob: Phone) -> list[dict[str, Any]]:
    """Let two phones register, and each call the other one; alice hangs up. Stop all; give the server's records."""
    for phone in (alice, bob):
        await phone.registered()
    await talk(case, alice, bob, f"sip:bob@{HOST}", hangs_up=alice)
    await talk(case, bob, alice, f"sip:alice@{HOST}", hangs_up=alice)
    for phone in (alice, bob):
        await phone.stop()
    records = await server.finish()
    case.assertEqual(
        [(record["user"], record["status"], record["ended_by"]) for record in records if record["answered_at"]],
        [("alice", 200, "caller"), ("bob", 200, "callee")],
    )
    return records


def assert_tone(case: InteropTestCase, samples: Sequence[int], tone_hz: float, least: float, name: str) -> None:
    """Check that so many seconds of samples are one tone, and what else there is is silence, but for a twentieth.

    For what begins before the other one is there: `assert_heard` wants the tone throughout.
    """
    tone, silent = frames_of_tone(samples, tone_hz)
    others = len(samples) // FRAME - tone - silent
    found = f"{name}: of {tone_hz} Hz {tone} frames of 20 ms, {silent} silent, {others} others{case.explain()}"
    case.assertGreater(tone * FRAME / RATE_HZ, least, found)
    case.assertLess(others, tone / 20, found)


def assert_heard(case: InteropTestCase, phone: Phone, tone_hz: float, rate_hz: int = RATE_HZ) -> None:
    """Check that a phone heard one tone, for long enough, and nothing else: above all, not itself."""
    samples = phone.take_recording(rate_hz)
    name = phone.account.user
    case.assertGreater(len(samples), LEAST_HEARD * TALK * rate_hz, f"{name} heard too little{case.explain()}")
    share = share_of_tone(samples, tone_hz, rate_hz)
    case.assertGreater(share, _LEAST_SHARE, f"{name} did not hear {tone_hz} Hz{case.explain()}")
    echo = share_of_tone(samples, phone.tone_hz, rate_hz)
    case.assertLess(echo, 1 - _LEAST_SHARE, f"{name} heard itself{case.explain()}")
