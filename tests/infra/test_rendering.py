"""Policies as the tests render them are those that Terraform renders."""

import json
import os
import shutil
import subprocess
from dataclasses import asdict

import pytest
from tests.support.cloud import (
    FOLDER,
    Account,
    bucket_documents,
    key_document,
    platform,
    role_documents,
    service_key_documents,
)

MODULE = FOLDER.parent / "modules" / "policies"
STATEMENTS_LIMIT = 32768  # bytes of a key policy
INLINE_LIMIT = 10240  # characters of a role's inline policies, without white space
MANAGED_LIMIT = 6144  # of a boundary
TRUST_LIMIT = 2048


def _rendered_by_terraform(folder, at):
    work = folder / "modules" / "policies"
    shutil.copytree(MODULE, work, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    shutil.copytree(FOLDER, folder / "policies")
    people = [role for role, is_ in platform()["roles"].items() if is_["trust"] == "trust_person"]
    values = {**asdict(at), "members": {role: [at.member(role)] for role in people}}
    (work / "terraform.tfvars.json").write_text(json.dumps(values))
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def run(*arguments):
        command = ["terraform", f"-chdir={work}", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("init", "-input=false", "-no-color")
    run("apply", "-auto-approve", "-input=false", "-no-color")
    return {name: output["value"] for name, output in json.loads(run("output", "-json")).items()}


@pytest.mark.terraform
@pytest.mark.parametrize("image", ["", "ab" * 48])
def test_terraform_renders_the_same(tmp_path, image):
    at = Account(enclave_image_sha384=image)
    found = _rendered_by_terraform(tmp_path, at)
    assert set(found["roles"]) == set(platform()["roles"])
    for role, parts in found["roles"].items():
        ours = role_documents(at, role)
        assert json.loads(parts["trust"]) == ours["trust"]
        assert json.loads(found["role_policies"][role]) == ours["policy"]
        assert json.loads(found["boundaries"][parts["boundary_name"]]) == ours["boundary"]
    assert {k: json.loads(v) for k, v in found["master_keys"].items()} == {
        key: key_document(at, key) for key in platform()["keys"]
    }
    keys = {name: json.loads(found[f"{name}_key"]) for name in ("storage", "trail", "service")}
    assert keys == service_key_documents(at)
    buckets = {"lake": found["lake"], "trail": found["trail_bucket"], "access-logs": found["logs_bucket"]}
    assert {name: json.loads(text) for name, text in buckets.items()} == bucket_documents(at)


def _length(document):
    return len(json.dumps(document, separators=(",", ":")))


def test_documents_fit_what_aws_takes():
    at = Account(enclave_image_sha384="ab" * 48)
    for role in platform()["roles"]:
        documents = role_documents(at, role)
        assert _length(documents["trust"]) <= TRUST_LIMIT
        assert _length(documents["policy"]) <= INLINE_LIMIT
        assert _length(documents["boundary"]) <= MANAGED_LIMIT
    assert all(_length(key_document(at, key)) <= STATEMENTS_LIMIT for key in platform()["keys"])
    assert all(_length(document) <= 20480 for document in bucket_documents(at).values())
