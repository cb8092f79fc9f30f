"""Masking of text: partly, so that people recognise a value they know, or wholly, by a fixed text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.tokens.arrays import UNNAMED, is_text, per_chunk, require
from cloakhouse.tokens.refusals import unusable


def mask(
    values: pa.Array | pa.ChunkedArray,
    keep_prefix: int = 0,
    keep_suffix: int = 0,
    char: str = "*",
    *,
    column: str = UNNAMED,
) -> pa.Array | pa.ChunkedArray:
    """Return every text with `char` in place of all but its first `keep_prefix` and last `keep_suffix` characters.

    Characters are code points, and their number is kept. A value with no more characters than are kept is
    masked entirely. Null stays null; a string_view column comes back as large_string, a ChunkedArray as a
    ChunkedArray. Raises ContractError for a negative length or unless `char` is one character,
    TreatmentError if the column isn't text.
    """
    if keep_prefix < 0 or keep_suffix < 0 or len(char) != 1:
        found = f"kept lengths {keep_prefix} and {keep_suffix}, {len(char)} masking characters"
        raise unusable("mask", "mask settings", "kept lengths from 0 and one masking character", found)
    require(values, is_text, column, "a text column")
    kept = keep_prefix + keep_suffix

    def one(chunk: pa.Array) -> pa.Array:
        length = pc.utf8_length(chunk)
        filler = pa.scalar(char, chunk.type)
        whole = pc.binary_repeat(filler, length)
        middle = pc.binary_repeat(filler, pc.max_element_wise(pc.subtract(length, kept), 0, skip_nulls=False))
        start = pc.utf8_slice_codeunits(chunk, 0, keep_prefix)
        end = pc.utf8_slice_codeunits(chunk, -keep_suffix, None) if keep_suffix else _blank(chunk)
        partial = pc.binary_join_element_wise(start, middle, end, pa.scalar("", chunk.type))
        return pc.if_else(pc.greater(length, kept), partial, whole)

    return per_chunk(values, one, on_dictionary=True)


def fixed(values: pa.Array | pa.ChunkedArray, text: str) -> pa.Array | pa.ChunkedArray:
    """Return `text` for every value of a column of any type (string); null stays null."""
    replacement, nothing = pa.scalar(text, pa.string()), pa.scalar(None, pa.string())
    return per_chunk(values, lambda chunk: pc.if_else(pc.is_valid(chunk), replacement, nothing), on_dictionary=True)


def _blank(chunk: pa.Array) -> pa.Scalar:
    return pa.scalar("", chunk.type)
