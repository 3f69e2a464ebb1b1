"""Who hears whom, and whose media is missing: sessions that are looked after."""

from __future__ import annotations

import struct

from sipd.media.inactivity import Action, InactivityLimits, Limit
from sipd.media.monitor import Monitor, MonitorSettings
from tests.media import test_worker
from tests.media.support import Party, RelayTestCase, describe, place_of

_SETTINGS = MonitorSettings(
    limits=InactivityLimits(
        no_media=Limit(seconds=30.0, action=Action.LOG),
        media_loss=Limit(seconds=60.0, action=Action.END),
        hold=Limit(seconds=600.0, action=Action.LOG),
    )
)


def _rtp(sequence: int, payload_type: int = 0) -> bytes:
    return struct.pack("!BBHII", 0x80, payload_type, sequence, 160 * sequence, 7) + bytes(160)


class MonitorTestCase(RelayTestCase):
    """A call between Alice and Bob that is answered."""

    def make_monitor(self) -> Monitor:
        """See `RelayTestCase`."""
        return Monitor(self.reactor, _SETTINGS)

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.party(), self.party()
        self.sequence = 0
        self.connect()
        self.session.established()

    def connect(self, alice_says: str = "a=sendrecv", bob_says: str = "a=sendrecv") -> None:
        """Negotiate."""
        offered = self.offer("a", "b1", describe(("audio", self.alice.port), extra=(alice_says,)))
        answered = self.answer("b1", "a", describe(("audio", self.bob.port), extra=(bob_says,)))
        self.to_bob, self.to_alice = place_of(answered), place_of(offered)

    def pass_time(self, seconds: int, *, alice: bool = False, bob: bool = False, payload_type: int = 0) -> None:
        """Let seconds pass in which these talk."""
        for _ in range(seconds):
            self.sequence += 1
            if alice:
                self.alice.send(_rtp(self.sequence, payload_type), self.to_bob)
            if bob:
                self.bob.send(_rtp(self.sequence, payload_type), self.to_alice)
            self.reactor.advance(1.0)
            self.reactor.read_all()

    def verdicts(self) -> list[str]:
        """Give the causes that were told, in order."""
        return [text.partition(":")[0] for text in self.kinds("media-verdict")]


class VerdictTests(MonitorTestCase):
    """Why somebody hears nothing, within five seconds of the answer."""

    def test_both_talk(self) -> None:
        """Media flows both ways: it is said once."""
        self.pass_time(60, alice=True, bob=True)
        self.assertEqual(self.verdicts(), ["ok"])

    def test_in_time(self) -> None:
        """Five seconds after the answer there is a verdict, not before anybody could have talked."""
        self.pass_time(3)
        self.assertEqual(self.verdicts(), [])
        self.pass_time(2)
        self.assertEqual(self.verdicts(), ["no-media"])

    def test_one_talks(self) -> None:
        """Who sends nothing is named; when that begins, it is well."""
        self.pass_time(5, alice=True)
        self.assertEqual(self.verdicts(), ["nothing-from"])
        self.assertIn("nothing came from b1", self.kinds("media-verdict")[0])
        self.pass_time(30, alice=True, bob=True)
        self.assertEqual(self.verdicts(), ["nothing-from", "ok"])

    def test_foreign_source(self) -> None:
        """Media that comes from where it is not believed is named with its address."""
        session, self.session = self.session, self.open_session()
        foreign = self.party()
        offered = self.offer("a", "b1", describe(("audio", self.alice.port)))
        self.answer("b1", "a", describe(("audio", 9), address="192.0.2.1"))
        self.reactor.advance(6.0)
        self.session.established()
        for _ in range(5):
            foreign.send(_rtp(1), place_of(offered))
            self.reactor.advance(1.0)
        self.reactor.read_all()
        self.assertEqual(self.verdicts()[-1], "foreign-source")
        self.assertIn(f"{foreign.host}:{foreign.port}", self.kinds("media-verdict")[-1])
        self.session.close()
        self.session = session

    def test_payload_type(self) -> None:
        """Media that nobody agreed on is named with its payload type."""
        self.pass_time(5, alice=True, bob=True, payload_type=96)
        self.assertEqual(self.verdicts(), ["payload-type"])
        self.assertIn("96", self.kinds("media-verdict")[0])

    def test_on_hold(self) -> None:
        """A call that is on hold from the beginning is no call in which something is wrong."""
        self.connect("a=inactive", "a=inactive")
        self.pass_time(6)
        self.assertEqual(self.verdicts(), ["on-hold"])


class InactivityTests(MonitorTestCase):
    """Media that is missing for too long."""

    def test_loss(self) -> None:
        """A leg that falls silent ends the call, if that is wanted."""
        self.pass_time(20, alice=True, bob=True)
        self.pass_time(55, alice=True)
        self.assertEqual(self.kinds("media-lost"), [])
        self.pass_time(30, alice=True)
        self.assertEqual(len(self.kinds("media-lost")), 1)
        self.assertIn("leg b1 sends no media any more", self.kinds("media-lost")[0])

    def test_no_media(self) -> None:
        """A leg that never sends anything is told of, once."""
        self.pass_time(90, alice=True)
        self.assertEqual(len(self.kinds("media-missing")), 1)
        self.assertIn("leg b1 has sent no media since the answer", self.kinds("media-missing")[0])

    def test_hold(self) -> None:
        """On hold a long silence is no loss; what counts is the direction when time is up."""
        self.pass_time(20, alice=True, bob=True)
        self.pass_time(30, alice=True)
        self.connect("a=sendonly", "a=recvonly")
        self.pass_time(400, alice=True)
        self.assertEqual((self.kinds("media-lost"), self.kinds("media-missing")), ([], []))
        self.pass_time(300)
        self.assertEqual(len(self.kinds("media-missing")), 1)
        self.assertIn("leg b1 is on hold and gives no sign of life", self.kinds("media-missing")[0])

    def test_resumed(self) -> None:
        """After a hold the time begins anew."""
        self.pass_time(20, alice=True, bob=True)
        self.connect("a=inactive", "a=inactive")
        self.pass_time(200)
        self.connect()
        self.pass_time(40)
        self.assertEqual(self.kinds("media-lost"), [])
        self.pass_time(40)
        self.assertEqual(len(self.kinds("media-lost")), 2)


class StatisticsTests(MonitorTestCase):
    """What the record of a call says of its media."""

    def test_quality(self) -> None:
        """Loss, order and doubles are counted, and an opinion is estimated."""
        for sequence in (1, 2, 3, 5, 4, 4, 8):
            self.alice.send(_rtp(sequence), self.to_bob)
            self.reactor.advance(0.02)
        [alice] = [entry for entry in self.statistics() if entry.leg == "a"]
        counted = (alice.packets, alice.lost, alice.late, alice.duplicates, alice.ssrc, alice.payload_type)
        self.assertEqual(counted, (7, 2, 1, 1, 7, 0))
        self.assertTrue(1.0 < alice.mos < 4.0)

    def test_round_trip(self) -> None:
        """What the reports of both parties say of the way between them is known without a packet of its own."""
        to_bob, to_alice = (self.to_bob[0], self.to_bob[1] + 1), (self.to_alice[0], self.to_alice[1] + 1)
        alice, bob = self.rtcp_of(self.alice), self.rtcp_of(self.bob)
        report = struct.pack("!BBHI", 0x80, 200, 6, 7) + struct.pack("!IIIII", 0x12345678, 0x9ABCDEF0, 160, 1, 160)
        alice.send(report, to_bob)
        self.reactor.advance(0.25)
        block = struct.pack("!IIIIII", 7, 26 << 24 | 3, 1, 0, 0x56789ABC, 65536 // 10)
        bob.send(struct.pack("!BBHI", 0x81, 201, 7, 8) + block, to_alice)
        [entry] = [entry for entry in self.statistics() if entry.leg == "b1"]
        self.assertAlmostEqual(entry.round_trip, 0.15, places=2)
        self.assertAlmostEqual(entry.reported_lost, 26 / 256)

    def rtcp_of(self, party: Party) -> Party:
        """Make the RTCP socket of a party."""
        return self.party(port=party.port + 1)


class WorkerVerdictTests(VerdictTests, test_worker.WorkerTestCase):
    """The same with a worker that forwards, and is asked."""


class WorkerInactivityTests(InactivityTests, test_worker.WorkerTestCase):
    """The same with a worker."""


class WorkerStatisticsTests(StatisticsTests, test_worker.WorkerTestCase):
    """The same with a worker."""
