"""REFER that this side sends or lets others answer, and REFER outside of dialogs (RFC 3515, 4488, 6665)."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError
from sipd.interfaces import IRequestHandler, IServerTransaction
from sipd.sip.message import Request
from sipd.sip.refer import Fragment
from sipd.testing import builders
from sipd.ua.events import Requested
from sipd.ua.incoming import IncomingCall
from sipd.ua.interfaces import IDialogUser
from sipd.ua.referral import Referral
from sipd.ua.referring import MAX_OPEN, REFER_EXTENSIONS, Referring, referring_of
from tests.ua.support import THEM, US
from tests.ua.test_referring import CAROL, ReferCase


class ReferralTests(ReferCase):
    """This side sends REFER."""

    def refer(self, call: IncomingCall) -> tuple[Referral, Request, list[Any]]:
        """Give one, the REFER as it came, and what is told of it."""
        referral = call.refer(CAROL, (("Referred-By", f"<sip:bob@{US}>"),))
        told: list[Any] = []
        referral.on_progress = told.append
        referral.outcome.addCallback(told.append)
        self.clock.advance(0.1)
        refer = self.them.request("REFER")
        self.them.take()
        return referral, refer, told

    def notify(self, cseq: int, fragment: str, state: str = "active;expires=60", event: str = "refer") -> None:
        """Let a NOTIFY come in."""
        body = fragment.encode()
        self.said("NOTIFY", cseq=cseq, Event=event, Subscription_State=state, body=body)

    def test_accepted(self) -> None:
        """Progress and outcome are told, in order, the outcome once; each NOTIFY is answered."""
        call = self.incoming()
        referral, refer, told = self.refer(call)
        self.assertEqual((refer.headers.get("Refer-To"), len(refer.contacts)), (CAROL, 1))
        self.assertEqual(refer.headers.get("Referred-By"), f"<sip:bob@{US}>")
        response = self.reply(refer, 202)
        accepted = self.successResultOf(referral.accepted)
        self.assertEqual(accepted and accepted.status, response.status)
        self.notify(2, "SIP/2.0 100 Trying\r\n")
        self.notify(3, "SIP/2.0 180 Ringing\r\n", event=f"refer;id={refer.cseq.number}")
        self.notify(4, "nonsense")
        self.notify(5, "SIP/2.0 200 OK\r\n", "terminated;reason=noresource")
        self.assertEqual(told, [Fragment(status=100, reason="Trying"), Fragment(status=180, reason="Ringing"),
                                Fragment(status=200, reason="OK")])  # fmt: skip
        self.notify(6, "SIP/2.0 486 Busy Here\r\n", "terminated")
        self.assertEqual(self.them.kinds(), ["200"] * 4 + ["481"])
        self.end(call)

    def test_notified_before_the_answer(self) -> None:
        """A NOTIFY that overtakes the 202 counts."""
        call = self.incoming()
        referral, refer, told = self.refer(call)
        self.notify(2, "SIP/2.0 100 Trying\r\n", event="refer;id=99")
        self.reply(refer, 202)
        self.notify(3, "SIP/2.0 200 OK\r\n", "active", event=f"refer;id={refer.cseq.number}")
        self.assertEqual([one.status for one in told], [100, 200])
        self.notify(4, "SIP/2.0 200 OK\r\n", "terminated;reason=noresource")
        self.assertFalse(referral.is_open)
        self.assertEqual((self.them.kinds(), len(told)), (["200"] * 3, 2))
        self.end(call)

    def test_refused(self) -> None:
        """Nobody will ever say how it ends, and a NOTIFY is of nothing; nor if no NOTIFY is to come (RFC 4488)."""
        call = self.incoming()
        for cseq, status, headers in ((2, 603, ()), (3, 202, (("Refer-Sub", "false"),))):
            referral, refer, told = self.refer(call)
            self.them.send(builders.response(refer, status, headers=headers))
            self.clock.advance(0.1)
            accepted = self.successResultOf(referral.accepted)
            self.assertEqual(accepted and accepted.status, status)
            self.notify(cseq, "SIP/2.0 200 OK\r\n")
            self.assertEqual((told, self.them.kinds()), ([None], ["481"]))
        self.end(call)

    def test_silence(self) -> None:
        """A peer that takes it and says nothing is not waited for: 64*T1 for the first NOTIFY, then its time."""
        call = self.incoming()
        referral, refer, told = self.refer(call)
        self.reply(refer, 202)
        self.clock.advance(32.0)
        self.assertEqual((told, referral.is_open), ([None], False))
        referral, refer, told = self.refer(call)
        self.reply(refer, 202)
        self.notify(2, "SIP/2.0 100 Trying\r\n", event=f"refer;id={refer.cseq.number}")
        self.clock.advance(181.0)
        self.assertEqual([one and one.status for one in told], [100, None])
        self.end(call)

    def test_lost(self) -> None:
        """Without an answer to the REFER the peer is gone."""
        call = self.incoming()
        referral, _, told = self.refer(call)
        self.clock.advance(33.0)
        self.assertIsNone(self.successResultOf(referral.accepted))
        self.assertEqual((told, call.is_over), ([None], True))
        self.settle()

    def test_survives_bye(self) -> None:
        """What the peer tells after the BYE is heard, and nothing is left when it has told the outcome."""
        call = self.incoming()
        _, refer, told = self.refer(call)
        self.reply(refer, 202)
        self.notify(2, "SIP/2.0 100 Trying\r\n")
        call.hang_up()
        self.clock.advance(0.1)
        self.reply(self.them.request("BYE"), 200)
        self.them.take()
        self.notify(3, "SIP/2.0 200 OK\r\n", "terminated;reason=noresource")
        self.assertEqual((told[-1].status, self.them.kinds(), self.agent._dialogs), (200, ["200"], {}))
        self.settle()

    def test_ended_without_an_outcome(self) -> None:
        """After the BYE a subscription that ends, or whose outcome nobody tells, leaves nothing."""
        for ends in (True, False):
            self.setUp()
            self.incoming()
            call = self.user.calls[-1]
            _, refer, told = self.refer(call)
            self.reply(refer, 202)
            self.bye()
            if ends:
                self.notify(60, "SIP/2.0 100 Trying\r\n", "terminated;reason=giveup")
            else:
                self.clock.advance(32.0)
            self.assertEqual((told, self.agent._dialogs), ([None], {}))
            self.settle()

    def test_malformed(self) -> None:
        """A NOTIFY without a state is 400 and changes nothing; one of another package has no subscription."""
        call = self.incoming()
        _, refer, told = self.refer(call)
        self.reply(refer, 202)
        self.said("NOTIFY", cseq=2, Event="refer")
        self.said("NOTIFY", cseq=3, Event="<>")
        self.notify(4, "SIP/2.0 200 OK\r\n", event="dialog")
        self.notify(5, "SIP/2.0 200 OK\r\n", event="refer;id=777")
        self.assertEqual((told, self.them.kinds()), ([], ["400", "400", "481", "481"]))
        self.end(call)

    def test_one_at_a_time(self) -> None:
        """Not before the session is up, not while another waits for its answer, and not too many."""
        offered = self.offered()
        self.assertRaises(InvalidStateError, offered.refer, CAROL)
        offered.reject(486)
        self.setUp()
        call = self.incoming()
        for _ in range(MAX_OPEN):
            _, refer, _ = self.refer(call)
            self.assertRaises(InvalidStateError, call.refer, CAROL)
            self.reply(refer, 202)
        self.assertRaises(InvalidStateError, call.refer, CAROL)
        self.clock.advance(32.0)
        self.refer(call)
        self.end(call)


class PassingTests(ReferCase):
    """NOTIFYs of a REFER that somebody else sent."""

    def test_told_to_the_user(self) -> None:
        """A session whose user passes requests on gives it the NOTIFYs, SUBSCRIBEs and OPTIONS that are not its own."""
        call = self.incoming()
        options = {"Event": "refer", "Subscription_State": "active"}
        self.said("NOTIFY", cseq=2, body=None, **options)
        self.assertEqual(self.them.kinds(), ["481"])
        call.passes_requests = True
        self.said("NOTIFY", cseq=3, body=None, **options)
        self.user.last(Requested).requesting.answer(202)
        for number, method in enumerate(("NOTIFY", "SUBSCRIBE", "OPTIONS"), 4):
            self.said(method, cseq=number, body=None, **options | {"Event": "talk"})
            self.user.last(Requested).requesting.answer(204)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["202", "204", "204", "204"])
        self.end(call)
        self.said("NOTIFY", cseq=7, body=None, **options)
        self.assertIn("481", self.them.kinds())


@implementer(IRequestHandler)
class Handler:
    """Takes REFERs outside of dialogs."""

    extensions = REFER_EXTENSIONS

    def __init__(self, case: OutOfDialogTests) -> None:
        self._case = case

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        self._case.referring = referring_of(self._case.agent, transaction)


class OutOfDialogTests(ReferCase):
    """A REFER that is no part of a call."""

    def setUp(self) -> None:
        """Handle them."""
        super().setUp()
        self.agent.handlers["REFER"] = Handler(self)
        self.referring: Referring | None = None

    def asked(self, contact: str | None = f"<sip:alice@{THEM}>", **options: str) -> Referring | None:
        """Let one come in."""
        headers = [("Refer-To", CAROL), *((name.replace("_", "-"), options[name]) for name in options)]
        self.refer = builders.request("REFER", f"sip:{US}", via=f"{THEM}:5060", contact=contact, headers=headers)
        self.them.send(self.refer)
        self.clock.advance(0.1)
        return self.referring

    def in_dialog(self, method: str, tag: str, cseq: int, **options: str) -> None:
        """Let a request come in in the dialog that it made."""
        headers = [(name.replace("_", "-"), options[name]) for name in options]
        self.them.send(
            builders.request(
                method, f"sip:{US}", from_tag="from-tag", to_tag=tag, cseq=cseq, branch=f"z9hG4bK-o{cseq}",
                via=f"{THEM}:5060", contact=f"<sip:alice@{THEM}>", headers=headers,
            )
        )  # fmt: skip
        self.clock.advance(0.1)

    def test_makes_a_dialog(self) -> None:
        """202 makes one, in which it is told how it fares; it goes with the subscription (RFC 3515 section 2.4.4)."""
        verifyObject(IRequestHandler, Handler(self))
        referring = self.asked()
        assert referring is not None
        self.assertEqual(self.agent._dialogs, {})
        referring.accept()
        self.clock.advance(0.1)
        accepted = self.them.response(202)
        tag = accepted.to.tag or ""
        verifyObject(IDialogUser, next(iter(self.agent._dialogs.values())))
        notify, _, _ = self.notified()
        self.assertEqual((notify.from_.tag, notify.to.tag, notify.uri_text), (tag, "from-tag", f"sip:alice@{THEM}"))
        self.assertEqual((len(accepted.contacts), notify.headers.get("Event")), (1, "refer"))
        self.reply(notify, 200)
        for cseq, (method, options, status) in enumerate(
            (("INFO", {}, 481), ("SUBSCRIBE", {"Event": "x"}, 489), ("SUBSCRIBE", {"Event": "<>"}, 400)), 2
        ):
            self.in_dialog(method, tag, cseq, **options)
            self.assertEqual(self.them.kinds(), [str(status)])
        self.in_dialog("SUBSCRIBE", tag, 9, Event="refer", Expires="30")
        notify, state, _ = self.notified()
        self.assertEqual(state, "active;expires=30")
        self.reply(notify, 200)
        referring.finish(200, "OK")
        self.clock.advance(0.1)
        self.reply(self.notified()[0], 200)
        self.settle()

    def test_makes_none(self) -> None:
        """Where it is refused, or nothing is to be told, there is none."""
        for options in ({}, {"Refer_Sub": "false"}):
            self.setUp()
            referring = self.asked(**options)
            assert referring is not None
            if options:
                referring.accept()
            else:
                referring.answer(403)
            self.clock.advance(0.1)
            self.assertEqual(self.them.kinds(), ["202" if options else "403"])
            self.settle()

    def test_malformed(self) -> None:
        """Without a Contact there is no way to tell anything: 400."""
        self.assertIsNone(self.asked(contact=None))
        self.assertEqual(self.them.kinds(), ["400"])
        self.settle()

    def test_expires(self) -> None:
        """A subscription that nobody answers and nobody ends leaves nothing."""
        referring = self.asked()
        assert referring is not None
        referring.accept()
        self.settle()
        self.assertFalse(referring.is_open)

    def test_close(self) -> None:
        """When the user agent is closed its timers stop."""
        referring = self.asked()
        assert referring is not None
        referring.accept()
        self.clock.advance(0.1)
        self.reply(self.notified()[0], 200)
        self.agent.close()
        self.assertEqual(self.agent._dialogs, {})
        self.settle()
        self.assertEqual(self.them.kinds(), [])
