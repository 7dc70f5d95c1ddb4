"""The answer of an inference: draws, log Z, diagnostics, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import package_of
from pushforward._types import PRNGKeyArray
from pushforward.distributions import Flow
from pushforward.inference.budget import Budget
from pushforward.inference.last_stage import Ending
from pushforward.inference.programs import start_rows
from pushforward.inference.target import Target
from pushforward.inference.trust import Figures, verdict_of
from pushforward.metrics import LogZ, bridge_log_z

Status = Literal["completed", "budget", "interrupted", "improper"]


@dataclass(frozen=True, eq=False)
class Inference:
    """The answer of `infer`.

    Attributes:
        draws: Equally weighted draws in the user's parameters: a dict (or the tree) of arrays `(n, ...)`; for a target
            of one vector a dict with the one entry `"x"`.
        u: The same draws as unconstrained vectors `(n, d)`.
        names: Names of the unconstrained numbers.
        log_z: Log of the normalising constant by the optimal bridge between draws and flow, in nats.
        log_z_error: Its standard error.
        log_z_importance: The same by importance sampling with draws of the flow, with its standard error.
        log_z_ladder: The same by the ladder, whose particles saw the whole start.
        ess_fraction: Effective share of importance draws of the flow, from 0 to 1.
        pareto_k: Tail index of their weights: above 0.7 the weights are not reliable unless they are
            nearly equal (`ess_fraction` above 0.9).
        acceptance: Share of accepted trajectories of HMC in the end.
        jump_acceptance: Share of accepted independent proposals of the flow in the end.
        divergent: Share of divergent trajectories in the end.
        r_hat: Rank-normalised split R-hat `(d,)` over all chains in the end.
        gap: Mean log-ratio of target to flow at the draws less that at the flow's own draws, in nats: the sum of both
            divergences. A large one tells of a flow that misses a part.
        status: `"completed"`, `"budget"`, `"interrupted"` or `"improper"`.
        verdict: `"trustworthy"`, `"usable with weights: ..."` or `"do not trust: ..."`, with what to do.
        n_not_a_number: Points looked at, of `n_looked_at`, at which the density was NaN or infinite.
        n_looked_at: Points of the start and of the flow's draws.
        weighted_u: Draws of the flow as unconstrained vectors `(m, d)`.
        log_weights: Their log-weights `(m,)`.
        ladder: What each stage told: temperature, ESS, log Z, acceptance, what was kept.
        flow: The flow over unconstrained vectors.
        n_evaluations: Evaluations of the density.
        seconds: Time taken.
    """

    draws: dict[str, Any]
    u: np.ndarray
    names: tuple[str, ...]
    log_z: float
    log_z_error: float
    log_z_importance: LogZ
    log_z_ladder: float
    ess_fraction: float
    pareto_k: float
    acceptance: float
    jump_acceptance: float
    divergent: float
    r_hat: np.ndarray
    gap: float
    status: Status
    verdict: str
    n_not_a_number: int
    n_looked_at: int
    weighted_u: np.ndarray
    log_weights: np.ndarray
    ladder: tuple[Mapping[str, Any], ...]
    flow: Flow
    n_evaluations: int
    seconds: float

    def columns(self) -> dict[str, np.ndarray]:
        """Each number of the parameters by its name, such as `theta[0]`, with its draws `(n,)`."""
        found = {}
        for name, values in _leaves(self.draws):
            for place in np.ndindex(values.shape[1:]):
                at = f"[{','.join(map(str, place))}]" if place else ""
                found[name + at] = values[(slice(None), *place)]
        return found

    def summary(self) -> str:
        """A table of the parameters, with the figures and the verdict below it."""
        rows: list[tuple[str, ...]] = [("", "mean", "sd", "5 %", "50 %", "95 %")]
        for name, values in self.columns().items():
            numbers = (values.mean(), values.std(), *np.quantile(values, (0.05, 0.5, 0.95)))
            rows.append((name, *(f"{number:.4g}" for number in numbers)))
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines = [
            row[0].ljust(widths[0])
            + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            for row in rows
        ]
        most = float(np.max(self.r_hat))
        figures = [
            f"log Z {self.log_z:.4f} +- {self.log_z_error:.4f} (bridge), {self.log_z_importance.value:.4f} +- "
            f"{self.log_z_importance.error:.4f} (importance sampling), {self.log_z_ladder:.4f} (ladder)",
            f"importance ESS {self.ess_fraction:.1%}, Pareto k {self.pareto_k:.2f}, largest R-hat {most:.3f}, "
            f"gap {self.gap:.3f} nats",
            f"acceptance {self.acceptance:.0%} (HMC), {self.jump_acceptance:.0%} (flow), "
            f"divergent {self.divergent:.1%}",
            f"{self.n_evaluations:,} evaluations of the density, {self.seconds:.1f} s",
        ]
        if self.n_not_a_number:
            figures.append(
                f"The density was not a number at {self.n_not_a_number:,} of {self.n_looked_at:,} points looked at; it "
                "counts as 0 there."
            )
        return "\n".join([*lines, "", *figures, f"verdict: {self.verdict}"])

    def to_arviz(self) -> Any:
        """The draws as ArviZ has them: `InferenceData` with ArviZ 0.x, an `xarray.DataTree` with 1.x.

        The draws are one chain, because all are equally weighted and nearly independent; ESS and R-hat of the chains
        are in `attrs` of the group `posterior`.

        Raises:
            ImportError: ArviZ is not installed; it comes with the extra `inference`.
        """
        posterior = {name: np.asarray(values)[None] for name, values in _leaves(self.draws)}
        attributes = {
            "log_z": self.log_z,
            "log_z_error": self.log_z_error,
            "importance_ess_fraction": self.ess_fraction,
            "pareto_k": self.pareto_k,
            "largest_r_hat": float(np.max(self.r_hat)),
            "verdict": self.verdict,
        }
        return draws_to_arviz("Inference.to_arviz", posterior, attributes)


def draws_to_arviz(name: str, posterior: dict[str, np.ndarray], attributes: dict[str, Any]) -> Any:
    """Draws as ArviZ has them: `InferenceData` with ArviZ 0.x, an `xarray.DataTree` with 1.x.

    Args:
        name: Name of the caller, for messages.
        posterior: Draws `(chains, n, ...)` of each variable.
        attributes: What else is told of them.

    Raises:
        ImportError: ArviZ is not installed.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # ArviZ 0.x announces 1.x
        arviz = package_of(name, "arviz", "inference")
    if int(arviz.__version__.split(".")[0]) >= 1:
        made = arviz.from_dict({"posterior": posterior})
        made["posterior"].attrs.update(attributes)
        return made
    return arviz.from_dict(posterior=posterior, posterior_attrs=attributes)


def conclude(
    target: Target,
    ending: Ending,
    status: Status,
    direction: str | None,
    n_draws: int,
    key: PRNGKeyArray,
    budget: Budget,
) -> Inference:
    """The answer that an ending gives.

    Args:
        target: The target.
        ending: The ending.
        status: How the inference ended.
        direction: In words, where the target has infinite mass; None if nowhere.
        n_draws: Number of draws.
        key: JAX key of the choice among the draws.
        budget: What was spent.
    """
    rung, weighted = ending.rung, ending.weighted
    u = _equally_weighted(ending, n_draws, key)
    if ending.sweeps is None:
        r_hat = np.full(target.dim, np.inf)
    else:
        blackjax = package_of("infer", "blackjax", "inference")
        r_hat = np.atleast_1d(np.asarray(blackjax.diagnostics.rhat(jnp.asarray(ending.sweeps), 1, 0)))
        r_hat = np.where(np.isfinite(r_hat), r_hat, np.inf)
    defined = weighted.n_undefined == 0 and weighted.ess > 0
    bridge = LogZ(float("nan"), float("inf"))
    if rung.temperature == 1 and defined:
        bridge = bridge_log_z(ending.log_ratio, weighted.log_weights)
    n = len(weighted.log_weights)
    share = weighted.ess / n if defined else 0.0
    k = weighted.pareto_k if defined else float("inf")
    with np.errstate(invalid="ignore"):
        gap = float(np.mean(ending.log_ratio) - np.mean(weighted.log_weights))
    figures = Figures(
        status=status,
        temperature=rung.temperature,
        direction=direction,
        r_hat=float(np.max(r_hat)),
        worst=target.names[int(np.argmax(r_hat))],
        pareto_k=k,
        ess_fraction=share,
        n=n,
        log_z=bridge.value,
        log_z_error=bridge.error,
        log_z_ladder=rung.log_z,
        n_particles=len(rung.u),
        fault_share=ending.n_faults / n,
    )
    parameters = jax.tree.map(np.asarray, jax.jit(jax.vmap(target.constrain))(jnp.asarray(u)))
    return Inference(
        draws=parameters if isinstance(parameters, dict) else {"x": parameters},
        u=u,
        names=target.names,
        log_z=bridge.value,
        log_z_error=bridge.error,
        log_z_importance=LogZ(weighted.log_z, weighted.log_z_error),
        log_z_ladder=rung.log_z,
        ess_fraction=share,
        pareto_k=k,
        acceptance=float(ending.rates[0]),
        jump_acceptance=float(ending.rates[1]),
        divergent=float(ending.rates[2]),
        r_hat=r_hat,
        gap=gap,
        status=status,
        verdict=verdict_of(figures),
        n_not_a_number=rung.n_faults + ending.n_faults,
        n_looked_at=rung.n_evaluated + n,
        weighted_u=weighted.draws,
        log_weights=weighted.log_weights,
        ladder=rung.history,
        flow=rung.kept.transport.as_flow(),
        n_evaluations=budget.spent,
        seconds=budget.elapsed,
    )


def _equally_weighted(ending: Ending, n_draws: int, key: PRNGKeyArray) -> np.ndarray:
    """Draws `(n_draws, d)`: of the last sweeps; of particles below the temperature 1 by their weights."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    rung = ending.rung
    if rung.temperature < 1:
        weights = (1 - rung.temperature) * (rung.log_p - np.asarray(start_rows(jnp.asarray(rung.u))))
        weights = np.exp(weights - weights.max())
        return rung.u[rng.choice(len(weights), n_draws, p=weights / weights.sum())]
    sweeps = rung.u[None] if ending.sweeps is None else ending.sweeps
    count = -(-n_draws // len(rung.u))
    rows = sweeps[-count:].reshape(-1, rung.u.shape[1])
    return rows[rng.choice(len(rows), n_draws, replace=len(rows) < n_draws)]


def _leaves(draws: Any) -> list[tuple[str, np.ndarray]]:
    found = jax.tree_util.tree_flatten_with_path(draws)[0]
    return [(jax.tree_util.keystr(path, simple=True, separator="."), np.asarray(leaf)) for path, leaf in found]
