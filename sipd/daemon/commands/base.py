"""What all commands have in common."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from getopt import GetoptError, gnu_getopt
from importlib.metadata import PackageNotFoundError, version

from twisted.python import usage

#: Exit statuses: it was done; it could not be, for reasons that stand on standard error; nobody understood what to do.
DONE, FAILED, MISUSED = 0, 1, 2

#: Of a command: long name, short name, default, description.
Parameters = tuple[tuple[str, str | None, str | None, str], ...]


class Command(usage.Options, ABC):
    """A command of ``sipd``.

    Attributes:
        name: what it is called.
    """

    name = ""
    synopsis = ""

    def getSynopsis(self) -> str:
        """See ``usage.Options``."""
        return f"Usage: sipd {self.name} {self.synopsis}\n"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """See ``usage.Options``. Here options may also stand after other words."""
        try:
            found, words = gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except GetoptError as error:
            raise usage.UsageError(str(error)) from None
        ordered: list[str] = []
        for name, value in found:
            ordered += [name, value] if self._takes_value(name) else [name]
        super().parseOptions([*ordered, "--", *words])

    def _takes_value(self, name: str) -> bool:
        return f"{name[2:]}=" in self.longOpt if name.startswith("--") else f"{name[1:]}:" in self.shortOpt

    def opt_version(self) -> None:
        """Display the version and exit."""
        say(f"sipd {sipd_version()}")
        raise SystemExit(DONE)

    @abstractmethod
    def run(self) -> int:
        """Do it; give the exit status.

        Raises:
            LocalError: it cannot be done. Its text goes to standard error.
        """


def sipd_version() -> str:
    """Give the version that is installed."""
    try:
        return version("sipd")
    except PackageNotFoundError:
        return "not installed"


def say(*lines: str) -> None:
    """Write lines to standard output."""
    for line in lines:
        sys.stdout.write(f"{line}\n")
