"""The PDF of a report: tagged, the same bytes again, and nothing is fetched."""

from __future__ import annotations

import io

import pypdf
import pytest
from tests.support.released import PLAIN, recorded

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.report.pdf import refused, report_pdf
from cloakhouse.settings import Settings
from cloakhouse.stages.report_sections import derived
from cloakhouse.stages.reporting import Report


@pytest.mark.path
def test_the_same_report_gives_the_same_pdf() -> None:
    contract = load_contracts(Settings.from_environment({}).contracts)[PLAIN]
    parts = derived(contract, recorded(PLAIN, "validation"), recorded(PLAIN, "synthesis"), None)
    head = {"format": 1, "dataset": PLAIN, "version": None, "release": None, "evidence": {"sha256": "0" * 64}}
    rest = {"approvals": [], "protection": None, "audit": {"entries": 0, "first": None, "last": None, "numbers": []}}
    report = Report({**head, **parts, **rest})
    text = report_pdf(report)
    assert report_pdf(report) == text
    document = pypdf.PdfReader(io.BytesIO(text))
    root = document.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert b"pdfuaid" in root["/Metadata"].get_data()
    assert "/CreationDate" not in (document.metadata or {})
    shown = "\n".join(page.extract_text() for page in document.pages)
    assert "Passed" in shown
    assert "Which checks did its rows go through?" in shown


def test_nothing_is_fetched() -> None:
    with pytest.raises(ValueError, match="fetches nothing") as problem:
        refused("file:///etc/passwd", timeout=1)
    assert "passwd" not in str(problem.value)
