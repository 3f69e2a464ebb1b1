"""`python -m benchmarks`: every measurement, one after another; options of each are those of its own module.

python -m benchmarks                  all, as they stand in docs/performance.md
python -m benchmarks messages media   only these
python -m benchmarks --quick          all, short: to see that they run, not to quote
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Sequence

from sipd.sip import message

MODULES = ("messages", "calls", "media", "registrar", "telephone")
QUICK = {
    "messages": ["--repeats", "1", "--number", "1000"],
    "calls": ["--repeats", "1", "--duration", "3", "--aftermath", "1", "--rates", "100", "200", "--held", "100"],
    "media": ["--quick"],
    "registrar": [],
    "telephone": ["--calls", "500"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure sipd.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="short runs")
    options = parser.parse_args(arguments)
    unknown = set(options.modules) - set(MODULES)
    if unknown:
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    processors = len(os.sched_getaffinity(0))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    kind = "interpreted" if message.__file__.endswith(".py") else "compiled"
    print(f"sipd {kind}, {python}, {platform.platform()}, {processors} processors")
    if processors < 2:
        print("With one processor the load and the server share it: the figures are worthless.", file=sys.stderr)
    sys.stdout.flush()
    failed: list[str] = []
    for name in options.modules or MODULES:
        if importlib.util.find_spec(f"benchmarks.{name}") is not None:
            command = [sys.executable, "-m", f"benchmarks.{name}", *(QUICK[name] if options.quick else [])]
            failed += [name] if subprocess.run(command).returncode else []
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
