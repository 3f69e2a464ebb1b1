"""The same call through each engine that relays media, with two baresip phones; and engines that die in mid-call."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from twisted.trial.unittest import SkipTest

from sipd.media.kernel.forwarder import explain_unavailable
from tests.interop.baresip import Phone
from tests.interop.calls import connect
from tests.interop.ears import ADVERTISED
from tests.interop.media import MediaCase, all_of
from tests.ports import HOST

#: Sources settle when it is over, and the kernel takes over.
_LATCH_WINDOW = "latch_window = 1.0"
#: How long they talk before anything changes, in seconds; there is a verdict by then.
_TALK = 8.0
_SHORT_TALK = 5.0
#: Packets that phones send before they hear of the answer, or after one has hung up.
_EDGE = 15
#: After what happens to sipd, what has come before is not listened to.
_SETTLES = 0.3
#: Until a worker takes calls.
_STARTS = 1.5
_PCMU = 0
_RTPENGINE_PORTS = 40


class EngineCase(MediaCase):
    """Alice calls Bob, who hangs up, after a hold; then he calls, and she hangs up."""

    #: What relays when everything is settled.
    engine = "reactor"
    #: Whether that is looked into while it goes on.
    is_judged = True
    media = _LATCH_WINDOW
    #: More sections of the configuration.
    sections = ""

    async def phones(self) -> tuple[Phone, Phone]:
        """Start sipd and both phones."""
        await self.start_server(self.media, sections=self.sections)
        alice, bob = await all_of(self.phone("alice"), self.phone("bob"))
        return alice, bob

    async def two_calls(self) -> None:
        """Let them talk, hold and resume; check what was counted."""
        alice, bob = await self.phones()
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.pause(_TALK)
        await self.hear_without_sipd(alice, bob)
        alice.send("hold")
        await all_of(self.ears.hear_nothing(alice), self.ears.hear_nothing(bob))
        alice.send("resume")
        await self.hear_without_sipd(alice, bob)
        await self.hang_up(bob, alice)
        sent = [self.count_sent(phone) for phone in (alice, bob)]
        await connect(bob, alice, f"sip:alice@{HOST}")
        await self.pause(_SHORT_TALK)
        await self.both_hear(alice, bob)
        await self.hang_up(bob, alice)
        first, second = await self.finish(alice, bob)
        self.assertEqual((first["ended_by"], second["ended_by"]), ("callee", "caller"))
        self.assert_counted(first, *sent)
        total = [self.count_sent(phone) for phone in (bob, alice)]
        self.assert_counted(second, *[now - before for now, before in zip(total, reversed(sent), strict=True)])

    async def hear_without_sipd(self, alice: Phone, bob: Phone) -> None:
        """Check that they hear each other, also while sipd stands still: its own process does not relay."""
        await self.both_hear(alice, bob)
        sipd = self.server.program
        sipd.send_signal(signal.SIGSTOP)
        try:
            await self.pause(_SETTLES)
            await self.both_hear(alice, bob)
        finally:
            sipd.send_signal(signal.SIGCONT)

    def count_sent(self, phone: Phone) -> int:
        """Count the packets of audio that a phone has sent."""
        return sum(datagram[1] & 0x7F == _PCMU for port in phone.media_ports for datagram in self.ears.said[port])

    def assert_counted(self, record: dict[str, Any], *sent: int) -> None:
        """Check what a record says of the audio, with so many packets sent by the caller, and by the callee."""
        self.assertEqual(record["status"], 200)
        self.assertEqual(record["media_verdict"], "ok" if self.is_judged else "", record)
        self.assertEqual([stream["leg"] for stream in record["media"]], ["a", "b1"], record)
        for stream, number in zip(record["media"], sent, strict=True):
            self.assertEqual((stream["engine"].split()[0], stream["media"]), (self.engine, "audio"), record)
            self.assertEqual((stream["lost"], stream["foreign_source"]), (0, ""), record)
            # What came before the engine knew where to is dropped: the more, the busier the machine.
            self.assertLessEqual(abs(number - stream["packets"] - stream["dropped"]), _EDGE, record)


class KernelTests(EngineCase):
    """The kernel, on the loopback interface."""

    engine = "kernel"
    media = f'kernel = "on"\n{_LATCH_WINDOW}'

    async def test_calls(self) -> None:
        """Both calls go through, and everything is counted, whoever has forwarded it."""
        if (reason := explain_unavailable()) is not None:
            raise SkipTest(reason)
        await self.two_calls()


class RtpengineTests(EngineCase):
    """Debian's rtpengine."""

    programs = ("baresip", "rtpengine")
    engine = "rtpengine"
    is_judged = False

    async def phones(self) -> tuple[Phone, Phone]:
        """Start the daemon, with ears in front of it, and then as always."""
        ports = self.ports.take_range(_RTPENGINE_PORTS)
        control = self.ports.take()
        daemon = self.start(
            "rtpengine",
            "--foreground",
            "--log-stderr",
            "--log-level=6",
            "--config-file=none",
            "--table=-1",
            f"--listen-ng={HOST}:{control}",
            f"--interface={HOST}!{ADVERTISED}",
            f"--port-min={ports[0]}",
            f"--port-max={ports[-1]}",
        )
        await daemon.says("Startup complete")
        self.sections = f'[[media.rtpengine]]\naddress = "{HOST}"\nport = {control}\n'
        self.relayed = ports
        alice, bob = await EngineCase.phones(self)
        return alice, bob

    async def test_calls(self) -> None:
        """Both calls go through, and everything is counted."""
        await self.two_calls()


class WorkerTests(EngineCase):
    """A worker."""

    engine = "worker"
    media = f'kernel = "off"\nworkers = 1\norphan_timeout = 2.0\n{_LATCH_WINDOW}'

    async def worker(self) -> int:
        """Give the process number of the worker."""
        match = await self.server.program.says(r"media worker 0 runs as process (\d+)")
        return int(match[1])

    async def test_calls(self) -> None:
        """Both calls go through, and everything is counted."""
        await self.two_calls()

    async def test_dies(self) -> None:
        """A worker that is killed takes no call with it: sipd goes on with it; the next call has the next worker."""
        alice, bob = await self.phones()
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.pause(_SHORT_TALK)
        await self.hear_without_sipd(alice, bob)
        os.kill(await self.worker(), signal.SIGKILL)
        await self.server.program.says("media worker 0 ended")
        await self.both_hear(alice, bob)
        alice.send("hold")
        await all_of(self.ears.hear_nothing(alice), self.ears.hear_nothing(bob))
        alice.send("resume")
        await self.both_hear(alice, bob)
        await self.hang_up(alice, bob)
        await self.server.program.says(r"(?s)(runs as process.*){2}")
        await self.pause(_STARTS)
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.hear_without_sipd(alice, bob)
        await self.hang_up(alice, bob)
        await all_of(alice.stop(), bob.stop())
        first, second = await self.server.finish(expected="media worker 0 ended; the next one begins in 0.5 s")
        self.assertEqual((first["status"], first["media_verdict"]), (200, "ok"), first)
        for record, engine in ((first, "reactor"), (second, "worker")):
            for stream in record["media"]:
                self.assertEqual((stream["engine"], stream["lost"]), (engine, 0), record)
                self.assertGreater(stream["packets"], 0, record)

    async def test_outlives(self) -> None:
        """When sipd is killed the two go on hearing each other; the worker ends when they are quiet."""
        alice, bob = await self.phones()
        worker = await self.worker()
        self.addCleanup(_end, worker)
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.both_hear(alice, bob)
        self.server.program.send_signal("KILL")
        self.assertEqual(await self.server.program.ends(5), -signal.SIGKILL)
        for _ in range(3):
            await self.pause(1)
            await self.both_hear(alice, bob)
        self.assertTrue(_runs(worker))
        await all_of(alice.stop(), bob.stop())
        deadline = self.reactor.seconds() + 10
        while _runs(worker):
            self.assertLess(self.reactor.seconds(), deadline, "the worker does not end")
            await self.pause(0.2)


def _runs(pid: int) -> bool:
    """Say whether there is a process of that number that is more than its exit status."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _end(pid: int) -> None:
    """End a process of this test, if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
