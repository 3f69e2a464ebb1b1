"""What must hold between two values of a configuration.

Each check reads the table as it stands in the file, and passes over what is not of the right type: so it finds its own
mistakes also where other values are wrong, and one run reports everything.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from sipd.daemon.account_checks import account_stores, find_account_conflicts
from sipd.daemon.guard_checks import find_guard_conflicts
from sipd.daemon.policies import find_policy_conflicts
from sipd.daemon.problems import KeyPath, Problem
from sipd.daemon.record_checks import find_record_conflicts
from sipd.daemon.route_checks import find_routing_conflicts
from sipd.daemon.sections import Authentication, Media, Registrar, Subscriptions, Timers
from sipd.daemon.trunk_checks import find_trunk_conflicts
from sipd.daemon.values import Table, shown
from sipd.errors import ParseError
from sipd.sip.grammar import escape
from sipd.sip.locate import Transport
from sipd.sip.uri import SipUri, Uri, parse_uri

_DEFAULT_PORTS = {transport.value.lower(): transport.default_port for transport in Transport}
_SECURE = {transport.value.lower() for transport in Transport if transport.is_secure}
_WEBSOCKETS = {transport.value.lower() for transport in Transport if transport.is_websocket}


def find_conflicts(table: Table) -> Iterator[Problem]:
    """Give every mistake that lies in the relation of two values."""
    for name in ("listen", "users", "trunks", "routes", "policies"):
        yield from _same_names(table, name)
    yield from _same_places(table)
    for path, listen in _tables(table, "listen"):
        yield from _listen(path, listen)
    for path, user in _tables(table, "users"):
        yield from _user(path, user, _section(table, "authentication"))
    yield from _identities(table)
    yield from find_account_conflicts(table)
    yield from find_trunk_conflicts(table)
    yield from find_routing_conflicts(table)
    yield from find_policy_conflicts(table)
    yield from _in_order(table)
    yield from _subscriptions(table)
    yield from _media(table)
    yield from _recording(table)
    yield from _metrics(table)
    yield from find_guard_conflicts(table)
    yield from find_record_conflicts(table)


def _section(table: Table, name: str) -> Table:
    value = table.get(name)
    return value if isinstance(value, dict) else {}


def _tables(table: Table, name: str) -> Iterator[tuple[KeyPath, Table]]:
    values = table.get(name)
    for index, value in enumerate(values if isinstance(values, list) else ()):
        if isinstance(value, dict):
            yield (name, index), value


def _number(table: Mapping[str, Any], key: str, default: float) -> float | None:
    value = table.get(key, default)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _same_names(table: Table, section: str) -> Iterator[Problem]:
    first: dict[str, KeyPath] = {}
    for path, value in _tables(table, section):
        name = value.get("name")
        if isinstance(name, str) and first.setdefault(name, path) != path:
            yield Problem(
                (*path, "name"), f"a name of its own expected ({section}[{first[name][1]}] is {shown(name)} too)"
            )


def _same_places(table: Table) -> Iterator[Problem]:
    """All but UDP share the ports of an address; UDP has its own."""
    first: dict[tuple[bool, str, int], KeyPath] = {}
    for path, listen in _tables(table, "listen"):
        transport, address = listen.get("transport"), listen.get("address")
        port = listen.get("port", _DEFAULT_PORTS.get(str(transport).lower()))
        if not isinstance(address, str) or not isinstance(port, int) or port == 0:
            continue
        place = (str(transport).lower() == "udp", _canonical(address), port)
        if first.setdefault(place, path) != path:
            yield Problem(
                (*path, "port"), f"an address and port of its own expected (listen[{first[place][1]}] has them)"
            )


def _canonical(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def _listen(path: KeyPath, listen: Table) -> Iterator[Problem]:
    yield from _pair(path, listen, "certificate", "key")
    transport = str(listen.get("transport")).lower()
    is_tls = transport in _SECURE
    if is_tls and not listen.get("self_signed") and not listen.keys() & {"certificate", "key"}:
        text = f"required for {transport.upper()}, and missing (or set self_signed = true)"
        yield Problem((*path, "certificate"), text)
    if listen.get("self_signed") is True and "certificate" in listen:
        yield Problem((*path, "self_signed"), "either a certificate or self_signed expected, not both")
    if not is_tls:
        for key in ("certificate", "key", "key_passphrase", "self_signed", "ca", "client_verification"):
            if key in listen:
                yield Problem((*path, key), 'for transport = "tls" or "wss" only')
    if transport not in _WEBSOCKETS:
        for key in ("path", "origins"):
            if key in listen:
                yield Problem((*path, key), 'for transport = "ws" or "wss" only')
    if is_tls and listen.get("client_verification", "none") != "none" and "ca" not in listen:
        yield Problem((*path, "ca"), "required where clients are verified, and missing")
    if listen.get("address") in ("0.0.0.0", "::") and "advertised_address" not in listen:
        text = f"required where address is {shown(listen['address'])}, and missing: which address do others send to?"
        yield Problem((*path, "advertised_address"), text)


def _pair(path: KeyPath, table: Table, certificate: str, key: str) -> Iterator[Problem]:
    if certificate in table and key not in table:
        yield Problem((*path, key), f"required beside {certificate}, and missing")
    if key in table and certificate not in table:
        yield Problem((*path, certificate), f"required beside {key}, and missing")


def _user(path: KeyPath, user: Table, authentication: Table) -> Iterator[Problem]:
    if "password" not in user and "ha1" not in user:
        yield Problem((*path, "password"), "required (or ha1), and missing")
    if "password" in user and "ha1" in user:
        yield Problem((*path, "ha1"), "either password or ha1 expected, not both")
    hashes = user.get("ha1")
    if not isinstance(hashes, dict):
        return
    algorithms = authentication.get("algorithms", Authentication().algorithms)
    if isinstance(algorithms, list | tuple) and not any(isinstance(one, str) and one in hashes for one in algorithms):
        names = ", ".join(str(algorithm) for algorithm in algorithms)
        yield Problem((*path, "ha1"), f"a hash for one of authentication.algorithms expected ({names})")


def _identities(table: Table) -> Iterator[Problem]:
    """An address that two users own would say nothing of who calls."""
    domains = table.get("domains")
    hosts = [host for host in domains if isinstance(host, str)] if isinstance(domains, list) else []
    owners: dict[Uri, str] = {}
    for _, user in _tables(table, "users"):
        if isinstance(name := user.get("name"), str):
            owners.update({SipUri(host.lower(), escape(name)): name for host in hosts})
    for path, user in _tables(table, "users"):
        identities = user.get("identities")
        for index, text in enumerate(identities if isinstance(identities, list) else ()):
            try:
                uri = parse_uri(text) if isinstance(text, str) else None
            except ParseError:
                continue
            if uri is not None and (owner := owners.setdefault(uri, user.get("name", ""))) != user.get("name"):
                problem = f"an address of this user's own expected (it is that of {shown(owner)})"
                yield Problem((*path, "identities", index), problem)


def _in_order(table: Table) -> Iterator[Problem]:
    registrar, timers, limits = (_section(table, name) for name in ("registrar", "timers", "limits"))
    subscriptions = _section(table, "subscriptions")
    for section, values, lower, upper, defaults in (
        ("registrar", registrar, "minimum_expires", "default_expires", Registrar()),
        ("registrar", registrar, "default_expires", "maximum_expires", Registrar()),
        ("subscriptions", subscriptions, "minimum_expires", "default_expires", Subscriptions()),
        ("subscriptions", subscriptions, "default_expires", "maximum_expires", Subscriptions()),
        ("timers", timers, "t1", "t2", Timers()),
        ("timers", timers, "session_minimum", "session", Timers()),
    ):
        if values.get(upper) == 0:
            continue  # which switches it off, where it may be
        low = _number(values, lower, getattr(defaults, lower))
        high = _number(values, upper, getattr(defaults, upper))
        if low is not None and high is not None and low > high:
            key = lower if lower in values else upper
            yield Problem((section, key), f"{lower} no greater than {upper} expected (got {low} and {high})")
    total, source = _number(limits, "connections", 1e9), _number(limits, "connections_per_source", 0)
    if total is not None and source is not None and source > total:
        yield Problem(
            ("limits", "connections_per_source"), f"no more than connections expected (got {source} and {total})"
        )


def _subscriptions(table: Table) -> Iterator[Problem]:
    """Who is named there has to be a user: a name that nobody has would open nothing, and seem to."""
    if account_stores(table):
        return  # they may have the name
    subscriptions = _section(table, "subscriptions")
    users = [user.get("name") for _, user in _tables(table, "users")]
    watchers = _section(subscriptions, "watchers")
    named: list[tuple[KeyPath, object]] = [(("watchers", user), user) for user in watchers]
    named += [
        (("watchers", user, index), name)
        for user, names in watchers.items()
        for index, name in enumerate(names if isinstance(names, list) else ())
    ]
    servers = subscriptions.get("mailbox_servers")
    named += [
        (("mailbox_servers", index), name) for index, name in enumerate(servers if isinstance(servers, list) else ())
    ]
    for path, name in named:
        if isinstance(name, str) and name not in users:
            yield Problem(("subscriptions", *path), f"the name of a user expected (got {shown(name)})")


def _recording(table: Table) -> Iterator[Problem]:
    """A directory is needed where anything is to be recorded."""
    if _section(table, "recording").get("directory") is not None:
        return
    wanted: list[tuple[str, object]] = [("media", _section(table, "media").get("record"))]
    wanted += [(name, one.get("record")) for name in ("users", "trunks", "routes") for _, one in _tables(table, name)]
    for where, value in wanted:
        if value in ("wave", "pcap"):
            yield Problem(("recording", "directory"), f"required by record = {shown(value)} in {where}, and missing")
            return


def _metrics(table: Table) -> Iterator[Problem]:
    """Who may ask has to be said where others than this machine can."""
    section = _section(table, "metrics")
    address = section.get("address")
    try:
        is_loopback = not isinstance(address, str) or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return
    if not is_loopback and not section.get("allow"):
        text = f"required where address is {shown(address)}, and missing: who may ask?"
        yield Problem(("metrics", "allow"), text)


def _media(table: Table) -> Iterator[Problem]:
    media = _section(table, "media")
    defaults = Media()
    first = _number(media, "first_port", defaults.first_port)
    last = _number(media, "last_port", defaults.last_port)
    addresses = media.get("addresses")
    versions: dict[bool, int] = {}
    for index, value in enumerate(addresses if isinstance(addresses, list) else ()):
        if isinstance(value, dict) and value.get("address") in ("0.0.0.0", "::"):
            text = "an address of this host expected: media is bound to one address, and SDP names it"
            yield Problem(("media", "addresses", index, "address"), text)
        if isinstance(value, dict) and isinstance(address := value.get("address"), str):
            first_index = versions.setdefault(":" in address, index)
            if first_index != index:
                text = f"one address for each version of IP expected (media.addresses[{first_index}] is of the same)"
                yield Problem(("media", "addresses", index, "address"), text)
    for path, listen in _tables(table, "listen"):
        if not addresses and listen.get("address") in ("0.0.0.0", "::"):
            text = f"required where listen[{path[1]}].address is {shown(listen['address'])}, and missing"
            yield Problem(("media", "addresses"), text)
            break
    if first is None or last is None:
        return
    if first % 2:
        yield Problem(("media", "first_port"), f"an even port expected: RTP is even, RTCP the next (got {first})")
    if last - first < 3:
        text = f"at least 4 ports from first_port to last_port expected (got {first} to {last})"
        yield Problem(("media", "last_port" if "last_port" in media else "first_port"), text)
    for path, listen in _tables(table, "listen"):
        port = _number(listen, "port", 5060)
        if str(listen.get("transport")).lower() == "udp" and port is not None and first <= port <= last:
            yield Problem((*path, "port"), f"a port outside of the media's {first} to {last} expected (got {port})")
