"""What NAPTR and SRV records say of a domain's SIP servers (RFC 3263 section 4, RFC 2782, RFC 3403)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from sipd.sip.locate import Transport

#: Service fields of NAPTR records (RFC 3263 section 4.1, RFC 7118 section 5.3).
_SERVICES = {
    "SIP+D2U": Transport.UDP,
    "SIP+D2T": Transport.TCP,
    "SIPS+D2T": Transport.TLS,
    "SIP+D2W": Transport.WS,
    "SIPS+D2W": Transport.WSS,
}
_LABELS = {Transport.UDP: "_sip._udp", Transport.TCP: "_sip._tcp", Transport.TLS: "_sips._tcp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingPointer:
    """A NAPTR record (RFC 3403 section 4.1): how a domain wants to be spoken to.

    Args:
        order, preference: the lower the earlier.
        flags: ``s`` where `replacement` has SRV records.
        service: such as ``SIPS+D2T``.
        regexp: empty in every record that is of use here.
        replacement: the name to look up next, in lower case, without a final dot.
    """

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """An SRV record (RFC 2782): one server.

    Args:
        priority: the lower the earlier.
        weight: its share among those of equal priority.
        port: of the server.
        host: its name, in lower case, without a final dot; empty where the service is decidedly not available.
    """

    priority: int
    weight: int
    port: int
    host: str


def service_name(transport: Transport, domain: str) -> str:
    """Give the name that has the SRV records of a transport: ``_sip._udp.example.com`` (RFC 3263 section 4.1).

    Returns:
        The name; empty for WebSocket, for which there are none (RFC 7118 section 5.3).
    """
    label = _LABELS.get(transport)
    return f"{label}.{domain}" if label else ""


def choose_pointers(
    pointers: Iterable[NamingPointer], *, spoken: Collection[Transport], is_secure: bool
) -> list[tuple[Transport, str]]:
    """Give transports and SRV names in the order in which the domain wants them tried (RFC 3263 section 4.1).

    Args:
        pointers: the NAPTR records of the domain.
        spoken: the transports that are spoken here.
        is_secure: whether the URI is ``sips``, which nothing but secure transports may serve.
    """
    chosen: dict[tuple[Transport, str], None] = {}
    for pointer in sorted(pointers, key=lambda pointer: (pointer.order, pointer.preference)):
        transport = _SERVICES.get(pointer.service.upper())
        if transport is None or transport not in spoken or (is_secure and not transport.is_secure):
            continue
        if pointer.flags.lower() == "s" and not pointer.regexp and pointer.replacement:
            chosen[transport, pointer.replacement] = None
    return list(chosen)


def order_services(records: Iterable[ServiceRecord], pick: Callable[[int], int]) -> list[ServiceRecord]:
    """Put servers in the order in which they are to be tried: by priority, and by chance as their weights say.

    Args:
        records: of one name, each once.
        pick: gives a whole number from 0 to its argument, each as probable as the others.

    RFC 2782, "Usage rules": those without weight come first into the running sum, so they have a small chance, too.
    Where no server of a priority has a weight, each is as good as the others, and chance decides alone.
    """
    by_priority: dict[int, list[ServiceRecord]] = {}
    for record in sorted(records, key=lambda record: (record.priority, record.weight)):
        by_priority.setdefault(record.priority, []).append(record)
    ordered: list[ServiceRecord] = []
    for equals in by_priority.values():
        total = sum(record.weight for record in equals)
        while len(equals) > 1:
            index = _find(equals, pick(total)) if total else pick(len(equals) - 1)
            total -= equals[index].weight
            ordered.append(equals.pop(index))
        ordered += equals
    return ordered


def _find(records: list[ServiceRecord], number: int) -> int:
    """Give the index of the first record whose running sum of weights reaches a number."""
    running = 0
    for index, record in enumerate(records):
        running += record.weight
        if running >= number:
            return index
    return len(records) - 1
