"""Whose a raw line is: persons recognised by rights token in lines as they were delivered, sound or not.

1. A line that can be read goes by its subject's column alone.
2. Where that column says nothing legible, it goes by the columns that name the same person (`subject.also`).
3. A line whose columns can't be told apart goes by every whole field that it has.

A line that names a person who is to stay beside one who goes, stays. An identifier is legible however it is written:
`7`, `"7"`, ` 007` and `7.0` are one integer. Values are tokenized a column at a time, each distinct one once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.contracts.model import Column, Contract
from cloakhouse.keys.derive import KeySource
from cloakhouse.stages.parsing import TYPES, cast_or_flag
from cloakhouse.stages.raw_fields import Fields
from cloakhouse.tokens.linking import column_tokens
from cloakhouse.tokens.normalise import normalisable, normalise
from cloakhouse.tokens.subjects import RIGHTS_TYPE, rights_tokens, rights_uses

NOBODY, ANOTHER, GOES, STAYS = 0, 1, 2, 3
INTEGER = r"^[\s\x00\"'+]*(-?)0*(\d{1,19})(?:\.0*)?[\s\x00\"']*$"
Verdicts = NDArray[np.int8]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Whose:
    """Which lines go.

    Attributes:
        goes: bool[lines].
        kept: how many lines name a person who goes and one who stays, and stay.
    """

    goes: Flags
    kept: int


@dataclass(frozen=True)
class RawSubjects:
    """Recognises persons in the fields of lines: `going` and `staying` by rights token, `names` what else names those
    who go (see `name_tokens`). `columns` are the subject's column and those that name the same person."""

    columns: tuple[Column, ...]
    keys: KeySource
    going: pa.Array
    staying: pa.Array
    names: pa.Array

    @classmethod
    def of(
        cls, contract: Contract, keys: KeySource, going: pa.Array, staying: pa.Array, names: pa.Array
    ) -> RawSubjects:
        """Return the recogniser of a feed that declares a `subject`."""
        subject = contract.rights.subject
        assert subject is not None, contract.name
        columns = tuple(contract.column(name) for name in (subject.column, *subject.also))
        return cls(columns, keys, going, staying, names)

    def whose(self, fields: Fields) -> Whose:
        """Return which lines go."""
        subject = self._verdicts(fields.columns[0])
        going = subject == GOES
        unnamed = subject == NOBODY
        if unnamed.any() and len(self.names):
            for column, values in zip(self.columns[1:], fields.columns[1:], strict=True):
                going |= unnamed & self._named(values, column)
        held = self._look_at_doubtful(fields, going)
        return Whose(going & ~held, int((going & held).sum()))

    def _look_at_doubtful(self, fields: Fields, going: Flags) -> Flags:
        """Mark in `going` the doubtful lines that name somebody who goes; return those that name one who stays."""
        held = np.zeros(len(going), np.bool_)
        if fields.doubtful:
            owners = np.repeat([line for line, _ in fields.doubtful], [len(found) for _, found in fields.doubtful])
            values = pa.array([value for _, found in fields.doubtful for value in found], pa.binary())
            verdicts = self._verdicts(values)
            named = verdicts == GOES
            for column in self.columns[1:] if len(self.names) else ():
                named |= self._named(values, column)
            going[owners[named]] = True
            held[owners[verdicts == STAYS]] = True
        return held

    def _verdicts(self, values: pa.Array) -> Verdicts:
        """Return for each text (binary) of the subject's column whether it is NOBODY, ANOTHER, GOES or STAYS."""
        encoded = values.dictionary_encode()
        tokens = rights_tokens(legible(encoded.dictionary, self.columns[0]), self.columns[0], self.keys)
        of_each = np.where(_flags(pc.is_valid(tokens)), ANOTHER, NOBODY).astype(np.int8)
        of_each[_flags(pc.is_in(tokens, value_set=self.staying, skip_nulls=True))] = STAYS
        of_each[_flags(pc.is_in(tokens, value_set=self.going, skip_nulls=True))] = GOES
        places = pc.fill_null(encoded.indices, len(of_each)).to_numpy()
        found: Verdicts = np.append(of_each, np.int8(NOBODY))[places]
        return found

    def _named(self, values: pa.Array, column: Column) -> Flags:
        texts = cast_or_flag(values, pa.string())[0]
        return _flags(pc.is_in(name_tokens(texts, column, self.columns[0], self.keys), value_set=self.names))


def legible(texts: pa.Array, column: Column) -> pa.Array:
    """Return binary texts as values of `column`, null where they are none of its type, however they are written."""
    strings = cast_or_flag(texts, pa.string())[0]
    if column.logical_type == "integer":
        parts = pc.extract_regex(strings, INTEGER.replace("(-?)", "(?P<sign>-?)").replace("(\\d", "(?P<digits>\\d"))
        return cast_or_flag(pc.binary_join_element_wise(*parts.flatten(), ""), pa.int64())[0]
    if column.logical_type != "string":
        return cast_or_flag(strings, TYPES[column.logical_type])[0]
    how = column.treatment.parameters.get("normalise", "exact")
    fit = pc.and_(pc.is_valid(strings), pc.not_equal(strings, ""))
    if how != "exact":
        fit = pc.and_(fit, normalisable(strings, how, column=column.name))
    return pc.if_else(fit, strings, None)


def name_tokens(texts: pa.Array, column: Column, subject: Column, keys: KeySource) -> pa.Array:
    """Return the tokens of what else names a person: texts of `column`, normalised as it asks, under the keys of the
    rights tokens of `subject`; null where a text is none, or not of the column's form."""
    how = column.treatment.parameters.get("normalise", "exact")
    trimmed = pc.utf8_trim_whitespace(texts)
    fit = pc.and_(pc.is_valid(trimmed), pc.not_equal(trimmed, ""))
    if how != "exact":
        fit = pc.and_(fit, normalisable(trimmed, how, column=column.name))
    sound = pc.if_else(fit, trimmed, None)
    domain_key, rights_key = map(keys.key, rights_uses(subject))
    return column_tokens(normalise(sound, how, column=column.name), domain_key, rights_key, column=column.name)


def nobody() -> pa.Array:
    """Return an empty list of persons."""
    return pa.array([], RIGHTS_TYPE)


def _flags(mask: pa.Array) -> Flags:
    return np.array(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), np.bool_)
