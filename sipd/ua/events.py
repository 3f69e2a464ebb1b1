"""What happens to a session, as its user is told (`ISessionUser`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipd.errors import RemoteError
    from sipd.sip.message import Request, Response
    from sipd.ua.answering import Answering
    from sipd.ua.referring import Referring
    from sipd.ua.requesting import Requesting
    from sipd.ua.updating import Updating


class EndedBy(Enum):
    """What ended a session that was established."""

    PEER = "BYE"
    FAILURE = "failure"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Progressed:
    """The callee sent a provisional response, other than 100.

    Args:
        response: the 1xx.
        owes_prack: it makes an offer, and waits for `Session.acknowledge_progress` with the answer.
    """

    response: Response
    owes_prack: bool = False


@dataclass(slots=True)
class ProgressAcknowledged:
    """The caller has acknowledged the provisional response that made an offer: `prack` carries the answer, or none."""

    prack: Request


@dataclass(slots=True)
class Answered:
    """The peer took the INVITE, the first or a later one, or the UPDATE: a 2xx.

    That to INVITE waits for `Session.acknowledge`.

    Args:
        response: the 2xx.
        method: of what it answers, INVITE or UPDATE.
        tag: the peer's in the early dialog of an UPDATE; ``None`` in the session's own.
    """

    response: Response
    method: str = "INVITE"
    tag: str | None = None


@dataclass(slots=True)
class Refused:
    """The peer refused the INVITE, the first or a later one, or the UPDATE: 300 to 699. As for `Answered`."""

    response: Response
    method: str = "INVITE"
    tag: str | None = None


@dataclass(slots=True)
class Failed:
    """The INVITE, or the UPDATE, got no final response, or could not be sent. As for `Answered`."""

    error: RemoteError
    method: str = "INVITE"
    tag: str | None = None


@dataclass(slots=True)
class Cancelled:
    """The caller gave up before the answer; `request` is its CANCEL or BYE. The INVITE is already answered."""

    request: Request


@dataclass(slots=True)
class Acknowledged:
    """The ACK of the 2xx of that INVITE came; `ack` is ``None`` where only a later request proves it."""

    answering: Answering
    ack: Request | None


@dataclass(slots=True)
class Reinvited:
    """The peer wants to change the session: answer it by `answering`."""

    answering: Answering


@dataclass(slots=True)
class Updated:
    """The peer wants to change the session, and asks by UPDATE or PRACK: answer it by `updating`."""

    updating: Updating


@dataclass(slots=True)
class Introduced:
    """The peer says in an UPDATE that changes nothing else who it is now (RFC 4916); it is answered already."""

    request: Request


@dataclass(slots=True)
class Referred:
    """The peer asks this side to contact somebody, by REFER: answer it by `referring`."""

    referring: Referring


@dataclass(slots=True)
class Requested:
    """The peer asks for something that is the user's affair, by INFO, MESSAGE or NOTIFY: answer it by `requesting`."""

    requesting: Requesting


@dataclass(slots=True)
class Ended:
    """The session is over, and this side did not end it.

    Args:
        by: BYE, or a failure.
        text: one line for a person.
        request: the BYE.
    """

    by: EndedBy
    text: str
    request: Request | None = None


SessionEvent = (
    Progressed
    | ProgressAcknowledged
    | Answered
    | Refused
    | Failed
    | Cancelled
    | Acknowledged
    | Reinvited
    | Updated
    | Introduced
    | Referred
    | Requested
    | Ended
)
