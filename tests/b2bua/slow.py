"""Neighbours of the bridge that take their time, or fail: what they are asked waits until the test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipd.interfaces import (
    IAuthenticator,
    IMediaRelay,
    IMediaSession,
    IMediaStudio,
    IResolver,
    IRouter,
    MediaPolicy,
    Route,
    RoutingRequest,
    StreamStatistics,
)
from sipd.sdp.description import AddressType, SessionDescription
from sipd.sdp.streams import Slots
from sipd.sip.locate import Target
from sipd.sip.message import Request
from sipd.sip.uri import Uri


@implementer(IAuthenticator)
class SlowAuthenticator:
    """Says who calls when the test does."""

    def __init__(self) -> None:
        self.asked: list[Deferred[str]] = []

    def authenticate(self, request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
        """See `IAuthenticator`."""
        self.asked.append(Deferred())
        return self.asked[-1]


@implementer(IRouter)
class SlowRouter:
    """Says where a call goes when the test does; nobody must prove who they are."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Route]] = []

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        return False

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        self.asked.append(Deferred())
        return self.asked[-1]


@implementer(IResolver)
class SlowResolver:
    """Keeps what another resolver finds to itself until the test lets it go on."""

    def __init__(self, resolver: IResolver) -> None:
        self._resolver = resolver
        self._waiting: list[Deferred[Sequence[Target]]] = []

    def locate(self, uri: Uri) -> Deferred[Sequence[Target]]:
        """See `IResolver`."""
        located = self._resolver.locate(uri)
        located.pause()
        self._waiting.append(located)
        return located

    def target_failed(self, target: Target, rest: float | None = None) -> None:
        """See `IResolver`."""
        self._resolver.target_failed(target, rest)

    def go_on(self) -> None:
        """Give what was found."""
        waiting, self._waiting = self._waiting, []
        for located in waiting:
            located.unpause()


@implementer(IMediaRelay)
class SlowRelay:
    """Lets every description wait for some seconds before another relay takes it.

    Args:
        relay: the other one.
        later: such as `callLater`.
        delay: seconds; may be changed at any time.

    Attributes:
        is_stuck: whether what it ends is never said to have ended.
        is_stuck_later: whether that is so although something of it has ended at once.
    """

    def __init__(self, relay: IMediaRelay, later: Callable[..., object], delay: float) -> None:
        self.relay = relay
        self.later = later
        self.delay = delay
        self.is_stuck = False
        self.is_stuck_later = False

    def open_session(self, call_id: str, event: Callable[[str, str], None]) -> IMediaSession:
        """See `IMediaRelay`."""
        session: IMediaSession = SlowSession(self, self.relay.open_session(call_id, event))
        return session


@implementer(IMediaSession)
class SlowSession:
    """The media of one call, behind a `SlowRelay`."""

    studio: IMediaStudio | None = None

    def __init__(self, relay: SlowRelay, session: IMediaSession) -> None:
        self._relay = relay
        self._session = session

    def prefer_family(self, leg: str, family: AddressType) -> None:
        """See `IMediaSession`."""
        self._session.prefer_family(leg, family)

    def set_policy(self, leg: str, policy: MediaPolicy) -> None:
        """See `IMediaSession`."""
        self._session.set_policy(leg, policy)

    def offer(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None = None
    ) -> Deferred[SessionDescription]:
        """See `IMediaSession`."""
        return self._later(self._session.offer, sender, receiver, description, slots)

    def answer(self, sender: str, receiver: str, description: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaSession`."""
        return self._later(self._session.answer, sender, receiver, description)

    def offer_rejected(self, sender: str, receiver: str) -> None:
        """See `IMediaSession`."""
        self._session.offer_rejected(sender, receiver)

    def leg_ended(self, leg: str) -> None:
        """See `IMediaSession`."""
        self._session.leg_ended(leg)

    def statistics(self) -> Sequence[StreamStatistics]:
        """See `IMediaSession`."""
        return self._session.statistics()

    @property
    def on_digit(self) -> Callable[[str, str], object] | None:
        """See `IMediaSession`."""
        heard: Callable[[str, str], object] | None = self._session.on_digit
        return heard

    @on_digit.setter
    def on_digit(self, heard: Callable[[str, str], object] | None) -> None:
        self._session.on_digit = heard

    def send_digit(self, leg: str, digit: str, duration: float = 0.1) -> bool:
        """See `IMediaSession`."""
        return self._session.send_digit(leg, digit, duration)

    def take_events(self, leg: str) -> None:
        """See `IMediaSession`."""
        self._session.take_events(leg)

    def pass_events(self, leg: str) -> None:
        """See `IMediaSession`."""
        self._session.pass_events(leg)

    def established(self) -> None:
        """See `IMediaSession`."""
        self._session.established()

    def close(self) -> Deferred[Sequence[StreamStatistics]]:
        """See `IMediaSession`."""
        closing = self._session.close()
        if self._relay.is_stuck:
            return closing.addCallback(lambda _: Deferred()) if self._relay.is_stuck_later else Deferred()
        return closing

    def _later(
        self, function: Callable[..., Deferred[SessionDescription]], *arguments: Any
    ) -> Deferred[SessionDescription]:
        waiting: Deferred[SessionDescription] = Deferred()
        self._relay.later(self._relay.delay, waiting.callback, None)
        return waiting.addCallback(lambda _: function(*arguments))
