from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from tests.support.honest import BASKETS, baskets, split, tree

from cloakhouse.privacy.attacks import AttackColumn, Population

ROWS = 8_000  # of a release
GUESSED = ("value", "store_id")


@dataclass(frozen=True)
class Sample:
    """Real baskets of 18 weeks: both sides, other households, and an honest release."""

    training: Population
    holdout: Population
    others: Population
    honest: pa.Table
    columns: tuple[AttackColumn, ...]


@pytest.fixture(scope="session")
def sample() -> Sample:
    rng = np.random.default_rng(5)
    training, holdout, others = split(baskets(18), (800, 800, 700), rng)
    columns = tuple(replace(column, sensitive=column.name in GUESSED) for column in BASKETS)
    return Sample(training, holdout, others, tree(training, columns, ROWS, rng), columns)
