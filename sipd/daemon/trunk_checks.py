"""What must hold between two values of ``[[trunks]]``; called by `sipd.daemon.checks`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from sipd.daemon.problems import KeyPath, Problem
from sipd.daemon.values import Table, shown


def find_trunk_conflicts(table: Table) -> Iterator[Problem]:
    """Give every mistake that lies in the relation of two values of the trunks."""
    networks: dict[object, int] = {}
    certified: dict[object, int] = {}
    contacts: dict[object, int] = {}
    users: dict[object, int] = {}
    for index, trunk in _tables(table, "trunks"):
        path: KeyPath = ("trunks", index)
        registration = trunk.get("registration")
        if not trunk.get("servers") and "registration" not in trunk:
            yield Problem((*path, "servers"), "required (or a registration), and missing: where do calls go?")
        for position, network in _entries(trunk.get("networks")):
            where = (*path, "networks", position)
            yield from _own(where, _network(network), index, networks, "a network of its own")
        for position, name in _entries(trunk.get("certificate_names")):
            where = (*path, "certificate_names", position)
            name = name.lower() if isinstance(name, str) else None
            yield from _own(where, name, index, certified, "a name of its own")
        for position, user in _entries(trunk.get("users")):
            where = (*path, "users", position)
            yield from _own(where, user if isinstance(user, str) else None, index, users, "a user of its own")
        if isinstance(registration, dict):
            contact = registration.get("contact_user")
            where = (*path, "registration", "contact_user")
            yield from _own(where, contact, index, contacts, "a contact of its own")
            yield from _registration(path, trunk, registration)
        yield from _points(path, trunk, table)
        yield from _numbers(path, trunk, table)


def _registration(path: KeyPath, trunk: Table, registration: Table) -> Iterator[Problem]:
    if not registration.get("registrars") and not trunk.get("servers"):
        text = "required (or servers of the trunk), and missing: where is it registered?"
        yield Problem((*path, "registration", "registrars"), text)
    first, limit = registration.get("retry", 30.0), registration.get("retry_limit", 600.0)
    if _is_number(first) and _is_number(limit) and first > limit:
        key = "retry" if "retry" in registration else "retry_limit"
        text = f"retry no greater than retry_limit expected (got {first} and {limit})"
        yield Problem((*path, "registration", key), text)
    if registration.get("needed") is False and not trunk.get("servers"):
        text = "true expected where there are no servers: calls go to the registrar that has the binding"
        yield Problem((*path, "registration", "needed"), text)


def _points(path: KeyPath, trunk: Table, table: Table) -> Iterator[Problem]:
    points = [listen.get("name") for _, listen in _tables(table, "listen")]
    point = trunk.get("point")
    if isinstance(point, str) and point not in points:
        yield Problem((*path, "point"), f"the name of a listening point expected (got {shown(point)})")
    has_tls = any(str(listen.get("transport")).lower() == "tls" for _, listen in _tables(table, "listen"))
    if trunk.get("certificate_names") and not has_tls:
        text = "a listening point for TLS expected: nobody shows a certificate elsewhere"
        yield Problem((*path, "certificate_names"), text)


def _numbers(path: KeyPath, trunk: Table, table: Table) -> Iterator[Problem]:
    routing = table.get("routing")
    if trunk.get("numbers") == "national" and not (isinstance(routing, dict) and "country_code" in routing):
        yield Problem((*path, "numbers"), "routing.country_code required for this, and missing")


def _own(path: KeyPath, value: object, index: int, first: dict[object, int], what: str) -> Iterator[Problem]:
    """Say that a value is that of another trunk already."""
    if value is not None and not isinstance(value, dict | list) and first.setdefault(value, index) != index:
        yield Problem(path, f"{what} expected (trunks[{first[value]}] has {shown(str(value))} too)")


def _network(value: object) -> object:
    try:
        return ipaddress.ip_network(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _tables(table: Table, name: str) -> Iterator[tuple[int, Table]]:
    values = table.get(name)
    for index, value in enumerate(values if isinstance(values, list) else ()):
        if isinstance(value, dict):
            yield index, value


def _entries(value: object) -> Iterator[tuple[int, object]]:
    yield from enumerate(value if isinstance(value, list) else ())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
