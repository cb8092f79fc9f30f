"""Landing, treatment, reading, rotation, rewrite and shredding, with each key service behind them, for real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.house import House
from tests.support.processes import in_fork
from tests.support.services import PARAMETERS, SERVICES

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.protocol import KeyName
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.coverage import coverage
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages.access import shred_class
from cloakhouse.stages.key_status import key_status
from cloakhouse.stages.land import land
from cloakhouse.stages.rewrite import rewrite, utc_now
from cloakhouse.stages.rotation import rotate
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.validate import validate_protected


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_path_over_this_service(name: str, tmp_path: Path) -> None:
    import datetime as dt

    service = SERVICES[name](tmp_path / "service")()
    settings = replace(Settings.from_environment({}).with_home(tmp_path / "home"), keys=service.uri)
    house = House(settings)
    write_feed(settings.inbox, weeks=range(1, 2), wanted=lambda file: file.startswith("customers"))
    assert land(settings, house.contracts["customers"]).landed == 1
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
