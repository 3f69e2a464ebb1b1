"""Event packages that are served here, not carried: what they know, and who may know it (RFC 6665 section 5.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from zope.interface import implementer

from sipd.sip.grammar import unescape
from sipd.sip.uri import SipUri, parse_uri
from sipd.watching.interfaces import IEventPackage, IWatch

if TYPE_CHECKING:
    from sipd.sip.headers import Fields
    from sipd.sip.message import Request
    from sipd.watching.published import PublishedStates

#: Says whether a user (the first name) may watch another one.
Permission = Callable[[str, str], bool]

PRESENCE = "presence"
PIDF = "application/pidf+xml"
MESSAGE_SUMMARY = "message-summary"
SIMPLE_MESSAGE_SUMMARY = "application/simple-message-summary"

_PIDF_NAMESPACE = "urn:ietf:params:xml:ns:pidf"


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


def accepts(subscribe: Request, content_type: str) -> bool:
    """Say whether a subscriber can read a type of body (RFC 3261 section 20.1); without an Accept it can."""
    if "Accept" not in subscribe.headers:
        return True
    ranges = {value.partition(";")[0].strip().lower() for value in subscribe.headers.values("Accept")}
    return not ranges.isdisjoint((content_type, f"{content_type.partition('/')[0]}/*", "*/*"))


def user_of(aor: str) -> str:
    """Give the name of the user that an address of record of ours belongs to."""
    uri = parse_uri(aor)
    return unescape(uri.user or "") if isinstance(uri, SipUri) else ""


def _closed(aor: str) -> bytes:
    """Make the presence of somebody who has nothing open (RFC 3863)."""
    root = Element("presence", {"xmlns": _PIDF_NAMESPACE, "entity": aor})
    status = SubElement(SubElement(root, "tuple", {"id": "none"}), "status")
    SubElement(status, "basic").text = "closed"
    return _printed(root)


def _no_messages(aor: str) -> bytes:
    return f"Messages-Waiting: no\r\nMessage-Account: {aor}\r\n".encode()


def _printed(root: Element) -> bytes:
    printed: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return printed
