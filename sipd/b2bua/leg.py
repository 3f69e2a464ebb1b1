"""One side of a bridged call: a session, and what it negotiates with its peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.logger import Logger

from sipd.b2bua.bodies import SDP, find_description, is_other_content, replace_description
from sipd.b2bua.headers import body_fields
from sipd.errors import InvalidStateError, ParseError
from sipd.interfaces import Attempt, AttemptRecord, Dtmf, EarlyMedia
from sipd.sdp.codecs import agreed_encodings
from sipd.sdp.negotiation import Carrier, Negotiation
from sipd.sip.glare import other_delay, owner_delay
from sipd.sip.headers import Headers
from sipd.ua.outgoing import OutgoingCall

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from sipd.b2bua.events import BridgeEvent
    from sipd.b2bua.identity import Side
    from sipd.b2bua.inbox import Inbox
    from sipd.sdp.description import SessionDescription
    from sipd.sip.fields import NameAddr
    from sipd.sip.message import Request, Response
    from sipd.ua.session import Session


_log = Logger()


@dataclass(slots=True)
class Content:
    """What one leg gets of a message of the other: the header fields that cross, and the body."""

    headers: Headers
    body: bytes


class Leg:
    """A leg of a call.

    Args:
        name: `a` for the caller's, `b1`, `b2`, ... for those that are tried.
        negotiation: of its session description; each leg has an origin and versions of its own (lesson 31).
        attempt: what is tried; `None` for the caller's.

    Attributes:
        session: its user agent session; set when it is held by the call.
        side: what it is told of who is on the other legs.
        inbox: where its events go.
        dtmf: how it wants the digits of the other side.
    """

    __slots__ = (
        "_early",
        "_negotiation",
        "attempt",
        "dtmf",
        "inbox",
        "is_live",
        "name",
        "negotiation",
        "record",
        "session",
        "side",
        "status",
        "tag",
        "timer",
    )  # fmt: skip

    session: Session
    side: Side
    inbox: Inbox[BridgeEvent]

    def __init__(self, name: str, negotiation: Negotiation, attempt: Attempt | None = None) -> None:
        self.name = name
        self.negotiation = self._negotiation = negotiation
        #: Of those who may yet answer the INVITE the one that the other side is connected with, by its tag.
        self.tag: str | None = None
        self.attempt = attempt
        self.dtmf = Dtmf.PASS if attempt is None else attempt.dtmf
        #: Whether it waits for an answer, or is up.
        self.is_live = True
        #: The last provisional status that it gave, or 0.
        self.status = 0
        #: Ends an attempt that nobody answers.
        self.timer: IDelayedCall | None = None
        #: Its entry in the call record; that of the caller's leg is in none.
        self.record = AttemptRecord(leg=name)
        if attempt is not None:
            self.record.label, self.record.uri = attempt.label, str(attempt.uri)
            self.record.trunk, self.record.user = attempt.trunk or "", attempt.user
        #: The negotiations of early dialogs that have begun one, by the tag of the callee.
        self._early: dict[str, Negotiation] = {}

    @property
    def early_media(self) -> EarlyMedia:
        """What the other side is told of media that comes before its answer."""
        return EarlyMedia.PASS if self.attempt is None else self.attempt.early_media

    @property
    def user(self) -> str | None:
        """The name of the user of ours that it belongs to, as far as that is proved."""
        return self.side.user if self.attempt is None else self.attempt.user

    def back_off(self) -> float:
        """Choose how many seconds to wait after 491 (RFC 3261 section 14.1)."""
        delay = owner_delay if isinstance(self.session, OutgoingCall) else other_delay
        return delay(self.session.agent.entropy)

    def is_of_the_same(self, other: Leg) -> bool:
        """Say whether another leg belongs to the same party: the same user, or the same place if it is none of ours."""
        if self.user is not None or other.user is not None:
            return self.user == other.user
        mine, theirs = self.session.flow, other.session.flow
        return mine is not None and theirs is not None and mine.host == theirs.host

    @property
    def peer(self) -> NameAddr:
        """Who is on the other end of it, as it is called in the dialog, without a tag."""
        assert self.session.dialog is not None
        return self.session.dialog.remote.without_parameters()

    def early(self, tag: str) -> Negotiation:
        """Give the negotiation with one of those who may yet answer the INVITE (RFC 6337 section 3.1)."""
        negotiation = self._early.get(tag)
        if negotiation is None:
            if len(self._early) >= self.session.agent.settings.max_early_dialogs:
                return self._negotiation
            negotiation = self._early[tag] = self._negotiation.fork()
        return negotiation

    def note_codecs(self) -> None:
        """Note in its record what has been agreed on, if anything."""
        local, remote = self.negotiation.local, self.negotiation.remote
        if local is not None and remote is not None:
            self.record.codecs = agreed_encodings(local, remote)

    def hear(self, tag: str) -> None:
        """Let the other side be connected with one of those who may yet answer the INVITE."""
        self.negotiation, self.tag = self.early(tag), tag

    def settle(self, tag: str) -> None:
        """Go on with the negotiation of the one who has answered."""
        self.negotiation, self.tag = self._early.get(tag, self._negotiation), None
        self._early.clear()

    def settle_update(self, response: Response | None, tag: str | None = None) -> None:
        """Take the outcome of an UPDATE that nobody waits for any more: what the peer agrees to is in force with it.

        Args:
            response: the 2xx; `None` if there is none.
            tag: whose, of those who may yet answer the INVITE; `None` for the session's own peer.
        """
        negotiation = self.negotiation if tag is None else self.early(tag)
        try:
            if response is not None:
                negotiation.receive(Carrier.UPDATE_SUCCESS, find_description(response))
                return
        except ParseError as error:
            _log.debug("an answer that nobody waits for is of no use: {error}", error=error)
        negotiation.refused(Carrier.UPDATE)

    def way_to_ask(self, *, has_offer: bool, prefers_update: bool) -> Carrier:
        """Say which request may ask for a change now: INVITE or UPDATE.

        Raises:
            InvalidStateError: none.
        """
        session = self.session
        if not session.is_established:
            if has_offer and session.can_update(self.tag):
                # A caller has acknowledged what it was told, or it could not be asked.
                self.negotiation.receive(Carrier.PRACK)
                return Carrier.UPDATE
            raise InvalidStateError("The other side cannot be asked before its answer")
        if session.is_changing:
            raise InvalidStateError("The other side is being changed")
        return Carrier.UPDATE if prefers_update and has_offer and session.allows_update else Carrier.INVITE

    def acknowledge(self, answer: SessionDescription | None = None, ack: Request | None = None) -> None:
        """Send the ACK of the 2xx that came.

        Args:
            answer: to the offer in the 2xx.
            ack: the other leg's, which it came in.

        Raises:
            SdpError: the answer is none to that offer.
        """
        said = self.negotiation.send(Carrier.ACK, answer)
        content = self.content(ack, said)
        self.session.acknowledge(content.headers, content.body)

    def content(self, message: Request | Response | None, description: SessionDescription | None) -> Content:
        """Give what this leg sends on of a message of the other leg.

        Args:
            message: the other leg's; `None` if there is none.
            description: what this leg says of the session, in the place of what the message says, if it says anything;
                `None` to leave off a body that describes one.
        """
        headers = Headers() if message is None else self.side.take(message)
        body = b""
        if description is not None:
            body = b"" if message is None else replace_description(message, description)
            if not body:
                headers.add("Content-Type", SDP)
                return Content(headers, description.to_bytes())
        elif message is not None and is_other_content(message):
            body = message.body
        if message is not None and body:
            headers.extend(body_fields(message.headers))
        return Content(headers, body)

    def stop_timer(self) -> bool:
        """Stop the timer of the attempt; say whether it ran."""
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()
            return True
        return False

    def __repr__(self) -> str:
        return f"<Leg {self.name}>"
