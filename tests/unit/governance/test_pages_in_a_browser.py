"""The pages in a real Chromium: no error, nothing from outside, nothing wider than a phone, usable by everybody."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from tests.support.browser import browser
from tests.support.governing import activities, organisation, release

from cloakhouse.governance.documents import written
from cloakhouse.governance.findings import check

pytestmark = pytest.mark.browser
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


def test_pages(tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    given = activities(households_synthetic=release("households_synthetic"))
    findings = check({one.contract.name: one.contract for one in given}, organisation(), ["gdpr", "pipl"])
    with browser() as chromium:
        for kind in ("record", "dpia", "transparency"):
            path = tmp_path / f"{kind}.html"
            path.write_text(
                written(kind, "html", organisation(), given, findings, ["gdpr", "ccpa"], dt.date(2026, 11, 22))
            )
            for viewport, scheme in ((PHONE, "dark"), (DESK, "light")):
                context = chromium.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True)
                page = context.new_page()
                told: list[str] = []
                asked: list[str] = []
                page.on("console", lambda message, told=told: told.append(message.text))
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.goto(path.as_uri())
                assert told == []
                assert asked == [path.as_uri()]
                assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
                faults = Axe().run(page).response["violations"]
                assert [fault["id"] for fault in faults] == [], faults
                context.close()
