"""What this host's own files say of names: ``hosts(5)`` and ``resolv.conf(5)``."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from twisted.names.dns import PORT

from sipd.sip.locate import is_numeric

HOSTS = Path("/etc/hosts")
RESOLV_CONF = Path("/etc/resolv.conf")

#: A larger file is read up to here: it is read by the reactor.
_MAX_OCTETS = 1024 * 1024
#: Of ``resolv.conf``, as in the C library.
_MAX_SERVERS = 3
_MAX_SUFFIXES = 6

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """A small file that is read again when it has changed. One that cannot be read is empty.

    Args:
        path: of the file.
        parse: makes something of its lines, without comments.
    """

    def __init__(self, path: Path, parse: Callable[[Iterator[list[str]]], T]) -> None:
        self._path = path
        self._parse = parse
        self._version: tuple[int, int] | None = None
        self._content = parse(iter(()))

    def read(self) -> T:
        """Give what it says now."""
        try:
            status = self._path.stat()
            version = status.st_mtime_ns, status.st_ino
            if version != self._version:
                with self._path.open("rb") as file:
                    text = file.read(_MAX_OCTETS).decode("utf-8", "replace")
                self._content = self._parse(_lines(text))
                self._version = version
        except OSError:
            if self._version is not None:
                self._content = self._parse(iter(()))
                self._version = None
        return self._content


class HostsFile:
    """Names that have their addresses from this host, such as ``localhost``."""

    def __init__(self, path: Path = HOSTS) -> None:
        self._file = WatchedFile(path, _parse_hosts)

    def addresses(self, name: str) -> Sequence[str]:
        """Give the addresses of a name in lower case, in the order of the file; none if it is not in it."""
        return self._file.read().get(name.removesuffix("."), ())


class ResolvConf:
    """Which name servers this host uses, and what it adds to short names."""

    def __init__(self, path: Path = RESOLV_CONF) -> None:
        self._file = WatchedFile(path, _parse_resolv_conf)

    def servers(self) -> Sequence[tuple[str, int]]:
        """Give host and port of each server; where there is none, it is this host."""
        return self._file.read()[0] or (("127.0.0.1", PORT),)

    def suffixes(self) -> Sequence[str]:
        """Give the domains in which a name is looked for that is not found as it is."""
        return self._file.read()[1]


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if words:
            yield words


def _parse_hosts(lines: Iterator[list[str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for address, *names in lines:
        if is_numeric(address):
            for name in names:
                found.setdefault(name.lower().removesuffix("."), []).append(str(ipaddress.ip_address(address)))
    return {name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}


def _parse_resolv_conf(lines: Iterator[list[str]]) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    servers: list[tuple[str, int]] = []
    suffixes: tuple[str, ...] = ()
    for keyword, *values in lines:
        if keyword == "nameserver" and values and is_numeric(values[0]):
            servers.append((values[0], PORT))
        elif keyword in ("search", "domain"):
            suffixes = tuple(value.lower().strip(".") for value in values[:_MAX_SUFFIXES] if value.strip("."))
    return tuple(servers[:_MAX_SERVERS]), suffixes
