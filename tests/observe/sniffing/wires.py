"""Packets and captures as networks and other programs make them."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from sipd.observe.sniffing.sightings import Address, Sighting, sight

ALICE: Address = ("192.0.2.1", 5062)
BOB: Address = ("192.0.2.9", 5060)
ALICE_6: Address = ("2001:db8::1", 5062)
BOB_6: Address = ("2001:db8::9", 5060)

SYN = 0x02
ACK = 0x10


def request(method: str = "INVITE", call_id: str = "a1", *, cseq: int = 1, fields: str = "", body: str = "") -> bytes:
    """Make a request from alice to bob."""
    return (
        f"{method} sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK{cseq}\r\n"
        f"From: Alice <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def response(
    status: int = 200,
    method: str = "INVITE",
    call_id: str = "a1",
    *,
    reason: str = "OK",
    cseq: int = 1,
    fields: str = "",
) -> bytes:
    """Make a response to such a request."""
    return (
        f"SIP/2.0 {status} {reason}\r\nVia: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK{cseq}\r\n"
        f"From: Alice <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>;tag=2\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} {method}\r\n{fields}Content-Length: 0\r\n\r\n"
    ).encode()


def register(user: str = "alice", call_id: str = "r1", *, fields: str = "") -> bytes:
    """Make a REGISTER request."""
    return (
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK1\r\n"
        f"From: <sip:{user}@example.com>;tag=1\r\nTo: <sip:{user}@example.com>\r\nCall-ID: {call_id}\r\n"
        f"CSeq: 1 REGISTER\r\nContact: <sip:{user}@192.0.2.1:5062>\r\n{fields}Content-Length: 0\r\n\r\n"
    ).encode()


def registered(user: str = "alice", call_id: str = "r1", *, status: int = 200, fields: str = "") -> bytes:
    """Make a response to it."""
    return (
        f"SIP/2.0 {status} OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK1\r\n"
        f"From: <sip:{user}@example.com>;tag=1\r\nTo: <sip:{user}@example.com>;tag=2\r\nCall-ID: {call_id}\r\n"
        f"CSeq: 1 REGISTER\r\n{fields}Content-Length: 0\r\n\r\n"
    ).encode()


def seen(
    data: bytes, *, at: float = 0.0, source: Address = ALICE, destination: Address = BOB, transport: str = "UDP"
) -> Sighting:
    """Read a message that is one."""
    sighting = sight(data, at=at, source=source, destination=destination, transport=transport)
    assert sighting is not None
    return sighting


def rtp(sequence: int, *, ssrc: int = 7, payload_type: int = 8) -> bytes:
    """Make an RTP packet."""
    return struct.pack(">BBHII", 0x80, payload_type, sequence % 65536, sequence * 160 % 2**32, ssrc) + b"\xd5" * 160


def udp(data: bytes, source: Address = ALICE, destination: Address = BOB) -> bytes:
    """Make a UDP datagram."""
    return struct.pack(">HHHH", source[1], destination[1], 8 + len(data), 0) + data


def tcp(
    data: bytes, sequence: int, flags: int = ACK, source: Address = ALICE, destination: Address = BOB, options: int = 0
) -> bytes:
    """Make a TCP segment with so many words of options."""
    header = struct.pack(
        ">HHIIBBHHH", source[1], destination[1], sequence % 2**32, 0, 5 + options << 4, flags, 1000, 0, 0
    )
    return header + b"\1\1\1\1" * options + data


def ipv4(
    payload: bytes,
    protocol: int = 17,
    source: str = ALICE[0],
    destination: str = BOB[0],
    *,
    options: int = 0,
    place: int = 0,
    identification: int = 1,
) -> bytes:
    """Make an IPv4 packet.

    Args:
        payload: what is in it.
        protocol: what that is.
        source: where from.
        destination: where to.
        options: so many words of them.
        place: flags and offset, as they stand in the header.
        identification: which datagram it belongs to.
    """
    size = 20 + 4 * options
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x40 | size // 4,
        0,
        size + len(payload),
        identification,
        place,
        64,
        protocol,
        0,
        ip_address(source).packed,
        ip_address(destination).packed,
    )
    return header + b"\1\1\1\1" * options + payload


def ipv6(payload: bytes, protocol: int = 17, source: str = ALICE_6[0], destination: str = BOB_6[0]) -> bytes:
    """Make an IPv6 packet; extension headers are the payload's."""
    addresses = ip_address(source).packed + ip_address(destination).packed
    return struct.pack(">IHBB", 0x60000000, len(payload), protocol, 64) + addresses + payload


def ethernet(packet: bytes, *tags: int) -> bytes:
    """Make a frame, with VLAN tags of these kinds."""
    inner = 0x0800 if packet[:1] and packet[0] >> 4 == 4 else 0x86DD
    types = b"".join(struct.pack(">HH", tag, 42) for tag in tags)
    return b"\0" * 12 + types + struct.pack(">H", inner) + packet


def pcap(packets: list[tuple[float, bytes]], link: int = 101, order: str = "<", nanoseconds: bool = False) -> bytes:
    """Make a pcap file."""
    magic, units = (0xA1B23C4D, 10**9) if nanoseconds else (0xA1B2C3D4, 10**6)
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, link)
    for at, packet in packets:
        seconds, fraction = divmod(round(at * units), units)
        data += struct.pack(f"{order}IIII", seconds, fraction, len(packet), len(packet)) + packet
    return data


def pcapng_block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Make one block of a pcapng file."""
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def pcapng(packets: list[tuple[float, bytes]], link: int = 1, order: str = "<", resolution: int = 6) -> bytes:
    """Make a pcapng file, with a block that nobody knows in it.

    Args:
        packets: when, and what.
        link: the link type of its interface.
        order: `<` or `>`.
        resolution: the power of ten by which a second is divided.
    """
    data = pcapng_block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    options = struct.pack(f"{order}HHB3xHH", 9, 1, resolution, 0, 0)
    data += pcapng_block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)
    data += pcapng_block(5, b"statistics", order)
    for at, packet in packets:
        time = round(at * 10**resolution)
        header = struct.pack(f"{order}IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(packet), len(packet))
        data += pcapng_block(6, header + packet, order)
    return data
