"""The caller's side: targets, forks, credentials, and the 2xx that come too late (RFC 3261 section 13.2)."""

from __future__ import annotations

from sipd.interfaces import Credentials, ListeningPoint
from sipd.sip.dialog import DialogState
from sipd.sip.locate import Target, Transport
from sipd.testing import builders
from sipd.ua.events import Answered, Ended, EndedBy, Failed, Progressed, Refused
from tests.ua.support import OTHER, THEM, US, AgentCase, Wire


class CallTests(AgentCase):
    """A call to one target."""

    def test_invite(self) -> None:
        """It carries what section 8.1.1 asks for, and the Contact of its listening point."""
        call = self.calling(body=builders.sdp())
        invite = self.them.request("INVITE")
        self.assertEqual(invite.uri_text, f"sip:bob@{THEM}")
        self.assertEqual(invite.headers.get("Contact"), f"<sip:alice@{US}:5060>")
        self.assertEqual((invite.max_forwards, str(invite.cseq), invite.to.tag), (70, "1 INVITE", None))
        self.assertIn("BYE", invite.headers.tokens("Allow"))
        self.assertEqual(invite.headers.get("User-Agent"), "sipd")
        self.assertEqual(invite.body, builders.sdp())
        call.hang_up()
        self.settle()

    def test_listening_point(self) -> None:
        """It goes out from the listening point that is named, if there is one of that name."""
        second = ListeningPoint(
            name="second", transport=Transport.UDP, host=US, port=5070, advertised_host=US, advertised_port=5070
        )
        self.successResultOf(self.transport.listen(second))
        for name, port in (("second", 5070), ("p", 5060), ("gone", 5060), ("", 5060)):
            call = self.calling(point=name)
            self.assertEqual(self.them.request("INVITE").headers.get("Contact"), f"<sip:alice@{US}:{port}>")
            call.hang_up()
            self.settle()

    def test_answer_and_ack(self) -> None:
        """The 2xx is told, and acknowledged when the user says so; each repetition gets the ACK again."""
        call = self.calling()
        self.answer(180)
        self.user.last(Progressed)
        ok = self.answer(200)
        self.user.last(Answered)
        self.them.take()
        self.them.send(ok)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), [])
        call.acknowledge()
        call.acknowledge()
        self.them.send(ok)
        self.clock.advance(0.1)
        acks = self.them.take()
        self.assertEqual(len(acks), 2)
        self.assertEqual(acks[0].to_bytes(), acks[1].to_bytes())
        call.hang_up()
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()

    def test_refusal(self) -> None:
        """A final response of 300 or more ends the session."""
        self.calling()
        self.answer(486)
        self.assertEqual(self.user.last(Refused).response.status, 486)
        self.settle()

    def test_silence(self) -> None:
        """Without any response it fails after 64*T1."""
        self.calling()
        self.clock.advance(33.0)
        self.assertEqual(self.user.last(Failed).error.status, 408)
        self.settle()

    def test_cancel_waits_for_a_provisional_response(self) -> None:
        """CANCEL goes out after the first 1xx, and not before (section 9.1, lesson 25)."""
        call = self.calling()
        call.hang_up([("Reason", "SIP;cause=487")])
        self.clock.advance(0.2)
        self.assertNotIn("CANCEL", self.them.kinds()[1:])
        self.clock.advance(1.0)
        self.answer(180)
        cancel = self.them.request("CANCEL")
        self.assertEqual(cancel.headers.get("Reason"), "SIP;cause=487")
        self.them.send(builders.response(cancel, 200))
        self.answer(487)
        self.assertEqual(self.them.request("ACK").cseq.number, 1)
        self.settle()

    def test_answer_that_crosses_the_cancel(self) -> None:
        """It is acknowledged and ended with BYE, and the user, who gave up, hears nothing (lesson 26)."""
        call = self.calling()
        self.answer(180)
        call.hang_up()
        events = len(self.user.events)
        self.answer(200)
        self.assertEqual(self.them.request("ACK").uri_text, f"sip:bob@{THEM}")
        bye = self.them.request("BYE")
        self.assertEqual(bye.cseq.number, 2)
        self.them.send(builders.response(bye, 200))
        self.assertEqual(len(self.user.events), events)
        self.settle()

    def test_answer_long_after_it_was_given_up(self) -> None:
        """A phone that was cut off comes back and answers: ACK and BYE, although nobody waits (lesson 26)."""
        call = self.calling()
        self.answer(180)
        call.hang_up()
        self.clock.advance(100.0)
        self.assertEqual(len(self.transactions), 0)
        self.answer(200)
        self.assertEqual(self.them.kinds()[-2:], ["ACK", "BYE"])
        self.settle()

    def test_answer_to_a_stranger_is_dropped(self) -> None:
        """A 2xx for nobody makes this side send nothing."""
        self.them.send(builders.response(builders.invite(via=f"{US}:5060"), 200))
        self.clock.advance(1.0)
        self.assertEqual(self.them.kinds(), [])

    def test_second_callee_answers_too(self) -> None:
        """Of a forked INVITE the first 2xx is the session; another one gets ACK and BYE of its own (13.2.2.4)."""
        call = self.calling()
        self.answer(180, tag="t1")
        self.answer(180, tag="t2")
        self.answer(200, tag="t1")
        call.acknowledge()
        self.clock.advance(0.1)
        self.them.messages = [self.them.request("INVITE")]
        late = self.answer(200, tag="t2")
        ack, bye = self.them.request("ACK"), self.them.request("BYE")
        self.assertEqual((ack.to.tag, bye.to.tag), ("t2", "t2"))
        self.them.send(builders.response(bye, 200))
        self.them.send(late)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds().count("ACK"), 2)
        assert call.dialog is not None
        self.assertEqual((call.dialog.remote.tag, call.dialog.state), ("t1", DialogState.CONFIRMED))
        call.hang_up()
        self.settle()

    def test_route_set_comes_from_the_2xx(self) -> None:
        """ACK and BYE travel the Record-Route of the 2xx, reversed, to its first hop (lessons 3 and 4)."""
        proxy = Wire(self.network, OTHER)
        call = self.calling()
        self.answer(200, headers=[("Record-Route", "<sip:far.example.com;lr>"), ("Record-Route", f"<sip:{OTHER};lr>")])
        call.acknowledge()
        call.hang_up()
        self.clock.advance(0.1)
        for method in ("ACK", "BYE"):
            request = proxy.request(method)
            self.assertEqual(request.headers.get_all("Route"), [f"<sip:{OTHER};lr>", "<sip:far.example.com;lr>"])
            self.assertEqual(request.uri_text, f"sip:bob@{THEM}")
        proxy.send(builders.response(proxy.request("BYE"), 200))
        self.settle()

    def test_contact_elsewhere_gets_the_requests(self) -> None:
        """Over UDP a public Contact of another host is where ACK and BYE go (12.2.1.1)."""
        other = Wire(self.network, OTHER, 5070)
        call = self.calling()
        self.answer(200, contact=f"<sip:bob@{OTHER}:5070>")
        call.acknowledge()
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(other.kinds(), ["ACK", "BYE"])
        self.settle()

    def test_private_contact_keeps_the_flow(self) -> None:
        """A callee behind NAT is reached where the INVITE went, and its Contact stays the request URI (lesson 2)."""
        call = self.calling()
        self.answer(200, contact="<sip:bob@10.0.0.9:5099>")
        call.acknowledge()
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("ACK").uri_text, "sip:bob@10.0.0.9:5099")
        call.hang_up()
        self.settle()

    def test_bye_of_the_callee(self) -> None:
        """It is answered and told."""
        call = self.calling()
        ok = self.answer(200)
        call.acknowledge()
        self.clock.advance(0.1)
        invite = self.them.request("INVITE")
        bye = builders.request(
            "BYE", f"sip:alice@{US}", from_tag="t1", to_tag=invite.from_.tag, call_id=ok.call_id, via=f"{THEM}:5060"
        )
        self.them.send(bye)
        self.clock.advance(0.1)
        self.assertIs(self.user.last(Ended).by, EndedBy.PEER)
        self.settle()


class TargetTests(AgentCase):
    """Where the INVITE goes."""

    def test_next_hop_and_route(self) -> None:
        """An outbound proxy comes before the first Route, and that before the request URI (8.1.2)."""
        proxy = Wire(self.network, OTHER)
        self.calling("sip:bob@198.51.100.9", route_set=(f"<sip:{OTHER};lr>",))
        self.assertEqual(proxy.request("INVITE").headers.get("Route"), f"<sip:{OTHER};lr>")
        self.calling("sip:bob@198.51.100.9", next_hop=f"sip:{THEM}")
        self.assertEqual(self.them.request("INVITE").uri_text, "sip:bob@198.51.100.9")
        self.settle()

    def test_open_flow_of_a_registration_comes_first(self) -> None:
        """A contact behind NAT is called where its REGISTER came from (5626, lesson 2)."""
        source = Target(transport=Transport.UDP, host=THEM, port=5060)
        self.calling("sip:bob@10.0.0.9:5099", source=source)
        self.assertEqual(self.them.request("INVITE").uri_text, "sip:bob@10.0.0.9:5099")
        self.settle()

    def test_dialog_stays_on_the_flow_of_the_registration(self) -> None:
        """Whatever its Contact says, a callee that was called there is reached there (lesson 2)."""
        call = self.calling("sip:bob@198.51.100.9", source=Target(transport=Transport.UDP, host=THEM, port=5060))
        self.answer(200, contact="<sip:bob@198.51.100.9>")
        call.acknowledge()
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["INVITE", "ACK", "BYE"])
        self.settle()

    def test_private_contact_beyond_a_proxy(self) -> None:
        """Requests go to the Record-Route, though the Contact is private: that is the proxy's business."""
        proxy = Wire(self.network, OTHER)
        call = self.calling()
        self.answer(200, contact="<sip:bob@10.0.0.9>", headers=[("Record-Route", f"<sip:{OTHER};lr>")])
        call.acknowledge()
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(proxy.kinds(), ["ACK", "BYE"])
        self.settle()

    def test_headers_of_the_uri_are_left_off(self) -> None:
        """A request URI has no header fields (section 19.1.1, table 1); a `tel` URI stays what it is."""
        self.calling(f"sip:bob@{THEM}?Subject=x")
        self.assertEqual(self.them.request("INVITE").uri_text, f"sip:bob@{THEM}")
        self.calling("tel:+4930", next_hop=f"sip:{THEM}")
        self.assertEqual(self.them.request("INVITE").uri_text, "tel:+4930")
        for session in list(self.agent._sessions):
            session.hang_up()
        self.settle()

    def test_next_address_after_a_timeout(self) -> None:
        """A name with two addresses: when the first is silent the second is tried, in a new transaction (3263 4.3)."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        silent = Wire(self.network, OTHER)
        self.calling("sip:bob@gw.example.net")
        self.clock.advance(33.0)
        first, second = silent.request("INVITE"), self.them.request("INVITE")
        self.assertNotEqual(first.via.branch, second.via.branch)
        self.assertEqual(first.call_id, second.call_id)
        self.answer(486)
        self.user.last(Refused)
        self.settle()

    def test_next_address_after_503(self) -> None:
        """503 moves on to the next target; there the refusal is final (3263 section 4.3, lesson 10)."""
        self.network.names["gw.example.net"] = (THEM, OTHER)
        other = Wire(self.network, OTHER)
        self.calling("sip:bob@gw.example.net")
        self.answer(503)
        self.assertEqual(other.kinds(), ["INVITE"])
        self.settle()

    def test_unresolvable(self) -> None:
        """A name that nobody knows fails at once, and says so (lesson 12)."""
        self.calling("sip:bob@nowhere.example.net")
        self.assertEqual(type(self.user.last(Failed).error).__name__, "UnresolvableError")
        self.settle()

    def test_refused_connection(self) -> None:
        """A TCP port that nobody listens on fails fast, as refused (lesson 12)."""
        self.calling(f"sip:bob@{THEM}:5099;transport=tcp")
        self.clock.advance(1.0)
        self.assertEqual(type(self.user.last(Failed).error).__name__, "ConnectionRefused")
        self.settle()

    def test_large_request_falls_back_to_udp(self) -> None:
        """Too large for UDP it is tried over TCP, and where that is refused it goes over UDP (18.1.1, lesson 23)."""
        self.calling(body=builders.sdp() + b"a=x:" + b"y" * 1500 + b"\r\n")
        self.clock.advance(2.0)
        invite = self.them.request("INVITE")
        self.assertEqual(invite.via.transport, "UDP")
        self.answer(486)
        self.settle()

    def test_cancelled_while_the_name_is_looked_up(self) -> None:
        """A call that is given up before it was sent is never sent."""
        self.network.names["gw.example.net"] = (THEM,)
        call = self.calling("sip:bob@nowhere.example.net")
        call.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.them.kinds(), [])
        self.settle()


class CredentialTests(AgentCase):
    """Digest as a client."""

    challenge = (("Proxy-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'),)

    def test_answers_a_challenge(self) -> None:
        """The INVITE goes again with credentials, the next CSeq number and the same Call-ID (section 22.2)."""
        call = self.calling(credentials=Credentials(username="us", password="secret"))
        self.answer(407, headers=self.challenge)
        again = self.them.request("INVITE")
        self.assertEqual(str(again.cseq), "2 INVITE")
        self.assertIn('username="us"', again.headers.get("Proxy-Authorization") or "")
        self.assertNotIn("secret", again.headers.get("Proxy-Authorization") or "")
        self.answer(200)
        call.acknowledge()
        self.clock.advance(0.1)
        ack = self.them.request("ACK")
        self.assertEqual(str(ack.cseq), "2 ACK")
        self.assertEqual(ack.headers.get("Proxy-Authorization"), again.headers.get("Proxy-Authorization"))
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(str(self.them.request("BYE").cseq), "3 BYE")
        self.settle()

    def test_challenge_after_early_media(self) -> None:
        """A callee that rings before it asks who calls: the dialog counts from the INVITE that was answered."""
        call = self.calling(credentials=Credentials(username="us", password="secret"))
        self.answer(183)
        self.answer(407, headers=self.challenge)
        self.answer(200)
        call.acknowledge()
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(str(self.them.request("ACK").cseq), "2 ACK")
        self.assertEqual(str(self.them.request("BYE").cseq), "3 BYE")
        self.settle()

    def test_challenged_bye_is_sent_again(self) -> None:
        """Any request of the leg is authenticated; the dialog ends after the final outcome (lesson 55)."""
        call = self.calling(credentials=Credentials(username="us", password="secret"))
        self.answer(200)
        call.acknowledge()
        call.hang_up()
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("BYE"), 407, headers=self.challenge))
        self.clock.advance(0.1)
        bye = self.them.request("BYE")
        self.assertIn("Proxy-Authorization", bye.headers)
        self.assertEqual(len(self.agent), 1)
        self.them.send(builders.response(bye, 200))
        self.clock.advance(0.1)
        self.assertEqual(len(self.agent), 0)
        self.settle()

    def test_wrong_password_ends(self) -> None:
        """The same challenge again is a refusal, not a loop."""
        self.calling(credentials=Credentials(username="us", password="wrong"))
        self.answer(407, headers=self.challenge)
        self.answer(407, headers=self.challenge)
        self.assertEqual(self.user.last(Refused).response.status, 407)
        self.settle()

    def test_nobody_gets_credentials_uninvited(self) -> None:
        """Without credentials a challenge is a refusal."""
        self.calling()
        self.answer(401, headers=[("WWW-Authenticate", 'Digest realm="r", nonce="n"')])
        self.assertEqual(self.user.last(Refused).response.status, 401)
        self.settle()
