"""The scripted peer: two of them call each other, without anything of sipd between them."""

from __future__ import annotations

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.testing import builders
from sipd.testing.calls import CallState, Outcome, PeerCall
from sipd.testing.clock import SimulatedClock
from sipd.testing.credentials import authorize
from sipd.testing.exchanges import Reply
from sipd.testing.links import Link
from sipd.testing.network import Network
from sipd.testing.peer import ExpectationError, Peer

ALICE, BOB = "192.0.2.1", "192.0.2.2"


class PeerCase(SynchronousTestCase):
    """Alice, whose proxy is Bob."""

    def setUp(self) -> None:
        """Make a network without faults."""
        self.make(Link())

    def make(self, link: Link, seed: int = 1) -> None:
        """Make both peers on a network."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, seed, link=link)
        entropy = self.network.entropy
        self.alice = Peer(self.network.host(ALICE), "alice", ALICE, proxy=(BOB, 5060), entropy=entropy, password="a")
        self.bob = Peer(self.network.host(BOB), "bob", BOB, proxy=(ALICE, 5060), entropy=entropy)

    def established(self) -> tuple[PeerCall, PeerCall]:
        """Give both ends of a call that is answered."""
        self.bob.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(2.0)
        return call, self.bob.calls[0]

    def assertOutcome(self, outcome: Outcome, status: int) -> None:
        """Both ends of the only call see that outcome, and in the end no exchange and no timer is left."""
        self.clock.run()
        for peer in (self.alice, self.bob):
            self.assertEqual([(call.outcome, call.status) for call in peer.calls], [(outcome, status)], peer.user)
            self.assertEqual(len(peer.exchanges), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def sent(self, sender: str) -> list[str]:
        """Give the first words of what a peer sent."""
        words = []
        for event in self.network.log:
            if event.fate.is_departure and event.source[0] == sender:
                start_line = event.data.split(b"\r\n")[0].decode().split()
                words.append(start_line[1] if start_line[0] == "SIP/2.0" else start_line[0])
        return words


class CallTests(PeerCase):
    """Calls without faults."""

    def test_answered_call(self) -> None:
        """A call is rung, answered and hung up; each message goes once."""
        call, answered = self.established()
        self.assertEqual((call.state, answered.state), (CallState.ANSWERED, CallState.ANSWERED))
        self.assertTrue(answered.is_acknowledged)
        self.assertIn(b"m=audio 40000", answered.remote_body)
        self.assertIn(b"m=audio 40000", call.remote_body)
        call.hang_up()
        self.assertOutcome(Outcome.ANSWERED, 200)
        self.assertEqual((call.ended_by, answered.ended_by), ("us", "them"))
        self.assertEqual(self.sent(ALICE), ["INVITE", "ACK", "BYE"])
        self.assertEqual(self.sent(BOB), ["180", "200", "200"])

    def test_callee_hangs_up(self) -> None:
        """The callee's BYE ends both sides."""
        _, answered = self.established()
        answered.hang_up()
        self.assertOutcome(Outcome.ANSWERED, 200)

    def test_deferreds(self) -> None:
        """A call tells when it was answered and when it ended, before and after the fact."""
        self.bob.auto_answer(after=1.0)
        call = self.alice.call("bob")
        answered, ended = call.when_answered(), call.when_ended()
        self.assertNoResult(answered)
        self.clock.advance(2.0)
        self.assertIs(self.successResultOf(answered), call)
        self.assertIs(self.successResultOf(call.when_answered()), call)
        self.assertNoResult(ended)
        call.hang_up()
        self.assertIs(self.successResultOf(ended), call)
        self.assertIs(self.successResultOf(call.when_ended()), call)

    def test_refused_call(self) -> None:
        """A refusal ends both sides with its status, and is acknowledged."""
        self.bob.auto_refuse(603)
        self.alice.call("bob")
        self.assertOutcome(Outcome.REFUSED, 603)
        self.assertEqual(self.sent(ALICE), ["INVITE", "ACK"])

    def test_cancelled_call(self) -> None:
        """A CANCEL waits for the first provisional response, and both sides see a cancelled call."""
        self.bob.auto_ring(after=0.3)
        call = self.alice.call("bob")
        call.cancel()
        call.cancel()
        self.clock.advance(0.2)
        self.assertEqual(self.sent(ALICE), ["INVITE"])
        self.assertOutcome(Outcome.CANCELLED, 487)
        self.assertEqual(self.sent(ALICE), ["INVITE", "CANCEL", "ACK"])

    def test_cancel_crosses_answer(self) -> None:
        """A call that is answered although it was cancelled is acknowledged and hung up."""
        self.bob.auto_answer(after=0.1, ring_after=0.0)
        call = self.alice.call("bob")
        self.clock.run_until(lambda: self.bob.calls and self.bob.calls[0].state is CallState.ANSWERED, limit=1.0)
        call.cancel()
        self.assertOutcome(Outcome.ANSWERED, 200)

    def test_nobody_there(self) -> None:
        """A call to nobody ends after 64*T1 with 408."""
        self.bob.close()
        call = self.alice.call("bob")
        self.clock.run()
        self.assertEqual((call.outcome, call.status, self.clock.seconds()), (Outcome.REFUSED, 408, 32.0))
        self.assertEqual(len(self.sent(ALICE)), 7)

    def test_early_media(self) -> None:
        """A provisional response may carry a description."""
        self.bob.on_call = lambda incoming: incoming.ring(183, body=builders.sdp(BOB, 5004))
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        self.assertIn(b"5004", call.remote_body)
        call.hang_up()
        self.assertOutcome(Outcome.CANCELLED, 487)

    def test_late_offer(self) -> None:
        """Without an offer in the INVITE the 2xx has it, and the ACK answers it."""
        self.bob.auto_answer()
        call = self.alice.call("bob", body=b"")
        self.clock.advance(2.0)
        self.assertIn(b"m=audio", call.remote_body)
        self.assertIn(b"m=audio", self.bob.calls[0].remote_body)
        self.bob.calls[0].hang_up()
        self.assertOutcome(Outcome.ANSWERED, 200)

    def test_reinvite(self) -> None:
        """Either side may change the session, and the other one may refuse it."""
        call, answered = self.established()
        for changing, other in ((call, answered), (answered, call)):
            changed = changing.reinvite(builders.sdp("192.0.2.77", 6000, version=9))
            self.clock.advance(1.0)
            response = self.successResultOf(changed)
            assert response is not None
            self.assertEqual(response.status, 200)
            self.assertIn(b"192.0.2.77", other.remote_body)
        self.bob.answers_reinvites = False
        refused = call.reinvite()
        self.clock.advance(1.0)
        response = self.successResultOf(refused)
        assert response is not None
        self.assertEqual(response.status, 488)
        call.hang_up()
        self.assertOutcome(Outcome.ANSWERED, 200)

    def test_requests_in_the_dialog(self) -> None:
        """Other requests go within the dialog; after the end they meet a 481."""
        call, answered = self.established()
        for method, status in (("INFO", 200), ("UPDATE", 405)):
            asked = call.request(method)
            self.clock.advance(1.0)
            response = self.successResultOf(asked)
            assert response is not None
            self.assertEqual(response.status, status)
        answered.hang_up()
        asked = call.request("INFO")
        self.clock.run()
        response = self.successResultOf(asked)
        assert response is not None
        self.assertEqual(response.status, 481)

    def test_missing_ack(self) -> None:
        """A callee whose 2xx is never acknowledged hangs up, and calls it lost."""
        self.bob.auto_answer(after=0.1, ring_after=None)
        self.alice.call("bob")
        self.clock.run_until(lambda: self.bob.calls, limit=1.0)
        self.network.set_links(ALICE, BOB, Link(loss=1.0))
        self.clock.run()
        self.assertEqual((self.bob.calls[0].outcome, self.bob.calls[0].ended_by), (Outcome.LOST, "us"))

    def test_second_answer_is_sent_away(self) -> None:
        """A 2xx with another tag is acknowledged and ended with BYE; the first call stays."""
        call, _ = self.established()
        fork = builders.response(self.bob.calls[0].invite, 200, to_tag="other", contact=self.bob.contact)
        self.bob.exchanges.send(fork, (ALICE, 5060))
        self.clock.advance(1.0)
        self.assertEqual(self.sent(ALICE), ["INVITE", "ACK", "ACK", "BYE"])
        self.assertEqual(call.state, CallState.ANSWERED)

    def test_actions_out_of_turn(self) -> None:
        """What comes too late does nothing; only a callee answers."""
        call, answered = self.established()
        answered.ring()
        answered.answer()
        answered.refuse()
        call.cancel()
        self.assertEqual(self.sent(BOB), ["180", "200"])
        answered.later(100.0, answered.hang_up)
        call.hang_up()
        call.hang_up()
        self.assertOutcome(Outcome.ANSWERED, 200)

    def test_shows_itself(self) -> None:
        """A call prints who, whom, and how it stands."""
        call, answered = self.established()
        self.assertEqual(repr(call), "<call of alice to sip:bob@example.com: answered, open 200>")
        self.assertEqual(repr(answered), "<call of bob from sip:alice@example.com: answered, open 200>")


class LossTests(SynchronousTestCase):
    """Calls over a bad network."""

    def test_calls_survive_loss(self) -> None:
        """With a fifth of the datagrams lost, reordered and doubled, both ends of every call agree."""
        for seed in range(40):
            case = CallTests()
            case.make(Link(loss=0.2, jitter=0.1, duplication=0.1, reordering=0.1, holdback=1.0), seed)
            case.bob.auto_answer(after=1.0)
            call = case.alice.call("bob")
            call.later(20.0, call.hang_up)
            case.clock.run()
            self.assertEqual([call.outcome, case.bob.calls[0].outcome], [Outcome.ANSWERED] * 2, f"seed {seed}")
            self.assertEqual(len(case.bob.calls), 1)


class RequestTests(PeerCase):
    """Requests outside of dialogs, and expectations."""

    def test_options(self) -> None:
        """OPTIONS is answered with 200, what it does not know with 405, what belongs to no dialog with 481."""
        for request, status in (
            (builders.options(via=None), 200),
            (builders.request("SUBSCRIBE", via=None), 405),
            (builders.request("BYE", to_tag="nobody", via=None), 481),
        ):
            asked = self.alice.ask(request)
            self.clock.advance(1.0)
            response = self.successResultOf(asked)
            assert response is not None
            self.assertEqual(response.status, status)

    def test_no_answer(self) -> None:
        """A request to nobody has no response."""
        self.bob.close()
        asked = self.alice.ask(builders.options(via=None))
        self.clock.run()
        self.assertIs(self.successResultOf(asked), None)
        self.assertEqual(len(self.sent(ALICE)), 11)

    def test_expect(self) -> None:
        """What is expected may be here already or still come; each message is found once."""
        self.alice.ask(builders.options(via=None))
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(self.bob.expect("OPTIONS")).method, "OPTIONS")
        self.assertEqual(self.successResultOf(self.alice.expect(200)).status, 200)
        later = self.bob.expect("OPTIONS", within=5.0)
        self.assertNoResult(later)
        self.alice.ask(builders.options(via=None))
        self.clock.run()
        self.assertEqual(self.successResultOf(later).method, "OPTIONS")

    def test_disappointed(self) -> None:
        """What does not come in time fails, and says what came."""
        missed = self.bob.expect("BYE", within=5.0)
        self.alice.ask(builders.options(via=None))
        self.clock.run()
        error = self.failureResultOf(missed, ExpectationError).value
        self.assertEqual(str(error), "bob expected BYE; there came: OPTIONS")

    def test_registration(self) -> None:
        """A challenge is answered once, with the next number and the same Call-ID; the final response is the result."""
        registers: list[Request] = []

        def registrar(request: Request, reply: Reply) -> None:
            registers.append(request)
            challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
            if "Authorization" in request.headers:
                reply(builders.response(request, 200))
            else:
                reply(builders.response(request, 401, headers=(("WWW-Authenticate", challenge),)))

        self.bob.exchanges._requested = registrar
        registered = self.alice.register()
        self.clock.advance(1.0)
        response = self.successResultOf(registered)
        assert response is not None
        self.assertEqual(response.status, 200)
        self.alice.unregister()
        self.clock.run()
        self.assertEqual([request.cseq.number for request in registers], [1, 2, 3, 4])
        self.assertEqual(len({request.call_id for request in registers}), 1)
        self.assertEqual([request.expires for request in registers], [3600, 3600, 0, 0])

    def test_gives_up_on_challenges(self) -> None:
        """A peer that is always challenged stops in the end, and one without a password at once."""
        challenge = (("WWW-Authenticate", 'Digest realm="r", nonce="n"'),)
        self.bob.exchanges._requested = lambda request, reply: reply(builders.response(request, 401, headers=challenge))
        registered = self.alice.register()
        self.alice.exchanges._requested = self.bob.exchanges._requested
        other = self.bob.register()
        self.clock.run()
        for deferred in (registered, other):
            response = self.successResultOf(deferred)
            assert response is not None
            self.assertEqual(response.status, 401)
        self.assertEqual(self.sent(ALICE).count("REGISTER"), 3)
        self.assertEqual(self.sent(BOB).count("REGISTER"), 1)

    def test_noise_is_dropped(self) -> None:
        """Keep-alives and what does not parse are dropped."""
        port = self.network.host("192.0.2.9").listenUDP(5060, DatagramProtocol())
        for noise in (b"\r\n\r\n", b"\0\0\0\0", b"nonsense", b"OPTIONS sip:bob@example.com SIP/2.0\r\n\r\n"):
            port.write(noise, (BOB, 5060))
        self.clock.run()
        self.assertEqual((self.bob.seen, self.sent(BOB)), ([], []))


class DigestTests(SynchronousTestCase):
    """The peer's own digest."""

    def test_rfc_7616_examples(self) -> None:
        """The answers are those of RFC 7616 section 3.9.1."""
        for algorithm, expected in (
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ):
            request = Request("GET", "/dir/index.html")
            challenge = (
                f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
                'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe"'
            )
            refusal = builders.response(builders.options(), 401, headers=(("WWW-Authenticate", challenge),))
            cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
            self.assertTrue(authorize(request, refusal, "Mufasa", "Circle of Life", cnonce))
            self.assertIn(f'response="{expected}"', request.headers.get("Authorization") or "")

    def test_nothing_to_answer(self) -> None:
        """Without a challenge that it knows there are no credentials."""
        challenges = (("WWW-Authenticate", "Basic realm=x"), ("WWW-Authenticate", 'Digest algorithm=X, realm="r"'))
        refusal = builders.response(builders.options(), 401, headers=challenges)
        self.assertFalse(authorize(builders.options(), refusal, "a", "b", "c"))


class BuilderTests(SynchronousTestCase):
    """Messages for tests."""

    def test_requests_print_and_parse(self) -> None:
        """Each built message is what it was after it has gone over the wire."""
        invite = builders.invite()
        answer = builders.response(invite, 200, body=builders.sdp_answer(invite.body))
        refusal = builders.response(invite, 486)
        for message in (
            invite,
            answer,
            refusal,
            builders.options(),
            builders.register(contact="*", expires=0),
            builders.ack(invite, answer),
            builders.ack(invite, refusal),
            builders.cancel(invite),
            builders.bye(invite, answer),
        ):
            self.assertEqual(parse_datagram(message.to_bytes()), message)

    def test_dialog_requests(self) -> None:
        """ACK and BYE of a 2xx go to its Contact by its route, reversed; the ACK of a refusal looks like the INVITE."""
        invite = builders.invite()
        routes = (("Record-Route", "<sip:p1;lr>, <sip:p2;lr>"),)
        answer = builders.response(invite, 200, headers=routes)
        for request in (builders.ack(invite, answer), builders.bye(invite, answer)):
            self.assertEqual(request.uri_text, "sip:bob@192.0.2.2:5060")
            self.assertEqual([str(route) for route in request.routes], ["<sip:p2;lr>", "<sip:p1;lr>"])
            self.assertNotEqual(request.via.branch, invite.via.branch)
        refused = builders.ack(invite, builders.response(invite, 486))
        self.assertEqual((refused.uri_text, refused.via.branch), (invite.uri_text, invite.via.branch))
        self.assertEqual(builders.bye(invite, answer).cseq.number, 2)

    def test_responses(self) -> None:
        """A 100 has no tag; what makes a dialog has a Contact, and nothing else does."""
        invite = builders.invite()
        self.assertIs(builders.response(invite, 100).to.tag, None)
        statuses = [status for status in (100, 180, 200, 302, 486) if builders.response(invite, status).contacts]
        self.assertEqual(statuses, [180, 200])
        self.assertEqual(builders.response(builders.options(), 200).contacts, ())

    def test_descriptions(self) -> None:
        """An answer has the streams of its offer, in order."""
        offer = builders.sdp("2001:db8::1", 5004, media=("audio", "video"), direction="sendonly")
        self.assertIn(b"c=IN IP6 2001:db8::1\r\n", offer)
        self.assertIn(b"m=video 5006", offer)
        answer = builders.sdp_answer(offer, "192.0.2.2", 6000)
        streams = [line.split(b" ")[:2] for line in answer.splitlines() if line.startswith(b"m=")]
        self.assertEqual(streams, [[b"m=audio", b"6000"], [b"m=video", b"6002"]])

    def test_type_of_messages(self) -> None:
        """Builders give sipd's own messages."""
        self.assertIsInstance(builders.invite(), Request)
        self.assertIsInstance(builders.response(builders.invite(), 200), Response)
