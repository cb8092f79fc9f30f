"""What the payload of a release must be: every field that there is and no other, each of its type and form.

`release_schema.json` says the same for other programs, but for what a schema can't say: that the files' rows add up,
that no path and no column is there twice, and that every file lies in the dataset's own folder.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from cloakhouse.errors import IntegrityError
from cloakhouse.lake.store.protocol import checked_path

Fault = tuple[str, str]  # (expected, found)
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
ZONES = ("synthetic", "aggregates")
DIGEST = re.compile(r"[0-9a-f]{64}")
HEX = re.compile(r"[0-9a-f]{1,64}")
LARGEST = 2**63 - 1
ITEMS = {
    "columns": ("name", "type", "class", "key"),
    "contract": ("version", "digest"),
    "run": ("dag", "run"),
    "code": ("cloakhouse",),
}


def fault_in(content: Any) -> Fault | None:
    """Return what is wrong with the payload of a release, as (expected, found); None for nothing."""
    if not isinstance(content, dict) or set(content) != set(_FIELDS):
        return "the fields of a release of format 1, and no other", "others"
    for name, check in _FIELDS.items():
        if not check(content[name]):
            return f"a release whose field `{name}` has its form", "another"
    return _inconsistent(content)


def _inconsistent(content: dict[str, Any]) -> Fault | None:
    home = f"{content['zone']}/{content['dataset']}/"
    paths = [item["path"] for item in content["files"]]
    if not all(path.startswith(home) and _sound(path) for path in paths):
        return f"files below {home}", "a file elsewhere, or a path that the lake gives to no file"
    if len(set(paths)) != len(paths) or len({c["name"] for c in content["columns"]}) != len(content["columns"]):
        return "each file and each column once", "one that is listed twice"
    rows = sum(item["rows"] for item in content["files"])
    return None if rows == content["rows"] else (f"files of {content['rows']} rows", f"files of {rows} rows")


def _sound(path: str) -> bool:
    try:
        return checked_path(path) == path and not path.split("/")[2].startswith("releases")
    except IntegrityError:
        return False


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def _like(form: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and form.fullmatch(value) is not None


def _texts(*names: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and set(value) == set(names) and all(map(_text, value.values()))


def _list(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _moment(value: Any) -> bool:
    try:
        moment = dt.datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return False
    return moment.utcoffset() == dt.timedelta() and moment.isoformat() == value


def _ref(value: Any) -> bool:
    return _texts("path", "sha256")(value) and _like(DIGEST)(value["sha256"])


def _file(value: Any) -> bool:
    names = {"path", "bytes", "rows", "sha256"}
    if not isinstance(value, dict) or set(value) != names or not _text(value["path"]):
        return False
    return _count(value["bytes"]) and _count(value["rows"]) and _like(DIGEST)(value["sha256"])


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "format": lambda value: type(value) is int and value == 1,
    "dataset": _like(NAME),
    "version": lambda value: _count(value) and value > 0,
    "zone": lambda value: value in ZONES,
    "published_at": _moment,
    "fingerprint": _like(HEX),
    "contract": _texts(*ITEMS["contract"]),
    "columns": _list(_texts(*ITEMS["columns"])),
    "files": _list(_file),
    "rows": _count,
    "keys": _list(_text),
    "treatments": _mapping,
    "parents": _mapping,
    "run": _texts(*ITEMS["run"]),
    "evidence": _ref,
    "source": _ref,
    "code": _texts(*ITEMS["code"]),
    "card": _mapping,
    "replaces": lambda value: value is None or _ref(value),
}
