"""Requests outside of dialogs that applications send: how they are written, and which way they go (RFC 3261, 8.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipd.errors import RemoteError, TransportError
from sipd.interfaces import Credentials, IFlow
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Fields, Headers
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.locate import MAX_UDP_REQUEST_OCTETS, Target, Transport, targets_for_size
from sipd.sip.message import Request, Response
from sipd.sip.uri import Uri
from sipd.ua.failover import Send, ask_in_turn

if TYPE_CHECKING:
    from sipd.ua.core import UserAgent


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Who asks, and which way a request takes.

    Args:
        from_: who asks; without a tag.
        credentials: for challenges, or ``None``.
        next_hop: where it is sent to; by default to its first Route, or to what it is addressed to.
        route: values of its Route, topmost first, such as those of a Service-Route (RFC 3608).
    """

    from_: NameAddr
    credentials: Credentials | None = field(default=None, repr=False)
    next_hop: Uri | None = None
    route: tuple[str, ...] = ()


class Place:
    """Where requests of one Call-ID go: no dialog, but with numbers and credentials like one (sections 8.1.1, 22.3).

    Args:
        agent: sends them.
        way: that they take.
        target: what they are addressed to.
        to: whom they are for; by default that.

    Attributes:
        nonce_counts: how often each nonce of the other side was used.
    """

    def __init__(self, agent: UserAgent, way: Way, target: Uri, to: NameAddr | None = None) -> None:
        self.nonce_counts: dict[str, int] = {}
        self._agent = agent
        self._way = way
        self._dialog = Dialog(
            call_id=new_call_id(agent.entropy),
            local=way.from_.with_tag(new_tag(agent.entropy)),
            remote=to or NameAddr(target),
            local_sequence=0,
            remote_sequence=None,
            remote_target=target,
            route_set=(),
            contact="",
            is_secure=False,
            state=DialogState.EARLY,
        )

    def request(self, method: str, headers: Fields = (), body: bytes = b"") -> Request:
        """Build the next request, without Contact and Via."""
        fields = Headers([("Route", value) for value in self._way.route])
        fields.extend(headers)
        if self._agent.settings.name:
            fields.add("User-Agent", self._agent.settings.name)
        request = self._dialog.request(method, fields, body)
        # What makes or refreshes a dialog names where it came from, and that is not known yet.
        request.headers.remove("Contact")
        return request

    async def ask(self, request: Request, *, has_contact: bool) -> Response:
        """Send a request that `request` has built; give its final response.

        Args:
            request: goes to the first target that answers, over TCP first where it is too large for UDP.
            has_contact: whether it says where this side is reached.

        Raises:
            RemoteError: there is none.
            LocalError: nothing can be sent from here.
        """
        targets = targets_for_size(await self._locate(request), len(request.to_bytes()))
        return await ask_in_turn(self._agent, targets, self._sending(request, has_contact=has_contact))

    async def ask_reliably(self, request: Request) -> Response:
        """The same without a Contact, and for what must not go over UDP when it is large (RFC 3428 section 8).

        Raises:
            RemoteError: there is none; 513 for what has more than 1300 octets where only UDP is spoken.
            LocalError: nothing can be sent from here.
        """
        targets = await self._locate(request)
        size_octets = len(request.to_bytes())
        send = self._sending(request, has_contact=False)
        if size_octets <= MAX_UDP_REQUEST_OCTETS or all(target.transport.is_reliable for target in targets):
            return await ask_in_turn(self._agent, targets, send)
        larger = targets_for_size(targets, size_octets)
        try:
            return await ask_in_turn(self._agent, [one for one in larger if one.transport is not Transport.UDP], send)
        except TransportError as error:
            raise RemoteError("Message Too Large", status=513) from error

    async def _locate(self, request: Request) -> tuple[Target, ...]:
        routes = request.routes
        next_hop = self._way.next_hop or (routes[0].uri if routes else request.uri)
        return tuple(await self._agent.resolver.locate(next_hop))

    def _sending(self, request: Request, *, has_contact: bool) -> Send:
        agent, dialog = self._agent, self._dialog

        async def send(flow: IFlow, heard: Callable[[Response], None] | None) -> Response:
            attempt = request.copy()
            if request.cseq.number < dialog.local_sequence:
                # Another target has had that number.
                attempt.headers.set("CSeq", f"{dialog.next_number()} {request.method}")
            if has_contact:
                attempt.headers.set("Contact", agent.contact(flow, request.from_.uri, request))
            return await agent.ask(attempt, flow, self._way.credentials, self.nonce_counts, dialog, heard)

        return send
