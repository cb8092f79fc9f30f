"""The images' recipe and entries: what they are built from, and what becomes of secrets when a container starts."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from infra.images import entry, health, spark_process

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "infra" / "images"
RECIPE = (IMAGES / "Dockerfile").read_text()
STAGES = {part.split()[0]: part for part in re.split(r"^FROM \S+ AS ", RECIPE, flags=re.M)[1:]}
DATABASE = "postgresql://airflow@database.example/airflow?sslrootcert=/etc/ca.crt"


def test_bases_are_named_by_digests_without_defaults() -> None:
    froms = re.findall(r"^FROM (\S+)", RECIPE, flags=re.M)
    outside = [name for name in froms if name not in STAGES]
    assert outside
    assert all(re.fullmatch(r"[a-z0-9./:-]+@sha256:\$\{[A-Z]+_DIGEST\}", name) for name in outside)
    assert not re.findall(r"^ARG \w+=", RECIPE, flags=re.M)


@pytest.mark.parametrize("target", ["airflow", "spark", "client"])
def test_targets_run_as_nobody_special(target: str) -> None:
    stage = STAGES[target]
    assert re.findall(r"^USER (.*)$", stage, flags=re.M) == ["10001:10001"]
    assert "HEALTHCHECK" in stage
    assert stage.count("org.opencontainers.image.") >= 5
    for word in ("ENTRYPOINT", "CMD"):
        assert re.search(rf"^{word} \[", stage, flags=re.M), f"{word} needs a shell"


def test_packages_are_installed_by_hash() -> None:
    installs = re.findall(r"pip install ((?:[^\n]|\\\n)*)", RECIPE)
    assert len(installs) >= 5
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


@pytest.mark.parametrize("name", ["build", "client", "platform"])
def test_requirements_have_hashes(name: str) -> None:
    text = (IMAGES / f"requirements-{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines
    assert all(re.match(r"[A-Za-z0-9._-]+==\S+ +--hash=sha256:[0-9a-f]{64}", line) for line in lines)


@pytest.mark.parametrize("name", ["client", "platform"])
def test_requirements_are_the_locked_versions(name: str) -> None:
    pinned = re.compile(r"^([A-Za-z0-9._-]+==[^\s;\\]+)", flags=re.M)
    locked = set(pinned.findall((ROOT / "requirements.txt").read_text()))
    image = set(pinned.findall((IMAGES / f"requirements-{name}.txt").read_text()))
    assert {line for line in image - locked if not line.startswith(("setuptools==", "pip=="))} == set()


def test_context_is_an_allow_list() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert all(not line.startswith(("!.", "!var", "!tests")) for line in lines)
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", RECIPE, flags=re.M) for word in line.split()}
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert all(any(path == name or path.startswith(f"{name}/") for name in allowed) for path in copied)
    assert all((ROOT / path).exists() for path in copied)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    texts = {name: f"{name}-planted" for name in ("airflow-fernet", "airflow-jwt", "airflow-api", "spark")}
    users = ("admin", "engineer", "model", "auditor", "approver")
    texts |= {"pgpass": "*:*:*:*:pgpass-planted", "airflow-passwords": json.dumps(dict.fromkeys(users, "x-planted"))}
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    return folder


def given(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"CLOAKHOUSE_HOME": str(tmp_path / "home"), "CLOAKHOUSE_AIRFLOW_DATABASE": DATABASE, **more}


def test_secrets_become_private_files_and_no_variable(tmp_path: Path, secrets: Path) -> None:
    private = tmp_path / "run" / "private"
    environment = entry.prepare(secrets, private, ROOT, given(tmp_path))
    again = entry.prepare(secrets, private, ROOT, given(tmp_path))  # a container that starts once more
    assert again == environment
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    files = [path for path in private.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not [name for name, value in environment.items() if "planted" in value]
    assert environment["PGPASSFILE"] == str(private / "pgpass")
    text = (private / "airflow.cfg").read_text()
    assert "fernet_key = airflow-fernet-planted" in text
    assert text.count("sslmode=verify-full") == 2
    assert text.count("postgresql+psycopg://") == 2
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS" not in environment


def test_what_is_given_wins_over_the_fixed_settings(tmp_path: Path, secrets: Path) -> None:
    more = {"AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "True", "DEV": "1"}
    environment = entry.prepare(secrets, tmp_path / "p", ROOT, given(tmp_path, **more))
    assert environment["AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK"] == "True"
    assert environment["DEV"] == ""
    assert environment["AIRFLOW__CORE__XCOM_BACKEND"].endswith("ReferencesOnlyXCom")


@pytest.mark.parametrize("name", entry.REQUIRED)
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_secret_starts_nothing(tmp_path: Path, secrets: Path, name: str, empty: bool) -> None:
    (secrets / name).write_text("") if empty else (secrets / name).unlink()
    with pytest.raises(entry.Refused, match=name):
        entry.prepare(secrets, tmp_path / "p", ROOT, given(tmp_path))
    assert not (tmp_path / "p" / "airflow.cfg").exists()


@pytest.mark.parametrize(
    "url", ["", "sqlite:////x.db", "postgresql://a:secret@h/n", "postgresql://a@h/n?sslmode=require"]
)
def test_an_unsafe_database_starts_nothing(tmp_path: Path, secrets: Path, url: str) -> None:
    with pytest.raises(entry.Refused) as refused:
        entry.prepare(secrets, tmp_path / "p", ROOT, given(tmp_path, CLOAKHOUSE_AIRFLOW_DATABASE=url))
    assert "secret@" not in str(refused.value)


def test_users_without_passwords_start_nothing(tmp_path: Path, secrets: Path) -> None:
    (secrets / "airflow-passwords").write_text('{"admin": "x-planted"}')
    with pytest.raises(entry.Refused) as refused:
        entry.prepare(secrets, tmp_path / "p", ROOT, given(tmp_path))
    assert "planted" not in str(refused.value)


def test_the_entry_becomes_the_command(tmp_path: Path, secrets: Path) -> None:
    private = tmp_path / "p"
    code = (
        "import sys; from pathlib import Path; from infra.images import entry; "
        f"entry.PRIVATE, entry.PROJECT = Path({str(private)!r}), Path({str(ROOT)!r}); "
        "sys.exit(entry.main([sys.executable, '-c', 'import os; print(os.environ[\"AIRFLOW_CONFIG\"])']))"
    )
    environment = {**os.environ, **given(tmp_path), "CLOAKHOUSE_SECRETS": str(secrets)}
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout.strip() == str(private / "airflow.cfg"), answer.stderr
    (secrets / "pgpass").unlink()
    refused = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode == 2
    assert "pgpass" in refused.stderr


DRIVER = {
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@driver:7078",
    "SPARK_EXECUTOR_ID": "1",
    "SPARK_EXECUTOR_CORES": "2",
    "SPARK_EXECUTOR_MEMORY": "3g",
    "SPARK_APPLICATION_ID": "app",
    "SPARK_EXECUTOR_POD_IP": "10.0.0.1",
    "SPARK_EXECUTOR_POD_NAME": "exec-1",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_JAVA_OPT_10": "-Dten",
    "SPARK_JAVA_OPT_2": "-Dtwo",
}


def test_an_executor_is_started_as_its_driver_says() -> None:
    command = spark_process.executor(DRIVER)
    assert command[:5] == ["/usr/bin/java", "-Dtwo", "-Dten", "-Xms3g", "-Xmx3g"]
    at = command.index(spark_process.BACKEND)
    assert dict(zip(command[at + 1 :: 2], command[at + 2 :: 2], strict=True)) == {
        flag: DRIVER[name] for flag, name in spark_process.EXECUTOR.items()
    }


@pytest.mark.parametrize("name", [*spark_process.EXECUTOR.values(), "SPARK_EXECUTOR_MEMORY"])
def test_an_executor_without_its_driver_is_refused(name: str) -> None:
    with pytest.raises(spark_process.Refused, match=name):
        spark_process.executor({key: value for key, value in DRIVER.items() if key != name})


def test_the_classes_are_in_the_installed_spark() -> None:
    spec = find_spec("pyspark")
    assert spec
    assert spec.origin
    jars = Path(spec.origin).parent / "jars"
    wanted = {spark_process.BACKEND: "spark-kubernetes_*"}
    wanted |= {f"{spark_process.DEPLOY}.{name}": "spark-core_*" for name in ("master.Master", "worker.Worker")}
    for name, jar in wanted.items():
        [archive] = jars.glob(f"{jar}.jar")
        assert f"{name.replace('.', '/')}.class" in zipfile.ZipFile(archive).namelist()


@pytest.mark.parametrize("role", ["master", "worker"])
def test_a_standalone_cluster_has_its_secret_in_a_file(tmp_path: Path, role: str) -> None:
    (tmp_path / "spark").write_text("spark-planted\n")
    environment = {"CLOAKHOUSE_SPARK_SECRET": str(tmp_path / "spark"), "CLOAKHOUSE_SPARK_NAME": "here"}
    command = spark_process.standalone(role, environment, tmp_path / "private")
    assert "planted" not in " ".join(command)
    properties = tmp_path / "private" / "spark.conf"
    assert stat.S_IMODE(properties.stat().st_mode) == 0o600
    assert "spark.authenticate.secret spark-planted\n" in properties.read_text()
    assert command[command.index("--properties-file") + 1] == str(properties)
    (tmp_path / "spark").write_text("")
    with pytest.raises(spark_process.Refused):
        spark_process.standalone(role, environment, tmp_path / "private")


def test_health_knows_the_components() -> None:
    assert health.component(b"/opt/venv/bin/python\0/opt/venv/bin/airflow\0api-server\0--port\0") == "api-server"
    assert health.component(b"airflow\0db\0migrate\0") == ""
    assert not health.answers("http://127.0.0.1:9/")
    assert not spark_process.alive([b"python\0"], {})
    assert spark_process.alive([b"java\0org.apache.spark.deploy.worker.Worker\0"], {})
