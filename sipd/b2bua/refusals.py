"""What the caller is answered when nobody took the call (RFC 3261 sections 16.7 and 21)."""

from __future__ import annotations

from dataclasses import dataclass

from sipd.errors import (
    LocalError,
    ParseError,
    RemoteError,
    TransactionTimeoutError,
    TransportError,
    UnresolvableError,
)
from sipd.sip.message import Response
from sipd.sip.status import reason_phrase


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final status for the caller.

    Args:
        status: 300 to 699.
        reason: the phrase that the caller is told.
        response: where it comes from, if a callee gave it.
        cause: a short word for the record: ``sip:486``, ``timeout``, ``refused``, ``unresolvable``, ... (lesson 12).
        detail: what log and record say instead of the phrase: it may name addresses that the caller is not to know.
    """

    status: int
    reason: str
    response: Response | None = None
    cause: str = ""
    detail: str = ""

    @property
    def account(self) -> str:
        """What log and record say of it."""
        return self.detail or self.reason

    @classmethod
    def of_response(cls, response: Response) -> Refusal:
        """Give what a callee's final response means to the caller."""
        cause = f"sip:{response.status}"
        if response.status in (401, 407):
            # A challenge is for whoever has credentials there: this user agent, not the caller.
            return cls(502, "The Other Side Wants Credentials", None, cause)
        # A 503 is about that server; from here it would say that this one is overloaded (section 16.7 step 6).
        status = response.status if response.status != 503 else 500
        return cls(status, response.reason, response, cause)

    @classmethod
    def of_error(cls, error: RemoteError | LocalError, *, status: int | None = None) -> Refusal:
        """Give what it means to the caller that there is no final response, or none that anybody can read.

        Who could not be reached, and what this server lacks, are not for the caller: the topology is hidden.

        Args:
            error: what went wrong.
            status: instead of the one that the error has.
        """
        cause = "timeout" if isinstance(error, TransactionTimeoutError) else type(error).__name__
        if isinstance(error, LocalError):
            status = status or 500
            return cls(status, reason_phrase(status), None, cause, str(error))
        status = status or (error.status if error.status not in (400, 503) else 502)
        if isinstance(error, TransportError | UnresolvableError):
            return cls(status, "The Other Side Is Unreachable", None, cause, error.reason)
        return cls(status, error.reason, None, cause)

    @classmethod
    def of_own(cls, error: RemoteError | LocalError) -> Refusal:
        """Give what a sender is told of an error in its own request, or of one that kept it from going anywhere."""
        return cls.of_error(error, status=error.status if isinstance(error, ParseError) else None)


def choose(refusals: list[Refusal]) -> Refusal:
    """Choose the best of several: a 6xx, else of the lowest class one that helps (section 16.7 step 6)."""
    if not refusals:
        return Refusal(480, "Nobody To Call", None, "no-attempt")
    return min(refusals, key=_rank)


def _rank(refusal: Refusal) -> tuple[int, int]:
    kind = refusal.status // 100
    helps = refusal.status in (415, 420, 484, 486, 488)
    return (0 if kind == 6 else kind, 0 if helps else 1)
