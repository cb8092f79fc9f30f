"""A fitted dp-marginals model: noisy numbers, and rows drawn from them.

As bytes it is one stream of `cloakhouse.synthesis.dp_marginals.arrays`. The header has `format`, the guarantee, caps,
domains, and for each level its columns, bins' names and nodes; every measurement with its columns, clip norm, scale and
rho; and the log of all mechanisms. Arrays are `noisy/<i>` (measurement i, int64), `bins/<level>/<column>` and
`wide/<level>/<column>` (bin of each cell), `table/<level>/<node>` and `cells/<level>/<node>` (shares). No code, no
pickle, and no number that isn't noisy or derived from noisy ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from cloakhouse.contracts.model import Level
from cloakhouse.errors import IntegrityError
from cloakhouse.privacy.accounting import Guarantee
from cloakhouse.synthesis.dp_marginals import spending
from cloakhouse.synthesis.dp_marginals.arrays import Arrays, pack, unpack
from cloakhouse.synthesis.dp_marginals.counting import Binned
from cloakhouse.synthesis.dp_marginals.domains import Codes, from_dict
from cloakhouse.synthesis.dp_marginals.fitting import Layered
from cloakhouse.synthesis.dp_marginals.network import Node
from cloakhouse.synthesis.dp_marginals.passes import Fitted
from cloakhouse.synthesis.dp_marginals.records import Layer, layers_of
from cloakhouse.synthesis.dp_marginals.release import Measurement
from cloakhouse.synthesis.dp_marginals.sampler import Drawn, Sampler
from cloakhouse.synthesis.protocol import Chunk, Plan, ViewColumn

ENGINE = "dp-marginals"
FORMAT = 1
MECHANISM = (
    "sums of contributions clipped in L2 per unit, with discrete Gaussian noise; exponential mechanism for choices; "
    "Gaussian threshold for learnt categories; composed in zCDP"
)


@dataclass(frozen=True)
class MarginalsModel:
    """See `cloakhouse.synthesis.protocol.Model`."""

    plan: Plan
    guarantee: Guarantee
    fitted: Fitted
    libraries: Mapping[str, str] = field(default_factory=lambda: {n: version(n) for n in ("opendp", "numpy")})

    @property
    def roots(self) -> int:
        """The noisy number of units, or of rows where no column is of a unit; at least 1."""
        top = self.fitted.layers[0].binned.layer.level
        kind = "units" if top is Level.UNIT else "records"
        found = next(m for m in self.fitted.measurements if (m.level, m.kind) == (str(top), kind))
        return max(round(float(found.counts[0])), 1)

    def sample(self, chunk: Chunk) -> pa.Table:
        """Return the rows of `chunk`: a function of the model's bytes and of `chunk`."""
        seeds = np.random.SeedSequence([chunk.seed, chunk.start])
        draw = np.random.Generator(np.random.Philox(seeds))
        size, bins = chunk.size, dict[str, Codes]()
        columns: dict[str, pa.Array] = {}
        numbers: dict[str, Codes] = {}
        for sampler in self._samplers:
            layer = sampler.binned.layer
            drawn = sampler.draw(size, bins, draw)
            columns |= drawn.values
            bins = dict(drawn.bins)
            if layer.level is not Level.ROW:
                numbers[str(layer.level)] = self._numbered(layer.level, chunk, size)
            if drawn.children is not None:
                size, columns, bins, numbers = _repeated(drawn, columns, bins, numbers)
        named = {c.name: self._column(c, columns, numbers, size) for c in self.plan.columns}
        return pa.table(named, schema=pa.schema([(c.name, c.type) for c in self.plan.columns]))

    def describe(self) -> dict[str, Any]:
        """Return what evidence and card tell: all of it public, or covered by the guarantee."""
        return {
            "engine": ENGINE,
            "library": ", ".join(f"{name} {number}" for name, number in sorted(self.libraries.items())),
            "seed": self.plan.seed,
            "parameters": dict(self.plan.parameters),
            "caps": dict(self.fitted.caps),
            "levels": [_described(layered, self.fitted.measurements) for layered in self.fitted.layers],
            "domains": {name: domain.origin for name, domain in self.fitted.domains.items()},
            "budget": spending.shares_of(),
            "rho_spent": sum(entry.rho for entry in self.fitted.entries),
            "delta_of_categories": sum(entry.delta for entry in self.fitted.entries),
            "privacy_guarantee": {**self.guarantee.as_dict(), "mechanism": MECHANISM},
        }

    def to_bytes(self) -> bytes:
        """Return the artifact's content, see the module."""
        arrays: Arrays = {f"noisy/{i}": m.noisy for i, m in enumerate(self.fitted.measurements)}
        for layered in self.fitted.layers:
            level = str(layered.binned.layer.level)
            for name in layered.binned.layer.columns:
                arrays[f"bins/{level}/{name}"] = layered.binned.bins[name]
                arrays[f"wide/{level}/{name}"] = layered.binned.wide[name]
            for node in layered.nodes:
                arrays[f"table/{level}/{node.column}"] = node.table
                arrays[f"cells/{level}/{node.column}"] = node.cells
        header = {
            "format": FORMAT,
            "engine": ENGINE,
            "guarantee": self.guarantee.as_dict(),
            "libraries": dict(self.libraries),
            "caps": dict(self.fitted.caps),
            "domains": [domain.as_dict() for domain in self.fitted.domains.values()],
            "nodes": {
                str(layered.binned.layer.level): [[n.column, list(n.parents)] for n in layered.nodes]
                for layered in self.fitted.layers
            },
            "measurements": [m.as_dict() for m in self.fitted.measurements],
            "log": [asdict(entry) for entry in self.fitted.entries],
        }
        return pack(arrays, header)

    @cached_property
    def _samplers(self) -> list[Sampler]:
        return [Sampler(layered.binned, layered.nodes, self.fitted.domains) for layered in self.fitted.layers]

    def _numbered(self, level: Level, chunk: Chunk, size: int) -> Codes:
        """Return running numbers that no other chunk has: a unit has so many groups at most as the cap allows."""
        if level is Level.UNIT:
            return np.arange(chunk.start, chunk.start + size)
        return chunk.start * self.fitted.caps[str(level)] + np.arange(size)

    def _column(
        self, column: ViewColumn, found: Mapping[str, pa.Array], numbers: Mapping[str, Codes], size: int
    ) -> Any:
        if not column.number:
            return found[column.name].cast(column.type)
        return pa.array(numbers[column.number][:size]).cast(column.type)


def open_model(plan: Plan, content: bytes) -> MarginalsModel:
    """Return the model whose `to_bytes` was `content`. Raises IntegrityError for other bytes or another plan."""
    arrays, header = unpack(content)
    if header.get("format") != FORMAT or header.get("engine") != ENGINE:
        raise _foreign("another format")
    domains = {data["name"]: from_dict(data) for data in header["domains"]}
    layers = layers_of(plan)
    if set(header["nodes"]) != {str(layer.level) for layer in layers}:
        raise _foreign("other levels")
    wanted = {name for layer in layers for name in layer.own}
    if wanted != set(domains):
        raise _foreign("other columns")
    measurements = tuple(
        Measurement(**{**data, "columns": tuple(data["columns"])}, noisy=arrays[f"noisy/{i}"])
        for i, data in enumerate(header["measurements"])
    )
    caps = {name: int(cap) for name, cap in header["caps"].items()}
    layered = tuple(_layered(layer, caps, header["nodes"][str(layer.level)], arrays) for layer in layers)
    entries = tuple(spending.Entry(**entry) for entry in header["log"])
    fitted = Fitted(domains, caps, layered, measurements, entries)
    return MarginalsModel(plan, Guarantee(**header["guarantee"]), fitted, header["libraries"])


def _layered(layer: Layer, caps: Mapping[str, int], nodes: list[Any], arrays: Arrays) -> Layered:
    level = str(layer.level)
    bins = {name: arrays[f"bins/{level}/{name}"] for name in layer.columns}
    wide = {name: arrays[f"wide/{level}/{name}"] for name in layer.columns}
    binned = Binned(layer, caps[level], bins, wide)
    return Layered(
        binned,
        tuple(Node(n, tuple(p), arrays[f"table/{level}/{n}"], arrays[f"cells/{level}/{n}"]) for n, p in nodes),
    )


def _repeated(
    drawn: Drawn, columns: Mapping[str, pa.Array], bins: Mapping[str, Codes], numbers: Mapping[str, Codes]
) -> tuple[int, dict[str, pa.Array], dict[str, Codes], dict[str, Codes]]:
    """Return everything once for each child of its record."""
    children = np.zeros(0, np.int64) if drawn.children is None else drawn.children
    at = np.repeat(np.arange(len(children)), children)
    index = pa.array(at)
    return (
        len(at),
        {name: values.take(index) for name, values in columns.items()},
        {name: codes[at] for name, codes in bins.items()},
        {name: number[at] for name, number in numbers.items()},
    )


def _described(layered: Layered, measurements: tuple[Measurement, ...]) -> dict[str, Any]:
    level = str(layered.binned.layer.level)
    own = [m for m in measurements if m.level == level]
    return {
        "level": level,
        "bins": {name: int(table.max()) + 1 for name, table in layered.binned.bins.items()},
        "drawn": [{"column": node.column, "given": list(node.parents)} for node in layered.nodes],
        "measured": [
            {"what": m.name, "kind": m.kind, "clip_norm": m.clip, "sigma": m.sigma, "rho": m.rho} for m in own
        ],
    }


def _foreign(found: str) -> IntegrityError:
    return IntegrityError(
        where="a dp-marginals model",
        expected=f"format {FORMAT} of {ENGINE}, fitted for this plan",
        found=found,
        not_done="nothing was sampled",
        remedy="open it with the contract version that it was fitted for, or fit it again",
    )
