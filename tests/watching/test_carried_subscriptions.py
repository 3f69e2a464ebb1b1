"""Subscriptions that are carried from a watcher to whom it watches, with a dialog on each side (RFC 6665)."""

from __future__ import annotations

from collections.abc import Callable

from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.links import Link
from sipd.testing.peer import Peer
from sipd.watching.carrying import MAX_WAITING, Carried
from tests.b2bua.support import ALICE, BOB, SIPD
from tests.watching.watchers import WatchCase, Watched, Watcher

DESK = "192.0.2.5"


def answering(
    status: int, reason: str | None = None, headers: builders.Fields = ()
) -> Callable[[Request, str], Response]:
    """Give what answers a SUBSCRIBE like that."""
    contact = f"<sip:bob@{BOB}:5060>"
    return lambda request, tag: builders.response(request, status, reason, to_tag=tag, contact=contact, headers=headers)


class CarriedCase(WatchCase):
    """Bob is watched, by a package that nobody here knows."""

    def setUp(self) -> None:
        """Let Bob be watched."""
        super().setUp()
        self.target = Watched(self.bob)

    def told_once(self, event: str = "x-lunch") -> Watcher:
        """Give Alice's subscription, which has been told once."""
        watcher = self.watch(self.alice, "bob", event)
        self.notify(body=b"pizza")
        self.assertEqual(watcher.bodies, [b"pizza"])
        return watcher

    def notify(self, state: str = "active;expires=600", body: bytes = b"", **options: object) -> Response | None:
        """Let Bob notify; give the answer that came within a second."""
        told = len(self.target.told)
        self.target.notify(state, body, **options)  # type: ignore[arg-type]
        self.clock.advance(1.0)
        return self.target.told[-1] if len(self.target.told) > told else None

    def tearDown(self) -> None:
        """Nothing may be left, and each subscription was said one line of."""
        self.over()


class CarriedTests(CarriedCase):
    """What crosses."""

    def test_has_a_leg_of_its_own(self) -> None:
        """Call-ID, tags, Contact and CSeq are the server's; event, wish and what nobody knows cross."""
        fields = [("Accept", "application/x-state"), ("X-Mood", "good")]
        watcher = self.watch(self.alice, "bob", "x-lunch;id=7;menu=all", headers=fields)
        self.assertEqual(watcher.status, 200)
        (subscribe,) = self.target.subscribes
        self.assertNotEqual(subscribe.call_id, watcher.call_id)
        self.assertNotEqual(subscribe.from_.tag, watcher.tag)
        self.assertEqual((subscribe.cseq.number, subscribe.max_forwards), (1, 69))
        self.assertEqual(subscribe.headers.get_all("Event"), ["x-lunch;id=7;menu=all"])
        self.assertEqual(subscribe.headers.get_all("Expires"), ["600"])
        for name, value in fields:
            self.assertEqual(subscribe.headers.get_all(name), [value])
        self.assertEqual(str(subscribe.contacts[0].uri), f"sip:alice@{SIPD}:5060")
        self.assertNotIn(ALICE.encode(), subscribe.to_bytes())
        self.assertNotIn("Proxy-Authorization", subscribe.headers)

    def test_notifications_cross(self) -> None:
        """Body, type and state of each NOTIFY reach the watcher in order, and its answer comes back."""
        watcher = self.watch(self.alice, "bob", "x-lunch;id=7")
        for number in range(3):
            answer = self.notify(f"active;expires={600 - number}", b"%d" % number)
            assert answer is not None
            self.assertEqual(answer.status, 200)
        self.assertEqual(watcher.bodies, [b"0", b"1", b"2"])
        last = watcher.notifications[-1]
        self.assertEqual(last.headers.get_all("Event"), ["x-lunch;id=7"])
        self.assertEqual(last.headers.get_all("Subscription-State"), ["active;expires=598"])
        self.assertEqual(last.content_type, "application/x-state")
        self.assertEqual(last.cseq.number, 3)
        self.assertNotIn(BOB.encode(), last.to_bytes())

    def test_granted(self) -> None:
        """The watcher gets the seconds that the target gave, and never more than it asked for."""
        for given, expected in (("300", 300), ("9000", 600)):
            self.target.answers = answering(200, None, [("Expires", given)])
            watcher = self.watch(self.alice, "bob", "x-lunch")
            assert watcher.response is not None
            self.assertEqual(watcher.response.expires, expected)

    def test_refused(self) -> None:
        """A refusal crosses with its phrase and what it asks for; it is one line of the log."""
        for status, reason, header in (
            (489, "Bad Event", ("Allow-Events", "presence")),
            (423, "Interval Too Brief", ("Min-Expires", "900")),
            (403, "Not You", ("X-Why", "rude")),
        ):
            self.lines.clear()
            self.target.answers = answering(status, reason, [header])
            watcher = self.watch(self.alice, "bob", "x-lunch")
            assert watcher.response is not None
            self.assertEqual((watcher.status, watcher.response.reason), (status, reason))
            self.assertEqual(watcher.response.headers.get(header[0]), header[1])
            (line,) = self.lines
            self.assertIn(f"carried, 0 notifications in 0.0 s: {status} {reason}; registered: 1 contact of bob", line)

    def test_refresh(self) -> None:
        """A refresh crosses, and so do its answer and the NOTIFY that follows it."""
        watcher = self.told_once()
        self.assertEqual(self.answer(watcher.refresh(900)).expires, 900)
        again = self.target.subscribes[-1]
        self.assertEqual((again.headers.get("Expires"), again.cseq.number), ("900", 2))
        self.assertEqual(again.to.tag, self.target.dialogs[0].local.partition("tag=")[2])
        self.notify("active;expires=900", b"soup")
        self.assertEqual(watcher.bodies, [b"pizza", b"soup"])
        self.clock.advance(800.0)
        self.notify(body=b"cake")
        self.assertEqual(watcher.bodies[-1], b"cake")

    def test_unsubscribe(self) -> None:
        """Who wants no more is told so by a last NOTIFY, that of the target; then both dialogs are over."""
        watcher = self.told_once()
        self.assertEqual(self.answer(watcher.refresh(0)).expires, 0)
        answer = self.notify("terminated;reason=timeout", b"bye")
        assert answer is not None
        self.assertEqual((answer.status, watcher.states[-1], watcher.bodies[-1]), (200, "terminated timeout", b"bye"))
        self.assertEqual(len(self.server.watching.subscriptions), 0)
        self.assertEqual(self.answer(watcher.refresh()).status, 481)
        late = self.notify()
        assert late is not None
        self.assertEqual(late.status, 481)

    def test_target_ends_it(self) -> None:
        """A target that ends it is heard with its reason; the log says how long it was and why."""
        watcher = self.told_once()
        self.lines.clear()
        self.notify("terminated;reason=deactivated;retry-after=5", b"moving")
        self.assertEqual(watcher.states, ["active", "terminated deactivated"])
        self.assertEqual(watcher.notifications[-1].headers.get("Subscription-State"), (
            "terminated;reason=deactivated;retry-after=5"
        ))  # fmt: skip
        (line,) = self.lines
        self.assertEqual(
            line,
            "subscription of sip:alice@example.com to x-lunch of sip:bob@example.com, carried, 2 notifications in "
            f"2.0 s: deactivated; registered: 1 contact of bob; contact sip:bob@{BOB}:5060: 200 OK",
        )

    def test_asked_for_once(self) -> None:
        """A SUBSCRIBE for 0 seconds is answered by one NOTIFY, which is the last."""
        watcher = self.watch(self.alice, "bob", "x-lunch", 0)
        self.notify("terminated;reason=timeout", b"once")
        self.assertEqual((watcher.states, watcher.bodies), (["terminated timeout"], [b"once"]))

    def test_options_in_the_dialog(self) -> None:
        """Each side answers OPTIONS in its dialog; other methods find nothing there."""
        watcher = self.told_once()
        assert watcher.dialog is not None
        for dialog in (watcher.dialog, self.target.dialogs[0]):
            self.assertEqual(self.answer(dialog.request("OPTIONS")).status, 200)
            self.assertEqual(self.answer(dialog.request("BYE")).status, 481)
        self.notify("terminated;reason=noresource")

    def test_another_subscription_in_the_dialog(self) -> None:
        """A second subscription in the same dialog is refused (RFC 6665 section 4.5.2)."""
        watcher = self.told_once()
        assert watcher.dialog is not None
        other = watcher.dialog.request("SUBSCRIBE", [("Event", "x-lunch;id=2"), ("Expires", "600")])
        self.assertEqual(self.answer(other).status, 403)

    def test_presence_of_who_publishes_nothing(self) -> None:
        """Presence is asked of the phone of a user who publishes nothing here."""
        watcher = self.watch(self.alice, "bob", "presence")
        self.notify(body=b"<presence/>")
        self.assertEqual(watcher.bodies, [b"<presence/>"])


class ContactTests(CarriedCase):
    """Targets with several phones."""

    def setUp(self) -> None:
        """Give Bob a second phone."""
        super().setUp()
        self.desk_phone: Peer = self.phone(DESK, "bob")
        self.desk = Watched(self.desk_phone)

    def tearDown(self) -> None:
        """Both phones go, and nothing may be left."""
        super().tearDown()
        self.assertEqual(len(self.desk_phone.exchanges), 0)

    def test_first_notifier_wins(self) -> None:
        """All are asked with the same Call-ID and tag; the first that notifies is taken, the others get 481."""
        watcher = self.watch(self.alice, "bob", "x-lunch")
        self.assertEqual(len(self.target.subscribes) + len(self.desk.subscribes), 2)
        self.assertEqual(self.target.subscribes[0].call_id, self.desk.subscribes[0].call_id)
        self.assertEqual(self.target.subscribes[0].from_.tag, self.desk.subscribes[0].from_.tag)
        self.desk.notify(body=b"desk")
        self.clock.advance(0.5)
        self.target.notify(body=b"bob")
        self.clock.advance(1.0)
        self.assertEqual(watcher.bodies, [b"desk"])
        self.assertEqual([one.status for one in self.target.told if one], [481])
        self.answer(watcher.refresh(700))
        self.assertEqual([one.headers.get("Expires") for one in self.desk.subscribes], ["600", "700"])
        self.assertEqual(len(self.target.subscribes), 1)

    def test_one_refuses(self) -> None:
        """One that refuses does not matter while another takes it."""
        self.target.answers = answering(489)
        watcher = self.watch(self.alice, "bob", "x-lunch")
        self.assertEqual(watcher.status, 200)
        self.desk.notify(body=b"desk")
        self.clock.advance(1.0)
        self.assertEqual(watcher.bodies, [b"desk"])


class RaceTests(CarriedCase):
    """What crosses on its way, or does not come."""

    def test_notify_before_the_answer(self) -> None:
        """A NOTIFY that overtakes the 200 waits until the watcher has its own 200."""
        held: list[Response] = []

        def hold(request: Request, tag: str) -> None:
            held.append(self.target.accept(request, tag))

        self.target.answers = hold
        watcher = self.watch(self.alice, "bob", "x-lunch")
        self.assertEqual(self.notify(body=b"early"), None)
        self.assertEqual((watcher.status, watcher.notifications), (0, []))
        self.bob.exchanges.send(held[0], (SIPD, 5060))
        self.clock.advance(1.0)
        self.assertEqual((watcher.status, watcher.bodies), (200, [b"early"]))
        self.assertEqual([one.status for one in self.target.told if one], [200])

    def test_notify_and_never_an_answer(self) -> None:
        """A NOTIFY stands for the 200 that is lost: the watcher is not refused (RFC 6665 section 4.1.2.4)."""
        self.target.answers = lambda request, tag: None
        watcher = self.watch(self.alice, "bob", "x-lunch")
        self.notify(body=b"early")
        self.clock.advance(31.0)
        self.assertEqual((watcher.status, watcher.bodies), (200, [b"early"]))

    def test_never_an_answer(self) -> None:
        """A target that says nothing is 480 for the watcher, in time."""
        self.bob.close()
        watcher = self.watch(self.alice, "bob", "x-lunch")
        self.clock.advance(30.0)
        self.assertEqual(watcher.status, 480)
        self.assertIn("480 No Answer", self.lines[0])

    def test_never_a_notify(self) -> None:
        """A target that accepts and never notifies is given up after 32 s, and the watcher is told."""
        watcher = self.watch(self.alice, "bob", "x-lunch")
        self.clock.advance(30.0)
        self.assertEqual(watcher.states, [])
        self.clock.advance(3.0)
        self.assertEqual(watcher.states, ["terminated noresource"])
        self.assertIn("no NOTIFY came", self.lines[0])

    def test_unsubscribe_before_the_first_notify(self) -> None:
        """Who leaves before the first NOTIFY is told that it is over; the NOTIFY that comes then gets 481."""
        watcher = self.watch(self.alice, "bob", "x-lunch")
        self.assertEqual(self.answer(watcher.refresh(0)).status, 200)
        self.assertEqual(watcher.states, ["terminated timeout"])
        answer = self.notify(body=b"late")
        assert answer is not None
        self.assertEqual(answer.status, 481)

    def test_refresh_before_the_first_notify(self) -> None:
        """Who refreshes before the first NOTIFY is told to try again soon."""
        watcher = self.watch(self.alice, "bob", "x-lunch")
        response = self.answer(watcher.refresh())
        self.assertEqual((response.status, response.headers.get("Retry-After")), (500, "2"))
        self.notify(body=b"now")
        self.assertEqual(self.answer(watcher.refresh()).status, 200)

    def test_unsubscribe_crosses_a_notify(self) -> None:
        """A NOTIFY that crosses the end still arrives, and then the last one."""
        watcher = self.told_once()
        ending = watcher.refresh(0)
        self.target.notify(body=b"crossing")
        self.clock.advance(1.0)
        self.assertEqual(self.answer(ending).status, 200)
        self.notify("terminated;reason=timeout")
        self.assertEqual(watcher.states, ["active", "active", "terminated timeout"])

    def test_terminated_while_refreshing(self) -> None:
        """A last NOTIFY that crosses a refresh ends both sides; the refresh is answered with 481."""
        watcher = self.told_once()

        def gone(request: Request, tag: str) -> Response:
            self.target.notify("terminated;reason=noresource", b"gone")
            return builders.response(request, 481, to_tag=tag)

        self.target.answers = gone
        refreshing = watcher.refresh()
        self.assertEqual(self.answer(refreshing).status, 481)
        self.assertEqual(watcher.states[-1], "terminated noresource")
        self.assertEqual(len(self.server.watching.subscriptions), 0)

    def test_target_has_forgotten(self) -> None:
        """A refresh that the target answers with 481 ends the watcher's side, too."""
        watcher = self.told_once()
        self.target.answers = answering(481)
        self.assertEqual(self.answer(watcher.refresh()).status, 481)
        self.assertEqual(watcher.states, ["active", "terminated noresource"])
        self.assertIn("SUBSCRIBE: 481", self.lines[-1])

    def test_refresh_refused_for_now(self) -> None:
        """A refresh that is refused for now leaves both sides as they are."""
        watcher = self.told_once()
        self.target.answers = answering(500)
        self.assertEqual(self.answer(watcher.refresh()).status, 500)
        self.notify(body=b"still here")
        self.assertEqual(watcher.bodies[-1], b"still here")

    def test_target_is_gone(self) -> None:
        """A target that does not answer a refresh is gone: the watcher is told."""
        watcher = self.told_once()
        self.bob.close()
        watcher.refresh()
        self.clock.advance(33.0)
        self.assertEqual(watcher.states, ["active", "terminated noresource"])

    def test_watcher_has_forgotten(self) -> None:
        """A watcher that answers 481 ends it: the target hears the 481."""
        watcher = self.told_once()
        watcher.answer = 481
        answer = self.notify(body=b"anybody there?")
        assert answer is not None
        self.assertEqual(answer.status, 481)
        self.assertEqual(len(self.server.watching.subscriptions), 0)
        self.assertIn("NOTIFY: 481", self.lines[-1])

    def test_watcher_refuses_for_now(self) -> None:
        """A watcher that cannot take a NOTIFY now keeps its subscription; the target hears its answer."""
        watcher = self.told_once()
        watcher.answer = 500
        answer = self.notify(body=b"one")
        assert answer is not None
        self.assertEqual(answer.status, 500)
        watcher.answer = 200
        self.notify(body=b"two")
        self.assertEqual(watcher.bodies, [b"pizza", b"one", b"two"])

    def test_watcher_is_gone(self) -> None:
        """A watcher that does not answer is gone: its subscription is ended at the target."""
        self.told_once()
        self.alice.close()
        self.target.notify(body=b"hello?")
        self.clock.advance(33.0)
        self.assertEqual(len(self.server.watching.subscriptions), 0)
        self.clock.advance(3.0)
        late = self.notify(body=b"still?")
        assert late is not None
        self.assertEqual(late.status, 481)
        self.alice = self.phone("192.0.2.77", "alice")

    def test_target_says_nothing_at_the_end(self) -> None:
        """Where nobody refreshes and the target does not say that it is over, the server does."""
        watcher = self.told_once()
        self.clock.advance(628.0)
        self.assertEqual(watcher.states, ["active"])
        self.clock.advance(6.0)
        self.assertEqual(watcher.states, ["active", "terminated timeout"])

    def test_more_than_the_watcher_takes(self) -> None:
        """One NOTIFY at a time goes to the watcher; so many wait, the next is refused for now."""
        watcher = self.told_once()
        watcher.answer = None
        for number in range(MAX_WAITING + 2):
            self.target.notify(body=b"%d" % number)
        self.clock.advance(1.0)
        self.assertEqual(len(watcher.notifications), 2)
        (refused,) = self.target.told[1:]
        assert refused is not None
        self.assertEqual((refused.status, refused.headers.get("Retry-After")), (500, "2"))
        self.clock.advance(40.0)
        self.assertEqual(len(self.server.watching.subscriptions), 0)

    def test_malformed_notify(self) -> None:
        """A NOTIFY without Subscription-State is 400, of another event 481, without one 489, out of order 500."""
        watcher = self.told_once()
        dialog = self.target.dialogs[0]
        for headers, status in (
            ([("Event", "x-lunch")], 400),
            ([("Event", "x-dinner"), ("Subscription-State", "active")], 481),
            ([("Subscription-State", "active")], 489),
        ):
            self.assertEqual(self.answer(dialog.request("NOTIFY", headers)).status, status)
        dialog.sequence = 0
        again = dialog.request("NOTIFY", [("Event", "x-lunch"), ("Subscription-State", "active")])
        self.assertEqual(self.answer(again).status, 500)
        self.assertEqual(len(watcher.notifications), 1)


class EndTests(CarriedCase):
    """The end of the server, and mistakes of its own."""

    def test_stop(self) -> None:
        """When the server stops the watcher is told to come back in a while, and the target that nobody watches."""
        watcher = self.told_once()
        self.server.watching.subscriptions.stop("maintenance")
        self.clock.advance(1.0)
        self.assertEqual(watcher.states, ["active", "terminated probation"])
        self.assertEqual(self.target.subscribes[-1].headers.get("Expires"), "0")
        answer = self.notify("terminated;reason=timeout", b"bye")
        assert answer is not None
        self.assertEqual((answer.status, len(watcher.notifications)), (200, 2))

    def test_stop_while_the_target_is_asked(self) -> None:
        """Who waits for the target's answer then gets 503."""
        self.target.answers = lambda request, tag: None
        watcher = self.watch(self.alice, "bob", "x-lunch")
        self.server.watching.subscriptions.stop("maintenance")
        self.clock.advance(1.0)
        self.assertEqual(watcher.status, 503)

    def test_notify_after_the_end(self) -> None:
        """While the watcher is told that it is over, a NOTIFY of the target has come too late."""
        watcher = self.told_once()
        watcher.answer = None
        self.server.watching.subscriptions.stop("maintenance")
        for state, status in (("active", 481), ("terminated;reason=timeout", 481)):
            answer = self.notify(state)
            assert answer is not None
            self.assertEqual(answer.status, status)
        refreshed = self.answer(watcher.refresh())
        self.assertEqual(refreshed.status, 481)

    def test_close(self) -> None:
        """Closed, it forgets both dialogs at once; neither side hears anything."""
        self.told_once()
        before = len(self.alice.seen), len(self.bob.seen)
        self.server.watching.close()
        self.assertEqual(self.server.agent._dialogs, {})
        self.clock.advance(700.0)
        self.assertEqual((len(self.alice.seen), len(self.bob.seen)), before)

    def test_bug(self) -> None:
        """A bug costs one refresh: its traceback is logged, and the subscription goes on."""
        watcher = self.told_once()
        (carried,) = self.server.watching.subscriptions._held
        assert isinstance(carried, Carried)
        refresh, carried._target.refresh = carried._target.refresh, None  # type: ignore[assignment,method-assign]
        self.assertEqual(self.answer(watcher.refresh()).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        carried._target.refresh = refresh  # type: ignore[method-assign]
        self.assertEqual(self.answer(watcher.refresh()).status, 200)

    def test_bug_at_the_beginning(self) -> None:
        """A bug while the target is asked is logged, and nothing stays held."""
        self.server.agent.resolver.locate = None  # type: ignore[assignment,method-assign]
        watcher = self.watch(self.alice, "bob", "x-lunch")
        self.assertEqual(watcher.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(len(self.server.watching.subscriptions), 0)

    def test_out_of_transactions(self) -> None:
        """Where nothing more can be sent a refresh is refused with 500, and the subscription is over."""
        watcher = self.told_once()
        transactions = self.server.transactions
        transactions._max_transactions = len(transactions) + 1
        response = self.answer(watcher.refresh())
        transactions._max_transactions = 1000
        self.assertEqual(response.status, 500)
        self.assertEqual(len(self.server.watching.subscriptions), 0)
        self.assertIn("SUBSCRIBE: 12 SIP transactions are live", self.lines[0])


class LossTests(CarriedCase):
    """Networks that lose what is sent."""

    def test_lost_on_both_sides(self) -> None:
        """Whatever is lost on either side: each subscription is told everything, in order, once, and ends."""
        for address in (ALICE, BOB):
            self.network.set_links(SIPD, address, Link(loss=0.3))
        for turn in range(8):
            watcher = Watcher(self.alice, "bob", f"x-lunch;id={turn}")
            self.clock.advance(25.0)
            self.assertEqual(watcher.status, 200, turn)
            expected = []
            for number in range(4):
                expected.append(b"%d-%d" % (turn, number))
                self.target.notify(body=expected[-1])
                self.clock.advance(25.0)
            self.assertEqual(self.answer(watcher.refresh(500), 25.0).status, 200)
            self.assertEqual(self.answer(watcher.refresh(0), 25.0).status, 200)
            self.target.notify("terminated;reason=timeout")
            self.clock.advance(30.0)
            self.assertEqual(watcher.bodies, [*expected, b""])
            self.assertEqual(watcher.states[-1], "terminated timeout")
            self.assertEqual(len(self.server.watching.subscriptions), 0)
        self.assertGreater(len(self.seen(self.bob, "SUBSCRIBE")), len(self.target.subscribes))
        self.assertGreater(len(self.seen(self.alice, "NOTIFY")), 8 * 5)
        for address in (ALICE, BOB):
            self.network.set_links(SIPD, address, Link())
