"""Suppression of rare categories (ISO/IEC 20889): count in one pass over the data, suppress in a second.

`Counts` takes column after column, can be merged with those of other parts of the data, and tells which values reach a
threshold; `suppress` then removes the others. Counted are rows, or distinct subjects when subjects are given: a
customer with many rows shouldn't make a category look common.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.tokens.arrays import UNNAMED, is_text, per_chunk, refuse, require
from cloakhouse.tokens.canonical import is_canonical
from cloakhouse.tokens.refusals import unusable

MAX_DISTINCT = 1_000_000
"""Distinct values that a column of categories may have; more are no categories."""
MAX_PAIRS = 10_000_000
"""Distinct pairs of a value and a subject that are held in memory at most."""

FOLD_ROWS = 1 << 18
"""Rows of parts that are counted together at once, at least."""

_Column: TypeAlias = pa.Array | pa.ChunkedArray


class Counts:
    """How many rows, or distinct subjects, hold each value of a column; values that were null are not counted.

    The first `add` decides which of the two. Memory: at most MAX_DISTINCT values, or MAX_PAIRS pairs, twice over, and
    the column being added. Pickles, so that parts counted by several processes can be merged.
    """

    def __init__(self, *, column: str = UNNAMED, max_distinct: int = MAX_DISTINCT, max_pairs: int = MAX_PAIRS) -> None:
        self._column = column
        self._max_distinct, self._max_pairs = max_distinct, max_pairs
        self._parts: list[pa.Table] = []  # of value and rows, or value and subject; each once within a part

    def add(self, values: _Column, subjects: _Column | None = None) -> None:
        """Count the rows of `values`, or with `subjects` (as many rows) the distinct subjects of every value.

        A row without a subject counts for none; its value is known all the same. Raises TreatmentError for a column
        that is neither text nor integers, subjects that are neither text, binary, integers nor dates, or too many
        distinct values or pairs; ValueError for columns of different lengths, or if the parts before had subjects and
        this one has none or the reverse.
        """
        require(values, _is_category, self._column, "a column of text or integers")
        table = {"value": _plain(values)}
        if subjects is None:
            table["rows"] = pa.repeat(1, len(values))
        else:
            require(subjects, is_canonical, self._column, "subjects as text, binary, integers or dates")
            table["subject"] = _plain(subjects)
            if len(subjects) != len(values):
                raise ValueError("as many subjects as values are needed")
        part = pa.table(table)
        self._take(part.filter(pc.is_valid(part["value"])))

    def merge(self, other: Counts) -> None:
        """Add what `other` has counted. Raises as `add` does, and TreatmentError for values of another type."""
        counted = other._folded()
        if counted is not None:
            self._take(counted)

    def frequent(self, at_least: int) -> pa.Array:
        """Return the values that at least so many rows or subjects have, in ascending order (large_string or integers).

        Raises ContractError for a threshold below 1.
        """
        return self._values(at_least, pc.greater_equal)

    def rare(self, at_least: int) -> pa.Array:
        """Return the values that fewer rows or subjects have, otherwise as `frequent`."""
        return self._values(at_least, pc.less)

    def kept(self, at_least: int) -> pa.Array:
        """Return the values to keep: those of `frequent`, without the least of them where the rest would single out.

        The rest, which suppression makes one class, is empty or has at least `at_least` then, if there is anything to
        keep. Values that only rows without a subject hold are such a rest, too.
        """
        frequent = self.frequent(at_least)
        if not len(frequent) or not len(self.rare(at_least)) or self.rest(at_least) >= at_least:
            return frequent
        totals = self._totals()
        known = totals.filter(pc.is_in(totals["value"], value_set=frequent)).sort_by(
            [("n", "ascending"), ("value", "ascending")]
        )
        return frequent.filter(pc.not_equal(frequent, known["value"][0]))

    def rest(self, at_least: int) -> int:
        """Return how many rows or distinct subjects hold a rare value: the size of the class that suppression makes.

        Rows without a subject are of none, so it can be 0 though there are rare values.

        A class that is itself smaller than the threshold, and not 0, still singles out. Raises as `frequent`.
        """
        rare, counted = self.rare(at_least), self._folded()
        if counted is None:
            return 0
        kept = counted.filter(pc.is_in(counted["value"], value_set=rare))
        if "rows" in kept.column_names:
            return int(pc.sum(kept["rows"]).as_py() or 0)
        return int(pc.count_distinct(kept["subject"]).as_py())

    def _values(self, at_least: int, chosen: Any) -> pa.Array:
        if at_least < 1:
            raise unusable("rare", "threshold", "at least 1", f"{at_least}")
        totals = self._totals()
        return totals.filter(chosen(totals["n"], at_least)).sort_by("value")["value"].combine_chunks()

    def _totals(self) -> pa.Table:
        """Return every value with its number `n` of rows or subjects."""
        counted = self._folded()
        if counted is None:
            return pa.table({"value": pa.array([], pa.large_string()), "n": pa.array([], pa.int64())})
        sums = [("rows", "sum")] if "rows" in counted.column_names else [("subject", "count")]
        return counted.group_by("value").aggregate(sums).rename_columns(["value", "n"])

    def _take(self, part: pa.Table) -> None:
        """Put a part beside the others; fold them once they have more rows than were left by the fold before."""
        if self._parts and self._parts[0].column_names != part.column_names:
            raise ValueError("count rows or subjects, not both")
        if self._parts and self._parts[0].schema != part.schema:
            before, now = (", ".join(map(str, one.schema.types)) for one in (self._parts[0], part))
            raise self._refusal("type", f"columns of {before}, as before", f"columns of {now}")
        self._parts.append(_distinct(part))
        if sum(map(len, self._parts[1:])) > max(len(self._parts[0]), FOLD_ROWS):
            self._folded()

    def _folded(self) -> pa.Table | None:
        """Return everything counted, each value or pair once; None if nothing was ever added."""
        if not self._parts:
            return None
        counted = _distinct(pa.concat_tables(self._parts))
        self._parts = [counted]
        if "subject" in counted.column_names:
            self._bound(len(counted), self._max_pairs, "pairs of a value and a subject")
        self._bound(pc.count_distinct(counted["value"]).as_py(), self._max_distinct, "distinct values")
        return counted

    def _bound(self, found: int, limit: int, what: str) -> None:
        if found > limit:
            raise self._refusal("distinct", f"at most {limit} {what}", f"{found}, not all rows counted")

    def _refusal(self, code: str, expected: str, found: str) -> Exception:
        remedy = "generalize the column before, or choose another treatment for it in the contract"
        return refuse(self._column, code=code, expected=expected, found=found, remedy=remedy)


def suppress(values: _Column, frequent: pa.Array, other: str | None, *, column: str = UNNAMED) -> _Column:
    """Return the values that are among `frequent`, `other` or null for all else; null stays null, the type is kept.

    `frequent` is what `Counts.frequent` returns for the whole data; `other` serves text only. Mind that where a single
    rare value becomes `other`, `other` is its new name: see `Counts.rest`. Dictionaries come back as their values.
    Raises ContractError for an `other` on integers, TreatmentError for a column that is neither text nor integers.
    """
    require(values, _is_category, column, "a column of text or integers")
    kind = _value_type(values.type)
    if len(frequent) and _wide(frequent.type) != _wide(kind):
        expected, found = f"frequent values of type {_wide(kind)}", f"type {_wide(frequent.type)}"
        raise refuse(
            column, code="type", expected=expected, found=found, remedy="count the same column that is treated"
        )
    if other is not None and not is_text(kind):
        raise unusable("rare", "other", f"no text in a column of {kind}", "one")
    known = _plain(frequent)

    def one(chunk: pa.Array) -> pa.Array:
        kept = pc.is_in(_plain(chunk), value_set=known)
        rest = pc.if_else(pc.is_valid(chunk), pa.scalar(other, chunk.type), pa.scalar(None, chunk.type))
        return pc.if_else(kept, chunk, rest)

    return per_chunk(values, one, on_dictionary=True)


def _is_category(kind: Any) -> bool:
    return is_text(kind) or bool(pa.types.is_integer(kind))


def _plain(values: _Column) -> _Column:
    """Return a column as its widest type without a dictionary, so that parts of it agree."""
    return values.cast(_value_type(values.type)).cast(_wide(values.type))


def _wide(kind: Any) -> Any:
    kind = _value_type(kind)
    if is_text(kind):
        return pa.large_string()
    return pa.int64() if pa.types.is_integer(kind) and not pa.types.is_uint64(kind) else kind


def _value_type(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _distinct(part: pa.Table) -> pa.Table:
    """Return a part with each value (its rows summed up), or each pair, once."""
    if "rows" in part.column_names:
        return part.group_by("value").aggregate([("rows", "sum")]).rename_columns({"rows_sum": "rows"})
    return part.group_by(["value", "subject"]).aggregate([])
