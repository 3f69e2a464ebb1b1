"""Sections on who is listened to, what is too much, and what looks like fraud."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from sipd.daemon.sections.base import Section
from sipd.daemon.values import Count, Name, Network, Seconds, fail, shown, text_of
from sipd.guards.numbers import country_code
from sipd.guards.scanners import KNOWN_SCANNERS


def _country(value: object) -> str:
    text = text_of(value, "a country code")
    if not text.isascii() or country_code(text) != text:
        fail(f'a country code such as "+49" expected (got {shown(text)})')
    return text


def _prefix(value: object) -> str:
    text = text_of(value, "the beginning of a number")
    if re.fullmatch(r"\+?[0-9*#]{1,32}", text) is None or not text.isascii():
        fail(f'the beginning of a number, such as "+882" or "0900", expected (got {shown(text)})')
    return text


#: 0 is no bound.
Bound = Annotated[int, Field(ge=0)]
Agent = Annotated[str, Field(min_length=1, max_length=64)]
Prefix = Annotated[str, PlainValidator(_prefix)]
Account = Annotated[str, Field(min_length=1, max_length=128)]
Country = Annotated[str, PlainValidator(_country)]


class Scanners(Section):
    """``[guards.scanners]``: who looks for what is open here."""

    action: Literal["off", "log", "drop", "ban"] = "drop"
    agents: tuple[Agent, ...] = Field(default=KNOWN_SCANNERS, strict=False)
    window: Seconds = 60.0
    failures: Bound = 20
    challenges: Bound = 1000
    names: Bound = 100


class Banning(Section):
    """``[guards.bans]``: for how long a source is not listened to."""

    duration: Seconds = 600.0
    factor: float = Field(default=4.0, ge=1, le=1000)
    longest: Seconds = 86400.0


class Overload(Section):
    """``[guards.overload]``: when there is too much to do."""

    lag: float = Field(default=1.0, ge=0)
    cpu: float = Field(default=0.0, ge=0, le=1)
    last_lag: float = Field(default=5.0, ge=0)


class Countries(Section):
    """``[guards.countries]``: calls to where an account never called."""

    action: Literal["off", "log", "refuse"] = "off"
    known: tuple[Country, ...] = Field(default=(), strict=False)
    learning: Seconds = 604800.0


class BudgetRule(Section):
    """``[[guards.budgets]]``: what each account may spend on some numbers."""

    name: Name
    prefixes: tuple[Prefix, ...] = Field(default=(), strict=False)
    accounts: tuple[Account, ...] = Field(default=(), strict=False)
    window: Seconds = 86400.0
    seconds: float = Field(default=0.0, ge=0)
    attempts: Bound = 0
    parallel: Bound = 0
    action: Literal["log", "refuse"] = "refuse"


class GuardRules(Section):
    """``[guards]``: who is listened to, what is too much, and what looks like fraud."""

    trust: tuple[Network, ...] = Field(default=(), strict=False)
    allow: tuple[Network, ...] = Field(default=(), strict=False)
    deny: tuple[Network, ...] = Field(default=(), strict=False)
    messages_per_second: Bound = 0
    max_accounts: Count = 100_000
    scanners: Scanners = Scanners()
    bans: Banning = Banning()
    overload: Overload = Overload()
    countries: Countries = Countries()
    budgets: tuple[BudgetRule, ...] = Field(default=(), strict=False)
