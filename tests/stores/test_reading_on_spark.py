"""A published dataset as a DataFrame: decrypted in the workers of a real session, in a process of its own."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.published import empty_house

pytestmark = [pytest.mark.spark, pytest.mark.stores]

PROGRAM = """
import json, sys
from pyspark.sql import SparkSession
import cloakhouse
from cloakhouse.errors import CloakhouseError

def session(encrypted):
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    builder = builder.config("spark.io.encryption.enabled", encrypted).config("spark.io.encryption.keySizeBits", "256")
    return builder.config("spark.local.dir", sys.argv[2]).getOrCreate()

home, answers = sys.argv[1], {}
dataset = cloakhouse.connect(home).dataset("people_synthetic")
spark = session("false")
try:
    dataset.to_spark(spark)
except CloakhouseError as refusal:
    answers["plaintext"] = refusal.code
spark.stop()
spark = session("true")
frame = dataset.to_spark(spark)
answers["partitions"] = frame.rdd.getNumPartitions()
answers["types"] = dict(frame.dtypes)
answers["rows"] = [[str(value) for value in row] for row in frame.collect()]
answers["where"] = [row[0] for row in dataset.to_spark(spark, ["store_id"], where=[("store_id", ">", 1)]).collect()]
answers["limit"] = dataset.to_spark(spark, ["age"], 3).count()
answers["sum"] = frame.groupBy("has_meat").count().orderBy("has_meat").collect()[0][1]
empty = cloakhouse.connect(home).dataset("empty_synthetic").to_spark(spark)
answers["empty"] = [empty.count(), empty.columns]
broken = cloakhouse.connect(home).dataset("broken_synthetic").to_spark(spark)
try:
    broken.collect()
except Exception as fault:
    answers["broken"] = ["integrity at" in str(fault), "424242" in str(fault)]
spark.stop()
print(json.dumps(answers))
"""


def test_rows_come_as_a_frame_of_a_partition_per_file(tmp_path: Path) -> None:
    house = empty_house(tmp_path / "home")
    house.publish()
    house.publish("empty_synthetic", pa.table({"store_id": pa.array([], pa.int64())}), parts=1)
    house.publish("broken_synthetic", pa.table({"store_id": pa.array([424242], pa.int64())}), parts=1)
    house.publish("broken_synthetic", pa.table({"store_id": pa.array([424242] * 4, pa.int64())}), parts=2)
    last = house.files("synthetic/broken_synthetic/**/part-00001.parquet")[-1]
    last.write_bytes(last.read_bytes()[:-1])
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CLOAKHOUSE")}
    local = tmp_path / "spark"
    local.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(house.home), str(local)],
        env={**clean, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["plaintext"] == "configuration.spark"
    assert found["partitions"] == 2
    assert found["types"] == {
        "store_id": "bigint",
        "value": "double",
        "has_meat": "boolean",
        "age": "string",
        "day": "date",
        "hour": "timestamp_ntz",
        "token": "binary",
        "price": "decimal(3,2)",
    }
    assert [row[0] for row in found["rows"]] == ["1", "2", str(2**53 + 1), "None", "5", "6"]
    assert found["rows"][0][3:] == [
        "under 35",
        str(dt.date(2017, 1, 1)),
        "2017-01-02 00:00:00",
        str(bytes(16)),
        "1.10",
    ]
    assert found["where"] == [2, 2**53 + 1, 5, 6]
    assert (found["limit"], found["sum"], found["empty"]) == (3, 1, [0, ["store_id"]])
    assert found["broken"] == [True, False]
