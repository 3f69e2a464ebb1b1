"""In which order several trunks are tried that all lead to a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sipd.interfaces import Entropy


class Strategy(Enum):
    """What decides on the order."""

    #: As they are written.
    SEQUENCE = "sequence"
    #: By chance: each next one among those that are left, in proportion to their weights.
    WEIGHT = "weight"
    #: The cheapest first; those of equal cost as they are written.
    COST = "cost"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trunk that leads there.

    Args:
        trunk: its name.
        weight: its share, against those of the others; one of weight 0 comes after all that have one.
        cost: of a call that way, in any unit.
    """

    trunk: str
    weight: int = 1
    cost: float = 0.0


def put_in_order(candidates: Sequence[Candidate], strategy: Strategy, entropy: Entropy) -> list[Candidate]:
    """Give the trunks in the order in which they are to be tried.

    Args:
        candidates: as they are written.
        strategy: what decides.
        entropy: is asked 8 octets for each place that chance decides on, and for nothing else.
    """
    match strategy:
        case Strategy.COST:
            return sorted(candidates, key=lambda one: one.cost)
        case Strategy.WEIGHT:
            return _by_weight(candidates, entropy)
    return list(candidates)


def _by_weight(candidates: Sequence[Candidate], entropy: Entropy) -> list[Candidate]:
    left = [one for one in candidates if one.weight > 0]
    total = sum(one.weight for one in left)
    order = []
    while len(left) > 1:
        # 64 bits more or less evenly over a total that is smaller by many orders of magnitude.
        point = int.from_bytes(entropy(8), "big") * total >> 64
        for one in left:
            point -= one.weight
            if point < 0:
                left.remove(one)
                total -= one.weight
                order.append(one)
                break
    return order + left + [one for one in candidates if one.weight <= 0]
