"""Memory as a delivery grows: landing and pseudonymizing one week, and the same week 16 times in one file."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

from cloakhouse.sample import week_start, write_feed

WEEK = week_start(3).isoformat()
TIMES = (1, 4, 16)
PROGRAM = """
import json, sys
from pathlib import Path
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.settings import Settings
settings = Settings.from_environment()
contract = load_contracts(settings.contracts)["transactions"]
if sys.argv[1] == "land":
    from cloakhouse.stages.land import land
    rows = land(settings, contract).rows
else:
    from dataclasses import replace
    from cloakhouse.lake.manifests import read_manifest
    from cloakhouse.ledger.catalogue import Catalogue
    from cloakhouse.stages.token_roots import ensure_roots, roots_of
    from cloakhouse.stages.treating import DeliveryTask, Treater
    ensure_roots(settings, roots_of(contract))
    landed = next(iter(Catalogue(settings.database).deliveries("transactions").values()))[-1]
    d = read_manifest(settings.lake, landed.manifest)
    task = DeliveryTask(d["partition"], d["object"], d["rows"], "transactions/bench")
    rows = Treater(settings, contract, {}).run(task)["rows"]
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({"rows": rows, "rss": int(status["VmHWM"].split()[0]) * 1024}))
"""


def measure(folder: Path) -> str:
    """Return the table of peak resident memory by size of the delivery (one process each)."""
    write_feed(folder / "feed", weeks=range(3, 4), wanted=lambda name: name.startswith("transactions"))
    source = gzip.decompress((folder / "feed" / f"transactions-{WEEK}.csv.gz").read_bytes())
    header, _, body = source.partition(b"\n")
    lines = [f"| one delivery, {WEEK} | lines | landing, peak | pseudonymizing, peak |", "| --- | --- | --- | --- |"]
    for times in TIMES:
        home = folder / str(times)
        (home / "inbox").mkdir(parents=True)
        target = home / "inbox" / f"transactions-{WEEK}.csv.gz"
        with gzip.open(target, "wb", compresslevel=1) as stream:
            stream.write(header + b"\n")
            for _ in range(times):
                stream.write(body)
        landed, treated = _peak("land", home), _peak("treat", home)
        peaks = " | ".join(f"{done['rss'] / 2**20:.0f} MiB" for done in (landed, treated))
        lines.append(f"| {times} times | {landed['rows']:,} | {peaks} |")
    return "\n".join([*lines, ""])


def _peak(stage: str, home: Path) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, stage],
        env={**os.environ, "CLOAKHOUSE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found
