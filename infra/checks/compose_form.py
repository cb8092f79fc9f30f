"""Reads infra/compose/compose.yaml as Compose does (variables filled in), by the specification's types and our rules.

python -m infra.checks.compose_form        # needs compose-spec (infra/checks/requirements.txt)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from infra.checks.compose_rules import faults

FILE = Path(__file__).resolve().parents[1] / "compose" / "compose.yaml"
VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z_]+)(:\?)?\})")


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with `${NAME:?}` filled in and `$$` as `$`. Raises KeyError for a variable that isn't given."""
    return VARIABLE.sub(lambda found: "$" if found[1] else values[found[2]], text)


def main() -> int:
    """Check the file; return 1 when something doesn't hold."""
    from compose_spec import PyCompose  # type: ignore[import-not-found]  # of .venv-infra

    text = FILE.read_text()
    names = {found[2] for found in VARIABLE.finditer(text) if found[2]}
    values = {name: "0" * 64 if name.endswith("_DIGEST") else f"/{name.lower()}" for name in names}
    plain = yaml.safe_dump(yaml.safe_load(interpolated(text, values | {"CLOAKHOUSE_REGISTRY": "registry.example"})))
    wrong = faults(yaml.safe_load(text))
    try:
        services = PyCompose.from_yaml(plain).service_names()
    except ValueError as error:
        services, wrong = [], [*wrong, f"not of the form that Compose reads: {error}"]
    print(f"compose: {len(services)} services, {len(wrong)} faults", *wrong, sep="\n  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
