"""The registry of treatments that a contract may name: their parameters, and the types they apply to.

Each entry says what the treatment protects against and what it keeps, so that the page for data engineers
and the refusals of the parser come from one place. How a treatment works is in `cloakhouse.tokens`.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ANY_TYPE = frozenset({"string", "integer", "number", "boolean", "date", "timestamp"})
ALPHABETS = {"digits": "0123456789", "base36": "0123456789abcdefghijklmnopqrstuvwxyz"}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a treatment: whether it must be given, and a check that returns a fault or None."""

    required: bool
    check: Callable[[Any], str | None]


@dataclass(frozen=True)
class TreatmentSpec:
    """What a contract may ask for.

    Attributes:
        summary: what it does, for people.
        protects / keeps: against what, and which analysis stays possible.
        types: ODCS logical types it applies to.
        parameters: allowed parameters by name.
        one_of: groups of parameters of which exactly one must be given.
    """

    summary: str
    protects: str
    keeps: str
    types: frozenset[str]
    parameters: Mapping[str, Parameter]
    one_of: frozenset[str] = frozenset()


def _text(value: Any) -> str | None:
    ok = isinstance(value, str) and 0 < len(value) <= 64 and all(c.isalnum() or c in "-_" for c in value)
    return None if ok else "a word of letters, digits, - or _"


def _choice(*names: str) -> Callable[[Any], str | None]:
    return lambda value: None if value in names else "one of " + ", ".join(names)


def _count(low: int, high: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        ok = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if ok else f"a whole number from {low} to {high}"

    return check


def _edges(value: Any) -> str | None:
    numbers = isinstance(value, list) and value and all(type(v) is int and abs(v) <= 2**53 for v in value)
    rising = numbers and all(a < b for a, b in itertools.pairwise(value))
    return None if rising else "a rising list of whole numbers"


def _groups(value: Any) -> str | None:
    ok = isinstance(value, dict) and value and all(isinstance(v, list) and v for v in value.values())
    members = [member for group in value.values() for member in group] if ok else []
    texts = ok and all(isinstance(member, str) for member in members)
    distinct = texts and len(set(members)) == len(members)
    return None if distinct else "a mapping from each label to the list of texts it stands for, each text once"


def _char(value: Any) -> str | None:
    return None if isinstance(value, str) and len(value) == 1 else "one character"


def _date(value: Any) -> str | None:
    return None if type(value) is dt.date else "a date as YYYY-MM-DD"


def _phrase(value: Any) -> str | None:
    return None if isinstance(value, str) and 0 < len(value) <= 64 else "a text of at most 64 characters"


REGISTRY: Mapping[str, TreatmentSpec] = {
    "drop": TreatmentSpec(
        summary="the column ends at landing; nothing of it reaches the protected zone",
        protects="every use of the column",
        keeps="nothing",
        types=ANY_TYPE,
        parameters={},
    ),
    "keep": TreatmentSpec(
        summary="the value stays as it is, encrypted under the key of its class",
        protects="nobody who may unwrap that key",
        keeps="everything",
        types=ANY_TYPE,
        parameters={},
    ),
    "token": TreatmentSpec(
        summary="128-bit AES-256-CMAC (NIST SP 800-38B) under a key of the domain and the purpose",
        protects="reading the identifier, and joining data of different purposes",
        keeps="equality and joins within the domain and purpose, and frequencies",
        types=frozenset({"string", "integer", "date"}),
        parameters={"domain": Parameter(True, _text), "purpose": Parameter(True, _text)},
    ),
    "format-preserving token": TreatmentSpec(
        summary="FF1 (NIST SP 800-38G) under a key of the domain and the purpose",
        protects="reading the number; kept digits stay readable",
        keeps="length and alphabet, equality, the first and last characters asked for",
        types=frozenset({"string"}),
        parameters={
            "domain": Parameter(True, _text),
            "purpose": Parameter(True, _text),
            "alphabet": Parameter(False, _choice(*ALPHABETS)),
            "length": Parameter(True, _count(6, 56)),
            "keepPrefix": Parameter(False, _count(0, 8)),
            "keepSuffix": Parameter(False, _count(0, 8)),
        },
    ),
    "generalize": TreatmentSpec(
        summary="a coarser value: a time unit, an age band, numeric bins, a prefix, or groups of categories",
        protects="singling out by a fine or rare value",
        keeps="distributions at the coarser level",
        types=frozenset({"string", "integer", "number", "date", "timestamp"}),
        parameters={
            "to": Parameter(False, _choice("hour", "day", "week", "month")),
            "ageBands": Parameter(False, _edges),
            "bins": Parameter(False, _edges),
            "prefix": Parameter(False, _count(1, 32)),
            "groups": Parameter(False, _groups),
            "on": Parameter(False, _date),
            "other": Parameter(False, _phrase),
        },
        one_of=frozenset({"to", "ageBands", "bins", "prefix", "groups"}),
    ),
    "mask": TreatmentSpec(
        summary="characters replaced by one sign, but for a few kept at the ends",
        protects="reading the value; not joins on what is kept",
        keeps="length and the kept characters",
        types=frozenset({"string"}),
        parameters={
            "keepPrefix": Parameter(False, _count(0, 8)),
            "keepSuffix": Parameter(False, _count(0, 8)),
            "sign": Parameter(False, _char),
        },
    ),
}

GENERALIZE_TYPES: Mapping[str, frozenset[str]] = {
    "to": frozenset({"timestamp", "date"}),
    "ageBands": frozenset({"date"}),
    "bins": frozenset({"integer", "number"}),
    "prefix": frozenset({"string"}),
    "groups": frozenset({"string"}),
}


def fault_in(name: str, parameters: Mapping[str, Any], logical_type: str) -> tuple[str, str, str] | None:
    """Return (parameter or "", expected, found) for the first fault of a treatment, or None when it is sound."""
    spec = REGISTRY.get(name)
    if spec is None:
        return "", "a treatment: " + ", ".join(REGISTRY), f"`{name}`"
    if logical_type not in spec.types:
        return "", f"{name} on {', '.join(sorted(spec.types))}", f"a column of type {logical_type}"
    for key, value in parameters.items():
        if key not in spec.parameters:
            return key, f"parameters of {name}: {', '.join(spec.parameters) or 'none'}", f"`{key}`"
        fault = spec.parameters[key].check(value)
        if fault:
            return key, f"`{key}` as {fault}", f"a {type(value).__name__} that is not"
    missing = [k for k, p in spec.parameters.items() if p.required and k not in parameters]
    if missing:
        return "", f"{name} with `{missing[0]}`", "no such parameter"
    return _fault_in_choice(name, spec, parameters, logical_type)


def _fault_in_choice(
    name: str, spec: TreatmentSpec, parameters: Mapping[str, Any], logical_type: str
) -> tuple[str, str, str] | None:
    chosen = sorted(spec.one_of & parameters.keys())
    if spec.one_of and len(chosen) != 1:
        return "", f"{name} with one of {', '.join(sorted(spec.one_of))}", f"{len(chosen)} of them"
    if name == "generalize":
        if logical_type not in GENERALIZE_TYPES[chosen[0]]:
            allowed = ", ".join(sorted(GENERALIZE_TYPES[chosen[0]]))
            return chosen[0], f"`{chosen[0]}` on {allowed}", f"a column of type {logical_type}"
        if chosen[0] == "ageBands" and "on" not in parameters:
            return "", "`ageBands` with `on`, the day ages are counted on", "no such parameter"
    if name == "format-preserving token":
        radix = len(ALPHABETS[parameters.get("alphabet", "digits")])
        free = parameters["length"] - parameters.get("keepPrefix", 0) - parameters.get("keepSuffix", 0)
        if free < 2 or radix**free < 1_000_000:
            return (
                "length",
                "a domain of at least 1,000,000 values (SP 800-38G Rev. 1)",
                f"{free} free places",
            )
    return None
