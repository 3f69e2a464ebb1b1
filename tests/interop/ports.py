"""Ports of the loopback address that are free now, below the range that the kernel gives out by itself."""

import random
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"
#: Above are those of `tests.media`, which may run at the same time.
_LOWEST, _HIGHEST = 20_000, 29_998
_ATTEMPTS = 200


class Ports:
    """Gives each port once, so that programs of one test that are not started yet do not share any."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take_range(self, number: int, host: str = HOST) -> range:
        """Give so many consecutive ports, the first even, each free for UDP and TCP at the moment.

        Raises:
            OSError: none found.
        """
        for _ in range(_ATTEMPTS):
            first = random.randrange(_LOWEST, _HIGHEST - number, 2)
            ports = range(first, first + number)
            if self._given.isdisjoint(ports) and _are_free(host, ports):
                self._given.update(ports)
                return ports
        raise OSError(f"no {number} free ports in a row on {host}")

    def take(self, host: str = HOST) -> int:
        """Give one port.

        Raises:
            OSError: none found.
        """
        return self.take_range(1, host)[0]


def _are_free(host: str, ports: range) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as sockets:
        try:
            for port in ports:
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    sockets.enter_context(socket.socket(family, kind)).bind((host, port))
        except OSError:
            return False
    return True
