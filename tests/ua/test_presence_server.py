"""Subscriptions, publications and messages of ours with sipd as the server, on the simulated network."""

from __future__ import annotations

from typing import Any

from sipd.errors import SubscriptionError
from sipd.interfaces import Credentials
from sipd.sip.fields import NameAddr
from sipd.sip.presence_documents import PIDF, Presence
from sipd.sip.summaries import SIMPLE_MESSAGE_SUMMARY, MessageCounts, MessageSummary
from sipd.sip.uri import SipUri
from sipd.testing.stack import SimulatedServer
from sipd.ua.fetching import fetch
from sipd.ua.messaging import MessageError, MessageInbox, MessageRequest, ReceivedMessage, send_message
from sipd.ua.notices import Ended, Lapsed, Notified, Resubscribed, Subscribed, SubscriptionEvent
from sipd.ua.publishing import Publication, PublicationSettings
from sipd.ua.registering import RegistrationSettings
from sipd.ua.registration import Registration
from sipd.ua.subscribing import Subscription
from sipd.ua.subscription_settings import SubscriptionSettings
from sipd.watching.service import WatchingSettings
from tests.ua.support import AgentCase

SERVER = "192.0.2.100"
USERS = {"alice": "secret", "bob": "hidden", "voicemail": "box"}


class ServerCase(AgentCase):
    """Users of a server, all of them at one user agent."""

    watching = WatchingSettings(mailbox_servers=frozenset(("voicemail",)))

    def setUp(self) -> None:
        super().setUp()
        self.server = SimulatedServer(self.network.host(SERVER), USERS, watching=self.watching)
        self.events: list[SubscriptionEvent] = []

    def tearDown(self) -> None:
        self.clock.advance(40.0)
        self.assertEqual(self.server.leftovers(), [])
        self.successResultOf(self.server.close())
        self.settle()

    def who(self, user: str, password: str = "") -> dict[str, Any]:
        """Give who asks, and where."""
        return {
            "from_": NameAddr(SipUri("example.com", user)),
            "credentials": Credentials(username=user, password=password or USERS[user]),
            "next_hop": SipUri(SERVER),
        }

    def settings(self, user: str, target: str, event: str = "presence", **options: Any) -> SubscriptionSettings:
        """Give the settings of a subscription to another user."""
        values = {**self.who(user), "expires": 600, **options}
        return SubscriptionSettings(target=SipUri("example.com", target), event=event, **values)

    def subscribe(self, user: str, target: str, event: str = "presence", **options: Any) -> Subscription:
        """Subscribe."""
        settings = self.settings(user, target, event, **options)
        subscription = Subscription(self.agent, settings, self.events.append)
        subscription.start()
        self.clock.advance(0.5)
        return subscription

    def publish(
        self, user: str, body: bytes, target: str = "", event: str = "presence", kind: str = PIDF
    ) -> Publication:
        """Publish."""
        publication = Publication(
            self.agent,
            PublicationSettings(
                target=SipUri("example.com", target or user), event=event, content_type=kind, expires=600,
                **self.who(user),
            ),
            body,
        )  # fmt: skip
        publication.start()
        self.clock.advance(0.5)
        self.assertTrue(publication.is_published, publication.failure)
        return publication

    def states(self) -> list[bool]:
        """Give whether bob is there, as each notification says."""
        return [Presence.parse(event.body).is_open for event in self.events if isinstance(event, Notified)]


class PresenceTests(ServerCase):
    """Alice watches bob."""

    def presence(self, *, is_open: bool) -> bytes:
        """Give bob's presence."""
        return Presence.of_status("sip:bob@example.com", is_open=is_open).to_bytes()

    def test_presence(self) -> None:
        """What bob publishes, changes, and removes is what alice sees, over several refreshes of both."""
        publication = self.publish("bob", self.presence(is_open=True))
        subscription = self.subscribe("alice", "bob", accept=(PIDF,))
        self.assertEqual(self.states(), [True])
        publication.modify(self.presence(is_open=False))
        self.clock.advance(2.0)
        self.assertEqual(self.states(), [True, False])
        self.clock.advance(3000.0)
        self.assertTrue(publication.is_published and subscription.is_active)
        self.assertTrue(len([event for event in self.events if isinstance(event, Resubscribed)]) >= 8)
        publication.modify(self.presence(is_open=True))
        self.clock.advance(2.0)
        self.assertEqual(self.states()[-1], True)
        stopped = publication.stop()
        self.clock.advance(2.0)
        self.successResultOf(stopped)
        self.assertEqual(self.states()[-1], False)
        stopped = subscription.stop()
        self.clock.advance(2.0)
        self.successResultOf(stopped)
        self.assertEqual(self.events[-1], Ended(is_confirmed=True))

    def test_fetched(self) -> None:
        """A state may be asked for once."""
        publication = self.publish("bob", self.presence(is_open=True))
        fetching = fetch(self.agent, self.settings("alice", "bob"))
        self.clock.advance(1.0)
        self.assertTrue(Presence.parse(self.successResultOf(fetching).body).is_open)
        publication.stop()

    def test_not_permitted(self) -> None:
        """With a wrong password nothing is seen."""
        fetching = fetch(self.agent, self.settings("alice", "bob", **self.who("alice", "wrong")))
        self.clock.advance(1.0)
        self.failureResultOf(fetching, SubscriptionError)

    def test_server_restarts(self) -> None:
        """A server that has forgotten all is asked for all anew: 481 for one, 412 for the other."""
        publication = self.publish("bob", self.presence(is_open=True))
        subscription = self.subscribe("alice", "bob")
        first = publication.entity_tag
        self.server.watching.close()
        publication.refresh()
        self.clock.advance(1.0)
        self.assertNotEqual(publication.entity_tag, first)
        subscription.refresh()
        self.clock.advance(1.0)
        kinds = [type(event) for event in self.events]
        self.assertEqual(kinds, [Subscribed, Notified, Lapsed, Subscribed, Notified])
        self.assertEqual(self.states(), [True, True])
        self.end(publication, subscription)

    def test_server_stops(self) -> None:
        """A server that is stopped says when to come again, and that is when it is asked."""
        publication = self.publish("bob", self.presence(is_open=True))
        subscription = self.subscribe("alice", "bob")
        self.server.watching.subscriptions.stop("stopping")
        self.clock.advance(1.0)
        lapsed = self.events[-1]
        assert isinstance(lapsed, Lapsed)
        self.assertEqual(lapsed.next_try, self.server.b2bua.settings.retry_after)
        self.end(publication, subscription)

    def end(self, *ones: Publication | Subscription) -> None:
        """Stop them."""
        for one in ones:
            stopped = one.stop()
            self.clock.advance(4.0)
            self.successResultOf(stopped)


class MailboxTests(ServerCase):
    """Alice has mail."""

    def test_mailbox(self) -> None:
        """What the mail server publishes is what alice is told; nobody else may know."""
        subscription = self.subscribe("alice", "alice", "message-summary", accept=(SIMPLE_MESSAGE_SUMMARY,))
        summary = MessageSummary(is_waiting=True, counts=(("voice", MessageCounts(new=2, old=1)),))
        publication = self.publish("voicemail", summary.to_bytes(), "alice", "message-summary", SIMPLE_MESSAGE_SUMMARY)
        self.clock.advance(2.0)
        told = [MessageSummary.parse(event.body) for event in self.events if isinstance(event, Notified)]
        self.assertEqual([one.is_waiting for one in told], [False, True])
        self.assertEqual(told[1].voice, MessageCounts(new=2, old=1))
        fetching = fetch(self.agent, self.settings("bob", "alice", "message-summary"))
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(fetching, SubscriptionError).value.status, 403)
        publication.stop()
        subscription.stop()
        self.clock.advance(4.0)


class MessageTests(ServerCase):
    """Alice writes to bob."""

    def test_message(self) -> None:
        """It goes through the server to where bob is registered; the answer of his inbox comes back."""
        received: list[str] = []

        async def take(message: ReceivedMessage) -> int:
            received.append(f"{message.sender.uri}: {message.text}")
            return 486 if message.text == "again?" else 200

        inbox = MessageInbox(self.agent, take)
        self.agent.handlers["MESSAGE"] = inbox
        settings = RegistrationSettings(
            aor=SipUri("example.com", "bob"), registrars=(SipUri(SERVER),), credentials=self.who("bob")["credentials"],
            uri=SipUri("example.com"), keepalive=0.0,
        )  # fmt: skip
        registration = Registration(self.agent, settings)
        registration.start()
        self.clock.advance(1.0)
        self.assertTrue(registration.is_registered)
        for text, status in (("tea?", 200), ("again?", 486)):
            message = MessageRequest(target=SipUri("example.com", "bob"), body=text.encode(), **self.who("alice"))
            sending = send_message(self.agent, message)
            self.clock.advance(2.0)
            if status == 200:
                self.assertEqual(self.successResultOf(sending).status, 200)
            else:
                self.assertEqual(self.failureResultOf(sending, MessageError).value.status, status)
        self.assertEqual(received, ["sip:alice@example.com: tea?", "sip:alice@example.com: again?"])
        registration.stop()
        self.clock.advance(4.0)
