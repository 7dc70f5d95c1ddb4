"""An ensemble of a table's model: members that hold out different rows, and a wide one, weighed on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._parts import parts, rewritten
from pushforward._types import PRNGKeyArray
from pushforward.bijections.gaussian_start import GaussianStart, gaussian_of
from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.table import TableDistribution
from pushforward.flows import ENTRIES
from pushforward.objectives import AbstractObjective, natural_objective
from pushforward.tables.modelling.assemble import Recipe
from pushforward.tables.modelling.calibrate import calibrate
from pushforward.tables.modelling.rows import score_rows
from pushforward.tables.modelling.wide import started
from pushforward.training.members import EachMember, SharedRows, folds, shares_of
from pushforward.training.prepare import initialise_from
from pushforward.training.rows import MAX_HELD_OUT, Table

# Rounds of EM for one share, which converges slowly where the two densities are alike, and where it matters little.
EM_ROUNDS = 200
# Tables of at most so many rows get so many members by default, each of which has so many rows for itself: on red wine
# held-out nats rose by 5.4, 0.3 and 0.6 with 37, 88 and 300 rows, and log p(y given x) of yacht from 0.04 to 0.75.
FEW_ROWS, MEMBERS, ROWS_PER_MEMBER = 1000, 5, 4
# Builders of flows that are cheap enough to be trained several times: no step of them solves anything.
CHEAP = ("coupling", "autoregressive", "arranged")
# Rows that the covariance of the wide member is taken from.
WIDE_ROWS = 20_000


def members_of(n_members: int | None, n_rows: int, recipe: Recipe, plain: bool) -> tuple[int, Recipe]:
    """The number of members to train, and the recipe of each of them.

    Args:
        n_members: as the user says; None chooses.
        n_rows: of the table.
        recipe: of a model alone.
        plain: whether objective, length and held-out share of the fit are left to the library.

    Raises:
        ValueError: the number is less than 1, or there are fewer rows.
    """
    # Along a graph some columns do not depend on others, and on a circle there is no Gaussian.
    line = ENTRIES[recipe.flow].space != "circle" and recipe.arguments.get("adjacency") is None
    if n_members is None:
        few = plain and n_rows <= FEW_ROWS and ENTRIES[recipe.flow].builder in CHEAP
        n_members = max(1, min(MEMBERS, n_rows // ROWS_PER_MEMBER)) if few and line else 1
    chosen = check_int("FlowDensity", "n_members", n_members, 1)
    if chosen > n_rows:
        fix = "Each member holds out rows of its own: take fewer."
        raise ValueError(message("FlowDensity", f"n_members at most the number of rows, {n_rows}", str(chosen), fix))
    return chosen, replace(recipe, gaussian_start=line) if chosen > 1 else recipe


def member_seeds(seed: np.ndarray, n_members: int) -> list[np.ndarray]:
    """Two words for the initial weights of each member; the first has those of a model alone."""
    others = (np.random.SeedSequence([*seed.tolist(), k]).generate_state(2) for k in range(1, n_members))
    return [seed, *others]


class Together(NamedTuple):
    """Members of one architecture as `fit` takes them, to be trained in one program.

    Attributes:
        flow: the members.
        x: the rows, with the shares of the members.
        validation: the rows that each member holds out, with their conditions if there are any; None if none does.
        objective: of all members.
        wide: the wide member of the rows that each is trained on.
        held_out: the places of the rows that each member holds out.
    """

    flow: SharedRows
    x: np.ndarray
    validation: Any
    objective: AbstractObjective
    wide: tuple[TableDistribution, ...]
    held_out: tuple[np.ndarray, ...]


def together(
    members: Sequence[TableDistribution],
    rows: np.ndarray,
    condition: np.ndarray | None,
    weights: np.ndarray | None,
    key: PRNGKeyArray,
    validation: float,
    objective: AbstractObjective | None,
) -> Together:
    """Members of one architecture, each without a part of the rows that it is held to.

    Args:
        members: untrained, for standard units; they differ in their initial weights.
        rows: `(n, dim)` in standard units.
        condition: `(n, k)` or None.
        weights: `(n,)` or None.
        key: JAX key of the fit.
        validation: share of the rows that each member holds out; no two members the same.
        objective: of a member; None is what the flow is made for.
    """
    n = len(rows)
    held_out = folds(n, len(members), validation, np.asarray(jax.random.key_data(key)).ravel().tolist())
    own = np.ones(n) if weights is None else weights
    tables = [_table(rows, condition, np.delete(np.arange(n), out), own) for out in held_out]
    starts = [
        initialise_from(started(member, table.x, table.condition), table, np.float32)
        for member, table in zip(members, tables, strict=True)
    ]
    wide = tuple(wide_member(members[0], table.x, table.condition) for table in tables)
    shared = np.concatenate([rows, shares_of(held_out, n)], axis=1)
    judged: Any = None
    if len(held_out[0]):
        places = np.concatenate(held_out)[:MAX_HELD_OUT]
        member = np.repeat(np.arange(len(members)), len(held_out[0]))[:MAX_HELD_OUT]
        alone = np.eye(len(members))[member] * (own[places] / own[places].mean())[:, None]
        judged = np.concatenate([rows[places], alone], axis=1)
        judged = judged if condition is None else (judged, condition[places])
    inner = EachMember(natural_objective(members[0]) if objective is None else objective)
    return Together(SharedRows(Ensemble(starts)), shared, judged, inner, wide, held_out)


def _table(rows: np.ndarray, condition: np.ndarray | None, kept: np.ndarray, weights: np.ndarray) -> Table:
    return Table(rows[kept], None if condition is None else condition[kept], weights[kept], None)


def wide_member(member: TableDistribution, rows: np.ndarray, condition: np.ndarray | None) -> TableDistribution:
    """An untrained model with its `GaussianStart` set: the shrunken Gaussian of the numbers, given all else.

    A model without such a layer is what it is before its first step: a broad density too.

    Args:
        member: untrained, for standard units.
        rows: `(n, dim)` in standard units.
        condition: `(n, k)` in standard units, or None.
    """
    layer = next((part for part in parts(member) if isinstance(part, GaussianStart)), None)
    if layer is None or len(rows) < 2:
        return member
    order = np.random.default_rng(0).permutation(len(rows))[:WIDE_ROWS]
    # Any key: it fills what is absent, and the Gaussian depends on the rows alone.
    keys = jax.random.split(jax.random.key(0), len(order))
    given = None if condition is None else jnp.asarray(condition[order].T, jnp.float32)
    seen = member.standard(jnp.asarray(rows[order].T, jnp.float32), given, keys)
    last = gaussian_of(layer, seen.values, seen.condition)
    return rewritten(member, lambda part: last if isinstance(part, GaussianStart) else part)


def calibrated(
    model: Any, rows: np.ndarray, condition: np.ndarray | None, weights: np.ndarray | None, held_out: np.ndarray
) -> TableDistribution:
    """The fitted model with the frequencies of its states set to those of the rows that it was trained on.

    Args:
        model: in standard units.
        rows: `(n, dim)`, whose states are used.
        condition: `(n, k)` in standard units, or None.
        weights: `(n,)` or None.
        held_out: the places of rows that it was not trained on.
    """
    if model.masses is None:
        return model
    kept = np.delete(np.arange(len(rows)), held_out)
    states = rows[kept, : len(model.masses.sizes)]
    features = None
    if model.given is not None and condition is not None:
        features = model.given(jnp.asarray(condition[kept].T, jnp.float32))
    own = None if weights is None else weights[kept]
    return eqx.tree_at(lambda m: m.masses, model, calibrate(model.masses, states, features, own))


@dataclass(frozen=True)
class Weighed:
    """An ensemble with a wide member, and what is known of it from held-out rows.

    Attributes:
        ensemble: the members with equal weights, and the wide one with its own.
        of_folds: for each member, itself with the wide one of its rows: neither has seen what it held out.
        places: of the rows that a member held out.
        scores: log-probability of each of these under the member that held it out, mixed with the wide one.
    """

    ensemble: Ensemble
    of_folds: tuple[Ensemble, ...]
    places: np.ndarray
    scores: np.ndarray


def weigh(
    trained: Sequence[TableDistribution],
    broad: Sequence[TableDistribution],
    wide: TableDistribution,
    rows: np.ndarray,
    condition: np.ndarray | None,
    weights: np.ndarray | None,
    held_out: Sequence[np.ndarray],
) -> Weighed:
    r"""The mixture $(1 - e)\,\frac1K \sum_k p_k + e\,p_0$, with the $e$ that is most likely on held-out rows.

    A few rows in which the trained members are too sure of themselves then cost what the wide $p_0$ gives them and
    $\log e$, instead of tens of nats. Each row is scored by the member that held it out, and by the wide one of the
    rows that this one was trained on: neither has seen the row.

    Args:
        trained: the members, in the data's units.
        broad: the wide member of the rows that each was trained on, likewise.
        wide: that of all rows.
        rows: `(n, dim)`, encoded.
        condition: `(n, k)` or None.
        weights: `(n,)` or None.
        held_out: the places of the rows that each member held out.
    """
    places = np.concatenate([np.zeros(0, np.int64), *held_out])
    if not len(places):
        return Weighed(Ensemble(trained), (), places, np.zeros(0))

    def scored(models: Sequence[TableDistribution]) -> np.ndarray:
        return np.concatenate(
            [
                score_rows(model, rows[out], None if condition is None else condition[out]).log_prob
                for model, out in zip(models, held_out, strict=True)
            ]
        )

    own, other = scored(trained), scored(broad)
    weight = np.ones(len(places)) if weights is None else weights[places]
    share = wide_share(own, other, weight)
    scores = np.logaddexp(np.log1p(-share) + own, np.log(share) + other)
    each = np.append(np.full(len(trained), (1 - share) / len(trained)), share)
    pairs = tuple(Ensemble(pair, [1 - share, share]) for pair in zip(trained, broad, strict=True))
    return Weighed(Ensemble([*trained, wide], each), pairs, places, scores)


def wide_share(own: np.ndarray, wide: np.ndarray, weights: np.ndarray) -> float:
    r"""The share $e$ of a wide density that is most likely for rows which neither density has seen.

    EM: $e \leftarrow \frac{1 + \sum_i w_i\, e q_i / ((1 - e) p_i + e q_i)}{2 + n}$, with one row's weight for each of
    the two, so that neither ever has no weight.

    Args:
        own: $\log p_i$, `(n,)`.
        wide: $\log q_i$, `(n,)`.
        weights: `(n,)`.
    """
    known = np.isfinite(wide) & ~np.isnan(own)
    gain, w = np.clip(own[known] - wide[known], -700, 700), weights[known] / weights.mean()
    share = 0.5
    for _ in range(EM_ROUNDS):
        share = (1 + np.sum(w * share / (share + (1 - share) * np.exp(gain)))) / (2 + w.sum())
    return float(share)
