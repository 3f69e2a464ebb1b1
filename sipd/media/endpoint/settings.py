"""What an endpoint can do, and what it is told to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.media.endpoint.codecs import CODECS
from sipd.media.keying import PLAIN_PROFILES


class Security(Enum):
    """What an endpoint does about SRTP with keys in the description (RFC 4568).

    An offer of RTP/SAVP is answered in any case, if the extra ``srtp`` is installed, and one of RTP/AVP is answered
    with RTP/AVP. What is encrypted stays so in later offers.
    """

    #: What is offered is plain.
    NONE = "none"
    #: What is offered is RTP/SAVP, and nothing else is accepted in the answer.
    OFFERED = "offered"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """What all endpoints of a user agent may share.

    Args:
        codecs: ``pcmu``, ``pcma``, ``g722``, ``opus``; the order is that of preference, in answers too.
        ports: the lowest and the highest port: pairs of an even one for RTP and the next one for RTCP are taken out of
            this range, beginning anywhere in it; (0, 0) for any pair that the system gives.
        telephone_events: whether digits are sent and received as RFC 4733 says, if the peer does so.
        security: see `Security`.
        profile: of the first offer: ``RTP/AVP``, or ``RTP/AVPF`` (RFC 4585); with SRTP ``RTP/SAVP`` or ``RTP/SAVPF``.
            Any of them is answered as it is offered, and stays for the rest of the call.
        detect_inband: whether digits are also found in the sound, as tones.
        rtcp_interval: seconds between two reports on average (RFC 3550 section 6.2); 0 for none.
        advertised_port: for RTP, in descriptions, where another one leads here; RTCP is then expected at the next one.
            0 for the one that is bound.
        latching: seconds after each offer and answer in which packets may come from elsewhere than the peer said.
        keep_alive: seconds without a packet, as on hold, after which an empty datagram keeps the way through NAT open;
            0 for none.
        log_interval: seconds between two lines of statistics in the log; 0 for none.

    Raises:
        ValueError: a codec or the profile is not known, there is no codec, or a number is out of its range.
    """

    codecs: tuple[str, ...] = ("pcmu", "pcma")
    ports: tuple[int, int] = (0, 0)
    telephone_events: bool = True
    security: Security = Security.NONE
    profile: str = "RTP/AVP"
    detect_inband: bool = False
    rtcp_interval: float = 5.0
    advertised_port: int = 0
    latching: float = 5.0
    keep_alive: float = 15.0
    log_interval: float = 0.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.codecs if name not in CODECS]
        if unknown or not self.codecs or len(set(self.codecs)) < len(self.codecs):
            raise ValueError(
                f"codecs {', '.join(self.codecs)}: each of {', '.join(CODECS)} once at most, and one at least"
            )
        low, high = self.ports
        if self.ports != (0, 0) and not (1 <= low <= high <= 65535 and low + low % 2 < high):
            raise ValueError(f"media ports {low}-{high}: no pair of an even port and the next one within 1-65535")
        if self.profile not in PLAIN_PROFILES:
            raise ValueError(f"profile {self.profile}: one of {', '.join(PLAIN_PROFILES)} expected")
        if not 0 <= self.advertised_port <= 65534:
            raise ValueError(f"advertised port {self.advertised_port}, not within 0-65534")
        if min(self.rtcp_interval, self.latching, self.keep_alive, self.log_interval) < 0:
            raise ValueError("an interval below 0")
