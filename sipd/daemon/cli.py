"""The command ``sipd``: checks a configuration, tries a route, talks to the sipd that runs.

The daemon itself is ``twistd sipd``. Each command is a module of `sipd.daemon.commands`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from twisted.python import usage

from sipd.daemon.commands.base import DONE, FAILED, MISUSED, Command, say, sipd_version
from sipd.errors import LocalError


def _command(module: str, name: str) -> Callable[[], Command]:
    """Give what makes a command. Its module is imported then: who asks for the status does not wait for a telephone."""

    def make() -> Command:
        made: Command = getattr(import_module(f"sipd.daemon.commands.{module}"), name)()
        return made

    return make


class CommandLine(usage.Options):
    """What ``sipd`` takes."""

    synopsis = "Usage: sipd COMMAND [options]"
    longdesc = "To run sipd: twistd -n sipd --config FILE. Each command has a --help of its own."
    subCommands = (
        ("check", None, _command("check", "Check"), "Find every mistake in configuration files."),
        ("route", None, _command("route", "RouteCommand"), "Show where a call would go, and why."),
        ("monitor", None, _command("monitor", "Monitor"), "Show SIP on the wire, or in a saved capture."),
        ("phone", None, _command("phone", "PhoneCommand"), "Call, answer, register and send messages, as a telephone."),
        ("import", None, _command("importing", "Import"), "Take users and contacts of a Kamailio."),
        ("reload", None, _command("running", "Reload"), "Let the running sipd read its configuration again."),
        ("status", None, _command("running", "Status"), "Say how the running sipd does."),
        ("trunks", None, _command("running", "Trunks"), "Say how the trunks are; take one out of service, or back."),
    )

    def opt_version(self) -> None:
        """Display the version and exit."""
        say(f"sipd {sipd_version()}")
        raise SystemExit(DONE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; give the exit status.

    Args:
        arguments: the words after ``sipd``; those of this process if it is left out.
    """
    line = CommandLine()
    try:
        line.parseOptions(None if arguments is None else list(arguments))
    except usage.UsageError as error:
        sys.stderr.write(f"sipd: {error}\nTry: sipd --help\n")
        return MISUSED
    command = line.subOptions if line.subCommand is not None else None
    if not isinstance(command, Command):
        sys.stderr.write(f"{line}\n")
        return MISUSED
    try:
        return command.run()
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
