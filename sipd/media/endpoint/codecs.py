"""The codecs of endpoints, as descriptions call them (RFC 3551 section 6, RFC 7587)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCodec:
    """One codec.

    Args:
        name: of its encoding, in lower case.
        rtpmap: as ``a=rtpmap`` has it.
        payload_type: that it has always, or that it is given unless that is taken.
        parameters: for ``a=fmtp``; empty for none.
        is_octet_wise: whether an octet is a sample, whatever came before.
        joins: whether the payloads of several frames in a row are the payload of all of them.
    """

    name: str
    rtpmap: str
    payload_type: int
    parameters: str = ""
    is_octet_wise: bool = False
    joins: bool = True

    @property
    def encoding(self) -> str:
        """As `sipd.sdp.codecs.Codec` has it."""
        return self.rtpmap.lower()

    @property
    def clock_rate(self) -> int:
        """Units of the timestamp in a second. For G.722 that is half of what it should be (RFC 3551 section 4.5.2)."""
        return clock_rate_of(self.encoding)


CODECS = {
    codec.name: codec
    for codec in (
        EndpointCodec(name="pcmu", rtpmap="PCMU/8000", payload_type=0, is_octet_wise=True),
        EndpointCodec(name="pcma", rtpmap="PCMA/8000", payload_type=8, is_octet_wise=True),
        EndpointCodec(name="g722", rtpmap="G722/8000", payload_type=9),
        # Samples here are 8000 a second (RFC 7587 section 6.1).
        EndpointCodec(
            name="opus",
            rtpmap="opus/48000/2",
            payload_type=96,
            parameters="maxplaybackrate=8000;sprop-maxcapturerate=8000",
            joins=False,
        ),
    )
}

#: Of telephone events (RFC 4733), by clock rate; the payload types are those that many others use, too.
EVENTS = {8000: 101, 48000: 102}
EVENT_NAME = "telephone-event"


def clock_rate_of(encoding: str) -> int:
    """Give the clock rate in an encoding: ``opus/48000/2``; 8000 if there is none that can be."""
    rate = encoding.partition("/")[2].partition("/")[0]
    return int(rate) if rate.isdecimal() and 1000 <= int(rate[:7]) <= 192000 else 8000
