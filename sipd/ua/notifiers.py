"""Event packages that an application offers: it says what there is to be told, and who may know (RFC 6665, 4.2).

A server with users, routes and publications has `sipd.watching`; this is for a program with a state of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import IRequestHandler, IServerTransaction
from sipd.sip.event_requests import ExpiryBounds, accepts, event_of
from sipd.sip.grammar import unescape
from sipd.sip.headers import Fields
from sipd.sip.identifiers import new_tag
from sipd.sip.message import Request, Response
from sipd.sip.refer import SubscriptionState
from sipd.sip.uri import SipUri
from sipd.ua.incoming_subscription import IncomingSubscription, Notification
from sipd.ua.interfaces import IIncomingSubscriptionUser

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.ua.core import UserAgent

#: Says whether who sends a SUBSCRIBE (which is the first argument) may watch a resource. A `RemoteError` that it raises
#: is the answer: a `RequestRefusedError` with a challenge, such as an `IAuthenticator` gives.
Permission = Callable[[Request, str], Coroutine[Any, Any, bool]]
#: Seconds after which a watcher who was refused for too many subscriptions may come again.
_RETRY_AFTER = 30


async def permit_nobody(subscribe: Request, resource: str) -> bool:
    """Let nobody watch anything."""
    return False


async def permit_everybody(subscribe: Request, resource: str) -> bool:
    """Let everybody watch everything, without a proof who it is."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedPackage:
    """An event package that is offered.

    Args:
        content_type: of the states, in lower case.
        state: gives the state of a resource as it is now; ``None`` where there is no such resource. It is asked again
            for each NOTIFY, and does not raise.
        permits: says who may watch; nobody if it is left out.
    """

    content_type: str
    state: Callable[[str], bytes | None]
    permits: Permission = permit_nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedSettings:
    """The bounds of what is offered.

    Args:
        expiry: how long subscriptions live.
        max_subscriptions: at a time, those that are being decided about included; one more is refused with 503.
        max_per_host: the same for one numeric address.
        notify_interval: seconds between two NOTIFY of one; of what changes meanwhile the last state is told.
        patience: seconds that a decision may take; then it is cancelled, and the answer is 480. Not above 64*T1.
    """

    expiry: ExpiryBounds = field(default_factory=ExpiryBounds)
    max_subscriptions: int = 1000
    max_per_host: int = 200
    notify_interval: float = 1.0
    patience: float = 20.0


def resource_of(subscribe: Request) -> str:
    """Give what a SUBSCRIBE is about: the user part of its request URI, unescaped; empty where it has none."""
    uri = subscribe.uri
    return unescape(uri.user or "") if isinstance(uri, SipUri) else ""


@implementer(IRequestHandler)
class OfferedEvents:
    """Serves event packages: ``agent.handlers["SUBSCRIBE"] = OfferedEvents(agent, {"presence": package})``.

    Args:
        agent: that the SUBSCRIBE come to.
        packages: by name, such as ``presence``.
        settings: the bounds.
    """

    _log = Logger()

    extensions: frozenset[str] = frozenset()

    def __init__(
        self, agent: UserAgent, packages: Mapping[str, OfferedPackage], settings: OfferedSettings | None = None
    ) -> None:
        self.agent = agent
        self.settings = settings if settings is not None else OfferedSettings()
        self._packages = dict(packages)
        #: Those that there are, and what they are about.
        self._held: dict[_Offered, tuple[str, str]] = {}
        self._deciding: dict[IServerTransaction, Deferred[None]] = {}
        self._is_stopping = False

    def __len__(self) -> int:
        """How many subscriptions there are, those that are decided about included."""
        return len(self._held) + len(self._deciding)

    def watchers(self, package: str, resource: str) -> int:
        """Say how many subscriptions there are to a resource."""
        return sum(key == (package, resource) for key in self._held.values())

    def changed(self, package: str, resource: str) -> None:
        """Tell all who watch a resource, as soon as that may be done; where it is gone that is the end."""
        for offered, key in list(self._held.items()):
            if key == (package, resource):
                offered.changed()

    def stop(self, retry_after: int = _RETRY_AFTER) -> None:
        """Take no more, and end all: the watchers are told to come back in so many seconds.

        Each is gone when its last NOTIFY is answered, or 64*T1 have passed; `close` forgets them at once.
        """
        self._is_stopping = True
        self._cancel()
        for offered in list(self._held):
            offered.stop(SubscriptionState(state="terminated", reason="probation", retry_after=retry_after))

    def close(self) -> None:
        """Forget all at once, without a word to anybody."""
        self._is_stopping = True
        self._cancel()
        for offered in list(self._held):
            offered.close()
        self._held.clear()

    # --- one SUBSCRIBE --------------------------------------------------------------------------------------

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        try:
            self._check_room(transaction)
        except RequestRefusedError as error:
            self._respond(transaction, error.status, error.reason, error.headers)
            return
        deciding = Deferred.fromCoroutine(self._subscribe(transaction))
        self._deciding[transaction] = deciding
        deciding.addTimeout(self.settings.patience, self.agent.clock)
        deciding.addErrback(self._failed, transaction).addCallback(self._decided, transaction)

    def _check_room(self, transaction: IServerTransaction) -> None:
        host = transaction.flow.host
        mine = sum(offered.host == host for offered in self._held) if self._held else 0
        mine += sum(one.flow.host == host for one in self._deciding)
        settings = self.settings
        if self._is_stopping or len(self) >= settings.max_subscriptions or mine >= settings.max_per_host:
            headers = (("Retry-After", str(_RETRY_AFTER)),)
            raise RequestRefusedError("Too Many Subscriptions", status=503, headers=headers)

    async def _subscribe(self, transaction: IServerTransaction) -> None:
        request = transaction.request
        known = ", ".join(sorted(self._packages))
        event = event_of(request, known)
        package = self._packages.get(event.package)
        if package is None:
            raise RequestRefusedError("Bad Event", status=489, headers=(("Allow-Events", known),))
        if not request.contacts:
            raise ParseError("Contact is missing")
        seconds = self.settings.expiry.of(request)
        resource = resource_of(request)
        if not await package.permits(request, resource):
            raise RequestRefusedError("Not Yours To Watch", status=403)
        if transaction.is_answered:
            return
        if package.state(resource) is None:
            raise RequestRefusedError("Not Found", status=404)
        if not accepts(request, package.content_type):
            raise RequestRefusedError("Not Acceptable", status=406)
        offered = _Offered(self, transaction, package, resource)
        self._held[offered] = event.package, resource
        offered.begin(transaction, seconds)

    def ended(self, offered: _Offered) -> None:
        """Forget one."""
        self._held.pop(offered, None)

    def _failed(self, failure: Failure, transaction: IServerTransaction) -> None:
        error = failure.value
        match error:
            case CancelledError() | TimeoutError():
                self._respond(transaction, 480, "Not Decided In Time")
            case RequestRefusedError():
                self._respond(transaction, error.status, error.reason, error.headers)
            case RemoteError():
                self._respond(transaction, 480 if error.status == 408 else error.status, error.reason)
            case _:
                self._log.failure("a subscription was not decided about", failure)
                self._respond(transaction, 500, "Server Internal Error")

    def _decided(self, _: None, transaction: IServerTransaction) -> None:
        self._deciding.pop(transaction, None)

    def _cancel(self) -> None:
        for deciding in list(self._deciding.values()):
            deciding.cancel()

    def _respond(self, transaction: IServerTransaction, status: int, reason: str, headers: Fields = ()) -> None:
        if not transaction.is_answered:
            tag = new_tag(self.agent.entropy)
            transaction.respond(transaction.request.response(status, reason, to_tag=tag, headers=headers))


@implementer(IIncomingSubscriptionUser)
class _Offered:
    """One subscription to one resource: tells it at once, and at each change."""

    def __init__(
        self, events: OfferedEvents, transaction: IServerTransaction, package: OfferedPackage, resource: str
    ) -> None:
        self.host = transaction.flow.host
        self._events = events
        self._package = package
        self._resource = resource
        self._last: SubscriptionState | None = None
        self._watcher = IncomingSubscription(events.agent, transaction, self, interval=events.settings.notify_interval)

    def begin(self, transaction: IServerTransaction, seconds: int) -> None:
        """Accept it for so many seconds, and tell the state; where that is 0 once and for all (section 4.4.3)."""
        self._watcher.accept(transaction, seconds)
        if seconds:
            self._watcher.begin(seconds)
            self._watcher.news()
        else:
            self._watcher.end("timeout", "asked for once")

    def changed(self) -> None:
        """Tell the watcher, as soon as that may be done."""
        if self._package.state(self._resource) is None:
            self._watcher.end("noresource", "there is no such resource any more")
        else:
            self._watcher.news()

    def stop(self, state: SubscriptionState) -> None:
        """End it, and tell the watcher."""
        self._last = state
        self._watcher.end(state.reason, "it is stopped here")

    def close(self) -> None:
        """Forget it without a word."""
        self._watcher.close()

    def subscribe_received(self, subscription: IncomingSubscription, transaction: IServerTransaction) -> None:
        """See `IIncomingSubscriptionUser`: a refresh, or the end."""
        seconds = self._events.settings.expiry.of(transaction.request)
        subscription.accept(transaction, seconds)
        if seconds:
            subscription.refresh(seconds)
        else:
            subscription.end("timeout", "the watcher has ended it")

    def notification(self, subscription: IncomingSubscription, reason: str) -> Notification:
        """See `IIncomingSubscriptionUser`. The last one has the state, too, if there is one (section 4.2.1.4)."""
        body = self._package.state(self._resource)
        if reason:
            state = self._last or SubscriptionState(state="terminated", reason=reason)
        elif body is None:
            state = SubscriptionState(state="terminated", reason="noresource")
        else:
            state = SubscriptionState(state="active")
        headers = (("Content-Type", self._package.content_type),) if body else ()
        return Notification(state, headers, body or b"")

    def notification_answered(self, subscription: IncomingSubscription, response: Response | None) -> None:
        """See `IIncomingSubscriptionUser`."""

    def incoming_over(self, subscription: IncomingSubscription, text: str) -> None:
        """See `IIncomingSubscriptionUser`."""
        self._events.ended(self)
