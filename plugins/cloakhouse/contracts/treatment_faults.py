"""What is wrong with a treatment, if anything: unknown or missing parameters, and what contradict each other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from cloakhouse.contracts.treatments import ALPHABETS, REGISTRY, TEXT

MIN_DOMAIN = 1_000_000
MAX_STEPS = 2**31 - 1
GENERALIZE_TYPES: Mapping[str, frozenset[str]] = {
    "to": frozenset({"timestamp", "date"}),
    "ageBands": frozenset({"date"}),
    "bins": frozenset({"integer", "number"}),
    "prefix": TEXT,
    "groups": TEXT,
    "hierarchy": frozenset({"string", "integer"}),
    "clamp": frozenset({"integer", "number", "date"}),
}
Fault = tuple[str, str, str]
"""Parameter at fault or empty, what was expected, what was found."""


def fault_in(name: str, parameters: Mapping[str, Any], logical_type: str) -> Fault | None:
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
    chosen = sorted(spec.one_of & parameters.keys())
    if spec.one_of and len(chosen) != 1:
        return "", f"{name} with one of {', '.join(sorted(spec.one_of))}", f"{len(chosen)} of them"
    return _fault_between(name, parameters, logical_type)


def _fault_between(name: str, parameters: Mapping[str, Any], logical_type: str) -> Fault | None:
    """Return what parameters, or one and the column's type, contradict each other in."""
    if name == "generalize":
        return _fault_of_generalize(parameters, logical_type)
    if name == "format-preserving token":
        return _fault_of_ff1(parameters)
    if name == "mask" and "with" in parameters and len(parameters) > 1:
        return "with", "`with` alone", "other parameters beside it"
    if parameters.get("normalise", "exact") != "exact" and logical_type != "string":
        return "normalise", "`normalise` on string", f"a column of type {logical_type}"
    if name == "perturb":
        return _fault_of_perturb(parameters, logical_type)
    if name == "round" and logical_type == "integer" and type(parameters["to"]) is not int:
        return "to", "a whole number for a column of integers", "another number"
    if name == "suppress rare" and "other" in parameters and logical_type != "string":
        return "other", "`other` on string", f"a column of type {logical_type}"
    return None


def _fault_of_generalize(parameters: Mapping[str, Any], logical_type: str) -> Fault | None:
    [chosen] = REGISTRY["generalize"].one_of & parameters.keys()
    if logical_type not in GENERALIZE_TYPES[chosen]:
        return (
            chosen,
            f"`{chosen}` on {', '.join(sorted(GENERALIZE_TYPES[chosen]))}",
            f"a column of type {logical_type}",
        )
    if ("on" in parameters) != (chosen == "ageBands"):
        return "", "`ageBands` with `on`, the day ages are counted on, and only there", "otherwise"
    if "fill" in parameters and chosen != "prefix":
        return "fill", "`fill` with `prefix`", f"`{chosen}`"
    if "other" in parameters and chosen not in ("groups", "hierarchy"):
        return "other", "`other` with `groups` or `hierarchy`", f"`{chosen}`"
    if chosen == "clamp":
        wanted: tuple[type, ...] = {"date": (dt.date,), "integer": (int,)}.get(logical_type, (int, float))
        if not all(type(end) in wanted for end in parameters["clamp"].values()):
            return "clamp", f"ends that a column of type {logical_type} can have", "others"
    return None


def _fault_of_ff1(parameters: Mapping[str, Any]) -> Fault | None:
    alphabet, luhn = parameters.get("alphabet", "digits"), "luhn" in parameters
    if alphabet != "digits" and (luhn or parameters.get("normalise") == "digits"):
        return "alphabet", "digits, with `luhn` or `normalise: digits`", alphabet
    kept = parameters.get("keepPrefix", 0) + parameters.get("keepSuffix", 0)
    free = parameters["length"] - kept - luhn
    if free < 2 or len(ALPHABETS[alphabet]) ** free < MIN_DOMAIN:
        return (
            "length",
            f"a domain of at least {MIN_DOMAIN:,} values (SP 800-38G Rev. 1)",
            f"{free} free places" + (", the check digit not counted" if luhn else ""),
        )
    return None


def _fault_of_perturb(parameters: Mapping[str, Any], logical_type: str) -> Fault | None:
    if logical_type != "number" and type(parameters["bound"]) is not int:
        return "bound", f"a whole number for a column of type {logical_type}", "another number"
    if logical_type != "number" and "step" in parameters:
        return "step", "`step` on number", f"a column of type {logical_type}"
    if logical_type == "number" and parameters["bound"] < parameters.get("step", 0.01):
        return "bound", "a bound of at least the step", "a smaller one"
    if parameters["bound"] / parameters.get("step", 0.01 if logical_type == "number" else 1) > MAX_STEPS:
        return "bound", f"a bound of at most {MAX_STEPS:,} steps", "a larger one"
    return None
