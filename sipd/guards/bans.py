"""Sources that are not listened to for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sipd.guards.networks import source_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BanSettings:
    """How long a source is banned.

    Args:
        duration: seconds of the first ban.
        factor: by which the next one is longer.
        maximum: seconds that no ban is longer than; and after which, without another one, a source is as good as new.
        max_sources: that are remembered; beyond them the ban that was made first is forgotten.
    """

    duration: float = 600.0
    factor: float = 4.0
    maximum: float = 86400.0
    max_sources: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """One ban.

    Args:
        source: an address, or the /64 of one of IPv6.
        reason: why, for a person.
        until: when it ends.
        times: how often the source has been banned, this time included.
        duration: seconds.
    """

    source: str
    reason: str
    until: float
    times: int
    duration: float


class Bans:
    """Who is banned until when. A ban that is over is remembered for a while, so that the next one is longer.

    Args:
        seconds: tells the time.
        settings: how long.
        spares: says of an address that it is never banned.

    Attributes:
        made: how many bans there have been.
        changed: told of each source that is banned, or is not any more because somebody lifted its ban.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        settings: BanSettings | None = None,
        spares: Callable[[str], bool] = lambda host: False,
    ) -> None:
        self.settings = settings or BanSettings()
        self.made = 0
        self.changed: Callable[[str], None] | None = None
        self._seconds = seconds
        self._spares = spares
        self._bans: dict[str, Ban] = {}

    def __len__(self) -> int:
        """How many sources are banned now."""
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Ban]:
        """Give the bans that are in force."""
        now = self._seconds()
        return (ban for ban in list(self._bans.values()) if ban.until > now)

    def find(self, host: str) -> Ban | None:
        """Give the ban that is in force for an address, or ``None``."""
        ban = self._bans.get(source_of(host))
        return ban if ban is not None and ban.until > self._seconds() else None

    def ban(self, host: str, reason: str) -> Ban | None:
        """Ban the source of an address.

        Returns:
            The ban, or ``None`` if the address is spared or banned already.
        """
        if self._spares(host) or self.find(host) is not None:
            return None
        settings, now, source = self.settings, self._seconds(), source_of(host)
        before = self._bans.pop(source, None)
        times = 1
        duration = settings.duration
        if before is not None and now < before.until + settings.maximum:
            times = before.times + 1
            duration = before.duration * settings.factor
        duration = min(duration, settings.maximum)
        if len(self._bans) >= settings.max_sources:
            first = self._bans.pop(next(iter(self._bans)))
            self._tell(first.source)
        ban = Ban(source=source, reason=reason, until=now + duration, times=times, duration=duration)
        self._bans[source] = ban
        self.made += 1
        self._tell(source)
        return ban

    def lift(self, source: str) -> bool:
        """Forget a source, as an address or as it stands in its ban; say whether it was banned."""
        found = self._bans.pop(source, None) or self._bans.pop(source_of(source), None)
        if found is None or found.until <= self._seconds():
            return False
        self._tell(found.source)
        return True

    def _tell(self, source: str) -> None:
        if self.changed is not None:
            self.changed(source)
