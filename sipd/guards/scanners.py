"""Who looks for what is open here: by the name that a scanner gives itself, and by what it does."""

from __future__ import annotations

import fnmatch
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from sipd.guards.networks import source_of
from sipd.sip.message import Request

#: User-Agent values of programs that nobody calls with. ``*`` stands for anything; case does not matter.
KNOWN_SCANNERS = (
    "friendly-scanner*",
    "*sipvicious*",
    "sipcli*",
    "sundayddr*",
    "pplsip*",
    "vaxsipuseragent*",
    "sip-scan*",
    "sipscan*",
    "siparmyknife*",
)

#: Characters of a User-Agent that are looked at, and how many names are remembered.
_LOOKED_AT = 200
_REMEMBERED = 1024


class ScannerNames:
    """Recognises a scanner by what it calls itself.

    Args:
        patterns: of User-Agent, with ``*`` and ``?``, in any case. None means that nobody is recognised.
    """

    def __init__(self, patterns: Iterable[str] = KNOWN_SCANNERS) -> None:
        expressions = [fnmatch.translate(pattern) for pattern in patterns]
        self._pattern = re.compile("|".join(expressions), re.IGNORECASE) if expressions else None
        #: Most phones have one of a few names.
        self._is_one = lru_cache(_REMEMBERED)(self._matches)

    def find(self, request: Request) -> str:
        """Give the name by which a request is a scanner's; empty if it is not."""
        if self._pattern is None:
            return ""
        name = request.headers.get("User-Agent")
        return name if name is not None and self._is_one(name[:_LOOKED_AT]) else ""

    def _matches(self, name: str) -> bool:
        return self._pattern is not None and self._pattern.match(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspicionSettings:
    """What one source may do within a window. 0 is no bound.

    Args:
        window: seconds.
        failures: wrong passwords.
        challenges: requests that were asked for a password, with no right one between them.
        users: different users that were asked for, or answered wrongly as, and of whom no right password came.
        max_sources: that are remembered; beyond them that one is forgotten which was silent for the longest time.
    """

    window: float = 60.0
    failures: int = 20
    challenges: int = 1000
    users: int = 100
    max_sources: int = 10_000


@dataclass(slots=True)
class _Suspect:
    """What a source has done since."""

    since: float
    failures: int = 0
    challenges: int = 0
    users: set[str] = field(default_factory=set)


class Suspects:
    """Counts what each source fails to prove. Each bound is reported once in a window."""

    def __init__(self, settings: SuspicionSettings | None = None) -> None:
        self.settings = settings or SuspicionSettings()
        self._suspects: OrderedDict[str, _Suspect] = OrderedDict()

    def __len__(self) -> int:
        return len(self._suspects)

    def failed(self, host: str, user: str, now: float) -> str:
        """Take note of a wrong password.

        Args:
            host: where it came from.
            user: whose it was said to be.
            now: seconds.

        Returns:
            Why the source has become suspicious by this; empty if it has not.
        """
        suspect = self._find(host, now)
        suspect.failures += 1
        if suspect.failures == self.settings.failures:
            return f"{suspect.failures} wrong passwords within {self.settings.window:g} s"
        return self._named(suspect, user)

    def challenged(self, host: str, user: str, now: float) -> str:
        """Take note of a request that was asked for a password; the same as `failed` otherwise."""
        suspect = self._find(host, now)
        suspect.challenges += 1
        if suspect.challenges == self.settings.challenges:
            return f"{suspect.challenges} requests without a password within {self.settings.window:g} s"
        return self._named(suspect, user)

    def succeeded(self, host: str, user: str) -> None:
        """Take note of a right password: a NAT with many phones is no scanner. Wrong ones stay counted."""
        suspect = self._suspects.get(source_of(host))
        if suspect is not None:
            suspect.challenges = 0
            suspect.users.discard(user)

    def _named(self, suspect: _Suspect, user: str) -> str:
        limit = self.settings.users
        if not limit or user in suspect.users or len(suspect.users) >= limit:
            return ""
        suspect.users.add(user)
        if len(suspect.users) < limit:
            return ""
        return f"{limit} users within {self.settings.window:g} s, and a right password of none of them"

    def _find(self, host: str, now: float) -> _Suspect:
        source = source_of(host)
        suspect = self._suspects.get(source)
        if suspect is not None and 0 <= now - suspect.since < self.settings.window:
            self._suspects.move_to_end(source)
            return suspect
        if suspect is None and len(self._suspects) >= self.settings.max_sources:
            self._suspects.popitem(last=False)
        suspect = self._suspects[source] = _Suspect(now)
        self._suspects.move_to_end(source)
        return suspect
