"""A House that runs its jobs through spark-submit, and processes of such a job."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.support.house import House

from cloakhouse.flow.submit import Job, run_job
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize

LIMIT_S = 240.0


@dataclass(frozen=True)
class Lake(House):
    """A House, and what the Spark tests ask of one."""

    def copy(self, home: Path) -> Lake:
        return Lake(super().copy(home).settings)

    def plan(self, name: str, *, reprocess: bool = False) -> ManifestRef | None:
        return pseudonymize.plan(self.settings, self.contracts[name], reprocess=reprocess)

    def submit(self, request: ManifestRef, settings: Settings | None = None, **options: Any) -> dict[str, Any]:
        """Run the real job on `request` through spark-submit and return the result manifest."""
        arguments = ("--request", request.path, "--sha256", request.sha256)
        job = Job("pseudonymize", arguments, **{"timeout_s": LIMIT_S, "master": "local[2]", **options})
        reference = run_job(job, settings or self.settings)
        return read_manifest(FolderStore(self.settings.lake), ManifestRef.of(reference), "pseudonymization")

    def content(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the manifests of the protected partitions of `name`, by partition."""
        return {
            partition: read_manifest(FolderStore(self.settings.lake), p.manifest, "protected")
            for partition, p in self.catalogue.protected(name).items()
        }

    def table(self, name: str, kind: str = "files") -> pa.Table:
        """Return the protected rows of `name`, or with `kind` quarantine those set aside."""
        entries = [FileEntry(**item) for content in self.content(name).values() for item in content[kind]]
        return pa.concat_tables([self.store.read(entry) for entry in entries])

    def rows(self, name: str) -> Counter[tuple[Any, ...]]:
        """Return the multiset of protected rows."""
        return Counter(zip(*(column.to_pylist() for column in self.table(name).columns), strict=True))

    def unlisted(self, name: str) -> set[str]:
        """Return files of the protected and quarantine zones that no current manifest of `name` lists."""
        listed = {item["path"] for c in self.content(name).values() for item in (*c["files"], *c["quarantine"])}
        lake = self.settings.lake
        folders = [lake / zone / name for zone in ("protected", "quarantine")]
        files = {str(p.relative_to(lake)) for f in folders for p in f.rglob("*") if p.is_file() and p.suffix != ".json"}
        assert listed <= files
        return files - listed

    def state(self, name: str) -> dict[str, tuple[str, bool]]:
        """Return what is visible of `name`: per partition its manifest and mark."""
        return {k: (p.manifest.sha256, p.validated) for k, p in self.catalogue.protected(name).items()}


def processes_of(folder: Path) -> dict[int, str]:
    """Return the living processes whose environment names `folder`: process id to command line; none of ours."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in environment:
                found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found
