"""What must hold between two values of ``[guards]``; called by `sipd.daemon.checks`."""

from __future__ import annotations

from collections.abc import Iterator

from sipd.daemon.problems import KeyPath, Problem
from sipd.daemon.sections.guards import Banning, Overload
from sipd.daemon.values import Table, shown


def find_guard_conflicts(table: Table) -> Iterator[Problem]:
    """Give every mistake that lies in the relation of two values of ``[guards]``."""
    guards = _table(table.get("guards"))
    yield from _access(guards)
    yield from _in_order(guards)
    first: dict[str, int] = {}
    budgets = guards.get("budgets")
    for index, budget in enumerate(budgets if isinstance(budgets, list) else ()):
        if isinstance(budget, dict):
            yield from _budget(("guards", "budgets", index), budget, first)


def _table(value: object) -> Table:
    return value if isinstance(value, dict) else {}


def _access(guards: Table) -> Iterator[Problem]:
    """A network that is on both lists would be denied, and who wrote that wanted something else."""
    allow, deny = guards.get("allow"), guards.get("deny")
    if not isinstance(allow, list) or not isinstance(deny, list):
        return
    for index, network in enumerate(allow):
        if network in deny:
            text = f"a network that is not in deny, too, expected (got {shown(network)})"
            yield Problem(("guards", "allow", index), text)


def _in_order(guards: Table) -> Iterator[Problem]:
    for section, lower, upper, defaults in (
        ("bans", "duration", "longest", Banning()),
        ("overload", "lag", "last_lag", Overload()),
    ):
        values = _table(guards.get(section))
        low, high = (values.get(key, getattr(defaults, key)) for key in (lower, upper))
        if not _is_number(low) or not _is_number(high) or (section == "overload" and high == 0):
            continue
        if low > high:
            key = lower if lower in values else upper
            text = f"{lower} no greater than {upper} expected (got {low:g} and {high:g})"
            yield Problem(("guards", section, key), text)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _budget(path: KeyPath, budget: Table, first: dict[str, int]) -> Iterator[Problem]:
    index = path[-1]
    name = budget.get("name")
    if isinstance(name, str) and isinstance(index, int) and first.setdefault(name, index) != index:
        text = f"a name of its own expected (guards.budgets[{first[name]}] is {shown(name)} too)"
        yield Problem((*path, "name"), text)
    if not budget.keys() & {"seconds", "attempts", "parallel"}:
        yield Problem((*path, "seconds"), "required (or attempts, or parallel), and missing: there is nothing to spend")
