"""Keyed buckets: a stable, even split of values, such as for experiments or samples of subjects."""

from __future__ import annotations

import pyarrow as pa

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.arrays import UNNAMED, per_chunk, require, validity
from cloakhouse.tokens.canonical import is_canonical
from cloakhouse.tokens.prf import below, value_words
from cloakhouse.tokens.refusals import unusable

BUCKETS = range(2, 65_536 + 1)
"""Numbers of buckets that a column may be split into."""


def bucket(
    values: pa.Array | pa.ChunkedArray, buckets: int, key: SecretKey, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the bucket of every value, from 0 to `buckets` - 1 (int32); null stays null.

    Equal values share a bucket, and each bucket is as likely for a value as any other; without `key` nobody can tell
    which. About 1 in `buckets` of the distinct values share one, so few buckets make a coarse pseudonym, and many
    (beside few values) nearly a token. Takes what has a canonical form (text, binary, integers, dates ...).
    Raises ContractError for a number of buckets outside BUCKETS, TreatmentError for a column of another type,
    KeyServiceError unless the key has 16, 24 or 32 bytes.
    """
    if buckets not in BUCKETS:
        raise unusable("bucket", "buckets", f"from {BUCKETS[0]} to {BUCKETS[-1]} buckets", f"{buckets}")
    require(values, is_canonical, column, "a text, binary, integer or date32 column")

    def one(chunk: pa.Array) -> pa.Array:
        numbers = below(value_words(chunk, key, column=column)[:, 0], buckets)
        valid = validity(chunk)
        return pa.array(numbers, pa.int32(), mask=None if valid is None else ~valid)

    return per_chunk(values, one, on_dictionary=True)
