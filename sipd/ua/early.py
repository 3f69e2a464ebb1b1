"""The early dialog that the caller of an INVITE has with one callee (RFC 3261 section 12.1.2, RFC 3262 section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.errors import LocalError, ParseError, RemoteError
from sipd.sip.fields import RAck
from sipd.sip.message import Response
from sipd.sip.reliable import Acknowledge, ReliableCallMachine
from sipd.ua.updating import Updates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.python.failure import Failure

    from sipd.sip.dialog import Dialog
    from sipd.ua.session import Session


class EarlyDialog:
    """Acknowledges what one callee says before its answer. Performs a `ReliableCallMachine`.

    Args:
        session: whose INVITE it is.
        dialog: made by a provisional response; of a later INVITE the session's own.
        takes_offer: the INVITE had no offer, and the user answers the one of a reliable provisional response.

    Attributes:
        dialog: the dialog.
        updates: the UPDATEs in it.
    """

    __slots__ = ("_machine", "_owed", "_session", "_takes_offer", "dialog", "updates")

    def __init__(self, session: Session, dialog: Dialog, *, takes_offer: bool) -> None:
        self.dialog = dialog
        self.updates = session.updates if session.dialog is dialog else Updates(session, dialog)
        self._session = session
        self._takes_offer = takes_offer
        self._machine: ReliableCallMachine | None = None
        #: A response with an offer that has no PRACK yet, and the RAck of that.
        self._owed: tuple[Response, RAck] | None = None

    def is_news(self, response: Response) -> bool:
        """Take a reliable provisional response, and acknowledge it; say whether it tells anything new."""
        if self._owed is not None:
            return False  # It comes again, or before its turn: that is after the PRACK of this one.
        if self._machine is None:
            self._machine = ReliableCallMachine()
        try:
            event = self._machine.event_of(response)
        except ParseError as error:
            self._explain(f"a provisional response that cannot be acknowledged: {error.reason}")
            return False
        if event is None:
            return False
        for effect in self._machine.feed(event, response):
            if isinstance(effect, Acknowledge):
                if self._takes_offer and response.body:
                    self._takes_offer = False
                    self._owed = response, effect.rack
                else:
                    self._send_prack(effect.rack)
        return True

    def owes_prack(self, response: Response) -> bool:
        """Whether the PRACK of that response waits for `acknowledge`."""
        return self._owed is not None and self._owed[0] is response

    def acknowledge(self, response: Response, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Send that PRACK, with the answer. Does nothing where it is not due."""
        if self._owed is not None and self._owed[0] is response:
            (_, rack), self._owed = self._owed, None
            self._send_prack(rack, headers, body)

    def _send_prack(self, rack: RAck, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> None:
        session = self._session
        prack = self.dialog.request("PRACK", (("RAck", str(rack)), *headers), body)
        self.updates.said(prack)
        self.updates.prack_sent()
        sending = session.agent.request_in_dialog(session, self.dialog, prack)
        sending.addCallbacks(self._prack_answered, self._prack_failed)

    def _prack_answered(self, response: Response) -> None:
        self.updates.prack_answered()
        if not response.is_success:
            self._explain(f"PRACK: {response.status} {response.reason}")

    def _prack_failed(self, failure: Failure) -> None:
        failure.trap(RemoteError, LocalError)
        self.updates.prack_answered()
        self._explain(f"PRACK: {failure.getErrorMessage()}")

    def _explain(self, text: str) -> None:
        self._session.agent.explain(self._session, text)
