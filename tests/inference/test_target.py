"""Targets: values against closed forms, supports, NumPyro's models, host functions, and what is not a number."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import stats

import pushforward as pf
from pushforward.bijections import HalfLine, Interval, Real, Simplex, Torus


def log_density(p):
    return -0.5 * jnp.sum(p["mu"] ** 2) - p["tau"] + jnp.log(p["share"])


SUPPORTS = {"mu": Real(2), "tau": HalfLine(), "share": Interval(0, 1)}


@pytest.fixture(scope="module")
def target():
    return pf.Target(log_density, SUPPORTS)


def test_log_density_has_the_jacobian_of_the_supports(target):
    u = jnp.array([0.3, -1.0, 0.5, 0.7])
    p = target.constrain(u)
    jacobian = jax.jacobian(
        lambda u: jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(target.constrain(u))])
    )
    expected = log_density(p) + jnp.linalg.slogdet(jacobian(u))[1]
    assert p["tau"].shape == ()
    assert p["mu"].shape == (2,)
    np.testing.assert_allclose(target(u), expected, rtol=1e-12)
    np.testing.assert_allclose(target.unconstrain(p), u, rtol=1e-9)
    assert target.names == ("mu[0]", "mu[1]", "share", "tau")


def test_rows_and_nested_trees():
    nested = pf.Target(lambda p: -p["a"]["b"] - jnp.sum(p["c"] ** 2), {"a": {"b": HalfLine()}, "c": Simplex(2)})
    u = jax.random.normal(jax.random.key(0), (5, 3))
    assert nested.rows(u).shape == (5,)
    parts = jax.vmap(nested.constrain)(u)
    assert parts["c"].shape == (5, 2)
    assert parts["a"]["b"].shape == (5,)
    np.testing.assert_allclose(jax.vmap(nested.unconstrain)(parts), u, atol=1e-9)


def test_goes_through_jit_without_retracing():
    seen = []

    def counted(x):
        seen.append(1)
        return -jnp.sum(x**2)

    @jax.jit
    def run(target, u):
        return target(u)

    targets = [pf.Target(counted, 2) for _ in range(2)]
    before = len(seen)
    for made in targets:
        run(made, jnp.ones(2))
    assert len(seen) == before + 1


class Scaled(eqx.Module):
    scale: jax.Array

    def __call__(self, x):
        return -jnp.sum((x / self.scale) ** 2)


def test_arrays_of_a_module_are_traced():
    traced = []

    @jax.jit
    def run(target, u):
        traced.append(1)
        return target(u)

    values = [float(run(pf.Target(Scaled(jnp.asarray(s)), 1), jnp.ones(1))) for s in (1.0, 2.0)]
    assert values == [-1.0, -0.25]
    assert len(traced) == 1


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_not_a_number_counts_as_density_zero(bad):
    target = pf.Target(lambda x: jnp.where(x[0] > 0, bad, 0.0), 1)
    value, fault = target.value_and_fault(jnp.ones(1))
    assert value == -jnp.inf
    assert fault
    assert target(-jnp.ones(1)) == 0


def test_host_function_equals_the_jax_one():
    def host(x):
        return -0.5 * np.sum(x**2, -1) + np.sum(np.sin(x), -1), -x + np.cos(x)

    own = pf.Target(lambda x: -0.5 * jnp.sum(x**2) + jnp.sum(jnp.sin(x)), HalfLine(dim=3))
    u = jax.random.normal(jax.random.key(1), (4, 3))
    for batched in (False, True):
        called = pf.Target.from_function(host, HalfLine(dim=3), batched=batched)
        for function in (jax.vmap(jax.value_and_grad(own)), jax.jit(jax.vmap(jax.value_and_grad(own)))):
            for a, b in zip(function(u), jax.jit(jax.vmap(jax.value_and_grad(called)))(u), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6)


def test_rows_of_a_batched_host_function_go_in_one_call():
    calls = []

    def host(x):
        calls.append(len(x))
        return -0.5 * np.sum(x**2, -1), -x

    target = pf.Target.from_function(host, 2, batched=True)
    jax.block_until_ready(jax.jit(jax.vmap(jax.value_and_grad(target)))(jnp.ones((7, 2))))
    assert calls == [7]


def test_a_numpyro_model():
    numpyro = pytest.importorskip("numpyro")
    from numpyro import distributions as dist

    y = jnp.array([0.5, 2.0, -1.0])

    def model(y, scale=1.0):
        mu = numpyro.sample("mu", dist.Normal(0, 2))
        tau = numpyro.sample("tau", dist.HalfNormal(scale))
        numpyro.deterministic("double", 2 * mu)
        numpyro.sample("y", dist.Normal(mu, tau), obs=y)

    target = pf.Target.from_numpyro(model, y, scale=3.0)
    own = pf.Target(
        lambda p: (
            stats.norm.logpdf(p["mu"], 0, 2)
            + jnp.log(2)
            + stats.norm.logpdf(p["tau"], 0, 3)
            + jnp.sum(stats.norm.logpdf(y, p["mu"], p["tau"]))
        ),
        {"mu": Real(), "tau": HalfLine()},
    )
    u = jax.random.normal(jax.random.key(2), (4, 2))
    np.testing.assert_allclose(target.rows(u), own.rows(u), rtol=1e-10)
    p = jax.vmap(target.constrain)(u)
    np.testing.assert_allclose(p["double"], 2 * p["mu"])
    np.testing.assert_allclose(target.unconstrain({"mu": p["mu"][0], "tau": p["tau"][0]}), u[0], rtol=1e-6)


def test_a_discrete_site_is_refused():
    numpyro = pytest.importorskip("numpyro")

    def model():
        numpyro.sample("k", numpyro.distributions.Bernoulli(0.5))

    with pytest.raises(ValueError, match="continuous latent sites"):
        pf.Target.from_numpyro(model)


@pytest.mark.parametrize(
    ("function", "parameters", "error", "words"),
    [
        (3.0, 2, TypeError, "a function log_density"),
        (jnp.sum, "mu", TypeError, "an integer, or supports"),
        (jnp.sum, {}, ValueError, "one parameter or more"),
        (jnp.sum, Torus(1), ValueError, "from the real numbers"),
        (lambda x: x, 2, ValueError, "a log-density that is one number"),
    ],
)
def test_mistakes_are_told(function, parameters, error, words):
    with pytest.raises(error, match=words):
        pf.Target(function, parameters)


def test_shapes_are_told(target):
    with pytest.raises(ValueError, match="a vector of 4 numbers"):
        target(jnp.ones(3))
    with pytest.raises(ValueError, match="parameters"):
        target.unconstrain({"mu": jnp.ones(2)})
