"""The first part of the program in the kernel: what it reads of a packet, and where it keeps that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sipd.media.kernel.entries import KeyField
from sipd.media.kernel.instructions import (
    Condition,
    Label,
    Operation,
    Part,
    Register,
    Size,
    add,
    call,
    compute,
    jump,
    jump_if,
    load,
    move,
    store,
    to_host_order,
)

R0, R1, R2, R3, R4, R5 = Register.R0, Register.R1, Register.R2, Register.R3, Register.R4, Register.R5
#: The packet, as the kernel describes it.
CONTEXT = Register.R6
#: The entry of the flow.
ENTRY = Register.R7
#: The length that the UDP header says, with that header.
UDP_LENGTH = Register.R8
#: The length that the IP header says, without that header; later that of the frame, and then the time.
PAYLOAD_LENGTH = Register.R9
FRAME_LENGTH = Register.R9
NOW = Register.R9
STACK = Register.R10

WORD, HALF, OCTET, DOUBLE = Size.WORD, Size.HALF, Size.OCTET, Size.DOUBLE


class Helper(IntEnum):
    """Functions of the kernel."""

    MAP_LOOKUP_ELEM = 1
    KTIME_GET_NS = 5
    SKB_STORE_BYTES = 9
    L4_CSUM_REPLACE = 11
    SKB_CHANGE_TAIL = 38
    SKB_PULL_DATA = 39
    CSUM_UPDATE = 40
    REDIRECT_NEIGH = 152


class Context(IntEnum):
    """Where things are in ``struct __sk_buff``."""

    LENGTH = 0
    PACKET_TYPE = 4
    PROTOCOL = 16
    VLAN_PRESENT = 20
    DATA = 76
    DATA_END = 80
    GSO_SIZE = 176


#: The packet is for this machine.
_PACKET_HOST = 0

ETHERNET = 14
UDP_HEADER = 8
RTP_HEADER = 12
_UDP = 17


class Stack(IntEnum):
    """Where things are on the stack."""

    KEY = -40
    #: A copy of what of the IP header is rewritten, and of the ports behind it.
    HEADER = -80
    RTP = -96
    #: The size of the IP packet.
    SIZE = -100
    HOPS = -104


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one version of IP lays out a packet; offsets in octets.

    Args:
        version: of IP.
        protocol: the type of the Ethernet frame, as it stands in memory.
        header: the size of the IP header.
        hops: the time to live, in the IP header.
        next_header: what follows, in the IP header.
        addresses: the source and then the destination, in the IP header.
        rewritten: where that begins what is rewritten in one piece: whole words, the addresses and the ports being
            the last of them.
    """

    version: int
    protocol: int
    header: int
    hops: int
    next_header: int
    addresses: int
    rewritten: int

    @property
    def udp(self) -> int:
        """Where the UDP header begins in the frame."""
        return ETHERNET + self.header

    @property
    def needed(self) -> int:
        """How much of the frame is read."""
        return self.udp + UDP_HEADER + RTP_HEADER


IPV4 = Layout(version=4, protocol=0x0008, header=20, hops=8, next_header=9, addresses=12, rewritten=8)
IPV6 = Layout(version=6, protocol=0xDD86, header=40, hops=7, next_header=6, addresses=8, rewritten=4)


def parse() -> list[Part]:
    """Read the packet; go on at ``find`` if it may be RTP for us, else at ``up``."""
    return [
        *_choose(),
        *_parse(IPV4, _parse_ipv4_header(), _copy_ipv4_addresses()),
        *_parse(IPV6, _parse_ipv6_header(), _copy_ipv6_addresses()),
    ]


def _choose() -> list[Part]:
    """Leave what is certainly no RTP for us."""
    return [
        move(CONTEXT, R1),
        load(WORD, R0, CONTEXT, Context.PACKET_TYPE),
        jump_if(Condition.NOT_EQUAL, R0, _PACKET_HOST, "up"),
        load(WORD, R0, CONTEXT, Context.VLAN_PRESENT),
        jump_if(Condition.NOT_EQUAL, R0, 0, "up"),
        load(WORD, R0, CONTEXT, Context.PROTOCOL),
        jump_if(Condition.EQUAL, R0, IPV4.protocol, "parse 4"),
        jump_if(Condition.EQUAL, R0, IPV6.protocol, "parse 6"),
        jump("up"),
    ]


def _parse(layout: Layout, header: list[Part], addresses: list[Part]) -> list[Part]:
    """Read the packet. R2 is where it begins.

    Afterwards the stack has the key, a copy of what may be rewritten, the RTP header, the size and the time to live.
    """
    version = layout.version
    return [
        Label(f"parse {version}"),
        load(WORD, R0, CONTEXT, Context.LENGTH),
        jump_if(Condition.LESS, R0, layout.needed, "up"),
        *_load_bounds(layout),
        jump_if(Condition.NOT_GREATER, R4, R3, f"linear {version}"),
        # Some drivers leave the octets where the processor cannot read them at once; this brings them.
        move(R1, CONTEXT),
        move(R2, layout.needed),
        call(Helper.SKB_PULL_DATA),
        jump_if(Condition.NOT_EQUAL, R0, 0, "up"),
        *_load_bounds(layout),
        jump_if(Condition.GREATER, R4, R3, "up"),
        Label(f"linear {version}"),
        load(OCTET, R0, R2, ETHERNET + layout.next_header),
        jump_if(Condition.NOT_EQUAL, R0, _UDP, "up"),
        *header,
        *addresses,
        store(WORD, STACK, Stack.KEY + KeyField.VERSION, version),
        load(WORD, R0, R2, layout.udp),
        store(WORD, STACK, Stack.KEY + KeyField.PORTS, R0),
        load(HALF, UDP_LENGTH, R2, layout.udp + 4),
        to_host_order(UDP_LENGTH, 16),
        *copy_words(Stack.RTP, layout.udp + UDP_HEADER, words=3),
        *copy_words(Stack.HEADER, ETHERNET + layout.rewritten, words=1),
        load(OCTET, R0, R2, ETHERNET + layout.hops),
        store(WORD, STACK, Stack.HOPS, R0),
        jump("find"),
    ]


def _load_bounds(layout: Layout) -> list[Part]:
    """R2: where the packet begins. R3: where what can be read of it ends. R4: where it has to end at least."""
    return [
        load(WORD, R2, CONTEXT, Context.DATA),
        load(WORD, R3, CONTEXT, Context.DATA_END),
        move(R4, R2),
        add(R4, layout.needed),
    ]


def _parse_ipv4_header() -> list[Part]:
    return [
        load(OCTET, R0, R2, ETHERNET),
        jump_if(Condition.NOT_EQUAL, R0, 0x45, "up"),  # version 4, five words: no options
        load(HALF, R0, R2, ETHERNET + 6),
        jump_if(Condition.BITS, R0, 0xFF3F, "up"),  # more fragments, or not the first: 3FFF in the order of the network
        load(HALF, PAYLOAD_LENGTH, R2, ETHERNET + 2),
        to_host_order(PAYLOAD_LENGTH, 16),
        store(WORD, STACK, Stack.SIZE, PAYLOAD_LENGTH),
        add(PAYLOAD_LENGTH, -IPV4.header),
    ]


def _parse_ipv6_header() -> list[Part]:
    return [
        load(OCTET, R0, R2, ETHERNET),
        compute(Operation.AND, R0, 0xF0),
        jump_if(Condition.NOT_EQUAL, R0, 0x60, "up"),
        load(HALF, R0, R2, IPV6.udp + 6),
        jump_if(Condition.EQUAL, R0, 0, "up"),  # a checksum has to be there (RFC 8200 section 8.1)
        load(HALF, PAYLOAD_LENGTH, R2, ETHERNET + 4),
        to_host_order(PAYLOAD_LENGTH, 16),
        move(R0, PAYLOAD_LENGTH),
        add(R0, IPV6.header),
        store(WORD, STACK, Stack.SIZE, R0),
    ]


def _copy_ipv4_addresses() -> list[Part]:
    """Write both addresses to the key as ``::ffff:a.b.c.d``."""
    parts: list[Part] = []
    for place, offset in ((KeyField.SOURCE, 0), (KeyField.DESTINATION, 4)):
        parts += [
            store(DOUBLE, STACK, Stack.KEY + place, 0),
            store(WORD, STACK, Stack.KEY + place + 8, -0x10000),  # octets 00 00 ff ff
            load(WORD, R0, R2, ETHERNET + IPV4.addresses + offset),
            store(WORD, STACK, Stack.KEY + place + 12, R0),
        ]
    return parts


def _copy_ipv6_addresses() -> list[Part]:
    """Write both addresses to the key."""
    return copy_words(Stack.KEY + KeyField.SOURCE, ETHERNET + IPV6.addresses, words=8)


def copy_words(place: int, offset: int, *, words: int, base: Register = R2) -> list[Part]:
    """Copy words from the packet, or from another base, to the stack."""
    parts: list[Part] = []
    for position in range(0, 4 * words, 4):
        parts += [load(WORD, R0, base, offset + position), store(WORD, STACK, place + position, R0)]
    return parts
