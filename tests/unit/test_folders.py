"""A folder that may not be read is an error, never an empty one: nobody concludes that there is nothing to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError
from cloakhouse.folders import files_like
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.files import listed
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.shares import Shares
from cloakhouse.stages.rewrite_job import RewriteJob


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a/x/1.json", "a/x/.1.json.tmp", "a/y/2.json", "b/x/3.json", "b/4.json", "c.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def close(monkeypatch: pytest.MonkeyPatch, closed: Path) -> None:
    """Have nobody list `closed`; root, whom modes don't keep out, as well."""
    real = os.listdir

    def listdir(folder: Any) -> list[str]:
        if Path(folder) == closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "listdir", listdir)


def test_paths_are_those_of_glob_in_order(tree: Path) -> None:
    for pattern in ("*", "*.json", "*/*.json", "*/*/*.json", "a/*/*.json", "none/*", "*/x/*.json"):
        assert files_like(tree, pattern) == sorted(tree.glob(pattern)), pattern
    assert files_like(tree / "none", "*") == files_like(tree / "c.json", "*") == []


@pytest.mark.parametrize("closed", ["", "a", "b/x"])
def test_a_folder_on_the_way_that_can_not_be_listed_is_an_error(
    tree: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    close(monkeypatch, tree / closed)
    with pytest.raises(PermissionError):
        files_like(tree, "*/*/*.json")
    with pytest.raises(CloakhouseError) as refused:
        listed(tree, "*/*/*.json")
    assert refused.value.code == "storage.refused"


@pytest.mark.parametrize(
    "look",
    [
        load_contracts,
        lambda folder: KeyRing(None, folder).all(),  # type: ignore[arg-type]
        lambda folder: Shares(folder).all(),
        lambda folder: list(Shares(folder).of(DatasetKey.parse("protected/direct/customers"))),
        lambda folder: TokenKeys(None, folder).names(),  # type: ignore[arg-type]
        lambda folder: RewriteJob.all(folder.parent),
    ],
    ids=["contracts", "dataset keys", "shares", "shares of a key", "token roots", "rewrites"],
)
def test_what_can_not_be_listed_is_not_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[Path], object]
) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    assert not look(folder)
    close(monkeypatch, folder)
    with pytest.raises(CloakhouseError) as refused:
        look(folder)
    assert refused.value.code in ("storage.refused", "contract.file")
