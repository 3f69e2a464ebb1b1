"""Tests of `sipd.sdp.candidates`."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import SdpError
from sipd.sdp.candidates import (
    Candidate,
    CandidateKind,
    IceDescription,
    agrees_with_default,
    canonical_host,
    read_candidates,
)
from sipd.sdp.description import MediaDescription, SessionDescription, parse_description

REFLEXIVE = "2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998"
BROWSER = (
    "842163049 1 udp 1677729535 198.51.100.7 51556 typ srflx raddr 0.0.0.0 rport 0 generation 0 ufrag EsAw "
    "network-id 1 network-cost 10"
)
PASSWORD = "asd88fgpdd777uzjYhagZg"
TEXT = f"""v=0
o=jdoe 2890844526 2890842807 IN IP4 203.0.113.141
s=-
c=IN IP4 192.0.2.3
t=0 0
a=ice-options:ice2
a=ice-pacing:50
a=ice-pwd:{PASSWORD}
a=ice-ufrag:8hhY
m=audio 45664 RTP/AVP 0
b=RS:0
a=rtpmap:0 PCMU/8000
a=candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host
a=candidate:{REFLEXIVE}
"""


def parse(text: str) -> tuple[SessionDescription, MediaDescription]:
    """Give a description and its one stream."""
    session = parse_description(text)
    return session, session.media[0]


def read(text: str) -> IceDescription:
    """Read what there must be."""
    session, media = parse(text)
    description = IceDescription.read(media, session)
    assert description is not None
    return description


class CandidateTests(SynchronousTestCase):
    """What a candidate says."""

    def test_reads_a_candidate(self) -> None:
        """All parts are there; the transport is in lower case."""
        self.assertEqual(
            Candidate.parse(REFLEXIVE),
            Candidate(
                foundation="2",
                component=1,
                priority=1694498815,
                host="192.0.2.3",
                port=45664,
                kind=CandidateKind.SERVER_REFLEXIVE,
                related=("203.0.113.141", 8998),
            ),
        )

    def test_keeps_extensions(self) -> None:
        """What browsers add is kept, in order."""
        candidate = Candidate.parse(BROWSER)
        self.assertEqual(candidate.extensions[:2], (("generation", "0"), ("ufrag", "EsAw")))
        self.assertEqual(str(candidate), BROWSER)

    def test_prints_what_it_has_read(self) -> None:
        """A candidate reads as it was printed, of either version of IP, with a name or of TCP."""
        for text in (
            REFLEXIVE.replace("UDP", "udp"),
            "1 2 udp 1 2001:db8::1 9 typ host",
            "1 1 udp 2122260223 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 10004 typ host",
            "x 1 tcp 1518214911 192.0.2.4 9 typ host tcptype active",
            "a+/ 256 udp 2147483647 192.0.2.4 65535 typ prflx raddr 10.0.0.1 rport 1",
            "3 1 udp 3 192.0.2.4 6 typ relay raddr 10.0.0.1 rport 1",
        ):
            self.assertEqual(str(Candidate.parse(text)), text)

    def test_writes_addresses_in_one_way(self) -> None:
        """However an IPv6 address is written, it is the same one."""
        candidate = Candidate.parse("1 1 udp 1 2001:DB8:0:0:0::1 9 typ host")
        self.assertEqual(candidate.address, ("2001:db8::1", 9))
        self.assertEqual(str(candidate.numeric_host), "2001:db8::1")
        self.assertEqual(canonical_host("Host.LOCAL"), "host.local")

    def test_name_is_no_address(self) -> None:
        """A name of mDNS is kept, and known to be none."""
        candidate = Candidate.parse("1 1 udp 1 abc.local 9 typ host")
        self.assertEqual(candidate.host, "abc.local")
        self.assertIsNone(candidate.numeric_host)

    def test_refuses_what_is_none(self) -> None:
        """A missing part, a number out of range or an unknown kind is an error."""
        for text in (
            "",
            "1 1 udp 1 192.0.2.1 9",
            "1 1 udp 1 192.0.2.1 9 type host",
            "1 0 udp 1 192.0.2.1 9 typ host",
            "1 257 udp 1 192.0.2.1 9 typ host",
            "1 1 udp 0 192.0.2.1 9 typ host",
            "1 1 udp 2147483648 192.0.2.1 9 typ host",
            "1 1 udp 1 192.0.2.1 65536 typ host",
            "1 1 udp 1 192.0.2.1 9 typ srflx raddr 10.0.0.1 rport 65536",
            "1 1 udp 1 192.0.2.1 9 typ magic",
            "1 1 udp 1 192.0.2.1 9 typ host odd",
            "- 1 udp 1 192.0.2.1 9 typ host",
            "1 1 udp 1 192.0.2.1 9 typ host" + " x y" * 300,
        ):
            self.assertRaises(SdpError, Candidate.parse, text)

    @given(st.text(max_size=200))
    def test_any_text(self, text: str) -> None:
        """No text raises anything but the documented error."""
        with contextlib.suppress(SdpError):
            Candidate.parse(text)

    @given(
        st.builds(
            Candidate,
            foundation=st.from_regex(r"[A-Za-z0-9+/]{1,32}", fullmatch=True),
            component=st.integers(1, 256),
            priority=st.integers(1, 2**31 - 1),
            host=st.ip_addresses().map(str),
            port=st.integers(0, 65535),
            kind=st.sampled_from(CandidateKind),
            related=st.none() | st.tuples(st.ip_addresses().map(str), st.integers(0, 65535)),
            extensions=st.lists(st.tuples(*[st.from_regex(r"[!-~]{1,20}", fullmatch=True)] * 2), max_size=3).map(tuple),
        )
    )
    def test_round_trip(self, candidate: Candidate) -> None:
        """What is printed is read as the same."""
        if not (
            candidate.related is None and candidate.extensions[:1] and candidate.extensions[0][0] in {"raddr", "rport"}
        ):
            self.assertEqual(Candidate.parse(str(candidate)), candidate)


class DescriptionTests(SynchronousTestCase):
    """What a stream says about ICE."""

    def test_session_level_holds(self) -> None:
        """What the session says holds for a stream that says nothing else."""
        description = read(TEXT)
        self.assertEqual((description.ufrag, description.pwd), ("8hhY", PASSWORD))
        self.assertEqual(description.options, ("ice2",))
        self.assertEqual([each.port for each in description.candidates], [8998, 45664])
        self.assertFalse(description.is_lite or description.is_ended or description.trickles)

    def test_stream_overrides_session(self) -> None:
        """What the stream says comes first."""
        description = read(TEXT + f"a=ice-ufrag:abcd\na=ice-pwd:{PASSWORD[::-1]}\na=ice-options:trickle\n")
        self.assertEqual((description.ufrag, description.pwd), ("abcd", PASSWORD[::-1]))
        self.assertTrue(description.trickles)
        self.assertFalse(read(TEXT + "a=ice-options:trickle\na=end-of-candidates\n").trickles)

    def test_lite(self) -> None:
        """``a=ice-lite`` of the session makes a lite side."""
        self.assertTrue(read(TEXT.replace("a=ice-options", "a=ice-lite\na=ice-options")).is_lite)

    def test_no_ice(self) -> None:
        """Who says no user name fragment does not speak of ICE."""
        session, media = parse(TEXT.replace("a=ice-ufrag:8hhY\n", ""))
        self.assertIsNone(IceDescription.read(media, session))
        self.assertIsNone(IceDescription.read(media))

    def test_malformed_credentials(self) -> None:
        """A password that is missing, too short or of other characters is an error that does not say it."""
        for old, new in (
            (f"a=ice-pwd:{PASSWORD}\n", ""),
            (PASSWORD, PASSWORD[1:]),
            (PASSWORD, "-" + PASSWORD),
            ("8hhY", "8hh"),
            ("8hhY", "8" * 257),
        ):
            error = self.assertRaises(SdpError, read, TEXT.replace(old, new))
            self.assertNotIn(PASSWORD[1:], str(error))
        self.assertRaises(ValueError, IceDescription, ufrag="abcd", pwd="short")

    def test_malformed_candidates_are_left_out(self) -> None:
        """One that cannot be read does not spoil the others; after 64 it is enough."""
        _, media = parse(TEXT + "a=candidate:nonsense\na=candidate\n" + f"a=candidate:{REFLEXIVE}\n" * 100)
        self.assertEqual(len(read_candidates(media)), 64)

    def test_writes_in_place_of_what_was_there(self) -> None:
        """A description that was written is read as the same, and other attributes stay."""
        session, media = parse(TEXT)
        description = IceDescription(
            ufrag="abcd",
            pwd=PASSWORD,
            is_lite=True,
            options=("ice2", "trickle"),
            candidates=(Candidate.parse(BROWSER),),
            is_ended=True,
        )
        written = description.write(description.write(media))
        self.assertEqual(IceDescription.read(written, description.write_session(session)), description)
        self.assertEqual(written.attribute("rtpmap"), "0 PCMU/8000")
        self.assertEqual([name for name, _ in written.attributes].count("candidate"), 1)
        plain = IceDescription(ufrag="abcd", pwd=PASSWORD)
        self.assertEqual(plain.write_session(description.write_session(session)), session)

    def test_password_is_not_shown(self) -> None:
        """The password is in no ``repr``."""
        self.assertNotIn(PASSWORD, repr(read(TEXT)))

    def test_restart(self) -> None:
        """Another user name fragment or password is a restart, and other candidates are none."""
        first = read(TEXT)
        self.assertFalse(read(TEXT + f"a=candidate:{BROWSER}\n").is_restart_of(first))
        self.assertTrue(read(TEXT.replace("8hhY", "9hhY")).is_restart_of(first))

    def test_default_destination(self) -> None:
        """The address of the ``m=`` line has to be a candidate, if it says one."""
        for old, new, agrees in (
            ("", "", True),
            ("c=IN IP4 192.0.2.3", "c=IN IP4 192.0.2.4", False),
            ("m=audio 45664", "m=audio 45666", False),
            ("m=audio 45664", "m=audio 9", True),
            ("c=IN IP4 192.0.2.3", "c=IN IP4 0.0.0.0", True),
            ("c=IN IP4 192.0.2.3", "c=IN IP4 host.example", True),
        ):
            session, media = parse(TEXT.replace(old, new))
            self.assertEqual(agrees_with_default(media, session, read_candidates(media)), agrees, new)
