"""The treatment of one column of a contract: its name and parameters, checked against the column's type and class."""

from __future__ import annotations

import hashlib
from typing import Any

from cloakhouse.contracts import treatments
from cloakhouse.contracts.hierarchies import MAX_BYTES, read_hierarchy
from cloakhouse.contracts.model import Column, ColumnClass, Kind, Treatment
from cloakhouse.contracts.source import Path as Node
from cloakhouse.contracts.source import Source
from cloakhouse.contracts.treatment_faults import fault_in

NEVER_KEPT = (ColumnClass.DIRECT, ColumnClass.PAYMENT)
BARELY = ("keep", "shuffle", "perturb", "round", "suppress rare", "scrub")  # an identifier would stay what it is


def read_treatment(
    source: Source, path: Node, properties: dict[str, Node], kind: Kind, logical_type: str, cls: ColumnClass
) -> Treatment:
    """Return the checked treatment of the column at `path`. Raises ContractError."""
    if kind is Kind.SYNTHETIC:
        if cls in NEVER_KEPT or "treatment" in properties:
            raise source.error(
                path,
                expected="synthetic columns without treatment, and none of class " + " or ".join(NEVER_KEPT),
                found=f"a column of class {cls.value}" if cls in NEVER_KEPT else "a treatment",
                remedy="leave the column out of the synthetic dataset, or remove the treatment",
                code="treatment",
            )
        return Treatment("keep")
    if "treatment" not in properties:
        raise source.error(
            path,
            expected="a treatment",
            found="none",
            remedy="add customProperties `treatment`: one of " + ", ".join(treatments.REGISTRY),
            code="treatment",
        )
    node = properties["treatment"]
    value: Any = source.data
    for step in node:
        value = value.get(step) if isinstance(value, dict) else value[step]
    name, parameters = (value, {}) if isinstance(value, str) else _single(source, node, value)
    fault = fault_in(name, parameters, logical_type)
    if fault:
        key, expected, found = fault
        raise source.error(
            (*node, name, key) if key else node,
            expected=expected,
            found=found,
            remedy="correct the treatment; `cloakhouse contracts --treatments` lists them all",
            code="treatment",
        )
    if name in BARELY and cls in NEVER_KEPT:
        raise source.error(
            node,
            expected=f"a {cls.value} to be dropped, tokenized, substituted, generalized or masked",
            found=name,
            remedy="choose `drop` unless a purpose needs the column, else `token`",
            code="treatment",
        )
    if "hierarchy" in parameters:
        parameters = {
            **parameters,
            "hierarchy": _with_labels(source, (*node, name, "hierarchy"), parameters["hierarchy"]),
        }
    return Treatment(name, parameters)


def _with_labels(source: Source, node: Node, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return a hierarchy's parameters with the label of every value at its level, read from the file beside."""
    if source.folder is None:
        raise source.error(
            node,
            expected="a contract in a folder, with the file of its hierarchy beside it",
            found="a contract without a folder",
            remedy="load it from its file",
            code="hierarchy",
        )
    try:
        with (source.folder / wanted["file"]).open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as fault:
        raise source.error(
            (*node, "file"),
            expected=f"a UTF-8 file {wanted['file']} beside the contract",
            found=type(fault).__name__,
            remedy="restore the file, or correct its name",
            code="hierarchy",
        ) from None
    digest = hashlib.sha256(raw).hexdigest()
    if digest != wanted["sha256"]:
        raise source.error(
            (*node, "sha256"),
            expected=f"{wanted['file']} as it was when this version of the contract was written",
            found=f"a file with the digest {digest}",
            remedy="restore the file; or, if the change is meant, raise the contract's version and correct the digest",
            code="hierarchy",
        )
    levels = read_hierarchy(text, wanted["file"])
    return {**wanted, "labels": levels.level(wanted["level"])}


def _single(source: Source, node: Node, value: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, dict) or len(value) != 1:
        raise source.error(
            node,
            expected="one treatment: its name, or {name: {parameters}}",
            found=type(value).__name__,
            remedy="write e.g. `token: {domain: customer, purpose: analytics}`",
            code="treatment",
        )
    ((name, parameters),) = value.items()
    if not isinstance(parameters, dict | None):
        raise source.error(
            (*node, name),
            expected=f"the parameters of {name} as a mapping",
            found=type(parameters).__name__,
            remedy="write e.g. `token: {domain: customer, purpose: analytics}`",
            code="treatment",
        )
    return str(name), dict(parameters or {})


def check_subjects(source: Source, columns: tuple[Column, ...]) -> None:
    """Raise ContractError for a `perSubject` that names no column whose values have a canonical form."""
    by_name = {column.name: column for column in columns}
    for index, column in enumerate(columns):
        name = column.treatment.parameters.get("perSubject")
        if name is None:
            continue
        subject = by_name.get(name)
        if subject is None or subject.logical_type not in treatments.CANONICAL:
            raise source.error(
                ("schema", 0, "properties", index),
                expected=f"`perSubject` of `{column.name}` as a column of type "
                + " or ".join(sorted(treatments.CANONICAL)),
                found=f"`{name}`, of type {subject.logical_type}" if subject else f"no column `{name}`",
                remedy="name the column that tells whose row it is",
                code="treatment",
            )
