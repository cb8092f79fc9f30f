"""An audited key service answers as the plain one does, whatever is asked, and its events hold no secret."""

from __future__ import annotations

import base64
import datetime as dt
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.dataset_keys import PART, DatasetKey
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.service import service_of as plain_service_of
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event, encode
from cloakhouse.ledger.audited_keys import AuditedKeyService, KeyEvents, named
from cloakhouse.settings import Settings

NAME = KeyName("protected/direct")
MARKER = "Anna Meyer"
NOON = dt.datetime(2030, 5, 17, 12, tzinfo=dt.UTC)
TEXTS = st.text(max_size=20) | st.sampled_from(["protected", "direct", "customers", "1", "dataset key", "signing key"])
FIELDS = st.sampled_from(["use", "zone", "class", "dataset", "v", "name", "public"]) | st.text(max_size=8)
CONTEXTS = st.dictionaries(FIELDS, TEXTS.map(lambda text: text + MARKER) | TEXTS, max_size=6)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Kept(KeyEvents):
    """The events, kept here: what is written of them is `AuditLog`'s."""

    def __init__(self, there: Settings) -> None:
        super().__init__(plain_service_of(there), there)
        self.events: list[Event] = []

    def record(self, *events: Event) -> int:
        self.events.extend(events)
        return len(self.events) - len(events)


@pytest.fixture(scope="module")
def there() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory() as folder:
        yield replace(Settings.from_environment({}).with_home(Path(folder) / "home"), policy=Path(folder) / "none")


def written(kept: Kept) -> bytes:
    return b"".join(encode(replace(event, at=NOON)) for event in kept.events)


@QUICK
@given(context=CONTEXTS, key=st.binary(min_size=32, max_size=32))
@example(
    context={"use": "dataset key", "zone": "protected", "class": "direct", "dataset": MARKER, "v": "1"}, key=b"k" * 32
)
def test_no_key_and_no_text_of_a_context_is_in_an_event(there: Settings, context: dict[str, str], key: bytes) -> None:
    kept = Kept(there)
    service = AuditedKeyService(plain_service_of(there), kept)
    wrapped = service.wrap(NAME, SecretKey(key), context)
    assert service.unwrap(NAME, wrapped, context).reveal() == key
    made, other = service.generate(NAME, context)
    assert plain_service_of(there).unwrap(NAME, other, context).reveal() == made.reveal()
    log = written(kept)
    assert MARKER.encode() not in log
    assert len(kept.events) == 3
    for secret in (key, made.reveal(), wrapped, other):
        for form in (secret, secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret)):
            assert form not in log
    for event in kept.events:
        assert event.dataset in ("", context.get("dataset"))
        assert event.dataset == "" or PART.fullmatch(event.dataset)


@QUICK
@given(name=st.text(max_size=40) | st.just(f"protected/{MARKER}"), principal=st.text(max_size=30))
def test_any_name_is_answered_as_by_the_plain_service(there: Settings, name: str, principal: str) -> None:
    """What can't be done is recorded, under a name that is one of a key, or no name."""
    kept = Kept(there)
    service = AuditedKeyService(plain_service_of(there), kept)
    for call in (
        lambda: service.disable(KeyName(name)),
        lambda: service.revoke(Grant(principal, KeyName(name), "p")),
        lambda: service.unwrap(KeyName(name), b"", {}),
    ):
        with pytest.raises(CloakhouseError):
            call()
    assert [event.decision for event in kept.events] == ["allowed", "failed", "allowed", "failed", "failed"]
    assert {event.object for event in kept.events} == {named(name)}
    assert MARKER.encode() not in written(kept)


@QUICK
@given(parts=st.tuples(*[st.from_regex(PART, fullmatch=True)] * 3), version=st.integers(1, 999_999_999))
def test_each_dataset_key_is_named_in_its_event(there: Settings, parts: tuple[str, str, str], version: int) -> None:
    key, kept = DatasetKey(*parts), Kept(there)
    with pytest.raises(CloakhouseError):  # no such master key: a new one would slow this test down
        AuditedKeyService(plain_service_of(there), kept).unwrap(key.master, b"", key.context(version))
    [event] = kept.events
    assert (event.object, event.dataset, event.facts["version"]) == (key.master, key.dataset, version)


def test_the_log_is_what_is_written(there: Settings) -> None:
    events = KeyEvents(plain_service_of(there), there)
    AuditedKeyService(plain_service_of(there), events).wrap(NAME, SecretKey(b"k" * 32), {})
    assert [event.object for event in AuditLog(there.database).events()] == [NAME]
