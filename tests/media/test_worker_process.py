"""Workers as processes, with real sockets."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from typing import Any, cast

from twisted.internet import reactor as global_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sipd.media.engine import EngineSettings
from sipd.media.kernel.forwarder import explain_unavailable
from sipd.media.ports import PortAllocator
from sipd.media.reactor import ReactorEngine
from sipd.media.relay import MediaRelay
from sipd.media.worker import engine as worker_engine
from sipd.media.worker.pool import WorkerPool
from tests.media.support import HIGH, IP4, LOW, describe, place_of

reactor = cast(Any, global_reactor)

_PATIENCE = 30.0


def phone() -> socket.socket:
    """Make the media socket of a phone; it waits in threads only."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(_PATIENCE)
    return made


def receive(one: socket.socket) -> Deferred[bytes]:
    """Wait for a datagram."""
    return deferToThread(one.recv, 2048)


def is_running(pid: int) -> bool:
    """Say whether there is a process that is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return False
        raise


class PoolCase(TestCase):
    """A relay with workers."""

    timeout = 120
    kernel: tuple[str, ...] = ()

    def setUp(self) -> None:
        # A worker on a machine with other work is not one that hangs.
        self.patch(worker_engine, "PATIENCE", _PATIENCE)
        self.ports = PortAllocator(clock=reactor, low=LOW, high=HIGH)
        self.relay = MediaRelay(engine=ReactorEngine(reactor), addresses=[IP4], ports=self.ports, latch_window=0.2)
        self.pool = WorkerPool(
            reactor,
            count=2,
            pause=0.0,
            orphan_timeout=60.0,
            directory=None,
            lost=self.relay.engine_lost,
            settings=EngineSettings(flood_limit=100),
            kernel=self.kernel,
        )
        self.pool.start()
        self.events: list[str] = []
        self.relay.choose = self.pool.choose
        self.alice, self.bob = phone(), phone()
        self.addCleanup(self.alice.close)
        self.addCleanup(self.bob.close)

    async def tearDown(self) -> None:  # type: ignore[override]
        """Check that the workers end by themselves."""
        pids = self.pool.pids
        self.relay.close()
        self.pool.close()
        await self.until(lambda: not any(is_running(pid) for pid in pids))
        self.assertEqual(len(self.ports), 0)

    async def until(self, is_so: Any) -> None:
        """Wait until something is so."""
        for _ in range(int(_PATIENCE / 0.02)):
            if is_so():
                return
            await deferLater(reactor, 0.02)
        self.fail("it did not become so")

    async def call(self) -> Any:
        """Set a call up; `to_alice` and `to_bob` are where the other one sends."""
        session = self.relay.open_session("call", lambda kind, text: self.events.append(kind))
        offered = await session.offer("a", "b1", describe(("audio", self.alice.getsockname()[1])))
        answered = await session.answer("b1", "a", describe(("audio", self.bob.getsockname()[1])))
        self.to_alice, self.to_bob = place_of(offered), place_of(answered)
        await session.engine.settle()
        return session

    async def check_flows(self) -> None:
        """Send a datagram each way."""
        self.alice.sendto(b"there", self.to_bob)
        self.assertEqual(await receive(self.bob), b"there")
        self.bob.sendto(b"back", self.to_alice)
        self.assertEqual(await receive(self.alice), b"back")


class PoolTests(PoolCase):
    """Workers that relay by themselves."""

    async def test_call(self) -> None:
        """A worker relays, and the counters come with the end."""
        session = await self.call()
        self.assertEqual(session.engine.name, "worker")
        for _ in range(5):
            await self.check_flows()
        counted = await session.close()
        self.assertEqual(
            [(entry.leg, entry.packets, entry.engine) for entry in counted], [("a", 5, "worker"), ("b1", 5, "worker")]
        )
        self.assertEqual(len(self.ports), 0)

    async def test_settings(self) -> None:
        """A worker has the bounds that it is given, and tells what happens."""
        await self.call()
        for _ in range(200):
            self.alice.sendto(b"flood", self.to_bob)
        await self.until(lambda: "flood" in self.events)

    async def test_worker_that_is_killed(self) -> None:
        """The call goes on in this process, what waited in the sockets included; new calls get a new worker."""
        session = await self.call()
        await self.check_flows()
        before = self.pool.pids
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        for number in range(20):
            self.alice.sendto(b"%d" % number, self.to_bob)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        for number in range(20):
            self.assertEqual(await receive(self.bob), b"%d" % number)
        self.assertEqual(session.engine.name, "reactor")
        await self.check_flows()
        await self.until(lambda: len(self.pool) == 2)
        self.assertFalse(set(before) & set(self.pool.pids))
        other = await self.call()
        self.assertEqual(other.engine.name, "worker")
        await self.check_flows()

    async def test_worker_that_hangs(self) -> None:
        """It is killed, and its calls go on in this process; new calls get a new worker."""
        session = await self.call()
        self.patch(worker_engine, "PATIENCE", 0.3)
        before = self.pool.pids
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        await session.refresh()
        self.assertEqual(session.engine.name, "reactor")
        await self.check_flows()
        await self.until(lambda: [is_running(pid) for pid in before].count(False) == 1)
        self.patch(worker_engine, "PATIENCE", _PATIENCE)
        for pid in filter(is_running, before):
            os.kill(pid, signal.SIGCONT)
        await self.until(lambda: len(self.pool) == 2)
        await session.close()

    async def test_two_hundred_calls(self) -> None:
        """After 200 calls nothing is left in the workers, nor here."""
        for _ in range(4):
            sessions = [await self.call() for _ in range(50)]
            for session in sessions:
                await session.close()
        self.assertEqual((len(self.relay), len(self.ports)), (0, 0))
        for pid in self.pool.pids:
            links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
            self.assertLess(len([link for link in links if link.startswith("socket:")]), 4)

    async def test_interrupt(self) -> None:
        """SIGTERM and SIGINT that are meant for sipd do not end a worker that it still needs."""
        await self.call()
        await self.until(lambda: all(os.getpgid(pid) != os.getpgrp() for pid in self.pool.pids))
        for pid in self.pool.pids:
            os.kill(pid, signal.SIGTERM)
        await self.check_flows()
        self.assertTrue(all(is_running(pid) for pid in self.pool.pids))


class KernelTests(PoolCase):
    """Workers with the kernel below their sockets."""

    skip = explain_unavailable()
    kernel = (IP4.host,)

    async def test_kernel_forwards(self) -> None:
        """When its sources are settled a stream of RTP passes a worker by that does not run, and its end is told."""
        session = await self.call()
        sent = 0
        while any(entry.engine != "kernel" for entry in session.statistics()):
            await self.talk(sent)
            sent += 1
            await deferLater(reactor, 0.02)
        for pid in self.pool.pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            await self.talk(sent)
        finally:
            for pid in self.pool.pids:
                os.kill(pid, signal.SIGCONT)
        counted = await session.close()
        self.assertEqual(
            [(entry.packets, entry.lost, entry.engine) for entry in counted], [(sent + 1, 0, "kernel")] * 2
        )

    async def talk(self, sequence: int) -> None:
        """Send a packet of RTP each way."""
        packet = struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, 7) + bytes(160)
        self.alice.sendto(packet, self.to_bob)
        self.assertEqual(await receive(self.bob), packet)
        self.bob.sendto(packet, self.to_alice)
        self.assertEqual(await receive(self.alice), packet)


class OrphanTests(TestCase):
    """A worker whose sipd is killed."""

    timeout = 120

    async def test_calls_keep_their_audio(self) -> None:
        """After kill -9 of the signalling both sides hear each other; when its time is up the worker ends."""
        alice, bob = phone(), phone()
        self.addCleanup(alice.close)
        self.addCleanup(bob.close)
        command = [sys.executable, "-m", "tests.media.orphan", *(str(one.getsockname()[1]) for one in (alice, bob))]
        signalling = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.addCleanup(signalling.wait)
        self.addCleanup(signalling.kill)
        assert signalling.stdout is not None
        self.addCleanup(signalling.stdout.close)
        told = json.loads(await deferToThread(signalling.stdout.readline))
        for number in range(20):
            if number == 10:
                signalling.kill()
                await deferToThread(signalling.wait)
            alice.sendto(b"%d" % number, ("127.0.0.1", told["to_bob"]))
            self.assertEqual(await receive(bob), b"%d" % number)
            bob.sendto(b"%d" % number, ("127.0.0.1", told["to_alice"]))
            self.assertEqual(await receive(alice), b"%d" % number)
        self.assertTrue(is_running(told["worker"]))
        for _ in range(1500):
            if not is_running(told["worker"]):
                return
            await deferLater(reactor, 0.02)
        self.fail("the orphan lives on")
