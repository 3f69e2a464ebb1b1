"""A call that comes in and takes the place of a party of another one: INVITE with Replaces (RFC 3891)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from sipd.b2bua.agreement import Agreement
from sipd.b2bua.events import Joins
from sipd.errors import ParseError, RequestRefusedError
from sipd.sdp.negotiation import Carrier
from sipd.sip.refer import replaces_of
from sipd.sip.validation import find_spent_hops
from sipd.ua.bodies import find_description

if TYPE_CHECKING:
    from sipd.b2bua.leg import Leg
    from sipd.b2bua.refusals import Refusal
    from sipd.b2bua.service import B2bua
    from sipd.sdp.description import SessionDescription
    from sipd.sip.message import Response
    from sipd.ua.incoming import IncomingCall


class Replacement:
    """One such call. It is a `Joiner`.

    Whoever knows the dialog was told of it by a party, and has to be a user of ours besides: the identifiers of a
    dialog are no secret to whoever sees its messages (section 8).

    Args:
        b2bua: whose calls these are.
        call: the one that comes in.
    """

    def __init__(self, b2bua: B2bua, call: IncomingCall) -> None:
        self.is_late = False
        self._b2bua = b2bua
        self._call = call
        self._leg: Leg | None = None

    async def run(self) -> None:
        """Take the call from here to where it joins the other one, or is refused."""
        call = self._call
        try:
            await self._join()
        except RequestRefusedError as error:
            call.reject(error.status, error.reason, error.headers)
        except ParseError as error:
            call.reject(error.status, error.reason)

    async def _join(self) -> None:
        call, b2bua = self._call, self._b2bua
        refused = b2bua.refusal() or find_spent_hops(call.invite)
        if refused is not None:
            raise refused
        replaces = replaces_of(call.invite)
        if b2bua.gate is not None and (replaces is None or b2bua.find_leg(replaces.key) is None):
            # It belongs to no call that there is, whatever it says.
            b2bua.gate.call_offered(b2bua.asked(call.invite, call.transaction.flow))
        user = await b2bua.authenticate(call.invite)
        found = b2bua.find_leg(replaces.key) if replaces is not None else None
        if replaces is None or found is None or call.is_over:
            raise RequestRefusedError("Call To Replace Does Not Exist", status=481)
        if replaces.is_early_only:
            raise RequestRefusedError("Answered Already", status=486)
        bridge, leaves = found
        if bridge.dialogue is None or not bridge.dialogue.may_join(leaves):
            raise RequestRefusedError("Call Is Being Transferred", status=603)
        leg = self._leg = bridge.take_leg(call, user)
        try:
            leg.negotiation.receive(Carrier.INVITE, find_description(call.invite))
        except ParseError as error:
            call.reject(error.status, error.reason)
            bridge.drop_leg(leg)
            return
        self.is_late = leg.negotiation.offer is None
        bridge.prepare_media(leg)
        agreement = Agreement(bridge.media, bridge.dialogue.other(leaves), leg)
        bridge.explain("replaces", f"{leaves.name}, by {user}", leg.name)
        bridge.inbox.put((leg, Joins(leaves, agreement, self)))

    def joined(self, description: SessionDescription, response: Response) -> None:
        """See `Joiner`."""
        assert self._leg is not None
        said = self._leg.negotiation.send(Carrier.SUCCESS, description)
        content = self._leg.content(response, said)
        self._call.accept(content.headers, content.body)

    def over(self, refusal: Refusal | None) -> Deferred[None]:
        """See `Joiner`."""
        if refusal is not None:
            self._call.reject(refusal.status, refusal.reason)
        return succeed(None)

    def returns(self, leg: Leg) -> bool:
        """See `Joiner`."""
        return False
