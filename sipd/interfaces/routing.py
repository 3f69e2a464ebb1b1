"""Joints of where a call goes, and whether it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zope.interface import Interface

from sipd.errors import RequestRefusedError
from sipd.policies import Dtmf, EarlyMedia
from sipd.sip.locate import Target

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.interfaces.transport import IFlow
    from sipd.interfaces.users import Credentials
    from sipd.policies import LegPolicy, MediaPolicy
    from sipd.sip.message import Request
    from sipd.sip.uri import Uri


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRequest:
    """What a router may look at.

    Args:
        request: the INVITE.
        user: the authenticated caller, or ``None``.
        source: where it came from.
        point: name of the listening point.
        at: seconds of the wall clock.
        trunk: name of the trunk that it came from, or ``None``.
    """

    request: Request
    user: str | None
    source: Target
    point: str
    at: float = 0.0
    trunk: str | None = None

    @classmethod
    def of(
        cls, request: Request, flow: IFlow, user: str | None = None, *, at: float = 0.0, trunk: str | None = None
    ) -> RoutingRequest:
        """Ask about a request that came on that flow, or is made for who is at its other end."""
        source = Target(transport=flow.transport, host=flow.host, port=flow.port)
        return cls(request=request, user=user, source=source, point=flow.point.name, at=at, trunk=trunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One leg to try.

    Args:
        uri: the request URI of the new leg.
        label: for logs and records: ``contact sip:bob@...``, ``route pstn``.
        route_set: Route header values to put on the request, in order.
        source: if set and a flow to it is open, the request goes there instead of to where `uri` points.
        next_hop: where to send instead of to `uri` (an outbound proxy), before DNS.
        credentials: for digest challenges of this leg.
        timeout: seconds until an unanswered attempt is given up.
        response_timeout: seconds until one is given up that not even a provisional response other than 100 came to;
            ``None`` for no bound of its own.
        stops: statuses that end the whole search, as 6xx do in any case.
        redirects: contacts of a 3xx that are tried in its place, at most (RFC 3261 section 8.1.3.4); 0 for none.
        trunk: name of the trunk that it goes to, or ``None``.
        called: the number that it calls as the dial plan knows it, where `uri` has it as the trunk wants it; empty
            where there is no such number.
        point: name of the listening point to call from, and so whose certificate to show; empty for any.
        early_media: what the caller is told of media before the answer.
        codecs: those that may be used with it (`sipd.sdp.codecs.allow_codecs`); any if empty.
        user: the name of the user of ours whose contact it is.
        trusted: whether it leads into the trust domain (RFC 3325).
        media: how its media is relayed; ``None`` for the default.
        dtmf: how it wants digits.
        policy: what else is wanted of the leg; ``None`` for that of `user`, if there is one.
        caller: the user part, as it stands in a URI, of the caller's address in From and in what is asserted of it on
            this leg; ``None`` for what the caller says.
        caller_name: the same for its display name.
    """

    uri: Uri
    label: str
    route_set: tuple[str, ...] = ()
    source: Target | None = None
    next_hop: Uri | None = None
    credentials: Credentials | None = None
    timeout: float = 60.0
    response_timeout: float | None = None
    stops: frozenset[int] = frozenset()
    redirects: int = 0
    trunk: str | None = None
    called: str = ""
    point: str = ""
    early_media: EarlyMedia = EarlyMedia.PASS
    codecs: tuple[str, ...] = ()
    user: str | None = None
    trusted: bool = False
    media: MediaPolicy | None = None
    dtmf: Dtmf = Dtmf.PASS
    policy: LegPolicy | None = None
    caller: str | None = None
    caller_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A routing decision.

    Args:
        name: of the route that matched.
        rounds: tried one after another; the attempts of one round ring together.
        considered: one line for each route looked at and why it was taken or not.
        refusal: if set, ``(status, reason)`` to answer instead, and `rounds` is empty.
        retry_after: seconds that a refused caller is told to wait; ``None`` to say nothing of it.
        aor: of the user of ours that it leads to, registered or not; ``None`` if it leads elsewhere.
        caller_credentials: for challenges of the caller, who may ask who changes or ends its call.
        caller_dtmf: how the caller wants digits.
        caller_policy: what is wanted of the caller's leg; ``None`` for that of the user who calls, if there is one.
        setup_timeout: seconds until the caller is refused if nobody has answered by then, whatever is being tried.
        duration: seconds after the answer at which the call is ended; ``None`` for no bound.
        warning: seconds before that at which `warning_sound` is played to the caller.
        warning_sound: as for `IMediaStudio.play`; empty for none.
        is_emergency: an emergency call, which limits let pass.
    """

    name: str
    rounds: tuple[tuple[Attempt, ...], ...]
    considered: tuple[str, ...] = ()
    refusal: tuple[int, str] | None = None
    retry_after: int | None = None
    aor: str | None = None
    caller_credentials: Credentials | None = None
    caller_dtmf: Dtmf = Dtmf.PASS
    caller_policy: LegPolicy | None = None
    setup_timeout: float | None = None
    duration: float | None = None
    warning: float = 0.0
    warning_sound: str = ""
    is_emergency: bool = False

    def check(self) -> None:
        """Make sure that it leads somewhere.

        Raises:
            RequestRefusedError: it refuses.
        """
        if self.refusal is not None:
            status, reason = self.refusal
            headers = () if self.retry_after is None else (("Retry-After", str(self.retry_after)),)
            raise RequestRefusedError(reason, status=status, headers=headers)


class IRouter(Interface):
    """Decides where a call goes."""

    def needs_authentication(routing_request: RoutingRequest) -> bool:
        """Say whether the caller must prove who it is before `route` is asked. Deny by default: true."""

    def route(routing_request: RoutingRequest) -> Deferred[Route]:
        """Give the decision for a call."""


class ITrunks(Interface):
    """The peers beside the users: carriers, other exchanges, gateways."""

    def identify(
        source: Target, peer_names: Sequence[str], uri: Uri | None = None, user: str | None = None
    ) -> str | None:
        """Give the name of the trunk that a request comes from; ``None`` if it comes from none.

        Args:
            source: where it comes from.
            peer_names: what the certificate proves.
            uri: the request URI: whoever was told of a contact by a registration knows it.
            user: who it has proved to be, if anybody asked.
        """

    def attempt(name: str, number: str, request: RoutingRequest) -> Attempt | str:
        """Give the attempt that calls a number, or a user, by a trunk; or in a few words why it cannot be used now.

        Raises:
            KeyError: there is no such trunk.
        """

    def attempt_ended(name: str, status: int, server: Uri | None = None, retry_after: float | None = None) -> None:
        """Take note of what became of an attempt by a trunk.

        Args:
            name: of the trunk.
            status: of the final response, or of the last provisional one where none came; 0 for none at all.
            server: the `next_hop` of the attempt, if it had one.
            retry_after: seconds that the response asks to wait.
        """


class IGate(Interface):
    """Decides whether calls are taken: overload, limits, guards. What it refuses, it explains.

    A call passes `call_offered` before its caller is asked who it is, `call_routed` when it is known where it goes, and
    `attempt` before each leg. What these count is given back by `attempt_ended` and `call_ended`.
    """

    def is_urgent(request: Request) -> bool:
        """Say whether a request says that it is for help: whether it is shows when it is known where it goes."""

    def call_offered(asked: RoutingRequest) -> None:
        """Take note of an INVITE that is no call yet.

        Raises:
            RequestRefusedError: it is refused, with status and Retry-After; silently dropped ones never come here.
        """

    def call_routed(call: str, asked: RoutingRequest, route: Route) -> Route:
        """Let a call begin; give its route, whose bounds may be tighter now.

        Args:
            call: its identifier.
            asked: who calls, from where.
            route: where it goes.

        Raises:
            RequestRefusedError: a limit is reached, or this looks like fraud.
        """

    def attempt(call: str, attempt: Attempt) -> str:
        """Let a leg be tried; give in a few words why it must not be, or an empty text."""

    def attempt_ended(call: str, attempt: Attempt) -> None:
        """Take note that a leg that was let pass is over."""

    def call_ended(call: str) -> None:
        """Take note that a call that was let begin is over."""
