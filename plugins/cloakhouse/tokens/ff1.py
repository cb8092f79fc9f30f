"""Format-preserving encryption of a column: FF1 over any alphabet of 2 to 36 characters.

The result has the length and the alphabet of the value; kept characters stay in clear and are the tweak,
so that equal middles under different prefixes don't encrypt alike. Reversible with the key, deterministic,
and without integrity: a changed value decrypts to another valid one. A check digit (Luhn) doesn't survive.
Source: NIST SP 800-38G; the least domain of 1,000,000 is Rev. 1's. There are patent claims on FF1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.errors import TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import CHUNK_ROWS, AesPermutation
from cloakhouse.tokens.arrays import (
    UNNAMED,
    ByteColumn,
    byte_array,
    byte_column,
    is_text,
    per_chunk,
    refuse,
    require,
)
from cloakhouse.tokens.ff1_batch import Ff1Batch, fits
from cloakhouse.tokens.ff1_format import DIGITS, MAX_LENGTH, MIN_DOMAIN, Ff1Format, Verdict
from cloakhouse.tokens.ff1_reference import Ff1Shape, ff1_one

__all__ = ["DIGITS", "MAX_LENGTH", "MIN_DOMAIN", "ff1_decrypt", "ff1_encrypt", "ff1_valid"]

_Bytes = NDArray[np.uint8]


def ff1_encrypt(
    values: pa.Array | pa.ChunkedArray,
    key: SecretKey,
    *,
    alphabet: str,
    keep_prefix: int = 0,
    keep_suffix: int = 0,
    kept_alphabet: str | None = None,
    column: str = UNNAMED,
) -> pa.Array | pa.ChunkedArray:
    """Return text of the same lengths in which all but the kept characters are encrypted; null stays null.

    Takes string, large_string and string_view (which comes back as large_string), sliced or chunked
    (chunked comes back chunked); a dictionary is decoded. `alphabet` gives the characters in the order of
    their numerals; kept characters must be of `kept_alphabet`, by default the same. `key` (16, 24 or 32
    bytes) must serve nothing but this column's domain. Raises TreatmentError if a value is refused by
    `ff1_valid` or the column isn't text, ContractError for unusable settings, KeyServiceError for a key
    of another length.
    """
    layout = Ff1Format(alphabet, keep_prefix, keep_suffix, kept_alphabet)
    return _treat(values, key, layout, column, decrypt=False)


def ff1_decrypt(
    values: pa.Array | pa.ChunkedArray,
    key: SecretKey,
    *,
    alphabet: str,
    keep_prefix: int = 0,
    keep_suffix: int = 0,
    kept_alphabet: str | None = None,
    column: str = UNNAMED,
) -> pa.Array | pa.ChunkedArray:
    """Return what `ff1_encrypt` was given, for the same key and settings; types and errors as there."""
    layout = Ff1Format(alphabet, keep_prefix, keep_suffix, kept_alphabet)
    return _treat(values, key, layout, column, decrypt=True)


def ff1_valid(
    values: pa.Array | pa.ChunkedArray,
    *,
    alphabet: str,
    keep_prefix: int = 0,
    keep_suffix: int = 0,
    kept_alphabet: str | None = None,
    column: str = UNNAMED,
) -> pa.BooleanArray:
    """Return a mask without nulls (chunked as the input is): True where `ff1_encrypt` accepts the row.

    False for a character outside the alphabet, for a value whose encrypted part has fewer than 1,000,000
    possible values, and for more than 1024 bytes. True for null, which stays null. Raises TreatmentError if
    the column isn't text, ContractError for unusable settings.
    """
    layout = Ff1Format(alphabet, keep_prefix, keep_suffix, kept_alphabet)
    require(values, is_text, column, "a text column")

    def one(chunk: pa.Array) -> pa.Array:
        view = byte_column(chunk)
        return pa.array(layout.judge(view, layout.codes(view)).accepted)

    return per_chunk(values, one, on_dictionary=False)


def _treat(
    values: pa.Array | pa.ChunkedArray, key: SecretKey, layout: Ff1Format, column: str, *, decrypt: bool
) -> pa.Array | pa.ChunkedArray:
    require(values, is_text, column, "a text column")
    aes = AesPermutation(key)

    def one(chunk: pa.Array) -> pa.Array:
        view = _nothing_under_nulls(chunk)
        codes = layout.codes(view)
        verdict = layout.judge(view, codes)
        if not verdict.accepted.all():
            raise _refusal(verdict, layout, column)
        offsets = view.offsets - view.offsets[0]
        text = view.data[view.offsets[0] : view.offsets[-1]].copy()
        treated = ByteColumn(offsets, text, view.valid)
        _encrypt_middles(treated, codes, layout, aes, decrypt=decrypt)
        return byte_array(treated, chunk.type)

    return per_chunk(values, one, on_dictionary=False)


def _encrypt_middles(text: ByteColumn, codes: _Bytes, layout: Ff1Format, aes: AesPermutation, *, decrypt: bool) -> None:
    """Overwrite the characters that aren't kept, one length after the other, a chunk of rows at a time."""
    lengths = np.diff(text.offsets)
    for length in np.flatnonzero(np.bincount(lengths)).tolist() if len(lengths) else []:
        if length == 0:
            continue  # nulls only: an empty value is refused before
        shape = Ff1Shape(layout.radix, length - layout.kept, layout.kept)
        starts = text.offsets[:-1][lengths == length]
        batch = Ff1Batch(aes, shape, min(len(starts), CHUNK_ROWS)) if fits(shape) else None
        for first in range(0, len(starts), CHUNK_ROWS):
            chosen = starts[first : first + CHUNK_ROWS]
            rows = _gather(text.data, chosen, length)
            numerals = _gather(codes, chosen, length)[:, layout.middle(length)]
            tweaks = layout.tweaks(rows)
            if batch is None:
                result = _one_by_one(numerals, tweaks, layout.radix, aes, decrypt=decrypt)
            else:
                result = batch.run(numerals, tweaks, decrypt=decrypt)
            rows[:, layout.middle(length)] = layout.characters(result)
            _cells(text.data, length)[chosen] = rows.reshape(-1).view(f"V{length}")


def _cells(data: _Bytes, length: int) -> NDArray[np.void]:
    """View `data` as the `length` bytes from every position, to gather and scatter values by their starts."""
    return np.ndarray(len(data) - length + 1, f"V{length}", data, 0, (1,))


def _gather(data: _Bytes, starts: NDArray[np.signedinteger[Any]], length: int) -> _Bytes:
    gathered: _Bytes = _cells(data, length)[starts].view(np.uint8)
    return gathered.reshape(len(starts), length)


def _one_by_one(numerals: _Bytes, tweaks: _Bytes, radix: int, aes: AesPermutation, *, decrypt: bool) -> _Bytes:
    rows = zip(numerals.tolist(), tweaks, strict=True)
    return np.array([ff1_one(n, radix, t.tobytes(), aes, decrypt=decrypt) for n, t in rows], np.uint8)


def _nothing_under_nulls(chunk: pa.Array) -> ByteColumn:
    """View the text, with every null empty: bytes hidden under a null must not reach the result in clear."""
    view = byte_column(chunk)
    if view.valid is None or not np.diff(view.offsets)[~view.valid].any():
        return view
    return replace(byte_column(pc.fill_null(chunk, "")), valid=view.valid)


def _refusal(verdict: Verdict, layout: Ff1Format, column: str) -> TreatmentError:
    rows = len(verdict.accepted)
    return refuse(
        column,
        code="domain" if verdict.too_short.any() else "format",
        expected=(
            f"{layout.shortest} to {MAX_LENGTH} characters of the alphabet (radix {layout.radix}), {layout.kept} of "
            f"them kept: FF1 needs at least {MIN_DOMAIN:,} possible values for the encrypted part"
        ),
        found=(
            f"of {rows} values, {np.count_nonzero(verdict.too_short)} too short, "
            f"{np.count_nonzero(verdict.too_long)} too long, "
            f"{np.count_nonzero(verdict.foreign)} with characters outside the alphabet"
        ),
        remedy="quarantine the rows that ff1_valid marks, keep fewer characters, or choose cmac tokens",
    )
