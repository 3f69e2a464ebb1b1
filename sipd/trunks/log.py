"""One readable line for each change of a trunk."""

from __future__ import annotations

from twisted.logger import Logger
from zope.interface import implementer

from sipd.sip.grammar import printable
from sipd.sip.uri import SipUri
from sipd.trunks.interfaces import ITrunkObserver
from sipd.trunks.settings import OperatorState
from sipd.ua.registering import Expired, Failed, Refreshed, Registered, RegistrationEvent, Unregistered


@implementer(ITrunkObserver)
class TrunkLog:
    """Writes to the log: ``trunk carrier: sip:gw.example.com is down: no answer to OPTIONS, 3 times``.

    A refresh is what a registration does all day: it is written at debug level.
    """

    _log = Logger()

    def server_changed(self, trunk: str, server: SipUri, reason: str, *, is_up: bool) -> None:
        """See `ITrunkObserver`."""
        self._say(trunk, f"{server} is {'up' if is_up else 'down'}: {reason}")

    def server_rests(self, trunk: str, server: SipUri, seconds: float) -> None:
        """See `ITrunkObserver`."""
        self._say(trunk, f"{server} has no calls for {seconds:g} s, as it wishes")

    def registration_changed(self, trunk: str, event: RegistrationEvent) -> None:
        """See `ITrunkObserver`."""
        match event:
            case Refreshed():
                self._log.debug("trunk {trunk}: {text}", trunk=trunk, text=_bound("refreshed", event))
            case Registered():
                self._say(trunk, _bound("registered", event))
            case Failed(registrar=registrar, text=text, next_try=wait):
                then = f"tried again in {wait:.0f} s" if wait else "the next registrar is tried"
                self._say(trunk, f"not registered at {registrar}: {printable(text)}; {then}")
            case Expired():
                self._say(trunk, "the registration has expired")
            case Unregistered(is_confirmed=is_confirmed):
                self._say(trunk, "unregistered" if is_confirmed else "not registered any more; nobody has confirmed it")

    def operator_set(self, trunk: str, state: OperatorState) -> None:
        """See `ITrunkObserver`."""
        self._say(trunk, f"the operator has set it to {state.value}")

    def _say(self, trunk: str, text: str) -> None:
        self._log.info("trunk {trunk}: {text}", trunk=trunk, text=text)


def _bound(what: str, event: Registered) -> str:
    others = len(event.bindings) - 1
    more = f", beside {others} other contact{'s' if others > 1 else ''}" if others > 0 else ""
    return f"{what} at {event.registrar} for {event.expires:g} s{more}"
