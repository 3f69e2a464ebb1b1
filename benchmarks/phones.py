"""The phones of many calls, played by the program in `phones.c`, which is compiled when it is first needed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.networks import Network

Address = tuple[str, int]

_SOURCE = Path(__file__).with_suffix(".c")
_BUILD = Path(__file__).with_name(".build")
#: Seconds from the order to play to the first packet, and after the last one for those that are under way.
_LEAD = 0.1
_AFTERMATH = 0.4
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What the phones saw.

    Args:
        seconds: how long the window was.
        sent: packets that were sent within it.
        received: those of them that came.
        relayed: packets that came within the window, whenever they were sent.
        disordered: packets that came after a later one, or twice.
        misdirected: packets that came to the wrong phone.
        latencies: microseconds from phone to phone.
        delays: microseconds by which packets were sent late.
        jitter: RFC 3550's, in microseconds, the average of all streams.
        worked: seconds that sending and receiving took.
        own: processor time of the phones, in seconds; they wait by looking.
        busy: seconds that the machine's processors together were not idle.
        watched: processor time of the processes that were watched, in seconds.
    """

    seconds: float
    sent: int
    received: int
    relayed: int
    disordered: int
    misdirected: int
    latencies: Counter[int]
    delays: Counter[int]
    jitter: float
    worked: float
    own: float
    busy: float
    watched: float


class Phones:
    """All phones of so many calls; they have ports from the beginning.

    Args:
        network: where they are.
        calls: how many.
        processors: on each a process plays a share of the calls.

    Raises:
        RuntimeError: the program cannot be compiled, or fails.
    """

    def __init__(self, network: Network, calls: int, processors: Sequence[int]) -> None:
        program = str(compile_phones())
        #: The addresses of both phones of each call: the caller's, the callee's.
        self.addresses: list[tuple[Address, Address]] = []
        self._players: list[tuple[subprocess.Popen[str], int]] = []
        share, rest = divmod(calls, len(processors))
        try:
            for index, processor in enumerate(processors):
                number = share + (index < rest)
                player = subprocess.Popen(
                    network.at_phones(["taskset", "-c", str(processor), program]),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                self._players.append((player, number))
                _tell(player, f"phone {network.callers} 0\nphone {network.callees} 0\n" * number + "bound\n")
                ports = _hear(player)["ports"]
                self.addresses += [
                    ((network.callers, caller), (network.callees, callee))
                    for caller, callee in zip(ports[::2], ports[1::2], strict=True)
                ]
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Phones:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def play(
        self,
        targets: Sequence[tuple[Address, Address]],
        watched: Sequence[int],
        ramp: float,
        warm_up: float,
        window: float,
    ) -> Played:
        """Talk on all calls, once.

        Args:
            targets: for each call where its caller and where its callee send to.
            watched: processes whose processor time is wanted.
            ramp: seconds in which the calls begin, one after the other.
            warm_up: seconds between that and the window.
            window: seconds that count.

        Raises:
            RuntimeError: a program failed, or a watched process ended.
        """
        remaining = list(targets)
        at = time.monotonic() + _LEAD + 0.0001 * len(targets)
        for player, number in self._players:
            lines = [f"to {host} {port}\n" for call in remaining[:number] for host, port in call]
            del remaining[:number]
            if player is self._players[0][0]:
                lines += [f"watch {process}\n" for process in watched]
            _tell(player, "".join(lines) + f"run {at:.6f} {ramp} {warm_up} {window} {_AFTERMATH}\n")
        return _merge([_hear(player) for player, _ in self._players])

    def stop(self) -> None:
        """End the programs."""
        for player, _ in self._players:
            player.kill()
            player.communicate()


def compile_phones() -> Path:
    """Compile the program unless that has been done; give where it is.

    Raises:
        RuntimeError: there is no compiler, or it fails.
    """
    program = _BUILD / f"phones-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise RuntimeError("the phones need a C compiler: apt install gcc libc6-dev")
        _BUILD.mkdir(exist_ok=True)
        partial = program.with_suffix(".part")
        command = [compiler, "-O2", "-Wall", "-o", str(partial), str(_SOURCE), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")
        partial.rename(program)
    return program


def quantile(histogram: Counter[int], part: float) -> float:
    """Give the value that so great a part of all values does not exceed; NaN for none."""
    remaining = part * histogram.total()
    for value in sorted(histogram):
        remaining -= histogram[value]
        if remaining <= 0:
            return value
    return float("nan")


def _merge(results: Sequence[dict]) -> Played:  # type: ignore[type-arg]
    first = results[0]
    if None in first["watched"]:
        raise RuntimeError("what is measured has ended meanwhile")

    def total(name: str) -> float:
        return sum(float(result[name]) for result in results)

    def histogram(name: str) -> Counter[int]:
        merged: Counter[int] = Counter()
        for result in results:
            merged.update({int(value): int(number) for value, number in result[name]})
        return merged

    return Played(
        seconds=first["seconds"],
        sent=int(total("sent")),
        received=int(total("received")),
        relayed=int(total("relayed")),
        disordered=int(total("disordered")),
        misdirected=int(total("misdirected")),
        latencies=histogram("latencies"),
        delays=histogram("delays"),
        jitter=total("jitter_us") / len(results),
        worked=total("worked"),
        own=total("own"),
        busy=first["busy"],
        watched=sum(first["watched"]),
    )


def _tell(player: subprocess.Popen[str], lines: str) -> None:
    assert player.stdin is not None
    player.stdin.write(lines)
    player.stdin.flush()


def _hear(player: subprocess.Popen[str]) -> dict:  # type: ignore[type-arg]
    assert player.stdout is not None
    line = player.stdout.readline()
    if not line:
        raise RuntimeError(f"the phones ended with status {player.wait(_PATIENCE)}")
    heard: dict = json.loads(line)  # type: ignore[type-arg]
    return heard
