"""An application's subscriptions, publications, messages and event packages, with baresip, Kamailio and sipd."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from sipd.interfaces import Credentials, IRequestHandler, IServerTransaction
from sipd.sip.fields import NameAddr
from sipd.sip.message import Request
from sipd.sip.presence_documents import PIDF, PRESENCE, Presence
from sipd.sip.summaries import MESSAGE_SUMMARY, SIMPLE_MESSAGE_SUMMARY, MessageCounts, MessageSummary
from sipd.sip.uri import SipUri
from sipd.ua.core import UserAgent
from sipd.ua.fetching import fetch
from sipd.ua.messaging import MessageInbox, MessageRequest, ReceivedMessage, send_message
from sipd.ua.notices import Ended, Notified, SubscriptionEvent
from sipd.ua.notifiers import OfferedEvents, OfferedPackage, permit_everybody
from sipd.ua.publishing import Publication, PublicationSettings
from sipd.ua.registering import RegistrationSettings
from sipd.ua.registration import Registration
from sipd.ua.stack import Layers, make_agent, open_layers
from sipd.ua.subscribing import Subscription
from sipd.ua.subscription_settings import SubscriptionSettings
from tests.interop.baresip import Account, Phone
from tests.interop.case import InteropTestCase
from tests.interop.kamailio_presence import LONGEST, PASSWORD, SHORTEST, KamailioPresence
from tests.interop.server import USERS, Server
from tests.ports import HOST

_LIMIT = 30.0
_TIME_TO_REGISTER = 0.5
_LOOK, _LOOKS = 0.2, 40


@implementer(IRequestHandler)
class Everybody:
    """A registrar that takes everybody for a minute, and keeps nobody.

    It takes its time: baresip 1.0 that is registered as soon as it begins subscribes to its mailbox without end.
    """

    extensions: frozenset[str] = frozenset()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        request = transaction.request
        contacts = [("Contact", contact) for contact in request.headers.values("Contact")]
        self._clock.callLater(
            _TIME_TO_REGISTER, transaction.respond, request.response(200, to_tag="r", headers=contacts)
        )


class ApplicationCase(InteropTestCase):
    """An application of this process, with a user agent on a port of its own."""

    programs: ClassVar[tuple[str, ...]] = ("baresip",)

    def application(self) -> UserAgent:
        """Give the user agent; when the test is over nothing of it may be left."""
        self.port = self.ports.take()
        layers = open_layers(self.reactor, [f"udp:{HOST}:{self.port}"])
        agent = make_agent(layers)
        self.addCleanup(self.close, layers, agent)
        return agent

    async def close(self, layers: Layers, agent: UserAgent) -> None:
        """Close it; each subscription has ended by then."""
        dialogs = agent.dialog_count
        await layers.close()
        self.assertEqual(dialogs, 0)

    async def phone(self, user: str, *modules: str, port: int | None = None, watched: tuple[str, ...] = ()) -> Phone:
        """Start a baresip; with the port of a server it registers there."""
        password = "" if port is None else USERS[user]
        account = Account(user=user, server=f"{HOST}:{port or self.port}", password=password)
        phone = Phone(self, account, 440.0, modules=modules, watched=watched)
        await phone.start()
        if port is not None:
            await phone.registered()
        return phone

    async def eventually(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        for _ in range(_LOOKS):
            if holds():
                return
            await self.pause(_LOOK)
        self.fail(f"{what}{self.explain()}")

    async def shows(self, phone: Phone, pattern: str) -> None:
        """Wait until a phone's list of contacts has that text."""
        shown = ""
        for _ in range(_LOOKS):
            phone.send("contacts")
            shown = str((await phone.event("response")).get("data"))
            if pattern in shown:
                return
            await self.pause(_LOOK)
        self.fail(f"{pattern} is not in {shown}{self.explain()}")

    def way(self, user: str, port: int, password: str = "") -> dict[str, Any]:
        """Give who asks, and where."""
        return {
            "from_": NameAddr(SipUri(HOST, user)),
            "credentials": Credentials(username=user, password=password or USERS[user]),
            "next_hop": SipUri(HOST, port=port),
        }


class OfferedTests(ApplicationCase):
    """Baresip watches what an application offers."""

    async def test_mailbox(self) -> None:
        """The phone's lamp follows the mailbox, and goes with the phone."""
        agent = self.application()
        summary = MessageSummary(is_waiting=False)
        asked: list[str] = []

        async def permits(subscribe: Request, resource: str) -> bool:
            asked.append(f"{subscribe.from_.uri.user} {resource}")  # type: ignore[union-attr]
            return True

        package = OfferedPackage(
            content_type=SIMPLE_MESSAGE_SUMMARY,
            state=lambda mailbox: summary.to_bytes() if mailbox == "alice" else None,
            permits=permits,
        )
        events = agent.handlers["SUBSCRIBE"] = OfferedEvents(agent, {MESSAGE_SUMMARY: package})
        self.addCleanup(events.close)
        # The phone looks for its mailbox when it is registered.
        agent.handlers["REGISTER"] = Everybody(agent.clock)
        phone = await self.phone("alice", "mwi", port=self.port)
        await phone.says("MWI for sip:alice@.*\n *Messages-Waiting: no")
        self.assertEqual(asked, ["alice alice"])
        counts = MessageCounts(new=3, old=1)
        summary = MessageSummary(is_waiting=True, account=f"sip:alice@{HOST}", counts=(("voice", counts),))
        events.changed(MESSAGE_SUMMARY, "alice")
        await phone.says("Messages-Waiting: yes")
        await phone.says("Voice-Message: 3/1")
        self.assertEqual(len(events), 1)
        await phone.stop()
        await self.eventually(lambda: not len(events), "the subscription of a phone that has gone")

    async def test_presence(self) -> None:
        """A phone that watches a robot sees whether it is there, until the robot stops."""
        agent = self.application()
        is_open = True
        package = OfferedPackage(
            content_type=PIDF,
            state=lambda user: Presence.of_status(f"sip:{user}@{HOST}:{self.port}", is_open=is_open).to_bytes(),
            permits=permit_everybody,
        )
        events = agent.handlers["SUBSCRIBE"] = OfferedEvents(agent, {PRESENCE: package})
        self.addCleanup(events.close)
        phone = await self.phone("alice", "contact", "presence", watched=(f"sip:robot@{HOST}:{self.port}",))
        await self.shows(phone, "Online")
        is_open = False
        events.changed(PRESENCE, "robot")
        await self.shows(phone, "Offline")
        events.stop()
        await self.eventually(lambda: not len(events), "the subscription after the end")
        await phone.stop()


class WatchingTests(ApplicationCase):
    """An application watches baresip."""

    async def test_phone(self) -> None:
        """It subscribes at the phone itself, sees it come and go, and leaves it."""
        agent = self.application()
        phone = await self.phone("bob", "contact", "presence")
        notices: DeferredQueue[SubscriptionEvent] = DeferredQueue()
        settings = SubscriptionSettings(
            target=SipUri(HOST, "bob", port=phone.port), event=PRESENCE, accept=(PIDF,), expires=600,
            from_=NameAddr(SipUri(HOST, "alice", port=self.port)),
        )  # fmt: skip
        subscription = Subscription(agent, settings, notices.put)
        self.addCleanup(subscription.close)
        subscription.start()
        seen: list[bool] = []

        async def watch() -> None:
            async for notified in subscription:
                if notified.body:
                    seen.append(Presence.parse(notified.body).is_open)

        watching = Deferred.fromCoroutine(watch())
        await subscription.when_active().addTimeout(_LIMIT, self.reactor)
        for status, is_open in (("online", True), ("offline", False), ("online", True)):
            phone.send(f"presence_{status}")
            await self.eventually(lambda is_open=is_open: seen and seen[-1] is is_open, f"{status} in {seen}")  # type: ignore[misc]
        subscription.refresh()
        await subscription.stop()
        await watching
        self.assertFalse(subscription.is_active)
        events = []
        while notices.pending:
            events.append(await notices.get())
        ended = events[-1]
        assert isinstance(ended, Ended)
        self.assertTrue(ended.is_confirmed and ended.error is None, events)
        await phone.stop()


class ServerTests(ApplicationCase):
    """An application with an account at a running sipd."""

    async def test_presence(self) -> None:
        """A phone sees what the application publishes; the application fetches, and watches, the same."""
        server = Server(self)
        await server.start()
        agent = self.application()
        publication = Publication(
            agent,
            PublicationSettings(
                target=SipUri(HOST, "bob"),
                event=PRESENCE,
                content_type=PIDF,
                expires=600,
                **self.way("bob", server.port),
            ),
            Presence.of_status(f"sip:bob@{HOST}", is_open=True).to_bytes(),
        )
        self.addCleanup(publication.close)
        publication.start()
        await publication.when_published().addTimeout(_LIMIT, self.reactor)
        phone = await self.phone("alice", "contact", "presence", port=server.port, watched=(f"sip:bob@{HOST}",))
        await self.shows(phone, "Online")
        settings = SubscriptionSettings(
            target=SipUri(HOST, "bob"), event=PRESENCE, accept=(PIDF,), expires=600, **self.way("carol", server.port)
        )
        fetched = await fetch(agent, settings).addTimeout(_LIMIT, self.reactor)
        self.assertTrue(Presence.parse(fetched.body).is_open)
        told: list[bool] = []
        subscription = Subscription(agent, settings, lambda event: self._tell(event, told))
        self.addCleanup(subscription.close)
        subscription.start()
        await subscription.when_active().addTimeout(_LIMIT, self.reactor)
        publication.modify(Presence.of_status(f"sip:bob@{HOST}", is_open=False).to_bytes())
        await self.shows(phone, "Offline")
        await self.eventually(lambda: told == [True, False], f"both states in {told}")
        await subscription.stop()
        await publication.stop()
        await phone.stop()
        self.assertEqual(await server.finish(), [])

    @staticmethod
    def _tell(event: SubscriptionEvent, told: list[bool]) -> None:
        if isinstance(event, Notified) and event.body:
            told.append(Presence.parse(event.body).is_open)

    async def test_messages(self) -> None:
        """A message reaches the phone, and another one the inbox of the application, through the server."""
        server = Server(self)
        await server.start()
        agent = self.application()
        received: list[str] = []

        async def take(message: ReceivedMessage) -> None:
            received.append(message.text)

        agent.handlers["MESSAGE"] = MessageInbox(agent, take)
        way = self.way("bob", server.port)
        registration = Registration(
            agent,
            RegistrationSettings(
                aor=SipUri(HOST, "bob"), registrars=(way["next_hop"],), credentials=way["credentials"], keepalive=0.0
            ),
        )
        self.addCleanup(registration.close)
        registration.start()
        await registration.when_registered().addTimeout(_LIMIT, self.reactor)
        phone = await self.phone("alice", port=server.port)
        answer = await send_message(agent, MessageRequest(target=SipUri(HOST, "alice"), body=b"tea is ready", **way))
        self.assertEqual(answer.status, 200)
        # All that it lets know of a message is its bell.
        await phone.says("created device 'bell'")
        answer = await send_message(
            agent, MessageRequest(target=SipUri(HOST, "bob"), body=b"coming", **self.way("carol", server.port))
        )
        self.assertEqual((answer.status, received), (200, ["coming"]))
        await registration.stop()
        await phone.stop()
        await server.finish()


class KamailioTests(ApplicationCase):
    """An application with an account at a Kamailio."""

    programs = ()

    async def test_presence(self) -> None:
        """What is published is seen, over several refreshes of both, until both are stopped."""
        server = KamailioPresence(self)
        await server.start()
        agent = self.application()
        publication = Publication(
            agent,
            PublicationSettings(
                target=SipUri(HOST, "bob"), event=PRESENCE, content_type=PIDF, **self.way("bob", server.port, PASSWORD)
            ),
            Presence.of_status(f"sip:bob@{HOST}", is_open=True).to_bytes(),
        )
        self.addCleanup(publication.close)
        publication.start()
        await publication.when_published().addTimeout(_LIMIT, self.reactor)
        self.assertApproximates(publication.expires, LONGEST, 1.0)

        # It wants more than two seconds, and says so.
        settings = SubscriptionSettings(
            target=SipUri(HOST, "bob"), event=PRESENCE, accept=(PIDF,), expires=2,
            **self.way("alice", server.port, PASSWORD),
        )  # fmt: skip
        events: list[SubscriptionEvent] = []
        subscription = Subscription(agent, settings, events.append)
        self.addCleanup(subscription.close)
        subscription.start()
        await subscription.when_active().addTimeout(_LIMIT, self.reactor)
        self.assertApproximates(subscription.expires, SHORTEST, 1.0)
        await self.eventually(lambda: self.states(events) == [True], "the first state")
        publication.modify(Presence.of_status(f"sip:bob@{HOST}", is_open=False).to_bytes())
        await self.eventually(lambda: self.states(events) == [True, False], "the second state")

        self.assertFalse(self.states([await fetch(agent, settings).addTimeout(_LIMIT, self.reactor)])[0])
        await self.eventually(lambda: len(server.lines("refreshed alice expires=4")) >= 2, "refreshes")
        await self.eventually(lambda: len(server.lines("published bob expires=3600 tag=a.")) >= 2, "publications")
        await publication.stop()
        await subscription.stop()
        self.assertEqual(events[-1], Ended(is_confirmed=True))
        self.assertEqual(len(server.lines("published bob expires=0 tag=a.")), 1)
        self.assertNotIn("Failed", [type(event).__name__ for event in events])
        await server.stop()

    @staticmethod
    def states(events: Sequence[SubscriptionEvent]) -> list[bool]:
        """Give the states that were told, each once in a row."""
        told = [Presence.parse(event.body).is_open for event in events if isinstance(event, Notified) and event.body]
        return [is_open for is_open, _ in itertools.groupby(told)]
