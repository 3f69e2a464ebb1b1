"""What a proxy does with responses: the best one, and the way back by Via (RFC 3261 sections 16.7 and 18.2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sipd.errors import ParseError, TransportError
from sipd.interfaces import ITransportLayer
from sipd.sip.fields import Via
from sipd.sip.grammar import split_commas
from sipd.sip.locate import Target, Transport, is_numeric
from sipd.sip.message import Request, Response
from sipd.transport.via import response_address

_CHALLENGES = ("WWW-Authenticate", "Proxy-Authenticate")
#: Of the 4xx those come first that say how the request would do better (section 16.7, step 6); the last say least.
_RANKS = {401: 0, 407: 0, 415: 1, 420: 1, 484: 1, 487: 3, 408: 4}
_USUAL_RANK = 2


def choose_best(responses: Sequence[Response]) -> Response:
    """Choose what goes back when every branch has its final response, and none is a 2xx (section 16.7, steps 6 and 7).

    A 6xx comes first, then the lowest class; within 4xx what asks for something that the sender could give. Among
    equals the earliest one counts, and in 5xx a 503 comes last. A challenge gets those of the others, too.

    Args:
        responses: 300 to 699, at least one, in the order in which they came.

    Returns:
        One of them, or a copy with more challenges. A 503 may be among them: what becomes of it is not decided here.
    """
    best = min(responses, key=_rank)
    if best.status not in (401, 407):
        return best
    others = [one for one in responses if one is not best and one.status in (401, 407)]
    if not others:
        return best
    best = best.copy()
    for other in others:
        for name in _CHALLENGES:
            best.headers.copy_lines(other.headers, name)
    return best


def _rank(response: Response) -> tuple[int, int]:
    status = response.status
    kind = status // 100
    if kind == 6:
        return 0, 0
    if kind == 4:
        return kind, _RANKS.get(status, _USUAL_RANK)
    return kind, int(status == 503)


def pop_via(response: Response) -> Via | None:
    """Remove this proxy's Via, the topmost one, and give the one that is on top then (section 16.7, step 3).

    Returns:
        ``None`` if there is no other: the response was for this element itself.

    Raises:
        ParseError: there is another one, which is malformed.
    """
    headers = response.headers
    values = [value for value in split_commas(headers.get("Via") or "") if value]
    headers.replace_first("Via", values[1:])
    while "Via" in headers and not any(split_commas(headers.get("Via") or "")):
        headers.replace_first("Via", ())
    return response.via if "Via" in headers else None


def return_to(response: Response, request: Request) -> None:
    """Let the Via of a response be that of the request which this proxy has forwarded, and has a transaction for.

    It is what it should be without this proxy's own value (section 16.7, step 3). Where it is not, the callee has made
    a mistake, or wishes to have something sent to somebody else from here: the lines are those of the request.

    Args:
        response: as it came; changed.
        request: as it came.
    """
    headers = response.headers
    wanted = request.headers.get_all("Via")
    if headers.get_all("Via")[1:] == wanted:
        headers.replace_first("Via", ())
        return
    headers.set("Via", wanted[0])
    headers.replace_first("Via", wanted)


def send_by_via(transport: ITransportLayer, response: Response, via: Via) -> bool:
    """Send a response to where its topmost Via says, without a transaction (sections 16.11 and 18.2.2).

    A connection that the request came on is used while it is open; or else there is a new one.

    Args:
        transport: sends it.
        response: this proxy's Via is off.
        via: the topmost one, stamped by this proxy's transport layer.

    Returns:
        Whether it left: it does not if Via names a transport or a host that is not known.
    """
    try:
        kind = Transport(via.transport)
    except ValueError:
        return False
    host, port = response_address(via, kind)
    if not is_numeric(host) or not port:
        return False
    target = Target(transport=kind, host=host, port=port, server_name=via.host)
    flow = None
    if kind.is_reliable and via.rport and via.rport.isascii() and via.rport.isdigit():
        flow = transport.find_flow(replace(target, port=int(via.rport)))
    try:
        (flow or transport.flow_to(target)).send(response.to_bytes())
    except (TransportError, ParseError):
        return False
    return True
