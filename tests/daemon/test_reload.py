"""Tests of a configuration that changes while sipd runs: over real sockets, and its reader alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.daemon.config import build
from sipd.daemon.reloader import Reloader
from sipd.daemon.reloading import Reloaded
from sipd.daemon.sections import Config
from sipd.daemon.service import SipService
from sipd.daemon.values import Surroundings
from sipd.errors import ConfigurationError, InvalidStateError, LocalError
from tests.daemon.test_service import PASSWORDS, ServiceCase
from tests.ports import HOST


class AppliedTests(ServiceCase):
    """What holds after a reload, and what does not."""

    def setUp(self) -> None:
        super().setUp()
        self.running = self.table()

    def changed(self, **sections: Any) -> Config:
        """Give the configuration that runs with other sections."""
        table = {**self.running, **sections}
        return build(table, Surroundings(directory=self.directory, environment={}))

    async def test_users(self) -> None:
        """A new user can register, a new password is needed, and who is none any more is not registered either."""
        service = await self.start(self.running)
        bob = await self.register(service, "bob")
        assert service.stack is not None
        self.assertEqual(len(service.stack.location), 1)
        users = [{"name": "alice", "password": "another"}, {"name": "carol", "password": "third"}]
        outcome = service.reload(self.changed(users=users))
        self.assertEqual(
            [str(one) for one in outcome.applied],
            ["users.alice.password: changed", "users.bob: removed", "users.carol: added"],
        )
        self.assertEqual(len(service.stack.location), 0)
        self.assert_status(await bob.register(), 401)
        alice = self.phone(service, "alice")
        self.assert_status(await alice.register(), 401)
        self.patch_password("carol", "third")
        await self.register(service, "carol")
        refused = await self.phones[-1].call("bob").when_ended()
        self.assertEqual(refused.status, 404)

    async def test_routes(self) -> None:
        """A call that comes after the reload goes by the new routes."""
        service = await self.start(self.running)
        alice = await self.register(service, "alice")
        self.assertEqual((await alice.call("911").when_ended()).status, 404)
        barred = {"name": "barred", "user": "9.*", "refuse": [410, "Barred Now"]}
        service.reload(self.changed(routes=[barred]))
        self.assertEqual((await alice.call("911").when_ended()).status, 410)

    async def test_limits_and_registrar(self) -> None:
        """New bounds hold for calls and registrations."""
        service = await self.start(self.running)
        call = await self.call(service)
        service.reload(self.changed(limits={"calls": 1}, registrar={"minimum_expires": 3600}))
        refused = await call.peer.call("bob").when_ended()
        self.assertEqual(refused.status, 503)
        self.assert_status(await call.peer.register(expires=60), 423)
        call.hang_up()
        for phone in self.phones:
            await phone.calls[0].when_ended()

    async def test_a_call_goes_on(self) -> None:
        """A call is neither ended nor changed by a reload that takes both users away, and its record is written."""
        service = await self.start(self.running)
        call = await self.call(service)
        service.reload(self.changed(users=[], transfer={"policy": "refuse"}, identity={"form": "both"}))
        assert service.stack is not None
        (bridge,) = service.stack.b2bua._calls.values()
        self.assertIsNot(bridge.settings, service.stack.b2bua.settings)
        self.assertEqual(bridge.settings.transfer.policy.value, "terminate")
        self.assertEqual(service.stack.b2bua.settings.transfer.policy.value, "refuse")
        call.hang_up()
        ended = await call.peer.calls[0].when_ended()
        self.assertEqual(ended.ended_by, "us")
        await service.stopService()
        self.assertEqual([record["status"] for record in self.records()], [200])

    async def test_what_needs_a_restart_stays(self) -> None:
        """A listening point that moved is said to need a restart, and the old one serves on."""
        service = await self.start(self.running)
        moved = {"name": "udp", "transport": "udp", "address": HOST, "port": 5999}
        wanted = self.changed(listen=[moved], limits={"calls": 3})
        first, second = service.reload(wanted), service.reload(wanted)
        for outcome in (first, second):
            self.assertEqual([str(one) for one in outcome.pending], ["listen.udp.port: 0 -> 5999"])
        self.assertEqual((len(first.applied), second.applied), (1, ()))
        self.assertEqual((service.config.listen[0].port, service.config.limits.calls), (0, 3))
        await self.register(service, "alice")

    async def test_not_while_it_stops(self) -> None:
        """Before the start and after the end nothing is changed."""
        service = self.make(self.running)
        self.assertRaises(InvalidStateError, service.reload, self.changed())
        service = await self.start(self.running)
        await service.stopService()
        self.assertRaises(InvalidStateError, service.reload, self.changed(limits={"calls": 3}))
        self.assertEqual(service.config.limits.calls, 2000)

    async def test_all_or_nothing(self) -> None:
        """What cannot be applied whole is not applied in part."""
        service = await self.start(self.running)
        assert service.stack is not None
        before = service.stack.parts
        wanted = self.changed(
            limits={"calls": 3}, users=[{"name": "a", "password": "b", "record": "wave"}], recording={"directory": "r"}
        )
        self.assertRaises(ConfigurationError, service.reload, wanted)
        self.assertIs(service.stack.parts, before)
        self.assertEqual((service.stack.b2bua.settings.max_calls, service.config.limits.calls), (2000, 2000))
        await self.register(service, "alice")

    def patch_password(self, user: str, password: str) -> None:
        """Let a phone of this test know the password of one more user."""
        PASSWORDS[user] = password
        self.addCleanup(PASSWORDS.pop, user)


class Runs:
    """Stands for a service: takes note of what it is given."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.taken: list[Config] = []
        self.error: LocalError | None = None

    def reload(self, wanted: Config) -> Reloaded:
        """See `SipService`."""
        if self.error is not None:
            raise self.error
        self.taken.append(wanted)
        self.config = wanted
        return Reloaded(applied=(), pending=())


class ReloaderTests(SynchronousTestCase):
    """One reading at a time."""

    def setUp(self) -> None:
        table = {
            "domains": ["example.com"],
            "state_directory": "state",
            "listen": [{"name": "udp", "transport": "udp", "address": "192.0.2.1"}],
        }
        self.config = build(table, Surroundings(directory=Path(), environment={}))
        self.runs = Runs(self.config)
        self.reading: list[Deferred[Config]] = []
        self.applied: list[Config] = []
        self.reloader = Reloader(
            cast(SipService, self.runs), self.load, in_thread=self.in_thread, applied=self.applied.append
        )

    def load(self) -> Config:
        """Give the configuration."""
        return self.config

    def in_thread(self, load: Any) -> Deferred[Config]:
        """Wait until the test says that it is read."""
        self.reading.append(Deferred())
        return self.reading[-1].addCallback(lambda _: load())

    def read(self) -> None:
        """Let the reading that goes on end."""
        self.reading.pop(0).callback(self.config)

    def test_one_after_the_other(self) -> None:
        """All who ask while a file is read get the outcome of one further reading."""
        first = self.reloader.reload()
        others = [self.reloader.reload() for _ in range(3)]
        self.assertEqual(len(self.reading), 1)
        self.read()
        self.successResultOf(first)
        for other in others:
            self.assertNoResult(other)
        self.read()
        for other in others:
            self.successResultOf(other)
        self.assertEqual((len(self.runs.taken), self.reading), (2, []))
        self.assertEqual(self.applied, [self.config] * 2)

    def test_a_mistake(self) -> None:
        """Each mistake is one line of the log, nothing is applied, and the next reading may succeed."""
        self.runs.error = ConfigurationError(["a: b", "c: d"])
        events = self.listen()
        outcome = self.reloader.reload()
        self.read()
        self.failureResultOf(outcome, ConfigurationError)
        self.assertEqual(events, ["configuration not changed: a: b", "configuration not changed: c: d"])
        self.assertEqual(self.applied, [])
        self.runs.error = None
        outcome = self.reloader.reload()
        self.read()
        self.successResultOf(outcome)

    def test_a_signal_wants_no_answer(self) -> None:
        """What fails after a signal is in the log and nowhere else."""
        self.runs.error = LocalError("not now")
        events = self.listen()
        self.reloader.signalled()
        self.read()
        self.assertEqual(events, ["configuration not changed: not now"])

    def test_a_bug(self) -> None:
        """A mistake of ours has its traceback, and does not end the reader."""

        def break_(wanted: Config) -> Reloaded:
            raise ZeroDivisionError

        self.patch(self.runs, "reload", break_)
        outcome = self.reloader.reload()
        self.read()
        self.failureResultOf(outcome, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsInstance(self.reloader.reload(), Deferred)
        self.assertEqual(len(self.reading), 1)

    def listen(self) -> list[str]:
        """Give the texts of what is logged from now on."""
        texts: list[str] = []

        @implementer(ILogObserver)
        def observe(event: dict[str, Any]) -> None:
            if event.get("log_namespace", "").startswith("sipd.daemon.reloader"):
                texts.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return texts
