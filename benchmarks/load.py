"""SIPp at both ends of the program that is measured: calls at a steady rate, whatever becomes of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import HOST, LOAD_PROCESSOR, free_port

_SCENARIOS = Path(__file__).with_name("scenarios")
_DRAIN = 40.0
_MEDIA_PORTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a number of calls.

    Args:
        calls: begun.
        failed: not ended as they should.
        rate: answered per second.
        setup_times: seconds from INVITE to 200, sorted.
    """

    calls: int
    failed: int
    rate: float
    setup_times: Sequence[float]

    def setup_time(self, share: float) -> float:
        """Give the set-up time that this share of the calls did not exceed."""
        if not self.setup_times:
            return float("inf")
        return self.setup_times[min(len(self.setup_times) - 1, int(share * len(self.setup_times)))]


class Load:
    """A callee that waits, and a caller on demand.

    Args:
        directory: for the files of SIPp.
        callee_port: where the callee listens.
    """

    def __init__(self, directory: Path, callee_port: int) -> None:
        self._directory = directory
        self._errors = (directory / "sipp-errors").open("ab")
        for name in ("uac", "uas"):
            shutil.copy(_SCENARIOS / f"{name}.xml", directory)
        self._callee = self._start("uas", "-p", str(callee_port))

    def call(self, port: int, *, rate: float, calls: int, hold: float) -> Outcome:
        """Make `calls` calls, `rate` a second, to the server at `port`; each is held for `hold` seconds."""
        return self.finish(self.begin(port, rate=rate, calls=calls, hold=hold), calls, calls / rate + hold)

    def begin(self, port: int, *, rate: float, calls: int, hold: float) -> subprocess.Popen[bytes]:
        """Begin to do that, and go on."""
        limit = calls / rate + hold + _DRAIN
        numbers = ("-r", str(rate), "-m", str(calls), "-l", str(calls), "-d", str(int(hold * 1000)))
        times = ("-trace_rtt", "-rtt_freq", "1", "-trace_stat", "-stf", "uac.stat", "-fd", "1")
        limits = ("-timeout", f"{limit:.0f}s", "-timeout_error")
        return self._start("uac", *numbers, *times, *limits, "-p", str(free_port()), f"{HOST}:{port}")

    def finish(self, caller: subprocess.Popen[bytes], calls: int, duration: float) -> Outcome:
        """Wait for the end of what `begin` began."""
        caller.wait(duration + 2 * _DRAIN)
        if self._callee.poll() is not None:
            raise RuntimeError(f"the callee ended with {self._callee.returncode}")
        times_file = self._directory / f"uac_{caller.pid}_rtt.csv"
        if not times_file.exists():
            raise RuntimeError(f"SIPp made no calls: {(self._directory / 'sipp-errors').read_text()[-2000:]}")
        rows = [line.split(";") for line in times_file.read_text().splitlines()[1:]]
        dates = sorted(float(row[0]) / 1000 for row in rows)
        rate = (len(dates) - 1) / max(dates[-1] - dates[0], 1e-3) if len(dates) > 1 else 0.0
        return Outcome(
            calls=calls,
            failed=calls - self._successful(),
            rate=rate,
            setup_times=sorted(float(row[1]) / 1000 for row in rows),
        )

    def close(self) -> None:
        """End the callee."""
        self._callee.kill()
        self._callee.wait()
        self._errors.close()

    def _successful(self) -> int:
        names, *_, last = (line.split(";") for line in (self._directory / "uac.stat").read_text().splitlines())
        return int(last[names.index("SuccessfulCall(C)")])

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        common = ("-sf", f"{name}.xml", "-i", HOST, "-mi", HOST, "-mp", str(free_port(_MEDIA_PORTS)), "-nostdin")
        sockets = ("-buff_size", "4000000")
        return subprocess.Popen(
            ["taskset", "-c", str(LOAD_PROCESSOR), "sipp", *common, *sockets, *arguments],
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
