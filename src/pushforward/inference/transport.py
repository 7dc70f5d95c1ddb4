"""The flow of the ladder: its architecture, its whitening, and the fits that compete at each stage."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray, is_array
from pushforward.bijections import AffineMap, Chain, RationalQuadraticMap, Standardize
from pushforward.bijections.base import AbstractBijection, run_batch
from pushforward.bijections.whitening import PartialWhitening
from pushforward.distributions import AbstractDistribution, Flow, StandardNormal
from pushforward.flows import nsf
from pushforward.inference.composed_map import ComposedMap
from pushforward.inference.normal_mixture import NormalMixture

# The flow computes in float32, whose speed is twice that of float64; whitening and target in float64.
DTYPE = np.float32
# A correlation counts if it is as many standard errors from 0. A spurious one would turn the axes of the parameters,
# along which scales often depend on one of them (a funnel).
SIGNIFICANT = 4.0
# The least eigenvalue of the correlations, which bounds the condition of the whitening.
LEAST_EIGENVALUE = 1e-10
# Up to so many coordinates the flow is autoregressive: better densities, but one step of a scan each in a draw.
AUTOREGRESSIVE_UP_TO = 40
# The number of components of the mixture among the candidates, by the number of coordinates; above, there is none.
MIXTURE_SIZES = ((4, 64), (12, 16))


class Transport(NamedTuple):
    """A base over latents, a trained bijection, and the fixed map into the units of the target.

    Args:
        base: Distribution of the latents.
        bijection: From latents to whitened vectors, in float32.
        whitening: From whitened vectors to vectors of correlated coordinates with variance 1.
        units: From these to the unconstrained vectors of the target.
    """

    base: AbstractDistribution
    bijection: AbstractBijection
    whitening: PartialWhitening
    units: Standardize

    def forward(self, y: Array) -> tuple[Array, Array]:
        """The vectors `(n, d)` of latents `(n, d)`, and the log-determinants `(n,)`."""
        x, own = run_batch(self.bijection, y.T, None, None, True)
        u, log_det = self.unwhitened(x.T)
        return u, own.astype(float) + log_det

    def unwhitened(self, x: Array) -> tuple[Array, Array]:
        """The vectors `(n, d)` of whitened vectors `(n, d)`, and the log-determinants."""
        rows, first = run_batch(self.whitening, x.T.astype(float), None, None, True)
        u, second = run_batch(self.units, rows, None, None, True)
        return u.T, first + second

    def whitened(self, u: Array) -> tuple[Array, Array]:
        """The whitened vectors `(n, d)` of vectors `(n, d)`, and the log-determinants."""
        x, first = run_batch(self.units, u.T, None, None, False)
        x, second = run_batch(self.whitening, x, None, None, False)
        return x.T, first + second

    def latent(self, u: Array) -> Array:
        """The latents `(n, d)` of vectors `(n, d)`."""
        x = self.whitened(u)[0].astype(DTYPE)
        return run_batch(self.bijection, x.T, None, None, False)[0].T

    def log_prob(self, u: Array) -> Array:
        """The log-densities `(n,)` of vectors `(n, d)`."""
        x, log_det = self.whitened(u)
        y, own = run_batch(self.bijection, x.T.astype(DTYPE), None, None, False)
        return (self.base.log_prob_rows(y, None, None) + own).astype(float) + log_det

    def as_flow(self) -> Flow:
        """The transport as a flow over unconstrained vectors."""
        # NumPy keeps float64 where JAX is in float32.
        fixed = jax.tree.map(lambda a: np.asarray(a) if is_array(a) else a, (self.whitening, self.units))
        return Flow(self.base, Chain([self.bijection, *fixed]))


def mixture_size(dim: int) -> int:
    """The number of components that the base has in the compiled programs; 1 is a standard normal."""
    return next((size for most, size in MIXTURE_SIZES if dim <= most), 1)


def standard_base(dim: int) -> AbstractDistribution:
    """The standard normal in the form that all bases of the ladder have."""
    size = mixture_size(dim)
    return StandardNormal((dim,)) if size == 1 else NormalMixture.standard(dim, size, DTYPE)


def new_bijection(key: PRNGKeyArray, dim: int) -> AbstractBijection:
    """The default bijection from latents to whitened vectors: layers of an affine map and a spline.

    The affine maps take the scales that depend on other parameters, exactly and over many orders of magnitude; the
    splines bend what is left. The order of the coordinates is kept in the layer next to the target, because
    parameters that come first are often those on which the others depend.
    """
    affine, spline = AffineMap(), RationalQuadraticMap()

    def make(key: PRNGKeyArray) -> AbstractBijection:
        if dim <= AUTOREGRESSIVE_UP_TO:
            linear = "reverse" if dim > 1 else None
            return nsf(key, dim=dim, scalar_map=ComposedMap([affine, spline]), linear=linear, n_layers=3).bijection
        own = ComposedMap([spline, affine])
        return nsf(key, dim=dim, scalar_map=own, autoregressive=False, linear="permutation", n_layers=6).bijection

    return lower(eqx.filter_jit(make)(key))


def lower(tree: Any) -> Any:
    """The tree with its floating arrays in float32."""
    return jax.tree.map(lambda a: jnp.asarray(a, DTYPE) if eqx.is_inexact_array(a) else a, tree)


def whitening_of(u: np.ndarray) -> tuple[PartialWhitening, Standardize]:
    """The maps whose inverse gives the rows mean 0, and the identity as covariance where correlations are significant.

    Args:
        u: Rows `(n, d)`, finite.
    """
    n, d = u.shape
    loc = u.mean(axis=0)
    # A coordinate on which all particles agree keeps its units.
    scale = u.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    z = (u - loc) / scale
    correlation = z.T @ z / n
    error = np.sqrt(np.maximum((z * z).T @ (z * z) / n - correlation**2, 0) / n)
    kept = np.where(np.abs(correlation) > SIGNIFICANT * error, correlation, 0)
    np.fill_diagonal(kept, 1.0)
    values, vectors = np.linalg.eigh(kept)
    if values[0] < LEAST_EIGENVALUE:  # left out correlations can leave a matrix that is none of correlations
        np.fill_diagonal(correlation, 1.0)
        values, vectors = np.linalg.eigh(correlation)
    root = (vectors * np.sqrt(np.maximum(values, LEAST_EIGENVALUE))) @ vectors.T
    layer = eqx.tree_at(lambda layer: layer.factor.value, PartialWhitening(d), jnp.asarray(np.linalg.cholesky(root)))
    layer = jax.tree.map(lambda a: jnp.asarray(a, float), layer)
    return layer, Standardize(loc, scale)
