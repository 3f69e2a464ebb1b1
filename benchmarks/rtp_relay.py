"""Processor time per relayed RTP packet of the relay in the reactor.

The relay runs in this process. Another process plays the phones: two for each call, each of which sends a packet of 172
octets every 20 ms to the relay; the packets are spread evenly over the 20 ms. With two processors each process has one
of its own. Processor time includes what the kernel does on behalf of this process, which is most of it.

    python -m benchmarks.rtp_relay --calls 50 200 400 --repeats 3
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import resource
import select
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from twisted.internet.epollreactor import EPollReactor

from sipd.media.ports import MediaAddress, PortAllocator
from sipd.media.reactor import ReactorEngine
from sipd.media.relay import MediaRelay
from sipd.media.session import RelaySession
from sipd.sdp.description import SessionDescription, parse_description

HOST = "127.0.0.1"
INTERVAL = 0.02
HEADER = b"\x80\x00" + bytes(10)
PADDING = bytes(152)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run showed: processor time in microseconds, latencies in milliseconds."""

    packets_per_second: float
    processor_time: float
    median_latency: float
    high_latency: float
    lost: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="CPU time per relayed RTP packet")
    parser.add_argument("--calls", type=int, nargs="+", default=[50, 200, 400], help="calls at once, two phones each")
    parser.add_argument("--repeats", type=int, default=3, help="runs for each number of calls")
    parser.add_argument("--duration", type=float, default=3.0, help="seconds that are measured in each run")
    parser.add_argument("--pause", type=float, default=0.002, help="seconds for which the relay gathers packets")
    options = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print("RTP relay in the reactor, 172 octets every 20 ms each way; CPU us per packet is min / median / max of runs")
    print(f"{'calls':>6} {'packets/s':>10} {'CPU us per packet':>22} {'latency ms p50':>15} {'p99':>6} {'lost %':>7}")
    for calls in options.calls:
        outcomes = [measure(calls, options.duration, options.pause) for _ in range(options.repeats)]
        times = [outcome.processor_time for outcome in outcomes]
        spread = f"{min(times):.1f} / {statistics.median(times):.1f} / {max(times):.1f}"
        print(
            f"{calls:>6} {statistics.median(o.packets_per_second for o in outcomes):>10.0f} {spread:>22} "
            f"{statistics.median(o.median_latency for o in outcomes):>15.2f} "
            f"{statistics.median(o.high_latency for o in outcomes):>6.1f} "
            f"{100 * max(o.lost for o in outcomes):>7.2f}",
            flush=True,
        )


def measure(calls: int, duration: float, pause: float) -> Outcome:
    """Relay that many calls for that many seconds, after a second for warming up."""
    ours, theirs = multiprocessing.Pipe()
    processors = sorted(os.sched_getaffinity(0))
    phones = multiprocessing.get_context("fork").Process(target=play_phones, args=(theirs, calls, duration, processors))
    phones.start()
    os.sched_setaffinity(0, processors[:1])
    reactor = EPollReactor()
    relay = MediaRelay(
        engine=ReactorEngine(reactor, pause=pause),
        addresses=[MediaAddress(host=HOST, advertised_host=HOST)],
        ports=PortAllocator(clock=reactor, low=20000, high=29999),
        latch_window=0.5,
    )
    try:
        sessions = [relay.open_session(str(index), lambda kind, text: None) for index in range(calls)]
        ours.send([connect(session, *ports) for session, ports in zip(sessions, ours.recv(), strict=True)])
        gc.collect()
        gc.freeze()
        marks: list[tuple[float, float, int]] = []

        def mark() -> None:
            packets = sum(entry.packets for session in sessions for entry in session.statistics())
            marks.append((time.monotonic(), time.process_time(), packets))

        reactor.callLater(1.0, mark)
        reactor.callLater(1.0 + duration, mark)
        reactor.callLater(2.5 + duration, reactor.stop)
        reactor.run(installSignalHandlers=False)
        sent, received, latencies = ours.recv()
    finally:
        relay.close()
        phones.join()
        gc.unfreeze()
        os.sched_setaffinity(0, processors)
    (began, used_before, packets_before), (ended, used_after, packets_after) = marks
    packets = packets_after - packets_before
    quantiles = statistics.quantiles(latencies, n=100)
    return Outcome(
        packets_per_second=packets / (ended - began),
        processor_time=(used_after - used_before) / packets * 1e6,
        median_latency=quantiles[49],
        high_latency=quantiles[98],
        lost=1 - received / sent,
    )


def connect(session: RelaySession, caller: int, callee: int) -> tuple[int, int]:
    """Set a call up between two phones, given their ports; give the ports of the relay that they send to."""
    results: list[SessionDescription] = []
    session.offer("a", "b", describe(caller)).addCallback(results.append)
    session.answer("b", "a", describe(callee)).addCallback(results.append)
    offered, answered = results
    return answered.media[0].port, offered.media[0].port


def describe(port: int) -> SessionDescription:
    """Describe the audio of a phone."""
    return parse_description(
        f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0"
    )


def play_phones(parent: Connection, calls: int, duration: float, processors: list[int]) -> None:
    """Send and receive as all the phones; tell how many packets went and came, and latencies without the first quarter.

    With a processor of its own this never sleeps: to wake it up would cost the relay time that a network does not.
    """
    shares = len(processors) == 1
    os.sched_setaffinity(0, processors[-1:])
    phones = []
    for _ in range(2 * calls):
        phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        phone.bind((HOST, 0))
        phone.setblocking(False)
        phones.append(phone)
    ports = [phone.getsockname()[1] for phone in phones]
    parent.send(list(zip(ports[::2], ports[1::2], strict=True)))
    for phone, port in zip(phones, (port for pair in parent.recv() for port in pair), strict=True):
        phone.connect((HOST, port))
    latencies = []
    by_descriptor = {phone.fileno(): phone for phone in phones}
    readable = select.epoll()
    for descriptor in by_descriptor:
        readable.register(descriptor, select.EPOLLIN)

    def receive(patience: float) -> None:
        for descriptor, _ in readable.poll(patience, 64):
            packet = by_descriptor[descriptor].recv(2048)
            latencies.append((time.monotonic_ns() - int.from_bytes(packet[12:20], "big")) / 1e6)

    began = time.monotonic()
    rounds = int((duration + 1.5) / INTERVAL)
    for turn in range(rounds):
        for place, phone in enumerate(phones):
            due = began + (turn + place / len(phones)) * INTERVAL
            while (wait := due - time.monotonic()) > 0:
                receive(wait if shares and wait > 0.001 else 0)
            phone.send(HEADER + time.monotonic_ns().to_bytes(8, "big") + PADDING)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        receive(0.01)
    parent.send((rounds * len(phones), len(latencies), latencies[len(latencies) // 4 :]))


if __name__ == "__main__":
    main()
