"""The media of one call: legs, their streams, and the offers and answers that connect them (RFC 3264).

An offer plans: each side gets ports for each media line, those it has or new ones. An answer puts the plan into force:
addresses are latched on to, streams are connected. Until then nothing that flows is touched, so that a rejected offer
leaves everything as it was. What no plan and no leg needs any more is released, in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from sipd.errors import InvalidStateError, SdpError
from sipd.interfaces import IMediaSession, StreamStatistics
from sipd.media.datagrams import RelayContext
from sipd.media.ports import MediaAddress, PortAllocator
from sipd.media.rewrite import SignalledStream, is_datagrams, read_streams, rewrite
from sipd.media.stream import RelayStream
from sipd.sdp.description import AddressType, SessionDescription
from sipd.sdp.offer_answer import check_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """What all sessions of a relay share.

    Args:
        addresses: one for each version of IP that is served; the first is the one to use where nothing decides.
        ports: gives pairs.
        latch_window: seconds after an offer or answer in which a source may be latched on to.
        stream_limit: streams that one description may have; more are refused with `SdpError`.
    """

    addresses: dict[AddressType, MediaAddress]
    ports: PortAllocator
    latch_window: float
    stream_limit: int


@dataclass(slots=True, kw_only=True)
class _Leg:
    """One leg.

    Args:
        streams: those in force, by media line; `None` where there is none.
        family: the version of IP that it is to be offered, if somebody said so.
    """

    streams: list[RelayStream | None] = field(default_factory=list)
    family: AddressType | None = None


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """An offer, and what it became. All lists are by media line.

    Args:
        offer: as it came.
        asked: where the party that offered wants its media.
        outer: its streams.
        inner: the streams of the party that is to answer.
        answer: as it came last.
        given: where the party that answered wants its media.
        answered: what the party that offered was told.
    """

    offer: SessionDescription
    asked: list[SignalledStream | None]
    outer: list[RelayStream | None]
    inner: list[RelayStream | None]
    answer: SessionDescription | None = None
    given: list[SignalledStream | None] = field(default_factory=list)
    answered: SessionDescription | None = None


@implementer(IMediaSession)
class RelaySession:
    """See `IMediaSession`.

    Args:
        settings: of the relay.
        context: for the sockets.
        closed: called once, when everything is released.
    """

    def __init__(
        self, settings: RelaySettings, context: RelayContext, closed: Callable[[RelaySession], object]
    ) -> None:
        self._settings = settings
        self._context = context
        self._closed = closed
        self._is_open = True
        self._legs: dict[str, _Leg] = {}
        #: All that hold ports.
        self._streams: dict[tuple[str, int, AddressType], RelayStream] = {}
        #: By (who offered, who answers): offers that wait for an answer, and what was agreed on last.
        self._pending: dict[tuple[str, str], _Exchange] = {}
        self._agreed: dict[tuple[str, str], _Exchange] = {}
        self._statistics: dict[tuple[str, int, str], StreamStatistics] = {}

    def prefer_family(self, leg: str, family: AddressType) -> None:
        """See `IMediaSession`."""
        self._leg(leg).family = family

    def offer(self, sender: str, receiver: str, description: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaSession`."""
        return execute(self._offer, sender, receiver, description)

    def answer(self, sender: str, receiver: str, description: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaSession`.

        A stream that nothing has been heard of gets a new window for latching with each answer, a repeated one too.
        Fails with `SdpError`, or with `InvalidStateError` if `receiver` has offered nothing to `sender`.
        """
        return execute(self._answer, sender, receiver, description)

    def offer_rejected(self, sender: str, receiver: str) -> None:
        """See `IMediaSession`."""
        self._pending.pop((sender, receiver), None)
        self._release_unused()

    def leg_ended(self, leg: str) -> None:
        """See `IMediaSession`."""
        self._legs.pop(leg, None)
        for exchanges in (self._pending, self._agreed):
            for key in [key for key in exchanges if leg in key]:
                del exchanges[key]
        self._release_unused()

    def statistics(self) -> Sequence[StreamStatistics]:
        """See `IMediaSession`. What was counted stays when a stream, or the session, has ended."""
        return list(self._statistics.values())

    def close(self) -> None:
        """See `IMediaSession`."""
        if self._is_open:
            self._is_open = False
            self._legs.clear()
            self._pending.clear()
            self._agreed.clear()
            self._release_unused()
            self._closed(self)

    def _offer(self, sender: str, receiver: str, description: SessionDescription) -> SessionDescription:
        """Plan an exchange."""
        self._check_open()
        asked = read_streams(description)
        wanted = sum(signalled is not None for signalled in asked)
        if wanted > self._settings.stream_limit:
            raise SdpError(f"offer of {wanted} streams, more than {self._settings.stream_limit}")
        try:
            exchange = _Exchange(
                offer=description,
                asked=asked,
                outer=self._plan(sender, description, asked, self._family_for_sender),
                inner=self._plan(receiver, description, asked, self._family_for_receiver),
            )
            offered = self._rewrite(description, receiver, exchange.inner)
            self._pending[sender, receiver] = exchange
        finally:
            self._release_unused()
        for index, media in enumerate(description.media):
            if not is_datagrams(media):
                self._context.event("not-relayed", f"{sender}/{index} {media.media} over {media.protocol} refused")
        return offered

    def _answer(self, sender: str, receiver: str, description: SessionDescription) -> SessionDescription:
        """Put a plan into force."""
        self._check_open()
        key = (receiver, sender)
        exchange = self._pending.get(key) or self._agreed.get(key)
        if exchange is None:
            raise InvalidStateError(f"leg {receiver} has offered nothing to leg {sender}")
        answered = exchange.answered
        if answered is None or exchange.answer is None or not _is_same(exchange.answer, description):
            check_answer(exchange.offer, description)
            given = read_streams(description)
            accepted = [
                outer is not None and inner is not None and signalled is not None
                for outer, inner, signalled in zip(exchange.outer, exchange.inner, given, strict=True)
            ]
            outer = [stream if wanted else None for stream, wanted in zip(exchange.outer, accepted, strict=True)]
            answered = _accept_mux(self._rewrite(description, receiver, outer), exchange.asked)
            exchange.outer = outer
            exchange.inner = [
                stream if wanted else None for stream, wanted in zip(exchange.inner, accepted, strict=True)
            ]
            exchange.answer, exchange.given, exchange.answered = description, given, answered
            self._pending.pop(key, None)
            self._agreed.pop((sender, receiver), None)
            self._agreed[key] = exchange
        self._put_into_force(receiver, sender, exchange)
        self._release_unused()
        return answered

    def _put_into_force(self, offerer: str, answerer: str, exchange: _Exchange) -> None:
        """Latch and connect as agreed."""
        for name, streams in ((offerer, exchange.outer), (answerer, exchange.inner)):
            leg = self._leg(name)
            for stream in leg.streams:
                if stream is not None and stream not in streams:
                    stream.disconnect()
            leg.streams = streams
        closes_at = self._context.reactor.seconds() + self._settings.latch_window
        lines = zip(exchange.offer.media, exchange.outer, exchange.asked, exchange.inner, exchange.given, strict=True)
        for index, (media, outer, asked, inner, given) in enumerate(lines):
            if outer is None or asked is None or inner is None or given is None:
                continue
            outer.multiplex(asked.wants_mux)
            inner.multiplex(asked.wants_mux and given.wants_mux)
            for stream, signalled in ((outer, asked), (inner, given)):
                stream.count_in(self._counters(stream.leg, index, media.media))
                stream.signal(signalled, closes_at)
            outer.connect_to(inner)

    def _plan(
        self,
        leg: str,
        description: SessionDescription,
        asked: Sequence[SignalledStream | None],
        family: Callable[[str, int, SignalledStream], AddressType],
    ) -> list[RelayStream | None]:
        """Give a stream for each media line that needs one: what the leg has already, or new ones."""
        return [
            None if signalled is None else self._stream(leg, index, media.media, family(leg, index, signalled))
            for index, (media, signalled) in enumerate(zip(description.media, asked, strict=True))
        ]

    def _stream(self, leg: str, index: int, media: str, family: AddressType) -> RelayStream:
        """Give the stream of that leg, media line and version of IP; take ports for it if there is none yet."""
        address = self._settings.addresses.get(family) or self._default_address
        key = (leg, index, address.address_type)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = RelayStream(
                leg=leg,
                index=index,
                address=address,
                pair=self._settings.ports.take(address.host),
                statistics=self._counters(leg, index, media),
                context=self._context,
            )
            self._context.event("port-taken", str(stream))
        return stream

    def _family_for_sender(self, leg: str, index: int, signalled: SignalledStream) -> AddressType:
        """Choose by the address it wants its media at; if it names none, nothing changes."""
        current = self._current(leg, index)
        return signalled.address_type if signalled.rtp is not None or current is None else current.address.address_type

    def _family_for_receiver(self, leg: str, index: int, signalled: SignalledStream) -> AddressType:
        """Choose what it has already, what it is said to prefer, or what the offer has."""
        current = self._current(leg, index) or next(filter(None, self._leg(leg).streams), None)
        if current is not None:
            return current.address.address_type
        return self._leg(leg).family or signalled.address_type

    def _current(self, leg: str, index: int) -> RelayStream | None:
        """Give the stream in force on a media line of a leg."""
        streams = self._leg(leg).streams
        return streams[index] if index < len(streams) else None

    def _rewrite(
        self, description: SessionDescription, leg: str, streams: Sequence[RelayStream | None]
    ) -> SessionDescription:
        """Give the description as a leg is to see it."""
        places = [None if stream is None else stream.place for stream in streams]
        family = self._leg(leg).family
        address = (self._settings.addresses.get(family) if family else None) or self._default_address
        return rewrite(description, places, next((place.host for place in places if place), address.advertised_host))

    def _release_unused(self) -> None:
        """Release the ports of each stream that no leg has and no exchange plans with."""
        used = {stream for leg in self._legs.values() for stream in leg.streams}
        for exchanges in (self._pending, self._agreed):
            for exchange in exchanges.values():
                used.update(exchange.outer, exchange.inner)
        for key, stream in list(self._streams.items()):
            if stream not in used:
                del self._streams[key]
                stream.close()
                self._settings.ports.release(stream.pair)
                self._context.event("port-released", str(stream))

    def _counters(self, leg: str, index: int, media: str) -> StreamStatistics:
        """Give what counts one kind of media on one media line of one leg."""
        key = (leg, index, media)
        counters = self._statistics.get(key)
        if counters is None:
            counters = self._statistics[key] = StreamStatistics(leg=leg, stream=index, media=media)
        return counters

    def _leg(self, name: str) -> _Leg:
        """Give a leg; a new one if it is not known yet."""
        leg = self._legs.get(name)
        if leg is None:
            leg = self._legs[name] = _Leg()
        return leg

    @property
    def _default_address(self) -> MediaAddress:
        """The address to use where no other reason gives one."""
        return next(iter(self._settings.addresses.values()))

    def _check_open(self) -> None:
        """Raise `InvalidStateError` if the session is closed."""
        if not self._is_open:
            raise InvalidStateError("the media of this call has ended")


def _is_same(one: SessionDescription, other: SessionDescription) -> bool:
    """Say whether two descriptions differ in `o=` at most."""
    return one == other or one.without_origin() == other.without_origin()


def _accept_mux(answer: SessionDescription, asked: Sequence[SignalledStream | None]) -> SessionDescription:
    """Let an answer accept RTCP on the port of RTP wherever that was offered.

    The relay takes both apart for a party that does not do so, so who offers need not depend on the other side. Some
    insist on it (RFC 8858).
    """
    media = tuple(
        stream.without_attributes(("rtcp",)).with_attribute("rtcp-mux")
        if signalled is not None and signalled.wants_mux and not stream.is_disabled and not stream.has_rtcp_mux
        else stream
        for stream, signalled in zip(answer.media, asked, strict=True)
    )
    return SessionDescription(answer.text, media)
