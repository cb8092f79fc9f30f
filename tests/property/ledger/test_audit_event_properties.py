"""Events as bytes: the canonical JSON of RFC 8785, and nothing else is read."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.ledger.audit_event import VERSION, Event, decode, encode

AT = dt.datetime(2030, 5, 17, 12, tzinfo=dt.UTC)
texts = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"]) | st.just(" "), max_size=60
)
whole = st.integers(-(2**53) + 1, 2**53 - 1)
events = st.builds(
    Event,
    actor=texts,
    action=texts.map(lambda text: text[:32]),
    object=texts,
    purpose=texts,
    reason=texts,
    count=st.integers(0, 2**53 - 1),
    decision=st.sampled_from(["allowed", "refused", "failed"]),
    code=texts,
    at=st.datetimes(
        dt.datetime(1, 1, 3),
        dt.datetime(9999, 12, 29),
        timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5))]),
    ),
    role=texts,
    dataset=texts,
    dag=texts,
    run=texts,
    task=texts,
    facts=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True), whole | texts, max_size=5),
)


@given(events)
def test_the_bytes_are_canonical_and_come_back(event: Event) -> None:
    content = encode(event)
    assert decode(content) == event
    assert encode(decode(content)) == content
    assert content == rfc8785.dumps(json.loads(content))


@given(events, st.data())
def test_no_other_bytes_are_the_same_event(event: Event, data: st.DataObject) -> None:
    content = encode(event)
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = (
        content[:place] + bytes([content[place] ^ data.draw(st.sampled_from([1, 2, 32, 128]))]) + content[place + 1 :]
    )
    try:
        assert encode(decode(bytes(damaged))) == damaged
        assert decode(bytes(damaged)) != event
    except ValueError:
        pass
    for other in (content + b" ", b" " + content, content[:-1], json.dumps(json.loads(content), indent=1).encode()):
        with pytest.raises(ValueError, match=r"."):
            decode(other)


PLAIN: dict[str, Any] = {
    "action": "read",
    "actor": "ann",
    "at": "2030-05-17T12:00:00.000000Z",
    "decision": "allowed",
    "v": VERSION,
}
WRONG: list[Any] = [
    *({name: value for name, value in PLAIN.items() if name != gone} for gone in PLAIN),
    *({**PLAIN, **more} for more in (
        {"count": True}, {"count": 1.0}, {"count": -1}, {"count": 2**53}, {"count": "1"}, {"count": 0}, {"reason": ""},
        {"facts": {}}, {"facts": []}, {"facts": {"A": 1}}, {"facts": {"a": None}}, {"facts": {"a": 1.5}},
        {"facts": {"a": True}}, {"facts": {f"f{n}": n for n in range(33)}}, {"other": 1}, {"v": 2}, {"v": True},
        {"actor": None}, {"actor": 5}, {"reason": "a\nb"}, {"reason": "x" * 1_001}, {"decision": "maybe"},
        {"at": "2030-05-17T12:00:00Z"}, {"at": "2030-05-17T12:00:00.000000"}, {"at": 5}, {"at": "now"},
        {"at": "0001-01-01T00:00:00.000000+14:00"}, {"action": "x" * 33}, {"dataset": "x" * 64},
    )),
    [], "text", None, 5, {},
]  # fmt: skip


@pytest.mark.parametrize("found", WRONG, ids=str)
def test_what_is_no_event(found: Any) -> None:
    whole = {"object": "x", **found} if isinstance(found, dict) else found
    with pytest.raises(ValueError, match=r"."):
        decode(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[" * 100_000, b'{"v":1,"v":1}', b"1e999", b"NaN"])
def test_what_is_no_json(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(content)


def test_the_plain_one_is_one() -> None:
    content = json.dumps({"object": "x", **PLAIN}, sort_keys=True, separators=(",", ":")).encode()
    assert decode(content) == Event("ann", "read", "x", at=AT)


@pytest.mark.parametrize(
    "fields", [{"at": AT.replace(tzinfo=None)}, {"decision": "maybe"}, {"reason": "\ud800"}, {"facts": {"x y": 1}}]
)
def test_what_cannot_be_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Event("ann", "read", "x", **fields)
