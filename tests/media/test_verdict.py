"""Tests of `sipd.media.verdict`: rows of what is known of both legs, and the verdict."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.media.verdict import Cause, LegMedia, Verdict, judge

#: Two legs that hear each other for five seconds; the first is behind NAT.
A = LegMedia(
    leg="a", packets=250, rtcp_packets=1, sent=250, signalled="192.168.1.5:4000", source="203.0.113.5:61000",
    signalling_host="203.0.113.5",
)  # fmt: skip
B = LegMedia(
    leg="b", packets=250, rtcp_packets=1, sent=250, signalled="198.51.100.7:5000", source="198.51.100.7:5000",
    signalling_host="198.51.100.7",
)  # fmt: skip

#: The same of which nothing came; so nothing is sent to the other.
SILENT_A = replace(A, packets=0, rtcp_packets=0, source="")
SILENT_B = replace(B, packets=0, rtcp_packets=0, source="")
UNHEARD_A = replace(A, sent=0)
UNHEARD_B = replace(B, sent=0)

Row = tuple[str, LegMedia, LegMedia, Cause, str, tuple[str, ...]]


class RowTests(SynchronousTestCase):
    """Each row: what happens, both legs, the cause, the leg, and words that the text has to have."""

    def check(self, *rows: Row) -> None:
        """Check rows."""
        for what, first, second, cause, leg, words in rows:
            verdict = judge(first, second)
            self.assertEqual((verdict.cause, verdict.leg), (cause, leg), f"{what}: {verdict.text}")
            for word in words:
                self.assertIn(word, verdict.text, what)
            self.assertNotIn("\n", verdict.text)

    def test_good(self) -> None:
        """Where media flows as negotiated, nothing is wrong."""
        one_way = replace(A, receives=False, sent=0), replace(B, sends=False, packets=0, source="")
        self.check(
            ("both ways", A, B, Cause.OK, "", ("both ways",)),
            ("one way", *one_way, Cause.OK, "", ("from a to b",)),
            ("one way, the other order", one_way[1], one_way[0], Cause.OK, "", ("from a to b",)),
            ("an early ICMP error", replace(A, icmp_errors=2), B, Cause.OK, "", ()),
            ("other sources, too", replace(A, foreign_packets=9, foreign_source="192.0.2.9:1"), B, Cause.OK, "", ()),
            ("few odd payloads", replace(A, unexpected_payload_packets=5), B, Cause.OK, "", ()),
            ("few failures", replace(A, srtp_failures=5), B, Cause.OK, "", ()),
        )

    def test_on_hold(self) -> None:
        """Where by negotiation nothing is to flow, silence is right."""
        for first, second in (
            (replace(SILENT_A, sends=False, receives=False), SILENT_B),
            (replace(SILENT_A, sends=False), replace(SILENT_B, sends=False)),
            (replace(SILENT_A, sends=False), replace(SILENT_B, receives=False, sends=False)),
            (replace(A, receives=False, srtp_failures=9), replace(B, receives=False)),
        ):
            self.check(("on hold", first, second, Cause.ON_HOLD, "", ("hold",)))

    def test_causes(self) -> None:
        """Each cause, with the addresses to look at."""
        foreign = replace(SILENT_A, foreign_packets=240, foreign_source="192.0.2.66:7000")
        odd = replace(A, unexpected_payload_packets=250, unexpected_payload_types=(97, 98))
        self.check(
            ("srtp", replace(A, srtp_failures=250), UNHEARD_B, Cause.SRTP, "a", ("250 SRTP", "203.0.113.5:61000")),
            ("payload types", odd, B, Cause.PAYLOAD_TYPE, "a", ("250 of 250", "97, 98", "203.0.113.5:61000")),
            ("foreign", foreign, UNHEARD_B, Cause.FOREIGN_SOURCE, "a", ("192.0.2.66:7000", "192.168.1.5:4000")),
            ("private", SILENT_A, UNHEARD_B, Cause.UNREACHABLE, "a", ("192.168.1.5:4000", "203.0.113.5", "NAT")),
            ("rejected", A, replace(SILENT_B, icmp_errors=4), Cause.UNREACHABLE, "b", ("198.51.100.7:5000", "4 ICMP")),
            ("asymmetric", A, replace(B, icmp_errors=4), Cause.UNREACHABLE, "b", ("198.51.100.7:5000", "symmetric")),
            ("no address", A, replace(SILENT_B, signalled="", sent=0), Cause.UNREACHABLE, "b", ("c=",)),
            ("neither", replace(SILENT_A, sent=0), replace(SILENT_B, sent=0), Cause.NO_MEDIA, "",
             ("192.168.1.5:4000", "203.0.113.5", "198.51.100.7:5000")),
            ("reports only", UNHEARD_A, replace(SILENT_B, rtcp_packets=2), Cause.RTCP_ONLY, "b", ("2 RTCP", "muted")),
            ("one is silent", UNHEARD_A, SILENT_B, Cause.NOTHING_FROM, "b", ("198.51.100.7:5000", "a hears nothing")),
            ("not sent on", A, UNHEARD_B, Cause.ONE_WAY, "b", ("b hears nothing", "203.0.113.5:61000")),
        )  # fmt: skip

    def test_both_orders(self) -> None:
        """Which leg is the first changes nothing where only one is at fault."""
        for first, second in (
            (replace(A, srtp_failures=250), UNHEARD_B),
            (replace(A, unexpected_payload_packets=200), B),
            (SILENT_A, UNHEARD_B),
            (UNHEARD_A, SILENT_B),
            (A, UNHEARD_B),
            (A, replace(SILENT_B, icmp_errors=1)),
        ):
            self.assertEqual(judge(first, second), judge(second, first))

    def test_priorities(self) -> None:
        """What is more specific goes first: each row adds a cause that goes before those of the rows above it."""
        first, second = A, UNHEARD_B
        for changes, cause in (
            ({}, Cause.ONE_WAY),
            ({"packets": 0}, Cause.NOTHING_FROM),
            ({"rtcp_packets": 3}, Cause.RTCP_ONLY),
            ({"source": ""}, Cause.UNREACHABLE),
            ({"foreign_packets": 7}, Cause.FOREIGN_SOURCE),
            ({"unexpected_payload_packets": 7}, Cause.PAYLOAD_TYPE),
            ({"srtp_failures": 7}, Cause.SRTP),
            ({"sends": False, "receives": False}, Cause.ON_HOLD),
        ):
            if cause is Cause.NOTHING_FROM:
                first = replace(first, rtcp_packets=0)
            first = replace(first, **changes)
            self.assertEqual(judge(first, second).cause, cause, judge(first, second).text)

    def test_more_priorities(self) -> None:
        """A cause goes before another one of the other leg, whichever leg is the first."""
        self.check(
            ("private before nothing from either", SILENT_A, SILENT_B, Cause.UNREACHABLE, "a", ()),
            ("but only if something was sent", replace(SILENT_A, sent=0), SILENT_B, Cause.NO_MEDIA, "", ()),
            ("srtp before nothing from", SILENT_A, replace(B, srtp_failures=250), Cause.SRTP, "b", ()),
            ("reports before nothing from", replace(SILENT_A, sent=0), replace(SILENT_B, rtcp_packets=1),
             Cause.RTCP_ONLY, "b", ()),
            ("ICMP of a silent leg counts at once", replace(SILENT_A, sent=1, icmp_errors=1), B,
             Cause.UNREACHABLE, "a", ("1 ICMP",)),
        )  # fmt: skip

    def test_only_what_is_wanted(self) -> None:
        """A leg that is not to send is not blamed for silence, but for being unreachable it is."""
        listener = replace(SILENT_A, sends=False)
        speaker = replace(UNHEARD_B, receives=False)
        mute = replace(SILENT_B, receives=False)
        self.check(
            ("private listener", listener, speaker, Cause.UNREACHABLE, "a", ("192.168.1.5:4000",)),
            ("silent speaker", replace(listener, sent=0), mute, Cause.NOTHING_FROM, "b", ()),
        )


class AddressTests(SynchronousTestCase):
    """When an address is one that cannot be reached from where its signalling comes."""

    def test_scopes(self) -> None:
        """An address of a host, a link or a site is unreachable if its signalling comes from further away."""
        for signalled, signalling_host, is_unreachable in (
            ("10.0.0.1:4000", "203.0.113.5", True),
            ("172.31.0.1:4000", "203.0.113.5", True),
            ("172.32.0.1:4000", "203.0.113.5", False),
            ("100.64.0.1:4000", "203.0.113.5", True),
            ("127.0.0.1:4000", "10.0.0.1", True),
            ("169.254.7.7:4000", "10.0.0.1", True),
            ("[fd00::1]:4000", "2001:db8::1", True),
            ("[fe80::1%eth0]:4000", "[2001:db8::1]", True),
            ("[::1]:4000", "::1", False),
            ("10.0.0.1:4000", "192.168.0.1", False),
            ("198.51.100.1:4000", "10.0.0.1", False),
            ("10.0.0.1:4000", "", False),
            ("10.0.0.1:4000", "gateway.example", False),
            ("somewhere", "203.0.113.5", False),
        ):
            first = replace(SILENT_A, signalled=signalled, signalling_host=signalling_host)
            expected = Cause.UNREACHABLE if is_unreachable else Cause.NOTHING_FROM
            self.assertIs(judge(first, UNHEARD_B).cause, expected, f"{signalled} {signalling_host}")

    def test_a_source_is_better_than_what_was_signalled(self) -> None:
        """Once its media shows the public address, a private one does no harm."""
        self.assertIs(judge(A, B).cause, Cause.OK)
        self.assertIs(judge(replace(SILENT_A, source="203.0.113.5:61000"), UNHEARD_B).cause, Cause.NOTHING_FROM)


COUNTS = st.sampled_from([0, 1, 3, 200])
ADDRESSES = st.sampled_from(["", "192.0.2.1:4000", "192.168.0.1:4000", "[fd00::1]:4000", "nonsense", ":"])
LEGS = st.builds(
    LegMedia,
    leg=st.sampled_from(["a", "b"]),
    sends=st.booleans(),
    receives=st.booleans(),
    packets=COUNTS,
    rtcp_packets=COUNTS,
    foreign_packets=COUNTS,
    foreign_source=ADDRESSES,
    signalled=ADDRESSES,
    source=ADDRESSES,
    signalling_host=st.sampled_from(["", "203.0.113.5", "10.0.0.1", "nonsense"]),
    unexpected_payload_packets=COUNTS,
    unexpected_payload_types=st.lists(st.integers(0, 127), max_size=128).map(tuple),
    srtp_failures=COUNTS,
    icmp_errors=COUNTS,
    sent=COUNTS,
)


class PropertyTests(SynchronousTestCase):
    """What holds whatever is known."""

    @settings(deadline=None, max_examples=500)
    @given(LEGS, LEGS)
    def test_one_verdict_in_one_line(self, first: LegMedia, second: LegMedia) -> None:
        """There is always one verdict, in one short line; nothing is wrong only if what is wanted flows."""
        verdict = judge(first, second)
        self.assertIsInstance(verdict, Verdict)
        self.assertLess(len(verdict.text), 400)
        self.assertEqual(len(verdict.text.splitlines()), 1)
        if verdict.cause is Cause.OK:
            for sender, receiver in ((first, second), (second, first)):
                self.assertTrue(not (sender.sends and receiver.receives) or (sender.packets and receiver.sent))
