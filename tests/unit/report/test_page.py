"""The page of a report: strict HTML, escaped, self-contained, with what a person needs at a glance."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from tests.support.cards import Page
from tests.support.released import PLAIN, PRIVATE, recorded

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.report.drawings import attack_chart, lineage_chart, nearness, percent_of, true_positives
from cloakhouse.report.page import report_page
from cloakhouse.settings import Settings
from cloakhouse.stages.report_sections import derived
from cloakhouse.stages.reporting import Report

CONTRACTS = load_contracts(Settings.from_environment({}).contracts)


def report_of(name: str = PRIVATE, **changes: Any) -> Report:
    parts = derived(CONTRACTS[name], recorded(name, "validation"), recorded(name, "synthesis"), None)
    protection = {
        "encrypted_bytes": 99_999,
        "plaintext_bytes": 1,
        "structure_bytes": 5,
        "share": 0.99999,
        "files": 2,
        "missing_files": 0,
        "findings": 1,
        "master_keys": [{"name": "synthetic/sensitive", "columns": 4}],
    }
    release = {
        "sha256": "a" * 64,
        "published_at": "2026-11-22T10:30:00+00:00",
        "fingerprint": "b" * 64,
        "zone": "synthetic",
        "rows": 1_605,
        "files": 2,
    }
    approval = {"decision": "approved", "approver": "dana", "entry": 7, "at": "2026-11-22T09:00:00Z"}
    content = {
        "format": 1,
        "dataset": name,
        "version": 3,
        "release": release,
        "evidence": {"sha256": "c" * 64},
        **parts,
        "approvals": [approval],
        "protection": protection,
        "audit": {"entries": 12, "first": 3, "last": 40, "numbers": [3, 40]},
    }
    return Report(copy.deepcopy({**content, **changes}))


@pytest.mark.parametrize("name", [PRIVATE, PLAIN])
def test_the_page_is_strict_html_that_needs_nothing_from_outside(name: str) -> None:
    text = report_page(report_of(name))
    page = Page(text)
    assert page.tags.count("h1") == 1
    assert {"script", "link", "img", "iframe", "form"}.isdisjoint(page.tags)
    assert "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text
    ids = [value for key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    wanted = {one for key, value in page.attributes if key == "aria-labelledby" for one in value.split()}
    assert wanted <= set(ids)
    assert page.tags.count("svg") == page.tags.count("desc") >= 4


def test_what_is_seen_at_a_glance() -> None:
    shown = Page(report_page(report_of())).shown
    for said in (
        *("Passed", "46 of 46", "14 of 14", "99.99 %", "approved by dana", "2026-11-22 10:30 UTC", "1,605"),
        *("numbers 3 to 40", "Account of model training on customers", "k-anonymity of customers is 11"),
        *("synthetic/sensitive", "legitimate interest", "dp-marginals", "household"),
    ):
        assert said in " ".join(shown.split()), said


def test_without_a_guarantee_it_says_so() -> None:
    shown = Page(report_page(report_of(PLAIN))).shown
    assert "Nothing is guaranteed" in shown
    assert "outside of the guarantee" not in shown


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ({"passed": False, "agrees": True}, "Not passed"),
        ({"passed": True, "agrees": False}, "Evidence contradicts itself"),
    ],
)
def test_a_verdict_that_is_no_is_told_in_words(verdict: dict[str, bool], said: str) -> None:
    whole = {**report_of().content["verdict"], **verdict}
    assert said in Page(report_page(report_of(verdict=whole))).shown


def test_of_evidence_that_waits_there_is_a_page() -> None:
    shown = Page(report_page(report_of(version=None, release=None, protection=None, approvals=[]))).shown
    assert "not published" in shown
    assert "Nobody decided" in shown


def test_markup_in_a_contract_is_text() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    contract = {**report_of().content["contract"], "title": hostile, "purpose": hostile, "owner": hostile}
    page = Page(report_page(report_of(contract=contract)))
    assert "script" not in page.tags
    assert hostile in page.shown


def test_missing_numbers_are_dashes_and_no_drawing_fails() -> None:
    def emptied(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: emptied(one) for key, one in value.items()}
        if isinstance(value, list):
            return [emptied(one) for one in value]
        return None if isinstance(value, float) else value

    content = report_of().content
    parts = {name: emptied(content[name]) for name in ("gate", "utility")}
    privacy = emptied(content["privacy"]) | {"guarantee": content["privacy"]["guarantee"], "account": None}
    privacy["curve"] = []
    Page(report_page(report_of(**parts, privacy=privacy)))


@pytest.mark.parametrize(
    ("value", "threshold", "at_most", "used"),
    [
        *((0.5, 1.0, True, 0.5), (-1.0, 1.0, True, 0.0), (0.0, 0.0, True, 0.0), (1.0, 0.0, True, 2.0)),
        *((10.0, 5.0, False, 0.5), (0.0, 5.0, False, 2.0), (None, 5.0, False, None), (1.0, None, True, None)),
    ],
)
def test_nearness(value: float | None, threshold: float | None, at_most: bool, used: float | None) -> None:
    assert nearness({"value": value, "threshold": threshold, "at_most": at_most}) == used


@pytest.mark.parametrize(("share", "said"), [(1.0, "100 %"), (0.999999, "99.99 %"), (0.5, "50.00 %"), (None, "–")])
def test_a_share_is_never_rounded_up_to_all(share: float | None, said: str) -> None:
    assert percent_of(share) == said


def test_curves_of_attacks() -> None:
    assert true_positives(0.5, 0.01) == pytest.approx(0.01)
    assert true_positives(0.9, 0.01) > 0.2
    assert (true_positives(0.5, 0.0), true_positives(0.5, 1.0)) == (0.0, 1.0)
    drawn = attack_chart("a", "rows", 0.01, [("membership", 0.9, 0.1, 2.0), ("density ratio", 0.5, -1.0, 0.0)])
    assert "0.110 true positives at 0.01" in drawn
    ys = [float(y) for y in re.findall(r'[yc]y?[12]?="([0-9.-]+)"', drawn)]
    assert all(0 <= y <= 400 for y in ys)


def test_long_names_are_cut_in_drawings() -> None:
    drawn = lineage_chart("l", [{"dataset": "x" * 63, "partitions": 2}], "made\nby", "name@1\nrows")
    assert "…" in drawn
    assert "From no source" in lineage_chart("l", [], "made", "name")
