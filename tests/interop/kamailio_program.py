"""Kamailio as a program of one test; what it does is up to the configuration."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.interop.case import InteropTestCase
from tests.interop.programs import REQUIRED_VARIABLE, MissingProgramError, Program, find_program

_START_LIMIT = 40.0
_STOP_LIMIT = 20.0
_BEGINNING = """\
debug=2
log_stderror=yes
children=2
tcp_children=2
auto_aliases=no
event_route[core:worker-one-init] {
    xlog("L_NOTICE", "ready to serve\\n");
}
"""
_MODULES = ("tm", "sl", "rr", "pv", "textops", "siputils", "xlog")


class KamailioProgram:
    """A Kamailio with the modules that each configuration of ours needs.

    Args:
        case: the test that it runs in; skipped where Kamailio, or a module of it, is not installed.
        modules: more of them, by name.
        package: the Debian package that the last one of these comes with.
    """

    def __init__(self, case: InteropTestCase, modules: tuple[str, ...] = (), package: str = "kamailio") -> None:
        self.port = case.ports.take()
        self.directory = case.directory / "kamailio"
        self.directory.mkdir()
        self.program: Program | None = None
        self._case = case
        self._path = find_program("kamailio", {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"})
        self._modules = modules
        if modules and not any(Path("/usr/lib").glob(f"*/kamailio/modules/{modules[-1]}.so")):
            advice = f"Kamailio has no module {modules[-1]} (Debian package {package})"
            if os.environ.get(REQUIRED_VARIABLE) == "1":
                raise MissingProgramError(f"{advice}, and {REQUIRED_VARIABLE}=1 says that it must be")
            raise SkipTest(advice)

    def configure(self, configuration: str) -> None:
        """Say what it does: everything but modules, and what each Kamailio here has in common."""
        modules = "".join(f'loadmodule "{name}.so"\n' for name in (*_MODULES, *self._modules))
        self._file.write_text(modules + _BEGINNING + configuration)

    @property
    def _file(self) -> Path:
        return self.directory / "kamailio.cfg"

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        self.program = self._case.start(
            self._path, "-f", str(self._file), "-DD", "-E", "-m", "32", "-M", "4", "-Y", str(self.directory)
        )
        await self.program.says("ready to serve", _START_LIMIT)

    async def stop(self) -> None:
        """Stop it: it is gone, and what was in its memory is, too."""
        assert self.program is not None
        self.program.send_signal("TERM")
        await self.program.ends(_STOP_LIMIT)

    def lines(self, words: str) -> list[str]:
        """Give what follows these words in each line of its log that has them, since its start."""
        assert self.program is not None
        lines = self.program.output.decode(errors="replace").splitlines()
        return [line.partition(words)[2].strip() for line in lines if words in line]
