"""Keyed tokens of 16 bytes: AES-CMAC of every value's canonical form, by column.

The chain of every row advances together: step j is one AES call over all rows that have a block j.
Source: NIST SP 800-38B section 6.2; RFC 4493 section 2.4. Tokens show equality and frequency, and whoever
holds the key can try a dictionary of values: this is pseudonymization, not anonymization.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import algorithms
from numpy.typing import NDArray

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import BLOCK, CHUNK_ROWS, SLACK, AesPermutation, Blocks
from cloakhouse.tokens.arrays import UNNAMED, ByteColumn, bitmap, byte_column, fresh, per_chunk, require
from cloakhouse.tokens.blockwise import (
    LONG_VALUE,
    Arrangement,
    Places,
    arranged,
    chunks,
    lengths_of,
    of_one_length,
    starts_of,
)
from cloakhouse.tokens.canonical import EXPECTED, INTEGER_TAG, canonical_form, is_canonical, signed_numbers
from cloakhouse.tokens.ending import Ending
from cloakhouse.tokens.planes import Planes
from cloakhouse.tokens.render import to_base32, to_hex

__all__ = ["LONG_VALUE", "TOKEN_BYTES", "ColumnCmac", "cmac_tokens", "to_base32", "to_hex"]

TOKEN_BYTES = 16
_INTEGER_BYTES = 10  # of an integer's canonical form

_Void = NDArray[np.void]


def cmac_tokens(
    values: pa.Array | pa.ChunkedArray, key: SecretKey, *, column: str = UNNAMED
) -> pa.FixedSizeBinaryArray:
    """Return the AES-CMAC of every value: fixed_size_binary(16), as many rows, null where `values` is null.

    Takes text, binary, integers, decimals and date32 (see `canonical`), of any length, sliced, chunked or
    dictionary-encoded; a dictionary is tokenized once per entry. `key` (16, 24 or 32 bytes) must serve
    nothing but these tokens. 2^35 distinct values collide with a probability of about 2^-59.
    Raises TreatmentError for a type without a canonical form and for text that isn't UTF-8, KeyServiceError for a key
    of another length.
    """
    require(values, is_canonical, column, EXPECTED)
    mac = ColumnCmac(key, min(len(values), CHUNK_ROWS))
    tokens = per_chunk(values, lambda chunk: mac.of_values(chunk, column), on_dictionary=True)
    return tokens.combine_chunks() if isinstance(tokens, pa.ChunkedArray) else tokens


class ColumnCmac:
    """The chain's state for one key, over up to `rows` (at most CHUNK_ROWS) rows at once."""

    def __init__(self, key: SecretKey, rows: int) -> None:
        self._aes = AesPermutation(key)
        self._key = key
        self._ending = Ending.of_cmac(self._aes.one(bytes(BLOCK)))
        self._input, self.state = Blocks(max(rows, 1)), Blocks(max(rows, 1))
        self._planes = Planes()
        self._tiles: dict[tuple[int, int], NDArray[np.uint64]] = {}

    def of_values(self, values: pa.Array, column: str) -> pa.FixedSizeBinaryArray:
        """Return the tokens of values of a type that has a canonical form; no dictionary."""
        numbers = signed_numbers(values)
        return self.tokens(canonical_form(values, column=column)) if numbers is None else self._of_numbers(*numbers)

    def tokens(self, column: ByteColumn) -> pa.FixedSizeBinaryArray:
        """Return the CMAC of every value's bytes, null where it is null."""
        rows = len(column)
        raw, length = fresh(BLOCK * rows + SLACK), _one_length(column)
        for part in chunks(column):
            valid = None if column.valid is None else column.valid[part]
            chunk = ByteColumn(column.offsets[part.start : part.stop + 1], column.data, valid)
            if length is None:
                self._chunk(chunk, raw[BLOCK * part.start :])
            else:
                self._uniform(chunk, length, raw[BLOCK * part.start :])
        return fixed_tokens(raw[: BLOCK * rows].view("V16"), column.valid)

    def one(self, message: bytes) -> bytes:
        """Return the CMAC (16 bytes) of one message."""
        tag: bytes = self.tokens(byte_column(pa.array([message], pa.binary())))[0].as_py()
        return tag

    def _uniform(self, column: ByteColumn, length: int, target: NDArray[np.uint8]) -> None:
        """Write the tokens of values that all have one length and lie one after the other."""
        data, starts = starts_of(column, slice(0, 1))
        plan = of_one_length(length, len(column))
        self._run_at(Places(data, starts, plan, length), plan, target)

    def _chunk(self, column: ByteColumn, raw: NDArray[np.uint8]) -> None:
        """Write the tokens of values that aren't null: none may exist of what lies under a null."""
        lengths = lengths_of(column)
        result = raw[: BLOCK * len(column)].view("V16")
        if column.valid is not None:
            result[:] = np.zeros((), "V16")
        chosen: Any = slice(None)
        if column.valid is not None or int(lengths.max()) > LONG_VALUE:
            short = lengths <= LONG_VALUE
            self._long(column, np.flatnonzero(~short), result)
            chosen = np.flatnonzero(short if column.valid is None else short & column.valid)
            lengths = lengths[chosen]
        if not len(lengths):
            return
        data, starts = starts_of(column, chosen)
        plan = arranged(lengths)
        all_at_once = isinstance(chosen, slice) and plan.order is None
        self._run_at(Places(data, plan.of(starts), plan), plan, raw if all_at_once else None)
        tokens = self.state.cells[: len(lengths)]
        if plan.order is not None:
            result[plan.order if isinstance(chosen, slice) else chosen[plan.order]] = tokens
        elif not all_at_once:
            result[chosen] = tokens

    def _run_at(self, places: Places, plan: Arrangement, target: NDArray[np.uint8] | None) -> None:
        places.read_all(0, self._planes)
        self.run(self._planes, plan, self._ending, target)

    def run(self, planes: Planes, plan: Arrangement, ending: Ending, target: NDArray[np.uint8] | None = None) -> None:
        """Leave the chain's result of every row in `state`, in the order of `plan`, or in `target` if all end at once.

        The planes are used up. With another `ending` than CMAC's, it is a function that differs in its last blocks
        only, such as S2V.
        """
        classes = ending.classes(plan.lengths)
        counts = [*plan.counts, 0, 0]
        for step, rows in enumerate(plan.counts):
            words = planes.words(step)
            following, second = counts[step + 1], counts[step + 2]
            if following < rows:
                words[following:] &= self._table(ending.keep, classes, following, rows, plan)
                words[following:] ^= self._table(ending.last, classes, following, rows, plan)
            if ending.before is not None and second < following:
                words[second:following] ^= self._table(ending.before, classes, second, following, plan)
            if step:
                words ^= self.state.words[:rows]
            self._aes.into(planes.data(step), self.state.raw if target is None or following else target)

    def _table(
        self, table: _Void, classes: NDArray[np.int64], start: int, stop: int, plan: Arrangement
    ) -> NDArray[np.uint64]:
        """Return uint64[n, 2]: each row's entry. Rows of one class share a tile, as numpy is slow on short rows."""
        rows = stop - start
        if not plan.one_length:
            return table.take(classes[start:stop]).view(np.uint64).reshape(rows, 2)
        place = (id(table), int(classes[0]))
        if place not in self._tiles or len(self._tiles[place]) < rows:
            self._tiles[place] = np.full(rows, table[classes[0]], "V16").view(np.uint64).reshape(rows, 2)
        return self._tiles[place][:rows]

    def _long(self, column: ByteColumn, rows: NDArray[np.intp], result: _Void) -> None:
        cells = result.view(np.uint8).reshape(-1, TOKEN_BYTES)
        for row in rows.tolist():
            mac = cmac.CMAC(algorithms.AES(self._key.reveal()))
            mac.update(column.data[column.offsets[row] : column.offsets[row + 1]].tobytes())
            cells[row] = np.frombuffer(mac.finalize(), np.uint8)

    def _of_numbers(self, numbers: NDArray[np.int64], valid: NDArray[np.bool_] | None) -> pa.FixedSizeBinaryArray:
        """Integers have one block, written from the numbers themselves: FF 69, eight bytes, the padding."""
        raw = fresh(BLOCK * len(numbers) + SLACK)
        high, low = np.frombuffer(self._ending.last[_INTEGER_BYTES].tobytes(), ">u8").astype(np.uint64)
        high ^= np.uint64(int.from_bytes(INTEGER_TAG, "big") << 48)
        for start in range(0, len(numbers), CHUNK_ROWS):
            part = numbers[start : start + CHUNK_ROWS].view(np.uint64)
            rows = len(part)
            self._input.big[:rows, 0] = (part >> np.uint64(16)) ^ high
            self._input.big[:rows, 1] = (part << np.uint64(48)) ^ low
            self._aes.into(self._input.raw[: BLOCK * rows], raw[BLOCK * start :])
        result = raw[: BLOCK * len(numbers)].view("V16")
        if valid is not None:
            result[~valid] = np.zeros((), "V16")
        return fixed_tokens(result, valid)


def _one_length(column: ByteColumn) -> int | None:
    """Return the length of all values (bytes), up to LONG_VALUE; None if they differ, or for nulls among them."""
    if column.valid is not None or not len(column):
        return None
    sizes = np.diff(column.offsets)
    length = int(sizes[0])
    return length if length <= LONG_VALUE and length == sizes.min() and length == sizes.max() else None


def fixed_tokens(cells: _Void, valid: NDArray[np.bool_] | None) -> pa.FixedSizeBinaryArray:
    """Return V16[n] as fixed_size_binary(16), null where not `valid`."""
    buffers = [bitmap(valid), pa.py_buffer(cells.view(np.uint8))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(TOKEN_BYTES), len(cells), buffers)
