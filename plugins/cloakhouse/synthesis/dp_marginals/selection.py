"""Which columns are measured together: a tree of pairs first, then cliques of three along it, chosen privately.

Each round draws one candidate by the exponential mechanism, over the scores of `scores`. Stopping is a candidate of
score 0: what isn't worth its noise isn't measured. After AIM (McKenna et al. 2022, arXiv 2201.12677), whose score and
penalty these are; its many rounds are replaced by two passes over the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cloakhouse.privacy import noise
from cloakhouse.synthesis.dp_marginals.scores import Score
from cloakhouse.synthesis.dp_marginals.spending import Purse

Draw = Callable[[Sequence[Score]], int]  # one round: the position of a high score, or of none: the number of scores


@dataclass(frozen=True)
class Edge:
    """Column `child` is drawn given `parent`."""

    child: str
    parent: str


def rounds(purse: Purse, what: str, rho: float) -> Draw:
    """Return a draw of one round, which spends `rho` from `purse` before it is made."""

    def draw(scores: Sequence[Score]) -> int:
        purse.spend(what, "exponential mechanism", rho)
        values = np.array([*(score.value for score in scores), 0.0], np.float64)
        return noise.noisy_max(values, float(max(score.sensitivity for score in scores)), rho)

    return draw


def tree(own: Sequence[str], given: Sequence[str], scores: Mapping[Edge, Score], draw: Draw) -> list[Edge]:
    """Return edges in the order in which columns are drawn.

    Each round attaches one of `own` to a column that is attached or `given`. Columns that are left when stopping wins
    depend on nothing. At most `len(own)` rounds, one fewer without `given`.
    """
    attached, edges = list(given), list[Edge]()
    while open_ := [name for name in own if name not in attached]:
        candidates = [e for e in scores if e.child in open_ and (e.parent in attached or not attached)]
        if not candidates:
            break
        chosen = draw([scores[edge] for edge in candidates])
        if chosen == len(candidates):
            break
        edge = candidates[chosen]
        attached += [name for name in (edge.parent, edge.child) if name not in attached]
        edges.append(edge)
    return edges


def wider(edges: Sequence[Edge], most: int) -> list[tuple[Edge, str]]:
    """Return candidates of cliques: an edge and a third column, drawn before the child and joined to the parent.

    So that (parent, third) is a pair that is measured as well. At most `most`, early ones first.
    """
    found: list[tuple[Edge, str]] = []
    for at, edge in enumerate(edges):
        for other in edges[:at]:
            if edge.parent in (other.child, other.parent):
                found.append((edge, other.child if other.parent == edge.parent else other.parent))
    return found[:most]


def cliques(scores: Mapping[tuple[Edge, str], Score], draw: Draw) -> dict[Edge, str]:
    """Return the third column of chosen edges. At most as many rounds as edges have candidates."""
    chosen: dict[Edge, str] = {}
    while open_ := [c for c in scores if c[0] not in chosen]:
        at = draw([scores[c] for c in open_])
        if at == len(open_):
            break
        chosen[open_[at][0]] = open_[at][1]
    return chosen
