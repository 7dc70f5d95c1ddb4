"""The latent axes of the numbers of a row: where it lies on them, and what row lies elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pushforward._checks import message
from pushforward._programs import program
from pushforward._types import Array
from pushforward.bijections.base import run_batch
from pushforward.distributions import Evolution, Flow
from pushforward.distributions.table import TableDistribution
from pushforward.distributions.table_draws import rounded
from pushforward.explore.known import cells_of_row
from pushforward.plotting.plane import times_of
from pushforward.tables.modelling.numbers_flow import subject_of

if TYPE_CHECKING:
    from pushforward.tables.estimators import FlowDensity

# Draws of the base that are followed, and times at which they are looked at.
FOLLOWED, TIMES = 400, 25


@dataclass(frozen=True)
class LatentAxes:
    """The latents of the numbers of a row that a flow models, with all its other cells held.

    Attributes:
        density: Fitted density; of an ensemble the first member is taken.
        row: Cells of the row by name.
        names: Names of the columns whose numbers move.
        latents: Latents of the row `(k,)`, standard normal over the rows of the fit if the base is normal.
    """

    density: FlowDensity
    row: Mapping[str, Any]
    names: tuple[str, ...]
    latents: np.ndarray

    def moved(self, latents: Any) -> dict[str, Any]:
        """The cells of the row with these latents `(k,)`: those of `names` move, the others stay.

        Raises:
            ValueError: There are not as many latents as columns.
        """
        z = np.asarray(latents, np.float64).reshape(-1)
        if len(z) != len(self.names):
            fix = "Change those of `latents`."
            raise ValueError(message("LatentAxes.moved", f"{len(self.names)} latents", str(len(z)), fix))
        model = self.density.model_
        encoded, condition = model.encode(cells_of_row(self.density, self.row))
        rows = np.asarray(program(_moved, model.member)(encoded.rows, condition, z[None]))
        cells = model.decode(rows, np.zeros(2, np.uint32))
        return {**self.row, **{name: cells[name][0].as_py() for name in self.names}}


def latent_axes(density: FlowDensity, row: Mapping[str, Any]) -> LatentAxes:
    """The latent axes of the numbers of a row.

    Columns with a distribution function of their own (rounded coarsely, bounded, circular or sometimes missing) have no
    latent that moves with those of the flow; they stay as they are.

    Args:
        density: Fitted density; of an ensemble the first member is taken.
        row: A cell for each column of the model, by name.

    Raises:
        ValueError: The model has no flow of numbers.
        DataError: A cell is none of its column.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> x = np.random.default_rng(0).normal(size=(300, 2))
        >>> flow = pf.FlowDensity("realnvp", n_layers=1, width=8, max_epochs=3, n_members=1, verify=False).fit(x)
        >>> axes = pf.explore.latent_axes(flow, {"x0": 0.5, "x1": -0.5})
        >>> bool(abs(axes.moved(axes.latents)["x0"] - 0.5) < 1e-6)
        True
    """
    model = density.model_
    if model.member.values is None:
        fix = "It has levels and numbers with spaces of their own alone."
        raise ValueError(message("latent_axes", "a model with a flow of numbers", "one without", fix))
    names = tuple(model.layout.columns[model.layout.valued[j]].name for j in model.member.flow_places)
    encoded, condition = model.encode(cells_of_row(density, row))
    z = np.asarray(program(_latents, model.member)(encoded.rows, condition))[0]
    return LatentAxes(density, dict(row), names, z)


def _latents(member: TableDistribution, x: Any, condition: Any) -> Array:
    flow: Any = member.values
    seen = member.standard(x.T, None if condition is None else condition.T, None)
    return run_batch(flow.bijection, seen.values, seen.condition, None, False)[0].T


def _moved(member: TableDistribution, x: Any, condition: Any, z: Any) -> Array:
    flow: Any = member.values
    units: Any = member.units
    rows = x.T
    features = member.features(None if condition is None else condition.T)
    context = member.context(rows, features) if flow.cond_shape is not None else None
    standard = run_batch(flow.bijection, z.T, context, None, True)[0]
    values = rounded(member, run_batch(units, standard, None, None, True)[0])
    return rows.at[len(member.own.sizes) + np.array(member.flow_places)].set(values).T


@dataclass(frozen=True)
class Way:
    """Draws of the base on their way to the data.

    Attributes:
        names: Names of the coordinates.
        times: Times `(t,)`: of a field from 0 to 1, of layers their numbers.
        states: States `(t, n, d)` at these.
        continuous: Whether the time is that of a field.
    """

    names: tuple[str, ...]
    times: np.ndarray
    states: np.ndarray
    continuous: bool


def noise_to_data(
    density: FlowDensity, row: Mapping[str, Any] | None = None, *, n: int = FOLLOWED, times: int = TIMES, seed: int = 0
) -> Way:
    """Draws of the base at several times on their way to samples: layer by layer, or along a field.

    Args:
        density: Fitted density; of an ensemble the first member is taken.
        row: A cell for each column by name: its levels, states and conditions are held, for a model with any.
        n: Number of draws.
        times: Number of times at most.
        seed: Seed of the draws.

    Raises:
        ValueError: The model has no flow of numbers, or there is no row where one is needed.
    """
    model = density.model_
    if model.member.values is None:
        fix = "It has levels and numbers with spaces of their own alone."
        raise ValueError(message("noise_to_data", "a model with a flow of numbers", "one without", fix))
    condition = None
    if model.member.values.cond_shape is not None:
        if row is None:
            fix = "Pass a row, whose levels and conditions are held."
            raise ValueError(message("noise_to_data", "a row, for the flow is conditional", "none", fix))
        condition = cells_of_row(density, row)
    subject = subject_of(model, None, condition)
    return way_of(subject.flow, tuple(subject.names), n=n, times=times, seed=seed)


def way_of(flow: Flow, names: tuple[str, ...], *, n: int = FOLLOWED, times: int = TIMES, seed: int = 0) -> Way:
    """The way of a flow over vectors without a condition; see `noise_to_data`.

    Args:
        flow: The flow.
        names: Names of its coordinates.
        n: Number of draws.
        times: Number of times at most.
        seed: Seed of the draws.
    """
    with jax.enable_x64(True):
        evolution = Evolution(flow)
        at = times_of(evolution, times)
        z = evolution.base.sample(jax.random.key(seed), n)
        states = np.asarray(evolution.states(z, at), np.float64)
    return Way(names, at, states, evolution.continuous)
