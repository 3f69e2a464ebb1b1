"""Tests of `sipd.garbage`, in a process of its own each: there is one collector in a process."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

_LOOKS_LITTLE = """
import gc
from sipd import garbage

looked_at = []

def note(phase, info):
    if phase == "start":
        looked_at.append(sum(len(gc.get_objects(generation)) for generation in range(info["generation"] + 1)))

kept = [[] for _ in range(100_000)]
garbage.settle()
assert gc.get_freeze_count() > 100_000
gc.callbacks.append(note)
kept += [[] for _ in range(100_000)]
gc.callbacks.remove(note)
assert len(looked_at) >= 40, looked_at
assert max(looked_at) < 20_000, looked_at
"""
_FINDS_CYCLES = """
import weakref
from sipd import garbage

class Cycle:
    def __init__(self):
        self.itself = self

garbage.settle()
gone = weakref.ref(Cycle())
kept = [[] for _ in range(4_000)]
assert gone() is None
"""


class GarbageTests(SynchronousTestCase):
    """What stops everything else stops it for a short time."""

    def run_alone(self, script: str) -> None:
        """Run a script in a process of its own; what it asserts must hold."""
        command = [sys.executable, "-W", "error", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_looks_at_few(self) -> None:
        """However much there is, and comes, a collection looks at a small part of it: that takes milliseconds."""
        self.run_alone(_LOOKS_LITTLE)

    def test_finds_cycles(self) -> None:
        """What is young and cyclic is freed soon."""
        self.run_alone(_FINDS_CYCLES)
