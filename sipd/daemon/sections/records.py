"""Sections on call records: the file that is always there, and the places that they go to beside it."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator

from sipd.cdr.record import FIELDS
from sipd.daemon.problems import unknown_key
from sipd.daemon.sections.base import Section
from sipd.daemon.values import FilePath, ReadableFile, Seconds, SecretText, SocketPath, fail, shown, type_name

_FIELD_NAMES = tuple(field.name for field in FIELDS)
_SERVER = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<ipv4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?\Z")


def _column(value: object) -> str:
    if not isinstance(value, str):
        fail(f"the name of a field expected (got {type_name(value)})")
    if value not in _FIELD_NAMES:
        fail(f"the name of a field expected: {unknown_key(value, _FIELD_NAMES).removeprefix('unknown key; ')}")
    return value


def _server(value: object) -> tuple[str, int | None]:
    """Take an address in numbers, with a port or without; an IPv6 address may stand by itself."""
    text = value if isinstance(value, str) else ""
    match = _SERVER.match(text)
    host, port = text, None
    if match is not None:
        host = match["ipv6"] or match["ipv4"]
        port = int(match["port"]) if match["port"] else None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or address.is_unspecified or (port is not None and not 0 < port < 65536):
        fail(f'an address such as "192.0.2.7" or "[2001:db8::7]:1813" expected (got {shown(value)})')
    return str(address), port


def _web_address(value: object) -> str:
    """Take the URL of a web server. It is not shown: somebody may have put a password into it."""
    expected = 'a URL such as "https://billing.example.com/records" expected'
    if not isinstance(value, str):
        fail(f"{expected} (got {type_name(value)})")
    try:
        parts = urlsplit(value)
        # To ask for the port is to read it.
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fail(expected)
    if not is_usable or not value.isascii() or not value.isprintable() or " " in value:
        fail(expected)
    if parts.username is not None:
        fail(f"{expected}, without a password: authorization has its place")
    return value


#: What names a directory, too.
SinkName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Column = Annotated[str, PlainValidator(_column)]
ServerAddress = Annotated[tuple[str, int | None], PlainValidator(_server)]
WebAddress = Annotated[str, PlainValidator(_web_address)]
#: Smaller, a spool would hold little more than one batch.
SpoolSize = Annotated[int, Field(ge=1024 * 1024)]


class RecordSink(Section):
    """``[[cdr.sinks]]``: a place that records go to (`sipd.daemon.record_checks`: which options fit which type)."""

    name: SinkName
    type: Literal["jsonl", "csv", "http", "sql", "syslog", "radius"]
    records: tuple[Literal["call", "attempt"], ...] = Field(default=("call",), min_length=1, strict=False)
    # Files.
    file: FilePath | None = None
    fsync: Literal["always", "interval", "never"] = "interval"
    interval: Seconds = 1.0
    preset: Literal["asterisk", "freeswitch"] | None = None
    columns: tuple[Column, ...] = Field(default=(), strict=False)
    times: Literal["seconds", "iso"] = "seconds"
    header: bool = True
    # Servers.
    url: WebAddress | None = None
    secret: SecretText | None = None
    authorization: SecretText | None = None
    ca: ReadableFile | None = None
    timeout: Seconds = 10.0
    database: SecretText | None = None
    server: ServerAddress | None = None
    transport: Literal["udp", "tcp"] = "udp"
    socket: SocketPath | None = None
    facility: Literal[
        "user", "daemon", "auth", "authpriv", "cron", "ftp", "local0", "local1", "local2", "local3", "local4", "local5",
        "local6", "local7",
    ] = "local0"  # fmt: skip
    message_size_octets: int = Field(default=8192, ge=480, le=65000)
    servers: tuple[ServerAddress, ...] = Field(default=(), strict=False)
    nas_identifier: str = Field(default="sipd", min_length=1, max_length=64)
    retransmit: Seconds = 2.0
    tries: int = Field(default=3, ge=1, le=10)
    start: bool = True
    interim: float = Field(default=0.0, ge=0)
    # The spool of each server.
    spool_size_octets: SpoolSize = 64 * 1024 * 1024
    when_full: Literal["drop-oldest", "drop-newest"] = "drop-oldest"
    batch: int = Field(default=100, ge=1, le=1000)
    first_retry: Seconds = 1.0
    last_retry: Seconds = 60.0


class Cdr(Section):
    """``[cdr]``: call records: a file of one JSON object a line, and further places."""

    file: FilePath | None = None
    fsync: Literal["always", "interval", "never"] = "interval"
    interval: Seconds = 1.0
    spool: FilePath | None = None
    sinks: tuple[RecordSink, ...] = Field(default=(), strict=False)
