"""Tests of `sipd.daemon.tap`: the command line, in this process."""

from __future__ import annotations

import io
import sys

from twisted.python.usage import UsageError

from sipd.daemon.tap import Options
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase


class OptionsTests(ConfigCase):
    """What the command line makes of its arguments."""

    def parse(self, *arguments: str) -> Options:
        """Give the options that these arguments are."""
        options = Options()
        options.parseOptions(list(arguments))
        return options

    def test_reads_the_configuration(self) -> None:
        """The configuration is read while the command line is: before anything is forked."""
        self.file.write_text(MINIMAL)
        self.assertEqual(self.parse("--config", str(self.file)).config.domains, ("example.com",))
        self.assertEqual(self.parse("-c", str(self.file)).config.domains, ("example.com",))

    def test_no_configuration(self) -> None:
        """Without --config there is a usage error that says so."""
        error = self.assertRaises(UsageError, self.parse)
        self.assertRegex(str(error), "^--config FILE is required")

    def test_unknown_option(self) -> None:
        """An unknown option is a usage error as well."""
        self.assertRaises(UsageError, self.parse, "--configuration", "x")

    def test_mistakes(self) -> None:
        """Mistakes end the start with one line each, and status 1; Python prints such a text and exits with 1."""
        self.file.write_text(MINIMAL + f'[[users]]\nname = "a"\npasword = "{HIDDEN}"\n[limits]\ncals = 1\n')
        for arguments in (("--config", str(self.file)), ("--check", "--config", str(self.file))):
            exit_ = self.assertRaises(SystemExit, self.parse, *arguments)
            lines = str(exit_.code).splitlines()
            self.assertEqual(len(lines), 3)
            self.assertTrue(all(line.startswith(f"{self.file}: ") for line in lines))
            self.assertNotIn(HIDDEN, str(exit_.code))

    def test_check(self) -> None:
        """A good configuration is said to be good, and the status is 0."""
        self.file.write_text(MINIMAL)
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        exit_ = self.assertRaises(SystemExit, self.parse, "--check", "--config", str(self.file))
        self.assertEqual((exit_.code, output.getvalue()), (0, f"{self.file}: good\n"))

    def test_help(self) -> None:
        """The help names every option and where the rest is described."""
        text = " ".join(Options().getUsage().split())
        for part in ("--config=", "--check", "tapfiles/sipd.toml", "twistd -n sipd --config FILE", "SIGTERM"):
            self.assertIn(part, text)
