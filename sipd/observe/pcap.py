"""Captured messages as a file for tshark, Wireshark and sngrep: pcap, LINKTYPE_RAW, each message in an IP packet.

Every message is shown in UDP, whatever carried it: its connection's segments were never seen, and its encryption is
already off. Addresses and ports are true.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from sipd.observe.capture import CapturedMessage

#: Magic number of little-endian pcap with microseconds; version; LINKTYPE_RAW.
_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
_UDP = 17
_TTL = 64
_MAX_IP_OCTETS = 65535
_UDP_HEADER_OCTETS = 8


def pcap(messages: Iterable[CapturedMessage]) -> bytes:
    """Give a pcap file of these messages.

    A message longer than an IP packet may be is cut at that length. A host that is no numeric address is shown as
    the unspecified one.
    """
    return _FILE_HEADER + b"".join(map(_record, messages))


def _record(message: CapturedMessage) -> bytes:
    packet = _packet(message)
    seconds, fraction = divmod(round(message.at * 1_000_000), 1_000_000)
    return struct.pack("<IIII", seconds, fraction, len(packet), len(packet)) + packet


def _packet(message: CapturedMessage) -> bytes:
    source, destination = _same_family(message.source[0], message.destination[0])
    overhead = _UDP_HEADER_OCTETS + (20 if source.version == 4 else 0)
    payload = message.data[: _MAX_IP_OCTETS - overhead]
    length = _UDP_HEADER_OCTETS + len(payload)
    ports = struct.pack(">HHH", message.source[1], message.destination[1], length)
    addresses = source.packed + destination.packed
    if source.version == 4:
        pseudo = addresses + struct.pack(">BBH", 0, _UDP, length)
        start = struct.pack(">BBHHHBB", 0x45, 0, 20 + length, 0, 0, _TTL, _UDP)
        head = start + struct.pack(">H", _checksum(start + b"\0\0" + addresses)) + addresses
    else:
        pseudo = addresses + struct.pack(">IHBB", length, 0, 0, _UDP)
        head = struct.pack(">IHBB", 0x60000000, length, _UDP, _TTL) + addresses
    checksum = _checksum(pseudo + ports + b"\0\0" + payload) or 0xFFFF
    return head + ports + struct.pack(">H", checksum) + payload


def _same_family(source: str, destination: str) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
    """Parse both addresses; a mixed pair is shown as IPv6, with the IPv4 address mapped into it."""
    one, other = _address(source), _address(destination)
    return (one, other) if one.version == other.version else (_as_ipv6(one), _as_ipv6(other))


def _address(host: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return IPv4Address(0)


def _as_ipv6(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(f"::ffff:{address}")


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
