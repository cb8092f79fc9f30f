"""The columns of a contract: name, type, class and treatment of each, checked against one another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from cloakhouse.contracts.column_treatments import read_treatment
from cloakhouse.contracts.fields import Fields, custom_properties
from cloakhouse.contracts.model import Column, ColumnClass, Kind, Reference
from cloakhouse.contracts.options import read_options
from cloakhouse.contracts.source import Path as Node
from cloakhouse.contracts.source import Source

LOGICAL_TYPES = ("string", "integer", "number", "boolean", "date", "timestamp")
KEPT_FOR = re.compile(r"[^\s][^\n\r\t]{0,199}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def read_columns(source: Source, kind: Kind, *, accepted: bool = False) -> Iterator[Column]:
    """Yield the declared columns in order; keys of an `accepted` text are not compared with ODCS again.

    Raises ContractError at the first that is refused.
    """
    schema = source.data.get("schema") or []
    if len(schema) != 1 or not schema[0].get("properties"):
        raise source.error(
            ("schema",),
            expected="one schema object with properties",
            found=f"{len(schema)} objects",
            remedy="declare the columns under schema[0].properties; one contract describes one dataset",
        )
    seen: set[str] = set()
    for index in range(len(schema[0]["properties"])):
        column = _column(source, ("schema", 0, "properties", index), kind, accepted=accepted)
        if column.name in seen:
            raise source.error(
                ("schema", 0, "properties", index, "name"),
                expected="each column once",
                found=f"`{column.name}` a second time",
                remedy="remove one of the two",
            )
        seen.add(column.name)
        yield column


def _column(source: Source, path: Node, kind: Kind, *, accepted: bool) -> Column:
    fields = Fields(source, path)
    name = fields.text("name", NAME, "a name of lower-case letters, digits and _")
    logical_type = fields.choice("logicalType", LOGICAL_TYPES)
    properties = custom_properties(source, path, {"class", "treatment", "keptFor"})
    if "class" not in properties:
        raise source.error(
            path,
            expected=f"a class for column `{name}`",
            found="none",
            remedy="add customProperties `class`: one of " + ", ".join(c.value for c in ColumnClass),
            code="class",
        )
    holder = Fields(source, properties["class"][:-1])
    column_class = ColumnClass(holder.choice("value", [c.value for c in ColumnClass]))
    treatment = read_treatment(source, path, properties, kind, logical_type, column_class)
    options = read_options(fields, logical_type)
    required = fields.data.get("required", False)
    if type(required) is not bool:
        raise fields.fault("required", "true or false", type(required).__name__, "correct `required`")
    if not accepted:
        fields.nothing_else(*_odcs_keys())
    return Column(
        name=name,
        logical_type=logical_type,
        required=required,
        column_class=column_class,
        treatment=treatment,
        minimum=options.minimum,
        maximum=options.maximum,
        pattern=options.pattern,
        max_length=options.max_length,
        reference=_reference(fields),
        kept_for=_kept_for(source, properties, treatment.name),
    )


def _kept_for(source: Source, properties: Mapping[str, Node], treatment: str) -> str:
    """Return the purpose that is stated for a column which no other declaration uses."""
    if "keptFor" not in properties:
        return ""
    holder = Fields(source, properties["keptFor"][:-1])
    if treatment == "drop":
        raise holder.fault("value", "`keptFor` at a column that is kept", "one that is dropped", "remove `keptFor`")
    return holder.text("value", KEPT_FOR, "a purpose in one line of at most 200 characters")


def _reference(fields: Fields) -> Reference | None:
    relationships = fields.data.get("relationships")
    if not relationships:
        return None
    to = str(relationships[0].get("to", ""))
    match = re.fullmatch(r"([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)", to)
    if len(relationships) != 1 or match is None:
        raise fields.fault(
            "relationships", "one relationship to `dataset.column`", "another form", "write to: customers.id"
        )
    return Reference(match.group(1), match.group(2))


def _odcs_keys() -> frozenset[str]:
    """Return the keys that ODCS knows for a column; its model would ignore others."""
    from open_data_contract_standard.model import SchemaProperty

    return frozenset(SchemaProperty.model_fields)
