"""A real headless Chromium, driven through Playwright: Debian's package, or the program that CHROMIUM names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

_running: list[Playwright] = []


def chromium() -> str | None:
    """Return the path of Chromium, or None where there is none."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def there_is_chromium() -> bool:
    """Return whether Chromium is here."""
    return chromium() is not None


@contextmanager
def _playwright() -> Iterator[Playwright]:
    """Yield Playwright: the one that runs, where a test of another folder keeps one, since a thread has only one."""
    from playwright.sync_api import sync_playwright

    if _running:
        yield _running[0]
        return
    with sync_playwright() as playwright:
        _running.append(playwright)
        try:
            yield playwright
        finally:
            _running.clear()


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a running headless Chromium; it is ended with the block."""
    with _playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield running
        finally:
            running.close()
