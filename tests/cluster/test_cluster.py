"""Jobs on a Spark cluster of two workers: the rows of a local run, the package from the zip alone, and lost workers."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.cluster import HOSTS, Cluster, cluster
from tests.support.lake import Lake, processes_of
from tests.support.spark_pages import fetched, listening
from tests.support.spark_projects import private, project_whose_workers
from tests.support.splits import figures, number_of_splits, settle, split_lake
from tests.support.waiting import until

from cloakhouse.errors import StageError
from cloakhouse.flow.submit import Job, end_running_jobs, run_job
from cloakhouse.ledger.catalogue import ManifestRef

pytestmark = [pytest.mark.spark, pytest.mark.cluster]

PROBE = """
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession
import cloakhouse


def inside(batches):
    import json, os, socket, sys
    import pyarrow as pa
    import cloakhouse.stages.treating
    for batch in batches:
        files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "cloakhouse"]
        variables = [name for name in os.environ if name.startswith("CLOAKHOUSE_")]
        yield pa.RecordBatch.from_pydict({"x": [json.dumps([files, variables, os.environ["SPARK_LOCAL_IP"]])]})


spark = SparkSession.builder.getOrCreate()
rows = spark.range(0, 8, 1, numPartitions=8).mapInArrow(inside, "x string").collect()
Path(sys.argv[sys.argv.index("--result") + 1]).write_text(json.dumps({"found": [json.loads(r[0]) for r in rows]}))
spark.stop()
"""


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("the-cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, ManifestRef]:
    """An installation with a request for two weeks of transactions, which landed in splits."""
    place = split_lake(tmp_path_factory.mktemp("planned house"))
    assert sum(number_of_splits(place).values()) >= 6
    request = place.plan("transactions")
    assert request is not None
    settle()
    return place, request


@pytest.fixture(scope="module")
def local(planned: tuple[Lake, ManifestRef], tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The same, treated on local[*]."""
    place = planned[0].copy(tmp_path_factory.mktemp("local house"))
    place.submit(planned[1], master="local[*]")
    return place


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """TMPDIR of the test; a job has to leave it empty."""
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert not list(folder.iterdir())


def test_a_job_gives_the_rows_of_the_local_run_from_both_workers(
    spark: Cluster, planned: tuple[Lake, ManifestRef], local: Lake, tmp_path: Path, temporary: Path
) -> None:
    """And while it runs nothing listens beyond loopback, no command line and no page holds the cluster's secret."""
    place = planned[0].copy(tmp_path / "home")
    hold = tmp_path / "hold"
    hold.touch()
    wait = f"""
(Path({str(tmp_path)!r}) / ("ran-on-" + os.environ["SPARK_LOCAL_IP"])).touch()
end = time.monotonic() + 60
while Path({str(hold)!r}).exists() and time.monotonic() < end:
    time.sleep(0.1)
"""
    project = project_whose_workers(place.settings, tmp_path / "project", wait)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(place.submit, planned[1], project, master=spark.master, cluster=spark.properties)
        try:
            until(lambda: job.done() or len(list(tmp_path.glob("ran-on-*"))) == len(HOSTS), "work on both workers", 180)
            running = {**processes_of(spark.folder), **processes_of(temporary)}
            sockets = listening(running)
            pages = [fetched(url) or b"" for url in spark.pages()]
        finally:
            hold.unlink()
        job.result(timeout=120)
    assert {address for _, address, _ in sockets} <= set(HOSTS)
    assert len({pid for pid, _, _ in sockets}) >= 6  # master, two workers, two executors, the driver
    assert [b"Spark Master" in pages[0], *(b"Spark Worker" in page for page in pages[1:])] == [True] * 3
    assert not [page for page in pages if spark.secret.encode() in page]
    assert not [command for command in running.values() if spark.secret in command]
    assert place.rows("transactions") == local.rows("transactions")
    assert figures(place) == figures(local)
    assert place.unlisted("transactions") == local.unlisted("transactions") == set()


def test_workers_run_the_package_that_was_shipped_and_need_no_variables(
    spark: Cluster, planned: tuple[Lake, ManifestRef], tmp_path: Path
) -> None:
    settings = planned[0].settings
    project = tmp_path / "project"
    (project / "spark_jobs").mkdir(parents=True)
    (project / "spark_jobs" / "probe.py").write_text(PROBE)
    shutil.copytree(settings.project / "infra", project / "infra")
    (project / "plugins").symlink_to(settings.project / "plugins")
    out = run_job(Job("probe", (), spark.master, 120, spark.properties), replace(settings, project=project))
    assert {host for _, _, host in out["found"]} <= set(HOSTS)
    for files, variables, _ in out["found"]:
        assert len(files) > 30
        assert all("/cloakhouse.zip/cloakhouse/" in name for name in files), files
        assert variables == []


def test_of_two_attempts_of_a_split_one_is_listed_and_the_other_removed(
    spark: Cluster, planned: tuple[Lake, ManifestRef], local: Lake, tmp_path: Path
) -> None:
    place = planned[0].copy(tmp_path / "home")
    slow = f"""
partition = task.partition
(Path({str(tmp_path)!r}) / f"{{partition}}-{{split}}-{{attempt}}").write_text(json_text(outcome))
if split == 0 and attempt == 0 and partition == "2016-12-26":
    time.sleep(120)
""".replace("json_text(outcome)", '__import__("json").dumps([f["path"] for f in outcome["files"]])')
    project = project_whose_workers(place.settings, tmp_path / "project", slow)
    speculation = spark.properties_with(
        spark__speculation="true",
        spark__speculation__interval="100ms",
        spark__speculation__quantile="0.5",
        spark__speculation__multiplier="1.5",
    )
    place.submit(planned[1], project, master=spark.master, cluster=speculation)
    attempts = [tmp_path / f"2016-12-26-0-{attempt}" for attempt in (0, 1)]
    written = [json.loads(path.read_text())[0] for path in attempts if path.exists()]
    assert len(set(written)) == 2  # both had written all of their file
    listed = place.content("transactions")["2016-12-26"]["files"][0]["path"]
    assert listed == written[1]
    assert not (place.settings.lake / written[0]).exists()
    assert place.rows("transactions") == local.rows("transactions")
    assert figures(place) == figures(local)
    assert place.unlisted("transactions") == set()


def test_with_an_executor_and_a_worker_killed_the_job_ends_on_the_other(
    spark: Cluster, planned: tuple[Lake, ManifestRef], local: Lake, tmp_path: Path
) -> None:
    place = planned[0].copy(tmp_path / "home")
    hold = tmp_path / "hold"
    hold.touch()
    wait = f"""
(Path({str(tmp_path)!r}) / ("ran-on-" + os.environ["SPARK_LOCAL_IP"])).touch()
end = time.monotonic() + 60
while Path({str(hold)!r}).exists() and time.monotonic() < end:
    time.sleep(0.1)
"""
    project = project_whose_workers(place.settings, tmp_path / "project", wait)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(place.submit, planned[1], project, master=spark.master, cluster=spark.properties)
        try:
            until(lambda: job.done() or len(list(tmp_path.glob("ran-on-*"))) == len(HOSTS), "work on both workers", 180)
            lost = spark.executors(HOSTS[1])  # before the worker, whose end an executor notices and follows
            for pid in lost:
                os.kill(pid, signal.SIGKILL)
            os.killpg(spark.workers[HOSTS[1]].pid, signal.SIGKILL)
        finally:
            hold.unlink()
        job.result(timeout=150)
    assert len(lost) == 1
    assert place.rows("transactions") == local.rows("transactions")
    assert figures(place) == figures(local)
    assert place.unlisted("transactions") == set()
    spark.start_worker(HOSTS[1])


def test_with_another_secret_the_cluster_takes_no_job(
    spark: Cluster, planned: tuple[Lake, ManifestRef], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place = planned[0].copy(tmp_path / "home")
    other = private(tmp_path / "other.conf", {"spark.authenticate.secret": "0" * 64, "spark.driver.host": HOSTS[0]})
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(place.submit, planned[1], master=spark.master, cluster=other)
        try:
            until(lambda: job.done() or "Failed to connect to master" in caplog.text, "a refusal")
        finally:
            end_running_jobs()
        with pytest.raises(StageError) as caught:
            job.result(timeout=60)
    assert "New auth protocol failed" in caplog.text
    assert caught.value.code == "stage.spark"
    assert place.catalogue.protected("transactions") == {}
