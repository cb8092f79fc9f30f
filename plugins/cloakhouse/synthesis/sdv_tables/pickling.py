"""Fitted synthesizers as bytes, and back, with names from a list alone.

Pickle can call anything that it can name. So a reader here knows the few classes that our artifacts are made of, and
the functions with which numpy and pandas rebuild arrays and tables, each by its whole name. Tensors travel as arrays:
torch's own form is a pickle within the pickle, which would be read without any list. This is the second lock: the first
is the signature, verified before a byte comes here (`cloakhouse.lake.sealed`).
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from cloakhouse.errors import IntegrityError

PROTOCOL = 5
OURS = "cloakhouse.synthesis.sdv_tables"
NAMES = frozenset(
    {
        f"{OURS}.fitted.Artifact",
        f"{OURS}.frames.Coding",
        f"{OURS}.hierarchies.Described",
        f"{OURS}.kept.Kept",
        f"{OURS}.marginals.Cells",
        f"{OURS}.pickling.tensor",
        f"{OURS}.sequences.Autoregression",
        f"{OURS}.stripping.Components",
        "builtins.slice",
        "collections.OrderedDict",
        "copulas.multivariate.gaussian.GaussianMultivariate",
        "copulas.univariate.beta.BetaUnivariate",
        "copulas.univariate.gaussian.GaussianUnivariate",
        "ctgan.data_sampler.DataSampler",
        "ctgan.data_transformer.ColumnTransformInfo",
        "ctgan.data_transformer.DataTransformer",
        "ctgan.data_transformer.SpanInfo",
        "ctgan.synthesizers.ctgan.CTGAN",
        "ctgan.synthesizers.ctgan.Generator",
        "ctgan.synthesizers.ctgan.Residual",
        "ctgan.synthesizers.tvae.Decoder",
        "ctgan.synthesizers.tvae.TVAE",
        "deepecho.models.par.PARModel",
        "deepecho.models.par.PARNet",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "numpy.dtype",
        "numpy.ndarray",
        "pandas._libs.internals._unpickle_block",
        "pandas.core.frame.DataFrame",
        "pandas.core.indexes.base.Index",
        "pandas.core.indexes.base._new_Index",
        "pandas.core.indexes.range.RangeIndex",
        "pandas.core.internals.managers.BlockManager",
        "pandas.core.internals.managers.SingleBlockManager",
        "pandas.core.series.Series",
        "rdt.transformers.categorical.OneHotEncoder",
        "rdt.transformers.null.NullTransformer",
        "rdt.transformers.numerical.ClusterBasedNormalizer",
        "rdt.transformers.ordinal.OrderedUniformEncoder",
        "torch.device",
        "torch.nn.modules.activation.ReLU",
        "torch.nn.modules.batchnorm.BatchNorm1d",
        "torch.nn.modules.container.Sequential",
        "torch.nn.modules.linear.Linear",
        "torch.nn.modules.rnn.GRU",
    }
)


def tensor(values: Any, learnt: bool) -> Any:
    """Return `values` (an array) as a tensor, or as a network's parameter if `learnt`."""
    import torch

    held = torch.from_numpy(np.array(values))
    return torch.nn.Parameter(held) if learnt else held


class _Writer(pickle.Pickler):
    def reducer_override(self, thing: Any) -> Any:
        import torch

        if isinstance(thing, torch.Tensor):
            return tensor, (thing.detach().cpu().numpy(), isinstance(thing, torch.nn.Parameter))
        return NotImplemented


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if "." in name or f"{module}.{name}" not in NAMES:
            raise _refused("names that a fitted synthesizer is made of", "another")
        return super().find_class(module, name)


def dumped(thing: Any) -> bytes:
    """Return `thing` as bytes for `loaded`."""
    sink = io.BytesIO()
    _Writer(sink, PROTOCOL).dump(thing)
    return sink.getvalue()


def loaded(content: bytes) -> Any:
    """Return what `dumped` was given. Raises IntegrityError (`integrity.artifact`) for anything else."""
    try:
        return _Reader(io.BytesIO(content)).load()
    except IntegrityError:
        raise
    except Exception as fault:  # noqa: BLE001 - a pickle that isn't ours fails in any way
        raise _refused("a fitted synthesizer", f"other bytes ({type(fault).__name__})") from None


def _refused(expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where="the content of a fitted synthesizer",
        expected=expected,
        found=found,
        not_done="nothing was called or sampled",
        remedy="fit the synthesizer again",
        code="artifact",
    )
