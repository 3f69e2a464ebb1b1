"""What a phone tells of a call that it makes, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.sip.message import Request, Response


class DialStep(Enum):
    """How far a call that is made has come."""

    INVITED = "invited"
    PROVISIONAL = "provisional"
    ESTABLISHED = "established"
    FAILED = "failed"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class DialProgress:
    """One step of a call that is made.

    Args:
        step: which one.
        at: when, by the phone's clock.
        call_id: its Call-ID.
        uri: the request URI.
        status: of the response; 0 where there is none.
        reason: its phrase, or why there is none.
        remote: ``host:port`` that it is sent to, or that has answered; empty where that is not known yet.
        correlation: what the application knows the call by.
        scenario: what it is made for, in the application's words: ``campaign``, ``callback``.
        script: what it is carried out by, in the application's words.
        request: the INVITE.
        response: what came, or ``None``.
    """

    step: DialStep
    at: float
    call_id: str
    uri: str
    status: int = 0
    reason: str = ""
    remote: str = ""
    correlation: str = ""
    scenario: str = ""
    script: str = ""
    request: Request | None = None
    response: Response | None = None

    def __str__(self) -> str:
        what = f"{self.status} {self.reason}".strip() if self.status else self.reason
        return f"{self.step.value} {self.uri}" + (f": {what}" if what else "")
