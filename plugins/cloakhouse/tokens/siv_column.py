"""AES-SIV over columns of bytes: S2V and CTR for all rows of a chunk at once, long values one by one.

Source: RFC 5297 sections 2.4 to 2.7. `siv` holds what a token means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from numpy.typing import NDArray

from cloakhouse.errors import TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import BLOCK, AesPermutation, Blocks, require_length
from cloakhouse.tokens.arrays import ByteColumn, byte_array, fresh, refuse
from cloakhouse.tokens.blockwise import LONG_VALUE, Arrangement, Places, arranged, chunks, lengths_of, starts_of
from cloakhouse.tokens.cmac import ColumnCmac
from cloakhouse.tokens.ending import double, s2v_ending, xor
from cloakhouse.tokens.planes import Planes

VECTOR_BYTES = 16  # V, before the encrypted form
_MAX_BYTES = 2**31 - 1  # what the 32-bit offsets of an Arrow binary array reach
_COUNTER_BITS = 0x7FFFFFFF7FFFFFFF  # of V's low half: bits 63 and 31 are cleared (RFC 5297 section 2.5)


class ColumnSiv:
    """SIV of byte columns under one key, over up to `rows` (at most CHUNK_ROWS) rows at once.

    `associated` is the same for all rows; tokens have none. Raises KeyServiceError for a key of another length.
    """

    def __init__(self, key: SecretKey, rows: int, associated: Sequence[bytes] = ()) -> None:
        require_length(key, (32, 48, 64), "AES-SIV")
        half = len(key) // 2
        first = SecretKey(key.reveal()[:half])
        self._long, self._associated = AESSIV(key.reveal()), list(associated)
        self._mac = ColumnCmac(first, rows)
        self._ending = s2v_ending(AesPermutation(first), self._prefix())
        self._stream = AesPermutation(SecretKey(key.reveal()[half:]))
        self._counters, self._text, self._other = Blocks(rows), Planes(), Planes()

    def _prefix(self) -> bytes:
        """Return D before the plaintext: S2V's steps over the associated data."""
        d = self._mac.one(bytes(BLOCK))
        for component in self._associated:
            d = xor(double(d), self._mac.one(component))
        return d

    def encrypt(self, column: ByteColumn, name: str) -> pa.Array:
        """Return the tokens of every value's bytes (binary)."""
        lengths = lengths_of(column)
        present = np.ones(len(column), np.bool_) if column.valid is None else column.valid
        if column.valid is None:
            offsets = column.offsets - column.offsets[0] + VECTOR_BYTES * np.arange(len(column) + 1)
        else:
            offsets = _offsets(lengths + VECTOR_BYTES * present)
        _require_small(int(offsets[-1]), name)
        text = fresh(int(offsets[-1]) + BLOCK)
        for rows in chunks(column):
            chosen, long = _split(lengths[rows], present[rows])
            if len(lengths[rows][chosen]):
                data, starts = starts_of(_part(column, rows), chosen)
                self._encrypt(data, starts, lengths[rows][chosen], text, offsets[rows][chosen])
            for row in (long + rows.start).tolist():
                start = int(column.offsets[row])
                sealed = self._long.encrypt(_cut(column.data, start, int(lengths[row])), self._associated)
                text[offsets[row] : offsets[row + 1]] = np.frombuffer(sealed, np.uint8)
        return byte_array(ByteColumn(offsets.astype(np.int32), text[: offsets[-1]], column.valid), pa.binary())

    def _encrypt(self, data: Any, starts: Any, lengths: Any, text: Any, places: Any) -> None:
        plan = arranged(lengths)
        _places(data, starts, plan).read_all(0, self._text)
        self._mac.run(self._copied(), plan, self._ending)
        self._xor_stream(self._mac.state, plan)
        target = _places(text, places, plan)
        target.write_all(VECTOR_BYTES, self._text)
        target.write(0, self._mac.state.cells[: plan.rows])  # after the form, whose last block may run over it

    def _copied(self) -> Planes:
        """Return a copy of the text's planes, for a chain to use up."""
        self._other.lay(self._text.counts)
        for step in range(len(self._text.counts)):
            self._other.data(step)[:] = self._text.data(step)
        return self._other

    def decrypt(self, column: ByteColumn, name: str) -> ByteColumn:
        """Return the authenticated forms of the tokens."""
        sizes = lengths_of(column)
        present = np.ones(len(column), np.bool_) if column.valid is None else column.valid
        false = present & (sizes < VECTOR_BYTES)
        lengths = np.maximum(sizes - VECTOR_BYTES, 0)
        offsets = _offsets(lengths)
        text = fresh(int(offsets[-1]) + BLOCK)
        usable = present & ~false
        for rows in chunks(column):
            chosen, long = _split(lengths[rows], usable[rows])
            if len(lengths[rows][chosen]):
                data, starts = starts_of(_part(column, rows), chosen)
                found = self._decrypt(data, starts, lengths[rows][chosen], text, offsets[rows][chosen])
                false[rows][chosen] = ~found
            for row in (long + rows.start).tolist():
                start = int(column.offsets[row])
                try:
                    form = self._long.decrypt(_cut(column.data, start, int(sizes[row])), self._associated)
                except InvalidTag:
                    false[row] = True
                else:
                    text[offsets[row] : offsets[row + 1]] = np.frombuffer(form, np.uint8)
        if false.any():
            raise _not_authentic(int(np.count_nonzero(false)), len(column), name)
        return ByteColumn(offsets, text[: offsets[-1]], column.valid)

    def _decrypt(self, data: Any, starts: Any, lengths: Any, text: Any, places: Any) -> NDArray[np.bool_]:
        """Write the forms and return which tokens are authentic."""
        plan = arranged(lengths)
        source, vectors = _places(data, starts, plan), Blocks(plan.rows)
        vectors.cells[:] = source.read(0)
        source.read_all(VECTOR_BYTES, self._text)
        self._xor_stream(vectors, plan)
        blocks = np.maximum(-(-lengths // BLOCK), 1)
        firsts = _offsets(blocks)
        spread, heads = np.empty(int(firsts[-1]), "V16"), plan.of(firsts[:-1])
        for step, count in enumerate(plan.counts):
            spread[heads[:count] + step] = self._text.cells(step)
        # Block after block in the order of the values: what runs over a value's end is overwritten by the next.
        steps = BLOCK * np.arange(len(spread)) + np.repeat(places - BLOCK * firsts[:-1], blocks)
        np.ndarray(len(text) - BLOCK + 1, "V16", text, 0, (1,))[steps] = spread
        self._mac.run(self._text, plan, self._ending)
        authentic = np.empty(plan.rows, np.bool_)
        equal = (self._mac.state.words[: plan.rows] == vectors.words).all(axis=1)
        authentic[slice(None) if plan.order is None else plan.order] = equal
        return authentic

    def _xor_stream(self, vectors: Blocks, plan: Arrangement) -> None:
        """Encrypt, or decrypt, the text's planes in place by the key stream of every row's V (CTR)."""
        low = vectors.big[: plan.rows, 1].astype(np.uint64) & np.uint64(_COUNTER_BITS)
        self._counters.words[: plan.rows, 0] = vectors.words[: plan.rows, 0]
        self._other.lay(plan.counts)
        for step, count in enumerate(plan.counts):
            self._counters.big[:count, 1] = low[:count] + np.uint64(step)  # below 2^63 + 64: it never carries
            self._stream.into(self._counters.raw[: BLOCK * count], self._other.target(step))
            text = self._text.words(step)
            text ^= self._other.words(step)


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _part(column: ByteColumn, rows: slice) -> ByteColumn:
    valid = None if column.valid is None else column.valid[rows]
    return ByteColumn(column.offsets[rows.start : rows.stop + 1], column.data, valid)


def _split(lengths: NDArray[np.int64], usable: NDArray[np.bool_]) -> tuple[Any, NDArray[np.intp]]:
    """Return which rows run by column (indices, or a slice of all), and the indices of those that go one by one."""
    long = lengths > LONG_VALUE
    chosen = usable & ~long
    return slice(None) if chosen.all() else np.flatnonzero(chosen), np.flatnonzero(usable & long)


def _places(data: NDArray[np.uint8], starts: NDArray[np.int64], plan: Arrangement) -> Places:
    """Return the rows' places, by stride if they are at equal distances (a null or a long value may lie between)."""
    if not plan.one_length:
        return Places(data, plan.of(starts), plan)
    gap = int(starts[1] - starts[0]) if len(starts) > 1 else 0
    return Places(data, starts, plan, gap if ((starts[1:] - starts[:-1]) == gap).all() else None)


def _cut(data: NDArray[np.uint8], start: int, size: int) -> bytes:
    return data[start : start + size].tobytes()


def _require_small(size: int, column: str) -> None:
    if size > _MAX_BYTES:
        raise refuse(
            column,
            code="too-large",
            expected=f"at most {_MAX_BYTES} bytes of tokens in one array",
            found=f"{size} bytes",
            remedy="pass a chunked array, or smaller batches",
        )


def _not_authentic(count: int, rows: int, column: str) -> TreatmentError:
    return refuse(
        column,
        code="authenticity",
        expected="tokens of this key, as they were made",
        found=f"{count} of {rows} that aren't",
        remedy="check the key's purpose, domain and period, and where the tokens were changed or cut",
    )
