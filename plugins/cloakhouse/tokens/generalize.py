"""Generalization of a column: bins, coarser times, age bands, prefixes, top and bottom coding, and recoding.

Generalization in the sense of ISO/IEC 20889: rounding, top and bottom coding, recoding of categories.
Every function keeps null as null, keeps the number of rows, and returns a ChunkedArray for a ChunkedArray.
Times and ages are in `generalize_times`, bins and coding in `generalize_numbers`; all are imported from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.tokens.arrays import UNNAMED, is_text, per_chunk, require
from cloakhouse.tokens.generalize_numbers import clamp, numeric_bins
from cloakhouse.tokens.generalize_times import TIME_UNITS, age_band, age_valid, floor_time
from cloakhouse.tokens.hierarchy import recode_by
from cloakhouse.tokens.refusals import unusable

__all__ = [
    "TIME_UNITS",
    "age_band",
    "age_valid",
    "clamp",
    "floor_time",
    "numeric_bins",
    "prefix",
    "recode",
    "recode_by",
]


def prefix(
    values: pa.Array | pa.ChunkedArray, length: int, fill: str | None = None, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the first `length` characters (code points) of every text, such as a postcode's region.

    With `fill` (one character) the rest is replaced by it, so that the text keeps its length: "81***". A value that
    isn't longer comes back whole: use `mask` where that would reveal it. Raises ContractError if `length` is below 1
    or unless `fill` is one character, TreatmentError if the column isn't text.
    """
    if length < 1 or (fill is not None and len(fill) != 1):
        found = f"{length}, and {0 if fill is None else len(fill)} characters to fill with"
        raise unusable("generalization", "prefix length", "at least 1 character, and none or one to fill with", found)
    require(values, is_text, column, "a text column")

    def one(chunk: pa.Array) -> pa.Array:
        start = pc.utf8_slice_codeunits(chunk, 0, length)
        if fill is None:
            return start
        missing = pc.subtract(pc.utf8_length(chunk), pc.utf8_length(start))
        rest = pc.binary_repeat(pa.scalar(fill, chunk.type), missing)
        return pc.binary_join_element_wise(start, rest, pa.scalar("", chunk.type))

    return per_chunk(values, one, on_dictionary=True)


def recode(
    values: pa.Array | pa.ChunkedArray,
    groups: Mapping[str, Sequence[str]],
    other: str | None,
    *,
    column: str = UNNAMED,
) -> pa.Array | pa.ChunkedArray:
    """Return the label of the group that holds each value (string); `other` for a value in no group.

    With `other` None such a value is suppressed: it becomes null. Takes text, and integers by their decimal
    digits. Raises ContractError if a member is in two groups or there is no group, TreatmentError for a
    column of another type.
    """
    members = [member for group in groups.values() for member in group]
    if not members or len(set(members)) != len(members):
        expected = "at least one member, each in one group"
        raise unusable("generalization", "groups", expected, f"{len(members)} members")
    labels = {member: label for label, group in groups.items() for member in group}
    return recode_by(values, labels, other, column=column)
