"""Parse every .tf file below a folder and follow its references: `python infra/checks/hcl.py infra/terraform`.

Modules are the folders below `modules`, each called once under its folder's name. Ends with 1 and says what is wrong:
files that don't parse, none at all, or references that lead nowhere (`hcl_references`).
"""

import sys
from pathlib import Path
from typing import Any

import hcl2
from hcl_references import faults


def parsed(folder: Path) -> dict[str, Any]:
    """Return the blocks of all files of one module, by their kind. Raises ValueError that names a file."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.tf")):
        try:
            with path.open(encoding="utf-8") as text:
                blocks = hcl2.load(text)
        except Exception as fault:  # noqa: BLE001 the parser has many kinds of them, and each means the same
            raise ValueError(f"{path}: {type(fault).__name__}: {str(fault).splitlines()[0]}") from None
        for kind, bodies in blocks.items():
            if isinstance(bodies, list):
                found.setdefault(kind, []).extend(bodies)
    return found


def main(arguments: list[str]) -> int:
    """Return 0 if there are files, all parse, and all references hold."""
    root = Path(arguments[0])
    folders = {"": root, **{path.name: path for path in sorted((root / "modules").iterdir()) if path.is_dir()}}
    try:
        modules = {name: parsed(folder) for name, folder in folders.items()}
    except ValueError as fault:
        print(fault, file=sys.stderr)
        return 1
    found = faults(modules)
    for line in found:
        print(line, file=sys.stderr)
    count = len(list(root.rglob("*.tf")))
    print(f"{count} files of HCL in {len(modules)} modules, {len(found)} references wrong")
    return 1 if found or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
