"""How long the reactor stalls while bindings are refreshed: location service, store, SQLite file.

Run from the checkout: `python -m benchmarks.registrar [--rate 2000] [--seconds 10]`.

A probe asks to be called every millisecond; how much later than that it is called is a stall. The refreshes come in
ticks of five milliseconds, as a reactor that drains its socket would see them: each REGISTER is parsed from octets,
applied, and answered. The probe runs three times: without refreshes (what the machine itself does), with them, and
with the garbage collector frozen and its thresholds raised, as the daemon does after its start.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path
from time import perf_counter, process_time, time
from typing import cast

from twisted.internet import reactor as installed_reactor  # noqa: TID251 (a benchmark is a program)
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react

from sipd import garbage
from sipd.registrar.bindings import RegistrarSettings, print_contact, read_registration
from sipd.registrar.location import LocationService
from sipd.registrar.store import DatabaseStore, DatabaseThread
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request
from sipd.sip.parser import parse_datagram
from sipd.sip.uri import SipUri
from sipd.transport.sockets import MAX_DATAGRAMS_PER_TURN

USERS = 20_000
TICK = 0.005
TARGET = 0.020
SETTINGS = RegistrarSettings()


class Probe:
    """Measures by how much a call every millisecond is late."""

    def __init__(self, reactor: ReactorBase) -> None:
        self.stalls: list[float] = []
        self._reactor = reactor
        self._expected = 0.0
        self._running = True
        self._again()

    def stop(self) -> list[float]:
        """Give the stalls in seconds, sorted."""
        self._running = False
        return sorted(self.stalls)

    def _again(self) -> None:
        now = perf_counter()
        if self._expected:
            self.stalls.append(max(0.0, now - self._expected))
        if self._running:
            self._expected = now + 0.001
            self._reactor.callLater(0.001, self._again)


class Load:
    """Refreshes bindings at a rate, one user after another, round and round.

    Args:
        location: where.
        count: how many refreshes were done before.
        rate: refreshes a second.
    """

    def __init__(self, location: LocationService, count: int, rate: int) -> None:
        self._location = location
        self._first = self.count = count
        self._rate = rate
        self._begin = perf_counter()
        self._call = LoopingCall(self._tick)
        self._ended = self._call.start(TICK)

    async def stop(self) -> None:
        """End; raises what went wrong."""
        if self._call.running:
            self._call.stop()
        await self._ended

    def _tick(self) -> None:
        due = self._first + int((perf_counter() - self._begin) * self._rate)
        # As many as the socket would give before others have their turn; what is due besides waits in it.
        for _ in range(min(due - self.count, MAX_DATAGRAMS_PER_TURN)):
            refresh(self._location, self.count % USERS, self.count // USERS)
            self.count += 1


def refresh(location: LocationService, user: int, cseq: int) -> bytes:
    """Do what the registrar does with one REGISTER after authentication."""
    host = f"10.{user >> 16}.{user >> 8 & 255}.{user & 255}"
    octets = (
        "REGISTER sip:example.com SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{user}.{cseq};rport\r\n"
        f"From: <sip:user{user}@example.com>;tag=1\r\n"
        f"To: <sip:user{user}@example.com>\r\n"
        f"Call-ID: {user}\r\n"
        f"CSeq: {cseq} REGISTER\r\n"
        f"Contact: <sip:user{user}@{host}:5060>\r\n"
        "User-Agent: benchmark\r\nMax-Forwards: 70\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    request = cast(Request, parse_datagram(octets))
    registration = read_registration(
        request,
        aor=cast(SipUri, request.to.uri).address_of_record(),
        settings=SETTINGS,
        source=Target(transport=Transport.UDP, host=host, port=5060),
        point="udp",
    )
    bindings = location.register(registration, max_contacts=SETTINGS.max_contacts)
    now = time()
    headers = [("Contact", print_contact(binding, now)) for binding in bindings]
    return request.response(200, to_tag="t", headers=headers).to_bytes()


def report(name: str, stalls: list[float], done: int, seconds: float, cpu: float) -> None:
    """Print one line."""
    median, p99, worst = (1000 * stalls[int(part * (len(stalls) - 1))] for part in (0.5, 0.99, 1.0))
    verdict = "ok" if worst <= 1000 * TARGET else "ABOVE TARGET"
    each = f"{1e6 * cpu / done:7.1f}" if done else "      -"
    print(f"{name:32} {done / seconds:8.0f} {median:8.2f} {p99:8.2f} {worst:8.2f}   {each}   {verdict}")


async def run(reactor: ReactorBase, rate: int, seconds: float) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{Path(directory) / 'registrar.sqlite'}"
        location = LocationService(
            clock=reactor, store=DatabaseStore(url, clock=reactor, worker=DatabaseThread(reactor))
        )
        await location.start()
        print(f"{rate} refreshes a second for {seconds:g} s, {USERS} users; stalls in ms, target {1000 * TARGET:g}")
        print(f"{'':32} {'done/s':>8} {'median':>8} {'p99':>8} {'max':>8}   CPU us each")
        await measure(reactor, "idle", location, 0, 0, min(seconds, 3.0))
        for user in range(USERS):
            refresh(location, user, 0)
            if not user % 100:
                await deferLater(reactor, 0.0)
        await deferLater(reactor, 1.0)
        count = await measure(reactor, "refreshes", location, USERS, rate, seconds)
        garbage.settle()
        await measure(reactor, "refreshes, gc frozen and tuned", location, count, rate, seconds)
        begin = perf_counter()
        await location.stop()
        print(f"stop: {1000 * (perf_counter() - begin):.0f} ms until all was written")
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most")


async def measure(
    reactor: ReactorBase, name: str, location: LocationService, count: int, rate: int, seconds: float
) -> int:
    """Run probe and load for a while, and report; gives the new count of refreshes."""
    load = Load(location, count, rate)
    probe = Probe(reactor)
    cpu = process_time()
    await deferLater(reactor, seconds)
    await load.stop()
    report(name, probe.stop(), load.count - count, seconds, process_time() - cpu)
    await deferLater(reactor, 0.1)
    return load.count


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Reactor stalls while bindings are refreshed.")
    parser.add_argument("--rate", type=int, default=2000, help="refreshes a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each run")
    arguments = parser.parse_args()

    def begin(reactor: ReactorBase) -> Deferred[None]:
        return Deferred.fromCoroutine(run(reactor, arguments.rate, arguments.seconds))

    react(begin, (), installed_reactor)


if __name__ == "__main__":
    main()
