"""Conditions of AWS IAM policies, as its reference says (IAM User Guide, "Condition operators" and "multivalued keys").

What isn't known here is refused with ValueError: a test must not pass because an operator was skipped.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence

Context = Mapping[str, str | Sequence[str]]
Compare = Callable[[str, str], bool]


def glob(pattern: str, text: str) -> bool:
    """Return whether `text` matches a pattern of `*` (any text) and `?` (one character)."""
    return _compiled(pattern).fullmatch(text) is not None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    if "${" in pattern:
        raise ValueError("policy variables aren't known here")
    parts = re.split(r"([*?])", pattern)
    return re.compile("".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts), re.DOTALL)


def arn_glob(pattern: str, text: str) -> bool:
    """Return whether an ARN matches: each of its six parts by itself, so no `*` crosses a colon but the last ones."""
    wanted, found = pattern.split(":", 5), text.split(":", 5)
    return len(wanted) == len(found) and all(glob(w, f) for w, f in zip(wanted, found, strict=True))


def _boolean(wanted: str, found: str) -> bool:
    return wanted.lower() == found.lower()


OPERATORS: dict[str, Compare] = {
    "StringEquals": lambda w, f: w == f,
    "StringEqualsIgnoreCase": lambda w, f: w.lower() == f.lower(),
    "StringLike": glob,
    "ArnEquals": arn_glob,
    "ArnLike": arn_glob,
    "Bool": _boolean,
    "NumericEquals": lambda w, f: float(f) == float(w),
    "NumericLessThan": lambda w, f: float(f) < float(w),
    "NumericLessThanEquals": lambda w, f: float(f) <= float(w),
    "NumericGreaterThan": lambda w, f: float(f) > float(w),
    "NumericGreaterThanEquals": lambda w, f: float(f) >= float(w),
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}


def listed(value: str | Sequence[str]) -> list[str]:
    """Return a value, or a list of values, as a list."""
    return [value] if isinstance(value, str) else list(value)


def holds(conditions: Mapping[str, Mapping[str, str | Sequence[str]]], context: Context) -> bool:
    """Return whether all of `conditions` hold. Names of keys are compared without case."""
    known = {key.lower(): value for key, value in context.items()}
    return all(
        _holds(operator, listed(wanted), known.get(key.lower()))
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _holds(operator: str, wanted: list[str], found: str | Sequence[str] | None) -> bool:
    if operator == "Null":
        return any((found is None) == (value.lower() == "true") for value in wanted)
    quantifier, _, plain = operator.rpartition(":")
    if plain.endswith("IfExists"):
        plain = plain.removesuffix("IfExists")
        if found is None:
            return True
    negated = plain in NEGATED
    compare = OPERATORS.get(NEGATED.get(plain, plain))
    if compare is None:
        raise ValueError(f"operator {operator} isn't known here")

    def one(value: str) -> bool:
        return any(compare(w, value) for w in wanted) != negated

    if quantifier == "ForAllValues":  # holds for a key that isn't there, which Null has to rule out
        return all(one(value) for value in listed(found or ()))
    if quantifier == "ForAnyValue":
        return any(one(value) for value in listed(found or ()))
    if quantifier:
        raise ValueError(f"operator {operator} isn't known here")
    if found is None:
        return negated
    if not isinstance(found, str):
        raise ValueError(f"{operator} compares one value, and the request has several")
    return one(found)
