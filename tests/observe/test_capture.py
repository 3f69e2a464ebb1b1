"""The capture ring, its text dumps, and its files."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.interfaces import AttemptRecord, ICallObserver, IFlow, IMessageObserver, ListeningPoint
from sipd.observe.capture import Capture, CapturedMessage, dump, redact
from sipd.observe.ladder import ladder
from sipd.observe.pcap import pcap
from sipd.sip.locate import Transport
from tests.observe.support import message, record


@implementer(IFlow)
class Flow:
    """A flow that only has addresses."""

    transport = Transport.UDP
    is_open = True
    peer_names: tuple[str, ...] = ()

    def __init__(self, bound: str = "0.0.0.0") -> None:
        self.point = ListeningPoint(
            name="udp",
            transport=Transport.UDP,
            host=bound,
            port=5060,
            advertised_host="203.0.113.9",
            advertised_port=5060,
        )
        self.host, self.port = "192.0.2.1", 5062

    def send(self, data: bytes) -> None:
        """See `IFlow`."""

    def close(self) -> None:
        """See `IFlow`."""


def options(call_id: str, header: str = "Call-ID") -> bytes:
    """Make a small request."""
    return (
        "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
        f"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n{header}: {call_id}\r\n"
        "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


class CaptureTests(SynchronousTestCase):
    """The ring."""

    def setUp(self) -> None:
        """Make a capture on a clock."""
        self.clock = Clock()
        self.capture = Capture(self.clock.seconds, max_messages=3)

    def test_interfaces(self) -> None:
        """A capture observes messages and calls."""
        verifyObject(IMessageObserver, self.capture)
        verifyObject(ICallObserver, self.capture)
        verifyObject(IFlow, Flow())

    def test_keeps_what_it_saw(self) -> None:
        """Time, direction and both ends are kept; a wildcard address is shown as the advertised one."""
        self.clock.advance(5)
        self.capture.message_seen(b"in", Flow("198.51.100.7"), sent=False)
        self.capture.message_seen(b"out", Flow(), sent=True)
        received, sent = self.capture.messages()
        self.assertEqual((received.at, received.data, received.transport), (5, b"in", "UDP"))
        self.assertEqual((received.source, received.destination), (("192.0.2.1", 5062), ("198.51.100.7", 5060)))
        self.assertEqual((sent.source, sent.destination), (("203.0.113.9", 5060), ("192.0.2.1", 5062)))

    def test_bounds(self) -> None:
        """The oldest messages go when there are too many, or when they are too large together."""
        for number in range(5):
            self.capture.message_seen(b"%d" % number, Flow(), sent=True)
        self.assertEqual([kept.data for kept in self.capture.messages()], [b"2", b"3", b"4"])
        small = Capture(self.clock.seconds, max_size_octets=10)
        for size in (6, 4, 3, 11):
            small.message_seen(bytes(size), Flow(), sent=True)
            self.assertLessEqual(sum(len(kept.data) for kept in small.messages()), 10)
        self.assertEqual(len(small), 0)

    def test_both_legs_of_a_call(self) -> None:
        """The messages of a call are those of its record's Call-ID, of its attempts, and of what was associated."""
        self.capture = Capture(self.clock.seconds)
        for name in ("a", "b", "other", "c"):
            self.capture.message_seen(options(name, "i" if name == "b" else "Call-ID"), Flow(), sent=True)
        kept = record("a")
        self.capture.call_started("1", kept)
        kept.attempts.append(AttemptRecord(leg="b1", call_id="b", status=486))
        kept.attempts.append(AttemptRecord(leg="b2", status=500))
        self.capture.associate("1", "c")
        self.assertEqual([found.call_id for found in self.capture.messages_of("1")], ["a", "b", "c"])
        self.assertEqual(self.capture.messages_of("2"), [])
        self.assertEqual(len(self.capture.messages_with(["other"])), 1)

    def test_calls_are_bounded(self) -> None:
        """The Call-IDs of old calls are forgotten."""
        small = Capture(self.clock.seconds, max_calls=2)
        for call in ("1", "2", "3"):
            small.call_started(call, record(call))
            small.associate(call, "x")
        self.assertEqual((small.call_ids_of("1"), small.call_ids_of("3")), (set(), {"3", "x"}))

    def test_message_without_call_id(self) -> None:
        """Noise has an empty Call-ID and is part of no call."""
        self.assertEqual(message(b"\r\n\r\n").call_id, "")


SECRETS = (
    b"REGISTER sip:example.com SIP/2.0\r\n"
    b'Authorization: Digest username="alice", realm="r", nonce="n", uri="sip:r",\r\n response="0123abcd", qop=auth\r\n'
    b'Proxy-Authorization: Digest username="a", response=deadbeef\r\n'
    b"Authorization: Basic YWxpY2U6c2VjcmV0\r\n"
    b"Contact: <sip:alice:hunter2@192.0.2.1:5060>\r\n"
    b"\r\nv=0\r\nk=clear:geheim\r\n"
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9|2^20;inline:second\r\n"
    b"a=key-mgmt:mikey AQAFgM0XflABAAAA\r\n"
)


class RedactionTests(SynchronousTestCase):
    """What a dump does not show."""

    def test_covers_secrets(self) -> None:
        """Digest responses, other credentials, SRTP keys and passwords are covered; the length stays the same."""
        covered = redact(SECRETS)
        secrets = (b"0123abcd", b"deadbeef", b"YWxpY2U6c2VjcmV0", b"hunter2", b"geheim", b"WVNfX19", b"second")
        for secret in (*secrets, b"AQAFgM0"):
            self.assertNotIn(secret, covered)
        for kept in (
            b'username="alice"',
            b'nonce="n"',
            b"qop=auth",
            b"|2^20",
            b"192.0.2.1:5060",
            b"Authorization: Basic",
        ):
            self.assertIn(kept, covered)
        self.assertEqual(len(covered), len(SECRETS))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=200))
    def test_keeps_the_length(self, noise: bytes) -> None:
        """Whatever comes, the length stays."""
        self.assertEqual(len(redact(SECRETS + noise)), len(SECRETS) + len(noise))

    def test_leaves_the_rest(self) -> None:
        """A message without secrets stays as it is."""
        self.assertEqual(redact(options("a")), options("a"))

    def test_dump(self) -> None:
        """A dump is text with a line about each message before it, and no secrets."""
        text = dump([message(SECRETS, at=0.5, note="lost"), message(b"\xff\xfe")])
        self.assertTrue(text.startswith("--- 1970-01-01T00:00:00.500Z UDP 192.0.2.1:5060 -> 192.0.2.9:5060 (lost)\n"))
        self.assertIn("\\xff\\xfe", text)
        self.assertNotIn("hunter2", text)


class PcapTests(SynchronousTestCase):
    """Files for other programs."""

    def setUp(self) -> None:
        """Make messages of every kind."""
        six = message(options("b", "i"), at=2.25, source=("2001:db8::1", 5060), destination=("2001:db8::2", 5080))
        mixed = message(options("c"), at=3.0, source=("192.0.2.1", 5060), destination=("2001:db8::2", 5060))
        self.messages = [message(options("a"), at=1700000000.123456), six, mixed]

    def test_layout(self) -> None:
        """The file is a header, and a record with the time and an IP packet for each message."""
        data = pcap(self.messages[:1])
        self.assertEqual(struct.unpack("<I", data[:4])[0], 0xA1B2C3D4)
        self.assertEqual(struct.unpack("<I", data[20:24])[0], 101)
        seconds, microseconds, captured, length = struct.unpack("<IIII", data[24:40])
        self.assertEqual((seconds, microseconds), (1700000000, 123456))
        self.assertEqual(captured, length)
        packet = data[40:]
        self.assertEqual(len(packet), length)
        self.assertEqual(packet[0], 0x45)
        self.assertEqual(packet[28:], options("a"))

    def test_too_long(self) -> None:
        """A message longer than a packet can be is cut."""
        self.assertEqual(len(pcap([message(bytes(70000))])), 24 + 16 + 65535)

    def test_host_that_is_a_name(self) -> None:
        """A host that is no address is shown as the unspecified one."""
        self.assertEqual(pcap([message(b"x", source=("pbx.example.com", 5060))])[40 + 12 : 40 + 16], bytes(4))

    def test_tshark_reads_it(self) -> None:
        """Tshark finds a SIP message in every packet, good checksums, and nothing malformed."""
        tshark = shutil.which("tshark")
        if tshark is None:
            raise SkipTest("needs tshark (Debian package: tshark)")
        path = Path(self.mktemp())
        path.write_bytes(pcap(self.messages))
        checks = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
        fields = "sip.Call-ID", "ip.checksum.status", "udp.checksum.status", "_ws.malformed", "_ws.expert.severity"
        arguments = [option for field in fields for option in ("-e", field)]
        shown = subprocess.run(
            [tshark, "-n", "-r", str(path), *checks, "-T", "fields", "-E", "separator=|", *arguments],
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        ).stdout.splitlines()
        rows = [line.split("|") for line in shown]
        self.assertEqual([row[0] for row in rows], ["a", "b", "c"])
        self.assertEqual([row[1] for row in rows], ["1", "", ""])
        self.assertEqual([row[2] for row in rows], ["1", "1", "1"])
        self.assertEqual([row[3] for row in rows], ["", "", ""])


class LadderTests(SynchronousTestCase):
    """The diagram."""

    def test_ladder(self) -> None:
        """Arrows go from party to party; loss, repetition and bodies are marked; times count from the first."""
        alice, sipd, bob = ("192.0.2.1", 5060), ("192.0.2.9", 5060), ("192.0.2.2", 5060)
        invite = b"INVITE sip:bob@example.com SIP/2.0\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\n"
        answer = b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n"
        drawing = ladder(
            [
                message(invite, at=10.0, source=alice, destination=sipd, note="lost"),
                message(invite, at=10.5, source=alice, destination=sipd),
                message(b"INVITE x SIP/2.0\r\nCSeq: 7 INVITE\r\n\r\n", at=10.51, source=sipd, destination=bob),
                message(answer, at=12.0, source=bob, destination=sipd),
                message(b"BYE x SIP/2.0\r\nCSeq: 2 BYE\r\n\r\n", at=13.0, source=bob, destination=alice),
                message(b"OPTIONS x SIP/2.0\r\n\r\n", at=14.0, source=bob, destination=bob),
            ],
            {alice: "alice", sipd: "sipd", bob: "bob"},
            order=["alice", "sipd", "bob"],
        )
        self.assertEqual(
            drawing.splitlines(),
            [
                "          alice                             sipd                               bob",
                "     0.000  |--------- INVITE 1 sdp ---------x|                                 |  lost",
                "     0.500  |------ INVITE 1 sdp again ------>|                                 |",
                "     0.510  |                                 |----------- INVITE 7 ----------->|",
                "     2.000  |                                 |<------- 200 OK INVITE 1 --------|",
                "     3.000  |<----------------------------- BYE 2 ------------------------------|",
                "     4.000  |                                 |                                 | OPTIONS (to itself)",
            ],
        )

    def test_nothing(self) -> None:
        """No messages make no ladder."""
        self.assertEqual(ladder([]), "no messages\n")

    def test_unknown_parties(self) -> None:
        """Parties without a name are called by their address."""
        self.assertIn("192.0.2.1:5060", ladder([message(options("a"))]))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.tuples(st.binary(max_size=80), st.integers(1, 4), st.integers(1, 4)), max_size=6))
    def test_draws_anything(self, sent: list[tuple[bytes, int, int]]) -> None:
        """Whatever the octets, there is one line for each message and the lines of the parties stand straight."""
        drawn: list[CapturedMessage] = [
            message(data, source=(f"192.0.2.{source}", 5060), destination=(f"192.0.2.{end}", 5060))
            for data, source, end in sent
        ]
        self.assertEqual(len(ladder(drawn).splitlines()), len(sent) + 1)
