"""Writes docs/licences.md: the licence of each package that requirements.txt locks, from its installed metadata.

    python infra/supply/licences.py docs/licences.md

What no metadata can say (what SDV's licence permits) is in infra/supply/licences.head.md, above the table.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = Path(__file__).with_name("licences.head.md")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", flags=re.M)
COPYLEFT = re.compile(r"(?i)\b([al]?gpl|mpl|epl|eupl|cddl|general public|mozilla|lesser)")
LIMITED = re.compile(r"(?i)busl|business source|proprietary|commercial|nvidia")
PREFIX = "License :: "


@dataclass(frozen=True)
class Licence:
    """The licence that a package's metadata declares. `kind` is `copyleft`, `limited`, `open` or `not declared`."""

    name: str
    version: str
    text: str
    kind: str


def locked(text: str) -> list[tuple[str, str]]:
    """Return name and version of each package that `text` (requirements.txt) pins."""
    return [(found[1], found[2]) for found in PIN.finditer(text)]


def kind_of(text: str) -> str:
    """Return what a licence means for who passes the package on or uses it."""
    if LIMITED.search(text):
        return "limited"
    return "copyleft" if COPYLEFT.search(text) else "open" if text else "not declared"


def declared(name: str) -> str:
    """Return what the installed package `name` says of its licence; empty when it says nothing.

    Sources: the core metadata's License-Expression, else the classifiers (trove), else the first line of License.
    """
    metadata = importlib.metadata.metadata(name)
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classes = [value for value in metadata.get_all("Classifier") or [] if value.startswith(PREFIX)]
    names = [value.removeprefix(PREFIX).removeprefix("OSI Approved :: ") for value in classes]
    if names := [value for value in names if value != "OSI Approved"]:
        return "; ".join(sorted(names))
    lines = str(metadata.get("License") or "").strip().splitlines()
    return lines[0][:80] if lines and lines[0] != "UNKNOWN" else ""


def licences(requirements: str) -> list[Licence]:
    """Return the licences of all locked packages that are installed here. A package that isn't raises PackageNotFound.

    What another version of Python or another system would need alone isn't locked, so isn't here.
    """
    found = []
    for name, version in locked(requirements):
        text = declared(name)
        found.append(Licence(name, version, text, kind_of(text)))
    return found


def page(all_of: list[Licence], head: str) -> str:
    """Return the page: the text above, counts, those that ask for attention, then all."""
    return "\n".join([head.rstrip(), "", *_tables(all_of)]) + "\n"


def _tables(all_of: list[Licence]) -> Iterator[str]:
    counts = {kind: sum(one.kind == kind for one in all_of) for kind in ("open", "copyleft", "limited", "not declared")}
    yield f"{len(all_of)} packages are locked: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()) + "."
    for title, kinds in (
        ("Limited, copyleft or not declared", {"limited", "copyleft", "not declared"}),
        ("All others", {"open"}),
    ):
        yield from ("", f"## {title}", "", "| package | version | licence | kind |", "| --- | --- | --- | --- |")
        for one in sorted(all_of, key=lambda licence: licence.name.lower()):
            if one.kind in kinds:
                text = one.text.replace("|", "/") or "-"
                yield f"| {one.name} | {one.version} | {text} | {one.kind} |"


def main(arguments: list[str]) -> int:
    """Write the page to the file that is named."""
    target = Path(arguments[0])
    text = page(licences((ROOT / "requirements.txt").read_text()), HEAD.read_text())
    new = target.with_name(f"{target.name}.new")
    new.write_text(text)
    new.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
