"""Event packages that are served here, not carried: what they know, and who may know it (RFC 6665 section 5.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.sip.grammar import unescape
from sipd.sip.presence_documents import PIDF, PRESENCE, Presence, PresenceTuple
from sipd.sip.summaries import MESSAGE_SUMMARY, SIMPLE_MESSAGE_SUMMARY, MessageSummary
from sipd.sip.uri import SipUri, parse_uri
from sipd.watching.interfaces import IEventPackage, IWatch

if TYPE_CHECKING:
    from sipd.sip.headers import Fields
    from sipd.watching.published import PublishedStates

#: Says whether a user (the first name) may watch another one.
Permission = Callable[[str, str], bool]


@implementer(IEventPackage)
class PublishedPackage:
    """What users publish themselves, as they did.

    Args:
        name: of the package.
        content_type: of the states.
        states: what is published.
        permits: who may watch whom.
        nothing: gives the state of a user (an AOR) of whom nothing is published.
        is_known: whether that is a state; else such a user is not watched here.
    """

    def __init__(
        self,
        name: str,
        content_type: str,
        *,
        states: PublishedStates,
        permits: Permission,
        nothing: Callable[[str], bytes],
        is_known: bool,
    ) -> None:
        self.content_type = content_type
        self._name = name
        self._states = states
        self._permits = permits
        self._nothing = nothing
        self._is_known = is_known

    def may_watch(self, watcher: str, user: str) -> bool:
        """See `IEventPackage`."""
        return self._permits(watcher, user)

    def watch(self, aor: str, changed: Callable[[], None]) -> IWatch | None:
        """See `IEventPackage`."""
        user = user_of(aor)
        if not self._is_known and self._states.newest(self._name, user) is None:
            return None
        return _PublishedWatch(self, aor, self._states.watch(self._name, user, changed))

    def content(self, aor: str) -> tuple[Fields, bytes]:
        """Give the newest of what a user has published."""
        newest = self._states.newest(self._name, user_of(aor))
        if newest is None:
            return (("Content-Type", self.content_type),), self._nothing(aor)
        return newest.headers, newest.body


@implementer(IWatch)
class _PublishedWatch:
    """A look at what a user has published."""

    def __init__(self, package: PublishedPackage, aor: str, stop: Callable[[], None]) -> None:
        self._package = package
        self._aor = aor
        self._stop = stop

    def content(self) -> tuple[Fields, bytes]:
        """See `IWatch`."""
        return self._package.content(self._aor)

    def stop(self) -> None:
        """See `IWatch`."""
        self._stop()


def presence(states: PublishedStates, permits: Permission) -> PublishedPackage:
    """Make the presence package (RFC 3856); users who publish nothing are asked themselves."""
    return PublishedPackage(PRESENCE, PIDF, states=states, permits=permits, nothing=_closed, is_known=False)


def message_summary(states: PublishedStates, permits: Permission) -> PublishedPackage:
    """Make the package of mailboxes (RFC 3842); one of which nothing is known has no messages."""
    return PublishedPackage(
        MESSAGE_SUMMARY,
        SIMPLE_MESSAGE_SUMMARY,
        states=states,
        permits=permits,
        nothing=_no_messages,
        is_known=True,
    )


def user_of(aor: str) -> str:
    """Give the name of the user that an address of record of ours belongs to."""
    uri = parse_uri(aor)
    return unescape(uri.user or "") if isinstance(uri, SipUri) else ""


def _closed(aor: str) -> bytes:
    """Make the presence of somebody who has nothing open (RFC 3863)."""
    return Presence(entity=aor, tuples=(PresenceTuple(id="none", is_open=False),)).to_bytes()


def _no_messages(aor: str) -> bytes:
    return MessageSummary(is_waiting=False, account=aor).to_bytes()
