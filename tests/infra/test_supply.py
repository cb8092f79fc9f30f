"""The supply chain: the same wheel from two folders, licences that are current, a bill without this machine in it."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from infra.supply import licences, sbom

ROOT = Path(__file__).resolve().parents[2]


def built(target: Path, commit: str, umask: int, **more: str) -> str:
    """Return what wheel.sh tells (SHA-256 and name) of `commit` when it is run in `target` with this umask."""
    target.mkdir()
    answer = subprocess.run(
        ["sh", str(ROOT / "infra" / "supply" / "wheel.sh"), str(target), commit],
        cwd=target, env={**os.environ, **more}, umask=umask, check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return answer.stdout


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a wheel is that of a commit")
def test_the_wheel_is_the_same_from_two_folders(tmp_path: Path) -> None:
    head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    one = built(tmp_path / "one", commit, 0o022, TZ="UTC", TMPDIR=str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    two = built(tmp_path / "two", commit, 0o077, TZ="Asia/Tokyo", TMPDIR=str(tmp_path / "elsewhere"), LC_ALL="C")
    assert one == two
    assert len(one.split()[0]) == 64
    assert [path.name for path in (tmp_path / "one").iterdir()] == [one.split()[1]]


def test_licences_are_current() -> None:
    pins = licences.locked((ROOT / "requirements.txt").read_text())
    assert {name: importlib.metadata.version(name) for name, _ in pins} == dict(pins), "run make install"
    text = licences.page(licences.licences((ROOT / "requirements.txt").read_text()), licences.HEAD.read_text())
    assert (ROOT / "docs" / "licences.md").read_text() == text, "run make licences"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("MIT", "open"),
        ("Apache-2.0", "open"),
        ("BUSL-1.1", "limited"),
        ("LGPL-3.0-only", "copyleft"),
        ("AGPL-3.0-or-later", "copyleft"),
        ("MPL-2.0 AND MIT", "copyleft"),
        ("GNU General Public License v2 (GPLv2)", "copyleft"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "copyleft"),
        ("", "not declared"),
    ],
)
def test_kinds_of_licences(text: str, kind: str) -> None:
    assert licences.kind_of(text) == kind


def test_what_sdv_needs_is_told() -> None:
    named = {one.name for one in licences.licences((ROOT / "requirements.txt").read_text()) if "BUSL" in one.text}
    assert {"sdv", "rdt"} <= named
    head = licences.HEAD.read_text()
    assert all(f"`{name}`" in head for name in named)


def bill() -> dict[str, object]:
    local = [{"type": "other", "url": "file:///somewhere"}, {"type": "website", "url": "https://example.org"}]
    names = (("A_b", "1"), ("c", "2"), ("beside", "3"))
    return {
        "metadata": {"component": {"name": "cloakhouse", "bom-ref": "root", "externalReferences": local}},
        "components": [
            {"name": name, "version": version, "bom-ref": name, "externalReferences": list(local)}
            for name, version in names
        ],
        "dependencies": [{"ref": "root", "dependsOn": ["A_b", "beside"]}, {"ref": "beside"}, {"ref": "c"}],
    }


def test_a_bill_has_what_is_locked_and_no_place() -> None:
    found = sbom.narrowed(bill(), "a-b==1\n    # via x\nc==2 ; python_version < '4'\n")
    assert [one["name"] for one in found["components"]] == ["A_b", "c"]
    assert found["dependencies"] == [{"ref": "root", "dependsOn": ["A_b"]}, {"ref": "c"}]
    assert "file:" not in str(found)


def test_a_bill_of_another_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="c==9"):
        sbom.narrowed(bill(), "a-b==1\nc==9\n")


def test_an_audit_that_cannot_ask_fails(tmp_path: Path) -> None:
    """A service that doesn't answer: pip-audit is replaced by a program that ends as it does then."""
    (tmp_path / "infra" / "supply").mkdir(parents=True)
    script = tmp_path / "infra" / "supply" / "audit.sh"
    script.write_text((ROOT / "infra" / "supply" / "audit.sh").read_text())
    tool = tmp_path / ".venv-supply" / "bin" / "pip-audit"
    tool.parent.mkdir(parents=True)
    for code, wanted in (("1", 1), ("2", 1), ("0", 0)):
        tool.write_text(f"#!{sys.executable}\nimport sys\nassert '--strict' in sys.argv\nsys.exit({code})\n")
        tool.chmod(0o755)
        assert subprocess.run(["sh", str(script)], capture_output=True, timeout=60, check=False).returncode == wanted
