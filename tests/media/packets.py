"""Packets of IP and UDP, octet for octet, for tests that cannot leave checksums to the kernel."""

from __future__ import annotations

import ipaddress
import struct

from sipd.media.kernel.entries import Address

_UDP = 17
#: What stands for a checksum that comes out as 0 (RFC 768).
_ZERO = 0xFFFF


def rtp(sequence: int = 0, *, timestamp: int = 0, ssrc: int = 0x5EED, payload_type: int = 0, size: int = 160) -> bytes:
    """Give an RTP packet with a payload of zeros."""
    return struct.pack("!BBHII", 0x80, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + bytes(size)


def checksum(octets: bytes) -> int:
    """Give the checksum of RFC 1071; that of octets with a right checksum among them is 0."""
    total: int = sum(word for (word,) in struct.iter_unpack("!H", octets + bytes(len(octets) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo_header(source: str, destination: str, size: int) -> bytes:
    """Give what the checksum of UDP covers beside the datagram (RFC 768, RFC 8200 section 8.1)."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return addresses + struct.pack("!IHBB", size, 0, 0, _UDP)


def datagram(
    source: Address, destination: Address, payload: bytes, *, total: int | None = None, length: int | None = None
) -> bytes:
    """Give a datagram of UDP; `total` in place of the right checksum, `length` in place of the right one."""
    length = 8 + len(payload) if length is None else length
    octets = struct.pack("!HHHH", source[1], destination[1], length, 0) + payload
    if total is None:
        total = checksum(pseudo_header(source[0], destination[0], len(octets)) + octets) or _ZERO
    return octets[:6] + struct.pack("!H", total) + payload


def packet(source: str, destination: str, payload: bytes, *, hops: int = 64) -> bytes:
    """Give an IP packet of UDP."""
    one, other = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    if one.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(payload), _UDP, hops) + one.packed + other.packed + payload
    # 0x4000: not to be fragmented, as the kernel sends it.
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, hops, _UDP, 0) + one.packed + other.packed
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def check_packet(octets: bytes) -> tuple[str, str, int, bytes]:
    """Check lengths and checksums of an IP packet of UDP; give its addresses, hops, and the datagram.

    Raises:
        AssertionError: something is wrong in it.
    """
    if octets[0] >> 4 == 4:
        header, octets = octets[:20], octets[: int.from_bytes(octets[2:4], "big")]
        hops = header[8]
        assert checksum(header) == 0, "the checksum of the IP header is wrong"
        source, destination = str(ipaddress.ip_address(header[12:16])), str(ipaddress.ip_address(header[16:20]))
    else:
        header, hops = octets[:40], octets[7]
        source, destination = str(ipaddress.ip_address(header[8:24])), str(ipaddress.ip_address(header[24:40]))
    body = octets[len(header) :]
    assert int.from_bytes(body[4:6], "big") == len(body), "the length in the UDP header is wrong"
    if body[6:8] != b"\0\0":
        assert checksum(pseudo_header(source, destination, len(body)) + body) == 0, "the checksum of UDP is wrong"
    return source, destination, hops, body
