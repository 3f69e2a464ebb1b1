"""Routes as Sippy's B2BUA takes them from its configuration or from RADIUS, as attempts of ours.

    Routing:[CLD@]HOST[:PORT][;PARAMETER=VALUE]...

Several of them are tried one after another. Each stands on a line of its own, or they are joined as RADIUS logs show
them: ``h323-ivr-in=Routing:...^h323-ivr-in=Routing:...``. What stands in front of the called number and host may be
left out. An IPv6 address is in brackets. Numbers are seconds; negative ones mean no bound.

==================================  =================================================================================
parameter                           becomes
==================================  =================================================================================
``CLD@``                            the called number; without it the call's own, with nothing before the ``@`` none
``credit-time``                     how long the call may last; of several the least, as nobody knows who will answer
``expires``                         the time after which the attempt is given up
``np_expires``                      the time after which it is given up if it makes no progress
``auth=USER:PASSWORD``              the credentials for challenges; ``nopass`` for none
``cli``                             the calling number
``cnam``                            the caller's display name, ``%HH`` undone
``hs_scodes``, ``huntstop_scodes``  the statuses that end the search
``op=HOST[:PORT]``                  the next hop
``rtpp``                            0: media does not go through here
==================================  =================================================================================

An entry whose ``credit-time`` or ``expires`` is 0 is left out. There is nothing here for any other parameter
(``ash``, ``gt``, ``nr_expires``, ``forward_on_fail``, ``po_proc``, ``bill-to`` and the like): it is a mistake, so that
nobody relies on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn
from urllib.parse import unquote

from sipd.errors import ParseError
from sipd.interfaces import Attempt, Credentials, MediaPolicy
from sipd.sip.grammar import escape
from sipd.sip.uri import SipUri, parse_sip_uri

#: Entries that one text may have.
MAX_ENTRIES = 100
_BETWEEN = re.compile(r"\n|\^(?=\s*(?:h323-ivr-in\s*=|Routing:))", re.IGNORECASE)
_FRONT = re.compile(r"\s*(?:h323-ivr-in\s*=\s*)?(?:Routing:)?", re.IGNORECASE)
_SECONDS = re.compile(r"-?[0-9]{1,9}\Z")
#: What may stand in the user part of a URI without an escape (RFC 3261 section 25.1).
_USER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()&=+$,;?/")


class SippyError(ValueError):
    """A text that is no such route, or asks for what there is not. `problems` holds one phrase for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class SippyRoute:
    """One entry.

    Args:
        host: where to, as in a URI.
        port: ``None`` for the default one.
        number: the called one; empty for none, ``None`` for that of the call.
        duration: seconds that the call may last; ``None`` for no bound of its own.
        timeout: see `Attempt`; ``None`` for the default.
        response_timeout: see `Attempt`.
        credentials: see `Attempt`.
        caller: the calling number; ``None`` for that of the call.
        caller_name: see `Attempt`.
        stops: see `Attempt`.
        next_hop: see `Attempt`.
        is_bypassed: whether media does not go through here.
    """

    host: str
    port: int | None = None
    number: str | None = None
    duration: float | None = None
    timeout: float | None = None
    response_timeout: float | None = None
    credentials: Credentials | None = field(default=None, repr=False)
    caller: str | None = None
    caller_name: str | None = None
    stops: frozenset[int] = frozenset()
    next_hop: SipUri | None = None
    is_bypassed: bool = False

    def attempt(self, number: str, label: str) -> Attempt:
        """Give the attempt for a call.

        Args:
            number: the user part of a URI that is called, where the entry has none of its own.
            label: for logs and records.
        """
        user = number if self.number is None else escape(self.number, _USER)
        attempt = Attempt(
            uri=SipUri(self.host, user or None, self.port),
            label=label,
            next_hop=self.next_hop,
            credentials=self.credentials,
            response_timeout=self.response_timeout,
            stops=self.stops,
            caller=None if self.caller is None else escape(self.caller, _USER),
            caller_name=self.caller_name,
            media=MediaPolicy(is_bypassed=True) if self.is_bypassed else None,
        )
        return attempt if self.timeout is None else replace(attempt, timeout=self.timeout)


def parse_routing(text: str) -> tuple[SippyRoute, ...]:
    """Read one route, or several.

    Raises:
        SippyError: a part of it cannot be used; each such part is named, by the number of its entry. No value is shown:
            there are passwords in it.
    """
    entries = [entry for entry in _BETWEEN.split(text) if entry.strip()]
    if not 0 < len(entries) <= MAX_ENTRIES:
        raise SippyError([f"1 to {MAX_ENTRIES} entries expected (got {len(entries)})"])
    routes: list[SippyRoute] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        reading = _Entry()
        route = reading.read(_FRONT.sub("", entry, count=1).strip())
        problems += [f"entry {number}: {problem}" for problem in reading.problems]
        if route is not None:
            routes.append(route)
    if not problems and not routes:
        problems.append("an entry whose credit-time and expires are not 0 expected")
    if problems:
        raise SippyError(problems)
    return tuple(routes)


def least_duration(routes: tuple[SippyRoute, ...]) -> float | None:
    """Give how long a call may last that any of these may take; ``None`` for no bound."""
    return min((route.duration for route in routes if route.duration is not None), default=None)


class _Entry:
    """One entry, while it is read.

    Attributes:
        problems: what is wrong with it.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._values: dict[str, Any] = {}
        self._is_left_out = False

    def read(self, text: str) -> SippyRoute | None:
        """Give the route; ``None`` if it is left out, or has problems."""
        target, *parameters = text.split(";")
        number, at, place = target.rpartition("@")
        if at:
            self._values["number"] = number
        try:
            uri = _place(place)
        except ParseError:
            self.problems.append("[CLD@]HOST[:PORT] expected")
            uri = SipUri("invalid")
        seen: set[str] = set()
        for parameter in parameters:
            if parameter.strip():
                self._take(parameter, seen)
        if self.problems or self._is_left_out:
            return None
        return SippyRoute(host=uri.host, port=uri.port, **self._values)

    def _take(self, parameter: str, seen: set[str]) -> None:
        name, equals, value = parameter.partition("=")
        name, value = name.strip(), value.strip()
        reader = _READERS.get(name)
        if reader is None:
            shown = "".join(character if character.isprintable() else "?" for character in name[:40])
            self.problems.append(f'"{shown}" is none of the parameters that there are ({", ".join(_READERS)})')
            return
        if not equals:
            self.problems.append(f"{name}: a value expected")
            return
        if name in seen:
            self.problems.append(f"{name}: one value expected")
            return
        seen.add(name)
        try:
            reader(self, value)
        except ValueError as error:
            self.problems.append(f"{name}: {error}")

    def _seconds(self, value: str) -> float | None:
        if not _SECONDS.match(value):
            raise ValueError("whole seconds expected")
        return float(value) if int(value) >= 0 else None

    def credit_time(self, value: str) -> None:
        """How long the call may last."""
        self._values["duration"] = seconds = self._seconds(value)
        self._is_left_out = self._is_left_out or seconds == 0

    def expires(self, value: str) -> None:
        """The time for the attempt."""
        self._values["timeout"] = seconds = self._seconds(value)
        self._is_left_out = self._is_left_out or seconds == 0

    def no_progress(self, value: str) -> None:
        """The time until it makes progress."""
        self._values["response_timeout"] = seconds = self._seconds(value)
        if seconds == 0:
            raise ValueError("1 second or more expected")

    def auth(self, value: str) -> None:
        """The credentials."""
        if value == "nopass":
            return
        username, colon, password = value.partition(":")
        if not username or not colon:
            raise ValueError("USER:PASSWORD or nopass expected")
        self._values["credentials"] = Credentials(username=username, password=password)

    def calling_number(self, value: str) -> None:
        """The calling number."""
        if not value or not value.isprintable():
            raise ValueError("a number expected; none at all is not possible")
        self._values["caller"] = value

    def calling_name(self, value: str) -> None:
        """The caller's name."""
        try:
            name = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise ValueError("UTF-8 expected") from None
        if not name.isprintable():
            raise ValueError("a name of one line expected")
        self._values["caller_name"] = name

    def stop_codes(self, value: str) -> None:
        """The statuses that end the search."""
        codes = [code.strip() for code in value.split(",") if code.strip()]
        if not all(len(code) == 3 and code.isascii() and code.isdigit() and "3" <= code[0] <= "6" for code in codes):
            raise ValueError("statuses from 300 to 699 expected")
        self._values["stops"] = self._values.get("stops", frozenset()) | {int(code) for code in codes}

    def outbound_proxy(self, value: str) -> None:
        """The next hop."""
        try:
            self._values["next_hop"] = _place(value)
        except ParseError:
            raise ValueError("HOST[:PORT] expected") from None

    def rtp_proxy(self, value: str) -> None:
        """Whether media goes through here."""
        if value not in ("0", "1"):
            raise ValueError("0 or 1 expected")
        self._values["is_bypassed"] = value == "0"


_READERS: dict[str, Callable[[_Entry, str], None]] = {
    "credit-time": _Entry.credit_time,
    "expires": _Entry.expires,
    "np_expires": _Entry.no_progress,
    "auth": _Entry.auth,
    "cli": _Entry.calling_number,
    "cnam": _Entry.calling_name,
    "hs_scodes": _Entry.stop_codes,
    "huntstop_scodes": _Entry.stop_codes,
    "op": _Entry.outbound_proxy,
    "rtpp": _Entry.rtp_proxy,
}


def _place(text: str) -> SipUri:
    """Read `host`, ``host:port`` or ``[address]:port``.

    Raises:
        ParseError: it is something else.
    """
    if "@" in text or "?" in text or ";" in text:
        _no_place()
    uri = parse_sip_uri(f"sip:{text.strip()}")
    return uri if uri.user is None and uri.host else _no_place()


def _no_place() -> NoReturn:
    raise ParseError("A host with or without a port is needed")
