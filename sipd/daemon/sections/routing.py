"""Sections on where calls go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sipd.daemon.dialling import (
    AreaCode,
    CountryCode,
    DialPrefix,
    DialText,
    HeaderPatterns,
    HolidayText,
    LocalLength,
    PrefixFile,
    SippyText,
    Status,
    Strip,
    TimesText,
    TrunkChoice,
    Zone,
)
from sipd.daemon.sections.base import Section
from sipd.daemon.sections.routing_http import RoutingHttp
from sipd.daemon.values import CodecName, Name, Network, NextHop, Pattern, Refusal, Seconds, SecretText, Sound


class RouteCredentials(Section):
    """``credentials`` and `caller_credentials` of a route: what to answer digest challenges of a side with."""

    username: str = Field(min_length=1)
    password: SecretText
    realm: str = ""


class Rewriting(Section):
    """One step of ``called`` and ``calling`` of a route: one of these keys, `to` beside `match`."""

    strip: Strip | None = None
    prepend: DialText | None = None
    match: Pattern | None = None
    to: str | None = None
    normalise: Literal["dialled", "e164"] | None = None
    write: Literal["e164", "plus", "national", "international"] | None = None


class RouteRule(Section):
    """``[[routes]]``: where a call goes that is not for a registered user. The first that matches is taken."""

    name: Name
    user: Pattern | None = None
    host: Pattern | None = None
    from_: Pattern | None = Field(default=None, alias="from")
    sources: tuple[Network, ...] = Field(default=(), strict=False)
    callers: tuple[Name, ...] = Field(default=(), strict=False)
    from_trunks: tuple[Name, ...] = Field(default=(), strict=False)
    headers: HeaderPatterns = Field(default_factory=dict)
    hours: Name | None = None
    points: tuple[Name, ...] = Field(default=(), strict=False)
    emergency: bool = False
    called: tuple[Rewriting, ...] = Field(default=(), strict=False)
    calling: tuple[Rewriting, ...] = Field(default=(), strict=False)
    to: str | None = None
    refuse: Refusal | None = None
    registered: bool = False
    trunks: tuple[TrunkChoice, ...] = Field(default=(), strict=False)
    prefixes: PrefixFile | None = None
    sippy: SippyText = ()
    next: bool = False
    strategy: Literal["sequence", "weight", "cost"] = "sequence"
    hunt: Literal["sequential", "parallel"] = "sequential"
    authenticate: bool = True
    timeout: Seconds | None = None
    response_timeout: Seconds | None = None
    stops: tuple[Status, ...] | None = Field(default=None, strict=False)
    redirects: int | None = Field(default=None, ge=0, le=10)
    setup_timeout: Seconds | None = None
    duration: Seconds | None = None
    warning: Seconds | None = None
    warning_sound: Sound | None = None
    trusted: bool = False
    next_hop: NextHop | None = None
    credentials: RouteCredentials | None = None
    caller_credentials: RouteCredentials | None = None
    early_media: Literal["pass", "180->183", "183->180"] | None = None
    codecs: tuple[CodecName, ...] = Field(default=(), strict=False)
    srtp: Literal["off", "optional", "required", "pass"] | None = None
    relay: bool = True
    asymmetric: bool = False
    record: Literal["wave", "pcap", "no"] | None = None
    hold_music: Sound | None = None
    ringback: Sound | None = None
    dtmf: Literal["pass", "info", "rtp"] | None = None
    caller_dtmf: Literal["pass", "info", "rtp"] = "pass"
    policy: Name | None = None
    caller_policy: Name | None = None


class OpeningHours(Section):
    """``[[routing.opening_hours]]``: times that routes name."""

    name: Name
    zone: Zone
    times: tuple[TimesText, ...] = Field(min_length=1, strict=False)
    holidays: tuple[HolidayText, ...] = Field(default=(), strict=False)


class Routing(Section):
    """``[routing]``: what all routes have in common."""

    emergency: tuple[DialText, ...] = Field(default=(), strict=False)
    country_code: CountryCode | None = None
    international_prefixes: tuple[DialPrefix, ...] = Field(default=("00",), strict=False)
    national_prefix: AreaCode = "0"
    area_code: AreaCode = ""
    local_length: LocalLength = (0, 0)
    opening_hours: tuple[OpeningHours, ...] = Field(default=(), strict=False)
    http: RoutingHttp | None = None
