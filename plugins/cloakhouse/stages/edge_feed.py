"""A feed tokenized at the edge, as it arrives, with nothing but a tokenization key file.

The tokens are the lake's: the same treatments, under the same keys, after the same checks of their columns. Left to
the lake are references to other datasets, and kept columns, which go through unchecked. Rows keep their order; those
that fail a check are left out and counted by the lake's reasons (`cloakhouse.stages.parsing`). No value is quoted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from cloakhouse.errors import ConfigurationError
from cloakhouse.stages.edge_csv import csv_blocks
from cloakhouse.stages.edge_json import json_blocks
from cloakhouse.stages.edge_rows import Arriving, EdgeTreater
from cloakhouse.tokens.edge_keys import EdgeFile


@dataclass(frozen=True)
class Summary:
    """What became of a feed.

    Attributes:
        rows: rows written.
        bad: rows left out, by reason.
    """

    rows: int
    bad: Mapping[str, int]

    @property
    def left_out(self) -> int:
        """Rows left out."""
        return sum(self.bad.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, JSON-ready."""
        return {"rows": self.rows, "left_out": self.left_out, "bad": dict(self.bad)}


def tokenize_feed(
    source: BinaryIO,
    sink: BinaryIO,
    file: EdgeFile,
    *,
    form: Literal["csv", "jsonl"],
    delimiter: str = ",",
    keep: Sequence[str] = (),
    day: dt.date,
) -> Summary:
    """Write the rows of `source` to `sink` with the columns of `file` tokenized; return how many.

    Whole lines are treated and flushed as soon as they arrive; memory holds at most 1 MiB of them and one line. `day`
    is the date of the partition that the rows will belong to, for keys of a period. Every other column must be in
    `keep`. Raises, before a row is written, ConfigurationError, AccessRefused (`access.unnamed`: a column that is
    neither tokenized nor kept; `access.edge`: no key for that day), DeliveryError (`delivery.columns`,
    `delivery.structure`); later DeliveryError (`delivery.line`: above 1 MiB; `delivery.structure`), and OSError of
    the streams.
    """
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise _unusable("the delimiter", "one ASCII character, no quote and no line end", "another text")
    both = sorted({column.name for column in file.columns} & set(keep))
    if both:
        raise _unusable("columns to keep", "columns that the key file doesn't tokenize", ", ".join(both))
    treatment, lines = EdgeTreater(file, day), Arriving(source)
    blocks = csv_blocks(lines, treatment, delimiter, keep) if form == "csv" else json_blocks(lines, treatment, keep)
    for block in blocks:
        if block:
            sink.write(block)
            sink.flush()
    return Summary(treatment.tally.rows, dict(sorted(treatment.tally.bad.items())))


def _unusable(where: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where=where,
        expected=expected,
        found=found,
        not_done="no row was tokenized",
        remedy="correct the setting",
        code="edge",
    )
