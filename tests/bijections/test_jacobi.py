"""The inverse of autoregressions by parallel sweeps, against that step after step."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from cases import autoregressive
from pushforward.bijections import GaussSeidelJacobi, inversion_report, with_inversion
from pushforward.testing import check_bijection, randomise

KEY = jax.random.key(5)
DIM, BLOCK = 7, 3
TIGHT = GaussSeidelJacobi(tolerance=1e-12, block=BLOCK)


@pytest.fixture(scope="module")
def plain() -> pf.Autoregressive:
    return randomise(autoregressive(KEY, DIM, pf.AffineMap(), conditional=True), KEY)


def inputs(n: int = 4) -> tuple[jax.Array, jax.Array]:
    return jax.random.normal(KEY, (n, DIM)), jax.random.normal(jax.random.fold_in(KEY, 1), (n, 2))


def results(layer: pf.Autoregressive, y: jax.Array, c: jax.Array) -> tuple[jax.Array, ...]:
    """Values, log-determinants, and the gradients of a sum of both by image, condition and weights."""

    def loss(layer: pf.Autoregressive, y: jax.Array, c: jax.Array) -> tuple[jax.Array, tuple]:
        x, log_det = jax.vmap(layer.inverse_and_log_det)(y, c)
        return jnp.sum(jnp.sin(x)) + jnp.sum(log_det), (x, log_det)

    params, rest = pf.trainable(layer)
    run = jax.jit(jax.value_and_grad(lambda p, y, c: loss(pf.combine(p, rest), y, c), (0, 1, 2), has_aux=True))
    (_, values), gradients = run(params, y, c)
    return *values, *jax.tree.leaves(gradients)


def test_values_and_gradients_are_those_step_after_step(plain: pf.Autoregressive) -> None:
    exact = results(plain, *inputs())
    for found, expected in zip(results(with_inversion(plain, TIGHT), *inputs()), exact, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_sweeps_end_by_the_tolerance_and_never_exceed_the_block(plain: pf.Autoregressive) -> None:
    y, c = inputs()
    layer = pf.Invert(with_inversion(plain, TIGHT))
    report = inversion_report(layer, y, c)
    assert report.sweeps[0].shape == (3,)
    assert report.sweeps[0].max() == BLOCK
    assert report.residual.max() < 1e-12
    loose = pf.Invert(with_inversion(plain, GaussSeidelJacobi(tolerance=1e-2, block=DIM)))
    found = inversion_report(loose, y, c)
    assert 1 < found.sweeps[0][0] < DIM
    scale = max(1.0, float(jnp.abs(jax.vmap(loose.forward)(y, c)).max()))
    assert 1e-9 < found.residual[0] <= 1e-2 * scale
    assert found.checks[0] >= 1
    assert "residual" in str(found)
    # A layer that ignores its inputs is done at once: one sweep solves it, and one more finds that nothing changes.
    easy = jax.tree.map(lambda leaf: 0 * leaf, eqx.filter(plain, eqx.is_array))
    report = inversion_report(pf.Invert(with_inversion(pf.combine(easy, plain), TIGHT)), y, c)
    assert report.sweeps[0].max() <= 2


def test_a_row_does_not_depend_on_others(plain: pf.Autoregressive) -> None:
    loose = with_inversion(plain, GaussSeidelJacobi(tolerance=1e-2, block=DIM))
    flow = pf.Flow(pf.StandardNormal((DIM,)), pf.Invert(loose))
    y, c = inputs()
    hard = y.at[1:].multiply(30.0)
    np.testing.assert_array_equal(flow.decode(hard, c)[0], flow.decode(jnp.concatenate([y[:1]] * 4), c)[0])


def test_layers_of_a_scan_are_reported_one_by_one() -> None:
    flow = with_inversion(pf.flows.maf(KEY, dim=3, n_layers=2, width=4, depth=1), GaussSeidelJacobi())
    report = inversion_report(flow.bijection, flow.base.sample(KEY, 5))
    assert report.residual.shape == (2,)
    assert with_inversion(flow, None).bijection.traits.forward == "sequential"


@pytest.mark.parametrize(
    ("run", "error", "says"),
    [
        (lambda: GaussSeidelJacobi(tolerance=0.0), ValueError, "tolerance > 0"),
        (lambda: GaussSeidelJacobi(block=0), ValueError, "block"),
        (lambda: with_inversion(pf.Reverse(2), TIGHT), TypeError, "Autoregressive layer"),
        (lambda: with_inversion(pf.Reverse(2), "jacobi"), TypeError, "GaussSeidelJacobi"),  # pyright: ignore[reportArgumentType]
        (lambda: inversion_report(pf.Reverse(2), jnp.zeros(2)), ValueError, "none"),
    ],
)
def test_wrong_arguments_are_named(run, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        run()


@pytest.mark.thorough
def test_the_laws_hold_of_sweeps() -> None:
    layer = with_inversion(autoregressive(KEY, 4, pf.AffineMap(), width=4, conditional=True), TIGHT)
    check_bijection(layer, KEY)
