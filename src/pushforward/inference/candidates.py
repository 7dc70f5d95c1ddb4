"""What a stage may keep: the identity, the old flow, a newly trained one, a mixture; held-out particles decide."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import PRNGKeyArray
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.supports import Real, biject_to
from pushforward.inference.normal_mixture import fitted_mixture
from pushforward.inference.programs import Training, score, train
from pushforward.inference.transport import DTYPE, Transport, mixture_size, standard_base, whitening_of

# Of so many particles one is held out.
HELD_OUT = 5
# The rates of training: at a stage on the way, and of the last stage at its first step.
STAGE_RATE, LAST_RATE = 1e-3, 3e-3
# Calls of `train`: at a stage on the way, and at most in the last stage, where every so many calls are judged.
STAGE_CALLS, LAST_CALLS, JUDGED_EVERY = 3, 30, 3
# The numbers of components that are tried, as shares of the largest.
MIXTURE_SHARES = (1.0, 0.5, 0.125)
LEAST_ROWS_OF_A_COMPONENT = 20
LAST_STARTS = 2  # of each mixture in the last stage; on the way one is enough

Effort = Literal["none", "stage", "last"]


class Fitted(NamedTuple):
    """A transport, its name, and its mean log-density of the held-out particles in nats."""

    transport: Transport
    name: str
    nats: float


class Choice(NamedTuple):
    """What a stage keeps, and the bijection from which the next training starts."""

    kept: Fitted
    trained: AbstractBijection
    nats: dict[str, float]


class Fitter:
    """Fits the candidates of each stage to particles.

    Args:
        start: The bijection before training, which is the identity in distribution.
        capacity: The largest number of particles; all calls pad to it, for one compiled program.
        key: JAX key.
    """

    def __init__(self, start: AbstractBijection, capacity: int, key: PRNGKeyArray):
        self.start, self.capacity, self.key = start, capacity, key
        (self.dim,) = start.in_shape
        self.base, self.none = standard_base(self.dim), biject_to(Real(self.dim))

    def plain(self, u: np.ndarray) -> Transport:
        """The identity in whitened space, without a flow: its programs compile and run in a fraction of the time."""
        return Transport(self.base, self.none, *whitening_of(u))

    def choose(
        self,
        pool: np.ndarray,
        ancestors: np.ndarray,
        old: Fitted | None,
        trained: AbstractBijection,
        stage: int,
        effort: Effort,
    ) -> Choice:
        """The candidate that explains held-out particles best.

        Args:
            pool: Particles `(m, d)`.
            ancestors: Number `(m,)` of the particle that each stems from: its copies are held out together.
            old: What the stage before kept.
            trained: The bijection from which training starts.
            stage: Number of the stage.
            effort: How long a new flow is trained: not at all, as at a stage on the way, or as in the last one.
        """
        key = jax.random.fold_in(self.key, stage)
        held = ancestors % HELD_OUT == HELD_OUT - 1
        own, judged = pool[~held], _padded(pool[held], self.capacity // HELD_OUT + 1)
        plain = self.plain(own)

        def fitted(transport: Transport, name: str) -> Fitted:
            values = np.asarray(score(transport, jnp.asarray(judged)))[: held.sum()]
            return Fitted(transport, name, float(values.mean()) if np.isfinite(values).all() else -np.inf)

        found = [fitted(plain, "identity")]
        if old is not None:
            found.append(fitted(old.transport, "old flow" if old.name == "new flow" else old.name))
        if effort != "none":
            new, trained = self._train(own, plain, trained, key, effort == "last", fitted)
            found += [new, *self._mixtures(own, plain, stage, effort == "last", fitted)]
        best = max(found, key=lambda one: one.nats)
        return Choice(best, trained, {one.name: one.nats for one in found})

    def _train(
        self, own: np.ndarray, plain: Transport, trained: Any, key: Any, last: bool, fitted: Any
    ) -> tuple[Fitted, AbstractBijection]:
        rows = np.asarray(plain.whitened(jnp.asarray(own))[0], DTYPE)
        pool, count = jnp.asarray(_padded(rows, self.capacity)), jnp.asarray(len(rows))
        calls = LAST_CALLS if last else STAGE_CALLS
        state, best = Training.start(trained), None
        for call in range(calls):
            ends = np.array([call, call + 1]) / calls
            rates = LAST_RATE * 0.5 * (1 + np.cos(np.pi * ends)) if last else np.full(2, STAGE_RATE)
            state = train(state, pool, count, jnp.asarray(rates), jax.random.fold_in(key, call))
            if (call + 1) % JUDGED_EVERY == 0 or call == calls - 1:
                new = fitted(plain._replace(bijection=state.bijection), "new flow")
                if best is None or new.nats > best.nats:
                    best = new
        if best is None or not np.isfinite(best.nats):
            return fitted(plain, "identity"), self.start
        return best, best.transport.bijection

    def _mixtures(self, own: np.ndarray, plain: Transport, stage: int, last: bool, fitted: Any) -> list[Fitted]:
        most = mixture_size(self.dim)
        if most == 1:
            return []
        rows = np.asarray(plain.whitened(jnp.asarray(own))[0])
        tried = []
        for share in MIXTURE_SHARES if last else MIXTURE_SHARES[:1]:
            size = min(int(share * most), len(rows) // LEAST_ROWS_OF_A_COMPONENT)
            if size < 2:
                continue
            mixture = fitted_mixture(rows, most, size, LAST_STARTS if last else 1, stage, DTYPE)
            if mixture is not None:
                tried.append(fitted(plain._replace(base=mixture), "mixture"))
        return [max(tried, key=lambda one: one.nats)] if tried else []


def _padded(rows: np.ndarray, n: int) -> np.ndarray:
    if len(rows) >= n:
        return rows[:n]
    return np.concatenate([rows, np.broadcast_to(rows[:1], (n - len(rows), rows.shape[1]))])
