"""`infer`: one call from a log-density to draws, log Z and a verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from pushforward._checks import as_key, check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.bijections.base import AbstractBijection
from pushforward.inference.budget import Budget
from pushforward.inference.candidates import Fitter
from pushforward.inference.improper import improper_direction
from pushforward.inference.ladder import MOST_STAGES, Rung, climb, first_rung
from pushforward.inference.ladder_store import LadderStore
from pushforward.inference.last_stage import SWEEPS, ending_of, last_stage, polish
from pushforward.inference.reporting import make_reporter
from pushforward.inference.result import Inference, conclude
from pushforward.inference.target import Target
from pushforward.inference.transport import lower, new_bijection

# The share of a budget that the ladder may use, and the ladder with the last fits; the rest is for the final moves.
LADDER_SHARE, FIT_SHARE = 0.7, 0.85
# Particles for a budget in evaluations: each costs about as many on the whole way.
EVALUATIONS_PER_PARTICLE = 2000
LEAST_PARTICLES = 200
# Stages that are tried of a target that has no finite mass.
IMPROPER_STAGES = 3


def infer(
    target: Target,
    *,
    key: PRNGKeyArray,
    budget: int | float | str | None = None,
    flow: Callable[[PRNGKeyArray, int], AbstractBijection] | None = None,
    n_draws: int = 2000,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool | Literal["auto"] = "auto",
) -> Inference:
    r"""Draws of a density that is known up to its constant, the constant, and whether to trust them.

    A ladder of targets $\tilde p^\beta\, p_0^{1 - \beta}$ goes from a wide start $p_0$ ($\beta = 0$) to the target
    ($\beta = 1$). Each step leaves half of the particles effective. At each stage the particles are weighted and
    resampled; a flow is trained on them in whitened coordinates; and blackjax's kernels move them in the latent space
    of the flow, by independent proposals of the flow and by trajectories of HMC whose step follows their acceptance.
    A stage keeps whichever of the new flow, the old one, the identity and, in few dimensions, a mixture of normals
    explains held-out particles best, so that the ladder is never worse than without a flow. In the last stage the flow
    is trained longer, first on the particles, then by the reverse divergence along paths.

    All programs of the ladder are compiled once: temperatures, steps and rates are traced.

    Args:
        target: The target.
        key: JAX key.
        budget: An integer is a number of evaluations of the density (a value with its gradient counts as one); a
            float, or words such as `"60s"` or `"5min"`, is a time; None takes what the target needs. Without enough of
            it the answer is the best so far, and says so.
        flow: Function of a key and the number of dimensions to a bijection from latents to whitened vectors; None takes
            splines and affine layers, autoregressive up to 16 dimensions, couplings beyond.
        n_draws: Number of draws, and of importance draws.
        checkpoint: Folder in which the state of the ladder is stored after each stage; None stores nothing.
        resume: Whether to go on from the folder's state, if there is one.
        progress: `"auto"` shows a bar with temperature, effective particles and log Z on a terminal, and a line now and
            then elsewhere; False shows nothing.

    Returns:
        The answer. Ctrl-C gives the best so far, with the status `"interrupted"`.

    Raises:
        DensityError: The density is 0 or not a number at all points of the start.
        FileExistsError: The folder holds the state of a ladder, and `resume` is False.
        ImportError: blackjax is not installed; it comes with the extra `inference`.
        TypeError: The target is no `Target`.

    Source: Del Moral, Doucet, Jasra, 2006, J. R. Stat. Soc. B 68; the moves: Hoffman et al., 2019, arXiv 1903.03704.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> target = pf.Target(lambda x: -0.5 * jnp.sum((x - 1.0) ** 2), 1)
        >>> answer = pf.infer(target, key=jax.random.key(0), budget=200_000, progress=False)  # doctest: +SKIP
        >>> answer.verdict  # doctest: +SKIP
        'trustworthy'
    """
    if not isinstance(target, Target):
        fix = "Make one: pf.Target(log_density, dim), or Target.from_numpyro(model, data)."
        raise TypeError(message("infer", "a Target", type(target).__name__, fix))
    key = as_key("infer", key)
    limit, n = Budget(budget), check_int("infer", "n_draws", n_draws, 100)
    reporter = make_reporter(progress)
    with jax.enable_x64(True):
        return _run(target, key, limit, flow, n, (checkpoint, resume), reporter)


def _run(
    target: Target, key: Any, budget: Budget, flow: Any, n_draws: int, store_in: tuple[Any, bool], reporter: Any
) -> Inference:
    keys = jax.random.split(key, 6)
    n = int(np.clip(budget.evaluations / EVALUATIONS_PER_PARTICLE, LEAST_PARTICLES, n_draws))
    bijection = lower((new_bijection if flow is None else flow)(keys[0], target.dim))
    fitter = Fitter(bijection, n * SWEEPS, keys[1])
    store = LadderStore(*store_in, target, n, key)
    direction = improper_direction(target, keys[2])
    latest = store.restore(fitter, budget) or first_rung(target, fitter, n, keys[3], budget)
    status, ending = "completed", None

    def report(rung: Rung) -> None:
        nonlocal latest
        latest = rung
        store.save(rung, budget)
        reporter.update(rung.history[-1])

    try:
        most = MOST_STAGES if direction is None else latest.stage + IMPROPER_STAGES
        rung = climb(target, fitter, latest, keys[4], budget, LADDER_SHARE, report, most)
        if rung.temperature < 1:
            status = "budget" if rung.stage < most else "improper"
        else:
            rung = last_stage(target, fitter, rung, n_draws, keys[5], budget, FIT_SHARE, report)
            ending = polish(target, rung, n_draws, jax.random.fold_in(keys[5], 1), budget)
    except KeyboardInterrupt:
        status = "interrupted"
    if ending is None:
        ending = ending_of(target, latest, n_draws, keys[5], budget)
    answer = conclude(target, ending, status, direction, n_draws, keys[5], budget)
    reporter.close(answer.verdict)
    return answer
