"""The values that a data contract is made of. Frozen, checked by the parser, free of IO."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cloakhouse.contracts.processing import Processing
from cloakhouse.contracts.subject import Rights
from cloakhouse.errors import NotFound


class ColumnClass(StrEnum):
    """How much a column says about a person (ISO/IEC 20889, 5.1), and with it which master key protects it."""

    DIRECT = "direct identifier"
    INDIRECT = "indirect identifier"
    SENSITIVE = "sensitive"
    PAYMENT = "payment"
    PLAIN = "plain"

    @property
    def key_name(self) -> str:
        """Short form used in key names: `direct`, `indirect`, `sensitive`, `payment`, `plain`."""
        return self.value.split()[0]


class Kind(StrEnum):
    """What a contract describes: a feed that is delivered, a dataset that is synthesized, or noisy sums of one."""

    FEED = "feed"
    SYNTHETIC = "synthetic"
    AGGREGATE = "aggregate"


class Period(StrEnum):
    """The span of one partition. A snapshot is a full state as of a day: the newest replaces the others."""

    DAY = "day"
    WEEK = "week"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class Treatment:
    """A treatment by name with its checked parameters (see `cloakhouse.contracts.treatments`)."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """A value of this column must exist in `column` of `dataset`, under the same token domain."""

    dataset: str
    column: str


@dataclass(frozen=True)
class Column:
    """One declared column.

    Attributes:
        name: name in the feed and, unless dropped, in the protected zone.
        logical_type: ODCS logical type: string, integer, number, boolean, date or timestamp.
        required: a missing value sends the row to quarantine.
        column_class: see ColumnClass.
        treatment: what pseudonymization does with it.
        minimum, maximum: inclusive bounds for numbers, dates and timestamps; None is unbounded.
        pattern: RE2 expression that a whole string value must match.
        max_length: longest string allowed (code points).
        reference: where the value must exist, or None.
        kept_for: what it is kept for beside the uses that contracts declare (`cloakhouse.contracts.uses`).
    """

    name: str
    logical_type: str
    required: bool
    column_class: ColumnClass
    treatment: Treatment
    minimum: Any = None
    maximum: Any = None
    pattern: str | None = None
    max_length: int | None = None
    reference: Reference | None = None
    kept_for: str = ""


@dataclass(frozen=True)
class Feed:
    """How files of a feed arrive.

    Attributes:
        files: file name with one `{partition}`, e.g. `transactions-{partition}.csv.gz`.
        format: `csv` or `jsonl`; gzip when the name ends in `.gz`.
        delimiter: one character (csv only).
        period: see Period.
        first_partition: the first date that can be delivered (a Monday for weeks).
        max_line_bytes: a longer line refuses the file (bytes).
        after_landing: `delete` empties the inbox of a landed file, `keep` leaves it.
    """

    files: str
    format: str
    delimiter: str
    period: Period
    first_partition: dt.date
    max_line_bytes: int
    after_landing: str

    @property
    def compressed(self) -> bool:
        """Whether files are gzip streams."""
        return self.files.endswith(".gz")

    def file_name(self, partition: str) -> str:
        """Return the name under which `partition` (ISO date) is delivered."""
        return self.files.replace("{partition}", partition)

    def partition_of(self, name: str) -> str | None:
        """Return the partition (ISO date) that a file called `name` delivers, or None if it is no file of ours."""
        head, tail = self.files.split("{partition}")
        match = re.fullmatch(re.escape(head) + r"(\d{4}-\d{2}-\d{2})" + re.escape(tail), name)
        if match is None:
            return None
        try:
            day = dt.date.fromisoformat(match.group(1))
        except ValueError:
            return None
        if self.period is Period.WEEK and day.weekday() != 0:
            return None
        return match.group(1)


@dataclass(frozen=True)
class Lookup:
    """Columns of another protected dataset, joined on one column of the view."""

    dataset: str
    on: str
    columns: tuple[str, ...]


class Level(StrEnum):
    """What a value of the view belongs to: the unit of privacy, the group (a basket), or the row itself."""

    UNIT = "unit"
    GROUP = "group"
    ROW = "row"


@dataclass(frozen=True)
class Measure:
    """One column of the view: `kind` of `column`.

    Attributes:
        equals: the value that `any` looks for.
        cap: public maximum (top coding); the minimum is 0.
        values: every value the column may have, declared and so public; None when it is not declared.
        level: see Level; a value above the row is the same in all rows of its unit or group.
    """

    name: str
    kind: str
    column: str
    equals: str | None = None
    cap: float | None = None
    values: tuple[Any, ...] | None = None
    level: Level = Level.ROW


@dataclass(frozen=True)
class View:
    """The table a synthesizer is fitted on, derived from protected datasets.

    Attributes:
        source: protected dataset whose rows are grouped.
        group_by: column of `source` whose distinct values make the rows of the view.
        unit: column that holds the unit of privacy; it splits off the hold-out and is then removed.
        lookups: joins, see Lookup.
        measures: the view's columns, in order.
        lines: whether the rows of `source` are the view's rows, and `group_by` tells what groups they form.
        order: column by which the rows of a unit follow each other, for engines of sequences; None for no order.
        newest: of how many of the newest partitions of `source` the rows are; None for all that are validated.
    """

    source: str
    group_by: str
    unit: str
    lookups: tuple[Lookup, ...]
    measures: tuple[Measure, ...]
    lines: bool = False
    order: str | None = None
    newest: int | None = None


@dataclass(frozen=True)
class Privacy:
    """The guarantee that a release promises, per unit of privacy (NIST SP 800-226).

    Attributes:
        epsilon, delta: of approximate differential privacy; neighbours differ in one whole unit.
        consumer: whose budget it is taken from.
        max_rows: rows of one unit that count at most, declared and so public; None: bought under the guarantee.
        max_groups: the same of groups, for views of lines.
    """

    epsilon: float
    delta: float
    consumer: str
    max_rows: int | None = None
    max_groups: int | None = None


@dataclass(frozen=True)
class PrivacyBudget:
    """What may be spent on a protected dataset.

    Attributes:
        unit: unit of privacy.
        delta: of every account.
        renewal: when spends are forgotten: never, year, quarter or month (calendar, UTC).
        epsilon: by consumer; `default` for any other.
    """

    unit: str
    delta: float
    renewal: str
    epsilon: Mapping[str, float]


@dataclass(frozen=True)
class Synthesis:
    """How a synthetic dataset is made.

    Attributes:
        engine: name of the synthesizer.
        view: what it is fitted on.
        holdout_share: share of units that the engine never sees (0 < share < 1).
        max_training_rows: rows to fit on at most, drawn by whole units.
        rows: rows to sample (units, where a column is of the unit); None: as many as were trained on.
        seed: fixed seed of the engine.
        privacy: the guarantee, for engines that give one.
        parameters: the engine's own.
        tasks: what a model is trained for on the synthetic rows and on real ones, to compare.
        segments: columns by whose values the evidence is broken down.
    """

    engine: str
    view: View
    holdout_share: float
    max_training_rows: int
    rows: int | None
    seed: int
    privacy: Privacy | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()
    segments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A binary classification: whether `target` is above a number or equals a value, from all other columns."""

    name: str
    target: str
    above: float | None = None
    equals: str | None = None


@dataclass(frozen=True)
class Gate:
    """Thresholds that a release must meet. A figure that is missing fails.

    Attributes:
        max_copy_excess: share of synthetic rows equal to a training row, minus the share equal to a
            hold-out row (upper 95 % bound).
        min_k: k-anonymity of the protected source over `quasi_identifiers`.
        min_holdout_units: units in the hold-out below which no figure is believed.
        risks: thresholds of attacks by name, where they differ from the platform's.
    """

    max_copy_excess: float
    min_k: int
    k_dataset: str
    quasi_identifiers: tuple[str, ...]
    min_holdout_units: int
    risks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Approval:
    """Who must agree before a version is published.

    Attributes:
        approvers: names of Airflow users; one of them decides, and never the one who started the run.
        timeout_hours: hours after which nobody's answer counts as a rejection.
    """

    approvers: tuple[str, ...]
    timeout_hours: int


@dataclass(frozen=True)
class Breakdown:
    """What tells the cells of a query apart. Its values are public, never taken from what occurs.

    Attributes:
        name: of the answer's column; pairs have two, `<name>_1` and `<name>_2`.
        kind: `value` of a column; `day`, `week` or `month` of a date (`partition`: of the delivery); `size` of a group
            in rows; `pairs` of values that a group holds both of.
        column: what the values come from.
        values: the values, declared; None where another public source has them.
        bins: for sizes: where each bin begins, from 1 on; the last one is open.
    """

    name: str
    kind: str
    column: str
    values: tuple[Any, ...] | None = None
    bins: tuple[int, ...] = ()


@dataclass(frozen=True)
class Query:
    """Sums or counts of a protected dataset, answered with noise (see `cloakhouse.privacy.aggregates`).

    Attributes:
        source: protected dataset. unit: its column that holds the unit of privacy.
        measure: `sum`, `count` (of rows) or `count distinct`.
        column: what is summed or counted; None for rows.
        by: what the cells are told apart by, in the order of the answer's columns.
        since, until: first and last day of the calendar (inclusive); None for `until`: of the newest partition.
        clip: what a unit counts at most over all cells (L2 norm), declared and so public; None: bought.
        max_relative_error: standard error of a cell over the mean cell, above which nothing is answered.
        expected: public guess of the total over all cells; None: of an earlier answer, or bought.
        expected_mean: public guess of the mean cell instead, for a calendar that grows.
    """

    source: str
    unit: str
    measure: str
    column: str | None
    by: tuple[Breakdown, ...]
    privacy: Privacy
    lookups: tuple[Lookup, ...] = ()
    since: dt.date | None = None
    until: dt.date | None = None
    clip: float | None = None
    max_relative_error: float = 0.5
    expected: float | None = None
    expected_mean: float | None = None


@dataclass(frozen=True)
class Contract:
    """One version of one dataset's contract.

    Attributes:
        digest: SHA-256 (hex) of the parsed content; comments and layout don't count.
        retention_days: per zone, days after which data is due for deletion.
        unit_of_privacy: column or noun that the guarantees are stated for.
        feed: how it is delivered (feeds). synthesis, gate: how it is made and released (synthetic datasets).
        privacy_budget: what may be spent on it (feeds); None: nothing.
        query: what it answers (aggregates).
        approval: who must agree to each version (published datasets); None: nobody is asked.
        processing: what it states for the documents that laws ask for; None: nothing.
        rights: whose rows these are, what they must allow, and where the data stay.
    """

    name: str
    version: str
    digest: str
    kind: Kind
    description: str
    owner: str
    purpose: str
    legal_basis: str
    retention_days: Mapping[str, int]
    unit_of_privacy: str
    columns: tuple[Column, ...]
    feed: Feed | None = None
    synthesis: Synthesis | None = None
    gate: Gate | None = None
    privacy_budget: PrivacyBudget | None = None
    query: Query | None = None
    approval: Approval | None = None
    processing: Processing | None = None
    rights: Rights = field(default_factory=Rights)

    def column(self, name: str) -> Column:
        """Return the declared column `name`. Raises NotFound when the contract has none of that name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise NotFound(
            where=f"contract {self.name} {self.version}",
            expected="a declared column",
            found=f"no column called `{name}`",
            not_done="nothing was read",
            remedy="use one of: " + ", ".join(c.name for c in self.columns),
        )

    @property
    def kept_columns(self) -> tuple[Column, ...]:
        """The columns that reach the protected zone, in order."""
        return tuple(c for c in self.columns if c.treatment.name != "drop")

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the datasets that must be protected before this one, sorted."""
        return tuple(sorted({c.reference.dataset for c in self.columns if c.reference}))

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the protected datasets that a published dataset derives from, sorted."""
        if self.query is not None:
            return tuple(sorted({self.query.source, *(lookup.dataset for lookup in self.query.lookups)}))
        if self.synthesis is None:
            return ()
        view = self.synthesis.view
        extra = {self.gate.k_dataset} if self.gate else set()
        return tuple(sorted({view.source, *(lookup.dataset for lookup in view.lookups)} | extra))


def content_digest(data: object) -> str:
    """Return the SHA-256 (hex) of `data` as canonical JSON (sorted keys, no spaces, dates as ISO text)."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
