"""The page of a report in a real Chromium: nothing overflows on a phone, axe finds nothing, nothing is requested."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from tests.support.browser import browser
from tests.support.released import released

from cloakhouse.report.page import report_page
from cloakhouse.stages.reporting import report

pytestmark = pytest.mark.browser


def test_it_is_readable_everywhere(tmp_path: Path) -> None:
    made = released(tmp_path / "home")
    (tmp_path / "r.html").write_text(report_page(report(made.settings, made.version)))
    with browser() as running:
        for scheme in ("light", "dark"):
            for width in (320, 768, 1_280):
                page = running.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
                asked: list[str] = []
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                troubles: list[str] = []
                page.on("console", lambda message, troubles=troubles: troubles.append(message.text))
                page.goto((tmp_path / "r.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert len(asked) == 1
                assert troubles == []
                found = Axe().run(page)
                assert found.violations_count == 0, found.generate_report()
                page.close()
