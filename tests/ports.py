"""Ports of the loopback address that are free now, below the range that the kernel gives out by itself.

A port that the kernel gave may be another program's as soon as it is let go of: what is bound a second time, or for
UDP and TCP alike, is one of these.
"""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

HOST = "127.0.0.1"
#: A process that runs tests has one of so many shares to itself, of so many ports. Above them are the ports of
#: `tests.media`, which may run at the same time.
_LOWEST, _SHARES, _SHARE = 12_000, 8, 2_250
_ATTEMPTS = 200
#: A range of more is for media. Connections that have ended keep ports of TCP for a minute.
_FEW = 4
#: What Linux calls a socket of TCP that listens.
_LISTENS = "0A"


class Ports:
    """Gives each port once, so that programs of one test that are not started yet do not share any."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take_range(self, number: int, host: str = HOST) -> range:
        """Give so many consecutive ports, the first even, each free for UDP and TCP at the moment.

        Raises:
            OSError: none found.
        """
        lowest = _own_share()
        for _ in range(_ATTEMPTS):
            first = random.randrange(lowest, lowest + _SHARE - number, 2)
            ports = range(first, first + number)
            if self._given.isdisjoint(ports) and are_free(host, ports, for_tcp=number <= _FEW):
                self._given.update(ports)
                return ports
        raise OSError(f"no {number} free ports in a row on {host}")

    def take(self, host: str = HOST) -> int:
        """Give one port.

        Raises:
            OSError: none found.
        """
        return self.take_range(1, host)[0]


@cache
def _own_share() -> int:
    """Give the first port of a share that no other process has; this one has it until it ends."""
    for number in range(_SHARES):
        file = os.open(os.path.join(tempfile.gettempdir(), f"sipd-tests-ports-{number}"), os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
        else:
            return _LOWEST + number * _SHARE
    raise OSError(f"{_SHARES} processes run tests already")


def is_bound(transport: str, port: int) -> bool:
    """Say whether somebody has bound a port of UDP, or listens on one of TCP, on any address (proc(5))."""
    for table in (transport, f"{transport}6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if int(local.rpartition(":")[2], 16) == port and (transport == "udp" or state == _LISTENS):
                return True
    return False


def are_free(host: str, ports: range, *, for_tcp: bool = True) -> bool:
    """Say whether nobody has bound any of these ports for UDP, nor for TCP if they are for that, too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as sockets:
        try:
            for port in ports:
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM) if for_tcp else (socket.SOCK_DGRAM,):
                    sockets.enter_context(socket.socket(family, kind)).bind((host, port))
        except OSError:
            return False
    return True
