"""spark-submit as the platform calls it: the command, the secrets file, the zip, the bounded wait, no Java."""

from __future__ import annotations

import re
import shutil
import stat
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.lake import processes_of
from tests.support.spark_projects import private

from cloakhouse.errors import ConfigurationError, MissingDependency, StageError, StorageError
from cloakhouse.flow.properties import write_properties
from cloakhouse.flow.submit import Job, check_java, package_zip, run_job, submit_command
from cloakhouse.settings import Settings

pytestmark = pytest.mark.spark

PROBE = '''
import json, os, sys
from pathlib import Path
from pyspark.sql import SparkSession
import cloakhouse
from cloakhouse.settings import Settings


def inside(batches):
    import pyarrow as pa
    import cloakhouse
    import cloakhouse.tokens.apply as deep
    for batch in batches:
        place = [cloakhouse.__file__, deep.__file__, os.environ.get("TMPDIR", "")]
        yield pa.RecordBatch.from_pydict({"place": [json.dumps(place)]})


def commands():
    """Command lines of this process and all above it."""
    pid, found = os.getpid(), []
    while pid > 1:
        found.append(Path(f"/proc/{pid}/cmdline").read_text())
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return found


spark = SparkSession.builder.getOrCreate()
rows = spark.range(0, 2, 1, numPartitions=2).mapInArrow(inside, "place string").collect()
conf = spark.sparkContext.getConf()
names = ["spark.ui.enabled", "spark.io.encryption.enabled", "spark.authenticate", "spark.local.dir",
         "spark.driver.host", "spark.driver.bindAddress", "spark.eventLog.enabled"]
java = spark.sparkContext._jvm.java.lang.System.getProperty("java.io.tmpdir")
out = {
    "driver": cloakhouse.__file__,
    "workers": [json.loads(row[0]) for row in rows],
    "conf": {name: conf.get(name) for name in names},
    "secret": conf.get("spark.authenticate.secret"),
    "commands": commands(),
    "java": java,
    "home": str(Settings.from_environment().home),
}
spark.stop()
Path(sys.argv[sys.argv.index("--result") + 1]).write_text(json.dumps(out))
'''
HANG = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
from pyspark.sql import SparkSession

begun = sys.argv[1]


def inside(batches):
    import signal, time
    from pathlib import Path
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(begun).touch()
    time.sleep(3600)
    yield from batches


SparkSession.builder.getOrCreate().range(0, 2).mapInArrow(inside, "id long").collect()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose project holds the jobs of this test beside the real package and Spark's real configuration."""
    base = Settings.from_environment({})
    project = tmp_path / "the project"
    shutil.copytree(base.project / "infra", project / "infra")
    (project / "plugins").symlink_to(base.project / "plugins")
    jobs = project / "spark_jobs"
    jobs.mkdir()
    (jobs / "probe.py").write_text(PROBE)
    (jobs / "hang.py").write_text(HANG)
    (jobs / "crash.py").write_text("raise SystemExit(3)\n")
    return replace(base.with_home(tmp_path / "the home"), project=project)


def test_the_command_line_is_this_and_nothing_secret_is_on_it(settings: Settings, tmp_path: Path) -> None:
    import pyspark

    job = Job("pseudonymize", ("--request", "protected/x.json", "--sha256", "0" * 64), "spark://somewhere:7077")
    properties = write_properties(settings, job.master, tmp_path)
    command = submit_command(job, settings, properties, tmp_path / "cloakhouse.zip", tmp_path / "result.json")
    assert command == [
        str(Path(pyspark.__file__).parent / "bin" / "spark-submit"),
        "--master",
        "spark://somewhere:7077",
        "--name",
        "cloakhouse-pseudonymize",
        "--properties-file",
        str(tmp_path / "spark.properties"),
        "--py-files",
        str(tmp_path / "cloakhouse.zip"),
        str(settings.project / "spark_jobs" / "pseudonymize.py"),
        "--request",
        "protected/x.json",
        "--sha256",
        "0" * 64,
        "--result",
        str(tmp_path / "result.json"),
    ]
    [secret] = re.findall(r"^spark\.authenticate\.secret ([0-9a-f]{64})$", properties.read_text(), re.MULTILINE)
    assert secret not in " ".join(command)


@pytest.mark.parametrize("master", ["local[*]", "spark://somewhere:7077"])
def test_the_properties_are_private_fresh_and_bound_to_loopback(
    settings: Settings, tmp_path: Path, master: str
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    texts = []
    for folder in folders:
        folder.mkdir()
        path = write_properties(settings, master, folder)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        texts.append(path.read_text())
        with pytest.raises(FileExistsError):
            write_properties(settings, master, folder)
    lines = [line.split(None, 1) for line in texts[0].splitlines() if line.strip() and not line.startswith("#")]
    values = {key: value.strip() for key, value in lines}
    assert len(values) == len(lines)
    assert values["spark.local.dir"] == str(folders[0])
    assert values["spark.sql.warehouse.dir"] == str(folders[0] / "warehouse")
    assert f'"-Djava.io.tmpdir={folders[0]}"' in values["spark.driver.extraJavaOptions"]
    assert values["spark.ui.enabled"] == values["spark.eventLog.enabled"] == "false"
    assert values["spark.io.encryption.enabled"] == values["spark.authenticate"] == "true"
    assert values["spark.network.crypto.enabled"] == "true"
    local = {key: values.get(key) for key in ("spark.driver.host", "spark.driver.bindAddress")}
    assert set(local.values()) == ({"127.0.0.1"} if master.startswith("local") else {None})
    first, second = (re.findall(r"authenticate\.secret (\w+)", text)[0] for text in texts)
    assert first != second


def test_properties_of_the_cluster_are_added_and_go_before_ours(settings: Settings, tmp_path: Path) -> None:
    cluster = private(tmp_path / "cluster.conf", {"spark.authenticate.secret": "shared", "spark.executor.memory": "2g"})
    text = write_properties(settings, "spark://somewhere:7077", tmp_path, cluster).read_text()
    assert "spark.authenticate.secret shared\n" in text
    assert "spark.executor.memory 2g\n" in text
    assert text.count("spark.authenticate.secret") == 1
    assert "spark.io.encryption.enabled true\n" in text


@pytest.mark.parametrize("name", ["spark.authenticate", "spark.io.encryption.enabled", "spark.network.crypto.enabled"])
def test_properties_of_the_cluster_can_not_end_the_protection(settings: Settings, tmp_path: Path, name: str) -> None:
    cluster = private(tmp_path / "cluster.conf", {"spark.authenticate.secret": "hush", name: "false"})
    with pytest.raises(ConfigurationError) as caught:
        write_properties(settings, "spark://somewhere:7077", tmp_path, cluster)
    assert "hush" not in str(caught.value)
    assert not (tmp_path / "spark.properties").exists()


def test_properties_of_the_cluster_must_be_private(settings: Settings, tmp_path: Path) -> None:
    cluster = private(tmp_path / "cluster.conf", {"spark.authenticate.secret": "hush"})
    cluster.chmod(0o640)
    with pytest.raises(ConfigurationError) as caught:
        write_properties(settings, "spark://somewhere:7077", tmp_path, cluster)
    assert "others may open" in caught.value.found
    with pytest.raises(StorageError):
        write_properties(settings, "spark://somewhere:7077", tmp_path, tmp_path / "none.conf")


def test_the_zip_holds_the_package_alone(settings: Settings, tmp_path: Path) -> None:
    with zipfile.ZipFile(package_zip(settings, tmp_path)) as archive:
        names = archive.namelist()
    assert "cloakhouse/__init__.py" in names
    assert "cloakhouse/stages/pseudonymize.py" in names
    assert all(name.startswith("cloakhouse/") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_driver_and_workers_run_the_zip_within_bounds(settings: Settings, temporary: Path) -> None:
    out = run_job(Job("probe", (), "local[2]", 120), settings)
    places = [out["driver"], *(place for worker in out["workers"] for place in worker[:2])]
    assert len(places) == 5
    assert all("/cloakhouse.zip/cloakhouse/" in place for place in places), places
    work = Path(out["conf"]["spark.local.dir"])
    assert work.parent == temporary
    assert not work.exists()  # removed with all it held
    assert out["java"] == str(work)
    assert {worker[2] for worker in out["workers"]} == {str(work)}
    assert out["home"] == str(settings.home)
    assert out["conf"] | {"spark.local.dir": ""} == {
        "spark.ui.enabled": "false",
        "spark.io.encryption.enabled": "true",
        "spark.authenticate": "true",
        "spark.local.dir": "",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.eventLog.enabled": "false",
    }
    assert len(out["secret"]) == 64
    assert len(out["commands"]) >= 3
    assert not [command for command in out["commands"] if out["secret"] in command]
    assert not processes_of(temporary)


def gone(temporary: Path, limit_s: float = 20) -> bool:
    """Return whether every process of the jobs in `temporary` ends within `limit_s`."""
    deadline = time.monotonic() + limit_s
    while processes_of(temporary) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not processes_of(temporary)


def test_a_job_over_its_time_is_ended_with_all_its_processes(settings: Settings, temporary: Path) -> None:
    started = time.monotonic()
    with pytest.raises(StageError) as caught:
        run_job(Job("hang", (), "local[2]", 3), settings)
    assert time.monotonic() - started < 45
    assert caught.value.code == "stage.spark"
    assert "within 3 s" in caught.value.expected
    assert caught.value.retryable
    assert gone(temporary)


def test_workers_that_hang_and_ignore_sigterm_are_ended_too(
    settings: Settings, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = settings.project / "begun"
    seen: list[str] = []

    class WhenBegun(threading.Timer):
        """Runs out as soon as a worker of the job hangs, however long Spark took to start it."""

        def run(self) -> None:
            while not begun.exists() and not self.finished.wait(0.1):
                pass
            seen.extend(processes_of(temporary).values())
            self.function(*self.args)

    monkeypatch.setattr(threading, "Timer", WhenBegun)
    with pytest.raises(StageError) as caught:
        run_job(Job("hang", (str(begun),), "local[2]", 240), settings)
    assert caught.value.code == "stage.spark"
    assert begun.exists()
    for part in ("SparkSubmit", "hang.py", "pyspark.daemon"):
        assert [command for command in seen if part in command]
    assert gone(temporary)


def test_a_job_that_ends_without_a_result_crashed(settings: Settings) -> None:
    with pytest.raises(StageError) as caught:
        run_job(Job("crash", (), "local[1]", 60), settings)
    assert caught.value.code == "stage.spark"
    assert "exit code 3" in caught.value.found


def fake_java(folder: Path, answer: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{answer}' >&2\n")
    program.chmod(0o755)
    return folder


def test_without_java_the_remedy_is_told_before_anything_starts(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    for home in (None, str(tmp_path / "nowhere")):
        if home is None:
            monkeypatch.delenv("JAVA_HOME", raising=False)
        else:
            monkeypatch.setenv("JAVA_HOME", home)
        with pytest.raises(MissingDependency) as caught:
            run_job(Job("probe", ()), settings)
        assert caught.value.code == "missing.java"
        assert caught.value.found == "no java program"
        assert "apt-get install openjdk-17" in caught.value.remedy
    assert not settings.home.exists()


@pytest.mark.parametrize(
    ("answer", "found"),
    [('openjdk version "11.0.2" 2019', "Java 11"), ('java version "1.8.0_202"', "Java 1"), ("hello", "no version")],
)
def test_an_old_or_strange_java_is_refused(tmp_path: Path, answer: str, found: str) -> None:
    home = fake_java(tmp_path / "java", answer)
    with pytest.raises(MissingDependency) as caught:
        check_java({"JAVA_HOME": str(home), "PATH": ""})
    assert found in caught.value.found


@pytest.mark.parametrize(
    "answer", ['openjdk version "17.0.15"', 'openjdk version "21" 2023-09-19', 'java version "25.0.1"']
)
def test_a_java_that_is_new_enough_passes(tmp_path: Path, answer: str) -> None:
    home = fake_java(tmp_path / "java", answer)
    check_java({"JAVA_HOME": str(home)})
    check_java({"PATH": f"/nowhere:{home / 'bin'}"})
