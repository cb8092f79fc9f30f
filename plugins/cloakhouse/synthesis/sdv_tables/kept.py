"""What is kept of a fitted copula: the copula itself, and how its codes come back.

SDV's synthesizer around it holds metadata, formatters and generators of fictional values that our codes don't need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloakhouse.synthesis.sdv_tables.frames import CATEGORY, Coding
from cloakhouse.synthesis.sdv_tables.stripping import strip


@dataclass(frozen=True)
class Kept:
    """A copula (GaussianMultivariate of `copulas`), and the encoder (of `rdt`) of each column of codes."""

    model: Any
    encoders: Mapping[str, Any]

    def drawn(self, size: int, seed: int) -> dict[str, Any]:
        """Return `size` rows as arrays by name, codes as codes. `seed` has 32 bits."""
        self.model.set_random_state(seed)
        return decoded(self.model.sample(size), self.encoders)


def kept(synthesizer: Any) -> Kept:
    """Return what is to be kept of a fitted synthesizer of copulas, stripped."""
    found = Kept(synthesizer._model, encoders(synthesizer))
    strip(found)
    return found


def ordered(codings: Iterable[Coding]) -> dict[str, Any]:
    """Return fresh encoders by column, in the order of the codes: the library's would keep that of the rows."""
    from rdt.transformers import OrderedUniformEncoder  # type: ignore[import-untyped]

    found = {}
    for coding in codings:
        if coding.kind == CATEGORY or coding.flagged:
            count = 2 if coding.flagged else len(coding.values)
            found[coding.flag if coding.flagged else coding.name] = OrderedUniformEncoder(order=list(range(count)))
    return found


def encoders(synthesizer: Any) -> dict[str, Any]:
    """Return the encoders of codes of a fitted synthesizer by column."""
    used = synthesizer._data_processor._hyper_transformer.field_transformers
    return {name: found for name, found in used.items() if type(found).__name__ == "OrderedUniformEncoder"}


def decoded(frame: Any, used: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of `frame` by name, with codes in place of positions between 0 and 1."""
    found = {name: frame[name].to_numpy() for name in frame.columns}
    for name, encoder in used.items():
        inside = frame[[name]].clip(0.0, 1.0)
        found[name] = np.asarray(encoder.reverse_transform(inside)[name], np.float64)
    return found
