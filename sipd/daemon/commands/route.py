"""``sipd route FROM TO``: the dry run of a call."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path

from twisted.python import usage

from sipd.daemon.commands.base import DONE, say
from sipd.daemon.commands.configured import ConfiguredCommand
from sipd.daemon.rehearsal.play import rehearse
from sipd.daemon.rehearsal.question import Question
from sipd.daemon.rehearsal.report import as_text, as_values
from sipd.errors import ConfigurationError


class RouteCommand(ConfiguredCommand):
    """Plays a call through, and shows where it would go."""

    name = "route"
    synopsis = "[options] --config FILE FROM TO"
    longdesc = (
        "Shows where a call would go and why, without making it: each rule that was tried, each attempt with its "
        "timers, and the INVITE that would leave first. FROM and TO are URIs, or users and numbers of our domain. "
        "Nothing is opened, asked or written: names count as found, and users as registered. The exit status is 0 "
        "if the call would be tried, or refused as configured."
    )
    optParameters = (
        ("source", "s", None, "Where the call comes from: an address, with a port if that matters."),
        ("user", "u", None, "Who the caller proves to be. Not given: the user that FROM names, if it is one."),
        ("trunk", "t", None, "The trunk that it comes from. Not given: the one whose address the source is."),
        ("answer", None, None, "A file with what the routing service answers. Not given: nothing."),
        ("at", "a", None, "When: 2026-12-24T18:00, on this machine's clock, or with an offset. Not given: now."),
    )
    optFlags = (
        ("stranger", None, "The caller proves nothing."),
        ("unregistered", None, "No user is registered."),
        ("json", "j", "Answer as one JSON object."),
    )

    def __init__(self) -> None:
        super().__init__()
        self._headers: list[tuple[str, str]] = []
        self._contacts: list[str] = []

    def opt_header(self, text: str) -> None:
        """Give the INVITE a header field, NAME:VALUE; may be given several times."""
        name, colon, value = text.partition(":")
        if not colon:
            raise usage.UsageError("--header NAME:VALUE expected")
        self._headers.append((name.strip(), value.strip()))

    def opt_contact(self, uri: str) -> None:
        """Take users to be registered at that URI; may be given several times."""
        self._contacts.append(uri)

    def parseArgs(self, caller: str, callee: str) -> None:  # type: ignore[override]
        """See ``usage.Options``."""
        self._ends = caller, callee

    def postOptions(self) -> None:
        """See ``usage.Options``."""
        super().postOptions()
        if self["stranger"] and self["user"]:
            raise usage.UsageError("either --user or --stranger")
        if self["unregistered"] and self._contacts:
            raise usage.UsageError("either --contact or --unregistered")
        self._at = _moment(self["at"])

    def run(self) -> int:
        """See `Command`."""
        caller, callee = self._ends
        contacts = () if self["unregistered"] else tuple(self._contacts) or None
        question = Question(
            caller=caller,
            callee=callee,
            source=self["source"],
            user="" if self["stranger"] else self["user"],
            trunk=self["trunk"],
            at=self._at,
            headers=tuple(self._headers),
            answer=_read(self["answer"]),
            contacts=contacts,
        )
        outcome = rehearse(self.load(), question)
        say(*([json.dumps(as_values(outcome))] if self["json"] else as_text(outcome)))
        return DONE


def _read(name: str | None) -> bytes | None:
    if name is None:
        return None
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise ConfigurationError([f"{name}: cannot be read: {error.strerror}"]) from None


def _moment(text: str | None) -> float:
    if text is None:
        return time.time()
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise usage.UsageError("--at: a moment such as 2026-12-24T18:00 expected") from None
