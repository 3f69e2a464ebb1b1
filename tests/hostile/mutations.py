"""What may happen to a good message on its way through bad hands, and good calls for it to happen to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from hypothesis import strategies as st

from sipd.testing.links import Address, Fate
from sipd.testing.peer import Peer
from tests.hostile.support import ALICE, BOB, SERVER, USERS, Arena

#: Octets that mean something somewhere.
DELICATE = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b'"', b"<", b">", b"\\", b"\xff", b"%", b"%00", b"=",
    b"@", b"?", b"[", b"]", b"*", b"/", b"\r\n ", b"\r\n\r\n", b"9" * 30, b"-1", b"a" * 300, b"tag=", b";tag",
)  # fmt: skip

#: Lines that say what nobody expects.
LINES = (
    b"Via: SIP/2.0/UDP 192.0.2.100:5060;branch=z9hG4bKours",
    b"v: SIP/2.0/TCP [::1];branch=z9hG4bKx;maddr=224.0.0.1",
    b"Via: ,",
    b"From: <sip:nobody@example.com>;tag=",
    b"To: <sip:bob@example.com>;tag",
    b"t: sip:bob@example.com;tag=a;tag=b",
    b"Contact: <sip:alice@192.0.2.100>",
    b"m: *",
    b"Contact: <tel:+1>, <sip:[::]>;expires=x;q=2",
    b"Contact: <sip:bob@nowhere.invalid;transport=tcp?Route=x>",
    b"CSeq: 4294967295 INVITE",
    b"CSeq: 0 ACK",
    b"Call-ID:",
    b"Max-Forwards: 0",
    b"Max-Forwards: 256",
    b"Record-Route: <sip:192.0.2.100>",
    b"Record-Route: <sip:192.0.2.100;lr>, <mailto:x>",
    b"Route: <sip:192.0.2.100;lr>",
    b"Path: nonsense",
    b"Require: 100rel, x",
    b"Content-Type: multipart/mixed",
    b'c: multipart/mixed;boundary="--"',
    b"Content-Encoding: gzip",
    b"Content-Length: 1",
    b"l: 99999999999999999999",
    b"Authorization: Digest",
    b'Proxy-Authorization: Digest username="alice", realm="example.com"',
    b"Expires: -1",
    b"Replaces: x",
    b'Reason: SIP;text="\xff"',
    b"X",
    b": x",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A datagram that somebody sent to the server."""

    at: float
    source: Address
    data: bytes


@cache
def recorded_call() -> tuple[Sent, ...]:
    """Give what two phones send that register, call each other, change the session, and hang up.

    The same arena answers the same datagrams equally, tags and nonces included: so these can be played again.
    """
    arena = Arena()
    entropy = Random("phones").randbytes
    alice, bob = (
        Peer(
            arena.network.host(address),
            user,
            address,
            proxy=(SERVER, 5060),
            entropy=entropy,
            password=USERS[user],
        )
        for user, address in (("alice", ALICE), ("bob", BOB))
    )
    bob.auto_answer(after=0.5)
    began = arena.clock.seconds()
    steps: Sequence[Callable[[], object]] = (
        alice.register,
        bob.register,
        lambda: alice.call("bob"),
        lambda: alice.calls[0].reinvite(),
        lambda: bob.calls[0].reinvite(b""),
        lambda: bob.calls[0].hang_up(),
        bob.unregister,
        lambda: alice.call("bob"),
    )
    for step in steps:
        step()
        arena.clock.advance(1.0)
    statuses = [call.status for call in alice.calls]
    if statuses != [200, 480]:
        raise AssertionError(f"the calls to be recorded ended with {statuses}")
    return tuple(
        Sent(at=event.at - began, source=event.source, data=event.data)
        for event in arena.network.log
        if event.fate is Fate.DELIVERED and event.destination == (SERVER, 5060)
    )


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Give a message to which one to four things happened."""
    for _ in range(draw(st.integers(1, 4))):
        data = draw(st.sampled_from(_MUTATIONS))(draw, data)
    return data[:65507]


def _splice(draw: st.DrawFn, data: bytes) -> bytes:
    """Put something in the place of a few octets."""
    start = draw(st.integers(0, len(data)))
    end = min(len(data), start + draw(st.integers(0, 12)))
    return data[:start] + draw(st.one_of(st.sampled_from(DELICATE), st.binary(max_size=4))) + data[end:]


def _add_line(draw: st.DrawFn, data: bytes) -> bytes:
    """Put a line somewhere."""
    lines = data.split(b"\r\n")
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(LINES)))
    return b"\r\n".join(lines)


def _replace_line(draw: st.DrawFn, data: bytes) -> bytes:
    """Put a line in the place of one of the same name, if there is one."""
    line = draw(st.sampled_from(LINES))
    name = line.partition(b":")[0].lower()
    lines = data.split(b"\r\n")
    places = [place for place, old in enumerate(lines) if old.partition(b":")[0].lower() == name]
    if places:
        lines[draw(st.sampled_from(places))] = line
    return b"\r\n".join(lines)


def _drop_line(draw: st.DrawFn, data: bytes) -> bytes:
    """Leave a line off."""
    lines = data.split(b"\r\n")
    del lines[draw(st.integers(0, len(lines) - 1))]
    return b"\r\n".join(lines)


def _repeat_line(draw: st.DrawFn, data: bytes) -> bytes:
    """Say a line again, a few or many times."""
    lines = data.split(b"\r\n")
    place = draw(st.integers(0, len(lines) - 1))
    lines[place:place] = [lines[place]] * draw(st.sampled_from((1, 2, 100)))
    return b"\r\n".join(lines)


def _cut(draw: st.DrawFn, data: bytes) -> bytes:
    """Let it end early."""
    return data[: draw(st.integers(0, len(data)))]


_MUTATIONS = (_splice, _splice, _add_line, _replace_line, _replace_line, _drop_line, _repeat_line, _cut)
