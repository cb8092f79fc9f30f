"""Brings Airflow's metadata and the control database to what this image needs: two commands, one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WITHIN_S = 1800.0


def main() -> int:
    """Return 0, or the exit code of the command that failed."""
    programs = Path(sys.executable).parent
    for command in (("airflow", "db", "migrate"), ("cloakhouse", "database", "upgrade")):
        ended = subprocess.run([str(programs / command[0]), *command[1:]], timeout=WITHIN_S, check=False)
        if ended.returncode:
            return ended.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
