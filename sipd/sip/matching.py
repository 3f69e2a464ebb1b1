"""Which transaction a message belongs to (RFC 3261 sections 17.1.3, 17.2.3 and 8.2.2.2).

Keys are tuples of what was parsed anyway: to make and look one up costs about a microsecond. Parameter values are
compared in any case (section 7.3.1), so a key has its branch in lower case.
"""

from __future__ import annotations

from sipd.sip.identifiers import MAGIC_COOKIE
from sipd.sip.message import Request, Response

TransactionKey = tuple[str | int | None, ...]

_COOKIE = MAGIC_COOKIE.lower()


def client_key(branch: str, method: str) -> TransactionKey:
    """Give the key of a client transaction, from the branch and the method of what it sends (section 17.1.3)."""
    return (branch.lower(), method)


def response_key(response: Response) -> TransactionKey:
    """Give the key of the client transaction that a response is for (section 17.1.3).

    Raises:
        ParseError: Via or CSeq is missing or malformed.
    """
    return (response.via.branch.lower(), response.cseq.method)


def server_key(request: Request) -> TransactionKey:
    """Give the key of the server transaction that a request begins or belongs to; an ACK belongs to its INVITE.

    Without the magic cookie the branch is not unique, and the rules of RFC 2543 hold (section 17.2.3). The To tag is
    left out: among requests that agree in all of the rest, only the ACK has another one, that of the response.

    Raises:
        ParseError: Via, From, Call-ID or CSeq is missing or malformed.
    """
    return _server_key(request, "INVITE" if request.method == "ACK" else request.method)


def cancelled_key(cancel: Request) -> TransactionKey:
    """Give the key of the server transaction of the INVITE that a CANCEL is for (section 9.2).

    Raises:
        ParseError: Via, From, Call-ID or CSeq is missing or malformed.
    """
    return _server_key(cancel, "INVITE")


def source_key(request: Request, source: str) -> TransactionKey | None:
    """Give a weaker key for an INVITE and its CANCEL or ACK: the branch and where they came from.

    A client behind NAT that learns its public address between the two writes another sent-by into the second
    (lesson 7). The branch is unique for all time; the source keeps others from ending a call whose branch they saw.

    Args:
        request: an INVITE, ACK or CANCEL.
        source: the numeric address of the peer.

    Returns:
        The key, or ``None`` for a branch that may not be unique.
    """
    branch = request.via.branch.lower()
    return (branch, source) if _is_unique(branch) else None


def merge_key(request: Request) -> TransactionKey | None:
    """Give what a request without a To tag has in common with its copies on other paths (section 8.2.2.2).

    Returns:
        The key, or ``None`` for a request within a dialog, which cannot be merged.
    """
    if request.to.tag is not None:
        return None
    cseq = request.cseq
    return (request.from_.tag, request.call_id, cseq.number, cseq.method)


def _server_key(request: Request, method: str) -> TransactionKey:
    via = request.via
    branch = via.branch.lower()
    if _is_unique(branch):
        return (method, branch, via.host, via.port)
    return (
        method,
        branch,
        via.host,
        via.port,
        request.uri_text,
        request.from_.tag,
        request.call_id,
        request.cseq.number,
    )


def _is_unique(branch: str) -> bool:
    """Say whether a branch is a transaction identifier; the cookie alone is none (RFC 4475 section 3.2.1)."""
    return branch.startswith(_COOKIE) and len(branch) > len(_COOKIE)
