"""One week of receipts: the real lines, with a card and a cashier for each basket."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from cloakhouse.sample.cards import CardBook
from cloakhouse.sample.columns import PRODUCT_COLUMNS, TRANSACTION_COLUMNS
from cloakhouse.sample.faults import spoil_receipts
from cloakhouse.sample.source import products

if TYPE_CHECKING:
    import pyarrow as pa

CASHIERS_PER_STORE: Final = 8
_STREAM: Final = 202  # with the week: the draws of a week are the same whichever weeks are written


def week_of_receipts(receipts: pa.Table, week: int, cards: CardBook, seed: int) -> list[bytes]:
    """Return the CSV lines (RFC 4180, line feeds) of `week`: a header, the real lines, the bad rows.

    `receipts` holds the real lines of that week at least; `cards` the cards of every household in them.
    """
    import pyarrow.compute as pc

    rng = np.random.default_rng([seed, _STREAM, week])
    real = receipts.filter(pc.equal(receipts["week"], week))
    return [receipt_header(), *spoil_receipts(receipt_lines(real, cards, rng), rng)]


def receipt_header() -> bytes:
    """Return the first CSV line of a file of receipts."""
    return _header(TRANSACTION_COLUMNS)


def receipt_lines(real: pa.Table, cards: CardBook, rng: np.random.Generator) -> list[bytes]:
    """Return a CSV line for each row of `real`, with a card of `cards` and a cashier for each basket."""
    return _csv_lines(_with_tenders(real, cards, rng).select(list(TRANSACTION_COLUMNS)))


def product_list() -> list[bytes]:
    """Return the CSV lines (RFC 4180, line feeds; an empty field is a null) of the products and a header."""
    return [_header(PRODUCT_COLUMNS), *_csv_lines(products())]


def _with_tenders(real: pa.Table, cards: CardBook, rng: np.random.Generator) -> pa.Table:
    """Return `real` with `card_number` and `cashier_id`, both int64 and constant within a basket."""
    _, first, basket = np.unique(real["basket_id"].to_numpy(), return_index=True, return_inverse=True)
    paid: NDArray[np.int64] = cards.pay(real["household_id"].to_numpy()[first], rng)
    stores = real["store_id"].to_numpy()[first]
    cashiers = stores * 100 + rng.integers(1, CASHIERS_PER_STORE + 1, size=len(first))
    return _append(real, card_number=paid[basket], cashier_id=cashiers[basket])


def _append(table: pa.Table, **columns: NDArray[np.int64]) -> pa.Table:
    import pyarrow as pa

    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def _csv_lines(table: pa.Table) -> list[bytes]:
    """Return the rows as CSV. In one chunk: pyarrow 26 writes bytes of unused memory before rows of a table whose first
    chunk is empty, where no header is asked for."""
    import pyarrow.csv

    text = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    pyarrow.csv.write_csv(table.combine_chunks(), text, options)
    return text.getvalue().splitlines(keepends=True)


def _header(columns: tuple[str, ...]) -> bytes:
    return (",".join(columns) + "\n").encode()
