"""The pods that Spark asks Kubernetes for: Spark's own client, a stub of the API server, no pod that runs."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import Authority
from tests.support.kube_api import kube_api
from tests.support.spark_projects import private

from cloakhouse.errors import StageError
from cloakhouse.flow.submit import cluster_at, end_running_jobs, run_job
from cloakhouse.settings import Settings

pytestmark = [pytest.mark.spark, pytest.mark.cluster]
IMAGE = "registry.example/cloakhouse@sha256:" + "a" * 64
FIELDS = {"namespace": "retail", "service_account": "executor", "image": IMAGE}
WITHIN_S = 180.0
JOB = """
from pyspark.sql import SparkSession
SparkSession.builder.getOrCreate().range(2).count()  # waits for executors, which never come
"""
SECRET = "Zwetschgenhuber"


def test_executors_are_bound_and_hold_no_secret_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    base = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")})
    project = tmp_path / "project"
    shutil.copytree(base.project / "infra", project / "infra")
    (project / "plugins").symlink_to(base.project / "plugins")
    (project / "spark_jobs").mkdir()
    (project / "spark_jobs" / "wait.py").write_text(JOB)
    database = f"postgresql://cloakhouse:{SECRET}@localhost/control"
    settings = replace(base, project=project, database=database)
    authority = Authority(tmp_path / "tls")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with kube_api(authority.server()) as stub:
        more = {
            "spark.kubernetes.authenticate.caCertFile": str(authority.ca),
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executor.instances": "1",
        }
        extra = {**FIELDS, "properties": str(private(tmp_path / "job.conf", more))}
        cluster = cluster_at("k8s://https://127.0.0.1", stub.port, extra)
        ended = threading.Thread(target=lambda: (stub.pod.wait(WITHIN_S), end_running_jobs()), daemon=True)
        ended.start()
        with caplog.at_level("INFO"), pytest.raises(StageError):
            run_job(cluster.job("wait", (), WITHIN_S), settings)
        ended.join(10)
    assert stub.pod.is_set(), caplog.text[-3000:]
    pod = stub.made["pods"][0]
    assert pod["path"].startswith("/api/v1/namespaces/retail/pods")
    spec = pod["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("executor", False)
    assert spec["securityContext"]["runAsNonRoot"] is True
    [container] = spec["containers"]
    assert container["image"] == IMAGE
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    written = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert "/tmp" in written
    variables = {one["name"]: one.get("value", "") for one in container["env"]}
    assert variables["PYTHONPATH"] == "/opt/cloakhouse/plugins"
    assert len(variables["_SPARK_AUTH_SECRET"]) >= 32  # of this job alone, made by Spark
    assert not [name for name in variables if name.startswith(("CLOAKHOUSE", "AIRFLOW"))]
    assert SECRET not in json.dumps(stub.made) + caplog.text
    assert not _in(variables["_SPARK_AUTH_SECRET"], stub.made.get("configmaps", []))


def _in(secret: str, made: list[dict[str, Any]]) -> bool:
    return secret in json.dumps(made)
