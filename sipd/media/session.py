"""The media of one call: legs, their streams, and the offers and answers that connect them (RFC 3264).

An offer plans: each side gets ports for each media line, those it has or new ones. An answer puts the plan into force:
addresses are latched on to, streams are connected. Until then nothing that flows is touched, so that a rejected offer
leaves everything as it was. What no plan and no leg needs any more is released, in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, execute, gatherResults, succeed
from zope.interface import implementer

from sipd.errors import InvalidStateError, LocalError, MediaEngineError, RemoteError, SdpError
from sipd.interfaces import IMediaSession, MediaPolicy, StreamStatistics
from sipd.media.crypto import SessionCrypto
from sipd.media.digits import Hear, SessionDigits
from sipd.media.engine import Engine, Report
from sipd.media.exchanges import Exchange, Line
from sipd.media.greeting import answer_to, greeter_of, hearing_part, is_greeter
from sipd.media.legs import LegStreams, RelaySettings, accept_mux
from sipd.media.monitor import Monitor, SessionMonitor
from sipd.media.rewrite import is_datagrams, read_streams
from sipd.media.securing import PLAIN
from sipd.media.stream import RelayStream
from sipd.media.studio import Studio
from sipd.media.terms import Terms, is_encrypted
from sipd.media.treatment import Treatment
from sipd.sdp.description import AddressType, SessionDescription
from sipd.sdp.offer_answer import check_answer
from sipd.sdp.streams import Slots


@implementer(IMediaSession)
class RelaySession:
    """See `IMediaSession`.

    Args:
        call_id: of the call, for logs.
        settings: of the relay.
        engine: forwards, until `move`.
        report: for the call's explanation.
        closed: called once, when everything is released.
        monitor: looks after it when the call is answered, if anybody does.
    """

    __slots__ = (
        "_bypassed",
        "_closed",
        "_crypto",
        "_digits",
        "_exchanges",
        "_is_open",
        "_legs",
        "_monitor",
        "_recorded",
        "_records",
        "_report",
        "_settings",
        "_studio",
        "_watching",
        "call_id",
    )  # fmt: skip

    def __init__(
        self,
        call_id: str,
        settings: RelaySettings,
        engine: Engine,
        report: Report,
        closed: Callable[[RelaySession], object],
        monitor: Monitor | None = None,
    ) -> None:
        self.call_id = call_id
        self._settings = settings
        self._digits = SessionDigits(report, settings.seconds)
        self._report = self._digits.report
        self._closed = closed
        self._monitor = monitor
        self._watching: SessionMonitor | None = None
        self._is_open = True
        self._studio: Studio | None = None
        #: The format in which the call is recorded when it is answered; empty if it is not.
        self._records = ""
        self._recorded: Deferred[Any] = succeed(None)
        self._crypto = SessionCrypto(settings.entropy)
        #: Legs whose media does not come here, and whose offers wait for their answers, or have them.
        self._bypassed: tuple[str, ...] = ()
        self._legs = LegStreams(call_id, settings, engine, self._report)
        #: Of each two legs: the offer of either that waits for an answer, and what was agreed on last.
        self._exchanges: list[Exchange] = []

    def prefer_family(self, leg: str, family: AddressType) -> None:
        """See `IMediaSession`."""
        self._legs.leg(leg).family = family

    def set_policy(self, leg: str, policy: MediaPolicy) -> None:
        """See `IMediaSession`."""
        self._crypto.set_policy(leg, policy.crypto)
        if policy.hold_music:
            self.studio.set_hold_music(leg, policy.hold_music)
        self._records = self._records or policy.record
        if policy.is_bypassed and leg not in self._bypassed:
            self._bypassed += (leg,)
        if policy.is_asymmetric:
            self.set_asymmetric(leg)

    def set_asymmetric(self, leg: str) -> None:
        """Send to a leg where it said, wherever its media comes from. Only streams that begin later heed it."""
        self._legs.leg(leg).is_asymmetric = True

    def offer(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None = None
    ) -> Deferred[SessionDescription]:
        """See `IMediaSession`."""
        return execute(self._offer, sender, receiver, description, slots)

    def answer(self, sender: str, receiver: str, description: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaSession`.

        A stream that nothing has been heard of gets a new window for latching with each answer, a repeated one too.
        Fails with `SdpError`, or with `InvalidStateError` if ``receiver`` has offered nothing to ``sender``.
        """
        return execute(self._answer, sender, receiver, description)

    def greet(self, leg: str, offer: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaStudio`."""
        return execute(self._greet, leg, offer)

    def offer_rejected(self, sender: str, receiver: str) -> None:
        """See `IMediaSession`."""
        self._forget_offer(sender, receiver)
        self._legs.release_unused(self._exchanges)

    def leg_ended(self, leg: str) -> None:
        """See `IMediaSession`."""
        self._exchanges = [
            exchange for exchange in self._exchanges if leg != exchange.offerer and leg != exchange.answerer
        ]
        self._crypto.forget(leg)
        self._legs.end(leg)
        if is_greeter(leg):
            self._legs.forget(leg)
        self._legs.release_unused(self._exchanges)

    @property
    def on_digit(self) -> Hear | None:
        """See `IMediaSession`."""
        return self._digits.heard

    @on_digit.setter
    def on_digit(self, heard: Hear | None) -> None:
        self._digits.heard = heard

    @property
    def digit_counts(self) -> dict[str, int]:
        """How many digits came as telephone events, by leg."""
        return dict(self._digits.counts)

    def send_digit(self, leg: str, digit: str, duration: float = 0.1) -> bool:
        """See `IMediaSession`."""
        settings = self._settings
        return self._digits.send(self, leg, digit, duration, settings.pacer, settings.entropy)

    def take_events(self, leg: str) -> None:
        """See `IMediaSession`."""
        self._digits.take(self, leg)

    def pass_events(self, leg: str) -> None:
        """See `IMediaSession`."""
        self._digits.leave(self, leg)

    def established(self) -> None:
        """See `IMediaSession`."""
        if self._monitor is not None and self._is_open and self._watching is None:
            self._watching = self._monitor.begin(self, self._report)
            self._watching.negotiated()
        if self._records and self._is_open:
            try:
                self.studio.record(self._records)
            except LocalError as error:
                self._report("recording", f"cannot begin: {error}")

    @property
    def studio(self) -> Studio:
        """See `IMediaSession`."""
        if self._studio is None:
            self._studio = Studio(self, self._settings.recorder, self._settings.announcer, self._report)
        return self._studio

    def streams(self) -> Sequence[RelayStream]:
        """Give the streams in force."""
        return [stream for stream in self._legs.all if stream.is_in_force]

    def refresh(self) -> Deferred[None]:
        """Bring the statistics up to date."""
        self.statistics()
        return self.engine.settle()

    @property
    def engine(self) -> Engine:
        """What forwards its media."""
        return self._legs.engine

    def move(self, engine: Engine) -> None:
        """Let another engine forward. What comes meanwhile waits in the sockets.

        Raises:
            MediaEngineError: it cannot take a stream; all of them stay where they were.
        """
        before, streams = self.engine, self._legs.all
        moved: list[RelayStream] = []
        try:
            for stream in streams:
                stream.move(engine)
                moved.append(stream)
        except MediaEngineError:
            for stream in moved:
                stream.move(before)
            engine = before
            raise
        finally:
            for stream in streams:
                stream.reconnect()
            self._legs.engine = engine
        self._report("engine", f"{engine.name} relays the media now")

    def statistics(self) -> Sequence[StreamStatistics]:
        """See `IMediaSession`. What was counted stays when a stream, or the session, has ended."""
        for stream in self._legs.all:
            stream.count()
        return self._legs.statistics

    def close(self) -> Deferred[Sequence[StreamStatistics]]:
        """See `IMediaSession`."""
        if self._is_open:
            self._is_open = False
            self._digits.heard = None
            if self._monitor is not None:
                self._monitor.end(self)
            if self._studio is not None:
                self._recorded = self._studio.close()
            self._exchanges.clear()
            self._legs.close()
            self._closed(self)
        ended: list[Deferred[Any]] = [self.engine.settle(), self._recorded]
        return gatherResults(ended, consumeErrors=True).addCallback(self._final)

    def _final(self, _: object) -> Sequence[StreamStatistics]:
        self._recorded = succeed(None)
        return self._legs.statistics

    def _offer(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None
    ) -> SessionDescription:
        """Plan an exchange."""
        self._check_open()
        if sender in self._bypassed or receiver in self._bypassed:
            return description
        secured = self._crypto.secure(sender, receiver, description, slots)
        if secured is not None:
            description = secured.description
        asked = read_streams(description)
        if slots is None:
            slots = tuple(range(len(asked)))
        wanted = sum(signalled is not None for signalled in asked)
        if wanted > self._settings.stream_limit:
            raise SdpError(f"offer of {wanted} streams, more than {self._settings.stream_limit}")
        try:
            lines = [
                Line()
                if signalled is None or slot is None
                else self._legs.plan(sender, slot, receiver, index, media.media, signalled)
                for index, (media, signalled, slot) in enumerate(zip(description.media, asked, slots, strict=True))
            ]
            offered = self._legs.rewrite(description, receiver, [line.inner for line in lines])
            self._forget_offer(sender, receiver)
            self._exchanges.append(Exchange(sender, receiver, description, lines, secured))
        finally:
            self._legs.release_unused(self._exchanges)
        for index, (media, line) in enumerate(zip(description.media, lines, strict=True)):
            if line.asked is None and not is_datagrams(media):
                self._report("not-relayed", f"{sender}/{index} {media.media} over {media.protocol} refused")
        return offered

    def _answer(self, sender: str, receiver: str, description: SessionDescription) -> SessionDescription:
        """Put a plan into force."""
        self._check_open()
        if sender in self._bypassed or receiver in self._bypassed:
            return self._bypass(sender, receiver, description)
        exchange = self._find_offer(receiver, sender)
        if exchange.secured is not None:
            description = exchange.secured.answer(description)
        check_answer(exchange.offer, description)
        given = read_streams(description)
        lines = exchange.lines
        outer = [None if signalled is None else line.outer for line, signalled in zip(lines, given, strict=True)]
        answered = accept_mux(self._legs.rewrite(description, receiver, outer), lines)
        for line, stream, signalled in zip(lines, outer, given, strict=True):
            line.outer, line.given = stream, signalled
            if stream is None:
                line.inner = None
        if not exchange.is_agreed:
            self._exchanges = [
                other
                for other in self._exchanges
                if not other.is_agreed or {other.offerer, other.answerer} != {sender, receiver}
            ]
            exchange.is_agreed = True
        self._put_into_force(exchange, description)
        self._legs.release_unused(self._exchanges)
        return answered

    def _greet(self, leg: str, offer: SessionDescription) -> SessionDescription:
        """Let a leg that nobody is behind answer."""
        greeter = greeter_of(leg)
        if leg in self._bypassed or self._settings.announcer is None:
            raise InvalidStateError(f"nothing can be played to leg {leg} here")
        heard = hearing_part(offer)
        if any(is_encrypted(stream) for stream in heard.media):
            self._crypto.lend(leg, greeter)
        try:
            return self._answer(greeter, leg, answer_to(self._offer(leg, greeter, heard, None)))
        except (RemoteError, LocalError):
            self.leg_ended(greeter)
            raise

    def _forget_offer(self, offerer: str, answerer: str) -> None:
        """Forget an offer that waits for an answer, if there is one."""
        for exchange in self._exchanges:
            if not exchange.is_agreed and exchange.offerer == offerer and exchange.answerer == answerer:
                self._exchanges.remove(exchange)
                return

    def _find_offer(self, offerer: str, answerer: str) -> Exchange:
        """Give the offer that is waiting for an answer, or else the one that has been answered."""
        found = None
        for exchange in self._exchanges:
            if exchange.offerer == offerer and exchange.answerer == answerer:
                if not exchange.is_agreed:
                    return exchange
                found = exchange
        if found is None:
            raise InvalidStateError(f"leg {offerer} has offered nothing to leg {answerer}")
        return found

    def _put_into_force(self, exchange: Exchange, answer: SessionDescription) -> None:
        """Latch and connect as agreed."""
        lines = exchange.lines
        for name in (exchange.offerer, exchange.answerer):
            for stream in self._legs.leg(name).streams:
                if stream.is_in_force and not any(stream is line.outer or stream is line.inner for line in lines):
                    stream.is_in_force = False
                    stream.disconnect()
        offer, window = exchange.offer, self._settings.latch_window
        is_passed = exchange.secured is None or exchange.secured.passes_keys
        for index, (media, line) in enumerate(zip(offer.media, lines, strict=True)):
            outer, inner, asked, given = line.outer, line.inner, line.asked, line.given
            if outer is None or inner is None or asked is None or given is None:
                continue
            is_muxed = asked.wants_mux
            is_sealed = is_passed and is_encrypted(media) and is_encrypted(answer.media[index])
            for stream, signalled, terms in (
                (outer, asked, Terms(offer, answer, index, is_sealed=is_sealed)),
                (inner, given, Terms(answer, offer, index, is_sealed=is_sealed)),
            ):
                stream.is_in_force = True
                is_muxed = is_muxed and signalled.wants_mux
                statistics = stream.statistics
                if statistics.media != media.media:
                    statistics = self._legs.counters(stream.leg, stream.index, media.media)
                stream.adapt(statistics, terms, is_muxed=is_muxed)
                # Nobody is behind a greeter, so nothing that comes is its.
                stream.signal(signalled, 0.0 if is_greeter(stream.leg) else window)
                self._secure(stream)
            outer.connect_to(inner)
        self._digits.connected(self)
        if self._watching is not None:
            self._watching.negotiated()
        if self._studio is not None:
            self._studio.renegotiated()

    def _bypass(self, sender: str, receiver: str, description: SessionDescription) -> SessionDescription:
        """Two legs send each other their media themselves: what was relayed between either and a third is over."""
        self._exchanges = [
            other for other in self._exchanges if not {other.offerer, other.answerer} & {sender, receiver}
        ]
        for name in (sender, receiver):
            for stream in self._legs.leg(name).streams:
                if stream.is_in_force:
                    stream.is_in_force = False
                    stream.disconnect()
        self._legs.release_unused(self._exchanges)
        return description

    def _secure(self, stream: RelayStream) -> None:
        """Let a stream use the keys that are in force."""
        keys = self._crypto.keys(stream.leg, stream.index)
        if stream.treatment is None and keys == PLAIN:
            return
        treatment = self.treatment(stream)
        was_secure = treatment.is_secure
        treatment.secure(keys)
        if treatment.is_secure is not was_secure:
            self._report(
                "srtp", f"{stream.leg}/{stream.index} " + ("is encrypted" if treatment.is_secure else "is not")
            )
        self.treat(stream)

    def treatment(self, stream: RelayStream) -> Treatment:
        """Give the treatment of a stream, to be changed; `treat` has to follow."""
        if stream.treatment is None:
            stream.treatment = Treatment(self._settings.seconds)
        return stream.treatment

    def treat(self, stream: RelayStream) -> None:
        """Let a stream be treated as it says: here, if there is anything to do."""
        if stream.treatment is not None and stream.treatment.is_needed and not self.engine.treats:
            self.move(self._settings.home)
        stream.treat()

    def _check_open(self) -> None:
        """Raise `InvalidStateError` if the session is closed."""
        if not self._is_open:
            raise InvalidStateError("the media of this call has ended")
