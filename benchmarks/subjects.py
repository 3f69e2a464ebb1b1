"""What is measured: sipd as an operator would run it, and Sippy's B2BUA beside it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sipd
from benchmarks.processes import HOST, Subject, free_port
from sipd.daemon.sections import Media

#: The sipd that is imported here is the one that is measured: the sources, or the compiled one.
_ROOT = Path(sipd.__file__).resolve().parent.parent
_SIPPY_ENVIRONMENT = Path(__file__).with_name(".venv-sippy")

_SIPD = """\
domains = ["sipd.test"]
state_directory = "state"

[[listen]]
name = "udp"
transport = "udp"
address = "{host}"
port = {port}

[[routes]]
name = "load"
to = "sip:callee@{host}"
next_hop = "sip:{host}:{callee_port}"
authenticate = false

# Ports do not rest for long, since thousands of calls a minute would need more than there are.
[media]
first_port = 10000
last_port = 31999
port_rest = 2.0
{relay}

[limits]
calls = 100000
transactions = 1000000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way to be measured.

    Args:
        name: for the table.
        start: starts it in a directory, its calls going to a port.
    """

    name: str
    start: Callable[[Path, int], Subject]


def start_sipd(directory: Path, callee_port: int) -> Subject:
    """Start `twistd -n sipd` with a route to the callee, without authentication, otherwise with its defaults."""
    return _start_sipd(directory, callee_port, "")


def start_sipd_without_relay(directory: Path, callee_port: int) -> Subject:
    """Start the same, leaving session descriptions as they are: the phones send media to each other."""
    return _start_sipd(directory, callee_port, "relay = false")


def _start_sipd(directory: Path, callee_port: int, relay: str) -> Subject:
    port = free_port()
    file = directory / "sipd.toml"
    file.write_text(_SIPD.format(host=HOST, port=port, callee_port=callee_port, relay=relay))
    twistd = str(Path(sys.executable).with_name("twistd"))
    command = [twistd, "-n", "--pidfile=", "sipd", "--config", str(file)]
    return Subject(command, port, directory, {"PYTHONPATH": str(_ROOT)})


def start_sippy(directory: Path, callee_port: int) -> Subject:
    """Start `b2bua_simple`, its log off."""
    port = free_port()
    command = [str(_SIPPY_ENVIRONMENT / "bin" / "b2bua_simple"), "-f", "-l", HOST, "-p", str(port)]
    return Subject([*command, "-n", f"{HOST}:{callee_port}"], port, directory, {"SIPLOG_BEND": "none"})


SIPD_WITHOUT_RELAY = Kind(name="sipd, relay off", start=start_sipd_without_relay)
SIPD_WITH_RELAY = Kind(name="sipd, relay on", start=start_sipd)
SIPPY = Kind(name="Sippy b2bua_simple", start=start_sippy)


def can_do_without_relay() -> bool:
    """Say whether the configuration has a switch for the relay."""
    return "relay" in Media.model_fields


def install_sippy() -> str:
    """Install Sippy into an environment of its own, once.

    Returns:
        Why it is not there, or empty.
    """
    if not (_SIPPY_ENVIRONMENT / "bin" / "b2bua_simple").exists():
        python = str(_SIPPY_ENVIRONMENT / "bin" / "python")
        try:
            subprocess.run([sys.executable, "-m", "venv", str(_SIPPY_ENVIRONMENT)], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "sippy"], check=True)
        except subprocess.CalledProcessError as error:
            return f"Sippy could not be installed: {error}"
    return ""


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Give a directory that vanishes."""
    return tempfile.TemporaryDirectory(prefix="sipd-benchmark-")
