"""Parse every .tf file below a folder: `python infra/checks/hcl.py infra/terraform`.

Ends with 1 and names the files that don't parse, or when there is none at all.
"""

import sys
from pathlib import Path

import hcl2


def faults(root: Path) -> list[str]:
    """Return a line for each file that isn't HCL."""
    found = []
    for path in sorted(root.rglob("*.tf")):
        try:
            with path.open(encoding="utf-8") as text:
                hcl2.load(text)
        except Exception as fault:  # noqa: BLE001 the parser has many kinds of them, and each means the same
            found.append(f"{path}: {type(fault).__name__}: {str(fault).splitlines()[0]}")
    return found


def main(arguments: list[str]) -> int:
    """Return 0 if there are files and all parse."""
    root = Path(arguments[0])
    count = len(list(root.rglob("*.tf")))
    found = faults(root)
    for line in found:
        print(line, file=sys.stderr)
    print(f"{count} files of HCL, {len(found)} that don't parse")
    return 1 if found or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
