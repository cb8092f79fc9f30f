"""Whatever an event holds, its lines are single lines of JSON from which the entry can be found again."""

from __future__ import annotations

import datetime as dt
import json

from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.ledger.audit import Entry
from cloakhouse.ledger.audit_event import Action, Event, encode
from cloakhouse.ledger.merkle import leaf_hash
from cloakhouse.ledger.ocsf import FORMATS

TEXT = st.text(max_size=40).filter(str.isprintable)
FACTS = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True),
    st.one_of(TEXT, st.integers(-(2**53) + 1, 2**53 - 1)),
    max_size=4,
)


@given(
    st.sampled_from([action.value for action in Action]),
    *[TEXT] * 6,
    st.sampled_from(["allowed", "refused", "failed"]),
    st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(9999, 1, 1), timezones=st.just(dt.UTC)),
    FACTS,
    st.integers(0, 2**60),
)
def test_lines_are_one_line_and_name_the_entry(
    action: str,
    actor: str,
    what: str,
    reason: str,
    role: str,
    dag: str,
    run: str,
    decision: str,
    at: dt.datetime,
    facts: dict[str, str | int],
    number: int,
) -> None:
    event = Event(
        actor, action, what, reason=reason, role=role, dag=dag, run=run, decision=decision, at=at, facts=facts
    )
    entry = Entry(number, event, encode(event))
    leaf = leaf_hash(entry.content).hex()
    for line in (form(entry, "origin") for form in FORMATS.values()):
        assert not {b"\n", b"\r"} & {bytes([byte]) for byte in line}
    ocsf, own = (json.loads(FORMATS[name](entry, "origin")) for name in ("ocsf", "jsonl"))
    assert ocsf["metadata"]["uid"] == f"origin:{number}"
    assert ocsf["unmapped"]["leaf"] == own["leaf"] == leaf
    assert ocsf["type_uid"] == ocsf["class_uid"] * 100 + ocsf["activity_id"]
    assert ocsf["actor"]["user"]["name"] == actor
    assert isinstance(ocsf["time"], int)
