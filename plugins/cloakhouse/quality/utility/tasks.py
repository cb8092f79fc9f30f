"""Train on synthetic rows, test on real ones: what a model loses that never saw a real row.

For each task two gradient-boosted classifiers are trained, one on synthetic and one on training rows, and both are
tested on the hold-out: on units that neither has seen. The figure is the area under the ROC curve (AUC). Rows of one
unit resemble each other, so the bound on the loss is a bootstrap over units, not over rows.
Source: Esteban, Hyland, Rätsch 2017, arXiv 1706.02633, section 4 (TSTR).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Task
from cloakhouse.errors import ContractError
from cloakhouse.privacy._codes import Codes
from cloakhouse.quality.utility.auc import Mask, Ranking, auc
from cloakhouse.quality.utility.columns import WHERE, Cells, Numbers, Tables
from cloakhouse.quality.utility.marginals import generator, sampled

MOST_TRAINED = 30_000  # rows a model is trained on
MOST_TESTED = 50_000
MOST_CATEGORIES = 200  # cells that trees may group freely; more are taken in their order
TREES, LEAVES = 60, 15
THREADS = 1  # more of them wait for each other on a busy machine, at the price of CPU
LARGEST = 1e100  # of a feature: differences of larger ones overflow in the library
RESAMPLES = 200
LEAST_UNITS = 20  # in the hold-out, for a bound
CONFIDENCE = 0.95


@dataclass(frozen=True)
class TaskUtility:
    """What a task loses on synthetic rows.

    Attributes:
        name, target: of the task.
        synthetic_auc, training_auc: on the hold-out, 0-1, of the models trained on synthetic and on training rows.
        loss: training_auc - synthetic_auc; above 0 when real rows teach more.
        loss_upper_bound: one-sided 95 % bound on it, by bootstrap over the hold-out's units; None without units.
        reason: why a figure is missing; None when all are there that were asked for.
    """

    name: str
    target: str
    synthetic_auc: float | None = None
    training_auc: float | None = None
    loss: float | None = None
    loss_upper_bound: float | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, float | str | None]:
        """Return the fields for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Scores:
    """What the two models say of the hold-out rows that were tested; a model that couldn't be trained says nothing."""

    task: Task
    rows: npt.NDArray[np.int64]
    truth: Mask
    synthetic: Numbers | None
    training: Numbers | None
    reason: str | None


def score(tables: Tables, columns: Sequence[Cells], task: Task, *, seed: int) -> Scores:
    """Return the scores of hold-out rows for `task`. Rows without a target take no part; 30,000 rows at most are
    trained on, 50,000 tested. Raises ContractError when the task doesn't fit the columns."""
    labels, known = zip(*(_labels(table, columns, task) for table in tables), strict=True)
    features = [column for column in columns if column.column.name != task.target]
    rng = generator(seed, 40)
    bounds = (MOST_TRAINED, MOST_TRAINED, MOST_TESTED)
    rows = [np.flatnonzero(k)[sampled(int(k.sum()), most, rng)] for k, most in zip(known, bounds, strict=True)]
    truth = labels[2][rows[2]]
    found: list[Numbers | None] = []
    lacking = [] if _both(truth) else ["hold-out"]
    for side, name in enumerate(("synthetic", "training")):
        taught = labels[side][rows[side]]
        usable = bool(features) and _both(taught)
        if not usable:
            lacking.append(name)
        found.append(_fit_and_score(features, side, rows, taught, seed) if usable and _both(truth) else None)
    reason = f"one class only in the rows: {', '.join(lacking)}" if lacking else None
    return Scores(task, rows[2], truth, found[0], found[1], "no other column" if not features else reason)


def task_utility(scores: Scores, units: Codes | None, *, seed: int) -> TaskUtility:
    """Return the AUCs and the loss of `scores`; with `units`, codes of the hold-out rows' units, its bound, too."""
    task = scores.task
    synthetic, training = (None if s is None else auc(scores.truth, s) for s in (scores.synthetic, scores.training))
    loss = None if synthetic is None or training is None else training - synthetic
    bound, reason = None, scores.reason
    if loss is not None and units is not None:
        bound = _upper_bound(scores, units[scores.rows], generator(seed, 41))
        reason = f"no bound: fewer than {LEAST_UNITS} units, or one class only" if bound is None else None
    return TaskUtility(task.name, task.target, synthetic, training, loss, bound, reason)


def _upper_bound(scores: Scores, units: Codes, rng: np.random.Generator) -> float | None:
    """Return the percentile bound over resamples of whole units, or None."""
    assert scores.synthetic is not None
    assert scores.training is not None
    _, owners = np.unique(units, return_inverse=True)
    number = int(owners.max()) + 1
    if number < LEAST_UNITS:
        return None
    rankings = [Ranking.of(scores.truth, s) for s in (scores.training, scores.synthetic)]
    losses = []
    for _ in range(RESAMPLES):
        weights = np.bincount(rng.integers(0, number, number), minlength=number)[owners].astype(np.float64)
        real, made = (ranking.auc(weights) for ranking in rankings)
        if real is not None and made is not None:
            losses.append(real - made)
    return float(np.quantile(losses, CONFIDENCE)) if len(losses) > RESAMPLES // 2 else None


def _fit_and_score(
    features: Sequence[Cells], side: int, rows: list[npt.NDArray[np.int64]], taught: Mask, seed: int
) -> Numbers:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    model = HistGradientBoostingClassifier(
        max_iter=TREES,
        learning_rate=0.15,
        max_leaf_nodes=LEAVES,
        early_stopping=False,
        categorical_features=[c.column.categorical and c.size <= MOST_CATEGORIES for c in features],
        random_state=abs(seed) % 2**32,
    )
    known, asked = _matrix(features, side, rows[side]), _matrix(features, 2, rows[2])
    empty = np.isnan(known).all(axis=0)  # the library can't cut a column without a number into bins
    known[:, empty] = asked[:, empty] = 0.0
    with threadpool_limits(THREADS):
        model.fit(known, taught)
        return np.asarray(model.predict_proba(asked)[:, 1], np.float64)


def _matrix(features: Sequence[Cells], side: int, rows: npt.NDArray[np.int64]) -> Numbers:
    """Return the features of `rows`, shape (rows, columns): numbers as they are (NaN: missing), cells by number."""
    columns = [(c.codes if c.numbers is None else c.numbers)[side][rows] for c in features]
    return np.clip(np.column_stack([column.astype(np.float64) for column in columns]), -LARGEST, LARGEST)


def _labels(table: pa.Table, columns: Sequence[Cells], task: Task) -> tuple[Mask, Mask]:
    """Return whether each row is of the class, and whether that is known."""
    targets = [column.column for column in columns if column.column.name == task.target]
    one = (task.above is None) != (task.equals is None)
    if not targets or not one or (task.above is not None and targets[0].categorical):
        expected = "a column of the dataset as target; either `above`, for a number, or `equals`"
        raise _unfit(task, expected, "other settings")
    values = table[task.target]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    try:
        if task.above is not None:
            truth = pc.greater(values.cast(pa.float64(), safe=False), pa.scalar(float(task.above)))
        else:
            truth = pc.equal(values, pa.scalar(task.equals).cast(values.type))
    except pa.ArrowException:  # its text quotes the value
        raise _unfit(task, f"`equals` of type {values.type}, as the target has", "a value that can't be one") from None
    known = np.asarray(pc.fill_null(pc.is_valid(truth), False), np.bool_)
    return np.asarray(pc.fill_null(truth, False), np.bool_), known


def _both(truth: Mask) -> bool:
    return bool(truth.any() and not truth.all())


def _unfit(task: Task, expected: str, found: str) -> ContractError:
    return ContractError(
        where=f"{WHERE}, task {task.name}",
        expected=expected,
        found=found,
        not_done="utility was not measured",
        remedy="correct the task in the contract",
    )
