"""Linkage on the sample: the same customers under two purposes, joined by those who hold both grants."""

from __future__ import annotations

import hashlib
import os
import pickle
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.elsewhere import bytes_of
from tests.support.house import SUBJECT, House, protected
from tests.support.principals import REASON, add_members, events, outcomes, principal, protected_column
from tests.support.processes import in_fork

from cloakhouse.errors import (
    AccessRefused,
    CloakhouseError,
    ConfigurationError,
    IntegrityError,
    NotFound,
    StorageError,
    TreatmentError,
)
from cloakhouse.keys.derive import KeyUse
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED
from cloakhouse.settings import Settings
from cloakhouse.stages import link_file as link_module
from cloakhouse.stages import token_fields
from cloakhouse.stages.link_file import link_file
from cloakhouse.stages.linkage import Linkage, Linker, Scope, authorised, check_request
from cloakhouse.stages.restored import Closed, write_closed
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.linking import translate
from cloakhouse.tokens.render import from_hex, to_base32, to_hex

BOTH = ("purposes/analytics", "purposes/marketing")
LINKAGE = Linkage("customer", Scope("marketing"), Scope("analytics"))
TOKENS = [bytes([n]) * 16 for n in range(1, 6)]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = protected().copy(tmp_path_factory.mktemp("linkage") / "home")
    add_members(house)
    return house


@pytest.fixture
def house(members: House, tmp_path: Path) -> House:
    return members.copy(tmp_path / "home")


@pytest.fixture
def ann(house: House) -> Settings:
    return principal(house, "ann", BOTH)


def table(folder: Path, content: str | bytes, name: str = "members.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def hexed(tokens: pa.Array | pa.ChunkedArray | list[bytes]) -> list[str]:
    given = pa.array(tokens, pa.binary(16)) if isinstance(tokens, list) else tokens
    return [str(text) for text in to_hex(given).to_pylist()]


def translated(house: House, tokens: list[bytes], linkage: Linkage = LINKAGE) -> list[bytes]:
    keys = token_keys(house.settings)
    source, target = (
        keys.key(KeyUse.layer(linkage.domain, s.purpose, s.period)) for s in (linkage.source, linkage.target)
    )
    return translate(pa.array(tokens, pa.binary(16)), source, target).to_pylist()


def refused(kind: type[CloakhouseError], call: Callable[[], object], *secrets: str) -> CloakhouseError:
    with pytest.raises(kind) as refusal:
        call()
    shown = repr(refusal.value) + refusal.value.explain() + str(refusal.value.as_dict())
    assert not [secret for secret in secrets if secret in shown]
    return refusal.value


def test_a_restored_home_links_nothing_until_later_erasures_are_settled(house: House, ann: Settings) -> None:
    closed = Closed("backup-1", "2026-11-02T00:00:00+00:00", 1, erasures_known=True)  # persons are to be erased again
    write_closed(house.settings, closed)
    assert refused(AccessRefused, lambda: authorised(ann, LINKAGE, REASON, 1)).code == "access.restored"
    write_closed(house.settings, replace(closed, erased=True))
    assert authorised(ann, LINKAGE, REASON, 1)
    assert outcomes(house) == [("ann", REFUSED, "access.restored", 1), ("ann", ALLOWED, "", 1)]


@pytest.mark.parametrize("form", ["hex", "base32"])
def test_translated_tokens_join_completely_and_untranslated_ones_never(
    house: House, ann: Settings, tmp_path: Path, form: str
) -> None:
    rendered = to_hex if form == "hex" else to_base32
    members = rendered(protected_column(house, "members", "household_id")).to_pylist()
    customers = set(rendered(protected_column(house, "customers", "household_id")).to_pylist())
    buyers = set(rendered(protected_column(house, "transactions", "household_id")).to_pylist())
    assert buyers <= customers
    source = table(tmp_path, "household,n\n" + "".join(f"{token},{n}\n" for n, token in enumerate(members)))
    count = link_file(ann, LINKAGE, REASON, source, tmp_path / "linked.csv", "household", form)
    lines = (tmp_path / "linked.csv").read_text().splitlines()[1:]
    linked = [line.split(",")[0] for line in lines]
    assert [line.split(",")[1] for line in lines] == [str(n) for n in range(len(members))]
    assert count == len(members) == len(linked) > 2_000
    assert not set(members) & customers
    assert set(linked) == customers
    assert buyers <= set(linked)
    [event] = events(house)
    assert (event.actor, event.action, event.object) == ("ann", "link", "customer: marketing to analytics")
    assert (event.reason, event.count, event.decision, event.code) == (REASON, count, ALLOWED, "")
    back = Linkage("customer", Scope("analytics"), Scope("marketing"))
    link_file(ann, back, REASON, tmp_path / "linked.csv", tmp_path / "back.csv", "household", form)
    assert (tmp_path / "back.csv").read_bytes() == source.read_bytes()
    assert (tmp_path / "back.csv").stat().st_mode & 0o777 == 0o600


# who may


@pytest.mark.parametrize("grants", [BOTH[:1], BOTH[1:], (), ("tokens/root", "reversible/analytics")])
def test_without_both_grants_there_is_one_refusal_and_no_file(
    house: House, tmp_path: Path, grants: tuple[str, ...]
) -> None:
    bob = principal(house, "bob", grants)
    source = table(tmp_path, "t\n" + "\n".join(hexed(TOKENS)))
    for linkage in (LINKAGE, Linkage("customer", LINKAGE.target, LINKAGE.source)):
        call = lambda to=linkage: link_file(bob, to, REASON, source, tmp_path / "out" / "linked.csv", "t")  # noqa: E731
        assert refused(AccessRefused, call).code == "access.key"
    assert outcomes(house) == [("bob", REFUSED, "access.key", 5)] * 2
    assert not (tmp_path / "out").exists()


def test_a_grant_for_another_purpose_and_the_platform_are_refused(house: House, ann: Settings, tmp_path: Path) -> None:
    source = table(tmp_path, "t\n" + "\n".join(hexed(TOKENS)))
    for who, code in ((replace(ann, purpose="curiosity"), "access.key"), (house.settings, "access.platform")):
        call = lambda who=who: link_file(who, LINKAGE, REASON, source, tmp_path / "linked.csv", "t")  # noqa: E731
        assert refused(AccessRefused, call).code == code
    assert outcomes(house) == [("ann", REFUSED, "access.key", 5), ("platform", REFUSED, "access.platform", 5)]
    assert not (tmp_path / "linked.csv").exists()


def test_a_purpose_without_tokens_yet_is_refused(tmp_path: Path) -> None:
    house = protected().copy(tmp_path / "home")
    text = SUBJECT.sub("", (house.settings.contracts / "customers.odcs.yaml").read_text())  # one register is enough
    text = text.replace("contract:customers", "contract:members").replace("name: customers", "name: members")
    text = text.replace("customers-{", "members-{").replace(
        "domain: customer, purpose: a", "domain: customer, purpose: b"
    )
    (house.settings.contracts / "members.odcs.yaml").write_text(text)
    ann = principal(house, "ann", BOTH)
    linkage = Linkage("customer", Scope("bnalytics"), Scope("analytics"))
    assert refused(NotFound, lambda: authorised(ann, linkage, REASON, 1)).where == "token root purposes/bnalytics"
    assert outcomes(house) == [("ann", REFUSED, "not-found", 1)]


# sound requests


@pytest.mark.parametrize(
    ("domain", "source", "target"),
    [
        ("customer", "analytics", "analytics"),
        ("custmer", "marketing", "analytics"),
        ("customer", "marketing", "analytic"),
        ("customer", "marketing:2017Q1", "analytics"),
        ("customer", "marketing", ""),
        ("basket", "analytics:2017Q1", "analytics"),
        ("basket", "analytics:2017Q1", "analytics:2017Q5"),
        ("basket", "analytics:2017Q1", "analytics:2017"),
        ("basket", "analytics:2017Q1", "analytics:2017Q2\n"),
        ("email", "customer_service", "analytics"),
        ("customer\0marketing", "marketing", "analytics"),
    ],
)
def test_scopes_that_no_contract_has_are_refused_without_record(
    house: House, ann: Settings, domain: str, source: str, target: str
) -> None:
    linkage = Linkage(domain, Scope.parse(source), Scope.parse(target))
    problem = refused(ConfigurationError, lambda: authorised(ann, linkage, REASON, 1))
    assert problem.code == "configuration.link"
    if source != target:
        assert "basket of analytics:QUARTER, customer of analytics, customer of marketing" in problem.expected
    assert events(house) == []


def test_periods_are_linked_as_purposes_are(house: House, ann: Settings) -> None:
    linkage = Linkage("basket", Scope("analytics", "2016Q4"), Scope.parse("analytics:2017Q1"))
    [batch] = authorised(ann, linkage, REASON, 5).translated([pa.array(TOKENS, pa.binary(16))])
    assert batch.to_pylist() == translated(house, TOKENS, linkage)
    assert events(house)[0].object == "basket: analytics:2016Q4 to analytics:2017Q1"


def test_a_reason_that_cannot_stand_is_refused_before_the_file_is_read(house: House, ann: Settings) -> None:
    call = lambda: link_file(ann, LINKAGE, "why not", Path("nowhere.csv"), Path("nothing.csv"), "t")  # noqa: E731
    assert refused(ConfigurationError, call).code == "configuration.reason"
    with pytest.raises(ConfigurationError):
        check_request(ann, LINKAGE, "why not")
    assert events(house) == []


def test_a_linker_translates_what_was_recorded_and_no_more(house: House, ann: Settings) -> None:
    batch = pa.array([*TOKENS[:2], None], pa.binary(16))
    linker = authorised(ann, LINKAGE, REASON, 4)
    assert repr(linker) == "Linker()"
    with pytest.raises(TypeError):
        pickle.dumps(linker)
    found = list(linker.translated([batch, batch]))
    assert [b.to_pylist() for b in found] == [[*translated(house, TOKENS[:2]), None]] * 2
    assert refused(IntegrityError, lambda: list(linker.translated([batch]))).found == "more"
    fewer = authorised(ann, LINKAGE, REASON, 3)
    assert refused(IntegrityError, lambda: list(fewer.translated([batch]))).found == "fewer"
    assert isinstance(fewer, Linker)
    assert [e.count for e in events(house)] == [4, 3]


# the file


def link(house: House, who: Settings, folder: Path, content: str | bytes, column: str = "t") -> bytes:
    target = folder / "linked.csv"
    link_file(who, LINKAGE, REASON, table(folder, content), target, column)
    return target.read_bytes()


@pytest.mark.parametrize(
    "form",
    [
        "t,n\n{},1\n{},2\n",
        "t,n\n{},1\n{},2",  # no line end at the end
        "t,n\r\n{},1\r\n{},2\r\n",
        "n,t\r\n1,{}\r\n2,{}\r\n",
        "n,t\n1,{}\n2,{}",
        'n,t\r\n1,"{}"\r\n2,"{}"\r\n',
        '"t","n"\n"{}","1"\n{},"2"\n',
        "\ufefft,n\n{},1\n{},2\n",
        '\ufeff"t",n\n{},1\n{},2\n',
        "a,t,b\n,{},\n,,\n,{},x\n",  # empty fields and an empty token
        'a,t,b\n"",{},""\n"","",""\n,{},x\n',
        't,b\n{},"one, ""two""\nthree"\n{},""""\n',
        "t\n{}\n\n{}\n",  # one column: an empty line is an empty field
        "t\n{}\n{}",
        "t,ä\n{},größer €\n{},\U0001f600\n",
        "t,n\n{}, spaces \n{},\t\n",
    ],
)
def test_no_other_byte_of_the_file_changes(house: House, ann: Settings, tmp_path: Path, form: str) -> None:
    tokens = TOKENS[:2]
    expected = form.format(*hexed(translated(house, tokens)))
    assert link(house, ann, tmp_path, form.format(*hexed(tokens))) == expected.encode()
    assert [e.count for e in events(house)] == [2]


def test_a_file_of_no_rows_is_linked_as_it_is(house: House, ann: Settings, tmp_path: Path) -> None:
    for content in ("t,n\n", "t", "\ufefft\r\n"):
        assert link(house, ann, tmp_path, content) == content.encode()
    assert [(e.decision, e.count) for e in events(house)] == [(ALLOWED, 0)] * 3


@pytest.mark.parametrize("size", [70, 71, 128, 1_000])
def test_blocks_of_any_size_give_the_same(
    house: House, ann: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(token_fields, "BLOCK", size)
    tokens = [hashlib.md5(bytes([n]), usedforsecurity=False).digest() for n in range(200)]
    form = 'n,t\r\n"1,\n",{}\r\n,"{}"\r\n' + '3,{}\r\n4,{}\r\n""' * 99
    form = form[:-2].replace('""3', "3")
    given, wanted = hexed(tokens), hexed(translated(house, tokens))
    assert link(house, ann, tmp_path, form.format(*given)) == form.format(*wanted).encode()
    assert [e.count for e in events(house)] == [200]


def test_memory_stays_flat(house: House, ann: Settings, tmp_path: Path) -> None:
    """64 MB through blocks of 256 KiB: the process may not grow by a quarter of the file."""
    rows = "".join(f"{token},{'x' * 90}\n" for token in hexed(TOKENS)) * 1_000
    with (tmp_path / "members.csv").open("w") as stream:
        stream.write("t,text\n")
        for _ in range(104):
            stream.write(rows)
    size = (tmp_path / "members.csv").stat().st_size
    assert size > 64_000_000

    def work() -> None:
        link_file(ann, LINKAGE, REASON, table(tmp_path, "t\n", "warm.csv"), tmp_path / "warm-linked.csv", "t")
        token_fields.BLOCK = 256 << 10
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        link_file(ann, LINKAGE, REASON, tmp_path / "members.csv", tmp_path / "linked.csv", "t")
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        assert grown < size / 4, grown

    assert in_fork(work, timeout_s=120) == 0
    assert (tmp_path / "linked.csv").stat().st_size == size


T = "ab" * 16


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "an empty file"),
        ("n\n1\n", "1 columns, 0 of them called so"),
        (f"t,t\n{T},{T}\n", "2 columns, 2 of them called so"),
        (f"t,n,n\n{T},,\n", "3 columns, 1 of them called so"),
        (b"\xff\xfet\0\n", "another form"),
        (b"t,\xe4\n", "another form"),
        ('"t"x,n\n', "another form"),
        (f"t,n\n{T}\n", "other rows"),
        (f"t,n\n{T},1,2\n", "other rows"),
        (f"t,n\n{T},1\n\n", "other rows"),
        (f"t,n\n{T},1,{T},2\n{T}\n", "other rows"),
        (f't,n\n{T},"1\n', "others"),
        (f't,n\n{T},5" screen\n', "others"),
        (f't,n\n{T},x"1\n{T},x"2\n', "others"),  # would swallow a row, and keep the number of fields
        (f't,n\n"{T}"x,1\n', "others"),
        (f't,n\n"{T}"\rx,1\n', "others"),
    ],
)
def test_files_that_two_readers_might_read_differently_are_refused_without_record(
    house: House, ann: Settings, tmp_path: Path, content: str | bytes, found: str
) -> None:
    problem = refused(ConfigurationError, lambda: link(house, ann, tmp_path, content), T, "screen")
    assert (problem.code, problem.found) == ("configuration.link", found)
    assert events(house) == []
    assert not (tmp_path / "linked.csv").exists()


@pytest.mark.parametrize(
    "wrong", ["AB" * 16, "ab" * 15, "ab" * 17, "zz" * 16, "anna@example.com", "€" * 32, " " + "a" * 31]
)
def test_what_is_no_token_is_refused_without_record(house: House, ann: Settings, tmp_path: Path, wrong: str) -> None:
    content = f"t,n\n{T},1\n{wrong},2\n"
    assert refused(TreatmentError, lambda: link(house, ann, tmp_path, content), wrong, T).code == "treatment.rendering"
    assert events(house) == []


def test_a_form_without_a_text_of_its_own_is_refused(house: House, ann: Settings, tmp_path: Path) -> None:
    call = lambda: link_file(ann, LINKAGE, REASON, table(tmp_path, "t\n"), tmp_path / "linked.csv", "t", "binary")  # noqa: E731
    assert refused(ConfigurationError, call).expected == "hex or base32"
    assert events(house) == []


def test_a_row_longer_than_a_block_is_refused(
    house: House, ann: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_fields, "BLOCK", 100)
    content = f't,n\n{T},1\n{T},"{"x" * 300}"\n'
    assert refused(ConfigurationError, lambda: link(house, ann, tmp_path, content)).found == "a longer row"


def test_sources_that_are_no_files(
    house: House, ann: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path / "none.csv", tmp_path, tmp_path / "pipe"):
        call = lambda path=source: link_file(ann, LINKAGE, REASON, path, tmp_path / "linked.csv", "t")  # noqa: E731
        assert refused(NotFound, call).where == source.name
    source = table(tmp_path, f"t\n{T}\n")

    really = Path.open

    def failing(path: Path, *given: Any, **named: Any) -> Any:
        if path == source:
            raise PermissionError(13, "no")
        return really(path, *given, **named)

    monkeypatch.setattr(Path, "open", failing)
    call = lambda: link_file(ann, LINKAGE, REASON, source, tmp_path / "linked.csv", "t")  # noqa: E731
    assert refused(StorageError, call).where == "members.csv"
    assert events(house) == []


@pytest.mark.parametrize(
    ("after", "code"), [(f"t\n{T}\n{T}\n", "count"), ("t\n", "count"), (f"t\n{'cd' * 16}\n", "changed")]
)
def test_a_file_that_changes_gives_no_result(
    house: House, ann: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str, code: str
) -> None:
    source = table(tmp_path, f"t\n{T}\n")

    def and_then(*given: object) -> Linker:
        linker = authorised(*given)  # type: ignore[arg-type]
        source.write_text(after)
        return linker

    monkeypatch.setattr(link_module, "authorised", and_then)
    call = lambda: link_file(ann, LINKAGE, REASON, source, tmp_path / "linked.csv", "t")  # noqa: E731
    assert refused(IntegrityError, call).code == f"integrity.{code}"
    assert [path.name for path in tmp_path.glob("*linked*")] == []
    assert outcomes(house) == [("ann", ALLOWED, "", 1)]


def test_killed_between_record_and_output_the_record_stands(house: House, ann: Settings, tmp_path: Path) -> None:
    source = table(tmp_path, f"t\n{T}\n")

    def killed() -> None:
        link_module.replacing = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        link_file(ann, LINKAGE, REASON, source, tmp_path / "linked.csv", "t")

    assert in_fork(killed) == -signal.SIGKILL
    assert not (tmp_path / "linked.csv").exists()
    assert outcomes(house) == [("ann", ALLOWED, "", 1)]


@pytest.mark.embedded
def test_a_database_that_refuses_links_nothing(house: House, ann: Settings, tmp_path: Path) -> None:
    source = table(tmp_path, f"t\n{T}\n")
    elsewhere = replace(ann, database=f"sqlite:///{house.settings.lake}")
    call = lambda: link_file(elsewhere, LINKAGE, REASON, source, tmp_path / "linked.csv", "t")  # noqa: E731
    refused(StorageError, call)
    assert not (tmp_path / "linked.csv").exists()


@pytest.mark.embedded
def test_no_token_or_key_is_in_the_database(house: House, ann: Settings, tmp_path: Path) -> None:
    content = link(house, ann, tmp_path, "t\n" + "\n".join(hexed(TOKENS)))
    keys = token_keys(house.settings)
    secrets = [keys.key(KeyUse.layer("customer", p)).reveal() for p in ("marketing", "analytics")]
    shown = content.split()[1:] + [t.encode() for t in hexed(TOKENS)]
    binary = [from_hex(pa.array([t.decode()]))[0].as_py() for t in shown]
    stored = b"".join(bytes_of(path) for path in house.settings.home.glob("control.db*"))
    assert b"customer: marketing to analytics" in stored
    assert not [s for s in (*secrets, *shown, *binary, *(s.hex().encode() for s in secrets)) if s in stored]
