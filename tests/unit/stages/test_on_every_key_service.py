"""Landing, treatment, reading, rotation, rewrite and shredding, with each key service behind them, for real."""

from __future__ import annotations

import datetime as dt
import os
import pwd
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.house import House
from tests.support.principals import EMAIL, REASON, outcomes, principal, tokens_of
from tests.support.processes import in_fork
from tests.support.services import PARAMETERS, SERVICES

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import Grant, KeyName, new_data_key
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.coverage import coverage
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages.access import revoke_grants, shred_class
from cloakhouse.stages.consent_feed import feed_register
from cloakhouse.stages.detokenize import detokenize
from cloakhouse.stages.key_status import key_status
from cloakhouse.stages.land import land
from cloakhouse.stages.rewrite import rewrite, utc_now
from cloakhouse.stages.rotation import rotate
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.token_roots import ensure_roots, roots_of
from cloakhouse.stages.validate import validate_protected


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_path_over_this_service(name: str, tmp_path: Path) -> None:
    service = SERVICES[name](tmp_path / "service")()
    settings = replace(Settings.from_environment({}).with_home(tmp_path / "home"), keys=service.uri)
    house = House(settings)
    write_feed(settings.inbox, weeks=range(1, 2), wanted=lambda file: file.startswith("customers"))
    assert land(settings, house.contracts["customers"]).landed == 1
    feed_register(settings)
    house.protect("customers")
    validate_protected(settings, house.contracts["customers"])

    def rows() -> pa.Table:
        store = house.store
        [partition] = house.catalogue.protected("customers").values()
        return pa.concat_tables([store.read(entry) for entry in partition_files(settings, partition.manifest)])

    before = rows()
    assert before.num_rows > 2_000
    assert in_fork(lambda: None if rows().equals(before) else 1 / 0) == 0
    rotated = rotate(settings, service.names())
    assert {r.version for r in rotated} == {2}
    assert {m.behind for m in key_status(settings, utc_now()).masters} == {0}
    assert rows().equals(before)
    result = rewrite(settings, KeyName("protected/direct"), dt.timedelta(0))
    assert result.done
    assert result.rewritten == result.removed > 0
    assert rows().equals(before)
    found = coverage(settings.lake, open_ring(settings), deep=True)
    assert (found.complete, found.byte_share, found.column_share) == (True, 1.0, 1.0)
    assert "protected/direct" in shred_class(settings, "protected/direct")
    with pytest.raises(KeyServiceError) as refusal:
        rows()
    assert refusal.value.code == "key.destroyed"


@pytest.mark.parametrize("name", PARAMETERS)
def test_detokenization_over_this_service(name: str, tmp_path: Path) -> None:
    service = SERVICES[name](tmp_path / "service")()
    house = House(replace(Settings.from_environment({}).with_home(tmp_path / "home"), keys=service.uri))
    contract = house.contracts["customers"]
    ensure_roots(house.settings, roots_of(contract))
    tokens = tokens_of(house, "email", ["anna@example.com"])
    who = principal(house, "ann", [EMAIL]) if name == "age" else house.settings
    assert detokenize(who, contract, "email", tokens, REASON).to_pylist() == ["anna@example.com"]
    service.disable(KeyName(EMAIL))
    with pytest.raises(KeyServiceError) as refusal:
        detokenize(who, contract, "email", tokens, REASON)
    me = "ann" if name == "age" else f"{service.uri.partition(':')[0]}:{pwd.getpwuid(os.getuid()).pw_name}"
    assert outcomes(house) == [(me, "allowed", "", 1), (me, "refused", refusal.value.code, 1)]


@pytest.mark.parametrize("name", [p for p in PARAMETERS if p.id != "pkcs11"])  # whose tokens know a PIN and no grants
def test_after_a_revocation_new_data_is_under_a_key_the_principal_never_had(name: str, tmp_path: Path) -> None:
    service = SERVICES[name](tmp_path / "service")()
    settings = replace(Settings.from_environment({}).with_home(tmp_path / "home"), keys=service.uri)
    ring, key = open_ring(settings), DatasetKey("synthetic", "plain", "baskets")
    wrapped = ring.wrap(key, new_data_key(), {})
    principal = "arn:aws:iam::123456789012:role/model-team" if name == "aws-kms" else "model-team"
    if isinstance(service, AgeKeyService):
        service.enrol(principal, identity=tmp_path / "team.txt")
    grants = [Grant(principal, key.master, purpose) for purpose in ("training", "reporting")]
    for grant in grants:
        service.grant(grant)
    assert set(service.grants()) == set(grants)
    before = ring.newest(key)
    revoke_grants(settings, grants)
    assert service.grants() == ()
    assert ring.newest(key) > before
    assert ring.unwrap(key, wrapped, {})
