"""The answer to an offer in a 2xx that nobody wants any more (RFC 3261 section 13.2.2.4)."""

from __future__ import annotations

from sipd.errors import SdpError
from sipd.interfaces import Entropy
from sipd.sdp.description import parse_description
from sipd.sdp.offer_answer import LocalOrigin, decline
from sipd.sip.headers import Fields
from sipd.sip.message import Response


def answer_of_nothing(response: Response, said: bytes, host: str, entropy: Entropy) -> tuple[Fields, bytes]:
    """Give Content-Type and body of an ACK that takes none of the streams; nothing if there is no offer to be read.

    Args:
        response: the 2xx to an INVITE without an offer.
        said: the description that this side gave last in that dialog, which the origin goes on from; empty for none.
        host: the address of this side, for another origin.
        entropy: for the same.
    """
    if response.content_type != "application/sdp":
        return (), b""
    try:
        offer = parse_description(response.body)
    except SdpError:
        return (), b""
    answer, origin = decline(offer), _next_origin(said)
    if origin is not None:
        answer = answer.with_origin(origin)
    else:
        answer = LocalOrigin(session_id=int.from_bytes(entropy(6), "big"), host=host).stamp(answer)
    return (("Content-Type", "application/sdp"),), answer.to_bytes()


def _next_origin(said: bytes) -> str | None:
    """Give the origin of a description, one version on (RFC 3264 section 8), or ``None``."""
    try:
        fields = (parse_description(said).origin or "").split(" ")
    except SdpError:
        return None
    if len(fields) != 6 or not (fields[2].isascii() and fields[2].isdigit()):
        return None
    return " ".join([*fields[:2], str(int(fields[2]) + 1), *fields[3:]])
