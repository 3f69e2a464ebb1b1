"""The joint between trunks and those who watch them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from sipd.sip.uri import SipUri
    from sipd.trunks.settings import OperatorState
    from sipd.ua.registering import RegistrationEvent


class ITrunkObserver(Interface):
    """Watches trunks: for one line in the log each, for counters. Nothing here may raise."""

    def server_changed(trunk: str, server: SipUri, reason: str, *, is_up: bool) -> None:
        """Take note that a server is up, or down, since now, and why."""

    def server_rests(trunk: str, server: SipUri, seconds: float) -> None:
        """Take note that a server has no calls for so many seconds, as it wishes (503 with Retry-After)."""

    def registration_changed(trunk: str, event: RegistrationEvent) -> None:
        """Take note of what happens to the registration, refreshes included."""

    def operator_set(trunk: str, state: OperatorState) -> None:
        """Take note of what an operator wants of a trunk since now."""
