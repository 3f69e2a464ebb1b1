"""The media of one call, relayed by a rtpengine daemon.

A call has one name and one daemon for all of its life, and each leg is a party of its own in it. So a leg keeps its
ports whatever it offers and whoever answers, and each receiver of an offer has ports of its own.

A daemon acts on an offer at once, and knows no refusal. What an offer must not change is therefore told again: to
those who are connected with one of the two and have to stay so until there is an answer, and to the two themselves if
there will be none.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import InvalidStateError, LocalError, ResourcesExhaustedError, SdpError
from sipd.interfaces import CryptoPolicy, IMediaSession, IMediaStudio, MediaPolicy, StreamStatistics
from sipd.media.rewrite import is_datagrams, read_streams
from sipd.media.rtpengine.call import DaemonCall
from sipd.media.rtpengine.exchange import Exchange, Lines, Party, Places, put, take
from sipd.media.rtpengine.ng import Dictionary, StreamCounters
from sipd.media.rtpengine.pool import DaemonPool
from sipd.media.rtpengine.settings import RtpengineSettings
from sipd.media.unheard import UnheardDigits
from sipd.sdp.description import AddressType, SessionDescription
from sipd.sdp.offer_answer import check_answer
from sipd.sdp.streams import Slots

T = TypeVar("T")

#: The leg that is on the ``caller_interface``.
_CALLER = "a"
#: Offers and answers of one call that wait for their turn.
_QUEUE_LIMIT = 32
#: What each offer and answer asks for. Ports stay with a leg (``port-latching``), ``o=`` and the directions as they
#: are, and RTCP on the port of RTP is accepted from whoever wants it (RFC 5761), whether the other side does or not.
_FLAGS = ("trust-address", "port-latching", "original-sendrecv")
_OPTIONS: Dictionary = {
    "ICE": "remove",
    "replace": ["session-connection"],
    "rtcp-mux": ["accept"],
    "supports": ["load limit"],
}


#: What a leg is offered by its policy; others what the other one offers.
_PROTOCOLS = {
    CryptoPolicy.OFF: "RTP/AVP",
    CryptoPolicy.OPTIONAL: "RTP/AVP",
    CryptoPolicy.REQUIRED: "RTP/SAVP",
}


@implementer(IMediaSession)
class RtpengineSession(UnheardDigits):
    """See `IMediaSession`.

    Before the answer to an offer its receiver is not sent anything, but what it sends is relayed by a daemon already.

    Args:
        call: how daemons are to know it; nobody else has that name.
        settings: of the relay.
        pool: gives a daemon.
        event: told of what is worth an explanation.
        closed: called once, when everything is freed.
    """

    studio: IMediaStudio | None = None

    _log = Logger()

    def __init__(
        self,
        call: str,
        settings: RtpengineSettings,
        pool: DaemonPool,
        event: Callable[[str, str], None],
        closed: Callable[[RtpengineSession], object],
    ) -> None:
        self._settings = settings
        self._event = event
        self._daemon = DaemonCall(call, pool, event)
        self._closed = closed
        self._policies: dict[str, MediaPolicy] = {}
        self._is_open = True
        #: One thing at a time is asked of the daemon: what it is told twice at once has no order.
        self._turns = DeferredLock()
        self._waiting = 0
        self._lines = Lines()
        self._families: dict[str, AddressType] = {}
        #: All there ever were, by tag; those of the present legs, by name; those that have ended, and still have ports.
        self._parties: dict[str, Party] = {}
        self._present: dict[str, Party] = {}
        self._ended: list[Party] = []
        #: Offers that wait for an answer, and what was agreed on, the last one at the end.
        self._pending: list[Exchange] = []
        self._agreed: list[Exchange] = []
        self._result: list[StreamStatistics] | None = None
        self._closing: list[Deferred[Sequence[StreamStatistics]]] = []

    def prefer_family(self, leg: str, family: AddressType) -> None:
        """See `IMediaSession`."""
        self._families[leg] = family

    def set_policy(self, leg: str, policy: MediaPolicy) -> None:
        """See `IMediaSession`. The daemon encrypts; it records and plays by its own configuration."""
        self._policies[leg] = policy

    def offer(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None = None
    ) -> Deferred[SessionDescription]:
        """See `IMediaSession`. Fails with `MediaEngineError` if the daemon of the call cannot be used any more."""
        return self._take_turn(lambda: self._offer(sender, receiver, description, slots))

    def answer(self, sender: str, receiver: str, description: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaSession`.

        Fails with `SdpError`, with `MediaEngineError` if the daemon of the call cannot be used any more, or with
        `InvalidStateError` if ``receiver`` has offered nothing to ``sender``.
        """
        return self._take_turn(lambda: self._answer(sender, receiver, description))

    def offer_rejected(self, sender: str, receiver: str) -> None:
        """See `IMediaSession`."""
        self._in_turn(lambda: self._offer_rejected(sender, receiver))

    def leg_ended(self, leg: str) -> None:
        """See `IMediaSession`.

        The last but one leg keeps its ports until another one comes, or the session is closed: a daemon would end the
        call, and who stays would have other ports with the next one.
        """
        self._in_turn(lambda: self._leg_ended(leg))

    def established(self) -> None:
        """See `IMediaSession`. Daemons do not say who is heard."""

    def statistics(self) -> Sequence[StreamStatistics]:
        """See `IMediaSession`: what `ask_statistics` and legs that ended have brought. It stays after the end."""
        return [self._statistics_of(counters) for counters in self._daemon.counters if counters.tag in self._parties]

    def ask_statistics(self) -> Deferred[Sequence[StreamStatistics]]:
        """Ask the daemon for the counters.

        Fails with `MediaEngineError` if it does not give them.
        """
        return self._take_turn(self._ask_statistics)

    def close(self) -> Deferred[Sequence[StreamStatistics]]:
        """See `IMediaSession`. What has begun has its outcome first; a daemon that is not there is given up in time."""
        waiting: Deferred[Sequence[StreamStatistics]] = Deferred()
        if self._result is not None:
            return succeed(self._result)
        self._closing.append(waiting)
        if self._is_open:
            self._is_open = self._daemon.is_wanted = False
            self._in_turn(self._close)
        return waiting

    # --- offer and answer ---------------------------------------------------------------------------------

    async def _offer(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None
    ) -> SessionDescription:
        self._check_open()
        if self._is_bypassed(sender, receiver):
            return description
        self._check_secure(sender, description)
        signalled = read_streams(description)
        wanted = sum(stream is not None for stream in signalled)
        if wanted > self._settings.stream_limit:
            raise SdpError(f"offer of {wanted} streams, more than {self._settings.stream_limit}")
        for line, media in enumerate(description.media):
            if not media.is_disabled and not is_datagrams(media):
                self._event("not-relayed", f"{sender}/{line} {media.media} over {media.protocol} refused")
        if slots is None:
            slots = tuple(range(len(signalled)))
        offerer, answerer = self._party(sender), self._party(receiver)
        places = self._lines.plan(description, signalled, slots, offerer, answerer)
        first = next((stream.address_type for stream in signalled if stream is not None), None)
        options = self._options(answerer.family or self._families.get(receiver) or first)
        crypto = self._policy(receiver).crypto
        protocol = _PROTOCOLS.get(crypto) or (answerer.protocol or self._settings.transport_protocol)
        if self._settings.transport_protocol or crypto in _PROTOCOLS:
            options["transport protocol"] = protocol
        if crypto is CryptoPolicy.OPTIONAL:
            options["OSRTP"] = ["offer"]
        if self._settings.caller_interface and self._settings.callee_interface:
            options["direction"] = [self._interface(sender), self._interface(receiver)]
        kinds = tuple(self._lines.kinds)
        told = put(description, signalled, places, kinds)
        exchange = Exchange(offerer, answerer, description, slots, places, kinds, told, options)
        offerer.learn(description, signalled)
        try:
            offered = take(await self._daemon.offer(exchange), description, places)
        except LocalError:
            # It may have acted on it nevertheless. Whoever waits for this offer does not wait for that.
            self._in_turn(lambda: self._restore(offerer, answerer))
            raise
        self._forget_offer(offerer, answerer)
        self._pending.append(exchange)
        await self._keep_others(exchange)
        await self._free_ended()
        return offered

    def _policy(self, leg: str) -> MediaPolicy:
        return self._policies.get(leg) or MediaPolicy()

    def _check_secure(self, leg: str, description: SessionDescription) -> None:
        """See that what a leg says is encrypted if it has to be, and is not if it may not be.

        Raises:
            SdpError: it is the other way round.
        """
        crypto = self._policy(leg).crypto
        for media in description.media:
            if not media.is_rtp or media.is_disabled:
                continue
            is_secure = "SAVP" in media.protocol.upper()
            if crypto is CryptoPolicy.REQUIRED and not (is_secure or media.attribute("crypto")):
                raise SdpError(f"{media.media} of leg {leg} is not encrypted, and has to be")
            if crypto is CryptoPolicy.OFF and is_secure:
                raise SdpError(f"{media.media} of leg {leg} is encrypted, and is not to be")

    def _is_bypassed(self, one: str, other: str) -> bool:
        return self._policy(one).is_bypassed or self._policy(other).is_bypassed

    async def _answer(self, sender: str, receiver: str, description: SessionDescription) -> SessionDescription:
        self._check_open()
        if self._is_bypassed(sender, receiver):
            return description
        self._check_secure(sender, description)
        exchange = self._find_offer(receiver, sender)
        check_answer(exchange.offer, description)
        signalled = read_streams(description)
        offerer, answerer = exchange.offerer, exchange.answerer
        if offerer.said != exchange.told:
            # Something else was told meanwhile, of another offer.
            await self._daemon.offer(exchange)
        told = put(description, signalled, exchange.places, exchange.kinds)
        given = await self._daemon.answer(exchange, told, self._options(offerer.family))
        places: Places = tuple(
            [None if stream is None else place for stream, place in zip(signalled, exchange.places, strict=True)]
        )
        answered = take(given, description, places)
        exchange.answered = told
        answerer.learn(description, signalled)
        exchange.settle()
        if exchange in self._pending:
            self._pending.remove(exchange)
        self._agreed = [other for other in self._agreed if not other.is_between(offerer, answerer)]
        self._agreed.append(exchange)
        return answered

    async def _offer_rejected(self, sender: str, receiver: str) -> None:
        offerer, answerer = self._present.get(sender), self._present.get(receiver)
        if offerer is None or answerer is None or not self._forget_offer(offerer, answerer):
            return
        if not any(answerer in (exchange.offerer, exchange.answerer) for exchange in self._pending + self._agreed):
            self._end(answerer)
        await self._restore(offerer, answerer)
        await self._free_ended()

    async def _leg_ended(self, leg: str) -> None:
        self._families.pop(leg, None)
        party = self._present.get(leg)
        if party is None:
            return
        for exchanges in (self._pending, self._agreed):
            exchanges[:] = [exchange for exchange in exchanges if party not in (exchange.offerer, exchange.answerer)]
        self._end(party)
        await self._free_ended()

    async def _keep_others(self, exchange: Exchange) -> None:
        """Let everybody who is connected with one of the two stay so, until there is an answer."""
        offerer, answerer = exchange.offerer, exchange.answerer
        for party in (offerer, answerer):
            connection = self._connection(party)
            if connection is not None and not connection.is_between(offerer, answerer):
                await self._repeat(connection)

    async def _restore(self, one: Party, other: Party) -> None:
        """Let two be connected as they were, if there is still a call."""
        if not self._is_open:
            return
        for exchange in dict.fromkeys((self._connection(one), self._connection(other))):
            if exchange is not None:
                await self._repeat(exchange)

    def _connection(self, party: Party) -> Exchange | None:
        """Give the agreement by which somebody is connected: the last one, if the other one has no later one."""
        for exchange in reversed(self._agreed):
            if party in (exchange.offerer, exchange.answerer):
                other = exchange.answerer if exchange.offerer is party else exchange.offerer
                later = self._agreed[self._agreed.index(exchange) + 1 :]
                is_taken = any(other in (last.offerer, last.answerer) for last in later)
                return None if is_taken else exchange
        return None

    async def _repeat(self, exchange: Exchange) -> None:
        """Tell the daemon once more what was agreed on."""
        try:
            await self._daemon.offer(exchange)
            await self._daemon.answer(exchange, exchange.answered, self._options(exchange.offerer.family))
        except LocalError as error:
            self._event("media-engine", f"{error}: the media of {exchange.offerer.leg} may not be as agreed on")

    async def _free_ended(self) -> None:
        """Free what the legs hold that have ended, unless that would be the end of the call."""
        if not self._is_open or sum(party.is_known for party in self._present.values()) < 2:
            return
        while self._ended:
            await self._daemon.free(self._ended.pop())

    async def _ask_statistics(self) -> Sequence[StreamStatistics]:
        await self._daemon.ask()
        return self.statistics()

    async def _close(self) -> None:
        await self._daemon.close()
        self._pending.clear()
        self._agreed.clear()
        self._present.clear()
        self._ended.clear()
        self._result = list(self.statistics())
        waiting, self._closing = self._closing, []
        self._closed(self)
        for deferred in waiting:
            deferred.callback(self._result)

    def _options(self, family: AddressType | None) -> dict[str, Any]:
        """Give what an offer or answer carries besides, given the version of IP of who is to see the result."""
        options: dict[str, Any] = {**_OPTIONS, "flags": [*_FLAGS, *self._settings.flags]}
        if family is not None:
            options["address family"] = family.value
        return options

    def _interface(self, leg: str) -> str:
        return self._settings.caller_interface if leg == _CALLER else self._settings.callee_interface

    # --- legs ---------------------------------------------------------------------------------------------

    def _party(self, leg: str) -> Party:
        """Give a leg; a new one if it is not known yet. A name that comes again is somebody else."""
        party = self._present.get(leg)
        if party is None:
            tag, number = leg, 1
            while tag in self._parties:
                number += 1
                tag = f"{leg}.{number}"
            party = self._parties[tag] = self._present[leg] = Party(leg, tag)
        return party

    def _end(self, party: Party) -> None:
        del self._present[party.leg]
        if party.is_known:
            self._ended.append(party)

    def _forget_offer(self, offerer: Party, answerer: Party) -> bool:
        """Forget an offer that waits for an answer; say whether there was one."""
        for exchange in self._pending:
            if exchange.offerer is offerer and exchange.answerer is answerer:
                self._pending.remove(exchange)
                return True
        return False

    def _find_offer(self, offerer: str, answerer: str) -> Exchange:
        """Give the offer that is waiting for an answer, or else the one that has been answered."""
        for exchange in self._pending + self._agreed:
            if (exchange.offerer.leg, exchange.answerer.leg) == (offerer, answerer):
                return exchange
        raise InvalidStateError(f"leg {offerer} has offered nothing to leg {answerer}")

    # --- counters -----------------------------------------------------------------------------------------

    def _statistics_of(self, counters: StreamCounters) -> StreamStatistics:
        party = self._parties[counters.tag]
        lines = [line for line, place in party.places.items() if place == counters.index]
        return StreamStatistics(
            leg=party.leg,
            stream=lines[0] if lines else counters.index,
            media=counters.media,
            packets=counters.packets,
            size_octets=counters.size_octets,
            rtcp_packets=counters.rtcp_packets,
            dropped=counters.errors,
            source=counters.source,
            ssrc=counters.ssrc,
            engine=str(self._daemon),
        )

    # --- turns --------------------------------------------------------------------------------------------

    def _take_turn(self, work: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> Deferred[T]:
        """Do something when it is its turn; refuse it if too much waits already."""
        if self._waiting >= _QUEUE_LIMIT:
            return fail(ResourcesExhaustedError(f"{_QUEUE_LIMIT} offers and answers of one call wait already"))
        self._waiting += 1

        def done(result: T) -> T:
            self._waiting -= 1
            return result

        return self._run(work).addBoth(done)

    def _in_turn(self, work: Callable[[], Coroutine[Deferred[Any], Any, None]]) -> None:
        """Do something when it is its turn; it does not fail but for a bug."""
        self._run(work).addErrback(lambda failure: self._log.failure("a session failed", failure))

    def _run(self, work: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> Deferred[T]:
        return self._turns.run(lambda: Deferred.fromCoroutine(work()))

    def _check_open(self) -> None:
        """Raise `InvalidStateError` if the session is closed."""
        if not self._is_open:
            raise InvalidStateError("the media of this call has ended")


def _ignore(_: object) -> None:
    """The outcome does not matter."""
