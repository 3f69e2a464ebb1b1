"""On whose behalf someone is sought who answers: the caller, while its INVITE waits (RFC 3261 section 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sipd.b2bua.agreement import Agreement
from sipd.b2bua.bodies import find_description
from sipd.b2bua.events import Stopped
from sipd.b2bua.refusals import Refusal
from sipd.errors import ParseError
from sipd.interfaces import EarlyMedia
from sipd.sdp.negotiation import Carrier, Meaning
from sipd.sdp.streams import agree_alike
from sipd.sip.reliable import Reliability, reliability
from sipd.ua.outgoing import CallRequest

if TYPE_CHECKING:
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.events import BridgeEvent
    from sipd.b2bua.inbox import Inbox
    from sipd.b2bua.leg import Leg
    from sipd.interfaces import Attempt
    from sipd.sdp.description import SessionDescription
    from sipd.sip.message import Response


class Asker(Protocol):
    """Who wants somebody to answer."""

    #: The leg that is to talk with the one who answers.
    leg: Leg
    #: Where the events of the attempts go, and what `leg` has to say meanwhile.
    inbox: Inbox[BridgeEvent]

    @property
    def is_gone(self) -> bool:
        """Whether it waits no more, though that may not be known from `inbox` yet."""

    async def invitation(self, leg: Leg, attempt: Attempt) -> CallRequest:
        """Give the INVITE of an attempt.

        Raises:
            SdpError: what is offered cannot be used.
            ResourcesExhaustedError: there are no ports for it.
        """

    async def progressed(self, leg: Leg, response: Response) -> None:
        """Take a provisional response to an attempt."""

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
        bridge: the call.

    Attributes:
        agreement: with the one who has answered.
        is_misled: the caller was told, reliably, what somebody else said, and has to hear of this one.
    """

    def __init__(self, bridge: Bridge) -> None:
        self.leg = bridge.caller
        self.inbox = bridge.inbox
        self.agreement: Agreement | None = None
        self._bridge = bridge
        self._agreements: dict[str, Agreement] = {}
        #: The attempt of which the caller hears early media: the first. Of its forks that is the last one, since a
        #: server that tries one callee after the other does not say which of them it has given up.
        self._heard: Leg | None = None
        self.is_misled = False
        self._is_late = bridge.offer is None
        self._wanted = reliability(bridge.call.invite)

    @property
    def is_gone(self) -> bool:
        """See `Asker`."""
        return self._bridge.call.is_over

    async def invitation(self, leg: Leg, attempt: Attempt) -> CallRequest:
        """See `Asker`. All that the caller says, but for what belongs to its own leg."""
        bridge = self._bridge
        request = bridge.call.invite
        agreement = self._agreements[leg.name] = Agreement(bridge.media, self.leg, leg)
        offered = None
        if bridge.offer is not None:
            bridge.prefer_family(leg)
            offered = await agreement.offer(self.leg, bridge.offer)
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
            credentials=attempt.credentials,
        )

    async def progressed(self, leg: Leg, response: Response) -> None:
        """See `Asker`. Ringing and early media go on; of several callees the first with early media is heard."""
        bridge = self._bridge
        if bridge.record.ringing_at is None:
            bridge.record.ringing_at = bridge.now()
        said = None
        try:
            description = find_description(response)
            if description is not None:
                said = await self._early_answer(leg, response, description)
        except ParseError as error:
            bridge.explain("early-media", f"ignored: {error.reason}", leg.name)
        status, reason = response.status, response.reason
        if said is not None and leg.early_media is EarlyMedia.AS_183:
            status, reason = 183, "Session Progress"
        elif leg.early_media is EarlyMedia.AS_180 and status == 183:
            status, reason = 180, "Ringing"
        content = self.leg.content(response, said)
        bridge.call.ring(status, reason, content.headers, content.body)

    async def _early_answer(
        self, leg: Leg, response: Response, description: SessionDescription
    ) -> SessionDescription | None:
        """Give what the caller is told of what a callee says before it answers."""
        tag = response.to.tag or ""
        is_reliable = "RSeq" in response.headers
        meaning = leg.early(tag).receive(Carrier.RELIABLE if is_reliable else Carrier.PROVISIONAL, description)
        if meaning not in (Meaning.ANSWER, Meaning.PREVIEW) or self._heard not in (None, leg):
            return None
        if leg.early_media is EarlyMedia.AS_180:
            return None
        answer = await self._agreements[leg.name].answer(leg, description)
        self._heard = leg
        carrier = Carrier.PROVISIONAL if self._wanted is Reliability.NONE else Carrier.RELIABLE
        return self.leg.negotiation.send(carrier, answer)

    async def answered(self, leg: Leg, response: Response) -> bool:
        """See `Asker`."""
        bridge = self._bridge
        tag = response.to.tag or ""
        leg.settle(tag)
        agreement = self._agreements[leg.name]
        description = find_description(response)
        leg.negotiation.receive(Carrier.SUCCESS, description or leg.negotiation.preview)
        if self._is_late:
            assert leg.negotiation.offer is not None
            crossed = await agreement.offer(leg, leg.negotiation.offer)
        else:
            assert leg.negotiation.remote is not None
            crossed = await agreement.answer(leg, leg.negotiation.remote)
        said = self.leg.negotiation.send(Carrier.SUCCESS, crossed)
        content = self.leg.content(response, said)
        bridge.call.accept(content.headers, content.body)
        if not self._is_late:
            leg.acknowledge()
        if not bridge.call.is_established:
            # Its CANCEL is in the inbox: the callee is let go when it is taken out.
            return False
        self.agreement = agreement
        self.is_misled = said is None and not agree_alike(crossed, self.leg.negotiation.local, bridge.offer)
        bridge.record.answered_at = bridge.now()
        bridge.record.status, bridge.record.reason = response.status, response.reason
        return True

    def lost(self, leg: Leg) -> None:
        """See `Asker`. Somebody else may be heard now."""
        if self._heard is leg:
            self._heard = None

    def left(self, event: object) -> None:
        """See `Asker`."""
        if isinstance(event, Stopped):
            self._bridge.refuse(Refusal(503, "Service Unavailable", None, "stopped"), (("Retry-After", "30"),))
        else:
            self._bridge.given_up(event)

    def refused(self, refusal: Refusal) -> None:
        """See `Asker`."""
        self._bridge.refuse(refusal)
