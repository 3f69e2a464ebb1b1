"""What a session does for its user, in every state it can be in (RFC 3261 sections 12.2, 14 and 15)."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError, LocalError, TransactionTimeoutError, UnresolvableError
from sipd.interfaces import Credentials, IResolver
from sipd.sip.locate import Target
from sipd.sip.message import Request, Response
from sipd.sip.uri import Uri
from sipd.testing import builders
from sipd.ua.events import Answered, Ended, EndedBy, Failed, Refused, Reinvited
from sipd.ua.incoming import IncomingCall
from sipd.ua.outgoing import OutgoingCall
from tests.ua.support import OTHER, THEM, US, AgentCase, Wire

SDP_TYPE = (("Content-Type", "application/sdp"),)


@implementer(IResolver)
class Broken:
    """A resolver that finds nothing."""

    def locate(self, uri: Uri) -> Deferred[Sequence[Target]]:
        """See `IResolver`."""
        return fail(LocalError("no resolver"))

    def target_failed(self, target: Target, rest: float | None = None) -> None:
        """See `IResolver`."""


class SessionCase(AgentCase):
    """Sessions that are up, in and out."""

    def outgoing(self, *, credentials: Credentials | None = None, contact: str = f"<sip:bob@{THEM}>") -> OutgoingCall:
        """Give a call that goes out and is acknowledged."""
        call = self.calling(credentials=credentials)
        self.answer(200, contact=contact)
        call.acknowledge()
        self.clock.advance(0.1)
        self.them.take()
        return call

    def incoming(self) -> IncomingCall:
        """Give a call that comes in and is acknowledged."""
        call = self.offered()
        call.accept()
        self.clock.advance(0.1)
        self.ok = self.them.response(200)
        self.them.send(builders.ack(self.invite, self.ok))
        self.clock.advance(0.1)
        self.them.take()
        return call

    def reinvited(self, *, cseq: int = 2, contact: str = f"<sip:alice@{THEM}>", body: bytes | None = None) -> Request:
        """Let a re-INVITE come in."""
        request = builders.invite(
            f"sip:bob@{US}", to_tag=self.ok.to.tag, cseq=cseq, branch=f"z9hG4bK-re{cseq}", via=f"{THEM}:5060",
            contact=contact, body=body,
        )  # fmt: skip
        self.them.send(request)
        self.clock.advance(0.1)
        return request

    def end(self, call: OutgoingCall | IncomingCall) -> None:
        """Hang up, and let the other end agree."""
        call.hang_up()
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()


class StateTests(SessionCase):
    """What may be asked for when."""

    def test_established(self) -> None:
        """From the 2xx to the end, and at no other time."""
        call = self.calling()
        states = [call.is_established]
        self.answer(180)
        states.append(call.is_established)
        self.answer(200)
        states.append(call.is_established)
        call.acknowledge()
        call.hang_up()
        self.assertEqual([*states, call.is_established], [False, False, True, False])
        self.settle()

    def test_change_needs_a_session_that_is_up(self) -> None:
        """Before the answer, and after the end, a change is refused to the user."""
        call = self.calling()
        self.assertRaises(InvalidStateError, call.reinvite)
        self.answer(486)
        self.assertRaises(InvalidStateError, call.reinvite)
        offered = self.offered()
        self.assertFalse(offered.is_established)
        self.assertRaises(InvalidStateError, offered.reinvite)
        offered.accept()
        offered.hang_up()
        self.assertFalse(offered.is_established)
        self.settle()

    def test_no_change_after_the_end(self) -> None:
        """A session that is hung up cannot be changed, although its BYE is still under way."""
        call = self.outgoing()
        call.hang_up()
        self.assertRaises(InvalidStateError, call.reinvite)
        self.settle()

    def test_one_change_at_a_time(self) -> None:
        """From the INVITE to the ACK of either side there is no room for another one (section 14.1)."""
        call = self.calling()
        self.answer(200)
        self.assertTrue(call.is_changing)
        self.assertRaises(InvalidStateError, call.reinvite)
        call.acknowledge()
        self.assertFalse(call.is_changing)
        call.reinvite(SDP_TYPE, builders.sdp())
        self.clock.advance(0.1)
        self.assertRaises(InvalidStateError, call.reinvite)
        self.answer(200)
        self.assertRaises(InvalidStateError, call.reinvite)
        call.acknowledge()
        self.assertFalse(call.is_changing)
        self.them.take()
        self.end(call)

    def test_no_change_while_the_peer_changes(self) -> None:
        """Nor while an INVITE of the peer waits for its answer, or its answer for the ACK (section 14.1)."""
        call = self.incoming()
        self.assertFalse(call.is_changing)
        again = self.reinvited()
        self.assertTrue(call.is_changing)
        self.assertRaises(InvalidStateError, call.reinvite)
        self.user.last(Reinvited).answering.accept(SDP_TYPE, builders.sdp())
        self.clock.advance(0.1)
        self.assertRaises(InvalidStateError, call.reinvite)
        self.them.send(builders.ack(again, self.them.response(200)))
        self.clock.advance(0.1)
        self.assertFalse(call.is_changing)
        self.end(call)

    def test_requests_need_a_dialog(self) -> None:
        """A request before the answer, or after the end, is refused to the user."""
        call = self.calling()
        self.assertRaises(InvalidStateError, call.request, "INFO")
        self.answer(200)
        call.acknowledge()
        call.hang_up()
        self.assertRaises(InvalidStateError, call.request, "INFO")
        self.settle()

    def test_nothing_is_heard_of_a_closed_session(self) -> None:
        """A session that is closed tells nothing and repeats nothing."""
        call = self.offered()
        call.accept()
        self.clock.advance(0.1)
        call.close()
        self.agent.forget(call)
        self.them.take()
        self.clock.advance(40.0)
        self.assertEqual((self.them.kinds(), self.user.events, call.is_over), ([], [], True))
        self.settle()


class RequestTests(SessionCase):
    """Requests inside of the dialog, other than INVITE."""

    def _answered(self, status: int) -> tuple[OutgoingCall, Response]:
        call = self.outgoing()
        answer = call.request("INFO", [("Content-Type", "text/plain")], b"hello")
        self.clock.advance(0.1)
        info = self.them.request("INFO")
        self.assertEqual((str(info.cseq), info.to.tag, info.body), ("2 INFO", "t1", b"hello"))
        self.them.send(builders.response(info, status))
        self.clock.advance(0.1)
        return call, self.successResultOf(answer)

    def test_response(self) -> None:
        """The final response comes back, and the session goes on, whatever its status."""
        for status in (200, 405, 500):
            call, response = self._answered(status)
            self.assertEqual((response.status, call.is_established), (status, True))
            self.end(call)

    def test_dialog_that_is_gone(self) -> None:
        """408 and 481 end the session: the user is told, and a BYE goes out (section 12.2.1.2)."""
        for status in (408, 481):
            call, response = self._answered(status)
            self.assertEqual((response.status, call.is_over), (status, True))
            ended = self.user.last(Ended)
            self.assertEqual((ended.by, ended.text), (EndedBy.FAILURE, f"{status} {response.reason}"))
            self.them.send(builders.response(self.them.request("BYE"), 481))
            self.settle()

    def test_silence(self) -> None:
        """A peer that does not answer is gone: the session ends (section 12.2.1.2)."""
        call = self.outgoing()
        answer = call.request("INFO")
        self.clock.advance(33.0)
        self.failureResultOf(answer, TransactionTimeoutError)
        self.assertEqual((self.user.last(Ended).by, call.is_over), (EndedBy.FAILURE, True))
        self.settle()

    def test_unknown_name(self) -> None:
        """A target whose name is not found fails the request; the session may have another path, and goes on."""
        call = self.outgoing(contact="<sip:bob@nowhere.example.net>")
        answer = call.request("INFO")
        self.clock.advance(1.0)
        self.failureResultOf(answer, UnresolvableError)
        self.assertTrue(call.is_established)
        call.hang_up()
        self.settle()

    def test_challenge(self) -> None:
        """A challenged request goes again with credentials and the dialog's next number (section 22.2)."""
        call = self.outgoing(credentials=Credentials(username="us", password="secret"))
        answer = call.request("INFO")
        self.clock.advance(0.1)
        challenge = [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')]
        self.them.send(builders.response(self.them.request("INFO"), 401, headers=challenge))
        self.clock.advance(0.1)
        info = self.them.request("INFO")
        self.assertEqual((info.cseq.number, "Authorization" in info.headers, len(info.vias)), (3, True, 1))
        self.them.send(builders.response(info, 200))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(answer).status, 200)
        self.end(call)


class ChangeTests(SessionCase):
    """INVITEs inside of the dialog that this side sends (section 14.1)."""

    def test_answer(self) -> None:
        """It carries the description, and its 2xx names the new target."""
        other = Wire(self.network, OTHER)
        call = self.outgoing()
        call.reinvite(SDP_TYPE, builders.sdp())
        self.clock.advance(0.1)
        invite = self.them.request("INVITE")
        self.assertEqual((str(invite.cseq), invite.to.tag, invite.body), ("2 INVITE", "t1", builders.sdp()))
        self.assertEqual(invite.headers.get("Contact"), f"<sip:alice@{US}:5060>")
        self.answer(200, contact=f"<sip:bob@{OTHER}>")
        self.user.last(Answered)
        call.acknowledge()
        self.clock.advance(0.1)
        self.assertEqual(str(other.request("ACK").cseq), "2 ACK")
        call.hang_up()
        self.clock.advance(0.1)
        bye = other.request("BYE")
        self.assertEqual((bye.uri_text, bye.cseq.number), (f"sip:bob@{OTHER}", 3))
        other.send(builders.response(bye, 200))
        self.settle()

    def test_answer_with_a_broken_contact(self) -> None:
        """The target stays as it was, and the call goes on."""
        said: list[str] = []
        self.agent.explanation = lambda session, text: said.append(text)
        call = self.outgoing()
        call.reinvite()
        self.clock.advance(0.1)
        self.answer(200, contact="<sip:")
        call.acknowledge()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("ACK").uri_text, f"sip:bob@{THEM}")
        self.assertIn("Contact", said[0])
        self.end(call)

    def test_refusal(self) -> None:
        """The session is as it was before."""
        call = self.outgoing()
        call.reinvite()
        self.clock.advance(0.1)
        self.answer(488)
        self.assertEqual(self.user.last(Refused).response.status, 488)
        self.assertTrue(call.is_established)
        self.end(call)

    def test_names_that_cannot_be_looked_up(self) -> None:
        """A resolver that fails in a way of its own fails the change, or the call, like any other."""
        call = self.outgoing(contact="<sip:bob@gw.example.net>")
        resolver, self.agent.resolver = self.agent.resolver, Broken()
        verifyObject(IResolver, self.agent.resolver)
        call.reinvite()
        error = self.user.last(Failed).error
        self.assertEqual((error.reason, call.is_established), ("no resolver", True))
        self.calling()
        self.assertEqual(self.user.last(Failed).error.reason, "no resolver")
        self.agent.resolver = resolver
        call.hang_up()
        self.settle()

    def test_dialog_that_is_gone(self) -> None:
        """408 and 481 end the session with a BYE, after the user has heard of the refusal (section 14.1)."""
        for status in (408, 481):
            call = self.outgoing()
            call.reinvite()
            self.clock.advance(0.1)
            response = self.answer(status)
            self.assertEqual([type(event) for event in self.user.events[-2:]], [Refused, Ended])
            self.assertEqual(self.user.last(Ended).text, f"{status} {response.reason}")
            self.assertTrue(call.is_over)
            self.them.send(builders.response(self.them.request("BYE"), 481))
            self.settle()

    def test_silence(self) -> None:
        """No answer at all ends the session (section 14.1)."""
        call = self.outgoing()
        call.reinvite()
        self.clock.advance(33.0)
        self.assertEqual([type(event) for event in self.user.events[-2:]], [Failed, Ended])
        self.assertTrue(call.is_over)
        self.settle()

    def test_challenge(self) -> None:
        """A challenged re-INVITE goes again with credentials and the dialog's next number."""
        call = self.outgoing(credentials=Credentials(username="us", password="secret"))
        call.reinvite()
        self.clock.advance(0.1)
        self.answer(401, headers=[("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')])
        again = self.them.request("INVITE")
        self.assertEqual((again.cseq.number, len(again.vias), "Authorization" in again.headers), (3, 1, True))
        self.answer(200)
        call.acknowledge()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("ACK").cseq.number, 3)
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("BYE").cseq.number, 4)
        self.settle()

    def test_unreadable_challenge(self) -> None:
        """A challenge that does not parse is a refusal."""
        call = self.outgoing(credentials=Credentials(username="us", password="secret"))
        call.reinvite()
        self.clock.advance(0.1)
        self.answer(401, headers=[("WWW-Authenticate", "Digest realm")])
        self.assertEqual(self.user.last(Refused).response.status, 401)
        self.end(call)

    def test_hang_up_before_the_ack(self) -> None:
        """A 2xx that the user did not acknowledge is acknowledged before the BYE (section 15)."""
        call = self.outgoing()
        call.reinvite()
        self.clock.advance(0.1)
        self.answer(200)
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["INVITE", "ACK", "BYE"])
        self.settle()

    def test_bye_of_the_peer_before_the_ack(self) -> None:
        """The same where the peer hangs up."""
        call = self.outgoing()
        call.reinvite()
        self.clock.advance(0.1)
        invite = self.them.request("INVITE")
        self.answer(200)
        self.them.send(
            builders.request(
                "BYE", f"sip:alice@{US}", from_tag="t1", to_tag=invite.from_.tag, call_id=invite.call_id,
                via=f"{THEM}:5060",
            )
        )  # fmt: skip
        self.clock.advance(0.1)
        self.assertEqual(sorted(self.them.kinds()), ["200", "ACK", "INVITE"])
        ended = self.user.last(Ended)
        self.assertEqual((ended.by, ended.text, call.is_over), (EndedBy.PEER, "BYE", True))
        self.settle()


class PeerChangeTests(SessionCase):
    """INVITEs inside of the dialog that the peer sends (section 14.2)."""

    def test_new_target(self) -> None:
        """Its Contact is the target from now on (section 12.2.2)."""
        other = Wire(self.network, OTHER)
        call = self.incoming()
        self.reinvited(contact=f"<sip:alice@{OTHER}>")
        self.user.last(Reinvited).answering.reject(488)
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(other.request("BYE").uri_text, f"sip:alice@{OTHER}")
        self.settle()

    def test_lost_meanwhile(self) -> None:
        """If the session is lost before the user has answered it, it gets 487, as it would at a BYE."""
        call = self.incoming()
        self.reinvited()
        call.request("INFO")
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("INFO"), 481))
        self.clock.advance(0.1)
        self.assertEqual(self.user.last(Ended).by, EndedBy.FAILURE)
        self.assertEqual(self.them.response(487).cseq.method, "INVITE")
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()

    def test_proxy_between(self) -> None:
        """A private Contact beyond a proxy is the proxy's business: requests go to its Record-Route."""
        proxy = Wire(self.network, OTHER)
        self.invite = builders.invite(
            f"sip:bob@{US}", via=f"{THEM}:5060", contact="<sip:alice@10.0.0.5>",
            headers=[("Record-Route", f"<sip:{OTHER};lr>")],
        )  # fmt: skip
        self.them.send(self.invite)
        self.clock.advance(0.1)
        call = self.user.calls[-1]
        call.accept()
        self.clock.advance(0.1)
        self.them.send(builders.ack(self.invite, self.them.response(200)))
        self.clock.advance(0.1)
        call.hang_up()
        self.clock.advance(0.1)
        bye = proxy.request("BYE")
        self.assertEqual((bye.uri_text, bye.headers.get("Route")), ("sip:alice@10.0.0.5", f"<sip:{OTHER};lr>"))
        proxy.send(builders.response(bye, 200))
        self.settle()

    def test_broken_contact(self) -> None:
        """A Contact that does not parse is refused with 400, and nothing has changed."""
        call = self.incoming()
        self.reinvited(contact="<sip:")
        self.assertEqual(self.them.kinds(), ["400"])
        self.assertFalse(call.is_changing)
        self.end(call)

    def test_while_this_side_changes(self) -> None:
        """Glare: 491 (section 14.2)."""
        call = self.incoming()
        call.reinvite()
        self.clock.advance(0.1)
        self.reinvited()
        refusal = self.them.response(491)
        self.assertEqual((refusal.reason, refusal.cseq.number), ("Request Pending", 2))
        self.answer(491)
        self.end(call)

    def test_while_the_answer_to_a_late_offer_is_due(self) -> None:
        """The peer owes an answer in its ACK, and may not offer anew: 491 (RFC 3264 section 4)."""
        call = self.offered(body=b"")
        call.accept(SDP_TYPE, builders.sdp())
        self.clock.advance(0.1)
        self.ok = self.them.response(200)
        self.them.take()
        self.reinvited()
        self.assertEqual(self.them.response(491).reason, "Request Pending")
        self.them.send(builders.ack(self.invite, self.ok))
        self.clock.advance(0.1)
        self.end(call)

    def test_hang_up_meanwhile(self) -> None:
        """A re-INVITE that waits for its answer gets 487, and the dialog ends with BYE (section 15.1.1)."""
        call = self.incoming()
        self.reinvited()
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["487", "BYE"])
        self.settle()

    def test_after_the_end(self) -> None:
        """While the BYE is under way everything else in the dialog gets 481."""
        call = self.incoming()
        call.hang_up()
        self.clock.advance(0.1)
        self.reinvited()
        self.assertEqual(self.them.response(481).cseq.method, "INVITE")
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()

    def test_cancel(self) -> None:
        """A cancelled re-INVITE leaves the session as it was, and the next one is taken."""
        call = self.incoming()
        again = self.reinvited()
        self.them.send(builders.cancel(again))
        self.clock.advance(0.1)
        self.assertEqual(sorted(self.them.kinds()), ["200", "487"])
        self.assertTrue(call.is_established)
        self.assertFalse(call.is_changing)
        self.reinvited(cseq=3)
        self.user.last(Reinvited).answering.reject(488)
        self.end(call)

    def test_when_to_try_again(self) -> None:
        """A second INVITE before the answer to the first gets 500 and 0 to 10 seconds, by chance (section 14.2)."""
        call = self.incoming()
        self.reinvited()
        seconds = set()
        for value in range(30):
            self.agent.entropy = lambda count, value=value: bytes([value]) * count  # type: ignore[misc]
            self.reinvited(cseq=3 + value)
            seconds.add(int(self.them.response(500).headers.get("Retry-After") or "-1"))
        self.assertEqual(seconds, set(range(11)))
        self.agent.entropy = self.network.entropy
        self.user.last(Reinvited).answering.reject(488)
        self.end(call)


class UnansweredTests(SessionCase):
    """Sessions whose first INVITE is not answered."""

    def test_hang_up_by_the_callee(self) -> None:
        """An offered call that is hung up is refused with 480, and forgotten."""
        call = self.offered()
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual((self.them.kinds(), len(self.agent)), (["480"], 0))
        self.settle()
        self.assertNotIn("BYE", self.them.kinds())

    def test_ack_for_a_call_that_goes_out(self) -> None:
        """A callee that sends ACKs does not disturb."""
        call = self.outgoing()
        invite = call.invite
        ack = builders.request(
            "ACK", f"sip:alice@{US}", from_tag="t1", to_tag=invite.from_.tag, call_id=invite.call_id, via=f"{THEM}:5060"
        )
        self.them.send(ack)
        self.clock.advance(0.1)
        self.assertTrue(call.is_established)
        self.assertEqual(self.them.kinds(), [])
        self.end(call)
