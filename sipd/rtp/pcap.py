"""Datagrams as a file for tshark and Wireshark: pcap, LINKTYPE_RAW, each datagram in an IP packet made for it.

The addresses and ports are true; what else stands in the IP and UDP headers is made up.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = tuple[str, int]

#: Magic number of little-endian pcap with microseconds; version; the longest packet; LINKTYPE_RAW.
FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)

_RECORD = struct.Struct("<IIII")
_UDP = 17
_TTL = 64
_UDP_HEADER_OCTETS = 8
_IPV4_HEADER_OCTETS = 20
_IPV6_HEADER_OCTETS = 40
_MAX_IP_OCTETS = 65535
#: Pairs of addresses whose headers are remembered.
_MEMORY = 4096


def datagram_record(at: float, source: Address, destination: Address, data: bytes) -> bytes:
    """Give the record of one datagram, to be written after `FILE_HEADER` and those before it.

    A datagram that is too long for an IP packet is cut. A host that is no numeric address is shown as the unspecified
    one; of two versions of IP the older is shown mapped into the newer.

    Args:
        at: when it came, seconds since 1970.
        source: where from.
        destination: where to.
        data: what was in it.
    """
    version, before, after, sum_before, pseudo_sum = _headers(source, destination)
    data = data[: _MAX_IP_OCTETS - _UDP_HEADER_OCTETS - _IPV4_HEADER_OCTETS]
    length = _UDP_HEADER_OCTETS + len(data)
    seconds, fraction = divmod(round(at * 1_000_000), 1_000_000)
    # The length is in the pseudo header, too.
    checksum = ~_fold(pseudo_sum + 2 * length + _sum(data)) & 0xFFFF or 0xFFFF
    if version == 4:
        captured = _IPV4_HEADER_OCTETS + length
        of_header = ~_fold(sum_before + captured) & 0xFFFF
        packet = struct.pack(">2sH6sH12sHH", before[:2], captured, before[2:], of_header, after, length, checksum)
    else:
        captured = _IPV6_HEADER_OCTETS + length
        packet = struct.pack(">4sH2s36sHH", before[:4], length, before[4:], after, length, checksum)
    return _RECORD.pack(seconds & 0xFFFFFFFF, fraction, captured, captured) + packet + data


@lru_cache(maxsize=_MEMORY)
def _headers(source: Address, destination: Address) -> tuple[int, bytes, bytes, int, int]:
    """Give the version of IP, what stands before and after what depends on the data, and sums of what does not.

    The first sum is that of the IP header, the second one that of UDP's pseudo header and the ports.
    """
    one, other = _address(source[0]), _address(destination[0])
    if one.version != other.version:
        one, other = _as_ipv6(one), _as_ipv6(other)
    addresses = one.packed + other.packed
    ports = struct.pack(">HH", source[1], destination[1])
    pseudo_sum = _sum(addresses + ports) + _UDP
    if one.version == 4:
        before = struct.pack(">BBHHBB", 0x45, 0, 0, 0, _TTL, _UDP)
        return 4, before, addresses + ports, _sum(before + addresses), pseudo_sum
    before = struct.pack(">IBB", 0x60000000, _UDP, _TTL)
    return 6, before, addresses + ports, 0, pseudo_sum


def _address(host: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return IPv4Address(0)


def _as_ipv6(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(f"::ffff:{address}")


def _sum(data: bytes) -> int:
    """Add up the 16-bit words, as far as one's complement goes (RFC 1071): as a number they differ by its modulus."""
    return int.from_bytes(data + b"\0" if len(data) % 2 else data, "big") % 0xFFFF


def _fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
