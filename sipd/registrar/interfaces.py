"""The joint between the location service and what keeps its bindings over a restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Interface

from sipd.interfaces import Binding

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


class IBindingStore(Interface):
    """Keeps a copy of all bindings. Never read but at the start."""

    def load(now: float) -> Deferred[Sequence[Binding]]:
        """Give the bindings that expire after ``now`` (Unix time), those of one AOR in the order they were saved in.

        Called once, before anything is saved. Fails with `LocalError` if they cannot be read.
        """

    def save(aor: str, bindings: Sequence[Binding]) -> None:
        """Take note of all bindings that an AOR has now; none means that it has no more.

        Never blocks and never raises. What is saved again before it is written is written once.
        """

    def close() -> Deferred[None]:
        """Write what is not written yet. Nothing is saved after this. Never fails; what cannot be written is logged."""
