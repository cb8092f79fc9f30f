"""The certificate: nothing is certified unproved, what is certified is signed and logged, every byte of it counts."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import json
from pathlib import Path

import pyarrow as pa
import pypdf
import pytest
import sqlalchemy as sa
from tests.support.crash import Crash, crashes
from tests.support.published import empty_house

from cloakhouse.errors import CloakhouseError, IntegrityError, NotFound, StageError
from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasure_model import Erasure
from cloakhouse.ledger.erasures import DIGEST, Erasures
from cloakhouse.report.certificate_page import certificate_page, certificate_pdf
from cloakhouse.settings import Settings
from cloakhouse.stages import erasure_certificate
from cloakhouse.stages.auditing import event
from cloakhouse.stages.certificate_verify import verify
from cloakhouse.stages.erasure_batch import Batch
from cloakhouse.stages.erasure_certificate import certify, written
from cloakhouse.stages.signing import trusted_key
from cloakhouse.stages.sweep_findings import Findings, Hit
from cloakhouse.tokens.subjects import RIGHTS_TYPE

NAME = "er-20261122-0000beef"
PERSONS = pa.array([bytes([n]) * 16 for n in range(3)], RIGHTS_TYPE)
SEARCHED = {"landing": {"objects": 2, "raw_bytes": 100, "plain_bytes": 300}}
CLEAN = Findings(3, {"anywhere": 9, "fields": 1}, SEARCHED, {"tombstone": 3}, {"inbox": 1}, (), ())
NUMBERS = itertools.count()  # of erasures that are killed: all tests of the module are of one home
ATTACK = {"dataset": "baskets_synthetic", "version": 2, "persons": 3, "others": 400, "area": None, "low": None}
ATTACK |= {"high": None, "verdict": "too few to tell"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = empty_house(tmp_path_factory.mktemp("certified")).settings
    requested(settings, NAME)
    return settings


def requested(settings: Settings, name: str) -> Batch:
    by = event(settings, Action.REQUEST_ERASURE, f"erasure {name}")
    at = dt.datetime.now(dt.UTC)
    erasure = Erasure(name, by.actor, "asked by letter", 3, ManifestRef(f"rights/{name}/x.json", "0" * 64), at)
    Erasures(settings.database).request(erasure, PERSONS, {DIGEST: name, "lines": 3}, by)
    return batch_of(name, at)


def batch_of(name: str, at: dt.datetime) -> Batch:
    return Batch(name, PERSONS, "asked by letter", at, PERSONS.slice(0, 0))


def step(settings: Settings, name: str, step: str, content: dict[str, object]) -> None:
    Erasures(settings.database).done(name, step, content, event(settings, Action.ERASE, f"erasure {name}"))


@pytest.fixture(scope="module")
def certified(settings: Settings) -> bytes:
    step(settings, NAME, "landed", {"files": 2, "lines": 40})
    step(settings, NAME, "sweep", CLEAN.as_dict())
    step(settings, NAME, "attack/baskets_synthetic@2", ATTACK)
    certify(settings, batch_of(NAME, dt.datetime.now(dt.UTC)))
    return written(settings, NAME)


@pytest.fixture(scope="module")
def keys(settings: Settings, certified: bytes) -> tuple[PublicKey, PublicKey]:
    return trusted_key(settings, "releases"), trusted_key(settings, "audit")


def test_it_tells_what_was_done_and_is_in_the_log(certified: bytes, keys: tuple[PublicKey, PublicKey]) -> None:
    found = verify(certified, *keys)
    assert found.logged
    assert not verify(certified, keys[0]).logged
    content = found.content
    assert content["persons"] == {"requested": 3, "erased": 3, "held": 0}
    assert content["sweep"]["clean"] is True
    assert content["attacks"] == [ATTACK]
    assert [one["done"] for one in content["steps"] if one["step"] == "landed"] == [{"files": 2, "lines": 40}]
    assert content["asked"] == {"lines": 3}  # and no digest of persons


def test_every_changed_byte_is_found_out(certified: bytes, keys: tuple[PublicKey, PublicKey]) -> None:
    for at in [*range(0, len(certified), 17), *range(len(certified) - 20, len(certified))]:
        changed = bytearray(certified)
        changed[at] ^= 1
        with pytest.raises(CloakhouseError):
            verify(bytes(changed), *keys)
    for other in (certified + b"\n", certified[:-1], b"", b"{}", b"[]", b"null"):
        with pytest.raises(IntegrityError):
            verify(other, *keys)


def test_keys_and_entries_of_others_are_refused(certified: bytes, keys: tuple[PublicKey, PublicKey]) -> None:
    with pytest.raises(IntegrityError):
        verify(certified, keys[1], keys[0])
    content = json.loads(certified)
    content["log"]["number"] += 1
    with pytest.raises(IntegrityError):
        verify(json.dumps(content, sort_keys=True, separators=(",", ":")).encode(), *keys)


def test_certifying_again_changes_nothing(settings: Settings, certified: bytes) -> None:
    before = count(settings)
    ref = certify(settings, batch_of(NAME, dt.datetime.now(dt.UTC)))
    assert open_store(settings).read(ref.path) == certified
    assert count(settings) == before


def test_killed_before_the_file_stands_the_statement_stays_the_same(
    settings: Settings, keys: tuple[PublicKey, PublicKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "er-20261122-0000dead"
    batch = requested(settings, name)
    step(settings, name, "sweep", CLEAN.as_dict())
    with monkeypatch.context() as patched:
        patched.setattr(erasure_certificate, "_file", stop)
        with pytest.raises(KeyboardInterrupt):
            certify(settings, batch)
    before = count(settings)
    ref = certify(settings, batch)
    assert count(settings) == before
    assert verify(open_store(settings).read(ref.path), *keys).logged


@crashes
def test_killed_at_every_call_the_next_one_certifies_once(
    settings: Settings, certified: bytes, keys: tuple[PublicKey, PublicKey], crash: Crash
) -> None:
    batches = list[Batch]()

    def prepare() -> None:
        name = f"er-20261122-{next(NUMBERS):08x}"
        batches.append(requested(settings, name))
        step(settings, name, "sweep", CLEAN.as_dict())

    def check(_finished: bool) -> None:
        ref = certify(settings, batches[-1])
        assert count(settings) == before + len(batches)
        assert verify(open_store(settings).read(ref.path), *keys).logged

    before = count(settings)
    assert crash(prepare, lambda: certify(settings, batches[-1]) and None, check, every=3) > 5


def stop(*_: object) -> bytes:
    raise KeyboardInterrupt


def count(settings: Settings) -> int:
    """How often something was certified."""
    table = db.audit_entry
    wanted = sa.select(sa.func.count()).select_from(table).where(table.c.action == Action.CERTIFY_ERASURE)
    with db.open_database(settings.database).connect() as connection:
        return int(connection.execute(wanted).scalar_one())


@pytest.mark.parametrize("fault", ["none", "hits", "unopened"])
def test_without_a_clean_search_nothing_is_certified(settings: Settings, fault: str) -> None:
    name = f"er-20261122-{fault}"
    batch, hit = requested(settings, name), Hit("landing", "customers", "bytes", "0" * 64, 1)
    if fault != "none":
        places = {"hits": (hit,), "unopened": ()} if fault == "hits" else {"hits": (), "unopened": (hit,)}
        step(settings, name, "sweep", Findings(3, {}, {}, {}, {}, **places).as_dict())
    with pytest.raises(StageError) as refused:
        certify(settings, batch)
    assert refused.value.code == "stage.unproved"
    with pytest.raises(NotFound):
        written(settings, name)


def test_its_page_shows_the_verdict_and_escapes_what_was_written(
    certified: bytes, keys: tuple[PublicKey, PublicKey]
) -> None:
    found = verify(certified, *keys)
    found.content["reason"] = "<script>alert(1)</script>"
    page = certificate_page(found)
    assert "Erased" in page
    assert "too few to tell" in page
    assert "None" not in page
    assert "<script" not in page


def test_its_pdf_is_made_and_says_what_the_page_says(certified: bytes, keys: tuple[PublicKey, PublicKey]) -> None:
    found = verify(certified, *keys)
    content = certificate_pdf(found)
    assert certificate_pdf(found) == content
    document = pypdf.PdfReader(io.BytesIO(content))
    shown = "\n".join(page.extract_text() for page in document.pages)
    for said in (
        "Erased",
        NAME,
        "asked by letter",
        "persons erased",
        "kept under a legal hold",
        "Steps, in their order",
    ):
        assert said in shown
    assert len(document.pages) == 2  # steps begin below the facts, and not on a page of their own


def test_a_page_of_a_fresh_home_has_no_person(certified: bytes) -> None:
    for token in PERSONS.to_pylist():
        assert token not in certified
        assert token.hex().encode() not in certified


def test_unknown_batches_have_none(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        written(settings, "er-20261122-ffffffff")  # no number that a kill has
