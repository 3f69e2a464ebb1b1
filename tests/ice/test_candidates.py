"""Tests of `sipd.ice.candidates`."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.ice.candidates import (
    Gathering,
    as_base,
    can_be_paired,
    pair_priority,
    peer_reflexive_priority,
    priority_of,
    usable,
)
from sipd.sdp.candidates import Candidate, CandidateKind

HOST = ("10.0.1.1", 8998)
HOST_RTCP = ("10.0.1.1", 8999)
MAPPED = ("192.0.2.3", 45664)
RELAYED = ("203.0.113.9", 5000)


def candidate(host: str, port: int = 9000, **changes: object) -> Candidate:
    """Make a host candidate."""
    made = Candidate(foundation="1", component=1, priority=1, host=host, port=port, kind=CandidateKind.HOST)
    return replace(made, **changes)  # type: ignore[arg-type]


class PriorityTests(SynchronousTestCase):
    """RFC 8445 sections 5.1.2.1 and 6.1.2.3."""

    def test_priorities_of_the_example(self) -> None:
        """The numbers are those of the RFC's examples: 2130706431 and 1694498815 with full local preference."""
        self.assertEqual(priority_of(CandidateKind.HOST, 1), 2130706431)
        self.assertEqual(priority_of(CandidateKind.SERVER_REFLEXIVE, 1), 1694498815)
        self.assertEqual(priority_of(CandidateKind.RELAYED, 256, 0), 0)
        self.assertEqual(priority_of(CandidateKind.HOST, 2), 2130706430)

    def test_numbers_out_of_range(self) -> None:
        """A component or preference out of range is an error."""
        for component, preference in ((0, 1), (257, 1), (1, -1), (1, 65536)):
            self.assertRaises(ValueError, priority_of, CandidateKind.HOST, component, preference)

    def test_peer_reflexive(self) -> None:
        """It has the local preference and component of the base, and its own type preference."""
        self.assertEqual(
            peer_reflexive_priority(priority_of(CandidateKind.HOST, 2, 77)),
            priority_of(CandidateKind.PEER_REFLEXIVE, 2, 77),
        )

    @given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
    def test_pair_priorities(self, one: int, other: int) -> None:
        """A pair fits into 63 bits, and differs by who is controlling by no more than its last bit."""
        priority = pair_priority(one, other)
        self.assertLess(priority, 2**63)
        self.assertLessEqual(abs(priority - pair_priority(other, one)), 1)
        self.assertEqual(priority >> 32, min(one, other) + (2 * max(one, other) + (one > other) >> 32))


class GatheringTests(SynchronousTestCase):
    """What becomes of the addresses that somebody has found."""

    def test_foundations(self) -> None:
        """Alike candidates have the same foundation, which holds no address."""
        gathering = Gathering()
        gathering.add_host(HOST, 1)
        gathering.add_host(HOST_RTCP, 2)
        gathering.add_server_reflexive(MAPPED, 1, base=HOST, server="198.51.100.1")
        gathering.add_server_reflexive(("192.0.2.3", 1), 2, base=HOST_RTCP, server="198.51.100.1")
        gathering.add_server_reflexive(("192.0.2.4", 2), 2, base=HOST_RTCP, server="198.51.100.2")
        gathering.add_relayed(RELAYED, 1, mapped=MAPPED, server="198.51.100.1")
        found = [(each.candidate.kind.value, each.candidate.foundation) for each in gathering.candidates]
        self.assertEqual(
            found,
            [("host", "1"), ("host", "1"), ("srflx", "2"), ("srflx", "2"), ("srflx", "3"), ("relay", "4")],
        )
        relayed = gathering.candidates[-1]
        self.assertEqual((relayed.base, relayed.candidate.related), (RELAYED, MAPPED))

    def test_redundant(self) -> None:
        """Who is behind no NAT has no reflexive candidate beside the host candidate."""
        gathering = Gathering()
        gathering.add_server_reflexive(HOST, 1, base=HOST, server="198.51.100.1")
        gathering.add_host(HOST, 1)
        self.assertEqual([each.candidate.kind for each in gathering.candidates], [CandidateKind.HOST])

    def test_limit(self) -> None:
        """Of many addresses the 64 best are taken."""
        gathering = Gathering()
        for port in range(1, 1000):
            gathering.add_host(("10.0.0.1", port), 1, local_preference=port)
        self.assertEqual([each.base[1] for each in gathering.candidates], list(range(999, 935, -1)))


class PairingTests(SynchronousTestCase):
    """Which candidates are worth a check."""

    def test_usable(self) -> None:
        """Names, groups, everybody, nobody, TCP and port 0 are not."""
        for host in ("192.0.2.1", "2001:db8::1", "127.0.0.1"):
            self.assertTrue(usable(candidate(host)), host)
        for host in ("a.local", "224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255"):
            self.assertFalse(usable(candidate(host)), host)
        self.assertFalse(usable(candidate("192.0.2.1", 0)))
        self.assertFalse(usable(candidate("192.0.2.1", transport="tcp")))

    def test_pairs(self) -> None:
        """Two of a component and a version of IP make a pair; link-local ones meet their like."""
        for one, other, expected in (
            ("192.0.2.1", "10.0.0.1", True),
            ("192.0.2.1", "2001:db8::1", False),
            ("fe80::1", "2001:db8::1", False),
            ("fe80::1", "fe80::2", True),
            ("192.0.2.1", "a.local", False),
        ):
            self.assertIs(can_be_paired(candidate(one), candidate(other)), expected)
        self.assertFalse(can_be_paired(candidate("192.0.2.1"), candidate("192.0.2.1", component=2)))

    def test_reflexive_sends_from_its_base(self) -> None:
        """In a pair a server-reflexive candidate is its base, and keeps its priority; others stay."""
        gathering = Gathering()
        gathering.add_host(HOST, 1)
        gathering.add_server_reflexive(MAPPED, 1, base=HOST, server="198.51.100.1")
        host, reflexive = gathering.candidates
        self.assertIs(as_base(host), host)
        self.assertEqual(as_base(reflexive).candidate.address, HOST)
        self.assertEqual(as_base(reflexive).candidate.priority, reflexive.candidate.priority)
