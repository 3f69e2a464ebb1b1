"""From which listening point a target is spoken to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from sipd.errors import TransportError
from sipd.interfaces import ListeningPoint
from sipd.sip.locate import Target
from sipd.transport.tcp import is_loopback, is_wildcard


class Speaker(Protocol):
    """What stands on a listening point."""

    @property
    def point(self) -> ListeningPoint:
        """The listening point."""


S = TypeVar("S", bound=Speaker)


def choose_speaker(speakers: Iterable[S], target: Target) -> S:
    """Choose one that can reach that target, if there is one: the one that the target names, or the first.

    Raises:
        TransportError: none speaks that transport and version of IP.
    """
    is_ipv6 = ":" in target.host
    candidates = [
        speaker
        for speaker in speakers
        if speaker.point.transport is target.transport and (":" in speaker.point.host) == is_ipv6
    ]
    if not candidates:
        family = "IPv6" if is_ipv6 else "IPv4"
        raise TransportError(f"No listening point speaks {target.transport.value} over {family}")
    for speaker in candidates if target.point else ():
        if speaker.point.name == target.point:
            return speaker
    is_local = is_loopback(target.host)
    for speaker in candidates:
        host = speaker.point.host
        if is_wildcard(host) or is_loopback(host) == is_local:
            return speaker
    return candidates[0]
