"""The relays that are measured: how to start each, how to set calls up on it, and which processes it is made of."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.media_relay import ENGINES, describe
from benchmarks.networks import Network
from benchmarks.phones import Address
from benchmarks.processes import free_port
from sipd.daemon.sections import Media
from sipd.errors import MediaEngineError
from sipd.media.kernel.forwarder import KernelForwarder
from sipd.sdp.description import parse_description

_RTPPROXY_ENVIRONMENT = Path(__file__).with_name(".venv-rtpproxy")
_RTPPROXY_PACKAGE = "rtp.io==1.1.1"
_PORTS = (10000, 31998)
_STOP_LIMIT = 5.0
_ATTEMPTS = 50

#: Of each call: what its caller has, or is to use, and the same of its callee.
Pairs = list[tuple[Address, Address]]


class Relay(ABC):
    """A relay that runs.

    Args:
        network: where it is.
        processor: which it is pinned to, with all processes that it starts.
        directory: its errors go to `output` there.
        command: what to run.
    """

    def __init__(self, network: Network, processor: int, directory: Path, command: Sequence[str]) -> None:
        self._network = network
        self._log = directory / "output"
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(
                network.at_relay(["taskset", "-c", str(processor), *command]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    @abstractmethod
    def set_up(self, phones: Pairs) -> Pairs:
        """Set calls up between phones; give where those are to send to.

        Raises:
            RuntimeError: it failed.
        """

    def processes(self) -> list[int]:
        """Give its process and all that descend from it."""
        parents = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
        found = [self._process.pid]
        for process in found:
            found += [child for child, parent in parents.items() if parent == process]
        return found

    def stop(self) -> None:
        """End it, by force if it must be."""
        descendants = self.processes()[1:]
        self._process.terminate()
        try:
            self._process.communicate(timeout=_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        for process in descendants:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    def _ask(self, line: str) -> str:
        """Write a line to it and read one from it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed() from None
        answer = self._process.stdout.readline()
        if not answer:
            raise self._failed()
        return answer.decode()

    def _failed(self) -> RuntimeError:
        return RuntimeError(f"{self._process.args!r} failed: {self._log.read_text()[-2000:]}")


class SipdRelay(Relay):
    """One of sipd's engines in a process of its own."""

    def __init__(self, network: Network, processor: int, directory: Path, engine: str, pause: float) -> None:
        command = [sys.executable, "-m", "benchmarks.media_relay", engine, network.relay, f"--pause={pause}"]
        super().__init__(network, processor, directory, command)

    def set_up(self, phones: Pairs) -> Pairs:
        """See `Relay`."""
        return [
            ((caller[0], caller[1]), (callee[0], callee[1]))
            for caller, callee in json.loads(self._ask(json.dumps(phones)))
        ]


class Rtpengine(Relay):
    """rtpengine without its kernel module, otherwise with its defaults; it learns where a phone is at once."""

    def __init__(self, network: Network, processor: int, directory: Path) -> None:
        self._control = ("127.0.0.1", free_port())
        command = [
            "rtpengine", "--config-file=none", "--foreground", "--log-stderr", "--log-level=3", "--table=-1",
            f"--interface={network.relay}", "--listen-ng={}:{}".format(*self._control),
            f"--port-min={_PORTS[0]}", f"--port-max={_PORTS[1]}", "--endpoint-learning=immediate",
        ]  # fmt: skip
        super().__init__(network, processor, directory, command)

    def set_up(self, phones: Pairs) -> Pairs:
        """See `Relay`. Speaks rtpengine's ng protocol: a cookie and a bencoded dictionary in a datagram."""
        found: Pairs = []
        with self._network.relay_socket() as control:
            control.connect(self._control)
            control.settimeout(0.2)
            for attempt in range(_ATTEMPTS):
                if self._process.poll() is not None:
                    raise self._failed()
                try:
                    control.send(b"ping%d %s" % (attempt, bencode({"command": "ping"})))
                    if b"pong" in control.recv(65535):
                        break
                except TimeoutError:
                    continue
                except ConnectionRefusedError:
                    time.sleep(0.1)  # noqa: TID251  # there is no reactor here
            else:
                raise self._failed()
            control.settimeout(5.0)
            for index, (caller, callee) in enumerate(phones):
                call = {"call-id": f"call{index}", "from-tag": "caller", "ICE": "remove"}
                places = []
                for command, phone in (("offer", caller), ("answer", callee)):
                    asked = {**call, "command": command, "sdp": describe(*phone)}
                    if command == "answer":
                        asked["to-tag"] = "callee"
                    control.send(b"%s%d %s" % (command.encode(), index, bencode(asked)))
                    description = parse_description(bdecode_text(control.recv(65535), "sdp"))
                    places.append((self._network.relay, description.media[0].port))
                found.append((places[1], places[0]))
        return found


class Rtpproxy(Relay):
    """rtpproxy, without the modules that watch what passes."""

    def __init__(self, network: Network, processor: int, directory: Path) -> None:
        program = str(Path(__file__).with_name("rtpproxy_process.py"))
        low, high = (str(port) for port in _PORTS)
        command = [str(_RTPPROXY_ENVIRONMENT / "bin" / "python"), program, network.relay, low, high]
        super().__init__(network, processor, directory, command)

    def set_up(self, phones: Pairs) -> Pairs:
        """See `Relay`. The port that an update gives is for the callee, that of a look-up for the caller."""
        found: Pairs = []
        for index, (caller, callee) in enumerate(phones):
            for_callee = self._port(f"Uc0 call{index} {caller[0]} {caller[1]} caller")
            for_caller = self._port(f"Lc0 call{index} {callee[0]} {callee[1]} caller callee")
            found.append(((self._network.relay, for_caller), (self._network.relay, for_callee)))
        return found

    def _port(self, command: str) -> int:
        answer = self._ask(command)
        if not answer[:1].isdigit():
            raise RuntimeError(f"rtpproxy: {answer.strip()} to {command}")
        return int(answer.split()[0])


def bencode(value: dict[str, str]) -> bytes:
    """Encode a dictionary of text."""
    return b"d%se" % b"".join(_bencode_text(text) for name in sorted(value) for text in (name, value[name]))


def bdecode_text(reply: bytes, name: str) -> str:
    """Find one text of a bencoded dictionary that has no other dictionaries or lists before it.

    Raises:
        RuntimeError: there is none.
    """
    _, _, rest = reply.partition(b" d")
    previous = b""
    while rest[:1].isdigit():
        size, _, rest = rest.partition(b":")
        text, rest = rest[: int(size)], rest[int(size) :]
        if previous == name.encode():
            return text.decode()
        previous = b"" if previous else text
    raise RuntimeError(f"rtpengine: {reply!r}")


def _bencode_text(text: str) -> bytes:
    octets = text.encode()
    return b"%d:%s" % (len(octets), octets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A relay that can be measured.

    Args:
        name: for the table and the command line.
        start: starts it on a network, on a processor, with a directory; sipd with a pause, or with that of `twistd`.
        missing: says why it cannot be measured here, or gives an empty text.
        calls: the most calls that it is asked to carry.
        forwards_in_kernel: whether it needs next to no processor itself, so that phones may use all of them.
    """

    name: str
    start: Callable[[Network, int, Path, float | None], Relay]
    missing: Callable[[], str]
    calls: int = 1000
    forwards_in_kernel: bool = False


def install_rtpproxy() -> str:
    """Install rtpproxy into an environment of its own, once.

    Returns:
        Why it is not there, or empty.
    """
    python = str(_RTPPROXY_ENVIRONMENT / "bin" / "python")
    if not Path(python).exists() or subprocess.run([python, "-c", "import rtp.io"], capture_output=True).returncode:
        try:
            subprocess.run([sys.executable, "-m", "venv", str(_RTPPROXY_ENVIRONMENT)], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", _RTPPROXY_PACKAGE], check=True)
        except subprocess.CalledProcessError as error:
            return f"{_RTPPROXY_PACKAGE} could not be installed: {error}"
    return ""


def _find_rtpengine() -> str:
    return "" if shutil.which("rtpengine") else "rtpengine is not installed (apt install rtpengine-daemon)"


def _explain_kernel() -> str:
    """Say why the kernel cannot forward here, or give an empty text."""
    try:
        KernelForwarder().close()
    except MediaEngineError as error:
        return str(error)
    return ""


def _sipd(engine: str) -> Kind:
    def start(network: Network, processor: int, directory: Path, pause: float | None) -> Relay:
        return SipdRelay(network, processor, directory, engine, usual if pause is None else pause)

    usual = Media().worker_pause if engine == "worker" else Media().pause

    in_kernel = engine == "kernel"
    return Kind(
        name=engine,
        start=start,
        missing=_explain_kernel if in_kernel else str,
        calls=2000 if in_kernel else 1000,
        forwards_in_kernel=in_kernel,
    )


#: In the order of the table.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *(_sipd(engine) for engine in ENGINES),
        Kind(
            name="rtpengine",
            start=lambda network, processor, directory, _: Rtpengine(network, processor, directory),
            missing=_find_rtpengine,
        ),
        Kind(
            name="rtpproxy",
            start=lambda network, processor, directory, _: Rtpproxy(network, processor, directory),
            missing=install_rtpproxy,
        ),
    )
}
