"""One call: its legs, its media, its record and its explanation.

Everything that happens to the call goes through its inbox, and one coroutine takes it out: so each decision stands in
one place, in the order in which it was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, FirstError, succeed
from zope.interface import implementer

from sipd.b2bua.events import BridgeEvent, Stopped, TimedOut
from sipd.b2bua.identity import Identities
from sipd.b2bua.inbox import Inbox
from sipd.b2bua.leg import Leg
from sipd.b2bua.reasons import reason_values
from sipd.b2bua.talktime import CUT_OFF, TalkTime
from sipd.interfaces import CallRecord, Decision, IFlow, IMediaSession, MediaPolicy, StreamStatistics
from sipd.sdp.codecs import CodecFilter, allow_codecs
from sipd.sdp.description import AddressType
from sipd.sdp.negotiation import Negotiation
from sipd.sdp.offer_answer import LocalOrigin
from sipd.sip.locate import is_numeric
from sipd.sip.message import Request
from sipd.sip.uri import SipUri
from sipd.ua.events import Cancelled, SessionEvent
from sipd.ua.interfaces import ISessionUser

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.b2bua.dialogue import Dialogue, Loan
    from sipd.b2bua.service import B2bua
    from sipd.interfaces import Attempt, LegPolicy, Route, RoutingRequest
    from sipd.ua.incoming import IncomingCall
    from sipd.ua.session import Session


#: What need not be said.
_DEFAULT = MediaPolicy()

#: Seconds for which the record of a call waits for what its media came to.
MEDIA_PATIENCE = 10.0


@implementer(ISessionUser)
class Bridge:
    """A call on its way to its record: what all that happens in it has in common.

    Args:
        b2bua: whose call it is.
        request: what it began with.
        flow: where that came from.

    Attributes:
        id: names the call in logs, observers and records.
        settings: those that held when it began.
        caller: the leg of who wants it; told of it when somebody stops the call.
        inbox: what happens to the call, but for what is taken elsewhere for a while.
        record: of the call.
        legs: all legs that are held, by name.
        identities: what each leg is told of who is on the others.
        dialogue: the call, once it is answered.
        transfers: how often it was transferred.
    """

    def __init__(self, b2bua: B2bua, request: Request, flow: IFlow) -> None:
        self.b2bua = b2bua
        self.settings = b2bua.settings
        self.id = b2bua.agent.entropy(8).hex()
        self.inbox: Inbox[BridgeEvent] = Inbox()
        self.legs: dict[str, Leg] = {}
        self.record = _record(self.id, request, flow, b2bua.now())
        self.identities = Identities(
            self.settings.identity, b2bua.agent.entropy, request, flow.host, self.settings.user_policies
        )
        self.dialogue: Dialogue | None = None
        self.transfers = 0
        self._legs_of: dict[Session, Leg] = {}
        self._tried = 0
        #: Under which names the gate counts it.
        self._admitted: list[str] = []
        #: The same of calls of which a leg goes on here.
        self._inherited: list[str] = []
        self._times: list[TalkTime] = []
        self._media: IMediaSession | None = None
        self._closing: Deferred[Sequence[StreamStatistics]] | None = None
        self.caller = self.new_leg()

    def stop(self, text: str, cause: str = "stopped") -> None:
        """End the call, whatever its state."""
        self.inbox.put((self.caller, Stopped(text, cause)))

    def session_event(self, session: Session, event: SessionEvent) -> None:
        """See `ISessionUser`."""
        leg = self._legs_of[session]
        if leg.is_live:
            leg.inbox.put((leg, event))

    def session_explained(self, session: Session, text: str) -> None:
        """Add what a session says of itself to the explanation; the call may be over by then."""
        self.explain("leg", text, self._legs_of[session].name)

    @property
    def media(self) -> IMediaSession:
        """The call's media, begun when first asked for."""
        if self._media is None:
            self._media = self.b2bua.media.open_session(self.id, self._media_event)
        return self._media

    def now(self) -> float:
        """Give the wall clock's seconds."""
        return self.b2bua.now()

    def policy_of(self, asked: RoutingRequest) -> LegPolicy | None:
        """Give what is wanted of the leg of a caller, if the route says nothing of it."""
        policy = self.identities.policy_of(asked.user)
        if policy is None and asked.trunk is not None:
            policy = self.settings.trunk_policies.get(asked.trunk)
        return policy

    def media_policy(self, leg: Leg) -> MediaPolicy:
        """Say how a leg's media is relayed: as the route says that led to it, or as is set for its user, or for all."""
        if leg.attempt is not None and leg.attempt.media is not None:
            return leg.attempt.media
        return self.settings.user_media.get(leg.user or "", self.settings.media)

    def prepare_media(self, leg: Leg) -> None:
        """Say how a leg's media is relayed, before it has any.

        It uses the address family of its signalling, as far as that is known beforehand.
        """
        attempt = leg.attempt
        policy = self.media_policy(leg)
        if policy != _DEFAULT:
            self.media.set_policy(leg.name, policy)
        if attempt is None:
            return
        uri = attempt.next_hop or attempt.uri
        host = attempt.source.host if attempt.source is not None else getattr(uri, "host", "")
        if is_numeric(host):
            self.media.prefer_family(leg.name, AddressType.of(host))

    def explain(self, kind: str, text: str, leg: str = "", user: str | None = None) -> None:
        """Add a line to the call's explanation; see `Decision`."""
        decision = Decision(at=self.b2bua.now(), kind=kind, text=text, leg=leg, user=user)
        self.b2bua.observer.call_decided(self.id, decision)

    def new_leg(self, attempt: Attempt | None = None) -> Leg:
        """Make a leg, the caller's or one that is tried; it is held when it has its session."""
        if attempt is not None:
            self._tried += 1
        codecs = allow_codecs(attempt.codecs) if attempt is not None and attempt.codecs else None
        leg = Leg("a" if attempt is None else f"b{self._tried}", self._negotiation(codecs), attempt)
        leg.side = self.identities.side_of(attempt)
        leg.follow_policy()
        self.explain_policy(leg)
        leg.inbox = self.inbox
        return leg

    def explain_policy(self, leg: Leg) -> None:
        """Say which policy a leg has, if it has one."""
        if leg.policy is not None:
            self.explain("policy", leg.policy.name or "without a name", leg.name)

    def _negotiation(self, codecs: CodecFilter | None = None) -> Negotiation:
        entropy = self.b2bua.agent.entropy
        origin = LocalOrigin(session_id=int.from_bytes(entropy(6), "big"), host=self.b2bua.host)
        return Negotiation(origin, entropy, codecs)

    def expect(self, leg: Leg, session: Session) -> None:
        """Take the events of a leg that is not held yet."""
        session.user = self
        self._legs_of[session] = leg

    def hold_leg(self, leg: Leg, session: Session) -> None:
        """Hold a leg until it is dropped; its events come to its inbox."""
        leg.session = session
        session.user = self
        self.legs[leg.name] = leg
        self._legs_of[session] = leg
        self.identities.hold(leg.side, session.call_id, session)
        self.b2bua.observer.call_resource_taken(self.id, "leg", leg.name)

    def adopt_leg(self, leg: Leg) -> Leg:
        """Hold a leg of another call here; its session and what it has negotiated are the same."""
        self._tried += 1
        adopted = Leg(f"b{self._tried}", leg.negotiation, leg.attempt)
        adopted.side, adopted.dtmf = self.identities.adopt(leg.side), leg.dtmf
        adopted.inbox = self.inbox
        self._record_leg(adopted, f"transfer of {leg.session.call_id}", leg.session)
        other: object = leg.session.user
        if isinstance(other, Bridge):
            self.record.related.append(other.id)
            other.record.related.append(self.id)
        self.hold_leg(adopted, leg.session)
        return adopted

    def take_leg(self, call: IncomingCall, user: str | None) -> Leg:
        """Hold a call that comes in to take the place of one of the legs."""
        self._tried += 1
        leg = Leg(f"b{self._tried}", self._negotiation())
        leg.side = self.identities.newcomer(call.invite, call.transaction.flow.host, user)
        leg.follow_policy(call)
        leg.inbox = self.inbox
        self._record_leg(leg, f"replacement by {call.invite.from_.uri}", call)
        self.hold_leg(leg, call)
        return leg

    def _record_leg(self, leg: Leg, label: str, session: Session) -> None:
        leg.record.label, leg.record.call_id, leg.record.started_at = label, session.call_id, self.now()
        self.record.attempts.append(leg.record)

    def find_leg(self, session: Session) -> Leg | None:
        """Give the leg of a session, if it is up and the call is answered."""
        leg = self._legs_of.get(session)
        is_up = leg is not None and leg.is_live and session.is_established and self.dialogue is not None
        return leg if is_up else None

    def lend(self, leg: Leg) -> Loan | None:
        """Give whom that leg talks with away, for a transfer; ``None`` if that cannot be."""
        return None if self.dialogue is None else self.dialogue.lend(leg)

    def count_out(self, attempt: Attempt | None) -> None:
        """An attempt is over: it counts no longer."""
        if attempt is not None and self.b2bua.gate is not None:
            self.b2bua.gate.attempt_ended(self.id, attempt)

    def release_leg(self, leg: Leg) -> None:
        """Let a leg go whose session goes on elsewhere, and so counts as before."""
        if leg.is_live:
            leg.is_live = False
            leg.note_codecs()
            if self._media is not None:
                self._media.leg_ended(leg.name)
            del self.legs[leg.name]
            self.b2bua.observer.call_resource_released(self.id, "leg", leg.name)

    def drop_leg(self, leg: Leg, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Let a leg go: end its session if it is not over, and free what it holds."""
        if not leg.is_live:
            return
        leg.is_live = False
        if leg.stop_timer():
            self.b2bua.observer.call_resource_released(self.id, "timer", leg.name)
        leg.session.hang_up(leg.parting(headers))
        leg.note_codecs()
        self.count_out(leg.attempt)
        if self._media is not None:
            self._media.leg_ended(leg.name)
        del self.legs[leg.name]
        self.b2bua.observer.call_resource_released(self.id, "leg", leg.name)

    def start_timer(self, leg: Leg, seconds: float) -> None:
        """Bound an attempt."""
        leg.timer = self.b2bua.agent.clock.callLater(seconds, self._timed_out, leg)
        self.b2bua.observer.call_resource_taken(self.id, "timer", leg.name)

    def stop_timer(self, leg: Leg) -> None:
        """The attempt has an outcome."""
        if leg.stop_timer():
            self.b2bua.observer.call_resource_released(self.id, "timer", leg.name)

    def ended(self, by: str, cause: str, text: str) -> None:
        """Note who ended the call and why."""
        self.record.ended_by = by
        self.record.cause = cause
        self.explain("ended", text)

    def given_up(self, event: object) -> None:
        """Note how the caller left before there was an answer: it cancelled, unless its leg failed.

        That is the case where a provisional response was never acknowledged, which gets 504.
        """
        self.record.answered_at = None
        if isinstance(event, Cancelled):
            self.record.status, self.record.reason = 487, "Request Terminated"
            self.record.reasons = reason_values(event.request)
            self.ended("caller", "cancel", "the caller gave up before an answer")
        else:
            self.record.status, self.record.reason = 504, "Server Time-out"
            self.ended("sipd", "caller-lost", "the caller could not be reached any more")

    def begin(self, user: str | None) -> None:
        """From here on there is a call, and it is accounted for."""
        self.record.user = self.caller.side.user = user
        self.b2bua.observer.call_started(self.id, self.record)

    def admit(self, asked: RoutingRequest, route: Route) -> Route:
        """Explain a route, and let a call go there; give the route, whose bounds may be tighter now.

        Raises:
            RequestRefusedError: it refuses, or a limit is reached.
        """
        for line in route.considered:
            self.explain("considered", line)
        route.check()
        gate = self.b2bua.gate
        if gate is None:
            return route
        # What a transfer calls is a call of its own to whoever counts.
        name = f"{self.id}/{len(self._admitted)}" if self._admitted else self.id
        route = gate.call_routed(name, asked, route)
        self._admitted.append(name)
        return route

    def withdraw(self) -> None:
        """Nothing comes of what was admitted last: it counts no longer."""
        if self._admitted and self.b2bua.gate is not None:
            self.b2bua.gate.call_ended(self._admitted.pop())

    def bound(self, route: Route) -> None:
        """Let the call end when the time is up that a route gives it; the tightest of several bounds counts."""
        if route.duration is not None:
            self._hold_times([TalkTime(self, route, route.duration)])

    def inherit(self, other: Bridge) -> None:
        """Answer for another call, of which a leg goes on here: for what it is counted as, and for its bounds."""
        self._inherited += other._admitted + other._inherited
        other._admitted, other._inherited = [], []
        times = other._let_times_go()
        for time in times:
            time.bridge = self
        self._hold_times(times)

    def _hold_times(self, times: list[TalkTime]) -> None:
        if times and not self._times:
            self.b2bua.observer.call_resource_taken(self.id, "timer", CUT_OFF)
        self._times += times

    def _let_times_go(self) -> list[TalkTime]:
        times, self._times = self._times, []
        if times:
            self.b2bua.observer.call_resource_released(self.id, "timer", CUT_OFF)
        return times

    def _count_no_more(self) -> None:
        names = self._admitted + self._inherited
        self._admitted, self._inherited = [], []
        if self.b2bua.gate is not None:
            for name in names:
                self.b2bua.gate.call_ended(name)

    def refusal_of(self, attempt: Attempt) -> str:
        """Say why an attempt must not be made now; empty if it may, and is counted until its leg is dropped."""
        gate = self.b2bua.gate
        return "" if gate is None else gate.attempt(self.id, attempt)

    async def finish(self) -> None:
        """Free everything, and close the record."""
        for leg in list(self.legs.values()):
            self.drop_leg(leg)
        for time in self._let_times_go():
            time.stop()
        # What is done with its media may take a while.
        self._count_no_more()
        self.record.media = list(await self._close_media())
        self.record.session_id = self.identities.session_id()
        self.record.codecs, self.record.transfers = self.caller.record.codecs, self.transfers
        self.record.ended_at = self.b2bua.now()
        self.b2bua.bridge_ended(self)
        self.b2bua.observer.call_ended(self.id, self.record)

    def _close_media(self) -> Deferred[Sequence[StreamStatistics]]:
        """Give what the media came to; not for ever: a disk or an engine that hangs must not keep the record."""
        media = self._media
        if media is None:
            return succeed(())

        def too_late(_: object, timeout: float) -> Sequence[StreamStatistics]:
            self.explain("media", f"what relays or records it has not ended within {timeout:g} s")
            return media.statistics()

        def given_up(failure: Failure) -> Sequence[StreamStatistics]:
            failure.trap(CancelledError, FirstError)
            return media.statistics()

        self._closing = closing = media.close()
        if not closing.called or closing.paused:
            closing.addTimeout(MEDIA_PATIENCE, self.b2bua.agent.clock, too_late)
        return closing.addErrback(given_up)

    def wait_no_longer(self) -> None:
        """Close the record with what is known of the media, if it is only that which is waited for."""
        if self._closing is not None:
            self._closing.cancel()

    def _timed_out(self, leg: Leg) -> None:
        leg.timer = None
        self.b2bua.observer.call_resource_released(self.id, "timer", leg.name)
        leg.inbox.put((leg, TimedOut()))

    def _media_event(self, kind: str, text: str) -> None:
        if kind == "port-taken":
            self.b2bua.observer.call_resource_taken(self.id, "ports", text)
        elif kind == "port-released":
            self.b2bua.observer.call_resource_released(self.id, "ports", text)
        else:
            self.explain(kind, text)
            if kind == "media-verdict":
                self.record.media_verdict = text.partition(":")[0]
            elif kind == "media-lost":
                self.stop(text, kind)


def _record(name: str, request: Request, flow: IFlow, now: float) -> CallRecord:
    caller = request.from_.uri
    return CallRecord(
        id=name,
        call_id=request.call_id,
        caller=caller.address_of_record() if isinstance(caller, SipUri) else str(caller),
        caller_name=request.from_.display_name or "",
        callee=request.uri_text,
        user=None,
        source=f"{flow.transport.value.lower()}:{flow.host}:{flow.port}",
        point=flow.point.name,
        started_at=now,
    )
