"""An allocation on a TURN server over UDP, as its client has it (RFC 8656): a second address, beyond the NAT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address

from sipd.errors import InvalidStateError, ParseError, ResourcesExhaustedError
from sipd.ice import requests
from sipd.ice.relaying import (
    Allocated,
    Deliver,
    Effect,
    Effects,
    Failed,
    Over,
    PeerRefused,
    StopTimers,
    Task,
    Timer,
)
from sipd.ice.requests import Address, Answered, Credentials, Pace, Refused, Requests, Send, StartTimer
from sipd.rtp.stun import (
    TRANSACTION_SIZE,
    Attribute,
    Kind,
    Method,
    StunMessage,
    is_stun,
    read_address,
    read_xor_address,
    xor_address,
)

#: Seconds of an allocation, where nobody says anything else (RFC 8656 section 3.2).
DEFAULT_LIFETIME = 600
#: Longer ones are refreshed as if they were of this length, in seconds.
_LONGEST_LIFETIME = 3600
#: So many seconds before its end an allocation is refreshed: a request takes up to 39.5 s. A short one at half of it.
_MARGIN = 60.0
_SHORT_LIFETIME = 120
_SHORTEST_INTERVAL = 0.5
#: Permissions are for 300 s, channels for 600 s (RFC 8656 sections 9 and 12).
PERMISSION_INTERVAL = 240.0
CHANNEL_INTERVAL = 540.0
#: Different hosts that permissions are asked for, and different addresses with channels, each.
MAX_PEERS = 64
#: Datagrams to one host that wait for its permission. More are dropped.
MAX_WAITING = 8
#: Octets that one datagram may have, so that it fits into one to the server.
MAX_DATA = 65_400

_UDP = 17
_FIRST_CHANNEL = 0x4000
_FIRST_CHANNEL_OCTETS = range(0x40, 0x50)
_CHANNEL_HEADER_SIZE = 4
_TRY_ALTERNATE = 300
_ALLOCATION_MISMATCH = 437
#: The end is told the server some times, and then believed.
_RELEASE_PACE = Pace(first=0.5, attempts=3, last=5.0)
#: Seconds in which an answer to what is not wanted any more is waited for.
_REGRET = 4.0
#: What an operator can do about a refusal (RFC 8656 section 19).
_ADVICE = {
    403: "the server's rules forbid it",
    437: "the server has an allocation of this socket already, or has it no more",
    441: "the allocation is somebody else's",
    442: "the server does not relay UDP",
    486: "the user has as many allocations as the server grants",
    508: "the server has no ports left",
}


class State(Enum):
    """Where an allocation is."""

    NEW = "new"
    ALLOCATING = "allocating"
    READY = "ready"
    RELEASING = "releasing"
    ENDED = "ended"


@dataclass(slots=True)
class _Permission:
    """What is known about one host."""

    is_granted: bool = False
    is_refused: bool = False
    waiting: list[tuple[Address, bytes]] = field(default_factory=list)


class Allocation:
    """One allocation, from the first request to its end. It is refreshed, and so is all that was asked for in it.

    Args:
        server: the TURN server.
        credentials: what its challenge is answered with.
        entropy: gives random octets, for transaction ids.
        lifetime: seconds to ask for, 1 to 3600. The server may grant another number.
        max_peers: how many different hosts, and how many different channels, there can be.

    Attributes:
        state: where it is.
        relayed: the address of the server that peers send to, once there is one.
        mapped: this socket's address as the server sees it.
        dropped: datagrams that were not sent: too long, too many before the permission, to a host that is refused or
            of the other version of IP, or beyond ``max_peers``.
    """

    def __init__(
        self,
        server: Address,
        credentials: Credentials | None,
        *,
        entropy: Callable[[int], bytes],
        lifetime: int = DEFAULT_LIFETIME,
        max_peers: int = MAX_PEERS,
    ) -> None:
        if not 1 <= lifetime <= _LONGEST_LIFETIME:
            raise ValueError(f"no lifetime of an allocation: {lifetime}")
        self.state = State.NEW
        self.relayed: Address | None = None
        self.mapped: Address | None = None
        self.dropped = 0
        self._requests = Requests(server, entropy=entropy, credentials=credentials)
        self._entropy = entropy
        self._wanted = lifetime
        self._max_peers = max_peers
        self._is_moved = False
        self._is_unwanted = False
        self._permissions: dict[str, _Permission] = {}
        self._numbers: dict[Address, int] = {}
        self._peers: dict[int, Address] = {}
        self._bound: set[Address] = set()

    @property
    def server(self) -> Address:
        """Whom it is asked of: another one than at first, if that sent us there."""
        return self._requests.server

    def start(self) -> Effects:
        """Ask for the allocation.

        Raises:
            InvalidStateError: it was asked for already, or given up.
        """
        if self.state is not State.NEW:
            raise InvalidStateError("an allocation is asked for once")
        self.state = State.ALLOCATING
        return self._ask(Timer(Task.ALLOCATE))

    def datagram_received(self, data: bytes, source: Address) -> Effects:
        """Take a datagram. What does not come from the server, or cannot be read, is passed over."""
        if source != self.server or self.state is State.ENDED or not data:
            return ()
        if data[0] in _FIRST_CHANNEL_OCTETS:
            return self._channel_data(data)
        if not is_stun(data):
            return ()
        try:
            message = StunMessage.parse(data)
        except ParseError:
            return ()
        if message.kind is Kind.INDICATION:
            return self._indication(message)
        return self._perform(self._requests.message_received(message, source))

    def timer_fired(self, timer: Timer) -> Effects:
        """Repeat a request, or renew what ends soon."""
        if self._is_unwanted and self.state is State.ALLOCATING:
            return self._end(Over())
        if timer in self._requests:
            return self._perform(self._requests.timer_fired(timer))
        if self.state is not State.READY:
            return ()
        return self._ask(timer)

    def permit(self, host: str) -> Effects:
        """Ask that a host may send to the relayed address, and go on asking every four minutes.

        Args:
            host: a numeric address, of the version of IP of the relayed address.

        Raises:
            InvalidStateError: there is no allocation.
            ResourcesExhaustedError: there are ``max_peers`` hosts already.
            ValueError: it is no such address.
        """
        host = self._check_peer(host)
        known = self._permissions.get(host)
        if known is not None and not known.is_refused:
            return ()
        if known is None:
            self._check_bound(len(self._permissions))
        self._permissions[host] = _Permission()
        return self._ask(Timer(Task.PERMISSION, (host, 0)))

    def bind(self, peer: Address) -> Effects:
        """Ask for a channel, which makes what is exchanged with one peer 32 octets shorter, and its permission.

        Until it is there, and where the server refuses it, datagrams go as they did.

        Raises:
            InvalidStateError: there is no allocation.
            ResourcesExhaustedError: there are ``max_peers`` channels, or hosts, already.
            ValueError: it is no address that can be a peer.
        """
        peer = (self._check_peer(peer[0]), peer[1])
        if not 0 < peer[1] <= 0xFFFF:
            raise ValueError(f"no port: {peer[1]}")
        if peer in self._numbers:
            return ()
        self._check_bound(len(self._numbers))
        effects = self.permit(peer[0])
        number = _FIRST_CHANNEL + len(self._numbers)
        self._numbers[peer] = number
        self._peers[number] = peer
        return (*effects, *self._ask(Timer(Task.CHANNEL, peer)))

    def send(self, data: bytes, peer: Address) -> Effects:
        """Send a datagram from the relayed address: by the peer's channel, or in an indication.

        A permission is asked for, if nobody did, and up to `MAX_WAITING` datagrams wait for it. What cannot be sent is
        dropped and counted.

        Raises:
            InvalidStateError: there is no allocation.
        """
        if self.state is not State.READY:
            raise InvalidStateError("there is no allocation to send from")
        if len(data) > MAX_DATA or not 0 < peer[1] <= 0xFFFF:
            self.dropped += 1
            return ()
        if peer in self._bound:
            number = self._numbers[peer]
            return (Send(number.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data, self.server),)
        effects: Effects = ()
        permission = self._permissions.get(peer[0])
        if permission is None:
            try:
                peer = (self._check_peer(peer[0]), peer[1])
                effects = self.permit(peer[0])
            except (ResourcesExhaustedError, ValueError):
                self.dropped += 1
                return ()
            permission = self._permissions[peer[0]]
        if permission.is_granted:
            return (*effects, self._in_indication(data, peer))
        if permission.is_refused or len(permission.waiting) >= MAX_WAITING:
            self.dropped += 1
        else:
            permission.waiting.append((peer, data))
        return effects

    def close(self) -> Effects:
        """Give the allocation back; `Over` comes when the server knows, or 4 s later. Idempotent."""
        if self.state is State.NEW:
            return self._end(Over())
        if self.state is State.ALLOCATING and not self._is_unwanted:
            # The server may have made it already: its answer is awaited a while, to give it back.
            self._is_unwanted = True
            self._requests.answer_no_challenge()
            return (StartTimer(Timer(Task.ALLOCATE), _REGRET),)
        if self.state is not State.READY:
            return ()
        return self._release()

    # What comes from the server.

    def _channel_data(self, data: bytes) -> Effects:
        """RFC 8656 section 12.4; octets of padding at the end are allowed."""
        peer = self._peers.get(int.from_bytes(data[:2], "big"))
        end = _CHANNEL_HEADER_SIZE + int.from_bytes(data[2:4], "big")
        if self.state is not State.READY or peer is None or len(data) < max(end, _CHANNEL_HEADER_SIZE):
            return ()
        return (Deliver(peer, data[_CHANNEL_HEADER_SIZE:end]),)

    def _indication(self, message: StunMessage) -> Effects:
        """RFC 8656 section 11.4: only from hosts that have a permission."""
        address, data = message.get(Attribute.XOR_PEER_ADDRESS), message.get(Attribute.DATA)
        if self.state is not State.READY or message.method != Method.DATA or address is None or data is None:
            return ()
        try:
            peer = read_xor_address(address, message.transaction)
        except ParseError:
            return ()
        if message.unknown_required or peer[0] not in self._permissions:
            return ()
        return (Deliver(peer, data),)

    def _perform(self, effects: requests.Effects) -> Effects:
        """Take what became of requests out of these effects."""
        given: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Answered):
                assert isinstance(effect.name, Timer)
                given += self._answered(effect.name, effect.message)
            elif isinstance(effect, Refused):
                assert isinstance(effect.name, Timer)
                given += self._refused(effect.name, effect)
            else:
                given.append(effect)
        return tuple(given)

    def _answered(self, timer: Timer, message: StunMessage) -> Effects:
        if timer.task is Task.ALLOCATE:
            return self._allocated(message)
        if timer.task is Task.RELEASE:
            return self._end(Over())
        if timer.task is Task.REFRESH:
            lifetime = _lifetime_of(message)
            if lifetime == 0:
                return self._end(Failed("the server ended the allocation"))
            return (StartTimer(timer, _interval_of(lifetime)),)
        if timer.peer is None or self.state is not State.READY:
            return ()
        if timer.task is Task.CHANNEL:
            self._bound.add(timer.peer)
            return (StartTimer(timer, CHANNEL_INTERVAL),)
        permission = self._permissions[timer.peer[0]]
        permission.is_granted = True
        waiting, permission.waiting = permission.waiting, []
        return (
            StartTimer(timer, PERMISSION_INTERVAL),
            *(self._in_indication(data, peer) for peer, data in waiting),
        )

    def _allocated(self, message: StunMessage) -> Effects:
        """RFC 8656 section 7.3."""
        lifetime = _lifetime_of(message)
        try:
            relayed = read_xor_address(message.get(Attribute.XOR_RELAYED_ADDRESS) or b"", message.transaction)
        except ParseError:
            return self._end(Failed("the server says no relayed address that can be read"))
        self.state = State.READY
        if self._is_unwanted:
            return self._release()
        if lifetime == 0:
            return self._end(Failed("the server grants an allocation of no time"))
        self.relayed, self.mapped = relayed, message.mapped_address
        return (
            StartTimer(Timer(Task.REFRESH), _interval_of(lifetime)),
            Allocated(relayed, self.mapped, lifetime),
        )

    def _refused(self, timer: Timer, refused: Refused) -> Effects:
        advice = _ADVICE.get(refused.code)
        text = f"{timer.task.value}: {refused.text}" + (f" ({advice})" if advice is not None else "")
        if timer.task is Task.RELEASE:
            # 437: it has ended by itself. Any other answer: it will.
            return self._end(Over())
        if timer.task is Task.ALLOCATE:
            if self._is_unwanted:
                return self._end(Over())
            if refused.code == _TRY_ALTERNATE and refused.message is not None:
                return self._redirected(refused.message, text)
            return self._end(Failed(text))
        if timer.task is Task.REFRESH or refused.code in (0, _ALLOCATION_MISMATCH):
            return self._end(Failed(text))
        if timer.peer is None:
            return ()
        if timer.task is Task.CHANNEL:
            # Its number stays taken, so that it is not asked for again.
            self._bound.discard(timer.peer)
            return ()
        permission = self._permissions[timer.peer[0]]
        self.dropped += len(permission.waiting)
        self._permissions[timer.peer[0]] = _Permission(is_refused=True)
        self._bound = {peer for peer in self._bound if peer[0] != timer.peer[0]}
        return (PeerRefused(timer.peer[0], text),)

    def _redirected(self, message: StunMessage, text: str) -> Effects:
        """Go to the ALTERNATE-SERVER, once (RFC 8489 section 10)."""
        if self._is_moved:
            return self._end(Failed(f"{text}, from there, too"))
        try:
            server = read_address(message.get(Attribute.ALTERNATE_SERVER) or b"")
        except ParseError:
            return self._end(Failed(f"{text}, without an address that can be read"))
        if (":" in server[0]) != (":" in self.server[0]) or server == self.server or server[1] == 0:
            return self._end(Failed(f"{text}, to an address that is none from here"))
        self._is_moved = True
        self._requests.move(server)
        return self._ask(Timer(Task.ALLOCATE))

    # What goes to the server.

    def _ask(self, timer: Timer) -> Effects:
        """Begin a request."""
        lifetime = (Attribute.LIFETIME, self._wanted.to_bytes(4, "big"))
        match timer:
            case Timer(Task.ALLOCATE):
                transport = (Attribute.REQUESTED_TRANSPORT, bytes((_UDP, 0, 0, 0)))
                return self._perform(self._requests.start(timer, Method.ALLOCATE, (transport, lifetime)))
            case Timer(Task.REFRESH):
                return self._perform(self._requests.start(timer, Method.REFRESH, (lifetime,)))
            case Timer(Task.RELEASE):
                nothing = (Attribute.LIFETIME, bytes(4))
                return self._perform(self._requests.start(timer, Method.REFRESH, (nothing,), pace=_RELEASE_PACE))
            case Timer(Task.PERMISSION, peer) if peer is not None:
                return self._ask_for_peer(timer, Method.CREATE_PERMISSION, peer)
            case Timer(Task.CHANNEL, peer) if peer is not None:
                number = (Attribute.CHANNEL_NUMBER, self._numbers[peer].to_bytes(2, "big") + bytes(2))
                return self._ask_for_peer(timer, Method.CHANNEL_BIND, peer, number)
            case _:
                return ()

    def _ask_for_peer(self, timer: Timer, method: Method, peer: Address, *more: tuple[int, bytes]) -> Effects:
        """Begin a request about one peer, whose address is written anew where the request is sent again."""
        return self._perform(self._requests.start(timer, method, more, peer=peer))

    def _in_indication(self, data: bytes, peer: Address) -> Send:
        """RFC 8656 section 11.1."""
        transaction = self._entropy(TRANSACTION_SIZE)
        attributes = ((Attribute.XOR_PEER_ADDRESS, xor_address(peer, transaction)), (Attribute.DATA, data))
        return Send(StunMessage(Method.SEND, Kind.INDICATION, transaction, attributes).to_bytes(), self.server)

    def _release(self) -> Effects:
        self.state = State.RELEASING
        self._forget_requests()
        return (StopTimers(), *self._ask(Timer(Task.RELEASE)))

    def _end(self, last: Failed | Over) -> Effects:
        self.state = State.ENDED
        self._forget_requests()
        self._permissions.clear()
        self._bound.clear()
        return (StopTimers(), last)

    def _forget_requests(self) -> None:
        for name in self._requests.names():
            self._requests.forget(name)

    def _check_peer(self, host: str) -> str:
        """Give the address as it is written here."""
        if self.state is not State.READY or self.relayed is None:
            raise InvalidStateError("there is no allocation")
        address = ip_address(host)
        if address.version != ip_address(self.relayed[0]).version:
            raise ValueError("the peer's address is not of the relayed address's version of IP")
        return str(address)

    def _check_bound(self, number: int) -> None:
        if number >= self._max_peers:
            raise ResourcesExhaustedError(f"an allocation has at most {self._max_peers} peers")


def _lifetime_of(message: StunMessage) -> int:
    """Give the seconds that were granted; the default where the server does not say."""
    value = message.get(Attribute.LIFETIME)
    return int.from_bytes(value, "big") if value is not None and len(value) == 4 else DEFAULT_LIFETIME


def _interval_of(lifetime: int) -> float:
    """Give the seconds after which an allocation is refreshed."""
    lifetime = min(lifetime, _LONGEST_LIFETIME)
    return lifetime - _MARGIN if lifetime >= _SHORT_LIFETIME else max(lifetime / 2, _SHORTEST_INTERVAL)
