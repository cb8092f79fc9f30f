"""OpenDP's mechanisms on the types that this room uses. OpenDP is imported when one is made, not before.

Made ones are kept: building a mechanism costs more than asking its map. Only submodules of `opendp` are imported;
`opendp.prelude` would bring in scikit-learn and two more CPU seconds.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=64)
def discrete_gaussian(scale: float) -> Any:
    """Return the measurement that adds discrete Gaussian noise to a list of int64, for L2 distances (float64)."""
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_gaussian
    from opendp.metrics import l2_distance

    _enable()
    return make_gaussian(vector_domain(atom_domain(T="i64")), l2_distance(T="f64"), scale=scale)


@lru_cache(maxsize=64)
def gumbel_max(scale: float) -> Any:
    """Return the measurement that tells the index of the largest of finite float64 scores with Gumbel noise."""
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_noisy_max
    from opendp.measures import zero_concentrated_divergence
    from opendp.metrics import linf_distance

    _enable()
    space = vector_domain(atom_domain(T="f64", nan=False)), linf_distance(T="f64", monotonic=False)
    return make_noisy_max(*space, zero_concentrated_divergence(), scale=scale)


@lru_cache(maxsize=64)
def private_quantile(candidates: tuple[float, ...], q: float, scale: float) -> Any:
    """Return the measurement that tells which candidate is the `q`-quantile, for values that come or go."""
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_private_quantile
    from opendp.measures import zero_concentrated_divergence
    from opendp.metrics import symmetric_distance

    _enable()
    space = vector_domain(atom_domain(T="f64", nan=False)), symmetric_distance()
    return make_private_quantile(*space, zero_concentrated_divergence(), list(candidates), q, scale)


@lru_cache(maxsize=64)
def thresholded(scale: float, threshold: int) -> Any:
    """Return the measurement that adds noise to a dict of counts and drops those below `threshold`."""
    from opendp.domains import atom_domain, map_domain
    from opendp.measurements import make_gaussian_threshold
    from opendp.metrics import absolute_distance, l02inf_distance

    _enable()
    space = map_domain(atom_domain(T="i64"), atom_domain(T="i64")), l02inf_distance(absolute_distance(T="f64"))
    return make_gaussian_threshold(*space, scale=scale, threshold=threshold)


def curve(rho: float) -> Any:
    """Return OpenDP's privacy profile of `rho` of zCDP: that of Gaussian noise of scale 1, sqrt(2 rho) apart."""
    from opendp.combinators import make_zCDP_to_approxDP

    unit, apart = discrete_gaussian(1.0), math.sqrt(2 * rho)
    while unit.map(apart) < rho:
        apart = math.nextafter(apart, math.inf)
    return make_zCDP_to_approxDP(unit).map(apart)


def concentrated(epsilon: float) -> float:
    """Return the rho of zCDP that pure differential privacy of `epsilon` implies, rounded up."""
    from opendp.combinators import make_pureDP_to_zCDP
    from opendp.domains import atom_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import absolute_distance

    _enable()
    laplace = make_laplace(atom_domain(T="i64"), absolute_distance(T="f64"), scale=1.0)  # spends its distance
    return float(make_pureDP_to_zCDP(laplace).map(epsilon))


def _enable() -> None:
    from opendp.mod import enable_features

    enable_features("contrib")
