"""Calls as their messages tell: each Call-ID with an INVITE, how far it got, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sipd.observe.sniffing.sightings import Sighting, user_of
from sipd.sip.message import Request

#: Refusals after which the caller usually tries again, with the same Call-ID.
_CHALLENGES = (401, 407, 422)


@dataclass(slots=True, kw_only=True)
class Call:
    """What is known of one call, or of another dialog or transaction: all that has one Call-ID.

    Args:
        call_id: its Call-ID.
        at: when its first message passed.
        caller: the user in From.
        callee: the user in To.
        invited_at: when the first INVITE passed, or ``None``.
        ringing_at: when the first 180 to 189 did.
        answered_at: when the first 2xx to an INVITE did.
        acknowledged_at: when the first ACK after that did.
        ended_at: when a BYE was answered, or the INVITE refused for good.
        status: the last final one that an INVITE got before there was an answer, or that of the answer.
        last_at: when its last message passed.
        messages: all of them, as far as they are kept.
        is_cut: whether some were not kept.
    """

    call_id: str
    at: float
    caller: str
    callee: str
    invited_at: float | None = None
    ringing_at: float | None = None
    answered_at: float | None = None
    acknowledged_at: float | None = None
    ended_at: float | None = None
    status: int | None = None
    last_at: float = 0.0
    messages: list[Sighting] = field(default_factory=list)
    is_cut: bool = False

    def after(self, at: float | None) -> float | None:
        """Say how long after the first INVITE that was, in seconds; ``None`` if one of the two was not seen."""
        return None if at is None or self.invited_at is None else at - self.invited_at

    def take(self, sighting: Sighting) -> None:
        """Take the next message."""
        self.last_at = sighting.at
        status = sighting.status
        if isinstance(sighting.message, Request):
            if sighting.method == "INVITE":
                self.invited_at = sighting.at if self.invited_at is None else self.invited_at
                if self.answered_at is None:
                    self.ended_at = None
            elif sighting.method == "ACK" and self.answered_at is not None and self.acknowledged_at is None:
                self.acknowledged_at = sighting.at
        elif status is not None and sighting.method == "INVITE" and self.answered_at is None:
            self._answer(sighting.at, status)
        elif status is not None and sighting.method == "BYE" and status >= 200 and self.ended_at is None:
            self.ended_at = sighting.at

    def _answer(self, at: float, status: int) -> None:
        if 180 <= status < 190 and self.ringing_at is None:
            self.ringing_at = at
        if status >= 200:
            self.status = status
        if 200 <= status < 300:
            self.answered_at = at
        elif status >= 300 and status not in _CHALLENGES:
            self.ended_at = at


class Calls:
    """Follows calls by their messages. The time is that of the packets.

    Args:
        max_calls: beyond that, the one that was silent longest is forgotten.
        max_messages: that are kept of one, for a drawing of it; beyond that, it says that it is cut. 0 keeps none.
    """

    def __init__(self, *, max_calls: int = 10_000, max_messages: int = 0) -> None:
        self._max_calls = max_calls
        self._max_messages = max_messages
        self._calls: dict[str, Call] = {}
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(sorted(self._calls.values(), key=lambda call: call.at))

    def take(self, sighting: Sighting) -> None:
        """Take the next message; one without a Call-ID belongs nowhere."""
        if not sighting.call_id:
            return
        call = self._calls.pop(sighting.call_id, None)
        if call is None:
            call = Call(
                call_id=sighting.call_id,
                at=sighting.at,
                caller=user_of(sighting.caller),
                callee=user_of(sighting.callee),
            )
        self._calls[call.call_id] = call
        call.take(sighting)
        if len(call.messages) < self._max_messages:
            call.messages.append(sighting)
        else:
            call.is_cut = True
        if len(self._calls) > self._max_calls:
            del self._calls[next(iter(self._calls))]
            self.forgotten += 1

    def take_ended(self, before: float) -> list[Call]:
        """Give the calls that are over and were silent since then, first that which ended first; forget them."""
        ended = []
        for call in list(self._calls.values()):
            if call.last_at > before:
                break
            if call.ended_at is not None:
                ended.append(self._calls.pop(call.call_id))
        return sorted(ended, key=lambda call: call.last_at)
