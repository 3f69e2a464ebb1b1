"""What the lines of a phone say in their dialogs: requests in order, their responses, ACKs (RFC 3261 section 12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, parse_uri
from sipd.testing import builders
from sipd.testing.exchanges import Reply
from sipd.testing.links import Address
from tests.phones.media import MediaError

if TYPE_CHECKING:
    from tests.phones.phone import Phone


#: How often a change is asked for again after 491 or 500.
_MAX_AGAIN = 6


@dataclass(slots=True)
class Asked:
    """An INVITE or UPDATE of the other side that waits for its final response."""

    request: Request
    reply: Reply


@dataclass(slots=True)
class Change:
    """A change that this side asks for.

    Args:
        method: `INVITE` or `UPDATE`.
        wish: what is to be different; `None` to let the other side make the offer.
        again: how often it may still be asked for again.
    """

    method: str
    wish: dict[str, Any] | None
    again: int = _MAX_AGAIN


class Dialog:
    """One dialog of a phone.

    Attributes:
        invite: the INVITE that makes it.
        results: the final status of each request of this side, as `BYE 200`; 0 where none came.
        answers: what this side answered, as `INVITE 491`.
    """

    def __init__(self, phone: Phone, call_id: str, local_tag: str, *, is_caller: bool) -> None:
        self.phone = phone
        self.call_id = call_id
        self.local_tag = local_tag
        self.is_caller = is_caller
        self.results: list[str] = []
        self.answers: list[str] = []
        self.invite: Request | None = None
        self.remote_tag = ""
        self._remote_target = ""
        self._sequence = 0
        self._acks: dict[tuple[int, str], tuple[Request, Address]] = {}

    @property
    def supports_reliable(self) -> bool:
        """Whether the other side, which called, knows 100rel."""
        headers = self.invite.headers if self.invite is not None else None
        return headers is not None and "100rel" in headers.tokens("Supported") | headers.tokens("Require")

    def _answer(self, asked: Asked, status: int, *, headers: builders.Fields = (), body: bytes = b"") -> None:
        request = asked.request
        if status >= 200:
            self.answers.append(f"{request.method} {status}")
        fields = [*headers]
        if request.method == "UPDATE" and status == 200:
            fields.append(("Contact", self.phone.contact))
        asked.reply(
            builders.response(
                request, status, to_tag=self.local_tag, contact=self.phone.contact, headers=fields, body=body
            )
        )

    def _hear(self, take: Callable[[bytes], None], body: bytes) -> bool:
        try:
            take(body)
        except MediaError as error:
            self.phone.complain(self, str(error))
            return False
        return True

    def _send(
        self,
        method: str,
        *,
        headers: builders.Fields = (),
        body: bytes = b"",
        again: Callable[[], None] | None = None,
    ) -> None:
        """Send a request; `again` is called when it may be asked for again, if it was too early."""
        request = self._request(method, headers=headers, body=body)

        def responded(response: Response | None) -> None:
            if response is not None and response.is_provisional:
                return
            self._note(self.results, request, response)
            seconds = response.headers.get("Retry-After") if response is not None and response.status == 500 else None
            if seconds is not None and again is not None:
                self.phone.host.callLater(float(seconds), again)

        self.phone.exchanges.ask(request, self._next_hop(), responded)

    def _request(self, method: str, *, headers: builders.Fields = (), body: bytes = b"") -> Request:
        self._sequence += 1
        return self._in_dialog(method, self._sequence, headers, body)

    def _in_dialog(self, method: str, number: int, headers: builders.Fields, body: bytes) -> Request:
        assert self.invite is not None
        local, remote = self.invite.from_.uri, self.invite.to.uri
        if not self.is_caller:
            local, remote = remote, local
        fields = [*headers]
        return builders.request(
            method,
            self._remote_target or str(remote),
            caller=str(local),
            callee=str(remote),
            from_tag=self.local_tag,
            to_tag=self.remote_tag or None,
            call_id=self.call_id,
            cseq=number,
            via=None,
            contact=self.phone.contact if method in ("INVITE", "UPDATE") else None,
            headers=[one for one in fields if one[0] != "Content-Type"],
            body=body,
            content_type=next((value for name, value in fields if name == "Content-Type"), "application/sdp"),
        )

    def _acknowledge(self, invite: Request, response: Response, body: bytes) -> None:
        """Send the ACK of a 2xx: the same one each time."""
        key = (invite.cseq.number, response.to.tag or "")
        if key not in self._acks:
            ack = self._in_dialog("ACK", invite.cseq.number, (), body)
            self.phone.exchanges.add_via(ack)
            self._acks[key] = (ack, self._next_hop())
        self.phone.exchanges.send(*self._acks[key])

    def _take_dialog(self, response: Response) -> None:
        self.remote_tag = response.to.tag or ""
        self._take_target(response)

    def _take_target(self, response: Response) -> None:
        if response.contacts:
            self._remote_target = str(response.contacts[0].uri)

    def _next_hop(self) -> Address:
        uri = parse_uri(self._remote_target) if self._remote_target else None
        return (uri.host, uri.port or 5060) if isinstance(uri, SipUri) else self.phone.proxy

    def _note(self, notes: list[str], request: Request, response: Response | None) -> None:
        notes.append(f"{request.method} {response.status if response is not None else 0}")
