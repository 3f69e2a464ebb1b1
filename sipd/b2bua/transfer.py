"""A transfer: one party of a call asks that the other one talk with somebody else (RFC 3515, RFC 5589).

sipd does it itself (policy ``terminate``): it calls whom the transferor names, for the other party, and asks that party
to talk with who has answered. A transferor who names a call that it has here, too (Replaces, RFC 3891), gives that
one's other party away instead. The transferee's phone sees a re-INVITE, and needs to know nothing of transfers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sipd.b2bua.agreement import Agreement
from sipd.b2bua.changes import Changes
from sipd.b2bua.events import Joins, Stopped, TimedOut, TransferFailed
from sipd.b2bua.hunt import Hunt
from sipd.b2bua.inbox import Inbox
from sipd.b2bua.putting_off import put_off
from sipd.b2bua.referred import ReferredCall
from sipd.b2bua.refusals import Refusal
from sipd.errors import InvalidStateError, LocalError, RemoteError, RequestRefusedError, SdpError
from sipd.interfaces import RoutingRequest
from sipd.policies import TransferPolicy as TransferPolicy
from sipd.sdp.streams import revive
from sipd.sip.headers import Headers
from sipd.sip.message import Request
from sipd.ua.events import Answered, Ended, Failed, Refused

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.dialogue import Loan
    from sipd.b2bua.leg import Leg
    from sipd.interfaces import Route
    from sipd.sdp.description import SessionDescription
    from sipd.sip.message import Response
    from sipd.ua.referring import Referring


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSettings:
    """How calls are transferred.

    Args:
        policy: who does it.
        timeout: seconds until a transfer without an outcome is given up.
        limit: how often one call may be transferred.
    """

    policy: TransferPolicy = TransferPolicy.TERMINATE
    timeout: float = 120.0
    limit: int = 5


class Transfer(ReferredCall):
    """One transfer on its way. It is an `Asker`, on behalf of the transferee, and a `Joiner`.

    Args:
        bridge: the call.
        transferor: who asked.
        transferee: the other party.
        referring: the REFER.

    Attributes:
        done: fires when nothing of it is left to be done but by its `Joining`.
    """

    _log = Logger()
    is_late = False

    def __init__(self, bridge: Bridge, transferor: Leg, transferee: Leg, referring: Referring) -> None:
        super().__init__(bridge, transferee, referring, Inbox())
        self.done: Deferred[None] = succeed(None)
        self._transferor = transferor
        self._loan: Loan | None = None
        #: Where it calls, as long as that counts.
        self._route: Route | None = None
        self._timer: IDelayedCall | None = None
        self._is_stopped = False
        self._is_over = False

    @property
    def is_gone(self) -> bool:
        """See `Asker`."""
        return self._is_stopped

    def start(self) -> None:
        """Begin; `Joins` or `TransferFailed` comes to the call's inbox."""
        self.done = Deferred.fromCoroutine(self._run()).addErrback(self._broke)

    def stop(self, text: str) -> None:
        """The transferee is gone, or the call is stopped."""
        if not self._is_over:
            self._is_stopped = True
            self.inbox.put((self.leg, Stopped(text)))

    async def _run(self) -> None:
        try:
            route = self._route = await self._decide()
        except RequestRefusedError as error:
            self._explain(f"refused: {error.status} {error.reason}")
            self.referring.answer(error.status, error.reason, error.headers)
            self._fail()
            return
        except (RemoteError, LocalError) as error:
            refusal = Refusal.of_error(error)
            self.referring.answer(refusal.status, refusal.reason)
            self.refused(refusal)
            return
        settings = self.bridge.settings.transfer
        self._timer = self.bridge.b2bua.agent.clock.callLater(settings.timeout, self.inbox.put, (self.leg, TimedOut()))
        self._explain(f"to {self.referring.refer_to.uri}")
        self.referring.accept()
        try:
            if route is None:
                await self._take_over()
            else:
                winner = await Hunt(self.bridge, route, self).run()
                if winner is not None:
                    self._join(winner)
        except (RemoteError, LocalError) as error:
            self.refused(Refusal.of_error(error))

    # --- whether and where ----------------------------------------------------------------------------------

    async def _decide(self) -> Route | None:
        """Give where to call, if anywhere.

        Raises:
            RequestRefusedError: the transferor may not do so.
        """
        bridge, referring = self.bridge, self.referring
        refer_to = referring.refer_to
        if refer_to.method != "INVITE":
            raise RequestRefusedError("Only Calls Are Transferred", status=501)
        if bridge.transfers >= bridge.settings.transfer.limit:
            raise RequestRefusedError("Transferred Too Often", status=403)
        if refer_to.replaces is not None:
            found = bridge.b2bua.find_leg(refer_to.replaces.key)
            if found is None:
                self.replaces = refer_to.replaces
            elif not self._transferor.is_of_the_same(found[1]):
                raise RequestRefusedError("Not Your Call", status=403)
            else:
                self._loan = found[0].lend(found[1])
                if self._loan is not None:
                    return None
                if found[0].dialogue is not None:
                    raise self._transferor.session.too_early("The other call is being changed")
        asked = await self._asked()
        return bridge.admit(asked, await bridge.b2bua.router.route(asked))

    async def _asked(self) -> RoutingRequest:
        """Ask for a route as if the transferor called."""
        b2bua, request = self.bridge.b2bua, self.referring.request
        flow = self._transferor.session.flow
        assert flow is not None
        invite = Request("INVITE", self.referring.refer_to.uri, Headers((("From", str(request.from_)),)))
        user = self._transferor.user
        asked = b2bua.asked(invite, flow, user)
        if user is None and b2bua.router.needs_authentication(asked):
            # Whoever pays for the new call has to prove who it is: being called is no proof.
            asked = replace(asked, user=await b2bua.authenticate(request))
        return asked

    # --- what comes of the call (`Asker`) ------------------------------------------------------------------

    def left(self, event: object) -> None:
        """See `Asker`."""
        if isinstance(event, Stopped):
            self.refused(Refusal(487, "Request Terminated"))
        else:
            self.refused(Refusal(408, "Transfer Timeout"))

    def refused(self, refusal: Refusal) -> None:
        """See `Asker`."""
        self.referring.finish(refusal.status, refusal.reason)
        self._explain(f"failed: {refusal.status} {refusal.account}")
        self._fail()

    # --- taking the other party of a call of the transferor's (attended) --------------------------------------

    async def _take_over(self) -> None:
        """Offer the other party of the transferor's second call what the transferee says."""
        bridge, loan = self.bridge, self._loan
        assert loan is not None
        leg = bridge.adopt_leg(loan.leg)
        leg.inbox = self.inbox
        bridge.prepare_media(leg)
        agreement = self.agreements[leg.name] = Agreement(bridge.media, self.leg, leg)
        changes = Changes(bridge, agreement)
        outcome = _Outcome()
        was_changed = False
        remote = self.leg.negotiation.remote
        try:
            if remote is None:
                raise SdpError("The transferee has said nothing of its media")
            await changes.tell(self.leg, outcome, description=revive(remote), tells_back=False)
        except (RemoteError, LocalError) as error:
            status = 491 if isinstance(error, InvalidStateError) else 488
            outcome.not_told(Refusal.of_error(error, status=status))
        while changes.is_asking(leg):
            who, event = await self.inbox.get()
            match event:
                case Answered(response):
                    was_changed = True
                    await changes.answered(leg, response)
                case Refused(response):
                    changes.refused(leg, Refusal.of_response(response))
                case Failed(failure):
                    changes.refused(leg, Refusal.of_error(failure))
                case Ended(_, text):
                    outcome.not_told(Refusal(480, "The Other Side Is Gone", detail=text))
                    break
                case TimedOut() | Stopped() if who is self.leg:
                    outcome.refusal = Refusal(487, "Request Terminated")
                    leg.session.withdraw()
                case _:
                    put_off(leg, event)
        if outcome.refusal is None:
            self._join(leg)
        else:
            self._give_back(leg, was_changed=was_changed)
            self.refused(outcome.refusal)

    def _give_back(self, leg: Leg, *, was_changed: bool) -> None:
        loan, self._loan = self._loan, None
        if loan is not None:
            self.bridge.release_leg(leg)
            loan.give_back(was_changed=was_changed)

    # --- bringing it in (`Joiner`) --------------------------------------------------------------------------

    def _join(self, leg: Leg) -> None:
        """Whoever is to talk with the transferee is there."""
        bridge = self.bridge
        self._stop_timer()
        self._is_over = True
        leg.inbox = bridge.inbox
        bridge.inbox.put((leg, Joins(self._transferor, self.agreements[leg.name], self)))
        for who, event in self.inbox:
            if who is leg:
                bridge.inbox.put((leg, event))

    def joined(self, description: SessionDescription, response: Response) -> None:
        """See `Joiner`. The target has its answer already, and offered nothing."""

    def over(self, refusal: Refusal | None) -> Deferred[None]:
        """See `Joiner`. The transferor hears how it ended before it is let go (RFC 5589 section 6.1)."""
        if refusal is None:
            if self._loan is not None:
                self._loan.keep(self.bridge)
            if self._route is not None:
                self.bridge.bound(self._route)
            self.bridge.transfers += 1
            self._explain("done")
            self.referring.finish(200, "OK")
        else:
            self._explain(f"failed: {refusal.status} {refusal.account}")
            self.referring.finish(refusal.status, refusal.reason)
            self._withdraw()
        return self.referring.when_told()

    def returns(self, leg: Leg) -> bool:
        """Give a leg that did not come in back to the call that it is from; say whether it is from another one."""
        if self._loan is None:
            return False
        self._give_back(leg, was_changed=True)
        return True

    def _fail(self) -> None:
        self._stop_timer()
        self._is_over = True
        self._withdraw()
        self.bridge.inbox.put((self._transferor, TransferFailed()))

    def _withdraw(self) -> None:
        route, self._route = self._route, None
        if route is not None:
            self.bridge.withdraw()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _explain(self, text: str) -> None:
        self.bridge.explain("transfer", text, self._transferor.name)

    def _broke(self, failure: Failure) -> None:
        """A bug costs this transfer only."""
        self._log.failure("a transfer in call {call} broke", failure, call=self.bridge.id)
        self.referring.answer(500)
        self.refused(Refusal(500, "Server Internal Error"))


class _Outcome:
    """What came of asking the party that is to be taken over: see `Telling`."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None

    def told(self, description: SessionDescription, response: Response) -> None:
        """It has agreed."""

    def not_told(self, refusal: Refusal) -> None:
        """It has not."""
        self.refusal = self.refusal or refusal
