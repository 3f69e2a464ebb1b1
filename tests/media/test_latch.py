"""Tests of `sipd.media.latch`: rows of what arrives when, and what becomes of it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.media.latch import Address, Latch, Verdict

PASS, LATCHED, DROP = Verdict.PASS, Verdict.LATCHED, Verdict.DROP

SIGNALLED = ("192.0.2.1", 4000)
SAME_HOST = ("192.0.2.1", 5000)
SAME_HOST_TOO = ("192.0.2.1", 6000)
NAT = ("198.51.100.7", 61000)
FOREIGN = ("203.0.113.66", 666)

#: The window of the tests is open until then.
WINDOW = 5.0


class RowTests(SynchronousTestCase):
    """Each row: what is signalled, then (source, time, verdict) of each datagram, then where is sent to."""

    def check(self, signalled: Address | None, *rows: tuple[Address, float, Verdict], remote: Address | None) -> Latch:
        """Check the rows against a new latch."""
        latch = Latch()
        latch.signal(signalled, WINDOW)
        self.rows(latch, *rows, remote=remote)
        return latch

    def rows(self, latch: Latch, *rows: tuple[Address, float, Verdict], remote: Address | None) -> None:
        """Check rows."""
        for number, (source, now, verdict) in enumerate(rows):
            self.assertIs(latch.accept(source, now), verdict, f"row {number}: {source} at {now}")
        self.assertEqual(latch.remote, remote)

    def test_before_anything_arrives(self) -> None:
        """Media goes to the signalled address, or nowhere if there is none."""
        self.check(SIGNALLED, remote=SIGNALLED)
        self.check(None, remote=None)

    def test_signalled_address(self) -> None:
        """The signalled address is latched on to, and nothing else gets in."""
        self.check(
            SIGNALLED,
            (SIGNALLED, 0.0, LATCHED),
            (SIGNALLED, 0.1, PASS),
            (FOREIGN, 0.2, DROP),
            (SAME_HOST, 0.2, DROP),
            (FOREIGN, 6.0, DROP),
            (SIGNALLED, 100.0, PASS),
            remote=SIGNALLED,
        )

    def test_behind_nat(self) -> None:
        """The first source within the window wins, and keeps it."""
        self.check(
            SIGNALLED,
            (NAT, 0.0, LATCHED),
            (FOREIGN, 0.1, DROP),
            (NAT, 0.2, PASS),
            (FOREIGN, 6.0, DROP),
            (NAT, 100.0, PASS),
            remote=NAT,
        )

    def test_no_address_signalled(self) -> None:
        """Where a name or 0.0.0.0 was signalled the first source wins, too."""
        self.check(None, (NAT, 0.0, LATCHED), (FOREIGN, 0.1, DROP), remote=NAT)

    def test_spoofed_first(self) -> None:
        """A foreign source that comes first loses to the signalled address, which then stays."""
        self.check(
            SIGNALLED,
            (FOREIGN, 0.0, LATCHED),
            (SIGNALLED, 0.1, LATCHED),
            (FOREIGN, 0.2, DROP),
            (SIGNALLED, 9.0, PASS),
            remote=SIGNALLED,
        )

    def test_signalled_host_from_another_port(self) -> None:
        """Another port of the signalled host is better than a foreign host, and worse than the address itself."""
        self.check(
            SIGNALLED,
            (FOREIGN, 0.0, LATCHED),
            (SAME_HOST, 0.1, LATCHED),
            (FOREIGN, 0.2, DROP),
            (SAME_HOST_TOO, 0.3, DROP),
            (SIGNALLED, 0.4, LATCHED),
            (SAME_HOST, 0.5, DROP),
            remote=SIGNALLED,
        )

    def test_window_closes(self) -> None:
        """At the end of the window the latched source is settled, even against the signalled address."""
        latch = self.check(
            SIGNALLED, (NAT, 0.0, LATCHED), (SIGNALLED, WINDOW, DROP), (SAME_HOST, WINDOW, DROP), remote=NAT
        )
        self.assertFalse(latch.is_settled(WINDOW - 0.001))
        self.assertTrue(latch.is_settled(WINDOW))

    def test_nobody_came_in_the_window(self) -> None:
        """After a window in which nothing came a foreign source is dropped; the signalled host may still come."""
        latch = self.check(SIGNALLED, (FOREIGN, 5.0, DROP), (NAT, 6.0, DROP), remote=SIGNALLED)
        self.assertFalse(latch.is_settled(6.0))
        self.rows(latch, (SAME_HOST, 7.0, LATCHED), (SIGNALLED, 8.0, DROP), (FOREIGN, 8.0, DROP), remote=SAME_HOST)
        self.check(None, (NAT, 5.0, DROP), remote=None)

    def test_never_signalled(self) -> None:
        """Without an offer or answer nothing is taken."""
        latch = Latch()
        self.rows(latch, (NAT, 0.0, DROP), remote=None)

    def test_companion(self) -> None:
        """RTCP may come late from the host that RTP comes from; an established source is not moved by it."""
        rtp = Latch()
        rtcp = Latch(rtp)
        for latch in (rtp, rtcp):
            latch.signal(SIGNALLED, WINDOW)
        self.rows(rtcp, (NAT, 6.0, DROP), remote=SIGNALLED)
        self.rows(rtp, (NAT, 1.0, LATCHED), remote=NAT)
        same_nat = (NAT[0], 61001)
        self.rows(rtcp, (FOREIGN, 7.0, DROP), (same_nat, 7.0, LATCHED), (NAT, 8.0, DROP), remote=same_nat)


class AsymmetricTests(SynchronousTestCase):
    """A party whose media comes from elsewhere than it wants it."""

    def setUp(self) -> None:
        """Latch on to the source; the window is over at 5."""
        self.latch = Latch(is_asymmetric=True)
        self.latch.signal(SIGNALLED, WINDOW)
        self.assertIs(self.latch.accept(NAT, 0.0), LATCHED)

    def test_sent_where_signalled(self) -> None:
        """Sources are believed as ever, and nothing moves where is sent to, so the source is never all there is."""
        for now in (0.1, WINDOW, 100.0):
            self.assertIs(self.latch.accept(NAT, now), PASS)
            self.assertIs(self.latch.accept(FOREIGN, now), DROP)
            self.assertEqual(self.latch.remote, SIGNALLED)
            self.assertFalse(self.latch.is_settled(now))

    def test_new_address(self) -> None:
        """A new address is sent to at once, and opens the window."""
        self.assertTrue(self.latch.signal(SAME_HOST, 15.0))
        self.assertEqual(self.latch.remote, SAME_HOST)
        self.assertIs(self.latch.accept(FOREIGN, 10.0), LATCHED)
        self.assertEqual(self.latch.remote, SAME_HOST)
        self.latch.signal(None, 15.0)
        self.assertIsNone(self.latch.remote)

    def test_goes_along(self) -> None:
        """It is exported and restored with all else, and holds for the latch of RTCP as well."""
        other = Latch()
        other.restore(json.loads(json.dumps(self.latch.export(1.0))), 101.0)
        self.assertEqual((other.remote, other.source, other.is_asymmetric), (SIGNALLED, NAT, True))
        self.assertIs(other.accept(FOREIGN, 102.0), DROP)
        self.assertTrue(Latch(self.latch).is_asymmetric)
        self.assertFalse(Latch(Latch()).is_asymmetric)


class SignallingTests(SynchronousTestCase):
    """A later offer or answer."""

    def setUp(self) -> None:
        """Latch on to a source behind NAT; the window is over at 10."""
        self.latch = Latch()
        self.latch.signal(SIGNALLED, WINDOW)
        self.latch.accept(NAT, 0.0)

    def verdicts(self, *datagrams: tuple[Address, float]) -> list[Verdict]:
        """Give the verdicts about datagrams."""
        return [self.latch.accept(source, now) for source, now in datagrams]

    def test_same_address_moves_nothing(self) -> None:
        """An offer or answer with the same address opens no window for others."""
        self.assertFalse(self.latch.signal(SIGNALLED, 15.0))
        self.assertEqual(self.verdicts((FOREIGN, 10.1), (SIGNALLED, 10.2), (NAT, 10.3)), [DROP, DROP, PASS])
        self.assertTrue(self.latch.is_settled(10.4))

    def test_same_address_opens_the_window_for_a_silent_party(self) -> None:
        """If nothing was latched on to, each offer or answer gives another chance."""
        latch = Latch()
        latch.signal(SIGNALLED, WINDOW)
        self.assertFalse(latch.signal(SIGNALLED, 15.0))
        self.assertIs(latch.accept(NAT, 14.9), LATCHED)

    def test_another_address_opens_the_window(self) -> None:
        """After a change media goes to the new address, and the first new source wins."""
        moved = ("192.0.2.99", 4000)
        self.assertTrue(self.latch.signal(moved, 15.0))
        self.assertEqual(self.latch.remote, moved)
        new_nat = ("198.51.100.8", 7)
        self.assertEqual(self.verdicts((new_nat, 10.1), (NAT, 10.2), (FOREIGN, 10.3)), [LATCHED, DROP, DROP])
        self.assertEqual(self.latch.remote, new_nat)

    def test_previous_source_passes_but_does_not_win(self) -> None:
        """What the party still had on its way is relayed, and does not keep the new source out."""
        self.latch.signal(SAME_HOST, 15.0)
        self.assertEqual(self.verdicts((NAT, 10.1)), [PASS])
        self.assertEqual(self.latch.remote, SAME_HOST)
        self.assertEqual(self.verdicts((SAME_HOST, 10.2), (NAT, 10.3)), [LATCHED, DROP])

    def test_previous_source_stays_if_nothing_else_comes(self) -> None:
        """A party that only corrected its description is latched on to again when the window is over."""
        self.latch.signal(SAME_HOST, 15.0)
        self.assertEqual(self.verdicts((NAT, 14.9), (FOREIGN, 15.0), (NAT, 15.1)), [PASS, DROP, LATCHED])
        self.assertEqual(self.latch.remote, NAT)

    def test_description_corrected_to_the_source(self) -> None:
        """A party that signals the address it is seen at is latched on to at once."""
        self.assertTrue(self.latch.signal(NAT, 15.0))
        self.assertEqual(self.verdicts((NAT, 10.1), (FOREIGN, 10.2)), [LATCHED, DROP])

    def test_address_taken_back(self) -> None:
        """A party on hold by address is sent nothing until it is heard again."""
        self.latch.signal(None, 15.0)
        self.assertIsNone(self.latch.remote)

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.tuples(st.sampled_from([FOREIGN, SAME_HOST, ("203.0.113.67", 1)]), st.floats(5, 100))))
    def test_nothing_moves_an_established_stream(self, datagrams: list[tuple[Address, float]]) -> None:
        """After the window no sequence of other sources changes anything."""
        for source, now in datagrams:
            self.assertIs(self.latch.accept(source, now), DROP)
        self.assertEqual(self.latch.remote, NAT)
