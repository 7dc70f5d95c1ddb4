"""`solve`: from a prior, an observation, an operator and noise to draws of the posterior."""

from __future__ import annotations

import time
from typing import Any, NamedTuple, cast

import jax

from pushforward._checks import as_key, check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.distributions import Flow
from pushforward.inverse_problems.answers import Answer, by_chains, by_guide, by_modes, exactly
from pushforward.inverse_problems.field_prior import field_prior_of
from pushforward.inverse_problems.methods import DPS, HMC, MAP, TDS, Exact, Importance, Method, PiGDM, as_method
from pushforward.inverse_problems.problem import NAME, Problem, checked, try_operator
from pushforward.inverse_problems.solution import Solution, consistency_of

# Up to so many numbers the exact divergence of a field is cheap enough for chains in its density.
DENSITY_UP_TO = 16


def solve(
    prior: Any,
    y: Any,
    operator: Any,
    noise: Any,
    *,
    method: str | Method = "auto",
    key: PRNGKeyArray,
    n_draws: int = 1000,
    prior_draws: Any = None,
) -> Solution:
    r"""Draw events given an observation of them, $p(x \mid y) \propto p(x)\, p(y \mid A(x))$ with a prior $p(x)$.

    `"auto"` takes independent draws where there are any (normals, mixtures of normals, and masks without noise whose
    observed numbers come first in the order of an autoregressive prior); else for velocity and score models the twisted
    diffusion sampler, or without noise chains in the density up to 16 numbers and pseudo-inverse guidance beyond; else
    HMC, in the latent space of a flow that can be drawn from, or over events. The answer says which was taken and why.

    | method | for | as a rule |
    |---|---|---|
    | `"exact"` | mixtures of normals; masks in an autoregressive order | independent draws |
    | `"hmc"`, `"mala"` | any prior with a density or latents | exact as chains grow |
    | `"importance"` | the same, up to 512 numbers | exact as draws grow; tells its effective number |
    | `"map"` | the same | a mode, and normals at the modes |
    | `"tds"` | velocity and score models, with noise | exact as particles and steps grow |
    | `"pigdm"`, `"dps"` | velocity and score models | approximate; the verdict says by how much |

    Without noise a linear operator is held exactly: chains run in what it leaves open, and guided draws are moved by as
    little as makes it hold.

    Args:
        prior: Distribution of events of any shape: a flow, a mixture, a velocity or score model; unconditional.
        y: Observation of the operator's `out_shape`, finite.
        operator: What was observed: `Mask`, `Blur`, `Downsample`, `Matrix`, `Function` or `InTurn` of these; a matrix
            or a function of one event is wrapped.
        noise: `GaussianNoise`, `PoissonNoise` or `Noiseless`; a number is a standard deviation, None no noise.
        method: Name of a method, or the method as an object with its settings, such as `HMC(n_rounds=50)`.
        key: JAX key. The same key gives the same answer.
        n_draws: Number of draws.
        prior_draws: Events of the prior `(m, *event_shape)`, from which guided samplers take its mean and covariance;
            None draws them, which takes longer than the answer where many observations share a prior.

    Returns:
        The answer: draws, mean, sd, residuals, the method's own figures, and the verdict.

    Raises:
        ImportError: blackjax is needed and not installed.
        TypeError: An argument is of the wrong kind.
        ValueError: Shapes do not fit, `y` is not finite or cannot come from operator and noise, the prior has a
            condition, or the method does not suit the problem.

    Source: Chung et al., 2023, arXiv 2209.14687 (DPS); Song et al., 2023, ICLR (pseudo-inverse guidance); Wu et al.,
        2023, arXiv 2306.17775 (TDS); Hoffman et al., 2019, arXiv 1903.03704 (chains in latent space).

    Example:
        >>> import jax, numpy as np, pushforward as pf
        >>> from pushforward.inverse_problems import Blur, GaussianNoise, solve
        >>> distance = np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
        >>> prior = pf.MultivariateNormal(np.zeros(8), np.exp(-distance / 4.0))
        >>> blur = Blur([0.25, 0.5, 0.25], (8,))
        >>> y = blur(np.sin(np.arange(8.0)))
        >>> answer = solve(prior, y, blur, GaussianNoise(0.1), key=jax.random.key(0), n_draws=500)
        >>> answer.method, answer.draws.shape, answer.trustworthy
        ('exact', (500, 8), True)
    """
    began = time.monotonic()
    problem, asked = checked(prior, y, operator, noise), as_method(NAME, method)
    n_draws, key = check_int(NAME, "n_draws", n_draws, 2), as_key(NAME, key)
    try_key, exact_key, run_key, check_key = jax.random.split(key, 4)
    with jax.enable_x64(True):
        wide = problem.wide()
        try_operator(wide, try_key)
        found = exactly(wide, n_draws, exact_key) if asked is None or isinstance(asked, Exact) else None
        if found is None and isinstance(asked, Exact):
            fix = "Use method='auto'."
            expected = "a problem with independent draws (a mixture of normals, or a mask in a prior's order)"
            raise ValueError(message(NAME, expected, "another", fix))
        choice = _choice(problem, asked, found)
    if found is None:
        found = _run(problem, wide, choice.method, n_draws, run_key, prior_draws)
    with jax.enable_x64(True):
        consistency = consistency_of(wide, found.draws, check_key)
    verdict = found.verdict if consistency.holds else f"{found.verdict} But {consistency.sentence}"
    return Solution(
        problem=problem,
        method=choice.method.name,
        reason=choice.reason,
        draws=found.draws,
        groups=found.groups,
        map=found.map,
        consistency=consistency,
        diagnostics=found.diagnostics,
        particle_ess=found.particle_ess,
        bias=found.bias,
        log_evidence=found.log_evidence,
        log_evidence_error=found.log_evidence_error,
        trustworthy=found.trustworthy and consistency.holds,
        verdict=verdict,
        n_evaluations=found.n_evaluations,
        seconds=time.monotonic() - began,
    )


def _run(problem: Problem, wide: Problem, method: Method, n: int, key: PRNGKeyArray, prior_draws: Any = None) -> Answer:
    """A method's answer: guided samplers in the model's own precision, the others in float64."""
    if isinstance(method, DPS | PiGDM | TDS):
        return by_guide(problem, method, n, key, prior_draws)
    with jax.enable_x64(True):
        if isinstance(method, MAP | Importance):
            return by_modes(wide, method, n, key)
        return by_chains(wide, cast(HMC, method), n, key)


class Choice(NamedTuple):
    """A method, and why it was taken."""

    method: Method
    reason: str


def _choice(problem: Problem, asked: Method | None, found: Answer | None) -> Choice:
    """The method to use, by the prior's traits, the operator and the noise."""
    if asked is not None:
        return Choice(asked, "asked for.")
    if found is not None:
        return Choice(Exact(), "the posterior can be drawn from as it is.")
    prior = problem.prior
    if field_prior_of(prior) is not None:
        if not problem.noiseless:
            return Choice(TDS(), "the prior is a field along a path, and twisted particles are exact in the limit.")
        if problem.size > DENSITY_UP_TO or prior.needs_key:
            why = f"there is no noise, and the density of a field over {problem.size} numbers is dear."
            return Choice(PiGDM(), why)
        return Choice(HMC(), "there is no noise, and the prior's density holds y exactly in what it leaves open.")
    if problem.noiseless:
        return Choice(HMC(), "there is no noise: chains run in what y leaves open, by the prior's density.")
    if not isinstance(prior, Flow) or prior.bijection.traits.forward == "absent":
        return Choice(HMC(), "the prior has a density and no map from latents to events, so chains run over events.")
    cost = prior.bijection.traits.forward
    return Choice(HMC(), f"the flow gives events from latents ({cost} cost), whose posterior chains explore easily.")
