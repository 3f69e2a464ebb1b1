"""Subscriptions as a user agent has them, of either side (RFC 6665 section 4)."""

from __future__ import annotations

from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError, RemoteError
from sipd.interfaces import IRequestHandler, IServerTransaction
from sipd.sip.message import Response
from sipd.sip.refer import SubscriptionState
from sipd.testing import builders
from sipd.ua.incoming_subscription import IncomingSubscription, Notification
from sipd.ua.interfaces import IDialogUser, IIncomingSubscriptionUser, IOutgoingSubscriptionUser
from sipd.ua.outgoing_subscription import OutgoingSubscription
from tests.ua.support import THEM, US, AgentCase

ACTIVE = SubscriptionState(state="active")
EVENT = ("Event", "x-state;id=1")


@implementer(IRequestHandler, IIncomingSubscriptionUser)
class Teller:
    """Accepts each SUBSCRIBE for as long as it asks, and tells numbers."""

    extensions: frozenset[str] = frozenset()

    def __init__(self, case: AgentCase) -> None:
        self.agent = case.agent
        self.subscription: IncomingSubscription | None = None
        self.told: list[str] = []
        self.answers: list[int | None] = []
        self.overs: list[str] = []

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        self.subscription = IncomingSubscription(self.agent, transaction, self)
        seconds = transaction.request.expires or 0
        self.subscription.accept(transaction, seconds)
        self.subscription.begin(seconds)
        self.subscription.news()

    def subscribe_received(self, subscription: IncomingSubscription, transaction: IServerTransaction) -> None:
        """See `IIncomingSubscriptionUser`."""
        seconds = transaction.request.expires or 0
        subscription.accept(transaction, seconds)
        if seconds:
            subscription.extend(seconds)
        else:
            subscription.end("timeout", "by its own wish")

    def notification(self, subscription: IncomingSubscription, reason: str) -> Notification:
        """See `IIncomingSubscriptionUser`."""
        self.told.append(reason)
        state = SubscriptionState(state="terminated", reason=reason) if reason else ACTIVE
        return Notification(state, (("Content-Type", "text/plain"),), b"%d" % len(self.told))

    def notification_answered(self, subscription: IncomingSubscription, response: Response | None) -> None:
        """See `IIncomingSubscriptionUser`."""
        self.answers.append(None if response is None else response.status)

    def incoming_over(self, subscription: IncomingSubscription, text: str) -> None:
        """See `IIncomingSubscriptionUser`."""
        self.overs.append(text)


@implementer(IOutgoingSubscriptionUser)
class Listener:
    """Keeps what it is told, and answers as it is wanted to."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.overs: list[tuple[str, str]] = []
        self.status = 200

    def notify_received(
        self, subscription: OutgoingSubscription, transaction: IServerTransaction, state: SubscriptionState
    ) -> None:
        """See `IOutgoingSubscriptionUser`."""
        self.states.append(state.state)
        subscription.answer(transaction, self.status)

    def outgoing_over(self, subscription: OutgoingSubscription, text: str, reason: str) -> None:
        """See `IOutgoingSubscriptionUser`."""
        self.overs.append((text, reason))


class IncomingTests(AgentCase):
    """Somebody subscribes here."""

    def setUp(self) -> None:
        """Serve subscriptions."""
        super().setUp()
        self.teller = Teller(self)
        self.agent.handlers["SUBSCRIBE"] = self.teller

    def subscribe(self, *headers: tuple[str, str]) -> None:
        """Let a SUBSCRIBE come in."""
        fields = [EVENT, ("Expires", "600"), *headers]
        contact = f"<sip:alice@{THEM}>"
        self.them.send(
            builders.request("SUBSCRIBE", f"sip:bob@{US}", contact=contact, via=f"{THEM}:5060", headers=fields)
        )
        self.clock.advance(0.1)

    def again(self, cseq: int, *headers: tuple[str, str], contact: str = f"<sip:alice@{THEM}>") -> None:
        """Let another one come in its dialog."""
        tag = self.them.response(200).to.tag
        request = builders.request(
            "SUBSCRIBE", f"sip:bob@{US}", to_tag=tag, cseq=cseq, branch=f"z9hG4bK-s{cseq}", via=f"{THEM}:5060",
            contact=contact, headers=headers,
        )  # fmt: skip
        self.them.send(request)
        self.clock.advance(0.1)

    def taken(self) -> None:
        """Take the last NOTIFY."""
        self.them.send(builders.response(self.them.request("NOTIFY"), 200, to_tag=None))
        self.clock.advance(0.1)

    def tearDown(self) -> None:
        """Nothing may be left."""
        assert self.teller.subscription is not None
        self.teller.subscription.close()
        self.settle()

    def test_interfaces(self) -> None:
        """It is a user of a dialog, and its user is what it wants."""
        self.subscribe()
        verifyObject(IDialogUser, self.teller.subscription)
        verifyObject(IIncomingSubscriptionUser, self.teller)

    def test_answer_and_first_notify(self) -> None:
        """The 200 has Contact, Expires and the Record-Route; the NOTIFY goes the same way, after it."""
        route = f"<sip:{THEM}:5060;lr>"
        self.subscribe(("Record-Route", route))
        self.assertEqual([type(one).__name__ for one in self.them.messages], ["Response", "Request"])
        response, notify = self.them.response(200), self.them.request("NOTIFY")
        self.assertEqual((response.expires, str(response.contacts[0])), (600, f"<sip:bob@{US}:5060>"))
        self.assertEqual(response.headers.get_all("Record-Route"), [route])
        self.assertEqual(notify.headers.get_all("Route"), [route])
        self.assertEqual((notify.uri_text, notify.from_.tag), (f"sip:alice@{THEM}", response.to.tag))
        self.assertEqual(notify.headers.get("Subscription-State"), "active;expires=600")
        self.assertEqual(notify.headers.get("Event"), "x-state;id=1")

    def test_seconds_left(self) -> None:
        """An active state says how long it lives yet."""
        self.subscribe()
        self.taken()
        self.clock.advance(99.8)
        assert self.teller.subscription is not None
        self.teller.subscription.news()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("NOTIFY").headers.get("Subscription-State"), "active;expires=500")
        self.taken()
        self.assertEqual(self.teller.answers, [200, 200])

    def test_moves(self) -> None:
        """A refresh from another place is where the next NOTIFY goes (section 4.4.1)."""
        self.subscribe()
        self.taken()
        self.again(2, EVENT, ("Expires", "60"), contact=f"<sip:elsewhere@{THEM}:5060>")
        assert self.teller.subscription is not None
        self.teller.subscription.news()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("NOTIFY").uri_text, f"sip:elsewhere@{THEM}:5060")
        self.taken()

    def test_ends(self) -> None:
        """A SUBSCRIBE for 0 seconds while a NOTIFY waits: the last one follows its answer, then nothing is there."""
        self.subscribe()
        self.again(2, EVENT, ("Expires", "0"))
        self.assertEqual(self.teller.told, [""])
        self.taken()
        self.assertEqual(self.teller.told, ["", "timeout"])
        self.again(3, EVENT, ("Expires", "60"))
        self.assertEqual(self.them.messages[-1].headers.get("CSeq"), "3 SUBSCRIBE")
        self.assertEqual(self.them.response(481).reason, "The Subscription Is Over")
        self.taken()
        self.assertEqual(self.teller.overs, ["by its own wish"])
        self.again(4, EVENT)
        self.assertEqual(self.them.response(481).cseq.number, 4)

    def test_out_of_order(self) -> None:
        """A SUBSCRIBE with a number that is too low is 500, without an Event 400, of another event 403."""
        self.subscribe()
        for cseq, headers, status in ((1, [EVENT], 500), (2, [], 400), (3, [("Event", "x-state")], 403)):
            self.again(cseq, *headers)
            self.assertEqual(self.them.response(status).cseq.number, cseq)

    def test_no_answer(self) -> None:
        """A subscriber that does not answer a NOTIFY is gone."""
        self.subscribe()
        self.clock.advance(33.0)
        self.assertEqual((self.teller.answers, self.teller.told), ([None], [""]))
        self.assertIn("NOTIFY", self.teller.overs[0])


class OutgoingTests(AgentCase):
    """This side subscribes."""

    def setUp(self) -> None:
        """Send a SUBSCRIBE."""
        super().setUp()
        self.listener = Listener()
        subscribe = builders.request(
            "SUBSCRIBE", f"sip:bob@{THEM}", caller=f"sip:alice@{US}", callee=f"sip:bob@{THEM}", via=None,
            contact=f"<sip:alice@{US}>", headers=[EVENT, ("Expires", "600")],
        )  # fmt: skip
        self.subscription = OutgoingSubscription(self.agent, subscribe, self.listener)
        self.subscription.begin()
        asking = self.agent.request(subscribe).addCallback(self.subscription.accepted)
        asking.addErrback(lambda failure: failure.trap(RemoteError))
        self.clock.advance(0.1)

    def accept(self, *headers: tuple[str, str]) -> None:
        """Accept the last SUBSCRIBE."""
        subscribe = self.them.request("SUBSCRIBE")
        contact = f"<sip:bob@{THEM}>" if not any(name == "Contact" for name, _ in headers) else None
        expires = subscribe.headers.get("Expires") or ""
        fields = [("Expires", expires), *headers]
        self.them.send(builders.response(subscribe, 200, to_tag="b1", contact=contact, headers=fields))
        self.clock.advance(0.1)

    def notify(self, cseq: int, state: str, *headers: tuple[str, str], tag: str = "b1") -> int:
        """Let a NOTIFY come in; give the status of its answer."""
        subscribe = self.them.request("SUBSCRIBE")
        request = builders.request(
            "NOTIFY", f"sip:alice@{US}", caller=f"sip:bob@{THEM}", callee=f"sip:alice@{US}", from_tag=tag,
            to_tag=subscribe.from_.tag, call_id=subscribe.call_id, cseq=cseq, branch=f"z9hG4bK-{tag}-{cseq}",
            via=f"{THEM}:5060", contact=f"<sip:bob@{THEM}>", headers=[EVENT, ("Subscription-State", state), *headers],
        )  # fmt: skip
        self.them.send(request)
        self.clock.advance(0.1)
        answer = self.them.messages[-1]
        assert isinstance(answer, Response)
        self.assertEqual(answer.cseq.method, "NOTIFY")
        return answer.status

    def tearDown(self) -> None:
        """Nothing may be left."""
        self.subscription.close()
        self.settle()

    def test_interfaces(self) -> None:
        """It is a user of a dialog, and its user is what it wants."""
        verifyObject(IDialogUser, self.subscription)
        verifyObject(IOutgoingSubscriptionUser, self.listener)

    def test_first_notify_makes_the_dialog(self) -> None:
        """Also before the 200, and with its Record-Route; another notifier gets 481; then it can be refreshed."""
        self.assertRaises(InvalidStateError, self.subscription.refresh)
        route = f"<sip:{THEM}:5060;lr>"
        self.assertEqual(self.notify(1, "active;expires=600", ("Record-Route", route)), 200)
        self.accept()
        self.assertEqual(self.notify(1, "active;expires=600", tag="b2"), 481)
        done = self.subscription.refresh([("Expires", "300")])
        self.clock.advance(0.1)
        again = self.them.request("SUBSCRIBE")
        self.assertEqual((again.to.tag, again.cseq.number, again.headers.get("Expires")), ("b1", 2, "300"))
        self.assertEqual(again.headers.get_all("Route"), [route])
        self.assertEqual(again.headers.get_all("Event"), [EVENT[1]])
        self.accept()
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.listener.states, ["active"])

    def test_leaves(self) -> None:
        """Who leaves says so, hears nothing any more, and answers what still comes."""
        self.accept()
        self.notify(1, "active;expires=600")
        self.subscription.leave()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("SUBSCRIBE").headers.get("Expires"), "0")
        self.accept()
        self.assertEqual(self.notify(2, "active;expires=0"), 200)
        self.assertEqual(self.notify(3, "terminated;reason=timeout"), 200)
        self.assertEqual(self.notify(4, "active"), 481)
        self.assertEqual((self.listener.states, self.listener.overs), (["active"], []))

    def test_leaves_before_anything(self) -> None:
        """Before the first NOTIFY there is nobody to tell: it gets 481."""
        self.accept()
        self.subscription.leave()
        self.assertTrue(self.subscription.is_over)
        self.assertEqual(self.notify(1, "active;expires=600"), 481)

    def test_refuses(self) -> None:
        """A NOTIFY that is answered with 481 is the end."""
        self.accept()
        self.listener.status = 481
        self.assertEqual(self.notify(1, "active;expires=600"), 481)
        self.assertTrue(self.subscription.is_over)
        self.listener.status = 200
        self.assertEqual(self.notify(2, "active;expires=600"), 481)

    def test_bad_contact(self) -> None:
        """A refresh whose 200 has a Contact that nobody can read ends it."""
        self.accept()
        self.notify(1, "active;expires=600")
        self.subscription.refresh([("Expires", "300")])
        self.clock.advance(0.1)
        self.accept(("Contact", "<nonsense"))
        (over,) = self.listener.overs
        self.assertEqual(over[1], "noresource")

    def test_wait_is_bounded(self) -> None:
        """Where no NOTIFY comes it is over after 32 s; without a refresh some time after its own."""
        self.accept()
        self.clock.advance(33.0)
        self.assertEqual(self.listener.overs, [("no NOTIFY came", "noresource")])

    def test_not_refreshed(self) -> None:
        """What nobody refreshes, and nobody ends, is over 32 s after its time."""
        self.accept()
        self.notify(1, "active;expires=600")
        self.clock.advance(600.0)
        self.assertEqual(self.listener.overs, [])
        self.clock.advance(33.0)
        self.assertEqual(self.listener.overs, [("it was not refreshed", "timeout")])

    def test_agent_closes(self) -> None:
        """When the user agent closes no timer is left."""
        self.accept()
        self.notify(1, "active;expires=600")
        self.agent.close()
        self.assertTrue(self.subscription.is_over)
