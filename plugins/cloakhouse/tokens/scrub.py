"""Scrub: personal data in free text replaced by a mark of its kind.

| kind | mark | what is found |
| --- | --- | --- |
| email | [EMAIL] | addresses as mail programs write them; not "anna at example dot com", no quoted local parts |
| iban | [IBAN] | registered country, its length, ISO 7064 MOD 97-10; in one piece or in groups |
| national id | [NATIONAL ID] | of US, UK, DE, FR, ES, IT, BR, CN and NL: see `checks` for what each must fulfil |
| card | [CARD] | 13 to 19 digits, in one piece or in groups, that begin with 2 to 6 and pass Luhn (ISO/IEC 7812-1) |
| phone | [PHONE] | international numbers, national forms of nine countries, bare digits after a word of calling |

Names, addresses, dates of birth and customer numbers in free text are NOT found, nor anything spelt in words: scrubbed
text is still personal data, and no treatment for a table that leaves the house. Decided where two readings compete:

- 13 digits in one piece that pass both Luhn and the GS1 check digit are an article number (EAN-13), not a card: no
  issuer has given out 13-digit cards for years. An EAN passes Luhn in 1 of 10 cases.
- 9 digits in one piece are an SSN or a BSN only after a word that says so; 10 digits without 0 or plus sign are a
  telephone number only after a word for calling.
- The first that takes a number keeps it, in the order of the table; a 1 in 100 order number of 11 digits is a CPF.

Two passes, both of linear time: RE2 over the whole column tells which rows may hold something, and only these few are
looked at one by one. Reading is tolerant, as positions stay one to one: full-width and other decimal digits, dashes,
blanks, accents (composed or not) and letter case don't matter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import ContractError
from cloakhouse.tokens.arrays import UNNAMED, is_text, per_chunk, refuse, require
from cloakhouse.tokens.scrub_patterns import SHAPES

MARKS = {
    "email": "[EMAIL]",
    "iban": "[IBAN]",
    "national id": "[NATIONAL ID]",
    "card": "[CARD]",
    "phone": "[PHONE]",
}
"""What stands for a find, by kind."""
ALL_KINDS = tuple(MARKS)

Find = tuple[int, int, str]  # start, end (characters), kind

_BATCH_ROWS = 8192  # rows that are looked at one by one, held as Python text at a time
_FEW = 4096  # characters; RE2 needs longer to compile its patterns than `re` to search so little
_MAY_HOLD = r"[@＠﹫]|\p{Nd}(?:[^\p{Nd}]{0,12}\p{Nd}){4}"  # any shape has an @ or five digits close to each other


def scrub(
    values: pa.Array | pa.ChunkedArray, kinds: Sequence[str] = ALL_KINDS, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return every text with the marks of `kinds` in place of what was found; all else as it was, null stays null.

    A string_view column comes back as large_string, a ChunkedArray as a ChunkedArray. What a kind finds doesn't depend
    on which others are asked for. Raises ContractError for an unknown kind or none, TreatmentError if the column isn't
    text, or a text that has to be looked at isn't valid UTF-8.
    """
    asked = _asked(kinds)
    require(values, is_text, column, "a text column")

    def one(chunk: pa.Array) -> pa.Array:
        rows = _rows(chunk)
        if not len(rows):
            return chunk
        texts = [_marked(text, spans, asked) for text, spans in _looked_at(chunk, rows, column)]
        mask = np.zeros(len(chunk), np.bool_)
        mask[rows] = True
        return pc.replace_with_mask(chunk, mask, pa.array(texts, chunk.type))

    return per_chunk(values, one, on_dictionary=True)


def findings(
    values: pa.Array | pa.ChunkedArray, kinds: Sequence[str] = ALL_KINDS, *, column: str = UNNAMED
) -> dict[str, int]:
    """Return how often each of `kinds` was found, every find in every row counted, 0 included. Raises as `scrub`."""
    counts = dict.fromkeys(_asked(kinds), 0)
    require(values, is_text, column, "a text column")

    def one(chunk: pa.Array) -> pa.Array:
        for _, spans in _looked_at(chunk, _rows(chunk), column):
            for _, _, kind in spans:
                if kind in counts:
                    counts[kind] += 1
        return chunk

    per_chunk(values, one, on_dictionary=False)
    return counts


def find(text: str) -> list[Find]:
    """Return start, end (characters) and kind of everything found in one text, ascending, without overlap."""
    return _finds([text])[0]


def _asked(kinds: Sequence[str]) -> tuple[str, ...]:
    unknown = sum(kind not in MARKS for kind in kinds)
    if unknown or not kinds or isinstance(kinds, str):
        raise ContractError(
            code="scrub",
            where="kinds",
            expected=f"one or more of {', '.join(MARKS)}",
            found=f"{len(kinds)} kinds, {unknown} of them unknown",
            not_done="no value was treated",
            remedy="correct the column's treatment in the contract",
        )
    return tuple(kinds)


def _rows(chunk: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return _hits(chunk, _MAY_HOLD)


def _hits(texts: pa.Array, pattern: str) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    hits = pc.fill_null(pc.match_substring_regex(texts, pattern=pattern), False)
    return np.flatnonzero(hits.to_numpy(zero_copy_only=False))


def _looked_at(
    chunk: pa.Array, rows: np.ndarray[tuple[int], np.dtype[np.intp]], column: str
) -> Iterator[tuple[str, list[Find]]]:
    """Yield the text and the finds of every one of `rows`."""
    for start in range(0, len(rows), _BATCH_ROWS):
        try:
            texts = chunk.take(pa.array(rows[start : start + _BATCH_ROWS])).to_pylist()
        except UnicodeDecodeError:  # its text quotes a byte
            raise refuse(
                column,
                code="encoding",
                expected="valid UTF-8",
                found="at least one text that isn't",
                remedy="decode the file in its own encoding while parsing",
            ) from None
        yield from zip(texts, _finds(texts), strict=True)


def _finds(texts: Sequence[str]) -> list[list[Find]]:
    """Return the finds of every text: shape by shape, each over all texts, so that RE2 can leave out most."""
    folded = [text if text.isascii() else text.translate(_FOLD) for text in texts]
    column = pa.array(folded, pa.large_string()) if sum(map(len, folded)) > _FEW else None
    found: list[list[Find]] = [[] for _ in texts]
    for shape in SHAPES:
        for row in range(len(texts)) if column is None else _hits(column, shape.filter).tolist():
            spans = [(start, end, shape.kind) for start, end in shape.spans(folded[row])]
            if spans:
                folded[row] = _replaced(folded[row], [(start, end, "\0" * (end - start)) for start, end, _ in spans])
                found[row] += spans
    return [sorted(spans) for spans in found]


def _marked(text: str, spans: Sequence[Find], kinds: Sequence[str]) -> str:
    return _replaced(text, [(start, end, MARKS[kind]) for start, end, kind in spans if kind in kinds])


def _replaced(text: str, changes: Sequence[tuple[int, int, str]]) -> str:
    pieces, at = [], 0
    for start, end, new in changes:
        pieces += [text[at:start], new]
        at = end
    return "".join([*pieces, text[at:]])


class _Fold(dict[int, str]):
    """For str.translate: every character to the one that stands for it in the shapes, worked out at first use."""

    def __missing__(self, code: int) -> str:
        self[code] = _folded(chr(code))
        return self[code]


def _folded(character: str) -> str:
    if character.isascii():
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    category = unicodedata.category(character)
    if category in ("Zs", "Cf"):  # no-break blanks; invisible marks around pasted numbers
        return " "
    if category == "Pd" or character == "\N{MINUS SIGN}":
        return "-"
    if category in ("Mn", "Me"):  # an accent of its own: part of its word
        return "_"
    spelt = unicodedata.normalize("NFKD", character)
    alone = all(unicodedata.combining(mark) for mark in spelt[1:])
    return spelt[0] if alone and spelt[0].isascii() else character


_FOLD = _Fold()
