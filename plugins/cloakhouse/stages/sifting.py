"""Rows of a delivery that must not be used are taken out as they were delivered, before their values are looked at.

A row is withheld when the person in it can be told and is held back by the sieve, whatever else is wrong with the row.
Where the person can't be told it is none of the sieve's business: such a row is set aside for its fault. That is so for
a line that is no record at all, and for one of CSV with other fields than its header has.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from cloakhouse.contracts.model import Contract
from cloakhouse.stages.parsing import BadRows, check_column
from cloakhouse.stages.sieve import Flags, Sieve


class Sifting:
    """One pass over the rows of a split. `withheld` counts the rows that were taken out."""

    def __init__(self, sieve: Sieve | None, contract: Contract) -> None:
        self._sieve = sieve
        self._column = contract.column(sieve.column) if sieve else None
        self.withheld = 0

    def names_agreed(self, column: str) -> bool:
        """Return whether `column` names persons, of whom only those who agreed are left."""
        return self._sieve is not None and self._sieve.asks_consent and self._sieve.column == column

    def rows(self, raw: pa.Table) -> pa.Table:
        """Return the rows of `raw`, columns as they were delivered, that may be used or name nobody."""
        if self._column is None or not raw.num_rows:
            return raw
        keep = self._keep(raw.column(self._column.name))
        if keep.all():
            return raw
        self.withheld += int(np.count_nonzero(~keep))
        return raw.filter(pa.array(keep))

    def lines(self, bad: BadRows) -> None:
        """Take out of `bad` the lines of JSON, set aside as wholes, in which a person who is held back can be told."""
        at = [number for number, column in enumerate(bad.columns) if not column]
        if self._column is None or not at:
            return
        named = pa.array([_named(bad.records[number], self._column.name) for number in at], pa.binary())
        keep = self._keep(pa.chunked_array([named]))
        out = {number for number, kept in zip(at, keep, strict=True) if not kept}
        self.withheld += len(out)
        for number in sorted(out, reverse=True):
            del bad.reasons[number], bad.columns[number], bad.records[number]

    def _keep(self, values: pa.ChunkedArray) -> Flags:
        assert self._sieve is not None
        assert self._column is not None
        persons, _ = check_column(values, self._column)
        unknown: Flags = np.array(persons.is_null())
        return self._sieve.of_plain(persons) | unknown


def _named(line: bytes, column: str) -> bytes | None:
    """Return what a line of JSON has under `column`, as text; None where it has no such value, or is no object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    value = record.get(column) if isinstance(record, dict) else None
    return str(value).encode("utf-8", "replace") if isinstance(value, (str, int)) else None
