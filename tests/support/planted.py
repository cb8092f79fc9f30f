"""A small real feed with unmistakable values planted in every identifying column."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.sample import write_feed

HOUSEHOLD = "7700770077001"
MARKERS = {
    "household": HOUSEHOLD,
    "basket": "8800880088002",
    "card": "4000001111222235",
    "other card": "4000009999888871",
    "cashier": "Kassenwart-Xylander-7",
    "name": "Zzyzx Quillfeather-Obermann",
    "email": "zzyzx.quillfeather@example.net",
    "phone": "+1-555-0142-77",
    "street": "742 Querulous Marmoset Way",
    "postcode": "98Q7KZ",
    "city": "Brobdingnag-on-Sea",
    "birth date": "1903-07-19",
    "loyalty card": "990011223347",
    "note": "prefers violet wrapping XQ-17",
    "timestamp": "2017-01-03 13:37:42",
    "quarantined": "not-a-number-QQ77",
    "unknown household": "6600660066006",
}


@dataclass(frozen=True)
class PlantedFeed:
    """Where the feed is, and the household that carries the markers (its id in the real data)."""

    inbox: Path
    replaced: str


def write_planted_feed(inbox: Path) -> PlantedFeed:
    """Write weeks 1 and 2 with products and customers into `inbox`, markers planted."""
    write_feed(inbox, weeks=range(1, 3))
    second = inbox / "transactions-2017-01-02.csv.gz"
    lines = gzip.decompress(second.read_bytes()).split(b"\n")
    header = lines[0].decode().replace('"', "").split(",")
    at = {name: header.index(name) for name in header}
    household = _first_good(lines, at)
    planted = [_plant(line, at, household) for line in lines]
    example = next(line for line in planted if HOUSEHOLD.encode() in line).split(b",")
    planted[-1:] = [
        _variant(example, at, "quantity", "quarantined"),
        _variant(example, at, "household_id", "unknown household"),
        b"",
    ]
    second.write_bytes(gzip.compress(b"\n".join(planted), 4, mtime=0))
    _plant_first_week(inbox, at, household)
    _plant_customers(inbox, household)
    return PlantedFeed(inbox, household)


def _first_good(lines: list[bytes], at: dict[str, int]) -> str:
    for line in lines[1:]:
        fields = line.split(b",")
        if len(fields) == len(at) and fields[at["household_id"]].isdigit() and fields[at["quantity"]].isdigit():
            return fields[at["household_id"]].decode()
    raise AssertionError("the feed holds a good line")


def _plant(line: bytes, at: dict[str, int], household: str) -> bytes:
    fields = line.split(b",")
    if len(fields) != len(at) or fields[at["household_id"]] != household.encode():
        return line
    for column, marker in (
        ("household_id", "household"),
        ("basket_id", "basket"),
        ("card_number", "other card"),
        ("cashier_id", "cashier"),
        ("transaction_timestamp", "timestamp"),
    ):
        fields[at[column]] = MARKERS[marker].encode()
    return b",".join(fields)


def _variant(example: list[bytes], at: dict[str, int], column: str, marker: str) -> bytes:
    fields = list(example)
    fields[at[column]] = MARKERS[marker].encode()
    return b",".join(fields)


def _plant_first_week(inbox: Path, at: dict[str, int], household: str) -> None:
    path = inbox / "transactions-2016-12-26.csv.gz"
    lines = gzip.decompress(path.read_bytes()).split(b"\n")
    path.write_bytes(gzip.compress(b"\n".join(_plant(line, at, household) for line in lines), 4, mtime=0))


def _plant_customers(inbox: Path, household: str) -> None:
    path = inbox / "customers-2016-12-26.jsonl"
    lines = []
    for line in path.read_bytes().splitlines():
        try:
            person = json.loads(line)
        except ValueError:
            lines.append(line)
            continue
        if str(person.get("household_id")) == household:
            person |= {
                "household_id": int(HOUSEHOLD),
                "name": MARKERS["name"],
                "email": MARKERS["email"],
                "phone": MARKERS["phone"],
                "street": MARKERS["street"],
                "postcode": MARKERS["postcode"],
                "city": MARKERS["city"],
                "birth_date": MARKERS["birth date"],
                "card_number": MARKERS["card"],
                "loyalty_card": MARKERS["loyalty card"],
                "marketing_note": MARKERS["note"],
            }
            line = json.dumps(person).encode()
        lines.append(line)
    path.write_bytes(b"\n".join(lines) + b"\n")
