"""The README and the documents are true: their examples run, and what they name is there."""

from __future__ import annotations

import ast
import configparser
import contextlib
import dataclasses
import doctest
import importlib
import io
import os
import re
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, cast

from twisted.application.service import IServiceCollection
from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from zope.interface.interface import InterfaceClass

from sipd.daemon.config import build, load
from sipd.daemon.greeting import greet
from sipd.daemon.layers import listening_point
from sipd.daemon.logs import format_text
from sipd.daemon.sections import Config, Limits, Section
from sipd.daemon.service import SipService
from sipd.daemon.values import Surroundings
from sipd.errors import ConfigurationError, RequestRefusedError
from sipd.interfaces import Credentials, ListeningPoint
from sipd.registrar.authentication import ConfiguredCredentials, DigestAuthenticator
from sipd.testing import builders
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from sipd.ua import Phone

ROOT = Path(__file__).resolve().parent.parent
TAPFILE = ROOT / "tapfiles" / "sipd.toml"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
#: What this module answers for.
OURS = (
    "README.md",
    "operator.md",
    "application.md",
    "signalling.md",
    "architecture.md",
    "rfc.md",
    "capabilities.md",
    "lessons.md",
)


@cache
def read(name: str) -> str:
    """Give the text of the README or of a document."""
    return (ROOT / name if name == "README.md" else ROOT / "docs" / name).read_text()


def blocks(name: str, language: str = "") -> list[str]:
    """Give the code blocks of a document in that language; in none if it is empty."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", read(name), re.MULTILINE | re.DOTALL)
    return [block for written, block in found if written == language]


def rows(text: str) -> list[list[str]]:
    """Give the cells of all rows of tables in a text."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def sections(name: str) -> dict[str, str]:
    """Give the text of a document by its headings."""
    parts = re.split(r"^##+ (.*)$", read(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def quoted(text: str) -> list[str]:
    """Give what stands in backticks, outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def points(config: Config) -> list[ListeningPoint]:
    """Give the listening points as they are when they are open."""
    return [
        dataclasses.replace(point, advertised_port=point.advertised_port or point.port)
        for point in map(listening_point, config.listen)
    ]


class PhoneTests(TestCase):
    """The phone in the README."""

    timeout = 30

    def setUp(self) -> None:
        self.phone: dict[str, Any] = {}
        for block in blocks("README.md", "python")[1:]:
            exec(block, self.phone)

    def test_the_phone_of_the_readme(self) -> None:
        """On a simulated network one phone calls the other, they say what the README says, and nothing is left."""
        clock = SimulatedClock()
        network = Network(clock, seed=1)
        hosts = network.host("192.0.2.1"), network.host("192.0.2.2")
        caller, callee = (Phone(host, listen=f"udp:{host.address}:5060", entropy=network.entropy) for host in hosts)
        for phone in (caller, callee):
            phone.startService()
        callee.on_call = self.phone["answer"]
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            done = Deferred.fromCoroutine(self.phone["dial"](caller, "sip:bob@192.0.2.2"))
            clock.advance(20.0)
        self.successResultOf(done)
        self.assertEqual([said.getvalue()], blocks("README.md", "text"))
        stopped = [phone.stopService() for phone in (caller, callee)]
        clock.run()
        for one in stopped:
            self.successResultOf(one)
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_on_real_sockets(self) -> None:
        """The same over loopback, on the real reactor, as the program that it is."""
        callee = Phone(real_reactor, listen="udp:127.0.0.1:0")
        callee.on_call = self.phone["answer"]
        said = io.StringIO()
        self.phone["Phone"] = lambda reactor, listen: Phone(reactor, listen="udp:127.0.0.1:0")
        with contextlib.redirect_stdout(said):
            async with callee:
                await self.phone["main"](real_reactor, f"sip:bob@{callee.points[0].sent_by}")
        self.assertEqual([said.getvalue()], blocks("README.md", "text"))


class ReadmeTests(SynchronousTestCase):
    """The README."""

    def test_what_make_run_prints(self) -> None:
        """The lines are those of the greeting, but for times and the place of the certificate."""
        shown = [line[:-1] for line in blocks("README.md")[1].splitlines(keepends=True)]
        shown = [re.sub(r"^[-0-9]{10} [:.0-9]{12} info  ", "", line) for line in shown]
        config = load(TAPFILE)
        self.assertEqual(shown[:-1], greet(config, points(config)))
        self.assertTrue(shown[-1].endswith("sipd/var/tls/certificate.pem"), shown[-1])

    def test_the_table_for_phones(self) -> None:
        """Names, passwords and servers in the table are those of the configuration."""
        config = load(TAPFILE)
        table = sections("README.md")["The first call"]
        for user in config.users:
            self.assertIn(f"`{user.name}`", table)
            assert user.password is not None
            self.assertIn(f"`{user.password.text}`", table)
            self.assertIn(f"<sip:{user.name}@{config.domains[0]}>;auth_pass={user.password.text}", table)
        for point in points(config)[:3]:
            self.assertIn(point.sent_by, table)

    def test_commands_that_edit_the_configuration(self) -> None:
        """The call of sed makes what it says: a server on another address."""
        text = TAPFILE.read_text()
        edits = re.findall(r"^sed (?:-i )?'s/(.*?)/(.*)/' tapfiles/sipd.toml", read("README.md"), re.MULTILINE)
        self.assertEqual(len(edits), 1)
        results = []
        for pattern, replacement in edits:
            edited = "\n".join(re.sub(pattern, replacement, line, count=1) for line in text.split("\n"))
            path = Path(self.mktemp())
            path.write_text(edited)
            results.append(load(path))
        lan = results[0]
        self.assertEqual({listen.address for listen in lan.listen}, {"192.168.1.10", "::1"})
        self.assertEqual(lan.domains[0], "192.168.1.10")
        self.assertIn("then call sip:bob@192.168.1.10", greet(lan, points(lan)))

    def test_mistake(self) -> None:
        """The line about a misspelt key is what such a key gives."""
        shown = next(block for block in blocks("README.md") if block.startswith("lan.toml:")).rstrip()
        table: dict[str, Any] = {"domains": ["a.example"], "state_directory": "s", "limits": {"call": 30}}
        table["listen"] = [{"name": "udp", "transport": "udp", "address": "192.0.2.1"}]
        error = self.assertRaises(
            ConfigurationError, build, table, Surroundings(directory=Path(), environment={}), "lan.toml"
        )
        self.assertEqual(error.problems, [shown])

    def test_five_lines(self) -> None:
        """The application of the README has the service as its child, and starts nothing by itself."""
        namespace: dict[str, Any] = {}
        exec(blocks("README.md", "python")[0].replace("tapfiles/sipd.toml", str(TAPFILE)), namespace)
        (child,) = IServiceCollection(namespace["application"])
        self.assertIsInstance(child, SipService)
        self.assertFalse(child.running)

    def test_make_targets(self) -> None:
        """Each `make` command that a document names is there."""
        targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for name in OURS:
            for match in re.finditer(r"(?:^|`)make (\w+)", read(name), re.MULTILINE):
                self.assertIn(match[1], targets, name)

    def test_hops(self) -> None:
        """Each hop of the INVITE is a function of the file that it is said to be in."""
        hops = [row for row in rows(sections("README.md")["One INVITE, hop by hop"]) if row[0].isdigit()]
        self.assertGreaterEqual(len(hops), 12)
        for _, function, file, _ in hops:
            self.assert_defined(function.strip("`"), file.strip("`"))
        text = sections("README.md")["One INVITE, hop by hop"]
        self.assert_defined("SipStreamProtocol.dataReceived", "sipd/transport/tcp.py")
        for name, file in (
            ("Calling.response_received", "sipd/ua/calling.py"),
            ("IncomingCall.ring", "sipd/ua/incoming.py"),
            ("IncomingCall.accept", "sipd/ua/incoming.py"),
            ("Dialogue.run", "sipd/b2bua/dialogue.py"),
        ):
            self.assertIn(f"`{name}`", text)
            self.assert_defined(name, file)

    def test_map(self) -> None:
        """The map names every package, and modules that are there."""
        named: set[str] = set()
        for cell, text in rows(sections("README.md")["Map of the tree"])[2:]:
            for folder in quoted(cell):
                self.assertTrue((ROOT / folder).exists(), folder)
                named.update(f"{folder}{name}" for name in quoted(text) if name.endswith(".py"))
                named.add(folder)
        missing = sorted(name for name in named if not (ROOT / name).exists())
        self.assertEqual(missing, [])
        packages = {f"sipd/{path.parent.name}/" for path in (ROOT / "sipd").glob("*/__init__.py")}
        self.assertEqual(sorted(packages - named), [])

    def test_layers(self) -> None:
        """Who may import whom is what the contract says that is checked."""
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        layers = config["importlinter:contract:layers"]["layers"].strip()
        self.assertIn(layers + "\n", blocks("README.md"))

    def assert_defined(self, name: str, file: str) -> None:
        """Say that a class of a file has that method."""
        owner, method = name.split(".")
        tree = ast.parse((ROOT / file).read_text())
        methods = [
            node.name
            for cls in tree.body
            if isinstance(cls, ast.ClassDef) and cls.name == owner
            for node in cls.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        self.assertIn(method, methods, f"{name} in {file}")


class ApplicationTests(SynchronousTestCase):
    """The guide to building on sipd."""

    def test_application_guide(self) -> None:
        """Every example gives what it says it gives."""
        self.run_examples("application.md")

    def test_signalling_guide(self) -> None:
        """The same of the guide to endpoints and proxies."""
        self.run_examples("signalling.md")

    def run_examples(self, name: str) -> None:
        """Run the examples of a document, one after the other."""
        output: list[str] = []
        text = read(name).replace("```python\n", "\n").replace("\n```\n", "\n\n")
        test = doctest.DocTestParser().get_doctest(text, {}, name, f"docs/{name}", 0)
        self.assertGreater(len(test.examples), 50)
        results = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
        self.assertEqual(results.failed, 0, "".join(output))


class OperatorTests(SynchronousTestCase):
    """The guide to running sipd."""

    def test_every_section_is_explained(self) -> None:
        """Each section of the configuration has its paragraph, and each limit its line."""
        text = read("operator.md")
        for name, info in Config.model_fields.items():
            self.assertTrue(f"`[{name}]`" in text or f"`[[{name}]]`" in text or f"`{name}`" in text, name)
            self.assertTrue(info.annotation)
        limits = sections("operator.md")["`[limits]`"]
        for name in Limits.model_fields:
            self.assertIn(f"`{name}`", limits)

    def test_options_that_are_named_are_there(self) -> None:
        """What is written like an option of a section is one."""
        known = dict(_models())
        found = 0
        for name in quoted(read("operator.md")):
            section, dot, key = name.partition(".")
            if dot and section in known and re.fullmatch(r"[a-z_0-9]+", key):
                self.assertIn(key, known[section].model_fields, name)
                found += 1
        self.assertGreater(found, 5)

    def test_mistakes(self) -> None:
        """The lines that show mistakes are what these mistakes give."""
        shown = next(block for block in blocks("operator.md") if "listen[1].address" in block).splitlines()
        table: dict[str, Any] = {"domains": ["a.example"], "state_directory": "s", "limits": {"calls": 0}}
        table["listen"] = [
            {"name": "one", "transport": "udp", "address": "192.0.2.1"},
            {"name": "two", "transport": "udp", "address": "sip.example.com"},
        ]
        error = self.assertRaises(
            ConfigurationError, build, table, Surroundings(directory=Path(), environment={}), "/etc/sipd.toml"
        )
        self.assertEqual(error.problems, shown)

    def test_fail2ban(self) -> None:
        """The expression finds the address in the line that a wrong password leaves in the log."""
        (expression,) = re.findall(r"^failregex = (.*)$", read("operator.md"), re.MULTILINE)
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        clock = SimulatedClock()
        store = ConfiguredCredentials([Credentials(username="alice", password="right")])
        authenticator = DigestAuthenticator(store, clock=clock, entropy=Random(1).randbytes, algorithms=("MD5",))
        challenge = self.failureResultOf(
            authenticator.authenticate(builders.options("sip:example.com"), "example.com", proxy=False)
        )
        assert isinstance(challenge.value, RequestRefusedError)
        (nonce,) = re.findall('nonce="(.*?)"', challenge.value.headers[0][1])
        answer = f'Digest username="alice", realm="example.com", nonce="{nonce}", uri="sip:example.com", response="00"'
        request = builders.options("sip:example.com", headers=[("Authorization", answer)])
        self.failureResultOf(authenticator.authenticate(request, "example.com", proxy=False))
        lines = [format_text(event) for event in events if event.get("log_level") is LogLevel.warn]
        self.assertEqual(len(lines), 1)
        dateless = re.sub(r"^\S+ \S+", "", lines[0])
        found = re.search(expression.replace("<HOST>", r"(?P<host>\S+)"), dateless)
        assert found is not None
        self.assertEqual(found["host"], "192.0.2.1")

    def test_phrases_of_refusals(self) -> None:
        """Every phrase and every cause of the table of refusals is one that the code can give."""
        code = "\n".join(path.read_text() for path in (ROOT / "sipd").rglob("*.py") if "testing" not in path.parts)
        code = code.replace("Unauthorized", "")
        refusals = [row for row in rows(sections("operator.md")["Trouble"]) if row[0][:1].isdigit()]
        self.assertGreater(len(refusals), 20)
        for answer, cause, _ in refusals:
            phrase = re.match(r"\d{3} ([A-Z].*)", answer)
            for text in phrase[1].split(", ") if phrase else ():
                self.assertIn(f'"{text}"', code)
            for word in quoted(cause):
                if not word.startswith("sip:"):
                    self.assertTrue(
                        f'"{word}"' in code or f"class {word}(" in code or f'-{word.partition("-")[2]}"' in code
                    )


class NameTests(SynchronousTestCase):
    """What the documents name."""

    def test_links(self) -> None:
        """Each link inside of the project leads somewhere."""
        for path in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
                if "://" not in target:
                    self.assertTrue((path.parent / target).exists(), f"{path.name}: {target}")

    def test_paths(self) -> None:
        """Each path of the project is there."""
        pattern = re.compile(r"(?:sipd|tests|docs|tapfiles|benchmarks|twisted)/[\w./-]*")
        for name in OURS:
            for text in quoted(read(name)):
                if pattern.fullmatch(text):
                    self.assertTrue((ROOT / text).exists(), f"{name}: {text}")

    def test_modules_and_what_is_in_them(self) -> None:
        """Each dotted name that begins with sipd can be imported."""
        for name in OURS:
            for text in quoted(read(name)):
                if re.fullmatch(r"sipd(?:\.\w+)+", text):
                    self.assertTrue(_can_be_imported(text), f"{name}: {text}")

    def test_tests(self) -> None:
        """Each test that a document names exists."""
        count = 0
        for name in OURS:
            for text in quoted(read(name)):
                if re.fullmatch(r"(?:\w+\.)*test_\w+(?:\.test_\w+)?", text):
                    self.assertTrue(_is_test(text), f"{name}: {text}")
                    count += 1
        self.assertGreater(count, 200)

    def test_capabilities(self) -> None:
        """Each identifier has its line, in order, and each line says where it is and what shows it."""
        wanted = [
            f"S{group}.{number}" for group, last in enumerate((53, 25, 24, 34, 36)) for number in range(1, last + 1)
        ]
        found = [row for row in rows(read("capabilities.md")) if re.fullmatch(r"S\d\.\d+", row[0])]
        self.assertEqual([row[0] for row in found], wanted)
        for name, _, where, test in found:
            self.assertTrue(where and (test or "tcpdump" in where), name)

    def test_rfcs(self) -> None:
        """Each row about RFCs says where it is implemented and what shows it, or that it is not there yet."""
        found = [row for row in rows(read("rfc.md")) if row[0][:1].isdigit()]
        self.assertGreater(len(found), 60)
        for rfc, _, where, test, missing in found:
            self.assertTrue((quoted(where) and quoted(test)) or missing, rfc)

    def test_rfcs_that_are_wanted(self) -> None:
        """Each RFC that a server of this kind must have is there, and each section of one that matters most."""
        wishes = ROOT.parent / "shared" / "RFCS.md"
        if not wishes.exists():
            raise SkipTest("The list of what is wanted is not part of the project")
        text = wishes.read_text().partition("## 5.1")[2].partition("## 5.2")[0]
        places = [row[0] for row in rows(read("rfc.md")) if row[0][:1].isdigit()]
        wanted = [row for row in rows(text) if row[0][:1].isdigit()]
        self.assertGreater(len(wanted), 30)
        for rfcs, _, sections, _ in wanted:
            numbers = set(re.findall(r"\d{4}", rfcs))
            own = " ".join(place for place in places if numbers & set(re.findall(r"\d{4}", place)))
            self.assertEqual(sorted(numbers - set(re.findall(r"\d{4}", own))), [], rfcs)
            named = set(re.findall(r"\d+(?:\.\d+)+", sections)) - set(re.findall(r"\d+(?:\.\d+)+", own))
            self.assertEqual(sorted(named), [], rfcs)

    def test_lessons_that_are_cited(self) -> None:
        """Each lesson that code or a test cites has its line."""
        listed = {int(row[0]) for row in rows(read("lessons.md")) if row[0].isdigit()}
        cited: set[int] = set()
        for folder in ("sipd", "tests"):
            for path in (ROOT / folder).rglob("*.py"):
                for match in re.finditer(r"\b[Ll](?:essons?|ESSONS) (\d+(?:(?:, | and | to )\d+)*)", path.read_text()):
                    cited.update(int(number) for number in re.findall(r"\d+", match[1]))
        self.assertGreater(len(cited), 20)
        self.assertEqual(sorted(cited - listed), [])


def _models() -> list[tuple[str, type[Section]]]:
    """Give each section of the configuration by its name."""
    found = []
    for name, info in Config.model_fields.items():
        for candidate in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, Section):
                found.append((name, candidate))
    return found


def _can_be_imported(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if isinstance(found, InterfaceClass):
                return part in found
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@cache
def _tests_of(module: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / f"{module.replace('.', os.sep)}.py").read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _is_test(name: str) -> bool:
    """Say whether a name such as `ua.test_core.test_options`, or that of a module, is one."""
    module, _, function = name.rpartition(".")
    if (ROOT / "tests" / f"{name.replace('.', os.sep)}.py").is_file():
        return True
    return (ROOT / "tests" / f"{module.replace('.', os.sep)}.py").is_file() and function in _tests_of(module)
