"""Plays all races, and writes docs/races.md."""

from __future__ import annotations

from tests.races.table import PATH, render_all

if __name__ == "__main__":
    PATH.write_text(render_all())
