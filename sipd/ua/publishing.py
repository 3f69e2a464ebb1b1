"""A state of our own that is published, and kept so (RFC 3903 section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from sipd.errors import PublicationError
from sipd.interfaces import Credentials
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import is_token
from sipd.sip.headers import Fields, Headers
from sipd.sip.message import Response
from sipd.sip.refer import EventValue
from sipd.sip.registrant import Bound, Event, Failure, Register, Registrant, RegistrationTiming, State
from sipd.sip.registrant import Failed as InVain
from sipd.sip.uri import Uri
from sipd.ua.lease import Failed, Lease
from sipd.ua.outside import Place, Way
from sipd.ua.registering import read_failure
from sipd.ua.subscription_settings import granted_expires

if TYPE_CHECKING:
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
class Expired:
    """Nothing is published any more, since it was not refreshed in time. It is tried on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpublished:
    """It has been stopped; `is_confirmed` if nothing is published any more, as the other side has said."""

    is_confirmed: bool


PublicationEvent = Published | Failed | Expired | Unpublished
Watcher = Callable[[PublicationEvent], None]


class Publication(Lease[PublicationEvent]):
    """Publishes one state, which may change, and keeps it published until it is stopped.

    Its `Registrant` has one registrar: what holds of a binding holds of a publication, too.

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
        super().__init__(agent, Registrant(1, replace(settings.timing, expires=settings.expires), agent.entropy), watch)
        self.settings = settings
        way = Way(
            from_=settings.from_, credentials=settings.credentials, next_hop=settings.next_hop, route=settings.route
        )
        self._place = Place(agent, way, settings.target)
        self._body = body
        #: Which state `_body` is, counted; and which one is published.
        self._edition = 1
        self._published = 0
        self._tag = ""

    # --- for the application --------------------------------------------------------------------------------

    @property
    def is_published(self) -> bool:
        """Whether the state as it is now is published."""
        return self._is_held and self._published == self._edition

    @property
    def entity_tag(self) -> str:
        """By what the other side knows what is published; empty where nothing is."""
        return self._tag

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
        return self._await()

    # --- what the machine wants -----------------------------------------------------------------------------

    def _ask(self, effect: Register) -> None:
        expires, edition = effect.expires, self._edition
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
            self._forget()
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

    def _bound(self, effect: Bound) -> None:
        self._tell(Published(expires=effect.expires))
        if self._published != self._edition:
            # It has changed while the last PUBLISH was under way.
            self._feed(Event.HURRY)
            return
        self._satisfy()

    def _refused(self, effect: InVain) -> None:
        reason = self.failure = effect.failure
        self._tell(Failed(status=reason.status, text=reason.text, next_try=effect.wait))
        if effect.is_refusal:
            self._disappoint(PublicationError(reason.text, status=reason.status))

    def _lost(self) -> None:
        self._forget()
        self._tell(Expired())

    def _leave(self) -> None:
        if not self._tag:
            self._is_confirmed = not self._is_held
            self._feed(Event.GONE)
            return
        self._is_confirmed = False
        self._leaving = leaving = Deferred.fromCoroutine(self._send(0, b""))
        leaving.addCallbacks(self._left, self._not_left)

    def _left(self, response: Response) -> None:
        self._leaving = None
        self._is_confirmed = response.is_success or response.status == _CONDITION_FAILED
        self._feed(Event.GONE)

    def _over(self) -> None:
        self._tell(Unpublished(is_confirmed=self._is_confirmed))

    def _forget(self) -> None:
        self._tag, self._published = "", 0

    def _end_error(self) -> PublicationError:
        return PublicationError("The publication has been stopped")
