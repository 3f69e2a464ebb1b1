"""One side of a bridged call: a session, and what it negotiates with its peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.logger import Logger

from sipd.b2bua import policing
from sipd.b2bua.headers import body_fields
from sipd.errors import InvalidStateError, ParseError
from sipd.interfaces import Attempt, AttemptRecord, Dtmf, EarlyMedia
from sipd.policies import LegPolicy, ReliablePolicy, TransferPolicy
from sipd.sdp.codecs import agreed_encodings
from sipd.sdp.negotiation import Carrier, Negotiation
from sipd.sip.glare import other_delay, owner_delay
from sipd.sip.headers import Headers
from sipd.sip.reliable import EXTENSION
from sipd.ua.bodies import SDP, find_description, is_other_content, replace_description
from sipd.ua.outgoing import OutgoingCall

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from sipd.b2bua.events import BridgeEvent
    from sipd.b2bua.identity import Side
    from sipd.b2bua.inbox import Inbox
    from sipd.b2bua.reasons import Reasons
    from sipd.b2bua.refusals import Refusal
    from sipd.sdp.description import SessionDescription
    from sipd.sip.fields import NameAddr
    from sipd.sip.headers import Fields
    from sipd.sip.message import Request, Response
    from sipd.ua.incoming import IncomingCall
    from sipd.ua.outgoing import CallRequest
    from sipd.ua.session import Session
    from sipd.ua.settings import AgentSettings


_log = Logger()


@dataclass(slots=True)
class Content:
    """What one leg gets of a message of the other: the header fields that cross, and the body."""

    headers: Headers
    body: bytes


class Leg:
    """A leg of a call.

    Args:
        name: ``a`` for the caller's, ``b1``, ``b2``, ... for those that are tried.
        negotiation: of its session description; each leg has an origin and versions of its own (lesson 31).
        attempt: what is tried; ``None`` for the caller's.

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
    def policy(self) -> LegPolicy | None:
        """What is wanted of it, beside what the attempt says."""
        return self.side.policy

    @property
    def early_media(self) -> EarlyMedia:
        """What the other side is told of media that comes before its answer."""
        policy = self.side.policy
        if policy is not None and policy.early_media is not None:
            return policy.early_media
        return EarlyMedia.PASS if self.attempt is None else self.attempt.early_media

    def early_media_of(self, callee: Leg) -> EarlyMedia:
        """Say what this one is told, as a caller, of media that comes before the answer of a callee."""
        policy = self.side.policy
        return callee.early_media if policy is None or policy.early_media is None else policy.early_media

    def transfer_policy(self, default: TransferPolicy) -> TransferPolicy:
        """Say what becomes of its REFER."""
        policy = self.side.policy
        return default if policy is None or policy.transfer is None else policy.transfer

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
            response: the 2xx; ``None`` if there is none.
            tag: whose, of those who may yet answer the INVITE; ``None`` for the session's own peer.
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
            message: the other leg's; ``None`` if there is none.
            description: what this leg says of the session, in the place of what the message says, if it says anything;
                ``None`` to leave off a body that describes one.
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

    # --- what its policy makes of that ----------------------------------------------------------------------

    def follow_policy(self, call: IncomingCall | None = None) -> None:
        """Let the policy of its side, if there is one, hold for what it says of the session and of itself.

        Args:
            call: its session, if that has come in.

        Raises:
            RequestRefusedError: the INVITE does not meet what is wanted.
        """
        policy = self.side.policy
        if policy is not None:
            self.negotiation.policy = policy.description
            if call is not None:
                call.use(policing.agent_settings(policy, call.agent.settings))

    def completed(self, invitation: CallRequest, settings: AgentSettings) -> CallRequest:
        """Give the INVITE that it is called with as its policy wants it.

        Args:
            invitation: the INVITE.
            settings: how the user agent presents itself to others.
        """
        policy = self.side.policy
        if policy is not None:
            invitation.settings = policing.agent_settings(policy, settings)
            if policy.reliable is ReliablePolicy.REQUIRED and invitation.body:
                invitation.headers.add("Require", EXTENSION)
            if policy.addresses is not None and policy.addresses.to_is_target:
                invitation.callee = policy.addresses.target(invitation.uri)
        return invitation

    def made(self, method: str, fields: Fields, *, is_request: bool = True) -> Fields:
        """Give the fields of a message that this server makes for it."""
        policy = self.side.policy
        if policy is None or policy.headers is None:
            return fields
        made = Headers(fields)
        policing.make(policy, made, method, is_request=is_request)
        return made

    def parting(self, reasons: Reasons) -> Reasons:
        """Give what its BYE or CANCEL says, for reasons that are given."""
        policy = self.side.policy
        if policy is None:
            return reasons
        return policing.ending(policy, reasons, "BYE" if self.session.is_established else "CANCEL")

    def hears(self, refusal: Refusal) -> Refusal:
        """Give what a refusal of its peer is taken for."""
        policy = self.side.policy
        return refusal if policy is None else policing.hear(policy, refusal)

    def progress(self, sender: Leg, status: int, reason: str) -> tuple[int, str]:
        """Give what this one is told, as a caller, of a provisional response of a callee."""
        mine, theirs = self.side.policy, sender.side.policy
        return (status, reason) if mine is theirs is None else policing.progress(theirs, mine, status, reason)

    def refusal(
        self, refusal: Refusal, fields: Fields = (), *, method: str = "INVITE", in_dialog: bool = False
    ) -> tuple[Refusal, Fields]:
        """Give what it is told of a refusal.

        Args:
            refusal: of the other side, or of this server.
            fields: what is said besides: by this server, or what crosses of the response of the other side.
            method: of the request that is refused.
            in_dialog: that is one inside of the dialog.
        """
        policy = self.side.policy
        if policy is None:
            return refusal, fields
        return policing.tell(policy, refusal, fields, method=method, in_dialog=in_dialog)

    def stop_timer(self) -> bool:
        """Stop the timer of the attempt; say whether it ran."""
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()
            return True
        return False

    def __repr__(self) -> str:
        return f"<Leg {self.name}>"
