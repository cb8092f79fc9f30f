"""Roots of token keys through pseudonymization: what is lost, swapped or half made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.crash import Crash, quick_crashes
from tests.support.house import House, protected
from tests.support.principals import add_members, protected_column
from tests.support.processes import race

from cloakhouse.errors import CloakhouseError, IntegrityError, KeyServiceError, NotFound
from cloakhouse.keys.derive import KeyUse, purpose_root, reversible_root
from cloakhouse.keys.protocol import TOKENS, KeyName, new_data_key
from cloakhouse.keys.service import service_of
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages.connections import examine
from cloakhouse.stages.token_roots import ensure_roots, recognised_keys, roots_of, token_keys

ANALYTICS, MARKETING = purpose_root("analytics"), purpose_root("marketing")
SERVICE = reversible_root("customer_service")
SAMPLE = [ANALYTICS, reversible_root("analytics"), SERVICE, TOKENS]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return protected().copy(tmp_path / "home")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({}).with_home(tmp_path / "fresh")


def file_of(settings: Settings, name: KeyName) -> Path:
    return settings.token_roots / f"{name.replace('/', '-')}.json"


def refused(kind: type[CloakhouseError], call: Callable[[], object]) -> CloakhouseError:
    with pytest.raises(kind) as refusal:
        call()
    return refusal.value


def lake(house: House) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in house.settings.lake.rglob("*.parquet")}


def test_the_roots_of_the_sample_are_recorded_once_and_open(house: House) -> None:
    assert roots_of(house.contracts["customers"]) == SAMPLE
    assert token_keys(house.settings).names() == SAMPLE
    recorded = {name: house.catalogue.key_fingerprint(name) for name in SAMPLE}
    assert recorded == {name: token_keys(house.settings).fingerprint(name) for name in SAMPLE}
    ensure_roots(house.settings, SAMPLE)
    assert recorded == {name: house.catalogue.key_fingerprint(name) for name in SAMPLE}
    assert "token root" in {finding.what for finding in examine(house.settings) if finding.ok}


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("fault", ["lost", "replaced", "damaged", "another's"])
def test_a_root_that_is_not_the_recorded_one_stops_pseudonymization(house: House, name: KeyName, fault: str) -> None:
    before, path = lake(house), file_of(house.settings, name)
    other = next(root for root in SAMPLE if root != name)
    path.unlink()
    if fault == "replaced":
        token_keys(house.settings).create(name)
    elif fault == "damaged":
        path.write_text("{}")
    elif fault == "another's":
        shutil.copy(file_of(house.settings, other), path)
    problem = refused(IntegrityError, lambda: house.protect("customers", reprocess=True))
    assert problem.code == "integrity.token-root"
    assert "no token was made" in problem.not_done
    assert lake(house) == before
    assert path.exists() == (fault != "lost")


def test_all_roots_and_the_keystore_of_another_installation_are_not_ours(house: House, settings: Settings) -> None:
    """Everything opens, and still every customer would get another token: only the record tells."""
    ensure_roots(settings, SAMPLE)
    for folder in ("keystore", "token-roots"):
        shutil.rmtree(house.settings.home / folder)
        shutil.copytree(settings.home / folder, house.settings.home / folder)
    token_keys(house.settings).verify()
    problem = refused(IntegrityError, lambda: ensure_roots(house.settings, roots_of(house.contracts["customers"])))
    assert problem.where == f"token root {ANALYTICS}"
    assert str(house.catalogue.key_fingerprint(ANALYTICS)) in problem.expected
    assert token_keys(settings).fingerprint(ANALYTICS) in problem.found


def test_a_lost_keystore_is_no_reason_for_new_roots(house: House) -> None:
    shutil.rmtree(house.settings.home / "keystore")
    refused(KeyServiceError, lambda: ensure_roots(house.settings, SAMPLE))


def test_a_contract_with_a_new_purpose_brings_its_root_and_no_other_changes(house: House) -> None:
    before = {name: file_of(house.settings, name).read_bytes() for name in SAMPLE}
    add_members(house)
    assert token_keys(house.settings).names() == [ANALYTICS, MARKETING, *SAMPLE[1:]]
    assert house.catalogue.key_fingerprint(MARKETING) == token_keys(house.settings).fingerprint(MARKETING)
    assert {name: file_of(house.settings, name).read_bytes() for name in SAMPLE} == before
    columns = [protected_column(house, name, "household_id") for name in ("customers", "members")]
    assert not set(columns[0].to_pylist()) & set(columns[1].to_pylist())


@pytest.mark.embedded
@quick_crashes
def test_killed_anywhere_the_next_call_goes_on_with_the_same_root(
    settings: Settings, tmp_path: Path, crash: Crash
) -> None:
    service_of(settings).wrap(ANALYTICS, new_data_key(), {})
    Catalogue(settings.database)
    kept = tmp_path / "kept"
    shutil.copytree(settings.home, kept)

    def prepare() -> None:
        shutil.rmtree(settings.home)
        shutil.copytree(kept, settings.home)

    def check(finished: bool) -> None:
        there = file_of(settings, ANALYTICS).exists()
        before = token_keys(settings).fingerprint(ANALYTICS) if there else None
        recorded = Catalogue(settings.database).key_fingerprint(ANALYTICS)
        assert recorded in ((before,) if finished else (None, before))
        ensure_roots(settings, [ANALYTICS])
        after = token_keys(settings).fingerprint(ANALYTICS)
        assert Catalogue(settings.database).key_fingerprint(ANALYTICS) == after
        assert before in (None, after)

    assert crash(prepare, lambda: ensure_roots(settings, [ANALYTICS]), check) >= 6


def test_processes_at_once_make_one_root_and_one_record(settings: Settings) -> None:
    code = """
    import json, sys
    from cloakhouse.settings import Settings
    from cloakhouse.stages.token_roots import ensure_roots, token_keys
    settings = Settings.from_dict(json.loads(sys.argv[1]))
    ready()
    ensure_roots(settings, ["purposes/analytics", "tokens/root"])
    print(token_keys(settings).fingerprint("purposes/analytics"))
    """
    found = set(race(code, [[json.dumps(settings.as_dict())]] * 6, timeout_s=120))
    assert found == {f"{Catalogue(settings.database).key_fingerprint(ANALYTICS)}\n"}


def test_principals_get_keys_of_recognised_roots_and_make_none(house: House) -> None:
    keys = recognised_keys(house.settings, [ANALYTICS, SERVICE])
    use = KeyUse.layer("customer", "analytics")
    assert keys.key(use).reveal() == token_keys(house.settings).key(use).reveal()
    problem = refused(NotFound, lambda: recognised_keys(house.settings, [MARKETING]))
    assert problem.where == f"token root {MARKETING}"
    assert not file_of(house.settings, MARKETING).exists()
    path = file_of(house.settings, ANALYTICS)
    path.unlink()
    refused(IntegrityError, lambda: recognised_keys(house.settings, [ANALYTICS]))
    assert not path.exists()
    token_keys(house.settings).create(ANALYTICS)
    assert refused(IntegrityError, lambda: recognised_keys(house.settings, [ANALYTICS])).code == "integrity.token-root"


def test_the_doctor_opens_every_root(house: House) -> None:
    for name in SAMPLE:
        path = file_of(house.settings, name)
        sound = path.read_bytes()
        path.write_text("{}")
        assert "token root" in {finding.what for finding in examine(house.settings) if not finding.ok}
        path.write_bytes(sound)
    assert all(finding.ok for finding in examine(house.settings) if finding.what == "token root")
