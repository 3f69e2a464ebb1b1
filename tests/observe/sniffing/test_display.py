"""From captured packets to what stands on the screen."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.sniffing.display import Display, Wanted
from sipd.observe.sniffing.filters import Filter
from sipd.observe.sniffing.packets import Link
from sipd.observe.sniffing.ports import Ports
from sipd.observe.sniffing.sightings import Address, MediaSeen, Sighting, Unreadable, uncovered
from sipd.observe.sniffing.sniffer import Rest, Sniffer
from tests.observe.sniffing.wires import (
    ALICE,
    ALICE_6,
    BOB,
    BOB_6,
    SYN,
    ethernet,
    ipv4,
    ipv6,
    register,
    request,
    response,
    rtp,
    seen,
    tcp,
    udp,
)


class SnifferTests(SynchronousTestCase):
    """Packets to what is seen."""

    def setUp(self) -> None:
        self.sniffer = Sniffer(Ports(rtp=(10000, 20000)))

    def test_datagrams(self) -> None:
        """A message in a datagram is seen, in either version of IP, with its time and addresses."""
        for packet, source, destination in (
            (ipv4(udp(request())), ALICE, BOB),
            (ipv6(udp(request())), ALICE_6, BOB_6),
        ):
            (found,) = self.sniffer.feed(5.0, Link.ETHERNET, ethernet(packet, 0x8100))
            assert isinstance(found, Sighting)
            self.assertEqual((found.at, found.source, found.destination), (5.0, source, destination))
            self.assertEqual((found.transport, found.method, found.data), ("UDP", "INVITE", request()))

    def test_fragments(self) -> None:
        """A message in fragments is seen when the last one is there."""
        data = udp(request(body="x" * 3000))
        first, last = ipv4(data[:1480], place=0x2000), ipv4(data[1480:], place=185)
        self.assertEqual(self.sniffer.feed(0.0, Link.RAW, last), [])
        (found,) = self.sniffer.feed(1.0, Link.RAW, first)
        assert isinstance(found, Sighting)
        self.assertEqual(found.data, request(body="x" * 3000))

    def test_connections(self) -> None:
        """Messages on a connection are seen when they are whole; TLS is named."""
        data = request() + response()
        packets = [tcp(b"", 0, SYN), tcp(data[:100], 1), tcp(data[100:], 101)]
        found = [one for packet in packets for one in self.sniffer.feed(0.0, Link.RAW, ipv4(packet, 6))]
        self.assertEqual([one.transport for one in found if isinstance(one, Sighting)], ["TCP", "TCP"])
        (tls,) = self.sniffer.feed(
            0.0, Link.RAW, ipv4(tcp(b"\x16\x03\x01", 7, destination=(BOB[0], 5060), source=BOB), 6)
        )
        assert isinstance(tls, Unreadable)
        self.assertIn("TLS", tls.reason)

    def test_end(self) -> None:
        """What waited for something that was lost is seen at the end."""
        for packet in (tcp(b"", 0, SYN), tcp(request(), 99)):
            self.assertEqual(self.sniffer.feed(3.0, Link.RAW, ipv4(packet, 6)), [])
        (found,) = self.sniffer.finish()
        self.assertEqual(found.at, 3.0)

    def test_media(self) -> None:
        """RTP and RTCP are seen on the ports that were asked for; nothing else there is."""
        for data, count in ((rtp(1), 1), (b"\x80\xc8\0\0", 1), (b"hello", 0), (b"", 0), (b"\0" * 20, 0)):
            found = self.sniffer.feed(0.0, Link.RAW, ipv4(udp(data, (ALICE[0], 4000), (BOB[0], 10000))))
            self.assertEqual([type(one) for one in found], [MediaSeen] * count)
        self.assertEqual(Sniffer(Ports()).feed(0.0, Link.RAW, ipv4(udp(rtp(1), destination=(BOB[0], 10000)))), [])

    def test_rest(self) -> None:
        """What is no message is counted; what is on other ports, or no IP, is not."""
        for packet in (
            ipv4(udp(b"\r\n\r\n")),
            ipv4(udp(b"\0\0\0\0")),
            ipv4(udp(b"hello world")),
            ipv4(b"x"),
            ipv4(tcp(b"", 1)[:10], 6),
            ipv4(udp(b"hello", (ALICE[0], 1), (BOB[0], 2))),
            ipv4(tcp(b"hello", 1, source=(ALICE[0], 1), destination=(BOB[0], 2)), 6),
            ipv4(b"ping", 1),
        ):
            self.assertEqual(self.sniffer.feed(0.0, Link.RAW, packet), [])
        self.assertEqual(self.sniffer.feed(0.0, Link.ETHERNET, b"\0" * 60), [])
        self.assertEqual(self.sniffer.rest, Rest(keep_alives=2, others=1, broken=2))

    def test_secrets(self) -> None:
        """Secrets are covered, unless it is asked for them."""
        data = request(fields='Authorization: Digest username="a", response="deadbeef"\r\n')
        for sniffer, expected in ((Sniffer(Ports()), 0), (Sniffer(Ports(), uncovered), 1)):
            (found,) = sniffer.feed(0.0, Link.RAW, ipv4(udp(data)))
            assert isinstance(found, Sighting)
            self.assertEqual(found.data.count(b"deadbeef"), expected)


class DisplayTests(SynchronousTestCase):
    """What is seen to lines."""

    def setUp(self) -> None:
        self.written: list[str] = []
        self.saved: list[tuple[float, Address, Address, bytes]] = []

    def display(self, chosen: Filter | None = None, **wanted: bool | int) -> Display:
        """Make one with these wishes."""

        def save(at: float, source: Address, destination: Address, data: bytes) -> None:
            self.saved.append((at, source, destination, data))

        return Display(chosen or Filter(), Wanted(**wanted), self.written.append, save)  # type: ignore[arg-type]

    def call(self, display: Display, call_id: str = "a1", start: float = 0.0) -> None:
        """Let a call pass that is refused a second later."""
        for at, data in ((start, request(call_id=call_id)), (start + 1, response(486, call_id=call_id))):
            display.show([seen(data, at=at)])
            display.pass_time(at)

    def test_lines(self) -> None:
        """What passes the filter is written and saved, and nothing else."""
        display = self.display(Filter(methods=frozenset({"INVITE"})))
        display.show([seen(request()), seen(register()), seen(response(486))])
        self.assertEqual(len(self.written), 2)
        self.assertEqual(self.saved, [(0.0, ALICE, BOB, request()), (0.0, ALICE, BOB, response(486))])
        self.assertEqual(display.shown, 2)

    def test_count(self) -> None:
        """After so many messages nothing more is shown; what cannot be read does not count."""
        display = self.display(count=2)
        tls = Unreadable(at=0.0, source=ALICE, destination=BOB, reason="TLS")
        display.show([tls, seen(request()), tls, seen(request()), seen(request())])
        self.assertTrue(display.is_done)
        self.assertEqual(len(self.written), 4)

    def test_whole(self) -> None:
        """Whole messages are written with all that is in them."""
        self.display(whole=True).show([seen(request())])
        self.assertIn("\nMax-Forwards: 70\n", self.written[0])

    def test_json(self) -> None:
        """Each line is an object that says what kind it is; whole messages are in it if they are wanted."""
        display = self.display(as_json=True, whole=True, summary=True)
        display.show([seen(request()), Unreadable(at=0.0, source=ALICE, destination=BOB, reason="TLS")])
        display.show([MediaSeen(at=0.0, source=ALICE, destination=BOB, data=rtp(1))])
        display.finish(Rest())
        found = [json.loads(line) for line in self.written]
        self.assertEqual([one["kind"] for one in found], ["request", "unreadable", "rtp", "rtp", "summary"])
        self.assertEqual(found[0]["message"], request().decode())
        self.assertEqual([one["event"] for one in found[2:4]], ["begins", "so far"])

    def test_ladder(self) -> None:
        """A call is drawn when it has been over for a moment; what is not over, at the end."""
        display = self.display(messages=False, ladders=True)
        self.call(display)
        display.show([seen(request("OPTIONS", "o1"), at=1.5)])
        display.pass_time(1.9)
        self.assertEqual(self.written, [])
        display.pass_time(2.0)
        head, drawing = self.written
        self.assertEqual(head, "1970-01-01T00:00:00.000Z alice -> bob a1")
        self.assertRegex(drawing, r"192\.0\.2\.1:5062 +192\.0\.2\.9:5060\n +0\.000 +\|-+ INVITE 1 -+>\|\n +1\.000 ")
        display.finish(Rest())
        self.assertEqual(len(self.written), 4)
        self.assertIn("OPTIONS", self.written[3])

    def test_summary(self) -> None:
        """Counts come at the end, of what passed the filter."""
        display = self.display(Filter(call_id="a2"), messages=False, summary=True)
        self.call(display, "a1")
        self.call(display, "a2")
        display.finish(Rest())
        self.assertEqual(self.written[0], "messages: 2 in 1.000 s (UDP 2)")

    def test_media(self) -> None:
        """A stream is told when it begins, when it ends, and at the end; all of its packets are saved."""
        display = self.display()
        for sequence in range(10):
            display.show([MediaSeen(at=sequence / 50, source=ALICE, destination=BOB, data=rtp(sequence))])
        display.pass_time(10.0)
        display.show([MediaSeen(at=20.0, source=ALICE, destination=BOB, data=rtp(99))])
        display.finish(Rest())
        events = [line.partition(" RTP ")[2].partition(":")[0] for line in self.written]
        self.assertEqual(events, ["begins", "ends", "begins", "so far"])
        self.assertIn("10 packets in 0.2 s, 0 lost", self.written[1])
        self.assertEqual(len(self.saved), 11)

    def test_quiet(self) -> None:
        """Without lines there is still the summary, and the file."""
        display = self.display(messages=False, streams=False, summary=True)
        display.show([seen(request()), MediaSeen(at=0.0, source=ALICE, destination=BOB, data=rtp(1))])
        self.assertEqual(self.written, [])
        display.finish(Rest())
        self.assertEqual(len(self.saved), 2)
        self.assertTrue(self.written[0].startswith("messages: 1"))
