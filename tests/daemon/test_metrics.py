"""Tests of `[metrics]`: what a running sipd tells Prometheus, from the start to the last call's end."""

from __future__ import annotations

import gc
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from sipd.daemon.service import SipService
from sipd.errors import ConfigurationError
from tests.daemon.case import MINIMAL, ConfigCase
from tests.daemon.test_process import START, ProcessCase
from tests.daemon.test_service import ServiceCase
from tests.observe.exposed import Samples, parse, value
from tests.ports import HOST

ROOT = Path(__file__).resolve().parents[2]


def get(port: int, path: str = "/metrics") -> tuple[int, str]:
    """Give status and body of a page; status 0 if nobody answers. Blocks."""
    try:
        with urlopen(f"http://{HOST}:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


class MetricsCase(ServiceCase):
    """Services with metrics, on any free port."""

    def table(self, **sections: Any) -> dict[str, Any]:
        """Give a configuration with metrics."""
        return super().table(**{"metrics": {"port": 0}, **sections})

    def port(self, service: SipService) -> int:
        """Give where the metrics of a service are."""
        assert service.metrics is not None
        return service.metrics.port

    async def samples(self, service: SipService) -> Samples:
        """Give the metrics of a service, new ones."""
        await deferLater(real_reactor, 0.6)
        status, text = await deferToThread(get, self.port(service))
        self.assertEqual(status, 200)
        return parse(text)


class ServingTests(MetricsCase):
    """What is told while it runs."""

    async def test_a_call(self) -> None:
        """What a call holds is told while it lasts, and at its end what came of it; registrations and messages, too."""
        service = await self.start()
        call = await self.call(service)
        samples = await self.samples(service)
        for expected, name, labels in (
            (1, "sipd_serving", {}),
            (2, "sipd_bindings", {}),
            (2, "sipd_bindings_changed_total", {"event": "made"}),
            (1, "sipd_calls", {"state": "answered"}),
            (2000, "sipd_calls_limit", {}),
            (1, "sipd_calls_started_total", {}),
            (1, "sipd_calls_answered_total", {}),
            (2, "sipd_sessions", {}),
            (2, "sipd_call_resources", {"kind": "leg"}),
            (2, "sipd_media_port_pairs", {}),
            (20, "sipd_media_port_pairs_limit", {}),
            (1, "sipd_media_sessions", {"engine": "reactor"}),
            (1, "sipd_messages_sent_total", {"transport": "udp", "kind": "INVITE"}),
            (4, "sipd_messages_received_total", {"transport": "udp", "kind": "REGISTER"}),
            (0, "sipd_messages_received_total", {"transport": "tls", "kind": "REGISTER"}),
            (0, "sipd_transport_incidents_total", {"kind": "malformed"}),
        ):
            self.assertEqual(value(samples, name, **labels), expected, name)
        self.assertGreater(value(samples, "sipd_transactions", side="server") or 0, 0)
        self.assertGreater(value(samples, "process_open_fds") or 0, 3)
        self.assertGreater(value(samples, "sipd_reactor_lag_seconds_count") or 0, 0)
        call.hang_up()
        await call.peer.calls[0].when_ended()
        assert service.stack is not None
        while len(service.stack.b2bua):
            await deferLater(real_reactor, 0.01)
        samples = await self.samples(service)
        for expected, name, labels in (
            (0, "sipd_calls", {"state": "answered"}),
            (1, "sipd_calls_ended_total", {"by": "caller", "cause": "bye"}),
            (1, "sipd_call_attempts_total", {"trunk": "", "result": "answered"}),
            (1, "sipd_call_duration_seconds_count", {}),
            (0, "sipd_call_resources", {"kind": "leg"}),
            (0, "sipd_call_resource_leaks_total", {}),
            (0, "sipd_media_port_pairs", {}),
        ):
            self.assertEqual(value(samples, name, **labels), expected, name)

    async def test_a_refused_registration(self) -> None:
        """A registration that is refused counts by its status; the challenge before it does not."""
        service = await self.start()
        self.assert_status(await self.phone(service, "alice").register(expires=5), 423)
        samples = await self.samples(service)
        refused = {labels: count for (name, labels), count in samples.items() if "registrations_refused" in name}
        self.assertEqual(refused, {(("status", "423"),): 1})
        self.assertEqual(value(samples, "sipd_bindings"), 0)

    async def test_two_in_one_process(self) -> None:
        """Two services do not see each other's calls."""
        first = await self.start()
        second = await self.start(self.table(state_directory="other"))
        await self.register(first, "alice")
        self.assertEqual(value(await self.samples(first), "sipd_bindings"), 1)
        self.assertEqual(value(await self.samples(second), "sipd_bindings"), 0)

    async def test_what_the_guide_says(self) -> None:
        """The tables of the operator's guide have every metric, each with its labels, and no others."""
        service = await self.start()
        call = await self.call(service)
        call.hang_up()
        await call.peer.calls[0].when_ended()
        _, text = await deferToThread(get, self.port(service))
        families = list(text_string_to_metric_families(text))
        told = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}
        guide = (ROOT / "docs" / "operator.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
        tables = guide.partition("Three alerts")[0]
        rows = [line.split("|")[1:3] for line in tables.splitlines() if line.startswith("| `")]
        described = {
            name: set(re.findall(r"`([a-z_]+)`(?=[:,; ]|$)", labels))
            for names, labels in rows
            for name in re.findall("`(.*?)`", names)
        }
        self.assertEqual(sorted(described), sorted(told))
        for family in families:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            if name != "python_info":
                self.assertLessEqual(labels, described[name], name)
        queries = guide.partition("Three alerts")[2]
        used = set(re.findall(r"\b((?:sipd|process|python)_[a-z_]+)", queries))
        self.assertGreater(len(used), 15)
        self.assertEqual({name for name in used if re.sub("_(bucket|sum|count)$", "", name) not in told}, set())

    async def test_off(self) -> None:
        """Without the section nothing listens."""
        service = await self.start(ServiceCase.table(self))
        self.assertIsNone(service.metrics)

    def test_nothing_is_imported(self) -> None:
        """A server without metrics does not pay for what they need."""
        script = "import sys, sipd.daemon.service; sys.exit('prometheus_client' in sys.modules)"
        self.assertEqual(
            subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, timeout=60).returncode, 0
        )


class EndTests(MetricsCase):
    """Starts that fail, and stops."""

    async def test_draining(self) -> None:
        """While calls may still end, health is 503 and metrics are told; when everything is over nobody answers."""
        service = await self.start()
        call = await self.call(service)
        port = self.port(service)
        self.assertEqual(await deferToThread(get, port, "/health"), (200, "serving\n"))
        stopped = service.stopService()
        self.assertEqual(await deferToThread(get, port, "/health"), (503, "draining\n"))
        samples = await self.samples(service)
        self.assertEqual((value(samples, "sipd_serving"), value(samples, "sipd_calls", state="answered")), (0, 1))
        call.hang_up()
        await stopped
        self.assertIsNone(service.metrics)
        self.assertEqual((await deferToThread(get, port))[0], 0)

    async def test_a_port_that_is_taken(self) -> None:
        """Metrics that cannot be told fail the start, with one line, and leave nothing open."""
        first = await self.start()
        port = self.port(first)
        second = self.make(self.table(metrics={"port": port}, state_directory="other"))
        error = self.assertRaises(ConfigurationError, second.startService)
        self.assertRegex(str(error), rf"^metrics: cannot listen on TCP {HOST} port {port}: .*Address already in use")
        self.assertIsNone(second.metrics)
        del error
        self.forgive_unclosed()

    async def test_a_start_that_fails_later(self) -> None:
        """A start that fails after the metrics were opened closes them."""
        (self.directory / "file").write_text("")
        port = self.ports.take()
        service = self.make(self.table(metrics={"port": port}, state_directory="file/state"))
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertIn("cannot be made", str(error))
        self.assertIsNone(service.metrics)
        del error
        gc.collect()
        self.assertEqual((await deferToThread(get, port))[0], 0)

    async def test_a_connection_that_stays(self) -> None:
        """A client that keeps its connection does not keep sipd from ending."""
        service = await self.start()
        port = self.port(service)
        with await deferToThread(socket.create_connection, (HOST, port), 5) as peer:
            peer.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"serving", await deferToThread(peer.recv, 1000))
            await service.stopService()
            with self.assertRaises(ConnectionResetError):
                await deferToThread(peer.recv, 1000)


class ConfigurationTests(ConfigCase):
    """The section."""

    def test_defaults(self) -> None:
        """Without options only this machine can ask, and only this machine may."""
        section = self.load(f"{MINIMAL}[metrics]\n").metrics
        assert section is not None
        self.assertEqual((section.address, section.port), ("127.0.0.1", 9464))
        self.assertEqual([str(network) for network in section.allowed], ["127.0.0.0/8", "::1/128"])
        self.assertIsNone(self.load(MINIMAL).metrics)

    def test_who_may_ask(self) -> None:
        """An address that others reach needs to be told who may ask."""
        for address in ("0.0.0.0", "::", "192.0.2.1"):
            text = f'{MINIMAL}[metrics]\naddress = "{address}"\n'
            self.assert_problem(
                text, f'metrics.allow: required where address is "{address}", and missing: who may ask?'
            )
            self.assertIsNotNone(self.load(text + 'allow = ["192.0.2.0/24"]\n').metrics)
        self.assertIsNotNone(self.load(f'{MINIMAL}[metrics]\naddress = "::1"\n').metrics)

    def test_mistakes(self) -> None:
        """Each mistake is one line."""
        text = f'{MINIMAL}[metrics]\naddress = "metrics.example.com"\nport = 70000\nallow = ["192.0.2.1/24"]\n'
        self.assertEqual(
            [line.partition(":")[0] for line in self.problems(text)],
            ["metrics.address", "metrics.port", "metrics.allow[0]"],
        )


class ProcessTests(ProcessCase):
    """The command."""

    async def test_twistd(self) -> None:
        """`twistd sipd` says where its metrics are, tells them, and ends with SIGTERM without a traceback."""
        port = self.ports.take()
        self.config.write_text(self.text(f"[metrics]\nport = {port}\n"))
        program = self.run_twistd("-n", "sipd", "-c", "sipd.toml")
        await program.says(f"metrics are at http://{HOST}:{port}/metrics", START)
        await self.serves(program)
        call = await self.call()
        status, text = await deferToThread(get, port)
        self.assertEqual((status, value(parse(text), "sipd_calls", state="answered")), (200, 1))
        call.hang_up()
        await call.when_ended()
        program.send_signal("TERM")
        self.assertEqual(await program.ends(10), -signal.SIGTERM)
        self.assertNotIn(b"Traceback", program.output)
