"""A STUN and TURN server that behaves, without sockets: octets in, octets out (RFC 8489, RFC 8656)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sipd.ice.requests import Address
from sipd.rtp.stun import (
    TRANSACTION_SIZE,
    Attribute,
    Kind,
    Method,
    StunMessage,
    error_code_value,
    is_stun,
    long_term_key,
    read_xor_address,
    xor_address,
)

SERVER: Address = ("192.0.2.10", 3478)
RELAYED: Address = ("192.0.2.10", 50000)
CLIENT: Address = ("203.0.113.5", 40000)
USER, PASSWORD, REALM = "alice", "secret", "example.org"


@dataclass(slots=True)
class FakeServer:
    """One server, with at most one allocation.

    Attributes:
        lifetime: seconds that it grants at most.
        nonce: another one makes the one that clients have stale.
        refusals: the error code for each method that is refused, and its attributes.
        has: whether there is an allocation.
        requests: how many of each method came, each transaction once, with those that are challenged.
        sent: what was sent to peers.
    """

    address: Address = SERVER
    lifetime: int = 600
    nonce: bytes = b"first"
    password: str = PASSWORD
    is_open: bool = False
    refusals: dict[int, tuple[int, tuple[tuple[int, bytes], ...]]] = field(default_factory=dict)
    has: bool = False
    lifetimes: list[int] = field(default_factory=list)
    requests: Counter[int] = field(default_factory=Counter)
    permissions: set[str] = field(default_factory=set)
    channels: dict[int, Address] = field(default_factory=dict)
    sent: list[tuple[bytes, Address]] = field(default_factory=list)
    transactions: set[bytes] = field(default_factory=set)

    @property
    def key(self) -> bytes:
        """What its users sign with."""
        return long_term_key(USER, REALM, self.password)

    def receive(self, data: bytes) -> list[bytes]:
        """Take a datagram of the client; give what is sent back."""
        if not is_stun(data):
            peer = self.channels.get(int.from_bytes(data[:2], "big"))
            if peer is not None and len(data) - 4 >= int.from_bytes(data[2:4], "big"):
                self.sent.append((data[4:], peer))
            return []
        message = StunMessage.parse(data)
        if message.kind is Kind.INDICATION:
            peer = read_xor_address(message.get(Attribute.XOR_PEER_ADDRESS) or b"", message.transaction)
            if peer[0] in self.permissions:
                self.sent.append((message.get(Attribute.DATA) or b"", peer))
            return []
        assert message.transaction not in self.transactions or message.method == Method.BINDING
        self.requests[message.method] += 1
        answer = self.answer(message)
        is_signed = message.get(Attribute.MESSAGE_INTEGRITY) is not None
        code = answer.error_code
        is_challenge = code is not None and code[0] in (401, 438)
        return [answer.to_bytes(key=self.key if is_signed and not is_challenge else None, with_fingerprint=True)]

    def answer(self, message: StunMessage) -> StunMessage:
        """Answer a request."""
        mapped = (Attribute.XOR_MAPPED_ADDRESS, xor_address(CLIENT, message.transaction))
        if message.method in self.refusals:
            code, attributes = self.refusals[message.method]
            return self.error(message, code, *attributes)
        if message.method == Method.BINDING:
            return self.success(message, mapped)
        if not self.is_open:
            challenge = ((Attribute.REALM, REALM.encode()), (Attribute.NONCE, self.nonce))
            if not message.is_signed_with(self.key):
                return self.error(message, 401, *challenge)
            if message.get(Attribute.NONCE) != self.nonce:
                return self.error(message, 438, *challenge)
        return self.serve(message, mapped)

    def serve(self, message: StunMessage, mapped: tuple[int, bytes]) -> StunMessage:
        """Do what an authenticated request asks for."""
        if (message.method == Method.ALLOCATE) is self.has:
            return self.error(message, 437)
        if message.method in (Method.ALLOCATE, Method.REFRESH):
            wanted = int.from_bytes(message.get(Attribute.LIFETIME) or b"", "big")
            self.lifetimes.append(wanted)
            self.has = wanted > 0
            granted = (Attribute.LIFETIME, min(wanted, self.lifetime).to_bytes(4, "big"))
            if message.method == Method.REFRESH:
                return self.success(message, granted)
            relayed = (Attribute.XOR_RELAYED_ADDRESS, xor_address(RELAYED, message.transaction))
            return self.success(message, relayed, mapped, granted)
        peer = read_xor_address(message.get(Attribute.XOR_PEER_ADDRESS) or b"", message.transaction)
        self.permissions.add(peer[0])
        if message.method == Method.CHANNEL_BIND:
            number = int.from_bytes((message.get(Attribute.CHANNEL_NUMBER) or b"")[:2], "big")
            assert 0x4000 <= number <= 0x4FFF
            assert self.channels.setdefault(number, peer) == peer
        return self.success(message)

    @staticmethod
    def success(message: StunMessage, *attributes: tuple[int, bytes]) -> StunMessage:
        """Make a success response."""
        return StunMessage(message.method, Kind.SUCCESS, message.transaction, attributes)

    @staticmethod
    def error(message: StunMessage, code: int, *attributes: tuple[int, bytes]) -> StunMessage:
        """Make an error response."""
        first = (Attribute.ERROR_CODE, error_code_value(code, "Reason"))
        return StunMessage(message.method, Kind.ERROR, message.transaction, (first, *attributes))

    def relay(self, data: bytes, peer: Address) -> bytes:
        """Give what the client is sent when a peer sends that to the relayed address."""
        for number, bound in self.channels.items():
            if bound == peer:
                return number.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
        transaction = bytes(TRANSACTION_SIZE)
        attributes = ((Attribute.XOR_PEER_ADDRESS, xor_address(peer, transaction)), (Attribute.DATA, data))
        return StunMessage(Method.DATA, Kind.INDICATION, transaction, attributes).to_bytes()
