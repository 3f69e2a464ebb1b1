"""The kinds of values in a configuration file: what each accepts, and what it says otherwise.

Every validator raises ``PydanticCustomError`` with one phrase, "... expected (got ...)". The "got" part is left out
where the value could be a secret, or could hold one.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NoReturn

from pydantic import Field, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from sipd.daemon.control_socket import MAX_SOCKET_PATH_OCTETS
from sipd.errors import ParseError
from sipd.rtp.tones import find_tone
from sipd.sip.locate import Transport
from sipd.sip.uri import OtherUri, SipUri, Uri, parse_uri
from sipd.transport.upgrade import is_origin, is_path

#: Hexadecimal digits of H(user:realm:password) for each digest algorithm (RFC 7616, RFC 8760).
HASH_DIGITS: Mapping[str, int] = {"SHA-512-256": 64, "SHA-256": 64, "MD5": 32}

_TYPE_NAMES: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.?\Z")
_FILE_LIMIT_OCTETS = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a configuration may refer to.

    Args:
        directory: where its relative paths begin: that of the file itself.
        environment: the variables that ``{ env = "NAME" }`` may name.
        trunks: the names of trunks that files of prefixes may name; ``None`` for any.
    """

    directory: Path
    environment: Mapping[str, str]
    trunks: frozenset[str] | None = None

    @classmethod
    def of(cls, info: ValidationInfo) -> Surroundings:
        """Give those of a validation; a model that is built in a program gets the process's own."""
        if isinstance(info.context, Surroundings):
            return info.context
        return cls(directory=Path(), environment=os.environ)


@dataclass(frozen=True, slots=True)
class Secret:
    """Text that must not be seen. Equal to another one with the same text; prints as stars."""

    text: str = field(repr=False)

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"


def type_name(value: object) -> str:
    """Give the name of a TOML value's type, for a person."""
    return _TYPE_NAMES.get(type(value), "a date or time")


def shown(value: object) -> str:
    """Give a value as it may stand in a message: one line, at most 60 characters."""
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 60 else text[:57] + "..."


def fail(text: str) -> NoReturn:
    """Refuse a value, with that phrase."""
    raise PydanticCustomError("sipd", "{text}", {"text": text})


def text_of(value: object, expected: str) -> str:
    """Take text, and refuse anything else."""
    if not isinstance(value, str):
        fail(f"{expected} expected (got {type_name(value)})")
    return value


def _transport(value: object) -> Transport:
    if isinstance(value, Transport):
        return value
    known = {transport.value.lower(): transport for transport in Transport}
    text = text_of(value, "a transport").lower()
    return known[text] if text in known else fail(f'"udp", "tcp", "tls", "ws" or "wss" expected (got {shown(value)})')


def _url_path(value: object) -> str:
    text = text_of(value, "a path")
    return text if is_path(text) else fail(f"a path that begins with / expected (got {shown(text)})")


def _origin(value: object) -> str:
    text = text_of(value, "an origin")
    return (
        text if is_origin(text) else fail(f'an origin such as "https://phone.example.com" expected (got {shown(text)})')
    )


def _address(value: object) -> str:
    text = text_of(value, "an IPv4 or IPv6 address")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        fail(f"an IPv4 or IPv6 address expected (got {shown(text)})")


def _routable_address(value: object) -> str:
    text = _address(value)
    if ipaddress.ip_address(text).is_unspecified:
        fail(f"an address that others can reach expected (got {shown(text)})")
    return text


def _host(value: object) -> str:
    text = text_of(value, "a host name or an address")
    try:
        return _routable_address(text)
    except PydanticCustomError:
        # A name whose last label is all digits would be read as an IPv4 address (RFC 3261 section 25.1).
        if _HOST_NAME.match(text) and len(text) <= 253 and not text.rstrip(".").rpartition(".")[2].isdigit():
            return text.lower().rstrip(".")
        fail(f"a host name or an address that others can reach expected (got {shown(text)})")


def _network(value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    text = text_of(value, 'a network such as "192.0.2.0/24"')
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        reason = ", with no bits set after the prefix" if "host bits" in str(error) else ""
        fail(f'an address or a network such as "192.0.2.0/24"{reason} expected (got {shown(text)})')


def _name_server(value: object) -> tuple[str, int]:
    text = text_of(value, "a name server")
    match = re.match(r"\[(?P<ipv6>[^\]]*)\]:(?P<port6>[0-9]{1,5})\Z|(?P<ipv4>[^:]*):(?P<port4>[0-9]{1,5})\Z", text)
    host, port = text, 53
    if match is not None:
        host, port = match["ipv6"] or match["ipv4"], int(match["port6"] or match["port4"])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or address.is_unspecified or not 0 < port < 65536:
        fail(f'an address such as "192.0.2.53" or "[2001:db8::53]:5353" expected (got {shown(text)})')
    return str(address), port


def pattern(value: object) -> re.Pattern[str]:
    """Take a regular expression."""
    text = text_of(value, "a regular expression")
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        fail(f"a regular expression expected: {error} (got {shown(text)})")


def _path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    text = text_of(value, "a path")
    if not text or "\0" in text:
        fail(f"a path expected (got {shown(text)})")
    path = Path(text)
    if text.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError:
            fail(f"a path expected: there is no such home directory (got {shown(text)})")
    return Path(os.path.normpath(Surroundings.of(info).directory / path))


def _socket_path(value: object, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_OCTETS:
        expected = f"a path of at most {MAX_SOCKET_PATH_OCTETS} octets expected: a socket has no longer one"
        fail(f"{expected} (got {shown(str(path))})")
    return path


def _sound(value: object, info: ValidationInfo) -> str:
    """Take a tone as it is (``tone:de:ringback``), anything else as the path of a file."""
    if isinstance(value, str) and value.startswith("tone:"):
        _, _, name = value.partition(":")
        country, _, tone = name.partition(":")
        try:
            find_tone(country, tone)
        except ValueError as error:
            raise ValueError(str(error)) from None
        return value
    return str(readable_file(value, info))


def readable_file(value: object, info: ValidationInfo) -> Path:
    """Take the path of a file that can be read."""
    path = _path(value, info)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        fail(f"a file that can be read expected: {error.strerror} (got {shown(str(path))})")
    return path


def secret(value: object, info: ValidationInfo) -> Secret:
    """Take a secret: ``"text"``, ``{ file = "path" }`` or ``{ env = "NAME" }``. No message shows what was written."""
    if isinstance(value, Secret):
        return value
    expected = 'text, { file = "path" } or { env = "NAME" } expected'
    if isinstance(value, str):
        text = value
    elif isinstance(value, dict) and len(value) == 1 and isinstance(source := next(iter(value.values())), str):
        if "file" in value:
            text = _secret_from_file(source, info)
        elif "env" in value:
            found = Surroundings.of(info).environment.get(source)
            text = fail(f"the environment variable {shown(source)} is not set") if found is None else found
        else:
            fail(expected)
    else:
        fail(expected if isinstance(value, dict) else f"{expected} (got {type_name(value)})")
    if not text:
        fail("a secret expected, and what was given is empty")
    return Secret(text)


def _secret_from_file(name: str, info: ValidationInfo) -> str:
    path = readable_file(name, info)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_FILE_LIMIT_OCTETS + 1)
    except UnicodeDecodeError:
        fail(f"a file of UTF-8 text expected (got {shown(str(path))})")
    if len(text) > _FILE_LIMIT_OCTETS:
        fail(f"a file of at most {_FILE_LIMIT_OCTETS} octets expected (got {shown(str(path))})")
    return text.removesuffix("\n").removesuffix("\r")


def _uri(value: object) -> Uri:
    text = text_of(value, "a URI")
    try:
        uri = parse_uri(text)
    except ParseError as error:
        fail(f'a URI such as "sip:proxy.example.com" expected: {error.reason}')
    if isinstance(uri, SipUri) and uri.password is not None:
        fail("a URI without a password expected: credentials have a table of their own")
    return uri


def _sip_uri(value: object) -> SipUri:
    uri = _uri(value)
    if not isinstance(uri, SipUri):
        fail(f"a sip or sips URI expected (got {shown(str(uri))})")
    return uri


def _identity(value: object) -> Uri:
    uri = _uri(value)
    if isinstance(uri, OtherUri) or (isinstance(uri, SipUri) and uri.user is None):
        fail(f'an address such as "tel:+49301234" or "sip:sales@example.com" expected (got {shown(str(uri))})')
    return uri


def _refusal(value: object) -> tuple[int, str]:
    expected = 'a status from 400 to 699 and a reason, such as [403, "Forbidden"], expected'
    if not isinstance(value, list | tuple) or len(value) != 2:
        fail(expected)
    status, reason = value
    if not isinstance(status, int) or not isinstance(reason, str) or not 400 <= status <= 699:
        fail(f"{expected} (got [{shown(status)}, {shown(reason)}])")
    if not reason.isprintable() or not reason:
        fail("a reason of one line expected")
    return status, reason


def _hashes(value: object) -> Mapping[str, Secret]:
    """Accept ``{ MD5 = "...", "SHA-256" = "..." }``. Keys are not shown: one may be a hash in the wrong place."""
    if not isinstance(value, dict) or not value:
        fail('a table of hashes such as { "SHA-256" = "..." } expected')
    faults = []
    hashes = {}
    for algorithm, text in value.items():
        digits = HASH_DIGITS.get(algorithm)
        if digits is None:
            faults.append(f"only {', '.join(HASH_DIGITS)} as algorithms expected")
        elif not isinstance(text, str) or not re.fullmatch(f"[0-9A-Fa-f]{{{digits}}}", text):
            faults.append(f"{digits} hexadecimal digits for {algorithm} expected")
        else:
            hashes[algorithm] = Secret(text.lower())
    if faults:
        fail("; ".join(faults))
    return MappingProxyType(hashes)


def _realm(value: object) -> str:
    text = text_of(value, "a realm")
    if not text or len(text) > 255 or not text.isprintable() or '"' in text or "\\" in text:
        fail(f"a realm of 1 to 255 characters, without quotes or backslashes, expected (got {shown(text)})")
    return text


TransportName = Annotated[Transport, PlainValidator(_transport)]
UrlPath = Annotated[str, PlainValidator(_url_path)]
Origin = Annotated[str, PlainValidator(_origin)]
Address = Annotated[str, PlainValidator(_address)]
RoutableAddress = Annotated[str, PlainValidator(_routable_address)]
Host = Annotated[str, PlainValidator(_host)]
NameServer = Annotated[tuple[str, int], PlainValidator(_name_server)]
Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, PlainValidator(_network)]
Pattern = Annotated[re.Pattern[str], PlainValidator(pattern)]
FilePath = Annotated[Path, PlainValidator(_path)]
SocketPath = Annotated[Path, PlainValidator(_socket_path)]
ReadableFile = Annotated[Path, PlainValidator(readable_file)]
Sound = Annotated[str, PlainValidator(_sound)]
SecretText = Annotated[Secret, PlainValidator(secret)]
Hashes = Annotated[Mapping[str, Secret], PlainValidator(_hashes)]
Realm = Annotated[str, PlainValidator(_realm)]
Identity = Annotated[Uri, PlainValidator(_identity)]
NextHop = Annotated[SipUri, PlainValidator(_sip_uri)]
Refusal = Annotated[tuple[int, str], PlainValidator(_refusal)]

#: 0 means any free port: for tests.
Port = Annotated[int, Field(ge=0, le=65535)]
UsablePort = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
CodecName = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]+(/[0-9]+){0,2}$")]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s\"<>@:;,]+$")]

Table = dict[str, Any]
