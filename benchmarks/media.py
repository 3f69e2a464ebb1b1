"""Media relays side by side: sipd's engines, rtpengine in user space, and rtpproxy, under the same load in turns.

Each phone of each call sends a packet of 172 octets every 20 ms, all phones together at even distances. The relay has a
processor of its own, the phones have the others. A line of the table is several runs of one relay with so many calls,
each against a relay started for it; figures with three values are minimum / median / maximum, others are medians, and
loss is the most of all runs.

* us of the relay: processor time, user and system, of all processes of the relay, per packet that it relayed.
* us of the machine: processor time of the whole machine per packet, without what the phones need themselves. Taken off
  are the machine's load before the relay was started, the time in which the phones wait by looking, and what sending
  and receiving costs them in the line "none", where they send to each other. What the relay causes in them stays in:
  a packet that the kernel forwards is forwarded on the sender's time.
* latency: from the sending phone to the receiving one. The line "none" says how much of that is not the relay's.
* jitter: RFC 3550's, the average of all streams at the end of the measured time.

    python -m benchmarks.media
    python -m benchmarks.media --topology veth --subjects kernel rtpengine --calls 500 1000 2000
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.media_subjects import KINDS, Kind
from benchmarks.networks import TOPOLOGIES, Network
from benchmarks.phones import Phones, Played, compile_phones, quantile
from benchmarks.processes import allow_many_sockets
from benchmarks.tables import print_table, spread

#: What the others are compared with.
_REFERENCE = "rtpengine"
_NONE = "none"
_COLUMNS = (
    "calls", "relay", "packets/s", "us of the relay", f"of {_REFERENCE}'s", "us of the machine", f"of {_REFERENCE}'s",
    "latency ms p50", "p99", "p99.9", "jitter ms", "lost %",
)  # fmt: skip
#: Calls that one process of phones can play.
_CALLS_PER_PLAYER = 1000
#: Seconds in which the load of the machine is looked at before a relay is started.
_BACKGROUND = 1.0
#: Milliseconds: if the phones send later than that, they, or the machine, had too much to do.
_LATE = 1.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run showed.

    Args:
        played: what the phones saw.
        background: seconds of processor time that the machine used each second without relay and phones.
    """

    played: Played
    background: float

    @property
    def of_relay(self) -> float:
        """Microseconds of the relay's processor time per packet."""
        return self.played.watched / self._relayed * 1e6

    @property
    def of_phones(self) -> float:
        """Microseconds that the phones worked per packet."""
        return self.played.worked / self._relayed * 1e6

    def of_machine(self, of_phones: float) -> float:
        """Give microseconds of the machine's processor time per packet, the phones' own work taken off."""
        played = self.played
        used = played.busy - self.background * played.seconds - played.own + played.worked
        return used / self._relayed * 1e6 - of_phones

    @property
    def _relayed(self) -> float:
        """The packets that came within the window; NaN if none did, and so is what is divided by them."""
        return self.played.relayed or math.nan

    @property
    def lost(self) -> float:
        """The part of the packets that did not come."""
        return 1 - self.played.received / self.played.sent

    def latency(self, part: float) -> float:
        """Give the latency that so great a part of the packets did not exceed, in milliseconds."""
        return quantile(self.played.latencies, part) / 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", nargs="+", default=list(KINDS), choices=KINDS, help="default: all that are here")
    parser.add_argument("--calls", type=int, nargs="+", default=[100, 250, 500, 1000, 2000], help="two phones each")
    parser.add_argument("--all-calls", action="store_true", help="also numbers of calls that a relay is not asked for")
    parser.add_argument("--topology", choices=TOPOLOGIES, default="loopback", help="veth: in network namespaces")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each relay for each number of calls")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds that are measured in each run")
    parser.add_argument("--rate", type=float, default=250.0, help="calls that begin each second, before the warm-up")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before that; latching takes 0.5")
    parser.add_argument("--pause", type=float, help="seconds for which sipd gathers packets; default: as twistd")
    parser.add_argument("--quick", action="store_true", help="one short run each, to see that it works")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.duration, options.warm_up, options.calls = 1, 1.0, 1.0, options.calls[:1]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    allow_many_sockets()
    try:
        compile_phones()
        kinds = _present([KINDS[name] for name in options.subjects])
        with TOPOLOGIES[options.topology]() as network:
            results = _measure_all(network, kinds, options)
    except RuntimeError as error:
        raise SystemExit(str(error)) from None
    _report(results, options)


def _present(kinds: Sequence[Kind]) -> list[Kind]:
    """Leave out what is not on this machine, and say so."""
    found = []
    for kind in kinds:
        if reason := kind.missing():
            print(f"{kind.name} is not measured: {reason}", file=sys.stderr)
        else:
            found.append(kind)
    return found


Results = dict[tuple[int, str], list[Outcome]]


def _measure_all(network: Network, kinds: Sequence[Kind], options: argparse.Namespace) -> Results:
    results: Results = {}
    for calls in options.calls:
        asked = [kind for kind in kinds if calls <= kind.calls or options.all_calls]
        for _ in range(options.repeats if asked else 0):
            for kind in (None, *asked):
                name = _NONE if kind is None else kind.name
                outcome = measure(network, kind, calls, options)
                results.setdefault((calls, name), []).append(outcome)
                _note(f"{calls} calls, {name}", outcome)
    return results


def _note(run: str, outcome: Outcome) -> None:
    """Say how far the measurement is, and what may be wrong with this run."""
    played = outcome.played
    late = quantile(played.delays, 0.99) / 1000
    doubts = [
        f"phones late by {late:.1f} ms (p99)" if late > _LATE else "",
        "" if played.relayed else "nothing came",
        f"{played.misdirected} packets to the wrong phone" if played.misdirected else "",
        f"{played.disordered} packets out of order" if played.disordered else "",
    ]
    print(", ".join((run, *filter(None, doubts))), file=sys.stderr, flush=True)


def measure(network: Network, kind: Kind | None, calls: int, options: argparse.Namespace) -> Outcome:
    """Relay that many calls for so long as the options say; without a relay phones send to each other.

    Raises:
        RuntimeError: that failed.
    """
    processors = sorted(os.sched_getaffinity(0))
    players = processors[1:] or processors
    if (kind is None or kind.forwards_in_kernel) and calls > _CALLS_PER_PLAYER * len(players):
        players = processors
    players = players[-max(1, -(-calls // _CALLS_PER_PLAYER)) :]
    background = _busy_share()
    ramp = calls / options.rate
    with tempfile.TemporaryDirectory(prefix="sipd-benchmark-") as directory, Phones(network, calls, players) as phones:
        if kind is None:
            targets = [(callee, caller) for caller, callee in phones.addresses]
            played = phones.play(targets, [], ramp, options.warm_up, options.duration)
            return Outcome(played=played, background=background)
        relay = kind.start(network, processors[0], Path(directory), options.pause)
        try:
            targets = relay.set_up(phones.addresses)
            played = phones.play(targets, relay.processes(), ramp, options.warm_up, options.duration)
        finally:
            relay.stop()
    return Outcome(played=played, background=background)


def _busy_share() -> float:
    """Give how many processors the machine uses at the moment."""
    before, began = _idle_seconds(), time.monotonic()
    time.sleep(_BACKGROUND)  # noqa: TID251  # there is no reactor here
    elapsed = time.monotonic() - began
    return max(0.0, (os.cpu_count() or 1) - (_idle_seconds() - before) / elapsed)


def _idle_seconds() -> float:
    """Give the seconds in which processors were idle, or taken away by the host, together."""
    fields = Path("/proc/stat").read_text().split(maxsplit=9)
    return sum(int(fields[index]) for index in (4, 5, 8)) * _TICK


def _report(results: Results, options: argparse.Namespace) -> None:
    rows = []
    for (calls, name), outcomes in results.items():
        of_phones = statistics.median(outcome.of_phones for outcome in results[calls, _NONE])
        reference = results.get((calls, _REFERENCE), [])
        own = [outcome.of_relay for outcome in outcomes]
        machine = [outcome.of_machine(of_phones) for outcome in outcomes]
        is_relay = name != _NONE
        rows.append(
            [
                str(calls),
                name,
                f"{statistics.median(o.played.relayed / o.played.seconds for o in outcomes):.0f}",
                spread(own) if is_relay else "-",
                _ratio(own, [outcome.of_relay for outcome in reference]) if is_relay else "-",
                spread(machine) if is_relay else "-",
                _ratio(machine, [outcome.of_machine(of_phones) for outcome in reference]) if is_relay else "-",
                *(_latency(outcomes, part) for part in (0.5, 0.99, 0.999)),
                f"{statistics.median(o.played.jitter for o in outcomes) / 1000:.2f}",
                f"{100 * max(outcome.lost for outcome in outcomes):.2f}",
            ]
        )
    print_table(
        f"RTP, 172 octets every 20 ms each way ({options.topology}, {options.repeats} runs of {options.duration:g} s)",
        _COLUMNS,
        rows,
    )


def _latency(outcomes: Sequence[Outcome], part: float) -> str:
    """Give a median in milliseconds; a dash if no packet of the window came in time."""
    found = [outcome.latency(part) for outcome in outcomes if outcome.played.received]
    return f"{statistics.median(found):.2f}" if found else "-"


def _ratio(values: Sequence[float], reference: Sequence[float]) -> str:
    return f"{statistics.median(values) / statistics.median(reference):.2f}" if reference else "-"


if __name__ == "__main__":
    main()
