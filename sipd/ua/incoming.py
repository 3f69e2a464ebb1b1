"""A call that comes in: the callee's session (RFC 3261 sections 12.1.1 and 13.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.errors import RequestRefusedError
from sipd.interfaces import IServerTransaction
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.headers import Fields
from sipd.sip.message import Request
from sipd.sip.reliable import EXTENSION, Reliability, reliability
from sipd.ua.answering import Answering
from sipd.ua.ending import end, finish
from sipd.ua.events import Cancelled, Ended
from sipd.ua.provisional import is_reliable
from sipd.ua.session import Session
from sipd.ua.updating import Updates

if TYPE_CHECKING:
    from sipd.ua.core import UserAgent
    from sipd.ua.settings import AgentSettings


class IncomingCall(Session):
    """A call offered by a peer.

    Attributes:
        invite: the INVITE.
        transaction: its server transaction.

    Raises:
        RequestRefusedError: what it asks of the session timer is refused: 422. Or it lacks what is required here: 421.
        ParseError: what it says of that is malformed.
    """

    def __init__(self, agent: UserAgent, transaction: IServerTransaction, local_tag: str) -> None:
        request = transaction.request
        super().__init__(agent, call_id=request.call_id, local_tag=local_tag, is_caller=False)
        self._check(request)
        self.updates.learn(request)
        self.invite: Request = request
        self.transaction = transaction
        contact = agent.contact(transaction.flow, request.to.uri, request)
        self.dialog = Dialog.of_callee(request, local_tag, contact)
        self.take_flow(request, transaction.flow)
        self.answering = self._first = Answering(self, transaction)

    def use(self, settings: AgentSettings) -> None:
        """Let that be how the user agent presents itself in this call, before anything is answered.

        Raises:
            RequestRefusedError: the INVITE is to be refused, as above.
        """
        self.settings = settings
        self.refreshing.use(settings.session_timer)
        self._check(self.invite)
        self._first.wish = reliability(self.invite, settings.supported)

    def _check(self, request: Request) -> None:
        self.refreshing.check(request)
        if self.settings.require_reliable and reliability(request) is Reliability.NONE:
            # RFC 3261 section 21.4.16.
            raise RequestRefusedError("Extension Required", status=421, headers=(("Require", EXTENSION),))

    @property
    def wish(self) -> Reliability:
        """What the caller wants of provisional responses, and gets."""
        return self._first.wish

    @property
    def is_answered(self) -> bool:
        """Whether a final response was given."""
        return self._first.is_answered

    @property
    def is_accepted(self) -> bool:
        """Whether the 2xx has left; until then it may wait for a PRACK."""
        return self._first.is_accepted

    def is_reliable(self, *, has_description: bool) -> bool:
        """Say whether a provisional response would be sent until the caller acknowledges it (RFC 3262)."""
        return is_reliable(self._first.wish, has_description=has_description)

    def name(self, fields: tuple[tuple[str, str], ...]) -> None:
        """See `Session`; into the answers to the INVITE, too."""
        super().name(fields)
        self.transaction.standing = fields

    def ring(self, status: int = 180, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Send a provisional response; it is sent again each minute. Absorbed after a final response."""
        self._first.ring(status, reason, headers, body)

    def accept(self, headers: Fields = (), body: bytes = b"", *, status: int = 200, reason: str | None = None) -> None:
        """Send a 2xx; `Acknowledged` follows, or `Ended` where no ACK comes. Absorbed after a final response."""
        if not self.is_answered and self.dialog is not None:
            self.dialog.state = DialogState.CONFIRMED
            self._first.accept(headers, body, status=status, reason=reason)
            self.pinging.start()

    def reject(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Send a final response of 300 to 699; the session is over. Absorbed after another one."""
        if not self.is_answered:
            finish(self)
            self.end_waiting()
            self._first.reject(status, reason, headers, body)
            self.agent.forget(self)

    def is_free(self, updates: Updates) -> bool:
        """Whether an UPDATE may leave; before the answer only after a PRACK (RFC 3311 section 5.1)."""
        return super().is_free(updates) and (self.is_answered or self._first.is_acknowledged)

    def answering_cancelled(self, answering: Answering, event: Cancelled) -> None:
        """The call is over before it was answered; a later INVITE that is cancelled changes nothing."""
        if answering.request is self.invite:
            # Also where the user has accepted it: the 2xx has waited for a PRACK.
            end(self, event)
            self.agent.forget(self)
        else:
            super().answering_cancelled(answering, event)

    def answering_failed(self, answering: Answering, event: Ended) -> None:
        """No ACK came, or the answer could not be sent."""
        super().answering_failed(answering, event)
        if not (self.is_confirmed and answering.is_accepted):
            # There is no dialog that a BYE could end.
            self.agent.forget(self)
