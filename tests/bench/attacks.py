"""The attacks on planted leaks and on honest releases: what is blocked, by which figures, and how long it takes.

The full size is 100,000 synthetic baskets, and 1,900 training and 500 hold-out households. The seeds, which are none of
those that the thresholds were chosen on, split the households anew and make a release each of strangers' rows, by SDV's
GaussianCopula and by dp-marginals at epsilon 3, of baskets and of households; a false alarm is an honest release that
any figure blocks.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tests.support.honest import BASKETS, HOUSEHOLDS, baskets, fresh, households, split, tree
from tests.support.leaks import LEAKS
from tests.support.shards import LocalShards

from cloakhouse.contracts.model import Privacy
from cloakhouse.privacy.attacks import AttackColumn, Population, Risk
from cloakhouse.privacy.attacks.battery import attack, blocked, threshold_of
from cloakhouse.synthesis.protocol import UNIT, Chunk, Plan, ViewColumn, engine

SEEDS = range(20, 40)
SHOWN = 4  # figures named beside a leak


@dataclass(frozen=True)
class Trial:
    """What is split and sampled: real rows, their columns, households (training, hold-out, others), synthetic rows."""

    name: str
    whole: Population
    columns: tuple[AttackColumn, ...]
    sizes: tuple[int, int, int]
    rows: int


@dataclass
class Tally:
    """The largest bound of each figure over honest releases, and how many of them were blocked."""

    releases: int = 0
    alarms: int = 0
    largest: dict[str, float] = field(default_factory=dict)

    def add(self, risks: Sequence[Risk], columns: Sequence[AttackColumn]) -> None:
        """Take in the figures of one honest release."""
        self.releases += 1
        self.alarms += bool(blocked(risks, columns))
        for risk in risks:
            name = f"inference of a column, {risk.name.split(', ')[1]}" if risk.name.startswith("inf") else risk.name
            bound = float("inf") if risk.bound is None else risk.bound
            self.largest[name] = max(bound, self.largest.get(name, -1.0))


def full() -> Trial:
    """Return the full size."""
    return Trial("baskets, full size", baskets(), BASKETS, (1900, 500, 51), 100_000)


def repeated() -> tuple[Trial, Trial]:
    """Return what is repeated over seeds."""
    columns = tuple(replace(c, sensitive=c.name in ("value", "store_id", "coupon")) for c in BASKETS)
    return (
        Trial("baskets", baskets(18), columns, (800, 400, 1100), 10_000),
        Trial("households", households(), HOUSEHOLDS, (1600, 400, 469), 1_600),
    )


def honest(trial: Trial, sides: Sequence[Population], rng: np.random.Generator, seed: int) -> dict[str, pa.Table]:
    """Return an honest release of each kind."""
    training, _, others = sides
    return {
        "strangers": fresh(others, min(trial.rows, others.table.num_rows), rng),
        "gaussian copula": made_by("gaussian copula", trial, training, seed),
        "dp-marginals, epsilon 3": made_by("dp-marginals", trial, training, seed),
    }


def made_by(name: str, trial: Trial, training: Population, seed: int) -> pa.Table:
    """Return a release by an engine of the platform; categories that occur anywhere are public here."""
    columns = tuple(_column(trial.whole.table, column) for column in trial.columns)
    privacy = Privacy(3.0, 1e-6, "bench") if name == "dp-marginals" else None
    plan = Plan(columns, seed, privacy, {}, training.table.num_rows, "household")
    order = np.argsort(training.units, kind="stable")
    tokens = pa.array([int(unit).to_bytes(16, "big") for unit in training.units[order]], pa.binary(16))
    rows = training.table.take(pa.array(order)).append_column(UNIT, tokens)
    model = engine(name).fit(plan, LocalShards((rows,)), lambda *_: None)
    return model.sample(Chunk(0, trial.rows, seed))


def _column(table: pa.Table, column: AttackColumn) -> ViewColumn:
    values = table.column(column.name)
    known = tuple(sorted(pc.unique(values.drop_null()).to_pylist())) if column.categorical else None
    return ViewColumn(column.name, values.type, column.categorical, column.maximum, known, values.null_count > 0)


def leaks(trial: Trial, seed: int) -> str:
    """Return the table of planted leaks and of one honest release, with what they take."""
    rng = np.random.default_rng(seed)
    sides = split(trial.whole, trial.sizes, rng)
    release = tree(sides[0], trial.columns, trial.rows, rng)
    made = {"none: spanning tree": release, **{name: leak(release, sides[0], rng) for name, leak in LEAKS.items()}}
    head = "blocked figures | sharpest: value, bound (threshold) | CPU s"
    lines = [f"| {trial.name} | {head} |", "| --- | --- | --- | --- |"]
    for name, table in made.items():
        before = time.process_time()
        risks = attack(table, sides[0], sides[1], trial.columns, seed=seed)
        taken = time.process_time() - before
        names = blocked(risks, trial.columns)
        lines.append(f"| {name} | {len(names)} of {len(risks)} | {_sharpest(risks)} | {taken:.0f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return "\n".join([*lines, f"| peak memory of the process, with the tables | {peak:,.0f} MiB | | |", ""])


def alarms(trial: Trial, seeds: Iterable[int]) -> str:
    """Return the table of the largest bounds over honest releases, and the number of false alarms."""
    tallies: dict[str, Tally] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        sides = split(trial.whole, trial.sizes, rng)
        for name, table in honest(trial, sides, rng, seed).items():
            risks = attack(table, sides[0], sides[1], trial.columns, seed=seed)
            tallies.setdefault(name, Tally()).add(risks, trial.columns)
        done = {name: [tally.releases, tally.alarms, tally.largest] for name, tally in tallies.items()}
        print(json.dumps({"trial": trial.name, "seed": seed, "done": done}), file=sys.stderr, flush=True)
    heads = [f"{name}: {tally.alarms} false alarms in {tally.releases}" for name, tally in tallies.items()]
    lines = [f"| {trial.name}, largest bound | threshold | {' | '.join(heads)} |", "| --- " * (len(heads) + 2) + "|"]
    for name in next(iter(tallies.values())).largest:
        bounds = " | ".join(f"{tally.largest[name]:.4f}" for tally in tallies.values())
        lines.append(f"| {name} | {threshold_of(name)} | {bounds} |")
    return "\n".join([*lines, ""])


def measure() -> str:
    """Return all tables."""
    return "\n".join([leaks(full(), 1), *(alarms(trial, SEEDS) for trial in repeated())])


def run() -> None:
    """Print all tables."""
    print(measure())


def _sharpest(risks: Sequence[Risk]) -> str:
    def excess(risk: Risk) -> float:
        limit = threshold_of(risk.name)
        return -1.0 if risk.bound is None or limit is None else risk.bound / limit

    ordered = sorted(risks, key=excess, reverse=True)[:SHOWN]
    return "; ".join(f"{r.name} {r.value:.4f}, {r.bound:.4f} ({threshold_of(r.name)})" for r in ordered)
