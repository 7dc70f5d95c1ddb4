"""The laws themselves: an honest bijection passes each, and each has a broken twin that fails it."""

# Pyright counts the abstract attributes of the base class among the constructor's positional arguments.
# pyright: reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cases import small
from pushforward._checks import check_condition, check_event
from pushforward._types import Array, Fixed, PRNGKeyArray, Traits
from pushforward.bijections.base import AbstractBijection
from pushforward.numerics.derivatives import own_derivatives
from pushforward.testing import (
    CORE,
    LAWS,
    LawError,
    Trial,
    check_bijection,
    law_algebra,
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
    randomise,
)

KEY = jax.random.key(7)
Pair = tuple[Array, Array]
FULL = np.ones((2, 2), bool)


class Shear(AbstractBijection):
    """Honest: y0 = x0 e^{s(c)} + t(c), y1 = x1 e^{a tanh(y0)} + b y0 + u(c), and then the two are mixed by a shear."""

    weights: Array
    slope: Array
    in_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    out_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=(3,))
    traits: Traits = eqx.field(static=True, default=Traits())

    @staticmethod
    def of(key: PRNGKeyArray, conditional: bool = True) -> Shear:
        weights = 0.3 * jax.random.normal(key, (3, 3))
        return Shear(weights, jnp.array([0.3, -0.5, 0.4]), cond_shape=(3,) if conditional else None)

    def _parts(self, condition: Array | None) -> Array:
        return self.weights[:, 0] if self.cond_shape is None else self.weights @ jnp.tanh(condition)  # type: ignore

    def forward_and_log_det(self, x: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        check_event("Shear", x, (2,))
        check_condition("Shear", condition, self.cond_shape)
        s, t, u = self._parts(condition)
        y0 = x[0] * jnp.exp(s) + t
        y1 = x[1] * jnp.exp(self.slope[0] * jnp.tanh(y0)) + self.slope[1] * y0 + u
        return jnp.stack([y0 + self.slope[2] * y1, y1]), s + self.slope[0] * jnp.tanh(y0)

    def inverse_and_log_det(self, y: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        check_event("Shear", y, (2,), "y")
        check_condition("Shear", condition, self.cond_shape)
        s, t, u = self._parts(condition)
        y0 = y[0] - self.slope[2] * y[1]
        x1 = (y[1] - self.slope[1] * y0 - u) * jnp.exp(-self.slope[0] * jnp.tanh(y0))
        return jnp.stack([(y0 - t) * jnp.exp(-s), x1]), -s - self.slope[0] * jnp.tanh(y0)


Twist = Callable[[Shear, Array, Array, Array, Array | None, Any], Pair]


def straight(honest: Shear, x: Array, y: Array, log_det: Array, condition: Array | None, key: Any) -> Pair:
    return y, log_det


class Twin(AbstractBijection):
    """The honest bijection with its results twisted."""

    honest: Shear
    forward_twist: Twist = eqx.field(static=True, default=straight)
    inverse_twist: Twist = eqx.field(static=True, default=straight)
    in_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    out_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=(3,))
    traits: Traits = eqx.field(static=True, default=Traits())
    value_twist: Callable[[Array], Array] | None = eqx.field(static=True, default=None)

    def forward_and_log_det(self, x: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        return self.forward_twist(self.honest, x, *self.honest.forward_and_log_det(x, condition), condition, key)

    def inverse_and_log_det(self, y: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        return self.inverse_twist(self.honest, y, *self.honest.inverse_and_log_det(y, condition), condition, key)

    def forward(self, x: Array, condition: Array | None = None, *, key: Any = None) -> Array:
        y = self.forward_and_log_det(x, condition, key=key)[0]
        return y if self.value_twist is None else self.value_twist(y)


def twin(twist: Twist, inverse_twist: Twist | None = None, conditional: bool = True, **options: Any) -> Twin:
    honest = Shear.of(KEY, conditional)
    cond_shape = options.pop("cond_shape", (3,) if conditional else None)
    return Twin(honest, twist, inverse_twist or straight, cond_shape=cond_shape, **options)


def fails(law: Callable[[Trial], None], bijection: AbstractBijection, match: str, **options: Any) -> None:
    with pytest.raises(LawError, match=match):
        law(Trial(bijection, KEY, **options))


# --- the honest one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("conditional", [True, False])
def test_honest_bijection_passes_every_law(conditional: bool, dtype: Any) -> None:
    check_bijection(
        Shear.of(KEY, conditional), KEY, dtype=dtype, special_x=[-1.0, 2.0], reach=FULL,
        rebuild=lambda key: Shear.of(key, conditional),
    )  # fmt: skip


def test_there_are_fifteen_laws() -> None:
    assert len(set(LAWS)) == 15
    assert set(CORE) < set(LAWS)


def test_randomise_moves_trainable_leaves_alone() -> None:
    module = (jnp.zeros(3), Fixed(jnp.zeros(3)), jnp.zeros(3, int))
    noisy = randomise(module, KEY, 0.5)
    assert np.abs(noisy[0]).min() > 0
    assert np.all(noisy[1].value == 0)
    assert np.all(noisy[2] == 0)


def test_randomise_takes_traced_keys_and_modules() -> None:
    keys = jax.random.split(KEY, 3)
    expected = [randomise(Shear.of(key), key).weights for key in keys]
    made = eqx.filter_vmap(lambda key: randomise(Shear.of(key), key))(keys)
    np.testing.assert_allclose(made.weights, expected, rtol=1e-12)
    moved = jax.vmap(lambda key: randomise(Shear.of(KEY), key).weights)(keys)
    assert len(np.unique(np.asarray(moved)[:, 0, 0])) == 3
    np.testing.assert_allclose(jax.jit(lambda key: randomise(Shear.of(KEY), key).weights)(keys[0]), moved[0])


def test_error_names_law_bijection_input_figure_and_tolerance() -> None:
    biased = twin(straight, lambda h, y, x, ld, c, k: (x + 0.1, ld))
    with pytest.raises(LawError) as error:
        law_round_trip(Trial(biased, KEY, name="biased twin"))
    for part in ("law_round_trip", "biased twin (float64)", "forward", "draw", "input", " is 0.", "tolerance"):
        assert part in str(error.value)


# --- broken twins, one or more for each law ---------------------------------------------------------------------


def test_shapes() -> None:
    fails(law_shapes, twin(lambda h, x, y, ld, c, k: (y, jnp.full(2, ld))), "log_det has shape")
    fails(law_shapes, twin(lambda h, x, y, ld, c, k: (y[:1], ld)), "value has shape")
    fails(law_shapes, twin(straight, in_shape=(3,)), "differ in size")
    widens = twin(lambda h, x, y, ld, c, k: (y * np.float64(1), ld * jnp.ones((), jnp.float64)))
    fails(law_shapes, widens, "dtype float64", dtype=jnp.float32)
    fails(law_shapes, twin(lambda h, x, y, ld, c, k: (y, jnp.where(x[0] > 7, jnp.nan, ld))), "finite inputs")


class Doubled(AbstractBijection):
    """Nothing but two shapes and the two pairs."""

    in_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    out_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))

    def forward_and_log_det(self, x: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        return 2 * x, jnp.full((), 2 * np.log(2.0), x.dtype)

    def inverse_and_log_det(self, y: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        return 0.5 * y, jnp.full((), -2 * np.log(2.0), y.dtype)


def test_the_base_class_checks_the_arguments() -> None:
    check_bijection(Doubled(), KEY)
    for method in (Doubled().forward, Doubled().inverse_and_log_det):
        with pytest.raises(ValueError, match=r"Doubled: expected .*\(2,\)"):
            method(jnp.zeros((3, 2)))


def test_shapes_must_be_checked() -> None:
    class Careless(Doubled):
        pass

    # As before the base class did: by a class that is set up behind its back.
    type.__setattr__(Careless, "forward_and_log_det", lambda self, x, condition=None, *, key=None: (x, jnp.zeros(())))
    fails(law_shapes, Careless(), "must raise ValueError")


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("bias", [0.1, 1e-3])
def test_round_trip_biased(bias: float, dtype: Any) -> None:
    fails(law_round_trip, twin(straight, lambda h, y, x, ld, c, k: (x + bias, ld)), "round trip", dtype=dtype)


def test_round_trip_only_beyond_a_knot() -> None:
    # Wrong on the first float above 2.0 and nowhere else: only the neighbours of the special points can tell.
    next_up = float(np.nextafter(2.0, np.inf))
    broken = twin(lambda h, x, y, ld, c, k: (jnp.where(x == next_up, y + 1e-3, y), ld))
    fails(law_round_trip, broken, "round trip", special_x=[2.0])
    law_round_trip(Trial(broken, KEY))


def test_round_trip_where_ill_conditioned() -> None:
    # A slope of 1e-9 loses 9 digits of x, which is no fault; an error of the residual is one.
    def steep(h: Any, x: Array, y: Array, ld: Array, c: Any, k: Any) -> Pair:
        return y * jnp.array([1e-9, 1.0]), ld + jnp.log(1e-9)

    def back(h: Shear, y: Array, x: Array, ld: Array, c: Any, k: Any) -> Pair:
        x, ld = h.inverse_and_log_det(y * jnp.array([1e9, 1.0]), c)
        return x, ld + jnp.log(1e9)

    law_round_trip(Trial(twin(steep, back), KEY))
    fails(law_round_trip, twin(steep, lambda *a: (back(*a)[0] + jnp.array([0.0, 1e-6]), back(*a)[1])), "round trip")


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize(
    ("fault", "dtype"),
    [("flipped", jnp.float64), ("dropped", jnp.float64), ("off", jnp.float64), ("flipped", jnp.float32)],
)
def test_log_det(fault: str, dtype: Any, direction: str) -> None:
    def twist(h: Any, x: Array, y: Array, ld: Array, c: Any, k: Any) -> Pair:
        return y, {"flipped": -ld, "dropped": 0 * ld, "off": ld * (1 + 1e-3)}[fault]

    broken = twin(twist) if direction == "forward" else twin(straight, twist)
    fails(law_log_det, broken, f"{direction}.*slogdet", dtype=dtype)
    fails(law_log_dets_cancel, broken, r"log_det\(x\) \+ log_det", dtype=dtype)


def test_log_det_wrong_both_ways_still_fails() -> None:
    # Wrong in both directions, so that the two cancel: only the Jacobian knows.
    flip = lambda h, x, y, ld, c, k: (y, -ld)  # noqa: E731
    law_log_dets_cancel(Trial(twin(flip, flip), KEY))
    fails(law_log_det, twin(flip, flip), "slogdet")


def test_value_only() -> None:
    fails(law_value_only, twin(straight, value_twist=lambda y: y * (1 + 1e-9)), "minus the value of the pair")


def hears(*outputs: float) -> tuple[Twist, Twist]:
    """A condition that shifts some of the outputs."""

    def shift(condition: Array | None) -> Array:
        check_condition("Hears", condition, (3,))
        return jnp.dot(condition, jnp.array([1.0, 0.5, 0.2])) * jnp.array(outputs)  # type: ignore[arg-type]

    def forward(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        return y + shift(c), ld

    def inverse(h: Shear, y: Array, x: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        return h.inverse_and_log_det(y - shift(c))

    return forward, inverse


def test_condition() -> None:
    law_condition(Trial(twin(*hears(1.0, 1.0), conditional=False, cond_shape=(3,)), KEY))
    fails(law_condition, twin(*hears(0.0, 0.0), conditional=False, cond_shape=(3,)), "do not reach")
    fails(law_condition, twin(*hears(1.0, 0.0), conditional=False, cond_shape=(3,)), "do not reach 1 entries")
    leak = twin(*hears(1.0, 1.0), conditional=False, cond_shape=(3,))
    fails(law_condition, leak, "leak into", condition_reach=np.array([True, False]))
    fails(law_condition, twin(straight, conditional=False, cond_shape=(3,)), "do not reach 2")

    def secretly(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        return y, ld if c is None else ld + 1e-6 * jnp.sum(c)

    fails(law_condition, twin(secretly, conditional=False), "cond_shape is None, yet")

    def partly(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        check_condition("Partly", c, (3,))
        return y + c[0], ld  # type: ignore[index]

    fails(law_condition, twin(partly, conditional=False, cond_shape=(3,)), "have no effect")


def test_reach_of_a_leaking_mask() -> None:
    """An autoregressive network whose output mask compares with >= instead of > lets output i see input i."""

    def masked(strict: bool) -> Twist:
        def forward(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
            order = jnp.arange(2)
            mask = order[:, None] > order if strict else order[:, None] >= order
            return jnp.tanh((h.weights[:2, :2] * mask) @ x), ld

        return forward

    triangle = np.tril(np.ones((2, 2), bool), -1)
    law_condition(Trial(twin(masked(True), conditional=False), KEY, reach=triangle))
    fails(law_condition, twin(masked(False), conditional=False), "leak into 2 entries", reach=triangle)
    fails(law_condition, twin(masked(True), conditional=False), "do not reach 1", reach=triangle | triangle.T)


def test_exactness() -> None:
    def keyed(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        return y, ld if k is None else ld + 0.01 * jax.random.normal(k, (), y.dtype)

    fails(law_exactness, twin(keyed), "needs_key is False, yet")
    contradictory = Traits(log_det="exact", needs_key=True)
    fails(law_exactness, twin(straight, traits=contradictory), "exact, and that it needs a key")
    fails(law_exactness, twin(straight, traits=Traits(log_det="unbiased")), "needs no key")


def test_exactness_of_random_log_dets() -> None:
    def noisy(factor: float) -> Twist:
        def forward(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
            return y, factor * ld + (0 if k is None else 0.1 * jax.random.normal(k, (), y.dtype))

        return forward

    traits = Traits(log_det="unbiased", needs_key=True)
    good = twin(noisy(1.0), noisy(1.0), traits=traits)
    check_bijection(good, KEY)
    fails(law_exactness, twin(noisy(1.2), noisy(1.0), traits=traits), "the mean log-det over")


@jax.custom_batching.custom_vmap
def _neighbourly(y: Array) -> Array:
    return y


@_neighbourly.def_vmap
def _neighbourly_rule(size: int, batched: list[bool], y: Array) -> tuple[Array, bool]:
    return y - 1e-3 * jnp.mean(y, axis=0, keepdims=True), True


def test_rows() -> None:
    def batch_norm(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        constant = jax.lax.stop_gradient(y)
        return y + (_neighbourly(constant) - constant), ld

    fails(law_rows, twin(batch_norm), "the change of row i")
    fails(law_rows, twin(lambda h, x, y, ld, c, k: (jnp.nan_to_num(y), ld)), "a NaN input gives")


def test_gradients() -> None:
    def masked_branch(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        # The value is right for every input; the gradient of the branch not taken is 0 * inf.
        return h.forward_and_log_det(jnp.where(x > 0, jnp.sqrt(x) ** 2, x), c)

    law_shapes(Trial(twin(masked_branch), KEY))
    fails(law_gradients, twin(masked_branch), "is not finite")

    def overflows(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        return y, ld + jnp.sum(x**2 / (1 + x**2)) * h.slope[0]

    fails(law_gradients, twin(overflows), "1e[+]30.*is not finite", dtype=jnp.float32)
    stopped = twin(straight, lambda h, y, x, ld, c, k: (x, ld), conditional=False)
    law_gradients(Trial(stopped, KEY))
    dead = eqx.tree_at(lambda t: t.honest.weights, stopped, jnp.ones((3, 4)))
    fails(law_gradients, Unused(dead, jnp.ones(2)), r"no gradient reaches.*unused")


class Unused(AbstractBijection):
    """A trainable array that nothing reads."""

    inner: Twin
    unused: Array
    in_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    out_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=None)
    traits: Traits = eqx.field(static=True, default=Traits())

    def forward_and_log_det(self, x: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        return self.inner.forward_and_log_det(x)

    def inverse_and_log_det(self, y: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        return self.inner.inverse_and_log_det(y)


class WithState(AbstractBijection):
    """The honest bijection with something beside its parameters."""

    honest: Shear
    state: Any = eqx.field(static=True)
    in_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    out_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=(3,))
    traits: Traits = eqx.field(static=True, default=Traits())

    def forward_and_log_det(self, x: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        y, log_det = self.honest.forward_and_log_det(x, condition)
        if isinstance(self.state, float):
            return y + self.state, log_det
        if self.state == "global":
            np.random.normal()  # noqa: NPY002
        return y, log_det

    def inverse_and_log_det(self, y: Array, condition: Array | None = None, *, key: Any = None) -> Pair:
        shift = self.state if isinstance(self.state, float) else 0.0
        return self.honest.inverse_and_log_det(y - shift, condition)


def test_compiles_once() -> None:
    # A function made in the constructor equals no other: each model is a program of its own.
    def build(key: PRNGKeyArray) -> WithState:
        return WithState(Shear.of(key), lambda: None)

    fails(law_compiles_once, build(KEY), "built anew, compiled", rebuild=build)


def test_save_load() -> None:
    # A number drawn at construction, and kept where no file sees it.
    def build(key: PRNGKeyArray) -> WithState:
        return WithState(Shear.of(key), float(jax.random.normal(key)))

    fails(law_save_load, build(KEY), "by saving and loading", rebuild=build)
    law_save_load(Trial(WithState(Shear.of(KEY), 0.5), KEY, rebuild=lambda key: WithState(Shear.of(key), 0.5)))
    fails(law_save_load, WithState(Shear.of(KEY), "global"), "the global random state was changed")


def test_traits() -> None:
    fails(law_traits, twin(straight, traits=Traits(inverse="absent")), "'absent', but it returns")

    def missing(h: Shear, y: Array, x: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        raise NotImplementedError("not here")

    fails(law_traits, twin(straight, missing), "'parallel', but it raises")
    check_bijection(twin(straight, missing, traits=Traits(inverse="absent")), KEY)

    def looping(h: Shear, y: Array, x: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        zero = jnp.zeros_like(ld)
        return x, ld + jax.lax.while_loop(lambda t: t < 0, lambda t: t + 1, zero)

    fails(law_traits, twin(straight, looping), "runs a while loop")
    law_traits(Trial(twin(straight, looping, traits=Traits(inverse="iterative")), KEY))


def test_algebra() -> None:
    # A count of its calls makes the same bijection a different map each time.
    calls: list[int] = []

    def counting(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        calls.append(1)
        return y + 1e-3 * len(calls), ld

    fails(law_algebra, twin(counting), "minus b")


def test_integrates() -> None:
    law_integrates(Trial(Shear.of(KEY), KEY))
    fails(law_integrates, twin(straight, lambda h, y, x, ld, c, k: (x, ld + 2e-3)), "integrates to 1.002")
    fails(law_integrates, twin(straight, lambda h, y, x, ld, c, k: (x, 0 * ld)), "integrates to")

    def bounded(h: Shear, y: Array, x: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        # Not onto: no latent beyond 1 is ever reached, and the mass that the base has there is lost (numpyro#1655).
        z = jnp.tanh(x)
        return z, ld + jnp.sum(jnp.log1p(-(z**2) + 1e-300))

    fails(law_integrates, twin(straight, bounded), "integrates to 0.4")


def sloped(factor: float) -> Callable[[Array], Array]:
    """The hyperbolic sine with a derivative of its own, which is wrong by the factor."""

    @jax.custom_jvp
    def sinh(y: Array) -> Array:
        return jnp.sinh(y)

    sinh.defjvp(lambda primals, tangents: (sinh(*primals), factor * jnp.cosh(primals[0]) * tangents[0]))
    return sinh


def bent(sinh: Callable[[Array], Array]) -> Twin:
    def forward(h: Shear, x: Array, y: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        return sinh(y), ld + jnp.sum(jnp.log(jnp.cosh(y)))

    def inverse(h: Shear, y: Array, x: Array, ld: Array, c: Array | None, k: Any) -> Pair:
        x, ld = h.inverse_and_log_det(jnp.arcsinh(y), c)
        return x, ld - 0.5 * jnp.sum(jnp.log1p(y**2))

    return twin(forward, inverse)


def test_transforms() -> None:
    law_transforms(Trial(bent(sloped(1.0)), KEY))
    law_transforms(Trial(bent(sloped(1.0)), KEY, dtype=jnp.float32))
    fails(law_transforms, bent(sloped(1.001)), "forward.*difference of values minus what derivatives say")

    @jax.custom_vjp
    def backwards(y: Array) -> Array:
        return jnp.sinh(y)

    backwards.defvjp(lambda y: (jnp.sinh(y), y), lambda y, ct: (ct * jnp.cosh(y),))
    fails(law_transforms, bent(backwards), "(linearize|jacfwd) fails.*custom_vjp")


def test_transforms_of_second_order() -> None:
    """The first derivatives are right, and the second ones are dropped: as of a root with a frozen slope."""

    @jax.custom_jvp
    def frozen(y: Array) -> Array:
        return jnp.sinh(y)

    @frozen.defjvp
    def rule(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        return frozen(*primals), jax.lax.stop_gradient(jnp.cosh(primals[0])) * tangents[0]

    fails(law_transforms, bent(frozen), "difference of first derivatives")


@pytest.mark.parametrize(("push", "pull"), [(1.01, 1.0), (1.0, 1.01)])
def test_transforms_that_disagree(push: float, pull: float) -> None:
    """One mode is right, and the other off by 1 %: a rule for tangents that is not the transpose of the pull-back."""

    def modes(push: float, pull: float) -> Callable[[Array], Array]:
        return own_derivatives(
            jnp.sinh,
            lambda y: (jnp.sinh(y), (y,)),
            lambda kept, bar: (pull * jnp.cosh(kept[0]) * bar,),
            lambda kept, dots: push * jnp.cosh(kept[0]) * dots[0],
        )

    law_transforms(Trial(bent(modes(1.0, 1.0)), KEY))
    fails(law_transforms, bent(modes(push, pull)), "jacobian by forward mode minus that by reverse mode")


@pytest.mark.parametrize("name", ["maf", "nsf"])
def test_transforms_by_name(name: str) -> None:
    """What the law makes of values and log-determinants holds for a flow's methods, each transformation by its name."""
    flow = randomise(small(name, KEY, dim=2, n_layers=1), KEY)
    x, v = jnp.array([0.3, -0.7]), jnp.array([0.6, 0.2])

    @jax.jit
    def everything(x: Array) -> dict[str, Any]:
        gradient = jax.grad(flow.log_prob)(x)
        out: dict[str, Any] = {
            "log_prob": [gradient, jax.jacfwd(flow.log_prob)(x), jax.jacrev(flow.log_prob)(x)],
            "hessian": [jax.hessian(flow.log_prob)(x), jax.jacfwd(jax.grad(flow.log_prob))(x)],
            "rows": [flow.log_prob(jnp.stack([x, x])), jax.vmap(flow.log_prob)(jnp.stack([x, x]))],
            "push": [jax.jvp(flow.log_prob, (x,), (v,))[1], jax.linearize(flow.log_prob, x)[1](v), gradient @ v],
        }
        for method in (flow.encode, flow.decode):
            out[method.__name__] = [jax.jacfwd(method)(x), jax.jacrev(method)(x)]
            pushed = [jax.jvp(method, (x,), (v,))[1], jax.linearize(method, x)[1](v)]
            out[f"push of {method.__name__}"] = [*pushed, jax.jacrev(method)(x) @ v]
        return out

    for what, values in everything(x).items():
        for other in values[1:]:
            np.testing.assert_allclose(other, values[0], rtol=1e-9, atol=1e-9, err_msg=what)
