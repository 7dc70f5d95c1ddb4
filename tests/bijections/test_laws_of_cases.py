"""Every exported bijection and every model of the zoo through the laws: as made, randomised, inverted, and trained."""

# Pyright counts the abstract attributes of the base class among the constructor's positional arguments.
# pyright: reportCallIssue=false

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pushforward as pf
import pushforward.bijections
from cases import CASES, ZOO_CASES, Case
from pushforward.bijections import AbstractBijection
from pushforward.distributions import evaluation_form, with_solver
from pushforward.dynamics import Adaptive, FixedSteps
from pushforward.testing import (
    CORE,
    LAWS,
    LawError,
    Trial,
    law_compiles_once,
    law_condition,
    law_exactness,
    law_gradients,
    law_integrates,
    law_log_det,
    law_log_dets_cancel,
    law_round_trip,
    law_rows,
    law_save_load,
    law_shapes,
    law_traits,
    law_transforms,
    law_value_only,
)

KEY = jax.random.key(2024)
# The solver of velocity fields, whose programs shall be small: a method of order 8 with enough fixed steps that a round
# trip through networks with noise on their weights closes to the laws' 1e-6.
FEW = FixedSteps("rk4", 256, "direct")
# Near the data the probability flow of a variance-preserving diffusion grows steep, where fixed steps lose their order:
# 2e-4 is what 64 of them leave. `test_all_laws` holds these cases to 1e-6, by adaptive steps.
STEEP = 1e-3
SINGLE = Adaptive("tsit5", rtol=1e-6, atol=1e-6, max_steps=10_000)  # a tolerance that single precision can keep
# The laws of value: what may go wrong in one floating type and not in another.
OF_VALUE = (
    law_shapes,
    law_round_trip,
    law_log_det,
    law_log_dets_cancel,
    law_value_only,
    law_condition,
    law_gradients,
    law_traits,
)


def parameters(cases: Mapping[str, Case], names: Iterable[str]) -> list:
    """Names as parameters of a test, those of cases that are not of low cost marked `thorough`."""
    return [pytest.param(name, marks=[] if cases[name].cost == "low" else pytest.mark.thorough) for name in names]


@pytest.mark.parametrize("name", CASES)
def test_core(name: str) -> None:
    case = CASES[name]
    if name == "Continuous, probability flow":
        case = replace(case, accuracy=STEEP)
    hold(name, replace(case, make=lambda key: with_solver(case.make(key), FEW)))


@pytest.mark.parametrize("name", ZOO_CASES)
def test_core_of_the_zoo(name: str) -> None:
    # Flows as they are scored.
    case = ZOO_CASES[name]
    if name.startswith("score_sde"):
        case = replace(case, accuracy=STEEP)
    hold(name, replace(case, make=lambda key: with_solver(evaluation_form(case.make(key)), FEW)))


def hold(name: str, case: Case) -> None:
    """One case to the core laws, by two compiled programs."""
    trial = case.trial(name, KEY, jnp.float64).core
    for law in CORE:
        law(trial)


def test_every_flow_of_the_zoo_has_a_case() -> None:
    assert {name.split(",")[0] for name in ZOO_CASES} == set(pf.flows.ZOO)


@pytest.mark.parametrize("name", parameters(CASES, CASES))
def test_all_laws(name: str) -> None:
    trial = CASES[name].trial(name, KEY, jnp.float64)
    for law in LAWS:
        if law is not law_transforms:  # which `test_core` runs, on the same inputs
            law(trial)


# `Invert` only swaps the two directions, both of which `test_all_laws` holds to every law, and its law of algebra runs
# `Invert(b)` and `Invert(Invert(b))` on every case. What is left is the plumbing: one case for each way to pass events,
# conditions and stacked parameters along.
INVERTED = (
    "Affine",
    "LULinear of a number",
    "Coupling, affine, mask, conditional",
    "Scan",
    "Partial",
    "Vmap",
    "EmbedCondition",
    "WithCondition",
)


@pytest.mark.parametrize("name", parameters(CASES, INVERTED))
def test_inverted(name: str) -> None:
    # All but the two that would compile the same programs once more: rows pass through the same code, and the law of
    # algebra compares with `Invert` itself.
    trial = CASES[name].trial(name, KEY, jnp.float64, True)
    for law in (*OF_VALUE, law_exactness, law_compiles_once, law_save_load, law_integrates):
        law(trial)


# Those that do arithmetic of their own. What composes others, or moves numbers about, has no types in it.
COMPOSING = (
    "Affine of",
    "Reverse",
    "Permutation",
    "Chain",
    "Invert",
    "Scan",
    "Partial",
    "Vmap",
    "Conv1x1",
    "Embed",
    "With",
    "Continuous, ",
)
# And of the networks one of each kind.
SAME_ARITHMETIC = (
    "LULinear of a number",
    "TriangularLinear, upper",
    "Planar of a number, conditional",
    "Sylvester, Cayley, full rank",
    "Coupling, additive",
    "Coupling, affine, all transformed",
    "Coupling, spline, a number, conditional",
    "Autoregressive, additive",
    "Autoregressive, spline, a number, conditional",
    "Residual, truncated",
    "Residual, truncated, probes",
    "Residual, roulette, geometric, plain, conditional",
)
IN_SINGLE = [name for name in CASES if not name.startswith(COMPOSING) and name not in SAME_ARITHMETIC]


@pytest.mark.parametrize("name", parameters(CASES, IN_SINGLE))
def test_float32(name: str) -> None:
    # What a type can change: not the algebra, nor what a key does, nor what is compiled again; and the error of the
    # quadrature is far above either type's.
    make = CASES[name].make
    trial = replace(CASES[name], make=lambda key: with_solver(make(key), SINGLE)).trial(name, KEY, jnp.float32)
    for law in (*OF_VALUE, law_rows, law_save_load):
        law(trial)


def test_every_exported_bijection_has_a_case() -> None:
    exported = {
        thing
        for thing in vars(pushforward.bijections).values()
        if inspect.isclass(thing) and issubclass(thing, AbstractBijection) and not inspect.isabstract(thing)
    }
    assert len(exported) >= 14
    # Traced: what a case is made of is not needed.
    assert {type(eqx.filter_eval_shape(case.make, KEY)) for case in CASES.values()} == exported


# --- the zoo, also on trained weights ---------------------------------------------------------------------------


def banana(n: int, condition_dim: int | None, dim: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows with a bend, which depend on the condition."""
    rng = np.random.default_rng(8)
    x = rng.standard_normal((n, dim))
    x[:, 1:] += 0.5 * x[:, :1] ** 2 - 0.5
    if condition_dim is None:
        return x, None
    condition = rng.standard_normal((n, condition_dim))
    return x + condition[:, :1], condition


def trained(bijection: AbstractBijection, steps: int = 60) -> AbstractBijection:
    """A short training by maximum likelihood, all steps in one compiled loop."""
    condition_dim = None if bijection.cond_shape is None else bijection.cond_shape[0]
    x, condition = banana(256, condition_dim, bijection.in_shape[0])
    params, rest = pf.trainable(pf.Flow(pf.StandardNormal(bijection.in_shape), bijection))
    optimiser = optax.adam(3e-2)
    key = KEY if bijection.traits.needs_key else None

    @jax.jit
    def run(params: Any) -> Any:
        def step(carry: Any, i: jax.Array) -> Any:
            params, state = carry
            own = None if key is None else jax.random.fold_in(key, i)
            value, gradient = jax.value_and_grad(
                lambda p: -jnp.mean(pf.combine(p, rest).log_prob(x, condition, key=own))
            )(params)
            updates, state = optimiser.update(gradient, state)
            return (eqx.apply_updates(params, updates), state), value

        (params, _), losses = jax.lax.scan(step, (params, optimiser.init(params)), jnp.arange(steps))
        return params, losses

    params, losses = run(params)
    assert losses[-1] < losses[0] - 0.05
    return pf.combine(params, rest).bijection


# Trained fields are wild at inputs of 1000, and a step's error is that of the event alone.
STRICT = Adaptive("dopri8", rtol=1e-13, atol=1e-10, max_steps=20_000)
# Trained weights in float32 too, of one flow of each scalar map and direction; `test_float32` has the parts of all.
TRAINED_SINGLE = ("nsf, autoregressive", "realnvp, permutation, actnorm", "iaf, conditional")


# The circle has no banana: `ncsf` is fitted in tests/flows/test_circular.py.
@pytest.mark.parametrize("name", parameters(ZOO_CASES, [name for name in ZOO_CASES if name != "ncsf"]))
def test_zoo_before_and_after_training(name: str) -> None:
    case = ZOO_CASES[name]
    before = case.trial(name, KEY, jnp.float64)
    # As they are scored, and without a solver's error.
    start, learnt = (
        with_solver(evaluation_form(bijection), STRICT) for bijection in (before.bijection, trained(before.bijection))
    )
    for bijection in (start, learnt):  # the same programs, run twice
        trial = Trial(bijection, KEY, name, jnp.float64, case.special_x, case.special_y)
        for law in OF_VALUE:
            law(trial)
        # The quadrature's error is far above that of any solver.
        quick = with_solver(bijection, Adaptive(rtol=1e-5, atol=1e-5))
        law_integrates(Trial(quick, KEY, name, jnp.float64, case.special_x, case.special_y))
    if name not in TRAINED_SINGLE:
        return
    single = Trial(learnt, KEY, f"{name}, trained", jnp.float32, case.special_x, case.special_y)
    for law in OF_VALUE:
        law(single)


def test_a_trained_density_that_lost_its_jacobian_is_found() -> None:
    """The broken twin: the quadrature after training sees a mixing layer whose log-determinant is dropped."""

    class Silent(AbstractBijection):
        inner: AbstractBijection
        in_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
        out_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
        cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=None)
        traits: pf.Traits = eqx.field(static=True, default=pf.Traits())

        def forward_and_log_det(self, x: Any, condition: Any = None, *, key: Any = None) -> Any:
            y, log_det = self.inner.forward_and_log_det(x)
            return y, 0 * log_det

        def inverse_and_log_det(self, y: Any, condition: Any = None, *, key: Any = None) -> Any:
            x, log_det = self.inner.inverse_and_log_det(y)
            return x, 0 * log_det

    learnt = trained(ZOO_CASES["maf"].make(KEY))
    law_integrates(Trial(learnt, KEY))
    with pytest.raises(LawError, match="integrates to"):
        law_integrates(Trial(Silent(learnt), KEY))


@pytest.mark.parametrize("wrong", [0.0, 0.5])
def test_log_dets_are_compared_also_where_rounding_loses_the_input(wrong: float) -> None:
    """In float32 every input becomes 1000 and comes back as 0. With `wrong`, the broken twin, the log-dets disagree."""

    class Flat(AbstractBijection):
        in_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
        out_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
        cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=None)
        traits: pf.Traits = eqx.field(static=True, default=pf.Traits())

        def forward_and_log_det(self, x: Any, condition: Any = None, *, key: Any = None) -> Any:
            return 1000 + 1e-8 * x, jnp.asarray(2 * np.log(1e-8), x.dtype)

        def inverse_and_log_det(self, y: Any, condition: Any = None, *, key: Any = None) -> Any:
            return (y - 1000) * 1e8, jnp.asarray(2 * np.log(1e8) + wrong, y.dtype)

    trial = Trial(Flat(), KEY, dtype=jnp.float32)
    if not wrong:
        law_log_dets_cancel(trial)
        return
    with pytest.raises(LawError, match="log_det"):
        law_log_dets_cancel(trial)
