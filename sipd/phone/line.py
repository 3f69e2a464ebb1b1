"""A line of a phone: listening points and an account, which registers and sends requests outside of calls."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import deferLater
from twisted.logger import Logger

from sipd.errors import ConfigurationError, InvalidStateError, LocalError, RegistrationError, RequestRefusedError
from sipd.interfaces import Credentials, Entropy, IMessageObserver, IResolver, ListeningPoint
from sipd.phone.account import Account
from sipd.phone.addresses import complete
from sipd.phone.fields import RESERVED, HeaderFields, pairs
from sipd.sip.fields import NameAddr
from sipd.sip.message import Response
from sipd.sip.registrant import RegistrationTiming, State
from sipd.sip.timers import TimerValues
from sipd.sip.uri import SipUri, Uri
from sipd.transport.tls import TlsSettings
from sipd.ua.core import UserAgent
from sipd.ua.fetching import fetch
from sipd.ua.messaging import PLAIN_TEXT, MessageAnswer, MessageInbox, MessageRequest, ReceivedMessage, send_message
from sipd.ua.notices import Notified
from sipd.ua.outside import Place, Way
from sipd.ua.publishing import Publication, PublicationSettings
from sipd.ua.registering import RegistrationEvent, RegistrationSettings, Watcher
from sipd.ua.registration import Registration
from sipd.ua.settings import AgentSettings
from sipd.ua.stack import Layers, ListenSpec, make_agent, open_layers
from sipd.ua.subscribing import Subscription
from sipd.ua.subscription_settings import SubscriptionSettings

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

#: Decides about a message that comes: ``None`` is 200, a number that status.
MessageHook = Callable[[ReceivedMessage], "MessageAnswer | int | Awaitable[MessageAnswer | int | None] | None"]
Listening = str | ListenSpec | ListeningPoint


class Lasting(Protocol):
    """Something at another place that has to be ended there."""

    @property
    def state(self) -> State:
        """Where it stands."""

    def stop(self) -> Deferred[None]:
        """End it; fires when that is known, and does not fail."""

    def close(self) -> None:
        """Forget it."""


class Line(Service):
    """Everything of a phone but its calls: see `sipd.phone.phone.Phone`, of which it is the base.

    Attributes:
        on_message: decides about each MESSAGE that comes outside of calls (`sipd.ua.messaging`); without it they are
            answered with 405.
        message_types: of body that messages may have, in lower case; others are answered with 415. Holds from the next
            start on.
        on_registration: told of each event of the registration (`sipd.ua.registering`): granted, refreshed, refused,
            expired, ended. Returns soon and does not raise.
        registration: of its account, once there is one.
        log: says what the phone and its calls have to say.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        listen: Listening | Sequence[Listening] = "udp:0.0.0.0:5060",
        account: Account | None = None,
        name: str = "sipd",
        tls: TlsSettings | None = None,
        patience: float = 5.0,
        entropy: Entropy = secrets.token_bytes,
        timers: TimerValues | None = None,
        resolver: IResolver | None = None,
        observers: Sequence[IMessageObserver] = (),
        log: Logger | None = None,
        credentials: Sequence[Credentials] = (),
    ) -> None:
        self.reactor = reactor
        self.clock: IReactorTime = reactor
        self.entropy = entropy
        self.log = log if log is not None else Logger(namespace="sipd.phone", source=self)
        self.account = account
        self.on_message: MessageHook | None = None
        self.message_types = frozenset((PLAIN_TEXT,))
        self.on_registration: Watcher | None = None
        self.registration: Registration | None = None
        self._listen = [listen] if isinstance(listen, str | ListenSpec | ListeningPoint) else list(listen)
        self._name = name
        self._tls = tls
        self._patience = patience
        self._timers = timers
        self._resolver = resolver
        self._observers = tuple(observers)
        self._credentials = tuple(credentials)
        self._layers: Layers | None = None
        self._agent: UserAgent | None = None
        self._inbox: MessageInbox | None = None
        self._lasting: set[Lasting] = set()
        self._stopping: list[Deferred[None]] = []
        #: What the reactor calls when it stops.
        self._trigger: Any = None

    # --- its life -------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Open the listening points, and begin to register if the account says so.

        Raises:
            ConfigurationError: a listening point cannot be read or had; then nothing stays open.
            InvalidStateError: it is still being stopped.
        """
        if self._stopping:
            raise InvalidStateError("The phone is still being stopped")
        if self._layers is not None:
            return
        if not self._listen:
            raise ConfigurationError(["listen: one listening point at least expected"])
        layers = open_layers(
            self.reactor,
            self._listen,
            entropy=self.entropy,
            timers=self._timers,
            resolver=self._resolver,
            tls=self._tls,
            observers=self._observers,
        )
        settings = AgentSettings(
            name=self._name,
            timers=layers.timers,
            supported=AgentSettings().supported | {"replaces"},
            takes_referrals=True,
            credentials=self._credentials,
        )
        self._layers = layers
        self._agent = agent = make_agent(layers, settings)
        self._inbox = agent.handlers["MESSAGE"] = MessageInbox(agent, self._message_came, accepted=self.message_types)
        self.agent_made(agent)
        super().startService()
        if self.account is not None and self.account.register:
            self._begin_registration(self.account)

    def stopService(self) -> Deferred[None]:
        """Hang up every call, end the registration, and release everything, within ``patience`` seconds.

        The Deferred never fails. The phone may be started again then.
        """
        if self._layers is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stopping.append(stopped)
        if self.running:
            super().stopService()
            Deferred.fromCoroutine(self._stop(self._layers)).addCallback(self._stopped)
        return stopped

    def _stopped(self, _: None) -> None:
        stopping, self._stopping = self._stopping, []
        for stopped in stopping:
            if not stopped.called:
                stopped.callback(None)

    async def _stop(self, layers: Layers) -> None:
        # Whoever is told of something, and stops the line at once, does so before what was told is answered.
        await deferLater(self.clock, 0)
        registration, self.registration = self.registration, None
        if registration is not None:
            self._lasting.add(registration)
        self.end_calls()
        agent = self.agent
        ending = [*map(agent.when_forgotten, agent.sessions), *[one.stop() for one in list(self._lasting)]]
        await DeferredList(ending, consumeErrors=True).addTimeout(
            self._patience, self.clock, onTimeoutCancel=lambda _, __: None
        )
        while self._lasting:
            self._lasting.pop().close()
        if self._inbox is not None:
            self._inbox.close()
        await self.release()
        await layers.close()
        self._layers = self._agent = self._inbox = None

    def agent_made(self, agent: UserAgent) -> None:
        """Take note of the user agent that begins to work."""

    def end_calls(self) -> None:
        """End every call, and take no more."""

    async def release(self) -> None:
        """Release what calls have needed."""

    def when_ready(self) -> Deferred[None]:
        """Give a Deferred that fires when it takes calls: at once, or when its account is registered.

        Fails with `RegistrationError` if that is refused, `InvalidStateError` if it is not started.
        """
        if self._layers is None:
            return fail(InvalidStateError("The phone is not started"))
        if self.registration is not None and self.account is not None and self.account.register:
            return self.registration.when_registered()
        return succeed(None)

    async def __aenter__(self) -> Self:
        self.startService()
        if self._trigger is None and IReactorCore.providedBy(self.reactor):
            # Ctrl-C leaves no block: the reactor waits for the end of the line.
            self._trigger = self.reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)
        try:
            await self.when_ready()
        except (RegistrationError, CancelledError):
            await self.__aexit__(None, None, None)
            raise
        return self

    def _shut_down(self) -> Deferred[None]:
        # What has fired cannot be removed any more.
        self._trigger = None
        return self.stopService()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        trigger, self._trigger = self._trigger, None
        if trigger is not None:
            self.reactor.removeSystemEventTrigger(trigger)
        await self.stopService()

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def agent(self) -> UserAgent:
        """The user agent below.

        Raises:
            InvalidStateError: it is not started.
        """
        if self._agent is None:
            raise InvalidStateError("The phone is not started")
        return self._agent

    @property
    def layers(self) -> Layers:
        """The layers below that. As for `agent`."""
        if self._layers is None:
            raise InvalidStateError("The phone is not started")
        return self._layers

    @property
    def points(self) -> Sequence[ListeningPoint]:
        """Its listening points, with the ports that they really have. As for `agent`."""
        return self.layers.points

    @property
    def identity(self) -> NameAddr:
        """Who it is, as From says. As for `agent`."""
        if self.account is not None:
            return self.account.address
        point = self.points[0]
        return NameAddr(SipUri(point.advertised_host, "phone", point.advertised_port))

    @property
    def service_route(self) -> tuple[str, ...]:
        """What the registrar wants calls out to take (RFC 3608)."""
        return () if self.registration is None else self.registration.service_route

    def address(self, text: str) -> NameAddr:
        """Make a whole address of a part of one: ``bob``, ``bob@example.org``, ``+49 30 1234``.

        Raises:
            ParseError: nothing can be made of it.
        """
        return complete(text, None if self.account is None else self.account.aor)

    # --- registering ----------------------------------------------------------------------------------------

    def register(self, account: Account | None = None) -> Deferred[Registration]:
        """Register, and stay registered until the phone stops (RFC 3261 section 10.2).

        Args:
            account: another one than the phone's; one at a time.

        Returns:
            A Deferred of the registration, when there is a binding. Fails with `RegistrationRefusedError` if it is
            refused in a way that does not pass; it is tried on even then, until `unregister`.
        """

        async def run() -> Registration:
            registration = self.registration or self._begin_registration(self._required(account))
            if account is not None and registration.settings.aor != account.aor:
                raise InvalidStateError("The phone is registered as somebody else")
            await registration.when_registered()
            return registration

        return Deferred.fromCoroutine(run())

    def unregister(self) -> Deferred[None]:
        """End the registration; the Deferred fires when that is done, or given up."""
        registration, self.registration = self.registration, None
        return succeed(None) if registration is None else self._leave(registration)

    def unregister_all(self) -> Deferred[Response]:
        """Remove every binding of the account, those of other phones too (section 10.2.2).

        A Deferred of the final response. Fails with `RemoteError` if there is none.
        """

        async def run() -> Response:
            account = self._required(None)
            fields = [("Contact", "*"), ("Expires", "0")]
            return await self._ask("REGISTER", account.registrars[0], NameAddr(account.aor), fields, b"")

        return Deferred.fromCoroutine(run())

    def network_changed(self) -> None:
        """Register anew at once: the network is another one, or back again."""
        if self.registration is not None:
            self.registration.refresh()

    def _begin_registration(self, account: Account) -> Registration:
        self._check_running()
        proxy = account.outbound_proxy
        settings = RegistrationSettings(
            aor=account.aor,
            registrars=account.registrars if proxy is None else (proxy,),
            uri=account.registrars[0],
            credentials=account.credentials,
            timing=RegistrationTiming(expires=account.expires),
            headers=tuple(pairs(account.headers)),
        )
        self.registration = registration = Registration(self.agent, settings, self._registration_event)
        registration.start()
        return registration

    def _registration_event(self, event: RegistrationEvent) -> None:
        if self.on_registration is not None:
            self.on_registration(event)

    def _required(self, account: Account | None) -> Account:
        found = account or self.account
        if found is None:
            raise InvalidStateError("The phone has no account")
        return found

    # --- requests outside of calls --------------------------------------------------------------------------

    def request(self, method: str, to: str, headers: HeaderFields = (), body: bytes = b"") -> Deferred[Response]:
        """Send a request outside of any call; a Deferred of the final response, whatever it says.

        Args:
            method: any but ACK, BYE, CANCEL, INVITE and PRACK.
            to: an address, or a part of one.
            headers: more header fields, Content-Type among them.
            body: octets.

        Fails with `RemoteError` if there is no response, `ParseError` if ``to`` cannot be read, `LocalError` for the
        methods that are none.
        """

        async def run() -> Response:
            address = self.address(to)
            return await self._ask(method, address.uri, address.without_parameters(), pairs(headers), body)

        return Deferred.fromCoroutine(run())

    def options(self, to: str, headers: HeaderFields = ()) -> Deferred[Response]:
        """Ask what somebody can (section 11). As for `request`."""
        return self.request("OPTIONS", to, [("Accept", "application/sdp"), *pairs(headers)])

    def message(
        self, to: str, text: str | bytes, content_type: str = "text/plain;charset=UTF-8", headers: HeaderFields = ()
    ) -> Deferred[Response]:
        """Send a message outside of any call (RFC 3428); a Deferred of the 2xx.

        Args:
            to: an address, or a part of one.
            text: what it says.
            content_type: what that is.
            headers: more header fields.

        Fails with `MessageError` where it is refused; see `sipd.ua.messaging.send_message`.
        """

        async def run() -> Response:
            body = text.encode() if isinstance(text, str) else text
            way = self.way
            message = MessageRequest(
                target=self.address(to).uri,
                from_=way.from_,
                body=body,
                content_type=content_type,
                headers=pairs(headers),
                credentials=way.credentials,
                next_hop=way.next_hop,
                route=way.route,
            )
            return await send_message(self.agent, message)

        return Deferred.fromCoroutine(run())

    def subscribe(
        self, to: str, event: str, *, expires: int = 3600, accept: Sequence[str] = (), headers: HeaderFields = ()
    ) -> Subscription:
        """Watch something, for as long as the line is there (RFC 6665): ``async for notified in phone.subscribe(...)``.

        Args:
            to: an address, or a part of one.
            event: the event package: ``presence``, ``message-summary``, ``dialog``.
            expires: seconds to ask for each time.
            accept: types of state that can be read; empty for what the package says.
            headers: more header fields of each SUBSCRIBE.

        Raises:
            ParseError: ``to`` or ``event`` cannot be read.
            InvalidStateError: the line is not started.
        """
        self._check_running()
        subscription = Subscription(self.agent, self._subscription_settings(to, event, expires, accept, headers))
        self._last(subscription)
        subscription.start()
        return subscription

    def fetch(self, to: str, event: str, *, accept: Sequence[str] = ()) -> Deferred[Notified]:
        """Ask once how something is (RFC 6665 section 4.4.3). Fails with `SubscriptionError`."""
        return maybeDeferred(lambda: fetch(self.agent, self._subscription_settings(to, event, 0, accept, ())))

    def watch_mailbox(self) -> Subscription:
        """Watch the account's own mailbox (RFC 3842); bodies are for ``sipd.sip.summaries.parse_summary``.

        Raises:
            InvalidStateError: there is no account.
        """
        return self.subscribe(self._required(None).uri, "message-summary")

    def publish(self, event: str, content_type: str, body: bytes, *, expires: int = 3600) -> Publication:
        """Publish a state of the account, for as long as the line is there (RFC 3903).

        Args:
            event: the event package, such as ``presence``.
            content_type: of the state.
            body: the state.
            expires: seconds to ask for each time.

        Raises:
            InvalidStateError: there is no account, or the line is not started.
        """
        self._check_running()
        way = self.way
        settings = PublicationSettings(
            target=self._required(None).aor,
            event=event,
            content_type=content_type,
            from_=way.from_,
            expires=expires,
            credentials=way.credentials,
            next_hop=way.next_hop,
            route=way.route,
        )
        publication = Publication(self.agent, settings, body)
        self._last(publication)
        publication.start()
        return publication

    def end(self, lasting: Subscription | Publication) -> Deferred[None]:
        """End what `subscribe` or `publish` began; fires when that is known at the other side, or given up."""
        return self._leave(lasting)

    def _last(self, lasting: Lasting) -> None:
        """End something with the line, unless it has ended by then."""
        self._lasting = {one for one in self._lasting if one.state is not State.STOPPED}
        self._lasting.add(lasting)

    def _leave(self, lasting: Lasting) -> Deferred[None]:
        self._last(lasting)
        return lasting.stop().addCallback(lambda _: self._lasting.discard(lasting))

    def _check_running(self) -> None:
        if not self.running:
            raise InvalidStateError("The phone is not started, or is being stopped")

    def _subscription_settings(
        self, to: str, event: str, expires: int, accept: Sequence[str], headers: HeaderFields
    ) -> SubscriptionSettings:
        way = self.way
        return SubscriptionSettings(
            target=self.address(to).uri,
            event=event,
            from_=way.from_,
            expires=expires,
            accept=tuple(accept),
            headers=pairs(headers),
            credentials=way.credentials,
            next_hop=way.next_hop,
            route=way.route,
        )

    async def _message_came(self, message: ReceivedMessage) -> MessageAnswer | int | None:
        if self.on_message is None:
            raise RequestRefusedError("Method Not Allowed", status=405)
        hook: Callable[..., Any] = self.on_message
        answer: MessageAnswer | int | None = await maybeDeferred(hook, message)
        return answer

    async def _ask(self, method: str, uri: Uri, to: NameAddr, headers: list[tuple[str, str]], body: bytes) -> Response:
        if method in RESERVED:
            raise LocalError(f"{method} is not sent as a request of its own")
        # A Service-Route is for everything but REGISTER (RFC 3608 section 6.1).
        way = replace(self.way, route=()) if method == "REGISTER" else self.way
        asking = Place(self.agent, way, uri, to)
        request = asking.request(method, headers, body)
        contacts = [value for name, value in headers if name.lower() in ("contact", "m")]
        for value in contacts:
            request.headers.add("Contact", value)
        return await asking.ask(request, has_contact=not contacts)

    @property
    def way(self) -> Way:
        """Who asks, and which way requests outside of calls take. As for `agent`."""
        account = self.account
        return Way(
            from_=self.identity,
            credentials=None if account is None else account.credentials,
            next_hop=None if account is None else account.outbound_proxy,
            route=self.service_route,
        )
