"""The answer to an offer in a 2xx that nobody wants any more (RFC 3261 section 13.2.2.4)."""

from __future__ import annotations

from sipd.errors import SdpError
from sipd.interfaces import Entropy
from sipd.sdp.description import parse_description
from sipd.sdp.offer_answer import LocalOrigin, decline
from sipd.sip.headers import Fields
from sipd.sip.message import Response


def answer_of_nothing(response: Response, host: str, entropy: Entropy) -> tuple[Fields, bytes]:
    """Give Content-Type and body of an ACK that takes none of the streams; nothing if there is no offer to be read.

    Args:
        response: the 2xx to an INVITE without an offer.
        host: the address of this side, for the origin.
        entropy: for the origin.
    """
    if response.content_type != "application/sdp":
        return (), b""
    try:
        offer = parse_description(response.body)
    except SdpError:
        return (), b""
    origin = LocalOrigin(session_id=int.from_bytes(entropy(6), "big"), host=host)
    return (("Content-Type", "application/sdp"),), origin.stamp(decline(offer)).to_bytes()
