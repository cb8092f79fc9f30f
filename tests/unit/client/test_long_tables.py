"""Long tables of plain cells are written without laying out each row, and look as if each had been."""

from __future__ import annotations

import random

import pytest

from cloakhouse.client import show
from cloakhouse.client.show import Heading

HEADINGS = (
    Heading("name", whole=True),
    Heading("count", "count\nof all", right=True),
    Heading("tags"),
)


def written(capsys: pytest.CaptureFixture[str], records: list[show.Record]) -> str:
    show.write_table(HEADINGS, records, "Title")
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        ("dataset", True),
        ("", True),
        ("a cell with  spaces ", True),
        ("[red]no markup[/red]", True),
        ("x" * 40, True),
        ("x" * 41, False),
        ("größe", False),
        ("表", False),
        ("a\nb", True),
    ],
)
def test_a_long_table_looks_as_rich_lays_it_out(
    cell: str, plain: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(7)
    records: list[show.Record] = [
        {"name": f"name_{n}", "count": draw.randrange(10**6), "tags": draw.choice(["", "certified"])}
        for n in range(show.LAID_OUT + 20)
    ]
    records[-3] = {"name": cell, "count": 7, "tags": ""}
    quick = written(capsys, records)
    assert bool(show._plain_widths(HEADINGS, [[show.cell_text(v) for v in r.values()] for r in records])) is plain
    monkeypatch.setattr(show, "LAID_OUT", 10_000)
    assert quick == written(capsys, records)


def test_a_table_that_is_too_wide_is_broken_as_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[show.Record] = [{"name": f"name_{n}", "count": n, "tags": "tag, " * 30} for n in range(60)]
    quick = written(capsys, records)
    monkeypatch.setattr(show, "LAID_OUT", 10_000)
    assert quick == written(capsys, records)
