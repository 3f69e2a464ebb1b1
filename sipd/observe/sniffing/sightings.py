"""What is seen on the wire: a SIP message, with what is said about it in one line; RTP; a connection that is TLS."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sipd.errors import ParseError
from sipd.observe.capture import redact
from sipd.sip.fields import NameAddr
from sipd.sip.message import Message, Request, Response
from sipd.sip.parser import parse_datagram
from sipd.sip.uri import OtherUri, SipUri

Address = tuple[str, int]

#: What begins like this is meant to be SIP, even if it is malformed.
_LIKE_SIP = re.compile(rb"[\r\n]*(?:SIP/[0-9]|[^\r\n]{1,4096}? SIP/[0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One SIP message.

    Args:
        at: when it passed, seconds since 1970.
        source: where from.
        destination: where to.
        transport: `UDP` or `TCP`.
        data: its octets; secrets are covered, unless it was asked for them.
        message: what it says, of `data`; ``None`` if it is malformed.
        fault: what is wrong with it, if it is malformed.
        method: of a request, and of what a response answers; empty if nobody can tell.
        call_id: the Call-ID; empty where it is missing or malformed.
        caller: From, or ``None``.
        callee: To, or ``None``.
    """

    at: float
    source: Address
    destination: Address
    transport: str
    data: bytes
    message: Request | Response | None
    fault: str = ""
    method: str = ""
    call_id: str = ""
    caller: NameAddr | None = None
    callee: NameAddr | None = None

    @property
    def status(self) -> int | None:
        """The status of a response; ``None`` for what is none."""
        return self.message.status if isinstance(self.message, Response) else None

    @property
    def cseq(self) -> int | None:
        """The number in CSeq, or ``None``."""
        return _number(self.message) if self.message is not None else None

    @property
    def users(self) -> frozenset[str]:
        """The users in From and To."""
        return frozenset(user for user in (user_of(self.caller), user_of(self.callee)) if user)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSeen:
    """One datagram of RTP or RTCP.

    Args:
        at: when it passed, seconds since 1970.
        source: where from.
        destination: where to.
        data: its octets.
    """

    at: float
    source: Address
    destination: Address
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A connection whose messages cannot be read. Seen once for each direction.

    Args:
        at: when that was noticed, seconds since 1970.
        source: where from.
        destination: where to.
        reason: why.
    """

    at: float
    source: Address
    destination: Address
    reason: str


Seen = Sighting | MediaSeen | Unreadable


def uncovered(data: bytes) -> bytes:
    """Leave a message as it is."""
    return data


def sight(
    data: bytes,
    *,
    at: float,
    source: Address,
    destination: Address,
    transport: str,
    hide: Callable[[bytes], bytes] = redact,
) -> Sighting | None:
    """Read one message.

    Args:
        data: its octets.
        at: when it passed, seconds since 1970.
        source: where from.
        destination: where to.
        transport: `UDP` or `TCP`.
        hide: covers the secrets in it; nothing that is shown is read from what it was before.

    Returns:
        The message, also if it is malformed; ``None`` if it does not even look like SIP.
    """
    if not _LIKE_SIP.match(data):
        return None
    data = hide(data)
    try:
        message = parse_datagram(data)
    except ParseError as error:
        return Sighting(
            at=at,
            source=source,
            destination=destination,
            transport=transport,
            data=data,
            message=None,
            fault=error.reason,
        )
    return Sighting(
        at=at,
        source=source,
        destination=destination,
        transport=transport,
        data=data,
        message=message,
        method=message.method if isinstance(message, Request) else _method(message),
        call_id=_call_id(message),
        caller=_address(message, "From"),
        callee=_address(message, "To"),
    )


def user_of(address: NameAddr | None) -> str:
    """Give the user of an address, or what it has instead: the host of a domain, a ``tel`` number, all of others."""
    if address is None:
        return ""
    uri = address.uri
    if isinstance(uri, SipUri):
        return uri.user if uri.user is not None else uri.host
    return str(uri) if isinstance(uri, OtherUri) else uri.number


def _address(message: Message, name: str) -> NameAddr | None:
    try:
        return message.from_ if name == "From" else message.to
    except ParseError:
        return None


def _call_id(message: Message) -> str:
    try:
        return message.call_id
    except ParseError:
        return ""


def _method(message: Message) -> str:
    try:
        return message.cseq.method
    except ParseError:
        return ""


def _number(message: Message) -> int | None:
    try:
        return message.cseq.number
    except ParseError:
        return None
