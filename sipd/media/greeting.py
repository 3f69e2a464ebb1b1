"""Answers of our own to the offer of a leg that nobody has answered yet, so that it can be played to.

The other end of such an exchange is a leg that nobody is behind: it wants no media, and sends what is played.
"""

from __future__ import annotations

from sipd.errors import SdpError
from sipd.sdp.codecs import encodings
from sipd.sdp.description import AddressType, Connection, Direction, MediaDescription, SessionDescription
from sipd.sdp.offer_answer import answer_direction, decline, reject_stream

#: What the name of a leg that nobody is behind begins with.
_MARK = "~"
#: What can be played to everybody: encoding, and how ``a=rtpmap`` writes it.
_PLAYED = {"pcmu/8000": "PCMU/8000", "pcma/8000": "PCMA/8000"}
_LISTENS = frozenset((Direction.SENDRECV, Direction.RECVONLY))
#: An address at which nothing is received, and that does not mean hold (RFC 2606 section 2).
_NOWHERE = Connection(address_type=AddressType.IP4, host="nobody.invalid")
#: The discard service, at that address.
_DISCARD = 9


def greeter_of(leg: str) -> str:
    """Give the name of the leg nobody is behind that answers a leg."""
    return f"{_MARK}{leg}"


def is_greeter(leg: str) -> bool:
    """Say whether nobody is behind a leg of that name."""
    return leg.startswith(_MARK)


def hearing_part(offer: SessionDescription) -> SessionDescription:
    """Give an offer of which no media line is left but the first that can be played to.

    Raises:
        SdpError: there is none: no audio with PCMU or PCMA that wants to receive.
    """
    media = [reject_stream(stream) for stream in offer.media]
    for index, stream in enumerate(offer.media):
        if _hears(offer, stream) and _format(stream) is not None:
            media[index] = stream
            return SessionDescription(offer.text, tuple(media))
    raise SdpError("There is nothing in the offer that could be played to")


def answer_to(offer: SessionDescription) -> SessionDescription:
    """Give the answer to what `hearing_part` has left, without keying: the first of PCMU and PCMA alone."""
    media = []
    for stream in offer.media:
        format_ = None if stream.is_disabled else _format(stream)
        media.append(reject_stream(stream) if format_ is None else _sending(offer, stream, format_))
    return SessionDescription(decline(offer).with_connection(_NOWHERE).text, tuple(media))


def _hears(offer: SessionDescription, stream: MediaDescription) -> bool:
    """Say whether somebody wants audio as RTP on a media line."""
    if stream.media.lower() != "audio" or stream.is_disabled or not stream.is_rtp:
        return False
    connection = offer.connection_of(stream)
    return offer.direction_of(stream) in _LISTENS and not (connection is not None and connection.is_unspecified)


def _format(stream: MediaDescription) -> str | None:
    """Give the payload type that is played."""
    return next((format_ for format_, encoding in encodings(stream).items() if encoding in _PLAYED), None)


def _sending(offer: SessionDescription, stream: MediaDescription, format_: str) -> MediaDescription:
    """Answer a media line."""
    # Nothing is wanted of the leg, but who only listens sends nothing, and so is not found behind NAT.
    direction = answer_direction(offer.direction_of(stream))
    return MediaDescription(
        lines=(
            f"m={stream.media} {_DISCARD} {stream.protocol} {format_}",
            f"a=rtpmap:{format_} {_PLAYED[encodings(stream)[format_]]}",
            f"a={direction.value}",
        )
    )
