"""Telephone numbers: how they are written, and how one is made of another (ITU-T E.164, RFC 3966).

A rule changes numbers only: digits, ``*`` and ``#``, with a leading ``+`` or without. A name such as ``alice`` stays
what it is, but for `Substitute`, whose pattern says by itself what it is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

_SEPARATORS = str.maketrans("", "", "-.() ")
_NUMBER = re.compile(r"\+?[0-9*#]+\Z")
_DIGITS = re.compile(r"[0-9]+\Z")
#: A country code does not begin with 0, and there are 15 digits at most (ITU-T E.164 section 6).
_GLOBAL = re.compile(r"\+[1-9][0-9]{1,14}\Z")


class Form(Enum):
    """How a number is written that all the world knows."""

    #: ``4930123456``
    E164 = "e164"
    #: ``+4930123456``
    PLUS = "plus"
    #: ``030123456`` in its own country, as `INTERNATIONAL` elsewhere.
    NATIONAL = "national"
    #: ``004930123456``
    INTERNATIONAL = "international"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """How people dial at some place.

    Args:
        country_code: of the country, ``49``.
        international_prefixes: what is dialled before the code of another country; the first is written, all are read.
        national_prefix: what is dialled before an area code, ``0``; empty where nothing is.
        area_code: what is left out within the area, ``30``; empty where nothing is.
        local_length: how many digits a number has at least and at most that is dialled without any of these. Shorter
            ones are extensions and services, longer ones are not understood. ``(0, 0)``: there are none.
    """

    country_code: str
    international_prefixes: tuple[str, ...] = ("00",)
    national_prefix: str = "0"
    area_code: str = ""
    local_length: tuple[int, int] = (0, 0)

    def normalise(self, number: str) -> str:
        """Give a number that was dialled as ``+`` and digits; as it is if it is none that all the world knows."""
        digits = number.translate(_SEPARATORS)
        found = digits if digits.startswith("+") else self._completed(digits)
        return found if _GLOBAL.match(found) else number

    def _completed(self, digits: str) -> str:
        if not _DIGITS.match(digits):
            return ""
        for prefix in sorted(self.international_prefixes, key=len, reverse=True):
            if digits.startswith(prefix):
                return f"+{digits[len(prefix) :]}"
        if self.national_prefix and digits.startswith(self.national_prefix):
            return f"+{self.country_code}{digits[len(self.national_prefix) :]}"
        least, most = self.local_length
        if least <= len(digits) <= most:
            return f"+{self.country_code}{self.area_code}{digits}"
        return ""

    def read(self, number: str, form: Form) -> str:
        """Give a number that somebody has written in that form as ``+`` and digits; as it is if it cannot be one."""
        if form is not Form.E164:
            return self.normalise(number)
        found = f"+{number.translate(_SEPARATORS).removeprefix('+')}"
        return found if _GLOBAL.match(found) else number

    def write(self, number: str, form: Form) -> str:
        """Give a number of ``+`` and digits in that form; any other one as it is.

        What is written is always read as the same number: where a form would say another one, the next is taken of
        national, international, plus.
        """
        if not _GLOBAL.match(number):
            return number
        if form is Form.E164:
            return number[1:]
        if form is Form.NATIONAL and number.startswith(f"+{self.country_code}"):
            national = f"{self.national_prefix}{number[1 + len(self.country_code) :]}"
            if self.normalise(national) == number:
                return national
        if form in (Form.NATIONAL, Form.INTERNATIONAL):
            for prefix in self.international_prefixes:
                international = f"{prefix}{number[1:]}"
                if self.normalise(international) == number:
                    return international
        return number


class Step(Protocol):
    """One change of a number."""

    def apply(self, number: str) -> str:
        """Give what becomes of a number."""


@dataclass(frozen=True, slots=True)
class StripDigits:
    """Takes so many digits away at the beginning, a ``+`` with them; a number of fewer digits stays as it is."""

    count: int

    def apply(self, number: str) -> str:
        """See `Step`."""
        digits = number.removeprefix("+")
        return digits[self.count :] if is_number(number) and len(digits) > self.count else number


@dataclass(frozen=True, slots=True)
class StripPrefix:
    """Takes a beginning away; a number that does not begin so, or is nothing else, stays as it is."""

    prefix: str

    def apply(self, number: str) -> str:
        """See `Step`."""
        return number.removeprefix(self.prefix) if is_number(number) and number != self.prefix else number


@dataclass(frozen=True, slots=True)
class Prepend:
    """Puts something in front; a ``+`` of the number is gone if there is one in it."""

    prefix: str

    def apply(self, number: str) -> str:
        """See `Step`."""
        if not is_number(number):
            return number
        return self.prefix + (number.removeprefix("+") if self.prefix else number)


@dataclass(frozen=True, slots=True)
class Substitute:
    """Makes another text of one that matches as a whole.

    Args:
        pattern: what it has to be.
        template: ``{0}`` is all of it, ``{1}`` and ``{name}`` the groups of the pattern; an absent one is empty.
    """

    pattern: re.Pattern[str]
    template: str

    def apply(self, number: str) -> str:
        """See `Step`."""
        match = self.pattern.fullmatch(number)
        if match is None:
            return number
        return self.template.format(number, *match.groups(""), **match.groupdict(""))


@dataclass(frozen=True, slots=True)
class Normalise:
    """Makes ``+`` and digits of a number that was dialled, or, with a form, written so by somebody."""

    numbering: Numbering
    form: Form | None = None

    def apply(self, number: str) -> str:
        """See `Step`."""
        return self.numbering.normalise(number) if self.form is None else self.numbering.read(number, self.form)


@dataclass(frozen=True, slots=True)
class Write:
    """Writes a number of ``+`` and digits in a form."""

    numbering: Numbering
    form: Form

    def apply(self, number: str) -> str:
        """See `Step`."""
        return self.numbering.write(number, self.form)


def is_number(text: str) -> bool:
    """Say whether a text can be dialled: digits, ``*`` and ``#``, with a leading ``+`` or without."""
    return _NUMBER.match(text) is not None


def rewrite(number: str, steps: Iterable[Step]) -> str:
    """Give what becomes of a number, step by step."""
    for step in steps:
        number = step.apply(number)
    return number
