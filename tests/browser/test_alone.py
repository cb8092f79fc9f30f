"""The console that stands alone, in a real Chromium: pages, the proof, a planted edit, the phone, axe, no script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from tests.browser.conftest import ERASURE, HOSTILE, Alone
from tests.support.console import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

LOOKED_AT = (
    *PAGES,
    f"/requests/{ERASURE}",
    "/log/5",
    "/alerts/1",
    "/nowhere",
    "/log?since=never",
    "/datasets?name=zzz",
)


@pytest.fixture(scope="module")
def context(chromium: Browser, alone: Alone) -> Iterator[BrowserContext]:
    """A browser that opened the printed address."""
    made = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = made.new_page()
    assert page.goto(alone.address).status == 200
    assert page.url == f"{alone.base}/"
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    yield opened
    opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(page: Page, alone: Alone, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for path in LOOKED_AT:
        page.goto(alone.base + path)
        found = Axe().run(page).response["violations"]
        assert [(path, v["id"], [n["target"] for n in v["nodes"]]) for v in found] == []


def test_every_page_fits_a_phone(page: Page, alone: Alone) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    for path in LOOKED_AT:
        page.goto(alone.base + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path


def test_no_markup_runs_and_nothing_is_fetched_from_outside(page: Page, alone: Alone) -> None:
    asked: list[str] = []
    told: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("console", lambda message: told.append(message.text))
    for path in (p for p in LOOKED_AT if p not in ("/nowhere", "/log?since=never")):
        page.goto(alone.base + path)
    page.goto(f"{alone.base}/log/5")
    assert HOSTILE in page.inner_text("main")
    assert [url for url in asked if not url.startswith(alone.base)] == []
    assert told == []


def test_the_browser_checks_the_proof_and_finds_an_edit(page: Page, alone: Alone) -> None:
    for number in (0, 5, 37):
        page.goto(f"{alone.base}/log/{number}")
        page.click("#check")
        page.wait_for_selector("#proof[data-outcome]")
        assert page.get_attribute("#proof", "data-outcome") == "holds"
        assert page.inner_text(".verdict-line") == "This entry is in the signed log"
    edits = {
        "content": "one => one.textContent = one.textContent.replace('person', 'perso')",
        "path code": "one => one.textContent = 'ff' + one.textContent.slice(2)",
        "note": "one => one.textContent = one.textContent.replace(/\\n(\\d+)\\n/, (_, n) => `\\n${Number(n) + 1}\\n`)",
    }
    for selector, edit in edits.items():
        page.goto(f"{alone.base}/log/37")
        page.eval_on_selector(f"#{selector}", edit)
        page.click("#check")
        page.wait_for_selector("#proof[data-outcome]")
        assert page.get_attribute("#proof", "data-outcome") == "broken", selector


def test_the_plain_hash_agrees_with_webcrypto(context: BrowserContext, alone: Alone) -> None:
    page = context.new_page()
    page.add_init_script("window.cloakhouseTest = {}")
    page.goto(f"{alone.base}/log/5")
    agree = page.evaluate(
        """async () => {
            const hex = (b) => Array.from(new Uint8Array(b), (x) => x.toString(16).padStart(2, "0")).join("");
            for (let n = 0; n < 300; n += 1) {
                const bytes = Uint8Array.from({ length: n }, (_, i) => (i * 37 + n) % 256);
                const real = hex(await crypto.subtle.digest("SHA-256", bytes));
                if (hex(window.cloakhouseTest.plainSha256(bytes)) !== real) { return n; }
            }
            return "all";
        }"""
    )
    page.close()
    assert agree == "all"


def test_without_webcrypto_the_walk_is_still_checked(context: BrowserContext, alone: Alone) -> None:
    page = context.new_page()
    page.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined })")
    page.goto(f"{alone.base}/log/5")
    page.click("#check")
    page.wait_for_selector("#proof[data-outcome]")
    assert page.inner_text(".verdict-line") == "This entry is in the log of the checkpoint"
    page.close()


def test_it_works_without_script_and_by_keyboard(chromium: Browser, context: BrowserContext, alone: Alone) -> None:
    plain = chromium.new_context(java_script_enabled=False, storage_state=context.storage_state())
    page = plain.new_page()
    page.set_default_timeout(10_000)
    page.goto(alone.base)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.goto(f"{alone.base}/log")
    page.select_option("select[name=decision]", "refused")
    page.click("form.filters button")
    assert "customers.email" in page.inner_text("tbody")
    page.click("tbody a")
    assert not page.is_visible("#check")
    page.goto(f"{alone.base}/alerts/2")
    page.fill("#note", "case 4711: looked at, nothing to do")
    page.click("main form button")
    assert "by ann" in page.inner_text("main")
    plain.close()


def test_downloads_are_files(page: Page, alone: Alone) -> None:
    page.goto(f"{alone.base}/downloads")
    with page.expect_download() as taken:
        page.get_by_role("link", name="Newest checkpoint").click()
    assert taken.value.suggested_filename.startswith("checkpoint-")
    page.goto(f"{alone.base}/datasets/people_synthetic/1")
    with page.expect_download() as taken:
        page.get_by_role("link", name="Card (JSON)").click()
    assert taken.value.suggested_filename == "people_synthetic-1-card.json"
