"""A request outside of calls as it goes out, and its way to one place (RFC 3261 sections 8.1 and 18.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sipd.b2bua.headers import body_fields, crossing
from sipd.errors import LocalError, TransportError
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.identity import ANONYMOUS
from sipd.sip.locate import Target, targets_for_size
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, Uri
from sipd.ua.failover import Send, ask_in_turn

if TYPE_CHECKING:
    from sipd.b2bua.identity import Identities
    from sipd.interfaces import Attempt, IFlow, LegPolicy
    from sipd.ua.core import UserAgent

#: Octets to expect of what a request has not yet when its size is judged.
_SIZE_OF_VIA = 110
_SIZE_OF_CONTACT = 100


class Errand:
    """A request for any number of contacts.

    All get it with the same Call-ID, From tag and CSeq, as from a proxy that forks: a phone that is reached twice knows
    that it is one request (RFC 3261 section 8.2.2.2).

    Args:
        agent: sends it.
        request: as it was received; the body goes on as it is.
        identities: what each place is told of who sends it.
        own: fields that belong to a leg in a call, in lower case, but cross with this request.
        has_contact: whether it makes a dialog.

    Attributes:
        request: it, without what depends on the place: Route, Contact, Via, and who sends it.
    """

    def __init__(
        self,
        agent: UserAgent,
        request: Request,
        identities: Identities,
        own: frozenset[str],
        *,
        has_contact: bool = False,
    ) -> None:
        self.agent = agent
        self._received = request
        self._identities = identities
        self._has_contact = has_contact
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
        fields.copy_only(request.headers, own)
        fields.extend(body_fields(request.headers))
        self.request = Request(request.method, request.uri, fields, request.body)

    async def send(self, attempt: Attempt) -> Response:
        """Give the final response from one place: on the flow of a registration, or by RFC 3263.

        Raises:
            RemoteError: there is none.
        """
        agent = self.agent
        request = self._made_for(attempt)

        async def send(flow: IFlow, heard: Callable[[Response], None] | None) -> Response:
            made = request.copy()
            if self._has_contact:
                made.headers.add("Contact", agent.contact(flow, made.from_.uri))
            return await agent.ask(made, flow, attempt.credentials, {}, None, heard)

        size_octets = len(request.to_bytes()) + _SIZE_OF_VIA + (_SIZE_OF_CONTACT if self._has_contact else 0)
        flow = agent.transport.find_flow(attempt.source) if attempt.source is not None else None
        if flow is not None and self.may_use(flow, size_octets):
            try:
                return await send(flow, None)
            except LocalError as error:
                raise TransportError(str(error)) from error
        targets = await agent.resolver.locate(attempt.next_hop or _next_hop(request))
        if attempt.point:
            targets = [replace(target, point=attempt.point) for target in targets]
        return await self.ask(targets, size_octets, send)

    def may_use(self, flow: IFlow, size_octets: int) -> bool:
        """Say whether it may go out on the open flow of a registration."""
        return True

    async def ask(self, targets: Sequence[Target], size_octets: int, send: Send) -> Response:
        """Ask one of the targets that were found: for a large request TCP first, UDP where there is none."""
        return await ask_in_turn(self.agent, targets_for_size(targets, size_octets), send)

    def _made_for(self, attempt: Attempt) -> Request:
        uri = attempt.uri.without_headers() if isinstance(attempt.uri, SipUri) else attempt.uri
        side = self._identities.side_of(attempt)
        caller = side.from_(self._received)
        if caller is ANONYMOUS:
            # For one place, and so for all that follow: it is one request.
            self.request.headers.set("From", str(caller.with_tag(self.request.from_.tag or "")))
        fields = Headers([("Route", route) for route in attempt.route_set])
        fields.extend(self.request.headers)
        if side.policy is not None:
            self._follow(side.policy, fields, caller)
        side.cross(self._received, fields)
        return Request(self.request.method, uri, fields, self.request.body)

    @staticmethod
    def _follow(policy: LegPolicy, fields: Headers, caller: NameAddr) -> None:
        """Write From and User-Agent as the policy of that place wants them."""
        tag = NameAddr.parse(fields.get("From") or "").tag or ""
        fields.set("From", str(caller.with_tag(tag)))
        if policy.own_name:
            fields.set("User-Agent", policy.own_name)
        elif policy.own_name is not None:
            fields.remove("User-Agent")


def _next_hop(request: Request) -> Uri:
    routes = request.routes
    return routes[0].uri if routes else request.uri
