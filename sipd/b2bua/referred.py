"""A call that somebody asks for by REFER, between a party that is there already and whom the REFER names (RFC 3515)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.agreement import Agreement
from sipd.b2bua.putting_off import put_off
from sipd.errors import ParseError, SdpError
from sipd.sdp.negotiation import Carrier
from sipd.sdp.streams import revive
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.ua.bodies import find_description
from sipd.ua.incoming import IncomingCall
from sipd.ua.outgoing import CallRequest

if TYPE_CHECKING:
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.events import BridgeEvent
    from sipd.b2bua.inbox import Inbox
    from sipd.b2bua.leg import Leg
    from sipd.interfaces import Attempt
    from sipd.sip.message import Response
    from sipd.sip.refer import Replaces
    from sipd.ua.events import Progressed
    from sipd.ua.referring import Referring


class ReferredCall:
    """What every `Asker` has in common that acts on a REFER.

    Args:
        bridge: the call.
        leg: who is to talk with whom the REFER names.
        referring: the REFER.
        inbox: takes what happens to whom it calls.

    Attributes:
        agreements: with each that is called.
        replaces: what whoever is called is to replace, in the words of who asks; ``None`` if nothing.
    """

    def __init__(self, bridge: Bridge, leg: Leg, referring: Referring, inbox: Inbox[BridgeEvent]) -> None:
        self.bridge = bridge
        self.leg = leg
        self.referring = referring
        self.inbox = inbox
        self.agreements: dict[str, Agreement] = {}
        self.replaces: Replaces | None = None

    async def invitation(self, leg: Leg, attempt: Attempt, *, is_only: bool) -> CallRequest:
        """See `Asker`. The callee is offered what the other party has said last."""
        bridge, refer_to = self.bridge, self.referring.refer_to
        agreement = self.agreements[leg.name] = Agreement(bridge.media, self.leg, leg)
        remote = self.leg.negotiation.remote
        if remote is None:
            raise SdpError("The other party has said nothing of its media")
        bridge.prepare_media(leg)
        offered = await agreement.offer(self.leg, revive(remote))
        content = leg.content(None, leg.negotiation.send(Carrier.INVITE, offered))
        content.headers.extend(leg.side.meet(self.leg.side))
        content.headers.extend(refer_to.headers)
        if self.replaces is not None:
            # Of a call that is not here: whoever is called knows it.
            content.headers.add("Replaces", str(self.replaces))
        if self.referring.referred_by is not None:
            content.headers.add("Referred-By", str(self.referring.referred_by))
        fields = leg.made("INVITE", content.headers)
        session = self.leg.session
        if isinstance(session, IncomingCall):
            caller = leg.side.from_(session.invite)
        else:
            caller = leg.side.name_of(self.leg.side, self.leg.peer)
        return CallRequest(
            uri=attempt.uri,
            caller=caller,
            callee=NameAddr(refer_to.uri, refer_to.address.display_name),
            headers=Headers(fields),
            body=content.body,
            route_set=attempt.route_set,
            next_hop=attempt.next_hop,
            source=attempt.source,
            point=attempt.point,
            credentials=attempt.credentials,
        )

    async def told(self, leg: Leg, event: object) -> None:
        """See `Asker`. A party that waits, or has not answered yet, may change nothing."""
        put_off(leg, event)

    async def progressed(self, leg: Leg, event: Progressed) -> None:
        """See `Asker`. Who has asked hears of it; media before the answer is heard by nobody."""
        response = event.response
        tag = response.to.tag or ""
        try:
            description = find_description(response)
            if description is not None:
                carrier = Carrier.RELIABLE if "RSeq" in response.headers else Carrier.PROVISIONAL
                leg.early(tag).receive(carrier, description)
        except ParseError as error:
            self.bridge.explain("early-media", f"ignored: {error.reason}", leg.name)
        self.referring.progress(response.status, response.reason)

    async def answered(self, leg: Leg, response: Response) -> bool:
        """See `Asker`."""
        leg.settle(response.to.tag or "")
        leg.negotiation.receive(Carrier.SUCCESS, find_description(response) or leg.negotiation.preview)
        leg.acknowledge()
        return True

    def lost(self, leg: Leg) -> None:
        """See `Asker`."""
        del self.agreements[leg.name]
