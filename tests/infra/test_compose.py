"""The compose project of infra/compose: it keeps the rules, the rules see changes, its parts fit each other."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.fernet import Fernet
from infra.checks.compose_form import FILE, VARIABLE, interpolated
from infra.checks.compose_rules import faults
from infra.images.entry import REQUIRED

Project = dict[str, Any]
PROJECT: Project = yaml.safe_load(FILE.read_text())
AIRFLOW = ("api-server", "dag-processor", "migrations", "scheduler", "triggerer")


def test_the_project_keeps_the_rules() -> None:
    assert faults(PROJECT) == []


MUTATIONS: dict[str, tuple[Callable[[Project], Any], str]] = {
    "privileged": (lambda s: s["openbao"].update(privileged=True), "openbao: privileged"),
    "a capability": (lambda s: s["s3"].update(cap_add=["SYS_ADMIN"]), "s3: cap_add"),
    "capabilities kept": (lambda s: s["s3"].pop("cap_drop"), "s3: capabilities"),
    "writable root": (lambda s: s["scheduler"].pop("read_only"), "scheduler: a root file system"),
    "new privileges": (lambda s: s["postgresql"].pop("security_opt"), "postgresql: may gain"),
    "root": (lambda s: s["triggerer"].update(user="0:0"), "triggerer: may run as root"),
    "root by default": (lambda s: s["triggerer"].pop("user"), "triggerer: may run as root"),
    "host network": (lambda s: s["spark-worker"].update(network_mode="host"), "network_mode"),
    "host processes": (lambda s: s["spark-worker"].update(pid="host"), "spark-worker: pid"),
    "no network": (lambda s: s["spark-worker"].pop("networks"), "the default network"),
    "a tag": (lambda s: s["s3"].update(image="docker.io/rclone/rclone:1.75"), "s3: an image"),
    "no digest wanted": (lambda s: s["s3"].update(image="rclone@sha256:${RCLONE_DIGEST:-}"), "s3: an image"),
    "no limit": (lambda s: s["scheduler"]["deploy"]["resources"]["limits"].pop("memory"), "no limit of memory"),
    "no limits": (lambda s: s["scheduler"].pop("deploy"), "no limit of pids"),
    "no health": (lambda s: s["openbao"].pop("healthcheck"), "openbao: no health check"),
    "health off": (lambda s: s["scheduler"].update(healthcheck={"disable": True}), "scheduler: no health"),
    "published": (lambda s: s["api-server"].update(ports=["8443:8080"]), "published beyond loopback"),
    "a path of the host": (lambda s: s["s3"].update(volumes=["/srv:/data"]), "a path of the host"),
    "the daemon": (
        lambda s: s["scheduler"].update(volumes=["/var/run/docker.sock:/var/run/docker.sock"]), "a path of the host",
    ),
    "a password": (lambda s: s["postgresql"]["environment"].update(POSTGRES_PASSWORD="x"), "looks like a secret"),
    "a password in a URL": (
        lambda s: s["triggerer"]["environment"].update(X="postgresql://a:b@postgresql/x"), "password in a URL",
    ),
    "a file of variables": (lambda s: s["triggerer"].update(env_file=".env"), "variables from a file"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_rules_see(name: str) -> None:
    project = copy.deepcopy(PROJECT)
    change, words = MUTATIONS[name]
    change(project["services"])
    assert any(words in fault for fault in faults(project)), faults(project)


def test_rules_see_networks_and_secrets() -> None:
    project = copy.deepcopy(PROJECT)
    project["networks"]["databases"] = {}
    project["secrets"]["spark"] = {"environment": "SPARK"}
    assert faults(project) == [
        "network databases: has a way out",
        "secret spark: not a file of the installation's folder",
    ]


def test_who_shares_a_network() -> None:
    shared = {
        network: {name for name, service in PROJECT["services"].items() if network in service["networks"]}
        for network in PROJECT["networks"]
    }
    assert shared == {
        "edge": {"api-server"},
        "control": {"api-server", "scheduler"},
        "databases": {"postgresql", *AIRFLOW},
        "stores": {"openbao", "s3", "spark-worker", *AIRFLOW},
        "spark": {"spark-master", "spark-worker", "scheduler"},
    }


def test_every_variable_has_to_be_given() -> None:
    text = FILE.read_text()
    assert all(found[1] or found[3] for found in VARIABLE.finditer(text))
    assert not re.findall(r"\$\{[^}]*:-", text)
    with pytest.raises(KeyError):
        interpolated(text, {})


def test_airflow_has_what_its_entry_wants() -> None:
    for name in AIRFLOW:
        service = PROJECT["services"][name]
        assert {*REQUIRED, "spark", "ca.crt"} <= set(service["secrets"]), name
        assert "/run/cloakhouse" in service["tmpfs"][0]


@pytest.mark.parametrize("name", ["spark-standalone.conf", "pg_hba.conf", "roles.sql", "openbao.hcl"])
def test_files_that_are_mounted_are_there(name: str) -> None:
    assert {"file": f"./{name}"} in PROJECT["configs"].values()
    assert (FILE.parent / name).stat().st_size


def test_the_platform_takes_the_settings() -> None:
    from cloakhouse.flow.masters import fields_of
    from cloakhouse.ledger.database_url import database_url

    settings = PROJECT["services"]["scheduler"]["environment"]
    for name in ("CLOAKHOUSE_DATABASE", "CLOAKHOUSE_AIRFLOW_DATABASE"):
        assert database_url(settings[name], {}).query["sslmode"] == "verify-full"
    connection = json.loads(settings["AIRFLOW_CONN_SPARK"])
    assert fields_of(connection["host"], connection["extra"]) == {}


@pytest.mark.openssl
def test_secrets_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    command = ["sh", str(FILE.parent / "secrets.sh"), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert {path.name for path in folder.iterdir()} >= set(PROJECT["secrets"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    if os.getuid() == 0:
        private = [name for name in PROJECT["secrets"] if name.endswith(".key")]
        assert {stat.S_IMODE((folder / name).stat().st_mode) for name in private} == {0o400}
    Fernet((folder / "airflow-fernet").read_bytes().strip())
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    for name in ("postgresql", "openbao", "s3", "api-server"):
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert name in names.get_values_for_type(x509.DNSName)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len({before[name] for name in ("airflow-jwt", "airflow-api", "spark", "postgres-password")}) == 4
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


FAKE = """#!/bin/sh
number=$(($(cat "$COUNT") + 1)); echo $number > "$COUNT"
[ $number -lt "$FAILS_FROM" ] && exec "$REAL" "$@"
[ "$HOW" = nothing ] && exit 0
[ "$HOW" = half ] && printf half
exit 1
"""


@pytest.mark.openssl
@pytest.mark.parametrize("how", ["nothing", "half", "failure"])
@pytest.mark.parametrize("call", [1, 2, 8, 14, 16, 18, 20])
def test_a_failure_of_openssl_leaves_no_file_that_is_not_whole(tmp_path: Path, how: str, call: int) -> None:
    folder, tools = tmp_path / "secrets", tmp_path / "tools"
    tools.mkdir()
    (tools / "openssl").write_text(FAKE)
    (tools / "openssl").chmod(0o755)
    (tmp_path / "count").write_text("0")
    real = shutil.which("openssl")
    assert real
    told = {"REAL": real, "COUNT": str(tmp_path / "count"), "FAILS_FROM": str(call), "HOW": how}
    environment = {**os.environ, **told, "PATH": f"{tools}:{os.environ['PATH']}"}
    command = ["sh", str(FILE.parent / "secrets.sh"), str(folder)]
    failed = subprocess.run(command, env=environment, check=False, capture_output=True, timeout=120)
    assert failed.returncode != 0
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert [name for name, content in made.items() if name.endswith(".new") or content in (b"", b"half")] in (
        [], ["bao-token"],
    )  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    kept = {name for name, content in made.items() if (folder / name).read_bytes() == content}
    assert {"airflow-fernet", "airflow-jwt"} & made.keys() <= kept
    Fernet((folder / "airflow-fernet").read_bytes().strip())
    assert len(json.loads((folder / "airflow-passwords").read_text())) == 5
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    for name in ("postgresql", "api-server"):
        x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes()).verify_directly_issued_by(authority)


def test_the_database_s_log_holds_no_statement_and_no_row() -> None:
    given = PROJECT["services"]["postgresql"]["command"]
    assert {"-clog_min_error_statement=panic", "-clog_error_verbosity=terse"} <= set(given)
    parameters = (FILE.parents[1] / "terraform" / "modules" / "database" / "main.tf").read_text()
    for name, value in (("log_min_error_statement", "panic"), ("log_error_verbosity", "terse")):
        assert re.search(rf'name  = "{name}"\n    value = "{value}"', parameters)
