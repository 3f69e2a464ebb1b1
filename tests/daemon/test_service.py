"""Tests of `sipd.daemon.service` over real sockets: it serves, it drains, it leaves nothing behind."""

from __future__ import annotations

import gc
import json
import warnings
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from sipd.daemon.config import build
from sipd.daemon.service import SipService
from sipd.daemon.values import Surroundings
from sipd.errors import ConfigurationError, LocalError
from sipd.sip.message import Response
from sipd.testing.calls import CallState, PeerCall
from sipd.testing.peer import Peer
from tests.ports import HOST, Ports

PASSWORDS = {"alice": "wonderland", "bob": "builder"}


class ServiceCase(TestCase):
    """Starts services and phones on the loopback address, and ends them."""

    timeout = 30

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir(parents=True)
        self.ports = Ports()
        self.entropy = Random(5).randbytes
        self.phones: list[Peer] = []

    def table(self, **sections: Any) -> dict[str, Any]:
        """Give a configuration: one UDP listening point, alice and bob."""
        first = self.ports.take_range(40)[0]
        return {
            "domains": [HOST],
            "state_directory": "state",
            "listen": [{"name": "udp", "transport": "udp", "address": HOST, "port": 0}],
            "users": [{"name": name, "password": password} for name, password in PASSWORDS.items()],
            "media": {"first_port": first, "last_port": first + 39},
            **sections,
        }

    def make(self, table: dict[str, Any]) -> SipService:
        """Make a service of a configuration, not started."""
        return SipService(build(table, Surroundings(directory=self.directory, environment={})), real_reactor)

    async def start(self, table: dict[str, Any] | None = None) -> SipService:
        """Start a service, and stop it at the end of the test."""
        service = self.make(self.table() if table is None else table)
        service.startService()
        self.addCleanup(self.stop, service)
        await service.when_ready()
        return service

    def stop(self, service: SipService) -> Deferred[None]:
        """Let the phones go, and the service."""
        for phone in self.phones:
            phone.close()
        service.end_now()
        return service.stopService()

    def phone(self, service: SipService, user: str) -> Peer:
        """Give a phone of a user, not registered."""
        assert service.stack is not None
        point = service.stack.transport.points[0]
        phone = Peer(
            real_reactor,
            user,
            HOST,
            self.ports.take(),
            proxy=(point.host, point.port),
            entropy=self.entropy,
            domain=HOST,
            password=PASSWORDS[user],
            media=(HOST, self.ports.take()),
        )
        self.phones.append(phone)
        return phone

    async def register(self, service: SipService, user: str) -> Peer:
        """Give a phone that is registered."""
        phone = self.phone(service, user)
        self.assert_status(await phone.register(), 200)
        return phone

    async def call(self, service: SipService) -> PeerCall:
        """Let alice call bob; give her end of the answered call."""
        alice, bob = await self.register(service, "alice"), await self.register(service, "bob")
        bob.auto_answer(0.05, ring_after=None)
        call = await alice.call("bob").when_answered()
        self.assertEqual((call.state, call.status), (CallState.ANSWERED, 200))
        return call

    def forgive_unclosed(self) -> None:
        """Forget the warning about a socket that could not be bound: Twisted leaves it to the garbage collector."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        self.flushWarnings()

    def assert_status(self, response: Response | None, status: int) -> None:
        """Say that a response came, and which."""
        assert response is not None
        self.assertEqual(response.status, status)

    def records(self) -> list[dict[str, Any]]:
        """Give the call records that were written."""
        path = self.directory / "state" / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class ServingTests(ServiceCase):
    """From the start to the call."""

    async def test_a_call_between_two_users(self) -> None:
        """Two phones register with digest and call each other; the record is written when it is over."""
        service = await self.start()
        call = await self.call(service)
        self.assertEqual(self.records(), [])
        call.hang_up()
        await call.peer.calls[0].when_ended()
        await service.stopService()
        (record,) = self.records()
        self.assertEqual((record["status"], record["user"], record["ended_by"]), (200, "alice", "caller"))

    async def test_who_calls_is_told_by_trust(self) -> None:
        """A phone in a network that `[identity]` trusts is told who calls."""
        service = await self.start(self.table(identity={"trust": [HOST]}))
        call = await self.call(service)
        told = self.phones[-1].calls[-1].invite
        self.assertEqual(told.headers.get_all("P-Asserted-Identity"), [f"<sip:alice@{HOST}>"])
        call.hang_up()
        await call.peer.calls[0].when_ended()

    async def test_a_restart_keeps_bindings(self) -> None:
        """Who was registered before a restart can be called after it."""
        table = self.table()
        first = await self.start(table)
        bob = await self.register(first, "bob")
        await first.stopService()
        second = await self.start(table)
        bob.auto_answer(0.05)
        alice = self.phone(second, "alice")
        call = await alice.call("bob").when_answered()
        self.assertEqual(call.status, 200)
        call.hang_up()
        await call.when_ended()

    async def test_what_comes_before_the_bindings_are_loaded_waits(self) -> None:
        """A request that comes while the bindings are loaded is answered when they are."""
        service = self.make(self.table())
        service.startService()
        self.addCleanup(self.stop, service)
        response = self.phone(service, "alice").register()
        await service.when_ready()
        self.assert_status(await response, 200)

    async def test_state_is_its_owners_alone(self) -> None:
        """Nobody else can look into the state directory: it holds who is reachable where."""
        await self.start()
        self.assertEqual((self.directory / "state").stat().st_mode & 0o077, 0)

    async def test_ready_can_be_asked_late(self) -> None:
        """Whoever asks after the start is told as well."""
        service = await self.start()
        await service.when_ready()

    async def test_a_capture_is_written(self) -> None:
        """With a capture configured, every message is in the file."""
        service = await self.start(self.table(capture={"file": "sip.pcap"}))
        await self.register(service, "alice")
        data = (self.directory / "sip.pcap").read_bytes()
        for text in (b"REGISTER sip:", b"SIP/2.0 401 ", b"SIP/2.0 200 "):
            self.assertIn(text, data)


class FailingTests(ServiceCase):
    """Starts that fail."""

    async def test_a_required_point_that_is_taken(self) -> None:
        """A listening point that cannot be bound fails the start, and leaves nothing open."""
        service = await self.start()
        assert service.stack is not None
        point = service.stack.transport.points[0]
        listen = {"name": "same", "transport": "udp", "address": HOST, "port": point.port}
        free = {"name": "free", "transport": "tcp", "address": HOST, "port": 0}
        second = self.make(self.table(listen=[free, listen], state_directory="other"))
        error = self.assertRaises(ConfigurationError, second.startService)
        self.assertRegex(str(error), f"^same: cannot listen on UDP {HOST} port {point.port}: .*Address already in use")
        del error
        self.forgive_unclosed()

    async def test_a_point_that_is_not_required(self) -> None:
        """One that is not required is left out, and the rest serves."""
        taken = await self.start()
        assert taken.stack is not None
        port = taken.stack.transport.points[0].port
        listen = [
            {"name": "taken", "transport": "udp", "address": HOST, "port": port, "required": False},
            {"name": "free", "transport": "tcp", "address": HOST, "port": 0},
        ]
        service = await self.start(self.table(listen=listen, state_directory="other"))
        assert service.stack is not None
        self.assertEqual([point.name for point in service.stack.transport.points], ["free"])
        self.forgive_unclosed()

    async def test_no_point_at_all(self) -> None:
        """A server that listens nowhere does not start, even if no point was required."""
        listen = [{"name": "x", "transport": "udp", "address": "203.0.113.77", "port": 0, "required": False}]
        service = self.make(self.table(listen=listen, media={"addresses": [{"address": HOST}]}))
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(str(error), "no listening point could be opened")
        del error
        self.forgive_unclosed()

    async def test_a_database_that_cannot_be_read(self) -> None:
        """Without its bindings it does not serve, and says why."""
        (self.directory / "broken").write_bytes(b"this is no database" * 100)
        registrar = {"database": f"sqlite:///{self.directory}/broken"}
        service = self.make(self.table(registrar=registrar))
        service.startService()
        self.addCleanup(self.stop, service)
        with self.assertRaises(LocalError):
            await service.when_ready()

    async def test_a_state_directory_that_cannot_be_made(self) -> None:
        """A file where the state directory should be is one clear line."""
        (self.directory / "file").write_text("")
        service = self.make(self.table(state_directory="file/state"))
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertRegex(str(error), "file/state: cannot be made: Not a directory")


class StoppingTests(ServiceCase):
    """Drain, and its end."""

    async def test_idle(self) -> None:
        """Without calls it stops at once, and stopping it again changes nothing."""
        service = await self.start()
        await service.stopService()
        self.assertIsNone(service.stack)
        await service.stopService()

    async def test_before_it_was_ready(self) -> None:
        """Stopped while its bindings are loaded, it stops in good order."""
        service = self.make(self.table())
        service.startService()
        await service.stopService()

    async def test_never_started(self) -> None:
        """A service that was never started can be stopped."""
        await self.make(self.table()).stopService()

    async def test_bound_but_never_started(self) -> None:
        """What was opened before the start is closed by a stop."""
        service = self.make(self.table())
        service.privilegedStartService()
        await service.stopService()

    async def test_drain(self) -> None:
        """While calls last, new ones get 503 and Retry-After, registrations are served; with the last call it ends."""
        service = await self.start()
        call = await self.call(service)
        stopped = service.stopService()
        second = await call.peer.call("bob").when_ended()
        self.assertEqual(second.status, 503)
        refusal = next(message for message in call.peer.seen if isinstance(message, Response) and message.status == 503)
        self.assertIn("Retry-After", refusal.headers)
        self.assert_status(await call.peer.register(), 200)
        self.assertFalse(stopped.called)
        call.hang_up()
        await stopped
        self.assertEqual([record["status"] for record in self.records()], [503, 200])

    async def test_the_limit(self) -> None:
        """Calls that last longer than the limit are ended with BYE on both legs, and recorded."""
        service = await self.start(self.table(limits={"drain": 0.2}))
        call = await self.call(service)
        await service.stopService()
        await call.when_ended()
        self.assertEqual(call.ended_by, "them")
        (record,) = self.records()
        self.assertEqual((record["status"], record["ended_by"]), (200, "sipd"))

    async def test_end_now(self) -> None:
        """Cut short, it ends every call at once, and still writes the records."""
        service = await self.start()
        call = await self.call(service)
        stopped = service.stopService()
        await deferLater(real_reactor, 0.05)
        self.assertFalse(stopped.called)
        service.end_now()
        await stopped
        await call.when_ended()
        self.assertEqual([record["ended_by"] for record in self.records()], ["sipd"])

    async def test_a_message_that_waits(self) -> None:
        """A message that nobody answers is waited for, but not longer than the limit; then its sender gets 503."""
        service = await self.start(self.table(limits={"drain": 0.2}))
        alice, bob = await self.register(service, "alice"), await self.register(service, "bob")
        bob.on_message = lambda message: None
        waiting = alice.message("bob")
        await deferLater(real_reactor, 0.1)
        stopped = service.stopService()
        self.assert_status(await alice.message("bob"), 503)
        self.assertEqual((len(bob.messages), waiting.called, stopped.called), (1, False, False))
        self.assert_status(await waiting, 503)
        await stopped
        self.assertEqual(self.records(), [])

    async def test_a_ringing_call(self) -> None:
        """A call that still rings is cancelled at the callee and refused at the caller."""
        service = await self.start(self.table(limits={"drain": 0.2}))
        alice, bob = await self.register(service, "alice"), await self.register(service, "bob")
        bob.auto_ring(0.01)
        call = alice.call("bob")
        await deferLater(real_reactor, 0.1)
        await service.stopService()
        await call.when_ended()
        self.assertGreaterEqual(call.status, 400)
        await bob.calls[0].when_ended()
        self.assertEqual(len(self.records()), 1)
