"""The entries of the map that user space and the program in the kernel share: one for each direction of a flow.

The key is what a packet has to look like. The value is what becomes of it, all that can be computed beforehand, and
the counters, which only the program changes. Checksums change by a constant for each flow (RFC 1624): the difference
between the old and the new addresses and ports.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

#: A numeric host and a port.
Address: TypeAlias = tuple[str, int]

#: Source and destination of a packet as it comes in.
FlowKey: TypeAlias = tuple[Address, Address]

#: In the place of a payload type: none, or any.
NO_PAYLOAD_TYPE = 0xFF
#: Payload types of one flow that can be left to user space.
UPWARD_LIMIT = 4

#: Addresses (IPv4 as ``::ffff:a.b.c.d``), ports as in the packet, version of IP.
_KEY = struct.Struct("<16s16sHHI")
KEY_SIZE = _KEY.size

#: How addresses begin that are IPv4 in disguise, and those that are of use on one link only.
_MAPPED = bytes(10) + b"\xff\xff"
_LINK_LOCAL = b"\xfe\x80"
#: The first octet of the first address of IPv4 that is not of one machine.
_FIRST_MULTICAST = 224

_VALUE = struct.Struct("<36sIIIIII4sBBHI QQQQQQQQQ IIII")
VALUE_SIZE = _VALUE.size

#: What the time to live loses, as the 16 bits of an IPv4 header that begin with it.
_HOP = b"\x01\x00", b"\x00\x00"


class KeyField(IntEnum):
    """Where things are in a key."""

    SOURCE = 0
    DESTINATION = 16
    PORTS = 32
    VERSION = 36


class Field(IntEnum):
    """Where things are in a value."""

    REPLACEMENT = 0
    INTERFACE = 36
    ADDRESS_DIFFERENCE = 40
    PORT_DIFFERENCE = 44
    HEADER_DIFFERENCE = 48
    MTU = 52
    TICK = 56
    UPWARD = 60
    PAYLOAD_TYPE = 64
    FORWARDS_RTCP = 65
    PACKETS = 72
    OCTETS = 80
    RTCP_PACKETS = 88
    PASSED_UP = 96
    LAST_SEEN = 104
    JITTER = 112
    LOST = 120
    LATE = 128
    SSRC_CHANGES = 136
    SSRC = 144
    TIMESTAMP = 148
    SEQUENCE = 152


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """RTP of one party as it comes in, and where it goes. All hosts are numeric and of one version of IP.

    Args:
        source: the party that sends.
        destination: our socket that it sends to.
        new_source: our socket from which the other party shall see it come.
        new_destination: the other party.
        payload_type: the only one to forward; ``None`` for any.
        upward_payload_types: those that user space wants to see itself, at most 4 (such as telephone-event).
        forwards_rtcp: whether RTCP that is multiplexed with RTP (RFC 5761) is forwarded; if not, user space gets it.
        tick_nanoseconds: the length of one unit of the RTP timestamp, at most 1,000,000; 0 to compute no jitter.
    """

    source: Address
    destination: Address
    new_source: Address
    new_destination: Address
    payload_type: int | None = None
    upward_payload_types: tuple[int, ...] = ()
    forwards_rtcp: bool = False
    tick_nanoseconds: int = 0

    @property
    def key(self) -> FlowKey:
        """What the flow is known by."""
        return self.source, self.destination


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCounters:
    """What the kernel counted of a flow since it was added. All but the last two counters are about RTP forwarded.

    Args:
        packets: how many.
        size_octets: their size without the headers of UDP and below.
        last_seen: when the last one came, on the clock of ``time.monotonic``; ``None`` if none did.
        ssrc: of the last one; ``None`` if none came.
        ssrc_changes: how often it was another one than before.
        lost: sequence numbers that were left out; those that came after all count as late, too.
        late: packets that came after one with a higher sequence number, or twice.
        jitter: seconds (RFC 3550 section 6.4.1); 0 where the flow has no tick.
        rtcp_packets: RTCP forwarded.
        passed_up: packets of the flow that were left to user space.
    """

    packets: int
    size_octets: int
    last_seen: float | None
    ssrc: int | None
    ssrc_changes: int
    lost: int
    late: int
    jitter: float
    rtcp_packets: int
    passed_up: int


def pack_key(key: FlowKey) -> bytes:
    """Give the key of a flow.

    Raises:
        ValueError: an address is none that a flow can have, or of another version of IP, or a port is out of range.
    """
    source, destination = _addresses(*key)
    version = 4 if len(source) == 4 else 6
    return _KEY.pack(_sixteen(source), _sixteen(destination), _port(key[0][1]), _port(key[1][1]), version)


def pack_value(flow: Flow, *, interface: int, mtu: int) -> bytes:
    """Give the value of a flow that has not carried anything yet.

    Args:
        flow: as given.
        interface: the index of that on which it goes out.
        mtu: the size of the largest IP packet that may go out.

    Raises:
        ValueError: as for `pack_key`, or a payload type or the tick is out of range, or there are too many.
    """
    upward = flow.upward_payload_types
    expected = () if flow.payload_type is None else (flow.payload_type,)
    if len(upward) > UPWARD_LIMIT:
        raise ValueError(f"{len(upward)} payload types are too many to be left to user space, {UPWARD_LIMIT} can be")
    if not all(0 <= payload_type <= 127 for payload_type in upward + expected):
        raise ValueError("a payload type is from 0 to 127")
    if not 0 <= flow.tick_nanoseconds <= 1_000_000:
        raise ValueError("the tick of a clock is from 0 to 1,000,000 ns")
    old = b"".join(_addresses(*flow.key))
    new = b"".join(_addresses(flow.new_source, flow.new_destination, len(old) // 2))
    ports = _ports(flow.new_source, flow.new_destination)
    address_difference = difference(old, new)
    return _VALUE.pack(
        new + ports,
        interface,
        address_difference,
        difference(_ports(flow.source, flow.destination), ports),
        _fold(address_difference + difference(*_HOP)),
        mtu,
        flow.tick_nanoseconds,
        bytes(upward).ljust(UPWARD_LIMIT, bytes([NO_PAYLOAD_TYPE])),
        *(expected or (NO_PAYLOAD_TYPE,)),
        flow.forwards_rtcp,
        *(0,) * 15,
    )


def unpack_counters(value: bytes) -> FlowCounters:
    """Give what is counted in a value."""
    packets, octets, rtcp, passed_up, last_seen, jitter, lost, late, changes, ssrc = struct.unpack_from(
        "<QQQQQQQQQI", value, Field.PACKETS
    )
    return FlowCounters(
        packets=packets,
        size_octets=octets,
        last_seen=last_seen / 1e9 if last_seen else None,
        ssrc=ssrc if last_seen else None,
        ssrc_changes=changes,
        lost=lost,
        late=late,
        jitter=jitter / 16e9,  # the program keeps it in sixteenths of a nanosecond
        rtcp_packets=rtcp,
        passed_up=passed_up,
    )


def difference(old: bytes, new: bytes) -> int:
    """Give what a sum of 16-bit words in ones' complement changes by when some of them are replaced (RFC 1624).

    The words are read with the least significant octet first, as the kernel does on the machines this is for; the sum
    is the same but for the order of its octets (RFC 1071 section 2).
    """
    return _fold(
        sum(~word & 0xFFFF for (word,) in struct.iter_unpack("<H", old))
        + sum(word for (word,) in struct.iter_unpack("<H", new))
    )


def _fold(total: int) -> int:
    """Add what does not fit in 16 bits to what does."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pack_host(host: str) -> bytes:
    """Give the octets of an address that a flow can have: that of one machine, not of a link.

    Raises:
        ValueError: it is not.
    """
    try:
        octets = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError) as error:
        raise ValueError(f"{host!r} is not a numeric address") from error
    if len(octets) == 4:
        is_usable = 0 < octets[0] < _FIRST_MULTICAST
    else:
        is_usable = octets[0] != 0xFF and octets[:2] != _LINK_LOCAL and any(octets) and octets[:12] != _MAPPED
    if not is_usable:
        raise ValueError(f"{host} is not an address that a flow can have")
    return octets


def _sixteen(octets: bytes) -> bytes:
    """Give an address as it stands in a key."""
    return octets if len(octets) == 16 else _MAPPED + octets


def _port(number: int) -> int:
    """Give a port so that its octets in memory are as in a packet."""
    if not 0 < number <= 0xFFFF:
        raise ValueError(f"{number} is no port")
    return number >> 8 | (number & 0xFF) << 8


def _addresses(source: Address, destination: Address, size: int | None = None) -> tuple[bytes, bytes]:
    """Give both addresses, which have to be of one version of IP: that of addresses of a size, if it is given."""
    one, other = pack_host(source[0]), pack_host(destination[0])
    if len(one) != len(other) or size not in (None, len(one)):
        raise ValueError("the addresses are not all of one version of IP")
    return one, other


def _ports(source: Address, destination: Address) -> bytes:
    return struct.pack("<HH", _port(source[1]), _port(destination[1]))
