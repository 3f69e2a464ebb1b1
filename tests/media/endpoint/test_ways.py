"""Endpoints that find their way by ICE, and have their keys by DTLS."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from sipd.errors import SdpError
from sipd.media.dtls.identity import make_identity
from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.settings import EndpointSettings, Ice, IceServer, Security
from sipd.sdp.candidates import CandidateKind, IceDescription
from sipd.sdp.description import Direction, MediaDescription, SessionDescription, parse_description
from sipd.sdp.fingerprints import Fingerprint, Setup, read_setup, with_dtls
from sipd.testing.nat import Dependence, Nat
from tests.media.endpoint.support import ALICE, BOB, MALLORY, EndpointTestCase
from tests.media.traversal.server import CLIENT, PASSWORD, RELAYED, SERVER, USER, FakeServer

_TONE = "tone:440"
_DTLS = EndpointSettings(security=Security.DTLS)
_ICE = EndpointSettings(ice=Ice.OFFERED)
_PRIVATE, _PUBLIC = "10.0.0.5", "203.0.113.5"


def ice_of(description: SessionDescription) -> IceDescription:
    """Give what a description says of ICE."""
    found = IceDescription.read(description.media[0], description)
    assert found is not None
    return found


class WayTestCase(EndpointTestCase):
    """Two endpoints that talk."""

    def check_talk(self, *pairs: tuple[AudioEndpoint, AudioEndpoint]) -> None:
        """Check that each first one is heard by the second one."""
        for speaking, listening in pairs:
            ear = self.ear(listening)
            speaking.play(_TONE, times=None)
            self.run_for(3.0)
            self.assertTone(ear, 440)
            speaking.stop_playing()

    def open_text(self) -> list[bytes]:
        """Give the datagrams so far that are RTP of G.711 in the clear, as far as that can be seen."""
        return [event.data for event in self.network.log if len(event.data) == 172 and event.data[0] == 0x80]


class DtlsTests(WayTestCase):
    """Keys by DTLS (RFC 5763)."""

    def test_talk(self) -> None:
        """What is offered has its keys by DTLS; both hear each other, and nothing goes out in the clear."""
        alice, bob = self.pair(_DTLS, EndpointSettings())
        self.check_talk((alice, bob), (bob, alice))
        self.assertTrue(alice.statistics.is_secure and bob.statistics.is_secure)
        self.assertEqual(self.open_text(), [])
        self.assertEqual((alice.statistics.refused, bob.statistics.refused), (0, 0))
        self.assertIsNotNone(alice.statistics.round_trip)

    def handshakes(self) -> int:
        """Count the datagrams so far that are of a handshake."""
        return sum(event.data[:1] == b"\x16" for event in self.network.log)

    def test_described(self) -> None:
        """The offer leaves the roles open, the answer waits; RTCP goes with RTP."""
        alice, bob = self.endpoint(ALICE, _DTLS), self.endpoint(BOB)
        offer, answer = self.agree(alice, bob)
        for description, setup in ((offer, Setup.ACTPASS), (answer, Setup.PASSIVE)):
            (stream,) = description.media
            self.assertEqual(stream.protocol, "UDP/TLS/RTP/SAVPF")
            self.assertEqual(read_setup(description, stream), setup)
            self.assertTrue(stream.has_rtcp_mux)
            self.assertIsNone(IceDescription.read(stream, description))

    def test_change(self) -> None:
        """Who began stays who began, whoever asks for a change; the keys hold."""
        alice, bob = self.pair(_DTLS, EndpointSettings())
        self.check_talk((alice, bob))
        before = self.handshakes()
        for offerer, answerer, role in ((bob, alice, Setup.ACTIVE), (alice, bob, Setup.PASSIVE)):
            _, answer = self.agree(offerer, answerer)
            self.assertEqual(read_setup(answer, answer.media[0]), role)
            self.check_talk((alice, bob), (bob, alice))
        self.assertEqual(self.handshakes(), before)

    def test_somebody_else(self) -> None:
        """Whose certificate is another one than the description says is not heard, and that is told."""
        alice, bob = self.endpoint(ALICE, _DTLS), self.endpoint(BOB)
        lost: list[str] = []
        alice.on_lost.append(lost.append)
        offer = parse_description(alice.make_offer().to_bytes())
        answer = bob.answer_offer(offer)
        false = with_dtls(answer.media[0], [Fingerprint("sha-256", bytes(32))], Setup.PASSIVE)
        alice.take_answer(SessionDescription(answer.text, (false,)))
        ear = self.ear(alice)
        bob.play(_TONE, times=None)
        self.run_for(5.0)
        self.assertEqual(ear.level(440), 0.0)
        self.assertEqual(len(lost), 1)
        self.assertIn("certificate", lost[0])
        self.assertEqual(self.open_text(), [])

    def test_nobody(self) -> None:
        """Where nobody does DTLS, that is told after a while, and nothing was sent in the clear."""
        alice, bob = self.endpoint(ALICE, _DTLS), self.endpoint(BOB)
        lost: list[str] = []
        alice.on_lost.append(lost.append)
        alice.take_answer(bob.answer_offer(parse_description(alice.make_offer().to_bytes())))
        self.successResultOf(bob.close())
        self.run_for(25.0)
        self.assertEqual(len(lost), 1)
        self.assertEqual(self.open_text(), [])

    def test_the_peer_leaves(self) -> None:
        """The end of the association is told."""
        alice, bob = self.pair(_DTLS, EndpointSettings())
        self.check_talk((alice, bob))
        lost: list[str] = []
        alice.on_lost.append(lost.append)
        self.successResultOf(bob.close())
        self.run_for(0.5)
        self.assertEqual(lost, ["the peer has left"])

    def test_behind_a_nat(self) -> None:
        """A peer that cannot say where it is, since it is behind a NAT, is found where it begins from."""
        self.hosts[_PRIVATE] = self.network.host_behind(Nat(_PUBLIC, self.clock.seconds), _PRIVATE)
        alice, bob = self.endpoint(_PRIVATE, _DTLS), self.endpoint(BOB)
        self.agree(alice, bob)
        self.check_talk((alice, bob), (bob, alice))
        self.assertEqual(bob.remote and bob.remote[0], _PUBLIC)
        # A change does not send it back to where it cannot be.
        self.agree(alice, bob)
        self.check_talk((alice, bob), (bob, alice))
        lost: list[str] = []
        bob.on_lost.append(lost.append)
        self.successResultOf(alice.close())
        self.run_for(0.2)
        self.assertEqual(lost, ["the peer has left"])

    def test_begun_early(self) -> None:
        """A peer that begins before its answer is here is not made wait."""
        alice, bob = self.endpoint(ALICE, _DTLS), self.endpoint(BOB)
        offer = parse_description(alice.make_offer().to_bytes())
        passive = with_dtls(offer.media[0], [Fingerprint.parse(offer.media[0].attribute("fingerprint") or "")])
        waits = SessionDescription(offer.text, (passive.with_attribute("setup", "passive"),))
        answer = bob.answer_offer(waits)
        self.run_for(0.1)
        alice.take_answer(answer)
        self.run_for(0.1)
        self.assertTrue(alice.statistics.is_secure and bob.statistics.is_secure)
        self.check_talk((alice, bob), (bob, alice))

    def test_strangers(self) -> None:
        """DTLS that comes from elsewhere is not answered."""
        alice, bob = self.pair(_DTLS, EndpointSettings())
        hello = next(event.data for event in self.network.log if event.data[:1] == b"\x16")
        stranger = DatagramProtocol()
        port = self.host(MALLORY).listenUDP(0, stranger, MALLORY)
        self.addCleanup(port.stopListening)
        before = len(self.network.log)
        assert bob.local is not None
        port.write(hello, bob.local)
        self.run_for(0.2)
        self.assertEqual([event for event in self.network.log[before:] if event.destination[0] == MALLORY], [])
        self.check_talk((alice, bob))

    def test_incomplete(self) -> None:
        """An offer without a fingerprint, or with RTCP elsewhere, and an answer without DTLS are refused."""
        alice, bob = self.endpoint(ALICE, _DTLS), self.endpoint(BOB)
        offer = parse_description(alice.make_offer().to_bytes())
        for name in ("fingerprint", "rtcp-mux"):
            without = SessionDescription(offer.text, (offer.media[0].without_attributes((name,)),))
            self.assertRaises(SdpError, bob.answer_offer, without)
        answer = bob.answer_offer(offer)
        for text in (
            answer.media[0].without_attributes(("fingerprint",)).text,
            answer.media[0].text.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
            answer.media[0].text.replace("a=setup:passive", "a=setup:actpass"),
        ):
            with self.subTest(text):
                media = (MediaDescription(text),)
                self.assertRaises(SdpError, alice.take_answer, SessionDescription(answer.text, media))
        alice.take_answer(answer)
        self.check_talk((alice, bob))

    def test_one_certificate(self) -> None:
        """Endpoints may share one certificate."""
        identity = make_identity()
        offers = [self.endpoint(ALICE, _DTLS, identity=lambda: identity).make_offer() for _ in "12"]
        fingerprints = {offer.media[0].attribute("fingerprint") for offer in offers}
        self.assertEqual(fingerprints, {str(identity.fingerprint)})


class IceTests(WayTestCase):
    """The way by ICE (RFC 8445)."""

    def test_talk(self) -> None:
        """Offered and answered, checks find the way, and both hear each other."""
        alice, bob = self.pair(_ICE, EndpointSettings())
        self.check_talk((alice, bob), (bob, alice))
        self.assertEqual(alice.remote, bob.local)
        self.assertIsNotNone(alice.statistics.round_trip)

    def test_every_address(self) -> None:
        """One that listens on every address of its host names the one that descriptions name, as a host's own."""
        alice = self.endpoint(ALICE, _ICE, host="0.0.0.0", advertised_host=ALICE)
        bob = self.endpoint(BOB, host="0.0.0.0", advertised_host=BOB)
        offer, answer = self.agree(alice, bob)
        for description, host in ((offer, ALICE), (answer, BOB)):
            named = [(each.host, each.kind) for each in ice_of(description).candidates if each.component == 1]
            self.assertEqual(named, [(host, CandidateKind.HOST)])
        self.check_talk((alice, bob), (bob, alice))
        self.assertEqual(alice.statistics.foreign, 0)

    def test_early_checks(self) -> None:
        """A peer that begins with checks before its answer is here takes the role of an answerer all the same."""
        for _ in range(8):
            alice, bob = self.endpoint(ALICE, _ICE), self.endpoint(BOB)
            answer = bob.answer_offer(parse_description(alice.make_offer().to_bytes()))
            self.run_for(0.3)
            alice.take_answer(answer)
            self.check_talk((alice, bob), (bob, alice))
        conflicts = [event for event in self.network.log if event.data[:2] == b"\x01\x11"]
        self.assertEqual(conflicts, [])

    def test_lite(self) -> None:
        """A lite agent says so, sends no checks, and is found."""
        alice, bob = self.endpoint(ALICE, _ICE), self.endpoint(BOB, EndpointSettings(ice=Ice.LITE))
        _, answer = self.agree(alice, bob)
        self.assertTrue(ice_of(answer).is_lite)
        self.check_talk((alice, bob), (bob, alice))
        requests = [event for event in self.network.log if event.data[:2] == b"\x00\x01"]
        self.assertEqual({event.source[0] for event in requests}, {ALICE})

    def test_not_spoken(self) -> None:
        """Who does not speak it is talked with as ever; offers say nothing of it unless that is wanted."""
        alice, bob = self.endpoint(ALICE, _ICE), self.endpoint(BOB, EndpointSettings(ice=Ice.NONE))
        _, answer = self.agree(alice, bob)
        self.assertIsNone(answer.media[0].attribute("ice-ufrag"))
        self.check_talk((alice, bob), (bob, alice))
        offer = self.endpoint(BOB).make_offer()
        self.assertIsNone(offer.media[0].attribute("ice-ufrag"))

    def test_addresses_were_changed(self) -> None:
        """Where something on the way has changed the address and knows nothing of ICE, media go where it says."""
        alice, bob = self.endpoint(ALICE, _ICE), self.endpoint(BOB)
        offer = alice.make_offer().to_bytes().replace(f"c=IN IP4 {ALICE}".encode(), f"c=IN IP4 {MALLORY}".encode())
        answer = bob.answer_offer(parse_description(offer))
        self.assertIsNone(answer.media[0].attribute("ice-ufrag"))
        self.assertEqual(bob.remote and bob.remote[0], MALLORY)

    def test_change(self) -> None:
        """A change keeps the way, and what both said of it."""
        alice, bob = self.pair(_ICE, EndpointSettings())
        self.check_talk((alice, bob))
        offer, answer = self.agree(bob, alice, Direction.SENDONLY)
        again, _ = self.agree(bob, alice)
        self.assertFalse(ice_of(again).is_restart_of(ice_of(offer)))
        self.assertEqual(ice_of(answer).candidates[0].address, alice.local)
        self.check_talk((alice, bob), (bob, alice))

    def test_restart(self) -> None:
        """A peer that begins anew, from elsewhere, is answered with something new, and found."""
        alice, bob = self.pair(EndpointSettings(security=Security.DTLS, ice=Ice.OFFERED), EndpointSettings())
        self.check_talk((alice, bob))
        first = ice_of(bob.answer_offer(alice.make_offer()))
        alice.offer_rejected()
        other = self.endpoint(MALLORY, EndpointSettings(security=Security.DTLS, ice=Ice.OFFERED))
        answer = bob.answer_offer(parse_description(other.make_offer().to_bytes()))
        self.assertTrue(ice_of(answer).is_restart_of(first))
        other.take_answer(answer)
        self.check_talk((other, bob), (bob, other))

    def test_nobody(self) -> None:
        """Where no way is found, that is told."""
        alice, bob = self.endpoint(ALICE, _ICE), self.endpoint(BOB)
        lost: list[str] = []
        alice.on_lost.append(lost.append)
        alice.take_answer(bob.answer_offer(alice.make_offer()))
        self.successResultOf(bob.close())
        self.run_for(120.0)
        self.assertEqual(len(lost), 1)

    def test_other_sources(self) -> None:
        """Media from who was neither named nor checked are not taken."""
        alice, bob = self.pair(_ICE, EndpointSettings())
        self.check_talk((alice, bob))
        rtp = next(event.data for event in self.network.log if len(event.data) == 172 and event.source[0] == ALICE)
        port = self.host(MALLORY).listenUDP(0, DatagramProtocol(), MALLORY)
        self.addCleanup(port.stopListening)
        before = bob.statistics.foreign
        assert bob.local is not None
        port.write(rtp, bob.local)
        self.run_for(0.2)
        self.assertEqual(bob.statistics.foreign, before + 1)

    def test_two_ports(self) -> None:
        """Where the peer wants RTCP on a port of its own, both ways are found."""
        alice, bob = self.endpoint(ALICE, _ICE), self.endpoint(BOB)
        offer = parse_description(alice.make_offer().to_bytes())
        self.assertEqual({candidate.component for candidate in ice_of(offer).candidates}, {1, 2})
        bare = SessionDescription(offer.text, (offer.media[0].without_attributes(("rtcp-mux",)),))
        answer = bob.answer_offer(bare)
        self.assertEqual({candidate.component for candidate in ice_of(answer).candidates}, {1, 2})
        alice.take_answer(answer)
        self.check_talk((alice, bob), (bob, alice))
        self.run_for(10.0)
        self.assertIsNotNone(alice.statistics.round_trip)
        controls = [event for event in self.network.log if event.data[:2] in (b"\x80\xc8", b"\x81\xc8")]
        assert alice.local is not None and bob.local is not None
        ports = {alice.local[1] + 1, bob.local[1] + 1}
        self.assertEqual({event.destination[1] for event in controls}, ports)

    def test_bundle(self) -> None:
        """The name of the stream and its group are those of the offer."""
        alice, bob = self.endpoint(ALICE, _ICE), self.endpoint(BOB)
        offer = alice.make_offer()
        named = SessionDescription(
            offer.with_attribute("group", "BUNDLE a1").text, (offer.media[0].with_attribute("mid", "a1"),)
        )
        answer = bob.answer_offer(named)
        self.assertEqual((answer.attribute("group"), answer.media[0].attribute("mid")), ("BUNDLE a1", "a1"))


class _Socket(DatagramProtocol):
    """Gives what comes to somebody."""

    def __init__(self, take: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._take = take

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """See `DatagramProtocol`."""
        self._take(datagram, addr)


class ServerTests(WayTestCase):
    """Alice is behind a NAT, and knows a server that helps."""

    def setUp(self) -> None:
        super().setUp()
        self.server = FakeServer()
        host = self.host(SERVER[0])
        self.front = host.listenUDP(SERVER[1], _Socket(self.asked), SERVER[0])
        self.back = host.listenUDP(RELAYED[1], _Socket(self.relay), RELAYED[0])
        self.addCleanup(self.front.stopListening)
        self.addCleanup(self.back.stopListening)
        self.client = ("", 0)

    def asked(self, data: bytes, source: tuple[str, int]) -> None:
        """Take what a client of the server sends."""
        self.client = source
        for answer in self.server.receive(data):
            self.front.write(answer, source)
        sent, self.server.sent = self.server.sent, []
        for octets, peer in sent:
            self.back.write(octets, peer)

    def relay(self, data: bytes, source: tuple[str, int]) -> None:
        """Take what a peer sends to the relayed address."""
        if source[0] in self.server.permissions:
            self.front.write(self.server.relay(data, source), self.client)

    def alice(self, *servers: IceServer, mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT) -> AudioEndpoint:
        """Make her, ready to describe herself."""
        nat = Nat(_PUBLIC, self.clock.seconds, mapping=mapping)
        self.hosts[_PRIVATE] = self.network.host_behind(nat, _PRIVATE)
        alice = self.endpoint(_PRIVATE, EndpointSettings(ice=Ice.OFFERED, ice_servers=servers))
        preparing = self.outcome(alice.prepare())
        self.run_for(4.0)
        self.assertTrue(preparing.is_there)
        return alice

    def give_back(self, alice: AudioEndpoint) -> None:
        """End her, and check that her address at the server is given back."""
        closing = self.outcome(alice.close())
        self.run_for(1.0)
        self.assertTrue(closing.is_there)
        self.assertFalse(self.server.has)

    def kinds(self, description: SessionDescription) -> list[CandidateKind]:
        """Give the kinds of candidates for RTP that a description names, the best first."""
        return [candidate.kind for candidate in ice_of(description).candidates if candidate.component == 1]

    def test_stun(self) -> None:
        """A STUN server says which address is hers beyond the NAT; there she is called."""
        alice = self.alice(IceServer(uri=f"stun:{SERVER[0]}"))
        bob = self.endpoint(BOB)
        offer, _ = self.agree(alice, bob)
        self.assertEqual(self.kinds(offer), [CandidateKind.HOST, CandidateKind.SERVER_REFLEXIVE])
        self.assertIn(CLIENT, [candidate.address for candidate in ice_of(offer).candidates])
        self.check_talk((alice, bob), (bob, alice))
        self.assertEqual(bob.remote, CLIENT)

    def test_turn(self) -> None:
        """By a TURN server she is reached where nothing else goes; in the end the address is given back."""
        alice = self.alice(IceServer(uri=f"turn:{SERVER[0]}", user=USER, password=PASSWORD))
        bob = self.endpoint(BOB)
        self.network.meddler = lambda source, destination, data: (
            None if {source[0], destination[0]} & {_PUBLIC} and BOB in (source[0], destination[0]) else 0.0
        )
        offer, _ = self.agree(alice, bob)
        self.assertIn(CandidateKind.RELAYED, self.kinds(offer))
        self.check_talk((alice, bob), (bob, alice))
        self.assertEqual(bob.remote, RELAYED)
        self.assertTrue(self.server.channels)
        self.give_back(alice)

    def test_let_through(self) -> None:
        """The server lets the peer through at once, even where another way is found: its checks by the relay come.

        A peer may wait with its media until all of them have come to an end (baresip 1.0 does, for 8 seconds).
        """
        alice = self.alice(IceServer(uri=f"turn:{SERVER[0]}", user=USER, password=PASSWORD))
        bob = self.endpoint(BOB)
        offer = parse_description(alice.make_offer().to_bytes())
        answer = bob.answer_offer(offer)
        (stream,) = answer.media
        more = [f"candidate:9 1 udp 1 {address} 9 typ host" for address in ("c.local", "2001:db8::1")]
        alice.take_answer(SessionDescription(answer.text, (stream.with_more_attributes(more),)))
        self.run_for(0.04)
        self.assertEqual(self.server.permissions, {BOB})
        self.check_talk((alice, bob), (bob, alice))
        self.assertNotEqual(bob.remote, RELAYED)
        self.give_back(alice)

    def test_no_help(self) -> None:
        """Servers that refuse, are silent, or are none delay the call for a moment, and no more."""
        alice = self.alice(
            IceServer(uri=f"turn:{SERVER[0]}", user=USER, password="wrong"),
            IceServer(uri=f"stun:{MALLORY}"),
            IceServer(uri="stun:nowhere.example"),
            IceServer(uri="http://example.com/"),
        )
        bob = self.endpoint(BOB)
        offer, _ = self.agree(alice, bob)
        self.assertEqual(self.kinds(offer), [CandidateKind.HOST])
        # He hears of her by her checks.
        self.check_talk((alice, bob), (bob, alice))


class HostileTests(WayTestCase):
    """What strangers and a broken peer send while a way is looked for, and afterwards."""

    def strange(self, rng: Random) -> bytes:
        """Make octets that look like something."""
        seen = [event.data for event in self.network.log if event.data]
        kind = rng.randrange(4)
        if not seen or kind == 0:
            return rng.randbytes(rng.randrange(1, 200))
        data = bytearray(rng.choice(seen))
        if kind == 1:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[rng.randrange(len(data)) :]
        else:
            data += rng.randbytes(rng.randrange(1, 50))
        return bytes(data) or b"\x00"

    def test_anything(self) -> None:
        """Whatever comes from a stranger, the two hear each other, and he gets no more than he gave."""
        for seed in range(12):
            with self.subTest(seed=seed):
                rng = Random(seed)
                settings = EndpointSettings(security=Security.DTLS, ice=Ice.OFFERED, ports=(20000, 20100))
                stranger = DatagramProtocol()
                port = self.host(MALLORY).listenUDP(0, stranger, MALLORY)
                alice, bob = self.endpoint(ALICE, settings), self.endpoint(BOB, EndpointSettings(ports=(20000, 20100)))
                offer = parse_description(alice.make_offer().to_bytes())
                answer = parse_description(bob.answer_offer(offer).to_bytes())
                for step in range(120):
                    if step == 20:
                        alice.take_answer(answer)
                    target = rng.choice((alice, bob)).local
                    assert target is not None
                    port.write(self.strange(rng), (target[0], target[1] + rng.randrange(2)))
                    self.run_for(0.01)
                self.check_talk((alice, bob), (bob, alice))
                before = len(self.network.log)
                assert alice.local is not None
                for _ in range(50):
                    port.write(self.strange(rng), alice.local)
                self.run_for(0.1)
                sent = [event for event in self.network.log[before:] if event.source == (MALLORY, port.getHost().port)]
                back = [event for event in self.network.log[before:] if event.destination[0] == MALLORY]
                self.assertLessEqual(sum(len(event.data) for event in back), sum(len(event.data) for event in sent))
                port.stopListening()
                for endpoint in (alice, bob):
                    self.successResultOf(endpoint.close())
                self.network.log.clear()
