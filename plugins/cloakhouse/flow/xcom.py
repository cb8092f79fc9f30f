"""The guarded XCom backend: tasks exchange references and counts, and nothing else gets into Airflow's database.

Everybody who may look at a run in Airflow can read its XComs. So a value is refused unless it is None, a number,
or a flat mapping of known names to numbers and to the two forms of text a manifest reference has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom

from cloakhouse.errors import AccessRefused

NAMES = frozenset({"path", "sha256", "landed", "duplicates", "refused", "rows", "version"})
PATH = re.compile(r"(?:landing|protected|synthetic|evidence)/[a-z0-9_/.-]{1,200}\.json")
DIGEST = re.compile(r"[0-9a-f]{64}")


def allowed(value: object) -> bool:
    """Return whether `value` may be stored: None, a number, or a mapping as the module says."""
    if value is None or isinstance(value, (bool, int, float)):
        return True
    if not isinstance(value, Mapping) or not value.keys() <= NAMES:
        return False
    return all(_field(name, item) for name, item in value.items())


def _field(name: str, item: object) -> bool:
    if isinstance(item, str):
        form = {"path": PATH, "sha256": DIGEST}.get(name)
        return form is not None and form.fullmatch(item) is not None
    return item is None or isinstance(item, (bool, int, float))


class ReferencesOnlyXCom(BaseXCom):  # type: ignore[misc]
    """Stores references and counts; raises AccessRefused for everything else, before anything is written."""

    @staticmethod
    def serialize_value(value: Any, *, key: str | None = None, task_id: str | None = None, **where: Any) -> str:
        """Return `value` in stored form. Raises AccessRefused when it is not a reference or a count."""
        if not allowed(value):
            raise AccessRefused(
                where=f"XCom {key} of task {task_id}",
                expected="a manifest reference or counts",
                found=f"a {type(value).__name__} of another form",
                not_done="the value was not stored",
                remedy="write data to the lake and return the manifest's reference",
                code="xcom",
            )
        stored: str = BaseXCom.serialize_value(value, key=key, task_id=task_id, **where)
        return stored
