"""Which partitions a DAG run works on: all that wait, those a person named, or those of a backfill's interval."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloakhouse.contracts.model import Contract, Period
from cloakhouse.errors import ConfigurationError


@dataclass(frozen=True)
class Choice:
    """What a run was asked for.

    Attributes:
        partitions: ISO dates, or None for all that wait.
        supersede: take other content for a landed partition as a correction.
        reprocess: pseudonymize even what is up to date.
    """

    partitions: tuple[str, ...] | None
    supersede: bool
    reprocess: bool


def choose(contract: Contract, params: Mapping[str, Any], dag_run: Any) -> Choice:
    """Return what `dag_run` is about. A backfill takes the partitions of its data interval, and takes them again.

    Raises ConfigurationError for a `partitions` parameter that is not a date, a range or a list of them.
    """
    supersede, reprocess = bool(params.get("supersede")), bool(params.get("reprocess"))
    named = str(params.get("partitions") or "").strip()
    if named:
        return Choice(parse_partitions(contract, named), supersede, reprocess)
    if str(dag_run.run_type) in ("backfill", "DagRunType.BACKFILL"):
        first, end = dag_run.data_interval_start.date(), dag_run.data_interval_end.date()
        return Choice(tuple(_dates(contract, first, end - dt.timedelta(days=1))), supersede, True)
    return Choice(None, supersede, reprocess)


def parse_partitions(contract: Contract, text: str) -> tuple[str, ...]:
    """Return the partitions that `text` names: `2017-01-02`, `2017-01-02..2017-01-30`, or a list with commas."""
    found: list[str] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("..")
        try:
            start = dt.date.fromisoformat(first)
            end = dt.date.fromisoformat(last) if last else start
        except ValueError:
            raise _unusable(contract, "another text") from None
        dates = list(_dates(contract, start, end))
        if not dates or (not last and dates != [first]):
            raise _unusable(contract, "a range without a partition, or a date that starts none")
        found += dates
    return tuple(sorted(set(found)))


def _dates(contract: Contract, first: dt.date, last: dt.date) -> list[str]:
    days = (last - first).days + 1
    if days > 36_600:
        raise _unusable(contract, "more than a hundred years")
    weekly = contract.feed is not None and contract.feed.period is Period.WEEK
    dates = (first + dt.timedelta(days=n) for n in range(max(days, 0)))
    return [day.isoformat() for day in dates if not weekly or day.weekday() == 0]


def _unusable(contract: Contract, found: str) -> ConfigurationError:
    period = contract.feed.period.value if contract.feed else "partition"
    return ConfigurationError(
        where=f"parameter partitions of protect_{contract.name}",
        expected=f"start dates of a {period}: 2017-01-02, 2017-01-02..2017-01-30, or several with commas",
        found=found,
        not_done="nothing was read",
        remedy="correct the parameter; leave it empty to take all that wait",
        code="partitions",
    )
