"""What is seen as text: one line each, whole messages, or JSON. What a peer chose cannot harm a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sipd.observe.sniffing.sightings import Address, Sighting, Unreadable, user_of
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import printable
from sipd.sip.message import Request, Response

_LONGEST_URI = 200
_LONGEST_WORD = 128


def line(seen: Sighting | Unreadable) -> str:
    """Say in one line what was seen.

    Of a request: time, addresses, transport, method, Request-URI, users of From and To, Call-ID. Of a response, status,
    reason phrase and the method that it answers stand where method and URI do.
    """
    start = f"{moment(seen.at)} {host_port(seen.source)} -> {host_port(seen.destination)}"
    if isinstance(seen, Unreadable):
        return f"{start} {seen.reason}"
    message = seen.message
    if message is None:
        return f"{start} {seen.transport} malformed: {printable(seen.fault)}"
    ends = f"from {_user(seen.caller)} to {_user(seen.callee)} {_word(seen.call_id)}"
    if isinstance(message, Request):
        return f"{start} {seen.transport} {_word(message.method)} {printable(message.uri_text, _LONGEST_URI)} {ends}"
    return f"{start} {seen.transport} {message.status} {printable(message.reason)} ({_word(seen.method)}) {ends}"


def block(sighting: Sighting) -> str:
    """Give a whole message under its line, and an empty line after it."""
    text = sighting.data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n")
    lines = (printable(written.replace("\t", " "), len(written)) for written in text.split("\n"))
    return "\n".join([line(sighting), *lines, ""])


def values(seen: Sighting | Unreadable) -> dict[str, Any]:
    """Give what stands in a line by names, for JSON; what is missing is null."""
    common: dict[str, Any] = {
        "at": round(seen.at, 6),
        "time": moment(seen.at),
        "source": host_port(seen.source),
        "destination": host_port(seen.destination),
    }
    if isinstance(seen, Unreadable):
        return {"kind": "unreadable", **common, "reason": seen.reason}
    message = seen.message
    return {
        "kind": "malformed" if message is None else "response" if isinstance(message, Response) else "request",
        **common,
        "transport": seen.transport,
        "method": seen.method or None,
        "status": seen.status,
        "reason": seen.fault or (message.reason if isinstance(message, Response) else None),
        "uri": message.uri_text if isinstance(message, Request) else None,
        "from": _uri(seen.caller),
        "to": _uri(seen.callee),
        "from_user": user_of(seen.caller) or None,
        "to_user": user_of(seen.callee) or None,
        "call_id": seen.call_id or None,
        "cseq": seen.cseq,
        "size_octets": len(seen.data),
    }


def as_text(data: bytes) -> str:
    """Give a message as text for JSON."""
    return data.decode("utf-8", "backslashreplace")


def moment(at: float) -> str:
    """Give a time as UTC, to the millisecond."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{at:.3f}"


def host_port(address: Address) -> str:
    """Give an address as text, that of IPv6 in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _user(address: NameAddr | None) -> str:
    return _word(user_of(address))


def _word(text: str) -> str:
    return printable(text, _LONGEST_WORD).replace(" ", "?") or "?"


def _uri(address: NameAddr | None) -> str | None:
    return str(address.uri) if address is not None else None
