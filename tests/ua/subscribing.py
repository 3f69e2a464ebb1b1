"""A subscription of our own whose notifier is the test's."""

from __future__ import annotations

from typing import Any

from sipd.sip.fields import NameAddr
from sipd.sip.message import Request, Response
from sipd.sip.registrant import RegistrationTiming
from sipd.sip.uri import SipUri
from sipd.testing import builders
from sipd.ua.notices import SubscriptionEvent
from sipd.ua.subscribing import Subscription
from sipd.ua.subscription_settings import SubscriptionSettings
from tests.ua.support import THEM, US, AgentCase

TIMING = RegistrationTiming(retry_base=20.0, retry_limit=100.0)
PIDF = "application/pidf+xml"


class SubscribingCase(AgentCase):
    """A subscription at `THEM`, whose notifier is the test's."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[SubscriptionEvent] = []
        self.branch = 0

    def settings(self, **options: Any) -> SubscriptionSettings:
        """Give the settings."""
        values = {
            "target": SipUri(THEM, "bob"), "event": "presence", "from_": NameAddr(SipUri(US, "alice")),
            "expires": 600, "accept": (PIDF,), "timing": TIMING, **options,
        }  # fmt: skip
        return SubscriptionSettings(**values)

    def subscription(self, **options: Any) -> Subscription:
        """Make one, and start it."""
        subscription = Subscription(self.agent, self.settings(**options), self.events.append)
        subscription.start()
        self.addCleanup(self.settle)
        self.addCleanup(subscription.close)
        self.clock.advance(0.1)
        return subscription

    def active(self, **options: Any) -> Subscription:
        """Give one that is accepted and notified."""
        subscription = self.subscription(**options)
        self.accept()
        self.assertEqual(self.notify("active;expires=600", b"<one/>"), 200)
        self.events.clear()
        return subscription

    def subscribe(self) -> Request:
        """Give the last SUBSCRIBE that came."""
        return self.them.request("SUBSCRIBE")

    def accept(self, expires: int | None = None, *headers: tuple[str, str], tag: str = "b1") -> None:
        """Accept the last SUBSCRIBE."""
        text = str(expires) if expires is not None else self.subscribe().headers.get("Expires") or ""
        self.respond(200, ("Expires", text), *headers, tag=tag, contact=f"<sip:bob@{THEM}>")

    def respond(self, status: int, *headers: tuple[str, str], tag: str = "b1", contact: str | None = None) -> None:
        """Answer the last SUBSCRIBE."""
        self.them.send(builders.response(self.subscribe(), status, to_tag=tag, contact=contact, headers=headers))
        self.clock.advance(0.1)

    def notify(
        self, state: str, body: bytes = b"", *, tag: str = "b1", kind: str = PIDF, subscribe: Request | None = None
    ) -> int:
        """Let a NOTIFY come in; give the status of its answer."""
        subscribe = subscribe or self.subscribe()
        self.branch += 1
        notify = builders.request(
            "NOTIFY", f"sip:alice@{US}", caller=f"sip:bob@{THEM}", callee=f"sip:alice@{US}", from_tag=tag,
            to_tag=subscribe.from_.tag, call_id=subscribe.call_id, cseq=self.branch, branch=f"z9hG4bK-n{self.branch}",
            via=f"{THEM}:5060", contact=f"<sip:bob@{THEM}>", body=body, content_type=kind,
            headers=[("Event", "presence"), ("Subscription-State", state)],
        )  # fmt: skip
        self.them.send(notify)
        self.clock.advance(0.1)
        return [
            one.status
            for one in self.them.messages
            if isinstance(one, Response) and one.via.branch == notify.via.branch
        ][-1]

    def kinds(self) -> list[str]:
        """Give the names of the events since the last time."""
        names = [type(event).__name__ for event in self.events]
        self.events.clear()
        return names

    def next_at(self, limit: float = 4000.0) -> float:
        """Give the seconds until the next SUBSCRIBE comes."""
        start = self.clock.seconds()
        self.them.take()
        self.assertTrue(self.clock.run_until(lambda: self.them.messages, limit=limit))
        self.assertEqual(self.subscribe().method, "SUBSCRIBE")
        return self.clock.seconds() - start
