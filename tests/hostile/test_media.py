"""What somebody sends to ports of media who means no well: rubbish, floods, attempts to get into others' calls."""

from __future__ import annotations

import random
import struct
from typing import ClassVar

from twisted.internet.defer import Deferred

from sipd.errors import SdpError
from sipd.media import watch
from sipd.media.libsrtp import available
from sipd.media.session import RelaySession
from sipd.policies import CryptoPolicy, MediaPolicy
from sipd.rtp.rtcp import parse_compound
from sipd.sdp.description import SessionDescription
from tests.media import test_datagrams, test_kernel_engine, test_session_crypto, test_worker
from tests.media.support import Party, RelayTestCase, describe, place_of, rtcp_of

#: Another host than that of the parties, which the latch would trust.
STRANGER = "127.0.0.2"
#: What fits into a datagram over IPv4.
LARGEST = 65507
RTP, RTCP = test_datagrams.RTP, test_datagrams.RTCP
#: A Binding request (RFC 8489 section 5).
STUN = struct.pack("!HHI12s", 0x0001, 0, 0x2112A442, b"transaction!")


def rubbish(seed: int, count: int, size_octets: int = 60) -> list[bytes]:
    """Give datagrams of up to that size, the same ones for the same seed."""
    source = random.Random(seed)
    return [source.randbytes(source.randrange(1, size_octets)) for _ in range(count)]


class PacketTests(test_datagrams.CallTestCase):
    """Datagrams of a party that are no RTP, or not quite."""

    def check_relayed(self, datagrams: list[bytes]) -> None:
        """Check that they arrive as they were, from a party that is believed, and that the call goes on."""
        for _ in range(2):
            for data in datagrams:
                self.alice.send(data, self.to_bob)
                self.bob.expect(data, source=self.to_alice)
            self.settle()

    def test_truncated(self) -> None:
        """What is shorter than a header of RTP is passed on and is nobody's source; an empty one goes no further."""
        self.check_relayed([bytes((0x80, second, *range(8)))[:size] for second in (0, 200) for size in range(1, 11)])
        self.check_relayed([bytes(11)])
        self.alice.send(b"", self.to_bob)
        self.assertEqual(self.bob.received(), [])
        self.assertEqual(self.statistics()[0].ssrc, 0)

    def test_versions(self) -> None:
        """Every first octet is passed on; only version 2 is looked at as RTP."""
        packets = [struct.pack("!BBHII", first, 0, 1, 160, 7) for first in range(256) if first >> 6 != 2]
        self.check_relayed(packets)
        alice = self.statistics()[0]
        self.assertEqual((alice.ssrc, alice.payload_type), (0, -1))
        self.check_relayed([struct.pack("!BBHII", first, 0, first, 160, 7) for first in range(0x80, 0xC0)])
        self.assertEqual(self.statistics()[0].ssrc, 7)

    def test_payload_types(self) -> None:
        """Every payload type is passed on; what nobody agreed on is counted."""
        self.check_relayed([struct.pack("!BBHII", 0x80, second, second, 160, 7) for second in range(256)])
        self.assertGreater(self.statistics()[0].unexpected, 0)

    def test_headers_that_say_too_much(self) -> None:
        """Lists of sources, extensions and padding that are not there are not looked for."""
        firsts = (0x8F, 0x90, 0xA0, 0xBF)
        self.check_relayed([struct.pack("!BBHII", first, 0, 1, 160, 7) + b"\xff" * 4 for first in firsts])

    def test_largest(self) -> None:
        """The largest datagram there is arrives whole, both ways."""
        data = random.Random(1).randbytes(LARGEST)
        self.check_relayed([data])
        self.bob.send(data, self.to_alice)
        self.alice.expect(data)

    def test_stun(self) -> None:
        """STUN is passed on like anything else, and not answered: there is no ICE here."""
        self.check_relayed([STUN])
        self.assertEqual(self.alice.received(), [])

    def test_numbers_at_random(self) -> None:
        """Whatever sequence numbers, timestamps and sources say, what is counted stays what came."""
        source = random.Random(2)
        for _ in range(1000):
            packet = bytes((0x80, 0)) + source.randbytes(30)
            self.alice.send(packet, self.to_bob)
            self.bob.expect(packet)
            self.reactor.advance(0.01)
        alice = self.statistics()[0]
        self.assertEqual(alice.packets, 1000)
        self.assertLessEqual(alice.lost, 65536)
        self.assertLessEqual(len(self.kinds("ssrc")), 8)


class ReportTests(test_datagrams.CallTestCase):
    """RTCP that is none."""

    def count_reads(self) -> list[bytes]:
        """Keep from now on what is parsed."""
        read: list[bytes] = []

        def parse(octets: bytes) -> object:
            read.append(octets)
            return parse_compound(octets)

        self.patch(watch, "parse_compound", parse)
        return read

    def check_bounded(self, party: Party, to: tuple[str, int], ear: Party) -> None:
        """Check that rubbish is passed on and hardly read: 1500 reports in 10 s, more than that once."""
        read = self.count_reads()
        sent = [bytes((0x80 | first & 0x1F, 200 + first % 5)) + data for first, data in enumerate(rubbish(3, 1500))]
        for data in sent:
            party.send(data, to)
            ear.expect(data)
            self.reactor.advance(1 / 150)
        self.assertLessEqual(len(read), 102)
        self.assertGreater(len(read), 50)
        self.assertEqual(self.statistics()[0].rtcp_packets, 1500)

    def test_rubbish(self) -> None:
        """Reports that cannot be parsed cost ten attempts a second, and are passed on."""
        reports, ear = self.party(), self.party()
        self.bob_says = (f"a=rtcp:{ear.port}",)
        self.connect(self.alice.port, self.bob.port)
        self.check_bounded(reports, rtcp_of(self.answered), ear)
        self.check_flows()

    def test_rubbish_on_the_shared_port(self) -> None:
        """The same where RTP and RTCP share a port."""
        self.alice_says = self.bob_says = ("a=rtcp-mux",)
        self.connect(self.alice.port, self.bob.port)
        self.check_bounded(self.alice, self.to_bob, self.bob)
        self.check_flows()

    def test_flood(self) -> None:
        """Of a thousand reports a second two hundred are passed on."""
        ear, reports = self.party(), self.party()
        self.bob_says = (f"a=rtcp:{ear.port}",)
        self.connect(self.alice.port, self.bob.port)
        for _ in range(3):
            for _ in range(1000):
                reports.send_unseen(RTCP, rtcp_of(self.answered))
            self.assertEqual(len(ear.received()), 200 if self.kinds("flood") else 199)
            self.check_flows()
            self.reactor.advance(1.0)
        self.assertEqual(len(self.kinds("flood")), 1)


class StrangerTests(test_datagrams.CallTestCase):
    """Somebody who wants to get into calls of others, or in their way."""

    def setUp(self) -> None:
        super().setUp()
        # Nobody speaks there, so it is open to anybody for a while.
        self.session.close()
        self.stranger = self.party(STRANGER)
        self.sessions: list[RelaySession] = []
        #: Of each call: two parties, where each sends to reach the other; their sockets for RTCP in the same way.
        self.calls = [self.call() for _ in range(5)]

    def call(self) -> list[tuple[Party, tuple[str, int]]]:
        """Set a call up."""
        self.session = self.open_session()
        self.sessions.append(self.session)
        rtp, rtcp = (self.party(), self.party()), (self.party(), self.party())
        self.alice_says, self.bob_says = (f"a=rtcp:{rtcp[0].port}",), (f"a=rtcp:{rtcp[1].port}",)
        self.connect(rtp[0].port, rtp[1].port)
        offered, answered = rtcp_of(self.offered), rtcp_of(self.answered)
        return [(rtp[0], self.to_bob), (rtp[1], self.to_alice), (rtcp[0], answered), (rtcp[1], offered)]

    def check_calls(self) -> None:
        """Check that everybody hears the other one, and nobody anything else."""
        for number, call in enumerate(self.calls):
            for word, pair in ((RTP, call[:2]), (RTCP, call[2:])):
                (one, to_other), (other, to_one) = pair
                data = word + b"%d" % number
                one.send(data, to_other)
                self.assertEqual(other.received(), [data])
                other.send(data, to_one)
                self.assertEqual(one.received(), [data])

    def spray(self) -> None:
        """Send to all ports that the relay has; others of its range may be those of somebody else on this machine."""
        ports = [stream.pair.port for session in self.sessions for stream in session.streams()]
        self.assertEqual(len(ports), 2 * len(self.calls))
        for port in ports:
            for data in (RTP, RTCP, STUN, b"", b"\x80"):
                self.stranger.send_unseen(data, ("127.0.0.1", port))
                self.stranger.send_unseen(data, ("127.0.0.1", port + 1))
        self.reactor.read_all()

    def test_rtpbleed(self) -> None:
        """Who sprays all ports hears nothing, and nobody hears it, within the window and ever after."""
        self.check_calls()
        for _ in range(4):
            self.spray()
            self.check_calls()
            self.assertEqual(self.stranger.received(), [])
            self.reactor.advance(3.0)

    def test_after_a_silent_window(self) -> None:
        """Where nobody spoke in the window a stranger comes too late as well; the parties do not."""
        self.reactor.advance(6.0)
        for _ in range(2):
            self.spray()
            self.assertEqual(self.stranger.received(), [])
            self.check_calls()
            self.reactor.advance(6.0)

    def test_renegotiated(self) -> None:
        """A re-INVITE that says the same gives a sprayer no chance."""
        self.check_calls()
        self.connect(self.calls[-1][0][0].port, self.calls[-1][1][0].port)
        self.spray()
        self.check_calls()
        self.assertEqual(self.stranger.received(), [])

    def test_source_that_changes_all_the_time(self) -> None:
        """Of three hundred sources none gets anything through; eight are told of, all are counted."""
        self.check_calls()
        strangers = [self.party(STRANGER) for _ in range(300)]
        for one in strangers:
            one.send(RTP, self.to_bob)
        self.check_calls()
        self.assertEqual({data for one in strangers for data in one.received()}, set())
        self.assertEqual(len(self.kinds("foreign-source")), 8)
        self.assertEqual(self.dropped()["a"], 300)

    def test_rubbish_to_one_port(self) -> None:
        """Ten thousand datagrams a second for one call: a fifth is looked at, and the other calls lose nothing."""
        self.check_calls()
        victim, (alice, to_bob), (bob, _) = self.to_bob, *self.calls[0][:2]
        data = rubbish(4, 200)
        for second in range(3):
            sent = []
            for number in range(50):
                for each in data:
                    self.stranger.send_unseen(each, victim)
                sent.append(b"%d %d" % (second, number))
                alice.send(sent[-1], to_bob)
            self.assertEqual(bob.received(), sent)
            self.assertLessEqual(self.dropped()["a"], 2001 * (second + 1))
            self.reactor.advance(1.0)
        self.assertGreater(self.dropped()["a"], 2000)
        self.assertEqual(len(self.kinds("flood")), 1)
        self.assertEqual(self.stranger.received(), [])
        for _ in range(3):
            self.reactor.read_all()
            self.reactor.advance(1.0)
        self.check_calls()


class WorkerPacketTests(PacketTests, test_worker.WorkerTestCase):
    """The same in a worker."""


class WorkerReportTests(ReportTests, test_worker.WorkerTestCase):
    """The same in a worker."""


class WorkerStrangerTests(StrangerTests, test_worker.WorkerTestCase):
    """The same in a worker."""


class KernelPacketTests(PacketTests, test_kernel_engine.KernelTestCase):
    """The same with the kernel below."""


class KernelReportTests(ReportTests, test_kernel_engine.KernelTestCase):
    """The same with the kernel below."""


class KernelStrangerTests(StrangerTests, test_kernel_engine.KernelTestCase):
    """The same with the kernel below."""


class SecuredTests(test_session_crypto.CryptoTestCase):
    """Rubbish on a leg that encrypts."""

    skip = available()
    _LINE: ClassVar[str] = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"

    def setUp(self) -> None:
        """Connect a caller who encrypts with a callee who does not."""
        super().setUp()
        self.session.set_policy("a", MediaPolicy(crypto=CryptoPolicy.OPTIONAL))
        self.session.set_policy("b1", MediaPolicy(crypto=CryptoPolicy.OFF))
        self.offer("a", "b1", self.secure(self.alice, self._LINE))
        self.answered = self.answer("b1", "a", self.plain(self.bob))
        self.crypter = test_session_crypto.Crypter(self._LINE, self.answered)
        self.to_bob = place_of(self.answered)

    def check_heard(self, sequence: int) -> None:
        """Check that a good packet is heard."""
        packet = struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, 7) + bytes(160)
        self.alice.send(self.crypter.encrypt(packet), self.to_bob)
        self.assertEqual(self.bob.received(), [packet])

    def failures(self) -> int:
        """Give how many packets of Alice could not be decrypted."""
        [alice] = [entry for entry in self.statistics() if entry.leg == "a"]
        return alice.failures

    def test_rubbish(self) -> None:
        """Nothing of it is heard, all of it is counted, and the stream goes on."""
        self.check_heard(1)
        data = [*rubbish(5, 500, 300), *(bytes((0x80,) * size) for size in range(1, 40)), bytes(LARGEST)]
        for each in data:
            self.alice.send(each, self.to_bob)
        self.alice.send(b"", self.to_bob)
        self.assertEqual(self.bob.received(), [])
        self.assertEqual(self.failures(), len(data))
        self.check_heard(2)

    def test_forged(self) -> None:
        """Packets with the header of the next good one, and good ones that were changed or repeated, are not heard."""
        self.check_heard(1)
        packet = struct.pack("!BBHII", 0x80, 0, 2, 320, 7) + bytes(160)
        good = self.crypter.encrypt(packet)
        for place in range(0, len(good), 7):
            self.alice.send(good[:place] + bytes((good[place] ^ 1,)) + good[place + 1 :], self.to_bob)
            self.alice.send(good[:place], self.to_bob)
        self.assertEqual(self.bob.received(), [])
        before = self.failures()
        self.alice.send(good, self.to_bob)
        self.alice.send(good, self.to_bob)
        self.assertEqual(self.bob.received(), [packet])
        self.assertEqual(self.failures(), before + 1)

    def test_reports(self) -> None:
        """RTCP that is rubbish is not passed on, and counted."""
        ear, reports = self.party(), self.party(self.alice.host)
        for each in rubbish(6, 100, 200):
            reports.send(each, rtcp_of(self.answered))
        self.assertEqual((ear.received(), self.failures()), ([], 100))
        self.check_heard(1)


class DescriptionTests(RelayTestCase):
    """Descriptions that ask for much, or for odd things."""

    def outcome(self, asked: Deferred[SessionDescription]) -> SessionDescription | None:
        """Give the result, or nothing if it was refused as it should."""
        found: list[SessionDescription] = []
        asked.addCallbacks(found.append, lambda failure: failure.trap(SdpError))
        self.assertTrue(asked.called)
        self.successResultOf(asked)
        return found[0] if found else None

    def test_many_media_lines(self) -> None:
        """Two hundred streams are refused and take no port; two hundred lines of which few are on are not."""
        many = describe(*(("audio", 4000 + 2 * number) for number in range(200)))
        self.assertIsNone(self.outcome(self.session.offer("a", "b1", many)))
        self.assertEqual(len(self.allocator), 0)
        few = describe(*(("audio", 4000 + 2 * number if number % 20 == 0 else 0) for number in range(200)))
        offered = self.outcome(self.session.offer("a", "b1", few))
        assert offered is not None
        self.assertEqual((len(offered.media), len(self.allocator)), (200, 20))
        answered = self.outcome(self.session.answer("b1", "a", many))
        assert answered is not None
        self.assertEqual(sum(bool(media.port) for media in answered.media), 10)
        self.assertEqual(len(self.allocator), 20)
        self.assertIsNone(self.outcome(self.session.answer("b1", "a", describe(("audio", 4000)))))

    def test_last_port(self) -> None:
        """RTP on port 65535 is relayed; RTCP, for which there is no port then, goes nowhere."""
        alice, bob, reports = self.party(port=65535), self.party(), self.party()
        offered = self.offer("a", "b1", describe(("audio", 65535)))
        self.answer("b1", "a", describe(("audio", bob.port)))
        bob.send(RTP, place_of(offered))
        alice.expect(RTP)
        reports.send(RTCP, rtcp_of(offered))
        for _ in range(20):
            self.reactor.advance(1.0)
        self.assertEqual(alice.received(), [b""])

    def test_odd_places_of_rtcp(self) -> None:
        """Whatever `a=rtcp` says: it is refused, or media flows, and RTCP goes there or nowhere."""
        taken = 0
        for value in (
            *("", " ", "0", "9", "65535", "65536", "99999999999999999999", "-1", "+5", "5.0", "0x10", "x", "٣", "1_0"),
            *("5 IN IP4 256.1.1.1", "5 IN IP4 0.0.0.0", "5 IN IP4 255.255.255.255", "5 IN IP4 224.0.0.1", "5 IN IP4"),
            *("5 IN IP6 ::1", "5 IN IP6 ::", "5 IN IP6 ff02::1", "5 IN IP4 ::1", "5 IN IP9 1", "5 IN IP4 example.com"),
            *("5 IN IP4 127.0.0.1 6", "5 IN IP4 127.0.0.1/127", "5\tIN\tIP4\t127.0.0.1", "5 " + "x" * 5000),
        ):
            session = self.session = self.open_session()
            alice, bob, reports = self.party(), self.party(), self.party()
            described = describe(("audio", alice.port), extra=(f"a=rtcp:{value}",))
            offered = self.outcome(session.offer("a", "b1", described))
            if offered is not None:
                taken += 1
                answered = self.answer("b1", "a", describe(("audio", bob.port)))
                reports.send(RTCP, rtcp_of(offered))
                alice.send(RTP, place_of(answered))
                bob.expect(RTP)
            session.close()
            self.reactor.settle()
            self.assertEqual(len(self.allocator), 0)
        self.assertGreater(taken, 5)
