"""The purpose layer of tokens: one pseudonym per domain, one token per purpose, and who may go between them.

The domain pseudonym of a value is AES-CMAC(K_domain, canonical form), 16 bytes. Its token of a purpose is
AES-CMAC(K_purpose, pseudonym). CMAC of exactly one full block is AES(K, block XOR K1): a permutation. So

- without a key, tokens of two purposes can't be linked;
- who holds K_purpose goes from its tokens back to the pseudonyms, and who holds two purposes' keys translates;
- neither can try a dictionary of values, lacking K_domain. Who holds K_domain can, with any one purpose's key.

Source: NIST SP 800-38B sections 6.1 and 6.2; the roles are those of EDPB Guidelines 01/2025, pseudonymisation domains.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import BLOCK, CHUNK_ROWS, SLACK, AesPermutation, Blocks
from cloakhouse.tokens.arrays import UNNAMED, fresh, per_chunk, require, validity
from cloakhouse.tokens.canonical import EXPECTED, is_canonical
from cloakhouse.tokens.cmac import TOKEN_BYTES, ColumnCmac, fixed_tokens
from cloakhouse.tokens.ending import double

_Words = NDArray[np.uint64]
_Step = Callable[[_Words, NDArray[np.uint8]], None]
"""Takes uint64[rows, 2], up to CHUNK_ROWS, and writes as many blocks into uint8[16 * rows + 15 or more]."""


def purpose_tokens(
    pseudonyms: pa.Array | pa.ChunkedArray, key: SecretKey, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the tokens of a purpose: AES-CMAC of every domain pseudonym, fixed_size_binary(16); null stays null.

    `key` (16, 24 or 32 bytes) is the purpose's and serves nothing else. Takes and keeps chunks. Raises TreatmentError
    unless the column is fixed_size_binary(16), KeyServiceError for a key of another length.
    """
    return _mapped(pseudonyms, _layer(key), column)


def pseudonyms_of(
    tokens: pa.Array | pa.ChunkedArray, key: SecretKey, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the domain pseudonyms that `purpose_tokens` was given, for the same key; types and errors as there.

    There is no integrity: under another key, or of other bytes, a pseudonym comes back that belongs to nobody.
    """
    return _mapped(tokens, _unlayer(key), column)


def translate(
    tokens: pa.Array | pa.ChunkedArray, from_key: SecretKey, to_key: SecretKey, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return the same persons' tokens of another purpose in the same domain; types and errors as `purpose_tokens`.

    It equals `purpose_tokens(pseudonyms_of(tokens, from_key), to_key)`, without pseudonyms of a whole column in memory.
    """
    back, forth, between = _unlayer(from_key), _layer(to_key), Blocks(min(len(tokens), CHUNK_ROWS))

    def both(words: _Words, target: NDArray[np.uint8]) -> None:
        back(words, between.raw)
        forth(between.words[: len(words)], target)

    return _mapped(tokens, both, column)


def column_tokens(
    values: pa.Array | pa.ChunkedArray, domain_key: SecretKey, purpose_key: SecretKey, *, column: str = UNNAMED
) -> pa.FixedSizeBinaryArray:
    """Return the tokens of a purpose for every value: fixed_size_binary(16), null where `values` is null.

    It equals `purpose_tokens(cmac_tokens(values, domain_key), purpose_key)`; a dictionary no longer than its chunk is
    tokenized once per entry. Raises TreatmentError and KeyServiceError as those do.
    """
    require(values, is_canonical, column, EXPECTED)
    mac, layer = ColumnCmac(domain_key, min(len(values), CHUNK_ROWS)), _layer(purpose_key)
    tokens = per_chunk(values, lambda chunk: _mapped(mac.of_values(chunk, column), layer, column), on_dictionary=True)
    return tokens.combine_chunks() if isinstance(tokens, pa.ChunkedArray) else tokens


def _layer(key: SecretKey) -> _Step:
    """Return the step from blocks to their CMAC."""
    aes, tile = _subkey(key)
    source = Blocks(CHUNK_ROWS)

    def step(words: _Words, target: NDArray[np.uint8]) -> None:
        rows = len(words)
        np.bitwise_xor(words, tile.words[:rows], out=source.words[:rows])
        aes.into(source.raw[: BLOCK * rows], target)

    return step


def _unlayer(key: SecretKey) -> _Step:
    aes, tile = _subkey(key)

    def step(words: _Words, target: NDArray[np.uint8]) -> None:
        aes.invert_into(words.reshape(-1).view(np.uint8), target)
        plain = target[: BLOCK * len(words)].view(np.uint64).reshape(-1, 2)
        plain ^= tile.words[: len(words)]

    return step


def _subkey(key: SecretKey) -> tuple[AesPermutation, Blocks]:
    """Return the permutation, and subkey K1 for every row of a chunk: numpy is slow where it repeats two words."""
    aes, tile = AesPermutation(key), Blocks(CHUNK_ROWS)
    tile.cells[:] = np.frombuffer(double(aes.one(bytes(BLOCK))), "V16")[0]
    return aes, tile


def _mapped(values: pa.Array | pa.ChunkedArray, step: _Step, column: str) -> pa.Array | pa.ChunkedArray:
    expected = "a fixed_size_binary(16) column of pseudonyms or tokens"
    require(values, lambda kind: kind == pa.binary(TOKEN_BYTES), column, expected)

    def one(chunk: pa.Array) -> pa.Array:
        rows, data = len(chunk), chunk.buffers()[1]
        raw = fresh(BLOCK * rows + SLACK)
        result = raw[: BLOCK * rows].view("V16")
        if rows and data is not None:
            words = np.frombuffer(data, np.uint64, 2 * rows, BLOCK * chunk.offset).reshape(rows, 2)
            for first in range(0, rows, CHUNK_ROWS):
                step(words[first : first + CHUNK_ROWS], raw[BLOCK * first :])
        valid = validity(chunk)
        if valid is not None:
            result[~valid] = np.zeros((), "V16")
        return fixed_tokens(result, valid)

    return per_chunk(values, one, on_dictionary=True)
