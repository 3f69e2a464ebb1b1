"""The streams that the legs of a call have: their ports, their counters, and what descriptions say of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sipd.interfaces import Entropy, StreamStatistics
from sipd.media.announcement import Announcer
from sipd.media.engine import Engine, Report
from sipd.media.exchanges import Exchange, Leg, Line
from sipd.media.latch import Latch
from sipd.media.pacer import Pacer
from sipd.media.ports import MediaAddress, PortAllocator
from sipd.media.recording import Recorder
from sipd.media.rewrite import SignalledStream, rewrite
from sipd.media.stream import RelayStream
from sipd.sdp.description import AddressType, SessionDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """What all sessions of a relay share.

    Args:
        addresses: one for each version of IP that is served; the first is the one to use where nothing decides.
        ports: gives pairs.
        latch_window: seconds after an offer or answer in which a source may be latched on to.
        stream_limit: streams that one description may have; more are refused with `SdpError`.
        home: the engine that is always there, and treats packets.
        entropy: for keys.
        seconds: the time.
        recorder: makes recordings, if any can be made.
        announcer: plays, if anything can be played.
        pacer: for telephone events, if any can be sent.
    """

    addresses: dict[AddressType, MediaAddress]
    ports: PortAllocator
    latch_window: float
    stream_limit: int
    home: Engine
    entropy: Entropy
    seconds: Callable[[], float]
    recorder: Recorder | None = None
    announcer: Announcer | None = None
    pacer: Pacer | None = None


class LegStreams:
    """The streams of all legs of one session.

    Args:
        call_id: of the call, for logs.
        settings: of the relay.
        engine: forwards what new streams get.
        report: for the call's explanation.
    """

    __slots__ = ("_call_id", "_legs", "_report", "_settings", "_statistics", "engine")

    def __init__(self, call_id: str, settings: RelaySettings, engine: Engine, report: Report) -> None:
        self.engine = engine
        self._call_id = call_id
        self._settings = settings
        self._report = report
        self._legs: dict[str, Leg] = {}
        self._statistics: dict[tuple[str, int, str], StreamStatistics] = {}

    @property
    def all(self) -> list[RelayStream]:
        """All streams, those that are only planned with, too."""
        return [stream for leg in self._legs.values() for stream in leg.streams]

    @property
    def statistics(self) -> list[StreamStatistics]:
        """What was counted, also of streams that are gone."""
        return list(self._statistics.values())

    def end(self, leg: str) -> None:
        """Free what a leg has."""
        ended = self._legs.pop(leg, None)
        if ended is not None:
            for stream in ended.streams:
                self._release(stream)

    def forget(self, leg: str) -> None:
        """Forget what was counted of a leg."""
        self._statistics = {key: counters for key, counters in self._statistics.items() if key[0] != leg}

    def close(self) -> None:
        """Free everything."""
        for leg in list(self._legs):
            self.end(leg)

    def plan(self, sender: str, slot: int, receiver: str, index: int, media: str, signalled: SignalledStream) -> Line:
        """Give each side a stream for a media line: what it has already, or a new one."""
        return Line(
            outer=self._take(sender, slot, media, self._family_for_sender(sender, slot, signalled)),
            inner=self._take(receiver, index, media, self._family_for_receiver(receiver, index, signalled)),
            asked=signalled,
        )

    def _take(self, leg: str, index: int, media: str, family: AddressType) -> RelayStream:
        """Give the stream of that leg, media line and version of IP; take ports for it if there is none yet."""
        address = self._settings.addresses.get(family) or self._default_address
        known = self.leg(leg)
        streams = known.streams
        for stream in streams:
            if stream.index == index and stream.address is address:
                return stream
        stream = RelayStream(
            call_id=self._call_id,
            leg=leg,
            index=index,
            address=address,
            pair=self._settings.ports.take(address.host),
            statistics=self.counters(leg, index, media),
            engine=self.engine,
            report=self._report,
            latch=Latch(is_asymmetric=known.is_asymmetric),
        )
        streams.append(stream)
        self._report("port-taken", str(stream))
        return stream

    def _family_for_sender(self, leg: str, index: int, signalled: SignalledStream) -> AddressType:
        """Choose by the address it wants its media at; if it names none, nothing changes."""
        current = None if signalled.rtp is not None else self.leg(leg).current(index)
        return signalled.address_type if current is None else current.address.address_type

    def _family_for_receiver(self, leg: str, index: int, signalled: SignalledStream) -> AddressType:
        """Choose what it has already, what it is said to prefer, or what the offer has."""
        known = self.leg(leg)
        current = known.current(index) or known.first_current()
        return current.address.address_type if current is not None else known.family or signalled.address_type

    def rewrite(
        self, description: SessionDescription, leg: str, streams: Sequence[RelayStream | None]
    ) -> SessionDescription:
        """Give the description as a leg is to see it, with these streams."""
        places = [None if stream is None else stream.place for stream in streams]
        for place in places:
            if place is not None:
                return rewrite(description, places, place.host)
        family = self.leg(leg).family
        address = (self._settings.addresses.get(family) if family else None) or self._default_address
        return rewrite(description, places, address.advertised_host)

    def release_unused(self, exchanges: Sequence[Exchange]) -> None:
        """Release the ports of each stream that no leg has and no exchange plans with."""
        planned = set()
        for exchange in exchanges:
            for line in exchange.lines:
                planned.add(line.outer)
                planned.add(line.inner)
        for leg in self._legs.values():
            for stream in tuple(leg.streams):
                if not stream.is_in_force and stream not in planned:
                    leg.streams.remove(stream)
                    self._release(stream)

    def _release(self, stream: RelayStream) -> None:
        """Release the ports of a stream."""
        stream.close()
        self._settings.ports.release(stream.pair)
        self._report("port-released", str(stream))

    def counters(self, leg: str, index: int, media: str) -> StreamStatistics:
        """Give what counts one kind of media on one media line of one leg."""
        key = (leg, index, media)
        counters = self._statistics.get(key)
        if counters is None:
            counters = self._statistics[key] = StreamStatistics(leg=leg, stream=index, media=media)
        return counters

    def leg(self, name: str) -> Leg:
        """Give a leg; a new one if it is not known yet."""
        leg = self._legs.get(name)
        if leg is None:
            leg = self._legs[name] = Leg()
        return leg

    @property
    def _default_address(self) -> MediaAddress:
        """The address to use where no other reason gives one."""
        return next(iter(self._settings.addresses.values()))


def accept_mux(answer: SessionDescription, lines: Sequence[Line]) -> SessionDescription:
    """Let an answer accept RTCP on the port of RTP wherever that was offered.

    The relay takes both apart for a party that does not do so, so who offers need not depend on the other side. Some
    insist on it (RFC 8858).
    """
    if not any(line.asked is not None and line.asked.wants_mux for line in lines):
        return answer
    media = [
        stream.without_attributes(("rtcp",)).with_attribute("rtcp-mux")
        if line.asked is not None and line.asked.wants_mux and not stream.is_disabled and not stream.has_rtcp_mux
        else stream
        for stream, line in zip(answer.media, lines, strict=True)
    ]
    return SessionDescription(answer.text, tuple(media))
