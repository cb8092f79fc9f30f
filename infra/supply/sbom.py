"""Writes the bill of materials (CycloneDX 1.6, JSON) of what requirements.txt locks, as it is installed in .venv.

    .venv-supply/bin/python infra/supply/sbom.py FILE      # make sbom

The same environment gives the same bytes: no time, no serial number, no path of this machine. A package that is locked
and missing, or installed in another version, fails; what is installed beside the lock is left out.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", flags=re.M)
WITHIN_S = 600.0


def key(name: str, version: str) -> str:
    """Return a package's name as PEP 503 writes it, and its version."""
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def narrowed(bill: dict[str, Any], requirements: str) -> dict[str, Any]:
    """Return `bill` with the locked packages alone, without local addresses. Raises ValueError when one is missing."""
    wanted = {key(name, version) for name, version in PIN.findall(requirements)}
    kept = [one for one in bill["components"] if key(one["name"], one["version"]) in wanted]
    if missing := wanted - {key(one["name"], one["version"]) for one in kept}:
        raise ValueError(f"locked and not installed so: {', '.join(sorted(missing))}; run make install")
    root = bill.get("metadata", {}).get("component", {})
    for one in [root, *kept]:
        known = one.get("externalReferences", [])
        one["externalReferences"] = [each for each in known if not each["url"].startswith("file:")]
    refs = {one["bom-ref"] for one in kept} | {root.get("bom-ref")}
    edges = [
        {**each, **({"dependsOn": [ref for ref in each["dependsOn"] if ref in refs]} if "dependsOn" in each else {})}
        for each in bill.get("dependencies", [])
        if each["ref"] in refs
    ]
    return {**bill, "components": kept, "dependencies": edges}


def main(arguments: list[str]) -> int:
    """Write the bill to the file that is named; return 1 when the environment isn't what is locked."""
    command = [
        str(Path(sys.executable).with_name("cyclonedx-py")), "environment", "--output-reproducible", "--of", "JSON",
        "--sv", "1.6", "--pyproject", str(ROOT / "pyproject.toml"), str(ROOT / ".venv" / "bin" / "python"),
    ]  # fmt: skip
    made = subprocess.run(command, check=True, capture_output=True, text=True, timeout=WITHIN_S)
    try:
        bill = narrowed(json.loads(made.stdout), (ROOT / "requirements.txt").read_text())
    except ValueError as fault:
        print(fault, file=sys.stderr)
        return 1
    target = Path(arguments[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.new")
    new.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")
    new.replace(target)
    print(f"{target}: {len(bill['components'])} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
