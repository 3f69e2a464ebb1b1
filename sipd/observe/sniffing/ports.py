"""Which ports are watched."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Both ends are included.
PortRange = tuple[int, int]

#: The kernel's filter has room for so many.
MAX_RANGES = 20

_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of SIP and of RTP.

    Args:
        sip: of UDP and TCP, at most `MAX_RANGES`.
        rtp: of UDP; ``None`` if RTP is not watched.
    """

    sip: tuple[PortRange, ...] = ((5060, 5060),)
    rtp: PortRange | None = None

    def are_sip(self, one: int, other: int) -> bool:
        """Say whether what goes between these two ports is SIP."""
        return any(low <= one <= high or low <= other <= high for low, high in self.sip)

    def are_rtp(self, one: int, other: int) -> bool:
        """Say whether what goes between these two ports may be RTP."""
        if self.rtp is None:
            return False
        low, high = self.rtp
        return low <= one <= high or low <= other <= high


def parse_range(text: str) -> PortRange:
    """Read ``5060``, or ``10000-20000``.

    Raises:
        ValueError: it is neither.
    """
    match = _RANGE.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no port, and no range of ports")
    low, high = int(match[1]), int(match[2] or match[1])
    if not 0 < low <= high <= 65535:
        raise ValueError(f"{text!r}: ports are 1 to 65535, the lower one first")
    return low, high


def parse_ranges(text: str) -> tuple[PortRange, ...]:
    """Read ``5060,5080-5090``.

    Raises:
        ValueError: a part is no port and no range, or there are more than `MAX_RANGES`.
    """
    ranges = tuple(parse_range(part) for part in text.split(","))
    if len(ranges) > MAX_RANGES:
        raise ValueError(f"at most {MAX_RANGES} ports and ranges of ports")
    return ranges
