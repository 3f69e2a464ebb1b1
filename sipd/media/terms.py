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
        encodings: of each that the leg may send, in lower case: `pcmu/8000`.
        events: those of them that are telephone events (RFC 4733).
    """

    encodings: dict[int, str] = field(default_factory=dict)
    events: frozenset[int] = frozenset()

    @property
    def rates(self) -> dict[int, int]:
        """The clock rate of each, in hertz, where that is known; without telephone events and comfort noise."""
        found = {}
        for number, name in self.encodings.items():
            rate = name.partition("/")[2].partition("/")[0]
            if number not in self.events and not name.startswith("cn/") and rate.isdecimal() and len(rate) < 8:
                found[number] = int(rate)
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
        payloads = Payloads(encodings=encodings, events=frozenset(values["events"]))
        return cls(is_rtp=values["is_rtp"], payloads=payloads, sends=values["sends"], receives=values["receives"])


def export_terms(terms: StreamTerms) -> dict[str, Any]:
    """Give terms as values for JSON."""
    return {
        "is_rtp": terms.is_rtp,
        "encodings": {str(number): name for number, name in terms.payloads.encodings.items()},
        "events": sorted(terms.payloads.events),
        "sends": terms.sends,
        "receives": terms.receives,
    }


class Terms:
    """What two descriptions say of one stream. See `StreamTerms`.

    Args:
        own: the description of the leg whose stream it is.
        other: that of the leg it is connected with.
        index: of the media line, in both.
    """

    __slots__ = ("_payloads", "index", "other", "own")

    def __init__(self, own: SessionDescription, other: SessionDescription, index: int) -> None:
        self.own = own
        self.other = other
        self.index = index
        self._payloads: Payloads | None = None

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
            found = {}
            for description in (self.own, self.other):
                found.update(_numbered(description.media[self.index]))
            events = frozenset(number for number, name in found.items() if name.startswith(_TELEPHONE_EVENT))
            self._payloads = Payloads(encodings=found, events=events)
        return self._payloads

    @property
    def sends(self) -> bool:
        """Whether media should come from the leg, by what both say."""
        return self._flows(_SENDS)

    @property
    def receives(self) -> bool:
        """Whether media should go to the leg, by what both say."""
        return self._flows(_RECEIVES)

    def _flows(self, directions: frozenset[Direction]) -> bool:
        try:
            stream = agreed_streams(self.own, self.other)[self.index]
        except SdpError:
            return True
        return stream.is_active and stream.direction in directions


def _numbered(media: MediaDescription) -> dict[int, str]:
    return {int(number): name for number, name in encodings(media).items() if number.isdigit() and int(number) < 128}
