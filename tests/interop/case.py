"""The base of tests with real programs: a directory of their own, and nothing left running."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.interop.programs import Program, find_program
from tests.namespaces import Namespace
from tests.ports import Ports


class InteropTestCase(TestCase):
    """Skipped, with the name of the Debian package, where one of `programs` is not installed."""

    programs: ClassVar[tuple[str, ...]] = ()
    timeout = 120

    def setUp(self) -> None:
        """Find the programs, and make the directory."""
        from twisted.internet import reactor  # noqa: TID251 - real sockets, real processes

        self.reactor = reactor
        self.paths = {name: find_program(name) for name in self.programs}
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.ports = Ports()
        self.started: list[Program] = []

    def start(
        self,
        name: str,
        *arguments: str,
        label: str = "",
        environment: Mapping[str, str] | None = None,
        namespace: Namespace | None = None,
    ) -> Program:
        """Start a program in the test's directory, and in a network namespace; it is ended when the test is."""
        program = Program(label or Path(name).name, self.reactor)
        self.started.append(program)
        command = [self.paths.get(name, name), *arguments]
        if namespace is not None:
            command = ["nsenter", f"--net={namespace.path}", *command]
        program.start(self.reactor, command, directory=self.directory, environment=environment)
        self.addCleanup(lambda: Deferred.fromCoroutine(program.stop()))
        return program

    def pause(self, duration: float) -> Deferred[None]:
        """Let real time pass, such as that in which audio is to flow."""
        return deferLater(self.reactor, duration)

    def explain(self) -> str:
        """Give the end of every program's output, for the message of a failed assertion."""
        return "\n" + "\n".join(program.explain() for program in self.started)
