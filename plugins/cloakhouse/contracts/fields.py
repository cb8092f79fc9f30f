"""Typed access to one mapping of a contract, with refusals that point at the line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from cloakhouse.contracts.source import Path, Source
from cloakhouse.errors import ContractError


class Fields:
    """The mapping at `path` of a Source. Each reader checks one key and remembers that it was read."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self._path = path
        self._read: set[str] = set()
        data = source.data
        for step in path:
            data = data.get(step) if isinstance(data, dict) else data[step]
        if not isinstance(data, dict):
            raise source.error(
                path,
                expected=f"a mapping for `{path[-1] if path else 'the document'}`",
                found="nothing" if data is None else type(data).__name__,
                remedy="declare it as `key: value` lines",
            )
        self.data: dict[str, Any] = data

    def fault(self, key: str, expected: str, found: str, remedy: str) -> ContractError:
        """Return the refusal that points at `key`."""
        return self._source.error((*self._path, key), expected=expected, found=found, remedy=remedy)

    def _get(self, key: str, expected: str) -> Any:
        self._read.add(key)
        if self.data.get(key) is None:
            raise self.fault(key, f"`{key}`: {expected}", "nothing", f"add `{key}`")
        return self.data[key]

    def text(self, key: str, pattern: re.Pattern[str] | None = None, what: str = "a text") -> str:
        """Return the non-empty text at `key`, which must match `pattern` as a whole."""
        value = self._get(key, what)
        if not isinstance(value, str) or not value.strip() or (pattern and not pattern.fullmatch(value)):
            raise self.fault(key, f"`{key}` as {what}", f"a {type(value).__name__} that is not", "correct it")
        return value

    def choice(self, key: str, allowed: Iterable[str]) -> str:
        """Return the text at `key`, one of `allowed`."""
        names = list(allowed)
        value = self._get(key, "one of " + ", ".join(names))
        if value not in names:
            shown = f"`{value}`" if isinstance(value, str) else type(value).__name__
            raise self.fault(key, "one of " + ", ".join(names), shown, f"correct `{key}`")
        return str(value)

    def check_value(self, key: str, wanted: str) -> None:
        """Raise ContractError unless `key` is exactly `wanted`."""
        self.choice(key, [wanted])

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """Return the whole number at `key` within [low, high]."""
        if default is not None and key not in self.data:
            return default
        value = self._get(key, f"a whole number from {low} to {high}")
        if type(value) is not int or not low <= value <= high:
            raise self.fault(key, f"a whole number from {low} to {high}", "another value", f"correct `{key}`")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """Return the finite number at `key` above `low` and at most `high`."""
        value = self._get(key, f"a number above {low:g} and at most {high:g}")
        if type(value) not in (int, float) or not low < value <= high:
            raise self.fault(key, f"a number above {low:g} and at most {high:g}", "another value", f"correct `{key}`")
        return float(value)

    def share(self, key: str) -> float:
        """Return the number at `key` strictly between 0 and 1."""
        value = self._get(key, "a number between 0 and 1")
        if type(value) not in (int, float) or not 0 < value < 1:
            raise self.fault(key, "a number between 0 and 1", "another value", f"correct `{key}`")
        return float(value)

    def names(self, key: str) -> tuple[str, ...]:
        """Return the non-empty list of distinct texts at `key`."""
        value = self._get(key, "a list of names")
        good = isinstance(value, list) and value and all(isinstance(v, str) and v for v in value)
        if not good or len(set(value)) != len(value):
            raise self.fault(key, "a list of distinct names", type(value).__name__, f"correct `{key}`")
        return tuple(value)

    def child(self, key: str) -> Fields:
        """Return the mapping at `key`."""
        self._get(key, "a mapping")
        return Fields(self._source, (*self._path, key))

    def nothing_else(self, *also: str) -> None:
        """Raise ContractError for a key that no reader asked for: a misspelt safeguard must not be ignored."""
        for key in self.data:
            if key not in self._read and key not in also:
                known = ", ".join(sorted(self._read | set(also)))
                raise self.fault(str(key), "one of " + known, f"`{key}`", "correct the spelling or remove it")


def custom_properties(source: Source, path: Path, known: set[str]) -> dict[str, Path]:
    """Return the node of each value of `customProperties` below `path`, by property name."""
    data = source.data
    for step in path:
        data = data[step]
    found: dict[str, Path] = {}
    for index, item in enumerate(data.get("customProperties") or []):
        name = item.get("property")
        here = (*path, "customProperties", index)
        if name not in known or name in found:
            raise source.error(
                (*here, "property"),
                expected="each of: " + ", ".join(sorted(known)) + ", once",
                found=f"`{name}`",
                remedy="remove it, or correct its spelling",
                code="property",
            )
        found[name] = (*here, "value")
    return found
