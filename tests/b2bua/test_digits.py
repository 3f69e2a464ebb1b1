"""Digits that one side sends as telephone events and the other one wants as INFO, and the other way round."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.b2bua.digits import MAX_PENDING
from sipd.interfaces import Dtmf, IRouter, Route, RoutingRequest
from sipd.sip.digit_info import read_digit
from sipd.sip.headers import Headers
from sipd.sip.message import Request
from sipd.testing.calls import PeerCall
from sipd.testing.media import FakeMediaSession
from sipd.testing.peer import Peer
from tests.b2bua.test_infos import DIGIT, RELAY, InfoCase


@implementer(IRouter)
class Wishes:
    """Another router's routes, with what each party wants.

    Args:
        router: the other one.
        caller: what callers want.
        callees: what the users of these names want.
    """

    def __init__(self, router: IRouter, caller: Dtmf, **callees: Dtmf) -> None:
        self._router = router
        self._caller = caller
        self._callees = callees

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        needs: bool = self._router.needs_authentication(routing_request)
        return needs

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        routed: Deferred[Route] = self._router.route(routing_request)
        return routed.addCallback(self._wish)

    def _wish(self, route: Route) -> Route:
        rounds = tuple(
            tuple(replace(attempt, dtmf=self._callees.get(attempt.user or "", Dtmf.PASS)) for attempt in attempts)
            for attempts in route.rounds
        )
        return replace(route, rounds=rounds, caller_dtmf=self._caller)


class DigitCase(InfoCase):
    """A call of parties that want something."""

    def wish(self, caller: Dtmf = Dtmf.PASS, **callees: Dtmf) -> tuple[PeerCall, PeerCall]:
        """Let Alice call Bob, when what they want is known."""
        self.server.b2bua.router = Wishes(self.server.b2bua.router, caller, **callees)
        return self.established()

    @property
    def media(self) -> FakeMediaSession:
        """The media of the call."""
        return self.server.relay.sessions[-1]

    def press(self, leg: str, *digits: str) -> None:
        """Let telephone events come from a leg."""
        heard = self.media.on_digit
        assert heard is not None
        for digit in digits:
            heard(leg, digit)

    def told(self, peer: Peer) -> list[bytes]:
        """Give the bodies of the INFOs that came to a peer."""
        self.clock.advance(0.2)
        return [info.body for info in peer.infos]


class InfoTests(DigitCase):
    """Who wants INFO."""

    def test_either_side(self) -> None:
        """Events of one side are taken out of its media, and are INFOs to the other one; nothing goes back."""
        for caller, callee, leg, told in (
            (Dtmf.PASS, Dtmf.INFO, "a", self.bob),
            (Dtmf.INFO, Dtmf.PASS, "b1", self.alice),
        ):
            self.server.records.records.clear()
            call, _ = self.wish(caller, bob=callee)
            self.assertEqual(self.media.taken_events, {leg})
            self.press(leg, "5", "#")
            self.assertEqual(
                self.told(told), [b"Signal=5\r\nDuration=160\r\n", b"Signal=#\r\nDuration=160\r\n"], told.user
            )
            self.assertEqual({info.headers.get("Content-Type") for info in told.infos}, {RELAY[0][1]})
            self.press("b1" if leg == "a" else "a", "7")
            self.press("nobody", "7")
            self.assertEqual((len(self.told(self.alice)) + len(self.told(self.bob)), self.media.sent_digits), (2, []))
            for peer in (self.alice, self.bob):
                peer.infos.clear()
            call.hang_up()
            self.finish()
            text = self.explanation()
            self.assertEqual(text.count("INFO, application/dtmf-relay, 24 octets: 200 OK"), 2)
            self.assertNotIn("Signal", text)

    def test_in_order_and_bounded(self) -> None:
        """They are sent one after the other; beyond the bound they are lost, and the explanation says so."""
        call, _ = self.wish(bob=Dtmf.INFO)
        self.slowly(0.1)
        digits = [str(number % 10) for number in range(MAX_PENDING + 2)]
        self.press("a", *digits)
        self.clock.advance(0.05)
        self.assertEqual(len(self.bob.infos), 1)
        self.clock.advance(10.0)
        self.assertEqual([body[7:8].decode() for body in self.told(self.bob)], digits[:MAX_PENDING])
        self.press("a", "*")
        self.assertIn(b"Signal=*", self.told(self.bob)[-1])
        call.hang_up()
        self.finish()
        self.assertEqual(self.explanation().count("a digit is lost"), 2)

    def test_behind_what_crosses(self) -> None:
        """They wait for INFOs of the same side that cross, and keep their order with them."""
        call, _ = self.wish(bob=Dtmf.INFO)
        self.slowly(1.0)
        waiting = self.info(call, b"x", headers=(("Content-Type", "application/foo"),))
        self.clock.advance(0.1)
        self.press("a", "1")
        self.assertEqual(self.told(self.bob), [b"x"])
        self.clock.advance(3.0)
        self.assertEqual(self.status(waiting), 200)
        self.assertEqual(len(self.told(self.bob)), 2)
        call.hang_up()
        self.finish()

    def test_refused(self) -> None:
        """Who refuses one loses that digit; the call goes on, and the next one is sent."""
        call, answered = self.wish(bob=Dtmf.INFO)
        self.slowly(0.0, 415)
        self.press("a", "1", "2")
        self.assertEqual(len(self.told(self.bob)), 2)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()
        self.assertEqual(self.explanation().count("24 octets: 415"), 2)

    def test_end_of_the_call(self) -> None:
        """Digits that wait when the call ends are sent to nobody."""
        call, _ = self.wish(bob=Dtmf.INFO)
        self.slowly(2.0)
        self.press("a", "1", "2", "3")
        self.clock.advance(0.5)
        call.hang_up()
        self.finish()
        self.assertEqual(len(self.bob.infos), 1)

    def test_info_of_the_other_side(self) -> None:
        """An INFO that says a digit crosses as it is, and so does one that says something else."""
        call, _ = self.wish(bob=Dtmf.INFO)
        waiting = [self.info(call), self.info(call, b"hello", headers=(("Content-Type", "text/plain"),))]
        self.assertEqual(self.told(self.bob), [DIGIT, b"hello"])
        self.assertEqual([self.status(one) for one in waiting], [200, 200])
        call.hang_up()
        self.finish()

    def test_phone_that_sends_both(self) -> None:
        """A digit that comes both ways, in either order, is told once; the same key pressed twice is told twice."""
        call, _ = self.wish(bob=Dtmf.INFO)
        self.press("a", "5")
        first = self.info(call)
        self.clock.advance(0.5)
        second = self.info(call)
        self.clock.advance(0.1)
        self.press("a", "5")
        self.assertEqual(self.told(self.bob), [DIGIT, DIGIT])
        self.assertEqual((self.status(first), self.status(second)), (200, 200))
        self.clock.advance(3.0)
        self.press("a", "5", "5")
        self.assertEqual(len(self.told(self.bob)), 4)
        call.hang_up()
        self.finish()


class EventTests(DigitCase):
    """Who wants telephone events."""

    def test_either_side(self) -> None:
        """An INFO of one side that says a digit is answered here, and is an event to the other one."""
        for is_caller in (True, False):
            self.server.records.records.clear()
            call, answered = (
                self.wish(bob=Dtmf.RTP, caller=Dtmf.PASS) if is_caller else self.wish(Dtmf.RTP, bob=Dtmf.PASS)
            )
            asking, told = (call, "b1") if is_caller else (answered, "a")
            waiting = [
                self.info(asking, b"Signal=1\r\nDuration=250\r\n"),
                self.info(asking, b"*", headers=(("Content-Type", "application/dtmf"),)),
            ]
            self.clock.advance(0.2)
            self.assertEqual([self.status(one) for one in waiting], [200, 200])
            self.assertEqual(self.media.sent_digits, [(told, "1", 0.25), (told, "*", 0.16)])
            self.assertEqual((self.alice.infos, self.bob.infos), ([], []))
            call.hang_up()
            self.finish()

    def test_no_events_agreed_on(self) -> None:
        """To a side whose media has no events the INFO crosses as before."""
        call, _ = self.wish(bob=Dtmf.RTP)
        self.media.wants_events = False
        waiting = self.info(call)
        self.assertEqual(self.told(self.bob), [DIGIT])
        self.assertEqual((self.status(waiting), self.media.taken_events), (200, set()))
        call.hang_up()
        self.finish()

    def test_events_pass(self) -> None:
        """Events of a phone that sends no INFO stay in its media, and are not sent again."""
        call, _ = self.wish(bob=Dtmf.RTP)
        self.press("a", "1", "2")
        self.assertEqual((self.media.taken_events, self.media.sent_digits, self.told(self.bob)), (set(), [], []))
        call.hang_up()
        self.finish()

    def test_phone_that_sends_both(self) -> None:
        """A digit that comes both ways is one event, in either order, from the first one on."""
        call, _ = self.wish(bob=Dtmf.RTP)
        self.press("a", "5")  # it is in the media
        self.assertEqual(self.status_of(call), 200)
        self.assertEqual(self.media.sent_digits, [])
        self.assertEqual(self.status_of(call), 200)  # now INFO comes first
        self.press("a", "5")
        self.assertEqual(([digit for _, digit, _ in self.media.sent_digits], self.media.taken_events), (["5"], {"a"}))
        self.press("a", "6")  # and is sent from here, since it is taken out
        self.assertEqual([digit for _, digit, _ in self.media.sent_digits], ["5", "6"])
        call.hang_up()
        self.finish()

    def status_of(self, call: PeerCall) -> int:
        """Say 5, and give the answer's status."""
        waiting = self.info(call)
        self.clock.advance(0.2)
        return self.status(waiting)


class PassTests(DigitCase):
    """Who wants nothing of the kind."""

    def test_untouched(self) -> None:
        """By default nobody listens, nothing is taken out, and INFO crosses."""
        call, _ = self.established()
        self.assertEqual((self.media.on_digit, self.media.taken_events), (None, set()))
        self.info(call)
        self.assertEqual(self.told(self.bob), [DIGIT])
        call.hang_up()
        self.finish()


class TransferTests(DigitCase):
    """What becomes of it when other parties talk."""

    def transfer(self, end: PeerCall) -> None:
        """Let Carol take the place of one end."""
        self.carol.auto_answer(after=1.0)
        end.request("REFER", headers=(("Refer-To", "<sip:carol@example.com>"),))
        self.clock.advance(4.0)
        self.assertTrue(self.carol.calls[-1].is_answered)

    def test_to_somebody_who_wants_nothing(self) -> None:
        """Events pass again to who wants them as they come."""
        call, answered = self.wish(bob=Dtmf.INFO)
        self.assertEqual(self.media.taken_events, {"a"})
        self.transfer(answered)
        self.assertEqual((self.media.on_digit, self.media.taken_events), (None, set()))
        call.hang_up()
        self.finish()

    def test_to_somebody_who_wants_info(self) -> None:
        """Who comes in is told digits as it wants them, by whoever it talks with."""
        call, answered = self.wish(carol=Dtmf.INFO)
        self.assertIsNone(self.media.on_digit)
        self.transfer(answered)
        self.assertEqual(self.media.taken_events, {"a"})
        self.press("a", "3")
        self.assertEqual([body for body in self.told(self.carol) if body.startswith(b"Signal")], [
            b"Signal=3\r\nDuration=160\r\n"
        ])  # fmt: skip
        call.hang_up()
        self.finish()

    def test_of_the_caller(self) -> None:
        """Who stays is told digits as before, now those of the one that has come in."""
        call, answered = self.wish(bob=Dtmf.INFO)
        self.transfer(call)
        self.assertEqual(self.media.taken_events, {"b2"})
        self.press("b2", "4")
        self.press("a", "4")
        self.assertEqual(self.told(self.bob), [b"Signal=4\r\nDuration=160\r\n"])
        answered.hang_up()
        self.finish()


class ReadingTests(SynchronousTestCase):
    """What INFO says."""

    def read(self, body: bytes, kind: str = "application/dtmf-relay", method: str = "INFO") -> tuple[str, float] | None:
        """Read a body."""
        return read_digit(Request(method, "sip:bob@example.com", Headers([("Content-Type", kind)]), body))

    def test_ways_to_say_it(self) -> None:
        """White space, case, line ends, numbers of events and missing durations are understood."""
        for body, digit, duration in (
            (b"Signal=5\r\nDuration=160\r\n", "5", 0.16),
            (b"Signal= a \nDuration= 100", "A", 0.1),
            (b"duration=60000\r\nsignal=11\r\n", "#", 5.0),
            (b"Signal=10", "*", 0.16),
            (b"Signal=15", "D", 0.16),
        ):
            self.assertEqual(self.read(body), (digit, duration))
        self.assertEqual(self.read(b"#\r\n", "application/dtmf"), ("#", 0.16))
        self.assertEqual(self.read(b"Signal=9\r\n", "application/dtmf"), ("9", 0.16))

    def test_something_else(self) -> None:
        """What is no digit, or not certainly, is none."""
        for body, kind in (
            (b"", "application/dtmf-relay"),
            (b"Signal=hf\r\n", "application/dtmf-relay"),
            (b"Signal=16\r\n", "application/dtmf-relay"),
            (b"Signal=5" + b" " * 300, "application/dtmf-relay"),
            (b"5", "application/dtmf-relay"),
            (b"55", "application/dtmf"),
            (b"\xff", "application/dtmf"),
            (b"Signal=5", "text/plain"),
        ):
            self.assertIsNone(self.read(body, kind), body)
        self.assertIsNone(self.read(DIGIT, method="MESSAGE"))
