"""What an endpoint sends by itself: requests with and without transactions, and the ACK of a 2xx."""

from __future__ import annotations

from collections.abc import Callable

from sipd.errors import LocalError
from sipd.interfaces import Credentials, IClientTransaction, IFlow, ITransactionUser
from sipd.sip.dialog import Dialog
from sipd.sip.headers import Fields
from sipd.sip.locate import Target, targets_for_size
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, Uri
from sipd.ua.accepting import Accepted
from sipd.ua.completing import NEEDS_CONTACT, Completion
from sipd.ua.core import UserAgent
from sipd.ua.failover import ask_in_turn
from sipd.ua.stack import Layers


class Sending:
    """Sends requests by the layers. `Endpoint` says what each of its methods does.

    Args:
        layers: what they leave by.
        agent: answers challenges.
        completion: fills in what they lack.
        accepted: keeps ACKs.
    """

    def __init__(self, layers: Layers, agent: UserAgent, completion: Completion, accepted: Accepted) -> None:
        self._layers = layers
        self._agent = agent
        self._completion = completion
        self._accepted = accepted

    def contact(self, flow: IFlow, uri: Uri | None = None) -> str:
        """Give the Contact value for a flow, with the user of that URI."""
        return self._agent.contact(flow, uri if uri is not None else SipUri(host="anonymous.invalid"))

    async def request(
        self,
        request: Request,
        credentials: Credentials | None,
        provisional: Callable[[Response], object] | None,
        to: IFlow | Target | None,
    ) -> Response:
        """See `Endpoint`."""
        plain = self._completion.complete(request)

        async def send(flow: IFlow, heard: Callable[[Response], None] | None) -> Response:
            def tell(response: Response) -> None:
                if heard is not None:
                    heard(response)
                if provisional is not None:
                    provisional(response)

            attempt = self._with_contact(plain.copy(), flow)
            return await self._agent.ask(attempt, flow, credentials, {}, None, tell)

        if to is None or isinstance(to, Target):
            targets = [to] if to is not None else await self._layers.resolver.locate(_next_hop(plain))
            response = await ask_in_turn(self._agent, targets_for_size(targets, len(plain.to_bytes())), send)
        else:
            response = await send(to, None)
        self._completion.used(response.cseq.number)
        return response

    async def start(self, request: Request, user: ITransactionUser, to: IFlow | Target | None) -> IClientTransaction:
        """See `Endpoint`."""
        plain = self._completion.complete(request)
        flow = await self._flow(_next_hop(plain), to)
        return self._layers.transactions.start(self._with_contact(plain, flow), flow, user)

    async def acknowledge(
        self, invite: Request, response: Response, headers: Fields, body: bytes, to: IFlow | None
    ) -> Dialog:
        """See `Endpoint`."""
        sent = invite.copy()
        for name in ("From", "Call-ID", "CSeq"):
            sent.headers.set(name, response.headers.get(name) or "")
        dialog = Dialog.of_caller(sent, response)
        flow = await self._flow(dialog.next_hop, to)
        dialog.contact = dialog.contact or self.contact(flow, sent.from_.uri)
        ack = dialog.ack(sent, headers, body)
        self._layers.transactions.send_ack(ack, flow)
        self._accepted.sent(ack, flow)
        return dialog

    async def send_stateless(self, message: Request | Response, to: IFlow | Target | None) -> None:
        """See `Endpoint`."""
        if isinstance(message, Request):
            plain = self._completion.complete(message)
            self._layers.transactions.send_ack(plain, await self._flow(_next_hop(plain), to))
        elif isinstance(to, Target):
            self._layers.transport.flow_to(to).send(message.to_bytes())
        elif to is not None:
            self._layers.transport.send_response(message, to)
        else:
            raise LocalError("A response needs the flow of its request")

    async def _flow(self, uri: Uri, to: IFlow | Target | None) -> IFlow:
        if to is None:
            to = (await self._layers.resolver.locate(uri))[0]
        return self._layers.transport.flow_to(to) if isinstance(to, Target) else to

    def _with_contact(self, request: Request, flow: IFlow) -> Request:
        if request.method in NEEDS_CONTACT and "Contact" not in request.headers:
            request.headers.add("Contact", self._agent.contact(flow, request.from_.uri, request))
        return request


def _next_hop(request: Request) -> Uri:
    routes = request.routes
    return routes[0].uri if routes else request.uri
