"""Nonces prove themselves, and a nonce count is taken once."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.registrar.nonces import Nonces, NonceState
from tests.registrar.fakes import seeded


def make(lifetime: float = 300.0, max_used: int = 100, seed: int = 1) -> Nonces:
    """Make nonces with a key of their own."""
    return Nonces(entropy=seeded(seed), lifetime=lifetime, max_used=max_used)


class ProofTests(SynchronousTestCase):
    """What `check` says."""

    def test_life(self) -> None:
        """A nonce is good until its lifetime is over, and not before it was made."""
        nonces = make()
        nonce = nonces.issue("r", 1000.0)
        states = [nonces.check(nonce, "r", now) for now in (1000.0, 1300.0, 1300.1, 900.0)]
        good, expired = NonceState.GOOD, NonceState.EXPIRED
        self.assertEqual(states, [good, good, expired, expired])

    def test_foreign(self) -> None:
        """A nonce of another realm, of another key, or of no form is foreign."""
        nonces = make()
        nonce = nonces.issue("r", 1000.0)
        self.assertIs(nonces.check(nonce, "s", 1000.0), NonceState.FOREIGN)
        self.assertIs(make(seed=2).check(nonce, "r", 1000.0), NonceState.FOREIGN)
        for text in ("", "x", "abcd", "\u00e9", "\udcff", nonce[:-4], nonce + "AAAA"):
            self.assertIs(nonces.check(text, "r", 1000.0), NonceState.FOREIGN)

    def test_every_bit_is_sealed(self) -> None:
        """No bit of a nonce can be changed: not its time, not its randomness, not its seal."""
        nonces = make()
        octets = urlsafe_b64decode(nonces.issue("r", 1000.0))
        for bit in range(8 * len(octets)):
            changed = bytearray(octets)
            changed[bit // 8] ^= 1 << bit % 8
            self.assertIs(nonces.check(urlsafe_b64encode(changed).decode(), "r", 1000.0), NonceState.FOREIGN)

    def test_no_two_are_equal(self) -> None:
        """Nonces of the same moment differ."""
        nonces = make()
        self.assertEqual(len({nonces.issue("r", 1000.0) for _ in range(1000)}), 1000)

    def test_costs_no_memory(self) -> None:
        """A challenge that nobody answers leaves nothing behind."""
        nonces = make()
        for number in range(1000):
            nonces.issue("r", number)
        self.assertEqual(len(nonces), 0)


class CountTests(SynchronousTestCase):
    """What `use` says."""

    def setUp(self) -> None:
        """Make a nonce."""
        self.nonces = make(max_used=3)
        self.nonce = self.nonces.issue("r", 1000.0)

    def use(self, count: int, nonce: str = "") -> bool:
        """Use a nonce, the one of `setUp` if none is given."""
        return self.nonces.use(nonce or self.nonce, count, 1000.0)

    def test_replay(self) -> None:
        """The same count is taken once."""
        self.assertTrue(self.use(1))
        self.assertFalse(self.use(1))
        self.assertTrue(self.use(2))
        self.assertFalse(self.use(1))

    def test_order(self) -> None:
        """Counts that were sent together may arrive in any order, each once."""
        self.assertEqual([self.use(count) for count in (3, 1, 2, 5, 4, 3, 1)], [True] * 5 + [False] * 2)

    def test_window(self) -> None:
        """A count that lags by 64 is too late, even if it was never used."""
        self.use(100)
        self.assertTrue(self.use(37))
        self.assertFalse(self.use(36))

    def test_huge_counts(self) -> None:
        """The largest count costs no more than the smallest."""
        self.assertTrue(self.use(1))
        self.assertTrue(self.use(2**32))
        self.assertFalse(self.use(2**32))
        self.assertFalse(self.use(2))

    @given(st.lists(st.integers(1, 200), max_size=60))
    @settings(deadline=None, max_examples=200)
    def test_never_twice(self, counts: list[int]) -> None:
        """Whatever the order, no count is taken twice, and one that is close enough is taken once."""
        nonces = make()
        nonce = nonces.issue("r", 0.0)
        taken: set[int] = set()
        for count in counts:
            expected = count not in taken and count > max(taken, default=0) - 64
            self.assertEqual(nonces.use(nonce, count, 0.0), expected)
            if expected:
                taken.add(count)

    def test_bound(self) -> None:
        """At the bound the oldest is forgotten: its counts, and nonces as old as it, are refused; younger ones not."""
        unused = self.nonces.issue("r", 1000.0)
        younger = [self.nonces.issue("r", 1001.0 + number) for number in range(4)]
        self.assertTrue(self.use(1))
        for nonce in younger[:3]:
            self.assertTrue(self.use(1, nonce))
        self.assertEqual(len(self.nonces), 3)
        self.assertFalse(self.use(2))
        self.assertFalse(self.use(1, unused))
        self.assertTrue(self.use(2, younger[0]))
        self.assertTrue(self.use(1, younger[3]))

    def test_expired_entries_go_first(self) -> None:
        """What has expired is dropped without refusing anybody."""
        self.use(1)
        fresh = [self.nonces.issue("r", 1301.0) for _ in range(3)]
        old_but_good = self.nonces.issue("r", 1001.0)
        for nonce in fresh:
            self.assertTrue(self.nonces.use(nonce, 1, 1301.0))
        self.assertEqual(len(self.nonces), 3)
        full = make(max_used=3)
        self.assertTrue(full.use(old_but_good, 1, 1301.0))
