"""Click-to-dial: a user asks that somebody, such as their own phone, is called and connected with somebody else.

REFER outside of a dialog (RFC 3515), carried out as in RFC 3725 section 4.4: the first phone is called without an offer
and kept silent; when it has answered the second one is called with its offer, and the first is told of the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from sipd.b2bua.agreement import Agreement
from sipd.b2bua.bridge import Bridge
from sipd.b2bua.dialogue import Dialogue
from sipd.b2bua.events import Stopped
from sipd.b2bua.hunt import Hunt
from sipd.b2bua.referred import ReferredCall
from sipd.b2bua.refusals import Refusal
from sipd.errors import LocalError, ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import IRequestHandler, IServerTransaction, Route, RoutingRequest
from sipd.sdp.negotiation import Carrier
from sipd.sdp.streams import black_hole
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.message import Request
from sipd.sip.validation import find_spent_hops
from sipd.ua.bodies import find_description
from sipd.ua.outgoing import CallRequest
from sipd.ua.referring import REFER_EXTENSIONS, referring_of

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.b2bua.leg import Leg
    from sipd.b2bua.service import B2bua
    from sipd.interfaces import Attempt
    from sipd.sip.message import Response
    from sipd.sip.uri import Uri
    from sipd.ua.events import Progressed
    from sipd.ua.referring import Referring


@implementer(IRequestHandler)
class ClickToDial:
    """Takes REFER outside of dialogs, from users of ours only.

    Args:
        b2bua: makes the calls.
    """

    extensions = REFER_EXTENSIONS
    _log = Logger()

    def __init__(self, b2bua: B2bua) -> None:
        self._b2bua = b2bua

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        Deferred.fromCoroutine(self._take(transaction)).addErrback(self._broke, transaction)

    async def _take(self, transaction: IServerTransaction) -> None:
        b2bua, request = self._b2bua, transaction.request
        try:
            refused = b2bua.refusal() or find_spent_hops(request)
            if refused is not None:
                raise refused
            user = await b2bua.authenticate(request)
            referring = referring_of(b2bua.agent, transaction)
        except RequestRefusedError as error:
            transaction.respond(request.response(error.status, error.reason, headers=error.headers))
        except ParseError as error:
            transaction.respond(request.response(400, error.reason))
        else:
            await Introduction(b2bua, transaction, referring, user).run()

    def _broke(self, failure: Failure, transaction: IServerTransaction) -> None:
        self._log.failure("a call that was asked for broke", failure)
        transaction.respond(transaction.request.response(500))


class Introduction:
    """One such call, of two phones that are both called.

    Args:
        b2bua: makes it.
        transaction: of the REFER.
        referring: the REFER.
        user: who asks.
    """

    def __init__(self, b2bua: B2bua, transaction: IServerTransaction, referring: Referring, user: str) -> None:
        self._b2bua = b2bua
        self._referring = referring
        self._user = user
        self._flow = transaction.flow
        self._bridge = Bridge(b2bua, transaction.request, transaction.flow)
        self._bridge.record.callee = str(referring.refer_to.uri)

    async def run(self) -> None:
        """Take the call from here to its end."""
        b2bua, bridge, referring = self._b2bua, self._bridge, self._referring
        try:
            if referring.refer_to.method != "INVITE":
                raise RequestRefusedError("Only Calls Are Made", status=501)
            ways = [await self._way(referring.request.uri), await self._way(referring.refer_to.uri)]
        except RequestRefusedError as error:
            referring.answer(error.status, error.reason, error.headers)
            return
        except (RemoteError, LocalError) as error:
            referring.answer(500, str(error))
            return
        b2bua.bridge_began(bridge)
        refused = b2bua.refusal()
        if refused is not None:
            # Meanwhile there is no room any more, or somebody stops the server.
            b2bua.bridge_ended(bridge)
            referring.answer(refused.status, refused.reason, refused.headers)
            return
        bridge.begin(self._user)
        bridge.explain("received", f"REFER {referring.request.uri_text} to {referring.refer_to.uri} by {self._user}")
        try:
            first, second = [bridge.admit(asked, route) for asked, route in ways]
            bridge.record.route = second.name
            referring.accept()
            await self._connect(first, second)
        except RequestRefusedError as error:
            bridge.record.status, bridge.record.reason = error.status, error.reason
            bridge.ended("sipd", "refused", f"{error.status} {error.reason}")
            referring.answer(error.status, error.reason, error.headers)
        except (RemoteError, LocalError) as error:
            self.refused(Refusal.of_error(error))
        finally:
            await bridge.finish()

    async def _way(self, uri: Uri) -> tuple[RoutingRequest, Route]:
        """Give where a call to that goes, and what was asked to know it."""
        invite = Request("INVITE", uri, Headers((("From", str(self._referring.request.from_)),)))
        asked = self._b2bua.asked(invite, self._flow, self._user)
        return asked, await self._b2bua.router.route(asked)

    async def _connect(self, first: Route, second: Route) -> None:
        bridge = self._bridge
        leg = await Hunt(bridge, first, _FirstCall(self, bridge, self._referring)).run()
        if leg is None:
            return
        bridge.caller = leg
        calling = _SecondCall(self, bridge, leg, self._referring)
        other = await Hunt(bridge, second, calling).run()
        if other is None:
            return
        bridge.record.answered_at = bridge.now()
        bridge.record.status, bridge.record.reason = 200, "OK"
        self._referring.finish(200, "OK")
        bridge.dialogue = Dialogue(bridge, calling.agreements[other.name], misled=leg)
        bridge.bound(first)
        bridge.bound(second)
        await bridge.dialogue.run()

    def left(self, event: object) -> None:
        """The first party is gone, or somebody stops the call."""
        if isinstance(event, Stopped):
            self.refused(Refusal(503, "Service Unavailable", None, "stopped"))
        else:
            self.refused(Refusal(487, "Request Terminated", None, "bye"))

    def refused(self, refusal: Refusal) -> None:
        """One of the two does not answer."""
        bridge = self._bridge
        bridge.record.status, bridge.record.reason = refusal.status, refusal.account
        bridge.ended("sipd", refusal.cause, f"{refusal.status} {refusal.account}")
        self._referring.finish(refusal.status, refusal.reason)


class _SecondCall(ReferredCall):
    """The call to whom the REFER names, on behalf of the party that was called first."""

    def __init__(self, introduction: Introduction, bridge: Bridge, leg: Leg, referring: Referring) -> None:
        super().__init__(bridge, leg, referring, bridge.inbox)
        self.replaces = referring.refer_to.replaces
        self._introduction = introduction

    @property
    def is_gone(self) -> bool:
        """See `Asker`."""
        return not self.leg.is_live or self.leg.session.is_over

    def left(self, event: object) -> None:
        """See `Asker`."""
        self._introduction.left(event)

    def refused(self, refusal: Refusal) -> None:
        """See `Asker`."""
        self._introduction.refused(refusal)


class _FirstCall(_SecondCall):
    """The call to the party that is called first. Its ``leg`` is nobody's: nobody waits for it but who has asked."""

    def __init__(self, introduction: Introduction, bridge: Bridge, referring: Referring) -> None:
        super().__init__(introduction, bridge, bridge.caller, referring)

    @property
    def is_gone(self) -> bool:
        """See `Asker`."""
        return False

    async def invitation(self, leg: Leg, attempt: Attempt, *, is_only: bool) -> CallRequest:
        """See `Asker`. It is called as if by whom the REFER names, and asked for an offer."""
        refer_to, request = self.referring.refer_to, self.referring.request
        self.bridge.prepare_media(leg)
        self.agreements[leg.name] = Agreement(self.bridge.media, self.leg, leg)
        leg.negotiation.send(Carrier.INVITE)
        return CallRequest(
            uri=attempt.uri,
            caller=leg.side.write(NameAddr(refer_to.uri, refer_to.address.display_name)),
            callee=NameAddr(request.uri),
            headers=Headers(leg.made("INVITE", ())),
            route_set=attempt.route_set,
            next_hop=attempt.next_hop,
            source=attempt.source,
            point=attempt.point,
            credentials=attempt.credentials,
        )

    async def progressed(self, leg: Leg, event: Progressed) -> None:
        """See `Asker`. It is the second call of which who has asked is told."""

    async def answered(self, leg: Leg, response: Response) -> bool:
        """See `Asker`. It hears nothing, and sends nothing, until there is somebody to talk with."""
        leg.settle(response.to.tag or "")
        leg.negotiation.receive(Carrier.SUCCESS, find_description(response))
        assert leg.negotiation.offer is not None
        leg.acknowledge(black_hole(leg.negotiation.offer))
        return True
