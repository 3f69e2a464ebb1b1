"""Tests of `sipd.media.datagrams`: what becomes of datagrams, whoever sends them."""

from __future__ import annotations

import gc

from sipd.media.datagrams import RelaySocket
from sipd.media.reactor import SocketForwarder
from sipd.media.session import RelaySession
from sipd.media.stream import RelayStream
from sipd.sdp.description import SessionDescription
from tests.media.support import Party, RelayTestCase, describe, place_of, rtcp_of

RTP = b"\x80\x00" + b"r" * 170
RTCP = b"\x80\xc8" + b"c" * 26


class CallTestCase(RelayTestCase):
    """A call of two parties on loopback."""

    #: Lines that follow the media line of each party.
    alice_says: tuple[str, ...] = ()
    bob_says: tuple[str, ...] = ()

    def setUp(self) -> None:
        """Connect the parties."""
        super().setUp()
        self.alice, self.bob = self.party(), self.party()
        self.connect(self.alice.port, self.bob.port)

    def connect(self, alice: int, bob: int, address: str = "127.0.0.1") -> None:
        """Negotiate these ports; `to_bob` and `to_alice` are where the one sends to reach the other."""
        self.offered = self.offer("a", "b1", describe(("audio", alice), address=address, extra=self.alice_says))
        self.answered = self.answer("b1", "a", describe(("audio", bob), extra=self.bob_says))
        self.to_bob, self.to_alice = place_of(self.answered), place_of(self.offered)

    def settle(self) -> None:
        """Let media flow until nothing but signalling can change where it comes from."""
        for _ in range(2):
            self.check_flows()
            self.reactor.advance(5.0)
        self.check_flows()

    def check_flows(self) -> None:
        """Check that media goes both ways."""
        self.alice.send(b"there", self.to_bob)
        self.bob.expect(b"there", source=self.to_alice)
        self.bob.send(b"back", self.to_alice)
        self.alice.expect(b"back", source=self.to_bob)

    def dropped(self) -> dict[str, int]:
        """Give the number of datagrams dropped by leg."""
        return {entry.leg: entry.dropped for entry in self.statistics()}


class RelayingTests(CallTestCase):
    """Datagrams of the parties."""

    def test_sends_to_the_signalled_address_first(self) -> None:
        """A party that has sent nothing yet is sent what comes, where it said."""
        self.alice.send(RTP, self.to_bob)
        self.bob.expect(RTP, source=self.to_alice)

    def test_any_datagram_is_relayed(self) -> None:
        """Datagrams of any size and content arrive as they were, before and after the source is settled."""
        for _ in range(2):
            for data in (b"\0", b"\r\n\r\n", bytes(range(256)) * 200, RTP):
                self.alice.send(data, self.to_bob)
                self.bob.expect(data)
            self.settle()

    def test_burst(self) -> None:
        """Datagrams that came while nobody looked are all relayed, in order."""
        self.settle()
        sent = [bytes((0x80, 0, number)) for number in range(100)]
        for data in sent[:-1]:
            self.alice.send_unseen(data, self.to_bob)
        self.alice.send(sent[-1], self.to_bob)
        for data in sent:
            self.bob.expect(data)

    def test_counts(self) -> None:
        """Packets, octets and RTCP of each leg are counted, and where its media comes from."""
        for _ in range(3):
            self.alice.send(RTP, self.to_bob)
        self.bob.send(b"four", self.to_alice)
        self.alice.send(RTCP, rtcp_of(self.answered))
        alice, bob = self.statistics()
        self.assertEqual((alice.leg, alice.stream, alice.media), ("a", 0, "audio"))
        self.assertEqual((alice.packets, alice.size_octets, alice.rtcp_packets, alice.dropped), (3, 516, 1, 0))
        self.assertEqual(alice.source, f"127.0.0.1:{self.alice.port}")
        self.assertEqual((bob.packets, bob.size_octets, bob.rtcp_packets, bob.dropped), (1, 4, 0, 0))

    def test_party_that_does_not_listen(self) -> None:
        """ICMP about a party that is gone disturbs nothing; when it listens again it hears."""
        self.settle()
        port = self.bob.port
        self.bob.close()
        for _ in range(5):
            self.alice.send(RTP, self.to_bob)
        self.bob = self.party(port=port)
        self.alice.send(b"lost to the error of the one before", self.to_bob)
        self.bob.received()
        self.check_flows()

    def test_addresses_that_cannot_be_sent_to(self) -> None:
        """A party that signals an address that the system refuses to send to harms itself alone."""
        self.connect(self.alice.port, self.bob.port, address="255.255.255.255")
        self.bob.send(RTP, self.to_alice)
        self.bob.send(RTCP, rtcp_of(self.offered))
        self.check_flows()
        bob = self.statistics()[1]
        self.assertEqual((bob.packets, bob.rtcp_packets), (2, 1))

    def test_other_leg_ended(self) -> None:
        """What a settled party sends to nobody is dropped and counted."""
        self.settle()
        self.session.leg_ended("b1")
        self.alice.send(RTP, self.to_bob)
        self.assertEqual(self.dropped()["a"], 1)
        self.assertEqual(self.bob.received(), [])

    def test_session_closed_by_an_event(self) -> None:
        """Whoever hears of a latched source may close the session there and then."""

        def close(kind: str, text: str) -> None:
            if kind == "latched":
                session.close()

        session = self.relay.open_session("other", close)
        alice, bob = self.party(), self.party()
        self.result(session.offer("a", "b1", describe(("audio", alice.port))))
        answered = self.result(session.answer("b1", "a", describe(("audio", bob.port))))
        alice.send(RTP, place_of(answered))
        self.assertEqual(len(self.relay), 1)
        self.check_flows()

    def test_event_that_fails(self) -> None:
        """A listener that raises is logged as a bug; the relay goes on."""

        def fail(kind: str, text: str) -> None:
            if kind == "latched":
                raise ZeroDivisionError

        session = self.relay.open_session("other", fail)
        self.result(session.offer("a", "b1", describe(("audio", self.party().port))))
        answered = self.result(session.answer("b1", "a", describe(("audio", self.party().port))))
        self.alice.send(RTP, place_of(answered))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.check_flows()


class SocketTests(CallTestCase):
    """The sockets in this process."""

    def test_woken_for_nothing(self) -> None:
        """A wake-up without a datagram is no error, neither before nor after the source is settled."""
        for _ in range(2):
            for stream in self.session._legs.all:
                assert isinstance(stream.forwarder, SocketForwarder)
                stream.forwarder.rtp.receive()
                stream.forwarder.rtcp.receive()
            self.settle()

    def test_leaves_no_cycles(self) -> None:
        """What a closed session consisted of is gone at once; it does not wait for the garbage collector."""
        self.settle()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        kinds = (RelaySession, RelayStream, RelaySocket)
        streams = self.session._legs.all
        mine = {id(self.session), *map(id, streams)}
        for stream in streams:
            assert isinstance(stream.forwarder, SocketForwarder)
            mine |= {id(stream.forwarder.rtp), id(stream.forwarder.rtcp)}
        del streams, stream

        def count() -> int:
            return sum(isinstance(each, kinds) and id(each) in mine for each in gc.get_objects())

        self.assertEqual(count(), 7)
        self.session.close()
        del self.session
        self.assertEqual(count(), 0)


class SourceTests(CallTestCase):
    """Who is believed to be a party."""

    def setUp(self) -> None:
        """Add somebody else."""
        super().setUp()
        self.foreign = self.party()

    def test_behind_nat(self) -> None:
        """A party that comes from elsewhere than it said is latched on to."""
        self.connect(self.alice.port, 9, address="192.0.2.1")
        self.bob = self.party()
        self.bob.send(RTP, self.to_alice)
        self.settle()
        expected = f"a/0 RTP comes from 127.0.0.1:{self.alice.port}, signalled 192.0.2.1:{self.alice.port}"
        self.assertIn(expected, self.kinds("latched"))

    def test_established_stream_cannot_be_taken_over(self) -> None:
        """Once settled, a foreign source gets nothing through, hears nothing and moves nothing."""
        self.settle()
        for _ in range(10):
            self.foreign.send(RTP, self.to_bob)
            self.foreign.send(RTP, self.to_alice)
        self.assertEqual((self.alice.received(), self.bob.received(), self.foreign.received()), ([], [], []))
        self.check_flows()
        self.assertEqual(self.foreign.received(), [])

    def test_foreign_source_within_the_window(self) -> None:
        """A foreign source is dropped and counted, and reported once."""
        self.check_flows()
        for _ in range(3):
            self.foreign.send(RTP, self.to_bob)
        self.assertEqual(self.bob.received(), [])
        self.assertEqual(self.dropped(), {"a": 3, "b1": 0})
        expected = f"a/0 RTP from 127.0.0.1:{self.foreign.port} dropped, expected from 127.0.0.1:{self.alice.port}"
        self.assertEqual(self.kinds("foreign-source"), [expected])

    def test_many_foreign_sources(self) -> None:
        """Not every one of many foreign sources is reported, but all are counted."""
        self.check_flows()
        for _ in range(20):
            self.party().send(RTP, self.to_bob)
        self.assertEqual(len(self.kinds("foreign-source")), 8)
        self.assertEqual(self.dropped()["a"], 20)

    def test_foreign_source_first(self) -> None:
        """A foreign source that came first is put out by the signalled address."""
        self.foreign.send(RTP, self.to_bob)
        self.bob.expect(RTP)
        self.check_flows()
        self.foreign.send(RTP, self.to_bob)
        self.assertEqual((self.bob.received(), self.foreign.received()), ([], []))

    def test_queued_before_the_source_was_settled(self) -> None:
        """What a foreign source had sent before the kernel began to filter is dropped, too."""
        self.check_flows()
        self.reactor.advance(5.0)
        self.alice.send_unseen(b"one", self.to_bob)
        self.foreign.send_unseen(b"spoofed", self.to_bob)
        self.alice.send(b"two", self.to_bob)
        self.assertEqual(self.bob.received(), [b"one", b"two"])
        self.assertEqual(self.dropped()["a"], 1)

    def test_new_address_by_signalling(self) -> None:
        """After an offer with another address the new source is taken, the old one no more; the ports stay."""
        self.settle()
        before, self.alice = self.alice, self.party()
        ports = (self.to_bob, self.to_alice)
        self.connect(self.alice.port, self.bob.port)
        self.assertEqual((self.to_bob, self.to_alice), ports)
        self.settle()
        before.send(RTP, self.to_bob)
        self.assertEqual((self.bob.received(), before.received()), ([], []))

    def test_same_address_by_signalling(self) -> None:
        """An offer with the same address gives no foreign source a chance."""
        self.settle()
        self.connect(self.alice.port, self.bob.port)
        self.foreign.send(RTP, self.to_bob)
        self.assertEqual(self.bob.received(), [])
        self.check_flows()

    def test_hold_by_address(self) -> None:
        """A party that says 0.0.0.0 is sent nothing, the other is told so, and both hear each other again after."""
        self.settle()
        self.connect(self.alice.port, self.bob.port, address="0.0.0.0")
        self.assertEqual(place_of(self.offered), ("0.0.0.0", self.to_alice[1]))
        self.bob.send(RTP, ("127.0.0.1", self.to_alice[1]))
        self.assertEqual(self.alice.received(), [])
        self.connect(self.alice.port, self.bob.port)
        self.settle()

    def test_name_instead_of_an_address(self) -> None:
        """A party that signals a name, which nobody looks up, is found when it sends."""
        self.connect(self.alice.port, self.bob.port, address="phone.example.invalid")
        self.bob.send(b"early", self.to_alice)
        self.assertEqual(self.alice.received(), [])
        self.settle()


class RtcpTests(CallTestCase):
    """RTCP on the port after that of RTP."""

    def test_relays_both_ways(self) -> None:
        """RTCP goes from the second port of each party to that of the other."""
        alice, bob = self.neighbour(self.alice), self.neighbour(self.bob)
        alice.send(RTCP, rtcp_of(self.answered))
        bob.expect(RTCP, source=rtcp_of(self.offered))
        bob.send(RTCP, rtcp_of(self.offered))
        alice.expect(RTCP, source=rtcp_of(self.answered))
        self.assertEqual([entry.rtcp_packets for entry in self.statistics()], [1, 1])

    def test_goes_where_signalled(self) -> None:
        """RFC 3605: `a=rtcp` is heeded, and rewritten to the port after that of RTP."""
        reports = self.party()
        self.alice_says = (f"a=rtcp:{reports.port} IN IP4 127.0.0.1", "a=ptime:20")
        self.connect(self.alice.port, self.bob.port)
        self.assertEqual(
            self.offered.media[0].lines[1:], (f"a=rtcp:{self.to_alice[1] + 1} IN IP4 127.0.0.1", "a=ptime:20")
        )
        bob = self.neighbour(self.bob)
        bob.send(RTCP, rtcp_of(self.offered))
        reports.expect(RTCP, source=rtcp_of(self.answered))

    def test_first_report_after_the_window(self) -> None:
        """A first report that comes late is taken from the host that RTP comes from."""
        self.connect(self.alice.port, self.bob.port, address="192.0.2.1")
        self.settle()
        bob = self.neighbour(self.bob)
        self.reactor.advance(60)
        bob.received()
        alice = self.party()
        alice.send(RTCP, rtcp_of(self.answered))
        bob.expect(RTCP)

    def neighbour(self, party: Party) -> Party:
        """Make the RTCP socket of a party; if its port is taken, negotiate with other parties."""
        for _ in range(50):
            try:
                return self.party(port=party.port + 1)
            except OSError:
                replacement = self.party()
                if party is self.alice:
                    self.alice = party = replacement
                else:
                    self.bob = party = replacement
                self.connect(self.alice.port, self.bob.port)
        raise AssertionError("no two ports in a row")


class MuxTests(CallTestCase):
    """RTCP on the port of RTP on one leg (RFC 5761)."""

    alice_says: tuple[str, ...] = ("a=rtcp-mux", "a=rtcp:4001")

    def setUp(self) -> None:
        """Give the party that does not multiplex a socket for RTCP."""
        super().setUp()
        self.reports = self.party()
        self.bob_says = (f"a=rtcp:{self.reports.port}",)
        self.connect(self.alice.port, self.bob.port)

    def test_descriptions(self) -> None:
        """Who offers it is answered with it; neither description of that names an RTCP port as well."""
        self.assertEqual(self.offered.media[0].lines[1:], ("a=rtcp-mux",))
        self.assertEqual(self.answered.media[0].lines[1:], ("a=rtcp-mux",))

    def test_taken_apart_and_put_together(self) -> None:
        """RTCP of the one goes to the RTCP port of the other, and back to the one port, also once settled."""
        for _ in range(2):
            self.alice.send(RTCP, self.to_bob)
            self.reports.expect(RTCP, source=rtcp_of(self.offered))
            self.reports.send(RTCP + b"2", rtcp_of(self.offered))
            self.alice.expect(RTCP + b"2", source=self.to_bob)
            self.check_flows()
            self.settle()
        alice, bob = self.statistics()
        self.assertEqual((alice.rtcp_packets, bob.rtcp_packets), (2, 2))
        self.assertEqual(alice.packets, bob.packets)

    def test_short_report(self) -> None:
        """A report may be shorter than any packet of RTP (RFC 5506)."""
        report = b"\x80\xc9\x00\x01ssrc"
        self.alice.send(report, self.to_bob)
        self.reports.expect(report, source=rtcp_of(self.offered))
        self.assertEqual(self.statistics()[0].rtcp_packets, 1)

    def test_on_both_legs(self) -> None:
        """If both multiplex, everything goes over the one port, and is counted apart."""
        self.bob_says = ("a=rtcp-mux",)
        self.connect(self.alice.port, self.bob.port)
        for data in (RTP, RTCP):
            self.alice.send(data, self.to_bob)
            self.bob.expect(data, source=self.to_alice)
        alice = self.statistics()[0]
        self.assertEqual((alice.packets, alice.rtcp_packets), (1, 1))

    def test_not_any_more(self) -> None:
        """An offer without it ends it: what looks like RTCP on the port of RTP is relayed like anything else."""
        self.alice_says = self.bob_says = ()
        self.connect(self.alice.port, self.bob.port)
        self.assertEqual(self.answered.media[0].lines[1:], ())
        self.alice.send(RTCP, self.to_bob)
        self.bob.expect(RTCP, source=self.to_alice)


class IceTests(CallTestCase):
    """Candidates would lead media past the relay (RFC 8839)."""

    alice_says = (
        "a=ice-ufrag:8hhY",
        "a=ice-pwd:asd88fgpdd777uzjYhagZg",
        "a=ice-options:trickle",
        "a=candidate:1 1 UDP 2130706431 10.0.1.1 8998 typ host",
        "a=remote-candidates:1 10.0.1.1 8998",
        "a=end-of-candidates",
        "a=sendrecv",
    )

    def test_candidates_are_left_out(self) -> None:
        """No attribute of ICE crosses, everything else does."""
        self.assertEqual(self.offered.media[0].lines[1:], ("a=sendrecv",))
        session: SessionDescription = describe(("audio", 4000))
        lines = (*session.lines, "a=ice-lite", "a=group:BUNDLE 0")
        offered = self.offer("a", "b2", SessionDescription(lines=lines, media=session.media))
        self.assertEqual(offered.lines[-1], "a=group:BUNDLE 0")
        self.assertNotIn("a=ice-lite", offered.lines)
