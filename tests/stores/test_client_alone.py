"""A model team's machine: the wheel with its extra `client` in an environment of its own, and a published installation.

Nothing of the checkout is on its path; contracts and suites aren't there either.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import house

from cloakhouse.client.api import connect
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.service import service_of
from cloakhouse.stages import access_apply

pytestmark = pytest.mark.stores
PROJECT = Path(__file__).parents[2]
ABSENT = {"airflow", "alembic", "great_expectations", "hvac", "open_data_contract_standard", "opendp"} | {
    *("pkcs11", "pydantic", "pyspark", "sdmetrics", "sdv", "sklearn", "torch")
}
LIMIT_S = 400.0
READ = """
import importlib.util, json, sys, time
started = time.perf_counter()
import cloakhouse
imported = time.perf_counter() - started
lake = cloakhouse.connect()
[summary] = lake.datasets()
baskets = lake.dataset(f"{summary.name}@{summary.version}")
table = baskets.to_arrow()
frame = baskets.to_pandas(columns=["hour", "value"], where=[("value", ">", 20)])
counted = baskets.to_duckdb().aggregate("count(*) as rows, sum(value) as value").fetchall()
polars = baskets.to_polars(limit=7)
batches = sum(batch.num_rows for batch in baskets.batches(["lines"]))
card = baskets.card()
from cloakhouse.errors import CloakhouseError
try:
    baskets.to_torch()
except CloakhouseError as missing:
    refused = missing.as_dict()
try:
    evidence = baskets.evidence()["passed"]
except CloakhouseError as for_others:
    evidence = for_others.code
print(json.dumps({
    "file": cloakhouse.__file__,
    "imported_s": imported,
    "name": repr(baskets),
    "rows": [table.num_rows, polars.height, batches, counted[0][0]],
    "columns": table.column_names,
    "nulls": [column.null_count for column in table.columns],
    "value": [sum(table.column("value").to_pylist()), counted[0][1]],
    "frame": [list(frame.columns), len(frame), bool((frame["value"] > 20).all())],
    "above": sum(value > 20 for value in table.column("value").to_pylist()),
    "card": card["title"],
    "full": baskets.card()["licence"],
    "croissant": baskets.croissant()["identifier"],
    "page": baskets.card_page()[:15],
    "evidence": evidence,
    "refused": refused,
    "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
    "installed": [name for name in ABSENT if importlib.util.find_spec(name)],
}))
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of programs of an environment with nothing but the wheel and its extra `client`."""
    folder = tmp_path_factory.mktemp("alone")
    source = folder / "source"
    shutil.copytree(PROJECT / "plugins", source / "plugins", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, source)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source])
    [wheel] = folder.glob("cloakhouse-*.whl")
    run([sys.executable, "-m", "venv", folder / "venv"])
    run([folder / "venv/bin/python", "-m", "pip", "install", "--quiet", f"{wheel}[client]"])
    return folder / "venv/bin"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> house.House:
    return house.published_private().copy(tmp_path_factory.mktemp("published") / "home")


@pytest.fixture(scope="module")
def member(published: house.House) -> dict[str, str]:
    """Return the variables of a member of a model team: an identity with the role's grants, and the policy."""
    settings = published.settings
    folder = settings.home.parent
    policy = folder / "access.yaml"
    text = (PROJECT / "dags/access.yaml").read_text()
    assert text.count("principals: {}") == 1
    policy.write_text(text.replace("principals: {}", "principals: {mia: {roles: [model-team]}}"))
    service = service_of(settings)
    assert isinstance(service, AgeKeyService)
    service.enrol("mia", identity=folder / "mia.txt")
    access_apply.apply(replace(settings, policy=policy))
    return {
        "CLOAKHOUSE_IDENTITY": str(folder / "mia.txt"),
        "CLOAKHOUSE_PURPOSE": "model-training",
        "CLOAKHOUSE_POLICY": str(policy),
    }


def run(command: Sequence[str | Path], **variables: str) -> str:
    """Return what a command writes to standard output; it ends with 0."""
    done = attempt(command, **variables)
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


def attempt(command: Sequence[str | Path], **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("CLOAKHOUSE_", "PYTHON", "COVERAGE", "VIRTUAL"))}
    return subprocess.run(
        [str(part) for part in command],
        env={**clean, **variables},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def read(client: Path, published: house.House, **variables: str) -> dict[str, Any]:
    code = f"ABSENT = {sorted(ABSENT)!r}\n{READ}"
    found = json.loads(run([client / "python", "-c", code], CLOAKHOUSE_HOME=str(published.settings.home), **variables))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("who", ["platform", "member"])
def test_a_model_team_reads_and_judges_a_dataset_from_connect_to_card(
    client: Path, published: house.House, member: dict[str, str], who: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read(client, published, **(member if who == "member" else {}))
    rows = connect(published.settings.home).dataset("baskets_private").rows
    assert found["file"].startswith(str(client.parent))
    assert found["name"] == f"Dataset(baskets_private@1, {rows:,} rows)"
    assert found["rows"] == [rows, 7, rows, rows]
    assert len(found["columns"]) == 10
    assert found["nulls"] == [0] * 10  # no column is masked
    assert found["value"][0] == pytest.approx(found["value"][1])
    assert found["frame"] == [["hour", "value"], found["above"], True]
    assert found["card"].startswith("synthetic shopping baskets")
    assert found["full"] == "internal: for analytics only"
    assert found["croissant"] == "urn:cloakhouse:dataset:baskets_private:1"
    assert found["page"] == "<!DOCTYPE html>"
    assert found["evidence"] == (True if who == "platform" else "access.evidence")
    assert found["refused"]["code"] == "missing"
    assert "pip install torch" in found["refused"]["remedy"]
    with capsys.disabled():
        print(f"\nimport cloakhouse in an environment of the client, {who}: {found['imported_s']:.3f} s")


def test_what_a_client_does_not_need_is_neither_installed_nor_loaded(client: Path, published: house.House) -> None:
    found = read(client, published)
    assert found["installed"] == []
    assert not ABSENT & set(found["loaded"])


def test_the_command_line_answers_there(client: Path, published: house.House, member: dict[str, str]) -> None:
    variables = {**member, "CLOAKHOUSE_HOME": str(published.settings.home)}

    def answer(*arguments: str) -> Any:
        return json.loads(run([client / "cloakhouse", *arguments, "--output", "json"], **variables))

    assert [found["name"] for found in answer("datasets")] == ["baskets_private"]
    assert len(answer("read", "baskets_private@1", "--columns", "hour,value", "--limit", "3")) == 3
    assert answer("describe", "baskets_private")["version"] == 1
    refused = attempt([client / "cloakhouse", "evidence", "baskets_private"], **variables)
    assert (refused.returncode, refused.stdout) == (3, "")  # it holds figures of real rows
    card = answer("card", "baskets_private")
    assert card["utility"]["measured_on"] == "published rows"
    page, croissant = (published.settings.home.parent / name for name in ("card.html", "card.json"))
    run([client / "cloakhouse", "card", "baskets_private", "--page", page, "--croissant", croissant], **variables)
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(croissant.read_text())["license"] == card["licence"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("card", "baskets_private@0"), 2),
        (("card", "nothing_of_that_name"), 5),
        (("contracts",), 5),  # none are there
    ],
)
def test_what_is_not_there_ends_with_a_message_and_its_code(
    client: Path, published: house.House, arguments: tuple[str, ...], code: int
) -> None:
    done = attempt([client / "cloakhouse", *arguments], CLOAKHOUSE_HOME=str(published.settings.home))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "to do:" in done.stderr


def test_what_needs_another_extra_says_which_package_is_missing(client: Path, published: house.House) -> None:
    variables = {
        "CLOAKHOUSE_HOME": str(published.settings.home),
        "CLOAKHOUSE_CONTRACTS": str(published.settings.contracts),
    }
    done = attempt([client / "cloakhouse", "contracts"], **variables)
    assert done.returncode == 6
    assert "expected: the Python package `" in done.stderr
    assert "pip install 'cloakhouse[" in done.stderr
    assert "Traceback" not in done.stderr
