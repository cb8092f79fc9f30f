"""Which metrics there are: names, kinds, labels and what they mean. Everything else is refused (`Sample`).

Names follow Prometheus (https://prometheus.io/docs/practices/naming/): base units, `_total` for counters, moments as
seconds since 1970 UTC (`_timestamp_seconds`), so that "how long ago" is `time() - metric`. Labels are names from
contracts, names of keys, or one of a few words: never a value, a path, a user or a run.

A metric must not tell of one person, also not by the difference of two readings. So rows are rounded down to whole
thousands, shares are in steps of 0.01 of at least 1,000 rows, the sizes of what is stored now are not told (an erasure
or a withdrawn consent would show as their difference), and nothing is told of consents, holds, tombstones, copies for
persons or detokenized values. Of erasures there are the number of open requests and the first deadline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

ROWS_STEP = 1_000
SHARE_STEP = 0.01
FEWEST_ROWS = 1_000  # of which a share is told


class Kind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"  # only grows, while a process lives
    GAUGE = "gauge"


@dataclass(frozen=True)
class Family:
    """One metric: its name, kind, help and labels."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One number of the metric `name`; `labels` are values in the order of the family's names.

    Raises ValueError for a metric that isn't one, other labels, or a number that isn't one.
    """

    name: str
    value: float
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        family = FAMILIES.get(self.name)
        if family is None or len(family.labels) != len(self.labels):
            raise ValueError("a sample is of a metric of FAMILIES, with its labels")
        if not math.isfinite(self.value):
            raise ValueError("a sample is a finite number")


def whole_thousands(rows: int) -> int:
    """Return `rows` rounded down to whole thousands."""
    return rows - rows % ROWS_STEP


def share(part: int, total: int) -> float | None:
    """Return `part` of `total` in steps of 0.01, None where the total is below 1,000."""
    return None if total < FEWEST_ROWS else round(round(part / total / SHARE_STEP) * SHARE_STEP, 2)


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(f"cloakhouse_{name}", Kind.GAUGE, text, labels)


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"cloakhouse_{name}", Kind.COUNTER, text, labels)


_ACCOUNT = ("dataset", "unit", "consumer")
FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        _gauge("part_up", "Whether a part of these metrics could be read (1) or is missing (0).", "part"),
        _gauge("collected_timestamp_seconds", "When these metrics were computed."),
        _gauge("collection_seconds", "How long computing them took."),
        _counter("events_total", "Events of the audit log.", "operation", "dataset", "decision"),
        _counter("rows_total", "Rows that went through, rounded down to whole thousands.", "operation", "dataset"),
        _counter("task_cpu_seconds_total", "CPU time of ended tasks since this process began.", "stage", "dataset"),
        _gauge("quarantined_share", "Share of the treated rows in quarantine, in steps of 0.01.", "dataset"),
        _gauge("fresh_timestamp_seconds", "When a dataset last landed or was published.", "dataset"),
        _gauge("partition_timestamp_seconds", "Begin of the newest partition that landed.", "dataset"),
        _gauge("unvalidated_partitions", "Protected partitions that no validation has passed yet.", "dataset"),
        _gauge("budget_epsilon", "Epsilon that a contract allows.", *_ACCOUNT),
        _gauge("budget_spent_share", "Share of the allowed rho that is spent, 0 to 1.", *_ACCOUNT),
        _gauge(
            "budget_left_epsilon", "Epsilon of one release that would use up the rest.", "dataset", "unit", "consumer"
        ),
        _gauge("key_created_timestamp_seconds", "When a master key's newest version was made.", "key"),
        _gauge("key_rotation_due_timestamp_seconds", "When a master key is due for rotation.", "key"),
        _gauge("key_enabled", "Whether a master key opens (1).", "key"),
        _gauge("key_dataset_keys_behind", "Dataset keys that an older version of a master key still wraps.", "key"),
        _gauge("encrypted_share", "Share of the lake's bytes that is encrypted, as last measured."),
        _gauge("unencrypted_files", "Files that were not encrypted as agreed, as last measured."),
        _gauge("coverage_timestamp_seconds", "When encryption was last measured."),
        _gauge("log_entries", "Entries of the audit log."),
        _gauge("log_uncovered_entries", "Entries that no signed checkpoint covers yet."),
        _gauge("checkpoint_timestamp_seconds", "When the newest checkpoint was signed."),
        _gauge("log_verified_timestamp_seconds", "When the log was last verified."),
        _gauge("backup_timestamp_seconds", "When a backup with the lake in it was last finished."),
        _gauge("log_sound", "Whether the last verification found nothing wrong (1)."),
        _gauge("siem_receivers", "Receivers that the log is forwarded to."),
        _gauge("siem_backlog_entries", "Entries that wait for the receiver that is furthest behind."),
        _gauge("siem_receivers_in_trouble", "Receivers that could not be given their next entry."),
        _gauge("alerts_open", "Alerts that nobody acknowledged.", "severity"),
        _gauge("approvals_waiting", "Validated versions that wait for a person's approval.", "dataset"),
        _gauge("erasures_open", "Erasure requests that are not done."),
        _gauge("erasure_deadline_timestamp_seconds", "The first deadline of an open erasure request."),
        _gauge("retention_due", "Deliveries, partitions, versions and views past their day.", "dataset", "zone"),
        _gauge("retention_since_timestamp_seconds", "Since when the oldest of them is past its day."),
    )
}
