"""Tests of what an engine does each second: floods, keep-alives, changes of the source; and of asymmetric parties."""

from __future__ import annotations

import struct
from collections import Counter
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from sipd.media.engine import EngineSettings
from sipd.media.reactor import ReactorEngine
from sipd.media.ticker import Ticker
from sipd.policies import CryptoPolicy, MediaPolicy
from tests.media import test_session_crypto
from tests.media.support import Party, PumpedReactor, describe, place_of, rtcp_of
from tests.media.test_datagrams import RTCP, RTP, CallTestCase


def _rtp(sequence: int, ssrc: int) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, ssrc) + bytes(160)


class Looked:
    """Something that is looked after."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def tick(self, now: float) -> None:
        """See `Ticked`."""
        self.times.append(now)


class TickerTests(SynchronousTestCase):
    """The timer of an engine."""

    def setUp(self) -> None:
        self.reactor = PumpedReactor()
        self.ticker = Ticker(self.reactor)

    def test_only_while_there_is_something(self) -> None:
        """One timer for all, from the first to the last; each is looked after every second, from when it came."""
        one, other = Looked(), Looked()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.ticker.add(one)
        self.reactor.advance(0.5)
        self.ticker.add(other)
        self.assertEqual((len(self.reactor.getDelayedCalls()), len(self.ticker)), (1, 2))
        self.reactor.pump([0.5] * 3)
        self.assertEqual((one.times, other.times), ([1.0, 2.0], [1.5]))
        self.ticker.remove(one)
        self.ticker.remove(one)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.ticker.remove(other)
        self.assertEqual((self.reactor.getDelayedCalls(), len(self.ticker)), ([], 0))
        self.ticker.add(one)
        self.reactor.advance(1.0)
        self.assertEqual(one.times, [1.0, 2.0, 3.0])
        self.ticker.remove(one)

    def test_many_are_spread(self) -> None:
        """Of a thousand that come at once none waits longer than a second, nor are many looked after at once."""
        looked = [Looked() for _ in range(1000)]
        for one in looked:
            self.ticker.add(one)
        self.reactor.pump([1 / 64] * 64 * 4)
        together = Counter(seconds for one in looked for seconds in one.times)
        self.assertLessEqual(max(together.values()), 1000 // 50 + 2 * 2)
        self.assertEqual({len(one.times) for one in looked}, {4})
        self.assertLess(max(one.times[0] for one in looked), 1.03)
        gaps = [after - before for one in looked for before, after in pairwise(one.times)]
        self.assertTrue(0.97 < min(gaps) <= max(gaps) < 1.05, (min(gaps), max(gaps)))
        for one in looked:
            self.ticker.remove(one)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_after_a_stall(self) -> None:
        """However long nothing could be done, each is looked after once then, and a second later again."""
        one = Looked()
        self.ticker.add(one)
        self.reactor.advance(5.25)
        self.reactor.pump([0.25] * 4)
        self.assertEqual(one.times, [5.25, 6.25])
        self.ticker.remove(one)

    def test_removed_by_one_before(self) -> None:
        """One that another one removes is not looked after any more; the last one may remove itself."""
        one, other = Looked(), Looked()

        def remove(now: float) -> None:
            self.ticker.remove(other)
            self.ticker.remove(one)

        one.tick = remove  # type: ignore[method-assign]
        self.ticker.add(one)
        self.ticker.add(other)
        self.reactor.advance(1.0)
        self.assertEqual((other.times, self.reactor.getDelayedCalls()), ([], []))

    def test_survives_bugs(self) -> None:
        """One that raises is logged; the others are looked after, and it is, too, the next time."""
        one, other = Looked(), Looked()

        def fail(now: float) -> None:
            raise ZeroDivisionError

        one.tick = fail  # type: ignore[method-assign]
        self.ticker.add(one)
        self.ticker.add(other)
        self.reactor.pump([1.0, 1.0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(other.times, [1.0, 2.0])
        self.ticker.remove(one)
        self.ticker.remove(other)


class FloodTests(CallTestCase):
    """More datagrams than a socket takes in a second."""

    engine_settings = EngineSettings(flood_limit=20, rtcp_flood_limit=5, keepalive=0)

    def flood(self, party: Party, to: tuple[str, int], count: int = 50) -> None:
        """Send that many at once."""
        for _ in range(count):
            party.send_unseen(b"flood", to)
        self.reactor.read_all()

    def wait(self) -> None:
        """Let time go by until nothing waits any more."""
        for _ in range(10):
            self.reactor.advance(1.0)
            self.bob.received()

    def check_other_call(self) -> None:
        """Set another call up, and check that media flows there."""
        first, alice, bob = self.session, self.party(), self.party()
        self.session = self.open_session()
        offered = self.offer("a", "b1", describe(("audio", alice.port)))
        answered = self.answer("b1", "a", describe(("audio", bob.port)))
        for number in range(10):
            alice.send(b"%d" % number, place_of(answered))
            bob.expect(b"%d" % number)
            bob.send(b"%d" % number, place_of(offered))
            alice.expect(b"%d" % number)
        self.session.close()
        self.session = first

    def test_bound(self) -> None:
        """A second's worth is relayed each second, before and after the source is settled, and it is said once."""
        for _ in range(2):
            self.flood(self.alice, self.to_bob)
            self.assertEqual(len(self.bob.received()), 20)
            for _ in range(3):
                self.check_other_call()
                self.bob.send(b"back", self.to_alice)
                self.alice.expect(b"back")
                self.reactor.advance(1.0)
                self.flood(self.alice, self.to_bob)
                self.assertEqual(len(self.bob.received()), 20)
            self.wait()
            self.settle()
            self.wait()
        source = f"127.0.0.1:{self.alice.port}"
        expected = f"a/0 RTP gets more than 20 datagrams a second, the last one from {source}: the others are not read"
        self.assertEqual(self.kinds("flood"), [expected])

    def test_exactly_the_limit(self) -> None:
        """As many as are allowed are no flood, second after second."""
        for _ in range(5):
            self.flood(self.alice, self.to_bob, 20)
            self.assertEqual(len(self.bob.received()), 20)
            self.reactor.advance(1.0)
        self.assertEqual(self.kinds("flood"), [])

    def test_goes_on_when_it_is_over(self) -> None:
        """What waits is read as time goes by, and then everything is as before."""
        self.flood(self.alice, self.to_bob)
        heard = []
        for _ in range(4):
            heard.append(len(self.bob.received()))
            self.reactor.advance(1.0)
        # One was read only to see where it comes from.
        self.assertEqual(heard, [20, 20, 9, 0])
        self.check_flows()
        self.assertEqual(self.dropped(), {"a": 1, "b1": 0})

    def test_foreign_source(self) -> None:
        """Datagrams of somebody who is not believed count as well; the party is heard again afterwards."""
        self.check_flows()
        foreign = self.party()
        self.flood(foreign, self.to_bob)
        self.assertEqual(self.bob.received(), [])
        self.assertEqual(self.dropped()["a"], 20)
        self.assertEqual(len(self.kinds("flood")), 1)
        self.assertIn(f"127.0.0.1:{foreign.port}", self.kinds("flood")[0])
        self.check_other_call()
        self.wait()
        self.check_flows()

    def test_settled_stream_has_no_foreign_flood(self) -> None:
        """What a foreign source sends to a settled stream is no concern of ours, however much it is."""
        self.settle()
        self.flood(self.party(), self.to_bob, 500)
        self.check_flows()
        self.assertEqual(self.kinds("flood"), [])

    def test_nobody_connected(self) -> None:
        """A stream whose other leg has ended is bounded as well."""
        self.settle()
        self.session.leg_ended("b1")
        self.reactor.settle()
        self.reactor.advance(1.0)
        self.flood(self.alice, self.to_bob)
        self.assertEqual(len(self.kinds("flood")), 1)
        self.assertEqual(self.dropped()["a"], 21)

    def test_rtcp(self) -> None:
        """RTCP has its own limit; RTP goes on."""
        reports = self.party()
        self.flood(reports, rtcp_of(self.answered))
        self.check_flows()
        self.assertEqual(self.statistics()[0].rtcp_packets, 5)
        expected = f"a/0 RTCP gets more than 5 datagrams a second, the last one from 127.0.0.1:{reports.port}"
        self.assertEqual(self.kinds("flood"), [f"{expected}: the others are not read"])

    def test_errors(self) -> None:
        """A party that answers each datagram with ICMP cannot make the socket busy with that for ever."""
        self.settle()
        self.bob.close()
        for _ in range(10):
            self.reactor.advance(1.0)
            for _ in range(19):
                self.alice.send(RTP, self.to_bob)
        bob = self.statistics()[1]
        self.assertLessEqual(bob.unreachable, 10 * 20)
        self.assertGreater(bob.unreachable, 0)

    def test_closed_meanwhile(self) -> None:
        """A call whose socket is not read at the moment ends like any other, whatever comes after it."""
        for party, to in ((self.alice, self.to_bob), (self.bob, self.to_alice)):
            self.flood(party, to)
        self.session.close()
        self.reactor.settle()
        self.check_other_call()

    def test_engine_taken_over(self) -> None:
        """A session whose socket is not read moves to another engine, where it is."""
        self.flood(self.alice, self.to_bob)
        self.bob.received()
        self.session.move(ReactorEngine(self.reactor, pause=0, settings=self.engine_settings))
        self.assertEqual(len(self.bob.received()), 20)


class KeepaliveTests(CallTestCase):
    """Empty datagrams on paths where nothing else is sent (RFC 6263)."""

    def seconds(self, count: int) -> None:
        """Let time go by."""
        for _ in range(count):
            self.reactor.advance(1.0)
            self.reactor.read_all()

    def test_idle(self) -> None:
        """A leg that is sent nothing gets one after 15 s, and again; where it said, later where it comes from."""
        for _ in range(3):
            self.seconds(15)
            self.assertEqual((self.alice.received(), self.bob.received()), ([b""], [b""]))
        self.settle()
        self.seconds(14)
        self.assertEqual((self.alice.received(), self.bob.received()), ([], []))
        self.seconds(2)
        self.assertEqual((self.alice.received(), self.bob.received()), ([b""], [b""]))
        self.assertEqual([entry.packets for entry in self.statistics()], [3, 3])

    def test_one_side_talks(self) -> None:
        """Who is talked to gets none, only who hears nothing."""
        self.seconds(1)
        for _ in range(12):
            self.alice.send(RTP, self.to_bob)
            self.bob.expect(RTP)
            self.seconds(5)
        self.assertEqual((set(self.alice.received()), self.bob.received()), ({b""}, []))

    def test_not_passed_on(self) -> None:
        """One that a party sends goes no further and is no media, but tells where the party is."""
        self.connect(self.alice.port, self.bob.port, address="192.0.2.1")
        for _ in range(2):
            self.alice.send(b"", self.to_bob)
            self.assertEqual(self.bob.received(), [])
            self.bob.send(RTP, self.to_alice)
            self.alice.expect(RTP)
        self.settle()
        self.alice.send(b"", self.to_bob)
        self.assertEqual(self.bob.received(), [])
        self.alice.send(b"", rtcp_of(self.answered))
        alice = self.statistics()[0]
        self.assertEqual((alice.packets, alice.rtcp_packets, alice.source), (3, 0, f"127.0.0.1:{self.alice.port}"))

    def test_not_connected(self) -> None:
        """A leg whose other side has ended is sent nothing."""
        self.settle()
        self.session.leg_ended("b1")
        self.reactor.settle()
        self.seconds(40)
        self.assertEqual(self.alice.received(), [])

    def test_nobody_knows_where(self) -> None:
        """A leg on hold by address is sent nothing before it is heard."""
        self.connect(self.alice.port, self.bob.port, address="0.0.0.0")
        self.seconds(20)
        self.assertEqual((self.alice.received(), self.bob.received()), ([], [b""]))

    def test_gone(self) -> None:
        """A party that does not listen any more disturbs nothing."""
        self.settle()
        self.bob.close()
        self.seconds(70)
        self.alice.received()
        self.bob = self.party(port=self.bob.port)
        self.seconds(1)
        self.check_flows()

    def test_other_media(self) -> None:
        """Of what is not RTP nobody knows what an empty datagram means: it is passed on, and none is made up."""
        self.offered = self.offer("a", "b1", describe(f"m=image {self.alice.port} udptl t38"))
        self.answered = self.answer("b1", "a", describe(f"m=image {self.bob.port} udptl t38"))
        self.seconds(60)
        self.assertEqual((self.alice.received(), self.bob.received()), ([], []))
        self.alice.send(b"", self.to_bob)
        self.bob.expect(b"")


class ReportsTests(KeepaliveTests):
    """The same for RTCP, of which one leg multiplexes it."""

    alice_says: tuple[str, ...] = ("a=rtcp-mux",)

    def setUp(self) -> None:
        """Give the party that does not multiplex a socket for RTCP."""
        super().setUp()
        self.reports = self.party()
        self.bob_says = (f"a=rtcp:{self.reports.port}",)
        self.connect(self.alice.port, self.bob.port)

    def test_rtcp(self) -> None:
        """The port of RTCP gets its own if there is one; reports that are sent there stand in for it."""
        self.seconds(15)
        self.assertEqual((self.alice.received(), self.reports.received()), ([b""], [b""]))
        for _ in range(6):
            self.alice.send(RTCP, self.to_bob)
            self.reports.expect(RTCP)
            self.seconds(10)
        self.assertEqual(self.reports.received(), [])
        self.assertEqual(set(self.bob.received()), {b""})

    def test_reports_keep_the_shared_port_alive(self) -> None:
        """Where RTP and RTCP share a port either keeps it alive."""
        self.seconds(1)
        for _ in range(6):
            self.reports.send(RTCP, rtcp_of(self.offered))
            self.alice.expect(RTCP)
            self.seconds(10)
        self.assertEqual(self.alice.received(), [])


class SecuredTests(test_session_crypto.CryptoTestCase):
    """Keep-alives where packets are treated on the way."""

    LINE = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"

    def test_only_what_goes_out_counts(self) -> None:
        """Packets that are decrypted and heard keep the path alive, those that cannot be decrypted do not."""
        self.session.set_policy("a", MediaPolicy(crypto=CryptoPolicy.REQUIRED))
        self.session.set_policy("b1", MediaPolicy(crypto=CryptoPolicy.OFF))
        self.offer("a", "b1", self.secure(self.alice, self.LINE))
        answered = self.answer("b1", "a", self.plain(self.bob))
        crypter = test_session_crypto.Crypter(self.LINE, answered)
        to_bob = place_of(answered)
        self.reactor.advance(1.0)
        for second in range(32):
            self.alice.send(crypter.encrypt(_rtp(second, 7)), to_bob)
            self.bob.expect(_rtp(second, 7))
            self.reactor.advance(1.0)
        self.assertEqual(len(self.alice.received()), 2)
        for second in range(33):
            self.alice.send(_rtp(second, 7), to_bob)
            self.reactor.advance(1.0)
        self.assertEqual(self.bob.received(), [b"", b""])


class NoKeepaliveTests(CallTestCase):
    """Keep-alives that are turned off."""

    engine_settings = EngineSettings(keepalive=0)

    def test_off(self) -> None:
        """Nothing is sent that no party sent."""
        for _ in range(120):
            self.reactor.advance(1.0)
        self.assertEqual((self.alice.received(), self.bob.received()), ([], []))


class AsymmetricTests(CallTestCase):
    """A leg whose media comes from elsewhere than it wants it."""

    def setUp(self) -> None:
        """Give Alice an ear, which she signals, and a mouth, which nobody knows of."""
        super().setUp()
        self.session.close()
        self.reactor.settle()
        self.session = self.open_session()
        self.session.set_policy("a", MediaPolicy(is_asymmetric=True))
        self.ear, self.mouth, self.foreign = self.alice, self.party(), self.party()
        self.connect(self.ear.port, self.bob.port)

    def check_heard(self) -> None:
        """Check that Bob hears the mouth, and the ear Bob."""
        self.mouth.send(RTP, self.to_bob)
        self.bob.expect(RTP, source=self.to_alice)
        self.bob.send(RTP, self.to_alice)
        self.ear.expect(RTP, source=self.to_bob)

    def test_sent_where_signalled(self) -> None:
        """Whatever comes from elsewhere, and however long: media goes where the leg said."""
        for _ in range(4):
            self.check_heard()
            self.reactor.advance(3.0)
        self.assertEqual(self.mouth.received(), [])
        alice, bob = self.statistics()
        self.assertEqual((alice.source, alice.packets), (f"127.0.0.1:{self.mouth.port}", 4))
        self.assertEqual(bob.packets, 4)

    def test_believed_as_strictly(self) -> None:
        """Another source is dropped and reported, within the window and after it."""
        for _ in range(3):
            self.check_heard()
            self.foreign.send(RTP, self.to_bob)
            self.assertEqual((self.bob.received(), self.foreign.received()), ([], []))
            self.reactor.advance(5.0)
        self.assertEqual(self.dropped(), {"a": 3, "b1": 0})
        source = f"127.0.0.1:{self.foreign.port}"
        expected = f"a/0 RTP from {source} dropped, expected from 127.0.0.1:{self.mouth.port}"
        self.assertEqual(self.kinds("foreign-source"), [expected])

    def test_new_address(self) -> None:
        """When it says another address, media goes there, and a source is looked for again."""
        self.check_heard()
        self.reactor.advance(6.0)
        self.check_heard()
        self.ear, self.mouth = self.party(), self.party()
        self.connect(self.ear.port, self.bob.port)
        self.check_heard()
        self.reactor.advance(6.0)
        self.check_heard()

    def test_rtcp(self) -> None:
        """RTCP goes where it was signalled, too."""
        reports, mouth, bob = self.party(), self.party(), self.party()
        self.alice_says, self.bob_says = (f"a=rtcp:{reports.port}",), (f"a=rtcp:{bob.port}",)
        self.connect(self.ear.port, self.bob.port)
        for _ in range(3):
            mouth.send(RTCP, rtcp_of(self.answered))
            bob.expect(RTCP)
            bob.send(RTCP, rtcp_of(self.offered))
            reports.expect(RTCP)
            self.reactor.advance(4.0)

    def test_keepalive(self) -> None:
        """Keep-alives go where it said as well."""
        self.check_heard()
        for _ in range(16):
            self.reactor.advance(1.0)
        self.assertEqual((self.ear.received(), self.mouth.received()), ([b""], []))

    def test_other_leg(self) -> None:
        """The other leg is sent to where it comes from, as ever."""
        before, self.bob = self.bob, self.party()
        self.bob.send(RTP, self.to_alice)
        self.ear.expect(RTP)
        self.mouth.send(RTP, self.to_bob)
        self.bob.expect(RTP)
        self.assertEqual(before.received(), [])


class RtpSourceTests(CallTestCase):
    """RTP whose SSRC changes."""

    def talk(self, ssrc: int, first: int = 1) -> None:
        """Send a few packets of a source."""
        for sequence in range(first, first + 4):
            self.alice.send(_rtp(sequence, ssrc), self.to_bob)
        self.bob.received()

    def look(self) -> None:
        """Let the engine look, and tell: the counters of the kernel are looked at less often."""
        for _ in range(5):
            self.reactor.advance(1.0)
            self.reactor.read_all()

    def test_reported(self) -> None:
        """Each change is told once, with the SSRC; the first source is no change."""
        self.talk(100)
        self.look()
        self.assertEqual(self.kinds("ssrc"), [])
        for ssrc in (200, 300):
            self.talk(ssrc)
            self.look()
            self.talk(ssrc, 5)
            self.look()
        texts = ["a/0 RTP has another source now, SSRC 200", "a/0 RTP has another source now, SSRC 300"]
        self.assertEqual(self.kinds("ssrc"), texts)
        self.assertEqual(self.statistics()[0].ssrc_changes, 2)

    def test_several_between_two_looks(self) -> None:
        """Changes that come faster than anybody looks are told together."""
        for ssrc in (100, 200, 300, 400):
            self.talk(ssrc)
        self.look()
        self.assertEqual(self.kinds("ssrc"), ["a/0 RTP has another source now, SSRC 400, the last of 3 changes"])

    def test_bound(self) -> None:
        """However often it changes, it is told eight times; all changes are counted."""
        for ssrc in range(1, 31):
            self.talk(ssrc)
            self.look()
        self.assertEqual(len(self.kinds("ssrc")), 8)
        self.assertEqual(self.statistics()[0].ssrc_changes, 29)

    def test_new_media(self) -> None:
        """What an offer or answer brings is no change."""
        self.talk(100)
        self.look()
        self.alice = self.party()
        self.connect(self.alice.port, self.bob.port)
        self.talk(200)
        self.look()
        self.assertEqual(self.kinds("ssrc"), [])
