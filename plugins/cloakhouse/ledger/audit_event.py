"""One event of the audit log: what was done with personal data, or with the authority over it; no value of a person.

The bytes that the log's hashes are over are the event as canonical JSON (RFC 8785): an object of the fields below
without the empty ones (but actor, action and object), names sorted, UTF-8, no spaces. All numbers are whole ones and
below 2^53, and all names ASCII, so that `json.dumps` with sorted names gives exactly the form of the RFC.

    {"action":"publish","actor":"platform","at":"2026-11-22T15:00:00.000000Z","count":1200,"dag":"publish_baskets",
     "dataset":"baskets","decision":"allowed","facts":{"version":3},"object":"baskets@3","v":1}
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

ALLOWED, REFUSED, FAILED = "allowed", "refused", "failed"
VERSION = 1
LONGEST_TEXT = 1_000  # code points of any text
LONGEST_ACTION, LONGEST_DATASET = 32, 63  # as the columns for queries are
MOST_FACTS = 32
_FACT = re.compile(r"[a-z][a-z0-9_]{0,40}")
_SAFE = 2**53 - 1


class Action(StrEnum):
    """What was done, or refused. One word or phrase for each kind of event."""

    LAND = "land"
    PSEUDONYMIZE = "pseudonymize"
    READ = "read"  # of protected data, by a stage or a person
    SYNTHESIZE = "synthesize"
    VALIDATE = "validate"
    APPROVE = "approve"
    PUBLISH = "publish"
    ROLL_BACK = "roll back"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"
    TAG = "tag"
    UNTAG = "untag"
    HOLD = "hold"
    LIFT_HOLD = "lift hold"
    DELETE = "delete"  # files, by the collector
    ERASE = "erase"
    SPEND = "spend"  # of a privacy budget
    GIVE_BACK = "give back"  # a spend that was reserved
    QUERY = "query"
    USE_KEY = "use key"
    MAKE_KEY = "make key"
    ROTATE_KEY = "rotate key"
    REWRITE_KEY = "rewrite key"
    DISABLE_KEY = "disable key"
    ENABLE_KEY = "enable key"
    SHRED_KEY = "shred key"
    GRANT = "grant"
    REVOKE = "revoke"
    ENROL = "enrol"
    DETOKENIZE = "detokenize"
    LINK = "link"
    EXPORT_TOKENIZATION = "export tokenization key"
    RUN = "run"  # of a DAG
    TASK = "task"
    ASSET = "asset"
    ALERT = "alert"
    ACKNOWLEDGE = "acknowledge alert"
    EXPORT_LOG = "export log"
    VERIFY_LOG = "verify log"
    MEASURE_COVERAGE = "measure coverage"  # how much of the lake is encrypted
    RECORD_CONSENT = "record consent"  # choices of persons, as they are registered
    PIN_CONSENT = "pin consent"  # a snapshot of the register for runs
    REQUEST_ERASURE = "request erasure"
    CERTIFY_ERASURE = "certify erasure"
    HOLD_SUBJECT = "hold subject"
    LIFT_SUBJECT_HOLD = "lift subject hold"
    EXPORT_SUBJECT = "export subject"
    BACK_UP = "back up"  # the installation: begun
    FINISH_BACKUP = "finish backup"  # from then on there is one
    RESTORE = "restore"  # from a backup
    SETTLE = "settle restore"  # what was not known when it was restored


@dataclass(frozen=True)
class Event:
    """One event. Texts are names, codes and references, and the reason as whoever acted wrote it (see `check_reason`).

    Attributes:
        actor: the principal, or the account at the key service; `platform` for the platform's own.
        action: see Action.
        object: what it was done with: `baskets@3`, `customers.email`, `protected/direct`, `publish_baskets`.
        purpose: what keys were asked for (CLOAKHOUSE_PURPOSE).
        reason: as whoever acted wrote it; empty where none is asked.
        count: rows, values, files or keys concerned, as the action says.
        decision: `allowed`, `refused`, or `failed` for what was begun and not finished.
        code: of the refusal or failure (`access.key`), else empty.
        at: UTC; None: now.
        role: of the actor in the access policy; empty where it has none.
        dataset: the dataset concerned; empty for none, or more than one.
        dag, run, task: the Airflow run in which it happened; empty outside of one.
        facts: what else there is: digests, versions, whole numbers, by name (`[a-z][a-z0-9_]*`).
    """

    actor: str
    action: str
    object: str
    purpose: str = ""
    reason: str = ""
    count: int = 0
    decision: str = ALLOWED
    code: str = ""
    at: dt.datetime | None = None
    role: str = ""
    dataset: str = ""
    dag: str = ""
    run: str = ""
    task: str = ""
    facts: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError("the time of an event has a zone")
        if self.decision not in (ALLOWED, REFUSED, FAILED):
            raise ValueError("an event is allowed, refused or failed")
        for name in _TEXTS:
            if not _is_text(getattr(self, name)):
                raise ValueError(f"{name} of an event is not printable, or longer than {LONGEST_TEXT} characters")
        if len(self.action) > LONGEST_ACTION or len(self.dataset) > LONGEST_DATASET:
            raise ValueError(f"an action has at most {LONGEST_ACTION} characters, a dataset {LONGEST_DATASET}")
        if not _is_whole(self.count) or self.count < 0 or len(self.facts) > MOST_FACTS:
            raise ValueError(f"counts are 0 to 2^53 - 1, facts at most {MOST_FACTS}")
        for name, fact in self.facts.items():
            if not _FACT.fullmatch(name) or not _is_fact(fact):
                raise ValueError("a fact of an event is a name with a whole number or a printable text")

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, JSON-ready."""
        given = {name: getattr(self, name) for name in _NAMES}
        return {**given, "facts": dict(self.facts), "at": stamp(self.at) if self.at else None}


_ALWAYS = ("actor", "action", "object")
_NAMES = tuple(one.name for one in fields(Event))
_TEXTS = tuple(one.name for one in fields(Event) if one.type == "str")


def encode(event: Event) -> bytes:
    """Return the bytes of `event` that are hashed; `at` must be set."""
    assert event.at is not None
    kept = {name: value for name in _NAMES if (value := getattr(event, name)) or name in _ALWAYS}
    kept |= {"at": stamp(event.at), "v": VERSION}
    if event.facts:
        kept["facts"] = dict(event.facts)
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(content: bytes) -> Event:
    """Return the event whose bytes are `content`. Raises ValueError for other bytes than `encode` gives."""
    try:
        found = json.loads(content)
        version = found.pop("v")
        at = dt.datetime.fromisoformat(found.pop("at"))
        event = Event(**found, at=at)
        canonical = encode(event)
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as fault:
        raise ValueError("not an event") from fault
    if version != VERSION or canonical != content:
        raise ValueError("not an event in its canonical form")
    return event


def stamp(at: dt.datetime) -> str:
    """Return a time as the log writes it: RFC 3339 in UTC with six decimal places."""
    return at.astimezone(dt.UTC).replace(tzinfo=None).isoformat("T", "microseconds") + "Z"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable()


def _is_fact(value: object) -> bool:
    if isinstance(value, str):
        return _is_text(value)
    return _is_whole(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_SAFE <= value <= _SAFE
