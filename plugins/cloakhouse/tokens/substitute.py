"""Substitution: a fictional name, address or telephone number in place of a real one, the same one every time.

A value's substitute is drawn by its keyed pseudorandom words (see `prf`), so equal values of a column, of two columns
and of two runs get the same under one key, and another under another key. Under one key the name, given name, family
name and e-mail address of one value agree with each other.

This is pseudonymisation: equality and frequency remain, and whoever holds the key can try a dictionary of values. It
isn't one to one: two values may get the same substitute. With m different substitutes (`distinct`: 30 towns, some
17,000 names, 5 x 10^10 e-mail addresses) the first is expected to be shared among about 1.25 sqrt(m) values, which are
160 for names, and n values show m (1 - (1 - 1/m)^n) different ones. So nothing is to be joined or counted by a
substitute: use a token.

Null stays null. Empty text stays empty, as a person invented for every missing value would be the best customer of all;
blanks are a value as any other.
"""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import ContractError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.arrays import UNNAMED, is_text, per_chunk, require
from cloakhouse.tokens.fictional import LOCALES, SUBSTITUTION_VERSION, Choices, Fiction, ascii_word, fiction
from cloakhouse.tokens.prf import Words, below, value_words

__all__ = ["CHOICES", "LOCALES", "SUBSTITUTION_VERSION", "distinct", "substitute"]

CHOICES = MappingProxyType(
    {
        "name": "given and family name",
        "given name": "given name",
        "family name": "family name",
        "email": "given.family.six digits at example.com, example.net or example.org, which receive no mail (RFC 2606)",
        "phone": "telephone number in national form that doesn't ring: reserved for fiction, or unassigned",
        "street": "street and house number in the country's order",
        "postcode": "postcode in the country's form, which may exist",
        "city": "town that is made up",
        "address": "street, house number, postcode and town on one line",
    }
)
"""What a value may be replaced by, and what that looks like."""

_NAME, _REST = 0, 1  # which of a value's two words a piece is drawn from
_FUSED = 1 << 16  # choices; adjacent pieces with no more combinations than this are looked up as one
_ROWS = 1 << 15  # rows at a time, so that the pieces stay in the cache


@dataclass(frozen=True)
class Piece:
    """A part of a substitute: one of `choices`, drawn from a value's word number `word`; a single one isn't drawn."""

    choices: Choices
    word: int


def substitute(
    values: pa.Array | pa.ChunkedArray, as_: str, locale: str, key: SecretKey, *, column: str = UNNAMED
) -> pa.Array | pa.ChunkedArray:
    """Return a substitute for every value of a text or integer column: string, null and empty text as they are.

    `as_` is one of CHOICES, `locale` one of LOCALES; `key` (16, 24 or 32 bytes) must serve nothing but substitutes. A
    dictionary is treated once per entry; a ChunkedArray comes back as a ChunkedArray. Raises ContractError for another
    choice or locale, TreatmentError for a column of another type, KeyServiceError for a key of another length.
    """
    pieces = _pieces(as_, locale)
    require(values, lambda kind: is_text(kind) or pa.types.is_integer(kind), column, "a column of text or integers")

    def one(chunk: pa.Array) -> pa.Array:
        parts = [chunk.slice(start, _ROWS) for start in range(0, len(chunk), _ROWS)]
        made = [_but_empty(part, _drawn(pieces, value_words(part, key, column=column))) for part in parts]
        return pa.concat_arrays(made) if made else pa.array([], pa.string())

    return per_chunk(values, one, on_dictionary=True)


def distinct(as_: str, locale: str) -> int:
    """Return how many different substitutes there are. Raises ContractError as `substitute`."""
    _checked(as_, locale)
    return math.prod(len(set(piece.choices)) for piece in _recipe(as_, fiction(locale)))


def _drawn(pieces: tuple[tuple[pa.Array, int], ...], words: Words) -> pa.Array:
    """Return one choice of every piece, joined, per row of `words`: the digits of a word in a mixed radix."""
    left = words.copy()
    columns = []
    for choices, word in pieces:
        columns.append(choices.take(pa.array(below(left[:, word], len(choices)))))
        left[:, word] *= np.uint64(len(choices))  # modulo 2^64: what is left of the word after this draw
    return columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, "")


def _but_empty(values: pa.Array, made: pa.Array) -> pa.Array:
    if is_text(values.type):
        return pc.if_else(pc.equal(pc.binary_length(values), 0), "", made)  # null where the length is
    return made if values.null_count == 0 else pc.if_else(pc.is_valid(values), made, pa.scalar(None, pa.string()))


def _checked(as_: str, locale: str) -> None:
    for what, given, known in (("substitute", as_, tuple(CHOICES)), ("locale", locale, LOCALES)):
        if given not in known:
            raise ContractError(
                code="substitution",
                where=what,
                expected=f"one of {', '.join(known)}",
                found=f"{given!r}",
                not_done="no value was treated",
                remedy="correct the column's treatment in the contract",
            )


@cache
def _pieces(as_: str, locale: str) -> tuple[tuple[pa.Array, int], ...]:
    """Return the recipe as arrays of choices with their words, adjacent ones fused; draws are the same as unfused."""
    _checked(as_, locale)
    fused: list[Piece] = []
    for piece in _recipe(as_, fiction(locale)):
        if fused and _fusible(fused[-1], piece):
            before = fused.pop()
            joined = tuple(first + second for first in before.choices for second in piece.choices)
            piece = Piece(joined, before.word if len(before.choices) > 1 else piece.word)
        fused.append(piece)
    return tuple((pa.array(piece.choices, pa.string()), piece.word) for piece in fused)


def _fusible(one: Piece, other: Piece) -> bool:
    literal = len(one.choices) == 1 or len(other.choices) == 1
    return (literal or one.word == other.word) and len(one.choices) * len(other.choices) <= _FUSED


def _recipe(as_: str, lists: Fiction) -> list[Piece]:
    name = {"given": [Piece(lists.given, _NAME)], "family": [Piece(lists.family, _NAME)]}
    postcode = [Piece(choices, _REST) for choices in lists.postcode]
    town = [Piece(lists.towns, _REST)]
    house = {"street": [Piece(lists.streets, _NAME)], "number": [Piece(lists.numbers, _NAME)]}
    line = _filled(lists.street, house)
    if as_ == "name":
        return _filled("{given} {family}", name)
    if as_ == "email":
        return _email(lists)
    if as_ == "address":
        return _filled(lists.address, {"line": line, "postcode": postcode, "town": town})
    plain = {
        "given name": name["given"],
        "family name": [Piece(("",) * len(lists.given), _NAME), *name["family"]],  # skips the draw of the given name
        "phone": [Piece(choices, _REST) for choices in lists.phone],
        "street": line,
        "postcode": postcode,
        "city": town,
    }
    return plain[as_]


def _email(lists: Fiction) -> list[Piece]:
    given, family = (tuple(map(ascii_word, names)) for names in (lists.given, lists.family))
    thousand = tuple(f"{number:03}" for number in range(1000))
    pieces = {
        "given": [Piece(given, _NAME)],
        "family": [Piece(family, _NAME)],
        "number": [Piece(thousand, _REST), Piece(thousand, _REST)],
        "domain": [Piece(("com", "net", "org"), _REST)],
    }
    return _filled("{given}.{family}.{number}@example.{domain}", pieces)


def _filled(form: str, pieces: dict[str, list[Piece]]) -> list[Piece]:
    """Return the pieces of a form such as "{number} {street}", what stands between them included."""
    filled = []
    for text, name, _, _ in string.Formatter().parse(form):
        filled += [Piece((text,), _REST)] * bool(text) + (pieces[name] if name else [])
    return filled
