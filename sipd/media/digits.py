"""The digits of one session: who hears those that legs send, whose are taken out, and which are sent from here.

Digits are secret, they may be a PIN: what explains a call, logs and records does not contain them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from sipd.interfaces import Entropy
from sipd.media.engine import Report
from sipd.media.events import EventSender
from sipd.media.numbering import Numbering
from sipd.media.pacer import Pacer

if TYPE_CHECKING:
    from sipd.media.stream import RelayStream
    from sipd.media.treatment import Treatment

#: Called with a leg and a digit.
Hear = Callable[[str, str], object]


class DigitSession(Protocol):
    """The session that they are of."""

    def streams(self) -> Sequence[RelayStream]:
        """Give the streams in force."""

    def treatment(self, stream: RelayStream) -> Treatment:
        """Give the treatment of a stream, to be changed; `treat` has to follow."""

    def treat(self, stream: RelayStream) -> None:
        """Let a stream be treated as its treatment says by now."""


class SessionDigits:
    """The digits of one session.

    Args:
        report: for the call's explanation.
        seconds: the time.

    Attributes:
        heard: called with each digit that a leg sends as telephone event, and the leg; ``None`` for nobody.
        counts: how many came, by leg.
    """

    __slots__ = ("_explained", "_report", "_seconds", "_taken", "counts", "heard")

    def __init__(self, report: Report, seconds: Callable[[], float]) -> None:
        self._report = report
        self._seconds = seconds
        self._taken: tuple[str, ...] = ()
        self._explained: tuple[str, ...] = ()
        self.heard: Hear | None = None
        self.counts: dict[str, int] = {}

    def report(self, kind: str, text: str) -> None:
        """Pass on what the explanation should say. A digit is none of that, but that a leg sends any."""
        if kind == "digit":
            leg, _, digit = text.partition(" ")
            if leg not in self.counts:
                self._report("dtmf", f"{leg} sends telephone events")
            self.counts[leg] = self.counts.get(leg, 0) + 1
            if self.heard is not None:
                self.heard(leg, digit)
        elif kind != "payload-type":
            self._report(kind, text)
        elif text not in self._explained:
            self._explained += (text,)
            self._report(kind, text)

    def send(
        self, session: DigitSession, leg: str, digit: str, duration: float, pacer: Pacer | None, entropy: Entropy
    ) -> bool:
        """See `IMediaSession.send_digit`."""
        for stream in session.streams():
            terms = stream.terms
            if stream.leg != leg or stream.statistics.media != "audio" or stream.peer is None or terms is None:
                continue
            if pacer is None or not terms.is_rtp or not terms.receives or not terms.payloads.wanted:
                continue
            treatment = session.treatment(stream)
            if treatment.sender is None:
                treatment.sender = EventSender(stream, self._number(treatment), pacer, entropy)
                session.treat(stream)
            return treatment.sender.send(digit, duration)
        return False

    def take(self, session: DigitSession, leg: str) -> None:
        """Take the events of a leg out of its media."""
        if leg not in self._taken:
            self._taken += (leg,)
        self.connected(session)

    def leave(self, session: DigitSession, leg: str) -> None:
        """Let the events of a leg pass again."""
        self._taken = tuple([name for name in self._taken if name != leg])
        for stream in session.streams():
            if stream.leg == leg and stream.treatment is not None and stream.treatment.takes_events:
                stream.treatment.takes_events = False
                session.treat(stream)

    def connected(self, session: DigitSession) -> None:
        """Take note of which streams are connected now."""
        if not self._taken:
            return
        for stream in session.streams():
            terms, peer = stream.terms, stream.peer
            if stream.leg in self._taken and peer is not None and terms is not None and terms.is_rtp:
                session.treatment(stream).takes_events = True
                self._number(session.treatment(peer))
                session.treat(stream)

    def _number(self, treatment: Treatment) -> Numbering:
        """Let what goes to a leg be numbered, from now on."""
        if treatment.numbering is None:
            treatment.numbering = Numbering(self._seconds)
        return treatment.numbering
