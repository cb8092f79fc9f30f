"""Reversible tokens: AES-SIV of every value's canonical form, by column. Deterministic, and authenticated.

A token is V (16 bytes) and then the encrypted form, as long as the form itself: it shows equality, frequency and
length. The synthetic initialization vector V is S2V over the form alone, with no associated data, so that a token is
the same wherever its key is used. CTR over V encrypts; on the way back V is computed again and must be the token's.
Source: RFC 5297 sections 2.4 to 2.7. An empty value has a token of V alone.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import CHUNK_ROWS
from cloakhouse.tokens.arrays import UNNAMED, byte_column, per_chunk, require
from cloakhouse.tokens.canonical import EXPECTED, canonical_form, is_bytes, is_canonical
from cloakhouse.tokens.siv_column import ColumnSiv
from cloakhouse.tokens.uncanonical import from_canonical

__all__ = ["ColumnSiv", "siv_tokens", "siv_values"]


def siv_tokens(
    values: pa.Array | pa.ChunkedArray, key: SecretKey, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the AES-SIV token of every value (binary; chunked as the input is), null where `values` is null.

    Takes what has a canonical form (see `canonical`), of any length, sliced, chunked or as a dictionary; one that is no
    longer than its chunk is tokenized once per entry. `key` (32, 48 or 64 bytes; 64 is AES-256) must serve nothing
    but these tokens. Raises TreatmentError for a type without a canonical form, for text that isn't UTF-8 and for one
    array of more than 2 GiB, KeyServiceError for a key of another length.
    """
    require(values, is_canonical, column, EXPECTED)
    siv = ColumnSiv(key, min(len(values), CHUNK_ROWS))
    return per_chunk(
        values, lambda chunk: siv.encrypt(canonical_form(chunk, column=column), column), on_dictionary=True
    )


def siv_values(
    tokens: pa.Array | pa.ChunkedArray, key: SecretKey, kind: Any, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the values, of Arrow type `kind`, that `siv_tokens` was given; null stays null.

    Every token is authenticated before any value is returned. Raises TreatmentError, code "authenticity", if a token
    isn't authentic (changed, cut, of another key), code "form" if the values aren't of `kind` (see `from_canonical`),
    code "type" unless `tokens` is binary, KeyServiceError for a key of another length.
    """
    require(tokens, is_bytes, column, "a binary column of tokens")
    siv = ColumnSiv(key, min(len(tokens), CHUNK_ROWS))

    def one(chunk: pa.Array) -> pa.Array:
        binary = chunk.cast(pa.large_binary()) if pa.types.is_fixed_size_binary(chunk.type) else chunk
        return from_canonical(siv.decrypt(byte_column(binary), column), kind, column=column)

    result = per_chunk(tokens, one, on_dictionary=False)
    return result.cast(kind) if result.type != kind else result
