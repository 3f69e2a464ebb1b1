"""What is in a mailbox, as a document: the body of the ``message-summary`` package (RFC 3842 section 5.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sipd.errors import ParseError

MESSAGE_SUMMARY = "message-summary"
SIMPLE_MESSAGE_SUMMARY = "application/simple-message-summary"

#: The bounds of a body: octets, and lines.
MAX_SUMMARY_OCTETS = 16384
_MAX_LINES = 64
#: RFC 3458 section 6.2 names them.
_CLASSES = ("voice", "video", "fax", "pager", "multimedia", "text", "none")
_COUNTS = re.compile(
    r"([0-9]{1,10})[ \t]*/[ \t]*([0-9]{1,10})[ \t]*"
    r"(?:\([ \t]*([0-9]{1,10})[ \t]*/[ \t]*([0-9]{1,10})[ \t]*\))?[ \t]*\Z",
    re.ASCII,
)
_MAX_COUNT = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCounts:
    """How many messages of one class there are.

    Args:
        new: not heard yet; of them `new_urgent` are urgent.
        old: heard; of them `old_urgent` are urgent.
    """

    new: int
    old: int
    new_urgent: int = 0
    old_urgent: int = 0

    def __str__(self) -> str:
        urgent = f" ({self.new_urgent}/{self.old_urgent})" if self.new_urgent or self.old_urgent else ""
        return f"{self.new}/{self.old}{urgent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSummary:
    """What is in a mailbox.

    Args:
        is_waiting: whether there is a message that its owner is to be told of.
        account: the URI by which the mailbox is reached; empty where it is not said.
        counts: class of message (`voice`, ``video``, ``fax``, ``pager``, ``multimedia``, ``text``, ``none``) and how
            many there are, in the order in which they are written.
    """

    is_waiting: bool
    account: str = ""
    counts: tuple[tuple[str, MessageCounts], ...] = ()

    @classmethod
    def parse(cls, body: bytes) -> MessageSummary:
        """Read a body. What it says of single messages, after an empty line, and fields that nobody knows are left out.

        Raises:
            ParseError: it is too large, does not say whether messages wait, says something twice, or has counts that
                are none.
        """
        if len(body) > MAX_SUMMARY_OCTETS:
            raise ParseError("A message summary that is too large")
        fields = _read_fields(body.decode("utf-8", "surrogateescape"))
        waiting = fields.pop("messages-waiting", "").lower()
        if waiting not in ("yes", "no"):
            raise ParseError("A message summary that does not say whether messages wait")
        account = fields.pop("message-account", "")
        counts = tuple(
            [
                (name.removesuffix("-message"), _read_counts(value))
                for name, value in fields.items()
                if name.removesuffix("-message") in _CLASSES
            ]
        )
        return cls(is_waiting=waiting == "yes", account=account, counts=counts)

    @property
    def voice(self) -> MessageCounts | None:
        """How many voice messages there are, or ``None`` where that is not said."""
        return dict(self.counts).get("voice")

    def to_bytes(self) -> bytes:
        """Print the body.

        Raises:
            ParseError: there is a line break or a lone surrogate in the account, or a class that nobody knows.
        """
        lines = [f"Messages-Waiting: {'yes' if self.is_waiting else 'no'}"]
        if self.account:
            if "\n" in self.account or "\r" in self.account:
                raise ParseError("An account with a line break")
            lines.append(f"Message-Account: {self.account}")
        for kind, counts in self.counts:
            if kind not in _CLASSES:
                raise ParseError("A class of messages that is not known")
            name = "None" if kind == "none" else f"{kind.title()}-Message"
            lines.append(f"{name}: {counts}")
        try:
            return "".join([f"{line}\r\n" for line in lines]).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ParseError("A lone surrogate in an account") from None


def _read_fields(text: str) -> dict[str, str]:
    """Give the fields of the first part, names in lower case."""
    fields: dict[str, str] = {}
    lines = text.replace("\r\n", "\n").strip("\n").split("\n")
    if len(lines) > _MAX_LINES and "" not in lines[:_MAX_LINES]:
        raise ParseError("A message summary with too many lines")
    for line in lines:
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon:
            raise ParseError("A message summary with a line that is no field")
        if name in fields:
            raise ParseError("A message summary that says something twice")
        fields[name] = value.strip()
    return fields


def _read_counts(text: str) -> MessageCounts:
    match = _COUNTS.match(text)
    if match is None:
        raise ParseError("Counts of messages that are none")
    new, old, new_urgent, old_urgent = (int(number or 0) for number in match.groups())
    if max(new, old, new_urgent, old_urgent) > _MAX_COUNT:
        raise ParseError("A count of messages that is too large")
    return MessageCounts(new=new, old=old, new_urgent=new_urgent, old_urgent=old_urgent)
