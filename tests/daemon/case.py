"""What the tests of configurations share."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.config import load
from sipd.daemon.sections import Config
from sipd.errors import ConfigurationError

#: Whatever is written where a secret goes: it must never be seen again.
HIDDEN = "hunter2-correct-horse"

MINIMAL = """
domains = ["example.com"]
state_directory = "state"
[[listen]]
name = "udp"
transport = "udp"
address = "192.0.2.1"
"""


class ConfigCase(SynchronousTestCase):
    """Writes configuration files into a directory of the test's own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        self.file = self.directory / "sipd.toml"

    def load(self, text: str, **environment: str) -> Config:
        """Read a configuration of that text."""
        self.file.write_text(text)
        return load(self.file, environment)

    def problems(self, text: str, **environment: str) -> list[str]:
        """Give the lines about a file that has mistakes, without its name."""
        error = self.assertRaises(ConfigurationError, self.load, text, **environment)
        prefix = f"{self.file}: "
        for line in error.problems:
            self.assertTrue(line.startswith(prefix), line)
            self.assertNotIn("\n", line)
            self.assertNotIn(HIDDEN, line)
        return [line.removeprefix(prefix) for line in error.problems]

    def assert_problem(self, text: str, *expected: str, **environment: str) -> None:
        """Say that a file has exactly these mistakes."""
        self.assertEqual(self.problems(text, **environment), list(expected))
