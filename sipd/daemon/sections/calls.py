"""Sections on where calls go, and what is kept of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sipd.daemon.sections.base import Section
from sipd.daemon.values import (
    CodecName,
    Count,
    FilePath,
    Name,
    Network,
    NextHop,
    Pattern,
    Refusal,
    Seconds,
    SecretText,
    Sound,
)


class RouteCredentials(Section):
    """`credentials` and `caller_credentials` of a route: what to answer digest challenges of a side with."""

    username: str = Field(min_length=1)
    password: SecretText
    realm: str = ""


class RouteRule(Section):
    """`[[routes]]`: where a call goes that is not for a registered user. The first that matches is taken."""

    name: Name
    user: Pattern | None = None
    host: Pattern | None = None
    from_: Pattern | None = Field(default=None, alias="from")
    sources: tuple[Network, ...] = Field(default=(), strict=False)
    to: str | None = None
    refuse: Refusal | None = None
    authenticate: bool = True
    timeout: Seconds = 60.0
    trusted: bool = False
    next_hop: NextHop | None = None
    credentials: RouteCredentials | None = None
    caller_credentials: RouteCredentials | None = None
    early_media: Literal["pass", "180->183", "183->180"] = "pass"
    codecs: tuple[CodecName, ...] = Field(default=(), strict=False)
    srtp: Literal["off", "optional", "required", "pass"] | None = None
    relay: bool = True
    asymmetric: bool = False
    record: Literal["wave", "pcap", "no"] | None = None
    hold_music: Sound | None = None
    ringback: Sound | None = None
    dtmf: Literal["pass", "info", "rtp"] = "pass"
    caller_dtmf: Literal["pass", "info", "rtp"] = "pass"


class Transfers(Section):
    """`[transfer]`: what becomes of REFER inside of calls (RFC 3515)."""

    policy: Literal["terminate", "pass", "refuse"] = "terminate"
    timeout: Seconds = 120.0
    limit: Count = 5


class Cdr(Section):
    """`[cdr]`: call records, one JSON object a line."""

    file: FilePath | None = None
    fsync: Literal["always", "interval", "never"] = "interval"
    interval: Seconds = 1.0
