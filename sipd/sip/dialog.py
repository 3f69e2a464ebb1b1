"""Dialogs (RFC 3261 section 12): the state two user agents share, and the one builder of every request inside it.

A dialog is one mutable object with an identity; it is never copied. Its route set is fixed when the dialog is created,
and computed again only when a 2xx confirms it (section 13.2.2.4); a target refresh never touches it.
"""

from __future__ import annotations

from enum import Enum

from sipd.errors import ParseError, RequestRefusedError
from sipd.sip.digest import proven_credentials
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Fields, Headers
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, Uri

#: Call-ID, local tag, remote tag (section 12).
DialogKey = tuple[str, str, str]

#: Requests that refresh the remote target (section 12.2; RFC 3311, RFC 6665, RFC 5057 section 5.4).
TARGET_REFRESH = frozenset(("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"))


class DialogState(Enum):
    """Where a dialog stands."""

    EARLY = "early"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"

    __hash__ = object.__hash__


class Dialog:
    """A dialog as one of its two ends sees it.

    Attributes:
        call_id: of every message in it.
        local: the local address with the local tag.
        remote: the remote address with the remote tag; a peer of RFC 2543 has none.
        local_sequence: the CSeq number of the last request sent.
        remote_sequence: the CSeq number of the last request received, or ``None``.
        remote_target: where requests are addressed to: the peer's Contact.
        route_set: Route values, topmost first.
        contact: the local Contact value, put on every request that refreshes the target.
        is_secure: made by a ``sips`` request over TLS.
        state: early, confirmed or terminated.
        authorizations: names and values of the credentials that the peer's side took last; later requests repeat them
            (section 22.3).
        standing: header fields of each request inside it that has none of that name: Session-ID (RFC 7989 section 6).
    """

    __slots__ = (
        "authorizations",
        "call_id",
        "contact",
        "is_secure",
        "local",
        "local_sequence",
        "remote",
        "remote_sequence",
        "remote_target",
        "route_set",
        "standing",
        "state",
    )

    def __init__(
        self,
        *,
        call_id: str,
        local: NameAddr,
        remote: NameAddr,
        local_sequence: int,
        remote_sequence: int | None,
        remote_target: Uri,
        route_set: tuple[NameAddr, ...],
        contact: str,
        is_secure: bool,
        state: DialogState,
        authorizations: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.local_sequence = local_sequence
        self.remote_sequence = remote_sequence
        self.remote_target = remote_target
        self.route_set = route_set
        self.contact = contact
        self.is_secure = is_secure
        self.state = state
        self.authorizations = authorizations
        self.standing: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_caller(cls, request: Request, response: Response) -> Dialog:
        """Make the dialog of a UAC from its request and a 1xx or 2xx (section 12.1.2).

        A response that lacks its Contact leaves the request URI as the target: better an ACK there than none.

        Raises:
            ParseError: the response has a malformed Contact or Record-Route.
        """
        return cls(
            call_id=request.call_id,
            local=request.from_,
            remote=response.to,
            local_sequence=request.cseq.number,
            remote_sequence=None,
            remote_target=response.contacts[0].uri if response.contacts else request.uri,
            route_set=response.record_routes[::-1],
            contact=request.headers.get("Contact") or "",
            is_secure=isinstance(request.uri, SipUri) and request.uri.is_secure,
            state=DialogState.CONFIRMED if response.is_success else DialogState.EARLY,
            authorizations=proven_credentials(request, response),
        )

    @classmethod
    def of_callee(cls, request: Request, tag: str, contact: str) -> Dialog:
        """Make the dialog of a UAS from the request it takes (section 12.1.1); early until it is confirmed.

        Raises:
            ParseError: the request has no usable Contact, or a malformed Record-Route.
        """
        return cls(
            call_id=request.call_id,
            local=request.to.with_tag(tag),
            remote=request.from_,
            local_sequence=0,
            remote_sequence=request.cseq.number,
            remote_target=_target(request.contacts),
            route_set=request.record_routes,
            contact=contact,
            is_secure=isinstance(request.uri, SipUri) and request.uri.is_secure,
            state=DialogState.EARLY,
        )

    @property
    def key(self) -> DialogKey:
        """What identifies it at this end."""
        return self.call_id, self.local.tag or "", self.remote.tag or ""

    @property
    def next_hop(self) -> Uri:
        """The URI that says where its requests are sent to (section 8.1.2): the first route, or the remote target."""
        return self.route_set[0].uri if self.route_set else self.remote_target

    def confirm(self, response: Response) -> None:
        """Take a 2xx as UAC: confirmed, target and route set computed again from it (section 13.2.2.4).

        Raises:
            ParseError: the response has a malformed Contact or Record-Route.
        """
        if self.state is DialogState.EARLY:
            self.route_set = response.record_routes[::-1]
            self.state = DialogState.CONFIRMED
        self.refresh_target(response)

    def refresh_target(self, message: Request | Response) -> None:
        """Take the Contact of a target refresh request, or of its 2xx, if there is one (section 12.2).

        Raises:
            ParseError: the Contact is malformed.
        """
        if message.contacts:
            self.remote_target = message.contacts[0].uri

    def request(self, method: str, headers: Fields = (), body: bytes = b"") -> Request:
        """Build the next request inside the dialog (section 12.2.1.1).

        Args:
            method: any but ACK and CANCEL.
            headers: more header fields, Content-Type among them if there is a body.
            body: octets.
        """
        return self._build(method, self.next_number(), headers, body)

    def next_number(self) -> int:
        """Give the CSeq number of the next request; it counts as sent."""
        self.local_sequence += 1
        return self.local_sequence

    def ack(self, invite: Request, headers: Fields = (), body: bytes = b"") -> Request:
        """Build the ACK of a 2xx: the INVITE's number and credentials (section 13.2.2.4)."""
        ack = self._build("ACK", invite.cseq.number, headers, body)
        for name in ("Authorization", "Proxy-Authorization"):
            ack.headers.copy_lines(invite.headers, name)
        return ack

    def check_sequence(self, request: Request) -> None:
        """Take the CSeq of a request from the peer; not for ACK (section 12.2.2).

        Raises:
            RequestRefusedError: 500, the number is not larger than the last one.
        """
        number = request.cseq.number
        if self.remote_sequence is not None and number <= self.remote_sequence:
            raise RequestRefusedError("CSeq is out of order", status=500)
        self.remote_sequence = number

    def _build(self, method: str, number: int, headers: Fields, body: bytes) -> Request:
        uri = self.remote_target
        routes = self.route_set
        if routes and not _is_loose(routes[0]):
            # A strict router: it is the request URI, and the target goes to the end (section 12.2.1.1).
            uri, routes = routes[0].uri, (*routes[1:], NameAddr(self.remote_target))
        if isinstance(uri, SipUri):
            uri = uri.without_headers()
        own = [("Route", str(route)) for route in routes]
        own += (
            ("Max-Forwards", "70"),
            ("From", str(self.local)),
            ("To", str(self.remote)),
            ("Call-ID", self.call_id),
            ("CSeq", f"{number} {method}"),
        )
        if method in TARGET_REFRESH or method == "OPTIONS":
            own.append(("Contact", self.contact))
        fields = Headers(own)
        fields.extend(headers)
        for name, value in self.standing:
            if name not in fields:
                fields.add(name, value)
        return Request(method, uri, fields, body)

    def __repr__(self) -> str:
        return f"<Dialog {self.call_id} {self.state.value}>"


def _target(contacts: tuple[NameAddr, ...]) -> Uri:
    if not contacts:
        raise ParseError("Contact is missing")
    return contacts[0].uri


def _is_loose(route: NameAddr) -> bool:
    return isinstance(route.uri, SipUri) and "lr" in route.uri.parameters
