"""From an answer of a name server to what it says: records by name, aliases followed, and for how long it holds."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.names import dns

from sipd.sip.services import NamingPointer, ServiceRecord

#: More records of one name are not looked at.
MAX_RECORDS = 64
#: More aliases in a row are a loop, or a mistake (RFC 1034 section 3.6.2).
MAX_ALIASES = 8
#: A TTL is at most that; larger ones mean zero (RFC 2181 section 8).
_MAX_TTL = 2**31 - 1

#: What a record says: an address, a `ServiceRecord`, a `NamingPointer`.
Value = Any
#: A name in lower case without a final dot, and a type of records.
Question = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a name server said of one question.

    Args:
        values: what the records say, each once.
        ttl: seconds for which this holds; of a negative answer as well (RFC 2308), where ``None`` is: it did not say.
        alias: the name to ask about instead, or empty.
        others: what it said besides, of other names.
    """

    values: tuple[Value, ...]
    ttl: float | None
    alias: str = ""
    others: Mapping[Question, Answer] = field(default_factory=dict)


def read_answer(message: dns.Message, question: Question) -> Answer:
    """Read the answer to a question.

    Only what belongs to it is taken: the records of its name or of those that it is an alias of, and of the additional
    section the addresses and services of names that these records lead to.
    """
    name, kind = question
    records = list(_read(message.answers))
    ttl: float = _MAX_TTL
    for _ in range(MAX_ALIASES):
        alias = next((one for one in records if one.name == name and one.kind == dns.CNAME), None)
        if alias is None or kind == dns.CNAME:
            break
        name = alias.value
        ttl = min(ttl, alias.ttl)
    found = [one for one in records if one.name == name and one.kind == kind]
    if found:
        values = tuple(dict.fromkeys(one.value for one in found))
        others = _read_others(message.additional, values)
        return Answer(values=values, ttl=min(ttl, *(one.ttl for one in found)), others=others)
    if name != question[0] and message.rCode == dns.OK and not _negative_ttls(message):
        return Answer(values=(), ttl=ttl, alias=name)
    negative = _negative_ttls(message)
    return Answer(values=(), ttl=min(ttl, *negative) if negative else None)


@dataclass(frozen=True, slots=True)
class _Record:
    name: str
    kind: int
    ttl: float
    value: Value


def _read(headers: Iterable[dns.RRHeader]) -> Iterable[_Record]:
    for header in list(headers)[:MAX_RECORDS]:
        read = _READERS.get(header.type)
        if read is None or header.cls != dns.IN:
            continue
        value = read(header.payload)
        if value is not None:
            yield _Record(_text(header.name.name), header.type, _ttl(header.ttl), value)


def _read_others(headers: Iterable[dns.RRHeader], values: tuple[Value, ...]) -> dict[Question, Answer]:
    """Read the additional section, as far as it is about names that the answer leads to."""
    wanted = {value.host for value in values if isinstance(value, ServiceRecord)}
    wanted |= {value.replacement for value in values if isinstance(value, NamingPointer)}
    if not wanted:
        return {}
    records = list(_read(headers))
    wanted |= {record.value.host for record in records if record.kind == dns.SRV and record.name in wanted}
    found: dict[Question, list[_Record]] = {}
    for record in records:
        if record.name in wanted and record.kind in (dns.A, dns.AAAA, dns.SRV):
            found.setdefault((record.name, record.kind), []).append(record)
    return {
        question: Answer(
            values=tuple(dict.fromkeys(record.value for record in records)),
            ttl=min(record.ttl for record in records),
        )
        for question, records in found.items()
    }


def _negative_ttls(message: dns.Message) -> list[float]:
    """Give for how long it holds that there is nothing (RFC 2308 section 5); nothing if that is not what is said."""
    authorities: list[tuple[int, int, Any]] = [(one.type, one.ttl, one.payload) for one in message.authority]
    return [min(_ttl(ttl), _ttl(payload.minimum)) for kind, ttl, payload in authorities if kind == dns.SOA]


def _text(name: bytes) -> str:
    return name.decode("ascii", "replace").lower().removesuffix(".")


def _ttl(seconds: int) -> float:
    return float(seconds) if 0 <= seconds <= _MAX_TTL else 0.0


# The payloads are those of Twisted: what it has read of a record, in attributes whose types it does not say.


def _alias(payload: Any) -> str:
    return _text(payload.name.name)


def _ipv4(payload: Any) -> str:
    return socket.inet_ntop(socket.AF_INET, payload.address)


def _ipv6(payload: Any) -> str:
    return socket.inet_ntop(socket.AF_INET6, payload.address)


def _service(payload: Any) -> ServiceRecord | None:
    host = _text(payload.target.name)
    if host and not payload.port:
        return None
    return ServiceRecord(priority=payload.priority, weight=payload.weight, port=payload.port, host=host)


def _pointer(payload: Any) -> NamingPointer:
    return NamingPointer(
        order=payload.order,
        preference=payload.preference,
        flags=_text(payload.flags.string),
        service=_text(payload.service.string).upper(),
        regexp=payload.regexp.string.decode("ascii", "replace"),
        replacement=_text(payload.replacement.name),
    )


_READERS: dict[int, Callable[[Any], Value]] = {
    dns.CNAME: _alias,
    dns.A: _ipv4,
    dns.AAAA: _ipv6,
    dns.SRV: _service,
    dns.NAPTR: _pointer,
}
