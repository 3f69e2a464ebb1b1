"""The media lines of a session as a daemon sees them, and what becomes of its descriptions.

For a daemon the media lines of two parties correspond by their number, while here each leg has an order of its own. So
each line of the session has one place in all that daemons are told, and a description is put into that order, and taken
out of it again.

A daemon writes more than addresses: it sorts attributes, and adds those that it thinks missing. Of a description in
which it kept the kinds, the transports and the formats, and nothing is encrypted, only its addresses are taken. Where
it changed more (between RTP and SRTP, other codecs), or has keys of its own to tell, the description is the daemon's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sipd.errors import MediaEngineError, SdpError
from sipd.media.rewrite import SignalledStream, StreamPlace, rewrite
from sipd.sdp.description import (
    AddressType,
    Connection,
    MediaDescription,
    SessionDescription,
    parse_description,
)
from sipd.sdp.offer_answer import reject_stream
from sipd.sdp.streams import Slots

#: For each media line of a description its place; ``None`` if it is not relayed.
Places = tuple[int | None, ...]

_NOWHERE = Connection(address_type=AddressType.IP4, host="0.0.0.0")
#: An ``o=`` line for a description that lacks it.
_NOBODY = "- 0 0 IN IP4 0.0.0.0"
#: Attributes that exchange keys (RFC 4568, RFC 8122): a relay that decrypts has its own.
_KEYS = ("crypto", "fingerprint")


@dataclass(slots=True, eq=False)
class Party:
    """A leg as a daemon knows it.

    Args:
        leg: its name.
        tag: by which the daemon knows it.
        is_known: the daemon knows it, or should.
        said: the description that the daemon had of it last.
        family: the version of IP that it named last.
        protocol: the transport that it named last.
        places: of its media lines.
    """

    leg: str
    tag: str
    is_known: bool = False
    said: str = ""
    family: AddressType | None = None
    protocol: str = ""
    places: dict[int, int] = field(default_factory=dict)

    def learn(self, description: SessionDescription, signalled: Sequence[SignalledStream | None]) -> None:
        """Take note of how it describes itself."""
        for media, stream in zip(description.media, signalled, strict=True):
            if stream is not None:
                self.family = stream.address_type
                if media.is_rtp:
                    self.protocol = media.protocol
                    return

    def settle(self, line: int, place: int) -> None:
        """Give one of its media lines a place, which no other one has then."""
        self.places = {other: taken for other, taken in self.places.items() if taken != place}
        self.places[line] = place


@dataclass(slots=True, eq=False)
class Exchange:
    """An offer, and what it became.

    Args:
        offerer: who offered.
        answerer: who is to answer, or has.
        offer: with the media lines of `answerer`.
        slots: for each of these the one of `offerer`.
        places: for each of these its place.
        kinds: of the media in all places.
        told: the offer as the daemon had it.
        options: what it was told besides.
        answered: the answer as the daemon had it last; empty as long as there is none.
    """

    offerer: Party
    answerer: Party
    offer: SessionDescription
    slots: Slots
    places: Places
    kinds: tuple[str, ...]
    told: str
    options: Mapping[str, object]
    answered: str = ""

    def is_between(self, one: Party | None, other: Party | None) -> bool:
        """Say whether it is one of these two, whoever offered."""
        return (self.offerer is one and self.answerer is other) or (self.offerer is other and self.answerer is one)

    def settle(self) -> None:
        """Let both parties have their lines where this exchange has them."""
        for line, (slot, place) in enumerate(zip(self.slots, self.places, strict=True)):
            if place is not None and slot is not None:
                self.answerer.settle(line, place)
                self.offerer.settle(slot, place)


class Lines:
    """The places of a session.

    Attributes:
        kinds: of the media that each place had last.
    """

    __slots__ = ("kinds",)

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def plan(
        self,
        description: SessionDescription,
        signalled: Sequence[SignalledStream | None],
        slots: Slots,
        offerer: Party,
        answerer: Party,
    ) -> Places:
        """Find a place for each media line of an offer: that of the offerer's line, or of the answerer's, or a new one.

        Args:
            description: the offer, with the media lines of `answerer`.
            signalled: what is to be relayed of it.
            slots: for each line that of `offerer`.
            offerer: who offers.
            answerer: who is to answer.
        """
        places: list[int | None] = [None] * len(signalled)
        wanted = [
            (line, slot)
            for line, (stream, slot) in enumerate(zip(signalled, slots, strict=True))
            if stream is not None and slot is not None
        ]
        taken = set(offerer.places.values())
        for line, slot in wanted:
            place = offerer.places.get(slot)
            if place is None:
                place = _free_place((answerer.places.get(line), line), taken)
                taken.add(place)
            places[line] = place
            self.kinds += ["audio"] * (place + 1 - len(self.kinds))
            self.kinds[place] = description.media[line].media
        return tuple(places)


def put(
    description: SessionDescription,
    signalled: Sequence[SignalledStream | None],
    places: Places,
    kinds: Sequence[str],
) -> str:
    """Give a description as daemons are to see it: each line in its place, and the other places empty."""
    lines = [_empty(MediaDescription(lines=(f"m={kind} 0 RTP/AVP 0",))) for kind in kinds]
    for media, stream, place in zip(description.media, signalled, places, strict=True):
        if place is not None:
            lines[place] = media if stream is not None else _empty(media)
    told = SessionDescription(description.text, tuple(lines))
    return str(told if told.origin is not None else told.with_origin(_NOBODY))


def _free_place(preferred: Sequence[int | None], taken: set[int]) -> int:
    for place in preferred:
        if place is not None and place not in taken:
            return place
    return next(place for place in range(len(taken) + 1) if place not in taken)


def take(sdp: str, description: SessionDescription, places: Places) -> SessionDescription:
    """Give a description with what a daemon made of it.

    Args:
        sdp: what the daemon gave for it.
        description: as it came.
        places: of its lines.

    Returns:
        A description with the same lines in the same order; those that are not relayed have port 0.

    Raises:
        MediaEngineError: what the daemon gave cannot be used for that.
    """
    try:
        result = parse_description(sdp)
        if len(result.media) <= max((place for place in places if place is not None), default=-1):
            raise MediaEngineError("a session description that lacks media lines")
        given = [None if place is None else result.media[place] for place in places]
        if all(_is_alike(own, theirs) for own, theirs in zip(description.media, given, strict=True)):
            return _take_addresses(result, description, given)
        return _take_lines(result, description, given)
    except SdpError as error:
        raise MediaEngineError(f"a session description that cannot be used: {error}") from error


def _is_alike(own: MediaDescription, given: MediaDescription | None) -> bool:
    """Say whether nothing but the address of a line may have changed."""
    if given is None or given.is_disabled:
        return True
    return (
        own.media.lower() == given.media.lower()
        and own.protocol.upper() == given.protocol.upper()
        and own.formats == given.formats
        and "SAVP" not in own.protocol.upper()
        and not any(media.attribute(name) is not None for media in (own, given) for name in _KEYS)
    )


def _take_addresses(
    result: SessionDescription, description: SessionDescription, given: Sequence[MediaDescription | None]
) -> SessionDescription:
    """Replace the addresses, and say of RTCP on the port of RTP what the daemon says (RFC 5761)."""
    streams = [None if media is None or media.is_disabled else _place(result, media) for media in given]
    session = result.connection
    host = next((stream.host for stream in streams if stream is not None), session.host if session else _NOWHERE.host)
    rewritten = rewrite(description, streams, host)
    lines = []
    for media, theirs in zip(rewritten.media, given, strict=True):
        line = media
        if theirs is not None and not media.is_disabled and media.is_rtp:
            if theirs.has_rtcp_mux and not media.has_rtcp_mux:
                line = media.without_attributes(("rtcp",)).with_attribute("rtcp-mux")
            elif media.has_rtcp_mux and not theirs.has_rtcp_mux:
                line = media.without_attributes(("rtcp-mux",))
        lines.append(line)
    return SessionDescription(rewritten.text, tuple(lines))


def _take_lines(
    result: SessionDescription, description: SessionDescription, given: Sequence[MediaDescription | None]
) -> SessionDescription:
    """Put what the daemon wrote into the order of the description; ``o=`` is not its own."""
    lines = [reject_stream(own) if line is None else line for own, line in zip(description.media, given, strict=True)]
    taken = SessionDescription(result.text, tuple(lines))
    return taken.without_origin() if description.origin is None else taken.with_origin(description.origin)


def _place(result: SessionDescription, media: MediaDescription) -> StreamPlace:
    connection = result.connection_of(media)
    if connection is None:
        raise MediaEngineError("a session description without an address")
    return StreamPlace(connection.host, media.port)


def _empty(media: MediaDescription) -> MediaDescription:
    """Give a disabled line that is well-formed by itself: daemons insist on an address."""
    return reject_stream(media).with_connection(_NOWHERE)
