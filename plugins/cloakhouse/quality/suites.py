"""Suites on disk: `expectations/<dataset>-<version>.json`, read, checked for shape, and digested."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloakhouse.errors import ContractError, NotFound

_TOP_KEYS = frozenset({"name", "meta", "expectations"})
_ENTRY_KEYS = frozenset({"type", "kwargs", "meta"})
_RESERVED = frozenset({"result_format", "catch_exceptions"})  # the runner decides both


@dataclass(frozen=True)
class Suite:
    """A suite as it was read.

    Attributes:
        name: `<dataset>-<version>`, equal to the stem of its file.
        body: the parsed JSON: `name`, `expectations` (each `type` and `kwargs`), `meta`.
        digest: SHA-256 (hex) of the canonical JSON of `body`.
    """

    name: str
    body: Mapping[str, Any]
    digest: str


def suite_path(folder: Path, dataset: str, version: str) -> Path:
    """Return where the suite of `dataset` at `version` (semantic version) is kept under `folder`."""
    return folder / f"{dataset}-{version}.json"


def load_suite(folder: Path, dataset: str, version: str) -> Suite:
    """Return the suite of `dataset` at `version` from `folder`. Raises NotFound if there is no such file,
    ContractError if it is not JSON or not a suite (see `check_suite`)."""
    path = suite_path(folder, dataset, version)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(
            where=str(path),
            expected=f"a suite of expectations for {dataset} {version}",
            found="no such file",
            not_done="the batch was not validated",
            remedy="write the suite, or validate against the version the contract names",
        ) from None
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise malformed(str(path), f"no JSON from line {error.lineno}") from None
    check_suite(body, where=str(path))
    if body["name"] != path.stem:
        raise malformed(str(path), "a name that differs from the file's name")
    return Suite(name=path.stem, body=body, digest=suite_digest(body))


def suite_digest(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 (64 hex digits) of `body` as JSON with sorted keys and no white space, so that
    layout does not matter and every bound does."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_suite(body: object, *, where: str) -> None:
    """Raise ContractError unless `body` has the shape of a suite: a name, and a list of expectations, each
    with a `type` (`expect_...`) and a mapping `kwargs`; no two alike; nothing that would change what
    results hold (`result_format`, `catch_exceptions`). An empty list is left to the runner, which refuses it."""
    if not isinstance(body, Mapping) or set(body) - _TOP_KEYS:
        raise malformed(where, f"something else than a mapping of {sorted(_TOP_KEYS)}")
    if not isinstance(body.get("name"), str) or not body["name"]:
        raise malformed(where, "no name")
    if not isinstance(body.get("expectations"), list):
        raise malformed(where, "no list of expectations")
    seen: set[str] = set()
    for at, entry in enumerate(body["expectations"]):
        _check_entry(entry, where=f"{where}, expectation {at}")
        key = suite_digest({"type": entry["type"], "kwargs": entry["kwargs"]})
        if key in seen:
            raise malformed(f"{where}, expectation {at}", "a repetition of an earlier one")
        seen.add(key)


def _check_entry(entry: object, *, where: str) -> None:
    if not isinstance(entry, Mapping) or set(entry) - _ENTRY_KEYS:
        raise malformed(where, f"something else than a mapping of {sorted(_ENTRY_KEYS)}")
    if not isinstance(entry.get("type"), str) or not entry["type"].startswith("expect_"):
        raise malformed(where, "no type that starts with expect_")
    if not isinstance(entry.get("kwargs"), Mapping):
        raise malformed(where, "no mapping kwargs")
    if _RESERVED & set(entry["kwargs"]):
        raise malformed(where, f"one of {sorted(_RESERVED)} among the kwargs")


def malformed(where: str, found: str) -> ContractError:
    """Return the error for a suite that can't be used."""
    return ContractError(
        where=where,
        expected="a suite of expectations: name, meta, expectations [type, kwargs, meta]",
        found=found,
        not_done="the batch was not validated",
        remedy="correct the suite; expectations/README.md shows the shape",
    )
