"""The page about treatments: what the registry says of each, and examples of it (`treated_examples`).

The page is docs/treatments.md; `make docs` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from cloakhouse.client.cells import JsonValue, cell_text
from cloakhouse.client.treated_examples import PARTITION, SET_ASIDE, Shown, shown
from cloakhouse.client.treatment_examples import HIERARCHY, HIERARCHY_FILE
from cloakhouse.contracts.treatment_faults import GENERALIZE_TYPES, fault_in
from cloakhouse.contracts.treatments import ANY_TYPE, REGISTRY
from cloakhouse.tokens.apply import LOGICAL, output_type

ONLY_TEXT = ("hierarchy", "normalise")  # parameters that limit the types, or that are read from a file
_HEAD = f"""\
# Treatments

What a contract may have done to a column. `make docs` writes this page: the text is that of the registry, and every
example was parsed as a contract and treated by the code that treats deliveries. The values are invented. The keys are
those of roots of 32 zero bytes, derived as [tokens.md](tokens.md) says, for the partition {PARTITION} of a dataset
`example`: an installation has roots of its own, so its tokens, substitutes and noise are others.

In the tables binary values are hexadecimal, *null* is a missing value, and *set aside* a row that goes to quarantine,
as its value has not the form that the treatment takes. What a column becomes is an Arrow type.

How tokens are made, and which treatment serves what, is in [tokens.md](tokens.md); contracts as a whole are in
[contracts.md](contracts.md).
"""


def facts(name: str) -> dict[str, Any]:
    """Return what is known of the treatment `name`, for programs: see the keys. KeyError for an unknown one."""
    spec = REGISTRY[name]
    return {
        "name": name,
        "summary": spec.summary,
        "protects": spec.protects,
        "keeps": spec.keeps,
        "types": sorted(spec.types),
        "parameters": [
            {"name": key, "required": parameter.required, "value": value_of(name, key), "meaning": parameter.meaning}
            for key, parameter in spec.parameters.items()
        ],
        "examples": [
            {
                "shows": one.example.says,
                "contract": one.example.yaml,
                "becomes": one.becomes,
                "rows": [_record(one, row) for row in one.rows],
            }
            for one in shown(name)
        ],
    }


def value_of(name: str, parameter: str) -> str:
    """Return what a value of a parameter must be, in the words of its refusal."""
    expected = str(REGISTRY[name].parameters[parameter].check(object()))
    if name != "generalize" or parameter not in GENERALIZE_TYPES:
        return expected
    return f"{expected} (on {', '.join(sorted(GENERALIZE_TYPES[parameter]))})"


def _record(one: Shown, row: tuple[JsonValue, JsonValue, JsonValue]) -> dict[str, JsonValue]:
    subject = {one.example.subject[0]: row[0]} if one.example.subject else {}
    return {**subject, "before": row[1], **({"after": row[2]} if one.becomes else {})}


def page() -> str:
    """Return docs/treatments.md: every treatment of the registry, in its order."""
    index = _table(
        ("treatment", "what it does", "types"),
        ([f"[{name}](#{name.replace(' ', '-')})", spec.summary, types_of(name)] for name, spec in REGISTRY.items()),
    )
    return "\n".join([_HEAD, *index, "", *(section(name) for name in REGISTRY)])


def section(name: str) -> str:
    """Return what the page says of one treatment, in Markdown. KeyError for an unknown one."""
    spec = REGISTRY[name]
    lines = [f"## {name}", "", f"{spec.summary[0].upper()}{spec.summary[1:]}.", ""]
    lines += [f"- protects against: {spec.protects}", f"- keeps: {spec.keeps}", f"- types: {types_of(name)}"]
    lines += [f"- becomes: {', '.join(becomes(name)) or 'nothing'}", ""]
    if spec.parameters:
        lines += [*_parameters(name), ""]
    if spec.one_of:
        lines += [
            f"Exactly one of these is given: {', '.join(f'`{k}`' for k in spec.parameters if k in spec.one_of)}.",
            "",
        ]
    return "\n".join([*lines, *(line for one in shown(name) for line in _example(one))])


def types_of(name: str) -> str:
    """Return the logical types that a treatment applies to."""
    types = REGISTRY[name].types
    return "all" if types == ANY_TYPE else ", ".join(sorted(types))


def becomes(name: str) -> list[str]:
    """Return the Arrow types that the examples of a treatment give, or that the type stays, each once."""
    found = []
    for one in shown(name):
        raw = {key: value for key, value in one.column.treatment.parameters.items() if key not in ONLY_TEXT}
        kinds = [kind for kind in REGISTRY[name].types if fault_in(name, raw, kind) is None] or [one.example.kind]
        results = [output_type(replace(one.column, logical_type=kind)) for kind in kinds]
        stays = results == [LOGICAL[kind] for kind in kinds]
        found.append("the type that it was" if stays else f"`{one.becomes}`")
    return list(dict.fromkeys(found)) if name != "drop" else []


def _parameters(name: str) -> list[str]:
    rows = (
        [f"`{key}`" + (", required" if parameter.required else ""), value_of(name, key), parameter.meaning]
        for key, parameter in REGISTRY[name].parameters.items()
    )
    return _table(("parameter", "value", "meaning"), rows)


def _example(one: Shown) -> Iterator[str]:
    example = one.example
    says = example.says[0].upper() + example.says[1:]
    yield from (f"{says}:", "", "```yaml", *example.yaml.splitlines(), "```", "")
    if "hierarchy" in example.treatment:
        yield from (f"with `{HIERARCHY_FILE}` beside the contract:", "", "```", *HIERARCHY.splitlines(), "```", "")
    names = [f"`{example.name}`", *([f"becomes `{one.becomes}`"] if one.becomes else [])]
    subject = [f"`{example.subject[0]}`"] if example.subject else []
    rows = ([_cell(value) for value in _record(one, row).values()] for row in one.rows)
    yield from (*_table((*subject, *names), rows), "")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows)]


def _cell(value: JsonValue) -> str:
    if value is None or value == "":
        return "*null*" if value is None else "*empty*"
    return "*set aside*" if value == SET_ASIDE else f"`{cell_text(value).replace('|', chr(92) + '|')}`"
