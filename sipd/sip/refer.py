"""What REFER and its subscription say: RFC 3515, with RFC 3891 (Replaces), 3892 (Referred-By), 4488 and 7614, and 6665.

Everything here is a value that is parsed and printed. A URI stays as it came: ``tel:`` and parameters nobody knows are
passed on verbatim. Header fields that come inside of a URI are unescaped, and refused if they could add lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.errors import ParseError
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import (
    WHITESPACE,
    escape,
    is_token,
    parse_number,
    parse_parameters,
    quote,
    unescape,
    unquote,
)
from sipd.sip.headers import canonical_name
from sipd.sip.message import VERSION, Request
from sipd.sip.status import reason_phrase
from sipd.sip.uri import SipUri, Uri, parse_uri

SIPFRAG = "message/sipfrag"

#: What nobody may choose for us by a URI (RFC 3261 section 19.1.5): what says who we are and what we can do, what each
#: request has of its own, and what only the one who is trusted with it may say.
_NOT_HONOURED = frozenset((
    "accept", "accept-encoding", "accept-language", "allow", "authorization", "body", "call-id", "contact", "cseq",
    "date", "diversion", "from", "history-info", "identity", "max-forwards", "mime-version", "min-se", "organization",
    "p-asserted-identity", "p-asserted-service", "p-charging-function-addresses", "p-charging-vector",
    "p-preferred-identity", "p-served-user", "path", "privacy", "proxy-authorization", "proxy-require", "record-route",
    "referred-by", "remote-party-id", "replaces", "require", "route", "session-expires", "session-id", "supported",
    "timestamp", "to", "user-agent", "via",
))  # fmt: skip


class SubscriptionWish(Enum):
    """What a REFER wants to hear of its outcome."""

    IMPLICIT = "NOTIFY in the same dialog (RFC 3515)"
    NONE = "nothing (RFC 4488, RFC 7614 nosub)"
    EXPLICIT = "a place to subscribe at (RFC 7614 explicitsub)"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaces:
    """A Replaces value: which dialog a new call takes the place of (RFC 3891 section 6.1).

    Args:
        call_id: of that dialog.
        to_tag: the tag of whoever receives the new INVITE: its local tag.
        from_tag: that of its peer.
        is_early_only: only while the dialog is early.
    """

    call_id: str
    to_tag: str
    from_tag: str
    is_early_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Replaces:
        """Parse ``98732@example.com;from-tag=r33th4x0r;to-tag=ff87ff``.

        Raises:
            ParseError: it is not that, or a tag is missing or stands twice.
        """
        call_id, _, rest = text.partition(";")
        call_id = call_id.strip(WHITESPACE)
        parameters = parse_parameters(rest)
        to_tag, from_tag = parameters.get("to-tag"), parameters.get("from-tag")
        if not call_id or " " in call_id or "\t" in call_id or not to_tag or not from_tag:
            raise ParseError("Malformed Replaces")
        return cls(call_id=call_id, to_tag=to_tag, from_tag=from_tag, is_early_only="early-only" in parameters)

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the dialog at its receiver: Call-ID, local tag, remote tag (`sipd.sip.dialog.DialogKey`).

        The tag 0 stands for none, of a peer of RFC 2543 (RFC 3891 section 3).
        """
        return self.call_id, "" if self.to_tag == "0" else self.to_tag, "" if self.from_tag == "0" else self.from_tag

    def __str__(self) -> str:
        early = ";early-only" if self.is_early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferTo:
    """A Refer-To value: what to contact, and how (RFC 3515 section 2.1).

    Args:
        address: as it came, with its URI verbatim.
        method: of the request to send.
        headers: the fields that the URI asks for, unescaped, in order; without those that are not honoured (RFC 3261
            section 19.1.5), and without Replaces.
        replaces: the dialog to be replaced: an attended transfer.
    """

    address: NameAddr
    method: str = "INVITE"
    headers: tuple[tuple[str, str], ...] = ()
    replaces: Replaces | None = None

    @classmethod
    def parse(cls, text: str) -> ReferTo:
        """Parse a value. A URI with header fields but without angle brackets, though wrong, is taken.

        Raises:
            ParseError: it breaks the grammar, or the URI asks for header fields that are none.
        """
        if "<" not in text and "?" in text:
            address = NameAddr(parse_uri(text.strip(WHITESPACE)))
        else:
            address = NameAddr.parse(text)
        uri = address.uri
        if not isinstance(uri, SipUri):
            return cls(address=address)
        # Without brackets the method belongs to the header field, although nobody means that.
        method = unescape(uri.parameters.get("method") or address.parameters.get("method") or "INVITE")
        if not is_token(method):
            raise ParseError("Malformed method in Refer-To")
        headers = [_unescaped(*pair) for pair in uri.headers]
        replaces = [value for name, value in headers if canonical_name(name) == "replaces"]
        if len(replaces) > 1:
            raise ParseError("Refer-To with several Replaces")
        return cls(
            address=address,
            method=method,
            headers=tuple([pair for pair in headers if _is_honoured(pair[0])]),
            replaces=Replaces.parse(replaces[0]) if replaces else None,
        )

    @property
    def uri(self) -> Uri:
        """Where the request is to go: a ``sip`` or ``sips`` URI without header fields and method, or another."""
        uri = self.address.uri
        return uri.without_headers() if isinstance(uri, SipUri) else uri

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferredBy:
    """A Referred-By value: who asked for a request (RFC 3892 section 3).

    Args:
        address: of the referrer, with all parameters.
    """

    address: NameAddr

    @classmethod
    def parse(cls, text: str) -> ReferredBy:
        """Parse a value.

        Raises:
            ParseError: it breaks the grammar.
        """
        return cls(address=NameAddr.parse(text))

    @property
    def content_id(self) -> str | None:
        """The ``cid`` of the body part that proves it, or ``None``."""
        value = self.address.parameters.get("cid")
        return None if value is None else unquote(value)

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventValue:
    """An Event value: an event package, and which of several subscriptions (RFC 6665 section 8.2.1).

    Args:
        package: such as ``refer``, ``dialog`` or ``message-summary``, with its templates; compared octet for octet.
        id: or ``None``. For the second REFER of a dialog its CSeq number (RFC 3515 section 2.4.6).
    """

    package: str
    id: str | None = None

    @classmethod
    def parse(cls, text: str) -> EventValue:
        """Parse ``refer;id=93809824``. Other parameters are left off.

        Raises:
            ParseError: it breaks the grammar.
        """
        package, _, rest = text.partition(";")
        package = package.strip(WHITESPACE)
        if not is_token(package):
            raise ParseError("Malformed Event")
        return cls(package=package, id=parse_parameters(rest).get("id"))

    def __str__(self) -> str:
        return self.package if self.id is None else f"{self.package};id={self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionState:
    """A Subscription-State value (RFC 6665 section 8.2.3).

    Args:
        state: ``active``, ``pending``, ``terminated``, or one that nobody knows, in lower case.
        expires: seconds, or ``None``.
        reason: why it is terminated, in lower case: ``noresource``, ``timeout``, ...; empty if it does not say.
        retry_after: seconds, or ``None``.
    """

    state: str
    expires: int | None = None
    reason: str = ""
    retry_after: int | None = None

    @classmethod
    def parse(cls, text: str) -> SubscriptionState:
        """Parse ``terminated;reason=noresource``.

        Raises:
            ParseError: it breaks the grammar.
        """
        state, _, rest = text.partition(";")
        state = state.strip(WHITESPACE).lower()
        if not is_token(state):
            raise ParseError("Malformed Subscription-State")
        parameters = parse_parameters(rest)
        expires, retry_after = parameters.get("expires"), parameters.get("retry-after")
        return cls(
            state=state,
            expires=None if expires is None else parse_number(expires, "expires"),
            reason=(parameters.get("reason") or "").lower(),
            retry_after=None if retry_after is None else parse_number(retry_after, "retry-after"),
        )

    @property
    def is_terminated(self) -> bool:
        """Whether nothing more will come."""
        return self.state == "terminated"

    def __str__(self) -> str:
        expires = "" if self.expires is None else f";expires={self.expires}"
        reason = f";reason={self.reason}" if self.reason else ""
        retry_after = "" if self.retry_after is None else f";retry-after={self.retry_after}"
        return f"{self.state}{expires}{reason}{retry_after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """What a ``message/sipfrag`` body says of a referred request: its latest response (RFC 3515 section 2.4.5).

    Args:
        status: 100 to 699.
        reason: the phrase; may be empty.
    """

    status: int
    reason: str

    @classmethod
    def of_status(cls, status: int) -> Fragment:
        """Make the one of a status, with its usual phrase."""
        return cls(status=status, reason=reason_phrase(status))

    @classmethod
    def parse(cls, body: bytes) -> Fragment:
        """Find the status line at the beginning of a body; what follows it is ignored.

        Raises:
            ParseError: there is none.
        """
        line = body.lstrip(b"\r\n").partition(b"\n")[0].decode("utf-8", "surrogateescape").rstrip("\r")
        version, _, rest = line.partition(" ")
        status, _, reason = rest.strip(WHITESPACE).partition(" ")
        if version.upper() != VERSION or len(status) != 3:
            raise ParseError("A fragment that does not begin with a status line")
        number = parse_number(status, "Status", 699)
        if number < 100:
            raise ParseError("Status is too small")
        return cls(status=number, reason=reason.strip(WHITESPACE))

    @property
    def is_final(self) -> bool:
        """Whether nothing more is to be told."""
        return self.status >= 200

    def to_bytes(self) -> bytes:
        """Print the body."""
        reason = "".join([character if character.isprintable() else " " for character in self.reason])
        return f"{VERSION} {self.status} {reason}\r\n".encode("utf-8", "surrogateescape")


def refer_to_of(refer: Request) -> ReferTo:
    """Give the Refer-To of a REFER.

    Raises:
        ParseError: it is malformed, or there is not exactly one: 400 (RFC 3515 section 2.4.2).
    """
    values = refer.headers.get_all("Refer-To")
    if len(values) != 1:
        raise ParseError("REFER needs exactly one Refer-To")
    return ReferTo.parse(values[0])


def replaces_of(invite: Request) -> Replaces | None:
    """Give the Replaces of an INVITE, or ``None``.

    Raises:
        ParseError: it is malformed, or there is more than one: 400 (RFC 3891 section 3).
    """
    values = invite.headers.get_all("Replaces")
    if len(values) > 1:
        raise ParseError("INVITE with several Replaces")
    return Replaces.parse(values[0]) if values else None


def subscription_wish(refer: Request) -> SubscriptionWish:
    """Say what a REFER wants to hear of its outcome.

    Raises:
        ParseError: Refer-Sub or Require is malformed.
    """
    required = {tag.lower() for tag in refer.headers.values("Require")}
    if "explicitsub" in required:
        return SubscriptionWish.EXPLICIT
    value = (refer.headers.get("Refer-Sub") or "true").partition(";")[0].strip(WHITESPACE).lower()
    if value not in ("true", "false"):
        raise ParseError("Malformed Refer-Sub")
    return SubscriptionWish.NONE if value == "false" or "nosub" in required else SubscriptionWish.IMPLICIT


def refer_to_replacing(uri: Uri, replaces: Replaces) -> str:
    """Write the Refer-To of an attended transfer: whoever gets it calls ``uri``, in the place of that dialog.

    Args:
        uri: the remote target of the dialog to be replaced; header fields of its own are left off.
        replaces: that dialog as seen by whoever ``uri`` reaches.
    """
    target = uri.without_headers() if isinstance(uri, SipUri) else uri
    return f"<{target}?Replaces={escape(str(replaces))}>"


def referred_by(uri: Uri, content_id: str | None = None) -> str:
    """Write a Referred-By value."""
    return f"<{uri}>" if content_id is None else f"<{uri}>;cid={quote(content_id)}"


def _is_honoured(name: str) -> bool:
    key = canonical_name(name)
    return key not in _NOT_HONOURED and not key.startswith("content-")


def _unescaped(name: str, value: str) -> tuple[str, str]:
    name, value = unescape(name), unescape(value)
    if not is_token(name) or not value.isprintable():
        raise ParseError("A header field in a URI that is none")
    return name, value
