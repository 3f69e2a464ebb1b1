"""How Python looks for garbage in a process of its own: seldom at what stays, and otherwise little at a time.

While the collector looks, nothing else happens. Nearly nothing here is cyclic: what a call leaves is freed without it.
"""

from __future__ import annotations

import gc

#: Allocations before a collection of the youngest generation, and how many of one generation make one of the next. A
#: call leaves some 150 objects for half a minute, and each is looked at twice whatever the numbers are: small ones make
#: many collections of a few milliseconds out of few that take most of a second.
_THRESHOLDS = (2_000, 5, 10_000)


def settle() -> None:
    """Everything is there that stays: collect once, never look at what is there now again, and little from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
