from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.cards import COUNTED, EVIDENCE, CardRelease, aggregate_release, plain_release, private_release

from cloakhouse.client import api
from cloakhouse.client.card_exports import card_of, croissant_of, page_of
from cloakhouse.client.cli import cli
from cloakhouse.errors import IntegrityError


@dataclass
class Opened:
    """A dataset that was opened, for a reader who doesn't see the columns `hidden`."""

    release: CardRelease
    hidden: tuple[str, ...] = ()
    tags: tuple[str, ...] = ("certified",)
    asked: list[str] = field(default_factory=list)

    @property
    def zone(self) -> str:
        return self.release.zone

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column["name"] for column in self.release.columns if column["name"] not in self.hidden)

    def evidence(self) -> dict[str, Any]:
        self.asked.append("evidence")
        return EVIDENCE

    def dataset(self, name: str) -> Opened:
        self.asked.append(name)
        return self


Run = Callable[..., Result]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """What `card` finds: a release without a guarantee."""
    found = Opened(plain_release())
    monkeypatch.setattr(api, "connect", lambda: found)
    return found


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(cli, ["card", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("release", [private_release(), aggregate_release()])
def test_the_evidence_of_what_has_a_guarantee_is_not_even_opened(release: CardRelease) -> None:
    opened = Opened(release)
    card_of(opened)  # type: ignore[arg-type]
    croissant_of(opened)  # type: ignore[arg-type]
    page_of(opened)  # type: ignore[arg-type]
    assert opened.asked == []


def test_columns_that_a_reader_does_not_see_are_in_no_form_of_the_card(plain: Opened) -> None:
    plain.hidden = ("has_meat", "day")
    card, document = card_of(plain), croissant_of(plain)  # type: ignore[arg-type]
    names = ["month", "value", "hour", "segment"]
    assert [column["name"] for column in card["columns"]] == names
    assert [one["name"] for one in document["recordSet"][0]["field"]] == names
    assert "has_meat" not in json.dumps(document)
    assert "has_meat" not in page_of(plain)  # type: ignore[arg-type]


def test_the_card_is_shown_to_people(plain: Opened) -> None:
    shown = run("baskets_synthetic@3").stdout
    assert plain.asked == ["baskets_synthetic@3", "evidence"]
    for said in (
        "dataset      baskets_synthetic@3",
        "licence      internal: for analytics only",
        "state        published (certified)",
        "made by      an engine (a library 2.0)",
        "made from    products (1), transactions (2)",
        "privacy  Not differentially private: there is no bound",
        "mean distance, single columns: 0.123 (other real rows 0.046)",
        "AUC of big: 0.871 (trained on real rows 0.968)",
        "AUC of odd: not told (trained on real rows not told)",
        'cloakhouse.connect().dataset("baskets_synthetic@3").to_arrow()',
    ):
        assert said in shown
    assert "triples" not in shown


def test_the_card_under_a_guarantee_shows_its_curve_alone(plain: Opened) -> None:
    plain.release, plain.tags = private_release(), ()
    shown = run("baskets_private").stdout
    assert "mean distance of pairs by epsilon: 0.600 at 0.5, 0.150 at 3" in shown
    assert "state        published" in shown
    assert "certified" not in shown
    assert not [figure for figure in COUNTED if figure in shown]


def test_an_aggregates_card_shows_its_noise(plain: Opened) -> None:
    plain.release = aggregate_release()
    assert "standard error of each figure 38.5" in run("weekly_sales").stdout


def test_the_card_is_json_for_programs(plain: Opened) -> None:
    assert json.loads(run("baskets_synthetic", "--output", "json").stdout) == card_of(plain)  # type: ignore[arg-type]


def test_files_are_written_whole_and_named_on_standard_error(plain: Opened, tmp_path: Path) -> None:
    page, document = tmp_path / "pages" / "card.html", tmp_path / "card.json"
    page.parent.mkdir()
    page.write_text("old")
    result = run("baskets_synthetic", "--page", page, "--croissant", document)
    assert result.stdout == ""
    assert f"as a page: {page}" in result.stderr
    assert page.read_text() == page_of(plain)  # type: ignore[arg-type]
    assert json.loads(document.read_text()) == croissant_of(plain)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["card.html", "card.json"]


def test_a_file_that_cannot_be_written_leaves_what_stood_there(
    plain: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "card.html"
    page.write_text("old")

    def refuse(*_: Any) -> Path:
        raise OSError(28, "no space")

    monkeypatch.setattr(Path, "replace", refuse)
    result = CliRunner().invoke(cli, ["card", "x", "--page", str(page)])
    assert result.exit_code == 6
    assert "storage" in result.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("card.html", "old")]


def test_evidence_that_was_changed_ends_with_a_code_and_writes_nothing(
    plain: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed() -> dict[str, Any]:
        raise IntegrityError(where="evidence", expected="e", found="f", not_done="n", remedy="r", code="manifest")

    monkeypatch.setattr(plain, "evidence", changed)
    page = tmp_path / "card.html"
    result = CliRunner().invoke(cli, ["card", "x", "--page", str(page), "--output", "json"])
    assert result.exit_code == 4
    assert json.loads(result.stderr)["code"] == "integrity.manifest"
    assert not page.exists()
