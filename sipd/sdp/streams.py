"""The streams of a session, and how the media lines of two legs correspond (RFC 3264 sections 5, 6 and 8).

The list of media lines of a leg never shrinks; what is not wanted any more stays with port 0, and its slot may be used
again (section 8.1). So the lists of two legs that a B2BUA connects may differ: `cross_offer` finds for each line of one
leg its slot on the other, and takes the answer back.
"""

from __future__ import annotations

from dataclasses import dataclass

from sipd.sdp.codecs import Codec, agreed_codecs
from sipd.sdp.description import AddressType, Connection, Direction, MediaDescription, SessionDescription
from sipd.sdp.offer_answer import answer_direction, is_held, reject_stream

#: For each media line of one leg its index on the other; ``None``, or missing at the end, where it has none.
Slots = tuple[int | None, ...]

_HOLD = {
    Direction.SENDRECV: Direction.SENDONLY,
    Direction.RECVONLY: Direction.INACTIVE,
}
_REVIVE = dict.fromkeys(Direction, Direction.SENDRECV)
_RESUME = {
    Direction.SENDONLY: Direction.SENDRECV,
    Direction.INACTIVE: Direction.SENDRECV,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What two sides agreed on for one media line, as this side sees it.

    Args:
        media: the kind: ``audio``, ...
        is_active: neither side gave it port 0.
        direction: which way media flows: what both sides let pass.
        is_held: the peer put it on hold, in any dialect.
        holds: this side did.
        codecs: those that both sides named.
    """

    media: str
    is_active: bool
    direction: Direction
    is_held: bool = False
    holds: bool = False
    codecs: tuple[Codec, ...] = ()


def agreed_streams(local: SessionDescription, remote: SessionDescription) -> tuple[Stream, ...]:
    """Give what was agreed on, one entry for each media line.

    Raises:
        SdpError: an address is malformed.
    """
    pairs = zip(local.media, remote.media, strict=False)
    return tuple([_agreed_stream(local, mine, remote, theirs) for mine, theirs in pairs])


def agree_alike(
    one: SessionDescription | None, other: SessionDescription | None, remote: SessionDescription | None
) -> bool:
    """Say whether two descriptions come to the same with what the peer says: what is sent where, and in which codecs.

    Raises:
        SdpError: an address is malformed.
    """
    if one is None or other is None or remote is None:
        return one is other
    left, right = agreed_streams(one, remote), agreed_streams(other, remote)
    return len(left) == len(right) and all(
        (a.is_active, a.direction, a.codecs) == (b.is_active, b.direction, b.codecs)
        for a, b in zip(left, right, strict=True)
    )


def _agreed_stream(
    local: SessionDescription, mine: MediaDescription, remote: SessionDescription, theirs: MediaDescription
) -> Stream:
    if mine.is_disabled or theirs.is_disabled:
        return Stream(media=mine.media, is_active=False, direction=Direction.INACTIVE)
    return Stream(
        media=mine.media,
        is_active=True,
        direction=answer_direction(_direction(remote, theirs), _direction(local, mine)),
        is_held=is_held(remote, theirs),
        holds=is_held(local, mine),
        codecs=agreed_codecs(mine, theirs),
    )


def _direction(description: SessionDescription, media: MediaDescription) -> Direction:
    """Give the direction of a stream; at the address 0.0.0.0 nothing is received (RFC 3264 section 8.4)."""
    direction = description.direction_of(media)
    connection = description.connection_of(media)
    if connection is not None and connection.is_unspecified:
        return answer_direction(Direction.RECVONLY, direction)
    return direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """An offer of one leg, and what the other leg is offered for it.

    Args:
        offer: as the first leg made it.
        description: for the other leg, whose media lines keep their places.
        slots: from the lines of `offer` to those of `description`.
    """

    offer: SessionDescription
    description: SessionDescription
    slots: Slots

    @property
    def is_straight(self) -> bool:
        """Whether each line has the same place on both legs."""
        return self.slots == tuple(range(len(self.description.media)))

    @property
    def reverse_slots(self) -> Slots:
        """The way back: from the lines of `description` to those of `offer`."""
        back: list[int | None] = [None] * len(self.description.media)
        for place, slot in enumerate(self.slots):
            if slot is not None:
                back[slot] = place
        return tuple(back)

    def answer(self, answer: SessionDescription) -> SessionDescription:
        """Give the answer to `offer` that an answer to `description` comes to.

        Args:
            answer: with as many media lines as `description` (`sipd.sdp.offer_answer.check_answer`).
        """
        if self.description is self.offer:
            return answer
        media = [
            reject_stream(asked) if slot is None else answer.media[slot]
            for asked, slot in zip(self.offer.media, self.slots, strict=True)
        ]
        return SessionDescription(lines=answer.lines, media=tuple(media))


def cross_offer(offer: SessionDescription, current: SessionDescription | None, slots: Slots = ()) -> Crossing:
    """Find out what to offer a leg for the offer of another one.

    A line goes where it went before. A new one takes a slot that nobody uses: first one of its kind, then a disabled
    one, then a new one at the end. Lines of the leg that mean nothing on the other side are disabled.

    Args:
        offer: of the other leg.
        current: what the leg itself said last (`Negotiation.local`); ``None`` if it has said nothing, then the offer
            crosses line by line.
        slots: from the last agreement of the two (`Crossing.slots`); empty if there is none: kinds are matched then.
    """
    if current is None:
        return Crossing(offer=offer, description=offer, slots=tuple(range(len(offer.media))))
    count = len(current.media)
    places: list[int | None] = [slot if slot is not None and slot < count else None for slot in slots]
    places = places[: len(offer.media)] + [None] * (len(offer.media) - len(places))
    taken = {place for place in places if place is not None}
    for index, media in enumerate(offer.media):
        if places[index] is None and not media.is_disabled:
            place = _free_slot(current, taken, media.media)
            if place is None:
                place = count
                count += 1
            places[index] = place
            taken.add(place)
    lines = [reject_stream(media) for media in current.media] + [None] * (count - len(current.media))
    for media, place in zip(offer.media, places, strict=True):
        if place is not None:
            lines[place] = media
    description = SessionDescription(lines=offer.lines, media=tuple([line for line in lines if line is not None]))
    return Crossing(offer=offer, description=description, slots=tuple(places))


def leave_out_disabled(crossing: Crossing) -> Crossing:
    """Give the crossing of a first offer without the media lines that are disabled: some peers refuse to see one.

    One that has nothing else stays as it is.
    """
    lines = [media for media in crossing.description.media if not media.is_disabled]
    if not lines or len(lines) == len(crossing.description.media):
        return crossing
    slots: list[int | None] = []
    place = 0
    for media in crossing.offer.media:
        slots.append(None if media.is_disabled else place)
        place += not media.is_disabled
    description = SessionDescription(crossing.description.text, tuple(lines))
    return Crossing(offer=crossing.offer, description=description, slots=tuple(slots))


def _free_slot(current: SessionDescription, taken: set[int], kind: str) -> int | None:
    """Give the slot for a line of that kind, or ``None`` if it needs a new one."""
    free = [index for index in range(len(current.media)) if index not in taken]
    same = [index for index in free if current.media[index].media == kind]
    return next(iter(same + [index for index in free if current.media[index].is_disabled]), None)


def align(description: SessionDescription, current: SessionDescription | None) -> SessionDescription:
    """Put what an end point can do into the slots that its session has.

    Args:
        description: everything it can do, as for a new call: what a re-INVITE without an offer is answered with (RFC
            3261 section 14.2), and what a resumed call offers.
        current: what it said last, or ``None``.
    """
    return cross_offer(description, current).description


def keep_slots(description: SessionDescription, current: SessionDescription | None) -> SessionDescription:
    """Give a description that has at least as many media lines as the current one: the list never shrinks."""
    if current is None or len(description.media) >= len(current.media):
        return description
    missing = [reject_stream(media) for media in current.media[len(description.media) :]]
    return SessionDescription(lines=description.lines, media=(*description.media, *missing))


def fit_answer(offer: SessionDescription, answer: SessionDescription) -> SessionDescription:
    """Give an answer that claims no more than its offer allows (RFC 3264 section 6).

    A stream that was offered with port 0 is refused, and one that was offered ``sendonly`` is not answered
    ``sendrecv``. What is right stays as it is.
    """
    media = [_fit(offer, asked, answer, given) for asked, given in zip(offer.media, answer.media, strict=False)]
    media += answer.media[len(media) :]
    fitted = tuple(media)
    return answer if fitted == answer.media else SessionDescription(lines=answer.lines, media=fitted)


def _fit(
    offer: SessionDescription, asked: MediaDescription, answer: SessionDescription, given: MediaDescription
) -> MediaDescription:
    if given.is_disabled:
        return given
    if asked.is_disabled:
        return reject_stream(given)
    offered = offer.direction_of(asked)
    if offered is Direction.SENDRECV:
        return given
    said = answer.direction_of(given)
    allowed = answer_direction(offered, said)
    return given if said is allowed else given.with_direction(allowed)


def hold(description: SessionDescription) -> SessionDescription:
    """Put each stream on hold: ``sendonly``, or ``inactive`` where nothing was sent (RFC 3264 section 8.4)."""
    return _redirect(description, _HOLD)


def resume(description: SessionDescription) -> SessionDescription:
    """Take each stream off hold: ``sendrecv``, whatever the peer's last answer was (RFC 6337 section 5.3)."""
    return _redirect(description, _RESUME)


def revive(description: SessionDescription) -> SessionDescription:
    """Let each stream flow both ways: what somebody said on hold, to be offered to somebody else."""
    return _redirect(description, _REVIVE)


def black_hole(offer: SessionDescription) -> SessionDescription:
    """Give an answer that takes each stream of an offer, but lets nothing flow (RFC 3725 section 4.4).

    The address is 0.0.0.0, and the streams are ``inactive``: nothing is sent anywhere until there is another offer.
    """
    nowhere = Connection(address_type=AddressType.IP4, host="0.0.0.0")
    media = []
    for stream in offer.media:
        silent = stream if stream.is_disabled else stream.with_port(9).with_direction(Direction.INACTIVE)
        media.append(reject_stream(silent) if stream.is_disabled else silent.with_connection(nowhere))
    return SessionDescription(lines=("v=0", "s=-", "c=IN IP4 0.0.0.0", "t=0 0"), media=tuple(media))


def _redirect(description: SessionDescription, directions: dict[Direction, Direction]) -> SessionDescription:
    media = []
    for stream in description.media:
        direction = description.direction_of(stream)
        changed = directions.get(direction, direction)
        media.append(stream if stream.is_disabled or changed is direction else stream.with_direction(changed))
    return SessionDescription(lines=description.lines, media=tuple(media))
