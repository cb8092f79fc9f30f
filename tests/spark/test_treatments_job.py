"""Every treatment in one real Spark job over several splits: the rows that this process makes of the delivery."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.support import all_treatments as feeds
from tests.support.all_treatments import everything
from tests.support.sweep import Sweep, Watch

from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.stages.pseudonymize import REQUEST

pytestmark = pytest.mark.spark
DAY = "2017-01-02"


def test_a_job_gives_what_the_stage_gives_and_leaves_no_planted_value(tmp_path: Path, temporary: Path) -> None:
    place = everything(tmp_path / "cloak house")
    place.land("people", DAY, feeds.people_csv())
    place.land("visits", DAY, feeds.visits_jsonl(), 400_000)
    place.treat("people")
    here = place.copy(tmp_path / "same keys")
    here.treat("visits")

    request = place.plan("visits")
    assert request is not None
    assert len(read_manifest(FolderStore(place.settings.lake), request, REQUEST)["treatments"]) == 3
    sweep = Sweep(feeds.MARKERS)
    with Watch(sweep, [place.settings.home, temporary], [place.settings.inbox]) as watch:
        place.submit(request)
    sweep.folder(place.settings.home)
    sweep.folder(temporary)
    assert watch.passes > 3
    assert sweep.hits == set()
    assert not [v for v in feeds.MARKERS.values() for command in watch.commands if v in command]

    [job], [stage] = (p.content("visits").values() for p in (place, here))
    assert len(job["files"]) == len(stage["files"]) > 3
    assert (job["rows"], job["quarantined"]) == (stage["rows"], stage["quarantined"])
    assert place.table("visits").equals(here.table("visits"))  # row by row, those drawn by row among them
    reasons = Counter(place.table("visits", "quarantine")["reason"].to_pylist())
    assert reasons == stage["quarantined"]
    assert place.unlisted("visits") == set()
