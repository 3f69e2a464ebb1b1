"""Who is listened to: asked by the transport layer before it reads anything, and about each request after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.guards.bans import Bans
from sipd.guards.networks import AccessList, source_of
from sipd.guards.scanners import ScannerNames
from sipd.guards.security import SecurityLog
from sipd.interfaces import ISourceGuard

if TYPE_CHECKING:
    from sipd.interfaces import IFlow
    from sipd.sip.message import Request

#: Seconds in which messages are counted; verdicts are looked up again after them.
WINDOW = 1.0
#: Methods that mean something in a call only; who looks for what is open here begins with others.
_IN_CALLS = frozenset(("ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO"))
#: More than anybody sends in a window.
_UNBOUNDED = 1 << 62


class ScannerAction(Enum):
    """What is done about who is recognised as a scanner."""

    OFF = "off"
    LOG = "log"
    DROP = "drop"
    BAN = "ban"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """Who is let in.

    Args:
        access: which networks are listened to.
        names: of scanners.
        action: what is done about them: `OFF` nothing, `LOG` a line, `DROP` the request too, `BAN` the source too.
        messages_per_second: from one source, in any second; 0 for no bound.
        max_sources: that are counted in one second; when there are more, counting begins anew.
    """

    access: AccessList
    names: ScannerNames
    action: ScannerAction = ScannerAction.DROP
    messages_per_second: int = 0
    max_sources: int = 65536


class _Source:
    """What is left to a source in this window, and why there is no more."""

    __slots__ = ("cause", "left")

    def __init__(self, left: int, cause: str) -> None:
        self.left = left
        self.cause = cause


@implementer(ISourceGuard)
class Door:
    """Turns sources away: those that are denied, banned, or send too much.

    All is decided when something first comes from a source in a second; the rest of that second takes one look into a
    dictionary. A source of IPv6 is a /64.

    Args:
        seconds: tells the time.
        settings: who is let in; may be replaced.
        bans: who is banned.
        trusts: says of an address that it is always listened to.
        security: told of who is turned away.

    Attributes:
        denied, banned, flooded: how much was dropped for each cause.
        scanned: how many requests of scanners there were.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        settings: DoorSettings,
        bans: Bans,
        trusts: Callable[[str], bool],
        security: SecurityLog,
    ) -> None:
        self.settings = settings
        self.denied = self.banned = self.flooded = self.scanned = 0
        self._seconds = seconds
        self._bans = bans
        self._trusts = trusts
        self._security = security
        self._sources: dict[str, _Source] = {}
        self._begins = self._ends = 0.0
        bans.changed = self._forget

    def drops(self, host: str) -> bool:
        """See `ISourceGuard`."""
        if not self._begins <= self._seconds() < self._ends:
            self._begin()
        source = self._sources.get(host)
        if source is None:
            source = self._enter(host)
        source.left -= 1
        return source.left < 0 and self._drop(source, host)

    def takes(self, request: Request, flow: IFlow) -> bool:
        """See `ISourceGuard`."""
        settings = self.settings
        if request.method in _IN_CALLS or settings.action is ScannerAction.OFF:
            return True
        name = settings.names.find(request)
        if not name or self._trusts(flow.host):
            return True
        self.scanned += 1
        self._security.note("scanner", flow.host, flow.port, agent=name, method=request.method)
        if settings.action is ScannerAction.BAN:
            self.ban(flow.host, flow.port, "the name of a scanner")
        return settings.action is ScannerAction.LOG

    def suspect(self, host: str, port: int | None, reason: str) -> None:
        """Take note of a source that behaves like a scanner."""
        action = self.settings.action
        if action is ScannerAction.OFF or self._trusts(host):
            return
        self._security.note("scanner", host, port, topic=reason, reason=reason)
        if action is ScannerAction.BAN:
            self.ban(host, port, reason)

    def ban(self, host: str, port: int | None, reason: str) -> bool:
        """Listen no more to a source for a while; say whether that begins now."""
        ban = self._bans.ban(host, reason)
        if ban is None:
            return False
        self._security.note("banned", host, port, reason=reason, seconds=f"{ban.duration:g}", times=ban.times)
        return True

    def _begin(self) -> None:
        """Begin to count anew."""
        self._begins = self._seconds()
        self._ends = self._begins + WINDOW
        self._sources.clear()

    def _enter(self, host: str) -> _Source:
        """Decide about a source for the rest of this window."""
        if len(self._sources) >= self.settings.max_sources:
            self._sources.clear()
        source = self._judge_address(host)
        if source is None:
            name = source_of(host)
            source = self._sources.get(name)
            if source is None:
                source = self._sources[name] = self._judge(host)
        self._sources[host] = source
        return source

    def _judge_address(self, host: str) -> _Source | None:
        """Decide about one address alone, whatever its neighbours in a /64 do; ``None`` to decide about all of them."""
        if self._trusts(host):
            return _Source(_UNBOUNDED, "")
        return _Source(0, "denied") if self.settings.access.denies(host) else None

    def _judge(self, host: str) -> _Source:
        source = self._judge_address(host)
        if source is not None:
            return source
        if self._bans.find(host) is not None:
            return _Source(0, "banned")
        return _Source(self.settings.messages_per_second or _UNBOUNDED, "flood")

    def _drop(self, source: _Source, host: str) -> bool:
        if source.cause == "banned":
            self.banned += 1
            return True
        is_first = source.left == -1
        if source.cause == "denied":
            self.denied += 1
            if is_first:
                self._security.note("denied", host)
        else:
            self.flooded += 1
            if is_first:
                self._security.note("flood", host, messages=self.settings.messages_per_second)
        return True

    def _forget(self, name: str) -> None:
        """Decide anew about a source, since its ban began or ended. Its other names last until the window ends."""
        source = self._sources.get(name)
        if source is not None:
            host = name.partition("/")[0]
            fresh = self._judge(host)
            source.left, source.cause = fresh.left, fresh.cause
