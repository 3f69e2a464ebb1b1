"""The table of all races, docs/races.md: what was played, and how it went."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.races import crossing, forks, losses, moratorium, mortal, offers, transfers
from tests.races.flow import Flow, Result

PATH = Path(__file__).parents[2] / "docs" / "races.md"

#: Headings, and the races below them.
SECTIONS: tuple[tuple[str, tuple[Flow, ...]], ...] = (
    ("Before the ACK", moratorium.FLOWS),
    ("Against a BYE", mortal.FLOWS),
    ("Changes that meet", crossing.FLOWS),
    ("Offers and answers", offers.FLOWS),
    ("Forks", forks.FLOWS),
    ("Transfers", transfers.FLOWS),
    ("Lost, late and repeated", losses.FLOWS),
)

_HEAD = """\
# Races

Written by `make races`, which plays every race below; the tests play them, too, and fail where this page says anything
else. Two phones talk through sipd on a simulated network. They keep to the RFCs by code of their own (`tests/phones/`),
and what is played on a leg has messages that take 0.1 s there and 0.01 s on the other one. Each race is played on the
leg of the caller and on that of the callee, and at as many delays as the row says, from the first to the last.

A row passes if at every delay one of its outcomes comes about, and each of them at some delay; if both ends believe
the same about directions, codecs and addresses as long as the call is up; if no phone saw anything against the rules,
nor does what sipd sent break one of those in `tests/simulation/rules.py`; and if in the end there is one record that
says what the caller saw, and no dialog, transaction, timer or media port is left.

The sections are those of the RFC that is named; letters are its appendices.
"""

_COLUMNS = """\
| RFC, section | race | what is right | outcomes | delays | caller's leg | callee's leg |
|---|---|---|---|---|---|---|
"""


def render(results: Iterable[tuple[str, Iterable[Result]]]) -> str:
    """Write the page.

    Args:
        results: headings, and what became of the races below them.
    """
    sections = [
        f"\n## {heading}\n\n{_COLUMNS}" + "".join(f"{result.row()}\n" for result in played)
        for heading, played in results
    ]
    return _HEAD + "".join(sections)


def render_all() -> str:
    """Play everything, and write the page."""
    return render((heading, [flow.run() for flow in flows]) for heading, flows in SECTIONS)
