"""The section on an HTTP service that says where calls go."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator

from sipd.daemon.sections.base import Section
from sipd.daemon.values import Count, ReadableFile, Seconds, SecretText, fail
from sipd.sip.grammar import is_token


def _service_url(value: object) -> str:
    expected = 'a URL such as "https://routing.example.com/v1/route"'
    if not isinstance(value, str):
        fail(f"{expected} expected")
    try:
        url = urlsplit(value)
        is_one = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        fail(f"{expected} expected")
    if not is_one or not value.isascii() or not value.isprintable() or " " in value:
        fail(f"{expected} expected")
    if "@" in url.netloc:
        fail("a URL without a password expected: token and key are options of their own")
    return value


def _field_name(value: object) -> str:
    if not isinstance(value, str) or not is_token(value):
        fail("the name of a header field expected")
    return value


ServiceUrl = Annotated[str, PlainValidator(_service_url)]
FieldName = Annotated[str, PlainValidator(_field_name)]


class RoutingHttp(Section):
    """``[routing.http]``: a service that is asked where calls go (docs/routing-http.md). None without the section."""

    url: ServiceUrl
    token: SecretText | None = None
    key: SecretText | None = None
    ca: ReadableFile | None = None
    methods: tuple[Literal["INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH"], ...] = Field(default=("INVITE",), strict=False)
    headers: tuple[FieldName, ...] = Field(default=(), max_length=32, strict=False)
    timeout: float = Field(default=2.0, gt=0, le=30)
    concurrency: Count = 64
    answer_size_octets: int = Field(default=65536, ge=1024, le=1 << 24)
    memory: float = Field(default=300.0, ge=0)
    memory_entries: Count = 10_000
    fallback: Literal["plan", "refuse"] = "plan"
    failures: Count = 5
    rest: Seconds = 30.0
