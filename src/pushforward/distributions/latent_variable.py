"""Latent-variable models: a prior and a decoder, with an amortised posterior to train and score them by."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._meshes import scan
from pushforward._parts import replaced
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import fold_keys
from pushforward.bijections.normalization import starts_from_data
from pushforward.distributions.base import AbstractDistribution


class VAE(AbstractDistribution):
    r"""A variational autoencoder: $p(x) = \int p(x \mid z)\,p(z)\,dz$ with an amortised posterior $q(z \mid e(x))$.

    Its `log_prob` is no density but a random lower bound, on average, of one: the importance-weighted
    $\log \frac1K \sum_k p(x, z_k) / q(z_k \mid e(x))$ with $K$ draws $z_k$ of the posterior, which comes close to
    $\log p(x)$ as $K$ grows. `objectives.ELBO` and `objectives.IWAE` train it.

    Args:
        prior: The law $p(z)$ of the latent, such as `StandardNormal((8,))`, or a flow that is trained along.
        encoder: A callable (an `eqx.Module`, to be trained along) from **one** event $x$ to the posterior's condition.
        posterior: The law $q(z \mid e)$: `ConditionalNormal`, a conditional flow, or a flow whose base is conditional.
            It must be cheap to sample: `iaf`, not `maf`; `planar` and `sylvester` with `fast="sample"`.
        decoder: The law $p(x \mid z)$ of an event given the latent: `ConditionalBernoulli` or `ConditionalNormal` of a
            network that is an `eqx.Module`, or any other conditional distribution.
        n_draws: Number $K$ of draws by which `log_prob` is estimated.

    Raises:
        TypeError: The prior, the posterior or the decoder is no distribution.
        ValueError: Shapes of prior, encoder, posterior and decoder do not fit each other, or a layer starts from data.

    Source: Kingma, Welling, 2014, arXiv 1312.6114; flows as posteriors: Rezende, Mohamed, 2015, arXiv 1505.05770.

    Example:
        >>> import jax, pushforward as pf
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> encoder = pf.MLP(keys[0], 6, (16,), width=16)
        >>> posterior = pf.flows.iaf(keys[1], dim=2, condition_dim=16, n_layers=2, width=8)
        >>> decoder = pf.distributions.ConditionalBernoulli(pf.MLP(keys[2], 2, (6,), width=16), (6,), (2,))
        >>> vae = pf.distributions.VAE(pf.StandardNormal((2,)), encoder, posterior, decoder)
        >>> vae.sample(jax.random.key(1), 5).shape
        (5, 6)
        >>> vae.with_draws(100).log_prob(jax.numpy.ones((3, 6)), key=jax.random.key(2)).shape
        (3,)
    """

    prior: AbstractDistribution
    encoder: Callable[[Array], Array]
    posterior: AbstractDistribution
    decoder: AbstractDistribution
    n_draws: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(
        self,
        prior: AbstractDistribution,
        encoder: Callable[[Array], Array],
        posterior: AbstractDistribution,
        decoder: AbstractDistribution,
        *,
        n_draws: int = 16,
    ):
        for name, law in (("prior", prior), ("posterior", posterior), ("decoder", decoder)):
            if not isinstance(law, AbstractDistribution):
                fix = "Wrap a decoder's network in ConditionalBernoulli or ConditionalNormal."
                raise TypeError(message("VAE", f"a distribution as {name}", type(law).__name__, fix))
        if prior.cond_shape is not None or prior.needs_key:
            fix = "Take StandardNormal((dim,)), or an unconditional flow."
            raise ValueError(message("VAE", "an unconditional prior with a density", "another one", fix))
        if posterior.event_shape != prior.event_shape or decoder.cond_shape != prior.event_shape:
            got = f"a posterior of {posterior.event_shape} and a decoder given {decoder.cond_shape}"
            fix = "All three speak of the same latent."
            raise ValueError(message("VAE", f"latents of shape {prior.event_shape} as the prior has", got, fix))
        if starts_from_data((prior, posterior)):
            fix = "Build the flow without actnorm: the data that it would start from are not there yet."
            raise ValueError(message("VAE", "layers that do not start from data", "one that does", fix))
        try:
            code = eqx.filter_eval_shape(
                encoder, jax.ShapeDtypeStruct(decoder.event_shape, jnp.result_type(float))
            ).shape
        except (TypeError, ValueError) as error:
            fix = "The encoder is a function of one event; reshape within it."
            expected = f"an encoder that takes one event of shape {decoder.event_shape}"
            raise ValueError(message("VAE", expected, f"the error: {error}", fix)) from error
        if code != posterior.cond_shape:
            fix = "The encoder's output is the posterior's condition."
            raise ValueError(message("VAE", f"codes of shape {posterior.cond_shape}", f"{code}", fix))
        self.prior, self.encoder, self.posterior, self.decoder = prior, encoder, posterior, decoder
        self.n_draws = check_int("VAE", "n_draws", n_draws, 1)
        self.event_shape, self.cond_shape, self.needs_key = decoder.event_shape, None, True

    def with_draws(self, n_draws: int) -> VAE:
        """The same model with another number of draws in `log_prob`.

        Args:
            n_draws: Number of draws; published test likelihoods take 1000 to 5000.
        """
        return replaced(self, n_draws=check_int("VAE.with_draws", "n_draws", n_draws, 1))

    def encode(self, x: Array) -> Array:
        """The posterior's conditions `(*batch, *cond_shape)` of events `(*batch, *event_shape)`."""
        batch = x.shape[: x.ndim - len(self.event_shape)]
        codes = jax.vmap(self.encoder)(x.reshape(-1, *self.event_shape))
        return codes.reshape(*batch, *codes.shape[1:])

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        code = jax.vmap(self.encoder, in_axes=-1, out_axes=-1)(x)

        def add(total: Array, i: Array) -> tuple[Array, None]:
            z, log_q = self.posterior.sample_and_log_prob_rows(_folded(keys, i), code)
            log_w = self.prior.log_prob_rows(z, None, None) + self.decoder.log_prob_rows(x, z, None) - log_q
            return jnp.logaddexp(total, log_w.astype(total.dtype)), None

        dtype = jnp.result_type(x, *(a for a in jax.tree.leaves(self) if eqx.is_inexact_array(a)))
        # The draws go one by one, so that the memory does not grow with their number.
        start = jnp.full(x.shape[-1:], -jnp.inf, dtype)
        total, _ = scan(add, start, jnp.arange(self.n_draws))
        return total - math.log(self.n_draws)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        z = self.prior.sample_rows(_folded(keys, 0), None)
        return self.decoder.sample_rows(_folded(keys, 1), z)

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, _folded(keys, 2))


def _folded(keys: PRNGKeyArray | None, n: int | Array) -> PRNGKeyArray:
    return fold_keys(keys, n)  # pyright: ignore[reportReturnType] - a model with `needs_key` has keys
