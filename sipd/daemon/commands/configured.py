"""What commands about a configuration file have in common."""

from __future__ import annotations

from typing import ClassVar

from twisted.python import usage

from sipd.daemon.commands.base import Command, Parameters
from sipd.daemon.config import load
from sipd.daemon.sections import Config


class ConfiguredCommand(Command):
    """A command that is about one configuration file."""

    optParameters: ClassVar[Parameters] = (("config", "c", None, "The configuration file (TOML). Required."),)

    def postOptions(self) -> None:
        """Make sure that there is a file.

        Raises:
            usage.UsageError: there is none.
        """
        if not self["config"]:
            raise usage.UsageError("--config FILE is required")

    def load(self) -> Config:
        """Read the file.

        Raises:
            ConfigurationError: it cannot be used.
        """
        return load(self["config"])
