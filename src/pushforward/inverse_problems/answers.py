"""Each method run on a problem: its draws, its own figures, and what they allow to say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray
from pushforward.inference import ConditioningError, condition_on
from pushforward.inference import Importance as Weighted
from pushforward.inference.flow_sources import along_order
from pushforward.inference.trust import MIXED
from pushforward.inference.weighting import GOOD_K
from pushforward.inverse_problems.bias import Bias, bias_by_weights, bias_on_normal
from pushforward.inverse_problems.closed_form import posterior_of
from pushforward.inverse_problems.coordinates import AbstractCoordinates, coordinates_of
from pushforward.inverse_problems.field_prior import MOMENT_DRAWS, MOMENT_STEPS, FieldPrior, field_prior_of
from pushforward.inverse_problems.guided_sampling import Guided, events_of, run_guided
from pushforward.inverse_problems.islands import error_of_mean, evidence_of, island_counts
from pushforward.inverse_problems.laplace import DEFENSIVE, laplace, weigh
from pushforward.inverse_problems.methods import DPS, HMC, MALA, MAP, TDS, Importance, PiGDM
from pushforward.inverse_problems.operators import Mask
from pushforward.inverse_problems.problem import NAME, Problem, held
from pushforward.inverse_problems.tempering import run_tempered
from pushforward.metrics.weights import MOST_K, heavy_tailed

# Islands that count, chains that move, and draws that are worth something.
LEAST_ISLANDS, LEAST_ACCEPTANCE, LEAST_ESS = 4.0, 0.2, 100.0
# Draws of Laplace's normals that are weighted to tell how far these are off.
WEIGHED = 4096
# A bias below this many standard deviations, and deviations within this share, are told as small.
SMALL_BIAS, SMALL_RATIO = 0.1, 0.1
# Particles of a method without weights of its own in each of its groups.
GROUP = 64


class Answer(NamedTuple):
    """What a method gave; the names are those of `Solution`."""

    draws: np.ndarray
    groups: np.ndarray
    trustworthy: bool
    verdict: str
    n_evaluations: int
    diagnostics: dict[str, float]
    map: np.ndarray | None = None
    particle_ess: np.ndarray | None = None
    bias: Bias | None = None
    log_evidence: float = math.nan
    log_evidence_error: float = math.nan


def exactly(problem: Problem, n: int, key: PRNGKeyArray) -> Answer | None:
    """Independent draws of the posterior, None where there is no way to them.

    Args:
        problem: The problem, in float64.
        n: Number of draws.
        key: JAX key.
    """
    posterior = posterior_of(problem)
    if posterior is not None:
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
        rows = posterior.normals.draw(rng, n).reshape(n, *problem.prior.event_shape)
        rows = held(problem, rows) if problem.noiseless else rows
        verdict = "exact: the posterior is a mixture of normals in closed form, and the draws are independent."
        return Answer(
            rows, np.arange(n), True, verdict, 0, {}, log_evidence=posterior.log_evidence, log_evidence_error=0.0
        )
    if not (problem.noiseless and isinstance(problem.operator, Mask) and len(problem.prior.event_shape) == 1):
        return None
    given = dict(zip(problem.operator.places, np.asarray(problem.y.value).tolist(), strict=True))
    try:
        conditional = condition_on(problem.prior, given, method="exact")
        along = along_order(problem.prior, conditional.boxes)
        if along is None or not along.leads:
            return None
        found = conditional.draw(key, n)
    except ConditioningError as error:
        if error.code == "impossible":
            raise
        return None
    verdict = "exact: the observed numbers come first in the prior's order, and the draws are independent."
    told_by = found.report
    return Answer(
        found.rows, np.arange(n), True, verdict, n, {}, log_evidence=told_by.log_evidence, log_evidence_error=0.0
    )


def by_chains(problem: Problem, method: HMC | MALA, n: int, key: PRNGKeyArray) -> Answer:
    """Draws by chains of HMC or MALA."""
    own, run_key = jax.random.split(key)
    coordinates = coordinates_of(problem, own)
    found = run_tempered(coordinates, method, n, run_key)
    figures, troubles = found.diagnostics, []
    if not figures["nested_r_hat"] <= MIXED:
        troubles.append(f"the islands differ (nested R-hat {figures['nested_r_hat']:.3f}; {MIXED} is the limit)")
    if figures["effective_islands"] < LEAST_ISLANDS:
        troubles.append(f"few islands have most of the evidence ({figures['effective_islands']:.1f} count)")
    if figures["acceptance"] < LEAST_ACCEPTANCE:
        troubles.append(f"the chains hardly move (acceptance {figures['acceptance']:.0%})")
    if troubles:
        verdict = f"do not trust: {'; '.join(troubles)}. Take more n_rounds and n_particles, or method='importance'."
    else:
        verdict = (
            "exact as the chains grow long, and they agree: nested R-hat "
            f"{figures['nested_r_hat']:.3f}, acceptance {figures['acceptance']:.0%}."
        )
    events = events_from(coordinates, found.u)
    return Answer(
        events,
        found.groups,
        not troubles,
        verdict,
        found.n_evaluations,
        figures,
        log_evidence=found.log_evidence,
        log_evidence_error=found.log_evidence_error,
    )


def by_modes(problem: Problem, method: MAP | Importance, n: int, key: PRNGKeyArray) -> Answer:
    """Draws of normals at the modes, as they are (MAP) or resampled by their weights (importance sampling)."""
    place_key, mode_key, weigh_key, choose_key = jax.random.split(key, 4)
    coordinates = coordinates_of(problem, place_key)
    found = laplace(coordinates, method.n_starts, mode_key)
    best = events_from(coordinates, found.best[None])[0]
    plain = isinstance(method, MAP)
    if plain:
        n_weighed, wider, defensive = max(WEIGHED, n), 1.0, 0.0
    else:
        n_weighed, wider, defensive = max(method.n_proposals, n), 1 + 0.5 / math.sqrt(coordinates.size), DEFENSIVE
    weighted = weigh(coordinates, found.normals, n_weighed, weigh_key, wider=wider, defensive=defensive)
    figures = {"modes": float(len(found.heights)), "ess": weighted.ess, "pareto_k": weighted.pareto_k}
    evaluations = found.n_evaluations + n_weighed
    if plain:
        events = events_from(coordinates, weighted.draws)
        bias = bias_by_weights(weighted, events.reshape(len(events), -1))
        small = bias is not None and is_small(bias)
        verdict = f"approximate: a normal at each of {len(found.heights)} mode(s). {told(bias)}"
        return Answer(events[:n], np.arange(n), small, verdict, evaluations, figures, best, bias=bias)
    good = weighted.ess >= LEAST_ESS and not heavy_tailed(weighted.pareto_k, weighted.ess, n_weighed)
    if weighted.n_undefined or not weighted.ess > 0:
        fix = "Use method='hmc'."
        raise ValueError(message(NAME, "weights above zero", weighted.sentence, fix))
    places = replace(weighted, draws=np.arange(n_weighed)).resample(n, choose_key)
    verdict = (
        f"exact as the draws grow many: {n_weighed:,} weighted draws worth {weighted.ess:,.0f} (Pareto k "
        f"{weighted.pareto_k:.2f}{'' if weighted.pareto_k <= GOOD_K else ': weighted means converge slowly'})."
        if good
        else f"do not trust: {n_weighed:,} weighted draws are worth {weighted.ess:,.0f} (Pareto k "
        f"{weighted.pareto_k:.2f}; {MOST_K} is the limit). Take more n_proposals, or method='hmc'."
    )
    events = events_from(coordinates, weighted.draws[places])
    answer = Answer(events, places, good, verdict, evaluations, figures, best)
    return answer._replace(log_evidence=weighted.log_z, log_evidence_error=weighted.log_z_error)


def by_guide(problem: Problem, method: DPS | PiGDM | TDS, n: int, key: PRNGKeyArray, prior_draws: Any = None) -> Answer:
    """Draws of a velocity or score model by a guided sampler.

    Args:
        problem: The problem.
        method: The method.
        n: Number of draws.
        key: JAX key.
        prior_draws: Events of the prior `(m, *event_shape)`; None draws them.

    Raises:
        ValueError: The prior is no such model, TDS is asked for where there is no noise, or the prior's draws are no
            events.
    """
    prior = field_prior_of(problem.prior)
    if prior is None:
        fix = "Use method='hmc', or train pf.flows.flow_matching or score_sde as the prior."
        raise ValueError(message(NAME, "a velocity or score model on a path", "another prior", fix))
    moment_key, run_key, twin_key, choose_key = jax.random.split(key, 4)
    moments = prior.moments(moment_key, prior_draws)
    evaluations = MOMENT_DRAWS * MOMENT_STEPS if prior_draws is None else 0
    rng = np.random.default_rng(np.asarray(jax.random.key_data(choose_key)).ravel())
    if isinstance(method, TDS):
        if problem.noiseless:
            fix = "Use method='hmc', which holds y exactly by the density, method='pigdm', or a small GaussianNoise."
            raise ValueError(message(NAME, "noise for twisted particles", "none", fix))
        shape = (method.n_islands, method.n_particles)
        run = run_guided(problem, prior, moments, method, shape, run_key)
        return _twisted(problem, prior, run, method, n, rng, evaluations)
    shape = (-(-n // GROUP), GROUP)
    run = run_guided(problem, prior, moments, method, shape, run_key)
    events = events_of(problem, prior, run.x)
    # Without noise no path of the prior alone ends on y: there are no weights.
    bias = None
    figures: dict[str, float] = {}
    if not problem.noiseless:
        log_weights = np.asarray(run.log_weights, np.float64).ravel()
        weighted = Weighted.of(events, log_weights, np.zeros(len(log_weights)))
        figures = {"path_ess": weighted.ess, "path_pareto_k": weighted.pareto_k}
        bias = bias_by_weights(weighted, events.reshape(len(events), -1))
    if bias is None:
        bias = bias_on_normal(problem, prior, moments, method, shape, twin_key)
        evaluations += 0 if bias is None else len(events) * method.n_steps
    better = "method='hmc'" if problem.noiseless else "method='tds'"
    name = {"dps": "DPS", "pigdm": "pseudo-inverse guidance"}[method.name]
    verdict = f"approximate: {name} draws of no posterior exactly. {told(bias)} For exact draws use {better}."
    passes = 2 + isinstance(method, DPS)  # the field with its gradient, and once more along the guide
    evaluations += len(events) * method.n_steps * passes
    small = bias is not None and is_small(bias)
    return Answer(events[:n], np.arange(n), small, verdict, evaluations, figures, bias=bias)


def _twisted(
    problem: Problem, prior: FieldPrior, run: Guided, method: TDS, n: int, rng: np.random.Generator, evaluations: int
) -> Answer:
    """The answer of twisted particles: islands by their evidence, and particles of each by their weights."""
    log_evidence = np.asarray(run.log_evidence, np.float64)
    if not np.isfinite(log_evidence).any():
        fix = "Look at y, the operator and the noise; or take more n_steps and n_particles."
        raise ValueError(message(NAME, "particles of positive weight", "none", fix))
    log_weights = np.asarray(run.log_weights, np.float64)
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    counts = island_counts(log_evidence, n, rng)
    places, groups = [], []
    for island, count in enumerate(counts):
        shares = np.cumsum(weights[island]) / weights[island].sum()
        at = (np.arange(count) + rng.uniform()) / max(count, 1)
        own = np.minimum(np.searchsorted(shares, at), len(shares) - 1)
        places.append(island * method.n_particles + own)
        groups.append(np.full(count, island))
    order = rng.permutation(n)
    events = events_of(problem, prior, run.x)[np.concatenate(places)[order]]
    shares = np.exp(log_evidence - log_evidence.max())
    effective = float(shares.sum() ** 2 / (shares**2).sum())
    ess = np.asarray(run.ess, np.float64)
    figures = {
        "effective_islands": effective,
        "islands": float(method.n_islands),
        "least_particle_ess": float(ess.min()),
        "distinct_draws": float(len(np.unique(np.concatenate(places)))),
    }
    troubles = []
    if effective < max(LEAST_ISLANDS, 0.15 * method.n_islands):
        troubles.append(f"few islands have most of the evidence ({effective:.1f} of {method.n_islands} count)")
    if figures["distinct_draws"] < LEAST_ESS:
        troubles.append(f"only {figures['distinct_draws']:.0f} different particles are left")
    islands = np.concatenate(groups)[order]
    worth = _worth(events, islands)
    if worth < min(LEAST_ESS, n) / 2:
        troubles.append(f"islands disagree, so that the draws are worth {worth:.0f} independent ones")
    if troubles:
        verdict = f"do not trust: {'; '.join(troubles)}. Take more n_particles and n_steps."
    else:
        verdict = (
            f"exact as particles and steps grow: {effective:.1f} of {method.n_islands} islands count, and particles "
            f"were worth {ess.min():.0%} at least. What is left is the error of {method.n_steps} steps."
        )
    value, error = evidence_of(log_evidence)
    evaluations += 2 * log_weights.size * method.n_steps
    return Answer(
        events,
        islands,
        not troubles,
        verdict,
        evaluations,
        figures,
        particle_ess=ess,
        log_evidence=value,
        log_evidence_error=error,
    )


def _worth(events: np.ndarray, groups: np.ndarray) -> float:
    """What draws of islands are worth in independent ones, for the mean of a typical number."""
    error, spread = error_of_mean(events, groups), events.var(axis=0)
    moved = (spread > 0) & (error > 0)
    return float(np.median(spread[moved] / error[moved] ** 2)) if moved.any() else float(len(events))


def is_small(bias: Bias) -> bool:
    """Whether a bias is small beside the posterior's own spread, its error counted."""
    ratios = max(abs(bias.sd_low - 1), abs(bias.sd_high - 1))
    return bias.mean + 2 * bias.mean_error < SMALL_BIAS and ratios < SMALL_RATIO


def told(bias: Bias | None) -> str:
    """The bias in words, and what they are worth."""
    if bias is None:
        return "By how much could not be measured here: the weights are worth too little."
    if bias.source == "normal twin":
        return f"{bias.sentence} The weights of its paths are worth too little to tell more of this prior."
    return bias.sentence


def events_from(coordinates: AbstractCoordinates, u: np.ndarray) -> np.ndarray:
    """The events `(n, *event_shape)` of vectors `(n, size)`."""
    return np.asarray(_events(coordinates, jnp.asarray(u)), np.float64)


@eqx.filter_jit
def _events(coordinates: AbstractCoordinates, u: Array) -> Array:
    return jax.vmap(coordinates.event)(u)
