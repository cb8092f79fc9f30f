"""Examples of treatments, treated for real: what the page about treatments shows.

Every example is a column of a contract that the parser takes, and goes through the calls that pseudonymization makes:
`untreatable`, then `treat`. So that a result is the same on every machine, all token roots are 32 zero bytes here;
keys follow from them as `cloakhouse.keys.derive` says.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.client.cells import JsonValue, json_value
from cloakhouse.client.treatment_examples import EXAMPLES, HIERARCHY, HIERARCHY_FILE, Example
from cloakhouse.contracts.model import Column, Contract
from cloakhouse.contracts.parser import load_contract
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.protocol import KeyName
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.apply import LOGICAL, Around, output_type, treat, untreatable
from cloakhouse.tokens.place import Place
from cloakhouse.tokens.rare import Counts

PARTITION = "2026-11-02"
SET_ASIDE = "(row set aside)"
_PLACE = Place("example", PARTITION)
_CONTRACT = f"""\
apiVersion: v3.1.0
kind: DataContract
id: urn:cloakhouse:contract:example
name: example
version: 1.0.0
status: active
description: {{purpose: example}}
customProperties:
  - property: dataset
    value: {{kind: feed, owner: docs, purpose: analytics, legalBasis: none, retentionDays: {{landing: 1}}, \
unitOfPrivacy: household}}
  - property: feed
    value: {{files: "example-{{partition}}.csv", format: csv, period: day, firstPartition: {PARTITION}, \
afterLanding: delete}}
schema:
  - name: example
    logicalType: object
    properties:
"""


class ExampleKeys(TokenKeys):
    """Token keys that anyone can derive: every root is 32 zero bytes. They serve examples alone."""

    def __init__(self) -> None:
        """Take no key service and no folder."""

    def _root(self, name: KeyName) -> SecretKey:
        return SecretKey(bytes(32))


@dataclass(frozen=True)
class Shown:
    """An example after its treatment.

    Attributes:
        example: what was treated.
        column: its column, as the parser made it.
        becomes: Arrow type of the treated column, empty where there is none.
        rows: of every row the subject (None where there is none), the value, and what became of it.
    """

    example: Example
    column: Column
    becomes: str
    rows: tuple[tuple[JsonValue, JsonValue, JsonValue], ...]


@cache
def shown(name: str) -> tuple[Shown, ...]:
    """Return the examples of the treatment `name`, treated. KeyError for a treatment without examples."""
    return tuple(_shown(example) for example in EXAMPLES[name])


def contract_of(example: Example) -> Contract:
    """Return the contract of a dataset with the column of `example`, and its subject's. Raises ContractError."""
    columns = [example.yaml]
    if example.subject:
        columns.append(Example("", example.subject[0], "string", "drop", ()).yaml)
    lines = "".join(columns).splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "example.odcs.yaml")
        path.write_text(_CONTRACT + "".join("      " + line for line in lines), "utf-8")
        path.with_name(HIERARCHY_FILE).write_text(HIERARCHY, "utf-8")
        return load_contract(path)


def _shown(example: Example) -> Shown:
    column = contract_of(example).column(example.name)
    values = pa.array(example.values, LOGICAL[example.kind])
    subjects = example.subject[1] if example.subject else (None,) * len(values)
    before = [json_value(value) for value in example.values]
    if column.treatment.name == "drop":
        return Shown(example, column, "", tuple(zip(subjects, before, (None,) * len(values), strict=True)))
    unfit = untreatable(values, column)
    fit = pc.if_else(pa.array(~unfit), values, pa.scalar(None, values.type))
    treated = treat(fit, column, ExampleKeys(), _around(column, fit, pa.array(subjects, pa.string())))
    after = [SET_ASIDE if bad else json_value(value) for bad, value in zip(unfit, treated.to_pylist(), strict=True)]
    return Shown(example, column, str(output_type(column)), tuple(zip(subjects, before, after, strict=True)))


def _around(column: Column, values: pa.Array, subjects: pa.Array) -> Around:
    """Return what stands around the column, as pseudonymization of a delivery would have it."""
    p = column.treatment.parameters
    if column.treatment.name != "suppress rare":
        return Around(_PLACE, {p["perSubject"]: subjects} if "perSubject" in p else {})
    counts = Counts(column=column.name)
    counts.add(values, subjects if "perSubject" in p else None)
    return Around(_PLACE, frequent={column.name: counts.kept(p["atLeast"])})
