"""What is wanted of the media of one side of a call, and of the digits that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class EarlyMedia(Enum):
    """What the caller is told of media that comes before the answer (RFC 3960)."""

    PASS = "pass"
    #: Ringing with media is called progress: many phones make a tone of their own when they hear of ringing.
    AS_183 = "180->183"
    #: Progress is called ringing, and its media is left out.
    AS_180 = "183->180"

    __hash__ = object.__hash__


class Dtmf(Enum):
    """How a leg wants the digits that the other one sends."""

    #: As they come.
    PASS = "pass"
    #: As SIP INFO with ``application/dtmf-relay``.
    INFO = "info"
    #: As telephone events (RFC 4733).
    RTP = "rtp"

    __hash__ = object.__hash__


class CryptoPolicy(Enum):
    """What a leg does about SRTP.

    * `OFF`: plain RTP. An offer of RTP/SAVP is refused.
    * `OPTIONAL`: what it is offered encrypted, it answers so. What it offers is RTP/AVP with keys, which the peer may
      take or not (RFC 8643).
    * `REQUIRED`: RTP/SAVP. No RTP that is not encrypted is accepted; with keys, RTP/AVP is, too.
    * `PASS`: between two such legs, sipd leaves keying alone: it is end to end. With any other leg, as `OPTIONAL`.
    """

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"
    PASS = "pass"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPolicy:
    """How the media of one leg is relayed.

    Args:
        crypto: what it does about SRTP.
        is_asymmetric: its media comes from elsewhere than it wants it.
        is_bypassed: its media does not go through here, but straight to the other leg.
        record: ``wave`` or ``pcap`` to record the call; empty for not.
        hold_music: what it hears while it is on hold, as for `IMediaStudio.play`; empty for what the other leg sends.
        ringback: what the caller hears while it rings there and nobody sends early media, in the same way; empty for
            nothing.
    """

    crypto: CryptoPolicy = CryptoPolicy.PASS
    is_asymmetric: bool = False
    is_bypassed: bool = False
    record: str = ""
    hold_music: str = ""
    ringback: str = ""
