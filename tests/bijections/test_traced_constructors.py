"""Elementwise maps whose numbers come from a trace: gradients, `jit` and `vmap` through their constructors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import (
    ELU,
    ColumnUnits,
    IntoBox,
    LambertW,
    LeakyReLU,
    Power,
    Sigmoid,
    SignedPower,
    SinhArcsinh,
    StudentTCDF,
    Unit,
)

X, P = jnp.array([-0.3, 0.4]), jnp.array([1.5, 2.0])
MAKE: dict[str, Callable[[Any], pf.AbstractBijection]] = {
    "Affine": lambda p: pf.Affine(p, -p),
    "Standardize": lambda p: pf.Standardize(np.zeros(2), p),
    "Sigmoid": lambda p: Sigmoid(-p, 3.0),
    "ELU": lambda p: ELU(p),
    "LeakyReLU": lambda p: LeakyReLU(p),
    "Power": lambda p: pf.Chain([pf.bijections.Exp((2,)), Power(p)]),
    "SignedPower": lambda p: SignedPower(p),
    "StudentTCDF": lambda p: StudentTCDF(p),
    "SinhArcsinh": lambda p: SinhArcsinh(p, p),
    "LambertW": lambda p: LambertW(p),
    "IntoBox": lambda p: IntoBox([0.0, -np.inf], p),
    "ColumnUnits": lambda p: ColumnUnits([Unit("real", p[0], p[1], 3.0), Unit("interval", 0.0, p[1], None, p[0], 2.0)]),
}


def test_the_gradient_of_the_log_det_of_scales() -> None:
    slope = jax.grad(lambda s: pf.Affine(jnp.zeros(2), s).forward_and_log_det(jnp.ones(2))[1])(P)
    np.testing.assert_allclose(slope, 1 / P, rtol=1e-14)


@pytest.mark.parametrize("name", MAKE)
def test_constructors_take_traced_numbers(name: str) -> None:
    def total(p: jax.Array) -> jax.Array:
        y, log_det = MAKE[name](p).forward_and_log_det(X)
        return jnp.sum(y) + log_det

    step = 1e-6 * np.eye(2)
    many = np.concatenate([P + step, P - step])
    # Of concrete numbers, one map after the other; traced, all at once.
    known = np.array([total(jnp.asarray(p)) for p in many])
    made = eqx.filter_vmap(MAKE[name])(jnp.asarray(many))
    y, log_det = eqx.filter_vmap(lambda b: b.forward_and_log_det(X))(made)
    np.testing.assert_allclose(jnp.sum(y, axis=1) + log_det, known, rtol=1e-11)
    slope = jax.jit(jax.grad(total))(P)
    np.testing.assert_allclose(slope, (known[:2] - known[2:]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_numbers_that_are_known_are_still_checked() -> None:
    with pytest.raises(ValueError, match="Affine: expected scales that are finite and not 0"):
        jax.jit(lambda x: pf.Affine(scale=0.0).forward(x))(1.0)
    with pytest.raises(ValueError, match="StudentTCDF: expected finite df > 0"):
        StudentTCDF(-P)
