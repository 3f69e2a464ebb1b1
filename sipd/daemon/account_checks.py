"""What must hold between two values of ``[accounts]``; called by `sipd.daemon.checks`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from sipd.daemon.problems import KeyPath, Problem
from sipd.daemon.values import Table, shown

#: The options of each type of store, beside ``name``, ``type`` and ``timeout``.
_REMEMBERED = frozenset(("ttl", "negative_ttl", "stale", "entries", "questions"))
OPTIONS = {
    "sql": frozenset(("url", "layout", "table", "connections")) | _REMEMBERED,
    "http": frozenset(("url", "token", "ca")) | _REMEMBERED,
    "radius": frozenset(
        ("servers", "secret", "digest", "user_name", "nas_identifier", "message_authenticator", "tries")
    ),
}
_COMMON = frozenset(("name", "type", "timeout"))
_KNOWN = frozenset().union(*OPTIONS.values())


def find_account_conflicts(table: Table) -> Iterator[Problem]:
    """Give every mistake that lies in the relation of two values of ``[accounts]``."""
    stores = account_stores(table)
    first: dict[str, int] = {}
    for index, store in stores:
        path: KeyPath = ("accounts", "stores", index)
        name = store.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            text = f"a name of its own expected (accounts.stores[{first[name]}] is {shown(name)} too)"
            yield Problem((*path, "name"), text)
        kind = store.get("type")
        if isinstance(kind, str) and kind in OPTIONS:
            yield from _options(path, store, kind)
            yield from _of_type(path, store, kind)
    for position, (index, store) in enumerate(stores):
        if store.get("type") == "radius" and position < len(stores) - 1:
            text = "the last store expected: it does not say who exists, so none behind it would ever be asked"
            yield Problem(("accounts", "stores", index, "type"), text)


def account_stores(table: Table) -> list[tuple[int, Table]]:
    """Give those entries of ``[[accounts.stores]]`` that are tables, with their places."""
    accounts = table.get("accounts")
    stores = accounts.get("stores") if isinstance(accounts, dict) else None
    return [
        (index, store)
        for index, store in enumerate(stores if isinstance(stores, list) else ())
        if isinstance(store, dict)
    ]


def _options(path: KeyPath, store: Table, kind: str) -> Iterator[Problem]:
    for key in store:
        if key in _KNOWN and key not in OPTIONS[kind]:
            kinds = " or ".join(f'"{one}"' for one, keys in OPTIONS.items() if key in keys)
            yield Problem((*path, key), f"for type = {kinds} only")


def _of_type(path: KeyPath, store: Table, kind: str) -> Iterator[Problem]:
    if kind == "radius":
        for key in ("servers", "secret"):
            if not store.get(key):
                yield Problem((*path, key), "required, and missing")
    if kind == "http":
        yield from _http(path, store)
    if kind == "sql" and "url" not in store and store.get("layout") == "kamailio":
        yield Problem((*path, "url"), 'required for layout = "kamailio", and missing')


def _http(path: KeyPath, store: Table) -> Iterator[Problem]:
    """Secrets travel: encrypted, or within this machine. A URL that is a secret itself is not looked into."""
    if "url" not in store:
        yield Problem((*path, "url"), "required, and missing")
        return
    url = store["url"]
    if not isinstance(url, str):
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_url = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:
        is_url, host, parts = False, "", urlsplit("")
    if not is_url or not url.isascii() or not url.isprintable() or "{user}" not in parts.path + parts.query:
        text = 'a URL such as "https://users.example.com/accounts/{user}" expected'
        yield Problem((*path, "url"), text)
    elif parts.scheme == "http" and not _is_loopback(host):
        yield Problem(
            (*path, "url"), "https expected where the service is not on this machine: passwords would be read"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
