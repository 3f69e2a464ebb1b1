"""INFO and MESSAGE inside of a call: they cross as they are, and so do the answers (RFC 6086, RFC 3428)."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from sipd.errors import LocalError
from sipd.interfaces import IResolver
from sipd.sip.headers import Fields
from sipd.sip.locate import Target
from sipd.sip.message import Request, Response
from sipd.sip.uri import Uri
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from sipd.testing.exchanges import Reply
from sipd.testing.links import Link
from sipd.ua.requesting import MAX_PENDING
from tests.b2bua.support import ALICE, BOB, SIPD, BridgeCase
from tests.b2bua.test_gateway import GATEWAY, GatewayCase

DIGIT = b"Signal=5\r\nDuration=160\r\n"
RELAY = (("Content-Type", "application/dtmf-relay"),)

Answer = Deferred[Response | None]


class InfoCase(BridgeCase):
    """A call, and what is said in it."""

    def info(
        self, call: PeerCall, body: bytes = DIGIT, *, method: str = "INFO", headers: builders.Fields = RELAY
    ) -> Answer:
        """Let one side say something; what comes of it is for later."""
        return call.request(method, headers=headers, body=body)

    def answer(self, waiting: Answer) -> Response:
        """Give the answer, which must be there."""
        self.assertTrue(waiting.called)
        response = waiting.result
        assert isinstance(response, Response)
        return response

    def status(self, waiting: Answer) -> int:
        """Give its status; 0 if there was none, -1 if it is still waited for."""
        if not waiting.called:
            return -1
        return 0 if waiting.result is None else self.answer(waiting).status

    def slowly(self, delay: float, status: int = 200) -> None:
        """Let Bob take his time for every answer."""

        def later(request: Request, reply: Reply) -> None:
            self.bob.reactor.callLater(delay, reply, builders.response(request, status))

        self.bob.on_info = later


class CrossingTests(InfoCase):
    """What crosses."""

    def test_either_way(self) -> None:
        """A digit reaches the other side octet for octet, whichever side it comes from, and its 200 comes back."""
        call, answered = self.established()
        for asking, asked in ((call, self.bob), (answered, self.alice)):
            waiting = self.info(asking)
            self.clock.advance(0.1)
            (info,) = asked.infos
            self.assertEqual((info.method, info.body, info.headers.get("Content-Type")), ("INFO", DIGIT, RELAY[0][1]))
            self.assertEqual(self.status(waiting), 200)
        call.hang_up()
        self.finish()
        text = self.explanation()
        self.assertEqual(text.count(f"INFO, application/dtmf-relay, {len(DIGIT)} octets: 200 OK"), 2)
        self.assertNotIn("Signal", text)

    def test_header_fields(self) -> None:
        """What is said of the body and the package crosses, and what nobody knows; what belongs to a leg does not."""
        call, _ = self.established()
        said = (
            ("Info-Package", "foo"), ("Content-Type", "application/foo"), ("Content-Disposition", "Info-Package"),
            ("X-Nobody", "knows;this"), ("Contact", "<sip:alice@10.0.0.1>"), ("User-Agent", "a phone"),
        )  # fmt: skip
        self.bob.on_info = lambda request, reply: reply(
            builders.response(request, 200, "Heard", headers=[("X-Heard", "yes"), *RELAY], body=b"back")
        )
        waiting = self.info(call, b"\x00\xff\r\n", headers=said)
        self.clock.advance(0.1)
        (info,) = self.bob.infos
        for name, value in said[:4]:
            self.assertEqual(info.headers.get_all(name), [value])
        self.assertEqual([name for name in ("Contact", "User-Agent") if name in info.headers], [])
        self.assertEqual(info.body, b"\x00\xff\r\n")
        response = self.answer(waiting)
        self.assertEqual((response.reason, response.body), ("Heard", b"back"))
        self.assertEqual((response.headers.get("X-Heard"), response.headers.get("Content-Type")), ("yes", RELAY[0][1]))
        call.hang_up()
        self.finish()

    def test_message(self) -> None:
        """MESSAGE crosses with what is said of it, and an empty INFO without what would be said of a body."""
        call, answered = self.established()
        message = self.info(
            answered, b"hello", method="MESSAGE", headers=(("Content-Type", "text/plain"), ("Expires", "60"))
        )
        empty = self.info(call, b"", headers=(("Info-Package", "foo"),))
        self.clock.advance(0.1)
        self.assertEqual((self.status(message), self.status(empty)), (200, 200))
        (crossed,) = self.alice.infos
        self.assertEqual((crossed.body, crossed.headers.get("Expires")), (b"hello", "60"))
        (crossed,) = self.bob.infos
        self.assertNotIn("Content-Type", crossed.headers)
        call.hang_up()
        self.finish()
        self.assertIn("MESSAGE, text/plain, 5 octets: 200 OK", self.explanation())

    def test_willingness(self) -> None:
        """Which packages a side takes is told to the other, as is that INFO and MESSAGE are known."""
        self.bob.fields = (("Recv-Info", "bar"),)
        self.bob.auto_answer(after=0.5)
        call = self.alice.call("bob", headers=[("Recv-Info", "foo, bar")])
        self.clock.advance(2.0)
        invite, ok = self.bob.calls[0].invite, self.seen(self.alice, 200)[-1]
        self.assertEqual((invite.headers.get("Recv-Info"), ok.headers.get("Recv-Info")), ("foo, bar", "bar"))
        for message in (invite, ok):
            self.assertTrue({"INFO", "MESSAGE"} <= message.headers.tokens("Allow"))
        call.hang_up()
        self.finish()

    def test_events_and_questions(self) -> None:
        """NOTIFY and SUBSCRIBE of other packages than refer cross, PUBLISH and OPTIONS; a leg says what it can do."""
        call, _ = self.established()
        for method, status in (("NOTIFY", 200), ("SUBSCRIBE", 405), ("PUBLISH", 405), ("OPTIONS", 200)):
            waiting = call.request(method, headers=(("Event", "talk"), ("Subscription-State", "active")))
            self.clock.advance(0.2)
            self.assertEqual((method, self.status(waiting)), (method, status))
            (crossed,) = self.seen(self.bob, method)
            self.assertEqual(crossed.headers.get("Event"), "talk")
        response = self.seen(self.alice, 200)[-1]
        self.assertIn("REFER", response.headers.tokens("Allow"))
        self.assertEqual(response.body, b"")
        notified = next(one for one in self.seen(self.alice, 200) if one.cseq.method == "NOTIFY")
        self.assertEqual(len(notified.contacts), 1)
        call.hang_up()
        self.finish()

    def test_what_stays(self) -> None:
        """A REFER that says nothing is refused here."""
        call, _ = self.established()
        waiting = call.request("REFER")
        self.clock.advance(0.1)
        self.assertEqual(self.status(waiting), 400)
        self.assertEqual(self.seen(self.bob, "REFER"), [])
        call.hang_up()
        self.finish()


class RefusalTests(InfoCase):
    """Answers that are none of 200."""

    def _refused(self, status: int, headers: Sequence[tuple[str, str]] = ()) -> Response:
        call, answered = self.established()
        self.bob.on_info = lambda request, reply: reply(builders.response(request, status, headers=headers))
        waiting = self.info(call)
        self.clock.advance(0.2)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()
        return self.answer(waiting)

    def test_type(self) -> None:
        """415 crosses with what the other side would take, and the call goes on."""
        response = self._refused(415, [("Accept", "application/foo"), ("Accept-Encoding", "gzip")])
        self.assertEqual((response.status, response.headers.get("Accept")), (415, "application/foo"))
        self.assertIn("octets: 415", self.explanation())

    def test_package(self) -> None:
        """469 crosses with the packages that the other side takes (RFC 6086 section 4.2.2)."""
        response = self._refused(469, [("Recv-Info", "bar")])
        self.assertEqual((response.status, response.headers.get("Recv-Info")), (469, "bar"))

    def test_challenge(self) -> None:
        """A challenge is for this server: 502, and nobody is asked for a password that belongs elsewhere."""
        response = self._refused(401, [("WWW-Authenticate", 'Digest realm="x", nonce="n"')])
        self.assertEqual((response.status, "WWW-Authenticate" in response.headers), (502, False))

    def test_overload(self) -> None:
        """A 503 is about the other server: 500."""
        self.assertEqual(self._refused(503).status, 500)

    def test_dialog_that_is_gone(self) -> None:
        """A side that answers 481 has lost the call: it ends on both legs, and what was asked gets 487."""
        call, answered = self.established()
        self.slowly(0.0, 481)
        waiting = self.info(call)
        self.clock.advance(0.2)
        self.assertEqual(self.status(waiting), 487)
        self.assertFalse(call.is_answered or answered.is_answered)
        self.assertEqual(self.finish().cause, "callee-lost")
        self.assertIn("the call ended before its answer", self.explanation())

    def test_unknown_name(self) -> None:
        """A side whose name is not found cannot be asked: 502, and the call goes on while its flow may live."""
        self.bob.contact = "<sip:bob@nowhere.example.net>"
        call, _ = self.established()
        waiting = self.info(call)
        self.clock.advance(1.0)
        self.assertEqual((self.status(waiting), call.is_answered), (502, True))
        call.hang_up()
        self.settle()

    def test_fault_of_this_side(self) -> None:
        """What this side lacks is 500, and no business of the session."""
        self.bob.contact = "<sip:bob@nowhere.example.net>"
        call, _ = self.established()
        self.server.agent.resolver = _Broken()
        waiting = self.info(call)
        self.clock.advance(1.0)
        self.assertEqual((self.status(waiting), call.is_answered), (500, True))
        call.hang_up()
        self.settle()

    def test_bug(self) -> None:
        """A bug costs one request, and leaves a traceback; the next one crosses."""
        call, _ = self.established()
        (bridge,) = self.server.b2bua._calls.values()
        session = bridge.legs["b1"].session
        session.request = _break  # type: ignore[method-assign]
        first = self.info(call)
        self.clock.advance(0.1)
        del session.request
        second = self.info(call)
        self.clock.advance(0.1)
        self.assertEqual((self.status(first), self.status(second)), (500, 200))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        call.hang_up()
        self.finish()


class TimeTests(InfoCase):
    """Answers that take their time."""

    def test_silence(self) -> None:
        """A side that does not answer at all is gone: the call ends on both legs (RFC 3261 section 12.2.1.2)."""
        call, answered = self.established()
        self.slowly(100.0)
        waiting = [self.info(call) for _ in range(3)]
        self.clock.advance(31.0)
        self.assertTrue(call.is_answered and answered.is_answered)
        self.clock.advance(5.0)
        self.assertFalse(call.is_answered or answered.is_answered)
        self.assertNotIn(200, [self.status(one) for one in waiting])
        self.assertEqual(self.finish().cause, "callee-lost")
        self.assertEqual(self.explanation().count("the call ended before its answer"), 3)
        self.assertEqual(len(self.bob.infos), 1)

    def test_hang_up_is_not_delayed(self) -> None:
        """BYE crosses while an answer is waited for, which is then 487; an answer that comes still is dropped."""
        for asks_hangs_up in (True, False):
            call, answered = self.established()
            self.slowly(5.0)
            waiting = [self.info(call), self.info(call)]
            self.clock.advance(1.0)
            (call if asks_hangs_up else answered).hang_up()
            self.clock.advance(0.1)
            self.assertFalse(call.is_answered or answered.is_answered)
            self.assertEqual([self.status(one) for one in waiting], [487, 487])
            self.settle()
        self.assertEqual(len(self.bob.infos), 2)

    def test_changes_are_not_delayed(self) -> None:
        """A re-INVITE of either side crosses while an answer is waited for."""
        call, answered = self.established()
        self.slowly(5.0)
        waiting = self.info(call)
        self.clock.advance(1.0)
        for asking, host in ((call, ALICE), (answered, BOB)):
            change = asking.reinvite(builders.sdp(host, 40000, direction="sendonly", version=2))
            self.clock.advance(0.5)
            self.assertEqual((self.status(change), self.status(waiting)), (200, -1))
        self.clock.advance(5.0)
        self.assertEqual(self.status(waiting), 200)
        call.hang_up()
        self.finish()

    def test_ways_are_apart(self) -> None:
        """What one side waits for does not hold back what the other says."""
        call, answered = self.established()
        self.slowly(5.0)
        slow, quick = self.info(call), self.info(answered)
        self.clock.advance(0.5)
        self.assertEqual((self.status(slow), self.status(quick)), (-1, 200))
        self.clock.advance(5.0)
        self.assertEqual(self.status(slow), 200)
        call.hang_up()
        self.finish()

    def test_many_at_once(self) -> None:
        """They arrive one after the other, in order, each with its own answer."""
        call, _ = self.established()
        self.bob.on_info = lambda request, reply: reply(
            builders.response(request, 200, "Digit", headers=RELAY, body=request.body)
        )
        bodies = [b"Signal=%d" % number for number in range(MAX_PENDING)]
        waiting = [self.info(call, body) for body in bodies]
        self.clock.advance(2.0)
        self.assertEqual([info.body for info in self.bob.infos], bodies)
        self.assertEqual([self.answer(one).body for one in waiting], bodies)
        call.hang_up()
        self.finish()

    def test_too_many(self) -> None:
        """Beyond the bound there is 500 with Retry-After; the others get their answers."""
        call, _ = self.established()
        self.slowly(0.2)
        waiting = [self.info(call) for _ in range(MAX_PENDING + 3)]
        self.clock.advance(0.1)
        refused = [self.answer(one) for one in waiting if one.called]
        self.assertEqual([response.status for response in refused], [500] * 3)
        self.assertTrue(all("Retry-After" in response.headers for response in refused))
        self.clock.advance(10.0)
        self.assertEqual([self.status(one) for one in waiting], [200] * MAX_PENDING + [500] * 3)
        call.hang_up()
        self.finish()
        self.assertIn(f"INFO refused: {MAX_PENDING} wait for their answers", self.explanation())

    def test_waited_too_long(self) -> None:
        """What could not be sent for 16 seconds is answered with 504 while its sender still waits; the call goes on."""
        call, _ = self.established()
        self.slowly(17.0)
        waiting = [self.info(call), self.info(call)]
        self.clock.advance(18.0)
        self.assertEqual([self.status(one) for one in waiting], [200, 504])
        self.assertEqual((len(self.bob.infos), call.is_answered), (1, True))
        call.hang_up()
        self.finish()

    def test_stop(self) -> None:
        """When this server ends the call, what waits gets 487."""
        call, answered = self.established()
        self.slowly(5.0)
        waiting = self.info(call)
        self.clock.advance(1.0)
        self.server.b2bua.stop_calls("test")
        self.clock.advance(0.1)
        self.assertEqual(self.status(waiting), 487)
        self.assertFalse(call.is_answered or answered.is_answered)
        self.finish()

    def test_loss(self) -> None:
        """Where the network loses a fifth, digits arrive once each, in order, although all were said at once."""
        call, answered = self.established()
        self.network.set_links(SIPD, BOB, Link(delay=0.02, jitter=0.02, loss=0.2, duplication=0.1))
        bodies = [b"Signal=%d" % number for number in range(8)]
        waiting = [self.info(call, body) for body in bodies]
        self.clock.advance(16.0)
        self.assertEqual([info.body for info in self.bob.infos], bodies)
        self.assertEqual([self.status(one) for one in waiting], [200] * len(bodies))
        self.assertGreater(len(self.seen(self.bob, "INFO")), len(bodies))
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_loss_on_both_legs(self) -> None:
        """Digits of both sides, each said when the last one is answered, arrive once each, in order."""
        call, answered = self.established()
        for address in (ALICE, BOB):
            self.network.set_links(SIPD, address, Link(delay=0.02, jitter=0.02, loss=0.2, duplication=0.1))
        bodies = [b"Signal=%d" % number for number in range(8)]
        for body in bodies:
            waiting = [self.info(call, body), self.info(answered, body)]
            self.clock.advance(30.0)
            self.assertEqual([self.status(one) for one in waiting], [200, 200])
        for peer in (self.alice, self.bob):
            self.assertEqual([info.body for info in peer.infos], bodies)
            self.assertGreater(len(self.seen(peer, "INFO")), len(bodies))
        call.hang_up()
        self.finish()


class EarlyTests(GatewayCase):
    """Before the answer there is nobody to tell anything."""

    def test_caller(self) -> None:
        """INFO in the caller's early dialog gets 500 with Retry-After, and the call is answered later."""
        self.bob.auto_answer(after=3.0)
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        ringing = self.seen(self.alice, 180)[-1]
        waiting = self.alice.ask(
            builders.request(
                "INFO", f"sip:bob@{SIPD}", caller=self.alice.aor, callee="sip:bob@example.com", via=None,
                from_tag=call.local_tag, to_tag=ringing.to.tag, call_id=call.call_id, cseq=50, body=DIGIT,
            )
        )  # fmt: skip
        self.clock.advance(1.0)
        response = self.successResultOf(waiting)
        assert response is not None
        self.assertEqual((response.status, "Retry-After" in response.headers), (500, True))
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self.assertEqual(self.bob.infos, [])
        call._sequence = 50
        call.hang_up()
        self.finish()

    def test_callee(self) -> None:
        """INFO of a callee that has not answered gets 500, too, where its early dialog is known by a PRACK."""
        call = self.calling()
        early = self.say(183, port=41000, headers=[("Require", "100rel"), ("RSeq", "7")])
        self.gateway.send(builders.response(self.gateway.request("PRACK"), 200))
        for cseq, (method, status) in enumerate((("INFO", 500), ("MESSAGE", 500), ("NOTIFY", 481)), 1):
            self.gateway.send(
                builders.request(
                    method, f"sip:{SIPD}", call_id=early.call_id, from_tag="t1", to_tag=early.from_.tag, cseq=cseq,
                    branch=f"z9hG4bK-e{cseq}", via=f"{GATEWAY}:5060",
                )
            )  # fmt: skip
            self.clock.advance(0.1)
            self.assertEqual(self.gateway.response(status).cseq.method, method)
        self.say(200, port=41000)
        self.assertTrue(call.is_answered)
        self.end(call)
        self.finish()


@implementer(IResolver)
class _Broken:
    """A resolver that has lost its means."""

    def locate(self, uri: Uri) -> Deferred[Sequence[Target]]:
        """See `IResolver`."""
        return fail(LocalError("no resolver"))

    def target_failed(self, target: Target, rest: float | None = None) -> None:
        """See `IResolver`."""


def _break(method: str, headers: Fields = (), body: bytes = b"") -> Deferred[Response]:
    raise ZeroDivisionError
