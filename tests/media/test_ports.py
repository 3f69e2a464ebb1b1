"""Tests of `sipd.media.ports` with real sockets on loopback."""

from __future__ import annotations

import os
import socket
import warnings

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sipd.errors import ConfigurationError, ResourcesExhaustedError
from sipd.media.ports import MediaAddress, PortAllocator, PortPair, check_address
from tests.ports import Ports

HOST = "127.0.0.1"


def count_descriptors() -> int:
    """Count the open descriptors of this process."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError as error:
        raise SkipTest("no /proc to count descriptors in") from error


def occupy(test: SynchronousTestCase, port: int, host: str = HOST) -> bool:
    """Bind a port as another program would; say whether that was possible."""
    other = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    test.addCleanup(other.close)
    try:
        other.bind((host, port))
    except OSError:
        return False
    return True


class AllocatorTests(SynchronousTestCase):
    """A range of three pairs."""

    def setUp(self) -> None:
        """Make the allocator."""
        self.clock = Clock()
        self.low = Ports().take_range(6)[0]
        self.descriptors = count_descriptors()

    def allocator(self, **changes: float) -> PortAllocator:
        """Make an allocator of the range; all pairs may rest unless it is said otherwise."""
        limit = int(changes.pop("resting_limit", 3))
        return PortAllocator(clock=self.clock, low=self.low, high=self.low + 5, resting_limit=limit, **changes)

    def take_all(self, allocator: PortAllocator, count: int = 3) -> list[PortPair]:
        """Take pairs, and give them back when the test is over if it did not."""
        pairs = [allocator.take(HOST) for _ in range(count)]
        for pair in pairs:
            self.addCleanup(pair.rtp.close)
            self.addCleanup(pair.rtcp.close)
        return pairs

    def test_gives_pairs(self) -> None:
        """Each pair is an even port and the next one, bound on the host, and does not block."""
        allocator = self.allocator()
        pairs = self.take_all(allocator)
        self.assertEqual([pair.port for pair in pairs], [self.low, self.low + 2, self.low + 4])
        self.assertEqual(len(allocator), 3)
        for pair in pairs:
            self.assertEqual(pair.rtp.getsockname(), (HOST, pair.port))
            self.assertEqual(pair.rtcp.getsockname(), (HOST, pair.port + 1))
            self.assertRaises(BlockingIOError, pair.rtp.recv, 1)
            self.assertRaises(BlockingIOError, pair.rtcp.recv, 1)

    def test_exhaustion_says_what_there_is(self) -> None:
        """With every pair in use or resting the error has the range and the numbers."""
        allocator = self.allocator()
        pairs = self.take_all(allocator)
        allocator.release(pairs[0])
        with self.assertRaisesRegex(
            ResourcesExhaustedError,
            f"127.0.0.1: of the 3 pairs in {self.low}-{self.low + 5} 2 are in use and 1 rest",
        ):
            allocator.take(HOST)

    def test_rests_before_reuse(self) -> None:
        """A pair is not given again before it has rested, and then as well as ever."""
        allocator = self.allocator(rest=30.0)
        pairs = self.take_all(allocator)
        for pair in pairs:
            allocator.release(pair)
        self.clock.advance(29.9)
        self.assertRaises(ResourcesExhaustedError, allocator.take, HOST)
        self.clock.advance(0.2)
        self.assertEqual([pair.port for pair in self.take_all(allocator)], [pair.port for pair in pairs])

    def test_unused_ports_come_first(self) -> None:
        """What was never used, or has been unused for longest, is given first."""
        allocator = self.allocator(rest=0.0)
        (first,) = self.take_all(allocator, 1)
        allocator.release(first)
        self.assertEqual([pair.port for pair in self.take_all(allocator)], [self.low + 2, self.low + 4, self.low])

    def test_rest_is_cut_short_at_the_limit(self) -> None:
        """Beyond the limit the pair that has rested longest is given early."""
        allocator = self.allocator(resting_limit=1)
        pairs = self.take_all(allocator)
        for pair in pairs:
            allocator.release(pair)
            self.clock.advance(1)
        self.assertEqual([pair.port for pair in self.take_all(allocator, 2)], [self.low, self.low + 2])
        self.assertRaises(ResourcesExhaustedError, allocator.take, HOST)

    def test_half_of_the_pairs_may_rest(self) -> None:
        """Without another limit half of the pairs may rest at once."""
        allocator = PortAllocator(clock=self.clock, low=self.low, high=self.low + 5)
        for pair in self.take_all(allocator):
            allocator.release(pair)
        self.take_all(allocator, 2)
        self.assertRaises(ResourcesExhaustedError, allocator.take, HOST)

    def test_pair_is_bound_whole_or_not_at_all(self) -> None:
        """Where another program has either port of a pair the next pair is given, and no descriptor is lost."""
        self.assertTrue(occupy(self, self.low))
        self.assertTrue(occupy(self, self.low + 3))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            (pair,) = self.take_all(self.allocator(), 1)
        self.assertEqual(pair.port, self.low + 4)
        self.assertEqual(count_descriptors(), self.descriptors + 2 + 2)
        self.assertEqual(caught, [])

    def test_nothing_is_left_of_a_failure(self) -> None:
        """With an odd port of every pair taken by others nothing stays bound, and the error is exhaustion."""
        for offset in (1, 3, 5):
            self.assertTrue(occupy(self, self.low + offset))
        allocator = self.allocator()
        with self.assertRaisesRegex(ResourcesExhaustedError, "0 are in use and 3 rest"):
            allocator.take(HOST)
        self.assertEqual(count_descriptors(), self.descriptors + 3)
        self.assertEqual(len(allocator), 0)

    def test_address_that_is_not_ours(self) -> None:
        """An address of another machine is an error that says so, at once and without a leak."""
        with self.assertRaisesRegex(ResourcesExhaustedError, "198.51.100.1: Cannot assign"):
            self.allocator().take("198.51.100.1")
        self.assertEqual(count_descriptors(), self.descriptors)

    def test_release_closes_both(self) -> None:
        """A released pair leaves no descriptor and is not in use."""
        allocator = self.allocator()
        (pair,) = self.take_all(allocator, 1)
        allocator.release(pair)
        self.assertEqual(count_descriptors(), self.descriptors)
        self.assertEqual(len(allocator), 0)

    def test_hosts_have_pools_of_their_own(self) -> None:
        """The same ports are given on each host."""
        if not occupy(self, 0, "::1"):
            raise SkipTest("no IPv6 here")
        allocator = self.allocator()
        first, second = allocator.take(HOST), allocator.take("::1")
        self.addCleanup(allocator.release, first)
        self.addCleanup(allocator.release, second)
        self.assertEqual([first.port, second.port], [self.low, self.low])
        self.assertEqual(second.rtp.getsockname()[0], "::1")
        self.assertEqual(len(allocator), 2)


class ConfigurationTests(SynchronousTestCase):
    """Mistakes that are found at the start."""

    def test_range_without_a_pair(self) -> None:
        """A range is refused if it is none, or if no even port in it has a next one."""
        for low, high in ((20000, 20000), (20001, 20002), (20002, 20000), (0, 10), (65534, 65536)):
            self.assertRaises(ConfigurationError, PortAllocator, clock=Clock(), low=low, high=high)
        PortAllocator(clock=Clock(), low=65533, high=65535)

    def test_address(self) -> None:
        """An address must be ours, and its advertised address one to send to, of the same version of IP."""
        check_address(MediaAddress(host="127.0.0.1", advertised_host="203.0.113.1"))
        check_address(MediaAddress(host="0.0.0.0", advertised_host="203.0.113.1"))
        for host, advertised in (
            ("198.51.100.1", "198.51.100.1"),
            ("127.0.0.1", "::1"),
            ("0.0.0.0", "0.0.0.0"),
            ("not-a-number.invalid", "127.0.0.1"),
            ("127.0.0.1", "not-a-number.invalid"),
        ):
            with self.assertRaisesRegex(ConfigurationError, f"media address {host}: "):
                check_address(MediaAddress(host=host, advertised_host=advertised))
