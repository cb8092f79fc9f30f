"""Format-preserving encryption of a column: FF1 over any alphabet of 2 to 36 characters.

The result has the length and the alphabet of the value; kept characters stay in clear and are the tweak,
so that equal middles under different prefixes don't encrypt alike. Reversible with the key, deterministic,
and without integrity: a changed value decrypts to another valid one. A check digit (Luhn) survives only with `luhn`:
then the last free digit isn't encrypted but chosen, and decryption restores the one that belongs there.
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
from cloakhouse.tokens.aes import AesPermutation
from cloakhouse.tokens.arrays import (
    UNNAMED,
    ByteColumn,
    byte_array,
    byte_column,
    fresh,
    is_text,
    per_chunk,
    refuse,
    require,
)
from cloakhouse.tokens.ff1_column import encrypt_middles
from cloakhouse.tokens.ff1_format import DIGITS, MAX_LENGTH, MIN_DOMAIN, Ff1Format, Verdict
from cloakhouse.tokens.ff1_luhn import Luhn

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
    luhn: Luhn | None = None,
    column: str = UNNAMED,
) -> pa.Array | pa.ChunkedArray:
    """Return text of the same lengths in which all but the kept characters are encrypted; null stays null.

    Takes string, large_string and string_view (which comes back as large_string), sliced or chunked
    (chunked comes back chunked); a dictionary no longer than its chunk is treated once per entry. `alphabet` gives the
    characters in the order of their numerals; kept characters must be of `kept_alphabet`, by default the same. With
    `luhn`, digits that are Luhn-valid become digits that are ("valid") or never are ("invalid"); this takes one digit
    of the domain. `key` (16, 24 or 32 bytes) must serve nothing but this column's domain. Raises TreatmentError if a
    value is refused by `ff1_valid` or the column isn't text, ContractError for unusable settings, KeyServiceError for
    a key of another length.
    """
    layout = Ff1Format(alphabet, keep_prefix, keep_suffix, kept_alphabet, luhn)
    return _treat(values, key, layout, column, decrypt=False)


def ff1_decrypt(
    values: pa.Array | pa.ChunkedArray,
    key: SecretKey,
    *,
    alphabet: str,
    keep_prefix: int = 0,
    keep_suffix: int = 0,
    kept_alphabet: str | None = None,
    luhn: Luhn | None = None,
    column: str = UNNAMED,
) -> pa.Array | pa.ChunkedArray:
    """Return what `ff1_encrypt` was given, for the same key and settings; types and errors as there."""
    layout = Ff1Format(alphabet, keep_prefix, keep_suffix, kept_alphabet, luhn)
    return _treat(values, key, layout, column, decrypt=True)


def ff1_valid(
    values: pa.Array | pa.ChunkedArray,
    *,
    alphabet: str,
    keep_prefix: int = 0,
    keep_suffix: int = 0,
    kept_alphabet: str | None = None,
    luhn: Luhn | None = None,
    column: str = UNNAMED,
) -> pa.BooleanArray:
    """Return a mask without nulls (chunked as the input is): True where `ff1_encrypt` accepts the row.

    False for a character outside the alphabet, for a value whose encrypted part has fewer than 1,000,000
    possible values, for more than 1024 bytes, and with `luhn` for a number that isn't Luhn-valid. True for null,
    which stays null. Raises TreatmentError if the column isn't text, ContractError for unusable settings.
    """
    layout = Ff1Format(alphabet, keep_prefix, keep_suffix, kept_alphabet, luhn)
    require(values, is_text, column, "a text column")

    def one(chunk: pa.Array) -> pa.Array:
        view = byte_column(chunk)
        return pa.array(layout.judge(view, layout.codes(_text(view))).accepted)

    return per_chunk(values, one, on_dictionary=False)


def _treat(
    values: pa.Array | pa.ChunkedArray, key: SecretKey, layout: Ff1Format, column: str, *, decrypt: bool
) -> pa.Array | pa.ChunkedArray:
    require(values, is_text, column, "a text column")
    aes = AesPermutation(key)

    def one(chunk: pa.Array) -> pa.Array:
        view = _nothing_under_nulls(chunk)
        codes = layout.codes(_text(view))
        verdict = layout.judge(view, codes, encrypted=decrypt)
        if not verdict.accepted.all():
            raise _refusal(verdict, layout, column)
        offsets = view.offsets - view.offsets[0]
        treated = ByteColumn(offsets, fresh(len(codes)), view.valid)
        treated.data[:] = _text(view)
        encrypt_middles(treated, codes, layout, aes, decrypt=decrypt)
        return byte_array(treated, chunk.type)

    def chunk_of(chunk: pa.Array) -> pa.Array:
        entries = _used_entries(chunk)
        return per_chunk(chunk, one, on_dictionary=False) if entries is None else one(entries).take(chunk.indices)

    if not isinstance(values, pa.ChunkedArray):
        return chunk_of(values)
    return pa.chunked_array(
        [chunk_of(chunk) for chunk in values.chunks], None if values.num_chunks else _plain(values.type)
    )


def _used_entries(chunk: pa.Array) -> pa.Array | None:
    """Return a dictionary no longer than its chunk, null where no row uses the entry; None if there is no such.

    An entry without rows may be unfit to be treated, and that is no reason to refuse the column.
    """
    if not pa.types.is_dictionary(chunk.type) or len(chunk.dictionary) > len(chunk):
        return None
    used = np.zeros(len(chunk.dictionary), np.bool_)
    used[chunk.indices.drop_null().to_numpy()] = True
    kind = _plain(chunk.type)
    return pc.if_else(pa.array(used), chunk.dictionary.cast(kind), pa.scalar(None, kind))


def _plain(kind: Any) -> Any:
    """Return the type in which a column comes back."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.large_string() if pa.types.is_string_view(kind) else kind


def _text(view: ByteColumn) -> _Bytes:
    return view.data[view.offsets[0] : view.offsets[-1]]


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
            + (f", {np.count_nonzero(verdict.unchecked)} of another Luhn sum" if layout.luhn else "")
        ),
        remedy="quarantine the rows that ff1_valid marks, keep fewer characters, or choose cmac tokens",
    )
