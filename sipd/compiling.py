"""Builds sipd, with the modules that every message passes compiled to C if that is wanted (PEP 517).

    SIPD_COMPILE=1 pip install .

takes a C compiler and about two minutes, and changes nothing but the speed: the same sources, typed as they are, go
through mypyc. Without the variable nothing is compiled. SIPD_COMPILE_LEVEL=0 has the C compiler optimise nothing: that
takes a fifth of the time, for tests. Nothing here is imported by a running sipd.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import setuptools
from setuptools import build_meta

#: Packages that are compiled as a whole: without coroutines and class decorators, which mypyc has no fast form for.
PACKAGES = ("sip", "sdp", "transaction")
#: But for these: documents that few messages carry. Compiled code does not get on with the XML parser of the standard
#: library (a segmentation fault in a dialog-info document).
LEFT_OUT = ("sip/dialog_documents.py", "sip/presence_documents.py", "sip/summaries.py", "sip/xml_documents.py")
#: Modules that are compiled of the others: timers, and what a relay does with each packet beside forwarding it.
MODULES = ("lanes.py", "media/express.py", "media/watch.py", "records.py", "rtp/quality.py")
#: The type checker's plugins read the types of what sipd imports.
_COMPILER = ("mypy == 2.4.1", "mypy-zope == 1.0.17", "pydantic", "twisted", "zope.interface")

build_sdist = build_meta.build_sdist
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_wheel
build_editable = build_meta.build_editable
get_requires_for_build_editable = build_meta.get_requires_for_build_editable


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Name what has to be there to build, the compiler too if it is wanted."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *(_COMPILER if _is_wanted() else ())]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build the wheel, for every platform or with compiled modules for this one."""
    with _extensions():
        return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def _is_wanted() -> bool:
    return os.environ.get("SIPD_COMPILE", "0") not in ("", "0")


@contextmanager
def _extensions() -> Iterator[None]:
    """Add the compiled modules to what ``setup`` is called with: setup.cfg cannot name them."""
    if not _is_wanted():
        yield
        return
    from mypyc.build import mypycify

    paths = [path for package in PACKAGES for path in sorted(Path("sipd", package).glob("*.py"))]
    paths += [Path("sipd", module) for module in MODULES]
    left_out = {Path("sipd", module) for module in LEFT_OUT}
    chosen = [str(path) for path in paths if path.name != "__init__.py" and path not in left_out]
    extensions: Any = mypycify(chosen, debug_level="0", opt_level=os.environ.get("SIPD_COMPILE_LEVEL", "3"))
    setup = setuptools.setup
    setuptools.setup = functools.partial(setup, ext_modules=extensions)
    try:
        yield
    finally:
        setuptools.setup = setup
