"""A grown feed: more people, the same distributions, whole files."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cloakhouse.client.cli import cli
from cloakhouse.errors import ConfigurationError, StorageError
from cloakhouse.sample import FeedSummary, Growth, write_feed, write_scaled_feed
from cloakhouse.sample.people import HOUSEHOLD_STEP
from cloakhouse.sample.receipts import _csv_lines
from cloakhouse.sample.scaled import BASKET_STEP
from cloakhouse.sample.source import transactions
from cloakhouse.sample.weeks import ALL_WEEKS

TIMES = 2
WEEK = "transactions-2017-01-02.csv.gz"
CUSTOMERS = "customers-2016-12-26.jsonl"
STRANGERS = 9_000_000
OWN = ("card_number", "cashier_id")  # drawn for each copy


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Return the lines that are as they should be: 13 fields of UTF-8, with numbers in range."""
    text = gzip.decompress((folder / WEEK).read_bytes()).decode(errors="replace")
    return [
        row
        for row in csv.DictReader(text.splitlines())
        if None not in row
        and row["quantity"].isdigit()
        and row["card_number"].isdigit()
        and int(row["household_id"]) < STRANGERS
    ]


def real(row: dict[str, str]) -> tuple[str, ...]:
    """Return the real columns of a line, those of a copy as of the sample."""
    household, basket = int(row["household_id"]) % HOUSEHOLD_STEP, int(row["basket_id"]) % BASKET_STEP
    plain = {**row, "household_id": str(household), "basket_id": str(basket)}
    return tuple(value for name, value in plain.items() if name not in OWN)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> FeedSummary:
    return write_scaled_feed(tmp_path_factory.mktemp("grown"), Growth(TIMES), weeks=range(2, 3))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> FeedSummary:
    return write_feed(tmp_path_factory.mktemp("sample"), weeks=range(2, 3))


def test_every_real_line_is_there_once_a_copy_under_households_of_its_own(
    grown: FeedSummary, sample: FeedSummary
) -> None:
    once = Counter(map(real, rows_of(sample.folder)))
    copies: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(TIMES)]
    for row in rows_of(grown.folder):
        copy = int(row["household_id"]) // HOUSEHOLD_STEP
        copies[copy][real(row)] += 1
        assert copy == int(row["basket_id"]) // BASKET_STEP
    assert copies == [once] * TIMES


def test_rows_and_bad_rows_are_counted_per_copy(grown: FeedSummary, sample: FeedSummary) -> None:
    by_name = {file.name: file for file in grown.files}
    for file in sample.files:
        times = 1 if file.dataset == "products" else TIMES
        bad = sum(file.bad_rows.values())
        rows = (file.rows - bad) * times + (bad if file.dataset == "customers" else bad * times)
        assert by_name[file.name].rows == rows
    assert by_name[WEEK].bad_rows == dict.fromkeys(by_name[WEEK].bad_rows, TIMES)
    assert by_name[WEEK].rows == gzip.decompress((grown.folder / WEEK).read_bytes()).count(b"\n") - 1


def test_every_week_has_the_lines_of_the_sample(tmp_path: Path) -> None:
    """Weeks on the border of two chunks of the source had lines of unused memory before their own."""
    grown = write_scaled_feed(tmp_path, Growth(1), wanted=lambda name: name.startswith("transactions"))
    counts = Counter(transactions(list(ALL_WEEKS))["week"].to_pylist())
    assert [file.rows - sum(file.bad_rows.values()) for file in grown.files] == [counts[week] for week in ALL_WEEKS]


def test_a_first_chunk_without_rows_adds_nothing() -> None:
    import pyarrow as pa

    table = pa.table({"a": pa.chunked_array([[], [1, 2]], pa.int64()), "b": pa.chunked_array([["x"], ["y"]])})
    assert [_csv_lines(table) for _ in range(3)] == [[b'1,"x"\n', b'2,"y"\n']] * 3


def customers_of(folder: Path) -> list[dict[str, Any]]:
    found = []
    for line in (folder / CUSTOMERS).read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row["household_id"], int) and row["household_id"] > 0:
            found.append(row)
    return found


def test_people_are_others_and_what_is_known_of_them_is_the_same(grown: FeedSummary, sample: FeedSummary) -> None:
    people = customers_of(grown.folder)
    assert len(people) == TIMES * 2_469
    for unique in ("household_id", "email", "card_number", "loyalty_card", "phone"):
        assert len({row[unique] for row in people}) == len(people), unique
    known = {row["household_id"]: row["age"] for row in customers_of(sample.folder)}
    assert all(row["age"] == known[row["household_id"] % HOUSEHOLD_STEP] for row in people)


def test_many_more_people_than_fictional_telephones_are_told_apart_by_the_rest() -> None:
    import numpy as np

    from cloakhouse.sample.people import _unique_numbers

    triples = np.array(_unique_numbers(100_000, np.random.default_rng(1)))
    assert [len(np.unique(triples[:, column])) for column in (0, 2)] == [100_000, 100_000]


def test_one_store_has_its_share_and_baskets_stay_whole(tmp_path: Path) -> None:
    write_scaled_feed(tmp_path, Growth(TIMES, one_store=0.5), weeks=range(2, 3), wanted=lambda name: name == WEEK)
    assert [path.name for path in tmp_path.iterdir()] == [WEEK]
    rows = rows_of(tmp_path)
    stores = Counter(row["store_id"] for row in rows)
    assert abs(stores.most_common(1)[0][1] / len(rows) - 0.5) < 0.03
    assert len(stores) > 50
    assert len({(row["basket_id"], row["store_id"]) for row in rows}) == len({row["basket_id"] for row in rows})


def test_a_share_that_the_busiest_store_has_already_changes_nothing(tmp_path: Path, grown: FeedSummary) -> None:
    write_scaled_feed(tmp_path, Growth(TIMES, one_store=1e-6), weeks=range(2, 3), wanted=lambda name: name == WEEK)
    assert (tmp_path / WEEK).read_bytes() == (grown.folder / WEEK).read_bytes()


@pytest.mark.parametrize(("times", "share"), [(0, 0.0), (801, 0.0), (2, -0.1), (2, 1.1)])
def test_growth_out_of_range_is_refused(times: int, share: float) -> None:
    with pytest.raises(ConfigurationError):
        Growth(times, share)


def test_a_folder_that_refuses_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "feed").write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        write_scaled_feed(tmp_path / "feed", Growth(2), weeks=range(2, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["feed"]


def test_the_command_grows_the_feed(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["sample", "--out", str(tmp_path), "--weeks", "1", "--one-store", "0.5", "--output", "json"]
    )
    assert done.exit_code == 0, done.output
    [customers] = [row for row in json.loads(done.stdout) if row["dataset"] == "customers"]
    assert customers["rows"] == 2_469 + 2
