"""Keyed pseudorandom words by column: what treatments draw from where a result must be the same on every run.

By value: the halves of AES-CMAC (NIST SP 800-38B) of the canonical form, so that equal values draw alike. By row: the
AES-256-CTR keystream (NIST SP 800-38A section 6.5) under a key of the rows' place, HKDF-SHA256 (RFC 5869) of the
column's key with the place as `info`, so that a task that is done again draws the same.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import BLOCK
from cloakhouse.tokens.arrays import UNNAMED, validity
from cloakhouse.tokens.cmac import cmac_tokens

Words = NDArray[np.uint64]


def value_words(values: pa.Array | pa.ChunkedArray, key: SecretKey, *, column: str = UNNAMED) -> Words:
    """Return two words a value, uint64[rows, 2]: its CMAC's halves, big-endian; both 0 where it is null.

    Raises TreatmentError for a type without a canonical form, KeyServiceError unless the key has 16, 24 or 32 bytes.
    """
    tokens = cmac_tokens(values, key, column=column)
    data = tokens.buffers()[1]
    cells = np.frombuffer(data, ">u8", 2 * len(tokens), BLOCK * tokens.offset) if len(tokens) else np.zeros(0, ">u8")
    words = cells.reshape(len(tokens), 2).astype(np.uint64)
    valid = validity(tokens)
    if valid is not None:
        words[~valid] = 0  # who draws for a null must find out, whatever lies under it
    return words


def row_words(key: SecretKey, place: bytes, rows: int) -> Words:
    """Return two words a row, uint64[rows, 2]; no two places and no two rows of one draw from the same block."""
    stream_key = HKDF(SHA256(), 32, None, b"cloakhouse/rows/1\0" + place).derive(key.reveal())
    stream = Cipher(algorithms.AES256(stream_key), modes.CTR(bytes(BLOCK))).encryptor()
    words = np.frombuffer(stream.update(bytes(BLOCK * rows)), ">u8")
    return words.reshape(rows, 2).astype(np.uint64)


def below(words: Words, limit: int) -> NDArray[np.int64]:
    """Return words as int64 from 0 to `limit` - 1 (`limit` from 1 to 2^32), each as likely to within 2^-32 of itself.

    Takes the high 32 bits of a word times the limit (Lemire 2019, doi:10.1145/3230636, without its rejection); the
    low 32 bits of the word refine it, so that the bias is below limit / 2^64.
    """
    if not 1 <= limit <= 1 << 32:
        raise ValueError(f"a limit from 1 to 2^32, not {limit}")
    factor = np.uint64(limit)
    low = ((words & np.uint64(0xFFFFFFFF)) * factor) >> np.uint64(32)
    return (((words >> np.uint64(32)) * factor + low) >> np.uint64(32)).astype(np.int64)
