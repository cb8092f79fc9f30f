"""dp-marginals beside SDV's GaussianCopula on the real sample: CPU seconds on a million lines, fidelity of baskets.

Fidelity is compared over cells cut at quantiles of the real rows (evaluation only): mean total variation distance of
all 1-way and 2-way marginals, mean absolute error of the Pearson correlations, and the area under the curve of a model
that is trained on synthetic rows and tested on households that no engine saw. A real hold-out shows what sampling alone
does.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tests.support.shards import LocalShards

from cloakhouse.contracts.model import Privacy
from cloakhouse.sample.source import demographics, products, transactions
from cloakhouse.synthesis.protocol import Chunk, Plan, ViewColumn, engine

ROWS, LINES = 100_000, 1_000_000
EPSILONS = (1.0, 3.0, 8.0)
CAPS = {"lines": 100.0, "units": 200.0, "value": 500.0, "discount": 200.0, "coupon": 50.0}
LINE_CAPS = {"quantity": 100.0, "sales_value": 100.0, "retail_disc": 50.0, "coupon_disc": 20.0}
TIMES: Mapping[str, tuple[int, ...]] = {
    "month": tuple(range(1, 13)),
    "weekday": tuple(range(7)),
    "hour": tuple(range(24)),
}
Numbers = npt.NDArray[np.float64]


def measure() -> str:
    """Return the tables as Markdown."""
    lines = _lines()
    return "\n".join([_speed(lines), _fidelity(_baskets(lines)), _households(lines)])


def run() -> None:
    """Print the tables."""
    print(measure(), flush=True)


def _lines() -> pa.Table:
    real, catalogue = transactions(range(1, 54)), products()
    at = pc.index_in(real["product_id"], value_set=catalogue["product_id"].combine_chunks())
    stamp = real["transaction_timestamp"]
    named = {name: real[name] for name in ("store_id", "basket_id", "quantity", *LINE_CAPS)}
    parts = {"month": pc.month(stamp), "weekday": pc.day_of_week(stamp), "hour": pc.hour(stamp)}
    kinds = {name: catalogue[name].take(at) for name in ("department", "brand")}
    table = pa.table({**named, **parts, **kinds, "__unit": _tokens(real["household_id"])})
    return table.take(pc.sort_indices(table, [("__unit", "ascending"), ("basket_id", "ascending")]))


def _tokens(ids: pa.ChunkedArray) -> pa.Array:
    known = pc.unique(ids)
    digests = [hashlib.blake2b(str(value).encode(), digest_size=16).digest() for value in known.to_pylist()]
    return pa.array(digests, pa.binary(16)).take(pc.index_in(ids, value_set=known).combine_chunks())


def _baskets(lines: pa.Table) -> pa.Table:
    """Return the view of `dags/contracts/baskets_private.odcs.yaml`, and `__unit`."""
    for name in ("PRODUCE", "MEAT"):
        found = pc.fill_null(pc.equal(lines["department"], name), False).cast(pa.int8())
        lines = lines.append_column(name.lower(), found)
    firsts = ["store_id", "month", "weekday", "hour", "__unit"]
    sums = {"quantity": "units", "sales_value": "value", "retail_disc": "discount", "coupon_disc": "coupon"}
    wanted = [*((n, "first") for n in firsts), ("quantity", "count"), *((n, "sum") for n in sums)]
    grouped = lines.group_by("basket_id", use_threads=False).aggregate([*wanted, ("produce", "max"), ("meat", "max")])
    columns = {name: grouped[f"{name}_first"] for name in firsts[:-1]}
    columns["lines"] = pc.min_element_wise(grouped["quantity_count"], 100)
    for name, renamed in sums.items():
        capped = pc.min_element_wise(grouped[f"{name}_sum"].cast(pa.float64()), CAPS[renamed])
        columns[renamed] = capped.cast(pa.int64()) if renamed == "units" else pc.round(capped, 2)
    columns |= {f"has_{n}": pc.equal(grouped[f"{n}_max"], 1) for n in ("produce", "meat")}
    return pa.table({**columns, "__unit": grouped["__unit_first"]}).sort_by("__unit")


def _plan(table: pa.Table, caps: Mapping[str, float], epsilon: float | None, declared: Sequence[str]) -> Plan:
    """Return a plan; the values of `declared` columns are taken for public, as a list of shops is."""
    columns = []
    for name in table.column_names:
        if name.startswith("__"):
            continue
        kind = table[name].type
        values = TIMES.get(name) or (
            tuple(sorted(v for v in pc.unique(table[name]).to_pylist() if v is not None)) if name in declared else None
        )
        nullable = bool(table[name].null_count)
        columns.append(ViewColumn(name, kind, name not in caps, caps.get(name), values, nullable))
    privacy = None if epsilon is None else Privacy(epsilon, 1e-6, "bench")
    return Plan(tuple(columns), 2017, privacy, {}, 10**8)


def _made(name: str, plan: Plan, table: pa.Table, rows: int) -> tuple[pa.Table, float, float]:
    """Return synthetic rows, and the CPU seconds of fit and sample."""
    module, started = engine(name), time.process_time()
    model = module.fit(plan, LocalShards((table,)), lambda done, total, what: None)
    fitted = time.process_time()
    sample = model.sample(Chunk(0, rows, 1))
    return sample, fitted - started, time.process_time() - fitted


def _speed(lines: pa.Table) -> str:
    table = lines.slice(0, LINES).drop_columns(["basket_id"])
    rows = ["| 1,000,000 line items | fit, CPU s | sample, CPU s | together |", "| --- | --- | --- | --- |"]
    total = {}
    for name, epsilon in (("dp-marginals", 3.0), ("gaussian copula", None)):
        plan = _plan(table, LINE_CAPS, epsilon, ("store_id", "department", "brand"))
        view = table if epsilon else table.drop_columns(["__unit"])
        _, fit, sample = _made(name, plan, view, LINES)
        total[name] = fit + sample
        rows.append(f"| {name}, {len(plan.columns)} columns | {fit:.1f} | {sample:.1f} | {fit + sample:.1f} |")
    ratio = total["gaussian copula"] / total["dp-marginals"]
    return "\n".join([*rows, f"| ratio (target: 50) | | | {ratio:.0f} |", ""])


def _fidelity(baskets: pa.Table) -> str:
    training, holdout = _split(baskets)
    training = training.slice(0, ROWS)
    rows = [
        "| 100,000 baskets | 1-way TVD | 2-way TVD | correlation error | value above median, AUC | has produce, AUC |",
        "| --- | --- | --- | --- | --- | --- |",
        _row("real hold-out", training, holdout, holdout, train_on=training),
    ]
    view = training.drop_columns(["__unit"])
    rows.append(
        _row(
            "gaussian copula, no guarantee",
            training,
            holdout,
            _made("gaussian copula", _plan(view, CAPS, None, ()), view, ROWS)[0],
        )
    )
    for epsilon in EPSILONS:
        made = _made("dp-marginals", _plan(training, CAPS, epsilon, ("store_id",)), training, ROWS)[0]
        rows.append(_row(f"dp-marginals, epsilon {epsilon:g} a household, shops declared", training, holdout, made))
    made = _made("dp-marginals", _plan(training, CAPS, 3.0, ()), training, ROWS)[0]
    rows.append(_row("dp-marginals, epsilon 3 a household, shops learnt", training, holdout, made))
    return "\n".join([*rows, ""])


def _households(lines: pa.Table) -> str:
    """Return the honest figures of a small table: some 640 households with what is known of them."""
    known = demographics()
    names = ("age", "income", "home_ownership", "marital_status", "household_size", "kids_count")
    by_token = {hashlib.blake2b(str(i).encode(), digest_size=16).digest(): row for i, row in known.items()}
    baskets = _baskets(lines).group_by("__unit", use_threads=False).aggregate([("value", "sum"), ("value", "count")])
    baskets = baskets.filter(pc.is_in(baskets["__unit"], value_set=pa.array(list(by_token), pa.binary(16))))
    people = [by_token[token] for token in baskets["__unit"].to_pylist()]
    columns: dict[str, pa.Array] = {n: pa.array([p[n] for p in people], pa.string()) for n in names}
    columns["baskets"] = pc.min_element_wise(baskets["value_count"], 500)
    columns["value"] = pc.round(pc.min_element_wise(baskets["value_sum"], 20000.0), 2)
    table = pa.table({**columns, "__unit": baskets["__unit"]})
    training, holdout = _split(table)
    caps = {"baskets": 500.0, "value": 20000.0}
    rows = [
        f"| {training.num_rows} households | 1-way TVD | 2-way TVD | correlation error |",
        "| --- | --- | --- | --- |",
        _short("real hold-out", training, holdout),
    ]
    view = training.drop_columns(["__unit"])
    size = training.num_rows
    rows.append(
        _short("gaussian copula", training, _made("gaussian copula", _plan(view, caps, None, ()), view, size)[0])
    )
    for epsilon in EPSILONS:
        made = _made("dp-marginals", _plan(training, caps, epsilon, names), training, size)[0]
        rows.append(_short(f"dp-marginals, epsilon {epsilon:g}", training, made))
    return "\n".join([*rows, ""])


def _split(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    first = np.array([token[0] for token in table["__unit"].to_pylist()])
    return table.filter(pa.array(first >= 51)), table.filter(pa.array(first < 51))


def _row(name: str, training: pa.Table, holdout: pa.Table, made: pa.Table, train_on: pa.Table | None = None) -> str:
    fit_on = made if train_on is None else train_on
    median = float(np.median(_numbers(training, "value")))
    aucs = (_auc(fit_on, holdout, "value", median), _auc(fit_on, holdout, "has_produce", 0.5))
    return f"| {name} | " + " | ".join(f"{x:.3f}" for x in (*_distances(training, made), *aucs)) + " |"


def _short(name: str, training: pa.Table, made: pa.Table) -> str:
    return f"| {name} | " + " | ".join(f"{x:.3f}" for x in _distances(training, made)) + " |"


def _numbers(table: pa.Table, name: str) -> Numbers:
    column = table[name]
    if pa.types.is_string(column.type):
        return np.asarray(pc.fill_null(column, "").to_numpy(zero_copy_only=False))
    return np.nan_to_num(np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False)), nan=-1.0)


def _codes(training: pa.Table, made: pa.Table, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    real, found = _numbers(training, name), _numbers(made, name)
    values, counts = np.unique(real, return_counts=True)
    if name in (*CAPS, "baskets"):
        edges = np.unique(np.quantile(real, np.linspace(0, 1, 17)[1:-1]))
        return np.searchsorted(edges, real), np.searchsorted(edges, found), len(edges) + 1
    kept = np.sort(values[np.argsort(-counts, kind="stable")[:20]])
    sides = []
    for side in (real, found):
        at = np.minimum(np.searchsorted(kept, side), len(kept) - 1)
        sides.append(np.where(kept[at] == side, at, len(kept)))
    return sides[0], sides[1], len(kept) + 1


def _distances(training: pa.Table, made: pa.Table) -> tuple[float, float, float]:
    names = [n for n in training.column_names if not n.startswith("__")]
    coded = {n: _codes(training, made, n) for n in names}
    one = [_tvd(*coded[n]) for n in names]
    two = [
        _tvd(
            coded[a][0] * coded[b][2] + coded[b][0], coded[a][1] * coded[b][2] + coded[b][1], coded[a][2] * coded[b][2]
        )
        for a, b in combinations(names, 2)
    ]
    numeric = [n for n in names if not pa.types.is_string(training[n].type) and n != "store_id"]
    real, found = (np.corrcoef([_numbers(t, n) for n in numeric]) for t in (training, made))
    upper = np.triu_indices(len(numeric), 1)
    return float(np.mean(one)), float(np.mean(two)), float(np.nanmean(np.abs(real - found)[upper]))


def _tvd(real: npt.NDArray[np.int64], found: npt.NDArray[np.int64], cells: int) -> float:
    shares = [np.bincount(side, minlength=cells) / len(side) for side in (real, found)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _auc(fit_on: pa.Table, holdout: pa.Table, target: str, above: float) -> float:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    names = [n for n in holdout.column_names if not n.startswith("__") and n != target]
    rows = fit_on.take(pa.array(np.random.default_rng(0).permutation(fit_on.num_rows)[:30_000]))
    model = HistGradientBoostingClassifier(random_state=0)
    model.fit(np.column_stack([_numbers(rows, n) for n in names]), _numbers(rows, target) > above)
    scores = model.predict_proba(np.column_stack([_numbers(holdout, n) for n in names]))[:, 1]
    return float(roc_auc_score(_numbers(holdout, target) > above, scores))
