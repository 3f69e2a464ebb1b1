"""Who is in a call: the ``dialog`` event package, from the calls that there are (RFC 4235). For lamps on other phones.

What a watcher is told is whether there is a call, in which state, and who began it: this user or somebody else. With
whom is nobody's business, and neither are Call-ID and tags, which would let a watcher take the call over (RFC 3891).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.errors import ParseError
from sipd.interfaces import CallObserver, CallRecord, Decision
from sipd.sip.dialog_documents import DIALOG_INFO, Lamp, dialog_info
from sipd.sip.grammar import unescape
from sipd.sip.uri import SipUri, parse_uri
from sipd.watching.interfaces import IEventPackage, IWatch
from sipd.watching.packages import Permission, user_of

if TYPE_CHECKING:
    from sipd.sip.headers import Fields

#: What a decision means for the state of a call that is not answered yet.
_STATES = {"progress": "early", "answered": "confirmed"}


@dataclass(slots=True)
class _Live:
    """A call that goes on."""

    state: str
    #: (user, direction) of those of its ends that are users of ours.
    ends: tuple[tuple[str, str], ...]


@implementer(IEventPackage)
class Lamps(CallObserver):
    """Watches all calls, and lets users be watched.

    The initiator is who has proved to be that user; the recipient is who is called, by the request URI.

    Args:
        domains: whose users are ours, in lower case.
        is_user: says whether a user of that name exists.
        permits: who may watch whom.
    """

    content_type = DIALOG_INFO

    def __init__(self, *, domains: frozenset[str], is_user: Callable[[str], bool], permits: Permission) -> None:
        self._domains = domains
        self._is_user = is_user
        self._permits = permits
        self._calls: dict[str, _Live] = {}
        self._of_user: dict[str, dict[str, _Live]] = {}
        self._watching: dict[str, set[_LampWatch]] = {}

    def may_watch(self, watcher: str, user: str) -> bool:
        """See `IEventPackage`."""
        return self._permits(watcher, user)

    def watch(self, aor: str, changed: Callable[[], None]) -> IWatch:
        """See `IEventPackage`."""
        watch = _LampWatch(self, aor, changed)
        self._watching.setdefault(watch.user, set()).add(watch)
        return watch

    def unwatch(self, watch: _LampWatch) -> None:
        """Forget a watch. Idempotent."""
        watching = self._watching.get(watch.user, set())
        watching.discard(watch)
        if not watching:
            self._watching.pop(watch.user, None)

    def lamps(self, user: str) -> list[Lamp]:
        """Give what a user is doing now, the oldest call first."""
        calls = self._of_user.get(user, {})
        return [
            Lamp(f"{call}-{direction[0]}", direction, live.state)
            for call, live in calls.items()
            for one, direction in live.ends
            if one == user
        ]

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        ends = self._ends(record)
        if ends:
            self._calls[call] = live = _Live("trying", ends)
            for user, _ in ends:
                self._of_user.setdefault(user, {})[call] = live
            self._tell_ends(live)

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`. A call that is answered stays so, whoever is called in it later."""
        if decision.user is not None:
            self._move(call, decision.user, has_joined=decision.kind == "joined")
            return
        live = self._calls.get(call)
        if live is None or live.state == "confirmed":
            return
        state = _STATES.get(decision.kind, live.state)
        if state != live.state:
            live.state = state
            self._tell_ends(live)

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        live = self._calls.pop(call, None)
        if live is None:
            return
        for user in {user for user, _ in live.ends}:
            self._forget(call, user)
        self._tell_ends(live)

    def _ends(self, record: CallRecord) -> tuple[tuple[str, str], ...]:
        ends = [(record.user, "initiator")] if record.user is not None else []
        try:
            callee = parse_uri(record.callee)
        except ParseError:
            return tuple(ends)
        if isinstance(callee, SipUri) and callee.host in self._domains:
            name = unescape(callee.user or "")
            if self._is_user(name):
                ends.append((name, "recipient"))
        return tuple(ends)

    def _move(self, call: str, user: str, *, has_joined: bool) -> None:
        """Take note that a user has come into an answered call, or has left it: there was a transfer."""
        live = self._calls.get(call)
        if live is None:
            live = self._calls[call] = _Live("confirmed", ())
        if has_joined:
            live.ends = (*live.ends, (user, "recipient"))
            self._of_user.setdefault(user, {})[call] = live
        else:
            end = next((end for end in live.ends if end[0] == user), None)
            live.ends = tuple([one for one in live.ends if one is not end])
            if end is not None and all(one != user for one, _ in live.ends):
                self._forget(call, user)
        self._tell(user)

    def _forget(self, call: str, user: str) -> None:
        calls = self._of_user[user]
        del calls[call]
        if not calls:
            del self._of_user[user]

    def _tell_ends(self, live: _Live) -> None:
        for user, _ in live.ends:
            self._tell(user)

    def _tell(self, user: str) -> None:
        for watch in list(self._watching.get(user, ())):
            watch.changed()


@implementer(IWatch)
class _LampWatch:
    """One subscription's view: it counts versions, and remembers what it has told, to say what is over."""

    def __init__(self, lamps: Lamps, aor: str, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.user = user_of(aor)
        self._lamps = lamps
        self._aor = aor
        self._version = -1
        self._told: dict[str, Lamp] = {}

    def content(self) -> tuple[Fields, bytes]:
        """See `IWatch`. What is over is said once."""
        lamps = {lamp.id: lamp for lamp in self._lamps.lamps(self.user)}
        over = [Lamp(one.id, one.direction, "terminated") for one in self._told.values() if one.id not in lamps]
        self._told = lamps
        self._version += 1
        return (("Content-Type", DIALOG_INFO),), dialog_info(self._aor, self._version, (*lamps.values(), *over))

    def stop(self) -> None:
        """See `IWatch`."""
        self._lamps.unwatch(self)
