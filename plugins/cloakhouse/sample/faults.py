"""Bad rows, put beside the real ones at seeded positions. The package's docstring lists them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

import numpy as np

from cloakhouse.sample.columns import TRANSACTION_COLUMNS

BAD_ROWS_PER_WEEK: Final[Mapping[str, int]] = MappingProxyType(
    {
        "wrong_type": 1,
        "out_of_range": 1,
        "unknown_reference": 1,
        "broken_encoding": 1,
        "wrong_field_count": 1,
    }
)
BAD_CUSTOMER_ROWS: Final[Mapping[str, int]] = MappingProxyType({"wrong_type": 1, "not_json": 1})

_HOUSEHOLD: Final = TRANSACTION_COLUMNS.index("household_id")
_QUANTITY: Final = TRANSACTION_COLUMNS.index("quantity")
_WEEK: Final = TRANSACTION_COLUMNS.index("week")
_CARD: Final = TRANSACTION_COLUMNS.index("card_number")
_UNKNOWN_HOUSEHOLDS: Final = 9_000_000  # added to the week; real ids end at 2,500

Fields = list[bytes]
Line = TypeVar("Line", bytes, str)


def _wrong_type(fields: Fields) -> Fields:
    return _replace(fields, _QUANTITY, b"several")


def _out_of_range(fields: Fields) -> Fields:
    return _replace(fields, _QUANTITY, b"-1")


def _unknown_reference(fields: Fields) -> Fields:
    return _replace(fields, _HOUSEHOLD, str(_UNKNOWN_HOUSEHOLDS + int(fields[_WEEK])).encode())


def _broken_encoding(fields: Fields) -> Fields:
    card = fields[_CARD]
    return _replace(fields, _CARD, card[:7] + b"\xff\xfe" + card[9:])


def _wrong_field_count(fields: Fields) -> Fields:
    return [*fields, b"0"]


def _replace(fields: Fields, position: int, value: bytes) -> Fields:
    return [*fields[:position], value, *fields[position + 1 :]]


_SPOIL: Final[Mapping[str, Callable[[Fields], Fields]]] = MappingProxyType(
    {
        "wrong_type": _wrong_type,
        "out_of_range": _out_of_range,
        "unknown_reference": _unknown_reference,
        "broken_encoding": _broken_encoding,
        "wrong_field_count": _wrong_field_count,
    }
)


def spoil_receipts(lines: Sequence[bytes], rng: np.random.Generator) -> list[bytes]:
    """Return `lines` (one or more, each ending in a line feed) in their order, and the bad rows among them.

    Each bad row is a spoilt copy of the real line that it stands beside.
    """
    bad = []
    for reason, count in BAD_ROWS_PER_WEEK.items():
        for model in rng.integers(len(lines), size=count):
            fields = lines[model].rstrip(b"\n").split(b",")
            bad.append((int(model), b",".join(_SPOIL[reason](fields)) + b"\n"))
    return _insert(lines, bad)


def spoil_customers(
    lines: Sequence[str], strangers: Sequence[Mapping[str, object]], rng: np.random.Generator
) -> list[str]:
    """Return `lines` in their order, with the two `strangers` among them, each spoilt in its own way."""
    first, second = strangers
    text_id = json.dumps({**first, "household_id": "not-a-number"}, ensure_ascii=False)
    whole = json.dumps(second, ensure_ascii=False)
    bad = (f"{text_id}\n", f"{whole[: len(whole) // 2]}\n")
    return _insert(lines, list(zip(rng.integers(len(lines), size=len(bad)).tolist(), bad, strict=True)))


def _insert(lines: Sequence[Line], extra: list[tuple[int, Line]]) -> list[Line]:
    whole = list(lines)
    for before, line in sorted(extra, key=lambda item: item[0], reverse=True):
        whole.insert(before, line)
    return whole
