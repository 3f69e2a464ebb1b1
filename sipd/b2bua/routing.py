"""Where a call goes: static routes first, then the registered users of the domains served."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipd.errors import ParseError
from sipd.interfaces import (
    Attempt,
    Binding,
    Credentials,
    Dtmf,
    EarlyMedia,
    ILocationService,
    IRouter,
    MediaPolicy,
    Route,
    RoutingRequest,
)
from sipd.sip.uri import SipUri, TelUri, Uri, parse_uri

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """One rule. Every condition that is given must hold; the expressions must match the whole text.

    Args:
        name: for logs and records.
        user: matches the user part of the request URI, or the digits of a `tel` URI.
        host: matches its host.
        caller: matches the AOR in From (`sip:alice@example.com`).
        sources: networks that the INVITE may come from; any if empty.
        to: the URI to call; `{0}` is what `user` matched, `{1}`, `{2}`, `{name}` its groups. One of a domain served
            here, without a port, is a registered user, unless there is a `next_hop`.
        refusal: `(status, reason)` to answer instead.
        authenticate: whether the caller must prove who it is.
        timeout: seconds until an unanswered attempt is given up.
        trusted: whether it leads into the trust domain (RFC 3325).
        next_hop: where to send it instead of to where `to` points.
        credentials: for challenges of the other side.
        caller_credentials: for those of the caller, which may be a gateway that asks who changes or ends its call.
        early_media: what the caller is told of media before the answer.
        codecs: those that may be used with the other side; any if empty.
        media: how the other side's media is relayed; `None` for the default.
        dtmf: how the other side wants digits.
        caller_dtmf: how the caller wants them.
    """

    name: str
    user: re.Pattern[str] | None = None
    host: re.Pattern[str] | None = None
    caller: re.Pattern[str] | None = None
    sources: tuple[Network, ...] = ()
    to: str | None = None
    refusal: tuple[int, str] | None = None
    authenticate: bool = True
    timeout: float = 60.0
    trusted: bool = False
    next_hop: Uri | None = None
    credentials: Credentials | None = None
    caller_credentials: Credentials | None = None
    early_media: EarlyMedia = EarlyMedia.PASS
    codecs: tuple[str, ...] = ()
    media: MediaPolicy | None = None
    dtmf: Dtmf = Dtmf.PASS
    caller_dtmf: Dtmf = Dtmf.PASS


@implementer(IRouter)
class RouteTable:
    """Static routes in order, then registered users.

    Args:
        domains: the hosts whose users are ours, in lower case; the addresses of the listening points belong to them.
        routes: tried in order.
        location: who is registered where.
        is_user: says whether a user of that name exists: the difference between 480 and 404.
        timeout: seconds for which registered contacts ring.
    """

    def __init__(
        self,
        *,
        domains: frozenset[str],
        routes: Sequence[StaticRoute],
        location: ILocationService,
        is_user: Callable[[str], bool],
        timeout: float = 60.0,
    ) -> None:
        self._domains = domains
        self._routes = tuple(routes)
        self._location = location
        self._is_user = is_user
        self._timeout = timeout

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`. Only a static route can say no."""
        for route in self._routes:
            if isinstance(_match(route, routing_request), _Matched):
                return route.authenticate
        return True

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        considered = []
        for route in self._routes:
            match = _match(route, routing_request)
            if isinstance(match, str):
                considered.append(f"route {route.name}: {match}")
                continue
            considered.append(f"route {route.name}: taken")
            found = self._static(route, match, tuple(considered))
            return succeed(replace(found, caller_credentials=route.caller_credentials, caller_dtmf=route.caller_dtmf))
        return succeed(self._registered(routing_request.request.uri, considered))

    def _static(self, route: StaticRoute, match: _Matched, considered: tuple[str, ...]) -> Route:
        if route.refusal is not None:
            return Route(name=route.name, rounds=(), considered=considered, refusal=route.refusal)
        try:
            uri = match.uri if route.to is None else parse_uri(match.fill(route.to))
        except ParseError as error:
            text = f"Route {route.name} makes no usable URI: {error.reason}"
            return Route(
                name=route.name, rounds=(), considered=(*considered, text), refusal=(484, "Address Incomplete")
            )
        if route.to is not None and route.next_hop is None and self._is_ours(uri):
            found = self._registered(uri, list(considered))
            rounds = tuple([tuple([_as_of(route, attempt) for attempt in attempts]) for attempts in found.rounds])
            return replace(found, rounds=rounds)
        attempt = Attempt(
            uri=uri,
            label=f"route {route.name}",
            next_hop=route.next_hop,
            credentials=route.credentials,
            timeout=route.timeout,
            trusted=route.trusted,
            early_media=route.early_media,
            codecs=route.codecs,
            media=route.media,
            dtmf=route.dtmf,
        )
        return Route(name=route.name, rounds=((attempt,),), considered=considered)

    def _is_ours(self, uri: Uri) -> bool:
        """Say whether a route leads to a user of ours; a port that is written names a place, not a domain."""
        return isinstance(uri, SipUri) and uri.port is None and uri.host in self._domains

    def _registered(self, uri: Uri, considered: list[str]) -> Route:
        name = "registered"
        if not isinstance(uri, SipUri) or uri.host not in self._domains:
            considered.append(f"{name}: {uri} is not of a domain served here")
            return Route(name=name, rounds=(), considered=tuple(considered), refusal=(403, "No Relay To Other Domains"))
        if uri.user is None:
            considered.append(f"{name}: no user in {uri}")
            return Route(name=name, rounds=(), considered=tuple(considered), refusal=(404, "No User Named"))
        aor = uri.address_of_record()
        bindings = self._location.lookup(aor)
        if not bindings:
            known = self._is_user(uri.user)
            considered.append(f"{name}: {uri.user} {'has no contact' if known else 'is no user'}")
            refusal = (480, "Not Registered") if known else (404, "No Such User")
            aor_of_ours = aor if known else None
            return Route(name=name, rounds=(), considered=tuple(considered), refusal=refusal, aor=aor_of_ours)
        considered.append(f"{name}: {len(bindings)} contact{'s' if len(bindings) > 1 else ''} of {uri.user}")
        rounds = tuple(
            tuple(_attempt(binding, uri.user, self._timeout) for binding in group)
            for _, group in groupby(bindings, key=lambda binding: binding.q)
        )
        return Route(name=name, rounds=rounds, considered=tuple(considered), aor=aor)


@dataclass(frozen=True, slots=True)
class _Matched:
    """What a rule matched, to fill its template with."""

    uri: Uri
    user: str
    groups: tuple[str, ...]
    named: dict[str, str]

    def fill(self, template: str) -> str:
        return template.format(self.user, *self.groups, **self.named)


def _match(route: StaticRoute, routing_request: RoutingRequest) -> _Matched | str:
    """Give what matched, or why the rule does not apply."""
    uri = routing_request.request.uri
    user, host = _user_and_host(uri)
    if route.sources:
        source = ipaddress.ip_address(routing_request.source.host)
        if not any(source in network for network in route.sources):
            return f"{source} is not among its sources"
    if route.host is not None and not route.host.fullmatch(host):
        return f"host {host} does not match"
    if route.caller is not None and not route.caller.fullmatch(_caller(routing_request)):
        return "the caller does not match"
    if route.user is None:
        return _Matched(uri, user, (), {})
    match = route.user.fullmatch(user)
    if match is None:
        return f"user {user} does not match"
    return _Matched(
        uri,
        user,
        tuple(group or "" for group in match.groups()),
        {name: group or "" for name, group in match.groupdict().items()},
    )


def _user_and_host(uri: Uri) -> tuple[str, str]:
    if isinstance(uri, SipUri):
        return uri.user or "", uri.host
    if isinstance(uri, TelUri):
        return uri.digits, ""
    return "", ""


def _caller(routing_request: RoutingRequest) -> str:
    uri = routing_request.request.from_.uri
    return uri.address_of_record() if isinstance(uri, SipUri) else str(uri)


def _as_of(route: StaticRoute, attempt: Attempt) -> Attempt:
    """Give an attempt of a user of ours as a route wants it that has led to the user."""
    return replace(attempt, early_media=route.early_media, codecs=route.codecs, media=route.media, dtmf=route.dtmf)


def _attempt(binding: Binding, user: str, timeout: float) -> Attempt:
    """A contact is called where it registered from, if that is a connection or lies behind NAT (lessons 1 and 2)."""
    source = binding.source
    uri = binding.uri
    if source is not None and not source.transport.is_reliable and isinstance(uri, SipUri) and uri.host == source.host:
        source = None
    return Attempt(uri=uri, label=f"contact {uri}", route_set=binding.path, source=source, timeout=timeout, user=user)
