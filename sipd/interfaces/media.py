"""Joints of the media plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

from sipd.sdp.description import Direction

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.policies import MediaPolicy
    from sipd.records import StreamStatistics
    from sipd.sdp.description import AddressType, SessionDescription
    from sipd.sdp.streams import Slots


class IMediaSession(Interface):
    """The media of one call: legs by name, a set of streams each. Engine-independent."""

    def prefer_family(leg: str, family: AddressType) -> None:
        """Say which version of IP a leg that has no streams yet is to be offered: that of its signalling.

        Without it, it is offered what the other side offered.
        """

    def set_policy(leg: str, policy: MediaPolicy) -> None:
        """Say how the media of a leg is relayed, before its first offer or answer."""

    def offer(
        sender: str, receiver: str, description: SessionDescription, slots: Slots | None = None
    ) -> Deferred[SessionDescription]:
        """Take an offer from leg ``sender``; give what leg ``receiver`` is to be offered.

        The result differs in addresses, ports and ``o=`` only. Each receiver of the same offer (forking) has ports of
        its own. Nothing flows because of an offer alone, and it replaces nothing until it is answered.

        Args:
            sender: the leg that offers.
            receiver: the leg that is to answer.
            description: the offer, with the media lines of ``receiver`` (`sipd.sdp.streams.cross_offer`).
            slots: for each of these lines that of ``sender``; the same ones if this is left out.

        Fails with `ResourcesExhaustedError` before anything is half built, or with `SdpError`.
        """

    def answer(sender: str, receiver: str, description: SessionDescription) -> Deferred[SessionDescription]:
        """Take ``sender``'s answer to the offer of ``receiver``; give what ``receiver`` is to be answered.

        Both have the media lines of ``sender``. Connects the two legs: from now on media of ``receiver`` goes to
        ``sender`` and back. May be repeated, also from another sender (early media of a fork, then the answer of the
        one that won).
        """

    def offer_rejected(sender: str, receiver: str) -> None:
        """Take note that the offer got no answer (488, 491, ...): the session is as it was before."""

    def leg_ended(leg: str) -> None:
        """Free what that leg holds: its branch of a fork was not the one."""

    on_digit = Attribute("called with the leg and the digit of each telephone event (RFC 4733) that comes; or ``None``")

    def send_digit(leg: str, digit: str, duration: float = 0.1) -> bool:
        """Send a leg a telephone event, after those that wait; ``False`` if it wants none, or too many wait."""

    def take_events(leg: str) -> None:
        """Let the telephone events of a leg not go to the other one any more: only `on_digit` hears them."""

    def pass_events(leg: str) -> None:
        """Undo `take_events`."""

    studio = Attribute("records and plays: an `IMediaStudio`; ``None`` where media is elsewhere")

    def established() -> None:
        """Take note that the call is answered: from now on both legs should hear each other."""

    def statistics() -> Sequence[StreamStatistics]:
        """Give the counters as they are known now, one entry for each leg and stream."""

    def close() -> Deferred[Sequence[StreamStatistics]]:
        """Free everything, and give the counters as they were at the end. Idempotent; never fails."""


class IMediaStudio(Interface):
    """Records the media of a call, and plays to its legs."""

    is_recording = Attribute("whether a recording runs")

    def record(format_: str = "wave", fields: Mapping[str, str] | None = None) -> None:
        """Record from now on, unless that is so already.

        Args:
            format_: ``wave`` (two channels, the caller on the left) or ``pcap`` (RTP as it comes).
            fields: what the name of the file may be made of beside the call's identifier.

        Raises:
            LocalError: nothing can be recorded here, or there are too many recordings.
        """

    def pause_recording() -> None:
        """Record silence until `resume_recording`."""

    def resume_recording() -> None:
        """Record again."""

    def stop_recording() -> Deferred[Any]:
        """Record no more; gives what became of it when the file is complete, or ``None``. Never fails."""

    def greet(leg: str, offer: SessionDescription) -> Deferred[SessionDescription]:
        """Answer a leg's offer for nobody, so that it can be played to until somebody does; give what it is to be told.

        It lasts until `IMediaSession.leg_ended` of ``~`` and the leg's name. Fails with `SdpError` or `LocalError`.
        """

    def play(
        leg: str, sound: str, *, times: int | None = 1, duration: float | None = None, gain: float = 0.0
    ) -> Deferred[Any]:
        """Play to a leg, instead of what the other one sends; to cancel stops. Gives what was played, or `LocalError`.

        Args:
            sound: path of a WAVE file, or a tone: ``tone:de:ringback``.
            times: how often; ``None`` for ever.
            duration: seconds after which it ends in any case.
            gain: in decibel.
        """

    def stop_playing(leg: str) -> None:
        """Play no more to that leg."""


class IMediaRelay(Interface):
    """An engine that relays media."""

    def open_session(call_id: str, event: Callable[[str, str], None]) -> IMediaSession:
        """Begin the media of a call.

        Args:
            call_id: for logs.
            event: called with (kind, text) for what the call's explanation should say: a source latched, a foreign
                source dropped, a port pair taken (``port-taken``) or released (``port-released``).
        """


class IMediaEndpoint(Interface):
    """The local end of one call's media: what describes it, and speaks and listens (RFC 3264).

    One offer at a time: each that `make_offer` makes is followed by `take_answer` or `offer_rejected`.
    """

    def prepare() -> Deferred[None]:
        """Get ready to make the first offer or answer; fires when that is so, soon in any case. Can be cancelled.

        Raises:
            LocalError: there are no ports.
        """

    def make_offer(direction: Direction = Direction.SENDRECV) -> SessionDescription:
        """Make an offer of what there is; the first one opens sockets.

        Args:
            direction: what this side would like: ``SENDONLY`` and ``INACTIVE`` put the peer on hold.

        Raises:
            LocalError: there are no ports, or a codec is missing.
        """

    def take_answer(answer: SessionDescription) -> None:
        """Take the answer to the offer that was made, and begin, or go on, as it says.

        Raises:
            SdpError: it is none, or nothing is left that both can. The offer waits on: for another answer, such as that
                of another fork, or for `offer_rejected`.
        """

    def answer_offer(offer: SessionDescription, direction: Direction = Direction.SENDRECV) -> SessionDescription:
        """Give the answer to an offer of the peer, which holds from now on.

        Args:
            offer: the peer's.
            direction: what this side would like.

        Raises:
            SdpError: nothing in it can be used: 488. What held before goes on.
            LocalError: as for `make_offer`.
        """

    def offer_rejected() -> None:
        """Take note that the offer that was made is void: what held before goes on (RFC 3264 section 8)."""

    def close() -> Deferred[None]:
        """Stop, and free everything. Idempotent; never fails."""
