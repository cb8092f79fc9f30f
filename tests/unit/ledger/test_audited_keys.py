from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support import service_aws
from tests.support.crash import limit_file_size
from tests.support.forks import at_once
from tests.support.processes import in_fork

from cloakhouse.errors import AccessRefused, KeyServiceError, StorageError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import TOKENS, Grant, KeyName, KeyService, KeyState, new_data_key
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.service import service_of as plain_service_of
from cloakhouse.ledger import audit, audited_keys, database_engine
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import ALLOWED, FAILED, REFUSED, Action, Event
from cloakhouse.ledger.audited_keys import OTHER, leased, named, open_ring, reading_service, service_of
from cloakhouse.settings import Settings

NAME = KeyName("protected/direct")
KEY = DatasetKey("protected", "direct", "transactions")
CONTEXT = KEY.context(1)
GRANT = Grant("ann", NAME, "service desk")
SIGNING = {"use": "signing key", "name": "releases", "public": "cHVibGljIGtleQ=="}


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    """An installation with a key in use; ann and bob are enrolled, bob holds nothing."""
    made = replace(Settings.from_environment({}).with_home(tmp_path / "home"), database=url, policy=tmp_path / "none")
    service = plain_service_of(made)
    service.wrap(NAME, new_data_key(), CONTEXT)
    assert isinstance(service, AgeKeyService)
    for name in ("ann", "bob"):
        service.enrol(name, identity=tmp_path / f"{name}.txt")
    return made


@pytest.fixture
def wrapped(settings: Settings) -> bytes:
    """A key that is wrapped under NAME."""
    return plain_service_of(settings).wrap(NAME, new_data_key(), CONTEXT)


def of(settings: Settings, name: str) -> Settings:
    return replace(settings, identity=settings.home.parent / f"{name}.txt", purpose="service desk")


def events(settings: Settings) -> list[Event]:
    return AuditLog(settings.database).events()


def told(settings: Settings) -> list[tuple[str, str, str, str, str]]:
    return [(e.actor, e.action, e.object, e.decision, e.code) for e in events(settings)]


USES: dict[str, Callable[[KeyService, bytes], object]] = {
    "wrap": lambda service, _: service.wrap(NAME, new_data_key(), CONTEXT),
    "unwrap": lambda service, wrapped: service.unwrap(NAME, wrapped, CONTEXT),
    "generate": lambda service, _: service.generate(NAME, CONTEXT),
}
CHANGES: dict[Action, Callable[[KeyService], object]] = {
    Action.ROTATE_KEY: lambda service: service.rotate(NAME),
    Action.DISABLE_KEY: lambda service: service.disable(NAME),
    Action.ENABLE_KEY: lambda service: service.enable(NAME),
    Action.SHRED_KEY: lambda service: service.destroy(NAME),
    Action.GRANT: lambda service: service.grant(GRANT),
    Action.REVOKE: lambda service: service.revoke(GRANT),
}
ALL = [*(lambda s, w, u=use: u(s, w) for use in USES.values()), *(lambda s, _, c=c: c(s) for c in CHANGES.values())]
NAMES = [*USES, *(action.value for action in CHANGES)]
EVERY = pytest.mark.parametrize("call", ALL, ids=NAMES)


@pytest.mark.parametrize("operation", USES)
def test_each_use_of_a_key_is_one_event(settings: Settings, wrapped: bytes, operation: str) -> None:
    USES[operation](service_of(settings, "case 4711: receipts"), wrapped)
    [event] = events(settings)
    made = operation == "generate"
    assert replace(event, at=None) == Event(
        "platform",
        Action.MAKE_KEY if made else Action.USE_KEY,
        KEY.name if made else NAME,
        "operations",
        "case 4711: receipts",
        1,
        dataset="transactions",
        facts={"operation": operation, "use": "dataset key", "version": 1},
    )


@pytest.mark.parametrize("action", CHANGES)
def test_each_change_of_a_key_is_one_event(settings: Settings, action: Action) -> None:
    if action is Action.REVOKE:
        plain_service_of(settings).grant(GRANT)
    CHANGES[action](service_of(settings))
    [event] = events(settings)
    facts = {"principal": "ann", "granted_for": "service desk"} if action in (Action.GRANT, Action.REVOKE) else {}
    assert replace(event, at=None) == Event("platform", action, NAME, "operations", "", 1, facts=facts)


def test_what_uses_no_key_is_no_event_and_opens_no_database(settings: Settings, sqlite_url: str) -> None:
    service = service_of(replace(settings, database=sqlite_url))
    assert service.names() == (NAME,)
    assert service.describe(NAME).state is KeyState.ENABLED
    assert service.grants() == ()
    assert service.connection().protocol == "in process"
    assert service.uri == settings.keys
    assert isinstance(service, KeyService)
    assert repr(service) == "AuditedKeyService(AgeKeyService())"
    assert not Path(sqlite_url.removeprefix("sqlite:///")).exists()


def test_contexts_are_passed_on_as_they_are(settings: Settings) -> None:
    for context in (CONTEXT, SIGNING, {"use": "token root", "format": "2"}, {}, {"anything": "at all\n"}):
        wrapped = service_of(settings).wrap(NAME, SecretKey(b"k" * 32), context)
        assert plain_service_of(settings).unwrap(NAME, wrapped, context).reveal() == b"k" * 32
    assert [(e.dataset, dict(e.facts)) for e in events(settings)] == [
        ("transactions", {"operation": "wrap", "use": "dataset key", "version": 1}),
        ("", {"operation": "wrap", "use": "signing key"}),
        ("", {"operation": "wrap", "use": "token root"}),
        ("", {"operation": "wrap"}),
        ("", {"operation": "wrap"}),
    ]


@pytest.mark.parametrize(
    "context",
    [
        {**CONTEXT, "zone": "synthetic"},  # that of a key under another master key
        {**CONTEXT, "dataset": "Anna Meyer"},
        {**CONTEXT, "v": "1; anna"},
        {**CONTEXT, "v": "0"},
    ],
)
def test_a_context_that_is_not_of_a_dataset_key_names_none(settings: Settings, context: dict[str, str]) -> None:
    service_of(settings).generate(NAME, context)
    [event] = events(settings)
    assert (event.object, event.dataset, "version" in event.facts) == (NAME, "", False)


def test_a_text_that_is_no_name_of_a_key_is_not_repeated(settings: Settings) -> None:
    for name in ("anna.meyer@example.com", "protected/direct\n", "x" * 2_000, "=cmd/a", ""):
        with pytest.raises(KeyServiceError):
            service_of(settings).disable(KeyName(name))
    assert {event.object for event in events(settings)} == {OTHER}
    assert [named(n) for n in (NAME, KEY.name, TOKENS)] == [NAME, KEY.name, TOKENS]


@contextlib.contextmanager
def held(settings: Settings) -> Iterator[Settings]:
    """Yield the settings while the log takes no entry: another process holds it (PostgreSQL: a standby)."""
    if not settings.database.startswith("sqlite"):
        mark = "&" if "?" in settings.database else "?"
        options = "options=-c%20default_transaction_read_only%3Don"
        yield replace(settings, database=f"{settings.database}{mark}{options}")
        return
    AuditLog(settings.database)
    holder = sqlite3.connect(settings.database.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database_engine, "BUSY_TIMEOUT_S", 0.02)
        patch.setattr(audit, "_open", OrderedDict())  # a log that is open waits as long as it was opened to
        yield settings
    holder.close()


@EVERY
def test_an_event_that_cannot_be_written_stops_it(
    settings: Settings, wrapped: bytes, call: Callable[[KeyService, bytes], object]
) -> None:
    """Whatever is asked for is not given, the keys are as they were, and nobody is refused unrecorded."""
    plain = plain_service_of(settings)
    before = plain.describe(NAME), plain.grants()
    with held(settings) as there:
        for who in (there, of(there, "bob")):
            with pytest.raises(StorageError):
                call(service_of(who), wrapped)
    assert (plain.describe(NAME), plain.grants()) == before
    assert events(settings) == []


def test_a_full_disk_hands_out_no_key(settings: Settings, wrapped: bytes) -> None:
    AuditLog(settings.database)

    def on_a_full_disk() -> None:
        limit_file_size(0)
        for use in USES.values():
            with pytest.raises(StorageError):
                use(service_of(settings), wrapped)

    if settings.database.startswith("sqlite"):
        assert in_fork(on_a_full_disk) == 0
        assert events(settings) == []


def test_who_holds_no_grant_is_refused_and_recorded(settings: Settings, wrapped: bytes) -> None:
    for use in USES.values():
        with pytest.raises(AccessRefused):
            use(service_of(of(settings, "bob")), wrapped)
    assert told(settings) == [
        ("bob", "use key", NAME, REFUSED, "access.key"),
        ("bob", "use key", NAME, REFUSED, "access.key"),
        ("bob", "make key", KEY.name, REFUSED, "access.key"),
    ]


def test_a_key_that_cannot_be_used_is_recorded_as_failed(settings: Settings, wrapped: bytes) -> None:
    for code, context in (("context", KEY.context(2)), ("disabled", CONTEXT)):
        if code == "disabled":
            plain_service_of(settings).disable(NAME)
        with pytest.raises(KeyServiceError):
            service_of(settings).unwrap(NAME, wrapped, context)
    assert [row[3:] for row in told(settings)] == [(FAILED, "key.context"), (FAILED, "key.disabled")]


def test_what_nobody_foresaw_is_recorded_and_not_quoted(
    settings: Settings, wrapped: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("anna.meyer@example.com")

    monkeypatch.setattr(AgeKeyService, "unwrap", broken)
    with pytest.raises(ValueError, match="anna"):
        service_of(settings).unwrap(NAME, wrapped, CONTEXT)
    assert told(settings) == [("platform", "use key", NAME, FAILED, "internal")]
    assert b"anna" not in AuditLog(settings.database).entries()[0].content


def test_a_change_that_is_refused_takes_its_entry_back(settings: Settings) -> None:
    for action in CHANGES:
        (settings.home / "keystore" / "administration.pem").rename(settings.home / "aside")
        with pytest.raises((AccessRefused, KeyServiceError)):
            CHANGES[action](service_of(settings))
        (settings.home / "aside").rename(settings.home / "keystore" / "administration.pem")
    found = events(settings)
    assert [e.decision == ALLOWED for e in found] == [True, False] * len(CHANGES)
    for number in range(0, len(found), 2):
        first, second = found[number : number + 2]
        assert replace(second, at=None, decision=ALLOWED, code="", facts=first.facts) == replace(first, at=None)
        assert second.facts == {**first.facts, "entry": number}


def test_who_is_not_enrolled_is_unknown(settings: Settings, wrapped: bytes, tmp_path: Path) -> None:
    plain = plain_service_of(settings)
    assert isinstance(plain, AgeKeyService)
    text = (tmp_path / "bob.txt").read_text()
    elsewhere = AgeKeyService(tmp_path / "other")
    elsewhere.names()
    elsewhere.enrol("eve", identity=tmp_path / "eve.txt")
    keystore = next(line for line in text.splitlines() if line.startswith("# keystore"))
    other = next(line for line in (tmp_path / "eve.txt").read_text().splitlines() if line.startswith("# keystore"))
    (tmp_path / "eve.txt").write_text((tmp_path / "eve.txt").read_text().replace(other, keystore))
    with pytest.raises(AccessRefused):
        service_of(of(settings, "eve")).unwrap(NAME, wrapped, CONTEXT)
    with pytest.raises(KeyServiceError):
        service_of(of(settings, "nobody")).unwrap(NAME, wrapped, CONTEXT)
    assert told(settings) == [
        ("unknown", "use key", NAME, REFUSED, "access.key"),
        ("unknown", "use key", NAME, FAILED, "key.identity"),
    ]


def test_elsewhere_the_actor_is_the_users_account(settings: Settings, tmp_path: Path) -> None:
    service = service_aws.open_service(tmp_path / "aws")()
    there = replace(settings, keys=service.uri)
    service_of(there).wrap(NAME, new_data_key(), CONTEXT)
    [(actor, action, *_)] = told(settings)
    assert actor.startswith("aws-kms:")
    assert action == "use key"


def test_the_actor_is_asked_for_once(settings: Settings, wrapped: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(audited_keys, "account", lambda service: asked.append(service) or "platform")
    service = service_of(settings)
    for _ in range(3):
        service.unwrap(NAME, wrapped, CONTEXT)
    assert len(asked) == 1
    assert len(events(settings)) == 3


def test_opened_dataset_keys_are_no_event_again(settings: Settings) -> None:
    ring = open_ring(settings)
    wrapped = [ring.wrap(KEY, new_data_key(), {"file": str(number)}) for number in range(20)]
    for number, each in enumerate(wrapped):
        ring.unwrap(KEY, each, {"file": str(number)})
    assert [(e.action, e.object) for e in events(settings)] == [("make key", KEY.name), ("use key", NAME)]
    ring.announce()
    ring.unwrap(KEY, wrapped[0], {"file": "0"})
    assert len(events(settings)) == 3


def test_workers_have_the_plain_service(settings: Settings) -> None:
    inner = Settings.from_dict(settings.for_workers())
    assert isinstance(service_of(inner), AgeKeyService)
    assert isinstance(reading_service(inner, lambda service: service), AgeKeyService)
    leased(inner, [KEY], "pseudonymize transactions")
    assert events(settings) == []


def test_what_workers_may_open_is_recorded_before_they_start(settings: Settings) -> None:
    plain = DatasetKey("protected", "plain", "transactions")
    leased(settings, [KEY, TOKENS, plain, KEY], "pseudonymize transactions")
    leased(settings, [], "nothing")
    found = [(e.action, e.object, e.dataset, e.count, dict(e.facts)) for e in events(settings)]
    facts = {"operation": "lease", "by": "spark workers", "job": "pseudonymize transactions"}
    assert found == [
        ("use key", KEY.name, "transactions", 1, facts),
        ("use key", plain.name, "transactions", 1, facts),
        ("use key", "tokens/root", "", 1, facts),
    ]
    with held(settings) as there, pytest.raises(StorageError):
        leased(there, [KEY], "pseudonymize transactions")


def test_of_a_reader_refusals_alone_are_recorded(settings: Settings, wrapped: bytes) -> None:
    plain_service_of(settings).grant(GRANT)
    wrapped = plain_service_of(settings).wrap(NAME, new_data_key(), CONTEXT)
    reading_service(of(settings, "ann"), lambda s: s).unwrap(NAME, wrapped, CONTEXT)
    with pytest.raises(AccessRefused):
        reading_service(of(settings, "bob"), lambda s: s).unwrap(NAME, wrapped, CONTEXT)
    assert told(settings) == [("bob", "use key", NAME, REFUSED, "access.key")]


def test_a_reader_whose_role_cannot_write_is_refused_all_the_same(settings: Settings, wrapped: bytes) -> None:
    with held(settings) as there, pytest.raises(AccessRefused):
        reading_service(of(there, "bob"), lambda s: s).unwrap(NAME, wrapped, CONTEXT)
    assert events(settings) == []


def test_killed_between_entry_and_change_the_entry_stands(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call does it, with an entry of its own: the log may tell of a change that wasn't made, never less."""
    monkeypatch.setattr(AgeKeyService, "rotate", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    assert in_fork(lambda: service_of(settings).rotate(NAME)) == -signal.SIGKILL
    monkeypatch.undo()
    assert [v.version for v in plain_service_of(settings).describe(NAME).versions] == [1]
    service_of(settings).rotate(NAME)
    assert told(settings) == [("platform", "rotate key", NAME, ALLOWED, "")] * 2
    assert [v.version for v in plain_service_of(settings).describe(NAME).versions] == [1, 2]


def test_it_is_no_way_to_take_keys_along(settings: Settings) -> None:
    service = service_of(settings)
    service.wrap(NAME, new_data_key(), CONTEXT)
    with pytest.raises(TypeError):
        pickle.dumps(service)


def test_fifty_processes_leave_an_event_each(settings: Settings, wrapped: bytes) -> None:
    def opened(_number: int) -> list[str]:
        service_of(settings).unwrap(NAME, wrapped, CONTEXT)
        return ["opened"]

    assert at_once(opened, 50) == ["opened"] * 50
    log = AuditLog(settings.database)
    assert [entry.number for entry in log.entries()] == list(range(50))
    assert {(e.action, e.object, e.decision) for e in log.events()} == {("use key", NAME, ALLOWED)}
    assert len(log.root(50)) == 32
