"""Tests of `sipd.daemon.guards` and `sipd.daemon.guard_checks`: what a configuration says is what is guarded."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.config import build
from sipd.daemon.guards import guard_settings, is_refresh_of
from sipd.daemon.logs import format_json, format_text
from sipd.daemon.values import Surroundings
from sipd.guards.bans import BanSettings
from sipd.guards.door import ScannerAction
from sipd.guards.fraud import Action, Budget, CountrySettings, FraudSettings
from sipd.guards.guards import GuardSettings
from sipd.guards.limits import CallLimits, TrunkLimits
from sipd.guards.overload import OverloadSettings
from sipd.guards.scanners import KNOWN_SCANNERS, SuspicionSettings
from sipd.registrar.bindings import RegistrarSettings, Registration, read_registration
from sipd.registrar.location import LocationService
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from sipd.testing.clock import SimulatedClock
from tests.daemon.case import MINIMAL, ConfigCase
from tests.daemon.test_service import ServiceCase

OPERATOR = Path(__file__).resolve().parents[2] / "docs" / "operator.md"


class SettingsTests(ConfigCase):
    """From sections to settings."""

    def test_defaults(self) -> None:
        """Without a word the parts' own defaults hold, with the known scanners and the bound of all calls."""
        expected = GuardSettings(
            scanner_names=KNOWN_SCANNERS,
            limits=CallLimits(calls=2000),
            fraud=FraudSettings(international_prefixes=("00",)),
        )
        self.assertEqual(guard_settings(self.load(MINIMAL)), expected)

    def test_everything(self) -> None:
        """Each option arrives where it counts."""
        text = """
        [identity]
        trust = ["198.51.100.0/28"]
        [routing]
        emergency = ["112"]
        international_prefixes = ["00", "011"]
        country_code = "49"
        [limits]
        calls = 7
        calls_per_second = 1.5
        calls_per_user = 2
        calls_per_second_per_user = 3.0
        calls_per_source = 4
        calls_per_second_per_source = 5.0
        calls_per_callee = 6
        call_duration = 3600.0
        retry_after = 20
        [guards]
        trust = ["192.0.2.0/28"]
        deny = ["203.0.113.0/24"]
        allow = ["203.0.113.7"]
        messages_per_second = 100
        max_accounts = 10
        scanners = { action = "ban", agents = ["x*"], window = 1.0, failures = 2, challenges = 3, names = 4 }
        bans = { duration = 5.0, factor = 6.0, longest = 7.0 }
        overload = { lag = 0.5, cpu = 0.9, last_lag = 2.0 }
        countries = { action = "log", known = ["+49", "+1"], learning = 8.0 }
        [[guards.budgets]]
        name = "premium"
        prefixes = ["0900", "+882"]
        accounts = ["alice", "trunk:pbx"]
        window = 9.0
        seconds = 10.0
        attempts = 11
        parallel = 12
        action = "log"
        """
        budget = Budget(
            name="premium",
            prefixes=("0900", "+882"),
            accounts=frozenset(("alice", "trunk:pbx")),
            window=9.0,
            seconds=10.0,
            attempts=11,
            parallel=12,
            action=Action.LOG,
        )
        trunks = {"carrier": TrunkLimits(calls=3)}
        expected = GuardSettings(
            trust=(ip_network("192.0.2.0/28"), ip_network("198.51.100.0/28")),
            deny=(ip_network("203.0.113.0/24"),),
            allow=(ip_network("203.0.113.7"),),
            messages_per_second=100,
            scanners=ScannerAction.BAN,
            scanner_names=("x*",),
            suspicion=SuspicionSettings(window=1.0, failures=2, challenges=3, users=4),
            bans=BanSettings(duration=5.0, factor=6.0, maximum=7.0),
            overload=OverloadSettings(lag=0.5, cpu=0.9, last_lag=2.0),
            fraud=FraudSettings(
                budgets=(budget,),
                countries=CountrySettings(action=Action.LOG, known=frozenset(("+49", "+1")), learning=8.0),
                international_prefixes=("00", "011"),
                max_accounts=10,
            ),
            limits=CallLimits(
                calls=7,
                per_second=1.5,
                calls_per_user=2,
                per_second_user=3.0,
                calls_per_source=4,
                per_second_source=5.0,
                calls_per_callee=6,
                trunks=trunks,
                duration=3600.0,
                retry_after=20,
            ),
            emergency_numbers=frozenset(("112",)),
        )
        self.assertEqual(guard_settings(self.load(MINIMAL + text), trunks), expected)


class CheckTests(ConfigCase):
    """Mistakes, each with its place and what was expected."""

    def test_values(self) -> None:
        """Values that cannot be."""
        for text, expected in (
            ('[guards]\ndeny = ["10.0.0.1/8"]', "guards.deny[0]: an address or a network such as"),
            ("[guards]\nmessages_per_second = -1", "guards.messages_per_second: 0 or more expected (got -1)"),
            ('[guards.scanners]\naction = "kill"', 'guards.scanners.action: "off", "log", "drop" or "ban" expected'),
            ("[guards.bans]\nfactor = 0.5", "guards.bans.factor: 1 or more expected (got 0.5)"),
            ("[guards.overload]\ncpu = 1.5", "guards.overload.cpu: 1 or less expected (got 1.5)"),
            ('[guards.countries]\nknown = ["49"]', 'guards.countries.known[0]: a country code such as "+49" expected'),
            ('[guards.countries]\nknown = ["+4930"]', 'guards.countries.known[0]: a country code such as "+49"'),
            ("[limits]\ncalls_per_user = -1", "limits.calls_per_user: 0 or more expected (got -1)"),
            ("[guards]\nban = 1", "guards.ban: unknown key; did you mean"),
            (
                '[[guards.budgets]]\nname = "a"\nparallel = 1\nprefixes = ["abc"]',
                "guards.budgets[0].prefixes[0]: the beginning of a number",
            ),
        ):
            with self.subTest(text):
                (problem,) = self.problems(MINIMAL + text)
                self.assertTrue(problem.startswith(expected), problem)

    def test_relations(self) -> None:
        """Values that are good by themselves and not together."""
        self.assert_problem(
            MINIMAL + '[guards]\nallow = ["10.0.0.0/8"]\ndeny = ["10.0.0.0/8"]',
            'guards.allow[0]: a network that is not in deny, too, expected (got "10.0.0.0/8")',
        )
        self.assert_problem(
            MINIMAL + "[guards.bans]\nduration = 100000.0",
            "guards.bans.duration: duration no greater than longest expected (got 100000 and 86400)",
        )
        self.assert_problem(
            MINIMAL + "[guards.overload]\nlast_lag = 0.5",
            "guards.overload.last_lag: lag no greater than last_lag expected (got 1 and 0.5)",
        )
        self.load(MINIMAL + "[guards.overload]\nlast_lag = 0")

    def test_budgets(self) -> None:
        """Each has a name of its own, and something to spend."""
        budget = '[[guards.budgets]]\nname = "a"\n'
        self.assert_problem(
            MINIMAL + budget + "attempts = 1\n" + budget,
            'guards.budgets[1].name: a name of its own expected (guards.budgets[0] is "a" too)',
            "guards.budgets[1].seconds: required (or attempts, or parallel), and missing: there is nothing to spend",
        )


class RefreshTests(SynchronousTestCase):
    """What refreshes what there is."""

    def test_refresh(self) -> None:
        """A REGISTER of who is registered does; one of anybody else, and any other request, does not."""
        clock = SimulatedClock(1000.0)
        location = LocationService(clock=clock)
        request = builders.register("sip:alice@example.com")
        registration = read_registration(request, aor="sip:alice@example.com", settings=RegistrarSettings())
        self.assertIsInstance(registration, Registration)
        is_refresh = is_refresh_of(location)
        self.assertFalse(is_refresh(request))
        location.register(registration, max_contacts=10)
        self.assertTrue(is_refresh(request))
        self.assertFalse(is_refresh(builders.register("sip:bob@example.com")))
        self.assertFalse(is_refresh(builders.options("sip:alice@example.com")))
        location.stop()


class FilterTests(SynchronousTestCase):
    """The filter for fail2ban that the operator's guide has, on the lines that sipd writes."""

    #: What fail2ban takes away from a line before it looks for an address.
    DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d{3}(?:\+00:00)?")
    ADDRESS = r"(?P<host>[0-9A-Fa-f:.]+)"

    def setUp(self) -> None:
        (block,) = re.findall(r"\[Definition\]\nfailregex = (.*?)```", OPERATOR.read_text(), re.DOTALL)
        self.patterns = [re.compile(line.strip().replace("<HOST>", self.ADDRESS)) for line in block.splitlines()]
        self.assertEqual(len(self.patterns), 2)

    def lines(self, namespace: str, level: LogLevel, form: str, **fields: object) -> list[str]:
        """Give what an event is in both formats, without its date, by lines."""
        events: list[dict[str, object]] = []
        publisher = LogPublisher(events.append)  # type: ignore[arg-type]
        Logger(namespace=namespace, observer=publisher).emit(level, form, **fields)
        return [
            self.DATE.sub("", line, count=1)
            for write in (format_text, format_json)
            for line in write(events[0]).splitlines()
        ]

    def found(self, lines: list[str]) -> list[str]:
        """Give the addresses that would be banned."""
        matches = [match for line in lines for pattern in self.patterns if (match := pattern.search(line))]
        return [match["host"] for match in matches]

    def test_finds(self) -> None:
        """Each kind of line but that of fraud gives its address, in both formats."""
        for kind in ("auth-failed", "scanner", "banned", "denied", "flood"):
            for host in ("203.0.113.9", "2001:db8::7"):
                text = "security: {kind} src={src} port={port} user={user}"
                lines = self.lines("sipd.security", LogLevel.warn, text, kind=kind, src=host, port=5060, user='"x"')
                self.assertEqual(self.found(lines), [host, host])
        fraud = self.lines("sipd.security", LogLevel.warn, "security: fraud src=203.0.113.9 port=5060")
        self.assertEqual(self.found(fraud), [])

    def test_cannot_be_misled(self) -> None:
        """No other line is taken for one, whatever others have written into it."""
        forged = "security: banned src=192.0.2.66 port=1"
        for text in (
            forged,
            f"\n warn  {forged}",
            f"\r\n warn  {forged}",
            f'", "level": "warn", "logger": "sipd.security", "message": "{forged}',
            f'\n{{"time": "", "level": "warn", "logger": "sipd.security", "message": "{forged}',
            f"2026-11-21 12:00:00.123 warn  {forged}",
        ):
            for level in (LogLevel.info, LogLevel.warn):
                lines = self.lines("sipd.b2bua.x", level, "a message said {text}", text=text)
                self.assertEqual(self.found(lines), [], lines)


class ServiceTests(ServiceCase):
    """A running sipd."""

    async def hang_up(self, call: PeerCall) -> None:
        """End alice's call, on both ends."""
        call.hang_up()
        await call.when_ended()
        await self.phones[1].calls[0].when_ended()

    async def test_serves_and_stops(self) -> None:
        """Phones register and call through the guards, which count nothing when they have hung up."""
        service = await self.start()
        assert service.stack is not None
        guards = service.stack.guards
        self.assertIs(service.stack.transport.guard, guards.door)
        self.assertIs(service.stack.b2bua.gate, guards.gate)
        call = await self.call(service)
        self.assertEqual((len(guards.gate), guards.gate.counts("user")), (1, {"alice": 1}))
        self.assertEqual(guards.gate.counts("callee"), {"sip:bob@127.0.0.1": 1})
        await self.hang_up(call)
        while len(guards.gate):
            await deferLater(real_reactor, 0.01)

    async def test_refuses(self) -> None:
        """A call beyond a limit is refused, and the phone is told which one it is."""
        service = await self.start(self.table(limits={"calls_per_user": 1}))
        first = await self.call(service)
        (alice, *_) = self.phones
        second = alice.call("bob")
        await second.when_ended()
        self.assertEqual(second.status, 480)
        assert service.stack is not None
        self.assertEqual(dict(service.stack.gate.refused), {"user": 1})
        await self.hang_up(first)

    async def test_a_users_own_bound(self) -> None:
        """What is set for a user goes before what is set for all."""
        table = self.table(limits={"calls_per_user": 10})
        for user in table["users"]:
            user["max_calls"] = 1
        service = await self.start(table)
        first = await self.call(service)
        second = self.phones[0].call("bob")
        await second.when_ended()
        self.assertEqual(second.status, 480)
        await self.hang_up(first)

    async def test_reload(self) -> None:
        """What is guarded changes while calls go on."""
        table = self.table()
        service = await self.start(table)
        first = await self.call(service)
        assert service.stack is not None
        changed = {**table, "limits": {"calls_per_user": 1}, "guards": {"messages_per_second": 500}}
        outcome = service.reload(build(changed, Surroundings(directory=self.directory, environment={})))
        self.assertEqual(outcome.pending, ())
        self.assertEqual(service.stack.guards.door.settings.messages_per_second, 500)
        second = self.phones[0].call("bob")
        await second.when_ended()
        self.assertEqual(second.status, 480)
        await self.hang_up(first)
