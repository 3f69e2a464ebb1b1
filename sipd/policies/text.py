"""What rules about text are made of: globs, and templates with placeholders."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping

from sipd.sip.grammar import is_token
from sipd.sip.headers import canonical_name

#: Longer values are not matched with expressions: some take a time that grows much faster than the text.
MAX_MATCHED = 2048
#: What a template makes that is longer than this counts as empty.
MAX_FILLED = 4096
#: The longest name of a header field or attribute that a glob can match.
MAX_NAME = 128

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_FIELD = re.compile(r"[A-Za-z0-9_]+\Z")


def compile_globs(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Give an expression that matches the names that one of the globs matches; ``None`` if there is no glob.

    ``*`` stands for any text, ``?`` for one character; case does not matter. To match takes a time that grows with the
    length of the name, and no faster.

    Raises:
        ValueError: one is empty, or has characters that no name has.
    """
    parts = []
    for glob in globs:
        if not glob.replace("?", "") or not is_token(glob.replace("?", "x")) or len(glob) > MAX_NAME:
            raise ValueError(f"a name in which * and ? may stand for others expected (got {glob[:40]!r})")
        parts.append(_expression(glob.lower()))
    return re.compile(f"(?:{'|'.join(parts)})") if parts else None


def field_globs(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Do the same for names of header fields; one in its compact form means the long one."""
    return compile_globs([glob if "*" in glob or "?" in glob else canonical_name(glob) for glob in globs])


def matches(names: re.Pattern[str] | None, name: str) -> bool:
    """Say whether a name, in lower case, is among those."""
    return names is not None and len(name) <= MAX_NAME and names.fullmatch(name) is not None


def _expression(glob: str) -> str:
    first, *rest = [re.escape(piece).replace(r"\?", ".") for piece in re.split(r"\*+", glob)]
    if not rest:
        return first
    *middle, last = rest
    # What a group has found once stays found: there is nothing to be tried again.
    return first + "".join([f"(?>.*?{piece})" for piece in middle if piece]) + ".*" + last


class Template:
    """One line of text with placeholders such as ``{user}``; ``{{`` and ``}}`` stand for braces. Immutable.

    Args:
        text: as it is written.

    Attributes:
        text: the same.
        names: those of the placeholders.

    Raises:
        ValueError: it has control characters, such as line breaks, or its braces do not fit.
    """

    __slots__ = ("_parts", "names", "text")

    def __init__(self, text: str) -> None:
        if _CONTROL.search(text):
            raise ValueError("one line without control characters expected")
        parts = []
        for literal, name, form, conversion in string.Formatter().parse(text):
            if name is not None and (form or conversion or not _FIELD.match(name)):
                raise ValueError(f"a name such as {{user}} expected in braces (got {name[:40]!r})")
            parts.append((literal, name))
        self.text = text
        self.names = frozenset([name for _, name in parts if name is not None])
        self._parts = tuple(parts)

    def check(self, known: Iterable[str]) -> None:
        """Make sure that each placeholder stands for something.

        Raises:
            ValueError: one does not.
        """
        known = list(known)
        for name in sorted(self.names.difference(known)):
            raise ValueError(f"{{{name}}} stands for nothing here; there are: {', '.join(known)}")

    def fill(self, values: Mapping[str, str]) -> str:
        """Give the text with these values, one line without control characters; empty if it becomes too long."""
        text = "".join([literal + (values.get(name, "") if name is not None else "") for literal, name in self._parts])
        return one_line(text) if len(text) <= MAX_FILLED else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def one_line(text: str) -> str:
    """Give text without control characters, so that nothing in it can begin another line."""
    return _CONTROL.sub(" ", text).strip(" ")


def groups_of(pattern: re.Pattern[str]) -> list[str]:
    """Give what a template may call the parts of a match: ``0``, ``1``, ..., and their names."""
    return [str(number) for number in range(pattern.groups + 1)] + list(pattern.groupindex)


def groups_in(match: re.Match[str]) -> dict[str, str]:
    """Give the same with what they matched."""
    values = {str(number): match[number] or "" for number in range(match.re.groups + 1)}
    values.update({name: text or "" for name, text in match.groupdict().items()})
    return values
