"""Sections on what is wanted of the legs of users, routes and trunks.

Each part makes the value of `sipd.policies` that it stands for when it is checked, so that what that refuses is a
mistake at its key path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, PlainValidator, model_validator

from sipd.daemon.sections.base import Section
from sipd.daemon.values import CodecName, Host, Name, Pattern, fail, shown, text_of
from sipd.policies import (
    PRESETS,
    HeaderAction,
    HeaderRule,
    Messages,
    NumberRule,
    StatusRule,
    Template,
)
from sipd.policies.text import MAX_FILLED, compile_globs, one_line
from sipd.sip.grammar import is_token

Made = TypeVar("Made")


def _sensible(make: Callable[[], Made]) -> Made:
    """Make a value; what it says against that is a mistake."""
    try:
        return make()
    except ValueError as error:
        fail(str(error))


def _preset(value: object) -> str:
    text = text_of(value, "the name of a preset")
    return text if text in PRESETS else fail(f"one of {', '.join(PRESETS)} expected (got {shown(text)})")


def _method(value: object) -> str:
    text = text_of(value, "a method")
    return text.upper() if is_token(text) else fail(f'a method such as "INVITE" expected (got {shown(text)})')


def _line(value: object) -> str:
    text = text_of(value, "a line of text")
    if text != one_line(text) or len(text) > MAX_FILLED:
        fail("one line without control characters expected")
    return text


def _glob(value: object) -> str:
    text = text_of(value, "a name")
    _sensible(lambda: compile_globs([text]))
    return text


PresetName = Annotated[str, PlainValidator(_preset)]
Method = Annotated[str, PlainValidator(_method)]
Line = Annotated[str, PlainValidator(_line)]
Glob = Annotated[str, PlainValidator(_glob)]
Kind = Annotated[str, Field(max_length=32, pattern=r"^[a-z][a-z0-9-]*$")]
StatusMatch = Annotated[str, Field(max_length=3)]
Milliseconds = Annotated[int, Field(ge=1, le=1000)]


class HeaderFields(Section):
    """`header_fields` and `heard_header_fields` of a policy: which fields cross."""

    also: tuple[Glob, ...] | None = Field(default=None, strict=False)
    only: tuple[Glob, ...] | None = Field(default=None, strict=False)
    deny: tuple[Glob, ...] | None = Field(default=None, strict=False)


class HeaderRuleSection(Section):
    """One of `header_rules`: one of the first four keys, and what it needs."""

    set: str | None = None
    add: str | None = None
    remove: str | None = None
    rewrite: str | None = None
    value: str | None = None
    match: Pattern | None = None
    methods: tuple[Method, ...] = Field(default=(), strict=False)
    messages: Literal["all", "requests", "responses"] = "all"
    heard: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.rule()
        return self

    def rule(self) -> HeaderRule:
        """Give the rule."""
        actions = [(action, name) for action in HeaderAction if (name := getattr(self, action.value)) is not None]
        if len(actions) != 1:
            fail("one of set, add, remove and rewrite expected")
        ((action, name),) = actions
        return _sensible(
            lambda: HeaderRule(
                action=action,
                name=name,
                value=None if self.value is None else Template(self.value),
                pattern=self.match,
                methods=frozenset(self.methods),
                messages=Messages(self.messages),
            )
        )


class StatusRuleSection(Section):
    """One of `status_rules`."""

    match: tuple[StatusMatch, ...] = Field(min_length=1, strict=False)
    cause: int | None = None
    status: int | None = None
    reason: Line | None = None
    said_cause: int | None = None
    heard: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.rule()
        return self

    def rule(self) -> StatusRule:
        """Give the rule."""
        return _sensible(
            lambda: StatusRule(
                matches=self.match,
                cause=self.cause,
                status=self.status,
                reason=self.reason or "",
                said_cause=self.said_cause,
            )
        )


class AddressForm(Section):
    """`address_form` of a policy: how addresses are written."""

    phone: bool | None = None
    domain: Host | None = None
    own_domain: bool | None = None
    names: bool | None = None
    anonymous_from: bool | None = None
    to_is_target: bool | None = None


class NumberRuleSection(Section):
    """One of `number_rules`."""

    match: Pattern
    value: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.rule()
        return self

    def rule(self) -> NumberRule:
        """Give the rule."""
        return _sensible(lambda: NumberRule(pattern=self.match, value=Template(self.value)))


class CodecRuleSection(Section):
    """One of `codec_rules`."""

    kind: Literal["*"] | Kind = "audio"
    allow: tuple[CodecName, ...] = Field(default=(), strict=False)
    deny: tuple[CodecName, ...] = Field(default=(), strict=False)
    order: tuple[CodecName, ...] = Field(default=(), strict=False)


class Description(Section):
    """``description`` of a policy: what may be said of the session."""

    kinds: tuple[Kind, ...] | None = Field(default=None, strict=False)
    denied_kinds: tuple[Kind, ...] | None = Field(default=None, strict=False)
    ptime: Milliseconds | None = None
    maxptime: Milliseconds | None = None
    attributes: tuple[Glob, ...] | None = Field(default=None, strict=False)
    denied_attributes: tuple[Glob, ...] | None = Field(default=None, strict=False)
    bandwidth: int | None = Field(default=None, ge=0, le=10_000_000)
    bare: bool | None = None
    hold: Literal["pass", "sendonly", "inactive", "hide"] | None = None


class PolicySection(Section):
    """``[[policies]]``: what is wanted of a leg, by the name that users, routes and trunks call it."""

    name: Name
    preset: PresetName | None = None
    header_fields: HeaderFields = HeaderFields()
    header_rules: tuple[HeaderRuleSection, ...] = Field(default=(), strict=False)
    heard_header_fields: HeaderFields = HeaderFields()
    status_rules: tuple[StatusRuleSection, ...] = Field(default=(), strict=False)
    phrases: Literal["keep", "standard"] | None = None
    reasons: Literal["pass", "cause", "q850", "remove"] | None = None
    address_form: AddressForm = AddressForm()
    number_rules: tuple[NumberRuleSection, ...] = Field(default=(), strict=False)
    description: Description = Description()
    codec_rules: tuple[CodecRuleSection, ...] = Field(default=(), strict=False)
    early_media: Literal["pass", "180->183", "183->180"] | None = None
    reliable: Literal["supported", "off", "required"] | None = None
    session: int | None = Field(default=None, ge=0)
    session_minimum: int | None = Field(default=None, ge=90)
    transfer: Literal["terminate", "pass", "refuse"] | None = None
    trusted: bool | None = None
    form: Literal["pai", "rpid", "both"] | None = None
    anonymise: bool | None = None
    tell_strangers: bool | None = None
    history: Literal["remove", "anonymise", "pass"] | None = None
    user_agent: Line | None = None
