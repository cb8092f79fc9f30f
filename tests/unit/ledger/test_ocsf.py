"""Entries as OCSF events: every action has a class, and every event what its class requires."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest

from cloakhouse.ledger.audit import Entry
from cloakhouse.ledger.audit_event import ALLOWED, FAILED, REFUSED, Action, Event, encode
from cloakhouse.ledger.merkle import leaf_hash
from cloakhouse.ledger.ocsf import FORMATS, to_ocsf
from cloakhouse.ledger.ocsf_classes import CATEGORY_NAMES, CLASS_NAMES, MAPPINGS, Class

ORIGIN = "cloakhouse/0123456789abcdef"
AT = dt.datetime(2026, 11, 22, 15, 0, 0, 123_456, tzinfo=dt.UTC)

# OCSF 1.6.0, `"requirement": "required"` in events/base_event.json and in the class's own file (and what it extends).
BASE = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
REQUIRED = {
    Class.SCHEDULED_JOB: {"actor", "device", "job"},  # system/system.json, system/scheduled_job_activity.json
    Class.COMPLIANCE_FINDING: {"finding_info", "compliance"},  # findings/finding.json, compliance_finding.json
    Class.DETECTION_FINDING: {"finding_info"},  # findings/finding.json
    Class.ENTITY_MANAGEMENT: {"entity"},  # iam/entity_management.json
    Class.USER_ACCESS: {"user", "privileges"},  # iam/user_access.json
    Class.API_ACTIVITY: {"actor", "api", "src_endpoint"},  # application/api_activity.json
    Class.DATASTORE_ACTIVITY: {"actor", "src_endpoint"},  # application/datastore_activity.json
    Class.SCAN_ACTIVITY: {"scan"},  # application/scan_activity.json
}
OBJECTS = {  # objects/*.json
    "metadata": {"product", "version"},
    "job": {"name", "file"},
    "device": {"type_id"},
    "finding_info": {"uid"},
    "compliance": {"standards"},
    "api": {"operation"},
    "scan": {"type_id"},
}
ACTIVITIES = {  # the captions of activity_id in the class's own file
    Class.SCHEDULED_JOB: {6: "Start"},
    Class.COMPLIANCE_FINDING: {1: "Create"},
    Class.DETECTION_FINDING: {1: "Create", 2: "Update"},
    Class.ENTITY_MANAGEMENT: {
        1: "Create",
        3: "Update",
        4: "Delete",
        6: "Enroll",
        8: "Enable",
        9: "Disable",
        11: "Deactivate",
    },
    Class.USER_ACCESS: {1: "Assign Privileges", 2: "Revoke Privileges"},
    Class.API_ACTIVITY: {2: "Read"},
    Class.DATASTORE_ACTIVITY: {
        1: "Read",
        2: "Update",
        4: "Query",
        5: "Write",
        6: "Create",
        7: "Delete",
        10: "Decrypt",
    },
    Class.SCAN_ACTIVITY: {2: "Completed"},
}


def entry(action: str, number: int = 7, **fields: Any) -> Entry:
    event = Event(**{"actor": "ann", "action": action, "object": "baskets@3", "at": AT, **fields})
    return Entry(number, event, encode(event))


@pytest.mark.parametrize("decision", [ALLOWED, REFUSED, FAILED])
@pytest.mark.parametrize("action", list(Action))
def test_every_action_has_a_class_and_what_it_requires(action: Action, decision: str) -> None:
    found = to_ocsf(entry(action, decision=decision), ORIGIN)
    kind = Class(found["class_uid"])
    assert set(found) >= BASE | REQUIRED[kind]
    for name, required in OBJECTS.items():
        if name in found:
            assert set(found[name]) >= required
    assert found["category_uid"] == kind // 1000
    assert found["category_name"] == CATEGORY_NAMES[kind // 1000]
    assert found["class_name"] == CLASS_NAMES[kind]
    assert found["type_uid"] == kind * 100 + found["activity_id"]
    assert found["actor"]["user"]["name"] == "ann"
    assert json.loads(json.dumps(found)) == found


def test_the_mapping_knows_every_action_and_only_activities_of_the_class() -> None:
    assert set(MAPPINGS) == set(Action)
    for mapping in MAPPINGS.values():
        assert ACTIVITIES[mapping.kind][mapping.activity_id] == mapping.activity


def test_a_datastore_activity_names_a_store_and_an_endpoint() -> None:
    found = to_ocsf(entry("query", dataset="baskets"), ORIGIN)
    assert found["databucket"] == {"name": "baskets", "uid": "baskets@3", "type_id": 99, "type": "dataset"}
    assert found["src_endpoint"]["name"] == ORIGIN  # objects/network_endpoint.json: at least one of ip, uid, name ...
    assert found["query_info"] == {"name": "baskets@3", "query_string": "baskets@3"}


def test_the_uid_is_the_origin_with_the_number_and_the_time_is_in_milliseconds() -> None:
    one = entry("read", 41, run="scheduled__2026")
    found = to_ocsf(one, ORIGIN)
    assert found["metadata"]["uid"] == f"{ORIGIN}:41"
    assert (found["metadata"]["sequence"], found["metadata"]["version"]) == (41, "1.6.0")
    assert found["metadata"]["correlation_uid"] == "scheduled__2026"
    assert found["time"] == 1_795_359_600_123
    assert found["unmapped"]["leaf"] == leaf_hash(one.content).hex()


def test_a_refusal_is_a_failure_with_its_code_and_a_higher_severity() -> None:
    found = to_ocsf(entry("use key", decision=REFUSED, code="access.key"), ORIGIN)
    assert (found["status_id"], found["status"], found["status_code"]) == (2, "Failure", "access.key")
    assert (found["severity_id"], found["status_detail"]) == (3, "refused")
    assert to_ocsf(entry("use key"), ORIGIN)["severity_id"] == 1


@pytest.mark.parametrize(("severity", "number"), [("low", 2), ("medium", 3), ("high", 4), ("critical", 5), ("?", 3)])
def test_an_alert_has_its_own_severity(severity: str, number: int) -> None:
    found = to_ocsf(entry("alert", facts={"severity": severity}), ORIGIN)
    assert (found["severity_id"], found["class_uid"], found["is_alert"]) == (number, 2004, True)


def test_a_failed_validation_is_a_new_finding_that_failed() -> None:
    found = to_ocsf(entry("validate", decision=REFUSED, dataset="baskets"), ORIGIN)
    assert (found["status_id"], found["compliance"]["status"], found["compliance"]["control"]) == (1, "Fail", "baskets")


def test_a_run_that_ended_and_a_verification_that_failed_are_other_activities() -> None:
    ended = to_ocsf(entry("run", facts={"state": "failed"}, decision=FAILED), ORIGIN)
    assert (ended["activity_id"], ended["activity_name"], ended["type_uid"]) == (99, "End: failed", 100_699)
    assert (ended["action"], ended["disposition_id"]) == ("Allowed", 27)
    failed = to_ocsf(entry("verify log", decision=FAILED, facts={"findings": 3}), ORIGIN)
    assert (failed["activity_id"], failed["num_detections"]) == (6, 3)


def test_who_gets_a_privilege_is_its_user() -> None:
    found = to_ocsf(entry("grant", object="protected/direct", facts={"principal": "bob"}), ORIGIN)
    assert (found["user"]["name"], found["privileges"], found["actor"]["user"]["name"]) == (
        "bob",
        ["protected/direct"],
        "ann",
    )


def test_reasons_and_versions_come_along() -> None:
    found = to_ocsf(entry("withdraw", reason="rows of a test store", facts={"version": 3}, role="officer"), ORIGIN)
    assert (found["comment"], found["entity"]["version"]) == ("rows of a test store", "3")
    assert found["actor"]["user"]["type"] == "officer"
    assert found["unmapped"]["facts"] == {"version": 3}
    assert to_ocsf(entry("acknowledge alert", reason="seen and fine"), ORIGIN)["comment"] == "seen and fine"


def test_an_action_of_a_later_version_is_a_base_event() -> None:
    found = to_ocsf(entry("teleport"), ORIGIN)
    assert (found["class_uid"], found["type_uid"], found["activity_name"]) == (0, 99, "teleport")
    assert set(found) >= BASE


def test_lines_hold_no_line_end_and_the_words_of_the_log_give_the_leaf_again() -> None:
    one = entry("hold", reason="für die Prüfung \u2028 im November".replace("\u2028", ""))
    for form in FORMATS.values():
        assert b"\n" not in form(one, ORIGIN)
    found = json.loads(FORMATS["jsonl"](one, ORIGIN))
    content = json.dumps(found["event"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert leaf_hash(content).hex() == found["leaf"]
    assert found["number"] == 7


def test_the_event_itself_is_told_without_its_time_twice() -> None:
    one = entry("land", count=12)
    assert to_ocsf(one, ORIGIN)["unmapped"] == {
        "action": "land",
        "object": "baskets@3",
        "count": 12,
        "decision": "allowed",
        "number": 7,
        "leaf": leaf_hash(one.content).hex(),
    }
    assert to_ocsf(Entry(8, replace(one.event, dag="d"), one.content), ORIGIN)["actor"]["app_name"] == "d"
