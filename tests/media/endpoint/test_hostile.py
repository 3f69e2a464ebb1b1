"""What strangers, broken peers and NAT send to an endpoint: whose packets are taken."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.reports import compose
from sipd.media.endpoint.settings import EndpointSettings, Security
from sipd.rtp.g711 import encode_ulaw, tone
from sipd.rtp.packet import RtpPacket
from sipd.rtp.rtcp import Goodbye, ReceiverReport, parse_compound
from tests.media.endpoint.support import ALICE, BOB, MALLORY, EndpointTestCase, describe


class Voice(DatagramProtocol):
    """A socket that whistles, and keeps what comes."""

    def __init__(self, frequency: int = 1000) -> None:
        self.received: list[bytes] = []
        self._frequency = frequency
        self._place = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """See `DatagramProtocol`."""
        self.received.append(datagram)

    def whistle(self, to: tuple[str, int] | None) -> None:
        """Send 20 ms."""
        payload = encode_ulaw(tone(self._frequency, 0.02, start=160 * self._place))
        packet = RtpPacket(
            payload_type=0, sequence=self._place, timestamp=160 * self._place, ssrc=self._frequency, payload=payload
        )
        self._place += 1
        self.send(packet.to_bytes(), to)

    def send(self, data: bytes, to: tuple[str, int] | None) -> None:
        """Send a datagram."""
        assert self.transport is not None
        self.transport.write(data, to)


class LatchingTests(EndpointTestCase):
    """Bob is a socket; Mallory is one, too."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = self.voice(BOB, 5000)
        self.mallory = self.voice(MALLORY, 6666, frequency=700)
        self.alice = self.endpoint(ALICE)

    def voice(self, address: str, port: int, frequency: int = 1000) -> Voice:
        """Open a socket."""
        voice = Voice(frequency)
        listening = self.host(address).listenUDP(port, voice, interface=address)
        self._listening = [*getattr(self, "_listening", ()), listening]
        return voice

    def finish(self) -> None:
        """Close the sockets."""
        for listening in self._listening:
            listening.stopListening()
        super().finish()

    def call(self, **kwargs: Any) -> AudioEndpoint:
        """Let alice answer bob."""
        self.alice.answer_offer(describe(("m=audio 5000 RTP/AVP 0",), **kwargs))
        return self.alice

    def talk(self, *voices: Voice, seconds: float = 0.5) -> None:
        """Let them whistle."""
        for _ in range(round(seconds * 50)):
            for voice in voices:
                voice.whistle(self.alice.local)
            self.run_for(0.02)

    def test_stranger_beside_the_peer(self) -> None:
        """Who sends from elsewhere while the peer is there is counted, and not heard."""
        self.call()
        ear = self.ear(self.alice)
        self.talk(self.bob)
        self.talk(self.bob, self.mallory)
        self.assertTone(ear, 1000)
        self.assertEqual(self.alice.statistics.foreign, 25)
        self.assertEqual(self.alice.remote, (BOB, 5000))
        self.assertEqual(self.mallory.received, [])

    def test_stranger_before_the_peer(self) -> None:
        """Who is first in the window gives way to the address that was signalled."""
        self.call()
        ear = self.ear(self.alice)
        self.talk(self.mallory, seconds=0.1)
        self.assertEqual(self.alice.remote, (MALLORY, 6666))
        self.talk(self.bob, self.mallory)
        self.assertEqual(self.alice.remote, (BOB, 5000))
        self.assertTone(ear, 1000)

    def test_stranger_after_the_window(self) -> None:
        """When nobody came within the window, no stranger is taken any more."""
        self.call()
        self.run_for(6.0)
        self.talk(self.mallory)
        self.assertEqual(self.alice.statistics.packets_received, 0)
        self.assertEqual(self.alice.statistics.foreign, 25)
        self.talk(self.bob)
        self.assertEqual(self.alice.statistics.packets_received, 25)

    def test_behind_nat(self) -> None:
        """A peer that signals a private address is sent to where its media comes from (RFC 7362)."""
        self.call(address="10.0.0.1")
        self.talk(self.bob)
        self.assertEqual(self.alice.remote, (BOB, 5000))
        self.assertGreater(len(self.bob.received), 20)

    def test_rubbish_does_not_latch(self) -> None:
        """Only what is RTP of a kind that was agreed on shows where the peer is."""
        self.call()
        chance = random.Random(1)
        for size in (0, 1, 11, 12, 13, 100, 1500):
            for _ in range(20):
                self.mallory.send(chance.randbytes(size), self.alice.local)
        for first in (0x80, 0xBF, 0x9F, 0xB0):
            for second in (0, 18, 72, 200):
                self.mallory.send(bytes((first, second)) + chance.randbytes(30), self.alice.local)
        self.run_for(0.5)
        statistics = self.alice.statistics
        self.assertGreater(statistics.malformed, 100)
        self.talk(self.bob)
        self.assertEqual(self.alice.remote, (BOB, 5000))

    def test_rubbish_from_the_peer(self) -> None:
        """A peer that sends rubbish between its packets is heard nevertheless; nothing is raised."""
        self.call()
        ear = self.ear(self.alice)
        chance = random.Random(2)
        for _ in range(50):
            self.bob.whistle(self.alice.local)
            for size in (0, 12, 40, 200):
                data = bytes((chance.choice((0x80, 0x90, 0xB1, 0x3F)), chance.choice((0, 13, 101, 201))))
                self.bob.send(data[:size] + chance.randbytes(max(0, size - 2)), self.alice.local)
            self.run_for(0.02)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertGreater(self.alice.statistics.packets_received, 50)
        self.assertGreater(len(ear.samples), 7000)

    def test_reports_from_strangers(self) -> None:
        """RTCP of somebody else is not believed, and rubbish on its port does no harm."""
        self.call()
        self.talk(self.bob)
        local = (ALICE, (self.alice.local or ("", 0))[1] + 1)
        bob = self.voice(BOB, 5001)
        bob.send(compose((ReceiverReport(ssrc=1, reports=()),)), local)
        self.run_for(0.1)
        foreign = self.alice.statistics.foreign
        reading = self.alice.read_rtcp()
        self.mallory.send(compose((Goodbye(sources=(1,)),)), local)
        bob.send(b"\x80\xc9", local)
        bob.send(b"", local)
        self.run_for(0.1)
        self.assertNoResult(reading)
        self.assertEqual(self.alice.statistics.foreign, foreign + 1)
        self.assertGreaterEqual(self.alice.statistics.malformed, 2)
        bob.send(compose((Goodbye(sources=(1,)),)), local)
        self.run_for(0.1)
        self.assertEqual(self.successResultOf(reading), (Goodbye(sources=(1,)),))

    def test_shared_port(self) -> None:
        """With rtcp-mux reports come and go on the port of RTP (RFC 5761)."""
        self.alice.answer_offer(describe(("m=audio 5000 RTP/AVP 0", "a=rtcp-mux")))
        self.talk(self.bob)
        reading = self.alice.read_rtcp()
        self.bob.send(compose((Goodbye(sources=(1,)),)), self.alice.local)
        self.run_for(5.0)
        self.successResultOf(reading)
        reports = [data for data in self.bob.received if 200 <= data[1] <= 203]
        self.assertGreater(len(reports), 0)
        self.assertEqual(type(parse_compound(reports[0])[0]).__name__, "SenderReport")

    def test_another_address_in_a_new_offer(self) -> None:
        """A new offer may move the peer: from then on the old place is a stranger's."""
        self.call()
        self.talk(self.bob)
        other = self.voice("192.0.2.7", 7000, frequency=1500)
        self.alice.answer_offer(describe(("m=audio 7000 RTP/AVP 0",), address="192.0.2.7"))
        ear = self.ear(self.alice)
        self.talk(other)
        self.assertEqual(self.alice.remote, ("192.0.2.7", 7000))
        self.run_for(5.0)
        foreign = self.alice.statistics.foreign
        self.talk(other, self.bob)
        self.assertEqual(self.alice.statistics.foreign, foreign + 25)
        self.assertTone(ear, 1500)


class SecureTests(EndpointTestCase):
    """An encrypted call."""

    def test_plain_packets(self) -> None:
        """What is not encrypted with the key is counted, and neither heard nor followed."""
        alice, bob = self.pair(EndpointSettings(security=Security.OFFERED))
        mallory = Voice()
        listening = self.host(MALLORY).listenUDP(6666, mallory, interface=MALLORY)
        self.addCleanup(listening.stopListening)
        for _ in range(20):
            mallory.whistle(alice.local)
            self.run_for(0.02)
        self.assertEqual(alice.statistics.refused + alice.statistics.foreign, 20)
        self.assertEqual(alice.remote, bob.local)
        listening.stopListening()
