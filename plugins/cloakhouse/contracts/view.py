"""The `synthesis` of a contract: the engine, and the view it is fitted on."""

from __future__ import annotations

from typing import Any

from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.guarantee import read_privacy
from cloakhouse.contracts.model import Column, Kind, Level, Lookup, Measure, Synthesis, Task, View
from cloakhouse.contracts.source import Path, Source

ENGINES = ("gaussian copula", "ctgan", "tvae", "hma", "par", "dp-marginals")
PRIVATE = ("dp-marginals",)  # engines that give a guarantee
MEASURES = ("first", "month", "weekday", "hour", "count", "count distinct", "sum", "any", "number")
OF_LINES = ("first", "month", "weekday", "hour", "sum", "any", "number")
MAX_VALUES = 10_000
MAX_ROWS = 10_000_000
MAX_PARTITIONS = 100_000


def read_synthesis(
    source: Source, properties: dict[str, Path], kind: Kind, columns: tuple[Column, ...]
) -> Synthesis | None:
    """Return the checked `synthesis` of a synthetic contract, None for a feed. Raises ContractError."""
    if kind is not Kind.SYNTHETIC:
        return None
    if "synthesis" not in properties:
        raise source.error(
            ("customProperties",),
            expected="a property `synthesis` for a synthetic dataset",
            found="none",
            remedy="declare engine, seed, holdoutShare, maxTrainingRows and view",
        )
    fields = Fields(source, properties["synthesis"])
    engine = fields.choice("engine", ENGINES)
    private = engine in PRIVATE  # counts in workers, whatever the number of rows
    synthesis = Synthesis(
        engine=engine,
        view=_view(fields.child("view"), columns),
        holdout_share=fields.share("holdoutShare"),
        max_training_rows=fields.whole("maxTrainingRows", 1, MAX_ROWS, MAX_ROWS if private else None),
        rows=fields.whole("rows", 1, 1_000_000_000) if "rows" in fields.data else None,
        seed=fields.whole("seed", 0, 2**31 - 1),
        privacy=read_privacy(fields, required=private),
        parameters=_parameters(fields),
        tasks=tuple(_tasks(fields, columns)),
        segments=_segments(fields, columns),
    )
    fields.nothing_else("parameters", "tasks", "segments")
    return synthesis


def _parameters(fields: Fields) -> dict[str, float]:
    """Return the engine's own parameters: numbers by name. Whether the engine has them is for the engine to say."""
    if "parameters" not in fields.data:
        return {}
    table = fields.child("parameters")
    for name, value in table.data.items():
        if type(value) not in (int, float):
            raise table.fault(name, "a number", type(value).__name__, f"correct `{name}`")
    return dict(table.data)


def _tasks(fields: Fields, columns: tuple[Column, ...]) -> list[Task]:
    if "tasks" not in fields.data:
        return []
    table = fields.child("tasks")
    tasks = []
    for name in table.data:
        entry = table.child(name)
        above = entry.number("above", -1e12, 1e12) if "above" in entry.data else None
        equals = str(entry.data["equals"]) if "equals" in entry.data else None
        task = Task(str(name), entry.choice("target", [c.name for c in columns]), above, equals)
        entry.nothing_else("equals")
        if (above is None) == (equals is None):
            raise table.fault(name, "`above` or `equals`", "both or none", "e.g. {target: value, above: 20}")
        tasks.append(task)
    return tasks


def _segments(fields: Fields, columns: tuple[Column, ...]) -> tuple[str, ...]:
    if "segments" not in fields.data:
        return ()
    names = fields.names("segments")
    if not set(names) <= {c.name for c in columns}:
        raise fields.fault("segments", "names of declared columns", "another name", "correct `segments`")
    return names


def _view(fields: Fields, columns: tuple[Column, ...]) -> View:
    measures = fields.child("columns")
    declared = [column.name for column in columns]
    if list(measures.data) != declared:
        raise fields.fault(
            "columns",
            "a measure for each declared column, in the same order",
            f"{len(measures.data)} measures for {len(declared)} columns",
            "make schema and view agree",
        )
    lines = "rows" in fields.data and fields.choice("rows", ["groups", "lines"]) == "lines"
    view = View(
        source=fields.text("from"),
        group_by=fields.text("groupBy"),
        unit=fields.text("unit"),
        lookups=tuple(_lookups(fields)),
        measures=tuple(_measure(measures, name, lines) for name in declared),
        lines=lines,
        order=fields.text("order") if "order" in fields.data else None,
        newest=fields.whole("newest", 1, MAX_PARTITIONS) if "newest" in fields.data else None,
    )
    fields.nothing_else("lookups")
    return view


def _lookups(fields: Fields) -> list[Lookup]:
    if "lookups" not in fields.data:
        return []
    table = fields.child("lookups")
    lookups = []
    for dataset in table.data:
        entry = table.child(dataset)
        lookups.append(Lookup(str(dataset), entry.text("on"), entry.names("columns")))
        entry.nothing_else()
    return lookups


def _measure(table: Fields, name: str, lines: bool) -> Measure:
    entry: Any = table.data[name]
    if not isinstance(entry, dict):
        raise table.fault(name, "{measure: column}", type(entry).__name__, "e.g. {sum: quantity}")
    fields = table.child(name)
    allowed = OF_LINES if lines else MEASURES
    kinds = [key for key in entry if key in allowed]
    if len(kinds) != 1:
        raise table.fault(name, "one measure of " + ", ".join(allowed), f"{len(kinds)}", "name just one")
    levels = (Level.UNIT, Level.GROUP) if lines else (Level.UNIT,)
    numbered = kinds[0] == "number"
    level = Level(fields.choice("level", [*levels, Level.ROW])) if "level" in entry else Level.ROW
    measure = Measure(
        name=name,
        kind=kinds[0],
        column=fields.choice("number", levels) if numbered else fields.text(kinds[0]),
        equals=fields.text("equals") if "equals" in entry else None,
        cap=float(fields.whole("cap", 1, 10**9)) if "cap" in entry else None,
        values=_values(fields) if "values" in entry else None,
        level=Level(entry["number"]) if numbered else level,
    )
    fields.nothing_else("values")
    if (measure.kind == "any") != (measure.equals is not None):
        raise table.fault(name, "`equals` with `any`, and only there", "otherwise", "e.g. {any: c, equals: X}")
    return measure


def _values(fields: Fields) -> tuple[Any, ...]:
    values = fields.data["values"]
    plain = isinstance(values, list) and all(type(v) in (str, int, bool) for v in values)
    if not plain or not 0 < len(values) <= MAX_VALUES or len(set(values)) != len(values):
        raise fields.fault(
            "values", f"1 to {MAX_VALUES} distinct texts or whole numbers", "otherwise", "list what may occur"
        )
    return tuple(values)
