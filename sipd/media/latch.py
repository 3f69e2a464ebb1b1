"""Whose media a socket takes, and where it sends: symmetric RTP (RFC 4961) behind NAT by latching (RFC 7362).

What a party signals is often not where its media comes from, so the relay latches on to the source of the first
datagram. That would let anybody who sprays datagrams over the ports of a relay take a call over. Therefore a source is
only chosen within a window after the signalling that asked for it, what was signalled is preferred, and after the
window nothing moves: another source counts as foreign until a new offer or answer names another address.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeAlias

#: Numeric host, without brackets, and port.
Address: TypeAlias = tuple[str, int]


class Verdict(Enum):
    """What becomes of a datagram."""

    PASS = "pass"
    LATCHED = "latched"
    DROP = "drop"

    __hash__ = object.__hash__


class Latch:
    """The decision, for one socket.

    Within the window

    * the first source is latched on to;
    * the signalled address takes over from any other, and another port of the signalled host from a foreign host: they
      are what the party itself said;
    * everything else is dropped.

    After it, the latched source alone is taken. If none was latched, the signalled host may still come late (silence
    suppression, hold), and so may the host that the companion has latched on to.

    A party whose media comes from elsewhere than it wants it is believed in the same way, but sent to where it said,
    whatever comes. This has to be asked for: to a party behind NAT it would mean silence.

    Args:
        companion: the latch of the RTP socket, for that of RTCP: reports are rare, so the first one often comes too
            late for the window.
        is_asymmetric: whether the party's media comes from elsewhere than it wants it; as with the companion if there
            is one.
    """

    __slots__ = ("_closes_at", "_companion", "_previous", "is_asymmetric", "signalled", "source")

    def __init__(self, companion: Latch | None = None, *, is_asymmetric: bool = False) -> None:
        self.is_asymmetric: bool = is_asymmetric if companion is None else companion.is_asymmetric
        self.signalled: Address | None = None
        self.source: Address | None = None
        self._companion = companion
        self._previous: Address | None = None
        self._closes_at = 0.0

    @property
    def remote(self) -> Address | None:
        """Where to send: to the latched source, before that to what was signalled; ``None`` if nobody knows yet."""
        return self.signalled if self.is_asymmetric else self.source or self.signalled

    def export(self, now: float) -> list[object]:
        """Give what it knows as values for JSON, for `restore`."""
        return [self.signalled, self.source, self._previous, max(0.0, self._closes_at - now), self.is_asymmetric]

    def restore(self, values: Sequence[Any], now: float) -> None:
        """Know what another one has exported."""
        self.signalled, self.source, self._previous = (None if one is None else (one[0], one[1]) for one in values[:3])
        self._closes_at = now + values[3]
        self.is_asymmetric = values[4]

    def signal(self, address: Address | None, closes_at: float) -> bool:
        """Take note of an offer or answer that has come into force.

        The same address as before leaves an established source alone: nobody can use a re-INVITE of the parties to get
        in. Another one opens the window again; until then the previous source still passes, since a party that only
        corrects its description goes on as before, but it is not chosen while others may come.

        Args:
            address: where the party wants its media, or ``None`` if that is not known as a number.
            closes_at: when the window ends, on the clock that `accept` is given.

        Returns:
            Whether an established source was given up.
        """
        changed = address != self.signalled
        self.signalled = address
        if self.source is not None and not changed:
            return False
        self._closes_at = closes_at
        if self.source is None:
            return False
        self._previous = self.source
        self.source = None
        return True

    def accept(self, source: Address, now: float) -> Verdict:
        """Decide about a datagram.

        Args:
            source: where it came from.
            now: the time.
        """
        latched = self.source
        if source == latched:
            return Verdict.PASS
        is_open = now < self._closes_at
        if latched is None:
            if source == self._previous and source != self.signalled and is_open:
                return Verdict.PASS
            if not (is_open or source == self._previous or self._is_trusted(source)):
                return Verdict.DROP
        elif not (is_open and self._is_better(source, latched)):
            return Verdict.DROP
        self.source = source
        self._previous = None
        return Verdict.LATCHED

    def is_settled(self, now: float) -> bool:
        """Say whether a source is latched on to that nothing but signalling can change, and that is sent to as well."""
        return self.source is not None and now >= self._closes_at and not self.is_asymmetric

    def _is_trusted(self, source: Address) -> bool:
        """Say whether a datagram comes from a host that the party named, or sends its RTP from."""
        host = source[0]
        companion = self._companion
        return (self.signalled is not None and self.signalled[0] == host) or (
            companion is not None and companion.source is not None and companion.source[0] == host
        )

    def _is_better(self, source: Address, latched: Address) -> bool:
        """Say whether a source is nearer to what was signalled than the one latched on to."""
        signalled = self.signalled
        return signalled is not None and (source == signalled or (source[0] == signalled[0] != latched[0]))
