"""Deliveries of several splits on real Spark: the rows of the whole, once each, whatever became of an attempt; and
what Spark's own pages tell of such a job."""

from __future__ import annotations

import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.keys import forms, keys_of
from tests.support.lake import Lake, processes_of
from tests.support.spark_pages import ANSWERS, PAGES, listening, port_of, shown
from tests.support.spark_projects import private, project_whose_workers
from tests.support.splits import figures, number_of_splits, split_lake
from tests.support.waiting import until

from cloakhouse.errors import StageError

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """An installation whose transactions have landed in splits and wait."""
    return split_lake(tmp_path_factory.mktemp("cut house"))


@pytest.fixture(scope="module")
def whole(cut: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The same, treated without splits in this process."""
    place = cut.copy(tmp_path_factory.mktemp("whole house"))
    place.protect("transactions")
    return place


def delivered(feed: Path) -> set[bytes]:
    """Return every long number and e-mail address of the feed."""
    import gzip

    found: set[bytes] = set()
    for path in feed.iterdir():
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found |= set(re.findall(rb"[0-9]{9,}", data)) | set(re.findall(rb"[\w.+-]+@[\w.-]+", data))
    assert len(found) > 10_000
    return found


def test_a_crashed_attempt_is_done_again_and_its_rows_come_once(
    cut: Lake,
    whole: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("CLOAKHOUSE_PROGRESS", str(tmp_path / "events.jsonl"))
    place = cut.copy(tmp_path / "home")
    splits = number_of_splits(place)
    assert min(splits.values()) > 1
    crash = "if split == 1 and attempt == 0:\n    os.kill(os.getpid(), signal.SIGKILL)"
    request = place.plan("transactions")
    assert request is not None
    place.submit(request, project_whose_workers(place.settings, tmp_path / "project", crash), master="local[2,3]")

    assert caplog.text.count("Python worker exited unexpectedly") >= len(splits)
    assert place.table("transactions").equals(whole.table("transactions"))  # the same rows in the same order
    assert place.unlisted("transactions") == set()
    for partition, content in place.content("transactions").items():
        for kind in ("files", "quarantine"):
            numbers = [int(re.findall(r"/part-(\d{5})-[0-9a-f]{8}\.parquet$", f["path"])[0]) for f in content[kind]]
            assert numbers == list(range(splits[partition]))
        for field in ("rows", "quarantined", "columns"):
            assert content[field] == whole.content("transactions")[partition][field]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["kind"] == "step" and event["stage"] == "pseudonymize"]
    assert {(step["total"], step["unit"]) for step in steps} == {(sum(splits.values()), "splits")}


def test_a_split_that_fails_for_good_fails_the_job_and_nothing_is_visible(cut: Lake, tmp_path: Path) -> None:
    place = cut.copy(tmp_path / "home")
    fail = "if split == 2:\n    raise ValueError('4111111111111111')"
    request = place.plan("transactions")
    assert request is not None
    with pytest.raises(StageError) as caught:
        place.submit(request, project_whose_workers(place.settings, tmp_path / "project", fail))
    assert caught.value.code == "stage.task"
    assert "4111" not in str(caught.value)
    assert place.catalogue.protected("transactions") == {}


def test_sparks_pages_and_answers_hold_neither_keys_nor_identifiers(
    cut: Lake, tmp_path: Path, temporary: Path, feed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place = cut.copy(tmp_path / "home")
    hold = tmp_path / "hold"
    hold.touch()
    wait = f"""
if split == 1:
    Path({str(tmp_path / "held")!r}).touch()
    end = time.monotonic() + 90
    while Path({str(hold)!r}).exists() and time.monotonic() < end:
        time.sleep(0.1)
"""
    project = project_whose_workers(place.settings, tmp_path / "project", wait)
    pages = private(tmp_path / "pages.conf", {"spark.ui.enabled": "true", "spark.ui.port": "0"})
    request = place.plan("transactions")
    assert request is not None
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(place.submit, request, project, cluster=pages)
        try:
            port = until(lambda: job.done() or port_of("SparkUI", caplog.text), "the interface")
            assert not job.done(), job.exception()
            url = f"http://127.0.0.1:{port}"
            until(lambda: job.done() or (tmp_path / "held").exists(), "a task that waits")
            found = until(lambda: len(pages := shown(url)) == len(ANSWERS) + len(PAGES) + 1 and pages, "every page")
            [properties] = temporary.glob("*spark-*/spark.properties")
            [secret] = re.findall(rb"^spark\.authenticate\.secret (\w{64})$", properties.read_bytes(), re.MULTILINE)
            addresses = {address for _, address, _ in listening(processes_of(temporary))}
        finally:
            hold.unlink()
        job.result(timeout=120)
    assert addresses == {"127.0.0.1"}
    content = b"\n".join(found.values())
    assert b"spark.authenticate.secret" in content
    assert b"redacted" in content
    [plan] = [answer["planDescription"] for answer in json.loads(next(v for k, v in found.items() if "/sql?" in k))]
    assert "MapInArrow" in plan
    assert "Range (" in plan
    assert secret not in content
    known = delivered(feed)
    assert not known & set(re.findall(rb"[0-9]{9,}", content))
    assert not known & set(re.findall(rb"[\w.+-]+@[\w.-]+", content))
    secrets = keys_of(place.settings.home)
    assert len(secrets) > 10
    assert not [name for name, key in secrets.items() if any(form in content for form in forms(key).values())]
    for root in place.settings.token_roots.iterdir():
        assert json.loads(root.read_text())["wrapped"].encode() not in content
    assert figures(place).keys() == {"2016-12-26", "2017-01-02"}
