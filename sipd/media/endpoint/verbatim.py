"""Media that an application has in its own hands: descriptions that it writes itself (RFC 3264)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipd.errors import InvalidStateError
from sipd.interfaces import IMediaEndpoint
from sipd.sdp.description import Direction, SessionDescription, parse_description
from sipd.sdp.offer_answer import check_answer

#: Writes the answer to an offer; may raise `SdpError`.
AnswerMaker = Callable[[SessionDescription], SessionDescription]


@implementer(IMediaEndpoint)
class VerbatimEndpoint:
    """Says what it is told to say, and keeps what the peer says.

    Args:
        description: what every offer says, and every answer too where ``answer`` is not given. Octets are not checked
            beyond being a session description.
        answer: writes answers.

    Attributes:
        remote: what the peer has said last, or ``None``.
        on_remote: called with it each time.

    Raises:
        SdpError: the description is none.
    """

    def __init__(self, description: bytes, answer: AnswerMaker | None = None) -> None:
        self.description = parse_description(description)
        self.remote: SessionDescription | None = None
        self.on_remote: Callable[[SessionDescription], object] | None = None
        self._answer = answer
        self._is_closed = False
        self._offer: SessionDescription | None = None

    def prepare(self) -> Deferred[None]:
        """See `IMediaEndpoint`. There is nothing to do."""
        return succeed(None)

    def make_offer(self, direction: Direction = Direction.SENDRECV) -> SessionDescription:
        """See `IMediaEndpoint`. The description verbatim; of another direction than both ways it says that, too."""
        if self._is_closed:
            raise InvalidStateError("The media are closed")
        self._offer = self._described(direction)
        return self._offer

    def take_answer(self, answer: SessionDescription) -> None:
        """See `IMediaEndpoint`."""
        check_answer(self._offer or self.description, answer)
        self._learn(answer)

    def answer_offer(self, offer: SessionDescription, direction: Direction = Direction.SENDRECV) -> SessionDescription:
        """See `IMediaEndpoint`."""
        if self._answer is not None:
            answer = self._answer(offer)
        else:
            answer = self._described(direction)
            check_answer(offer, answer)
        self._learn(offer)
        return answer

    def offer_rejected(self) -> None:
        """See `IMediaEndpoint`."""
        self._offer = None

    def close(self) -> Deferred[None]:
        """See `IMediaEndpoint`."""
        self._is_closed = True
        return succeed(None)

    def _described(self, direction: Direction) -> SessionDescription:
        if direction is Direction.SENDRECV:
            return self.description
        media = tuple([one if one.is_disabled else one.with_direction(direction) for one in self.description.media])
        return SessionDescription(self.description.text, media)

    def _learn(self, description: SessionDescription) -> None:
        self.remote = description
        if self.on_remote is not None:
            self.on_remote(description)
