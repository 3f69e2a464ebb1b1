"""What an HTTP service is asked about a call, and what it may answer: JSON both ways (docs/routing-http.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sipd.errors import ParseError
from sipd.interfaces import RoutingRequest
from sipd.sip.fields import NameAddr
from sipd.sip.uri import OtherUri, SipUri, parse_uri

#: Of both. Whoever gets a question of another version should not answer it.
VERSION = 1
#: Attempts all in all, and of those at once.
MAX_ROUNDS = 32
MAX_AT_ONCE = 16
#: Of a value of a header field, or of a URI, that goes into a question.
_MAX_TEXT = 4096


def _called(text: str) -> str:
    uri = parse_uri(text)
    if isinstance(uri, OtherUri):
        raise ValueError("a sip, sips or tel URI expected")
    return text


def _hop(text: str) -> str:
    if not isinstance(parse_uri(text), SipUri):
        raise ValueError("a sip or sips URI expected")
    return text


def _uri(check: Any) -> Any:
    def validate(text: str) -> str:
        try:
            checked: str = check(text)
        except ParseError as error:
            raise ValueError(error.reason) from None
        return checked

    return validate


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text of one line expected")
    return text


Line = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
Called = Annotated[str, Field(max_length=1024), AfterValidator(_uri(_called))]
Hop = Annotated[str, Field(max_length=1024), AfterValidator(_uri(_hop))]
Seconds = Annotated[float, Field(gt=0, le=86400.0)]
Status = Annotated[int, Field(ge=300, le=699)]
Codec = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]+(/[0-9]+){0,2}$")]


class _Part(BaseModel):
    """Of an answer: unknown keys are mistakes, since what is silently passed over is worse than a refusal."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class AnsweredAttempt(_Part):
    """One attempt: to a URI, to a number by a trunk, or to a user of ours wherever that is registered."""

    uri: Called | None = None
    trunk: Line | None = None
    number: Line | None = None
    user: Line | None = None
    next_hop: Hop | None = None
    label: Line | None = None
    timeout: Seconds | None = None
    response_timeout: Seconds | None = None
    stops: Annotated[tuple[Status, ...] | None, Field(strict=False, max_length=400)] = None
    redirects: Annotated[int | None, Field(ge=0, le=10)] = None
    codecs: Annotated[tuple[Codec, ...] | None, Field(strict=False, max_length=64)] = None
    caller: Line | None = None
    caller_name: Line | None = None
    policy: Line | None = None

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        ways = [self.uri is not None, self.trunk is not None, self.user is not None]
        if sum(ways) != 1:
            raise ValueError("one of uri, trunk and user expected")
        if (self.number is None) != (self.trunk is None):
            raise ValueError("trunk and number expected together")
        if self.next_hop is not None and self.uri is None:
            raise ValueError("next_hop is possible beside uri only")
        return self


class AnsweredRefusal(_Part):
    """What the caller is answered instead."""

    status: Annotated[int, Field(ge=400, le=699)]
    reason: Line
    retry_after: Annotated[int | None, Field(ge=0, le=86400)] = None


class Answer(_Part):
    """Where a call goes: attempts, a refusal, or on to the dial plan."""

    version: Literal[1] = 1
    name: Line | None = None
    rounds: Annotated[
        tuple[Annotated[tuple[AnsweredAttempt, ...], Field(strict=False, min_length=1, max_length=MAX_AT_ONCE)], ...]
        | None,
        Field(strict=False, min_length=1, max_length=MAX_ROUNDS),
    ] = None
    refuse: AnsweredRefusal | None = None
    go_on: bool = Field(default=False, alias="continue")
    setup_timeout: Seconds | None = None
    duration: Seconds | None = None
    warning: Seconds | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if sum((self.rounds is not None, self.refuse is not None, self.go_on)) != 1:
            raise ValueError("one of rounds, refuse and continue expected")
        return self


class MalformedAnswerError(Exception):
    """What a service answers is none of its answers. The text says why, in one line, and shows nothing of it."""


def read_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedAnswerError: it is none.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedAnswerError("no JSON") from None
    if not isinstance(values, dict):
        raise MalformedAnswerError("no JSON object")
    try:
        return Answer.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        first = problems[0]
        place = ".".join(str(step) for step in first["loc"])
        more = f", and {len(problems) - 1} more mistakes" if len(problems) > 1 else ""
        text = f"{place}: {first['msg']}" if place else first["msg"]
        raise MalformedAnswerError(_line(text) + more) from None


def question_of(asked: RoutingRequest, headers: Sequence[str]) -> dict[str, Any]:
    """Give the question about a request.

    Args:
        asked: the request, and what is known of it.
        headers: names of header fields that the service wants to see.
    """
    request = asked.request
    source = asked.source
    return {
        "version": VERSION,
        "method": request.method,
        "request_uri": _cut(request.uri_text),
        "from": _party(request.from_),
        "to": _party(request.to) if "To" in request.headers else None,
        "call_id": _cut(request.headers.get("Call-ID") or ""),
        "user": asked.user,
        "trunk": asked.trunk,
        "source": {"transport": source.transport.value, "host": source.host, "port": source.port},
        "point": asked.point,
        "at": asked.at,
        "headers": {name: [_cut(value) for value in request.headers.get_all(name)] for name in headers},
    }


def key_of(question: dict[str, Any]) -> str:
    """Give what two questions have in common that are the same, but for when and in which call they are asked."""
    same = {name: value for name, value in question.items() if name not in ("call_id", "at")}
    return json.dumps({**same, "source": question["source"]["host"]}, sort_keys=True)


def _party(party: NameAddr) -> dict[str, str]:
    return {"uri": _cut(str(party.uri)), "display_name": _cut(party.display_name)}


def _cut(text: str) -> str:
    """Give text as JSON can say it: what is no UTF-8 is replaced."""
    return text[:_MAX_TEXT].encode("utf-8", "replace").decode("utf-8")


def _line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:200]
