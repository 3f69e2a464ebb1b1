"""One rule of a dial plan: which calls it is about, and what becomes of them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from sipd.errors import ParseError
from sipd.interfaces import Attempt, Credentials, Dtmf, EarlyMedia, LegPolicy, MediaPolicy, Route, RoutingRequest
from sipd.routing.choice import Candidate, Strategy
from sipd.routing.hours import Hours
from sipd.routing.numbers import Step, is_number, rewrite
from sipd.routing.prefixes import TrunkPrefixes
from sipd.routing.sippy import SippyRoute
from sipd.sip.grammar import UNRESERVED, escape, unescape
from sipd.sip.uri import SipUri, TelUri, Uri, parse_uri

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What may stand in the user part of a URI without an escape (RFC 3261 section 25.1).
_USER = UNRESERVED | frozenset("&=+$,;?/")

#: What a rule says of attempts, and of the call as a whole, and what it has there if it says nothing.
_OF_ATTEMPTS: Mapping[str, object] = {
    **dict.fromkeys(("timeout", "response_timeout", "stops", "redirects", "early_media", "media", "dtmf", "policy")),
    "codecs": (),
}
_OF_THE_CALL: Mapping[str, object] = {
    **dict.fromkeys(("caller_credentials", "caller_policy", "setup_timeout", "duration")),
    "caller_dtmf": Dtmf.PASS,
    "warning": 0.0,
    "warning_sound": "",
}


class Hunt(Enum):
    """How several trunks are tried."""

    #: One after another.
    SEQUENTIAL = "sequential"
    #: All at once; who answers first has the call.
    PARALLEL = "parallel"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """One rule. Every condition that is given must hold; the expressions must match the whole text.

    It leads to where one of `to`, `refusal`, `is_registered`, `trunks`, `prefixes`, `sippy` and `goes_on` says; without
    any, to where the request URI points.

    Args:
        name: for logs and records.
        user: matches the user part of the request URI, or the digits of a ``tel`` URI.
        host: matches its host.
        caller: matches the AOR in From (``sip:alice@example.com``).
        sources: networks that the INVITE may come from; any if empty.
        users: the names of callers who have proved who they are; any if empty. No trunk is one of them.
        from_trunks: names of trunks that it may come from; any if empty.
        headers: names of header fields to what one value of each has to match.
        hours: when.
        points: the names of listening points that it may come to; any if empty.
        is_emergency: it is for emergency numbers, before all others, and for nothing else.
        called: how the called number is rewritten.
        calling: how the calling one is, which is the user part of From.
        to: the URI to call; ``{0}`` is what `user` matched, ``{1}``, ``{2}``, ``{name}`` its groups, ``{called}`` the
            called number, rewritten. One of a domain served here, without a port, is a registered user, unless there is
            a `next_hop`.
        refusal: ``(status, reason)`` to answer instead.
        is_registered: the registered user that the request URI names, rewritten.
        trunks: one of these trunks.
        prefixes: the trunks of the longest prefix of the called number, rewritten; one without a prefix there does not
            match.
        sippy: these routes of Sippy's.
        goes_on: it only rewrites; the rules after it see what it has made.
        strategy: in which order trunks are tried.
        hunt: whether one after another.
        authenticate: whether the caller must prove who it is.
        timeout: seconds until an unanswered attempt is given up; ``None`` for the usual ones.
        response_timeout, stops, redirects: see `Attempt`; ``None`` for the usual ones.
        setup_timeout, duration, warning, warning_sound: see `Route`.
        trusted: whether it leads into the trust domain (RFC 3325).
        next_hop: where to send it instead of to where `to` points.
        credentials: for challenges of the other side.
        caller_credentials: for those of the caller, which may be a gateway that asks who changes or ends its call.
        early_media: what the caller is told of media before the answer; ``None`` for the usual.
        codecs: those that may be used with the other side; the usual if empty.
        media: how the other side's media is relayed; ``None`` for the usual.
        dtmf: how the other side wants digits; ``None`` for the usual.
        caller_dtmf: how the caller wants them.
        policy: what else is wanted of the other side's leg; ``None`` for the usual.
        caller_policy: the same for the caller's.
    """

    name: str
    user: re.Pattern[str] | None = None
    host: re.Pattern[str] | None = None
    caller: re.Pattern[str] | None = None
    sources: tuple[Network, ...] = ()
    users: frozenset[str] = frozenset()
    from_trunks: frozenset[str] = frozenset()
    headers: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    hours: Hours | None = None
    points: frozenset[str] = frozenset()
    is_emergency: bool = False
    called: tuple[Step, ...] = ()
    calling: tuple[Step, ...] = ()
    to: str | None = None
    refusal: tuple[int, str] | None = None
    is_registered: bool = False
    trunks: tuple[Candidate, ...] = ()
    prefixes: TrunkPrefixes | None = None
    sippy: tuple[SippyRoute, ...] = ()
    goes_on: bool = False
    strategy: Strategy = Strategy.SEQUENCE
    hunt: Hunt = Hunt.SEQUENTIAL
    authenticate: bool = True
    timeout: float | None = None
    response_timeout: float | None = None
    stops: frozenset[int] | None = None
    redirects: int | None = None
    setup_timeout: float | None = None
    duration: float | None = None
    warning: float = 0.0
    warning_sound: str = ""
    trusted: bool = False
    next_hop: Uri | None = None
    credentials: Credentials | None = None
    caller_credentials: Credentials | None = None
    early_media: EarlyMedia | None = None
    codecs: tuple[str, ...] = ()
    media: MediaPolicy | None = None
    dtmf: Dtmf | None = None
    caller_dtmf: Dtmf = Dtmf.PASS
    policy: LegPolicy | None = None
    caller_policy: LegPolicy | None = None
    #: What it says of attempts and of the call as a whole, by the names of `Attempt` and `Route`.
    _of_attempts: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    _of_the_call: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, unsaid in (("_of_attempts", _OF_ATTEMPTS), ("_of_the_call", _OF_THE_CALL)):
            object.__setattr__(
                self, name, {one: getattr(self, one) for one in unsaid if getattr(self, one) != unsaid[one]}
            )

    def treat(self, attempt: Attempt) -> Attempt:
        """Give an attempt as the rule wants it; what it says nothing of stays as it is."""
        return replace(attempt, **self._of_attempts) if self._of_attempts else attempt

    def bound(self, route: Route) -> Route:
        """Give a route with what the rule says of the call as a whole."""
        return replace(route, **self._of_the_call) if self._of_the_call else route


@dataclass(frozen=True, slots=True)
class Call:
    """A call on its way through the rules.

    Args:
        asked: what came.
        uri: where to, as the rules so far have rewritten it.
        caller: the user part of From that they have made; ``None`` as long as none has.
    """

    asked: RoutingRequest
    uri: Uri
    caller: str | None = None

    @property
    def user(self) -> str:
        """The user part of the URI as it stands there, or the digits of a ``tel`` URI."""
        return self.uri.user or "" if isinstance(self.uri, SipUri) else dialled(self.uri)

    @property
    def host(self) -> str:
        """Its host; empty where there is none."""
        return self.uri.host if isinstance(self.uri, SipUri) else ""

    @property
    def called(self) -> str:
        """The called number, or user, without escapes."""
        return dialled(self.uri)

    @property
    def calling(self) -> str:
        """The calling one."""
        return unescape(self.caller) if self.caller is not None else dialled(self.asked.request.from_.uri)

    def caller_address(self) -> str:
        """Give the AOR in From, rewritten."""
        uri = self.asked.request.from_.uri
        if not isinstance(uri, SipUri):
            return str(uri) if self.caller is None else f"{uri.scheme}:{self.caller}"
        return (uri if self.caller is None else uri.replace(user=self.caller)).address_of_record()

    def with_called(self, number: str) -> Call:
        """Give the call to another number.

        Raises:
            ParseError: no URI can be made of it.
        """
        user = escape(number, _USER)
        if isinstance(self.uri, SipUri):
            return replace(self, uri=self.uri.replace(user=user or None))
        if isinstance(self.uri, TelUri):
            return replace(self, uri=parse_uri(f"tel:{user}"))
        raise ParseError(f"There is no number in a {self.uri.scheme} URI")

    def with_calling(self, number: str) -> Call:
        """Give the call from another number."""
        return replace(self, caller=escape(number, _USER))


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule matched.

    Args:
        user: what `StaticRoute.user` matched.
        groups: its groups, by number.
        named: the same by name.
        prefix: that of the called number.
        candidates: the trunks that lead there.
    """

    user: str = ""
    groups: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    candidates: tuple[Candidate, ...] = ()

    def fill(self, template: str, call: Call) -> Uri:
        """Give the URI that a template makes.

        Raises:
            ParseError: it makes none.
        """
        if "{" not in template and "}" not in template:
            return parse_uri(template)
        named = {"called": escape(call.called, _USER), **self.named}
        return parse_uri(template.format(self.user, *self.groups, **named))


def dialled(uri: Uri) -> str:
    """Give the number, or the user, that a URI names: without escapes, and without what may follow a number."""
    if isinstance(uri, TelUri):
        return uri.digits
    if not isinstance(uri, SipUri) or uri.user is None:
        return ""
    user = unescape(uri.user)
    number, _, _ = user.partition(";")
    return number if is_number(number) else user


def is_emergency(uri: Uri, numbers: frozenset[str]) -> bool:
    """Say whether somebody calls one of these numbers, as they are dialled."""
    return dialled(uri) in numbers


def match(rule: StaticRoute, call: Call) -> Match | str:
    """Give what a rule matches of a call, or in a few words why it does not apply.

    Whether the caller is one of `users` is for `match_user` to say: nobody knows it before the caller was asked.
    """
    asked = call.asked
    if rule.sources:
        source = ipaddress.ip_address(asked.source.host)
        if not any(source in network for network in rule.sources):
            return f"{source} is not among its sources"
    if rule.points and asked.point not in rule.points:
        return f"listening point {asked.point} is not among its points"
    if rule.from_trunks and asked.trunk not in rule.from_trunks:
        return f"it comes from {f'trunk {asked.trunk}' if asked.trunk is not None else 'no trunk'}"
    if rule.hours is not None and not rule.hours.include(asked.at):
        return "not in its hours"
    if rule.host is not None and not rule.host.fullmatch(call.host):
        return f"host {call.host} does not match"
    if rule.caller is not None and not rule.caller.fullmatch(call.caller_address()):
        return "the caller does not match"
    for name, pattern in rule.headers.items():
        values = asked.request.headers.get_all(name)
        if not any(pattern.fullmatch(value) for value in values):
            return f"{name} does not match" if values else f"there is no {name}"
    user = call.user
    groups: tuple[str, ...] = ()
    named: Mapping[str, str] = {}
    if rule.user is not None:
        found = rule.user.fullmatch(user)
        if found is None:
            return f"user {user} does not match"
        groups, named = found.groups(""), found.groupdict("")
    if rule.prefixes is None:
        return Match(user, groups, named, "", rule.trunks)
    number = rewrite(call.called, rule.called)
    entry = rule.prefixes.find(number)
    if entry is None:
        return f"{number} begins with none of its prefixes"
    return Match(user, groups, named, *entry)


def match_user(rule: StaticRoute, asked: RoutingRequest) -> str:
    """Say why a caller is not among the users of a rule; empty if it is, or anybody is."""
    if not rule.users or asked.user in rule.users:
        return ""
    return "the caller is not among its users" if asked.user is not None else "the caller has not proved who it is"
