"""Subscriptions of our own that are kept up: what is sent when, and what is made of how notifiers end them."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from sipd.errors import ParseError, SubscriptionError
from sipd.interfaces import Credentials
from sipd.sip.message import Request
from sipd.sip.registrant import State
from sipd.sip.uri import SipUri
from sipd.ua.interfaces import IOutgoingSubscriptionUser
from sipd.ua.lease import Failed
from sipd.ua.notices import Lapsed
from sipd.ua.subscribing import Subscription
from tests.ua.subscribing import PIDF, SubscribingCase
from tests.ua.support import THEM, US


class RequestTests(SubscribingCase):
    """What is sent."""

    def test_first_request(self) -> None:
        """It says what is asked for, by whom, for how long, and where the NOTIFY is to go."""
        subscription = self.subscription(headers=(("X-Note", "1"),), route=(f"<sip:{THEM};lr>",))
        verifyObject(IOutgoingSubscriptionUser, subscription)
        request = self.subscribe()
        self.assertEqual(request.uri_text, f"sip:bob@{THEM}")
        self.assertEqual((str(request.from_.uri), str(request.to.uri)), (f"sip:alice@{US}", f"sip:bob@{THEM}"))
        self.assertEqual((request.headers.get("Event"), request.expires), ("presence", 600))
        self.assertEqual(request.headers.get("Accept"), PIDF)
        self.assertEqual(request.headers.get("X-Note"), "1")
        self.assertEqual(request.headers.get_all("Contact"), [f"<sip:alice@{US}:5060>"])
        self.assertEqual(request.headers.get_all("Route"), [f"<sip:{THEM};lr>"])
        self.assertEqual(request.headers.get_all("User-Agent"), ["sipd"])

    def test_next_hop(self) -> None:
        """It may go elsewhere than its URI says, without a Route."""
        self.subscription(target=SipUri("nowhere.invalid", "bob"), next_hop=SipUri(THEM))
        self.assertEqual(self.subscribe().uri_text, "sip:bob@nowhere.invalid")
        self.assertNotIn("Route", self.subscribe().headers)

    def test_no_event_package(self) -> None:
        """What is no event package is refused at once; settings that are printed show no password."""
        settings = self.settings(event="a b", credentials=Credentials(username="u", password="hidden"))
        self.assertRaises(ParseError, Subscription, self.agent, settings)
        self.assertNotIn("hidden", repr(settings))

    def test_credentials(self) -> None:
        """A challenge is answered, and credentials that were taken go with each refresh (RFC 3261 section 22.3)."""
        self.subscription(credentials=Credentials(username="alice", password="secret"))
        self.respond(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'))
        self.assertEqual(self.subscribe().cseq.number, 2)
        self.assertIn('username="alice"', self.subscribe().headers.get("Authorization") or "")
        self.accept()
        self.notify("active;expires=600")
        self.next_at()
        self.assertEqual(self.subscribe().cseq.number, 3)


class TimeTests(SubscribingCase):
    """When it is sent."""

    def test_refreshed_at_half(self) -> None:
        """Inside of the dialog, at half of what is granted, a little more or less by chance."""
        subscription = self.subscription()
        active = subscription.when_active()
        self.accept(300)
        self.successResultOf(active)
        self.notify("active;expires=300")
        first = self.subscribe()
        self.assertApproximates(self.next_at(), 150.0, 16.0)
        self.assertEqual((self.subscribe().call_id, self.subscribe().to.tag), (first.call_id, "b1"))
        self.accept(300)
        self.assertEqual(self.kinds(), ["Subscribed", "Notified", "Resubscribed"])
        self.assertApproximates(subscription.expires, 300.0, 0.2)
        self.assertEqual(self.notify("active;expires=300", b"<two/>"), 200)

    def test_shortened_by_notify(self) -> None:
        """A NOTIFY may shorten the time, also before the 2xx; one that says more is not believed."""
        subscription = self.subscription()
        self.notify("active;expires=100")
        self.accept(600)
        self.assertApproximates(subscription.expires, 100.0, 1.0)
        self.notify("active;expires=9000")
        self.assertApproximates(subscription.expires, 100.0, 1.0)
        self.notify("active;expires=40")
        self.assertApproximates(self.next_at(), 20.0, 3.0)
        self.assertEqual(self.kinds(), ["Notified", "Subscribed", "Notified", "Notified"])

    def test_on_demand(self) -> None:
        """It may be refreshed at any time: one request at a time."""
        subscription = self.active()
        self.them.take()
        subscription.refresh()
        subscription.refresh()
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["SUBSCRIBE"])

    def test_longer_expiry(self) -> None:
        """After 423 it is asked for as long as the notifier wants."""
        self.subscription()
        self.respond(423, ("Min-Expires", "1800"))
        self.assertEqual(self.subscribe().expires, 1800)
        self.accept()
        self.assertEqual(self.kinds(), ["Subscribed"])

    def test_back_off(self) -> None:
        """After refusals that pass it is asked for again, later and later; Retry-After is kept to."""
        self.subscription()
        self.respond(500)
        first = self.next_at()
        self.respond(500)
        second = self.next_at()
        self.assertTrue(10 <= first <= 20 and 20 <= second <= 40, (first, second))
        self.respond(500, ("Retry-After", "300"))
        self.assertTrue(300 <= self.next_at() <= 340)
        failed = [event for event in self.events if isinstance(event, Failed)]
        self.assertEqual([event.status for event in failed], [500, 500, 500])
        self.assertEqual(len({self.subscribe().call_id}), 1)

    def test_silence(self) -> None:
        """Without an answer it is tried again."""
        self.subscription()
        self.clock.advance(33.0)
        self.assertEqual(self.kinds(), ["Failed"])
        self.assertTrue(self.next_at() <= 20.0)

    def test_unreachable(self) -> None:
        """What cannot be sent is tried again, too."""
        self.subscription(target=SipUri("nowhere.invalid", "bob"))
        self.clock.advance(1.0)
        self.assertIn("Failed", self.kinds())

    def test_refusal(self) -> None:
        """Who waits is told of a refusal that does not pass; it is tried again after the longest wait."""
        subscription = self.subscription()
        active = subscription.when_active()
        self.respond(403)
        error = self.failureResultOf(active, SubscriptionError).value
        self.assertEqual((error.status, error.reason), (403, "403 Forbidden"))
        self.assertTrue(50 <= self.next_at() <= 100)

    def test_bad_event(self) -> None:
        """489 is the end: the notifier does not know the package."""
        subscription = self.subscription()
        active = subscription.when_active()
        self.respond(489)
        self.assertEqual(self.failureResultOf(active, SubscriptionError).value.status, 489)
        self.assertEqual(self.kinds(), ["Ended"])
        self.assertIs(subscription.state, State.STOPPED)
        self.failureResultOf(subscription.when_active(), SubscriptionError)

    def test_no_time(self) -> None:
        """A 2xx that grants nothing is none."""
        self.subscription()
        self.accept(0)
        self.assertEqual(self.kinds(), ["Failed"])

    def test_lost_2xx(self) -> None:
        """A NOTIFY says as much as the 2xx that is lost."""
        subscription = self.subscription()
        self.notify("active;expires=600")
        self.clock.advance(33.0)
        self.assertEqual(self.kinds(), ["Notified", "Subscribed"])
        self.assertTrue(500 < subscription.expires < 600)


class EndTests(SubscribingCase):
    """How notifiers end it (RFC 6665 section 4.1.3)."""

    def test_for_good(self) -> None:
        """After `rejected`, `noresource`, `invariant` and a `giveup` without a time nobody asks again."""
        for reason in ("rejected;retry-after=5", "noresource", "invariant", "giveup"):
            subscription = self.active()
            self.notify(f"terminated;reason={reason}", b"<last/>")
            self.assertEqual(self.kinds(), ["Notified", "Ended"])
            self.assertFalse(subscription.is_active)
            error = self.failureResultOf(subscription.when_active(), SubscriptionError).value
            self.assertIn(reason.partition(";")[0], error.reason)
            self.them.take()
            self.clock.advance(2000.0)
            self.assertEqual(self.them.take(), [], reason)

    def test_anew_at_once(self) -> None:
        """After `deactivated`, `timeout` or what nobody knows a new dialog is made at once."""
        for reason in (";reason=deactivated;retry-after=70", ";reason=timeout", ";reason=tea", ""):
            subscription = self.active()
            first = self.subscribe()
            self.notify(f"terminated{reason}")
            again = self.subscribe()
            self.assertNotEqual(first.call_id, again.call_id)
            self.assertIsNone(again.to.tag)
            self.accept(tag="b2")
            self.notify("active;expires=600", tag="b2")
            self.assertEqual(self.kinds(), ["Notified", "Lapsed", "Subscribed", "Notified"])
            subscription.close()

    def test_anew_later(self) -> None:
        """After `probation` or `giveup` with a time, that is waited for."""
        for reason in ("probation", "giveup"):
            subscription = self.active()
            self.notify(f"terminated;reason={reason};retry-after=70")
            lapsed = self.events[-1]
            assert isinstance(lapsed, Lapsed)
            self.assertEqual(lapsed.next_try, 70.0)
            self.assertApproximates(self.next_at(), 70.0, 0.2)
            self.accept()
            self.events.clear()
            subscription.close()

    def test_ended_again_and_again(self) -> None:
        """A notifier that ends each subscription at once is asked later and later, not in a circle."""
        self.active()
        waits = []
        for _ in range(5):
            self.notify("terminated;reason=deactivated")
            lapsed = self.events[-1]
            assert isinstance(lapsed, Lapsed)
            waits.append(lapsed.next_try)
            if lapsed.next_try:
                self.next_at()
            self.accept()
            self.notify("active;expires=600")
        self.assertEqual(waits[0], 0.0)
        for wait, longest in zip(waits[1:], (20.0, 40.0, 80.0, 100.0), strict=True):
            self.assertTrue(longest / 2 <= wait <= longest, waits)

    def test_ended_before_the_2xx(self) -> None:
        """An end that overtakes the 2xx counts."""
        subscription = self.subscription()
        self.notify("terminated;reason=rejected")
        self.accept()
        self.assertEqual(self.kinds(), ["Notified", "Ended"])
        self.assertIs(subscription.state, State.STOPPED)

    def test_unknown_there(self) -> None:
        """A refresh that gets 481 makes a new subscription at once (section 4.1.2.2)."""
        self.active()
        first = self.subscribe()
        self.next_at()
        self.respond(481)
        self.assertEqual(self.kinds(), ["Lapsed"])
        self.assertNotEqual(self.subscribe().call_id, first.call_id)
        self.accept(tag="b2")
        self.assertEqual(self.notify("active;expires=600", tag="b2"), 200)
        self.assertEqual(self.notify("active;expires=600", subscribe=first), 481)

    def test_refresh_refused_for_now(self) -> None:
        """A refresh that gets 503 leaves it as it is, and is tried again."""
        subscription = self.active()
        self.next_at()
        self.respond(503, ("Retry-After", "5"))
        self.assertTrue(subscription.is_active)
        self.assertTrue(self.next_at() <= 20.0)
        self.assertEqual(self.subscribe().to.tag, "b1")
        self.accept()
        self.assertEqual(self.kinds(), ["Failed", "Resubscribed"])

    def test_not_refreshed_in_time(self) -> None:
        """Where all refreshes fail it lapses when its time is over, and is made anew."""
        self.active(expires=60)
        first = self.subscribe()
        self.next_at()
        self.respond(503, ("Retry-After", "100"))
        self.next_at()
        self.assertEqual(self.kinds(), ["Failed", "Lapsed"])
        self.assertNotEqual(self.subscribe().call_id, first.call_id)

    def test_no_notify(self) -> None:
        """A notifier that accepts and never notifies: it lapses after 32 seconds, and is tried anew."""
        self.subscription()
        self.accept()
        self.clock.advance(33.0)
        self.assertEqual(self.kinds(), ["Subscribed", "Lapsed"])

    def test_hostile_time(self) -> None:
        """NOTIFY that leave no time make one SUBSCRIBE a second at most."""
        self.active()
        first = self.subscribe()
        for _ in range(50):
            self.notify("active;expires=1", subscribe=first)
            self.accept()
        asked = {one.cseq.number for one in self.them.messages if isinstance(one, Request)}
        self.assertTrue(len(asked) <= 11, asked)
