"""A feed of k times as many households: the same receipts again and again, each time of other people.

Copy 0 has the households and baskets of the sample; copy c has them c * `HOUSEHOLD_STEP` and c * `BASKET_STEP` higher,
with cards, cashiers, identities and choices of their own. Every real column keeps its distribution exactly, and so does
everything per household: lines, baskets, the products in them, the weeks. What grows is the number of people.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from cloakhouse.errors import ConfigurationError
from cloakhouse.sample.cards import CardBook, issue_cards
from cloakhouse.sample.faults import BAD_CUSTOMER_ROWS, BAD_ROWS_PER_WEEK, spoil_receipts
from cloakhouse.sample.feed import CUSTOMERS_NAME, PRODUCTS_NAME, FeedFile, FeedSummary, write_feed
from cloakhouse.sample.files import writing_whole
from cloakhouse.sample.people import HOUSEHOLD_STEP, customer_lines
from cloakhouse.sample.receipts import receipt_header, receipt_lines
from cloakhouse.sample.source import household_ids, transactions
from cloakhouse.sample.weeks import ALL_WEEKS, check_weeks, week_start

if TYPE_CHECKING:
    import pyarrow as pa

BASKET_STEP: Final = 10**12  # real baskets end below
MOST_TIMES: Final = 800  # then a household would reach the numbers that stand for no household
_STREAM: Final = 404
_LEVEL: Final = 1  # of gzip: a large feed is written once and read once


@dataclass(frozen=True)
class Growth:
    """How a feed grows.

    Attributes:
        times: how often each household of the sample is there, 1 to 800.
        one_store: share of all lines that one store has, 0 to 1; 0 leaves the stores as they are.
    """

    times: int
    one_store: float = 0.0

    def __post_init__(self) -> None:
        """Raise ConfigurationError for what can't be written."""
        if not 1 <= self.times <= MOST_TIMES:
            raise _refused("growth of the sample feed", f"a whole number from 1 to {MOST_TIMES}", "another number")
        if not 0.0 <= self.one_store <= 1.0:
            raise _refused("share of one store", "a share from 0 to 1", "another number")


def write_scaled_feed(
    out: Path,
    growth: Growth,
    *,
    weeks: range | None = None,
    seed: int = 2017,
    wanted: Callable[[str], bool] = lambda name: True,
    progress: Callable[[str, int, int], None] | None = None,
) -> FeedSummary:
    """Write the feed of `growth` into the folder `out`, and return what was written.

    The files have the names, forms and bad rows (per copy) of `write_feed`, and `wanted` and `progress` mean what they
    mean there; the products are the sample's. Memory holds one copy of one week at a time. Raises what `write_feed`
    does.
    """
    cards = _cards(growth.times, seed)
    makers: dict[str, Callable[[], FeedFile]] = {
        PRODUCTS_NAME: lambda: write_feed(out, seed=seed, wanted=lambda name: name == PRODUCTS_NAME).files[0],
        CUSTOMERS_NAME: lambda: _customers(out / CUSTOMERS_NAME, cards, seed),
    }
    for week in check_weeks(ALL_WEEKS if weeks is None else weeks):
        makers[f"transactions-{week_start(week)}.csv.gz"] = partial(_week, out, week, growth, cards, seed)
    names = [name for name in makers if wanted(name)]
    files = []
    for done, name in enumerate(names, start=1):
        files.append(makers[name]())
        if progress is not None:
            progress(name, done, len(names))
    return FeedSummary(out, tuple(files))


def _cards(times: int, seed: int) -> CardBook:
    copies: NDArray[np.int64] = np.arange(times, dtype=np.int64)[:, None] * HOUSEHOLD_STEP
    return issue_cards((household_ids()[None, :] + copies).ravel(), seed)


def _customers(path: Path, cards: CardBook, seed: int) -> FeedFile:
    lines = customer_lines(cards, seed)
    with writing_whole(path) as stream:
        stream.writelines(line.encode() for line in lines)
    return FeedFile(path.name, "customers", len(lines), path.stat().st_size, dict(BAD_CUSTOMER_ROWS))


def _week(out: Path, week: int, growth: Growth, cards: CardBook, seed: int) -> FeedFile:
    path = out / f"transactions-{week_start(week)}.csv.gz"
    real = transactions([week])
    rows = 0
    with writing_whole(path) as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as stream:
        for lines in _copies(real, week, growth, cards, seed):
            stream.write(b"".join(lines))
            rows += len(lines)
    bad = {reason: count * growth.times for reason, count in BAD_ROWS_PER_WEEK.items()}
    return FeedFile(path.name, "transactions", rows - 1, path.stat().st_size, bad)


def _copies(real: pa.Table, week: int, growth: Growth, cards: CardBook, seed: int) -> Iterator[list[bytes]]:
    """Yield the header, and then the lines of each copy with its bad rows."""
    yield [receipt_header()]
    for copy in range(growth.times):
        rng = np.random.default_rng([seed, _STREAM, week, copy])
        shifted = _shifted(real, copy, _stores(real, growth.one_store, rng))
        yield spoil_receipts(receipt_lines(shifted, cards, rng), rng)


def _shifted(real: pa.Table, copy: int, stores: NDArray[np.int64]) -> pa.Table:
    columns = {
        "household_id": real["household_id"].to_numpy() + copy * HOUSEHOLD_STEP,
        "basket_id": real["basket_id"].to_numpy() + copy * BASKET_STEP,
        "store_id": stores,
    }
    import pyarrow as pa

    for name, values in columns.items():
        real = real.set_column(real.schema.get_field_index(name), name, pa.array(values))
    return real


def _stores(real: pa.Table, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the store of each line, int64; whole baskets move to the busiest store until it has `share` of all."""
    stores: NDArray[np.int64] = real["store_id"].to_numpy()
    names, counts = np.unique(stores, return_counts=True)
    busiest, own = names[counts.argmax()], counts.max() / len(stores)
    if share <= own:
        return stores
    baskets, basket = np.unique(real["basket_id"].to_numpy(), return_inverse=True)
    moves = rng.random(len(baskets)) < (share - own) / (1 - own)
    return np.where(moves[basket], busiest, stores)


def _refused(where: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        code="growth",
        where=where,
        expected=expected,
        found=found,
        not_done="no file was written",
        remedy="choose another one",
    )
