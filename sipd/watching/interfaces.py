"""The joints inside of the back-to-back user agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from sipd.sip.headers import Fields


class IWatch(Interface):
    """One subscription's view of a state."""

    def content() -> tuple[Fields, bytes]:
        """Give the state as it is now: the header fields of a body, and the body."""

    def stop() -> None:
        """Tell of no more changes. Idempotent."""


class IEventPackage(Interface):
    """An event package."""

    content_type: str = Attribute("of the states.")

    def may_watch(watcher: str, user: str) -> bool:
        """Say whether one user may watch another."""

    def watch(aor: str, changed: Callable[[], None]) -> IWatch | None:
        """Begin to watch a user; ``changed`` is called at each change. ``None`` where the state is not known here.

        Args:
            aor: of the user.
            changed: may be called at any time, but not before this returns.
        """
