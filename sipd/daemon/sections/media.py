"""Sections on media."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sipd.daemon.sections.base import Section
from sipd.daemon.values import (
    Address,
    Count,
    FilePath,
    Port,
    RoutableAddress,
    Seconds,
    Sound,
    UsablePort,
)


class MediaAddress(Section):
    """``[[media.addresses]]``: where media is received, and what SDP says instead."""

    address: Address
    advertised_address: RoutableAddress | None = None


class RtpengineDaemon(Section):
    """``[[media.rtpengine]]``: where an rtpengine takes commands, and its share of the calls."""

    address: Address
    port: Port = 2223
    weight: int = Field(default=1, ge=0, le=1_000_000)


class Media(Section):
    """``[media]``: the relay of RTP and RTCP."""

    relay: bool = True
    addresses: tuple[MediaAddress, ...] = Field(default=(), strict=False)
    first_port: UsablePort = 16384
    last_port: UsablePort = 32767
    latch_window: Seconds = 5.0
    port_rest: float = Field(default=30.0, ge=0)
    srtp: Literal["off", "optional", "required", "pass"] = "pass"
    record: Literal["wave", "pcap", "no"] = "no"
    hold_music: Sound | None = None
    ringback: Sound | None = None
    pause: float = Field(default=0.00085, ge=0, le=0.02)
    kernel: Literal["auto", "on", "off"] = "auto"
    kernel_flows: Count = 16384
    flood_limit: Count = 2000
    keepalive: float = Field(default=15.0, ge=0)
    workers: int = Field(default=0, ge=0, le=64)
    worker_pause: float = Field(default=0.0005, ge=0, le=0.02)
    orphan_timeout: Seconds = 300.0
    rtpengine: tuple[RtpengineDaemon, ...] = Field(default=(), strict=False)
    rtpengine_flags: tuple[str, ...] = Field(default=("strict-source",), strict=False)
    no_media: Seconds = 60.0
    no_media_action: Literal["end", "log", "off"] = "log"
    media_loss: Seconds = 60.0
    media_loss_action: Literal["end", "log", "off"] = "log"
    hold_timeout: Seconds = 7200.0
    hold_action: Literal["end", "log", "off"] = "log"


class Recording(Section):
    """``[recording]``: files of what was said."""

    directory: FilePath | None = None
    template: str = "{date}/{time}-{call_id}"
    duration: Seconds = 14400.0
    size_octets: Count = 1 << 30
    count: Count = 2000
