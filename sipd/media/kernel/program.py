"""The program in the kernel: it forwards RTP of known flows, and leaves everything else as it is.

It runs for each packet that an interface receives, on the traffic-control hook (TCX), before the kernel has looked at
the packet. Of most packets it reads a dozen octets. An RTP packet of a known flow gets the addresses and ports that
the flow says, as a NAT would do it, is counted, and leaves by the flow's interface. What goes up to user space is
untouched, and counted if it was read far enough to know its flow:

* what is no UDP over plain IP: fragments, IPv4 options, IPv6 extension headers, VLAN tags of another interface
* several datagrams in one packet (GRO), lengths that contradict each other, packets larger than the way out allows
* STUN, DTLS and all else that is not version 2 of RTP (RFC 7983); RTCP (RFC 5761) unless the flow says to forward it
* payload types that the flow reserves for user space, or does not expect
* packets that have come to the end of their time to live: it is decremented, so that two systems that forward to each
  other do not keep a packet for ever

Loss and jitter are those of RFC 3550, appendix A.1 and A.8. The packets of a flow come in on one processor, so only
those counters are added to atomically that add up to what is billed or watched.
"""

from __future__ import annotations

from sipd.media.kernel.entries import KEY_SIZE, NO_PAYLOAD_TYPE, UPWARD_LIMIT, Field, KeyField
from sipd.media.kernel.instructions import (
    Condition,
    Label,
    Operation,
    Part,
    Register,
    add,
    assemble,
    atomic_add,
    call,
    compute,
    jump,
    jump_if,
    leave,
    load,
    load_map,
    move,
    store,
    to_host_order,
)
from sipd.media.kernel.parsing import (
    CONTEXT,
    DOUBLE,
    ENTRY,
    ETHERNET,
    FRAME_LENGTH,
    HALF,
    IPV4,
    IPV6,
    NOW,
    OCTET,
    PAYLOAD_LENGTH,
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    RTP_HEADER,
    STACK,
    UDP_HEADER,
    UDP_LENGTH,
    WORD,
    Context,
    Helper,
    Layout,
    Stack,
    copy_words,
    parse,
)
from sipd.rtp.rtcp import FIRST_RTCP_OCTET, LAST_RTCP_OCTET

#: On to the next program, if there is one, or to the kernel.
_NEXT = -1
_DROP = 2

#: Flags of bpf_l4_csum_replace: what changes is in the pseudo header; a checksum of 0 is none, and does not become one.
_PSEUDO_HEADER = 0x10
_ZERO_IS_NONE = 0x20

#: How far the sequence number jumps before it has begun anew (RFC 3550 appendix A.1): MAX_DROPOUT, MAX_MISORDER.
_DROPOUT_LIMIT = 3000
_MISORDER_LIMIT = 100


def build(map_descriptor: int) -> bytes:
    """Give the program for a map of flows."""
    return assemble(
        [
            *parse(),
            *_find(map_descriptor),
            *_check_packet(),
            *_forget_sum(),
            *_check_rtp(),
            *_count(),
            *_judge_sequence(),
            *_compute_jitter(),
            *_rewrite(),
            *_end(),
        ]
    )


def _find(map_descriptor: int) -> list[Part]:
    """Look for the flow."""
    return [
        Label("find"),
        load_map(R1, map_descriptor),
        move(R2, STACK),
        add(R2, -KEY_SIZE),
        call(Helper.MAP_LOOKUP_ELEM),
        jump_if(Condition.EQUAL, R0, 0, "up"),
        move(ENTRY, R0),
    ]


def _check_packet() -> list[Part]:
    """Leave packets of the flow that are not one whole datagram, or cannot go where it goes."""
    return [
        load(WORD, R0, CONTEXT, Context.GSO_SIZE),
        jump_if(Condition.NOT_EQUAL, R0, 0, "counted up"),
        jump_if(Condition.NOT_EQUAL, UDP_LENGTH, PAYLOAD_LENGTH, "counted up"),
        jump_if(Condition.LESS, UDP_LENGTH, UDP_HEADER + RTP_HEADER, "counted up"),
        load(WORD, R1, STACK, Stack.SIZE),
        load(WORD, R0, ENTRY, Field.MTU),
        jump_if(Condition.GREATER, R1, R0, "counted up"),
        # An Ethernet frame may be longer than what is in it, since it has a least size.
        add(R1, ETHERNET),
        load(WORD, R0, CONTEXT, Context.LENGTH),
        jump_if(Condition.GREATER, R1, R0, "counted up"),
        load(WORD, R0, STACK, Stack.HOPS),
        jump_if(Condition.NOT_GREATER, R0, 1, "counted up"),
    ]


def _forget_sum() -> list[Part]:
    """Have the kernel forget the sum of the whole packet, where whoever received it made one (CHECKSUM_COMPLETE).

    A router has to: the sum does not follow the packet out, and where that ends in this machine, as in a container, a
    packet whose sum was made by software (a tunnel does that) would be dropped for it. The kernel's own forwarding
    forgets it; bpf_redirect_neigh does not. Growing a packet does, so it grows by one octet for a moment.
    """
    return [
        move(R1, CONTEXT),
        move(R2, 0),
        call(Helper.CSUM_UPDATE),
        jump_if(Condition.LESS_SIGNED, R0, 0, "no sum"),
        load(WORD, FRAME_LENGTH, CONTEXT, Context.LENGTH),
        *_set_length(1),
        *_set_length(0),
        Label("no sum"),
    ]


def _set_length(more: int) -> list[Part]:
    """Make the packet some octets longer than it was; one that cannot be goes up."""
    return [
        move(R1, CONTEXT),
        move(R2, FRAME_LENGTH),
        add(R2, more),
        move(R3, 0),
        call(Helper.SKB_CHANGE_TAIL),
        jump_if(Condition.NOT_EQUAL, R0, 0, "counted up"),
    ]


def _check_rtp() -> list[Part]:
    """Leave what is no RTP, or RTP for user space."""
    parts: list[Part] = [
        load(OCTET, R1, STACK, Stack.RTP),
        compute(Operation.AND, R1, 0xC0),
        jump_if(Condition.NOT_EQUAL, R1, 0x80, "counted up"),
        load(OCTET, R1, STACK, Stack.RTP + 1),
        jump_if(Condition.LESS, R1, FIRST_RTCP_OCTET, "rtp"),
        jump_if(Condition.GREATER, R1, LAST_RTCP_OCTET, "rtp"),
        load(OCTET, R0, ENTRY, Field.FORWARDS_RTCP),
        jump_if(Condition.EQUAL, R0, 0, "counted up"),
        move(R1, 1),
        atomic_add(DOUBLE, ENTRY, Field.RTCP_PACKETS, R1),
        jump("rewrite"),
        Label("rtp"),
        compute(Operation.AND, R1, 0x7F),
        load(OCTET, R0, ENTRY, Field.PAYLOAD_TYPE),
        jump_if(Condition.EQUAL, R0, NO_PAYLOAD_TYPE, "any payload type"),
        jump_if(Condition.NOT_EQUAL, R0, R1, "counted up"),
        Label("any payload type"),
    ]
    for index in range(UPWARD_LIMIT):
        parts += [
            load(OCTET, R0, ENTRY, Field.UPWARD + index),
            jump_if(Condition.EQUAL, R0, R1, "counted up"),
        ]
    return parts


def _count() -> list[Part]:
    """Count the packet. R3 is then when the one before came, or 0."""
    return [
        call(Helper.KTIME_GET_NS),
        move(NOW, R0),
        move(R1, 1),
        atomic_add(DOUBLE, ENTRY, Field.PACKETS, R1),
        add(UDP_LENGTH, -UDP_HEADER),
        atomic_add(DOUBLE, ENTRY, Field.OCTETS, UDP_LENGTH),
        load(DOUBLE, R3, ENTRY, Field.LAST_SEEN),
        store(DOUBLE, ENTRY, Field.LAST_SEEN, NOW),
    ]


def _judge_sequence() -> list[Part]:
    """Compare with the packet before: same source, next number? R4 is then the RTP timestamp."""
    return [
        load(WORD, R1, STACK, Stack.RTP + 8),
        to_host_order(R1, 32),
        load(HALF, R2, STACK, Stack.RTP + 2),
        to_host_order(R2, 16),
        load(WORD, R4, STACK, Stack.RTP + 4),
        to_host_order(R4, 32),
        jump_if(Condition.EQUAL, R3, 0, "begin"),
        load(WORD, R0, ENTRY, Field.SSRC),
        jump_if(Condition.EQUAL, R0, R1, "same source"),
        *_increase(Field.SSRC_CHANGES, 1),
        # Nothing to compare with: the first packet of a source, or its sequence begins anew.
        Label("begin"),
        store(WORD, ENTRY, Field.SSRC, R1),
        store(WORD, ENTRY, Field.TIMESTAMP, R4),
        add(R2, 1),
        store(HALF, ENTRY, Field.SEQUENCE, R2),
        jump("rewrite"),
        Label("same source"),
        load(HALF, R0, ENTRY, Field.SEQUENCE),
        move(R5, R2),
        compute(Operation.SUBTRACT, R5, R0),
        compute(Operation.AND, R5, 0xFFFF),
        jump_if(Condition.LESS, R5, _DROPOUT_LIMIT, "ahead"),
        jump_if(Condition.LESS, R5, 0x10000 - _MISORDER_LIMIT, "begin"),
        *_increase(Field.LATE, 1),
        jump("jitter"),
        Label("ahead"),
        *_increase(Field.LOST, R5),
        add(R2, 1),
        store(HALF, ENTRY, Field.SEQUENCE, R2),
    ]


def _increase(field: Field, by: Register | int) -> list[Part]:
    """Add to a counter that only one processor changes."""
    return [load(DOUBLE, R0, ENTRY, field), add(R0, by), store(DOUBLE, ENTRY, field, R0)]


def _compute_jitter() -> list[Part]:
    """``J += |D| - J/16``, with J in sixteenths (RFC 3550 appendix A.8). R3: the time before. R4: the RTP timestamp."""
    return [
        Label("jitter"),
        load(WORD, R0, ENTRY, Field.TICK),
        jump_if(Condition.EQUAL, R0, 0, "rewrite"),
        load(WORD, R1, ENTRY, Field.TIMESTAMP),
        store(WORD, ENTRY, Field.TIMESTAMP, R4),
        # What the sender says has passed: 32 bits that wrap, so signed.
        compute(Operation.SUBTRACT, R4, R1),
        compute(Operation.SHIFT_LEFT, R4, 32),
        compute(Operation.SHIFT_RIGHT_SIGNED, R4, 32),
        compute(Operation.MULTIPLY, R4, R0),
        # What has passed here, less that.
        compute(Operation.SUBTRACT, NOW, R3),
        compute(Operation.SUBTRACT, NOW, R4),
        jump_if(Condition.NOT_LESS_SIGNED, NOW, 0, "positive"),
        compute(Operation.NEGATE, NOW),
        Label("positive"),
        load(DOUBLE, R0, ENTRY, Field.JITTER),
        move(R1, R0),
        add(R1, 8),
        compute(Operation.SHIFT_RIGHT, R1, 4),
        compute(Operation.SUBTRACT, R0, R1),
        add(R0, NOW),
        store(DOUBLE, ENTRY, Field.JITTER, R0),
    ]


def _rewrite() -> list[Part]:
    """Give the packet its new addresses, ports and checksums."""
    return [
        Label("rewrite"),
        load(WORD, R0, STACK, Stack.KEY + KeyField.VERSION),
        jump_if(Condition.EQUAL, R0, IPV6.version, "rewrite 6"),
        *_decrement_hops(IPV4),
        # The checksum of the header (RFC 1624, equation 3).
        load(HALF, R0, STACK, Stack.HEADER + 2),
        compute(Operation.XOR, R0, 0xFFFF),
        load(WORD, R1, ENTRY, Field.HEADER_DIFFERENCE),
        add(R0, R1),
        move(R1, R0),
        compute(Operation.SHIFT_RIGHT, R1, 16),
        compute(Operation.AND, R0, 0xFFFF),
        add(R0, R1),
        compute(Operation.XOR, R0, 0xFFFF),
        store(HALF, STACK, Stack.HEADER + 2, R0),
        *_write(IPV4, words=3),
        jump("send"),
        Label("rewrite 6"),
        *_decrement_hops(IPV6),
        *_write(IPV6, words=9),
    ]


def _decrement_hops(layout: Layout) -> list[Part]:
    place = Stack.HEADER + layout.hops - layout.rewritten
    return [load(OCTET, R0, STACK, place), add(R0, -1), store(OCTET, STACK, place, R0)]


def _write(layout: Layout, *, words: int) -> list[Part]:
    """Write the header back with the words of the flow, and adapt the checksum of UDP."""
    return [
        *copy_words(Stack.HEADER + 4, Field.REPLACEMENT, words=words, base=ENTRY),
        move(R1, CONTEXT),
        move(R2, ETHERNET + layout.rewritten),
        move(R3, STACK),
        add(R3, Stack.HEADER),
        move(R4, 4 + 4 * words),
        move(R5, 0),
        call(Helper.SKB_STORE_BYTES),
        jump_if(Condition.NOT_EQUAL, R0, 0, "up"),
        *_adapt_checksum(layout, Field.ADDRESS_DIFFERENCE, _PSEUDO_HEADER | _ZERO_IS_NONE),
        *_adapt_checksum(layout, Field.PORT_DIFFERENCE, _ZERO_IS_NONE),
    ]


def _adapt_checksum(layout: Layout, field: Field, flags: int) -> list[Part]:
    """Let the kernel do it: it knows whether the checksum is complete yet, or an interface is to complete it."""
    return [
        move(R1, CONTEXT),
        move(R2, layout.udp + 6),
        move(R3, 0),
        load(WORD, R4, ENTRY, field),
        move(R5, flags),
        call(Helper.L4_CSUM_REPLACE),
        jump_if(Condition.NOT_EQUAL, R0, 0, "drop"),  # half rewritten: nobody could use it
    ]


def _end() -> list[Part]:
    """Send the packet, or leave it. The kernel looks up the route and the neighbour, and its result is ours."""
    return [
        Label("send"),
        load(WORD, R1, ENTRY, Field.INTERFACE),
        move(R2, 0),
        move(R3, 0),
        move(R4, 0),
        call(Helper.REDIRECT_NEIGH),
        leave(),
        Label("drop"),
        move(R0, _DROP),
        leave(),
        Label("counted up"),
        move(R1, 1),
        atomic_add(DOUBLE, ENTRY, Field.PASSED_UP, R1),
        Label("up"),
        move(R0, _NEXT),
        leave(),
    ]
