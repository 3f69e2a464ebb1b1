"""One observer of registrations that is many."""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from sipd.interfaces import Binding, IRegistrationObserver
from sipd.sip.locate import Target


@implementer(IRegistrationObserver)
class RegistrationObservers:
    """Passes every event to each of several observers, in order.

    Args:
        observers: in the order in which they are told.
    """

    def __init__(self, observers: Iterable[IRegistrationObserver]) -> None:
        self._observers = tuple(observers)

    def binding_made(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        for observer in self._observers:
            observer.binding_made(binding, expires)

    def binding_refreshed(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        for observer in self._observers:
            observer.binding_refreshed(binding, expires)

    def binding_removed(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        for observer in self._observers:
            observer.binding_removed(binding)

    def binding_expired(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        for observer in self._observers:
            observer.binding_expired(binding)

    def registration_refused(self, aor: str, source: Target, status: int, reason: str) -> None:
        """See `IRegistrationObserver`."""
        for observer in self._observers:
            observer.registration_refused(aor, source, status, reason)
