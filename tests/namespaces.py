"""Network namespaces without names, joined by veth pairs, for tests that need a network of their own.

A namespace is there as long as something of it is open: a descriptor, a socket. So nothing is left of it, whatever
happens to the test.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_THIS = "/proc/thread-self/ns/net"

#: The longest that a test waits for the kernel, in seconds: a busy host stops its virtual machines for some of them.
PATIENCE = 20.0


def explain_unavailable() -> str | None:
    """Say why there can be no namespaces here, or give `None`."""
    if sys.platform != "linux":
        return "network namespaces are of Linux"
    if shutil.which("ip") is None:
        return "there is no ip(8) here"
    try:
        Namespace().close()
    except OSError as error:
        return f"no network namespace can be made: {error.strerror}"
    return None


class Namespace:
    """A network namespace with a loopback interface that is up.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        error: list[OSError] = []

        def make() -> None:
            try:
                _demand("unshare", _CLONE_NEWNET)
                self._descriptor = os.open(_THIS, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as problem:
                error.append(problem)

        # A thread of its own leaves this namespace, so that this thread need not come back.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if error:
            raise error[0]
        self.configure("link set lo up")

    @property
    def path(self) -> str:
        """A name of it that ip(8) takes."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it with this thread."""
        home = os.open(_THIS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _demand("setns", self._descriptor, _CLONE_NEWNET)
            try:
                yield
            finally:
                _demand("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)

    def configure(self, *commands: str) -> None:
        """Run commands of ip(8) in it."""
        with self.entered():
            result = subprocess.run(
                ["ip", "-batch", "-"],
                input="\n".join(commands),
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        if result.returncode != 0:
            raise AssertionError(result.stderr)

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Open a socket in it that waits a while, but not for ever."""
        with self.entered():
            opened = socket.socket(family, kind, protocol)
        opened.settimeout(PATIENCE)
        return opened

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Crossing:
    """Three namespaces: `left` and `right` reach `middle`, each by a veth pair, `out` on their side.

    The middle has `left` with 10.9.0.1 and fd09::1, and `right` with 10.9.1.1 and fd09:1::1; the others end with 2.
    """

    def __init__(self) -> None:
        self.left, self.middle, self.right = Namespace(), Namespace(), Namespace()
        for number, (name, far) in enumerate((("left", self.left), ("right", self.right))):
            networks = f"10.9.{number}.", f"fd09:{number}::"
            self.middle.configure(f"link add {name} type veth peer name out netns {far.path}")
            for namespace, interface, last in ((self.middle, name, 1), (far, "out", 2)):
                namespace.configure(
                    f"link set {interface} addrgenmode none",
                    f"addr add {networks[0]}{last}/24 dev {interface}",
                    f"addr add {networks[1]}{last}/64 dev {interface} nodad",
                    f"link set {interface} up",
                )

    def close(self) -> None:
        """Let go of all of it."""
        for namespace in (self.left, self.middle, self.right):
            namespace.close()


def _demand(function: str, *arguments: int) -> None:
    """Call a function of the C library that Python 3.11 does not have."""
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
