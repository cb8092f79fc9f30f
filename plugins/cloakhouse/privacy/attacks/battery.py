"""All attacks on one release, and the default thresholds of their bounds.

A release is first looked at for copies (of rows, of one customer), then attacked by membership inference, singling
out, linkability and inference (Article 29 Working Party, WP 216; Giomi et al. 2022, arXiv 2211.10459), each time by
row and by household. Distance to the closest record alone is none of the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from cloakhouse.privacy.attacks.copies import copies
from cloakhouse.privacy.attacks.density import density
from cloakhouse.privacy.attacks.inference import inference
from cloakhouse.privacy.attacks.limits import LIMITS, THRESHOLDS, blocked, figure_names, threshold_of
from cloakhouse.privacy.attacks.linkability import linkability
from cloakhouse.privacy.attacks.membership import membership
from cloakhouse.privacy.attacks.memorised import memorised
from cloakhouse.privacy.attacks.population import AttackColumn, Population, Report, Risk, check
from cloakhouse.privacy.attacks.setting import Setting
from cloakhouse.privacy.attacks.singling_out import singling_out

_ATTACKS: tuple[Callable[[Setting], tuple[Risk, ...]], ...] = (
    copies,
    memorised,
    membership,
    density,
    singling_out,
    linkability,
    inference,
)


__all__ = ["LIMITS", "THRESHOLDS", "attack", "blocked", "figure_names", "threshold_of"]


def _silent(done: int, total: int, unit: str) -> None:
    """Report nothing."""


def attack(
    synthetic: pa.Table,
    training: Population,
    holdout: Population,
    columns: Sequence[AttackColumn],
    *,
    seed: int,
    report: Report = _silent,
) -> tuple[Risk, ...]:
    """Return every figure of `figure_names(columns)`, in that order; `report(done, total, "attacks")` on the way.

    `training` is the whole population the release was made from, `holdout` households the engine never saw, 400 or
    more of each. The two may differ in size: what depends on size is compared in turns over equally many households,
    the rest against one reference. Repeatable for a seed. A figure that can't be computed has the value None.

    Raises ContractError if columns are missing, repeated or of another type on one side, or units don't fit the rows;
    StageError if a table is empty or a side has too few households, with the number that is lacking.
    """
    check(synthetic, training, holdout, columns)
    setting = Setting.of(synthetic, training, holdout, columns, seed)
    found: list[Risk] = []
    for done, run in enumerate(_ATTACKS, start=1):
        found += run(setting)
        report(done, len(_ATTACKS), "attacks")
    return tuple(found)
