"""The examples, loaded from their files, on a simulated network."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, FirstError

from tests.phone.support import PhoneCase

ROOT = Path(__file__).resolve().parent.parent.parent


def load_example(name: str) -> Any:
    """Give an example as a module."""
    spec = spec_from_file_location(f"example_{name}", ROOT / "tapfiles" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def said() -> Iterator[list[str]]:
    """Give the lines that are printed meanwhile, when it is over."""
    lines: list[str] = []
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        yield lines
    lines += printed.getvalue().splitlines()


class ExampleCase(PhoneCase):
    """Runs examples beside phones."""

    def setUp(self) -> None:
        """Have nothing running."""
        super().setUp()
        self.running: list[Deferred[Any]] = []
        self.addCleanup(self.end_examples)

    def run_example(self, name: str, address: str, *arguments: str, seconds: float = 1.0, **more: Any) -> Deferred[Any]:
        """Run one at an address, for so long for now."""
        running = Deferred.fromCoroutine(load_example(name).main(self.network.host(address), *arguments, **more))
        self.running.append(running)
        self.clock.advance(seconds)
        return running

    def end_examples(self) -> None:
        """End what runs, as Ctrl-C would not: everything that they began has to end in good order."""
        for running in self.running:
            running.addErrback(lambda failure: failure.trap(CancelledError, FirstError))
            running.cancel()
        self.clock.advance(60.0)
        for running in self.running:
            self.successResultOf(running)
