"""The command line: ``twistd sipd`` and ``python -m twisted sipd``, and the service they run.

A command line that cannot be understood is a ``usage.UsageError``, as Twisted wants it. A configuration that cannot be
used ends the start the same way under both commands: one line for each mistake on standard error, exit status 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.python import usage

from sipd.daemon.config import load
from sipd.errors import ConfigurationError

if TYPE_CHECKING:
    from twisted.application.service import IService

    from sipd.daemon.sections import Config


class Options(usage.Options):
    """What ``twistd sipd`` takes."""

    synopsis = "[--check] --config FILE"
    longdesc = (
        "Runs a SIP registrar and back-to-back user agent. Phones register with it and call each other through it; it "
        "relays their audio. Everything else is in the configuration file: tapfiles/sipd.toml in the source describes "
        "every option. Start it in the foreground with: twistd -n sipd --config FILE. Under --check every mistake is "
        "listed, and the exit status is 0 if there is none, else 1. SIGTERM lets calls end (see limits.drain); a "
        "second one ends them at once. SIGHUP reads the configuration again; so does the command `sipd reload`."
    )
    optParameters = (("config", "c", None, "The configuration file (TOML). Required."),)
    optFlags = (("check", None, "Check the configuration and exit."),)

    #: What to run, and where it was read: ``twistd`` may go to another directory.
    config: Config
    file: Path

    def postOptions(self) -> None:
        """Read the configuration.

        Raises:
            usage.UsageError: there is no --config.
            SystemExit: after --check; or with status 1 and the mistakes as text, for standard error.
        """
        path = self["config"]
        if not path:
            raise usage.UsageError("--config FILE is required (try tapfiles/sipd.toml)")
        self.file = Path(path).absolute()
        try:
            self.config = load(path)
        except ConfigurationError as error:
            raise SystemExit(str(error)) from None
        if self["check"]:
            sys.stdout.write(f"{path}: good\n")
            raise SystemExit(0)


def makeService(options: Options) -> IService:
    """Make the service of a process of its own. To embed sipd in another, use `sipd.daemon.service.SipService`.

    Raises:
        SystemExit: the log cannot be written; with status 1 and the reason as text.
    """
    from twisted.internet import reactor  # noqa: TID251 - twistd has chosen it by now

    from sipd.daemon.process import Process

    try:
        return Process(options.config, options.parent, reactor, lambda: load(options.file))
    except ConfigurationError as error:
        raise SystemExit(str(error)) from None
