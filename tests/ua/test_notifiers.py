"""Event packages that an application offers (RFC 6665 section 4.2)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from sipd.errors import RequestRefusedError, TransactionTimeoutError
from sipd.interfaces import IRequestHandler
from sipd.sip.event_requests import ExpiryBounds
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.ua.interfaces import IIncomingSubscriptionUser
from sipd.ua.notifiers import OfferedEvents, OfferedPackage, OfferedSettings, permit_everybody, permit_nobody
from tests.ua.support import THEM, US, AgentCase

KIND = "application/x-door"


class OfferedCase(AgentCase):
    """Doors that are watched."""

    def setUp(self) -> None:
        super().setUp()
        self.doors: dict[str, bytes] = {"front door": b"open", "back": b"shut"}
        self.count = 0

    def offer(self, permits: Any = permit_everybody, **settings: Any) -> OfferedEvents:
        """Offer the package `door`."""
        package = OfferedPackage(content_type=KIND, state=self.doors.get, permits=permits)
        events = OfferedEvents(self.agent, {"door": package}, OfferedSettings(**settings))
        self.agent.handlers["SUBSCRIBE"] = events
        self.addCleanup(self.settle)
        self.addCleanup(events.close)
        return events

    def subscribe(
        self, door: str = "back", *, event: str | None = "door", expires: str = "600", **options: Any
    ) -> Response:
        """Let a SUBSCRIBE come in; give the answer to it."""
        self.count += 1
        headers = [("Expires", expires), *options.pop("headers", ())]
        if event is not None:
            headers.append(("Event", event))
        values = {
            "contact": f"<sip:alice@{THEM}>", "via": f"{THEM}:5060", "call_id": f"s{self.count}",
            "branch": f"z9hG4bK-s{self.count}", **options,
        }  # fmt: skip
        request = builders.request("SUBSCRIBE", f"sip:{door}@{US}", headers=headers, **values)
        self.them.send(request)
        self.clock.advance(0.1)
        answers = [one for one in self.them.messages if isinstance(one, Response) and one.call_id == request.call_id]
        return answers[-1] if answers else Response(0, "")

    def again(self, accepted: Response, cseq: int, expires: int, event: str = "door") -> None:
        """Let another SUBSCRIBE come in its dialog."""
        self.subscribe(to_tag=accepted.to.tag, call_id=accepted.call_id, cseq=cseq, expires=str(expires), event=event)

    def told(self) -> tuple[bytes, str]:
        """Take the last NOTIFY; give its body, and the state of the subscription."""
        notify = self.them.request("NOTIFY")
        self.them.send(builders.response(notify, 200, to_tag=None, contact=None))
        self.clock.advance(0.1)
        return notify.body, notify.headers.get("Subscription-State") or ""

    def notifies(self) -> int:
        """Say how many NOTIFY there are, each counted once."""
        return len({one.via.branch for one in self.them.messages if isinstance(one, Request)})


class ServedTests(OfferedCase):
    """Who may watch."""

    def test_told_at_once_and_when_it_changes(self) -> None:
        """The state is told at once, and at each change, not more often than the interval says."""
        events = self.offer()
        verifyObject(IRequestHandler, events)
        accepted = self.subscribe("front%20door")
        self.assertEqual((accepted.status, accepted.expires), (200, 600))
        notify = self.them.request("NOTIFY")
        self.assertEqual((notify.content_type, notify.headers.get("Event")), (KIND, "door"))
        self.assertEqual(self.told(), (b"open", "active;expires=600"))
        self.assertEqual((len(events), events.watchers("door", "front door")), (1, 1))
        verifyObject(IIncomingSubscriptionUser, next(iter(events._held)))
        for state in (b"ajar", b"shut"):
            self.doors["front door"] = state
            events.changed("door", "front door")
            events.changed("door", "back")
        self.clock.advance(1.1)
        self.assertEqual(self.notifies(), 2)
        self.assertEqual(self.told()[0], b"shut")

    def test_refreshed_and_ended(self) -> None:
        """A refresh is told the state again; the end, too, and then nothing is left."""
        events = self.offer(notify_interval=0.0)
        accepted = self.subscribe()
        self.told()
        self.again(accepted, 2, 300)
        self.assertEqual(self.told(), (b"shut", "active;expires=300"))
        self.again(accepted, 3, 5)
        self.assertEqual(self.them.response(423).headers.get("Min-Expires"), "60")
        self.again(accepted, 4, 0)
        self.assertEqual(self.told(), (b"shut", "terminated;reason=timeout"))
        self.assertEqual((len(events), self.agent.dialog_count), (0, 0))

    def test_asked_once(self) -> None:
        """For 0 seconds it is told once."""
        events = self.offer()
        self.assertEqual(self.subscribe(expires="0").expires, 0)
        self.assertEqual(self.told(), (b"shut", "terminated;reason=timeout"))
        self.assertEqual(len(events), 0)

    def test_expires(self) -> None:
        """What is not refreshed ends by itself; a watcher that does not answer is gone, too."""
        events = self.offer()
        self.subscribe()
        self.told()
        self.clock.advance(600.0)
        self.assertEqual(self.told()[1], "terminated;reason=timeout")
        self.assertEqual(len(events), 0)
        self.subscribe()
        self.clock.advance(40.0)
        self.assertEqual(len(events), 0)

    def test_gone(self) -> None:
        """A resource that is not there any more ends its subscriptions."""
        events = self.offer(notify_interval=0.0)
        self.subscribe()
        self.told()
        del self.doors["back"]
        events.changed("door", "back")
        self.clock.advance(0.1)
        self.assertEqual(self.told(), (b"", "terminated;reason=noresource"))
        self.assertEqual(len(events), 0)

    def test_gone_without_a_word(self) -> None:
        """The same is found out by the next refresh where nobody said so."""
        events = self.offer(notify_interval=0.0)
        accepted = self.subscribe()
        self.told()
        del self.doors["back"]
        self.again(accepted, 2, 300)
        self.assertEqual(self.told()[1], "terminated;reason=noresource")
        self.assertEqual(len(events), 0)

    def test_stop(self) -> None:
        """When it is stopped all watchers are told when to come again, and nobody is taken any more."""
        events = self.offer()
        self.subscribe()
        self.told()
        events.stop(60)
        self.clock.advance(0.1)
        self.assertEqual(self.told(), (b"shut", "terminated;reason=probation;retry-after=60"))
        self.assertEqual((len(events), self.subscribe().status), (0, 503))


class RefusalTests(OfferedCase):
    """Who may not."""

    def test_deny_by_default(self) -> None:
        """Nobody may watch what nobody was permitted to watch, and does not hear whether it is there."""
        self.assertIs(OfferedPackage(content_type=KIND, state=self.doors.get).permits, permit_nobody)
        events = self.offer(permit_nobody)
        self.assertEqual((self.subscribe().status, self.subscribe("cellar").status, len(events)), (403, 403, 0))

    def test_permission(self) -> None:
        """Who may watch is decided for each resource; errors are answers, and a bug is 500 and in the log."""
        asked: list[str] = []

        async def permits(subscribe: Request, resource: str) -> bool:
            asked.append(f"{subscribe.from_.uri} {resource}")
            if resource == "cellar":
                raise RequestRefusedError("Who Are You", status=401, headers=(("WWW-Authenticate", "Digest x"),))
            if resource == "attic":
                raise TransactionTimeoutError("nobody knows")
            if resource == "roof":
                raise ZeroDivisionError
            return resource == "back"

        self.offer(permits)
        doors = ("back", "front", "cellar", "attic", "roof")
        self.assertEqual([self.subscribe(door).status for door in doors], [200, 403, 401, 480, 500])
        self.assertEqual(self.them.response(401).headers.get("WWW-Authenticate"), "Digest x")
        self.assertEqual(asked[0], f"{builders.ALICE} back")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.told()

    def test_unknown(self) -> None:
        """What is not offered, not there, or cannot be read by the watcher is refused by name."""
        events = self.offer()
        for wanted, options in (
            (489, {"event": "presence"}),
            (489, {"event": None}),
            (400, {"event": "a b"}),
            (404, {"door": "cellar"}),
            (406, {"headers": (("Accept", "text/plain"),)}),
            (423, {"expires": "5"}),
            (400, {"contact": None}),
        ):
            self.assertEqual(self.subscribe(**options).status, wanted, options)
        self.assertEqual(self.them.response(489).headers.get("Allow-Events"), "door")
        self.assertEqual(len(events), 0)

    def test_bounds(self) -> None:
        """Above either bound there is 503, with a time to come again."""
        for options in ({"max_subscriptions": 1}, {"max_per_host": 1}):
            events = self.offer(**options)
            self.assertEqual(self.subscribe().status, 200)
            self.assertEqual(self.subscribe().status, 503)
            self.assertIsNotNone(self.them.response(503).headers.get("Retry-After"))
            self.told()
            events.close()
            self.assertEqual(len(events), 0)

    def test_slow_decision(self) -> None:
        """Who decides too long, or is stopped meanwhile, is cancelled: 480."""

        async def never(subscribe: Request, resource: str) -> bool:
            await Deferred()
            return True

        events = self.offer(never, expiry=ExpiryBounds(minimum=1))
        self.subscribe()
        self.assertEqual(len(events), 1)
        self.clock.advance(20.0)
        self.assertEqual((self.them.response(480).reason, len(events)), ("Not Decided In Time", 0))
        self.subscribe()
        self.them.take()
        events.stop()
        self.clock.advance(0.1)
        self.assertEqual((self.them.kinds(), len(events)), (["480"], 0))
