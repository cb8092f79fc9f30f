"""Which rows may be used: those of persons who allow it, and of nobody who was erased. Asked before anything else.

1. the column that names the person is encoded, so that every person of a batch is looked up once;
2. its values become rights tokens: of plain identifiers as a feed has them, or of the tokens of the protected zone;
3. they are looked for in one sorted list: of the persons who may pass, where a consent is asked for; else of those who
   were erased. Only the list tells who is who, and it lies nowhere in plain.

A row that names nobody passes where no consent is asked for, and else doesn't: nobody said yes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Column
from cloakhouse.keys.derive import KeySource
from cloakhouse.tokens.cmac import TOKEN_BYTES
from cloakhouse.tokens.subjects import RIGHTS_TYPE, rights_of_tokens, rights_tokens

Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.bytes_]
_WORD = f"S{TOKEN_BYTES}"  # compared as unsigned bytes, as arrow sorts them


@dataclass(frozen=True)
class Persons:
    """A list of persons, and what it says of them: `only` these pass; else all but these.

    Attributes:
        listed: rights tokens, sorted, each once: fixed_size_binary(16) without nulls.
    """

    listed: pa.Array
    only: bool

    @classmethod
    def passing(cls, allowed: pa.Array | None, erased: pa.Array) -> Persons:
        """Return who passes: the `allowed` (None: no consent is asked for) without the `erased`."""
        if allowed is None:
            return cls(_tokens(np.unique(_words(erased))), only=False)
        return cls(_tokens(np.setdiff1d(_words(allowed), _words(erased))), only=True)

    @property
    def all_pass(self) -> bool:
        """Whether nobody is held back, so that no row has to be looked at."""
        return not self.only and len(self.listed) == 0


class Sieve:
    """Tells which rows may be used. `column` names the person in them; `keys` give rights tokens."""

    def __init__(self, persons: Persons, column: Column, keys: KeySource) -> None:
        self._listed = np.sort(_words(persons.listed))
        self._only = persons.only
        self._column = column
        self._keys = keys

    @property
    def asks_consent(self) -> bool:
        """Whether only rows of persons who agreed pass."""
        return self._only

    @property
    def column(self) -> str:
        """The column that names the person."""
        return self._column.name

    def of_plain(self, values: pa.Array | pa.ChunkedArray) -> Flags:
        """Return which rows pass (bool[n]) by the plain identifiers of a feed. Raises as `rights_tokens`."""
        return self._passing(values, lambda known: rights_tokens(known, self._column, self._keys))

    def of_tokens(self, tokens: pa.Array | pa.ChunkedArray) -> Flags:
        """Return which rows pass (bool[n]) by the column's tokens in the protected zone. Raises as
        `rights_of_tokens`."""
        return self._passing(tokens, lambda known: rights_of_tokens(known, self._column, self._keys))

    def _passing(self, values: pa.Array | pa.ChunkedArray, rights: Callable[[pa.Array], pa.Array]) -> Flags:
        whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        coded = pc.dictionary_encode(whole)
        passing = np.append(self._known(_words(rights(coded.dictionary))), not self._only)  # the last: of nobody
        at = pc.fill_null(coded.indices, len(passing) - 1)
        found: Flags = passing[np.asarray(at)]
        return found

    def _known(self, persons: Words) -> Flags:
        if not len(self._listed):
            return np.full(len(persons), not self._only)
        at = np.minimum(np.searchsorted(self._listed, persons), len(self._listed) - 1)
        return np.asarray((self._listed[at] == persons) == self._only)


def _words(tokens: pa.Array) -> Words:
    """Return rights tokens without nulls as numpy's bytes of fixed length."""
    data = tokens.buffers()[1]
    if not len(tokens) or data is None:
        return np.zeros(0, _WORD)
    return np.frombuffer(data, _WORD, len(tokens), TOKEN_BYTES * tokens.offset)


def _tokens(words: Words) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(RIGHTS_TYPE, len(words), [None, pa.py_buffer(words.tobytes())])
