"""The way of one stream between an endpoint and its peer, where that is found out (ICE) and gets its keys (DTLS).

Datagrams of three kinds come to one port (RFC 7983): STUN and DTLS are for the path, everything else is media. Nothing
of ICE and DTLS is begun before the peer's description is known.

DTLS is taken from where media go alone: by ICE, or by the peer's description (`sipd.media.dtls.handshake`); what comes
before either says so waits. Without ICE, a peer behind a NAT cannot say where it is: so for a while the first one who
begins with DTLS from elsewhere is taken for it. If that is somebody else, there are no keys, by its fingerprint.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from sipd.ice.agent import IceAgent
from sipd.ice.candidates import LocalCandidate
from sipd.ice.effects import Completed, Effects, Failed, IceCredentials, Learned, Role, Selected, Send, State
from sipd.ice.lite import LiteAgent
from sipd.interfaces import Entropy
from sipd.media.dtls.errors import DtlsError
from sipd.media.dtls.handshake import DtlsHandshake
from sipd.media.dtls.handshake import State as DtlsState
from sipd.media.dtls.identity import DtlsIdentity
from sipd.media.dtls.records import ContentType
from sipd.media.latch import Address
from sipd.media.securing import Keys
from sipd.sdp.candidates import IceDescription
from sipd.sdp.fingerprints import Fingerprint
from sipd.sip.machine import StartTimer, StopTimers
from sipd.timers import Timers

#: Sends a datagram from one place of this side; says whether it left.
Way: TypeAlias = Callable[[bytes, Address], bool]

#: Components of a stream (RFC 8445 section 13); where RTCP goes with RTP there is the first one alone.
RTP, RTCP = 1, 2
#: First octets of STUN and DTLS (RFC 7983 section 7).
_STUN = range(4)
_DTLS = range(20, 64)
#: Datagrams of DTLS that are kept until there is a handshake: those of one flight.
_EARLY_LIMIT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTerms:
    """What an offer and its answer say of the way of a stream.

    Args:
        ice: what the peer says; ``None`` where there is no ICE.
        is_offerer: whether the offer was ours.
        fingerprints: of the peer's certificate; none where there is no DTLS.
        is_client: whether we begin with DTLS.
        has_mux: whether RTCP goes with RTP.
    """

    ice: IceDescription | None = None
    is_offerer: bool = False
    fingerprints: tuple[Fingerprint, ...] = ()
    is_client: bool = False
    has_mux: bool = True


#: Neither ICE nor DTLS.
PLAIN_PATH = PathTerms()


class Path:
    """ICE and DTLS of one stream.

    Args:
        clock: for their timers.
        entropy: for identifiers and keys.
        latching: seconds after an agreement in which, without ICE, a peer may turn out to be elsewhere.
        send: sends from the port of this side.
        identity: gives what is shown in DTLS.
        keyed: called with the keys of SRTP, again where the peer has another certificate.
        moved: called with from where and to where a component goes from now on.
        lost: called once if the peer cannot be reached, is not who it should be, or has left; with why.

    Attributes:
        terms: what holds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        entropy: Entropy,
        *,
        latching: float,
        send: Way,
        identity: Callable[[], DtlsIdentity],
        keyed: Callable[[Keys], object],
        moved: Callable[[int, Address, Address], object],
        lost: Callable[[str], object],
    ) -> None:
        self.terms = PLAIN_PATH
        self._clock = clock
        self._entropy = entropy
        self._identity = identity
        self._keyed = keyed
        self._moved = moved
        self._lost: Callable[[str], object] | None = lost
        self._agent: IceAgent | LiteAgent | None = None
        self._timers: Timers[Enum] = Timers(clock, lambda _: self._due())
        self._directly = send
        self._ways: Mapping[Address, Way] = {}
        self._handshake: DtlsHandshake | None = None
        #: Of DTLS, what came before there was somebody to take it: a peer may begin before its answer is here.
        self._early: deque[tuple[bytes, Address, Address]] = deque(maxlen=_EARLY_LIMIT)
        #: Where media go without ICE: as described, or as it turned out.
        self._peer: Address | None = None
        self._described: Address | None = None
        self._latching = latching
        #: Until when the peer may turn out to be elsewhere.
        self._latches_until = 0.0

    # --- what this side says

    @property
    def fingerprint(self) -> Fingerprint:
        """Of this side's certificate.

        Raises:
            MediaEngineError: there is no SRTP here, or no DTLS.
        """
        return self._identity().fingerprint

    def use_ice(
        self, candidates: Sequence[LocalCandidate], ways: Mapping[Address, Way], *, is_lite: bool = False
    ) -> None:
        """Be ready for ICE.

        Args:
            candidates: of this side.
            ways: for each base of these, what sends from there.
            is_lite: whether this side is one that everybody can reach, and makes no checks.
        """
        kind = LiteAgent if is_lite else IceAgent
        credentials = IceCredentials.make(self._entropy)
        self._ways = ways
        self._agent = kind(role=Role.CONTROLLED, local=candidates, entropy=self._entropy, credentials=credentials)

    def ice_for_offer(self) -> IceDescription | None:
        """Give what an offer says of ICE; ``None`` before `use_ice`."""
        agent = self._agent
        if agent is None:
            return None
        if self.terms.ice is None and agent.state is State.NEW:
            # A peer may begin with checks before its answer is here.
            agent.role = Role.CONTROLLING
        return agent.description

    def ice_for_answer(self, offered: IceDescription) -> IceDescription | None:
        """Give what the answer to an offer says of ICE: something new where the offer begins anew (RFC 8839 4.4.3)."""
        agent, before = self._agent, self.terms.ice
        if agent is None:
            return None
        if before is not None and offered.is_restart_of(before):
            self._perform(agent.restart(now=self._clock.seconds(), role=Role.CONTROLLED))
        elif before is None and agent.state is State.NEW:
            agent.role = Role.CONTROLLED
        return agent.description

    # --- what is agreed on

    @property
    def has_ice(self) -> bool:
        """Whether ICE says where media go."""
        return self.terms.ice is not None

    @property
    def has_dtls(self) -> bool:
        """Whether keys are had by DTLS."""
        return bool(self.terms.fingerprints)

    def way(self, component: int = RTP) -> tuple[Address, Address] | None:
        """Give from where to where a component goes now by ICE; ``None`` if nowhere."""
        return None if self._agent is None else self._agent.path(component)

    def send(self, data: bytes, component: int = RTP) -> bool:
        """Send a datagram of media where ICE says; say whether it left."""
        way = self.way(component)
        return way is not None and self._send(data, *way)

    def agreed(self, terms: PathTerms, remote: Address | None) -> None:
        """Take note of what holds from now on, and begin or go on.

        Args:
            terms: of the exchange.
            remote: where the peer's description wants media; what counts where there is no ICE.

        Raises:
            MediaEngineError: there is no DTLS here.
        """
        before, self.terms = self.terms, terms
        self._agree_on_ice(before.ice, terms)
        if not self.has_ice and (self._described != remote or self._peer is None):
            self._described = self._peer = remote
            self._latches_until = self._clock.seconds() + self._latching
        if (before.fingerprints, before.is_client) != (terms.fingerprints, terms.is_client):
            self._end_dtls()
        self._begin_dtls()

    def _agree_on_ice(self, before: IceDescription | None, terms: PathTerms) -> None:
        agent, now = self._agent, self._clock.seconds()
        if agent is None or terms.ice is None:
            if agent is not None and before is not None:
                # The peer has ICE no more: media go where it says.
                self._perform(agent.restart(now=now))
            return
        if before is not None and terms.ice.is_restart_of(before) and agent.state is not State.NEW:
            # Another fork answers the same offer.
            role = Role.CONTROLLING if terms.is_offerer else Role.CONTROLLED
            self._perform(agent.restart(now=now, role=role, credentials=agent.credentials))
        if agent.state is State.NEW:
            self._perform(agent.start(terms.ice, now=now, components=RTP if terms.has_mux else RTCP))
        elif agent.state is not State.CLOSED:
            self._perform(agent.add_remote(terms.ice.candidates, now=now))

    def _begin_dtls(self) -> None:
        """Begin with DTLS as soon as there is a way, once."""
        if not self.has_dtls or self._handshake is not None or self._to() is None:
            return
        handshake = DtlsHandshake(
            self._identity(),
            is_client=self.terms.is_client,
            expected=self.terms.fingerprints,
            send=self._send_dtls,
            clock=self._clock,
        )
        handshake.done.addCallbacks(self._secured, self._not_secured)
        handshake.on_closed = lambda: self._lose("the peer has left")
        self._handshake = handshake
        handshake.start()
        early = tuple(self._early)
        self._early.clear()
        for data, source, base in early:
            self.datagram_received(data, source, base)

    # --- datagrams

    def takes(self, data: bytes) -> bool:
        """Say whether a datagram is one of STUN or DTLS."""
        return bool(data) and (data[0] in _STUN or data[0] in _DTLS)

    def accepts(self, source: Address, component: int) -> bool:
        """Say whether media may come from there by ICE."""
        return self._agent is not None and self._agent.has_candidate(component, source)

    def datagram_received(self, data: bytes, source: Address, base: Address) -> None:
        """Take one of these."""
        if data[0] in _STUN:
            if self._agent is not None:
                self._perform(self._agent.datagram_received(data, source, base, now=self._clock.seconds()))
        elif self._handshake is None:
            self._early.append((data, source, base))
        else:
            if source != self._to() and self._turns_out_elsewhere(data):
                self._peer = source
                self._moved(RTP, base, source)
            if source == self._to() or self._may_come_from(source):
                self._latches_until = 0.0
                self._handshake.datagram_received(data)

    def close(self) -> None:
        """End both. Idempotent."""
        self._lost = None
        self._early.clear()
        self._end_dtls()
        if self._agent is not None:
            self._perform(self._agent.close(now=self._clock.seconds()))
        self._timers.stop()

    # --- the parts

    def _to(self) -> Address | None:
        """Give where DTLS goes."""
        if not self.has_ice:
            return self._peer
        way = self.way()
        return None if way is None else way[1]

    def _turns_out_elsewhere(self, data: bytes) -> bool:
        """Say whether who sends this may be the peer, which its description places elsewhere."""
        is_handshake = data[0] == ContentType.HANDSHAKE
        return is_handshake and not self.has_ice and self._clock.seconds() < self._latches_until

    def _may_come_from(self, source: Address) -> bool:
        """Say whether DTLS may come from elsewhere than it goes to.

        Of the ways that work by ICE the peer may choose another one than we. But what stands behind an address is
        proved by a check of our own alone, or by records that are authenticated, and before the handshake is complete
        they are not.
        """
        is_connected = self._handshake is not None and self._handshake.state is DtlsState.CONNECTED
        return self.has_ice and is_connected and self.accepts(source, RTP)

    def _send_dtls(self, data: bytes) -> None:
        way, to = self.way(), self._to()
        if self.has_ice and way is not None:
            self._send(data, *way)
        elif to is not None:
            self._directly(data, to)

    def _send(self, data: bytes, base: Address, remote: Address) -> bool:
        way = self._ways.get(base)
        return way is not None and way(data, remote)

    def _due(self) -> None:
        if self._agent is not None:
            self._perform(self._agent.timer_fired(now=self._clock.seconds()))

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Send(base, remote, data):
                    self._send(data, base, remote)
                case StartTimer(event, duration):
                    self._timers.start(event, duration)
                case StopTimers():
                    self._timers.stop()
                case Selected(component):
                    self._selected(component)
                case Failed(text):
                    self._lose(text)
                case Learned() | Completed():
                    pass

    def _selected(self, component: int) -> None:
        way = self.way(component)
        if way is not None:
            self._moved(component, *way)
            self._begin_dtls()

    def _secured(self, keys: Keys) -> None:
        self._keyed(keys)

    def _not_secured(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        failure.trap(DtlsError)
        self._lose(failure.getErrorMessage())

    def _end_dtls(self) -> None:
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.on_closed = None
            handshake.close()

    def _lose(self, text: str) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(text)
