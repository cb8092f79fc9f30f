"""Written-down normalisation of text before a token, so that one identifier written in two ways has one token.

| name | what becomes of a text |
| --- | --- |
| exact | nothing: it stays as it is |
| digits | decimal digits of any script become 0 to 9; white space and - . / ( ) are removed; a digit is left |
| phone | as digits, but a leading + stays (also the full-width one), and a leading 00 becomes + |
| email | NFC, white space trimmed, lower case, all of the address; dots and +tags stay |
| name | NFC, white space trimmed, its runs one blank each, full case folding (ß is ss), compared canonically |

With digits and phone, a text in which anything else is left is refused. White space is what `str.isspace` says,
digits what `str.isdecimal` says. The table is versioned with `canonical`'s, by NORMALISATION_VERSION: a change of it
changes tokens. Letters that Unicode adds may fold differently under a later Python; those that have their case keep it.
Source: Unicode Standard Annex 15 (NFC); The Unicode Standard, section 3.13, D145 (canonical caseless matching).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from unicodedata import decimal, normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.errors import ContractError
from cloakhouse.tokens.arrays import UNNAMED, ByteColumn, byte_array, byte_column, is_text, per_chunk, refuse, require

HOWS: Mapping[str, str] = MappingProxyType(
    {
        "exact": "The text stays as it is.",
        "digits": "Decimal digits of any script become 0 to 9; white space and - . / ( ) are removed.",
        "phone": "As digits, but a leading + is kept, and a leading 00 becomes +.",
        "email": "Composed (NFC), trimmed, and lower case throughout.",
        "name": "Composed (NFC), trimmed, runs of white space one blank, case folded.",
    }
)
"""Name of every normalisation and what it does, in one sentence."""

_SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f "  # the ASCII ones of str.isspace
_REMOVED = "-./()"


def normalise(values: pa.Array | pa.ChunkedArray, how: str, *, column: str = UNNAMED) -> pa.Array | pa.ChunkedArray:
    """Return every text as the normalisation `how` (see HOWS) writes it; null stays null.

    Takes string, large_string and string_view (which comes back as large_string), sliced, chunked or as a dictionary
    (which comes back decoded); with "exact" the column itself comes back. Raises ContractError for another name,
    TreatmentError if the column isn't text or holds a value that `normalisable` marks.
    """
    _require(values, how, column)
    if how == "exact":
        return values

    def one(chunk: pa.Array) -> pa.Array:
        result, accepted = _normalised(chunk, how, column)
        if not accepted.all():
            raise refuse(
                column,
                code="format",
                expected=f"text that the normalisation `{how}` takes: {HOWS[how]}",
                found=f"{int(np.count_nonzero(~accepted))} of {len(chunk)} values with something else, or no digit",
                remedy="quarantine the rows that `normalisable` marks, or choose another normalisation",
            )
        return result

    return per_chunk(values, one, on_dictionary=how in ("email", "name"))


def normalisable(
    values: pa.Array | pa.ChunkedArray, how: str, *, column: str = UNNAMED
) -> pa.BooleanArray | pa.ChunkedArray:
    """Return a mask without nulls (chunked as the input is): True where `normalise` accepts the row, or it is null.

    Raises ContractError for another name, TreatmentError if the column isn't text.
    """
    _require(values, how, column)

    def one(chunk: pa.Array) -> pa.Array:
        return pa.array(_normalised(chunk, how, column)[1])

    return per_chunk(values, one, on_dictionary=False)


def _require(values: pa.Array | pa.ChunkedArray, how: str, column: str) -> None:
    if how not in HOWS:
        raise ContractError(
            code="normalisation",
            where=f"column {column}",
            expected=f"one of {', '.join(HOWS)}",
            found="another name",
            not_done="no value was treated",
            remedy="correct the column's treatment in the contract",
        )
    require(values, is_text, column, "a text column")


def _normalised(chunk: pa.Array, how: str, column: str) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return the chunk as `how` writes it, and bool[n]: which rows it takes. Only what isn't ASCII goes by value."""
    if how not in _ASCII:
        return chunk, np.ones(len(chunk), np.bool_)
    others = pc.invert(pc.fill_null(pc.string_is_ascii(chunk), True))
    if not pc.any(others, min_count=0).as_py():
        result = _ASCII[how](chunk)
    else:
        result = _ASCII[how](pc.if_else(others, pa.scalar("", chunk.type), chunk))
        distinct = chunk.filter(others).dictionary_encode()
        entries = pa.array([_VALUE[how](_text(entry, column)) for entry in distinct.dictionary], chunk.type)
        result = pc.replace_with_mask(result, others, entries.take(distinct.indices))
    return result, _accepted(result, how)


def _text(entry: pa.Scalar, column: str) -> str:
    try:
        text: str = entry.as_py()
    except UnicodeDecodeError:  # its text quotes the bytes
        raise refuse(
            column,
            code="text",
            expected="UTF-8 text",
            found="bytes that aren't",
            remedy="decode the column with its true encoding while parsing",
        ) from None
    return text


def _accepted(result: pa.Array, how: str) -> NDArray[np.bool_]:
    if how not in ("digits", "phone"):
        return np.ones(len(result), np.bool_)
    digits = pc.utf8_ltrim(result, "+") if how == "phone" else result
    alone = pc.less_equal(pc.subtract(pc.binary_length(result), pc.binary_length(digits)), 1)
    fits = pc.and_(pc.and_(pc.string_is_ascii(digits), pc.ascii_is_decimal(digits)), alone)
    mask: NDArray[np.bool_] = pc.fill_null(fits, True).to_numpy(zero_copy_only=False)
    return mask


def _digits_column(chunk: pa.Array) -> pa.Array:
    view = byte_column(chunk)
    start = int(view.offsets[0])
    used = view.data[start : view.offsets[-1]]
    kept = _KEPT[used]
    places = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    offsets = places[view.offsets.astype(np.int64) - start].astype(view.offsets.dtype)
    return byte_array(ByteColumn(offsets, used[kept], view.valid), chunk.type)


def _phone_column(chunk: pa.Array) -> pa.Array:
    plain = _digits_column(chunk)
    foreign = pc.starts_with(plain, "00")
    return pc.if_else(foreign, pc.utf8_replace_slice(plain, 0, 2, "+"), plain)


def _email_column(chunk: pa.Array) -> pa.Array:
    return pc.ascii_lower(pc.ascii_trim(chunk, _SPACES))


def _name_column(chunk: pa.Array) -> pa.Array:
    trimmed = pc.ascii_lower(pc.ascii_trim(chunk, _SPACES))
    return pc.replace_substring_regex(trimmed, r"[\t-\r\x1c-\x1f ]+", " ")


def _digits_value(text: str) -> str:
    kept = (letter for letter in text if not (letter.isspace() or letter in _REMOVED))
    return "".join(str(decimal(letter)) if letter.isdecimal() else letter for letter in kept)


def _phone_value(text: str) -> str:
    plain = _digits_value(text)
    plain = "+" + plain[1:] if plain.startswith("＋") else plain
    return "+" + plain[2:] if plain.startswith("00") else plain


def _email_value(text: str) -> str:
    return normalize("NFC", normalize("NFC", text).strip().lower())


def _name_value(text: str) -> str:
    folded = normalize("NFD", normalize("NFD", text).casefold())
    return normalize("NFC", " ".join(folded.split()))


_KEPT = np.array([chr(byte) not in _SPACES + _REMOVED for byte in range(128)] + [True] * 128)
_ASCII: Mapping[str, Callable[[pa.Array], pa.Array]] = {
    "digits": _digits_column,
    "phone": _phone_column,
    "email": _email_column,
    "name": _name_column,
}
_VALUE: Mapping[str, Callable[[Any], str]] = {
    "digits": _digits_value,
    "phone": _phone_value,
    "email": _email_value,
    "name": _name_value,
}
