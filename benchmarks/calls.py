"""Processor time per call, calls per second, and memory per call, with SIPp at both ends and Sippy's B2BUA beside.

A call is INVITE, 180, 200, ACK, BYE, 200 on both legs. The server has the first processor, SIPp the second. Processor
time is the server's, user and system, from before the first call until everything that the calls left behind is gone,
64*T1 and a little after the last; what the server uses in that time when there are no calls is not counted.

    python -m benchmarks.calls --repeats 3
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Load, Outcome
from benchmarks.processes import Subject, allow_many_sockets, free_port
from benchmarks.subjects import (
    SIPD_WITH_RELAY,
    SIPD_WITHOUT_RELAY,
    SIPPY,
    Kind,
    can_do_without_relay,
    install_sippy,
    scratch,
)
from benchmarks.tables import print_table, spread

HOLD = 1.0
WARM_UP_RATE, WARM_UP_CALLS = 50, 100
SLOWEST_SETUP = 0.2
AFTERMATH = 34.0
IDLE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run against a server that was started for it."""

    outcome: Outcome
    processor_ms: float

    @property
    def is_good(self) -> bool:
        """Whether all calls went through, without the tail waiting."""
        return not self.outcome.failed and self.outcome.setup_time(0.99) <= SLOWEST_SETUP


def pause(duration: float) -> None:
    """Let time pass."""
    threading.Event().wait(duration)


def measure(kind: Kind, rate: float, duration: float, aftermath: float) -> Measurement:
    """Start a server, make calls for that long, and look what they cost."""
    with scratch() as name:
        directory, callee_port = Path(name), free_port()
        load = Load(directory, callee_port)
        try:
            with kind.start(directory, callee_port) as subject:
                load.call(subject.port, rate=WARM_UP_RATE, calls=WARM_UP_CALLS, hold=0.1)
                pause(aftermath)
                idle = _idle_share(subject) if aftermath else 0.0
                before = subject.processor_time()
                outcome = load.call(subject.port, rate=rate, calls=int(rate * duration), hold=HOLD)
                pause(aftermath)
                used = subject.processor_time() - before - idle * aftermath
        finally:
            load.close()
    return Measurement(outcome=outcome, processor_ms=1000 * used / outcome.calls)


def _idle_share(subject: Subject) -> float:
    """Give the share of a processor that the server uses when it has nothing to do."""
    before = subject.processor_time()
    pause(IDLE)
    return (subject.processor_time() - before) / IDLE


def measure_memory(kind: Kind, held: int, rate: float) -> float:
    """Give the octets by which the server grows for each call in progress."""
    with scratch() as name:
        directory, callee_port = Path(name), free_port()
        load = Load(directory, callee_port)
        try:
            with kind.start(directory, callee_port) as subject:
                load.call(subject.port, rate=WARM_UP_RATE, calls=WARM_UP_CALLS, hold=0.1)
                return _growth(subject, load, held, rate) / held
        finally:
            load.close()


def _growth(subject: Subject, load: Load, held: int, rate: float) -> float:
    before = subject.memory_octets()
    hold = held / rate + 4
    caller = load.begin(subject.port, rate=rate, calls=held, hold=hold)
    pause(held / rate + 2)
    grown = subject.memory_octets() - before
    outcome = load.finish(caller, held, hold + held / rate)
    if outcome.failed:
        raise RuntimeError(f"{outcome.failed} of {held} calls failed")
    return grown


def find_capacity(kind: Kind, rates: Sequence[int], duration: float) -> tuple[Measurement | None, list[list[str]]]:
    """Call faster and faster until calls fail or wait. Give the last good run, and a line for each."""
    best, lines = None, []
    for rate in rates:
        measurement = measure(kind, rate, duration, aftermath=1.0)
        outcome = measurement.outcome
        times = [f"{1000 * outcome.setup_time(share):.1f}" for share in (0.5, 0.99)]
        line = [kind.name, str(rate), f"{outcome.rate:.0f}", f"{measurement.processor_ms:.2f}", *times]
        lines.append([*line, str(outcome.failed)])
        print("  " + "  ".join(lines[-1]), file=sys.stderr, flush=True)
        if not measurement.is_good:
            break
        best = measurement
    return best, lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each server at --rate, in turns")
    parser.add_argument("--rate", type=int, default=100, help="calls per second for the processor time per call")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds of calls in each run")
    parser.add_argument("--aftermath", type=float, default=AFTERMATH, help="seconds that still count after a run")
    steps = [100, 200, 300, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000]
    parser.add_argument("--rates", type=int, nargs="*", default=steps, help="calls per second to try")
    parser.add_argument("--held", type=int, default=1000, help="calls at once for the memory per call")
    parser.add_argument("--only", choices=["sipd", "sippy"], help="measure this one alone")
    options = parser.parse_args(arguments)
    if shutil.which("sipp") is None:
        raise SystemExit("sipp is not installed (Debian package sip-tester)")
    allow_many_sockets()
    kinds = _kinds(options.only)

    costs: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    for _ in range(options.repeats):
        for kind in kinds:
            measurement = measure(kind, options.rate, options.duration, options.aftermath)
            costs[kind.name].append(measurement.processor_ms)
            print(f"  {kind.name}: {measurement.processor_ms:.3f} ms", file=sys.stderr, flush=True)
    capacities, lines = {}, []
    for kind in kinds:
        capacities[kind.name], more = find_capacity(kind, options.rates, options.duration)
        lines += more
    memory = {kind.name: measure_memory(kind, options.held, min(100, options.rate)) for kind in kinds}

    names = ["server", "calls/s", "answered/s", "CPU ms per call", "set-up p50 ms", "p99 ms", "failed"]
    print_table("Rising rates: each until calls fail or p99 passes 200 ms", names, lines)
    names = ["server", f"CPU ms per call at {options.rate}/s", "of Sippy's", "calls/s", "set-up p99 ms", "kB per call"]
    reference = statistics.median(costs[SIPPY.name]) if costs.get(SIPPY.name) else None
    rows = []
    for kind in kinds:
        best, cost = capacities[kind.name], costs[kind.name]
        share = f"{statistics.median(cost) / reference:.2f}" if reference and cost else "-"
        speed = f"{best.outcome.rate:.0f}" if best else "-"
        tail = f"{1000 * best.outcome.setup_time(0.99):.1f}" if best else "-"
        rows.append([kind.name, spread(cost), share, speed, tail, f"{memory[kind.name] / 1000:.1f}"])
    print_table("Calls: INVITE to BYE, both legs; minimum / median / maximum", names, rows)


def _kinds(only: str | None) -> list[Kind]:
    kinds = []
    if only != "sippy":
        kinds += [SIPD_WITHOUT_RELAY, SIPD_WITH_RELAY] if can_do_without_relay() else [SIPD_WITH_RELAY]
    if only != "sipd":
        missing = install_sippy()
        if missing:
            print(missing, file=sys.stderr)
        else:
            kinds.append(SIPPY)
    return kinds


if __name__ == "__main__":
    main()
