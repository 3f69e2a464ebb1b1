"""Sections on users that are not in the file: in databases, behind services, with RADIUS servers."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from sipd.daemon.sections.base import Section
from sipd.daemon.values import Count, Name, ReadableFile, SecretText, fail, shown, text_of

_RADIUS_PORT = 1812


def _radius_place(value: object) -> tuple[str, int]:
    text = text_of(value, "a RADIUS server")
    match = re.match(r"\[(?P<ipv6>[^\]]*)\]:(?P<port6>[0-9]{1,5})\Z|(?P<ipv4>[^:]*):(?P<port4>[0-9]{1,5})\Z", text)
    host, port = text, _RADIUS_PORT
    if match is not None:
        host, port = match["ipv6"] or match["ipv4"], int(match["port6"] or match["port4"])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or address.is_unspecified or not 0 < port < 65536:
        fail(f'an address such as "192.0.2.20" or "[2001:db8::20]:1812" expected (got {shown(text)})')
    return str(address), port


#: A name that needs no quotes in SQL.
TableName = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


RadiusPlace = Annotated[tuple[str, int], PlainValidator(_radius_place)]


class AccountStore(Section):
    """``[[accounts.stores]]``: where further users are (`sipd.daemon.account_checks`: which options fit which type)."""

    name: Name
    type: Literal["sql", "http", "radius"]
    url: SecretText | None = None
    layout: Literal["sipd", "kamailio"] = "sipd"
    table: TableName = "subscriber"
    connections: int = Field(default=4, ge=1, le=64)
    token: SecretText | None = None
    ca: ReadableFile | None = None
    servers: tuple[RadiusPlace, ...] = Field(default=(), strict=False)
    secret: SecretText | None = None
    digest: Literal["sterman", "rfc5090"] = "sterman"
    user_name: Literal["user", "user@realm"] = "user"
    nas_identifier: str = Field(default="sipd", min_length=1, max_length=64)
    message_authenticator: bool = True
    tries: int = Field(default=2, ge=1, le=10)
    timeout: float = Field(default=3.0, gt=0, le=30)
    ttl: float = Field(default=60.0, ge=1, le=86400)
    negative_ttl: float = Field(default=10.0, ge=1, le=3600)
    stale: float = Field(default=3600.0, ge=0)
    entries: Count = 10_000
    questions: Count = 200


class Accounts(Section):
    """``[accounts]``: users that are not in the file. None without stores."""

    retry_after: int = Field(default=10, ge=1, le=3600)
    stores: tuple[AccountStore, ...] = Field(default=(), strict=False)

    @property
    def asks_radius(self) -> bool:
        """Whether there are users whom only a RADIUS server knows."""
        return any(store.type == "radius" for store in self.stores)
