"""Where the phones and the relay of a measurement are: both on the loopback, or on the two ends of a virtual cable.

The cable (veth(4)) is between two network namespaces of its own, so that packets take the way through the kernel that
they take from and to a network card, and nothing else of the machine is touched. It needs root and `ip`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_NAMESPACES = Path("/run/netns")
#: RFC 2544 section C.2.2 sets 198.18.0.0/15 aside for measurements.
_RELAY, _CALLERS, _CALLEES = "198.18.0.1", "198.18.0.2", "198.18.0.3"
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Addresses, and how to be there.

    Args:
        relay: the address of the relay.
        callers: the address of all callers.
        callees: the address of all callees.
        relay_namespace: the network namespace of the relay; empty for that of this process.
        phones_namespace: the same of the phones.
    """

    relay: str
    callers: str
    callees: str
    relay_namespace: str = ""
    phones_namespace: str = ""

    def at_relay(self, command: Sequence[str]) -> list[str]:
        """Give the command that runs a command where the relay is."""
        return _inside(self.relay_namespace, command)

    def at_phones(self, command: Sequence[str]) -> list[str]:
        """Give the command that runs a command where the phones are."""
        return _inside(self.phones_namespace, command)

    def relay_socket(self) -> socket.socket:
        """Give an unbound UDP socket that is where the relay is."""
        if not self.relay_namespace:
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made: list[socket.socket] = []
        thread = threading.Thread(target=_make_socket, args=(_NAMESPACES / self.relay_namespace, made))
        thread.start()
        thread.join()
        return made[0]


def _inside(namespace: str, command: Sequence[str]) -> list[str]:
    return ["ip", "netns", "exec", namespace, *command] if namespace else list(command)


def _make_socket(namespace: Path, made: list[socket.socket]) -> None:
    """Move this thread, which must end after it, and make a socket there: it stays where it was made."""
    with namespace.open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET) == 0:
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


@contextmanager
def loopback() -> Iterator[Network]:
    """Have all of them on 127.0.0.1."""
    yield Network(relay="127.0.0.1", callers="127.0.0.1", callees="127.0.0.1")


@contextmanager
def cable() -> Iterator[Network]:
    """Make two namespaces with a cable between them, and remove them in the end.

    Raises:
        RuntimeError: that cannot be done here.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise RuntimeError("--topology veth needs root, and `ip` (apt install iproute2)")
    relay, phones = (f"sipd-bench-{os.getpid()}-{name}" for name in ("relay", "phones"))
    try:
        for name in (relay, phones):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", relay, "link", "add", "relay", "type", "veth", "peer", "name", "phones", "netns", phones)
        _ip("-n", relay, "address", "add", f"{_RELAY}/24", "dev", "relay")
        _ip("-n", phones, "address", "add", f"{_CALLERS}/24", "dev", "phones")
        _ip("-n", phones, "address", "add", f"{_CALLEES}/24", "dev", "phones")
        _ip("-n", relay, "link", "set", "relay", "up")
        _ip("-n", phones, "link", "set", "phones", "up")
        yield Network(relay=_RELAY, callers=_CALLERS, callees=_CALLEES, relay_namespace=relay, phones_namespace=phones)
    finally:
        for name in (relay, phones):
            if (_NAMESPACES / name).exists():
                _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")


TOPOLOGIES = {"loopback": loopback, "veth": cable}
