"""A call that goes out: the caller's session (RFC 3261 sections 8.1, 12.1.2 and 13.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sipd.errors import ParseError
from sipd.interfaces import Credentials, IFlow, IServerTransaction
from sipd.sip.dialog import Dialog
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.locate import Target, targets_for_size
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, Uri
from sipd.ua.calling import Calling
from sipd.ua.ending import end
from sipd.ua.events import Answered, Failed, Refused
from sipd.ua.flows import is_behind_nat
from sipd.ua.requesting import USER_METHODS
from sipd.ua.session import Session
from sipd.ua.updating import Updates

if TYPE_CHECKING:
    from sipd.ua.core import UserAgent
    from sipd.ua.settings import AgentSettings


#: Octets to expect of what an INVITE has not yet when its size decides on the transport: request line, Via, Contact.
_SIZE_OF_THE_REST = 250


@dataclass(slots=True, kw_only=True)
class CallRequest:
    """What to call, and how.

    Args:
        uri: the request URI.
        caller: From without a tag.
        callee: To without a tag.
        headers: more header fields, which the call owns from now on: Content-Type if there is a body.
        body: octets.
        max_forwards: 1 to 255; a B2BUA passes on what is left (RFC 7332).
        route_set: Route values, topmost first.
        next_hop: where to send it instead of to the first route or `uri`.
        source: an address whose open flow is preferred to all that: where a registration came from.
        point: name of the listening point to send it from; empty for any that reaches the target.
        credentials: for challenges, or ``None``.
        takes_reliable_offer: whether the callee may make the offer, which `body` does not, before its answer (RFC 3262
            section 5): the caller answers it by `Session.acknowledge_progress`.
        settings: how the user agent presents itself in this call; ``None`` for as ever.
        call_id: its Call-ID, which nobody else uses; empty for one that is made.
    """

    uri: Uri
    caller: NameAddr
    callee: NameAddr
    headers: Headers
    body: bytes = b""
    max_forwards: int = 70
    route_set: tuple[str, ...] = ()
    next_hop: Uri | None = None
    source: Target | None = None
    point: str = ""
    credentials: Credentials | None = None
    takes_reliable_offer: bool = False
    settings: AgentSettings | None = None
    call_id: str = ""


class OutgoingCall(Session):
    """A call offered to a peer. Made by `UserAgent.call`."""

    def __init__(self, agent: UserAgent, call: CallRequest, *, call_id: str, local_tag: str) -> None:
        super().__init__(agent, call_id=call_id, local_tag=local_tag, is_caller=True, settings=call.settings)
        self.credentials = call.credentials
        self.call = call
        takes_offer = call.takes_reliable_offer and not call.body
        self.calling = self._first = Calling(self, self._build(), takes_offer=takes_offer)

    @property
    def invite(self) -> Request:
        """The INVITE as it was sent last."""
        return self._first.request

    def start(self) -> None:
        """Send the INVITE: on the flow of a registration if it is open, else to where RFC 3263 leads."""
        call = self.call
        if call.source is not None:
            flow = self.agent.transport.find_flow(call.source)
            if flow is not None:
                self.is_natted = True
                self._first.start(flow)
                return
        next_hop = call.next_hop or (NameAddr.parse(call.route_set[0]).uri if call.route_set else call.uri)
        located = self.agent.resolver.locate(next_hop)
        located.addCallbacks(self._located, lambda failure: self._first.fail(failure.value))

    def request_received(self, transaction: IServerTransaction) -> None:
        """Take a request of a callee; of one that has not answered, or was not taken, there is little to do."""
        request = transaction.request
        if self.dialog is not None and self.dialog.remote.tag == request.from_.tag:
            super().request_received(transaction)
            return
        early = self._first.early.get(request.from_.tag or "")
        if early is None or self.dialog is not None or self.is_over:
            transaction.respond(request.response(481))
            return
        early.dialog.check_sequence(request)
        if request.method == "UPDATE":
            early.updates.received(transaction)
        elif request.method == "OPTIONS":
            self.agent.answer_options(transaction)
        elif request.method in USER_METHODS:
            # Refused for now, since it is not established.
            self.requests.received(transaction)
        else:
            transaction.respond(request.response(481))

    def updates_in(self, tag: str | None) -> Updates | None:
        """See `Session`. Before the answer the callee has to be named."""
        if self.dialog is not None:
            return super().updates_in(tag)
        early = self._first.early.get(tag or "")
        return None if early is None else early.updates

    def end_waiting(self) -> None:
        """Answer what waits for an answer of the user, of all callees."""
        super().end_waiting()
        for early in self._first.early.values():
            early.updates.end()

    def prepare(self, request: Request, flow: IFlow) -> None:
        """Put the Contact of the flow into the INVITE, the first or a later one."""
        self.flow = flow
        if self.dialog is None:
            request.headers.set("Contact", self.agent.contact(flow, self.call.caller.uri, request))

    def calling_answered(self, calling: Calling, event: Answered) -> None:
        """Take the 2xx; the first one makes the dialog, unless it came too late (section 13.2.2.4)."""
        if self.dialog is None and not self.is_over:
            try:
                self._confirm(calling, event)
            except ParseError as error:
                self.agent.explain(self, f"the answer makes no dialog: {error.reason}")
                end(self, Failed(error))
        if self.dialog is None:
            self.agent.forget(self)
        else:
            super().calling_answered(calling, event)

    def calling_refused(self, calling: Calling, event: Refused) -> None:
        """Take the refusal; of the first INVITE it ends the session."""
        if self.dialog is not None:
            super().calling_refused(calling, event)
        else:
            end(self, event)

    def calling_failed(self, calling: Calling, event: Failed) -> None:
        """Take note that no answer will come; of the first INVITE it ends the session."""
        if self.dialog is not None:
            super().calling_failed(calling, event)
        else:
            end(self, event)

    def _confirm(self, calling: Calling, event: Answered) -> None:
        response = event.response
        early = calling.early.get(response.to.tag or "")
        dialog = Dialog.of_caller(calling.request, response) if early is None else early.dialog
        dialog.confirm(response)
        if early is not None:
            self.updates = early.updates
        for other in calling.early.values():
            if other is not early:
                other.updates.end()
        dialog.local_sequence = max(dialog.local_sequence, calling.request.cseq.number)
        self.dialog = dialog
        if self.flow is not None and not dialog.route_set and not self.is_natted:
            self.is_natted = is_behind_nat(dialog.remote_target, None, self.flow)
        self.agent.add_session(self)
        self.pinging.start()

    def _located(self, targets: Sequence[Target]) -> None:
        if self.call.point:
            targets = [replace(target, point=self.call.point) for target in targets]
        request = self._first.request
        lines = request.headers.lines()
        size = _SIZE_OF_THE_REST + len(request.body) + sum(map(len, lines)) + 2 * len(lines)
        self._first.start_at(targets_for_size(targets, size))

    def _build(self) -> Request:
        """Build the INVITE, but for Via and Contact, which depend on the flow (section 8.1.1)."""
        call = self.call
        uri = call.uri.without_headers() if isinstance(call.uri, SipUri) else call.uri
        own = [("Route", route) for route in call.route_set]
        own += (
            ("Max-Forwards", str(call.max_forwards)),
            ("From", str(call.caller.with_tag(self.local_tag))),
            ("To", str(call.callee)),
            ("Call-ID", self.call_id),
            ("CSeq", "1 INVITE"),
        )
        fields = Headers(own)
        self.agent.add_capabilities(fields, self.settings, has_offer=bool(call.body) or call.takes_reliable_offer)
        fields.extend(self.refreshing.request_fields())
        fields.extend(call.headers)
        return Request("INVITE", uri, fields, call.body)
