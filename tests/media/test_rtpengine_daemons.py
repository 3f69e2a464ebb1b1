"""Tests of `sipd.media.rtpengine`: daemons that are slow, silent, gone or back, and how calls are spread over them."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.errors import ConfigurationError, InvalidStateError, MediaEngineError, ResourcesExhaustedError
from sipd.media.rtpengine.client import ClientReactor, NgClient
from sipd.media.rtpengine.engine import RtpengineRelay
from sipd.media.rtpengine.ng import ping, query
from sipd.media.rtpengine.settings import ClientSettings, DaemonAddress, RtpengineSettings
from sipd.testing.links import Address, Link
from tests.media.fake_rtpengine import DAEMON_PORT, RtpengineTestCase, describe_leg


class LogCase(RtpengineTestCase):
    """Sees what is logged."""

    def setUp(self) -> None:
        """Listen to the log."""
        super().setUp()
        self.logged: list[LogEvent] = []

        @implementer(ILogObserver)
        def listen(event: LogEvent) -> None:
            self.logged.append(event)

        globalLogPublisher.addObserver(listen)
        self.addCleanup(globalLogPublisher.removeObserver, listen)

    def lines(self, format_begins: str) -> int:
        """Count the lines of one kind."""
        return sum(str(event.get("log_format")).startswith(format_begins) for event in self.logged)


class ClientTests(LogCase):
    """Requests to one daemon."""

    client = ClientSettings(pending_limit=3)

    def setUp(self) -> None:
        """Take the client of the only daemon."""
        super().setUp()
        self.ng: NgClient = self.relay.pool.clients[0]
        self.settle()

    def sent(self) -> list[float]:
        """Give when requests that are no pings left, since the last look."""
        sent = [event for event in self.network.log if event.source[0] == self.host.address and event.fate.is_departure]
        times = [event.at for event in sent if b"query" in event.data]
        self.network.log.clear()
        return times

    def lose(self, *, requests: int = 0, answers: int = 0) -> None:
        """Let the next ones be lost."""
        left = {self.host.address: requests, self.daemon_address: answers}

        def meddle(source: Address, destination: Address, data: bytes) -> float | None:
            if left[source[0]] == 0:
                return 0.0
            left[source[0]] -= 1
            return None

        self.network.meddler = meddle

    @property
    def daemon_address(self) -> str:
        """Where the daemon is."""
        return self.ng.address.host

    def test_retransmission(self) -> None:
        """An unanswered request is repeated after 0.25, 0.75 and 1.75 s, and given up after 2 s."""
        self.network.partition([self.host.address])
        self.network.log.clear()
        begin = self.clock.seconds()
        text = self.failure(self.ng.request(query("x")), MediaEngineError)
        self.assertEqual(text, "rtpengine 192.0.2.10:2223 gives no answer within 2 s")
        self.assertEqual([round(time - begin, 3) for time in self.sent()], [0, 0.25, 0.75, 1.75])
        self.assertEqual(self.clock.seconds() - begin, 2.0)
        self.assertEqual(len(self.ng), 0)

    def test_standing_still(self) -> None:
        """A process that stood still reads what has come before it gives up; where nothing has, it does give up."""
        for lost, begin in ((0, 0.0), (3, 1.75)):
            for pause in (0.3, 1.9, 2.5, 60):
                self.lose(requests=lost)
                asking = self.ng.request(ping())
                self.clock.advance(begin + 0.0015)
                coming = [call for call in self.clock.getDelayedCalls() if call.time < self.clock.seconds() + 0.001]
                self.clock.stand_still(pause)
                # A reactor makes calls that are due before it reads.
                for arrival in coming:
                    arrival.reset(0)
                self.result(asking)
        self.network.partition([self.host.address])
        for pause in (0.3, 1.9, 2.5, 60):
            asking = self.ng.request(ping())
            self.clock.stand_still(pause)
            self.failure(asking, MediaEngineError)
            self.assertEqual(len(self.ng), 0)

    def test_lost_request_and_lost_answer(self) -> None:
        """A request of which a copy or an answer is lost is carried out once."""
        for lost in ({"requests": 2}, {"answers": 2}):
            self.daemon.requests.clear()
            self.lose(**lost)
            self.result(self.ng.request(ping()))
            self.assertEqual(len(self.daemon.requests), 1)

    def test_late_and_doubled_answers(self) -> None:
        """An answer that comes again, or when nobody waits any more, is ignored."""
        self.daemon.hook = lambda cookie, request, data: [data, data, data]
        self.result(self.ng.request(ping()))
        self.network.meddler = lambda source, destination, data: 3.0 if source[0] == self.daemon_address else 0.0
        self.failure(self.ng.request(ping()), MediaEngineError)
        self.clock.advance(10)
        self.network.meddler = None
        self.clock.advance(10)
        self.assertEqual(self.logged_rubbish(), 0)

    def logged_rubbish(self) -> int:
        """Count the complaints."""
        return self.lines("rtpengine {peer} sends rubbish")

    def test_rubbish(self) -> None:
        """What is no answer is ignored and logged once; the good answer after it counts."""
        self.daemon.hook = lambda cookie, request, data: [b"", b"\xff\x00", b"c 5", cookie.encode() + b" [1]", data]
        for _ in range(3):
            self.result(self.ng.request(ping()))
        self.assertEqual(self.logged_rubbish(), 1)

    def test_answer_from_elsewhere(self) -> None:
        """Who is not the daemon cannot answer for it, even if it knows the cookie."""
        cookies: list[bytes] = []

        def meddle(source: Address, destination: Address, data: bytes) -> float | None:
            cookies.append(data.partition(b" ")[0])
            return None if b"query" in data else 0.0

        self.network.meddler = meddle
        waiting = self.ng.request(query("x"))
        for address in ((self.daemon_address, 9999), ("192.0.2.66", DAEMON_PORT)):
            self.ng.datagramReceived(cookies[-1] + b' {"result":"ok"}', address)
        self.assertNoResult(waiting)
        self.failure(waiting, MediaEngineError)

    def test_cookies(self) -> None:
        """No two requests have the same cookie."""
        seen: list[str] = []

        def note(cookie: str, request: dict[str, Any], data: bytes) -> list[bytes]:
            seen.append(cookie)
            return [data]

        self.daemon.hook = note
        for _ in range(20):
            self.result(self.ng.request(ping()))
        self.assertEqual(len(set(seen)), 20)

    def test_bound(self) -> None:
        """So many requests may wait, and no more; the text says how many."""
        self.daemon.stop()
        waiting = [self.ng.request(ping()) for _ in range(4)]
        text = str(self.failureResultOf(waiting.pop(), ResourcesExhaustedError).value)
        self.assertEqual(text, "3 requests wait for an answer of rtpengine 192.0.2.10:2223, and no more may")
        for deferred in waiting:
            self.failure(deferred, MediaEngineError)

    def test_cancel(self) -> None:
        """A request that nobody waits for any more is not repeated."""
        self.daemon.stop()
        waiting = self.ng.request(query("x"))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(len(self.ng), 0)
        self.sent()
        self.clock.advance(3)
        self.assertEqual(self.sent(), [])

    def test_too_large(self) -> None:
        """A request that no datagram can carry fails at once."""
        self.failureResultOf(self.ng.request(query("x" * 70_000)), MediaEngineError)
        self.assertEqual(len(self.ng), 0)

    def test_close(self) -> None:
        """When the client is closed what waits fails, and so does everything later."""
        self.daemon.stop()
        waiting = self.ng.request(ping())
        self.successResultOf(self.ng.close())
        self.failureResultOf(waiting, MediaEngineError)
        self.failureResultOf(self.ng.request(ping()), MediaEngineError)
        self.successResultOf(self.ng.close())
        self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class HealthTests(LogCase):
    """Whether a daemon is there."""

    def test_dead_and_alive(self) -> None:
        """After three unanswered pings it counts as dead, after one with an answer as alive; each is logged once."""
        (client,) = self.relay.pool.clients
        self.clock.advance(20.1)
        self.assertTrue(client.is_alive)
        self.daemon.stop()
        self.clock.advance(19)
        self.assertTrue(client.is_alive)
        self.clock.advance(1)
        self.assertFalse(client.is_alive)
        self.clock.advance(60)
        text = self.failure(self.session.offer("a", "b1", describe_leg("a")), ResourcesExhaustedError)
        self.assertEqual(text, "no rtpengine daemon takes this call: 192.0.2.10:2223 does not answer")
        self.daemon.start()
        self.clock.advance(5.1)
        self.assertTrue(client.is_alive)
        self.connect()
        self.assertEqual(self.lines("rtpengine {peer} counts as dead"), 1)
        self.assertEqual(self.lines("rtpengine {peer} is alive again"), 1)

    def test_a_lost_ping_is_no_death(self) -> None:
        """Two misses in a row are forgotten with the next answer."""
        (client,) = self.relay.pool.clients
        for _ in range(5):
            self.daemon.stop()
            self.clock.advance(10)
            self.daemon.start()
            self.clock.advance(5.1)
            self.assertTrue(client.is_alive)


class PoolTests(RtpengineTestCase):
    """Several daemons."""

    weights = (1, 3, 0)

    def spread(self, number: int) -> Counter[int]:
        """Begin calls; count them by the number of the daemon."""
        for _ in range(number):
            session = self.open_session()
            self.result(session.offer("a", "b1", describe_leg("a")))
        return Counter({index: len(daemon.calls) for index, daemon in enumerate(self.daemons)})

    def test_weights(self) -> None:
        """Daemons get calls by their weights, and with weight 0 none."""
        spread = self.spread(400)
        self.assertEqual(spread[2], 0)
        self.assertTrue(75 < spread[0] < 125, spread)

    def test_pinned(self) -> None:
        """A call stays with its daemon."""
        sessions = [self.open_session() for _ in range(20)]
        for session in sessions:
            for leg in ("b1", "b2"):
                self.result(session.offer("a", leg, describe_leg("a")))
            self.result(session.answer("b2", "a", describe_leg("b2")))
        for daemon in self.daemons:
            self.assertEqual(daemon.commands().count("offer"), 2 * len(daemon.calls))
            self.assertTrue(all(set(call.parties) == {"a", "b1", "b2"} for call in daemon.calls.values()))

    def test_dead_daemons_get_no_calls(self) -> None:
        """New calls go to those that are alive."""
        self.daemons[1].stop()
        self.clock.advance(20)
        self.assertEqual(self.spread(10), Counter({0: 10, 1: 0, 2: 0}))
        self.assertEqual({kind for kind, _ in self.events}, {"media-engine"})

    def test_fail_over(self) -> None:
        """A first offer that is not answered, or refused, goes to another daemon, and the call is told why."""
        self.daemons[1].stop()
        self.daemons[0].refusal = "too many sessions"
        text = self.failure(self.session.offer("a", "b1", describe_leg("a")), ResourcesExhaustedError)
        for part in ("10:2223 has failed it", "11:2223 has failed it", "12:2223 is to take no new calls"):
            self.assertIn(part, text)
        self.daemons[0].refusal = ""
        self.clock.advance(3)
        self.events.clear()
        self.connect()
        self.assertEqual(self.events[-1][1], "rtpengine 192.0.2.10:2223 relays the media of this call")

    def test_fail_over_at_once(self) -> None:
        """While a daemon that died a moment ago is not known to be dead each new call finds the other one."""
        self.daemons[1].stop()
        for _ in range(8):
            self.result(self.open_session().offer("a", "b1", describe_leg("a")))
        self.assertEqual(len(self.daemons[0].calls), 8)
        texts = [text for _, text in self.events if "goes elsewhere" in text]
        self.assertEqual(texts, ["rtpengine 192.0.2.11:2223 gives no answer within 2 s: the call goes elsewhere"])

    def test_answer_that_was_lost(self) -> None:
        """A daemon whose answer to the first offer does not come is told to forget the call."""
        silent = self.daemons[1]
        silent.hook = lambda cookie, request, data: [] if b"sdp" in data else [data]
        for _ in range(4):
            self.result(self.open_session().offer("a", "b1", describe_leg("a")))
        self.clock.advance(3)
        self.assertEqual(silent.commands().count("offer"), silent.commands().count("delete"))
        self.assertEqual((silent.calls, len(self.daemons[0].calls)), ({}, 4))

    def test_rubbish_as_first_answer(self) -> None:
        """A daemon that takes the first offer but gives no description does not get the call."""
        self.daemons[1].hook = lambda cookie, request, data: [f'{cookie} {{"result":"ok"}}'.encode()]
        for _ in range(4):
            self.result(self.open_session().offer("a", "b1", describe_leg("a")))
        self.assertEqual(len(self.daemons[0].calls), 4)
        self.daemons[1].calls.clear()

    def test_close_while_looking_for_a_daemon(self) -> None:
        """A session that is closed meanwhile tries no further daemon."""
        for daemon in self.daemons:
            daemon.stop()
        offering = self.session.offer("a", "b1", describe_leg("a"))
        closing = self.session.close()
        self.assertEqual(self.result(closing), [])
        self.failureResultOf(offering, InvalidStateError)


class LostDaemonTests(RtpengineTestCase):
    """The daemon of a call dies."""

    def test_after_the_offer(self) -> None:
        """Offers and answers fail in time, and the end gives the counters that are known."""
        self.connect()
        self.call.parties["a"].medias[0].packets = 3
        self.result(self.session.ask_statistics())
        self.daemon.stop()
        self.failure(self.session.answer("b1", "a", describe_leg("b1")), MediaEngineError)
        self.failure(self.session.offer("b1", "a", describe_leg("b1")), MediaEngineError)
        self.failure(self.session.ask_statistics(), MediaEngineError)
        begin = self.clock.seconds()
        statistics = self.result(self.session.close())
        self.assertEqual([(entry.leg, entry.packets) for entry in statistics if entry.packets], [("a", 3)])
        self.assertLessEqual(self.clock.seconds() - begin, 4.0)
        self.assertIn("may not be as agreed on", self.events[-1][1])

    def test_started_again(self) -> None:
        """A daemon that has forgotten the call takes the next offer of it as a new call."""
        self.connect()
        self.daemon.stop()
        self.daemon.start()
        self.failure(self.session.answer("b1", "a", describe_leg("b1")), MediaEngineError)
        self.connect()
        self.assertEqual(self.call.parties["a"].peer, "b1")

    def test_leg_ended(self) -> None:
        """What cannot be freed is said once, and the call goes on."""
        self.connect()
        self.offer("a", "b2", describe_leg("a"))
        self.daemon.stop()
        self.session.leg_ended("b2")
        self.clock.advance(3)
        self.assertIn("b2 keeps its ports until the end of the call", self.events[-1][1])


class LossTests(RtpengineTestCase):
    """A network that loses, doubles and reorders."""

    client = ClientSettings(time_limit=30.0)

    def test_calls(self) -> None:
        """Calls over a bad network come to the same as over a good one."""
        link = Link(delay=0.01, jitter=0.05, loss=0.3, duplication=0.3, reordering=0.3)
        self.network.set_links(self.host.address, "192.0.2.10", link)
        for _ in range(20):
            self.session = self.open_session()
            for leg in ("b1", "b2", "b3"):
                self.offer("a", leg, describe_leg("a"))
            self.answer("b1", "a", describe_leg("b1"))
            self.answer("b2", "a", describe_leg("b2"))
            self.session.leg_ended("b1")
            self.offer("b2", "a", describe_leg("b2"))
            self.session.offer_rejected("b2", "a")
            self.result(self.session.ask_statistics())
            call = self.call
            self.assertEqual((call.parties["a"].peer, call.parties["b2"].peer), ("b2", "a"))
            self.assertEqual(call.ports("b1"), [])
            self.result(self.session.close())
            self.assertEqual(self.daemon.calls, {})


class SettingsTests(SynchronousTestCase):
    """Mistakes in the configuration."""

    def problems(self, *daemons: DaemonAddress, **client: Any) -> list[str]:
        """Give what is wrong."""
        settings = RtpengineSettings(daemons=daemons, client=ClientSettings(**client))
        reactor = cast(ClientReactor, Clock())
        error = self.assertRaises(
            ConfigurationError, RtpengineRelay, reactor=reactor, settings=settings, entropy=lambda size: bytes(size)
        )
        assert isinstance(error, ConfigurationError)
        return error.problems

    def test_problems(self) -> None:
        """Each mistake has a line."""
        good = DaemonAddress(host="127.0.0.1")
        self.assertEqual(self.problems(), ["rtpengine: there must be a daemon"])
        self.assertEqual(self.problems(good, good), ["rtpengine: each daemon may be named once"])
        bad = DaemonAddress(host="media.example", port=0, weight=-1)
        self.assertEqual(
            self.problems(good, bad, time_limit=0, ping_misses=0),
            [
                "rtpengine media.example:0: the host must be a numeric address",
                "rtpengine media.example:0: the port must be 1 to 65535",
                "rtpengine media.example:0: the weight must be 0 to 1000000",
                "rtpengine: time_limit must be positive",
                "rtpengine: ping_misses must be positive",
            ],
        )
        self.assertEqual(str(DaemonAddress(host="2001:db8::1")), "[2001:db8::1]:2223")
        same = DaemonAddress(host="2001:DB8:0::1"), DaemonAddress(host="2001:db8::1")
        self.assertEqual(self.problems(*same), ["rtpengine: each daemon may be named once"])
