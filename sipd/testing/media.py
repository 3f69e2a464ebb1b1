"""A media relay without sockets: gives ports, writes them into session descriptions, and knows who holds what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, execute, fail, succeed
from zope.interface import implementer

from sipd.errors import InvalidStateError, ResourcesExhaustedError
from sipd.interfaces import IMediaRelay, IMediaSession, IMediaStudio, MediaPolicy, StreamStatistics
from sipd.media.greeting import answer_to, greeter_of, hearing_part
from sipd.media.rewrite import StreamPlace, rewrite
from sipd.sdp.description import AddressType, SessionDescription
from sipd.sdp.offer_answer import check_answer
from sipd.sdp.streams import Slots

_Key = tuple[str, int]
_Pair = tuple[str, str]


@implementer(IMediaRelay)
class FakeMediaRelay:
    """Relays nothing, and otherwise does what `IMediaRelay` says.

    Args:
        hosts: the addresses written into descriptions, by version of IP; the first is the default.
        first_port: of the first stream; each takes an even port and the odd one after it.
        max_pairs: how many pairs there are.

    Attributes:
        sessions: those that are open.
        taken: the even port of each pair that is held.
        released: how many pairs were given back.
        plays: whether sessions that are opened from now on have a studio.
    """

    def __init__(
        self, hosts: dict[AddressType, str] | None = None, *, first_port: int = 20000, max_pairs: int = 10_000
    ) -> None:
        self.hosts = hosts or {AddressType.IP4: "192.0.2.100", AddressType.IP6: "2001:db8::100"}
        self.sessions: list[FakeMediaSession] = []
        self.taken: set[int] = set()
        self.released = 0
        self.plays = False
        self._next_port = first_port
        self._max_pairs = max_pairs

    def open_session(self, call_id: str, event: Callable[[str, str], None]) -> FakeMediaSession:
        """See `IMediaRelay`."""
        session = FakeMediaSession(self, call_id, event)
        self.sessions.append(session)
        return session

    def take(self, count: int) -> list[int]:
        """Give so many pairs, or none."""
        if len(self.taken) + count > self._max_pairs:
            raise ResourcesExhaustedError(f"all of {self._max_pairs} pairs of media ports are taken")
        ports = [self._next_port + 2 * index for index in range(count)]
        self._next_port += 2 * count
        self.taken.update(ports)
        return ports

    def release(self, port: int) -> None:
        """Take a pair back; it is not given again."""
        self.taken.remove(port)
        self.released += 1


@dataclass(slots=True, kw_only=True)
class _Offered:
    """An offer, and the pairs that it and its answer name."""

    offer: SessionDescription
    slots: Slots
    keys: set[_Key]


@implementer(IMediaSession)
class FakeMediaSession:
    """The media of one call: a pair of ports for each leg and stream.

    Attributes:
        call_id: as given.
        connected: the pairs of legs whose media flows, as (who offered, who answered).
        is_open: whether it was not closed yet.
        is_established: whether the call was answered.
        policies: what was said of legs.
        on_digit: see `IMediaSession`; the test calls it.
        sent_digits: what was to be sent, as (leg, digit, seconds).
        taken_events: the legs whose telephone events do not pass.
        wants_events: whether legs can be sent telephone events.
        studio: see `IMediaSession`; ``None`` unless the relay plays.
    """

    def __init__(self, relay: FakeMediaRelay, call_id: str, event: Callable[[str, str], None]) -> None:
        self.call_id = call_id
        self.connected: set[_Pair] = set()
        self.is_open = True
        self.is_established = False
        self.on_digit: Callable[[str, str], object] | None = None
        self.sent_digits: list[tuple[str, str, float]] = []
        self.taken_events: set[str] = set()
        self.wants_events = True
        self.policies: dict[str, MediaPolicy] = {}
        self.studio: FakeMediaStudio | None = FakeMediaStudio(self) if relay.plays else None
        self._relay = relay
        self._event = event
        self._ports: dict[_Key, int] = {}
        self._families: dict[str, AddressType] = {}
        self._pending: dict[_Pair, _Offered] = {}
        self._agreed: dict[_Pair, _Offered] = {}
        self._statistics: dict[_Key, StreamStatistics] = {}

    @property
    def ports(self) -> dict[_Key, int]:
        """The pairs that are held, by leg and stream."""
        return dict(self._ports)

    def prefer_family(self, leg: str, family: AddressType) -> None:
        """See `IMediaSession`."""
        self._families[leg] = family

    def set_policy(self, leg: str, policy: MediaPolicy) -> None:
        """See `IMediaSession`."""
        self.policies[leg] = policy

    def offer(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None = None
    ) -> Deferred[SessionDescription]:
        """See `IMediaSession`."""
        return execute(self._offer, sender, receiver, description, slots)

    def answer(self, sender: str, receiver: str, description: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaSession`. Fails with `InvalidStateError` if there was no offer."""
        return execute(self._answer, sender, receiver, description)

    def offer_rejected(self, sender: str, receiver: str) -> None:
        """See `IMediaSession`."""
        self._pending.pop((sender, receiver), None)
        self._release_unused()

    def leg_ended(self, leg: str) -> None:
        """See `IMediaSession`."""
        for offered in (self._pending, self._agreed):
            for pair in [pair for pair in offered if leg in pair]:
                del offered[pair]
        self.connected = {pair for pair in self.connected if leg not in pair}
        self._release_unused()

    def statistics(self) -> Sequence[StreamStatistics]:
        """See `IMediaSession`. Nothing flows, so the counters stay at 0."""
        return list(self._statistics.values())

    def send_digit(self, leg: str, digit: str, duration: float = 0.1) -> bool:
        """See `IMediaSession`."""
        if self.wants_events:
            self.sent_digits.append((leg, digit, duration))
        return self.wants_events

    def take_events(self, leg: str) -> None:
        """See `IMediaSession`."""
        self.taken_events.add(leg)

    def pass_events(self, leg: str) -> None:
        """See `IMediaSession`."""
        self.taken_events.discard(leg)

    def established(self) -> None:
        """See `IMediaSession`."""
        self.is_established = True

    def close(self) -> Deferred[Sequence[StreamStatistics]]:
        """See `IMediaSession`."""
        if self.is_open:
            self.is_open = False
            self._pending.clear()
            self._agreed.clear()
            self.connected.clear()
            if self.studio is not None:
                self.studio.close()
            self._release_unused()
            self._relay.sessions.remove(self)
        return succeed(self.statistics())

    def _offer(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None
    ) -> SessionDescription:
        self._check_open()
        same = tuple(range(len(description.media)))
        slots = same if slots is None else slots
        for first in description.media[:1]:
            connection = description.connection_of(first)
            if connection is not None:
                self._families.setdefault(sender, connection.address_type)
        kinds: dict[_Key, str] = {}
        for index, (media, slot) in enumerate(zip(description.media, slots, strict=True)):
            if slot is not None and not media.is_disabled:
                kinds[sender, slot] = kinds[receiver, index] = media.media
        new = sorted(kinds.keys() - self._ports.keys())
        for key, port in zip(new, self._relay.take(len(new)), strict=True):
            self._ports[key] = port
            self._statistics.setdefault(key, StreamStatistics(leg=key[0], stream=key[1], media=kinds[key]))
            self._event("port-taken", _name(key, port))
        self._pending[sender, receiver] = _Offered(offer=description, slots=slots, keys=set(kinds))
        self._release_unused()
        return self._rewritten(description, receiver, same)

    def _answer(self, sender: str, receiver: str, description: SessionDescription) -> SessionDescription:
        self._check_open()
        pair = (receiver, sender)
        offered = self._pending.get(pair) or self._agreed.get(pair)
        if offered is None:
            raise InvalidStateError(f"leg {receiver} has offered nothing to leg {sender}")
        check_answer(offered.offer, description)
        self._pending.pop(pair, None)
        self._agreed.pop((sender, receiver), None)
        self._agreed[pair] = offered
        self.connected = {old for old in self.connected if set(old).isdisjoint(pair)} | {pair}
        answer = self._rewritten(description, receiver, offered.slots)
        self._release_unused()
        return answer

    def _rewritten(self, description: SessionDescription, leg: str, slots: Slots) -> SessionDescription:
        family = self._families.get(leg) or next(iter(self._relay.hosts))
        host = self._relay.hosts.get(family) or next(iter(self._relay.hosts.values()))
        places = [
            StreamPlace(host=host, port=self._ports[leg, slot])
            if slot is not None and not media.is_disabled and (leg, slot) in self._ports
            else None
            for media, slot in zip(description.media, slots, strict=True)
        ]
        return rewrite(description, places, host)

    def _release_unused(self) -> None:
        """Give back every pair that no offer names."""
        used = {key for offers in (self._pending, self._agreed) for offered in offers.values() for key in offered.keys}
        for key in [key for key in self._ports if key not in used]:
            port = self._ports.pop(key)
            self._relay.release(port)
            self._event("port-released", _name(key, port))

    def _check_open(self) -> None:
        if not self.is_open:
            raise InvalidStateError("the media of this call has ended")


@implementer(IMediaStudio)
class FakeMediaStudio:
    """Records nothing, and plays nothing, but knows what should be heard.

    Args:
        session: whose legs it plays to.

    Attributes:
        is_recording: see `IMediaStudio`.
        playing: the sound that each leg hears.
        broken: sounds that cannot be played.
    """

    def __init__(self, session: FakeMediaSession) -> None:
        self.is_recording = False
        self.playing: dict[str, str] = {}
        self.broken: set[str] = set()
        self._session = session
        self._played: dict[str, Deferred[Any]] = {}

    def record(self, format_: str = "wave", fields: Mapping[str, str] | None = None) -> None:
        """See `IMediaStudio`."""
        self.is_recording = True

    def pause_recording(self) -> None:
        """See `IMediaStudio`."""

    def resume_recording(self) -> None:
        """See `IMediaStudio`."""

    def stop_recording(self) -> Deferred[Any]:
        """See `IMediaStudio`."""
        self.is_recording = False
        return succeed(None)

    def greet(self, leg: str, offer: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaStudio`."""
        return execute(self._greet, leg, offer)

    def play(
        self, leg: str, sound: str, *, times: int | None = 1, duration: float | None = None, gain: float = 0.0
    ) -> Deferred[Any]:
        """See `IMediaStudio`. It lasts until it is stopped."""
        if sound in self.broken or not any(leg in pair for pair in self._session.connected):
            return fail(InvalidStateError(f"{sound} cannot be played to {leg}"))
        self.stop_playing(leg)
        self.playing[leg] = sound
        played = self._played[leg] = Deferred(lambda _: self.stop_playing(leg))
        return played

    def stop_playing(self, leg: str) -> None:
        """See `IMediaStudio`."""
        sound = self.playing.pop(leg, None)
        if sound is not None:
            self._played.pop(leg).callback(sound)

    def close(self) -> None:
        """Play nothing any more."""
        for leg in list(self.playing):
            self.stop_playing(leg)

    def _greet(self, leg: str, offer: SessionDescription) -> SessionDescription:
        greeter, heard = greeter_of(leg), hearing_part(offer)
        answer = answer_to(self._session._offer(leg, greeter, heard, None))
        return self._session._answer(greeter, leg, answer)


def _name(key: _Key, port: int) -> str:
    return f"{key[0]}/{key[1]} port {port}"
