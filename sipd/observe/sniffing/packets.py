"""Packets as they are captured, down to IP: Ethernet with VLAN tags, Linux's cooked captures, BSD loopback, bare IP.

IP is RFC 791 and RFC 8200, whose extension headers are passed over; VLAN tags are those of IEEE 802.1Q and 802.1ad.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from sipd.observe.sniffing.errors import PacketError

TCP, UDP = 6, 17

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
#: Tags, and extension headers, of one packet; a packet with more of them is refused.
_MAX_TAGS = 4
_MAX_EXTENSIONS = 8

_ETHERNET_HEADER_OCTETS = 14
_COOKED_HEADER_OCTETS = 16
_COOKED_2_HEADER_OCTETS = 20
_IPV6_HEADER_OCTETS = 40
_FRAGMENT, _AUTHENTICATION = 44, 51
#: Hop-by-hop options, routing, destination options, mobility, HIP, shim6: length in eights of octets.
_EXTENSIONS = (0, 43, 60, 135, 139, 140)

_IPV4_HEADER = struct.Struct(">BBHHHBBH4s4s")
_IPV6_HEADER = struct.Struct(">IHBB16s16s")


class Link(Enum):
    """What a captured packet begins with; the values are pcap's link types."""

    BSD_LOOPBACK = 0
    ETHERNET = 1
    RAW = 101
    OPENBSD_LOOPBACK = 108
    COOKED = 113
    IPV4 = 228
    IPV6 = 229
    COOKED_2 = 276


#: Other numbers of the same: bare IP as two BSDs call it.
OTHER_NUMBERS = {12: Link.RAW, 14: Link.RAW}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """Which part of a datagram a packet is.

    Args:
        identification: what all parts of the datagram have in common.
        offset: where it belongs, in octets.
        is_last: whether the datagram ends with it.
    """

    identification: int
    offset: int
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IpPacket:
    """One IP packet.

    Args:
        source: the numeric address that it comes from.
        destination: the one that it goes to.
        protocol: what is in it, such as `UDP`.
        payload: without padding of the link.
        fragment: ``None`` if it is whole.
    """

    source: str
    destination: str
    protocol: int
    payload: bytes
    fragment: Fragment | None = None


def parse_packet(link: Link, data: bytes) -> IpPacket | None:
    """Parse one captured packet.

    Args:
        link: what it begins with.
        data: its octets; may be cut by the capture, and payload is then what is there.

    Returns:
        What IP has in it, or ``None`` if it is no IP.

    Raises:
        PacketError: a header is cut off or impossible.
    """
    if link in (Link.RAW, Link.IPV4, Link.IPV6):
        return parse_ip(data)
    if link in (Link.BSD_LOOPBACK, Link.OPENBSD_LOOPBACK):
        # The family's number differs from system to system, and its order of octets, too: IP says its own version.
        packet = data[4:]
        return parse_ip(packet) if packet and packet[0] >> 4 in (4, 6) else None
    if link is Link.ETHERNET:
        kind, place = 12, _ETHERNET_HEADER_OCTETS
    elif link is Link.COOKED:
        kind, place = 14, _COOKED_HEADER_OCTETS
    else:
        kind, place = 0, _COOKED_2_HEADER_OCTETS
    if len(data) < place:
        raise PacketError("A packet that ends within its link's header")
    protocol = int.from_bytes(data[kind : kind + 2], "big")
    for _ in range(_MAX_TAGS):
        if protocol not in _VLAN_TAGS:
            break
        if len(data) < place + 4:
            raise PacketError("A packet that ends within a VLAN tag")
        protocol = int.from_bytes(data[place + 2 : place + 4], "big")
        place += 4
    return parse_ip(data[place:]) if protocol in (_IPV4, _IPV6) else None


def parse_ip(data: bytes) -> IpPacket:
    """Parse a packet that begins with its IP header, of either version.

    Raises:
        PacketError: it is neither version, or a header is cut off or impossible.
    """
    version = data[0] >> 4 if data else 0
    if version == 4:
        return _parse_ipv4(data)
    if version == 6:
        return _parse_ipv6(data)
    raise PacketError("A packet of no known version of IP")


def _parse_ipv4(data: bytes) -> IpPacket:
    if len(data) < _IPV4_HEADER.size:
        raise PacketError("An IPv4 header that is cut off")
    first, _, length, identification, place, _, protocol, _, source, destination = _IPV4_HEADER.unpack_from(data)
    header = (first & 0x0F) * 4
    # Where the network card cuts large packets into segments, the length may not be written yet.
    length = length or len(data)
    if not _IPV4_HEADER.size <= header <= min(length, len(data)):
        raise PacketError("An IPv4 packet of impossible length")
    fragment = None
    if place & 0x3FFF:
        fragment = Fragment(identification=identification, offset=(place & 0x1FFF) * 8, is_last=not place & 0x2000)
    return IpPacket(
        source=str(IPv4Address(source)),
        destination=str(IPv4Address(destination)),
        protocol=protocol,
        payload=data[header:length],
        fragment=fragment,
    )


def _parse_ipv6(data: bytes) -> IpPacket:
    if len(data) < _IPV6_HEADER_OCTETS:
        raise PacketError("An IPv6 header that is cut off")
    _, length, protocol, _, source, destination = _IPV6_HEADER.unpack_from(data)
    end = _IPV6_HEADER_OCTETS + length if length else len(data)
    payload = data[_IPV6_HEADER_OCTETS:end]
    fragment = None
    for _ in range(_MAX_EXTENSIONS):
        if protocol not in (_FRAGMENT, _AUTHENTICATION, *_EXTENSIONS):
            break
        if len(payload) < 8:
            raise PacketError("An IPv6 extension header that is cut off")
        following = payload[0]
        if protocol == _FRAGMENT:
            place, identification = struct.unpack_from(">HI", payload, 2)
            # One that is the whole datagram (RFC 6946) is as good as none.
            if place & 0xFFF9:
                fragment = Fragment(identification=identification, offset=place & 0xFFF8, is_last=not place & 1)
            size = 8
        elif protocol == _AUTHENTICATION:
            size = (payload[1] + 2) * 4
        else:
            size = (payload[1] + 1) * 8
        payload = payload[size:]
        protocol = following
        if fragment is not None:
            break  # what follows may be the middle of the datagram
    return IpPacket(
        source=str(IPv6Address(source)),
        destination=str(IPv6Address(destination)),
        protocol=protocol,
        payload=payload,
        fragment=fragment,
    )
