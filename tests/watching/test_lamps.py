"""Lamps: users who watch the calls of others (RFC 4235)."""

from __future__ import annotations

from xml.etree import ElementTree

from sipd.sip.message import Request
from sipd.testing import builders
from sipd.testing.links import Link
from sipd.watching.service import WatchingSettings
from sipd.watching.subscriptions import SubscriptionSettings
from tests.b2bua.support import ALICE, SIPD
from tests.watching.watchers import WatchCase, Watcher

NAMESPACE = "{urn:ietf:params:xml:ns:dialog-info}"


def lamp(body: bytes) -> tuple[int, dict[str, str]]:
    """Give what a document says: its version, and direction to state of each dialog."""
    root = ElementTree.fromstring(body)
    assert root.tag == f"{NAMESPACE}dialog-info", root.tag
    assert root.get("state") == "full"
    states = {}
    for dialog in root.iter(f"{NAMESPACE}dialog"):
        assert set(dialog.attrib) == {"id", "direction"}, dialog.attrib
        states[dialog.get("direction") or ""] = dialog.findtext(f"{NAMESPACE}state") or ""
    return int(root.get("version") or "-1"), states


class LampCase(WatchCase):
    """Carol watches."""

    def lamps(self, watcher: Watcher) -> list[dict[str, str]]:
        """Give what each NOTIFY said; the versions must count up from 0."""
        documents = [lamp(body) for body in watcher.bodies]
        self.assertEqual([version for version, _ in documents], list(range(len(documents))))
        return [states for _, states in documents]

    def tearDown(self) -> None:
        """Let everything run out; nothing may be left."""
        self.over()


class CallTests(LampCase):
    """What is seen of calls."""

    def test_nothing_to_see(self) -> None:
        """At first the state is told: no call."""
        watcher = self.watch(self.carol, "bob", "dialog")
        self.assertEqual((watcher.status, watcher.states), (200, ["active"]))
        notify = watcher.notifications[0]
        self.assertEqual(notify.content_type, "application/dialog-info+xml")
        self.assertEqual(notify.headers.get("Subscription-State"), "active;expires=600")
        self.assertEqual(ElementTree.fromstring(notify.body).get("entity"), "sip:bob@example.com")
        self.assertEqual(self.lamps(watcher), [{}])

    def test_a_call(self) -> None:
        """Both ends of a call are seen, in each state, and its end once."""
        callee = self.watch(self.carol, "bob", "dialog")
        caller = self.watch(self.carol, "alice", "dialog")
        self.bob.auto_answer(after=6.0, ring_after=3.0)
        call = self.alice.call("bob")
        self.clock.advance(10.0)
        call.hang_up()
        self.clock.advance(3.0)
        states = ["trying", "early", "confirmed", "terminated"]
        self.assertEqual(self.lamps(callee), [{}, *({"recipient": state} for state in states)])
        self.assertEqual(self.lamps(caller), [{}, *({"initiator": state} for state in states)])
        self.bob.call("carol")
        self.clock.advance(2.0)
        self.assertEqual(self.lamps(callee)[-1], {"initiator": "trying"})
        self.bob.calls[-1].cancel()
        self.clock.advance(40.0)

    def test_a_transfer(self) -> None:
        """Who is transferred away is seen in no call any more, and who has taken the place is seen in one."""
        transferor = self.watch(self.carol, "bob", "dialog")
        target = self.watch(self.bob, "carol", "dialog")
        self.carol.auto_answer(after=0.5)
        call, answered = self.established()
        asked = answered.request("REFER", headers=(("Refer-To", "<sip:carol@example.com>"),))
        self.clock.advance(5.0)
        self.successResultOf(asked)
        self.assertTrue(call.is_answered)
        self.assertEqual(self.lamps(transferor)[-1], {"recipient": "terminated"})
        self.assertEqual(self.lamps(target)[-1], {"recipient": "confirmed"})
        call.hang_up()
        self.clock.advance(3.0)
        self.assertEqual(self.lamps(target)[-1], {"recipient": "terminated"})

    def test_tells_nothing_else(self) -> None:
        """Who talks with whom, Call-IDs and tags are not told: a watcher could take the call over with them."""
        call, other = self.established()
        watcher = self.watch(self.carol, "bob", "dialog")
        for secret in (b"alice", call.call_id.encode(), other.call_id.encode(), other.local_tag.encode()):
            self.assertNotIn(secret, watcher.bodies[0])
        call.hang_up()

    def test_a_call_that_was_there_before(self) -> None:
        """The first NOTIFY tells of the call that goes on."""
        call, _ = self.established()
        watcher = self.watch(self.carol, "bob", "dialog")
        self.assertEqual(self.lamps(watcher), [{"recipient": "confirmed"}])
        call.hang_up()

    def test_failed_call(self) -> None:
        """A call that nobody takes is over, too."""
        watcher = self.watch(self.carol, "bob", "dialog")
        self.bob.auto_refuse()
        self.alice.call("bob")
        self.clock.advance(5.0)
        self.assertEqual(self.lamps(watcher), [{}, {"recipient": "trying"}, {"recipient": "terminated"}])

    def test_throttled(self) -> None:
        """There is a second between two NOTIFY; what happens meanwhile is told by the next, as it is then."""
        watcher = self.watch(self.carol, "bob", "dialog")
        self.clock.advance(5.0)
        self.bob.auto_answer(after=0.3, ring_after=0.1)
        call = self.alice.call("bob")
        self.clock.advance(0.9)
        self.assertEqual(self.lamps(watcher), [{}, {"recipient": "trying"}])
        self.clock.advance(2.0)
        self.assertEqual(self.lamps(watcher)[2:], [{"recipient": "confirmed"}])
        call.hang_up()
        self.clock.advance(2.0)

    def test_slow_watcher(self) -> None:
        """While a NOTIFY waits for its answer no other goes out; the next one has the state of then."""
        watcher = self.watch(self.carol, "bob", "dialog")
        self.clock.advance(2.0)
        self.network.set_links(SIPD, "192.0.2.4", Link(delay=2.0))
        self.bob.auto_answer(after=2.0, ring_after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        self.assertEqual(len(self.lamps(watcher)), 2)
        self.clock.advance(20.0)
        self.assertEqual(self.lamps(watcher)[-1], {"recipient": "confirmed"})
        self.assertLess(len(watcher.bodies), 5)
        self.network.set_links(SIPD, "192.0.2.4", Link())
        call.hang_up()

    def test_lost_notify(self) -> None:
        """Whatever is lost, the lamp is right in the end."""
        watcher = self.watch(self.carol, "bob", "dialog", 3600)
        self.network.set_links(SIPD, "192.0.2.4", Link(loss=0.4))
        self.bob.auto_answer(after=2.0, ring_after=1.0)
        for _ in range(10):
            call = self.alice.call("bob")
            self.clock.advance(40.0)
            self.assertEqual(self.lamps(watcher)[-1], {"recipient": "confirmed"})
            call.hang_up()
            self.clock.advance(40.0)
            self.assertEqual(self.lamps(watcher)[-1], {"recipient": "terminated"})
        self.assertGreater(len(self.seen(self.carol, "NOTIFY")), len(watcher.notifications))
        self.network.set_links(SIPD, "192.0.2.4", Link())


class LifeTests(LampCase):
    """How such subscriptions live and end."""

    def test_refresh(self) -> None:
        """A refresh gives more time, and tells the state again."""
        watcher = self.watch(self.carol, "bob", "dialog", 100)
        self.clock.advance(80.0)
        self.assertEqual(self.answer(watcher.refresh(100)).expires, 100)
        self.assertEqual(watcher.states, ["active", "active"])
        self.clock.advance(80.0)
        self.assertEqual(len(self.server.watching.subscriptions), 1)

    def test_expires(self) -> None:
        """Who does not refresh is told that it is over."""
        watcher = self.watch(self.carol, "bob", "dialog", 100)
        self.clock.advance(100.0)
        self.assertEqual(watcher.states, ["active", "terminated timeout"])
        self.assertEqual(
            self.lines,
            [
                "subscription of sip:carol@example.com to dialog of sip:bob@example.com, served, 2 notifications in "
                "100.0 s: timeout; registered: 1 contact of bob"
            ],
        )

    def test_unsubscribe(self) -> None:
        """Who leaves gets the state for the last time; the next SUBSCRIBE in that dialog finds nothing."""
        watcher = self.watch(self.carol, "bob", "dialog")
        self.assertEqual(self.answer(watcher.refresh(0)).expires, 0)
        self.assertEqual(watcher.states, ["active", "terminated timeout"])
        self.assertEqual(self.lamps(watcher), [{}, {}])
        self.assertEqual(self.answer(watcher.refresh()).status, 481)
        self.assertIn("the watcher has ended it", self.lines[0])

    def test_asked_for_once(self) -> None:
        """A SUBSCRIBE for 0 seconds is answered by one NOTIFY with the state."""
        watcher = self.watch(self.carol, "bob", "dialog", 0)
        self.assertEqual((watcher.status, watcher.states), (200, ["terminated timeout"]))
        self.assertEqual(self.lamps(watcher), [{}])

    def test_seconds(self) -> None:
        """Too few are 423, too many are shortened, none are the default."""
        watcher = self.watch(self.carol, "bob", "dialog", 30)
        assert watcher.response is not None
        self.assertEqual((watcher.status, watcher.response.headers.get("Min-Expires")), (423, "60"))
        for asked, granted in ((100_000, 7200), (None, 3600)):
            watcher = self.watch(self.carol, "bob", "dialog", asked)
            assert watcher.response is not None
            self.assertEqual(watcher.response.expires, granted)
        refused = self.answer(watcher.refresh(30))
        self.assertEqual((refused.status, refused.headers.get("Min-Expires")), (423, "60"))

    def test_watcher_has_forgotten(self) -> None:
        """A watcher that answers 481 is told nothing any more."""
        watcher = self.watch(self.carol, "bob", "dialog")
        watcher.answer = 481
        self.bob.auto_refuse()
        self.alice.call("bob")
        self.clock.advance(10.0)
        self.assertEqual(len(watcher.notifications), 2)
        self.assertEqual(len(self.server.watching.subscriptions), 0)
        self.assertIn("NOTIFY: 481", self.lines[0])

    def test_watcher_is_gone(self) -> None:
        """A watcher that does not answer is told nothing any more."""
        self.watch(self.carol, "bob", "dialog")
        self.carol.close()
        self.bob.auto_refuse()
        self.alice.call("bob")
        self.clock.advance(40.0)
        self.assertEqual(len(self.server.watching.subscriptions), 0)
        self.assertIn("NOTIFY: No final response", self.lines[0])

    def test_watcher_without_a_phone_of_its_own(self) -> None:
        """Who watches need not be registered, and neither need who is watched."""
        self.bob.unregister()
        self.carol.unregister()
        self.clock.advance(1.0)
        watcher = self.watch(self.carol, "bob", "dialog")
        self.assertEqual(self.lamps(watcher), [{}])

    def test_stop(self) -> None:
        """When the server stops each watcher is told to come back in a while; new ones get 503."""
        watcher = self.watch(self.carol, "bob", "dialog")
        self.server.watching.subscriptions.stop("maintenance")
        self.clock.advance(1.0)
        self.assertEqual(watcher.states, ["active", "terminated probation"])
        self.assertIn("retry-after=30", watcher.notifications[-1].headers.get("Subscription-State") or "")
        self.assertIn("maintenance", self.lines[0])
        self.assertEqual(self.watch(self.carol, "bob", "dialog").status, 503)

    def test_close(self) -> None:
        """Closed, it forgets all at once, and no timer is left."""
        self.watch(self.carol, "bob", "dialog")
        self.server.watching.close()
        self.assertEqual(len(self.server.watching.subscriptions), 0)
        self.clock.advance(1000.0)


class PermissionTests(LampCase):
    """Who may watch."""

    def test_stranger(self) -> None:
        """Without a proof there is a 407, and no line in the log."""
        self.carol._password = None
        for event, expires in (("dialog", 600), ("dialog", 1), ("dia log", 600)):
            watcher = self.watch(self.carol, "bob", event, expires)
            self.assertEqual((watcher.status, watcher.notifications, self.lines), (407, [], []))

    def test_in_the_name_of_another(self) -> None:
        """Nobody watches under another user's address."""
        self.carol.aor = self.alice.aor
        self.assertEqual(self.watch(self.carol, "bob", "dialog").status, 403)

    def test_nobody_to_watch(self) -> None:
        """A user that does not exist is 404, and another domain 403: this is no relay."""
        self.assertEqual(self.watch(self.carol, "nobody", "dialog").status, 404)
        self.assertEqual(self.watch(self.carol, "sip:bob@elsewhere.example", "dialog").status, 403)

    def test_unreadable(self) -> None:
        """Who can read other things only is told so: 406."""
        for accept, status in (
            ("application/pidf+xml", 406),
            ("text/plain, application/*;q=0.5", 200),
            ("*/*", 200),
            ("application/dialog-info+xml", 200),
        ):
            watcher = self.watch(self.carol, "bob", "dialog", headers=[("Accept", accept)])
            self.assertEqual(watcher.status, status, accept)

    def test_no_event(self) -> None:
        """Without an Event nobody can know what is wanted: 489, with what there is."""
        response = self.answer(self.carol.ask(_without_event(self.carol.aor)))
        self.assertEqual(response.status, 489)
        self.assertEqual(response.headers.get("Allow-Events"), "dialog, message-summary, presence")

    def test_malformed(self) -> None:
        """A malformed Event, and a SUBSCRIBE without a Contact, are 400."""
        self.assertEqual(self.watch(self.carol, "bob", "dia log").status, 400)
        request = _without_event(self.carol.aor)
        request.headers.add("Event", "dialog")
        request.headers.remove("Contact")
        self.assertEqual(self.answer(self.carol.ask(request)).status, 400)

    def test_notify_of_nothing(self) -> None:
        """A NOTIFY outside of any subscription gets 481."""
        request = _without_event(self.carol.aor, "NOTIFY")
        self.assertEqual(self.answer(self.carol.ask(request)).status, 481)


class OwnTests(LampCase):
    """A server whose users watch themselves only, with exceptions."""

    watching: WatchingSettings | None = WatchingSettings(is_open=False, watchers={"bob": ("alice",)})

    def test_who_may(self) -> None:
        """Everybody may watch themselves, and whom they are allowed to."""
        for peer, user, status in (
            (self.carol, "carol", 200),
            (self.carol, "alice", 403),
            (self.carol, "bob", 403),
            (self.alice, "bob", 200),
            (self.bob, "bob", 200),
        ):
            self.assertEqual(self.watch(peer, user, "dialog").status, status, (peer.user, user))


class ListedTests(LampCase):
    """An open server where one user has said who may watch."""

    watching: WatchingSettings | None = WatchingSettings(watchers={"bob": ("alice",)})

    def test_who_may(self) -> None:
        """Whoever has a list is watched by those who are in it, mailbox included; the others by all."""
        for peer, user, event, status in (
            (self.carol, "bob", "dialog", 403),
            (self.alice, "bob", "dialog", 200),
            (self.carol, "alice", "dialog", 200),
            (self.alice, "bob", "message-summary", 200),
            (self.carol, "bob", "message-summary", 403),
            (self.carol, "alice", "message-summary", 403),
        ):
            self.assertEqual(self.watch(peer, user, event).status, status, (peer.user, user, event))


class BoundTests(LampCase):
    """Too many subscriptions."""

    watching: WatchingSettings | None = WatchingSettings(
        subscriptions=SubscriptionSettings(max_subscriptions=3, max_per_user=2)
    )

    def test_too_many(self) -> None:
        """So many in all, and so many of one user; one more gets 503 with Retry-After."""
        first = self.watch(self.carol, "bob", "dialog", 100)
        self.watch(self.carol, "alice", "dialog", 100)
        refused = self.watch(self.carol, "carol", "dialog", 100)
        assert refused.response is not None
        self.assertEqual((refused.status, refused.response.reason), (503, "Too Many Subscriptions Of Yours"))
        self.assertEqual(refused.response.headers.get("Retry-After"), "30")
        self.assertEqual(self.watch(self.alice, "bob", "dialog", 100).status, 200)
        self.assertEqual(self.watch(self.bob, "bob", "dialog", 100).status, 503)
        self.answer(first.refresh(0))
        self.assertEqual(self.watch(self.carol, "carol", "dialog", 100).status, 200)


def _without_event(aor: str, method: str = "SUBSCRIBE") -> Request:
    return builders.request(method, "sip:bob@example.com", caller=aor, via=None, contact=f"<sip:carol@{ALICE}>")
