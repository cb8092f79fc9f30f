"""The gate's promise: planted leaks are blocked by the default thresholds, honest engines are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.support.honest import fresh, independent
from tests.support.leaks import LEAKS

from cloakhouse.privacy.attacks.battery import attack, blocked, figure_names

RELEASE = "exact copies, share of the release: excess"
ONE = "exact copies, most of the release from one household: excess"
REPRODUCED = "memorised customer, rows reproduced: excess"
REPEATED = "memorised customer, repetitions of a row: excess"
ROWS_FOUND = "membership, rows: true positives at 1 % false positives, excess"
FOUND = "membership, households: true positives at 2 % false positives, excess"
CAUGHT_BY = {
    "half of the rows copied": {RELEASE, ROWS_FOUND, FOUND, "linkability, rows: risk"},
    "one row in twenty copied": {RELEASE, FOUND},
    "half copied with 5 % jitter": {"near copies, share of the release: excess", ROWS_FOUND, FOUND},
    "one household in ten copied": {RELEASE, REPRODUCED, FOUND, ROWS_FOUND},
    "one customer, 0.5 % of the release": {ONE, REPRODUCED},
    "one customer, three rows, 0.5 %": {ONE, REPEATED},
    "one customer, each row once": {REPRODUCED},
}
HONEST: dict[str, Callable[[Any, np.random.Generator], pa.Table]] = {
    "rows of strangers": lambda s, rng: fresh(s.others, s.honest.num_rows, rng),
    "product of marginals": lambda s, rng: independent(s.training, s.columns, s.honest.num_rows, rng),
    "spanning tree": lambda s, rng: s.honest,
}


@pytest.mark.parametrize("name", LEAKS)
def test_every_planted_leak_is_blocked(name: str, sample: Any) -> None:
    leaky = LEAKS[name](sample.honest, sample.training, np.random.default_rng(9))
    risks = attack(leaky, sample.training, sample.holdout, sample.columns, seed=1)
    assert set(blocked(risks, sample.columns)) >= CAUGHT_BY[name]


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_release_passes(name: str, sample: Any) -> None:
    release = HONEST[name](sample, np.random.default_rng(8))
    heard: list[tuple[int, int, str]] = []
    risks = attack(
        release,
        sample.training,
        sample.holdout,
        sample.columns,
        seed=1,
        report=lambda done, total, unit: heard.append((done, total, unit)),
    )
    assert blocked(risks, sample.columns) == ()
    assert tuple(risk.name for risk in risks) == figure_names(sample.columns)
    assert {risk.units for risk in risks} == {1_600}
    assert heard == [(done, 7, "attacks") for done in range(1, 8)]
    assert all(risk.value is not None and risk.bound is not None and risk.value <= risk.bound for risk in risks)
