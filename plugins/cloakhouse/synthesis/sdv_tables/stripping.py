"""What a fitted synthesizer of SDV remembers of its training rows, taken out before it is stored.

| who | what | what is left |
| --- | --- | --- |
| CTGAN's sampler | the rows that hold each category | how frequent each category is, which is all that sampling needs |
| normalizers of CTGAN and TVAE | mixtures, with components of a few rows | centre and spread of components in use |
| formatters in them | smallest and largest value, mean for missing ones | nothing: ranges are the plan's |
| all | losses of each step, seeds, what marginals were asked for | nothing |

Of SDV's synthesizers only the models inside are kept at all (`kept`, and `_model` of CTGAN, TVAE and PAR): what is
around them holds metadata and formatters that our codes don't need. Optimizers, discriminators and encoders are
variables of the library's `fit` and end with it. What stays is the order in which CTGAN and TVAE first met the codes
of a column: it numbers the outputs of the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import numpy.typing as npt

NARROW = 1e-9  # spread of a marginal of one value
FORGOTTEN = ("loss_values", "random_states", "random_state", "distribution", "__args__", "__kwargs__")
PARTS = ("rdt", "copulas", "ctgan", "deepecho", "cloakhouse")


@dataclass
class Components:
    """Centres and variances of a mixture, zero for the components that aren't in use."""

    means_: npt.NDArray[np.float64]
    covariances_: npt.NDArray[np.float64]


def strip(model: Any) -> None:
    """Take out of `model`, in place, whatever isn't needed to sample; see the module."""
    for part in reachable(model):
        for name in FORGOTTEN:
            if name in vars(part):
                setattr(part, name, None)
        _plain(part)
        shed = SHED.get(type(part).__name__)
        if shed is not None:
            shed(part)


def reachable(root: Any) -> Iterator[Any]:
    """Yield every object of the library that `root` leads to, itself included."""
    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        at = waiting.pop()
        if id(at) in seen:
            continue
        seen[id(at)] = at  # kept, so that no other object takes its place in memory
        if isinstance(at, Mapping):
            waiting += [*at.keys(), *at.values()]
        elif isinstance(at, (list, tuple, set, frozenset)):
            waiting += list(at)
        elif type(at).__module__.startswith(PARTS) and hasattr(at, "__dict__"):
            waiting += list(vars(at).values())
            yield at


def _plain(part: Any) -> None:
    """Have a marginal of one value work as any other: the library has put its bound methods in place of some."""
    bound = [name for name, value in vars(part).items() if isinstance(value, MethodType)]
    for name in bound:
        delattr(part, name)
    if bound:
        part._params["scale"] = NARROW


def _sampler(part: Any) -> None:
    kept = ("_n_discrete_columns", "_n_categories", "_discrete_column_category_prob")
    part.__dict__ = {name: vars(part)[name] for name in kept}


def _formatter(part: Any) -> None:
    part._min_value = part._max_value = None
    if part.null_transformer is not None:
        part.null_transformer._missing_value_replacement = 0.0


def _normalizer(part: Any) -> None:
    _formatter(part)
    if part._bgm_transformer is not None:
        used = np.asarray(part.valid_component_indicator)
        means = np.where(used, part._bgm_transformer.means_.reshape(-1), 0.0)
        part._bgm_transformer = Components(means, np.where(used, part._bgm_transformer.covariances_.reshape(-1), 0.0))


SHED = {
    "DataSampler": _sampler,
    "FloatFormatter": _formatter,
    "ClusterBasedNormalizer": _normalizer,
}
