"""The joints between the user agent and what is built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from sipd.ua.events import SessionEvent
    from sipd.ua.incoming import IncomingCall
    from sipd.ua.session import Session


class ISessionUser(Interface):
    """What owns a session: one leg of a call."""

    def session_event(session: Session, event: SessionEvent) -> None:
        """Take note of what happened. Called from within the stack: return soon, and do not raise."""


class ICallHandler(Interface):
    """Takes the calls that come to a user agent."""

    def call_offered(call: IncomingCall) -> None:
        """Take a call: set `call.user`, and ring, accept or reject it now or later."""
