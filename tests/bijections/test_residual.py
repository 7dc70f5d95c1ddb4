"""Residual layers beyond the laws: certificates, the form they are scored in, training, inverses that do not exist."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import Residual, certificate
from pushforward.checking.context import Context
from pushforward.checking.contraction import check_contraction
from pushforward.distributions import evaluation_form, log_det_error, with_log_det
from pushforward.nets import AbstractContraction, LipschitzMLP
from pushforward.numerics.log_det_series import ExactLogDet, RussianRoulette, Truncated
from pushforward.numerics.trace_estimators import ExactTrace
from pushforward.testing import randomise

KEY = jax.random.key(3)


def flow(**options: Any) -> pf.Flow:
    return randomise(pf.flows.residual_flow(KEY, dim=2, n_layers=2, width=8, depth=1, **options), KEY, 0.3)


def test_certificate() -> None:
    found = certificate(flow(lipschitz=0.8))
    assert found.holds
    assert 0.7 < found.lipschitz_bound <= found.promised == 0.8
    nothing = certificate(pf.Reverse(2))
    assert nothing.holds
    assert nothing.lipschitz_bound == 0

    class Boasting(LipschitzMLP):
        """The broken twin: a net that promises less than its weights give."""

        def certified(self) -> float:
            return 0.9

    kind: Any = Boasting  # whose constructor pyright takes for that of a dataclass
    broken = Residual(kind(KEY, 2, width=4, lipschitz=0.5))
    assert not certificate(broken).holds
    for bijection, verdict in ((flow().bijection, "pass"), (broken, "fail"), (pf.Reverse(2), "skipped")):
        model = pf.Flow(pf.StandardNormal((2,)), bijection)
        assert check_contraction(Context.of(model, np.zeros((4, 2)), None, KEY)).verdict == verdict


def test_evaluation_form_is_deterministic_with_the_same_weights() -> None:
    random = flow(actnorm=True)
    assert random.needs_key
    assert random.bijection.traits.log_det == "unbiased"
    scored = evaluation_form(random)
    assert not scored.needs_key
    assert scored.bijection.traits == pf.Traits("iterative", "parallel", "exact", False)
    assert log_det_error(scored) == 0
    assert log_det_error(random) == np.inf
    for one, two in zip(jax.tree.leaves(random), jax.tree.leaves(scored), strict=True):
        assert one is two
    x = np.random.default_rng(0).standard_normal((3, 2))
    draws = jax.vmap(lambda key: random.log_prob(x, key=key))(jax.random.split(KEY, 2000))
    error = np.asarray(draws).std(axis=0) / 2000**0.5
    assert np.all(np.abs(np.asarray(draws).mean(axis=0) - scored.log_prob(x)) < 4 * error)
    np.testing.assert_allclose(random.encode(x), scored.encode(x), rtol=1e-12)
    assert evaluation_form(scored) is scored
    assert evaluation_form(pf.flows.maf(KEY, dim=2, n_layers=1, width=4, linear="reverse")).needs_key is False
    back = with_log_det(scored, RussianRoulette())
    assert back.needs_key
    assert jax.tree.structure(back) == jax.tree.structure(with_log_det(random, RussianRoulette()))


def test_many_dimensions_are_scored_with_a_stated_error() -> None:
    wide = evaluation_form(pf.flows.residual_flow(KEY, dim=65, n_layers=2, width=4, depth=1, lipschitz=0.5))
    assert not wide.needs_key
    assert wide.bijection.traits.log_det == "biased"
    assert log_det_error(wide) == pytest.approx(2 * 65 * 0.5**41 / (41 * 0.5))
    near, true = with_log_det(wide, Truncated(30, ExactTrace())), with_log_det(wide, ExactLogDet())
    x = np.random.default_rng(0).standard_normal((2, 65))
    assert np.all(np.abs(near.log_prob(x) - true.log_prob(x)) <= log_det_error(near))
    np.testing.assert_allclose(wide.log_prob(x)[:1], wide.log_prob(x[:1]), rtol=1e-12)


class Stretching(AbstractContraction):
    """g(x) = a x + b, whatever it promises."""

    factor: jax.Array
    shift: jax.Array
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)
    lipschitz: float = eqx.field(static=True)

    def __init__(self, factor: float, shift: float = 0.0):
        self.factor, self.shift = jnp.asarray(factor), jnp.asarray(shift)
        self.shape, self.cond_shape, self.lipschitz = (2,), None, 0.9

    def at(self, condition: Any) -> Any:
        return eqx.Partial(lambda a, b, x: a * x + b, self.factor, self.shift)

    def count(self) -> int:
        return 1

    def certified(self) -> float:
        return abs(float(self.factor))


@pytest.mark.parametrize(("factor", "shift"), [(1.5, 0.0), (-1.0, 2.0), (-2.5, 0.0)])
def test_what_does_not_contract_gives_no_number(factor: float, shift: float) -> None:
    layer = Residual(Stretching(factor, shift))
    x, log_det = layer.inverse_and_log_det(jnp.ones(2))
    assert np.isnan(x).all()
    assert np.isnan(log_det)
    if factor <= -1:  # the determinant is not that of a contraction, though in two dimensions it is positive
        assert not np.isfinite(layer.forward_and_log_det(jnp.ones(2))[1])
    assert not certificate(layer).holds
    sound = Residual(Stretching(0.5))
    np.testing.assert_allclose(sound.inverse(jnp.ones(2)), 1 / 1.5, rtol=1e-12)
    np.testing.assert_allclose(sound.forward_and_log_det(jnp.ones(2))[1], 2 * np.log(1.5), rtol=1e-12)


@pytest.mark.thorough
def test_fit_returns_what_is_scored() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 2)) * [1.0, 0.3]
    x[:, 1] += x[:, 0] ** 2
    random = pf.flows.residual_flow(KEY, dim=2, n_layers=2, width=8, depth=1, actnorm=True)
    result = pf.fit(random, x, key=KEY, max_epochs=10, progress=False)
    assert not result.flow.needs_key
    assert certificate(result.flow).holds
    assert result.verdict.held_out_nats is not None
    assert result.verdict.held_out_nats > float(np.mean(evaluation_form(random).log_prob(x))) + 0.1
    back = result.flow.decode(result.flow.encode(x))
    np.testing.assert_allclose(back, x, atol=1e-3)


def test_errors() -> None:
    with pytest.raises(TypeError, match="Residual: expected a contraction"):
        Residual(pf.nets.MLP(KEY, 2, (2,)))  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="lipschitz to be a number"):
        pf.flows.iresnet(KEY, dim=2, lipschitz=1.2)
    with pytest.raises(ValueError, match="expected a key"):
        pf.flows.iresnet(KEY, dim=2, n_layers=1, width=4).log_prob(np.zeros((1, 2)))
