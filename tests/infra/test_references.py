"""The check of references in Terraform finds what leads nowhere, what isn't given or used, and circles."""

import copy

import pytest
from infra.checks.hcl_references import faults, graph

SOUND = {
    "": {
        "variable": [{"name": {}}],
        "locals": [{"arn": "arn:${module.keys.arn}"}],
        "module": [
            {"keys": {"source": "./modules/keys", "name": "${var.name}"}},
            {"lake": {"source": "./modules/lake", "key": "${local.arn}", "count": 1}},
        ],
        "output": [{"bucket": {"value": "${module.lake[0].bucket}"}}],
    },
    "keys": {
        "variable": [{"name": {}}],
        "resource": [{"aws_kms_key": {"one": {"description": "${var.name}: rds.force_ssl"}}}],
        "output": [{"arn": {"value": "${aws_kms_key.one.arn}"}}],
    },
    "lake": {
        "variable": [{"key": {}}, {"days": {"default": 7}}],
        "data": [{"aws_region": {"here": {}}}],
        "resource": [
            {"aws_s3_bucket": {"lake": {"bucket": "${data.aws_region.here.id}"}}},
            {
                "aws_s3_rule": {
                    "lake": {"key": "${var.key}", "days": "${var.days}", "depends_on": ["${aws_s3_bucket.lake}"]}
                }
            },
        ],
        "output": [{"bucket": {"value": "${aws_s3_bucket.lake.id}"}}],
    },
}


def _changed(change):
    modules = copy.deepcopy(SOUND)
    change(modules)
    return faults(modules)


def test_what_is_sound_has_no_fault():
    assert faults(SOUND) == []
    assert graph(SOUND)["", "local", "arn"] == {("keys", "output", "arn")}
    assert graph(SOUND)["", "output", "bucket"] == {("lake", "output", "bucket")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["keys"].pop("resource"), "keys: aws_kms_key.one, which isn't there"),
        (lambda m: m["keys"].pop("output"), "keys: output.arn, which isn't there"),
        (lambda m: m["lake"].pop("data"), "lake: data.aws_region.here, which isn't there"),
        (lambda m: m[""].pop("variable"), "root: var.name, which isn't there"),
        (lambda m: m[""]["module"][0]["keys"].pop("name"), "module.keys isn't given name"),
        (lambda m: m[""]["module"][0]["keys"].update(size="1"), "module.keys is given size, which it doesn't know"),
        (lambda m: m["lake"]["variable"].append({"more": {"default": 1}}), "var.more of lake is used by nothing"),
        (lambda m: m[""]["module"][0]["keys"].update(name="${local.arn}${var.name}"), "a circle: "),
    ],
)
def test_a_fault_is_found(change, said):
    found = _changed(change)
    assert any(said in line for line in found), found
