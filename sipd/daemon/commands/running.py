"""``sipd reload``, ``sipd status`` and ``sipd trunks``: they talk to the sipd that runs (`sipd.daemon.control`)."""

from __future__ import annotations

import json
import re
import socket
import tomllib
from pathlib import Path
from typing import Any

from twisted.python import usage

from sipd.daemon.commands.base import DONE, Command, say
from sipd.daemon.control_socket import control_socket
from sipd.errors import ConfigurationError, LocalError

#: Seconds that an answer may take: to read a configuration with large tables does.
_PATIENCE = 120.0
_MAX_ANSWER_OCTETS = 16 * 1024 * 1024
#: The line that is looked for in a file that is no TOML now.
_STATE_DIRECTORY = re.compile(r"^[ \t]*state_directory[ \t]*=.*$", re.MULTILINE)


class RunningCommand(Command):
    """A question to the sipd that runs with a configuration file, or in a state directory."""

    optParameters = (
        ("config", "c", None, "The configuration file that it was started with."),
        ("state-directory", "s", None, "Or its state directory."),
    )

    def postOptions(self) -> None:
        """See ``usage.Options``."""
        if bool(self["config"]) == bool(self["state-directory"]):
            raise usage.UsageError("either --config FILE or --state-directory DIRECTORY is required")

    def ask(self, command: str, **more: Any) -> dict[str, Any]:
        """Give the answer to a command.

        Args:
            command: its name.
            more: what else it wants to know.

        Raises:
            ConfigurationError: it says that it cannot do that, and why.
            LocalError: nobody is there.
        """
        answer = ask(self._socket(), command, **more)
        if not answer.get("ok"):
            raise ConfigurationError([str(problem) for problem in answer.get("problems", ())] or ["no answer"])
        return answer

    def _socket(self) -> Path:
        if self["state-directory"]:
            return control_socket(Path(self["state-directory"]).absolute())
        return control_socket(_state_directory(Path(self["config"])))


class Reload(RunningCommand):
    """Lets the running sipd read its configuration again."""

    name = "reload"
    synopsis = "--config FILE | --state-directory DIRECTORY"
    longdesc = (
        "Lets the running sipd read its configuration again, as SIGHUP does, and says what is different now, and what "
        "needs a restart. If there is a mistake in it, everything stays as it was, and the exit status is 1."
    )

    def run(self) -> int:
        """See `Command`."""
        say(*self.ask("reload")["lines"])
        return DONE


class Status(RunningCommand):
    """Says how the running sipd does."""

    name = "status"
    synopsis = "--config FILE | --state-directory DIRECTORY [--json]"
    longdesc = (
        "Says where the running sipd listens, and how many calls and registrations it has. Exit status 1: none runs."
    )
    optFlags = (("json", "j", "Answer as one JSON object."),)

    def run(self) -> int:
        """See `Command`."""
        answer = self.ask("status")
        if self["json"]:
            say(json.dumps(answer))
            return DONE
        for name, value in answer.items():
            if isinstance(value, list):
                say(*(f"{name.replace('_', ' ')}: {entry}" for entry in value))
            elif name != "ok":
                say(f"{name.replace('_', ' ')}: {value}")
        return DONE


class Trunks(RunningCommand):
    """Says how the trunks are, and takes one of them out of service, or back."""

    name = "trunks"
    synopsis = "[NAME [up|drain|down]] --config FILE | --state-directory DIRECTORY [--json]"
    longdesc = (
        "Says of each trunk, or of one, whether calls can go out by it, and how its servers and its registration are. "
        "drain: no new calls go out by it, and it is unregistered; down: the same, and what comes from it is as what "
        "comes from strangers; up: as it was. Calls that go on are left in peace; a restart forgets it."
    )
    optFlags = (("json", "j", "Answer as one JSON object."),)

    def parseArgs(self, trunk: str | None = None, state: str | None = None) -> None:
        """See ``usage.Options``."""
        self["trunk"], self["state"] = trunk, state

    def run(self) -> int:
        """See `Command`."""
        answer = self.ask("trunks", **{key: self[key] for key in ("trunk", "state") if self[key] is not None})
        if self["json"]:
            say(json.dumps(answer))
            return DONE
        for trunk in answer["trunks"]:
            say(f"{trunk['name']}: {trunk['state']}, {trunk['obstacle'] or 'calls can go out'}")
            for server in trunk["servers"]:
                reason = f" ({server['reason']})" if server["reason"] else ""
                say(f"  {server['uri']}: {'up' if server['up'] else 'down'}{reason}, {server['calls']} calls")
            registration = trunk["registration"]
            if registration is not None:
                failure = f" ({registration['failure']})" if registration["failure"] else ""
                say(f"  {registration['aor']}: {registration['state']}{failure}")
        return DONE


def ask(path: Path, command: str, **more: Any) -> dict[str, Any]:
    """Ask the sipd that listens at a socket.

    Args:
        path: of the socket.
        command: its name.
        more: what else it wants to know.

    Raises:
        LocalError: nobody answers there.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(path))
            connection.sendall(json.dumps({"command": command, **more}).encode("ascii") + b"\n")
            answer = json.loads(_read(connection))
    except OSError as error:
        reason = error.strerror or str(error)
        raise LocalError(f"no sipd can be reached at {path}: {reason}. Does it run? SIGHUP reaches it, too") from None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise LocalError(f"what answers at {path} is no sipd, or it has ended")
    return answer


def _read(connection: socket.socket) -> bytes:
    data = b""
    while len(data) <= _MAX_ANSWER_OCTETS and (more := connection.recv(65536)):
        data += more
    return data


def _state_directory(file: Path) -> Path:
    """Give the state directory that a file names, whatever else is wrong in it: the daemon will say that."""
    try:
        text = file.read_text("utf-8-sig", "replace")
    except OSError as error:
        raise ConfigurationError([f"{file}: cannot be read: {error.strerror}"]) from None
    named = _named_in(text)
    if named is None and (line := _STATE_DIRECTORY.search(text)) is not None:
        named = _named_in(line[0])
    if named is None:
        raise ConfigurationError([f"{file}: names no state directory that can be read; try --state-directory"])
    return file.resolve().parent / Path(named).expanduser()


def _named_in(text: str) -> str | None:
    try:
        named = tomllib.loads(text).get("state_directory")
    except (ValueError, RecursionError):
        return None
    return named if isinstance(named, str) and named else None
