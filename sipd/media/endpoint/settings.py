"""What an endpoint can do, and what it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from sipd.media.endpoint.codecs import CODECS
from sipd.media.keying import PLAIN_PROFILES


class Security(Enum):
    """What an endpoint does about SRTP, with keys in the description (RFC 4568) or by DTLS (RFC 5763).

    An offer of either is answered as it is in any case, if the extra ``srtp`` is installed, and one of RTP/AVP is
    answered with RTP/AVP. What is encrypted stays so in later offers.
    """

    #: What is offered is plain.
    NONE = "none"
    #: What is offered is RTP/SAVP, and nothing else is accepted in the answer.
    OFFERED = "offered"
    #: What is offered has its keys by DTLS (RFC 5763), and nothing else is accepted in the answer.
    DTLS = "dtls"

    __hash__ = object.__hash__


class Ice(Enum):
    """What an endpoint does about ICE (RFC 8445)."""

    #: It is not spoken.
    NONE = "none"
    #: An offer that speaks of it is answered by a full agent; offers of this side do not.
    ANSWERED = "answered"
    #: Offers of this side speak of it, too.
    OFFERED = "offered"
    #: As `ANSWERED`, by a lite agent: for who has an address that everybody can reach, and wants to send no checks.
    LITE = "lite"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """A server that is asked for addresses, over UDP.

    Args:
        uri: ``stun:host:port`` or ``turn:host:port`` (RFC 7064, RFC 7065).
        user: for TURN.
        password: for TURN; never in the text of this object.
    """

    uri: str
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """What all endpoints of a user agent may share.

    Args:
        codecs: ``pcmu``, ``pcma``, ``g722``, ``opus``; the order is that of preference, in answers too.
        ports: the lowest and the highest port: pairs of an even one for RTP and the next one for RTCP are taken out of
            this range, beginning anywhere in it; (0, 0) for any pair that the system gives.
        telephone_events: whether digits are sent and received as RFC 4733 says, if the peer does so.
        security: see `Security`.
        ice: see `Ice`. It needs RTCP on the port of RTP (RFC 5761); where the peer wants another one, RTCP goes there
            without.
        ice_servers: whom a full agent asks for addresses beyond NATs before it describes itself.
        profile: of the first offer: ``RTP/AVP``, or ``RTP/AVPF`` (RFC 4585); with SRTP ``RTP/SAVP`` or ``RTP/SAVPF``.
            With DTLS it is not looked at. Any of them is answered as it is offered, and stays for the rest of the call.
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
    ice: Ice = Ice.ANSWERED
    ice_servers: tuple[IceServer, ...] = ()
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
