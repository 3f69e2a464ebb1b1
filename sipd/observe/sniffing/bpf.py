"""What the kernel asks before it gives us a packet: classic BPF, for packets that begin with their IP header.

It lets too much pass rather than too little: fragments behind the first one, which have no ports, and IPv6 packets with
extension headers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sipd.observe.sniffing.packets import TCP, UDP
from sipd.observe.sniffing.ports import PortRange, Ports

#: Instructions: load a word, half-word or octet (at a place, or one that X is added to), X; compare; give back.
_LD_WORD, _LD_HALF, _LD_OCTET = 0x20, 0x28, 0x30
_LD_HALF_AT_X = 0x48
_LDX_VALUE, _LDX_HEADER_LENGTH = 0x01, 0xB1
_AND = 0x54
_JUMP, _IF_EQUAL, _IF_GREATER, _IF_AT_LEAST, _IF_ANY_BIT = 0x05, 0x15, 0x25, 0x35, 0x45
_RETURN = 0x06

#: What Linux says of the packet, at places before its beginning: how it came, and what kind of interface it passes.
_ANCILLARY = 0xFFFFF000
_PACKET_TYPE, _HARDWARE_TYPE = _ANCILLARY + 4, _ANCILLARY + 28
_OUTGOING, _LOOPBACK = 4, 772

_WHOLE_PACKET = 0x40000
_MAX_JUMP = 255
_EXTENSIONS = (0, 43, 44, 51, 60)

#: The filter that lets nothing pass.
NOTHING = struct.pack("=HBBI", _RETURN, 0, 0, 0)

#: An instruction, or a label: code, value, and the labels to go to if it is so and if not; empty: the next one.
_Line = tuple[int, int, str, str] | str


def port_filter(ports: Ports) -> bytes:
    """Write the filter for some ports.

    A packet on the loopback interface is there twice, leaving and arriving: only the second one passes.

    Args:
        ports: those of SIP for UDP and TCP, those of RTP for UDP.

    Returns:
        The instructions, 8 octets each, as ``SO_ATTACH_FILTER`` takes them.
    """
    return _assemble(list(_program(ports)))


def _program(ports: Ports) -> Iterator[_Line]:
    yield _LD_WORD, _HARDWARE_TYPE, "", ""
    yield _IF_EQUAL, _LOOPBACK, "", "version"
    yield _LD_WORD, _PACKET_TYPE, "", ""
    yield _IF_EQUAL, _OUTGOING, "drop", ""
    yield "version"
    yield _LD_OCTET, 0, "", ""
    yield _AND, 0xF0, "", ""
    yield _IF_EQUAL, 0x40, "ipv4", ""
    yield _IF_EQUAL, 0x60, "ipv6", "drop"
    yield "drop"
    yield _RETURN, 0, "", ""
    yield "take"
    yield _RETURN, _WHOLE_PACKET, "", ""

    yield "ipv6"
    yield _LD_OCTET, 6, "", ""
    for extension in _EXTENSIONS:
        yield _IF_EQUAL, extension, "take 6", ""
    yield _LDX_VALUE, 40, "", ""
    yield _JUMP, 0, "protocol", ""
    yield "take 6"
    yield _RETURN, _WHOLE_PACKET, "", ""

    yield "ipv4"
    yield _LD_OCTET, 9, "", ""
    yield _IF_EQUAL, UDP, "fragment", ""
    yield _IF_EQUAL, TCP, "fragment", "drop 4"
    yield "fragment"
    yield _LD_HALF, 6, "", ""
    yield _IF_ANY_BIT, 0x1FFF, "take 4", ""
    yield _LDX_HEADER_LENGTH, 0, "", ""
    yield _LD_OCTET, 9, "", ""
    yield _JUMP, 0, "protocol", ""
    yield "take 4"
    yield _RETURN, _WHOLE_PACKET, "", ""
    yield "drop 4"
    yield _RETURN, 0, "", ""

    yield "protocol"
    yield _IF_EQUAL, TCP, "sip", ""
    yield _IF_EQUAL, UDP, "", "drop here"
    if ports.rtp is not None:
        yield from _either_port((ports.rtp,), "rtp")
    yield "sip"
    yield from _either_port(ports.sip, "sip")
    yield "drop here"
    yield _RETURN, 0, "", ""


def _either_port(ranges: tuple[PortRange, ...], name: str) -> Iterator[_Line]:
    """Take the packet if one of its ports is in these ranges. X is where they stand."""
    for place in (0, 2):
        yield _LD_HALF_AT_X, place, "", ""
        for number, (low, high) in enumerate(ranges):
            following = f"{name} {place} {number}"
            yield _IF_AT_LEAST, low, "", following
            yield _IF_GREATER, high, following, f"{name} found"
            yield following
    yield _JUMP, 0, f"{name} over", ""
    yield f"{name} found"
    yield _RETURN, _WHOLE_PACKET, "", ""
    yield f"{name} over"


def _assemble(lines: list[_Line]) -> bytes:
    places: dict[str, int] = {}
    instructions: list[tuple[int, int, str, str]] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(instructions)
        else:
            instructions.append(line)

    def distance(label: str, place: int) -> int:
        return places[label] - place - 1 if label else 0

    octets = b""
    for place, (code, value, if_so, if_not) in enumerate(instructions):
        if code == _JUMP:
            octets += struct.pack("=HBBI", code, 0, 0, distance(if_so, place))
            continue
        jumps = distance(if_so, place), distance(if_not, place)
        # `ports` bounds how far a jump goes.
        if not all(0 <= jump <= _MAX_JUMP for jump in jumps):
            raise ValueError("a filter with a jump that is too far")
        octets += struct.pack("=HBBI", code, *jumps, value)
    return octets
