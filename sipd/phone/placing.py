"""Places a call of a phone: where it goes, what its INVITE says, and where it is sent on to (RFC 3261 section 8.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from sipd.errors import InvalidStateError, ParseError, RemoteError
from sipd.interfaces import Credentials, IFlow, IMediaEndpoint, ListeningPoint
from sipd.phone.dialing import DialOptions, OutgoingCall
from sipd.phone.errors import DialError, dial_error
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.locate import Transport
from sipd.sip.uri import SipUri, Uri
from sipd.ua.bodies import SDP
from sipd.ua.outgoing import CallRequest
from sipd.ua.settings import NO_CREDENTIALS

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.phone.account import Account
    from sipd.phone.phone import Phone

#: Contacts of 3xx that are tried for one call, at most.
MOST_REDIRECTS = 10
#: Header fields that only those who are trusted may read (RFC 3325 section 5).
_FOR_TRUSTED = ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID")


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
        credentials: for challenges, or ``None``.
        call_id: of the first call; empty for one that is made.
        max_redirects: contacts of a 3xx that are tried after it.
        is_sent: somebody else has chosen the callee, as by REFER.
        keeps_media: `make_media` gives the same media each time.
        is_given_up: says whether nobody wants it any more.
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
    is_sent: bool = False
    keeps_media: bool = False
    is_given_up: Callable[[], bool] = bool


async def place(phone: Phone, wanted: Placement) -> OutgoingCall:
    """Call somebody, and whom a 3xx names, until one answers.

    Who was chosen by somebody else may be a stranger, who could make use of the answer to a challenge: the account's
    credentials, and what only those who are trusted may read, are for the account's own domain, for what its proxy or
    its registrar's host takes on, and for the host that the application has chosen.

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
            for contact in () if wanted.keeps_media else _contacts(error, wanted.callee.uri):
                if left and str(contact.uri) not in tried:
                    tried.add(str(contact.uri))
                    pending.append(contact)
                    left -= 1
            if not pending:
                raise
            # A Call-ID is that of one call (section 8.1.1.4).
            wanted = replace(wanted, call_id="", is_sent=True)


async def _attempt(phone: Phone, wanted: Placement, uri: Uri) -> OutgoingCall:
    agent = phone.agent
    if not phone.running:
        raise InvalidStateError("The phone is being stopped")
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
    if phone.agent is not agent or not phone.running:
        raise InvalidStateError("The phone was stopped meanwhile")
    if wanted.is_sent and _is_stranger(phone, wanted, request, flow):
        request.credentials = NO_CREDENTIALS
        for name in _FOR_TRUSTED:
            request.headers.remove(name)
    media = wanted.make_media(flow.point)
    session = None
    try:
        await media.prepare()
        if phone.agent is not agent or not phone.running:
            raise InvalidStateError("The phone was stopped meanwhile")
        if not wanted.options.late_offer:
            request.body = media.make_offer().to_bytes()
            request.headers.set("Content-Type", SDP)
        session = agent.call(request)
    finally:
        if session is None:
            phone.wait_for(media.close())
    call = OutgoingCall(phone, session, wanted.callee.without_parameters(), media, wanted.options)
    phone.calls.add(call)
    dialing = call.start()
    if wanted.is_given_up():
        # Somebody has cancelled it when it was told that the INVITE leaves.
        dialing.cancel()
    return await dialing


def placing(phone: Phone, make: Callable[[], Placement]) -> Deferred[OutgoingCall]:
    """Give a Deferred of what `place` gives; cancelling it counts at any moment, inside of a hook, too.

    Args:
        phone: that calls.
        make: says what is wanted; what it raises the Deferred fails with.
    """

    async def run() -> OutgoingCall:
        return await place(phone, replace(make(), is_given_up=lambda: placed.called))

    placed: Deferred[OutgoingCall] = Deferred(lambda _: running.cancel())
    running = Deferred.fromCoroutine(run())
    running.addCallbacks(_hand_over, _fail, callbackArgs=(placed,), errbackArgs=(placed,))
    return placed


def _hand_over(call: OutgoingCall, placed: Deferred[OutgoingCall]) -> None:
    if placed.called:
        call.hang_up()
    else:
        placed.callback(call)


def _fail(failure: Failure, placed: Deferred[OutgoingCall]) -> None:
    if not placed.called:
        placed.errback(failure)


def find_next_hop(account: Account | None, proxy: Uri | None, callee: Uri, transport: Transport | None) -> Uri | None:
    """Give where a call goes first; ``None`` for where its route set, or its URI, lead.

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


def _is_stranger(phone: Phone, wanted: Placement, request: CallRequest, flow: IFlow) -> bool:
    """Say whether a call goes where neither the account nor the application has a say: see `place`."""
    account = phone.account
    known = set() if account is None else {account.aor.host, *[one.host for one in account.registrars]}
    if account is not None and account.outbound_proxy is not None:
        known.add(account.outbound_proxy.host)
    if wanted.callee.uri is not request.uri and isinstance(wanted.callee.uri, SipUri) and wanted.max_redirects:
        known.add(wanted.callee.uri.host)
    registration = phone.registration
    if registration is not None and registration.flow is not None and registration.flow.host == flow.host:
        return False
    first = request.next_hop or request.uri
    hosts = {host.lower() for host in known}
    return not request.route_set and not (isinstance(first, SipUri) and first.host.lower() in hosts)


def _contacts(error: DialError, callee: Uri) -> list[NameAddr]:
    """Give the contacts of a 3xx, best first; from ``sips`` there is no way back to ``sip`` (section 26.2.2)."""
    response = error.response
    if response is None or not 300 <= response.status < 400:
        return []
    try:
        must_be_secure = isinstance(callee, SipUri) and callee.is_secure
        contacts = [
            one
            for one in response.contacts
            if isinstance(one.uri, SipUri) and (one.uri.is_secure or not must_be_secure)
        ]
        return sorted(contacts, key=lambda contact: -contact.q)
    except ParseError:
        return []
