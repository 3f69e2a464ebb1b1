"""Who calls, who was called before, and how much of it may be seen: header fields about identity.

P-Asserted-Identity and P-Preferred-Identity (RFC 3325), Privacy (RFC 3323), Remote-Party-ID
(draft-ietf-sip-privacy-04), Diversion (RFC 5806), History-Info (RFC 7044), Session-ID (RFC 7989). What may be told to
whom is not decided here, but in `sipd.b2bua.identity`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from sipd.errors import ParseError
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import WHITESPACE, escape, is_token, unescape, unquote
from sipd.sip.headers import Headers
from sipd.sip.message import Request
from sipd.sip.uri import SipUri

#: Who does not wish to be named (RFC 3323 section 4.1.1.3).
ANONYMOUS = NameAddr(SipUri("anonymous.invalid", "anonymous"), "Anonymous")
#: The UUID of an end point that nobody knows anything of (RFC 7989 section 5).
NIL_UUID = "0" * 32

#: What says who sends a message, by canonical name.
ASSERTIONS = frozenset(("p-asserted-identity", "remote-party-id"))

_UUID = re.compile(r"[0-9a-f]{32}\Z")
_INDEX = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})*\Z", re.ASCII)
_TARGETS = ("rc", "mp", "np")
#: What somebody means whom nobody understands: as much as this server can do.
_EVERYTHING = ("header", "user", "id", "history")


def identities_of(headers: Headers, name: str) -> tuple[NameAddr, ...]:
    """Give the values of P-Asserted-Identity or P-Preferred-Identity.

    Args:
        headers: of a message.
        name: of the field.

    Returns:
        One ``sip`` or ``sips`` URI, one ``tel`` URI, or one of each (RFC 3325 section 9.1): the first of either kind,
        since nobody could say which of two is meant. Parameters have no meaning and are left off.

    Raises:
        ParseError: a value breaks the grammar.
    """
    found: dict[bool, NameAddr] = {}
    for text in headers.values(name):
        identity = NameAddr.parse(text).without_parameters()
        if identity.uri.scheme in ("sip", "sips", "tel"):
            found.setdefault(identity.uri.scheme == "tel", identity)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Privacy:
    """What a user wants to be kept private (RFC 3323 section 4.2).

    Args:
        values: ``id``, ``user``, ``header``, ``session``, ``history``, ``none``, ``critical``, or any other; in lower
            case, in order, each once.
    """

    values: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Privacy:
        """Parse a value; commas are taken for semicolons.

        Raises:
            ParseError: it breaks the grammar.
        """
        values = [value.strip(WHITESPACE).lower() for value in text.replace(",", ";").split(";")]
        values = [value for value in values if value]
        if not all(map(is_token, values)):
            raise ParseError("Malformed Privacy")
        return cls(tuple(dict.fromkeys(values)))

    @classmethod
    def of(cls, headers: Headers) -> Privacy | None:
        """Give what a message asks for, or ``None`` where it says nothing. What nobody can read asks for everything."""
        if "Privacy" not in headers:
            return None
        try:
            return cls.parse(";".join(headers.get_all("Privacy")))
        except ParseError:
            return cls(_EVERYTHING)

    @property
    def is_refused(self) -> bool:
        """Whether nothing may be kept private: ``none``."""
        return "none" in self.values

    @property
    def is_critical(self) -> bool:
        """Whether a request goes nowhere rather than without it."""
        return "critical" in self.values

    def asks_for(self, *values: str) -> bool:
        """Say whether it asks for any of these."""
        return not self.is_refused and any(value in self.values for value in values)

    def without(self, done: frozenset[str]) -> Privacy:
        """Give what is left when some of it is done: nothing, where ``critical`` alone would be (section 5)."""
        values = tuple([value for value in self.values if value not in done])
        return Privacy(() if values == ("critical",) else values)

    def __str__(self) -> str:
        return ";".join(self.values)


def is_anonymous(request: Request) -> bool:
    """Say whether its From names nobody, and Privacy says that it is meant so, as phones do in their own domain."""
    privacy = Privacy.of(request.headers)
    uri = request.from_.uri
    is_nobody = isinstance(uri, SipUri) and (uri.user or "").lower() == "anonymous"
    return is_nobody and privacy is not None and privacy.asks_for("id", "user")


@dataclass(frozen=True, slots=True)
class RemoteParty:
    """A Remote-Party-ID value, which came before P-Asserted-Identity and is still spoken.

    Args:
        address: with `party`, ``screen`` and ``privacy`` as parameters.
    """

    address: NameAddr

    @classmethod
    def parse(cls, text: str) -> RemoteParty:
        """Parse one value.

        Raises:
            ParseError: it breaks the grammar.
        """
        return cls(NameAddr.parse(text))

    @classmethod
    def of(cls, identity: NameAddr, party: str, *, is_private: bool) -> RemoteParty:
        """Make one for an identity that is known to be right.

        Args:
            identity: without parameters.
            party: ``calling`` or ``called``.
            is_private: whether it must not be shown to the user.
        """
        parameters = {"party": party, "screen": "yes", "privacy": "full" if is_private else "off"}
        return cls(NameAddr(identity.uri, identity.display_name, parameters))

    @property
    def identity(self) -> NameAddr:
        """Who it is, without parameters."""
        return self.address.without_parameters()

    @property
    def party(self) -> str:
        """``calling``, ``called``, another one, or empty."""
        return _parameter(self.address, "party")

    @property
    def is_screened(self) -> bool:
        """Whether it was verified."""
        return _parameter(self.address, "screen") == "yes"

    @property
    def is_private(self) -> bool:
        """Whether any part of it is not to be shown."""
        return _parameter(self.address, "privacy") not in ("", "off")

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Diversion:
    """A Diversion value: who was called before, and why the call went on (RFC 5806 section 4.1).

    Args:
        address: with `reason`, `counter`, ``privacy`` and others as parameters.
    """

    address: NameAddr

    @classmethod
    def parse(cls, text: str) -> Diversion:
        """Parse one value.

        Raises:
            ParseError: it breaks the grammar.
        """
        return cls(NameAddr.parse(text))

    @property
    def reason(self) -> str:
        """``no-answer``, ``user-busy``, ``unconditional``, ... or empty."""
        return _parameter(self.address, "reason")

    @property
    def counter(self) -> int:
        """How many diversions it stands for: 1 where it does not say."""
        text = _parameter(self.address, "counter")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1

    @property
    def is_private(self) -> bool:
        """Whether any part of it is not to be shown."""
        return _parameter(self.address, "privacy") not in ("", "off")

    def anonymous(self) -> Diversion:
        """Give what may be told to anybody: that there was a diversion, and why."""
        kept = {name: value for name, value in self.address.parameters.items() if name in ("reason", "counter")}
        return Diversion(NameAddr(ANONYMOUS.uri, "", kept))

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A History-Info value: one place that a request was sent to (RFC 7044 section 5).

    Args:
        address: the URI, which may carry Reason and Privacy as headers; `index`, ``rc``, ``mp``, ``np`` and others as
            parameters.
    """

    address: NameAddr

    @classmethod
    def parse(cls, text: str) -> HistoryEntry:
        """Parse one value.

        Raises:
            ParseError: it breaks the grammar, or has no index.
        """
        entry = cls(NameAddr.parse(text))
        if not _INDEX.match(entry.index):
            raise ParseError("Malformed index of a History-Info value")
        return entry

    @classmethod
    def first(cls, uri: SipUri) -> HistoryEntry:
        """Begin a history: with what a request was sent to that came without one (section 9.1)."""
        return cls(NameAddr(uri.without_headers(), "", {"index": "1"}))

    @property
    def index(self) -> str:
        """Its place in the tree, such as ``1.2.1``."""
        return self.address.parameters.get("index") or ""

    @property
    def target(self) -> tuple[str, str] | None:
        """How it came to be a target (section 5): ``rc``, ``mp`` or ``np``, and the index it came from, or ``None``."""
        for name in _TARGETS:
            if name in self.address.parameters:
                return name, self.address.parameters[name] or ""
        return None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the request did not end there, as values of Reason."""
        return self._headers("reason")

    @property
    def is_private(self) -> bool:
        """Whether it is not to be shown (section 10.1.1), or says something of that which nobody can read."""
        try:
            return any("history" in Privacy.parse(text).values for text in self._headers("privacy"))
        except ParseError:
            return True

    def next(self, uri: SipUri, number: int, kind: str | None = None) -> HistoryEntry:
        """Give the entry of a place that the request goes to from here (section 10.3).

        Args:
            uri: of that place.
            number: 1 for the first place, and so on.
            kind: ``rc`` for a contact of the same user, ``mp`` for another user, ``np`` where the URI is the same;
                ``None`` where nobody knows.
        """
        parameters: dict[str, str | None] = {"index": f"{self.index}.{number}"}
        if kind is not None:
            parameters[kind] = self.index
        return HistoryEntry(NameAddr(uri.without_headers(), "", parameters))

    def failed(self, reason: str) -> HistoryEntry:
        """Give the entry with one more value of Reason (section 10.2)."""
        uri = self.address.uri
        if not isinstance(uri, SipUri):
            return self
        headers = (*uri.headers, ("Reason", escape(reason)))
        return HistoryEntry(NameAddr(uri.replace(headers=headers), self.address.display_name, self.address.parameters))

    def anonymous(self) -> HistoryEntry:
        """Give what may be told to anybody: that there was a place (section 10.1.2)."""
        kept = {name: value for name, value in self.address.parameters.items() if name == "index" or name in _TARGETS}
        return HistoryEntry(NameAddr(ANONYMOUS.uri, "", kept))

    def _headers(self, wanted: str) -> tuple[str, ...]:
        uri = self.address.uri
        if not isinstance(uri, SipUri):
            return ()
        return tuple([unescape(value) for name, value in uri.headers if unescape(name).lower() == wanted])

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class SessionId:
    """A Session-ID: who sends the message, and to whom (RFC 7989 section 5).

    Args:
        local: the UUID of the end point that the message comes from, 32 hexadecimal digits in lower case.
        remote: of the one that it is for; ``None`` from a peer of RFC 7329, which knows one value only.
    """

    local: str
    remote: str | None = None

    @classmethod
    def parse(cls, text: str) -> SessionId:
        """Parse a value; digits may be in upper case, and parameters that nobody knows are left off.

        Raises:
            ParseError: it breaks the grammar.
        """
        local, *parameters = [part.strip(WHITESPACE).lower() for part in text.split(";")]
        remote = None
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip(WHITESPACE) == "remote":
                remote = value.strip(WHITESPACE)
        if not _UUID.match(local) or (remote is not None and not _UUID.match(remote)):
            raise ParseError("Malformed Session-ID")
        return cls(local, remote)

    def __str__(self) -> str:
        return self.local if self.remote is None else f"{self.local};remote={self.remote}"


def make_uuid(octets: bytes) -> str:
    """Make the UUID of an end point of 16 random octets (RFC 7989 section 4.1; RFC 4122 section 4.4)."""
    return UUID(bytes=octets, version=4).hex


def _parameter(address: NameAddr, name: str) -> str:
    return unquote(address.parameters.get(name) or "").lower()
