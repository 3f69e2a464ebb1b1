"""On whose behalf someone is sought who answers: the caller, while its INVITE waits (RFC 3261 section 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sipd.b2bua.agreement import Agreement
from sipd.b2bua.changes import Changes
from sipd.b2bua.events import Stopped
from sipd.b2bua.refusals import Refusal
from sipd.b2bua.ringback import Ringback
from sipd.errors import LocalError, ParseError, RemoteError, SdpError
from sipd.interfaces import EarlyMedia
from sipd.sdp.negotiation import Carrier, Meaning
from sipd.sdp.offer_answer import decline
from sipd.sdp.streams import agree_alike
from sipd.sip.reliable import Reliability
from sipd.ua.bodies import find_description
from sipd.ua.events import Answered, Failed, ProgressAcknowledged, Progressed, Refused, Updated
from sipd.ua.outgoing import CallRequest

if TYPE_CHECKING:
    from sipd.b2bua.events import BridgeEvent
    from sipd.b2bua.inbox import Inbox
    from sipd.b2bua.leg import Leg
    from sipd.b2bua.reception import Reception
    from sipd.interfaces import Attempt
    from sipd.sdp.description import SessionDescription
    from sipd.sip.message import Request, Response

#: What says that somebody is called, in whatever words.
_RINGING = frozenset((180, 183))


class Asker(Protocol):
    """Who wants somebody to answer."""

    #: The leg that is to talk with the one who answers.
    leg: Leg
    #: Where the events of the attempts go, and what `leg` has to say meanwhile.
    inbox: Inbox[BridgeEvent]

    @property
    def is_gone(self) -> bool:
        """Whether it waits no more, though that may not be known from `inbox` yet."""

    async def invitation(self, leg: Leg, attempt: Attempt, *, is_only: bool) -> CallRequest:
        """Give the INVITE of an attempt.

        Args:
            leg: the attempt's.
            attempt: whom to call.
            is_only: nobody else is called at the same time.

        Raises:
            SdpError: what is offered cannot be used.
            ResourcesExhaustedError: there are no ports for it.
        """

    async def progressed(self, leg: Leg, event: Progressed) -> None:
        """Take a provisional response to an attempt."""

    async def told(self, leg: Leg, event: object) -> None:
        """Take anything else that `leg`, or an attempt, has to say, and that does not end it."""

    async def answered(self, leg: Leg, response: Response) -> bool:
        """Take the 2xx to an attempt; say whether `leg` is still there to hear it.

        Raises:
            RemoteError: it is of no use.
        """

    def lost(self, leg: Leg) -> None:
        """Note that an attempt is over without an answer."""

    def left(self, event: object) -> None:
        """Note that `leg` waits no more, or that somebody stops the call: no attempt is left."""

    def refused(self, refusal: Refusal) -> None:
        """Note that nobody answers."""


class CallerAsking:
    """The caller of a call that has come in.

    Args:
        reception: the call.

    Attributes:
        agreement: with the one who has answered.
        changes: those that it and the one whom it hears ask each other for before the answer.
        owes_answer: the caller, if its ACK has to answer an offer.
        misled: who has to be told what the other one says: before the answer it heard of somebody else, reliably.
    """

    def __init__(self, reception: Reception) -> None:
        bridge = self._bridge = reception.bridge
        self.leg = bridge.caller
        self.inbox = bridge.inbox
        self.agreement: Agreement | None = None
        self._reception = reception
        self._call = reception.call
        self._agreements: dict[str, Agreement] = {}
        #: The attempt of which the caller hears early media: the first. Of its forks that is the last one, since a
        #: server that tries one callee after the other does not say which of them it has given up.
        self._heard: Leg | None = None
        self.changes: Changes | None = None
        self.owes_answer: Leg | None = None
        self.misled: Leg | None = None
        #: A provisional response with an offer that the caller's PRACK has to answer.
        self._owed: Response | None = None
        #: Whether the caller has agreed to a change of somebody who is not heard any more.
        self._has_strayed = False
        self._is_late = reception.offer is None
        self._wanted = reception.call.wish
        self._ringback = Ringback(bridge, reception.offer, self._wanted)
        reception.call.takes_early_updates = True

    @property
    def is_gone(self) -> bool:
        """See `Asker`."""
        return self._call.is_over

    async def invitation(self, leg: Leg, attempt: Attempt, *, is_only: bool) -> CallRequest:
        """See `Asker`. All that the caller says, but for what belongs to its own leg."""
        bridge = self._bridge
        request = self._call.invite
        agreement = self._agreements[leg.name] = Agreement(bridge.media, self.leg, leg)
        offered = None
        offer = self._reception.offer
        bridge.prepare_media(leg)
        if offer is not None:
            offered = await agreement.offer(self.leg, offer)
        content = leg.content(request, leg.negotiation.send(Carrier.INVITE, offered))
        hops = request.max_forwards
        return CallRequest(
            uri=attempt.uri,
            caller=leg.side.from_(request),
            callee=request.to.without_parameters(),
            headers=content.headers,
            body=content.body,
            max_forwards=(70 if hops is None else hops) - 1,
            route_set=attempt.route_set,
            next_hop=attempt.next_hop,
            source=attempt.source,
            point=attempt.point,
            credentials=attempt.credentials,
            takes_reliable_offer=self._is_late and is_only and self._wanted is not Reliability.NONE,
        )

    async def progressed(self, leg: Leg, event: Progressed) -> None:
        """See `Asker`. Ringing and early media go on; of several callees the first with early media is heard."""
        bridge, response = self._bridge, event.response
        leg.session.takes_early_updates = True
        if bridge.record.ringing_at is None:
            bridge.record.ringing_at = bridge.now()
        said = None
        try:
            description = find_description(response)
            if description is not None:
                said = await (self._early_offer if event.owes_prack else self._early_answer)(leg, response, description)
        except ParseError as error:
            bridge.explain("early-media", f"ignored: {error.reason}", leg.name)
        status, reason = response.status, response.reason
        if said is None and self._heard is None and status in _RINGING:
            said = await self._ringback.begin(leg)
        is_tone = self._ringback.is_heard and status in _RINGING
        early_media = self.leg.early_media_of(leg)
        if is_tone or (said is not None and early_media is EarlyMedia.AS_183):
            status, reason = 183, "Session Progress"
        elif early_media is EarlyMedia.AS_180 and status == 183:
            status, reason = 180, "Ringing"
        status, reason = self.leg.progress(leg, status, reason)
        content = self.leg.content(response, said)
        self._call.ring(status, reason, content.headers, content.body)

    async def _early_answer(
        self, leg: Leg, response: Response, description: SessionDescription
    ) -> SessionDescription | None:
        """Give what the caller is told of what a callee says before it answers."""
        tag = response.to.tag or ""
        is_reliable = "RSeq" in response.headers
        meaning = leg.early(tag).receive(Carrier.RELIABLE if is_reliable else Carrier.PROVISIONAL, description)
        if meaning not in (Meaning.ANSWER, Meaning.PREVIEW) or self._heard not in (None, leg):
            return None
        if self.leg.early_media_of(leg) is EarlyMedia.AS_180:
            return None
        self._ringback.stop()
        answer = await self._agreements[leg.name].answer(leg, description)
        self._hear(leg, tag)
        carrier = Carrier.PROVISIONAL if self._wanted is Reliability.NONE else Carrier.RELIABLE
        return self.leg.negotiation.send(carrier, answer)

    async def _early_offer(
        self, leg: Leg, response: Response, description: SessionDescription
    ) -> SessionDescription | None:
        """Give what the caller is offered of what a callee offers before it answers; PRACK carries its answer."""
        tag = response.to.tag or ""
        negotiation = leg.early(tag)
        negotiation.receive(Carrier.RELIABLE, description)
        if self._heard is not None or negotiation.offer is None:
            # The caller has an offer already. This one has to be answered nevertheless.
            answer = leg.content(None, negotiation.send(Carrier.PRACK, decline(description)))
            leg.session.acknowledge_progress(response, tuple(answer.headers.items()), answer.body)
            return None
        offered = await self._agreements[leg.name].offer(leg, negotiation.offer)
        self._hear(leg, tag)
        self._owed = response
        return self.leg.negotiation.send(Carrier.RELIABLE, offered)

    async def _answer_early(self, prack: Request) -> None:
        """Take the caller's answer to the offer of somebody who has not answered yet."""
        leg, response = self._heard, self._owed
        if leg is None or response is None:
            return
        self._owed = None
        description = find_description(prack)
        self.leg.negotiation.receive(Carrier.PRACK, description)
        if description is None:
            raise SdpError("The PRACK carries no answer")
        answer = await self._agreements[leg.name].answer(self.leg, description)
        content = leg.content(prack, leg.negotiation.send(Carrier.PRACK, answer))
        leg.session.acknowledge_progress(response, tuple(content.headers.items()), content.body)

    def _hear(self, leg: Leg, tag: str) -> None:
        """Connect the caller with somebody who has not answered yet."""
        if self._heard is not leg or leg.tag != tag:
            self._stop_changes()
            self._heard = leg
            leg.hear(tag)
            self.changes = Changes(self._bridge, self._agreements[leg.name])

    async def told(self, leg: Leg, event: object) -> None:
        """See `Asker`: changes of the session before the answer (RFC 3311, RFC 6337 section 2)."""
        changes, heard = self.changes, self._heard
        match event:
            case ProgressAcknowledged(prack):
                try:
                    await self._answer_early(prack)
                except (RemoteError, LocalError) as error:
                    self._bridge.explain("early-media", f"the answer of the caller is of no use: {error}", leg.name)
            case Updated(updating) if changes is not None and (
                leg is self.leg or (leg is heard and updating.tag == leg.tag)
            ):
                await changes.ask(leg, updating)
            case Updated(updating) if leg is self.leg:
                refused = leg.session.too_early("The first offer is not answered yet")
                updating.reject(refused.status, refused.reason, refused.headers)
            case Updated(updating):
                updating.reject(491)
            case Answered(_, "UPDATE", tag) | Refused(_, "UPDATE", tag) | Failed(_, "UPDATE", tag) if (
                changes is None or not changes.is_asking(leg) or tag != leg.tag
            ):
                response = event.response if isinstance(event, Answered) else None
                leg.settle_update(response, tag)
                self._has_strayed = self._has_strayed or (leg is self.leg and response is not None)
            case Answered(response, "UPDATE") if changes is not None:
                await changes.answered(leg, response)
            case Refused(response, "UPDATE") if changes is not None:
                changes.refused(leg, Refusal.of_response(response))
            case Failed(error, "UPDATE") if changes is not None:
                changes.refused(leg, Refusal.of_error(error))

    async def answered(self, leg: Leg, response: Response) -> bool:
        """See `Asker`."""
        bridge = self._bridge
        tag = response.to.tag or ""
        is_heard = self._heard is leg and leg.tag == tag
        if not is_heard:
            self._stop_changes()
        leg.settle(tag)
        mine, theirs = self.leg.negotiation, leg.negotiation
        #: A caller that was told something reliably is told no other thing in the 2xx.
        is_told = mine.local is not None
        #: It may have been told that it hears nobody.
        is_known = is_heard and not self._ringback.is_believed
        self._ringback.stop()
        agreement = self._agreements[leg.name]
        meaning = theirs.receive(Carrier.SUCCESS, find_description(response) or theirs.preview)
        crossed = None
        if meaning is Meaning.OFFER and not is_told:
            assert theirs.offer is not None
            crossed = await agreement.offer(leg, theirs.offer)
            self.owes_answer = self.leg
        elif meaning is not Meaning.OFFER and not self._is_late and not (is_told and is_known):
            assert theirs.remote is not None
            crossed = await agreement.answer(leg, theirs.remote)
        elif not is_told:
            raise SdpError("The callee made no offer that the caller could answer")
        said = mine.send(Carrier.SUCCESS, crossed)
        content = self.leg.content(response, said)
        self._call.accept(content.headers, content.body)
        if self.owes_answer is None:
            leg.acknowledge(decline(theirs.offer) if theirs.offer is not None else None)
        if not self._call.is_established:
            # Its CANCEL is in the inbox: the callee is let go when it is taken out.
            return False
        self.agreement = agreement
        if is_told and not is_known:
            if crossed is None:
                self.misled = leg
            elif self._has_strayed or not agree_alike(crossed, mine.local, mine.remote):
                self.misled = self.leg
        bridge.record.answered_at = bridge.now()
        bridge.record.status, bridge.record.reason = response.status, response.reason
        return True

    def lost(self, leg: Leg) -> None:
        """See `Asker`. Somebody else may be heard now."""
        if self._heard is leg:
            self._stop_changes()
            self._heard = self._owed = None

    def _stop_changes(self) -> None:
        """Who was heard is heard no more."""
        changes, self.changes = self.changes, None
        if changes is not None:
            changes.abandon()

    def left(self, event: object) -> None:
        """See `Asker`."""
        self._ringback.stop()
        if isinstance(event, Stopped):
            self._reception.refuse(Refusal(503, "Service Unavailable", None, "stopped"), (("Retry-After", "30"),))
        else:
            self._bridge.given_up(event)

    def refused(self, refusal: Refusal) -> None:
        """See `Asker`."""
        self._ringback.stop()
        self._reception.refuse(refusal)
