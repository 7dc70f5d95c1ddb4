"""Rewrites a traced JAX function in fewer operations, namely those that a converter to another format knows.

Calls, derivatives of our own and primitives of this library become the operations they are made of. Loops that run
backwards run forwards over reversed arrays. Random numbers become an argument, for no converter has JAX's generator.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from pushforward._checks import message
from pushforward._types import Array

# Calls that change only derivatives or the order of compilation; they are replaced by the program that they call.
INLINED = {
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "remat2": "jaxpr",
}
# Wichura's AS241 (PPND16, 1988, Applied Statistics 37): the normal quantile as ratios of polynomials, in the middle and
# in two parts of the tails; numerators and denominators from the constant up.
# fmt: off
MIDDLE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)
NEAR = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)
FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)
# fmt: on
# Operations of Equinox's loops, in which diffrax steps, begin with one of these.
SOLVERS = ("unvmap", "vprim", "nonbatchable")
# How `jax.random` makes a uniform number of random bits: as the mantissa of a number from 1 to 2.
TO_UNIFORM = ("shift_right_logical", "or", "bitcast_convert_type", "sub")


@dataclass(frozen=True)
class Seed:
    """Placeholder of a key, and of everything that is computed from one except uniform numbers.

    Args:
        origin: Name of the random operation that it comes from.
    """

    origin: str


@dataclass(frozen=True)
class Bits:
    """Random bits on their way to uniform numbers in [0, 1); the numbers are known already.

    Args:
        uniform: The uniform numbers.
        done: Number of operations of `TO_UNIFORM` that have been carried out.
    """

    uniform: Array
    done: int = 0


@dataclass
class Draws:
    """The uniform numbers that a function draws for its rows, in their order. It is filled while a function is traced.

    Args:
        uniform: Numbers to take `(n, k)`; None while they are counted, or drawn by a key.
        places: Axis of the rows and shape of the other axes, for each draw.
        recorded: Numbers that were drawn by a key, `(n, columns)` for each draw.
    """

    uniform: Array | None = None
    places: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    recorded: list[Array] = field(default_factory=list)

    @property
    def columns(self) -> int:
        """Number of uniform numbers that a row takes."""
        return sum(math.prod(others) for _, others in self.places)

    def take(self, shape: tuple[Any, ...], dtype: Any) -> Array:
        """The next uniform numbers; the one size in `shape` that is a symbol is the number of rows."""
        axes = [i for i, size in enumerate(shape) if not isinstance(size, int)]
        if len(axes) != 1:
            raise refused("random numbers that are not drawn row by row")
        start, others = self.columns, tuple(size for size in shape if isinstance(size, int))
        self.places.append((axes[0], others))
        if self.uniform is None:
            return lax.full(shape, 0.5, dtype)
        own = lax.slice_in_dim(self.uniform, start, self.columns, axis=1).astype(dtype)
        return jnp.moveaxis(own.T.reshape(*others, shape[axes[0]]), -1, axes[0])

    def record(self, bits: Array, dtype: Any, place: tuple[int, tuple[int, ...]]) -> Array:
        """The uniform numbers that `bits` become; they are kept in `recorded`."""
        mantissa = jnp.finfo(dtype).nmant
        uniform = (bits >> (jnp.finfo(dtype).bits - mantissa)).astype(dtype) * 2.0**-mantissa
        self.recorded.append(jnp.moveaxis(uniform, place[0], -1).reshape(math.prod(place[1]), -1).T)
        return uniform


def refused(what: str) -> ValueError:
    """The error for a model that cannot be exported."""
    fix = "Export to StableHLO, which takes any model: --to stablehlo, export_stablehlo(...)."
    return ValueError(message("export_onnx", "a model of ONNX's operations", what, fix))


def plain(function: Callable[..., Any], arguments: Sequence[jax.ShapeDtypeStruct]) -> ClosedJaxpr:
    """The program of a function of arrays, rewritten without calls and without primitives of this library."""
    return jax.make_jaxpr(lambda *values: run(jax.make_jaxpr(function)(*arguments), values, Draws()))(*arguments)


def run(program: ClosedJaxpr, arguments: Sequence[Any], draws: Draws) -> list[Any]:
    """Carry out a program on arrays or tracers; a `Seed` takes the place of each key."""
    return _run(program.jaxpr, program.consts, arguments, draws)


def _run(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any], draws: Draws) -> list[Any]:
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    for equation in _needed(jaxpr):
        inputs = [read(atom) for atom in equation.invars]
        known |= dict(zip(equation.outvars, _results(equation, inputs, draws), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _needed(jaxpr: Jaxpr) -> list[Any]:
    """The equations whose results are used: a sampler needs no log-determinants."""
    used, kept = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}, []
    for equation in reversed(jaxpr.eqns):
        if used.intersection(equation.outvars):
            used |= {atom for atom in equation.invars if not isinstance(atom, Literal)}
            kept.append(equation)
    return kept[::-1]


def _results(equation: Any, inputs: list[Any], draws: Draws) -> list[Any]:
    primitive, params = equation.primitive, equation.params
    name = primitive.name
    if name.startswith(SOLVERS):
        raise refused(f"a solver of differential equations ({name!r})")
    if name in INLINED:
        inner = params[INLINED[name]]
        return (
            _run(inner.jaxpr, inner.consts, inputs, draws)
            if isinstance(inner, ClosedJaxpr)
            else _run(inner, (), inputs, draws)
        )
    if name == "random_bits":
        return [Bits(_uniform(equation, inputs[0], draws))]
    if name == "scan":
        return _scan(params, inputs, draws)
    if any(isinstance(value, Bits) for value in inputs):
        bits = inputs[0]
        if not isinstance(bits, Bits) or name != TO_UNIFORM[bits.done]:
            raise refused(f"random bits that are no uniform numbers ({name!r})")
        done = bits.done + 1
        return [bits.uniform if done == len(TO_UNIFORM) else Bits(bits.uniform, done)]
    seeds = [value for value in inputs if isinstance(value, Seed)]
    if seeds:
        return [Seed(name if name.startswith("random_") else seeds[0].origin)] * len(equation.outvars)
    if name == "while":
        return _while(params, inputs, draws)
    if name == "cond":
        branches = [functools.partial(_branch, branch, draws) for branch in params["branches"]]
        return list(lax.switch(inputs[0], branches, inputs[1:]))
    if name == "erf_inv":
        return [inverse_erf(inputs[0])]
    if name == "select_n" and inputs[1].dtype == bool and len(inputs) == 3 and inputs[0].dtype == bool:
        return [(inputs[0] & inputs[2]) | (~inputs[0] & inputs[1])]  # runtimes choose between numbers only
    if getattr(primitive.impl, "__module__", "").startswith("pushforward."):
        results = primitive.impl(*inputs, **params)
    else:
        results = primitive.bind(*inputs, **params)
    return list(results) if primitive.multiple_results else [results]


def _uniform(equation: Any, key: Any, draws: Draws) -> Array:
    """The uniform numbers that random bits will become."""
    out = equation.outvars[0].aval
    if out.dtype not in (np.uint32, np.uint64):
        raise refused(f"random bits of {out.dtype}")
    dtype = np.float64 if out.dtype == np.uint64 else np.float32
    if isinstance(key, Seed):
        return draws.take(out.shape, dtype)
    return draws.record(equation.primitive.bind(key, **equation.params), dtype, draws.places[len(draws.recorded)])


def _scan(params: dict[str, Any], inputs: list[Any], draws: Draws) -> list[Any]:
    """Carry out a scan as one that runs forwards, or step by step if random numbers are drawn in it."""
    n_consts, n_carry, body = params["num_consts"], params["num_carry"], params["jaxpr"]
    consts, carry, rows = inputs[:n_consts], inputs[n_consts : n_consts + n_carry], inputs[n_consts + n_carry :]
    length, backwards = params["length"], params["reverse"]
    if any(isinstance(value, Seed) or jnp.issubdtype(value.dtype, jax.dtypes.prng_key) for value in inputs):
        parts = []
        for i in reversed(range(length)) if backwards else range(length):
            own = [value if isinstance(value, Seed) else value[i] for value in rows]
            results = run(body, [*consts, *carry, *own], draws)
            carry, part = results[:n_carry], results[n_carry:]
            parts.append(part)
        parts = parts[::-1] if backwards else parts
        return [*carry, *(c[0] if isinstance(c[0], Seed) else jnp.stack(c) for c in zip(*parts, strict=True))]

    def step(carry: list[Array], own: list[Array]) -> tuple[list[Array], list[Array]]:
        results = run(body, [*consts, *carry, *own], draws)
        return results[:n_carry], results[n_carry:]

    turned = [jnp.flip(value, 0) for value in rows] if backwards else list(rows)
    carry, results = lax.scan(step, list(carry), turned, length=length)
    return [*carry, *(jnp.flip(value, 0) if backwards else value for value in results)]


def _while(params: dict[str, Any], inputs: list[Any], draws: Draws) -> list[Any]:
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    of_cond, of_body, carry = inputs[:n_cond], inputs[n_cond : n_cond + n_body], inputs[n_cond + n_body :]
    return lax.while_loop(
        lambda carry: run(params["cond_jaxpr"], [*of_cond, *carry], draws)[0],
        lambda carry: run(params["body_jaxpr"], [*of_body, *carry], draws),
        carry,
    )


def _branch(program: ClosedJaxpr, draws: Draws, inputs: list[Any]) -> list[Any]:
    return run(program, inputs, draws)


def inverse_erf(x: Array) -> Array:
    r"""$\operatorname{erf}^{-1}(x)$, to 16 digits in float64; infinite at -1 and 1."""
    q = 0.5 * x
    tail = 0.5 - jnp.abs(q)
    r = jnp.sqrt(-jnp.log(jnp.where(jnp.abs(q) <= 0.425, 0.5, tail)))
    middle = q * _ratio(0.180625 - jnp.where(jnp.abs(q) <= 0.425, q * q, 0.0), MIDDLE)
    end = jnp.where(r <= 5, _ratio(jnp.minimum(r, 5) - 1.6, NEAR), _ratio(jnp.maximum(r, 5) - 5, FAR))
    end = jnp.where(jnp.isinf(r), jnp.inf, end)
    return jnp.where(jnp.abs(q) <= 0.425, middle, jnp.sign(x) * end) * math.sqrt(0.5)


def _ratio(x: Array, terms: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    above, below = (functools.reduce(lambda sum_, a: sum_ * x + a, reversed(part), jnp.zeros_like(x)) for part in terms)
    return above / below
