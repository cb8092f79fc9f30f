"""Pictures of the console for the README: `python -m tests.browser.screens [HOME [NAME...]]`, written to docs/screens.

HOME is an installation that has run; without it a small one is made, as the tests make theirs. NAMEs are the pictures
to make; all of them if none is given. Those of requests and of an erasure need a HOME in which persons were erased.
"""

from __future__ import annotations

import io
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.conftest import free_port
from tests.support.browser import browser
from tests.support.house import published_private

from cloakhouse.console.session import standing_alone
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.checkpointing import checkpoint

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screens"
WIDTH, HEIGHT = 1280, 860
LARGEST = 150_000  # bytes
ATTEMPTS = 60  # two seconds apart


def main(home: Path | None, names: frozenset[str] = frozenset()) -> None:
    """Make the pictures `names`, or all that the home has something for."""
    import uvicorn

    if home is None:
        house = published_private().copy(Path(tempfile.mkdtemp(prefix="cloakhouse-screens-")) / "home")
        settings = house.settings
    else:
        settings = Settings.from_environment({}).with_home(home)
    checkpoint(settings)
    port = free_port()
    app, address = standing_alone(settings, "auditor", port)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with browser() as running:
        context = running.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        page = context.new_page()
        page.goto(address)
        time.sleep(5)  # the coverage of a small lake
        base = f"http://127.0.0.1:{port}"
        head = VersionRegister(settings.database).heads()[0]
        page.goto(f"{base}/log?action=publish")
        entry = page.locator("tbody th a").first.inner_text()
        shown = {
            "overview": "/",
            "dataset": f"/datasets/{head.dataset}/{head.version}",
            "keys": "/keys",
            "log": f"/log/{entry}",
        }
        if erasures := Erasures(settings.database).all():
            shown |= {"requests": "/requests", "erasure": f"/requests/{erasures[-1].batch}"}
        if unknown := names - shown.keys():
            raise SystemExit(f"no such picture, or nothing in this home to show: {', '.join(sorted(unknown))}")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for name in names or shown:
                _settled(page, base + shown[name])
                if name == "log":
                    page.click("#check")
                    page.wait_for_selector("#proof[data-outcome]")
                    page.locator("h2").first.scroll_into_view_if_needed()
                    page.evaluate("scrollTo(0, 280)")
                file = FOLDER / f"{name}-{scheme}.png"
                _small(page.screenshot(), file)
                assert file.stat().st_size < LARGEST, file
                print(f"{file.name} {file.stat().st_size:,} bytes")
    server.should_exit = True
    thread.join(timeout=10)


def _settled(page: Page, address: str) -> None:
    """Open `address` until all of it is computed; what a page works out in the background is there a while later."""
    for _ in range(ATTEMPTS):
        page.goto(address)
        content = page.content()
        if "storage.slow" not in content and "Being looked for" not in content:
            return
        time.sleep(2)
    raise SystemExit(f"not all of {address} was there after {ATTEMPTS} attempts")


def _small(picture: bytes, file: Path) -> None:
    """Write a PNG of 256 colours, which pages like these don't exceed by much."""
    from PIL import Image

    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, frozenset(sys.argv[2:]))
