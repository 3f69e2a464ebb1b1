"""What was agreed on about one stream of one leg, as far as an engine has to know it.

It is worked out of the two descriptions when somebody asks, which for most calls is when the first packet comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sipd.errors import SdpError
from sipd.sdp.codecs import encodings
from sipd.sdp.description import Direction, MediaDescription, SessionDescription
from sipd.sdp.streams import agreed_streams

_TELEPHONE_EVENT = "telephone-event/"
_SENDS = frozenset((Direction.SENDRECV, Direction.SENDONLY))
_RECEIVES = frozenset((Direction.SENDRECV, Direction.RECVONLY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Payloads:
    """The payload types of a stream of RTP.

    Args:
        encodings: of each that the leg may send, in lower case: ``pcmu/8000``.
        events: those of them that are telephone events (RFC 4733) and can be read here.
        renumbered: telephone events that the leg may send under its own number, to what the other leg wants them as.
        wanted: those under which the leg wants telephone events, and the clock rate of each in hertz.
    """

    encodings: dict[int, str] = field(default_factory=dict)
    events: frozenset[int] = frozenset()
    renumbered: dict[int, int] = field(default_factory=dict)
    wanted: dict[int, int] = field(default_factory=dict)

    @property
    def rates(self) -> dict[int, int]:
        """The clock rate of each, in hertz, where that is known; without telephone events and comfort noise."""
        found = {}
        for number, name in self.encodings.items():
            rate = _rate(name)
            if rate and not name.startswith((_TELEPHONE_EVENT, "cn/")):
                found[number] = rate
        return found


class StreamTerms(Protocol):
    """What was agreed on about one stream of one leg.

    Attributes:
        is_rtp: whether it is RTP; otherwise its datagrams are opaque, such as UDPTL.
        payloads: the payload types that the leg may send.
        sends: whether media should come from the leg.
        receives: whether media should go to the leg.
    """

    @property
    def is_rtp(self) -> bool: ...  # noqa: D102

    @property
    def payloads(self) -> Payloads: ...  # noqa: D102

    @property
    def sends(self) -> bool: ...  # noqa: D102

    @property
    def receives(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldTerms:
    """The same as another process tells it. See `StreamTerms`."""

    is_rtp: bool
    payloads: Payloads
    sends: bool
    receives: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ToldTerms:
        """Read what `export_terms` gave."""
        encodings = {int(number): name for number, name in values["encodings"].items()}
        payloads = Payloads(
            encodings=encodings,
            events=frozenset(values["events"]),
            renumbered={int(own): other for own, other in values.get("renumbered", {}).items()},
        )
        return cls(is_rtp=values["is_rtp"], payloads=payloads, sends=values["sends"], receives=values["receives"])


def export_terms(terms: StreamTerms) -> dict[str, Any]:
    """Give terms as values for JSON."""
    return {
        "is_rtp": terms.is_rtp,
        "encodings": {str(number): name for number, name in terms.payloads.encodings.items()},
        "events": sorted(terms.payloads.events),
        "renumbered": {str(own): other for own, other in terms.payloads.renumbered.items()},
        "sends": terms.sends,
        "receives": terms.receives,
    }


class Terms:
    """What two descriptions say of one stream. See `StreamTerms`.

    Args:
        own: the description of the leg whose stream it is.
        other: that of the leg it is connected with.
        index: of the media line, in both.
        is_sealed: whether the parties encrypt end to end: there is nothing to be read, nor to be changed.
    """

    __slots__ = ("_found", "_payloads", "index", "is_sealed", "other", "own")

    def __init__(
        self, own: SessionDescription, other: SessionDescription, index: int, *, is_sealed: bool = False
    ) -> None:
        self.own = own
        self.other = other
        self.index = index
        self.is_sealed = is_sealed
        self._payloads: Payloads | None = None
        self._found: Direction | None = None

    @property
    def is_rtp(self) -> bool:
        """Whether it is RTP; otherwise its datagrams are opaque, such as UDPTL."""
        return self.own.media[self.index].is_rtp

    @property
    def payloads(self) -> Payloads:
        """The payload types that the leg may send: those that the other one wants, and those that it named itself.

        RFC 3264 section 5.1 says the former; many send the latter where the two differ.
        """
        if self._payloads is None:
            own, other = (_numbered(description.media[self.index]) for description in (self.own, self.other))
            found = own | other
            if self.is_sealed:
                self._payloads = Payloads(encodings=found)
            else:
                own_events, other_events = _events(own), _events(other)
                self._payloads = Payloads(
                    encodings=found,
                    events=frozenset(_events(found)),
                    renumbered=_renumbered(own_events, other_events, other),
                    wanted={number: _rate(name) for number, name in own_events.items() if _rate(name)},
                )
        return self._payloads

    @property
    def wanted(self) -> dict[int, str]:
        """The payload types that the leg wants to be sent, the best first, with their encodings."""
        return _numbered(self.own.media[self.index])

    @property
    def sends(self) -> bool:
        """Whether media should come from the leg, by what both say."""
        return self._direction in _SENDS

    @property
    def receives(self) -> bool:
        """Whether media should go to the leg, by what both say."""
        return self._direction in _RECEIVES

    @property
    def _direction(self) -> Direction:
        """Which way media flows, as seen from the leg: both if nobody can tell."""
        if self._found is None:
            try:
                stream = agreed_streams(self.own, self.other)[self.index]
            except SdpError:
                self._found = Direction.SENDRECV
            else:
                self._found = stream.direction if stream.is_active else Direction.INACTIVE
        return self._found


def _numbered(media: MediaDescription) -> dict[int, str]:
    return {int(number): name for number, name in encodings(media).items() if number.isdigit() and int(number) < 128}


def is_encrypted(media: MediaDescription) -> bool:
    """Say whether a party encrypts that media, or may: SRTP by its profile or by its keys, or ZRTP (RFC 6189)."""
    text = media.text
    return "SAVP" in media.protocol.upper() or "\r\na=crypto:" in text or "\r\na=zrtp-hash:" in text


def _events(numbered: dict[int, str]) -> dict[int, str]:
    return {number: name for number, name in numbered.items() if name.startswith(_TELEPHONE_EVENT)}


def _renumbered(own: dict[int, str], other: dict[int, str], taken: dict[int, str]) -> dict[int, int]:
    """Give what the other leg calls each of the events that have another number, or none, with it."""
    numbers = {name: number for number, name in reversed(other.items())}
    return {number: numbers[name] for number, name in own.items() if number not in taken and name in numbers}


def _rate(name: str) -> int:
    """Give the clock rate in the name of an encoding; 0 if there is none."""
    rate = name.partition("/")[2].partition("/")[0]
    return int(rate) if rate.isdecimal() and len(rate) < 8 else 0
