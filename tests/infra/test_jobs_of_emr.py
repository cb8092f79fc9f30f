"""Jobs of EMR Serverless at AWS: what the platform makes for them is what their role reaches, and bags don't stay."""

import re

from tests.support.cloud import FOLDER, JOBS_READS, JOBS_WRITES, Account
from tests.support.cloud_access import shipped
from tests.support.cloud_probes import Probe

from cloakhouse.keys.signing import master
from cloakhouse.lake.sealed import SIGNER
from cloakhouse.stages import carried, sieve_lists

AT = Account()
TERRAFORM = FOLDER.parent


def _block(name: str, begin: str) -> str:
    text = (TERRAFORM / name).read_text(encoding="utf-8")
    found = re.search(rf"^( *){re.escape(begin)}.*?^\1}}", text, re.M | re.S)
    assert found, begin
    return found[0]


def test_bags_lie_where_the_role_and_the_lifecycle_rule_look() -> None:
    assert carried.FOLDER in JOBS_WRITES
    assert sieve_lists.FOLDER in JOBS_WRITES
    assert sieve_lists.FOLDER.partition("/")[0] in JOBS_READS
    lake = (TERRAFORM / "modules" / "lake" / "main.tf").read_text(encoding="utf-8")
    [rule] = [part for part in lake.split("\n  rule {\n") if '"jobs"' in part]
    assert f'prefix = "${{var.prefix}}/{carried.FOLDER}/"' in rule
    assert re.search(r"expiration \{\n +days = 1\n", rule)
    assert "noncurrent_days = 1\n" in rule


def test_a_job_signs_models_and_no_release() -> None:
    world = shipped()
    users = {key: document["Statement"] for key, document in world.keys.items() if key.startswith("signing/")}
    named = {key for key, statements in users.items() if AT.role("jobs") in str(statements)}
    assert named == {str(master(SIGNER))}


def test_a_job_reads_its_own_secrets_alone() -> None:
    base = f"arn:aws:secretsmanager:{AT.region}:{AT.account}:secret:"
    for name, may in (("cloakhouse/jobs/database-abcdef", True), ("cloakhouse/pgpass-abcdef", False)):
        probe = Probe("secretsmanager:GetSecretValue", "secret:x", base + name, {"aws:RequestedRegion": AT.region})
        assert shipped().may("jobs", probe) is may


def test_the_application_encrypts_what_workers_send_and_keeps_no_logs() -> None:
    application = _block("modules/spark/main.tf", 'resource "aws_emrserverless_application" "this" {')
    assert '"spark.ssl.internode.enabled" = "true"' in application
    assert re.search(r"managed_persistence_monitoring_configuration \{\n +enabled = false", application)
    reached = _block("modules/spark/main.tf", 'resource "aws_vpc_security_group_egress_rule" "database" {')
    assert "from_port         = 5432" in reached
    assert '"jobs" => module.security_group_id' in (TERRAFORM / "main.tf").read_text(encoding="utf-8")
