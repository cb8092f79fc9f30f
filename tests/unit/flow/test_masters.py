"""What spark-submit is told for each master. Kubernetes and YARN don't run here: lines and properties are compared."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from tests.support.spark_projects import private

from cloakhouse.errors import ConfigurationError
from cloakhouse.flow.masters import Kind, fields_of, kind_of
from cloakhouse.flow.properties import write_properties
from cloakhouse.flow.submit import Cluster, _check_yarn, cluster_at, submit_command
from cloakhouse.settings import Settings

IMAGE = "registry.example/cloakhouse@sha256:" + "a" * 64
POD = {"namespace": "retail", "service_account": "executor", "image": IMAGE}
YARN = {"archive": "hdfs://nameservice/cloakhouse/environment.tar.gz", "queue": "retail"}
SAFE = {
    "spark.authenticate": "true",
    "spark.io.encryption.enabled": "true",
    "spark.io.encryption.keySizeBits": "256",
    "spark.network.crypto.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.eventLog.enabled": "false",
    "spark.submit.deployMode": "client",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")})


def properties(settings: Settings, cluster: Cluster, folder: Path) -> dict[str, str]:
    path = write_properties(settings, cluster.master, folder, cluster.properties, dict(cluster.extra))
    return dict(line.split(None, 1) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("master", "kind"),
    [
        ("local", Kind.LOCAL),
        ("local[*]", Kind.LOCAL),
        ("local[4,3]", Kind.LOCAL),
        ("spark://head:7077", Kind.STANDALONE),
        ("spark://one:7077,two:7077", Kind.STANDALONE),
        ("yarn", Kind.YARN),
        ("k8s://https://10.0.0.1:6443", Kind.KUBERNETES),
        ("k8s://https://rancher.example/k8s/clusters/c-1", Kind.KUBERNETES),
    ],
)
def test_masters_are_known_by_their_form(master: str, kind: Kind) -> None:
    assert kind_of(master) is kind


@pytest.mark.parametrize(
    "master",
    [
        "head:7077",
        "mesos://head",
        "k8s://http://head",
        "local[0]",
        "spark://head; rm",
        "yarn-cluster",
        "emr-serverless:443",
        "",
    ],
)
def test_any_other_master_is_refused(master: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        kind_of(master)
    assert refused.value.code == "configuration.master"


def test_on_kubernetes_code_comes_from_the_image_and_pods_are_bound(settings: Settings, tmp_path: Path) -> None:
    cluster = cluster_at("k8s://https://kube.example", 6443, POD)
    job = cluster.job("synthesize", ("--request", "r", "--sha256", "0" * 64))
    command = submit_command(job, settings, tmp_path / "p", tmp_path / "z.zip", tmp_path / "result.json")
    assert command[1:] == [
        *("--master", "k8s://https://kube.example:6443", "--name", "cloakhouse-synthesize"),
        *("--properties-file", str(tmp_path / "p"), str(settings.project / "spark_jobs" / "synthesize.py")),
        *("--request", "r", "--sha256", "0" * 64, "--result", str(tmp_path / "result.json")),
    ]
    values = properties(settings, cluster, tmp_path)
    assert SAFE.items() <= values.items()
    template = settings.project / "infra" / "spark" / "executor-pod.yaml"
    assert {key: value for key, value in values.items() if "kubernetes" in key and "imeout" not in key} == {
        "spark.kubernetes.namespace": "retail",
        "spark.kubernetes.container.image": IMAGE,
        "spark.kubernetes.authenticate.executor.serviceAccountName": "executor",
        "spark.kubernetes.executor.podTemplateFile": str(template),
        "spark.kubernetes.executor.podTemplateContainerName": "executor",
        "spark.kubernetes.executor.deleteOnTermination": "true",
        "spark.kubernetes.executor.enablePollingWithResourceVersion": "true",
    }
    assert "spark.authenticate.secret" not in values  # Spark makes one, and hands it to the pods
    assert values["spark.executorEnv.PYTHONPATH"] == "/opt/cloakhouse/plugins"
    assert values["spark.pyspark.python"] == "/opt/cloakhouse/.venv/bin/python"
    assert values["spark.pyspark.driver.python"] == sys.executable
    assert not [key for key in values if key.startswith("spark.executorEnv.CLOAKHOUSE")]


def test_the_executors_pod_is_not_root_and_its_root_is_read_only(settings: Settings) -> None:
    pod = yaml.safe_load((settings.project / "infra" / "spark" / "executor-pod.yaml").read_text())["spec"]
    [container] = pod["containers"]
    assert container["name"] == "executor"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10_000
    assert pod["automountServiceAccountToken"] is False


def test_on_yarn_python_comes_from_an_archive(settings: Settings, tmp_path: Path) -> None:
    cluster = cluster_at("yarn", None, YARN)
    job = cluster.job("pseudonymize", ())
    command = submit_command(job, settings, tmp_path / "p", tmp_path / "z.zip", tmp_path / "result.json")
    assert command[1:3] == ["--master", "yarn"]
    assert command[command.index("--py-files") + 1] == str(tmp_path / "z.zip")
    values = properties(settings, cluster, tmp_path)
    assert SAFE.items() <= values.items()
    assert "spark.authenticate.secret" not in values
    assert values["spark.yarn.dist.archives"] == "hdfs://nameservice/cloakhouse/environment.tar.gz#environment"
    assert values["spark.pyspark.python"] == "./environment/bin/python"
    assert (values["spark.yarn.queue"], values["spark.yarn.maxAppAttempts"]) == ("retail", "1")
    assert dict(cluster_at("yarn", None, {"archive": YARN["archive"]}).extra)["queue"] == "default"


def test_yarn_needs_its_configuration() -> None:
    _check_yarn("yarn", {"YARN_CONF_DIR": "/etc/hadoop"})
    _check_yarn("local[*]", {})
    with pytest.raises(ConfigurationError) as refused:
        _check_yarn("yarn", {"HADOOP_CONF_DIR": ""})
    assert "HADOOP_CONF_DIR" in refused.value.expected


@pytest.mark.parametrize(
    ("host", "extra"),
    [
        ("k8s://https://kube.example", {}),
        ("k8s://https://kube.example", {**POD, "image": "registry.example/cloakhouse:latest"}),
        ("k8s://https://kube.example", {**POD, "namespace": "Retail; x"}),
        ("k8s://https://kube.example", {**POD, "password": "hush"}),
        ("k8s://https://kube.example", {**POD, "python": 3}),
        ("yarn", {"queue": "retail"}),
        ("yarn", {"archive": "http://somewhere/environment.tar.gz"}),
        ("local[*]", {"namespace": "retail"}),
        ("spark://head:7077", {"secret": "hush"}),
    ],
)
def test_a_field_that_is_missing_unknown_or_malformed_is_refused(host: str, extra: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        cluster_at(host, None, extra)
    assert refused.value.code == "configuration.master"
    assert "hush" not in str(refused.value)
    assert "Retail" not in str(refused.value)


@pytest.mark.parametrize(
    ("cluster", "name", "value"),
    [
        (cluster_at("k8s://https://kube.example", None, POD), "spark.submit.deployMode", "cluster"),
        (
            cluster_at("k8s://https://kube.example", None, POD),
            "spark.kubernetes.executor.podTemplateFile",
            "/other.yaml",
        ),
        (cluster_at("k8s://https://kube.example", None, POD), "spark.authenticate", "false"),
        (cluster_at("yarn", None, YARN), "spark.submit.deployMode", "cluster"),
        (cluster_at("yarn", None, YARN), "spark.network.crypto.enabled", "false"),
        (cluster_at("spark://head:7077", None, {}), "spark.submit.deployMode", "cluster"),
    ],
)
def test_properties_of_a_cluster_can_not_end_its_protection(
    settings: Settings, tmp_path: Path, cluster: Cluster, name: str, value: str
) -> None:
    file = private(tmp_path / "cluster.conf", {name: value})
    with pytest.raises(ConfigurationError) as refused:
        write_properties(settings, cluster.master, tmp_path, file, dict(cluster.extra))
    assert refused.value.code == "configuration.spark-properties"
    assert not (tmp_path / "spark.properties").exists()


def test_local_and_standalone_need_nothing_more() -> None:
    assert fields_of("local[*]", {"properties": "/x"}) == {}
    assert cluster_at("spark://head", 7077, {"properties": "/x"}) == Cluster("spark://head:7077", Path("/x"))
