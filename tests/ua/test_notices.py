"""How subscriptions of our own are stopped, their notifications read, and states asked for once."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipd.errors import SubscriptionError, TransactionTimeoutError
from sipd.sip.registrant import State
from sipd.ua.fetching import fetch
from sipd.ua.notices import Ended, Notified, SubscriptionEvent
from sipd.ua.subscribing import Subscription
from tests.ua.subscribing import PIDF, SubscribingCase


class StopTests(SubscribingCase):
    """How it is stopped here."""

    def test_stop(self) -> None:
        """It unsubscribes, and is over with the last NOTIFY."""
        subscription = self.active()
        self.them.take()
        stopped = subscription.stop()
        self.clock.advance(0.1)
        request = self.subscribe()
        self.assertEqual((request.expires, request.to.tag), (0, "b1"))
        self.accept(0)
        self.assertNoResult(stopped)
        self.notify("terminated;reason=timeout", b"<last/>")
        self.successResultOf(stopped)
        self.successResultOf(subscription.stop())
        (notified, ended) = self.events
        assert isinstance(notified, Notified) and isinstance(ended, Ended)
        self.assertEqual((notified.body, ended.is_confirmed, ended.error), (b"<last/>", True, None))

    def test_stop_with_silence(self) -> None:
        """Nobody waits longer for that than the limit."""
        subscription = self.active()
        stopped = subscription.stop()
        self.clock.advance(3.1)
        self.successResultOf(stopped)
        self.assertEqual(self.events, [Ended(is_confirmed=False)])

    def test_stop_refused(self) -> None:
        """Who knows nothing of it any more need not be told."""
        subscription = self.active()
        stopped = subscription.stop()
        self.clock.advance(0.1)
        self.respond(481)
        self.successResultOf(stopped)

    def test_stop_while_asking(self) -> None:
        """What is under way has its answer before; without a NOTIFY the first one finds nobody."""
        subscription = self.subscription()
        stopped = subscription.stop()
        self.assertNoResult(stopped)
        self.accept()
        self.successResultOf(stopped)
        self.assertEqual(self.notify("active;expires=600"), 481)

    def test_stop_before_start(self) -> None:
        """What has not begun is over at once, and does not begin any more."""
        subscription = Subscription(self.agent, self.settings(), self.events.append)
        self.successResultOf(subscription.stop())
        subscription.start()
        self.clock.advance(1.0)
        self.assertEqual(self.them.take(), [])

    def test_close(self) -> None:
        """Closing says nothing to anybody; who waits is told; it may be done twice."""
        subscription = self.subscription()
        active, stopped = subscription.when_active(), subscription.stop()
        subscription.close()
        subscription.close()
        self.failureResultOf(active, SubscriptionError)
        self.successResultOf(stopped)

    def test_closed_by_who_is_told(self) -> None:
        """Whoever is told of something may close it right there: nothing more is sent, and no timer is left."""
        for kind in ("Subscribed", "Notified", "Failed", "Lapsed", "Ended"):
            for way in ("close", "stop"):
                told: list[str] = []
                subscription = Subscription(self.agent, self.settings(), told.append)  # type: ignore[arg-type]

                def tell(event: SubscriptionEvent, one: Subscription = subscription, way: str = way) -> None:
                    if type(event).__name__ == kind:  # noqa: B023
                        getattr(one, way)()

                subscription._watch = tell
                subscription.start()
                self.clock.advance(0.1)
                if kind == "Failed":
                    self.respond(500)
                else:
                    self.accept()
                    end = "terminated;reason=rejected" if kind == "Ended" else "terminated;reason=probation"
                    self.notify("active;expires=600" if kind in ("Subscribed", "Notified") else end)
                if way == "stop":
                    self.clock.advance(5.0)
                self.assertEqual(len(subscription._timers), 0, (kind, way))
                self.assertIs(subscription.state, State.STOPPED)
        self.settle()

    def test_nobody_waits(self) -> None:
        """A Deferred that is cancelled changes nothing else."""
        subscription = self.subscription()
        active = subscription.when_active()
        active.addErrback(lambda _: None)
        active.cancel()
        self.accept()
        self.assertTrue(subscription.is_active)


class NotificationTests(SubscribingCase):
    """How notifications are read."""

    def read(self, subscription: Subscription) -> tuple[list[bytes], Deferred[None]]:
        """Read them all."""
        bodies: list[bytes] = []

        async def read() -> None:
            async for notified in subscription:
                bodies.append(notified.body)

        return bodies, Deferred.fromCoroutine(read())

    def test_one_after_the_other(self) -> None:
        """The newest one comes first, then each that follows, until it is stopped."""
        subscription = self.active()
        self.notify("active;expires=600", b"<two/>")
        bodies, done = self.read(subscription)
        self.notify("active;expires=600", b"<three/>")
        self.notify("pending;expires=600", b"")
        self.assertEqual(bodies, [b"<two/>", b"<three/>", b""])
        newest = subscription.newest
        assert newest is not None
        self.assertEqual((newest.state.state, newest.content_type), ("pending", ""))
        subscription.close()
        self.successResultOf(done)

    def test_end_by_the_notifier(self) -> None:
        """Where the notifier ends it for good who reads gets the last one, and then the error."""
        subscription = self.active()
        bodies, done = self.read(subscription)
        self.notify("terminated;reason=noresource", b"<last/>")
        self.assertEqual(bodies, [b"<one/>", b"<last/>"])
        self.failureResultOf(done, SubscriptionError)

    def test_bound(self) -> None:
        """Who does not read misses the oldest, and can tell."""
        subscription = self.active(kept=3)
        reader = aiter(subscription)
        for number in range(5):
            self.notify("active;expires=600", b"%d" % number)
        bodies = [self.successResultOf(Deferred.fromCoroutine(anext(reader))).body for _ in range(3)]
        self.assertEqual((bodies, reader.missed), ([b"2", b"3", b"4"], 3))

    def test_reading_is_cancelled(self) -> None:
        """Who does not want to wait any more is forgotten."""
        subscription = self.active()
        _, done = self.read(subscription)
        done.addErrback(lambda _: None)
        done.cancel()
        self.assertEqual(subscription._notices._waiting, [])

    def test_unreadable(self) -> None:
        """A state of a type that was not asked for, or too large, is refused; the subscription goes on."""
        subscription = self.active(max_size_octets=10)
        self.assertEqual(self.notify("active;expires=600", b"hello", kind="text/plain"), 415)
        self.assertEqual(self.them.response(415).headers.get("Accept"), PIDF)
        self.assertEqual(self.notify("active;expires=600", b"<muchtoolong/>"), 413)
        self.assertEqual(self.notify("active;expires=600", b"<good/>"), 200)
        self.assertTrue(subscription.is_active)
        self.assertEqual(self.kinds(), ["Notified"])

    def test_malformed(self) -> None:
        """A NOTIFY without a state that can be read is refused."""
        self.active()
        self.assertEqual(self.notify(""), 400)
        self.assertEqual(self.notify("active;expires=soon"), 400)
        self.assertEqual(self.events, [])


class FetchTests(SubscribingCase):
    """A state that is asked for once."""

    def tearDown(self) -> None:
        self.settle()

    def fetch(self) -> Deferred[Notified]:
        """Ask."""
        fetching = fetch(self.agent, self.settings())
        self.clock.advance(0.1)
        return fetching

    def test_beside(self) -> None:
        """It may be asked for beside a subscription that is kept up, in a dialog of its own."""
        subscription = self.active()
        first = self.subscribe()
        fetching = subscription.fetch()
        self.clock.advance(0.1)
        self.assertNotEqual(self.subscribe().call_id, first.call_id)
        self.accept(0, tag="b2")
        self.notify("terminated;reason=timeout", b"<now/>", tag="b2")
        self.assertEqual(self.successResultOf(fetching).body, b"<now/>")
        self.assertEqual(self.events, [])
        subscription.close()

    def test_fetch(self) -> None:
        """SUBSCRIBE for 0 seconds, and the NOTIFY that answers it."""
        fetching = self.fetch()
        self.assertEqual(self.subscribe().expires, 0)
        self.accept(0)
        self.assertNoResult(fetching)
        self.assertEqual(self.notify("terminated;reason=timeout", b"<one/>"), 200)
        self.assertEqual(self.successResultOf(fetching).body, b"<one/>")

    def test_notify_first(self) -> None:
        """The NOTIFY may come before the 2xx, and say that it is active: only one is taken."""
        fetching = self.fetch()
        self.assertEqual(self.notify("active;expires=600", b"<one/>"), 200)
        self.accept(0)
        self.assertEqual(self.successResultOf(fetching).state.state, "active")
        self.assertEqual(self.notify("active;expires=600", b"<two/>"), 481)

    def test_refused(self) -> None:
        """A refusal is the failure."""
        fetching = self.fetch()
        self.respond(404)
        self.assertEqual(self.failureResultOf(fetching, SubscriptionError).value.status, 404)

    def test_silence(self) -> None:
        """So is silence: of all, or of the NOTIFY."""
        fetching = self.fetch()
        self.clock.advance(33.0)
        self.failureResultOf(fetching, SubscriptionError, TransactionTimeoutError)
        fetching = self.fetch()
        self.accept(0)
        self.clock.advance(33.0)
        self.failureResultOf(fetching, SubscriptionError)

    def test_unreadable(self) -> None:
        """So is a state that cannot be read."""
        fetching = self.fetch()
        self.accept(0)
        self.assertEqual(self.notify("terminated;reason=timeout", b"hello", kind="text/plain"), 415)
        self.assertEqual(self.failureResultOf(fetching, SubscriptionError).value.status, 415)

    def test_cancelled(self) -> None:
        """Who does not want it any more is not told, before and after the 2xx."""
        for accepted in (False, True):
            fetching = self.fetch()
            failed: list[object] = []
            if accepted:
                self.accept(0)
            fetching.addErrback(failed.append)
            fetching.cancel()
            self.assertEqual(len(failed), 1)
            self.assertEqual(self.notify("terminated;reason=timeout", b"<one/>"), 481)
