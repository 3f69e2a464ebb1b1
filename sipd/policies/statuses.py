"""What a leg is told of the outcome on the other one: status, phrase, and the reason in ISDN's terms.

RFC 3261 section 21, RFC 3326, RFC 3398 section 8.2.6.1, RFC 6432.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from sipd.errors import ParseError
from sipd.policies.text import one_line
from sipd.sip.grammar import is_token, parse_parameters, unquote
from sipd.sip.headers import Headers
from sipd.sip.status import reason_phrase

#: What a status means in ISDN (RFC 3398 section 8.2.6.1). Of others the class says it.
_CAUSES = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127, 414: 127,
    415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28, 485: 1, 486: 17,
    487: 16, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1,
}  # fmt: skip
#: The cause of a call that somebody simply ended.
NORMAL_CLEARING = 16
#: Statuses that mean nothing without a header field which only their sender has (challenges, Allow, Min-Expires, ...).
_INCOMPLETE = frozenset((401, 405, 407, 416, 420, 421, 422, 423, 425, 428, 469, 489, 491, 494))
_MATCH = re.compile(r"[1-6](?:[0-9]{2}|xx)\Z")
_MAX_PHRASE = 128
_MAX_CAUSE = 127


class Phrases(Enum):
    """Whose words a leg is told where no rule has others."""

    KEEP = "keep"
    #: Those of the RFC for that status.
    STANDARD = "standard"

    __hash__ = object.__hash__


class ReasonForm(Enum):
    """What a leg is told by Reason (RFC 3326)."""

    PASS = "pass"
    #: The cause without its text.
    CAUSE = "cause"
    #: As it comes; what has no cause in ISDN's terms gets one that follows from the status (RFC 3398).
    Q850 = "q850"
    REMOVE = "remove"

    __hash__ = object.__hash__


def cause_of(status: int) -> int:
    """Give the Q.850 cause of a status from 300."""
    return _CAUSES.get(status, 41 if status // 100 == 5 else 31)


def causes_in(headers: Headers) -> list[tuple[str, int]]:
    """Give protocol, in lower case, and cause of each Reason that has one and can be read."""
    found = []
    try:
        values = headers.values("Reason")
    except ParseError:
        return []
    for value in values:
        protocol, _, rest = value.partition(";")
        try:
            cause = unquote(parse_parameters(rest).get("cause") or "")
        except ParseError:
            continue
        if is_token(protocol.strip()) and cause.isascii() and cause.isdigit() and len(cause) <= 3:
            found.append((protocol.strip().lower(), int(cause)))
    return found


def _q850_in(headers: Headers | None) -> int | None:
    causes = [] if headers is None else causes_in(headers)
    return next((cause for protocol, cause in causes if protocol == "q.850"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRule:
    """What becomes of some statuses. The first rule that matches is the only one.

    Args:
        matches: statuses and classes of them: ``486``, ``5xx``.
        cause: matches only if Reason names this Q.850 cause.
        status: what it becomes: a provisional one of a provisional one, a refusal of a refusal; ``None`` for the same.
        reason: the phrase; empty for the one that there is, or the RFC's if the status becomes another one.
        said_cause: the Q.850 cause to name in Reason; ``None`` for what the policy says.

    Raises:
        ValueError: the rule makes no sense.
    """

    matches: tuple[str, ...]
    cause: int | None = None
    status: int | None = None
    reason: str = ""
    said_cause: int | None = None
    _statuses: frozenset[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the rule."""
        statuses: set[int] = set()
        for text in self.matches:
            if not _MATCH.match(text):
                raise ValueError(f'statuses such as "486", or classes such as "5xx", expected (got {text[:40]!r})')
            statuses.update(range(int(text[0]) * 100, int(text[0]) * 100 + 100) if text[1] == "x" else (int(text),))
        statuses.discard(100)
        kinds = {min(status // 100, 3) for status in statuses}
        if not kinds or 2 in kinds or len(kinds) > 1:
            raise ValueError("provisional statuses from 101, or refusals from 300, expected")
        if self.status is not None:
            self._check_status(self.status, is_provisional=1 in kinds)
        for cause in (self.cause, self.said_cause):
            if cause is not None and not 1 <= cause <= _MAX_CAUSE:
                raise ValueError(f"a Q.850 cause from 1 to {_MAX_CAUSE} expected (got {cause})")
        if self.reason != one_line(self.reason) or len(self.reason) > _MAX_PHRASE:
            raise ValueError(f"a phrase of one line and at most {_MAX_PHRASE} characters expected")
        object.__setattr__(self, "_statuses", frozenset(statuses))

    @staticmethod
    def _check_status(status: int, *, is_provisional: bool) -> None:
        if is_provisional and not 101 <= status <= 199:
            raise ValueError(f"a provisional status, from 101, expected (got {status})")
        if not is_provisional and (not 400 <= status <= 699 or status in _INCOMPLETE):
            raise ValueError(f"a refusal from 400 that needs no header field of its own expected (got {status})")

    def applies(self, status: int, cause: int | None) -> bool:
        """Say whether it is for that status, with that Q.850 cause or without one."""
        return status in self._statuses and (self.cause is None or self.cause == cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a leg is told.

    Args:
        status: the status.
        reason: the phrase.
        cause: the Q.850 cause that a rule wants to be named, or ``None``.
    """

    status: int
    reason: str
    cause: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPolicy:
    """What becomes of statuses, phrases and reasons on their way to a leg, or from it.

    Args:
        rules: the first that matches counts.
        phrases: what is said where none does.
        reasons: what of Reason.
    """

    rules: tuple[StatusRule, ...] = ()
    phrases: Phrases = Phrases.KEEP
    reasons: ReasonForm = ReasonForm.PASS

    def map(self, status: int, reason: str, headers: Headers | None = None) -> Outcome:
        """Give what an outcome becomes.

        Args:
            status: 101 to 199, or from 300. Others stay what they are.
            reason: the phrase.
            headers: of the response, if there is one.
        """
        cause = _q850_in(headers) if any(rule.cause is not None for rule in self.rules) else None
        for rule in self.rules:
            if rule.applies(status, cause):
                mapped = status if rule.status is None else rule.status
                phrase = rule.reason or (self._phrase(mapped, reason) if mapped == status else reason_phrase(mapped))
                return Outcome(status=mapped, reason=phrase, cause=rule.said_cause)
        return Outcome(status=status, reason=self._phrase(status, reason))

    def _phrase(self, status: int, reason: str) -> str:
        return reason if self.phrases is Phrases.KEEP else reason_phrase(status)

    def shape(self, fields: Headers, status: int | None = None, cause: int | None = None) -> None:
        """Give Reason its form.

        Args:
            fields: of the message; Reason among them as it came.
            status: of a refusal; ``None`` for what says no status: CANCEL, BYE and the like.
            cause: that a rule wants to be named.
        """
        form = self.reasons
        if form is ReasonForm.REMOVE:
            fields.remove("Reason")
            return
        if form is ReasonForm.CAUSE and "Reason" in fields:
            causes = causes_in(fields)
            fields.remove("Reason")
            for protocol, number in causes:
                fields.add("Reason", _reason(protocol.upper(), number))
        if cause is not None:
            others = [known for known in causes_in(fields) if known[0] != "q.850"]
            fields.remove("Reason")
            for protocol, number in [*others, ("Q.850", cause)]:
                fields.add("Reason", _reason(protocol.upper(), number))
        elif form is ReasonForm.Q850 and status is not None and _q850_in(fields) is None:
            fields.add("Reason", _reason("Q.850", cause_of(status)))

    def shape_end(self, fields: Headers) -> None:
        """Give Reason its form in what ends a call: without any it was ended as calls are."""
        if self.reasons is ReasonForm.Q850 and _q850_in(fields) is None:
            statuses = [cause for protocol, cause in causes_in(fields) if protocol == "sip" and cause >= 300]
            fields.add("Reason", _reason("Q.850", cause_of(statuses[0]) if statuses else NORMAL_CLEARING))
        else:
            self.shape(fields)


def _reason(protocol: str, cause: int) -> str:
    return f"{protocol};cause={cause}"
