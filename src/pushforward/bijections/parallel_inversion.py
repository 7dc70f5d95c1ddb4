"""Which inversion the autoregressive layers of a model use, and what the parallel one took."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._parts import parts, replaced, rewritten
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward._vectorize import split_batch
from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import AbstractBijection, AbstractComposite, needed, run_batch
from pushforward.bijections.jacobi import GaussSeidelJacobi

Tree = TypeVar("Tree")


def with_inversion(model: Tree, inversion: GaussSeidelJacobi | None) -> Tree:
    """The same model with every autoregressive layer inverted in this way; its values change by the tolerance at most.

    Args:
        model: A flow, a bijection, or any tree of them.
        inversion: `GaussSeidelJacobi(...)`, or None for one step after the other.

    Raises:
        TypeError: The inversion is neither, or the model has no autoregressive layer.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.maf(jax.random.key(0), dim=3)
        >>> fast = pf.bijections.with_inversion(flow, pf.bijections.GaussSeidelJacobi(tolerance=1e-6, block=3))
        >>> flow.bijection.traits.forward, fast.bijection.traits.forward
        ('sequential', 'iterative')
    """
    if not isinstance(inversion, GaussSeidelJacobi | None):
        fix = "Write GaussSeidelJacobi(tolerance=1e-6, block=16)."
        raise TypeError(message("with_inversion", "a GaussSeidelJacobi or None", type(inversion).__name__, fix))
    if not any(isinstance(part, Autoregressive) for part in parts(model)):
        fix = "Couplings and other layers are parallel in both directions, or have solvers of their own."
        raise TypeError(message("with_inversion", "a model with an Autoregressive layer", type(model).__name__, fix))

    def change(part: Any) -> Any:
        if not isinstance(part, Autoregressive):
            return part
        inverse = Traits(inverse="sequential" if inversion is None else "iterative")
        return replaced(part, inversion=inversion, traits=Traits.worst(part.scalar_map.traits, inverse))

    return rewritten(model, change)


class InversionReport(NamedTuple):
    """What the parallel inversion of a model took, layer by layer in the order in which they ran.

    Attributes:
        residual: Largest $|x - f(x)|$ of each layer over its rows, `(n_layers,)`.
        sweeps: Number of sweeps of each block of steps in its slowest row, one array per layer.
        checks: Number of passes over all steps until the residual was within the tolerance, `(n_layers,)`.
        tolerance: Tolerance of each layer's inversion, `(n_layers,)`.
    """

    residual: np.ndarray
    sweeps: tuple[np.ndarray, ...]
    checks: np.ndarray
    tolerance: np.ndarray

    def __str__(self) -> str:
        lines = ["layer  residual  tolerance  checks  sweeps of each block"]
        columns = zip(self.residual, self.tolerance, self.checks, self.sweeps, strict=True)
        for n, (residual, tolerance, checks, sweeps) in enumerate(columns):
            blocks = " ".join(map(str, sweeps.tolist()))
            lines.append(f"{n:5d}  {residual:8.1e}  {tolerance:9.1e}  {checks:6d}  {blocks}")
        return "\n".join(lines)


def inversion_report(bijection: AbstractBijection, latent: Any, condition: Any = None) -> InversionReport:
    """The residuals and sweeps of every parallel inversion on the way from latents to data.

    Args:
        bijection: A bijection with layers `Invert(Autoregressive(...))` whose inversion is `GaussSeidelJacobi`.
        latent: Events `(*batch, *in_shape)`, such as draws of the flow's base.
        condition: Conditions `(*batch, *cond_shape)`, or None.

    Raises:
        ValueError: No layer is inverted in parallel on this way, or a shape does not fit.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.maf(jax.random.key(0), dim=3)
        >>> flow = pf.bijections.with_inversion(flow, pf.bijections.GaussSeidelJacobi())
        >>> z = flow.base.sample(jax.random.key(1), 5)
        >>> bool(pf.bijections.inversion_report(flow.bijection, z).residual.max() < 1e-5)
        True
    """
    rows, batch = split_batch("inversion_report", "latent", latent, bijection.in_shape)
    rows, given = _last(rows, batch, bijection.in_shape), None
    if bijection.cond_shape is not None:
        given, _ = split_batch("inversion_report", "condition", condition, bijection.cond_shape)
        given = _last(given, batch, bijection.cond_shape)
    found = _collected(bijection, rows, given)
    if not found:
        fix = "Choose it by with_inversion(model, GaussSeidelJacobi(...))."
        raise ValueError(message("inversion_report", "layers that are inverted in parallel", "none", fix))
    n = rows.shape[-1]
    residual, checks = (np.concatenate([np.asarray(one[i]).reshape(-1, n) for one in found]) for i in (0, 2))
    sweeps = [layer.max(axis=-1, initial=0) for one in found for layer in _by_layer(one[1])]
    tolerance = np.concatenate([np.ravel(one[3]) for one in found])
    return InversionReport(residual.max(axis=-1, initial=0), tuple(sweeps), checks.max(axis=-1, initial=0), tolerance)


def _by_layer(sweeps: Array) -> np.ndarray:
    """Sweeps `(n_layers, n_blocks, n)` of one layer or of those of nested scans."""
    return np.asarray(sweeps).reshape(-1, *sweeps.shape[-2:])


def _last(values: Array, batch: Shape, event: Shape) -> Array:
    """Events or conditions of a batch as rows on the last axis."""
    return jnp.moveaxis(jnp.broadcast_to(values, (*batch, *event)).reshape(-1, *event), 0, -1)


@eqx.filter_jit
def _collected(bijection: AbstractBijection, rows: Array, condition: Array | None) -> list:
    def step(
        member: AbstractBijection, rows: Array, given: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple]:
        given, keys = needed(member, given, keys)
        if isinstance(member, Autoregressive) and member.inversion is not None and not forward:
            solved = member.inversion.solve(member.conditioner, member.scalar_map, rows, given)
            tolerance = jnp.asarray(member.inversion.tolerance)
            return solved.x, solved.log_det, ((solved.residual, solved.sweeps, solved.checks, tolerance),)
        if isinstance(member, AbstractComposite):
            rows, log_det, extras = member.run_with(step, rows, given, keys, forward)
            return rows, log_det, tuple(one for extra in extras for one in extra)
        return *run_batch(member, rows, given, keys, forward), ()

    return list(step(bijection, rows, condition, None, True)[2])
