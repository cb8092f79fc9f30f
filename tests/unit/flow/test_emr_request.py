"""What EMR Serverless is asked for: nothing secret, protection on, code from the image; and what it may not be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.emr import APPLICATION, ROLE, _validate
from tests.support.spark_projects import private

from cloakhouse.errors import ConfigurationError
from cloakhouse.flow.emr_checks import check_endpoints, check_reachable
from cloakhouse.flow.emr_request import job_name, properties_of, request
from cloakhouse.flow.masters import Kind, fields_of, kind_of
from cloakhouse.flow.properties import submitted_properties
from cloakhouse.flow.submit import cluster_at
from cloakhouse.settings import Settings

GIVEN = {
    "application": APPLICATION,
    "role": ROLE,
    "region": "eu-west-1",
    "database_secret": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cloakhouse/url-AbCdEf",
    "spark_secret": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cloakhouse/spark-AbCdEf",
}
HUSH = "Zwetschgenhuber"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    base = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "secret home")})
    return replace(
        base,
        database=f"postgresql://cloakhouse:{HUSH}@localhost/control",
        keys="aws-kms:alias/cloakhouse?region=eu-west-1",
        store="s3://retail-lake/lake?region=eu-west-1",
    )


def fields() -> dict[str, str]:
    return fields_of("emr-serverless", GIVEN)


def test_emr_serverless_is_a_master() -> None:
    assert kind_of("emr-serverless") is Kind.EMR
    cluster = cluster_at("emr-serverless", None, {**GIVEN, "properties": "/etc/spark.conf"})
    assert (cluster.master, cluster.properties) == ("emr-serverless", Path("/etc/spark.conf"))
    assert dict(cluster.extra) == fields()


def test_the_request_has_the_form_of_the_api_and_no_secret(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "protect_customers")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", f"for {HUSH}")  # typed by somebody
    values = submitted_properties(settings, properties_of(settings, fields()))
    asked = request(fields(), "cloakhouse-x", "0a1b", "pseudonymize", ["--request", "r"], values, 3600.0)
    _validate("StartJobRun", asked)
    text = json.dumps(asked)
    assert HUSH not in text
    assert "secret home" not in text
    assert asked["jobDriver"]["sparkSubmit"] == {
        "entryPoint": "local:///opt/cloakhouse/spark_jobs/pseudonymize.py",
        "entryPointArguments": ["--request", "r"],
    }
    assert asked["executionTimeoutMinutes"] == 65
    assert asked["retryPolicy"] == {"maxAttempts": 1}
    monitoring = asked["configurationOverrides"]["monitoringConfiguration"]
    assert monitoring == {"managedPersistenceMonitoringConfiguration": {"enabled": False}}


def test_protection_is_that_of_other_masters_and_the_services_own(settings: Settings) -> None:
    values = submitted_properties(settings, properties_of(settings, fields()))
    assert {
        "spark.authenticate": "true",
        "spark.authenticate.secret": f"EMR.secret@{GIVEN['spark_secret']}",
        "spark.io.encryption.enabled": "true",
        "spark.network.crypto.enabled": "true",
        "spark.ssl.internode.enabled": "true",
        "spark.ui.enabled": "false",
        "spark.eventLog.enabled": "false",
        "spark.emr-serverless.driverEnv.CLOAKHOUSE_REGION": "eu-west-1",
        "spark.emr-serverless.driverEnv.CLOAKHOUSE_LAKE": settings.store,
        "spark.executorEnv.PYTHONPATH": "/opt/cloakhouse/plugins",
        "spark.executorEnv.PYSPARK_PYTHON": "/opt/venv/bin/python",
    }.items() <= values.items()
    assert "spark.driver.memory" not in values
    assert not [name for name in values if "CLOAKHOUSE_HOME" in name or "DATABASE" in name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.ssl.internode.enabled", "false"),
        ("spark.io.encryption.enabled", "false"),
        ("spark.authenticate", "false"),
        ("spark.authenticate.secret", HUSH),
        ("spark.emr-serverless.driverEnv.DB_PASSWORD", HUSH),
        ("spark.executorEnv.PYTHONPATH", "/elsewhere"),
    ],
)
def test_a_file_of_properties_can_not_end_it_nor_send_a_secret(
    settings: Settings, tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        submitted_properties(settings, properties_of(settings, fields()), private(tmp_path / "conf", {name: value}))
    assert refused.value.code == "configuration.spark-properties"
    assert HUSH not in str(refused.value)


def test_a_file_of_properties_sizes_the_job(settings: Settings, tmp_path: Path) -> None:
    file = private(tmp_path / "conf", {"spark.driver.memory": "6g", "spark.executor.cores": "4"})
    values = submitted_properties(settings, properties_of(settings, fields()), file)
    assert (values["spark.driver.memory"], values["spark.executor.cores"]) == ("6g", "4")


def test_a_job_is_named_by_lake_job_and_dataset(settings: Settings) -> None:
    name = job_name(settings, "synthesize", "baskets_private")
    assert name.endswith("-synthesize-baskets_private")
    assert name == job_name(replace(settings, home=Path("/other")), "synthesize", "baskets_private")
    assert name != job_name(replace(settings, store="s3://other"), "synthesize", "baskets_private")


@pytest.mark.parametrize(
    "change",
    [
        {"database": "sqlite:////tmp/control.db"},
        {"store": ""},
        {"store": "file:"},
        {"keys": "age:/var/keystore"},
        {"keys": "bao:https://bao.example:8200/transit?token-file=/run/token"},
        {"keys": "pkcs11:token=x?module-path=/lib/m.so&pin-source=file:/pin"},
        {"keys": "aws-kms:alias/cloakhouse?region=eu-west-1&ca=/etc/ca.pem"},
    ],
)
def test_engines_that_are_files_here_are_refused(settings: Settings, change: dict[str, str]) -> None:
    check_reachable(settings)
    with pytest.raises(ConfigurationError) as refused:
        check_reachable(replace(settings, **change))  # type: ignore[arg-type]
    assert refused.value.code == "configuration.away"
    assert "no job was submitted" in refused.value.not_done


@pytest.mark.parametrize(
    "change",
    [
        {"application": "UPPER"},
        {"role": "arn:aws:iam::1:user/x"},
        {"region": "Ireland"},
        {"database_secret": ""},
        {"spark_secret": "one two"},
        {"endpoint": "ftp://x"},
        {"password": HUSH},
    ],
)
def test_fields_of_another_form_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        fields_of("emr-serverless", {**GIVEN, **change})
    assert refused.value.code == "configuration.master"
    assert HUSH not in str(refused.value)


@pytest.mark.parametrize("endpoint", ["http://emr.example", "https://"])
def test_an_endpoint_in_the_clear_is_refused(endpoint: str) -> None:
    check_endpoints(fields())
    check_endpoints({**fields(), "endpoint": "https://vpce-1.emr-serverless.eu-west-1.vpce.amazonaws.com"})
    with pytest.raises(ConfigurationError):
        check_endpoints({**fields(), "secrets_endpoint": endpoint})
