"""The program that is measured: on a processor of its own, with its processor time and memory read from Linux."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

HOST = "127.0.0.1"
SUBJECT_PROCESSOR = 0
LOAD_PROCESSOR = 1
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_OCTETS = os.sysconf("SC_PAGE_SIZE")
_START_LIMIT = 20.0
_STOP_LIMIT = 5.0


class Subject:
    """A running SIP server.

    Args:
        command: what to run.
        port: where it listens for SIP over UDP.
        directory: where it runs; its output goes to `output` there.
        environment: added to this process's.

    Raises:
        RuntimeError: it ends, or does not answer in time.
    """

    def __init__(
        self, command: Sequence[str], port: int, directory: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.port = port
        self._log = directory / "output"
        self._output = self._log.open("ab")
        self._process = subprocess.Popen(
            ["taskset", "-c", str(SUBJECT_PROCESSOR), *command],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_for_answer()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def processor_time(self) -> float:
        """Give the seconds that it used so far, user and system."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) * _TICK

    def memory_octets(self) -> int:
        """Give the size of its resident set."""
        return int(self._stat()[21]) * _PAGE_OCTETS

    def stop(self) -> None:
        """End it, by force if it must be."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _stat(self) -> list[str]:
        """Give the fields of proc(5) `stat` from the third on: the second may contain blanks."""
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()

    def _wait_for_answer(self) -> None:
        """Ask with OPTIONS until anything comes back."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HOST, 0))
            probe.settimeout(0.2)
            for attempt in range(int(_START_LIMIT / 0.2)):
                if self._process.poll() is not None:
                    raise RuntimeError(f"{self._process.args!r} ended: {self._log.read_text()[-2000:]}")
                probe.sendto(_options(self.port, probe.getsockname()[1], attempt), (HOST, self.port))
                try:
                    probe.recv(65535)
                except TimeoutError:
                    continue
                except ConnectionRefusedError:
                    continue
                return
        raise RuntimeError(f"{self._process.args!r} does not answer")


def _options(port: int, own_port: int, number: int) -> bytes:
    return (
        f"OPTIONS sip:{HOST}:{port} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {HOST}:{own_port};branch=z9hG4bKprobe{number};rport\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <sip:probe@{HOST}>;tag=probe\r\n"
        f"To: <sip:{HOST}>\r\n"
        f"Call-ID: probe-{number}\r\n"
        "CSeq: 1 OPTIONS\r\n"
        f"Contact: <sip:probe@{HOST}:{own_port}>\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def free_port(number: int = 1) -> int:
    """Give the first of so many UDP ports in a row that are free at the moment."""
    while True:
        with ExitStack() as probes:
            first = _bind(probes, 0)
            try:
                for port in range(first + 1, first + number):
                    _bind(probes, port)
            except OSError:
                continue
            return first


def _bind(probes: ExitStack, port: int) -> int:
    probe = probes.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    probe.bind((HOST, port))
    bound: int = probe.getsockname()[1]
    return bound


def allow_many_sockets() -> None:
    """Raise the limit of open files to what the system allows, for this process and those that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
