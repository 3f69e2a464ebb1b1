"""Several callees behind one INVITE: early dialogs, their bound, and whose answer counts (section 13.2.2.4)."""

from __future__ import annotations

from sipd.interfaces import Credentials
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.ua.events import Answered, Failed, Progressed, Refused
from sipd.ua.settings import AgentSettings
from tests.ua.support import OTHER, THEM, AgentCase, Wire


class EarlyDialogTests(AgentCase):
    """What a 1xx leaves behind."""

    def setUp(self) -> None:
        """Add a second place."""
        super().setUp()
        self.other = Wire(self.network, OTHER)

    def _say(self, status: int, tag: str | None, contact: str | None = None) -> Response:
        response = builders.response(self.them.request("INVITE"), status, to_tag=tag, contact=contact)
        self.them.send(response)
        self.clock.advance(0.1)
        return response

    def _acked_at(self, tag: str) -> str:
        """Let the 2xx of a callee come without a Contact; give where its ACK goes."""
        call = self.calling()
        self._say(180, tag, f"<sip:bob@{OTHER}>")
        self._say(200, tag)
        call.acknowledge()
        call.hang_up()
        self.clock.advance(0.1)
        return "other" if "ACK" in self.other.kinds() else "them"

    def test_contact_of_the_1xx(self) -> None:
        """A 2xx without a Contact leaves the target that the 1xx of the same callee named."""
        self.assertEqual(self._acked_at("t1"), "other")
        self.settle()

    def test_too_many_early_dialogs(self) -> None:
        """Beyond the bound a fork is known only when it answers; the call does not notice."""
        self.agent.settings = AgentSettings(max_early_dialogs=2)
        call = self.calling()
        for tag in ("t1", "t2", "t2", "t3"):
            self._say(180, tag, f"<sip:{tag}@{OTHER}>")
        self.assertEqual(list(call._first.early), ["t1", "t2"])
        self._say(200, "t3")
        call.acknowledge()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("ACK").to.tag, "t3")
        call.hang_up()
        self.settle()

    def test_1xx_that_makes_no_dialog(self) -> None:
        """Neither 100, nor a 1xx without a tag, nor one with a broken Contact makes one; the last two are told."""
        call = self.calling()
        self._say(100, None)
        self.assertEqual(self.user.events, [])
        self._say(180, None, f"<sip:bob@{OTHER}>")
        self._say(183, "t1", "<sip:")
        self._say(101, None)
        self.assertEqual([type(event) for event in self.user.events], [Progressed, Progressed, Progressed])
        self.assertEqual(call._first.early, {})
        call.hang_up()
        self.settle()

    def test_peer_without_tags(self) -> None:
        """A callee of RFC 2543 has no tag: its 2xx makes a dialog, and is acknowledged once more when it repeats it."""
        call = self.calling()
        ok = self._say(200, None)
        self.user.last(Answered)
        call.acknowledge()
        self.clock.advance(0.1)
        self.them.send(ok)
        self.clock.advance(0.1)
        self.assertEqual([one.to.tag for one in self.them.take() if one.cseq.method == "ACK"], [None, None])
        bye = builders.request("BYE", from_tag="", to_tag=call.local_tag, call_id=call.call_id, via=f"{THEM}:5060")
        bye.headers.set("From", "<sip:bob@example.com>")
        self.them.send(bye)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["200"])
        self.settle()


class AnswerTests(AgentCase):
    """Whose 2xx is whose."""

    def test_bye_goes_out_once_to_each_fork_that_lost(self) -> None:
        """A fork that repeats its 2xx gets the ACK again, and no second BYE."""
        call = self.calling()
        self.answer(200, tag="t1")
        call.acknowledge()
        self.clock.advance(0.1)
        late = self.answer(200, tag="t2")
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.them.send(late)
        self.clock.advance(0.1)
        requests = [one for one in self.them.take() if isinstance(one, Request) and one.to.tag == "t2"]
        self.assertEqual([request.method for request in requests], ["ACK", "BYE", "ACK"])
        self.assertTrue(call.is_established)
        call.hang_up()
        self.settle()

    def test_fork_that_lost_is_ended_where_it_is(self) -> None:
        """Its target is the one that its 1xx named, its route set that of its 2xx (sections 12.1.2 and 13.2.2.4)."""
        proxy = Wire(self.network, OTHER, 5070)
        call = self.calling()
        self.answer(180, tag="t2", contact=f"<sip:t2@{OTHER}>")
        self.answer(200, tag="t1")
        call.acknowledge()
        response = builders.response(
            self.them.request("INVITE"),
            200,
            to_tag="t2",
            contact=None,
            headers=[("Record-Route", f"<sip:{OTHER}:5070;lr>")],
        )
        self.them.send(response)
        self.clock.advance(0.1)
        self.assertEqual([str(one.cseq) for one in proxy.messages], ["1 ACK", "2 BYE"])
        for request in proxy.take():
            assert isinstance(request, Request)
            self.assertEqual(request.uri_text, f"sip:t2@{OTHER}")
        call.hang_up()
        self.settle()

    def test_too_many_forks_that_lost(self) -> None:
        """Beyond the bound a late 2xx gets nothing: whoever makes up tags has no storm sent anywhere."""
        self.agent.settings = AgentSettings(max_early_dialogs=1)
        call = self.calling()
        for tag in ("t1", "t2", "t3", "t2"):
            self.answer(200, tag=tag)
        byes = {one.to.tag for one in self.them.messages if isinstance(one, Request) and one.method == "BYE"}
        self.assertEqual(byes, {"t2"})
        call.hang_up()
        self.settle()

    def test_answer_that_makes_no_dialog(self) -> None:
        """A 2xx with a broken Contact fails the call, and says why; nothing can be sent for it."""
        said: list[str] = []
        self.agent.explanation = lambda session, text: said.append(text)
        call = self.calling()
        self.answer(200, contact="<sip:")
        self.user.last(Failed)
        self.assertIn("makes no dialog", said[0])
        self.assertTrue(call.is_over)
        self.settle()

    def test_ack_that_finds_no_way(self) -> None:
        """A target that nobody knows leaves the 2xx without an ACK, and the explanation says so."""
        said: list[str] = []
        self.agent.explanation = lambda session, text: said.append(text)
        call = self.calling()
        self.answer(200, contact="<sip:bob@nowhere.example.net>")
        call.acknowledge()
        self.clock.advance(1.0)
        self.assertIn("the ACK could not be sent", said[0])
        call.hang_up()
        self.clock.advance(1.0)
        self.assertIn("BYE", said[1])
        self.settle()

    def test_second_answer_that_makes_no_dialog(self) -> None:
        """A fork that lost and cannot be reached is left alone; the call goes on."""
        said: list[str] = []
        self.agent.explanation = lambda session, text: said.append(text)
        call = self.calling()
        self.answer(200, tag="t1")
        call.acknowledge()
        self.answer(200, tag="t2", contact="<sip:")
        self.assertIn("cannot be ended", said[0])
        self.assertTrue(call.is_established)
        call.hang_up()
        self.settle()

    def test_cancelled_fork(self) -> None:
        """After a CANCEL every fork that answers all the same gets ACK and BYE (lesson 26)."""
        call = self.calling()
        self.answer(180, tag="t1")
        self.answer(180, tag="t2")
        call.hang_up()
        self.clock.advance(0.1)
        self.them.messages = [self.them.request("INVITE")]
        self.answer(200, tag="t1")
        self.answer(200, tag="t2")
        byes = {one.to.tag for one in self.them.messages if isinstance(one, Request) and one.method == "BYE"}
        acks = {one.to.tag for one in self.them.messages if isinstance(one, Request) and one.method == "ACK"}
        self.assertEqual((byes, acks), ({"t1", "t2"}, {"t1", "t2"}))
        self.settle()

    def test_refusal_after_the_cancel_is_not_answered_with_credentials(self) -> None:
        """A challenge that crosses the CANCEL ends the call (section 9.1)."""
        call = self.calling(credentials=Credentials(username="us", password="secret"))
        self.answer(180)
        call.hang_up()
        self.answer(407, headers=[("Proxy-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')])
        self.assertEqual(self.them.kinds().count("INVITE"), 1)
        self.assertNotIn(Refused, [type(event) for event in self.user.events])
        self.settle()
