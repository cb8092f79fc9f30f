"""A fitted synthesizer of SDV as the platform's Model: bytes without a training row, and chunks from them.

The content is a pickle (see `pickling`) of `Artifact`. A model that was just fitted is read from its own bytes as well,
so that a chunk is the same from it and from any worker that opens the artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from cloakhouse.errors import IntegrityError
from cloakhouse.synthesis.protocol import Chunk, Plan
from cloakhouse.synthesis.sdv_tables.frames import Coding
from cloakhouse.synthesis.sdv_tables.pickling import dumped, loaded
from cloakhouse.synthesis.sdv_tables.quiet import quiet, seeded

NO_GUARANTEE = "none: not differentially private"


@dataclass(frozen=True)
class Artifact:
    """What is stored.

    Attributes:
        engine, library: name in contracts, and SDV's version.
        columns: names of the plan's columns, in order.
        roots: roots that the synthesizer was fitted on.
        codings: of the rows.
        units: codings of the units, for engines that know them.
        settings: the engine's parameters, defaults included.
        synthesizer: what is kept of SDV's, stripped; None when no column varies.
    """

    engine: str
    library: str
    columns: tuple[str, ...]
    roots: int
    codings: tuple[Coding, ...]
    units: tuple[Coding, ...]
    settings: Mapping[str, int]
    synthesizer: Any


@dataclass(frozen=True)
class Engine:
    """An engine behind a Model: its name in contracts, what evidence says of it, how it samples."""

    name: str
    facts: Mapping[str, str]
    sample: Callable[[Plan, Artifact, Chunk, int], dict[str, pa.Array]]


@dataclass
class SdvModel:
    """See Model of `cloakhouse.synthesis.protocol`."""

    engine: Engine
    plan: Plan
    content: bytes = field(repr=False)
    _artifact: Artifact | None = field(default=None, repr=False)

    @property
    def roots(self) -> int:
        """Roots that the synthesizer was fitted on."""
        return self._opened().roots

    def sample(self, chunk: Chunk) -> pa.Table:
        """Return the rows of `chunk`: a function of the model and the chunk, whatever was sampled before."""
        artifact = self._opened()
        if not chunk.size:
            return pa.schema([(column.name, column.type) for column in self.plan.columns]).empty_table()
        with quiet(), seeded(chunk.seed, chunk.start) as seed:
            made = self.engine.sample(self.plan, artifact, chunk, seed)
        return pa.table({column.name: made[column.name] for column in self.plan.columns})

    def describe(self) -> dict[str, Any]:
        """Return engine, library, parameters and seed; nothing that was learnt from the rows."""
        artifact = self._opened()
        return {
            "engine": self.engine.name,
            "library": artifact.library,
            "seed": self.plan.seed,
            "parameters": dict(artifact.settings),
            **self.engine.facts,
            "privacy_guarantee": NO_GUARANTEE,
        }

    def to_bytes(self) -> bytes:
        """Return the artifact's content."""
        return self.content

    def _opened(self) -> Artifact:
        if self._artifact is None:
            with quiet():
                self._artifact = _checked(loaded(self.content), self.engine.name, self.plan)
        return self._artifact


def library() -> str:
    """Return SDV's name and version."""
    return f"sdv {version('sdv')}"


def model(engine: Engine, plan: Plan, artifact: Artifact) -> SdvModel:
    """Return the Model of a stripped artifact."""
    return SdvModel(engine, plan, dumped(artifact))


def opened(engine: Engine, plan: Plan, content: bytes) -> SdvModel:
    """Return the Model whose content is `content`. Raises IntegrityError for another engine's, or another plan's."""
    found = SdvModel(engine, plan, content)
    found._opened()
    return found


def _checked(found: Any, engine: str, plan: Plan) -> Artifact:
    names = tuple(column.name for column in plan.columns)
    if not isinstance(found, Artifact) or (found.engine, found.columns) != (engine, names):
        raise _refused(f"a model of `{engine}` for the plan's columns", "another")
    if found.library != library():
        raise _refused(f"a model of {library()}", f"one of {found.library}")
    return found


def _refused(expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where="the content of a fitted synthesizer",
        expected=expected,
        found=found,
        not_done="nothing was sampled",
        remedy="fit the synthesizer again",
        code="artifact",
    )
