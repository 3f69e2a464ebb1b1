"""A state of our own that is published, and kept so (RFC 3903 section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, succeed

from sipd.errors import LocalError, PublicationError, RemoteError
from sipd.interfaces import Credentials
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import is_token
from sipd.sip.headers import Fields, Headers
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Response
from sipd.sip.refer import EventValue
from sipd.sip.registrant import (
    Bound,
    Effect,
    Event,
    Failure,
    Lost,
    Over,
    Register,
    Registrant,
    RegistrationTiming,
    State,
    Unregister,
)
from sipd.sip.registrant import Failed as InVain
from sipd.sip.uri import Uri
from sipd.ua.effects import EffectQueue
from sipd.ua.outside import Place, Way
from sipd.ua.registering import read_failure
from sipd.ua.subscription_settings import granted_expires
from sipd.ua.timers import Timers

if TYPE_CHECKING:
    from twisted.python import failure

    from sipd.ua.core import UserAgent

#: There is no publication of that entity-tag any more (section 4.4).
_CONDITION_FAILED = 412
#: Characters of an entity-tag; a longer one is taken for none.
_MAX_TAG = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationSettings:
    """What to publish, and where.

    Args:
        target: the URI of whose state it is.
        event: the event package, such as ``presence``.
        content_type: of the states.
        from_: who publishes; without a tag.
        expires: seconds for which it is asked for each time.
        headers: more header fields of each PUBLISH.
        credentials: for challenges, or ``None``.
        next_hop: where it is sent to; by default to its first Route, or to `target`.
        route: values of its Route, topmost first.
        timing: when it is sent; its own `expires` is not looked at.
    """

    target: Uri
    event: str
    content_type: str
    from_: NameAddr
    expires: int = 3600
    headers: Fields = ()
    credentials: Credentials | None = field(default=None, repr=False)
    next_hop: Uri | None = None
    route: tuple[str, ...] = ()
    timing: RegistrationTiming = field(default_factory=RegistrationTiming)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The state is published, for the first time, refreshed, or another one; it lasts for so many seconds."""

    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A PUBLISH was refused, or not answered.

    Args:
        status: of its response, or 0 if there is none.
        text: why, for a person.
        next_try: in so many seconds.
    """

    status: int
    text: str
    next_try: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Nothing is published any more, since it was not refreshed in time. It is tried on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpublished:
    """It has been stopped; `is_confirmed` if nothing is published any more, as the other side has said."""

    is_confirmed: bool


PublicationEvent = Published | Failed | Expired | Unpublished
Watcher = Callable[[PublicationEvent], None]


class Publication:
    """Publishes one state, which may change, and keeps it published until it is stopped.

    Performs the effects of a `Registrant` with one registrar: what holds of a binding holds of a publication, too.
    Every failure is told, and nothing of it has to be handled.

    Args:
        agent: sends the requests.
        settings: what to publish, and where.
        body: the state: octets.
        watch: told of each event; returns soon and does not raise.

    Attributes:
        failure: why the last PUBLISH failed; ``None`` after one that did not.

    Raises:
        ParseError: the event is no event package.
    """

    def __init__(
        self, agent: UserAgent, settings: PublicationSettings, body: bytes, watch: Watcher | None = None
    ) -> None:
        EventValue.parse(settings.event)
        self.settings = settings
        self.failure: Failure | None = None
        self._agent = agent
        self._watch = watch
        self._machine = Registrant(1, replace(settings.timing, expires=settings.expires), agent.entropy)
        self._effects: EffectQueue[Effect] = EffectQueue(self._perform)
        self._timers = Timers(agent.clock, self._feed)
        way = Way(
            from_=settings.from_, credentials=settings.credentials, next_hop=settings.next_hop, route=settings.route
        )
        self._place = Place(agent, way, settings.target)
        self._body = body
        #: Which state `_body` is, counted; and which one is published.
        self._edition = 1
        self._published = 0
        self._tag = ""
        self._lasts_until = 0.0
        self._asking: Deferred[Response] | None = None
        self._leaving: Deferred[Response] | None = None
        self._is_confirmed = True
        self._awaiting: list[Deferred[None]] = []
        self._ending: list[Deferred[None]] = []

    # --- for the application --------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it stands; ``REGISTERED`` is published."""
        return self._machine.state

    @property
    def is_published(self) -> bool:
        """Whether the state as it is now is published."""
        return self._machine.bound is not None and self._published == self._edition

    @property
    def entity_tag(self) -> str:
        """By what the other side knows what is published; empty where nothing is."""
        return self._tag

    @property
    def expires(self) -> float:
        """Seconds that it lasts yet if it is not refreshed; 0 where nothing is published."""
        left = self._lasts_until - self._agent.clock.seconds()
        return max(0.0, left) if self._machine.bound is not None else 0.0

    def start(self) -> None:
        """Publish. Idempotent; what has been stopped does not begin again."""
        self._feed(Event.START)

    def refresh(self) -> None:
        """Ask now, and not when it is due: the network is another one, or back again."""
        self._feed(Event.HURRY)

    def modify(self, body: bytes) -> None:
        """Publish another state; one that is not sent yet is left out (section 4.3)."""
        if body != self._body:
            self._body = body
            self._edition += 1
            if self.state is State.REGISTERED:
                # Else it goes with the next one, when that is due.
                self._feed(Event.HURRY)

    def when_published(self) -> Deferred[None]:
        """Give a Deferred that fires when the state as it is then is published, which may be now.

        Fails with `PublicationError` if it is refused in a way that does not pass by itself, or it is stopped. (After
        a refusal it is tried on, and may be asked for again.) Cancelling it changes nothing else.
        """
        if self.is_published:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._not_awaited)
        self._awaiting.append(waiting)
        if self.state is State.STOPPED:
            self._disappoint(PublicationError("The publication has been stopped"))
        return waiting

    def stop(self) -> Deferred[None]:
        """Remove what is published; the Deferred fires when that is done, or ``leave_limit`` of the timing is over."""
        if self.state is State.STOPPED:
            return succeed(None)
        ending: Deferred[None] = Deferred()
        self._ending.append(ending)
        self._feed(Event.STOP)
        return ending

    def close(self) -> None:
        """Stop at once, without a word to anybody. Idempotent."""
        self._effects.clear()
        self._feed(Event.CLOSE)
        self._end()

    # --- what the machine wants -----------------------------------------------------------------------------

    def _feed(self, event: Enum, argument: object = None) -> None:
        self._effects.add(self._machine.feed(event, argument))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case StartTimer(timer, duration):
                self._timers.start(timer, duration)
            case StopTimers():
                self._timers.stop()
            case Register():
                self._ask(effect.expires)
            case Unregister():
                self._remove()
            case Bound():
                self._bound(effect)
            case InVain():
                self._refused(effect)
            case Lost():
                self._tag, self._published = "", 0
                self._tell(Expired())
            case Over():
                self._tell(Unpublished(is_confirmed=self._is_confirmed))
                self._end()

    def _ask(self, expires: int) -> None:
        edition = self._edition
        self._asking = asking = Deferred.fromCoroutine(self._publish(expires, edition, self._body))
        asking.addCallbacks(self._answered, self._failed, (expires, edition))

    async def _publish(self, expires: int, edition: int, body: bytes) -> Response:
        """Send one PUBLISH, and another one where what it is to refresh is not there any more (section 4.4).

        Raises:
            RemoteError: there is no final response.
        """
        if self._tag:
            response = await self._send(expires, b"" if self._published == edition else body)
            if response.status != _CONDITION_FAILED:
                return response
            self._tag, self._published = "", 0
        return await self._send(expires, body)

    async def _send(self, expires: int, body: bytes) -> Response:
        settings = self.settings
        fields = Headers([("Event", settings.event), ("Expires", str(expires))])
        if self._tag:
            fields.add("SIP-If-Match", self._tag)
        if body:
            fields.add("Content-Type", settings.content_type)
        fields.extend(settings.headers)
        return await self._place.ask(self._place.request("PUBLISH", fields, body), has_contact=False)

    def _answered(self, response: Response, asked: int, edition: int) -> None:
        self._asking = None
        granted = granted_expires(response, asked) if response.is_success else 0
        if granted > 0:
            tag = (response.headers.get("SIP-ETag") or "").strip()
            # Without a tag it cannot be refreshed: the next time it is published anew.
            self._tag = tag if is_token(tag) and len(tag) <= _MAX_TAG else ""
            self._published = edition
            self._lasts_until = self._agent.clock.seconds() + granted
            self.failure = None
            self._feed(Event.GRANTED, float(granted))
        elif response.is_success:
            self._feed(Event.FAILED, Failure(status=response.status, text="no time is granted"))
        else:
            has_credentials = self.settings.credentials is not None
            self._feed(Event.FAILED, read_failure(response, has_credentials=has_credentials))

    def _failed(self, reason: failure.Failure) -> None:
        reason.trap(RemoteError, LocalError, CancelledError)
        self._asking = None
        self._feed(Event.FAILED, Failure(status=0, text=reason.getErrorMessage()))

    def _bound(self, effect: Bound) -> None:
        self._tell(Published(expires=effect.expires))
        if self._published != self._edition:
            # It has changed while the last PUBLISH was under way.
            self._feed(Event.HURRY)
            return
        awaiting, self._awaiting = self._awaiting, []
        for waiting in awaiting:
            waiting.callback(None)

    def _refused(self, effect: InVain) -> None:
        reason = self.failure = effect.failure
        self._tell(Failed(status=reason.status, text=reason.text, next_try=effect.wait))
        if effect.is_refusal:
            self._disappoint(PublicationError(reason.text, status=reason.status))

    def _remove(self) -> None:
        if not self._tag:
            self._is_confirmed = self._machine.bound is None
            self._feed(Event.GONE)
            return
        self._is_confirmed = False
        self._leaving = leaving = Deferred.fromCoroutine(self._send(0, b""))
        leaving.addCallbacks(self._removed, self._not_removed)

    def _removed(self, response: Response) -> None:
        self._leaving = None
        self._is_confirmed = response.is_success or response.status == _CONDITION_FAILED
        self._feed(Event.GONE)

    def _not_removed(self, reason: failure.Failure) -> None:
        reason.trap(RemoteError, LocalError, CancelledError)
        self._leaving = None
        self._feed(Event.GONE)

    def _end(self) -> None:
        """Nothing more will happen; whoever waits for something hears of that."""
        self._tag, self._published = "", 0
        under_way = [one for one in (self._asking, self._leaving) if one is not None]
        self._asking = self._leaving = None
        for one in under_way:
            one.cancel()
        self._disappoint(PublicationError("The publication has been stopped"))
        ending, self._ending = self._ending, []
        for waiting in ending:
            waiting.callback(None)

    def _disappoint(self, error: PublicationError) -> None:
        awaiting, self._awaiting = self._awaiting, []
        for waiting in awaiting:
            waiting.errback(PublicationError(error.reason, status=error.status))

    def _not_awaited(self, waiting: Deferred[None]) -> None:
        if waiting in self._awaiting:
            self._awaiting.remove(waiting)

    def _tell(self, event: PublicationEvent) -> None:
        if self._watch is not None:
            self._watch(event)
