"""Joints of who watches calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface, implementer

if TYPE_CHECKING:
    from sipd.records import CallRecord, Decision


class ICallObserver(Interface):
    """Watches calls. An observer that raises is logged and does not disturb the call."""

    def call_started(call: str, record: CallRecord) -> None:
        """A call came in. ``call`` is its identifier in every later event; the record fills as it goes on."""

    def call_decided(call: str, decision: Decision) -> None:
        """The call has one more line of explanation."""

    def call_resource_taken(call: str, kind: str, name: str) -> None:
        """The call holds one more resource (a leg, a port pair, a timer)."""

    def call_resource_released(call: str, kind: str, name: str) -> None:
        """The call gave that resource back."""

    def call_ended(call: str, record: CallRecord) -> None:
        """The call is over, and all of its resources should be released. The record is complete."""


@implementer(ICallObserver)
class CallObserver:
    """Looks at nothing: a base for observers that look at some of the events. What they leave out costs nothing."""

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""

    def call_resource_taken(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""

    def call_resource_released(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
