"""Header fields in order, as raw lines (RFC 3261 section 7.3).

A line is kept as it came and parsed only when somebody asks, so that what nobody touches leaves octet for octet as it
came. Names are compared in any case and in their compact form (section 7.3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from sipd.errors import ParseError
from sipd.sip.grammar import WHITESPACE, is_token, split_commas

#: Compact form to canonical name (RFC 3261 section 7.3.3 and the IANA registry).
COMPACT_FORMS = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

#: Each name as people write it, to its canonical form: one look-up instead of a strip and a lower on the hot path.
_WRITTEN = {
    spelling: name.lower()
    for name in (
        "Via", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Route", "Record-Route", "Content-Type",
        "Content-Length", "Allow", "Supported", "Require", "Proxy-Require", "Unsupported", "User-Agent", "Server",
        "Expires", "Min-Expires", "Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate",
        "Accept", "Accept-Encoding", "Accept-Language", "Allow-Events", "Event", "Date", "Path", "Service-Route",
        "P-Asserted-Identity", "P-Preferred-Identity", "Privacy", "Reason", "Warning", "Retry-After", "Timestamp",
        "Session-Expires", "Min-SE", "Subject", "Organization", "Priority", "Alert-Info", "Call-Info", "Diversion",
        "History-Info", "Refer-To", "Referred-By", "Replaces", "RSeq", "RAck", "Subscription-State", "Session-ID",
        "Remote-Party-ID", "MIME-Version", "Content-Disposition", "In-Reply-To", "Reply-To", "User-to-User",
    )
    for spelling in (name, name.lower(), name.upper())
}  # fmt: skip
_WRITTEN["Cseq"] = "cseq"
_WRITTEN["Call-Id"] = "call-id"
_WRITTEN.update(COMPACT_FORMS)
_WRITTEN.update({short.upper(): name for short, name in COMPACT_FORMS.items()})


def canonical_name(name: str) -> str:
    """Give the lower-case, long form of a header field name."""
    known = _WRITTEN.get(name)
    if known is not None:
        return known
    lower = name.strip(WHITESPACE).lower()
    return COMPACT_FORMS.get(lower, lower)


class Headers:
    """The header fields of one message, in order.

    Values that are given to it must be single lines; what comes from the network is unfolded on reading.

    Attributes:
        parsed: what `sipd.sip.message` has parsed of these fields, by canonical name; a change of a field drops its
            entry, and values are never changed.
    """

    __slots__ = ("_lines", "_names", "parsed")

    def __init__(self, fields: Fields = ()) -> None:
        self._names: list[str] = []
        self._lines: list[str] = []
        self.parsed: dict[str, Any] = {}
        if fields:
            self.extend(fields)

    @classmethod
    def from_lines(cls, lines: list[str]) -> Headers:
        """Take the lines of a message head, without line ends; a line that begins with white space goes on (7.3.1).

        Raises:
            ParseError: a line has no colon, or no token before it.
        """
        headers = cls()
        names = headers._names
        for line in lines:
            name, colon, _ = line.partition(":")
            key = _WRITTEN.get(name)
            if key is None or not colon:
                headers._take_unusual(lines, len(names))
                return headers
            names.append(key)
        headers._lines = lines
        return headers

    def _take_unusual(self, lines: list[str], start: int) -> None:
        """Take lines of which that at ``start`` is folded, malformed, or has a name that nobody thought of."""
        self._lines = lines[:start]
        for line in lines[start:]:
            if line[:1] in (" ", "\t") and self._lines:
                self._lines[-1] += "\r\n" + line
                continue
            name, colon, _ = line.partition(":")
            name = name.rstrip(WHITESPACE)
            if not colon or not is_token(name):
                raise ParseError(f"Malformed header line {line[:40]!r}")
            self._names.append(canonical_name(name))
            self._lines.append(line)

    def read(self, readers: Mapping[str, Callable[[str], Any]], lists: Collection[str] = ()) -> None:
        """Parse in one pass each line whose canonical name has a reader, into `parsed`.

        Args:
            readers: canonical name to what parses a value; of Via the first line counts.
            lists: names whose readers give tuples, which are joined over all lines; an absent list is an empty tuple.

        Raises:
            ParseError: a reader raised it, or a name that is neither a list nor Via has more than one line.
        """
        parsed: dict[str, Any] = dict.fromkeys(lists, ())
        for name, line in zip(self._names, self._lines, strict=True):
            reader = readers.get(name)
            if reader is None:
                continue
            known = parsed.get(name)
            if known is None:
                value = line.partition(":")[2]
                parsed[name] = reader(value.strip(WHITESPACE) if "\n" not in value else _unfold(value))
            elif name in lists:
                parsed[name] = known + reader(_value(line))
            elif name != "via":
                raise ParseError(f"{line.partition(':')[0].rstrip(WHITESPACE)} stands more than once")
        self.parsed = self.parsed | parsed if self.parsed else parsed

    def get(self, name: str) -> str | None:
        """Give the value of the first line of that name, unfolded and stripped, or ``None``."""
        key = _WRITTEN.get(name) or canonical_name(name)
        return _value(self._lines[self._names.index(key)]) if key in self._names else None

    def get_all(self, name: str) -> list[str]:
        """Give the values of all lines of that name, one for each line."""
        key = _WRITTEN.get(name) or canonical_name(name)
        if key not in self._names:
            return []
        if self._names.count(key) == 1:
            return [_value(self._lines[self._names.index(key)])]
        return [_value(line) for known, line in zip(self._names, self._lines, strict=True) if known == key]

    def values(self, name: str) -> list[str]:
        """Give the values of a comma-separated field over all of its lines; empty elements are left off.

        Raises:
            ParseError: a quote or an angle bracket is left open.
        """
        key = _WRITTEN.get(name) or canonical_name(name)
        if key not in self._names:
            return []
        if self._names.count(key) == 1:
            value = _value(self._lines[self._names.index(key)])
            if "," not in value:
                return [value] if value else []
        return [value for line in self.get_all(key) for value in split_commas(line) if value]

    def tokens(self, name: str) -> frozenset[str]:
        """Give a list of option tags or methods (Supported, Require, Allow, ...) as a set, as written."""
        return frozenset(self.values(name))

    def count(self, name: str) -> int:
        """Say how many lines have that name."""
        return self._names.count(_WRITTEN.get(name) or canonical_name(name))

    def has_any(self, names: frozenset[str]) -> bool:
        """Say whether there is a line of any of these names, which are canonical."""
        return not names.isdisjoint(self._names)

    def set(self, name: str, value: str) -> None:
        """Replace all lines of that name by one, where the first of them stood, or at the end.

        Raises:
            ParseError: (as for all that put lines in) ``name`` is no token, or ``value`` has a line break.
        """
        key = _WRITTEN.get(name) or _new_name(name)
        line = _line(name, value)
        self.parsed.pop(key, None)
        if key not in self._names:
            self._names.append(key)
            self._lines.append(line)
            return
        index = self._names.index(key)
        self._lines[index] = line
        if self._names.count(key) > 1:
            self._delete(key, index + 1)

    def ensure(self, name: str, value: str) -> None:
        """Make sure that there is one line of that name, with that value; one that says so is left as it is."""
        key = _WRITTEN.get(name) or _new_name(name)
        count = self._names.count(key)
        if not count:
            self.add(name, value)
        elif count > 1 or _value(self._lines[self._names.index(key)]) != value:
            self.set(name, value)

    def add(self, name: str, value: str) -> None:
        """Append a line at the end."""
        key = _WRITTEN.get(name) or _new_name(name)
        self._lines.append(_line(name, value))
        self._names.append(key)
        if self.parsed:
            self.parsed.pop(key, None)

    def prepend(self, name: str, value: str) -> None:
        """Put a line before the first one of that name, or before all others: for Via, Route and Record-Route."""
        key = _WRITTEN.get(name) or _new_name(name)
        index = self._names.index(key) if key in self._names else 0
        self._lines.insert(index, _line(name, value))
        self._names.insert(index, key)
        self.parsed.pop(key, None)

    def replace_first(self, name: str, values: Iterable[str]) -> None:
        """Put these values, a line each, in the place of the first line of that name.

        Raises:
            ValueError: there is no line of that name.
        """
        key = _WRITTEN.get(name) or _new_name(name)
        index = self._names.index(key)
        lines = [_line(name, value) for value in values]
        self._lines[index : index + 1] = lines
        self._names[index : index + 1] = [key] * len(lines)
        self.parsed.pop(key, None)

    def remove(self, name: str) -> None:
        """Remove all lines of that name, if there are any."""
        key = _WRITTEN.get(name) or canonical_name(name)
        if key in self._names:
            self._delete(key, 0)
            self.parsed.pop(key, None)

    def copy_lines(self, other: Headers, name: str) -> None:
        """Append the lines of that name in ``other``, octet for octet."""
        key = _WRITTEN.get(name) or canonical_name(name)
        lines = [line for known, line in zip(other._names, other._lines, strict=True) if known == key]
        self._lines += lines
        self._names += [key] * len(lines)
        self.parsed.pop(key, None)

    def copy_first(self, other: Headers, name: str) -> None:
        """Append the first line of that name in ``other``, if there is one, octet for octet."""
        key = _WRITTEN.get(name) or canonical_name(name)
        if key in other._names:
            self._lines.append(other._lines[other._names.index(key)])
            self._names.append(key)
            self.parsed.pop(key, None)

    def copy_only(self, other: Headers, names: frozenset[str]) -> None:
        """Append, octet for octet and in order, the lines of ``other`` whose canonical name is in `names`."""
        for name, line in zip(other._names, other._lines, strict=True):
            if name in names:
                self._names.append(name)
                self._lines.append(line)
                if self.parsed:
                    self.parsed.pop(name, None)

    def copy_others(self, other: Headers, names: frozenset[str]) -> None:
        """Append, octet for octet and in order, the lines of ``other`` whose canonical name is not in `names`."""
        for name, line in zip(other._names, other._lines, strict=True):
            if name not in names:
                self._names.append(name)
                self._lines.append(line)
                if self.parsed:
                    self.parsed.pop(name, None)

    def extend(self, fields: Fields) -> None:
        """Append fields: those of another `Headers` octet for octet."""
        if isinstance(fields, Headers):
            names, lines = fields._names, fields._lines
        else:
            names = []
            lines = []
            for name, value in fields:
                names.append(_WRITTEN.get(name) or _new_name(name))
                lines.append(f"{name}: {value}")
            text = "".join(lines)
            if "\n" in text or "\r" in text:
                raise ParseError("A line break in the value of a header field")
        self._names += names
        self._lines += lines
        if self.parsed:
            for key in names:
                self.parsed.pop(key, None)

    def items(self) -> Iterator[tuple[str, str]]:
        """Give ``(name as written, value)`` of each line, in order."""
        for line in self._lines:
            name, _, _ = line.partition(":")
            yield name.rstrip(WHITESPACE), _value(line)

    def names(self) -> list[str]:
        """Give the canonical name of each line, in order."""
        return list(self._names)

    def lines(self) -> list[str]:
        """Give the raw lines, in order, to be joined by CRLF."""
        return self._lines

    def copy(self) -> Headers:
        """Give an independent copy; what is already parsed is shared, since values are immutable."""
        copy = Headers()
        copy._names = self._names.copy()
        copy._lines = self._lines.copy()
        copy.parsed = self.parsed.copy()
        return copy

    def forget_parsed(self) -> None:
        """Save memory: what is parsed is parsed again when somebody asks for it."""
        self.parsed = {}

    def _delete(self, key: str, start: int) -> None:
        for index in range(len(self._names) - 1, start - 1, -1):
            if self._names[index] == key:
                del self._names[index]
                del self._lines[index]

    def __contains__(self, name: str) -> bool:
        return canonical_name(name) in self._names

    def __len__(self) -> int:
        return len(self._lines)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._names == other._names and [_value(line) for line in self._lines] == [
            _value(line) for line in other._lines
        ]

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Headers {self._names}>"


def _value(line: str) -> str:
    value = line.partition(":")[2]
    return value.strip(WHITESPACE) if "\n" not in value else _unfold(value)


def _unfold(value: str) -> str:
    return " ".join([part.strip(WHITESPACE) for part in value.split("\r\n")]).strip(WHITESPACE)


def _line(name: str, value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ParseError(f"A line break in the value of {name}")
    return f"{name}: {value}"


def _new_name(name: str) -> str:
    """Give the canonical form of a name that is about to be written."""
    if not is_token(name):
        raise ParseError(f"{name[:40]!r} cannot be the name of a header field")
    return canonical_name(name)


#: Header fields that something is made with: ready lines, or names and values.
Fields = Headers | Iterable[tuple[str, str]]
