"""Entries of the audit log as events of the Open Cybersecurity Schema Framework 1.6.0, for a SIEM.

`metadata.uid` is the log's origin with the entry's number: unique, and the same whenever an entry is sent again, so a
SIEM drops what came twice by it. What has no place in the schema is under `unmapped`, with the hash of the leaf, by
which anybody finds the entry in the tree. An entry holds no value of a person, and so neither does what comes of it.

Source: OCSF 1.6.0, `events/base_event.json` and the classes in `cloakhouse.ledger.ocsf_classes`; `objects/` for what
they are made of. `type_uid` is class_uid * 100 + activity_id (`dictionary.json`, type_uid).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from cloakhouse.ledger.audit import Entry
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED, VERSION, Action, Event
from cloakhouse.ledger.merkle import leaf_hash
from cloakhouse.ledger.ocsf_classes import CATEGORY_NAMES, CLASS_NAMES, MAPPINGS, OCSF_VERSION, OTHER, Class, Mapping

PRODUCT = "Cloakhouse"
UNKNOWN_CLASS = 0  # Base Event
SEVERITIES = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ENDED = ("success", "succeeded", "failed", "skipped", "up_for_retry", "upstream_failed")  # states of runs and tasks
_PROFILES = {  # whose attributes a class takes on beside its own: dispositions, and who acted
    Class.SCHEDULED_JOB: "security_control",
    Class.COMPLIANCE_FINDING: "host",
    Class.DETECTION_FINDING: "host",
    Class.SCAN_ACTIVITY: "host",
}
_CONTEXT = ("actor", "at", "facts")  # told elsewhere than under `unmapped`


def to_ocsf(entry: Entry, origin: str) -> dict[str, Any]:
    """Return `entry` of the log `origin` as an OCSF event, JSON-ready, `time` in milliseconds since 1970.

    Every action has a class; one that this version doesn't know becomes a Base Event (class_uid 0, activity Other).
    """
    event = entry.event
    mapping = _mapping(event)
    class_uid = UNKNOWN_CLASS if mapping is None else int(mapping.kind)
    activity_id, activity = _activity(event, mapping)
    common = {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": class_uid // 1000,
        "category_name": CATEGORY_NAMES.get(class_uid // 1000, "Uncategorized"),
        "class_uid": class_uid,
        "class_name": "Base Event" if mapping is None else CLASS_NAMES[mapping.kind],
        "type_uid": class_uid * 100 + activity_id,
        "time": _milliseconds(event),
        "severity_id": severity_of(event),
        "metadata": _metadata(entry, origin),
        "message": _message(event),
        **_status(event),
        "unmapped": _unmapped(entry),
    }
    return common if mapping is None else common | _BY_CLASS[mapping.kind](event, mapping, origin)


def ocsf_line(entry: Entry, origin: str) -> bytes:
    """Return `entry` as one line of JSON in UTF-8, without the line's end."""
    return _line(to_ocsf(entry, origin))


def jsonl_line(entry: Entry, origin: str) -> bytes:
    """Return `entry` in the log's own words as one line of JSON in UTF-8, without the line's end.

    `event` is the content that was hashed: in canonical form again, its leaf hash is `leaf`.
    """
    content = {"event": json.loads(entry.content), "leaf": leaf_hash(entry.content).hex()}
    return _line({**content, "number": entry.number, "origin": origin})


FORMATS: dict[str, Callable[[Entry, str], bytes]] = {"ocsf": ocsf_line, "jsonl": jsonl_line}


def severity_of(event: Event) -> int:
    """Return the `severity_id`: an alert's own; else 1 (informational), 3 for what was refused or failed."""
    if event.action == Action.ALERT:
        return SEVERITIES.get(str(event.facts.get("severity", "")), 3)
    return 1 if event.decision == ALLOWED else 3


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def _mapping(event: Event) -> Mapping | None:
    return MAPPINGS.get(Action(event.action)) if event.action in set(Action) else None


def _activity(event: Event, mapping: Mapping | None) -> tuple[int, str]:
    if mapping is None:
        return OTHER, event.action
    if mapping.kind is Class.SCHEDULED_JOB and event.facts.get("state") in _ENDED:
        return OTHER, f"End: {event.facts['state']}"
    if mapping.kind is Class.SCAN_ACTIVITY and event.decision != ALLOWED:
        return 6, "Error"
    return mapping.activity_id, mapping.activity


def _milliseconds(event: Event) -> int:
    assert event.at is not None
    return (event.at - _EPOCH) // dt.timedelta(milliseconds=1)


def _metadata(entry: Entry, origin: str) -> dict[str, Any]:
    event = entry.event
    found = {
        "uid": f"{origin}:{entry.number}",
        "sequence": entry.number,
        "version": OCSF_VERSION,
        "log_name": "audit",
        "log_provider": origin,
        "log_version": str(VERSION),
        "event_code": event.code or event.action,
        "product": {"name": PRODUCT, "vendor_name": PRODUCT},
    }
    mapping = _mapping(event)
    if mapping is not None and mapping.kind in _PROFILES:
        found["profiles"] = [_PROFILES[mapping.kind]]
    return found | ({"correlation_uid": event.run} if event.run else {})


def _status(event: Event) -> dict[str, Any]:
    success = event.decision == ALLOWED
    found = {"status_id": 1 if success else 2, "status": "Success" if success else "Failure"}
    detail = {"status_code": event.code} if event.code else {}
    return {**found, **detail, "status_detail": event.decision}


def _message(event: Event) -> str:
    """Return a sentence: who did what, and what came of it."""
    return f"{event.actor}: {event.action} {event.object}: {event.decision}"


def _unmapped(entry: Entry) -> dict[str, Any]:
    fields = {k: v for k, v in entry.event.as_dict().items() if k not in _CONTEXT and v not in ("", 0, {}, None)}
    facts = dict(entry.event.facts)
    return {**fields, "number": entry.number, "leaf": leaf_hash(entry.content).hex()} | (
        {"facts": facts} if facts else {}
    )


def _user(event: Event) -> dict[str, Any]:
    return {"name": event.actor, "uid": event.actor} | ({"type": event.role} if event.role else {})


def _actor(event: Event) -> dict[str, Any]:
    return {"actor": {"user": _user(event), "app_name": event.dag or "cloakhouse"}}


def _endpoint(event: Event, origin: str) -> dict[str, Any]:
    return {"src_endpoint": {"name": origin, "svc_name": event.task or event.dag or "cloakhouse"}}


def _resource(event: Event, mapping: Mapping) -> dict[str, Any]:
    return {"name": event.object, "uid": event.object, "type": mapping.about}


def _datastore(event: Event, mapping: Mapping, origin: str) -> dict[str, Any]:
    named = {"name": event.dataset or event.object, "uid": event.object, "type_id": OTHER, "type": mapping.about}
    bucket = {"databucket": named}
    asked = {"query_info": {"name": event.object, "query_string": event.object}} if mapping.activity_id == 4 else {}
    return {**_actor(event), **_endpoint(event, origin), **bucket, **asked, "type_id": 2, "type": "Databucket"}


def _api(event: Event, mapping: Mapping, origin: str) -> dict[str, Any]:
    api = {"operation": event.action, "service": {"name": "key service"}}
    return {**_actor(event), **_endpoint(event, origin), "api": api, "resources": [_resource(event, mapping)]}


def _entity(event: Event, mapping: Mapping, origin: str) -> dict[str, Any]:
    version = event.facts.get("version")
    entity = _resource(event, mapping) | ({"version": str(version)} if version is not None else {})
    comment = {"comment": event.reason} if event.reason else {}
    return {**_actor(event), **_endpoint(event, origin), "entity": entity, **comment}


def _access(event: Event, mapping: Mapping, origin: str) -> dict[str, Any]:
    name = str(event.facts.get("principal") or event.facts.get("to") or event.object)
    return {
        **_actor(event),
        **_endpoint(event, origin),
        "user": {"name": name, "uid": name},
        "privileges": [event.object],
        "resources": [_resource(event, mapping)],
    }


def _job(event: Event, mapping: Mapping, origin: str) -> dict[str, Any]:
    allowed = event.decision == ALLOWED
    blocked = event.decision == REFUSED
    return {
        **_actor(event),
        "device": {"name": origin, "type_id": 0},
        "job": {"name": event.object, "file": {"name": event.dag or event.object, "type_id": 0}, "desc": mapping.about},
        "action_id": 2 if blocked else 1,
        "action": "Denied" if blocked else "Allowed",
        "disposition_id": 1 if allowed else 2 if blocked else 27,
        "disposition": "Allowed" if allowed else "Blocked" if blocked else "Error",
    }


def _finding(event: Event, origin: str, title: str) -> dict[str, Any]:
    uid = f"{origin}:{event.object}"
    return {"uid": uid, "title": title, "created_time": _milliseconds(event), "types": [event.action]}


def _compliance(event: Event, mapping: Mapping, origin: str) -> dict[str, Any]:
    passed = event.decision == ALLOWED
    return {
        **_actor(event),
        "status_id": 1,  # of the finding: new
        "status": "New",
        "finding_info": _finding(event, origin, f"validation of {event.object}"),
        "compliance": {
            "standards": ["cloakhouse data contract"],
            "control": event.dataset or event.object,
            "status_id": 1 if passed else 3,
            "status": "Pass" if passed else "Fail",
        },
        "resources": [_resource(event, mapping)],
    }


def _detection(event: Event, mapping: Mapping, origin: str) -> dict[str, Any]:
    new = mapping.activity_id == 1
    comment = {"comment": event.reason} if event.reason else {}
    return {
        **_actor(event),
        "status_id": 1 if new else 2,
        "status": "New" if new else "In Progress",
        "finding_info": _finding(event, origin, event.object),
        "is_alert": new,
        "resources": [_resource(event, mapping)],
        **comment,
    }


def _scan(event: Event, mapping: Mapping, _origin: str) -> dict[str, Any]:
    scan = {"name": event.object, "type_id": OTHER, "type": mapping.about}
    found = event.facts.get("findings")
    counted = {"num_detections": found} if isinstance(found, int) else {}
    return {**_actor(event), "scan": scan, "total": event.count, **counted}


_BY_CLASS: dict[Class, Callable[[Event, Mapping, str], dict[str, Any]]] = {
    Class.SCHEDULED_JOB: _job,
    Class.COMPLIANCE_FINDING: _compliance,
    Class.DETECTION_FINDING: _detection,
    Class.ENTITY_MANAGEMENT: _entity,
    Class.USER_ACCESS: _access,
    Class.API_ACTIVITY: _api,
    Class.DATASTORE_ACTIVITY: _datastore,
    Class.SCAN_ACTIVITY: _scan,
}
