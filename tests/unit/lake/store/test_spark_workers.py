"""Spark's own worker processes reach a real S3 server: settings travel, clients and credentials do not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.stores import rclone

from cloakhouse.keys.service import open_ring
from cloakhouse.lake.landed import LandedObject, landing, opened
from cloakhouse.lake.store.opening import open_store
from cloakhouse.settings import Settings
from cloakhouse.stages.workers import SparkWorkers

pytestmark = [pytest.mark.stores, pytest.mark.spark]


def test_workers_reach_the_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.sql import SparkSession

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    uri = rclone().uri("spark/workers")
    settings = replace(Settings.from_environment({}).with_home(tmp_path / "home"), store=uri)
    there = settings.for_workers()
    assert "AWS" not in json.dumps(there)

    def work(number: int) -> bytes:
        inner = Settings.from_dict(there)
        target = LandedObject("people", "2017-01-02", f"part-{number}")
        with landing(open_store(inner), target, open_ring(inner)) as writer:
            writer.write(b"content of %d" % number)
        with opened(open_store(inner), target, open_ring(inner)) as stream:
            return bytes(stream.read())

    open_ring(settings)
    for spark in session(tmp_path):
        answers = SparkWorkers(spark).run("test", work, 4, "parts", lambda *_: None)
        assert answers == [b"content of %d" % number for number in range(4)]
    assert sorted(info.path for info in open_store(settings).list("landing")) == [
        f"landing/people/2017-01-02/part-{number}" for number in range(4)
    ]
    assert SparkSession.getActiveSession() is None


def session(folder: Path) -> Iterator[object]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.local.dir", str(folder / "spark")).getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()
