"""The ways to solve an inverse problem, as objects with their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from pushforward._checks import check_int, check_number, message


@dataclass(frozen=True)
class Exact:
    """Independent draws of the posterior itself.

    They exist for normals and mixtures of normals seen through a linear operator with normal noise or none, and for
    masks without noise where the observed numbers come first in the order of an autoregressive prior.
    """

    name: ClassVar[str] = "exact"


@dataclass(frozen=True)
class MAP:
    """The most probable vector of latents, and normals at such modes (Laplace's approximation).

    Args:
        n_starts: Number of starts of L-BFGS.
    """

    name: ClassVar[str] = "map"
    n_starts: int = 16

    def __post_init__(self) -> None:
        check_int("MAP", "n_starts", self.n_starts, 1)


@dataclass(frozen=True)
class Importance:
    """Weighted draws of normals at the modes and of the prior.

    Args:
        n_proposals: Number of weighted draws.
        n_starts: Number of starts of L-BFGS.
    """

    name: ClassVar[str] = "importance"
    n_proposals: int = 8192
    n_starts: int = 16

    def __post_init__(self) -> None:
        check_int("Importance", "n_proposals", self.n_proposals, 64)
        check_int("Importance", "n_starts", self.n_starts, 1)


@dataclass(frozen=True)
class HMC:
    """Hamiltonian Monte Carlo in latent space, from tempered particles.

    Args:
        n_islands: Number of groups of particles that never mix, whose differences tell the errors.
        n_particles: Number of particles of each.
        n_moves: Number of trajectories at each temperature.
        n_rounds: Number of trajectories at the end, once to adapt and once to keep; a multiple of `n_moves`, or the
            next.
        n_leapfrogs: Number of steps of a trajectory.
    """

    name: ClassVar[str] = "hmc"
    kind: ClassVar[str] = "hmc"
    n_islands: int = 16
    n_particles: int = 32
    n_moves: int = 3
    n_rounds: int = 12
    n_leapfrogs: int = 6

    def __post_init__(self) -> None:
        _check_islands("HMC", self)
        for what in ("n_moves", "n_rounds", "n_leapfrogs"):
            check_int("HMC", what, getattr(self, what), 1)

    def first_step(self, size: int) -> float:
        """The step before it is adapted, for standardised coordinates."""
        return size**-0.25


@dataclass(frozen=True)
class MALA:
    """The Metropolis-adjusted Langevin algorithm in latent space, from tempered particles.

    Args:
        n_islands: Number of groups of particles that never mix, whose differences tell the errors.
        n_particles: Number of particles of each.
        n_moves: Number of steps at each temperature.
        n_rounds: Number of steps at the end, once to adapt and once to keep; a multiple of `n_moves`, or the next.
    """

    name: ClassVar[str] = "mala"
    kind: ClassVar[str] = "mala"
    n_leapfrogs: ClassVar[int] = 1
    n_islands: int = 16
    n_particles: int = 32
    n_moves: int = 10
    n_rounds: int = 40

    def __post_init__(self) -> None:
        _check_islands("MALA", self)
        for what in ("n_moves", "n_rounds"):
            check_int("MALA", what, getattr(self, what), 1)

    def first_step(self, size: int) -> float:
        """The step before it is adapted, for standardised coordinates."""
        return 0.5 * size ** (-1 / 3)


@dataclass(frozen=True)
class DPS:
    r"""Diffusion posterior sampling: the guide $\nabla_{x_t} \log p(y \mid \hat x_1(x_t))$, with $\hat x_1$ as certain.

    The paper divides the step by the norm of the residual and tunes a factor. Here the step is that of the derivation,
    cut where it would overshoot the observation.

    Args:
        n_steps: Number of steps from noise to data.
        step: Factor of the guide.
    """

    name: ClassVar[str] = "dps"
    n_steps: int = 200
    step: float = 1.0

    def __post_init__(self) -> None:
        check_int("DPS", "n_steps", self.n_steps, 2)
        check_number("DPS", "step", self.step, 0, open_low=True)


@dataclass(frozen=True)
class PiGDM:
    r"""Pseudo-inverse guidance: $p(y \mid x_t) \approx N(A \hat x_1, \Sigma + r_t^2 A A^T)$ with one variance $r_t^2$.

    Args:
        n_steps: Number of steps from noise to data.
    """

    name: ClassVar[str] = "pigdm"
    n_steps: int = 200

    def __post_init__(self) -> None:
        check_int("PiGDM", "n_steps", self.n_steps, 2)


@dataclass(frozen=True)
class TDS:
    r"""The twisted diffusion sampler: guided particles, weighted and resampled so that they become exact as they grow.

    Args:
        n_steps: Number of steps from noise to data.
        n_islands: Number of groups of particles that never mix, whose differences tell the errors.
        n_particles: Number of particles of each.
    """

    name: ClassVar[str] = "tds"
    n_steps: int = 200
    n_islands: int = 32
    n_particles: int = 64

    def __post_init__(self) -> None:
        check_int("TDS", "n_steps", self.n_steps, 2)
        _check_islands("TDS", self)


def _check_islands(name: str, method: Any) -> None:
    check_int(name, "n_islands", method.n_islands, 4)
    check_int(name, "n_particles", method.n_particles, 2)


Method = Exact | MAP | Importance | HMC | MALA | DPS | PiGDM | TDS
METHODS: dict[str, Any] = {kind.name: kind for kind in get_args(Method)}


def as_method(name: str, method: Any) -> Method | None:
    """The method of a name with its defaults, or the object itself; None for `"auto"`.

    Raises:
        ValueError: There is no such method.
    """
    if isinstance(method, Method):
        return method
    if method == "auto":
        return None
    if not isinstance(method, str) or method not in METHODS:
        fix = "Or pass an object with settings, such as inverse_problems.HMC(n_rounds=50)."
        raise ValueError(message(name, f"method one of auto, {', '.join(METHODS)}", repr(method), fix))
    return METHODS[method]()
