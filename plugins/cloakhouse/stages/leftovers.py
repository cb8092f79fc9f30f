"""Rows that a synthesis leaves behind when it is refused or killed. No manifest lists them: nobody else removes them.

They are personal data, encrypted or not, and are kept no longer than the run that wrote them.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
from collections.abc import Collection, Iterator

from cloakhouse.errors import StorageError
from cloakhouse.lake.releases import FOLDER
from cloakhouse.lake.store.protocol import ObjectStore

ZONES = ("views", "synthetic")


@contextlib.contextmanager
def none_left(store: ObjectStore, dataset: str, run: str) -> Iterator[None]:
    """Hold the folders `<zone>/<dataset>/<run>` of one run: they go when the block fails, however it does.

    Before, the folders of killed runs go: those that neither a manifest nor a release of the dataset names (releases
    are no run). The caller holds the lock of the dataset's synthesis, so that none of them is being written.
    """
    for zone in ZONES:
        runs = {info.path.split("/")[2] for info in store.list(f"{zone}/{dataset}") if info.path.count("/") > 2}
        for left in sorted(_unnamed(store, dataset, runs - {FOLDER})):
            _remove(store, f"{zone}/{dataset}/{left}")
        store.clear_leftovers(f"{zone}/{dataset}")
    try:
        yield
    except BaseException:
        for zone in ZONES:
            _remove(store, f"{zone}/{dataset}/{run}")
        raise


def remove_others(store: ObjectStore, folder: str, listed: Collection[str]) -> None:
    """Remove what lies below `folder` and isn't `listed` (paths): leftovers of retries and of killed runs."""
    for info in store.list(folder):
        if info.path not in listed:
            store.delete(info.path)
    store.clear_leftovers(folder)


def _unnamed(store: ObjectStore, dataset: str, runs: set[str]) -> set[str]:
    """Return those of `runs` that nothing names. Releases are asked last: a manifest of a synthesis may be lost."""
    manifests = (i.path for i in store.list(f"synthetic/{dataset}") if "/synthesis-" in i.path)
    releases = (i.path for i in store.list(f"synthetic/{dataset}/{FOLDER}") if i.path.endswith(".json"))
    for path in itertools.chain(manifests, releases) if runs else ():
        text = store.read(path) if "/synthesis-" in path else _payload(store.read(path))
        runs = {run for run in runs if f"/{dataset}/{run}/".encode() not in text}
    return runs


def _payload(text: bytes) -> bytes:
    """Return what a release holds, whoever signed it: what it names is only left."""
    try:
        return base64.b64decode(json.loads(text)["payload"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return b""


def _remove(store: ObjectStore, folder: str) -> None:
    """Remove the folder as far as the store lets it go: what refuses must not hide why the run failed."""
    with contextlib.suppress(StorageError):
        remove_others(store, folder, ())
