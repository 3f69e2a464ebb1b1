"""One observer of registrations that is many."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.interfaces import Binding, IRegistrationObserver
from sipd.registrar.observers import RegistrationObservers
from sipd.sip.locate import Target
from tests.registrar.fakes import SOURCE, binding


@implementer(IRegistrationObserver)
class Witness:
    """Writes down what it sees into a list that it may share."""

    def __init__(self, name: str, seen: list[tuple[object, ...]]) -> None:
        self.name = name
        self.seen = seen

    def binding_made(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        self.seen.append((self.name, "made", binding, expires))

    def binding_refreshed(self, binding: Binding, expires: int) -> None:
        """See `IRegistrationObserver`."""
        self.seen.append((self.name, "refreshed", binding, expires))

    def binding_removed(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self.seen.append((self.name, "removed", binding))

    def binding_expired(self, binding: Binding) -> None:
        """See `IRegistrationObserver`."""
        self.seen.append((self.name, "expired", binding))

    def registration_refused(self, aor: str, source: Target, status: int, reason: str) -> None:
        """See `IRegistrationObserver`."""
        self.seen.append((self.name, "refused", aor, source, status, reason))


class ObserversTests(SynchronousTestCase):
    """The fan-out."""

    def test_each_is_told_everything(self) -> None:
        """Each event goes to every observer, in order, with all that it says."""
        seen: list[tuple[object, ...]] = []
        observers = RegistrationObservers(Witness(name, seen) for name in ("first", "second"))
        verifyObject(IRegistrationObserver, observers)
        one = binding()
        observers.binding_made(one, 300)
        observers.binding_refreshed(one, 60)
        observers.binding_removed(one)
        observers.binding_expired(one)
        observers.registration_refused("sip:bob@example.com", SOURCE, 403, "No")
        events = [
            ("made", one, 300),
            ("refreshed", one, 60),
            ("removed", one),
            ("expired", one),
            ("refused", "sip:bob@example.com", SOURCE, 403, "No"),
        ]
        self.assertEqual(seen, [(name, *event) for event in events for name in ("first", "second")])
