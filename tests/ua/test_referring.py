"""REFER inside of sessions, and the NOTIFYs that follow (RFC 3515, 4488, 5057, 6665, 7614)."""

from __future__ import annotations

from dataclasses import replace

from sipd.sip.message import Request
from sipd.sip.refer import SubscriptionWish
from sipd.testing import builders
from sipd.ua.events import Ended, Referred
from sipd.ua.referring import MAX_OPEN, REFER_EXTENSIONS, Referring
from tests.ua.support import THEM, US
from tests.ua.test_updates import UpdateCase

CAROL = "<sip:carol@example.com>"


class ReferCase(UpdateCase):
    """A user agent that takes REFER, and a session that came in."""

    def setUp(self) -> None:
        """Make both."""
        super().setUp()
        self.agent.settings = replace(self.agent.settings, takes_referrals=True)

    def referred(self, cseq: int = 2, refer_to: str = CAROL, **options: str) -> Referring:
        """Let a REFER come in."""
        self.said("REFER", cseq=cseq, Refer_To=refer_to, body=None, **options)
        return self.user.last(Referred).referring

    def accepted(self, cseq: int = 2, **options: str) -> Referring:
        """Accept one; its first NOTIFY is answered."""
        referring = self.referred(cseq, **options)
        referring.accept()
        self.clock.advance(0.1)
        self.reply(self.them.request("NOTIFY"), 200)
        self.them.take()
        return referring

    def notified(self) -> tuple[Request, str, bytes]:
        """Give the NOTIFY that came, with what it says."""
        notify = self.them.request("NOTIFY")
        self.assertEqual(notify.headers.get("Content-Type"), "message/sipfrag;version=2.0")
        self.assertEqual(len(notify.contacts), 1)
        self.them.take()
        return notify, notify.headers.get("Subscription-State") or "", notify.body

    def bye(self, cseq: int = 50) -> None:
        """Let the peer hang up."""
        self.said("BYE", cseq=cseq)
        self.user.last(Ended)
        self.assertEqual(self.them.kinds(), ["200"])


class ReferTests(ReferCase):
    """The peer sends REFER."""

    def test_tells_how_it_fares(self) -> None:
        """202 and NOTIFY at once; then one for each response, each in its turn, until the last."""
        call = self.incoming()
        referring = self.referred(Referred_By="<sip:alice@example.com>")
        self.assertEqual(str(referring.refer_to), CAROL)
        self.assertEqual(str(referring.referred_by), "<sip:alice@example.com>")
        self.assertEqual((referring.wish, self.them.take()), (SubscriptionWish.IMPLICIT, []))
        referring.accept()
        referring.accept()
        self.clock.advance(0.1)
        accepted = self.them.response(202)
        self.assertEqual((accepted.cseq.method, len(accepted.contacts)), ("REFER", 1))
        self.assertNotIn("Refer-Sub", accepted.headers)
        self.assertEqual([type(one) for one in self.them.messages][1:], [Request])
        notify, state, body = self.notified()
        self.assertEqual((state, body), ("active;expires=180", b"SIP/2.0 100 Trying\r\n"))
        self.assertEqual(notify.headers.get("Event"), "refer")
        self.reply(notify, 200)
        referring.progress(180, "Ringing")
        self.clock.advance(10.0)
        notify, state, body = self.notified()
        self.assertEqual((state, body), ("active;expires=180", b"SIP/2.0 180 Ringing\r\n"))
        self.reply(notify, 200)
        referring.finish(200, "OK")
        self.clock.advance(0.1)
        notify, state, body = self.notified()
        self.assertEqual((state, body), ("terminated;reason=noresource", b"SIP/2.0 200 OK\r\n"))
        self.reply(notify, 200)
        self.assertFalse(referring.is_open)
        referring.finish(486, "Busy Here")
        self.end(call)

    def test_one_at_a_time(self) -> None:
        """While a NOTIFY has no answer nothing else is said; what is outdated by then never is."""
        call = self.incoming()
        referring = self.referred()
        referring.accept()
        for status in (180, 181, 183):
            referring.progress(status, "So")
        self.clock.advance(0.2)
        self.assertEqual(self.them.kinds(), ["202", "NOTIFY"])
        self.clock.advance(0.5)
        notify, _, body = self.notified()
        self.assertEqual(body, b"SIP/2.0 100 Trying\r\n")
        self.reply(notify, 200)
        notify, _, body = self.notified()
        self.assertEqual(body, b"SIP/2.0 183 So\r\n")
        referring.progress(199, "So")
        referring.finish(603, "No")
        self.reply(notify, 200)
        notify, _, body = self.notified()
        self.assertEqual(body, b"SIP/2.0 603 No\r\n")
        self.reply(notify, 200)
        self.end(call)

    def test_nothing_new(self) -> None:
        """The same again is not told again."""
        call = self.incoming()
        referring = self.accepted()
        referring.progress(100, "Trying")
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), [])
        self.end(call)
        self.assertFalse(referring.is_open)

    def test_refused(self) -> None:
        """The user refuses, or passes on what somebody else answers; no NOTIFY follows."""
        call = self.incoming()
        referring = self.referred()
        referring.answer(603, "No", (("X-Why", "so"),))
        referring.accept()
        referring.progress(180, "Ringing")
        referring.finish(200, "OK")
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(603).headers.get("X-Why"), "so")
        self.assertEqual(self.them.kinds(), ["603"])
        self.end(call)

    def test_answer_of_somebody_else(self) -> None:
        """A 202 that is passed on says where this side is reached, as any 2xx here does; no NOTIFY follows it."""
        call = self.incoming()
        self.referred().answer(202, "Fine")
        self.clock.advance(0.1)
        accepted = self.them.response(202)
        self.assertEqual((accepted.reason, len(accepted.contacts), self.them.kinds()), ("Fine", 1, ["202"]))
        self.end(call)

    def test_malformed(self) -> None:
        """Not exactly one Refer-To, or one that nobody can read, is 400; so are Referred-By and Refer-Sub (2.4.2)."""
        call = self.incoming()
        for cseq, options in enumerate(
            (
                {}, {"Refer_To": ""}, {"Refer_To": "<sip:carol@example.com"}, {"Refer_To": "<sip:c@h?%0D%0AX=1>"},
                {"Refer_To": "<sip:c@h?Replaces=x>"}, {"Refer_To": CAROL, "Refer_Sub": "perhaps"},
                {"Refer_To": CAROL, "Referred_By": "<"},
            ), 2,
        ):  # fmt: skip
            self.said("REFER", cseq=cseq, body=None, **options)
            self.assertEqual(self.them.kinds(), ["400"], options)
        for cseq, name in ((20, "Refer-To"), (21, "Referred-By")):
            request = builders.request(
                "REFER", f"sip:bob@{US}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
                to_tag=self.ok.to.tag, cseq=cseq, branch=f"z9hG4bK-m{cseq}", via=THEM,
                headers=[("Refer-To", CAROL), (name, CAROL), (name, CAROL)],
            )  # fmt: skip
            self.them.send(request)
            self.clock.advance(0.1)
            self.assertEqual(self.them.kinds(), ["400"], name)
        self.assertFalse(any(isinstance(event, Referred) for event in self.user.events))
        self.end(call)

    def test_without_a_subscription(self) -> None:
        """Who wants no NOTIFY gets none, and 202 says so (RFC 4488 section 4, RFC 7614 section 4)."""
        call = self.incoming()
        options: tuple[dict[str, str], ...] = (
            {"Refer_Sub": "false", "Supported": "norefersub"}, {"Require": "norefersub", "Refer_Sub": "false"},
            {"Require": "nosub"},
        )  # fmt: skip
        for cseq, one in enumerate(options, 2):
            referring = self.referred(cseq, **one)
            self.assertIs(referring.wish, SubscriptionWish.NONE)
            referring.accept()
            referring.progress(180, "Ringing")
            referring.finish(200, "OK")
            self.clock.advance(0.1)
            self.assertEqual(self.them.response(202).headers.get("Refer-Sub"), "false")
            self.assertEqual(self.them.kinds(), ["202"])
            self.assertFalse(referring.is_open)
        self.end(call)

    def test_extensions(self) -> None:
        """A place to subscribe at is not had here: 420 (RFC 7614 section 4). What is had is said in Supported."""
        call = self.incoming()
        self.said("REFER", cseq=2, Refer_To=CAROL, Require="explicitsub")
        self.assertEqual(self.them.response(420).headers.get("Unsupported"), "explicitsub")
        self.said("OPTIONS", cseq=3)
        ok = self.them.response(200)
        self.assertTrue(ok.headers.tokens("Supported") >= REFER_EXTENSIONS)
        self.assertTrue({"REFER", "NOTIFY"} <= ok.headers.tokens("Allow"))
        self.said("INFO", cseq=4, Require="nosub")
        self.assertEqual(self.them.kinds(), ["420", "200", "420"])
        self.end(call)

    def test_not_wanted(self) -> None:
        """Where nobody takes REFER it is 405, and so are its SUBSCRIBEs."""
        self.agent.settings = replace(self.agent.settings, takes_referrals=False)
        call = self.incoming()
        for cseq, method in ((2, "REFER"), (3, "SUBSCRIBE")):
            self.said(method, cseq=cseq, Refer_To=CAROL, Event="refer")
            self.assertNotIn("REFER", self.them.response(405).headers.tokens("Allow"))
            self.assertEqual(self.them.kinds(), ["405"])
        self.end(call)

    def test_other_methods(self) -> None:
        """Whether something else than INVITE may be sent is for the user to say."""
        call = self.incoming()
        referring = self.referred(refer_to="<sip:carol@example.com;method=BYE>")
        self.assertEqual(referring.refer_to.method, "BYE")
        referring.answer(403)
        self.end(call)

    def test_before_the_answer(self) -> None:
        """There is nothing to transfer yet: 500 with Retry-After."""
        call = self.offered()
        call.ring()
        self.clock.advance(0.1)
        self.ok = self.them.response(180)
        self.said("REFER", cseq=2, Refer_To=CAROL)
        self.assertIn("Retry-After", self.them.response(500).headers)
        call.reject(486)
        self.settle()

    def test_too_many(self) -> None:
        """Beyond the bound it is 500 with Retry-After, until one is over."""
        call = self.incoming()
        open_ones = [self.referred(2 + number) for number in range(MAX_OPEN)]
        open_ones[0].accept()
        self.clock.advance(0.1)
        self.reply(self.them.request("NOTIFY"), 200)
        self.them.take()
        self.said("REFER", cseq=30, Refer_To=CAROL)
        self.assertIn("Retry-After", self.them.response(500).headers)
        open_ones[1].answer(603)
        self.referred(31)
        self.assertEqual(self.them.kinds(), ["500", "603"])
        self.end(call)

    def test_several(self) -> None:
        """The second of a dialog names itself in its NOTIFYs (RFC 3515 section 2.4.6)."""
        call = self.incoming()
        first, second = self.accepted(2), self.accepted(3)
        first.progress(180, "Ringing")
        self.clock.advance(0.1)
        notify, _, _ = self.notified()
        self.assertEqual(notify.headers.get("Event"), "refer")
        second.progress(180, "Ringing")
        self.clock.advance(0.1)
        other, _, _ = self.notified()
        self.assertEqual(other.headers.get("Event"), "refer;id=3")
        self.reply(notify, 200)
        self.reply(other, 200)
        self.end(call)

    def test_repetition(self) -> None:
        """A REFER that comes again is the same one, answered with the same."""
        call = self.incoming()
        referring = self.referred()
        events = len(self.user.events)
        self.them.send(referring.request)
        self.clock.advance(0.1)
        referring.accept()
        self.clock.advance(0.1)
        self.them.send(referring.request)
        self.clock.advance(0.1)
        self.assertEqual((self.them.kinds(), len(self.user.events)), (["202", "NOTIFY", "202"], events))
        self.end(call)

    def test_moves_the_target(self) -> None:
        """REFER says where the peer is reached now (RFC 5057 section 5.4)."""
        call = self.incoming()
        request = builders.request(
            "REFER", f"sip:bob@{US}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
            to_tag=self.ok.to.tag, cseq=2, branch="z9hG4bK-t2", via=THEM, contact=f"<sip:moved@{THEM}>",
            headers=[("Refer-To", CAROL)],
        )  # fmt: skip
        self.them.send(request)
        self.clock.advance(0.1)
        self.user.last(Referred).referring.accept()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("NOTIFY").uri_text, f"sip:moved@{THEM}")
        self.end(call)

    def test_expires(self) -> None:
        """When its time is over the subscription ends with a NOTIFY; what happens later is not told."""
        call = self.incoming()
        referring = self.accepted()
        self.clock.advance(180.0)
        notify, state, body = self.notified()
        self.assertEqual((state, body), ("terminated;reason=timeout", b"SIP/2.0 100 Trying\r\n"))
        self.reply(notify, 200)
        self.assertFalse(referring.is_open)
        referring.finish(200, "OK")
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), [])
        self.end(call)

    def test_refused_notification(self) -> None:
        """A NOTIFY that is refused, or never answered, ends the subscription and leaves the session (RFC 5057)."""
        call = self.incoming()
        for cseq, status in ((2, 481), (3, 489), (4, 0)):
            referring = self.referred(cseq)
            referring.accept()
            self.clock.advance(0.1)
            referring.finish(200, "OK")
            if status:
                self.reply(self.them.request("NOTIFY"), status)
            else:
                self.clock.advance(33.0)
            self.assertFalse(referring.is_open)
            self.assertEqual(len([one for one in self.them.kinds() if one == "NOTIFY"]) > 1, not status)
        self.assertTrue(call.is_established)
        self.end(call)

    def test_refresh(self) -> None:
        """SUBSCRIBE prolongs it, for no longer than it lasts anyway, or ends it, and NOTIFY follows (RFC 6665)."""
        call = self.incoming()
        referring = self.accepted()
        for cseq, expires, granted in ((3, "60", "60"), (4, "7200", "180"), (5, "", "180")):
            self.said("SUBSCRIBE", cseq=cseq, Event="refer", body=None, **({"Expires": expires} if expires else {}))
            self.assertEqual(self.them.response(200).headers.get("Expires"), granted)
            notify, state, _ = self.notified()
            self.assertEqual(state, f"active;expires={granted}")
            self.reply(notify, 200)
        self.said("SUBSCRIBE", cseq=6, Event="refer;id=2", Expires="0")
        notify, state, _ = self.notified()
        self.assertEqual(state, "terminated;reason=timeout")
        self.reply(notify, 200)
        self.assertFalse(referring.is_open)
        self.said("SUBSCRIBE", cseq=7, Event="refer", Expires="60")
        self.assertEqual(self.them.kinds(), ["481"])
        self.end(call)

    def test_strange_subscribes(self) -> None:
        """Another package is 489, another subscription 481, and what nobody can read 400."""
        call = self.incoming()
        self.said("SUBSCRIBE", cseq=2, Event="refer")
        self.accepted(3)
        for cseq, options, status in (
            (4, {"Event": "presence"}, 489), (5, {"Event": "refer;id=9"}, 481), (6, {"Event": "<>"}, 400), (7, {}, 400),
            (8, {"Event": "refer", "Expires": "soon"}, 400),
        ):  # fmt: skip
            self.them.take()
            self.said("SUBSCRIBE", cseq=cseq, body=None, **options)
            self.assertEqual(self.them.kinds(), [str(status)], options)
        self.end(call)


class EndTests(ReferCase):
    """The session ends, and the subscription does not (RFC 5057 section 5.1)."""

    def test_survives_bye(self) -> None:
        """After the peer's BYE it is told how its request fares, in the dialog that was the session's."""
        self.incoming()
        referring = self.accepted()
        self.bye()
        self.assertEqual(len(self.agent), 0)
        referring.progress(180, "Ringing")
        self.clock.advance(0.1)
        notify, _, _ = self.notified()
        self.reply(notify, 200)
        for cseq, method in ((51, "INFO"), (52, "BYE"), (53, "INVITE"), (54, "NOTIFY"), (55, "REFER")):
            self.said(method, cseq=cseq, Event="refer")
            self.assertEqual(self.them.kinds(), ["481"], method)
        self.said("SUBSCRIBE", cseq=56, Event="refer", Expires="90")
        notify, state, _ = self.notified()
        self.assertEqual(state, "active;expires=90")
        self.reply(notify, 200)
        referring.finish(200, "OK")
        self.clock.advance(0.1)
        notify, _, body = self.notified()
        self.assertEqual(body, b"SIP/2.0 200 OK\r\n")
        self.assertEqual(len(self.agent._dialogs), 1)
        self.reply(notify, 200)
        self.assertEqual(self.agent._dialogs, {})
        self.settle()

    def test_survives_our_bye(self) -> None:
        """So it is after a BYE of this side, whose answer may come before or after the end of the subscription."""
        for notify_first in (False, True):
            self.setUp()
            call = self.incoming()
            referring = self.accepted()
            call.hang_up()
            self.clock.advance(0.1)
            bye = self.them.request("BYE")
            referring.finish(200, "OK")
            self.clock.advance(0.1)
            notify, _, _ = self.notified()
            first, second = (notify, bye) if notify_first else (bye, notify)
            self.reply(first, 200)
            self.assertEqual(len(self.agent._dialogs), 1)
            self.said("BYE", cseq=60)
            self.assertEqual(self.them.kinds()[-1], "200" if notify_first else "481")
            self.reply(second, 200)
            self.assertEqual((len(self.agent), self.agent._dialogs), (0, {}))
            self.settle()

    def test_bye_while_a_notification_waits(self) -> None:
        """The one that waits is answered, or refused, after the BYE; the dialog goes with the last."""
        for status in (200, 481, 0):
            self.setUp()
            self.incoming()
            referring = self.referred()
            referring.accept()
            self.clock.advance(0.1)
            notify, _, _ = self.notified()
            self.bye()
            referring.finish(200, "OK")
            if status:
                self.reply(notify, status)
            else:
                self.clock.advance(33.0)
            if status == 200:
                last, state, _ = self.notified()
                self.assertEqual(state, "terminated;reason=noresource")
                self.reply(last, 200)
            self.assertEqual(self.agent._dialogs, {})
            self.settle()

    def test_nobody_ends_it(self) -> None:
        """Even if nobody says how it ended, and nobody answers, nothing is left in the end."""
        self.incoming()
        self.accepted()
        self.bye()
        self.clock.advance(181.0)
        self.assertEqual(len(self.agent._dialogs), 1)
        self.settle()
        self.assertIn("NOTIFY", self.them.kinds())

    def test_unanswered(self) -> None:
        """A REFER without an answer gets 487 when the session ends."""
        self.incoming()
        referring = self.referred()
        self.said("BYE", cseq=3)
        self.assertEqual(sorted(self.them.kinds()), ["200", "487"])
        referring.accept()
        self.clock.advance(0.1)
        self.assertEqual((self.them.kinds(), self.agent._dialogs), ([], {}))
        self.settle()

    def test_close(self) -> None:
        """When the user agent is closed nothing more is said."""
        self.incoming()
        referring = self.accepted()
        self.bye()
        self.agent.close()
        referring.finish(200, "OK")
        self.clock.advance(0.1)
        self.assertEqual((self.them.kinds(), self.agent._dialogs), ([], {}))
        self.settle()
