"""Bounds of the likelihood of latent-variable models: the evidence lower bound, and the importance-weighted one."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_key, check_int, check_number, message
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.distributions.latent_variable import VAE
from pushforward.objectives.base import AbstractObjective, Rows
from pushforward.objectives.reparametrised import draws_and_log_prob, fixed

BOUND_WORDS = "Lower bound of the held-out log-density"


class ELBO(AbstractObjective):
    r"""Minus the evidence lower bound, $\mathbb{E}_{z \sim q}[\log q(z \mid e(x)) - \log p(x \mid z) - \log p(z)]$.

    It is the `ReverseKL` of the posterior for the target $p(x, z)$, for each row $x$, and trains prior, encoder,
    posterior and decoder at once. Two eases of the start keep the posterior from collapsing onto the prior. They
    concern training alone: held-out rows are scored by the bound itself.

    Args:
        n_draws: Number of draws of the posterior per row and step.
        warm_up: Number of steps over which the weight of $\log q(z \mid e(x)) - \log p(z)$ grows from 0 to 1.
        free_bits: Number of nats up to which the batch's mean of $\log q(z \mid e(x)) - \log p(z)$ costs nothing.
        path_gradient: Whether the posterior gets the path gradient, as in `ReverseKL`.

    Raises:
        ValueError: A number is out of range.
        TypeError: A number is of another type; or, in training, the model is no `distributions.VAE`.

    Source: Kingma, Welling, 2014, eq. 3, arXiv 1312.6114; the warm-up: Sonderby, Raiko, Maaloe, Sonderby, Winther,
        2016, arXiv 1602.02282; free bits: Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling, 2016, eq. 15,
        arXiv 1606.04934, with one group of latents.

    Example:
        >>> import jax, pushforward as pf
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> posterior = pf.ConditionalNormal(pf.MLP(keys[0], 8, (4,), width=8), (2,), (8,))
        >>> decoder = pf.distributions.ConditionalBernoulli(pf.MLP(keys[1], 2, (6,), width=8), (6,), (2,))
        >>> vae = pf.distributions.VAE(pf.StandardNormal((2,)), pf.MLP(keys[2], 6, (8,)), posterior, decoder)
        >>> x = jax.random.bernoulli(jax.random.key(1), shape=(200, 6)).astype(float)
        >>> objective = pf.objectives.ELBO(warm_up=10, free_bits=0.5)
        >>> pf.fit(vae, x, key=jax.random.key(2), objective=objective, max_epochs=2, progress=False).verdict.steps
        2
    """

    n_draws: int = eqx.field(static=True)
    warm_up: int = eqx.field(static=True)
    free_bits: float = eqx.field(static=True)
    path_gradient: bool = eqx.field(static=True)
    in_nats: ClassVar[bool] = True
    score_words: ClassVar[str] = BOUND_WORDS

    def __init__(self, n_draws: int = 1, *, warm_up: int = 0, free_bits: float = 0.0, path_gradient: bool = True):
        self.n_draws = check_int("ELBO", "n_draws", n_draws, 1)
        self.warm_up = check_int("ELBO", "warm_up", warm_up, 0)
        self.free_bits = check_number("ELBO", "free_bits", free_bits, 0)
        self.path_gradient = bool(path_gradient)

    def at_step(self, step: Array) -> AbstractObjective:
        if not self.warm_up and not self.free_bits:
            return self
        weight = jnp.minimum((step + 1) / self.warm_up, 1.0) if self.warm_up else jnp.ones(())
        return EasedELBO(self, weight)

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """Minus the bound of each row, `(n,)`, an average over the draws."""
        divergence, log_likelihood = _parts("ELBO", flow, x, key, self.n_draws, self.path_gradient)
        return jnp.mean(divergence - log_likelihood, axis=0)


class EasedELBO(AbstractObjective):
    """An `ELBO` at one step of its training, with the weight of the warm-up and the free bits.

    Args:
        inner: The objective that it eases.
        weight: Weight of the divergence, in [0, 1].
    """

    inner: ELBO
    weight: Array
    in_nats: ClassVar[bool] = True
    score_words: ClassVar[str] = BOUND_WORDS

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """What each row costs at this step, `(n,)`."""
        inner = self.inner
        divergence, log_likelihood = _parts("ELBO", flow, x, key, inner.n_draws, inner.path_gradient)
        divergence = jnp.where(jnp.mean(divergence) < inner.free_bits, inner.free_bits, divergence)
        return jnp.mean(self.weight.astype(divergence.dtype) * divergence - log_likelihood, axis=0)


class IWAE(AbstractObjective):
    r"""Minus the importance-weighted bound, $-\log \frac1K \sum_k p(x, z_k) / q(z_k \mid e(x))$ with $K$ draws per row.

    The bound grows with $K$ towards $\log p(x)$, and with $K = 1$ is the ELBO. A posterior that it trains is a good
    proposal rather than a good fit. Its plain gradient loses the posterior in noise as $K$ grows; the path gradient,
    with the weights squared, does not (doubly reparametrised).

    Args:
        n_draws: Number $K$ of draws of the posterior per row.
        path_gradient: Whether the posterior gets the doubly reparametrised gradient; False takes the plain one.

    Raises:
        ValueError: `n_draws` is out of range.
        TypeError: `n_draws` is no integer; or, in training, the model is no `distributions.VAE`.

    Source: Burda, Grosse, Salakhutdinov, 2016, eq. 8, arXiv 1509.00519; the gradient: Tucker, Lawson, Gu, Maddison,
        2019, eq. 8, arXiv 1810.04152.

    Example:
        >>> import jax, pushforward as pf
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> posterior = pf.ConditionalNormal(pf.MLP(keys[0], 8, (4,), width=8), (2,), (8,))
        >>> decoder = pf.distributions.ConditionalBernoulli(pf.MLP(keys[1], 2, (6,), width=8), (6,), (2,))
        >>> vae = pf.distributions.VAE(pf.StandardNormal((2,)), pf.MLP(keys[2], 6, (8,)), posterior, decoder)
        >>> pf.objectives.IWAE(5)(vae, jax.numpy.ones((3, 6)), key=jax.random.key(1)).shape
        ()
    """

    n_draws: int = eqx.field(static=True)
    path_gradient: bool = eqx.field(static=True)
    in_nats: ClassVar[bool] = True
    score_words: ClassVar[str] = BOUND_WORDS

    def __init__(self, n_draws: int = 8, *, path_gradient: bool = True):
        self.n_draws = check_int("IWAE", "n_draws", n_draws, 1)
        self.path_gradient = bool(path_gradient)

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """Minus the bound of each row, `(n,)`."""
        divergence, log_likelihood = _parts("IWAE", flow, x, key, self.n_draws, self.path_gradient, shared=True)
        return math.log(self.n_draws) - jax.nn.logsumexp(log_likelihood - divergence, axis=0)


def _parts(
    name: str, model: Any, x: Rows, key: Any, n_draws: int, path_gradient: bool, shared: bool = False
) -> tuple[Array, Array]:
    r"""$\log q(z \mid e(x)) - \log p(z)$ and $\log p(x \mid z)$ of draws of the posterior, each `(n_draws, n)`.

    With `shared` the draws of a row share one logarithm of a mean, whose gradient reaches the draw $k$ times its share
    $s_k$ of the weights. Along the path, where the score is left out, it is to be $s_k^2$: the draws' own gradients are
    multiplied by $s_k$ once more.

    Raises:
        TypeError: The model is no `VAE`.
    """
    if not isinstance(model, VAE):
        fix = "Build one: distributions.VAE(prior, encoder, posterior, decoder)."
        raise TypeError(message(name, "a VAE to train", type(model).__name__, fix))
    x = jnp.asarray(x)
    code = model.encode(x)
    z, log_q = draws_and_log_prob(model.posterior, as_key(name, key), n_draws, code, path_gradient=path_gradient)
    if shared and path_gradient:
        still, at = fixed((model, z))
        log_w = still.prior.log_prob(at) + still.decoder.log_prob(x, at) - jax.lax.stop_gradient(log_q)
        z, log_q = _scaled((z, log_q), jax.nn.softmax(log_w, axis=0))
    return log_q - model.prior.log_prob(z), model.decoder.log_prob(x, z)


@jax.custom_vjp
def _scaled(draws: tuple[Array, Array], shares: Array) -> tuple[Array, Array]:
    """The draws and their log-densities as they are, with gradients multiplied by the shares `(n_draws, n)`."""
    return draws


def _scaled_forward(draws: tuple[Array, Array], shares: Array) -> tuple[tuple[Array, Array], Array]:
    return draws, shares


def _scaled_back(shares: Array, gradients: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
    of_z, of_log_q = gradients
    factors = shares.reshape(*shares.shape, *([1] * (of_z.ndim - shares.ndim)))
    return (of_z * factors.astype(of_z.dtype), of_log_q * shares.astype(of_log_q.dtype)), None


_scaled.defvjp(_scaled_forward, _scaled_back)
