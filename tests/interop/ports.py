"""Ports of the loopback address that are free now, below the range that the kernel gives out by itself."""

import random
import socket
from contextlib import ExitStack
from itertools import count

HOST = "127.0.0.1"
_LOWEST, _HIGHEST = 20_000, 32_000
_ATTEMPTS = 200


def _is_free(host: str, ports: range) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as sockets:
        try:
            for port in ports:
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    sockets.enter_context(socket.socket(family, kind)).bind((host, port))
        except OSError:
            return False
    return True


def free_ports(number: int, host: str = HOST) -> range:
    """Give so many consecutive ports, the first even, each free for UDP and TCP at the moment.

    Raises:
        OSError: none found.
    """
    for attempt in count():
        first = random.randrange(_LOWEST, _HIGHEST - number, 2)
        ports = range(first, first + number)
        if _is_free(host, ports):
            return ports
        if attempt == _ATTEMPTS:
            raise OSError(f"no {number} free ports in a row on {host}")
    raise AssertionError


def free_port(host: str = HOST) -> int:
    """Give one port that is free for UDP and TCP at the moment.

    Raises:
        OSError: none found.
    """
    return free_ports(1, host)[0]
