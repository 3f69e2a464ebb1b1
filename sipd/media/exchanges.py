"""What a session remembers of offers and answers: legs, their streams, and what is planned with them (RFC 3264)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sipd.media.rewrite import SignalledStream
from sipd.media.secured import SecuredOffer
from sipd.media.stream import RelayStream
from sipd.sdp.description import AddressType, SessionDescription


@dataclass(slots=True, eq=False)
class Leg:
    """One leg.

    Args:
        streams: all of its streams: those in force, and those that an exchange plans with.
        family: the version of IP that it is to be offered, if somebody said so.
        is_asymmetric: whether its media comes from elsewhere than it wants it.
    """

    streams: list[RelayStream] = field(default_factory=list)
    family: AddressType | None = None
    is_asymmetric: bool = False

    def current(self, index: int) -> RelayStream | None:
        """Give the stream in force on a media line."""
        for stream in self.streams:
            if stream.index == index and stream.is_in_force:
                return stream
        return None

    def first_current(self) -> RelayStream | None:
        """Give the stream in force on the first media line that has one."""
        in_force = [stream for stream in self.streams if stream.is_in_force]
        return min(in_force, key=_index_of) if in_force else None


@dataclass(slots=True, eq=False)
class Line:
    """One media line of an exchange.

    Args:
        outer: the stream of the party that offered; ``None`` where nothing is relayed.
        inner: the same of the party that is to answer.
        asked: where the party that offered wants its media.
        given: where the party that answered wants its media.
    """

    outer: RelayStream | None = None
    inner: RelayStream | None = None
    asked: SignalledStream | None = None
    given: SignalledStream | None = None


@dataclass(slots=True, eq=False)
class Exchange:
    """An offer, and what it became.

    Args:
        offerer: the leg that offered.
        answerer: the leg that is to answer, or has.
        offer: as it came.
        lines: what is planned or agreed, by media line.
        secured: what the keys of both have to do with it, if anything.
        is_agreed: whether it was answered.
    """

    offerer: str
    answerer: str
    offer: SessionDescription
    lines: list[Line]
    secured: SecuredOffer | None = None
    is_agreed: bool = False


def _index_of(stream: RelayStream) -> int:
    return stream.index
