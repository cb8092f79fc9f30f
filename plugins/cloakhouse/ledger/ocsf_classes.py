"""Which class and activity of the Open Cybersecurity Schema Framework each action of the audit log is.

Source: OCSF 1.6.0 (1 August 2025), https://schema.ocsf.io/1.6.0: `events/` has the classes and their activities.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cloakhouse.ledger.audit_event import Action

OCSF_VERSION = "1.6.0"
OTHER = 99


class Class(IntEnum):
    """Classes by `class_uid`; the thousands are the category."""

    SCHEDULED_JOB = 1006
    COMPLIANCE_FINDING = 2003
    DETECTION_FINDING = 2004
    ENTITY_MANAGEMENT = 3004
    USER_ACCESS = 3005
    API_ACTIVITY = 6003
    DATASTORE_ACTIVITY = 6005
    SCAN_ACTIVITY = 6007


CLASS_NAMES = {
    Class.SCHEDULED_JOB: "Scheduled Job Activity",
    Class.COMPLIANCE_FINDING: "Compliance Finding",
    Class.DETECTION_FINDING: "Detection Finding",
    Class.ENTITY_MANAGEMENT: "Entity Management",
    Class.USER_ACCESS: "User Access Management",
    Class.API_ACTIVITY: "API Activity",
    Class.DATASTORE_ACTIVITY: "Datastore Activity",
    Class.SCAN_ACTIVITY: "Scan Activity",
}
CATEGORY_NAMES = {
    1: "System Activity",
    2: "Findings",
    3: "Identity & Access Management",
    6: "Application Activity",
}


@dataclass(frozen=True)
class Mapping:
    """What one action is in OCSF: its class, the activity's number and caption, and the kind of thing it is about."""

    kind: Class
    activity_id: int
    activity: str
    about: str = ""


def _data(activity_id: int, activity: str, about: str = "dataset") -> Mapping:
    return Mapping(Class.DATASTORE_ACTIVITY, activity_id, activity, about)


def _entity(activity_id: int, activity: str, about: str) -> Mapping:
    return Mapping(Class.ENTITY_MANAGEMENT, activity_id, activity, about)


MAPPINGS: dict[Action, Mapping] = {
    Action.LAND: _data(5, "Write"),
    Action.PSEUDONYMIZE: _data(2, "Update"),
    Action.READ: _data(1, "Read"),
    Action.SYNTHESIZE: _data(6, "Create"),
    Action.QUERY: _data(4, "Query"),
    Action.DELETE: _data(7, "Delete"),
    Action.ERASE: _data(7, "Delete"),
    Action.DETOKENIZE: _data(10, "Decrypt", "column"),
    Action.LINK: _data(1, "Read", "tokens"),
    Action.ASSET: _data(2, "Update", "asset"),
    Action.EXPORT_LOG: _data(1, "Read", "audit log"),
    Action.VALIDATE: Mapping(Class.COMPLIANCE_FINDING, 1, "Create", "dataset"),
    Action.APPROVE: _entity(3, "Update", "evidence"),
    Action.PUBLISH: _entity(1, "Create", "release"),
    Action.ROLL_BACK: _entity(3, "Update", "release"),
    Action.WITHDRAW: _entity(9, "Disable", "release"),
    Action.EXPIRE: _entity(11, "Deactivate", "release"),
    Action.TAG: _entity(3, "Update", "release"),
    Action.UNTAG: _entity(3, "Update", "release"),
    Action.HOLD: _entity(3, "Update", "release"),
    Action.LIFT_HOLD: _entity(3, "Update", "release"),
    Action.SPEND: _entity(3, "Update", "privacy budget"),
    Action.GIVE_BACK: _entity(3, "Update", "privacy budget"),
    Action.MAKE_KEY: _entity(1, "Create", "key"),
    Action.ROTATE_KEY: _entity(3, "Update", "key"),
    Action.REWRITE_KEY: _entity(3, "Update", "key"),
    Action.DISABLE_KEY: _entity(9, "Disable", "key"),
    Action.ENABLE_KEY: _entity(8, "Enable", "key"),
    Action.SHRED_KEY: _entity(4, "Delete", "key"),
    Action.ENROL: _entity(6, "Enroll", "principal"),
    Action.USE_KEY: Mapping(Class.API_ACTIVITY, 2, "Read", "key"),
    Action.EXPORT_TOKENIZATION: Mapping(Class.API_ACTIVITY, 2, "Read", "key"),
    Action.GRANT: Mapping(Class.USER_ACCESS, 1, "Assign Privileges", "grant"),
    Action.REVOKE: Mapping(Class.USER_ACCESS, 2, "Revoke Privileges", "grant"),
    Action.RUN: Mapping(Class.SCHEDULED_JOB, 6, "Start", "DAG"),
    Action.TASK: Mapping(Class.SCHEDULED_JOB, 6, "Start", "task"),
    Action.ALERT: Mapping(Class.DETECTION_FINDING, 1, "Create", "alert"),
    Action.ACKNOWLEDGE: Mapping(Class.DETECTION_FINDING, 2, "Update", "alert"),
    Action.VERIFY_LOG: Mapping(Class.SCAN_ACTIVITY, 2, "Completed", "audit log"),
    Action.MEASURE_COVERAGE: Mapping(Class.SCAN_ACTIVITY, 2, "Completed", "lake"),
    Action.RECORD_CONSENT: _entity(3, "Update", "consent register"),
    Action.PIN_CONSENT: _data(1, "Read", "consent register"),
    Action.REQUEST_ERASURE: _entity(1, "Create", "erasure"),
    Action.CERTIFY_ERASURE: Mapping(Class.COMPLIANCE_FINDING, 1, "Create", "erasure"),
    Action.HOLD_SUBJECT: _entity(3, "Update", "erasure"),
    Action.LIFT_SUBJECT_HOLD: _entity(3, "Update", "erasure"),
    Action.EXPORT_SUBJECT: _data(1, "Read", "subject"),
    Action.BACK_UP: _data(1, "Read", "installation"),
    Action.FINISH_BACKUP: _data(1, "Read", "installation"),
    Action.RESTORE: _data(5, "Write", "installation"),
    Action.SETTLE: _data(2, "Update", "installation"),
}
