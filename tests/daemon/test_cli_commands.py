"""Tests of `sipd.daemon.cli` and of `sipd check`, in this process."""

from __future__ import annotations

import io
import subprocess
import sys

from sipd.daemon.cli import CommandLine, main
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase


class CommandCase(ConfigCase):
    """Runs commands."""

    def run_sipd(self, *arguments: str) -> tuple[int, str, str]:
        """Give exit status, standard output and standard error."""
        output, errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", output)
        self.patch(sys, "stderr", errors)
        try:
            status = main(arguments)
        except SystemExit as exit_:  # which Twisted's --help does
            status = int(exit_.code or 0)
        self.assertNotIn(HIDDEN, output.getvalue() + errors.getvalue())
        return status, output.getvalue(), errors.getvalue()


class CommandLineTests(CommandCase):
    """The command as a whole."""

    def test_help(self) -> None:
        """The help lists every command, and each has one of its own that names it."""
        status, output, _ = self.run_sipd("--help")
        self.assertEqual(status, 0)
        names = [name for name, *_ in CommandLine.subCommands]
        self.assertGreaterEqual(set(names), {"check", "route", "reload", "status", "trunks"})
        for name in names:
            self.assertRegex(output, rf"\n +{name} +\w")
            status, text, _ = self.run_sipd(name, "--help")
            self.assertEqual(status, 0)
            self.assertIn(f"Usage: sipd {name}", text)

    def test_version(self) -> None:
        """The version is sipd's own, wherever it is asked for."""
        for arguments in (("--version",), ("check", "--version")):
            status, output, _ = self.run_sipd(*arguments)
            self.assertEqual(status, 0)
            self.assertRegex(output, r"^sipd [0-9]")

    def test_soon_there(self) -> None:
        """Who asks how sipd does, as monitoring does all the time, waits for nothing that other commands need."""
        script = (
            "import sys; from sipd.daemon.cli import main; main(['status', '-s', '/nowhere']);"
            "print(*sorted({'pydantic', 'sqlalchemy', 'sipd.ua', 'sipd.media', 'sipd.b2bua'} & set(sys.modules)))"
        )
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(ended.stdout, "\n")
        self.assertIn("/nowhere/control", ended.stderr)

    def test_no_command(self) -> None:
        """Without a command, or with one that is none, the status is 2, and the help is not far."""
        status, _, errors = self.run_sipd()
        self.assertEqual(status, 2)
        self.assertIn("check", errors)
        status, _, errors = self.run_sipd("frobnicate")
        self.assertEqual(status, 2)
        self.assertIn("sipd --help", errors)


class CheckTests(CommandCase):
    """`sipd check`."""

    def test_good(self) -> None:
        """Good files are said to be good, by the name that was given, with status 0."""
        self.file.write_text(MINIMAL)
        status, output, errors = self.run_sipd("check", str(self.file), "--config", str(self.file))
        self.assertEqual((status, output, errors), (0, f"{self.file}: good\n" * 2, ""))

    def test_all_mistakes_of_all_files(self) -> None:
        """Each mistake of each file is a line, those of a file that is no TOML or not there, too; the status is 1."""
        mistakes = "\n".join(f'[[users]]\nname = "u{number}"\npasword = "{HIDDEN}"' for number in range(10))
        self.file.write_text(MINIMAL + mistakes)
        good, broken = self.directory / "good.toml", self.directory / "broken.toml"
        good.write_text(MINIMAL)
        broken.write_text("[")
        absent = self.directory / "absent.toml"
        status, output, errors = self.run_sipd("check", str(self.file), str(good), str(broken), str(absent))
        self.assertEqual((status, output), (1, f"{good}: good\n"))
        lines = errors.splitlines()
        self.assertEqual(len(lines), 22)
        self.assertEqual(sum(line.startswith(f"{self.file}: users[") for line in lines), 20)
        self.assertRegex(lines[20], r"broken\.toml:1:\d+: not TOML")
        self.assertRegex(lines[21], r"absent\.toml: cannot be read")

    def test_which(self) -> None:
        """Without a file there is nothing to check."""
        self.assertEqual(self.run_sipd("check")[0], 2)


class RunningTests(CommandCase):
    """`sipd reload` and `sipd status` where nobody runs; with a daemon: `tests.daemon.test_reload_process`."""

    def test_nobody(self) -> None:
        """Where no daemon is, or nobody knows where to look, the status is 1 and a line says why."""
        self.file.write_text(MINIMAL)
        for command in ("reload", "status", "trunks"):
            status, _, errors = self.run_sipd(command, "-c", str(self.file))
            self.assertEqual(status, 1)
            self.assertRegex(errors, rf"no sipd can be reached at {self.directory}/state/control: ")
        self.file.write_text("domains = 5")
        self.assertRegex(self.run_sipd("status", "-c", str(self.file))[2], "names no state directory")
        self.file.unlink()
        self.assertRegex(self.run_sipd("status", "-c", str(self.file))[2], "cannot be read")

    def test_misuse(self) -> None:
        """Either a file or a directory has to be given."""
        self.assertEqual(self.run_sipd("reload")[0], 2)
        self.assertEqual(self.run_sipd("reload", "-c", "x", "-s", "y")[0], 2)
