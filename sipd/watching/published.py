"""What users have published: an event state compositor (RFC 3903 section 6), in memory.

Each publication lives on its own until it expires, is changed or removed. Of several of one user the one that was
published or changed last is the state: what they say is not looked into, so it cannot be put together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipd.errors import RequestRefusedError
from sipd.sip.identifiers import new_tag

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from sipd.interfaces import Entropy
    from sipd.sip.headers import Fields

#: An event package, and the name of a user.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One state that somebody has published.

    Args:
        headers: the fields that go with the body.
        body: octets, as they came.
    """

    headers: Fields
    body: bytes


@dataclass(slots=True, eq=False)
class _Held:
    """A publication while it lives."""

    key: Key
    tag: str
    publication: Publication
    timer: IDelayedCall


class PublishedStates:
    """The publications of all users.

    Args:
        clock: ends them.
        entropy: for entity-tags.
        max_publications: at a time; one more is refused with 503.
        max_per_user: the same for one package of one user.
    """

    def __init__(
        self, *, clock: IReactorTime, entropy: Entropy, max_publications: int = 10_000, max_per_user: int = 10
    ) -> None:
        self._clock = clock
        self._entropy = entropy
        self.max_publications = max_publications
        self.max_per_user = max_per_user
        self._by_tag: dict[str, _Held] = {}
        # Those of one key in the order in which they were published or changed.
        self._of_key: dict[Key, list[_Held]] = {}
        self._watching: dict[Key, set[Callable[[], None]]] = {}

    def __len__(self) -> int:
        """How many publications there are."""
        return len(self._by_tag)

    def publish(self, package: str, user: str, publication: Publication, seconds: float) -> str:
        """Add a publication; give its entity-tag. With 0 seconds it is over at once.

        Raises:
            RequestRefusedError: 503, there are too many.
        """
        key = package, user
        if len(self._of_key.get(key, ())) >= self.max_per_user or len(self) >= self.max_publications:
            raise RequestRefusedError("Too Many Publications", status=503)
        tag = new_tag(self._entropy)
        if seconds:
            self._hold(key, tag, publication, seconds)
            self._tell(key)
        return tag

    def renew(self, package: str, user: str, if_match: str, publication: Publication | None, seconds: float) -> str:
        """Refresh or change a publication, or remove it with 0 seconds; give its new entity-tag (section 4.2).

        Args:
            package: of the state.
            user: whose it is.
            if_match: the entity-tag that it has.
            publication: what it says from now on; ``None`` to leave that as it is.
            seconds: that it lives from now on.

        Raises:
            RequestRefusedError: 412, there is no such publication.
        """
        key = package, user
        held = self._by_tag.get(if_match)
        if held is None or held.key != key:
            raise RequestRefusedError("Conditional Request Failed", status=412)
        tag = new_tag(self._entropy)
        if publication is None and seconds:
            # It is not newer than others because it lives longer.
            del self._by_tag[held.tag]
            self._by_tag[tag] = held
            held.tag = tag
            held.timer.reset(seconds)
            return tag
        before = self.newest(package, user)
        self._drop(held)
        if publication is not None and seconds:
            self._hold(key, tag, publication, seconds)
        if self.newest(package, user) != before:
            self._tell(key)
        return tag

    def newest(self, package: str, user: str) -> Publication | None:
        """Give what was published last, and lives."""
        held = self._of_key.get((package, user))
        return held[-1].publication if held else None

    def watch(self, package: str, user: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call ``changed`` whenever what is newest is another one; give what ends that."""
        key = package, user
        self._watching.setdefault(key, set()).add(changed)

        def stop() -> None:
            watching = self._watching.get(key, set())
            watching.discard(changed)
            if not watching:
                self._watching.pop(key, None)

        return stop

    def close(self) -> None:
        """Forget everything."""
        for held in list(self._by_tag.values()):
            self._drop(held)
        self._watching.clear()

    def _hold(self, key: Key, tag: str, publication: Publication, seconds: float) -> None:
        held = _Held(key, tag, publication, self._clock.callLater(seconds, lambda: self._expire(held)))
        self._by_tag[tag] = held
        self._of_key.setdefault(key, []).append(held)

    def _drop(self, held: _Held) -> None:
        if held.timer.active():
            held.timer.cancel()
        del self._by_tag[held.tag]
        mine = self._of_key[held.key]
        mine.remove(held)
        if not mine:
            del self._of_key[held.key]

    def _expire(self, held: _Held) -> None:
        before = self.newest(*held.key)
        self._drop(held)
        if self.newest(*held.key) != before:
            self._tell(held.key)

    def _tell(self, key: Key) -> None:
        for changed in list(self._watching.get(key, ())):
            changed()
