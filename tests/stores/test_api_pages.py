"""`make api`: reference pages from docstrings, without a network and without the platform's large libraries."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stores
PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "infra/api_pages.py"
CODE = """
import runpy, socket, sys
def refuse(*_, **__): raise AssertionError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = [{script!r}, {folder!r}]
runpy.run_path({script!r}, run_name="__main__")
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"airflow", "great_expectations", "sdv", "torch"}}))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the pages; what stood there before is gone."""
    folder = tmp_path_factory.mktemp("pages") / "api"
    folder.mkdir()
    (folder / "old.html").write_text("old")
    code = CODE.format(script=str(SCRIPT), folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    assert "Warn" not in done.stderr
    return folder


def test_every_module_has_a_page_and_the_package_is_where_one_begins(pages: Path) -> None:
    names = re.findall(r'"(cloakhouse[a-z._]+)"', SCRIPT.read_text())
    assert len(names) >= 10
    for name in names:
        assert (pages / f"{name.replace('.', '/')}.html").is_file(), name
    assert not (pages / "old.html").exists()
    start = (pages / "cloakhouse.html").read_text()
    assert 'id="connect"' in start
    assert "published datasets, by name" in start
    assert "cloakhouse.html" in (pages / "index.html").read_text()
    assert sorted(path.name for path in pages.parent.iterdir()) == ["api"]


def test_what_raises_and_what_comes_back_stands_there(pages: Path) -> None:
    dataset = (pages / "cloakhouse/client/dataset.html").read_text()
    assert all(f'id="Dataset.{name}"' in dataset for name in ("card", "evidence", "lineage"))
    assert 'href="readable.html#Readable.to_arrow"' in dataset
    rows = (pages / "cloakhouse/client/readable.html").read_text()
    assert all(f'id="Readable.{name}"' in rows for name in ("to_arrow", "to_pandas", "to_duckdb", "to_spark"))
    assert "IntegrityError" in dataset
    assert 'id="AccessRefused"' in (pages / "cloakhouse/errors.html").read_text()


def test_no_page_loads_anything_from_outside(pages: Path) -> None:
    for page in pages.rglob("*.html"):
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page.read_text()), (
            page
        )
