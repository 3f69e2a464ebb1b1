"""Which message carries an offer, and which an answer: RFC 6337 section 2, RFC 3262 section 5, RFC 3311 section 5.

`Negotiation` is told of each message that could carry a description, sent or received, with the one it has or without.
It says what the description means, and refuses what comes at the wrong time. It knows neither SIP messages nor
addresses of its own, so it serves a leg of a B2BUA, whose descriptions come from the other leg, as well as an end
point.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from sipd.errors import InvalidStateError, RequestRefusedError, SdpError
from sipd.sdp.codecs import CodecFilter
from sipd.sdp.description import SessionDescription
from sipd.sdp.exchange import Exchange, State
from sipd.sdp.offer_answer import LocalOrigin

#: Whose UPDATE has no final response, at first. Shared: an empty set of its own would be 216 octets in each leg.
_NOBODYS: frozenset[State] = frozenset()


class Carrier(Enum):
    """A message that could carry a description."""

    INVITE = "INVITE"
    PROVISIONAL = "1xx to INVITE that is not reliable"
    RELIABLE = "1xx to INVITE that is acknowledged by PRACK"
    SUCCESS = "2xx to INVITE"
    ACK = "ACK"
    PRACK = "PRACK"
    PRACK_SUCCESS = "2xx to PRACK"
    UPDATE = "UPDATE"
    UPDATE_SUCCESS = "2xx to UPDATE"

    __hash__ = object.__hash__


class Meaning(Enum):
    """What a received description is."""

    OFFER = "an offer: answer it"
    ANSWER = "the answer: it is in force"
    PREVIEW = "what the answer will probably be: good for early media"
    NOTHING = "nothing, or what is known already"

    __hash__ = object.__hash__


class Negotiation(Exchange):
    """Offer and answer in one dialog, as one side sees them.

    Call `send` or `receive` for each message of a `Carrier`, in the order in which they leave and arrive,
    retransmissions left out; `refused` and `refuse` where the final response to INVITE, PRACK or UPDATE is no 2xx.

    Args:
        origin: stamps what is sent. The negotiation owns it.
        entropy: for Retry-After.
        codec_filter: passed by everything that is sent and by offers that are received; ``None`` lets all through.

    Attributes (beside those of `Exchange`):
        is_doubtful: an INVITE failed in which something was agreed on, or an answer was of no use. Make a new offer,
            such as ``refresh``, as soon as `can_send` allows (RFC 6141 section 3.4), or end the session.
    """

    __slots__ = (
        "_awaits_ack",
        "_awaits_prack",
        "_before",
        "_carrier",
        "_entropy",
        "_invite",
        "_is_settled",
        "_is_withdrawn",
        "_update",
    )

    def __init__(
        self, origin: LocalOrigin, entropy: Callable[[int], bytes], codec_filter: CodecFilter | None = None
    ) -> None:
        super().__init__(origin, codec_filter)
        self._entropy = entropy
        #: What the offer came or went in.
        self._carrier = Carrier.INVITE
        #: Whose INVITE, and whose UPDATE, has no final response yet.
        self._invite: State | None = None
        self._update = _NOBODYS
        #: Whether the INVITE has had its own offer and answer: other descriptions in its responses mean nothing.
        self._is_settled = False
        self._awaits_ack = False
        self._awaits_prack = False
        #: Whether an offer in a reliable 1xx was given up with its INVITE: the PRACK that may come answers nothing.
        self._is_withdrawn = False
        #: What was in force before an answer that went in a reliable 1xx, while the peer may not have seen that.
        self._before: tuple[SessionDescription | None, SessionDescription | None] | None = None

    def can_send(self, carrier: Carrier) -> bool:
        """Say whether an INVITE, with or without an offer, or an UPDATE with one may be sent now.

        RFC 3261 section 14.1, RFC 3311 section 5.1. Whether the dialog is far enough for it is not known here.
        """
        if self.state is not State.STABLE or self._awaits_ack:
            return False
        if carrier is Carrier.INVITE:
            return self._invite is None and not self._update
        # Once the INVITE has had its answer; the PRACK tells the callee that the caller has it.
        return State.LOCAL_OFFER not in self._update and (
            self._invite is None
            or (self._is_settled and not (self._awaits_prack and self._invite is State.REMOTE_OFFER))
        )

    def fork(self) -> Negotiation:
        """Give a copy that goes on by itself: one for each callee that answers the same INVITE."""
        copy = Negotiation(self.origin.copy(), self._entropy, self.codec_filter)
        copy.policy = self.policy
        copy.state = self.state
        copy.offer = self.offer
        copy.preview = self.preview
        copy.local = self.local
        copy.remote = self.remote
        copy.is_doubtful = self.is_doubtful
        copy._carrier = self._carrier
        copy._invite = self._invite
        copy._update = self._update
        copy._is_settled = self._is_settled
        copy._awaits_ack = self._awaits_ack
        copy._awaits_prack = self._awaits_prack
        copy._is_withdrawn = self._is_withdrawn
        copy._before = self._before
        return copy

    # --- sending --------------------------------------------------------------------------------------------

    def send(self, carrier: Carrier, description: SessionDescription | None = None) -> SessionDescription | None:
        """Take note that a message leaves.

        Args:
            carrier: which one.
            description: what to say in it, with anybody's ``o=`` line.

        Returns:
            What to put into it, as this leg says it: with its origin, without codecs that are filtered out, with as
            many media lines as before, and no more than the peer's offer allows. ``None`` to put nothing into it: what
            it would say is agreed on already, or is not the turn of this message.

        Raises:
            InvalidStateError: the message may not leave now, not without a description, or not with one.
            SdpError: the description is no answer to the peer's offer, or no codec is left.

        What raises changes nothing.
        """
        match carrier:
            case Carrier.INVITE | Carrier.UPDATE:
                return self._send_request(carrier, description)
            case Carrier.PROVISIONAL:
                if description is None or not self._is_pending(State.REMOTE_OFFER, Carrier.INVITE):
                    return None
                return self.preview_answer(description)
            case Carrier.RELIABLE:
                return self._send_reliable(description)
            case Carrier.SUCCESS:
                return self._send_success(description)
            case Carrier.ACK:
                return self._send_ack(description)
            case Carrier.PRACK:
                return self._send_prack(description)
            case Carrier.PRACK_SUCCESS:
                return self._send_answer(Carrier.PRACK, description)
            case Carrier.UPDATE_SUCCESS:
                answer = self._send_answer(Carrier.UPDATE, description)
                self._update -= {State.REMOTE_OFFER}
                return answer

    def refused(self, carrier: Carrier) -> None:
        """Take note that the peer refused this side's INVITE, PRACK or UPDATE, or never answered it."""
        self._fail(carrier, State.LOCAL_OFFER)

    def _send_request(self, carrier: Carrier, description: SessionDescription | None) -> SessionDescription | None:
        has_turn = carrier is Carrier.INVITE or description is not None
        if State.LOCAL_OFFER in self._update or (has_turn and not self.can_send(carrier)):
            raise InvalidStateError(f"{carrier.value} cannot be sent now")
        offer = None if description is None else self._offer_in(carrier, description)
        if carrier is Carrier.INVITE:
            self._open_invite(State.LOCAL_OFFER)
        else:
            self._update |= {State.LOCAL_OFFER}
        return offer

    def _send_reliable(self, description: SessionDescription | None) -> SessionDescription | None:
        made = None
        if description is not None and self._is_pending(State.REMOTE_OFFER, Carrier.INVITE):
            before = (self.local, self.remote)
            made = self._settle(description)
            self._before = before
        elif description is not None and self._lacks_offer(State.REMOTE_OFFER):
            made = self._offer_in(Carrier.RELIABLE, description)
        self._awaits_prack = True
        return made

    def _send_success(self, description: SessionDescription | None) -> SessionDescription | None:
        made = None
        if self._is_pending(State.LOCAL_OFFER, Carrier.RELIABLE):
            raise InvalidStateError("The offer in the reliable response has no answer yet")
        if self._is_pending(State.REMOTE_OFFER, Carrier.INVITE):
            made = self._settle(_needed(description))
        elif self._lacks_offer(State.REMOTE_OFFER):
            made = self._offer_in(Carrier.SUCCESS, _needed(description))
        self._invite = self._before = None
        self._awaits_ack = True
        return made

    def _send_ack(self, description: SessionDescription | None) -> SessionDescription | None:
        if self._is_pending(State.REMOTE_OFFER, Carrier.SUCCESS) and description is None:
            # An ACK has to be sent, with the answer or without it.
            self.drop_offer()
            self.is_doubtful = True
        return self._send_answer(Carrier.SUCCESS, description)

    def _send_prack(self, description: SessionDescription | None) -> SessionDescription | None:
        if description is None or self.state is State.REMOTE_OFFER:
            return self._send_answer(Carrier.RELIABLE, description)
        if self.state is State.LOCAL_OFFER or self._invite is not State.LOCAL_OFFER or not self._is_settled:
            raise InvalidStateError("PRACK with an offer, before the INVITE has had its answer")
        return self._offer_in(Carrier.PRACK, description)

    def _send_answer(self, offered_in: Carrier, description: SessionDescription | None) -> SessionDescription | None:
        if self._is_pending(State.REMOTE_OFFER, offered_in):
            return self._settle(_needed(description))
        return None

    def _offer_in(self, carrier: Carrier, description: SessionDescription) -> SessionDescription:
        offer = self.make_offer(description)
        self._carrier = carrier
        return offer

    def _settle(self, description: SessionDescription) -> SessionDescription:
        answer = self.make_answer(description)
        self._is_settled = True
        return answer

    # --- receiving ------------------------------------------------------------------------------------------

    def receive(self, carrier: Carrier, description: SessionDescription | None = None) -> Meaning:
        """Take a message.

        Args:
            carrier: which one.
            description: what it says, if it says anything.

        Returns:
            What the description means. An offer is in ``offer``, with the codecs that may be used; an answer is in
            `remote`.

        Raises:
            RequestRefusedError: INVITE, PRACK or UPDATE at the wrong time, to be answered 491, or 500 with Retry-After
                (RFC 3261 section 14.2, RFC 3311 section 5.2).
            SdpError: an offer without a codec that may be used, to be answered 488. Or an answer that is none, or none
                where it is due: the offer is given up, and the session `is_doubtful`.

        A request that raises is not taken: `refuse` is not to be called for it.
        """
        match carrier:
            case Carrier.INVITE:
                return self._receive_invite(description)
            case Carrier.UPDATE:
                return self._receive_update(description)
            case Carrier.PROVISIONAL:
                if description is None or not self._is_pending(State.LOCAL_OFFER, Carrier.INVITE):
                    return Meaning.NOTHING
                return Meaning.PREVIEW if self.take_preview(description) else Meaning.NOTHING
            case Carrier.RELIABLE:
                return self._receive_reliable(description)
            case Carrier.SUCCESS:
                return self._receive_success(description)
            case Carrier.ACK:
                self._awaits_ack = False
                return self._receive_answer(Carrier.SUCCESS, description)
            case Carrier.PRACK:
                return self._receive_prack(description)
            case Carrier.PRACK_SUCCESS:
                return self._receive_answer(Carrier.PRACK, description)
            case Carrier.UPDATE_SUCCESS:
                self._update -= {State.LOCAL_OFFER}
                return self._receive_answer(Carrier.UPDATE, description)

    def refuse(self, carrier: Carrier) -> None:
        """Take note that this side refuses an INVITE, PRACK or UPDATE that `receive` has taken."""
        self._fail(carrier, State.REMOTE_OFFER)

    def _receive_invite(self, description: SessionDescription | None) -> Meaning:
        if self._invite is State.LOCAL_OFFER:
            raise _pending()
        if self._invite is State.REMOTE_OFFER:
            raise self._too_early("An INVITE is being answered")
        if self._is_pending(State.REMOTE_OFFER, Carrier.SUCCESS):
            # Until the ACK the INVITE of this side is in progress (RFC 3261 section 14.2).
            raise _pending()
        meaning = self._receive_offer(Carrier.INVITE, description)
        self._open_invite(State.REMOTE_OFFER)
        # Whoever goes on has the 2xx: its ACK is late or lost (RFC 5407 section 3.1).
        self._awaits_ack = False
        self._is_withdrawn = False
        return meaning

    def _receive_update(self, description: SessionDescription | None) -> Meaning:
        if State.REMOTE_OFFER in self._update:
            raise self._too_early("An UPDATE is being answered")
        meaning = Meaning.NOTHING
        if description is not None:
            meaning = self._receive_offer(Carrier.UPDATE, description)
        self._update |= {State.REMOTE_OFFER}
        return meaning

    def _receive_reliable(self, description: SessionDescription | None) -> Meaning:
        if description is None:
            return Meaning.NOTHING
        if self._lacks_offer(State.LOCAL_OFFER):
            return self._receive_offer(Carrier.RELIABLE, description)
        return self._receive_answer(Carrier.INVITE, description)

    def _receive_success(self, description: SessionDescription | None) -> Meaning:
        lacks_offer = self._lacks_offer(State.LOCAL_OFFER)
        self._invite = None
        if not lacks_offer:
            return self._receive_answer(Carrier.INVITE, description)
        if description is None:
            raise SdpError("The offer is missing")
        return self._receive_offer(Carrier.SUCCESS, description)

    def _receive_prack(self, description: SessionDescription | None) -> Meaning:
        self._awaits_prack = False
        self._before = None
        if self._is_pending(State.LOCAL_OFFER, Carrier.RELIABLE):
            return self._receive_answer(Carrier.RELIABLE, description)
        if description is None or self._is_withdrawn:
            return Meaning.NOTHING
        return self._receive_offer(Carrier.PRACK, description)

    def _receive_offer(self, carrier: Carrier, description: SessionDescription | None) -> Meaning:
        """Take an offer, or an INVITE that asks for one, if it is the peer's turn."""
        is_asked_for = carrier is Carrier.RELIABLE
        if self.state is State.LOCAL_OFFER or (self._lacks_offer(State.LOCAL_OFFER) and not is_asked_for):
            raise _pending()
        if self.state is State.REMOTE_OFFER or self._lacks_offer(State.REMOTE_OFFER):
            raise self._too_early("Another offer is to be answered, or to be made, first")
        if description is None:
            return Meaning.NOTHING
        self.take_offer(description)
        self._carrier = carrier
        self._before = None
        return Meaning.OFFER

    def _receive_answer(self, offered_in: Carrier, description: SessionDescription | None) -> Meaning:
        """Take the answer to an offer of this side, if there is one that went in that message."""
        if not self._is_pending(State.LOCAL_OFFER, offered_in):
            return Meaning.NOTHING
        self._is_settled = True
        self.take_answer(description)
        return Meaning.ANSWER

    # --- in common ------------------------------------------------------------------------------------------

    def _is_pending(self, whose: State, carrier: Carrier) -> bool:
        """Say whether an offer of that side, in that message, waits for its answer."""
        return self.state is whose and self._carrier is carrier

    def _lacks_offer(self, whose: State) -> bool:
        """Say whether that side has sent an INVITE without an offer, and the other one has made none yet."""
        return self._invite is whose and not self._is_settled and self.state is State.STABLE

    def _open_invite(self, whose: State) -> None:
        self._invite = whose
        self._is_settled = False
        self._awaits_prack = False

    def _fail(self, carrier: Carrier, whose: State) -> None:
        """Give up what a request of that side, which is refused, was about."""
        if carrier is Carrier.INVITE:
            if self._invite is whose:
                self._fail_invite(whose)
            return
        if carrier is Carrier.UPDATE:
            self._update -= {whose}
        if self._is_pending(whose, carrier):
            self.drop_offer()

    def _fail_invite(self, whose: State) -> None:
        if self._carrier in (Carrier.INVITE, Carrier.RELIABLE):
            self._is_withdrawn = self.state is State.LOCAL_OFFER and whose is State.REMOTE_OFFER
            self.drop_offer()
        if self._before is not None:
            self.local, self.remote = self._before
            self._before = None
        elif self._is_settled and whose is State.LOCAL_OFFER:
            # What was agreed on while the INVITE lasted stays, but the peer may have gone back.
            self.is_doubtful = True
        self._invite = None

    def _too_early(self, reason: str) -> RequestRefusedError:
        seconds = self._entropy(1)[0] % 11
        return RequestRefusedError(reason, status=500, headers=(("Retry-After", str(seconds)),))


def _pending() -> RequestRefusedError:
    return RequestRefusedError("Request Pending", status=491)


def _needed(description: SessionDescription | None) -> SessionDescription:
    if description is None:
        raise InvalidStateError("A description is due in this message")
    return description
