"""The location service: who is reachable where (RFC 3261 section 10). Memory is the truth, a store keeps a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from sipd.interfaces import Binding, ILocationService, IRegistrationObserver
from sipd.registrar.bindings import Registration, apply_registration
from sipd.registrar.interfaces import IBindingStore

#: AORs whose expiry is looked at in one go, so that a hundred thousand that expire together stall nothing.
_EXPIRY_BATCH = 200


@implementer(ILocationService)
class LocationService:
    """Keeps the bindings of every AOR.

    How many AORs there can be is bounded by who may register: an AOR belongs to a user. One timer serves all
    expiries.

    Args:
        clock: its seconds are those of the wall clock (Unix time), as a reactor's are.
        store: keeps bindings over a restart; ``None`` to keep them in memory alone.
        observer: told of every binding that is made, refreshed, removed or expired.
    """

    def __init__(
        self, *, clock: IReactorTime, store: IBindingStore | None = None, observer: IRegistrationObserver | None = None
    ) -> None:
        self._clock = clock
        self._store = store
        self._observers: tuple[IRegistrationObserver, ...] = () if observer is None else (observer,)
        self._bindings: dict[str, tuple[Binding, ...]] = {}
        #: AOR to the URIs, as text, of contacts that are not called.
        self._left_out: dict[str, frozenset[str]] = {}
        #: AOR to when it must be looked at next; the entries of the heap that say otherwise are void.
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        """Give the number of AORs that have bindings."""
        return len(self._bindings)

    @property
    def binding_count(self) -> int:
        """How many bindings there are."""
        return sum(map(len, self._bindings.values()))

    def start(self) -> Deferred[None]:
        """Load what the store kept.

        Fails with `LocalError` if it cannot be read.
        """
        return Deferred.fromCoroutine(self._load())

    def stop(self) -> Deferred[None]:
        """Forget the timer, and wait until the store has written everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return succeed(None) if self._store is None else self._store.close()

    def add_observer(self, observer: IRegistrationObserver) -> None:
        """Tell one more observer of what happens from now on."""
        self._observers = (*self._observers, observer)

    def lookup(self, aor: str) -> Sequence[Binding]:
        """See `ILocationService`. Contacts that were left out are not among them."""
        bindings = self._alive(aor)
        left_out = self._left_out.get(aor)
        return bindings if left_out is None else tuple(one for one in bindings if str(one.uri) not in left_out)

    def leave_out(self, binding: Binding) -> None:
        """Give a contact no more, until it is registered again or taken in. It stays registered."""
        self._left_out[binding.aor] = self._left_out.get(binding.aor, frozenset()) | {str(binding.uri)}

    def take_in(self, binding: Binding) -> None:
        """End that. Idempotent."""
        if binding.aor not in self._left_out:
            return
        rest = self._left_out[binding.aor] - {str(binding.uri)}
        if rest:
            self._left_out[binding.aor] = rest
        else:
            del self._left_out[binding.aor]

    def remove(self, binding: Binding) -> None:
        """Unregister a contact. Does nothing if it is not there."""
        bindings = self._bindings.get(binding.aor, ())
        rest = tuple(one for one in bindings if one.uri != binding.uri)
        if len(rest) < len(bindings):
            self._keep(binding.aor, rest)
            if self._store is not None:
                self._store.save(binding.aor, rest)
            self._gone(binding)

    def forget(self, aor: str) -> None:
        """Unregister every contact of an AOR."""
        for binding in self._bindings.get(aor, ()):
            self.remove(binding)

    def _gone(self, binding: Binding) -> None:
        self.take_in(binding)
        for observer in self._observers:
            observer.binding_removed(binding)

    def _alive(self, aor: str) -> Sequence[Binding]:
        bindings = self._bindings.get(aor, ())
        now = self._clock.seconds()
        for binding in bindings:
            if binding.expires_at <= now:
                return tuple(binding for binding in bindings if binding.expires_at > now)
        return bindings

    def addresses_of_record(self) -> Iterator[str]:
        """Give every AOR that has bindings, in no order."""
        return iter(tuple(self._bindings))

    def register(self, registration: Registration, *, max_contacts: int) -> Sequence[Binding]:
        """Do what a REGISTER asks for, all of it or nothing.

        Returns:
            All bindings of the AOR, highest q first.

        Raises:
            RequestRefusedError: see `apply_registration`.
        """
        aor = registration.aor
        now = self._clock.seconds()
        if not registration.contacts and not registration.removes_all:
            return self._alive(aor)
        outcome = apply_registration(self._bindings.get(aor, ()), registration, now=now, max_contacts=max_contacts)
        self._keep(aor, outcome.bindings)
        if self._store is not None:
            self._store.save(aor, outcome.bindings)
        for binding in (*outcome.made, *outcome.refreshed):
            self.take_in(binding)
        for observer in self._observers:
            for binding in outcome.made:
                observer.binding_made(binding, round(binding.expires_at - now))
            for binding in outcome.refreshed:
                observer.binding_refreshed(binding, round(binding.expires_at - now))
        for binding in outcome.removed:
            self._gone(binding)
        return outcome.bindings

    async def _load(self) -> None:
        if self._store is None:
            return
        by_aor: dict[str, list[Binding]] = {}
        for binding in await self._store.load(self._clock.seconds()):
            by_aor.setdefault(binding.aor, []).append(binding)
        for aor, bindings in by_aor.items():
            if aor not in self._bindings:  # what came in meanwhile is newer
                self._keep(aor, tuple(sorted(bindings, key=lambda binding: -binding.q)))

    def _keep(self, aor: str, bindings: tuple[Binding, ...]) -> None:
        if not bindings:
            self._bindings.pop(aor, None)
            self._left_out.pop(aor, None)
            return
        self._bindings[aor] = bindings
        if self._schedule(aor, bindings):
            self._arm()

    def _schedule(self, aor: str, bindings: tuple[Binding, ...]) -> bool:
        """See to it that the AOR is looked at when the first of its bindings expires, or earlier.

        Returns:
            Whether it was not seen to already; a refresh costs nothing here.
        """
        time = min([binding.expires_at for binding in bindings])
        due = self._due.get(aor)
        if due is not None and due <= time:
            return False
        self._due[aor] = time
        heappush(self._heap, (time, aor))
        return True

    def _arm(self) -> None:
        if not self._heap:
            return
        delay = max(0.0, self._heap[0][0] - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(delay, self._expire)
        elif self._heap[0][0] < self._timer.getTime():
            self._timer.reset(delay)

    def _expire(self) -> None:
        """Drop what has expired."""
        self._timer = None
        now = self._clock.seconds()
        expired: list[Binding] = []
        for _ in range(_EXPIRY_BATCH):
            if not self._heap or self._heap[0][0] > now:
                break
            time, aor = heappop(self._heap)
            if self._due.get(aor) == time:
                del self._due[aor]
                expired += self._drop_expired(aor, now)
        self._arm()
        for binding in expired:
            self.take_in(binding)
            for observer in self._observers:
                observer.binding_expired(binding)

    def _drop_expired(self, aor: str, now: float) -> list[Binding]:
        bindings = self._bindings.get(aor, ())
        expired = [binding for binding in bindings if binding.expires_at <= now]
        alive = tuple(binding for binding in bindings if binding.expires_at > now)
        if alive:
            self._schedule(aor, alive)
        if not expired:
            return []
        if alive:
            self._bindings[aor] = alive
        else:
            self._keep(aor, ())
        if self._store is not None:
            self._store.save(aor, alive)
        return expired
