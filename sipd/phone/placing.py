"""Places a call of a phone: where it goes, what its INVITE says, and where it is sent on to (RFC 3261 section 8.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sipd.errors import LocalError, ParseError, RemoteError
from sipd.interfaces import Credentials, IMediaEndpoint, ListeningPoint
from sipd.phone.dialing import DialOptions, OutgoingCall
from sipd.phone.errors import DialError, dial_error
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.locate import Transport
from sipd.sip.uri import SipUri, Uri
from sipd.ua.bodies import SDP
from sipd.ua.outgoing import CallRequest

if TYPE_CHECKING:
    from sipd.phone.account import Account
    from sipd.phone.phone import Phone

#: Contacts of 3xx that are tried for one call, at most.
MOST_REDIRECTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A call that is wanted.

    Args:
        callee: whom to call.
        caller: who calls.
        headers: more header fields of the INVITE.
        make_media: makes the media, given the listening point that the signalling uses.
        options: see there.
        next_hop: where it goes first, instead of where its route set or its URI lead.
        credentials: for challenges, or `None`.
        call_id: of the first call; empty for one that is made.
        max_redirects: contacts of a 3xx that are tried after it.
    """

    callee: NameAddr
    caller: NameAddr
    headers: tuple[tuple[str, str], ...]
    make_media: Callable[[ListeningPoint], IMediaEndpoint]
    options: DialOptions
    next_hop: Uri | None = None
    credentials: Credentials | None = field(default=None, repr=False)
    call_id: str = ""
    max_redirects: int = 0


async def place(phone: Phone, wanted: Placement) -> OutgoingCall:
    """Call somebody, and whom a 3xx names, until one answers.

    Raises:
        DialError: none does: why the last one does not.
        ParseError: a header field cannot be printed.
        LocalError: the phone is not started, or there are no media.
    """
    pending = [wanted.callee]
    tried = {str(wanted.callee.uri)}
    left = min(wanted.max_redirects, MOST_REDIRECTS)
    while True:
        attempt = pending.pop(0)
        try:
            return await _attempt(phone, wanted, attempt.uri)
        except DialError as error:
            for contact in _contacts(error):
                if left and str(contact.uri) not in tried:
                    tried.add(str(contact.uri))
                    pending.append(contact)
                    left -= 1
            if not pending:
                raise
            # A Call-ID is that of one call (section 8.1.1.4).
            wanted = replace(wanted, call_id="")


async def _attempt(phone: Phone, wanted: Placement, uri: Uri) -> OutgoingCall:
    agent = phone.agent
    request = CallRequest(
        uri=uri.without_headers() if isinstance(uri, SipUri) else uri,
        caller=wanted.caller,
        callee=wanted.callee.without_parameters(),
        headers=Headers(wanted.headers),
        route_set=phone.service_route,
        next_hop=wanted.next_hop,
        credentials=wanted.credentials,
        call_id=wanted.call_id,
    )
    first = request.next_hop or (NameAddr.parse(request.route_set[0]).uri if request.route_set else request.uri)
    try:
        targets = await agent.resolver.locate(first)
        flow = agent.transport.flow_to(targets[0])
    except RemoteError as error:
        raise dial_error(error) from error
    if phone.agent is not agent:
        raise LocalError("The phone was started anew")
    media = wanted.make_media(flow.point)
    try:
        if not wanted.options.late_offer:
            request.body = media.make_offer().to_bytes()
            request.headers.set("Content-Type", SDP)
        session = agent.call(request)
    except (LocalError, RemoteError):
        phone.wait_for(media.close())
        raise
    call = OutgoingCall(phone, session, wanted.callee.without_parameters(), media, wanted.options)
    phone.calls.add(call)
    return await call.start()


def find_next_hop(account: Account | None, proxy: Uri | None, callee: Uri, transport: Transport | None) -> Uri | None:
    """Give where a call goes first; `None` for where its route set, or its URI, lead.

    The transport that a URI names comes first, then the one that is asked for, then that of the DNS.
    """
    place: Uri | None = proxy
    if place is None and account is not None:
        place = account.outbound_proxy
        if place is None and not isinstance(callee, SipUri):
            # A number without a domain is the provider's.
            place = account.registrars[0]
    wanted = place or callee
    if transport is None or not isinstance(wanted, SipUri) or wanted.transport is not None or wanted.is_secure:
        return place
    return wanted.replace(parameters={**wanted.parameters, "transport": transport.uri_parameter})


def _contacts(error: DialError) -> list[NameAddr]:
    """Give the contacts of a 3xx, the best one first."""
    response = error.response
    if response is None or not 300 <= response.status < 400:
        return []
    try:
        contacts = [one for one in response.contacts if isinstance(one.uri, SipUri)]
        return sorted(contacts, key=lambda contact: -contact.q)
    except ParseError:
        return []
