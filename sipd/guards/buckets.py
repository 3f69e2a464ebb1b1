"""Token buckets: so many a second on average, and no more than so many at once. Time is given, not taken."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often something may happen.

    Args:
        per_second: on average; more than 0.
        burst: at once, after a time of silence; at least 1.
    """

    per_second: float
    burst: float

    @classmethod
    def of(cls, per_second: float) -> Rate | None:
        """Give a rate whose burst is what a second brings, and at least one; ``None`` for 0, which is no bound."""
        return cls(per_second=per_second, burst=max(1.0, per_second)) if per_second > 0 else None


class TokenBucket:
    """One bucket, full at first.

    Args:
        rate: how fast it fills, and how much it holds.
        now: seconds.
    """

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._tokens = rate.burst
        self._at = now

    def tokens(self, now: float) -> float:
        """Say how many tokens there are. A clock that went back adds none, and takes none away."""
        rate = self.rate
        return min(rate.burst, self._tokens + max(0.0, now - self._at) * rate.per_second)

    def wait(self, now: float) -> float:
        """Say after how many seconds the next token can be taken; 0 for at once."""
        return max(0.0, (1.0 - self.tokens(now)) / self.rate.per_second)

    def take(self, now: float) -> bool:
        """Take a token, and say whether there was one."""
        self._tokens, self._at = self.tokens(now), now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def change(self, rate: Rate, now: float) -> None:
        """Go on at another rate, with the tokens that there are."""
        self._tokens, self._at = min(rate.burst, self.tokens(now)), now
        self.rate = rate


class BucketTable:
    """A bucket for each key, made when it is first asked for.

    At the bound that one is forgotten which was not used for the longest time: it is the fullest, as far as rates are
    the same, and a full one is like a new one.

    Args:
        max_buckets: that are remembered.
    """

    def __init__(self, max_buckets: int = 10_000) -> None:
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._max_buckets = max_buckets

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: Hashable, rate: Rate, now: float) -> float:
        """Say after how many seconds the next token of a key can be taken; 0 for at once. Takes none."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        if bucket.rate != rate:
            bucket.change(rate, now)
        return bucket.wait(now)

    def take(self, key: Hashable, rate: Rate, now: float) -> bool:
        """Take a token of a key, and say whether there was one."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._max_buckets:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = TokenBucket(rate, now)
        else:
            self._buckets.move_to_end(key)
            if bucket.rate != rate:
                bucket.change(rate, now)
        return bucket.take(now)
