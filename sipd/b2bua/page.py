"""A MESSAGE as it goes out, and its way to one place (RFC 3428 sections 4 and 8, RFC 3261 sections 8.1 and 18.1.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sipd.b2bua.headers import body_fields, crossing
from sipd.errors import LocalError, RemoteError, TransportError
from sipd.sip.headers import Headers
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.locate import MAX_UDP_REQUEST_OCTETS, Transport, targets_for_size
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri
from sipd.ua.failover import ask_in_turn

if TYPE_CHECKING:
    from sipd.interfaces import Attempt, IFlow
    from sipd.ua.core import UserAgent

#: Octets to expect of what a message has not yet when its size is judged: the Via.
_SIZE_OF_THE_REST = 110
#: What stays on its leg in a call, but is said of the message here: how long it is worth reading (RFC 3428, 4).
_OF_THE_MESSAGE = frozenset(("expires",))


class Page:
    """A message for any number of contacts.

    All get it with the same Call-ID, From tag and CSeq, as from a proxy that forks: a phone that is reached twice knows
    that it is one message (RFC 3261 section 8.2.2.2).

    Args:
        agent: sends it.
        request: as it was received; the body goes on as it is.
    """

    def __init__(self, agent: UserAgent, request: Request) -> None:
        self._agent = agent
        self._body = request.body
        hops = request.max_forwards
        fields = Headers(
            (
                ("Max-Forwards", str((70 if hops is None else hops) - 1)),
                ("From", str(request.from_.without_parameters().with_tag(new_tag(agent.entropy)))),
                ("To", str(request.to.without_parameters())),
                ("Call-ID", new_call_id(agent.entropy)),
                ("CSeq", f"1 {request.method}"),
            )
        )
        if agent.settings.name:
            fields.add("User-Agent", agent.settings.name)
        fields.extend(crossing(request.headers))
        fields.copy_only(request.headers, _OF_THE_MESSAGE)
        fields.extend(body_fields(request.headers))
        self._fields = fields
        self._method = request.method

    async def send(self, attempt: Attempt) -> Response:
        """Give the final response from one place: on the flow of a registration, or by RFC 3263.

        Above 1300 octets it does not go over UDP, but over TCP to the same place (RFC 3428 section 8). Credentials that
        a challenge asks for are not counted.

        Raises:
            RemoteError: there is no response; 513 for a large message where TCP is not spoken.
        """
        agent = self._agent
        request = self._request(attempt)
        fits = len(request.to_bytes()) + _SIZE_OF_THE_REST <= MAX_UDP_REQUEST_OCTETS

        async def send(flow: IFlow, heard: Callable[[Response], None] | None) -> Response:
            return await agent.ask(request.copy(), flow, attempt.credentials, {}, None, heard)

        flow = agent.transport.find_flow(attempt.source) if attempt.source is not None else None
        if flow is not None and (fits or flow.transport.is_reliable):
            try:
                return await send(flow, None)
            except LocalError as error:
                raise TransportError(str(error)) from error
        routes = request.routes
        targets = await agent.resolver.locate(attempt.next_hop or (routes[0].uri if routes else attempt.uri))
        if fits or all(target.transport.is_reliable for target in targets):
            return await ask_in_turn(agent, targets, send)
        larger = targets_for_size(targets, MAX_UDP_REQUEST_OCTETS + 1)
        try:
            return await ask_in_turn(agent, [one for one in larger if one.transport is not Transport.UDP], send)
        except TransportError as error:
            raise RemoteError("Message Too Large", status=513) from error

    def _request(self, attempt: Attempt) -> Request:
        """Build it for one place. It has no Contact (RFC 3428 section 4)."""
        uri = attempt.uri.without_headers() if isinstance(attempt.uri, SipUri) else attempt.uri
        fields = Headers([("Route", route) for route in attempt.route_set])
        fields.extend(self._fields)
        return Request(self._method, uri, fields, self._body)
