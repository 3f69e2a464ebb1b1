"""The offer/answer model: RFC 3264 sections 5, 6 and 8, and RFC 6337.

`LocalOrigin` owns what a leg says of itself; the functions say what an answer may and must be.
"""

from __future__ import annotations

from sipd.errors import SdpError
from sipd.sdp.description import Direction, MediaDescription, SessionDescription

#: Direction to (sends, receives).
_FLOWS = {
    Direction.SENDRECV: (True, True),
    Direction.SENDONLY: (True, False),
    Direction.RECVONLY: (False, True),
    Direction.INACTIVE: (False, False),
}
_DIRECTION_OF_FLOWS = {flows: direction for direction, flows in _FLOWS.items()}


class LocalOrigin:
    """The ``o=`` line of one leg (RFC 8866 section 5.2).

    A leg has one session identifier for its whole life, and a version that is one higher exactly when the description
    differs from the one sent last (RFC 3264 section 8): what another party wrote into its ``o=`` line does not matter.

    Args:
        session_id: unique among the sessions of this address: 0 to 2**63 - 1, so that no peer's integer overflows.
        host: the numeric address that the leg gives as its own, without brackets.
    """

    __slots__ = ("_host", "_sent", "_session_id", "_version")

    def __init__(self, *, session_id: int, host: str) -> None:
        self._session_id = session_id
        self._host = host
        self._version = 0
        self._sent: SessionDescription | None = None

    def copy(self) -> LocalOrigin:
        """Give an origin that goes on from here by itself: an offer was sent once, and several callees answer it."""
        copy = LocalOrigin(session_id=self._session_id, host=self._host)
        copy._version = self._version
        copy._sent = self._sent
        return copy

    def stamp(self, description: SessionDescription) -> SessionDescription:
        """Give the description as this leg sends it. Call this for each one that is sent, when it is sent.

        Args:
            description: what to send, with anybody's ``o=`` line or none.

        Returns:
            The same with this leg's ``o=`` line.
        """
        sent, self._sent = self._sent, description
        if sent is None or description.differs_from(sent):
            self._version += 1
        host = self._host
        return description.with_origin(
            f"- {self._session_id} {self._version} IN {'IP6' if ':' in host else 'IP4'} {host}"
        )


def reverse(direction: Direction) -> Direction:
    """Give the same direction as the other side sees it: ``sendonly`` is its ``recvonly``."""
    sends, receives = _FLOWS[direction]
    return _DIRECTION_OF_FLOWS[receives, sends]


def answer_direction(offered: Direction, wanted: Direction = Direction.SENDRECV) -> Direction:
    """Give the direction of an answer: as much of what is wanted as the offer allows (RFC 3264 section 6.1).

    Args:
        offered: what the offer says.
        wanted: what the answerer would like.
    """
    may_send, may_receive = _FLOWS[reverse(offered)]
    would_send, would_receive = _FLOWS[wanted]
    return _DIRECTION_OF_FLOWS[may_send and would_send, may_receive and would_receive]


def is_held(description: SessionDescription, media: MediaDescription) -> bool:
    """Say whether a stream is put on hold by whoever wrote this.

    It is in each of the dialects: ``sendonly`` and ``inactive`` (RFC 3264 section 8.4), at the stream or the session,
    and the address 0.0.0.0 (RFC 2543).

    Raises:
        SdpError: its address is malformed.
    """
    connection = description.connection_of(media)
    return (connection is not None and connection.is_unspecified) or description.direction_of(media) in (
        Direction.SENDONLY,
        Direction.INACTIVE,
    )


def is_hold(description: SessionDescription) -> bool:
    """Say whether a description puts the peer on hold: there are streams, and each is held.

    Raises:
        SdpError: an address is malformed.
    """
    active = [media for media in description.media if not media.is_disabled]
    return bool(active) and all(is_held(description, media) for media in active)


def check_answer(offer: SessionDescription, answer: SessionDescription) -> None:
    """Check that an answer has a stream of the same kind for each of the offer, in the same order.

    Raises:
        SdpError: it has not (RFC 3264 section 6), so nobody can tell which stream is meant.
    """
    if len(answer.media) != len(offer.media):
        raise SdpError(f"answer with {len(answer.media)} media lines to an offer with {len(offer.media)}")
    for index, (asked, given) in enumerate(zip(offer.media, answer.media, strict=True)):
        if asked.media.lower() != given.media.lower():
            raise SdpError(f"answer with {given.media} to the {asked.media} of media line {index + 1}")


def active_streams(offer: SessionDescription, answer: SessionDescription) -> list[int]:
    """Give the indexes of the streams that both sides want: neither port is 0."""
    pairs = zip(offer.media, answer.media, strict=False)
    return [index for index, (asked, given) in enumerate(pairs) if not (asked.is_disabled or given.is_disabled)]


def decline(offer: SessionDescription) -> SessionDescription:
    """Give an answer that refuses every stream of an offer; `LocalOrigin.stamp` makes it somebody's."""
    times = tuple([line for line in offer.lines if line.startswith("t=")]) or ("t=0 0",)
    media = tuple([reject_stream(stream) for stream in offer.media])
    # A session without any c= would be malformed (RFC 8866 section 5.7); this one is nowhere.
    return SessionDescription(lines=("v=0", "s=-", "c=IN IP4 0.0.0.0", *times), media=media)


def reject_stream(media: MediaDescription) -> MediaDescription:
    """Give what refuses a stream: the same line with port 0, without attributes (RFC 3264 section 6)."""
    return MediaDescription(lines=media.with_port(0).lines[:1])
