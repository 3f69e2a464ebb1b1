"""Listening points as texts, and which address of this host faces a target."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from sipd.errors import ConfigurationError, LocalError
from sipd.interfaces import ListeningPoint
from sipd.sip.locate import Transport, is_numeric
from sipd.transport.tcp import is_wildcard
from sipd.transport.tls import TlsSettings
from sipd.transport.upgrade import WebSocketSettings

_TRANSPORTS = {transport.value.lower(): transport for transport in Transport}
_KEYS = ("name", "advertise")
_TLS_KEYS = ("cert", "key", "ca")
_WEBSOCKET_KEYS = ("path", "origins")
#: Addresses that lie behind the default route of every host (RFC 5737, RFC 3849); and what is left without one.
_FAR_AWAY = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}
_NEARBY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63}){0,127}\.?")
#: A port for a question to the kernel; nothing is sent there.
_DISCARD_PORT = 9


@runtime_checkable
class KnowsAddresses(Protocol):
    """A reactor without a kernel below it: a host of a simulated network."""

    def source_for(self, destination: str) -> str | None:
        """Give the address to send from to that one, or ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSpec:
    """A listening point as a string has it.

    Args:
        point: what to bind, and what others are told.
        tls: certificate and key, for TLS and WSS; ``None`` if the string names none.
        websocket: which path and which web sites, for WS and WSS; ``None`` for others.
    """

    point: ListeningPoint
    tls: TlsSettings | None = None
    websocket: WebSocketSettings | None = None


def parse_listen(text: str, *, name: str = "") -> ListenSpec:
    r"""Read a listening point, written as Twisted writes its endpoints.

    ``TRANSPORT:HOST:PORT``, then any of ``KEY=VALUE``, all with colons between them:

    * TRANSPORT is ``udp``, ``tcp``, ``tls``, ``ws`` or ``wss``; HOST a numeric address, an IPv6 one in brackets; PORT 0
      to 65535, 0 for any.
    * ``advertise=HOST`` or ``advertise=HOST:PORT``: what Via and Contact say instead of the address that is bound.
    * ``name=NAME``: what logs call it.
    * ``cert=FILE``, ``key=FILE``, ``ca=FILE``, for TLS and WSS: PEM files with the certificate (and its chain), its key
      (where it is not said, in the same file), and the authorities that are trusted instead of the system's.
    * ``path=PATH``, ``origins=ORIGIN,ORIGIN``, for WS and WSS: see `WebSocketSettings`.

    A colon inside of a value is written ``\:``, a backslash ``\\``; inside of brackets a colon needs nothing.

    Args:
        text: such as ``udp:0.0.0.0:5060`` or ``tls:[::1]:5061:cert=server.pem:advertise=sip.example.com``.
        name: what logs call it if the text has no name; without both it is the text's first three parts.

    Raises:
        ConfigurationError: it is something else. Says what is wrong, in one line.
    """
    if not text.isprintable():
        raise _mistake(text, "there is something in it that cannot be printed")
    fields = _split(text)
    if len(fields) < 3:
        raise _mistake(text, "this is not TRANSPORT:HOST:PORT")
    transport = _TRANSPORTS.get(fields[0].lower())
    if transport is None:
        raise _mistake(text, f"{fields[0]} is none of {', '.join(_TRANSPORTS)}")
    host = _unbracketed(fields[1])
    if not is_numeric(host):
        raise _mistake(text, f"{fields[1]} is no numeric address (an IPv6 address goes in brackets)")
    port = _port(text, fields[2], lowest=0)
    known = (
        *_KEYS,
        *(_TLS_KEYS if transport.is_secure else ()),
        *(_WEBSOCKET_KEYS if transport.is_websocket else ()),
    )
    values, advertised_port = _values(text, fields[3:], known)
    if "cert" not in values and ("key" in values or "ca" in values):
        raise _mistake(text, "key and ca need a cert")
    websocket = _websocket(text, values) if transport.is_websocket else None
    point = ListeningPoint(
        name=values.get("name") or name or ":".join(fields[:3]),
        transport=transport,
        host=host,
        port=port,
        advertised_host=values.get("advertise", host),
        advertised_port=advertised_port,
    )
    if "cert" not in values:
        return ListenSpec(point=point, websocket=websocket)
    files = TlsSettings(
        certificate=values["cert"],
        key=values.get("key", values["cert"]),
        authorities=(values["ca"],) if "ca" in values else (),
    )
    return ListenSpec(point=point, tls=files, websocket=websocket)


def find_local_address(target_host: str, reactor: object = None) -> str:
    """Give the address of this host that faces a target: what Via, Contact and SDP should say to it.

    The kernel is asked which address it would send from; nothing is sent. The answer holds for as long as the routes
    of this host stay as they are.

    Args:
        target_host: a numeric address, without brackets; ``0.0.0.0`` and ``::`` mean whatever lies behind the default
            route, or this host itself if there is no such route.
        reactor: a simulated host is asked instead of the kernel; every other one makes no difference.

    Raises:
        LocalError: it is not numeric, or nothing leads there.
    """
    if not is_numeric(target_host):
        raise LocalError(f"{target_host} is no numeric address")
    address = _source_for(_FAR_AWAY.get(target_host, target_host), reactor)
    if address is None and is_wildcard(target_host):
        address = _source_for(_NEARBY[target_host], reactor)
    if address is None:
        raise LocalError(f"No address of this host faces {target_host}")
    return address


def _source_for(target: str, reactor: object) -> str | None:
    if isinstance(reactor, KnowsAddresses):
        return reactor.source_for(target)
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((target, _DISCARD_PORT))
            address: str = asking.getsockname()[0]
    except OSError:
        return None
    return address.partition("%")[0]


def _split(text: str) -> list[str]:
    """Split at colons, but for those in brackets and after a backslash."""
    fields = [""]
    is_escaped = is_bracketed = False
    for character in text:
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
            continue
        elif character == ":" and not is_bracketed:
            fields.append("")
            continue
        elif character in "[]":
            is_bracketed = character == "["
        fields[-1] += character
    return fields


def _values(text: str, fields: Sequence[str], known: Sequence[str]) -> tuple[dict[str, str], int]:
    """Give what the keys say, and the port that is advertised, 0 for the one that is bound."""
    values: dict[str, str] = {}
    port = 0
    latest = ""
    for field in fields:
        key, separator, value = field.partition("=")
        if not separator and latest == "advertise":
            port, latest = _port(text, field, lowest=1), ""
            continue
        if not separator or not value:
            raise _mistake(text, f"{field or 'nothing'} stands where KEY=VALUE should")
        if key not in known:
            raise _mistake(text, f"{key} is none of {', '.join(known)}")
        if key in values:
            raise _mistake(text, f"{key} is there twice")
        values[key] = _advertised_host(text, value) if key == "advertise" else value
        latest = key
    return values, port


def _websocket(text: str, values: dict[str, str]) -> WebSocketSettings:
    origins = tuple(values["origins"].split(",")) if "origins" in values else ()
    try:
        return WebSocketSettings(path=values.get("path", ""), origins=origins)
    except ConfigurationError as error:
        raise _mistake(text, error.problems[0]) from None


def _port(text: str, field: str, *, lowest: int) -> int:
    if not (field.isascii() and field.isdigit() and len(field) <= 5 and lowest <= int(field) <= 65535):
        raise _mistake(text, f"{field or 'nothing'} is no port")
    return int(field)


def _advertised_host(text: str, value: str) -> str:
    host = _unbracketed(value)
    if not is_numeric(host) and not _HOST_NAME.fullmatch(host):
        raise _mistake(text, f"{value} is neither an address nor a host name")
    return host


def _unbracketed(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _mistake(text: str, problem: str) -> ConfigurationError:
    return ConfigurationError([f"{text!r}: {problem}"])
