"""Every exit code that docs/client.md documents, from a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.acting import by

PROGRAM = Path(sys.executable).with_name("cloakhouse")


def nothing(_house: Any) -> None:
    pass


def withdraw(house: Any) -> None:
    house.register.withdraw("people_synthetic", 1, by("ann", "the noise was too small"))


def remove_file(house: Any) -> None:
    house.files()[1].unlink()


def remove_keystore(house: Any) -> None:
    (house.home / "keystore" / "keystore.json").unlink()


@pytest.mark.parametrize(
    ("damage", "arguments", "code", "told"),
    [
        (nothing, ["read", "people_synthetic", "--output", "json"], 0, ""),
        (nothing, ["describe", "../people_synthetic"], 2, "configuration.name at"),
        (withdraw, ["read", "people_synthetic@1"], 3, "the noise was too small"),
        (remove_file, ["read", "people_synthetic"], 4, "integrity at"),
        (nothing, ["lineage", "unknown"], 5, "not-found at"),
        (remove_keystore, ["export", "people_synthetic", "{home}/people.csv"], 6, "key.missing at"),
    ],
)
def test_exit_code(house: Any, damage: Callable[[Any], None], arguments: list[str], code: int, told: str) -> None:
    damage(house)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CLOAKHOUSE")}
    done = subprocess.run(
        [PROGRAM, *(argument.format(home=house.home.parent) for argument in arguments)],
        env={**clean, "CLOAKHOUSE_HOME": str(house.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (code, True, False)
    if code == 0:
        assert len(json.loads(done.stdout)) == 6
    else:
        assert done.stdout == ""
    assert not list(house.home.parent.glob("*people*"))


def test_the_documented_codes_are_these() -> None:
    text = (Path(__file__).parents[3] / "docs" / "client.md").read_text()
    for code in (0, 1, 2, 3, 4, 5, 6, 130):
        assert f"\n| {code} " in text
