"""From the sections about where calls go to the router."""

from __future__ import annotations

import secrets
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace

from sipd.daemon.layers import media_of
from sipd.daemon.policies import make_policies
from sipd.daemon.sections import Config, Media, Rewriting, RouteCredentials, RouteRule, Routing
from sipd.interfaces import Credentials, Dtmf, EarlyMedia, Entropy, ILocationService, ITrunks, LegPolicy, MediaPolicy
from sipd.routing.choice import Strategy
from sipd.routing.hours import Hours
from sipd.routing.numbers import (
    Form,
    Normalise,
    Numbering,
    Prepend,
    Step,
    StripDigits,
    StripPrefix,
    Substitute,
    Write,
)
from sipd.routing.rules import Hunt, StaticRoute
from sipd.routing.table import RouteTable


def make_router(
    config: Config,
    location: ILocationService,
    *,
    domains: frozenset[str],
    users: Container[str],
    trunks: ITrunks | None = None,
    entropy: Entropy = secrets.token_bytes,
) -> RouteTable:
    """Make the router.

    Args:
        config: what to make it from.
        location: who is registered where.
        domains: every host that means us in a request URI.
        users: the names of ours.
        trunks: the peers beside them; ``None`` if there are none.
        entropy: decides between trunks by their weights.
    """
    policies = make_policies(config)
    return RouteTable(
        domains=domains,
        routes=[static_route(rule, config, policies) for rule in config.routes],
        location=location,
        is_user=users.__contains__,
        timeout=config.timers.ring,
        trunks=trunks,
        entropy=entropy,
        emergency=frozenset(config.routing.emergency),
    )


def static_route(rule: RouteRule, config: Config, policies: Mapping[str, LegPolicy] | None = None) -> StaticRoute:
    """Give a rule to the router.

    Args:
        rule: the rule.
        config: says how media is relayed where the rule does not, how numbers are dialled, and what hours there are.
        policies: of legs, by name; those of the configuration if they are left out.
    """
    policies = make_policies(config) if policies is None else policies
    numbering = numbering_of(config.routing)
    return StaticRoute(
        name=rule.name,
        user=rule.user,
        host=rule.host,
        caller=rule.from_,
        sources=rule.sources,
        users=frozenset(rule.callers),
        from_trunks=frozenset(rule.from_trunks),
        headers=rule.headers,
        hours=None if rule.hours is None else _hours(config.routing)[rule.hours],
        points=frozenset(rule.points),
        is_emergency=rule.emergency,
        called=tuple(_steps(rule.called, numbering)),
        calling=tuple(_steps(rule.calling, numbering)),
        to=rule.to,
        refusal=rule.refuse,
        is_registered=rule.registered,
        trunks=rule.trunks,
        prefixes=rule.prefixes,
        sippy=rule.sippy,
        goes_on=rule.next,
        strategy=Strategy(rule.strategy),
        hunt=Hunt(rule.hunt),
        authenticate=rule.authenticate,
        timeout=rule.timeout,
        response_timeout=rule.response_timeout,
        stops=None if rule.stops is None else frozenset(rule.stops),
        redirects=rule.redirects,
        setup_timeout=rule.setup_timeout,
        duration=rule.duration,
        warning=rule.warning or 0.0,
        warning_sound=rule.warning_sound or "",
        trusted=rule.trusted,
        next_hop=rule.next_hop,
        credentials=credentials_of(rule.credentials),
        caller_credentials=credentials_of(rule.caller_credentials),
        early_media=None if rule.early_media is None else EarlyMedia(rule.early_media),
        codecs=tuple(name.lower() for name in rule.codecs),
        media=_media(rule, config.media),
        dtmf=None if rule.dtmf is None else Dtmf(rule.dtmf),
        caller_dtmf=Dtmf(rule.caller_dtmf),
        policy=None if rule.policy is None else policies[rule.policy],
        caller_policy=None if rule.caller_policy is None else policies[rule.caller_policy],
    )


def numbering_of(routing: Routing) -> Numbering | None:
    """Give how people dial here; ``None`` where that is not said."""
    if routing.country_code is None:
        return None
    return Numbering(
        country_code=routing.country_code,
        international_prefixes=routing.international_prefixes,
        national_prefix=routing.national_prefix,
        area_code=routing.area_code,
        local_length=routing.local_length,
    )


def _hours(routing: Routing) -> dict[str, Hours]:
    return {one.name: Hours(zone=one.zone, times=one.times, holidays=one.holidays) for one in routing.opening_hours}


def _steps(rewriting: tuple[Rewriting, ...], numbering: Numbering | None) -> Iterator[Step]:
    """Give the steps. The check has seen to it that each has one key, and that there is a numbering if one is used."""
    for step in rewriting:
        if isinstance(step.strip, int):
            yield StripDigits(step.strip)
        elif step.strip is not None:
            yield StripPrefix(step.strip)
        elif step.prepend is not None:
            yield Prepend(step.prepend)
        elif step.match is not None and step.to is not None:
            yield Substitute(step.match, step.to)
        elif numbering is not None and step.normalise is not None:
            yield Normalise(numbering, Form.E164 if step.normalise == "e164" else None)
        elif numbering is not None and step.write is not None:
            yield Write(numbering, Form(step.write))


def _media(rule: RouteRule, default: Media) -> MediaPolicy | None:
    if not (rule.srtp or rule.record or rule.hold_music or rule.ringback or rule.asymmetric or not rule.relay):
        return None
    return replace(media_of(rule, default), is_asymmetric=rule.asymmetric, is_bypassed=not rule.relay)


def credentials_of(given: RouteCredentials | None) -> Credentials | None:
    """Give what to answer challenges with."""
    if given is None:
        return None
    return Credentials(username=given.username, password=given.password.text, realm=given.realm)
