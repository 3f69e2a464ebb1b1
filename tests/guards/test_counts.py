"""Tests of `sipd.guards.counts`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.guards.counts import Key, LiveCalls

ALICE, CARRIER = Key("user", "alice"), Key("trunk-in", "carrier")


class LiveCallsTests(SynchronousTestCase):
    """The calls that live."""

    def test_counts(self) -> None:
        """Each call counts for each of its keys, until it ends."""
        calls = LiveCalls()
        calls.begin("1", [ALICE, CARRIER])
        calls.begin("2", [ALICE])
        self.assertEqual((len(calls), calls.count(ALICE), calls.count(CARRIER)), (2, 2, 1))
        self.assertEqual(calls.calls(ALICE), {"1", "2"})
        self.assertEqual(calls.counts("user"), {"alice": 2})
        calls.end("1")
        self.assertEqual((len(calls), calls.count(ALICE), calls.count(CARRIER)), (1, 1, 0))
        self.assertEqual(calls.counts("trunk-in"), {})

    def test_ends_once(self) -> None:
        """What ends twice, or never began, changes nothing (lesson 46)."""
        calls = LiveCalls()
        calls.begin("1", [ALICE])
        calls.begin("2", [ALICE])
        for name in ("1", "1", "never"):
            calls.end(name)
        self.assertEqual(calls.count(ALICE), 1)

    def test_begins_once(self) -> None:
        """A call that begins again has its new keys, once."""
        calls = LiveCalls()
        calls.begin("1", [ALICE, ALICE])
        calls.begin("1", [CARRIER])
        self.assertEqual((len(calls), calls.count(ALICE), calls.count(CARRIER)), (1, 0, 1))

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.sets(st.sampled_from("abc"))), max_size=60))
    @settings(deadline=None, max_examples=100)
    def test_counts_are_those_of_the_set(self, events: list[tuple[bool, int, set[str]]]) -> None:
        """After any history the counts are those of the calls that have begun and not ended."""
        calls, model = LiveCalls(), dict[str, set[str]]()
        for begins, number, names in events:
            if begins:
                calls.begin(str(number), [Key("user", name) for name in names])
                model[str(number)] = names
            else:
                calls.end(str(number))
                model.pop(str(number), None)
            self.assertEqual(len(calls), len(model))
            for name in "abc":
                expected = sum(name in keys for keys in model.values())
                self.assertEqual(calls.count(Key("user", name)), expected)
