"""Every joint between two layers, and those for applications.

Each interface is written from the side that calls it. The values that cross a joint stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

from sipd.errors import RequestRefusedError
from sipd.policies import CryptoPolicy as CryptoPolicy
from sipd.policies import Dtmf as Dtmf
from sipd.policies import EarlyMedia as EarlyMedia
from sipd.policies import MediaPolicy as MediaPolicy
from sipd.records import CallRecord as CallRecord
from sipd.records import Decision as Decision
from sipd.records import StreamStatistics as StreamStatistics
from sipd.sip.locate import Target, Transport

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.errors import RemoteError, TransportError
    from sipd.sdp.description import AddressType, SessionDescription
    from sipd.sdp.streams import Slots
    from sipd.sip.message import Request, Response
    from sipd.sip.uri import Uri

#: Gives that many octets of randomness: `secrets.token_bytes`, or a seeded source in a simulation.
Entropy = Callable[[int], bytes]


# --- transport ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningPoint:
    """Where sipd listens, and what it tells others about it (RFC 3261 section 18.2.1).

    Args:
        name: as in the configuration; appears in logs and in a call's explanation.
        transport: of every flow that begins here.
        host: the numeric address that is bound, without brackets.
        port: the port that is bound.
        advertised_host: what Via, Contact and Record-Route say instead of `host` (behind NAT, in a container).
        advertised_port: the same for the port.
    """

    name: str
    transport: Transport
    host: str
    port: int
    advertised_host: str
    advertised_port: int

    @property
    def sent_by(self) -> str:
        """`host:port` for Via and Contact; an IPv6 address in brackets (RFC 3261 section 18.1.1)."""
        host = self.advertised_host
        return f"[{host}]:{self.advertised_port}" if ":" in host else f"{host}:{self.advertised_port}"


class IFlow(Interface):
    """One UDP 5-tuple or one connection. A dialog is pinned to the flow that worked (lesson 1)."""

    transport: Transport = Attribute("How it carries messages.")
    point: ListeningPoint = Attribute("The listening point whose address stands in Via and Contact.")
    host: str = Attribute("The peer's numeric address, without brackets.")
    port: int = Attribute("The peer's port.")
    is_open: bool = Attribute("False once the connection has ended or failed; always true for UDP.")
    #: Which certificate the peer proved to have, as DNS and SIP-URI names; empty without a verified one.
    peer_names: tuple[str, ...] = Attribute("Verified names of the peer.")

    def send(data: bytes) -> None:
        """Send one printed message. Never raises: a failure arrives later as `IMessageReceiver.flow_failed`."""

    def close() -> None:
        """End a connection in good order. Does nothing for UDP."""


class IMessageReceiver(Interface):
    """What stands above the transport layer: the transaction layer."""

    def message_received(message: Request | Response, flow: IFlow) -> None:
        """Take a message whose Via, From, To, Call-ID and CSeq are present and parse.

        For a request, `received` and `rport` are already in its topmost Via (RFC 3581).
        """

    def flow_failed(flow: IFlow, error: TransportError) -> None:
        """Take note that a connection ended or could not be made. Whatever waits on it has failed."""


class ITransportLayer(Interface):
    """Sends for the transaction layer; chooses and reuses flows (RFC 3261 section 18, RFC 5923)."""

    receiver: IMessageReceiver | None = Attribute("Who takes messages; set once, before anything is received.")
    points: Sequence[ListeningPoint] = Attribute("The listening points that are open, in configured order.")

    def flow_to(target: Target) -> IFlow:
        """Give a flow to that target: an open one, or a new one that connects by itself.

        Messages sent on a flow that is still connecting wait in its bounded queue.

        Raises:
            TransportError: no listening point speaks that transport and address family.
        """

    def find_flow(target: Target) -> IFlow | None:
        """Give the open flow to exactly that address, or `None`. UDP always has one. Never connects.

        `target.server_name` is ignored: this is for sending back to who came here, not for reaching a name.
        """

    def send_response(response: Response, flow: IFlow) -> None:
        """Send a response to where RFC 3261 section 18.2.2 and RFC 3581 say, given the request's flow."""


class IMessageObserver(Interface):
    """A tap on the transport layer: sees every message, both ways, as it is on the wire."""

    def message_seen(data: bytes, flow: IFlow, *, sent: bool) -> None:
        """Take one message. Called before it is parsed (received) or just as it is written (sent)."""


class IResolver(Interface):
    """RFC 3263: from a URI to places."""

    def locate(uri: Uri) -> Deferred[Sequence[Target]]:
        """Give the targets of a request URI or topmost Route, in the order to be tried; at least one.

        Fails with `UnresolvableError`.
        """

    def target_failed(target: Target, rest: float | None = None) -> None:
        """Take note that a target did not take a request: for a while it is given after all others.

        Args:
            target: that failed.
            rest: seconds for which it wishes to be spared; `None` where it did not say.
        """


# --- transactions ------------------------------------------------------------------------------------------


class ITransactionUser(Interface):
    """What owns a client transaction; RFC 3261 section 5 calls it the TU."""

    def response_received(response: Response) -> None:
        """Take a response. 2xx to an INVITE may come more than once (forking, lost ACK)."""

    def transaction_failed(error: RemoteError) -> None:
        """Take note that no final response will come. Called at most once, and never after a final response."""


class IClientTransaction(Interface):
    """A client transaction as its user sees it."""

    request: Request = Attribute("The request as sent, Via included.")
    flow: IFlow = Attribute("What it was sent on.")
    user: ITransactionUser | None = Attribute("Told what becomes of it; may be another one from now on.")

    def cancel(headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send CANCEL (RFC 3261 section 9.1): at once if a 1xx came, else when it comes. Idempotent.

        Does nothing once a final response is here, or for a request that is not INVITE. `headers` go into the
        CANCEL (Reason, RFC 3326). A 2xx may still come.
        """


class IServerTransactionUser(Interface):
    """What owns a server transaction, from the first moment it wants to know of failures."""

    def transaction_failed(error: RemoteError) -> None:
        """Take note that a final response was not acknowledged (timer H), or could not be sent."""


class IServerTransaction(Interface):
    """A server transaction as the core sees it."""

    request: Request = Attribute("The request as received.")
    flow: IFlow = Attribute("What it came on.")
    user: IServerTransactionUser | None = Attribute("Told of failures; set by whoever takes the request.")
    is_answered: bool = Attribute("Whether a final response was given.")
    standing: Sequence[tuple[str, str]] = Attribute("Header fields of each response that has none of that name.")

    def respond(response: Response) -> None:
        """Send a response. After a final one others are absorbed, except 2xx to INVITE again (RFC 6026)."""


class ITransactionCore(Interface):
    """What stands above the transaction layer: the user agent core."""

    def request_received(transaction: IServerTransaction) -> None:
        """Take a new request, any method but ACK and CANCEL."""

    def cancel_received(cancel: Request, transaction: IServerTransaction) -> None:
        """Take note of a CANCEL for that INVITE; the CANCEL itself is already answered (section 9.2)."""

    def ack_received(ack: Request, flow: IFlow) -> None:
        """Take an ACK that is not a server transaction's own: one for a 2xx, or a stray one."""

    def response_received(response: Response, flow: IFlow) -> None:
        """Take a response without a client transaction: a late 2xx to INVITE, or a stray one."""


class ITransactionLayer(Interface):
    """RFC 3261 section 17 as the core uses it."""

    def start(request: Request, flow: IFlow, user: ITransactionUser) -> IClientTransaction:
        """Send a request in a new client transaction. Adds the Via, with a new branch, on top.

        ACK is not for this: see `send_ack`. A response never arrives before this returns.
        """

    def request(
        request: Request, flow: IFlow, provisional: Callable[[Response], None] | None = None
    ) -> Deferred[Response]:
        """The same as a Deferred of the final response, whatever its status.

        Fails with `TransactionTimeoutError` or `TransportError`. Cancelling it cancels the request the SIP way.
        """

    def send_ack(ack: Request, flow: IFlow) -> None:
        """Send the ACK of a 2xx: no transaction, a branch of its own (section 13.2.2.4)."""

    def is_merged(transaction: IServerTransaction) -> bool:
        """Say whether the same request came before on another path, or was sent from here: 482 (section 8.2.2.2)."""


# --- the core, for applications ----------------------------------------------------------------------------


class IRequestHandler(Interface):
    """Answers the out-of-dialog requests of a method, such as REGISTER."""

    extensions: frozenset[str] = Attribute(
        "Option tags that a Require may name beside the user agent's own, lower case."
    )

    def request_received(transaction: IServerTransaction) -> None:
        """Answer it, now or later; must give one final response."""


# --- authentication and location ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a user knows: a password, or hashes of it. Never printed.

    Args:
        username: as in the digest.
        password: clear text, or `None` where only hashes are known.
        ha1: digest algorithm name (`MD5`, `SHA-256`, `SHA-512-256`) to H(user:realm:password), lower-case hex.
        realm: for a client: the only realm to answer, or empty for any.
    """

    username: str
    password: str | None = field(default=None, repr=False)
    ha1: dict[str, str] = field(default_factory=dict, repr=False)
    realm: str = ""


class ICredentialStore(Interface):
    """Where the server side of digest finds users."""

    def credentials(username: str, realm: str) -> Deferred[Credentials | None]:
        """Give what is known of a user in a realm, or `None`."""


class IAuthenticator(Interface):
    """Decides who sent a request (RFC 3261 section 22, RFC 7616, RFC 8760)."""

    def authenticate(request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
        """Give the name of the user whose credentials the request carries.

        Args:
            request: any request but ACK and CANCEL.
            realm: to challenge for.
            proxy: 407 and Proxy-Authenticate if true, else 401 and WWW-Authenticate.

        Fails with `RequestRefusedError`: 401 or 407 with challenges, 400 for credentials that do not parse.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One contact of an address of record (RFC 3261 section 10.3).

    Args:
        aor: canonical (`sip:alice@example.com`).
        contact: the Contact header value as registered, with its parameters.
        uri: the URI in it.
        q: 0.0 to 1.0.
        expires_at: seconds of the wall clock (Unix time).
        call_id, cseq: of the REGISTER that made or refreshed it.
        path: Path header values in order (RFC 3327).
        source: where the REGISTER came from; requests go back there when the contact lies behind NAT.
        point: name of the listening point that it came to.
        user_agent: its User-Agent, or empty.
    """

    aor: str
    contact: str
    uri: Uri
    q: float
    expires_at: float
    call_id: str
    cseq: int
    path: tuple[str, ...] = ()
    source: Target | None = None
    point: str = ""
    user_agent: str = ""


class ILocationService(Interface):
    """Who is reachable where (RFC 3261 section 10)."""

    def lookup(aor: str) -> Sequence[Binding]:
        """Give the live bindings of a canonical AOR, highest q first; empty if there are none."""


class IRegistrationObserver(Interface):
    """Watches registrations: for one line in the log each, for counters."""

    def binding_made(binding: Binding, expires: int) -> None:
        """A contact is bound that was not before. `expires` in seconds."""

    def binding_refreshed(binding: Binding, expires: int) -> None:
        """A bound contact was registered again. `expires` in seconds."""

    def binding_removed(binding: Binding) -> None:
        """A contact was unregistered."""

    def binding_expired(binding: Binding) -> None:
        """A contact was not refreshed in time."""

    def registration_refused(aor: str, source: Target, status: int, reason: str) -> None:
        """A REGISTER was answered with an error. The first 401, which only asks who it is, does not count."""


# --- routing -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRequest:
    """What a router may look at.

    Args:
        request: the INVITE.
        user: the authenticated caller, or `None`.
        source: where it came from.
        point: name of the listening point.
    """

    request: Request
    user: str | None
    source: Target
    point: str

    @classmethod
    def of(cls, request: Request, flow: IFlow, user: str | None = None) -> RoutingRequest:
        """Ask about a request that came on that flow, or is made for who is at its other end."""
        source = Target(transport=flow.transport, host=flow.host, port=flow.port)
        return cls(request=request, user=user, source=source, point=flow.point.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One leg to try.

    Args:
        uri: the request URI of the new leg.
        label: for logs and records: `contact sip:bob@...`, `route pstn`.
        route_set: Route header values to put on the request, in order.
        source: if set and a flow to it is open, the request goes there instead of to where `uri` points.
        next_hop: where to send instead of to `uri` (an outbound proxy), before DNS.
        credentials: for digest challenges of this leg.
        timeout: seconds until an unanswered attempt is given up.
        early_media: what the caller is told of media before the answer.
        codecs: those that may be used with it (`sipd.sdp.codecs.allow_codecs`); any if empty.
        user: the name of the user of ours whose contact it is.
        trusted: whether it leads into the trust domain (RFC 3325).
        media: how its media is relayed; `None` for the default.
        dtmf: how it wants digits.
    """

    uri: Uri
    label: str
    route_set: tuple[str, ...] = ()
    source: Target | None = None
    next_hop: Uri | None = None
    credentials: Credentials | None = None
    timeout: float = 60.0
    early_media: EarlyMedia = EarlyMedia.PASS
    codecs: tuple[str, ...] = ()
    user: str | None = None
    trusted: bool = False
    media: MediaPolicy | None = None
    dtmf: Dtmf = Dtmf.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A routing decision.

    Args:
        name: of the route that matched.
        rounds: tried one after another; the attempts of one round ring together.
        considered: one line for each route looked at and why it was taken or not.
        refusal: if set, `(status, reason)` to answer instead, and `rounds` is empty.
        aor: of the user of ours that it leads to, registered or not; `None` if it leads elsewhere.
        caller_credentials: for challenges of the caller, who may ask who changes or ends its call.
        caller_dtmf: how the caller wants digits.
    """

    name: str
    rounds: tuple[tuple[Attempt, ...], ...]
    considered: tuple[str, ...] = ()
    refusal: tuple[int, str] | None = None
    aor: str | None = None
    caller_credentials: Credentials | None = None
    caller_dtmf: Dtmf = Dtmf.PASS

    def check(self) -> None:
        """Make sure that it leads somewhere.

        Raises:
            RequestRefusedError: it refuses.
        """
        if self.refusal is not None:
            status, reason = self.refusal
            raise RequestRefusedError(reason, status=status)


class IRouter(Interface):
    """Decides where a call goes."""

    def needs_authentication(routing_request: RoutingRequest) -> bool:
        """Say whether the caller must prove who it is before `route` is asked. Deny by default: true."""

    def route(routing_request: RoutingRequest) -> Deferred[Route]:
        """Give the decision for a call."""


# --- media -------------------------------------------------------------------------------------------------


class IMediaSession(Interface):
    """The media of one call: legs by name, a set of streams each. Engine-independent."""

    def prefer_family(leg: str, family: AddressType) -> None:
        """Say which version of IP a leg that has no streams yet is to be offered: that of its signalling.

        Without it, it is offered what the other side offered.
        """

    def set_policy(leg: str, policy: MediaPolicy) -> None:
        """Say how the media of a leg is relayed, before its first offer or answer."""

    def offer(
        sender: str, receiver: str, description: SessionDescription, slots: Slots | None = None
    ) -> Deferred[SessionDescription]:
        """Take an offer from leg `sender`; give what leg `receiver` is to be offered.

        The result differs in addresses, ports and `o=` only. Each receiver of the same offer (forking) has ports of
        its own. Nothing flows because of an offer alone, and it replaces nothing until it is answered.

        Args:
            sender: the leg that offers.
            receiver: the leg that is to answer.
            description: the offer, with the media lines of `receiver` (`sipd.sdp.streams.cross_offer`).
            slots: for each of these lines that of `sender`; the same ones if this is left out.

        Fails with `ResourcesExhaustedError` before anything is half built, or with `SdpError`.
        """

    def answer(sender: str, receiver: str, description: SessionDescription) -> Deferred[SessionDescription]:
        """Take `sender`'s answer to the offer of `receiver`; give what `receiver` is to be answered.

        Both have the media lines of `sender`. Connects the two legs: from now on media of `receiver` goes to `sender`
        and back. May be repeated, also from another sender (early media of a fork, then the answer of the one that
        won).
        """

    def offer_rejected(sender: str, receiver: str) -> None:
        """Take note that the offer got no answer (488, 491, ...): the session is as it was before."""

    def leg_ended(leg: str) -> None:
        """Free what that leg holds: its branch of a fork was not the one."""

    on_digit = Attribute("called with the leg and the digit of each telephone event (RFC 4733) that comes; or `None`")

    def send_digit(leg: str, digit: str, duration: float = 0.1) -> bool:
        """Send a leg a telephone event, after those that wait; `False` if it wants none, or too many wait."""

    def take_events(leg: str) -> None:
        """Let the telephone events of a leg not go to the other one any more: only `on_digit` hears them."""

    def pass_events(leg: str) -> None:
        """Undo `take_events`."""

    studio = Attribute("records and plays: an `IMediaStudio`; `None` where media is elsewhere")

    def established() -> None:
        """Take note that the call is answered: from now on both legs should hear each other."""

    def statistics() -> Sequence[StreamStatistics]:
        """Give the counters as they are known now, one entry for each leg and stream."""

    def close() -> Deferred[Sequence[StreamStatistics]]:
        """Free everything, and give the counters as they were at the end. Idempotent; never fails."""


class IMediaStudio(Interface):
    """Records the media of a call, and plays to its legs."""

    is_recording = Attribute("whether a recording runs")

    def record(format_: str = "wave", fields: Mapping[str, str] | None = None) -> None:
        """Record from now on, unless that is so already.

        Args:
            format_: `wave` (two channels, the caller on the left) or `pcap` (RTP as it comes).
            fields: what the name of the file may be made of beside the call's identifier.

        Raises:
            LocalError: nothing can be recorded here, or there are too many recordings.
        """

    def pause_recording() -> None:
        """Record silence until `resume_recording`."""

    def resume_recording() -> None:
        """Record again."""

    def stop_recording() -> Deferred[Any]:
        """Record no more; gives what became of it when the file is complete, or `None`. Never fails."""

    def greet(leg: str, offer: SessionDescription) -> Deferred[SessionDescription]:
        """Answer a leg's offer for nobody, so that it can be played to until somebody does; give what it is to be told.

        It lasts until `IMediaSession.leg_ended` of `~` and the leg's name. Fails with `SdpError` or `LocalError`.
        """

    def play(
        leg: str, sound: str, *, times: int | None = 1, duration: float | None = None, gain: float = 0.0
    ) -> Deferred[Any]:
        """Play to a leg, instead of what the other one sends; to cancel stops. Gives what was played, or `LocalError`.

        Args:
            sound: path of a WAVE file, or a tone: `tone:de:ringback`.
            times: how often; `None` for ever.
            duration: seconds after which it ends in any case.
            gain: in decibel.
        """

    def stop_playing(leg: str) -> None:
        """Play no more to that leg."""


class IMediaRelay(Interface):
    """An engine that relays media."""

    def open_session(call_id: str, event: Callable[[str, str], None]) -> IMediaSession:
        """Begin the media of a call.

        Args:
            call_id: for logs.
            event: called with (kind, text) for what the call's explanation should say: a source latched, a foreign
                source dropped, a port pair taken (`port-taken`) or released (`port-released`).
        """


# --- observers of calls ------------------------------------------------------------------------------------


class ICallObserver(Interface):
    """Watches calls. An observer that raises is logged and does not disturb the call."""

    def call_started(call: str, record: CallRecord) -> None:
        """A call came in. `call` is its identifier in every later event; the record fills as it goes on."""

    def call_decided(call: str, decision: Decision) -> None:
        """The call has one more line of explanation."""

    def call_resource_taken(call: str, kind: str, name: str) -> None:
        """The call holds one more resource (a leg, a port pair, a timer)."""

    def call_resource_released(call: str, kind: str, name: str) -> None:
        """The call gave that resource back."""

    def call_ended(call: str, record: CallRecord) -> None:
        """The call is over, and all of its resources should be released. The record is complete."""
