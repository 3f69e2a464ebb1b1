"""``sipd check``: finds every mistake in configuration files."""

from __future__ import annotations

from twisted.python import usage

from sipd.daemon.commands.base import DONE, Command, say
from sipd.daemon.config import load
from sipd.errors import ConfigurationError


class Check(Command):
    """Reads files as a start does, and runs nothing."""

    name = "check"
    synopsis = "FILE [FILE ...]"
    longdesc = (
        "Reads configuration files as a start does, with all files that they name, and lists every mistake of all of "
        "them. The exit status is 0 if there is none, else 1."
    )
    optParameters = (("config", "c", None, "A configuration file, as for the other commands."),)

    def parseArgs(self, *files: str) -> None:
        """See ``usage.Options``."""
        self.files = files

    def postOptions(self) -> None:
        """See ``usage.Options``."""
        if self["config"]:
            self.files = (*self.files, self["config"])
        if not self.files:
            raise usage.UsageError("which FILE?")

    def run(self) -> int:
        """See `Command`."""
        problems: list[str] = []
        for file in self.files:
            try:
                load(file)
            except ConfigurationError as error:
                problems += error.problems
            else:
                say(f"{file}: good")
        if problems:
            raise ConfigurationError(problems)
        return DONE
