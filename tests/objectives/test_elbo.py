"""ELBO and IWAE against a linear-Gaussian model, whose likelihood and posterior are known in closed form."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal as _normal

import pushforward as pf
from documents import ROOT
from marks import thorough
from pushforward.distributions import VAE, ConditionalBernoulli
from pushforward.objectives import ELBO, IWAE

KEY = jax.random.key(0)
multivariate_normal: Any = _normal
# Orthogonal loadings make the posterior's covariance diagonal.
LOADINGS = np.array([[0.8, 0.5], [0.8, -0.5], [0.8, 0.5], [0.8, -0.5]])
NOISE = 0.5
EVIDENCE = multivariate_normal(np.zeros(4), LOADINGS @ LOADINGS.T + NOISE**2 * np.eye(4))
POSTERIOR_VARIANCE = 1 / (1 + np.sum(LOADINGS**2, axis=0) / NOISE**2)


class Decoder(eqx.Module):
    """The means `W z`, and the log of the noise: a user's own module."""

    loadings: Any

    def __call__(self, z: Any) -> Any:
        return jnp.concatenate([self.loadings @ z, jnp.full(4, jnp.log(NOISE))])


class Encoder(eqx.Module):
    """The exact posterior's means and log-deviations, each off by a number."""

    shift: Any
    log_factor: Any

    def __call__(self, x: Any) -> Any:
        mean = POSTERIOR_VARIANCE * (LOADINGS.T @ x) / NOISE**2
        return jnp.concatenate([mean + self.shift, 0.5 * jnp.log(POSTERIOR_VARIANCE) + self.log_factor])


def model(shift: float = 0.0, log_factor: float = 0.0) -> VAE:
    """The linear-Gaussian model; with both at 0 its posterior is exact. It goes through a flow, which does nothing."""
    base = pf.ConditionalNormal(lambda code: code, (2,), (4,))
    posterior = pf.Flow(base, pf.Affine([0.0, 0.0], [1.0, 1.0]))
    decoder = pf.ConditionalNormal(Decoder(jnp.asarray(LOADINGS)), (4,), (2,))
    encoder = Encoder(jnp.full(2, shift), jnp.full(2, log_factor))
    return VAE(pf.StandardNormal((2,)), encoder, posterior, decoder)


@pytest.fixture(scope="module")
def x() -> Any:
    return np.asarray(EVIDENCE.rvs(5, random_state=0))


def divergence(shift: float, log_factor: float) -> float:
    """KL(q || p(z given x)), the same for each row."""
    ratio = np.exp(2 * log_factor)
    return float(np.sum(0.5 * (ratio - 1 + shift**2 / POSTERIOR_VARIANCE) - log_factor))


def test_with_the_exact_posterior_each_bound_is_the_likelihood(x: Any):
    vae = model()
    for objective in (ELBO(), ELBO(3, path_gradient=False), IWAE(4)):
        np.testing.assert_allclose(-objective.per_row(vae, x, key=KEY), EVIDENCE.logpdf(x), atol=1e-8)
    np.testing.assert_allclose(vae.log_prob(x, key=KEY), EVIDENCE.logpdf(x), atol=1e-8)
    assert np.abs(np.asarray(ELBO().per_row(model(0.1), x, key=KEY)) + EVIDENCE.logpdf(x)).max() > 0.01  # the twin


def test_the_bound_is_short_by_the_divergence_and_grows_with_the_draws(x: Any):
    vae, n = model(0.3, 0.2), 4000
    rows = np.repeat(x[:1], n, axis=0)
    drawn = -np.asarray(ELBO().per_row(vae, rows, key=KEY))
    error = drawn.std() / np.sqrt(n)
    assert abs(drawn.mean() + divergence(0.3, 0.2) - EVIDENCE.logpdf(x[0])) < 4 * error
    assert abs(drawn.mean() + divergence(0.2, 0.2) - EVIDENCE.logpdf(x[0])) > 4 * error  # the twin
    bounds = [drawn.mean(), *(-np.mean(IWAE(k).per_row(vae, rows[:1000], key=KEY)) for k in (4, 16))]
    bounds.append(float(np.mean(vae.with_draws(1000).log_prob(rows[:100], key=KEY))))
    assert (np.diff(bounds) > 0).all()
    assert bounds[-1] == pytest.approx(EVIDENCE.logpdf(x[0]), abs=0.02)


def gradients(objective: Any, vae: VAE, x: Any, n: int) -> np.ndarray:
    """The gradient by the encoder's four numbers and the decoder's eight, for each of `n` keys."""

    def gradient(key: Any) -> Any:
        def loss(numbers: Any) -> Any:
            return objective(eqx.tree_at(_numbers, vae, numbers), x, key=key)

        return jnp.concatenate([leaf.ravel() for leaf in jax.grad(loss)(_numbers(vae))])

    return np.asarray(jax.jit(jax.vmap(gradient))(jax.random.split(KEY, n)))


def _numbers(vae: Any) -> Any:
    return vae.encoder.shift, vae.encoder.log_factor, vae.decoder.net.loadings


@pytest.mark.parametrize(
    ("path", "plain"),
    [(ELBO(), ELBO(path_gradient=False)), (IWAE(3), IWAE(3, path_gradient=False))],
    ids=["elbo", "iwae"],
)
def test_path_and_plain_gradients_agree_in_the_mean(path: Any, plain: Any, x: Any):
    """Off the optimum both are unbiased; at it the encoder's path gradient is zero for each draw, and is less noisy."""
    vae, n = model(0.2, 0.2), 4000
    first, second = gradients(path, vae, x, n), gradients(plain, vae, x, n)
    error = np.sqrt(first.var(0) / n + second.var(0) / n)
    assert (np.abs(first.mean(0) - second.mean(0)) < 4.5 * error + 1e-12).all()
    assert (np.abs(first.mean(0) - 1.2 * second.mean(0)) > 4.5 * error).any()  # the twin
    np.testing.assert_allclose(gradients(path, model(), x, 20)[:, :4], 0, atol=1e-9)
    assert gradients(plain, model(), x, 20)[:, :4].std() > 0.01


def test_warm_up_and_free_bits(x: Any):
    vae, eased = model(0.3), ELBO(warm_up=10, free_bits=0.0)
    full = np.asarray(ELBO().per_row(vae, x, key=KEY))
    first, half, last = (np.asarray(eased.at_step(jnp.asarray(i)).per_row(vae, x, key=KEY)) for i in (0, 4, 20))
    np.testing.assert_allclose(last, full)
    np.testing.assert_allclose((half - first) / (full - first), 0.4 / 0.9, rtol=1e-6)
    assert ELBO().at_step(jnp.asarray(3)) == ELBO()
    # Below the free bits the divergence is a constant: the encoder hears of the likelihood alone.
    free = ELBO(free_bits=1e3).at_step(jnp.asarray(0)).per_row(vae, x, key=KEY)
    paid = ELBO(free_bits=1e-3).at_step(jnp.asarray(0)).per_row(vae, x, key=KEY)
    np.testing.assert_allclose(paid, full)
    assert (np.asarray(free) > 900).all()
    np.testing.assert_allclose(eased.per_row(vae, x, key=KEY), full)  # held-out rows are not eased


@pytest.mark.parametrize("name", ["sylvester", "iaf", *thorough("planar", "nsf")])
def test_amortised_flows_are_posteriors(name: str):
    options: dict[str, Any] = {"fast": "sample"} if name in ("planar", "sylvester") else {"width": 8}
    made = getattr(pf.flows, name)(KEY, dim=2, condition_dim=4, n_layers=1, **options)
    plain = model()
    vae = VAE(plain.prior, plain.encoder, pf.Flow(plain.posterior.base, made.bijection), plain.decoder)  # type: ignore[attr-defined]
    x = EVIDENCE.rvs(3, random_state=1)
    losses, found = eqx.filter_value_and_grad(lambda vae: ELBO(2)(vae, x, key=KEY))(vae)
    assert np.isfinite(losses)
    leaves = [leaf for leaf in jax.tree.leaves(found.posterior.bijection) if eqx.is_inexact_array(leaf) and leaf.size]
    assert any(np.abs(leaf).max() > 0 for leaf in leaves)
    assert all(np.isfinite(leaf).all() for leaf in leaves)


def test_a_bayesian_regression_is_recovered():
    """The posterior of the weights of a linear regression with unit prior and known noise, by `ReverseKL`."""
    rng = np.random.default_rng(0)
    design, noise = rng.normal(size=(30, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]]), 0.7
    y = design @ [0.5, -1.0] + noise * rng.normal(size=30)
    precision = np.eye(2) + design.T @ design / noise**2
    mean, covariance = np.linalg.solve(precision, design.T @ y) / noise**2, np.linalg.inv(precision)
    evidence = multivariate_normal(np.zeros(30), design @ design.T + noise**2 * np.eye(30)).logpdf(y)

    def log_density(w: Any) -> Any:
        normal = jax.scipy.stats.norm.logpdf
        return jnp.sum(normal(w)) + jnp.sum(normal(y, design @ w, noise))

    target = pf.inference.Target(log_density, 2)
    flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.TriangularLinear(KEY, 2))
    objective, adam = pf.objectives.ReverseKL(target, 32), pf.training.Adam(5e-2)
    found = pf.fit(flow, key=KEY, objective=objective, optimizer=adam, max_epochs=20, progress=False)
    weighed = pf.inference.importance(found.flow, target, 2000, KEY)
    assert abs(weighed.log_z - evidence) < 4 * weighed.log_z_error + 1e-6
    assert weighed.ess > 1900
    np.testing.assert_allclose(weighed.weights @ weighed.draws, mean, atol=4 * np.sqrt(covariance.max() / 2000))
    np.testing.assert_allclose(np.cov(weighed.draws.T), covariance, atol=0.15 * covariance.max())


def test_bits():
    bits = ConditionalBernoulli(lambda z: jnp.array([0.0, 2.0]) * z, (2,), (1,))
    events = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    mass = np.exp(np.asarray(bits.log_prob(events, np.ones(1))))
    assert mass.sum() == pytest.approx(1)
    share = np.asarray(bits.sample(KEY, 4000, np.ones(1))).mean(0)
    np.testing.assert_allclose(share, [0.5, 1 / (1 + np.exp(-2))], atol=4 * np.sqrt(0.25 / 4000))
    assert bits.log_prob(np.array([0.5, 1.0]), np.ones(1)) == -np.inf
    assert np.isnan(bits.log_prob(np.array([np.nan, 1.0]), np.ones(1)))


def test_refusals():
    good = model()
    with pytest.raises(TypeError, match="a distribution as decoder"):
        VAE(good.prior, good.encoder, good.posterior, good.encoder)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="codes of shape"):
        VAE(good.prior, lambda x: x[:3], good.posterior, good.decoder)
    with pytest.raises(ValueError, match="latents of shape"):
        VAE(pf.StandardNormal((3,)), good.encoder, good.posterior, good.decoder)
    made = pf.flows.realnvp(KEY, dim=2, condition_dim=4, n_layers=1, width=8, actnorm=True)
    with pytest.raises(ValueError, match="start from data"):
        VAE(good.prior, good.encoder, made, good.decoder)
    with pytest.raises(TypeError, match="a VAE to train"):
        ELBO()(pf.StandardNormal((4,)), np.zeros((2, 4)), key=KEY)
    with pytest.raises(ValueError, match="free_bits"):
        ELBO(free_bits=-1.0)


@pytest.mark.thorough
def test_the_example_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import vae_digits  # type: ignore[import-not-found]

    found = vae_digits.main(max_epochs=2, n_draws=5)
    assert -46 < found["diagonal Gaussian"] < -20
    assert -46 < found["Sylvester flow"] < -20
