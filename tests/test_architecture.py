"""Tests of the shape of the whole: who imports whom, what lies where, how large it is."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
#: The top level of the project, beside dot files.
TOP_LEVEL = {
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "docs",
    "pyproject.toml",
    "setup.cfg",
    "sipd",
    "tapfiles",
    "tests",
    "twisted",
}
MAX_LINES = 600


def modules(*folders: str) -> Iterator[Path]:
    """Give every Python file below these folders, but for those below a folder whose name begins with a dot."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
                yield path


def imported(module: Path) -> set[str]:
    """Give the names of all modules that a file imports, at its top and inside of functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


class ImportTests(SynchronousTestCase):
    """Who imports whom."""

    def test_contracts(self) -> None:
        """The contracts in setup.cfg hold: each layer imports only what lies below it, and the protocol is pure."""
        script = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
        # In a process of its own: inside a trial run the analysis stumbles over zope.interface's __provides__.
        result = subprocess.run(
            [sys.executable, "-c", script, "--config", "setup.cfg", "--no-cache"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("2 kept, 0 broken", result.stdout)

    def test_the_plugin_imports_nothing_of_sipd(self) -> None:
        """Every start of any twistd reads all plugins; ours costs nothing then."""
        plugin = ROOT / "twisted" / "plugins" / "sipd_plugin.py"
        self.assertEqual(imported(plugin), {"twisted.application.service", "twisted.application.service.ServiceMaker"})

    def test_plugins_are_no_package(self) -> None:
        """An `__init__.py` in `twisted/` would hide Twisted itself."""
        self.assertEqual(sorted(path.name for path in modules("twisted")), ["sipd_plugin.py"])

    def test_the_global_reactor_is_imported_in_one_place(self) -> None:
        """Only `makeService` imports the reactor; everything else is given what it needs of one."""
        users = [path for path in modules("sipd") if "twisted.internet.reactor" in imported(path)]
        self.assertEqual([path.relative_to(ROOT).as_posix() for path in users], ["sipd/daemon/tap.py"])


class LayoutTests(SynchronousTestCase):
    """What lies where, and how large it is."""

    def test_top_level(self) -> None:
        """The top level of what is under version control is exactly what was agreed, beside dot files."""
        result = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        if result.returncode != 0:
            self.assertLessEqual(TOP_LEVEL, {path.name for path in ROOT.iterdir()})
            return
        found = {name.split("/", 1)[0] for name in result.stdout.splitlines()}
        self.assertEqual({name for name in found if not name.startswith(".")}, TOP_LEVEL)

    def test_modules_are_small(self) -> None:
        """No module is longer than 600 lines: one has one subject."""
        long = {
            path.relative_to(ROOT).as_posix(): count
            for path in modules("sipd", "tests", "benchmarks", "twisted")
            if (count := len(path.read_text().splitlines())) > MAX_LINES
        }
        self.assertEqual(long, {})

    def test_every_module_has_a_docstring(self) -> None:
        """Each module says what its subject is."""
        silent = [
            path.relative_to(ROOT).as_posix()
            for path in modules("sipd", "tests", "benchmarks", "twisted")
            if not ast.get_docstring(ast.parse(path.read_text()))
        ]
        self.assertEqual(silent, [])

    def test_every_test_has_a_sentence(self) -> None:
        """Each test says in a docstring what holds."""
        silent = [
            f"{path.relative_to(ROOT).as_posix()}:{node.lineno} {node.name}"
            for path in modules("tests")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
            and not ast.get_docstring(node)
        ]
        self.assertEqual(silent, [])

    def test_every_package_of_tests_is_found(self) -> None:
        """Each folder with tests is a package, or trial would pass over it."""
        folders = {path.parent for path in modules("tests") if path.name.startswith("test_")}
        self.assertEqual([folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()], [])
