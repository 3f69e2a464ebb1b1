"""The examples, checked as the code of somebody who has installed sipd: its types are there by `py.typed`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from unittest import TestCase

from tests.examples.support import ROOT

#: What a user of Twisted writes. Much of Twisted is untyped, and not the caller's to type.
CONFIGURATION = """
[mypy]
plugins = mypy_zope:plugin
untyped_calls_exclude = twisted
"""


class TypingTests(TestCase):
    """mypy, in a directory that has nothing but the examples."""

    def test_examples_pass_strictly(self) -> None:
        """Where sipd is installed, the examples pass `mypy --strict`."""
        directory = Path(mkdtemp(prefix="sipd-examples-"))
        self.addCleanup(shutil.rmtree, directory)
        (directory / "mypy.ini").write_text(CONFIGURATION)
        for example in (ROOT / "tapfiles").glob("*.py"):
            shutil.copy(example, directory)
        # Nothing is read there again: what mypy remembers would only be written.
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir=/dev/null", "."]
        checked = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
