"""Recoding of categories by a mapping, such as one level of a generalization hierarchy."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.tokens.arrays import UNNAMED, is_text, per_chunk, require
from cloakhouse.tokens.refusals import unusable


def recode_by(
    values: pa.Array | pa.ChunkedArray, mapping: Mapping[str, str], other: str | None, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return `mapping` of every value (string); `other` for a value that is none of its keys.

    With `other` None such a value is suppressed: it becomes null. Null stays null. Takes text, compared code point by
    code point, and integers by their decimal digits ("-7", never "07"). Raises ContractError for an empty mapping,
    TreatmentError for a column of another type.
    """
    if not mapping:
        raise unusable("generalization", "mapping", "at least one value and its label", "none")
    require(values, lambda kind: is_text(kind) or pa.types.is_integer(kind), column, "a column of text or integers")
    known = pa.array(mapping.keys(), pa.large_string())
    labels = pa.array([*mapping.values(), other], pa.string())

    def one(chunk: pa.Array) -> pa.Array:
        position = pc.fill_null(pc.index_in(chunk.cast(pa.large_string()), value_set=known), len(known))
        nothing = pa.scalar(None, position.type)
        return labels.take(pc.if_else(pc.is_valid(chunk), position, nothing))

    return per_chunk(values, one, on_dictionary=True)
