"""Detokenization on the sample: who may, who may not, and what stays on record."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.crash import limit_file_size
from tests.support.elsewhere import bytes_of
from tests.support.house import House, protected
from tests.support.principals import (
    EMAIL,
    REASON,
    events,
    feed_values,
    outcomes,
    principal,
    protected_column,
    tokens_of,
)
from tests.support.processes import in_fork

from cloakhouse.errors import (
    AccessRefused,
    CloakhouseError,
    ConfigurationError,
    IntegrityError,
    KeyServiceError,
    NotFound,
    StorageError,
    TreatmentError,
)
from cloakhouse.keys.derive import SIV, KeyUse
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.service import service_of
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED
from cloakhouse.settings import Settings
from cloakhouse.stages import detokenize as stage
from cloakhouse.stages.access import revoke_grants
from cloakhouse.stages.restored import Closed, write_closed
from cloakhouse.stages.token_roots import ensure_roots, roots_of, token_keys
from cloakhouse.tokens.apply import uses
from cloakhouse.tokens.render import to_base32, to_hex
from cloakhouse.tokens.siv import siv_tokens

VALUES: list[str | None] = ["anna@example.com", None, "bert@example.org"]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return protected().copy(tmp_path / "home")


@pytest.fixture
def ann(house: House) -> Settings:
    return principal(house, "ann", [EMAIL])


def ask(house: House, who: Settings, tokens: list[Any], column: str = "email", **more: Any) -> pa.Array:
    return stage.detokenize(who, house.contracts["customers"], column, tokens, REASON, **more)


def refused(kind: type[CloakhouseError], call: Callable[[], object], *secrets: str) -> CloakhouseError:
    with pytest.raises(kind) as refusal:
        call()
    shown = repr(refusal.value) + refusal.value.explain() + str(refusal.value.as_dict())
    assert not [secret for secret in secrets if secret in shown]
    return refusal.value


def test_tokens_of_the_lake_become_the_feeds_values(house: House, ann: Settings, tmp_path: Path) -> None:
    tokens = protected_column(house, "customers", "email").to_pylist()[:200]
    values = ask(house, ann, tokens)
    assert values.type == pa.string()
    assert len(set(values.to_pylist())) == len(set(tokens))
    assert set(values.to_pylist()) <= {value.strip().lower() for value in feed_values(tmp_path / "feed", "email")}
    [event] = events(house)
    assert (event.actor, event.action, event.object) == ("ann", "detokenize", "customers.email")
    assert (event.purpose, event.reason, event.count) == ("service desk", REASON, 200)
    assert (event.decision, event.code) == (ALLOWED, "")


def test_a_restored_home_gives_no_value_until_later_erasures_are_settled(house: House, ann: Settings) -> None:
    tokens, closed = tokens_of(house, "email", VALUES), Closed("backup-1", "2026-11-02T00:00:00+00:00", 1)
    write_closed(house.settings, closed)
    assert refused(AccessRefused, lambda: ask(house, ann, tokens)).code == "access.restored"
    write_closed(house.settings, replace(closed, erasures_known=True, erased=True))  # consents are about runs
    assert ask(house, ann, tokens).to_pylist() == VALUES
    assert outcomes(house) == [("ann", REFUSED, "access.restored", 2), ("ann", ALLOWED, "", 2)]


def test_order_nulls_and_repeats_stay(house: House, ann: Settings) -> None:
    tokens = tokens_of(house, "email", [*VALUES, VALUES[0]])
    assert ask(house, ann, tokens).to_pylist() == [*VALUES, VALUES[0]]
    assert ask(house, ann, [None]).to_pylist() == [None]
    assert ask(house, ann, []).to_pylist() == []
    assert [e.count for e in events(house)] == [3, 0, 0]


def test_format_preserving_tokens(house: House) -> None:
    bob = principal(house, "bob", ["reversible/analytics"])
    cards: list[str | None] = ["4111111111111111", None]
    tokens = tokens_of(house, "card_number", cards)
    assert tokens != cards
    assert ask(house, bob, tokens, "card_number").to_pylist() == cards
    assert refused(TreatmentError, lambda: ask(house, bob, ["41111111x1111111"], "card_number"), "41111111x")
    assert outcomes(house) == [("bob", ALLOWED, "", 1), ("bob", ALLOWED, "", 1)]


@pytest.mark.parametrize("form", ["binary", "hex", "base32"])
@pytest.mark.parametrize("period", ["", "quarter"])
def test_every_form_and_period(house: House, form: str, period: str) -> None:
    old = "{reversible token: {domain: email, purpose: customer_service, form: base32, normalise: email}}"
    more = f", period: {period}" if period else ""
    new = f"{{reversible token: {{domain: email, purpose: customer_service, form: {form}{more}}}}}"
    contract = house.edit_contract("customers", old, new)
    ann = principal(house, "ann", [EMAIL])
    [use] = uses(contract.column("email"), "2017Q1" if period else "")
    binary = siv_tokens(pa.array(VALUES), token_keys(house.settings).key(use))
    given: list[list[Any]] = {
        "binary": [binary.to_pylist(), to_hex(binary).to_pylist()],
        "hex": [to_hex(binary).to_pylist()],
        "base32": [to_base32(binary).to_pylist()],
    }[form]
    for tokens in given:
        if period:
            assert refused(ConfigurationError, lambda t=tokens: ask(house, ann, t)).code == "configuration.detokenize"
            refused(TreatmentError, lambda t=tokens: ask(house, ann, t, day=dt.date(2017, 4, 1)))
        assert ask(house, ann, tokens, day=dt.date(2017, 3, 31)).to_pylist() == VALUES
    assert {e.object for e in events(house)} == (
        {"customers.email of 2017Q1", "customers.email of 2017Q2"} if period else {"customers.email"}
    )


# who may not


def test_without_the_grant_nothing_opens_and_one_refusal_is_recorded(house: House) -> None:
    tokens = tokens_of(house, "email", VALUES)
    for name, keys in (("nobody", []), ("other", ["reversible/analytics", "purposes/analytics", "tokens/root"])):
        who = principal(house, name, keys)
        assert refused(AccessRefused, lambda who=who: ask(house, who, tokens)).code == "access.key"
    assert outcomes(house) == [("nobody", REFUSED, "access.key", 2), ("other", REFUSED, "access.key", 2)]


def test_a_grant_is_for_its_purpose_and_while_it_lasts(house: House, ann: Settings) -> None:
    tokens = tokens_of(house, "email", VALUES)
    assert refused(AccessRefused, lambda: ask(house, replace(ann, purpose="curiosity"), tokens)).code == "access.key"
    assert ask(house, ann, tokens).to_pylist() == VALUES
    revoke_grants(house.settings, [Grant("ann", KeyName(EMAIL), "service desk")])
    assert refused(AccessRefused, lambda: ask(house, ann, tokens)).code == "access.key"
    assert [e.decision for e in events(house)] == [REFUSED, ALLOWED, REFUSED]
    assert [e.purpose for e in events(house)] == ["curiosity", "service desk", "service desk"]


def test_the_platform_is_nobody(house: House) -> None:
    tokens = tokens_of(house, "email", VALUES)
    assert refused(AccessRefused, lambda: ask(house, house.settings, tokens)).code == "access.platform"
    assert outcomes(house) == [("platform", REFUSED, "access.platform", 2)]


def test_a_key_that_is_disabled_refuses_and_is_recorded(house: House, ann: Settings) -> None:
    tokens = tokens_of(house, "email", VALUES)
    service_of(house.settings).disable(KeyName(EMAIL))
    assert refused(KeyServiceError, lambda: ask(house, ann, tokens)).code == "key.disabled"
    assert outcomes(house) == [("ann", REFUSED, "key.disabled", 2)]


@pytest.mark.parametrize("fault", ["lost", "swapped", "unknown"])
def test_a_root_that_is_not_the_lakes_refuses_and_is_recorded(house: House, ann: Settings, fault: str) -> None:
    tokens = tokens_of(house, "email", VALUES)
    path = house.settings.token_roots / "reversible-customer_service.json"
    path.unlink()
    if fault == "swapped":
        token_keys(house.settings).create(KeyName(EMAIL))
    database = ann.database if fault != "unknown" else f"sqlite:///{house.settings.home / 'new.db'}"
    who = replace(ann, database=database)
    kind = NotFound if fault == "unknown" else IntegrityError
    problem = refused(kind, lambda: ask(house, who, tokens))
    assert problem.code == ("not-found" if fault == "unknown" else "integrity.token-root")
    asked = [event for event in AuditLog(database).events() if event.action == "detokenize"]
    assert [(e.decision, e.code, e.dataset) for e in asked] == [(REFUSED, problem.code, "customers")]


# the limit


def test_the_limit_refuses_and_is_recorded(house: House) -> None:
    ann, bob = (principal(house, name, [EMAIL], limit=5) for name in ("ann", "bob"))
    tokens = tokens_of(house, "email", VALUES)
    for _ in range(2):
        assert ask(house, ann, tokens).to_pylist() == VALUES
    problem = refused(AccessRefused, lambda: ask(house, ann, tokens))
    assert (problem.code, problem.found) == ("access.rate", "4 allowed already, and 2 asked for")
    assert ask(house, ann, tokens[:1]).to_pylist() == VALUES[:1]
    assert ask(house, bob, tokens).to_pylist() == VALUES
    assert outcomes(house) == [
        ("ann", ALLOWED, "", 2),
        ("ann", ALLOWED, "", 2),
        ("ann", REFUSED, "access.rate", 2),
        ("ann", ALLOWED, "", 1),
        ("bob", ALLOWED, "", 2),
    ]


def test_fifty_processes_at_once_are_shown_no_more_than_the_limit(house: House, tmp_path: Path) -> None:
    ann = principal(house, "ann", [EMAIL], limit=20)
    tokens, contract, shown = (
        tokens_of(house, "email", ["anna@example.com"]),
        house.contracts["customers"],
        tmp_path / "s",
    )
    shown.mkdir()
    reader, writer = os.pipe()

    def ask_when_told() -> None:
        os.close(writer)
        os.read(reader, 1)  # ends for all at once, when the last writer closes
        with contextlib.suppress(AccessRefused):
            value = stage.detokenize(ann, contract, "email", tokens, REASON)[0].as_py()
            (shown / str(os.getpid())).write_text(value)

    children = [fork(ask_when_told) for _ in range(50)]
    os.close(writer)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 50
    os.close(reader)
    assert [path.read_text() for path in shown.iterdir()] == ["anna@example.com"] * 20
    assert sorted(e.decision for e in events(house)) == [ALLOWED] * 20 + [REFUSED] * 30


def fork(work: Callable[[], None]) -> int:
    """Start `work` in a forked child, which costs less than fifty interpreters, and return its id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


# forged tokens, and requests that aren't sound


def test_one_forged_token_refuses_all_and_the_record_stands(house: House, ann: Settings) -> None:
    tokens = tokens_of(house, "email", VALUES)
    assert tokens[0] is not None
    forged = tokens[0][:-2] + ("A" if tokens[0][-2] != "A" else "B") + tokens[0][-1]
    problem = refused(TreatmentError, lambda: ask(house, ann, [*tokens, forged]), forged, "anna", "bert")
    assert (problem.code, problem.found) == ("treatment.authenticity", "1 of 4 that aren't")
    assert outcomes(house) == [("ann", ALLOWED, "", 3)]


def test_tokens_of_another_column_are_not_authentic(house: House, ann: Settings) -> None:
    key = token_keys(house.settings).key(KeyUse.reversible(SIV, "other", "customer_service"))
    tokens = to_base32(siv_tokens(pa.array(["anna@example.com"]), key)).to_pylist()
    assert refused(TreatmentError, lambda: ask(house, ann, tokens)).code == "treatment.authenticity"


@pytest.mark.parametrize(
    ("tokens", "column", "reason", "code"),
    [
        (["AAAA"], "email", "short", "configuration.reason"),
        (["AAAA"], "nothing", REASON, "not-found"),
        (["AAAA"], "household_id", REASON, "configuration.detokenize"),
        (["AAAA"], "name", REASON, "configuration.detokenize"),
        ("AAAA", "email", REASON, "configuration.detokenize"),
        (b"AAAA", "email", REASON, "configuration.detokenize"),
        ([b"AAAA"], "email", REASON, "configuration.detokenize"),
        ([b"4111111111111111"], "card_number", REASON, "configuration.detokenize"),
        ([7], "email", REASON, "configuration.detokenize"),
        (["no token"], "email", REASON, "treatment.rendering"),
        (["anna@example.com"], "email", REASON, "treatment.rendering"),
        (["\udc80"], "email", REASON, "treatment.rendering"),
        (["\u00e4"], "email", REASON, "treatment.rendering"),
    ],
)
def test_a_request_that_is_not_sound_asks_for_no_key_and_leaves_no_record(
    house: House, ann: Settings, tokens: Any, column: str, reason: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "recognised_keys", None)
    contract = house.contracts["customers"]
    call = lambda: stage.detokenize(ann, contract, column, tokens, reason)  # noqa: E731
    assert refused(CloakhouseError, call, "no token", "anna@").code == code
    assert events(house) == []


def test_bytes_and_text_do_not_mix(house: House, ann: Settings) -> None:
    contract = house.edit_contract("customers", "form: base32, normalise: email", "normalise: email")
    for tokens in (["00" * 20, b"\0" * 20], [b"\0" * 20, 7]):
        call = lambda t=tokens: stage.detokenize(ann, contract, "email", t, REASON)  # noqa: E731
        assert refused(ConfigurationError, call).found == "another type"
    assert events(house) == []


def test_a_dataset_without_reversible_columns_says_so(house: House, ann: Settings) -> None:
    contract = replace(house.contracts["transactions"], columns=house.contracts["transactions"].columns[:4])
    with pytest.raises(ConfigurationError) as refusal:
        stage.detokenize(ann, contract, "household_id", ["AA"], REASON)
    assert refusal.value.remedy == "no column of this dataset can be detokenized"


# what can't be recorded isn't shown


@pytest.mark.embedded
def test_a_database_that_refuses_shows_nothing(house: House, ann: Settings) -> None:
    tokens = tokens_of(house, "email", VALUES)

    def on_a_full_disk() -> None:
        stage.siv_values = lambda *_, **__: os._exit(9)  # type: ignore[assignment]
        limit_file_size(0)
        with pytest.raises(StorageError):
            ask(house, ann, tokens)

    assert in_fork(on_a_full_disk) == 0
    assert events(house) == []
    refused(StorageError, lambda: ask(house, replace(ann, database=f"sqlite:///{house.settings.lake}"), tokens))


def test_killed_between_record_and_output_the_record_stands(house: House, ann: Settings, tmp_path: Path) -> None:
    tokens, shown = tokens_of(house, "email", VALUES), tmp_path / "shown.txt"

    def killed() -> None:
        stage.siv_values = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        shown.write_text(str(ask(house, ann, tokens)))

    assert in_fork(killed) == -signal.SIGKILL
    assert not shown.exists()
    assert outcomes(house) == [("ann", ALLOWED, "", 2)]


@pytest.mark.embedded
def test_no_value_token_or_key_is_in_the_database(house: House, ann: Settings) -> None:
    tokens = tokens_of(house, "email", VALUES)
    ask(house, ann, tokens)
    [use] = uses(house.contracts["customers"].column("email"), "")
    key = token_keys(house.settings).key(use).reveal()
    stored = b"".join(bytes_of(path) for path in house.settings.home.glob("control.db*"))
    secrets = [b"anna@", b"bert@", key, key.hex().encode(), *(t.encode() for t in tokens if t)]
    assert b"customers.email" in stored
    assert not [secret for secret in secrets if secret in stored]


def test_the_copy_that_a_principal_gets_is_enough(house: House, ann: Settings, tmp_path: Path) -> None:
    """Keystore and token roots are copies, without identities and administration; the database is the platform's."""
    tokens, home = tokens_of(house, "email", VALUES), tmp_path / "desk"
    (home / "keystore").mkdir(parents=True)
    shutil.copy(house.settings.home / "keystore" / "keystore.json", home / "keystore")
    shutil.copytree(house.settings.token_roots, home / "token-roots")
    there = replace(ann, home=home, keys=f"age:{home / 'keystore'}")
    assert ask(house, there, tokens).to_pylist() == VALUES
    assert outcomes(house) == [("ann", ALLOWED, "", 2)]
    ensure_roots(house.settings, roots_of(house.contracts["customers"]))
