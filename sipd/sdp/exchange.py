"""One offer at a time, and what came of the last one: RFC 3264, without a word about the messages that carry it."""

from __future__ import annotations

from enum import Enum

from sipd.errors import InvalidStateError, SdpError
from sipd.sdp.codecs import CodecFilter, filter_codecs
from sipd.sdp.description import SessionDescription
from sipd.sdp.filters import DescriptionPolicy
from sipd.sdp.offer_answer import LocalOrigin, check_answer
from sipd.sdp.streams import Stream, agreed_streams, fit_answer, keep_slots


class State(Enum):
    """Whose offer waits for an answer."""

    STABLE = "nobody's"
    LOCAL_OFFER = "this side's"
    REMOTE_OFFER = "the peer's"

    __hash__ = object.__hash__


class Exchange:
    """What two sides agree on, as one of them sees it.

    An offer changes nothing until its answer is there, so that what is refused leaves the session as it was.

    Args:
        origin: stamps what is sent. The exchange owns it.
        codec_filter: passed by everything that is sent and by offers that are received; ``None`` lets all through.

    Attributes:
        policy: passed by everything that is sent and received, after `codec_filter`; ``None`` lets all through.
        state: whose offer waits for an answer.
        offer: that offer: as sent, or as received and filtered.
        preview: what the peer will probably answer.
        local: what this side said in the exchange that is in force, ``None`` before the first.
        remote: what the peer said in it.
        is_doubtful: the peer may hold something else to be in force. A new exchange ends the doubt.
    """

    __slots__ = ("codec_filter", "is_doubtful", "local", "offer", "origin", "policy", "preview", "remote", "state")

    def __init__(self, origin: LocalOrigin, codec_filter: CodecFilter | None = None) -> None:
        self.origin = origin
        self.codec_filter = codec_filter
        self.policy: DescriptionPolicy | None = None
        self.state = State.STABLE
        self.offer: SessionDescription | None = None
        self.preview: SessionDescription | None = None
        self.local: SessionDescription | None = None
        self.remote: SessionDescription | None = None
        self.is_doubtful = False

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What is in force, one entry for each media line; empty before the first exchange.

        Raises:
            SdpError: an address is malformed.
        """
        return () if self.local is None or self.remote is None else agreed_streams(self.local, self.remote)

    @property
    def is_repeated(self) -> bool:
        """Whether the offer that waits is what the peer said last, its version included: it changes nothing."""
        return self.offer is not None and self.remote is not None and self.offer.to_bytes() == self.remote.to_bytes()

    @property
    def is_held(self) -> bool:
        """Whether the peer holds each stream that there is."""
        active = [stream for stream in self.streams if stream.is_active]
        return bool(active) and all(stream.is_held for stream in active)

    def refresh(self) -> SessionDescription:
        """Give what this side said last, to be offered again: its version stays (RFC 4028 section 7.4).

        Raises:
            InvalidStateError: nothing is in force yet.
        """
        if self.local is None:
            raise InvalidStateError("Nothing is agreed on yet")
        return self.local

    def make_offer(self, description: SessionDescription) -> SessionDescription:
        """Offer something; give it as this leg says it. The list of media lines never shrinks.

        Raises:
            SdpError: no codec is left.
        """
        offer = self.origin.stamp(keep_slots(self._filtered(description), self.local))
        self.offer = offer
        self.state = State.LOCAL_OFFER
        return offer

    def make_answer(self, description: SessionDescription) -> SessionDescription:
        """Answer the peer's offer; give the answer as this leg says it. It is in force.

        Raises:
            SdpError: it is no answer to that offer, or no codec is left.
        """
        answer = self.preview_answer(description)
        assert self.offer is not None
        self._agree(answer, self.offer)
        return answer

    def preview_answer(self, description: SessionDescription) -> SessionDescription:
        """Give an answer to the peer's offer as this leg would say it. It is not in force.

        Raises:
            SdpError: as for `make_answer`.
        """
        assert self.offer is not None
        answer = fit_answer(self.offer, self._filtered(description))
        check_answer(self.offer, answer)
        return self.origin.stamp(answer)

    def take_offer(self, description: SessionDescription) -> None:
        """Take an offer of the peer.

        Raises:
            SdpError: no codec is left.
        """
        self.offer = self._filtered(description)
        self.state = State.REMOTE_OFFER

    def take_preview(self, description: SessionDescription) -> bool:
        """Take what the peer will probably answer; say whether it is of use."""
        assert self.offer is not None
        try:
            check_answer(self.offer, description)
            self.preview = self._permitted(description)
        except SdpError:
            return False
        return True

    def take_answer(self, description: SessionDescription | None) -> None:
        """Take the peer's answer. It is in force.

        Raises:
            SdpError: it is missing, or no answer to the offer, which is given up; the peer may think otherwise.
        """
        assert self.offer is not None
        try:
            if description is None:
                raise SdpError("The answer is missing")
            check_answer(self.offer, description)
            answer = self._permitted(description)
        except SdpError:
            self.drop_offer()
            self.is_doubtful = True
            raise
        self._agree(self.offer, answer)

    def drop_offer(self) -> None:
        """Give up the offer that waits, if there is one."""
        self.state = State.STABLE
        self.offer = None
        self.preview = None

    def _agree(self, local: SessionDescription, remote: SessionDescription) -> None:
        self.local = local
        self.remote = remote
        self.is_doubtful = False
        self.drop_offer()

    def _filtered(self, description: SessionDescription) -> SessionDescription:
        if self.codec_filter is not None:
            description = filter_codecs(description, self.codec_filter)
        return self._permitted(description)

    def _permitted(self, description: SessionDescription) -> SessionDescription:
        return description if self.policy is None else self.policy.apply(description)
