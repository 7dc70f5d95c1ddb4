"""From a traced JAX function to a list of array operations that `numpy_runtime` carries out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var
from jax.interpreters import partial_eval

from pushforward._checks import message
from pushforward.export.numpy_runtime import DTYPES, OPERATIONS

# Calls that change nothing but derivatives or the order of compilation: their program is put in their place.
INLINED = {
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "remat2": "jaxpr",
}
# The parameters that operations need; all others concern compilation, or follow from the shape of the result.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "argmax": ("axes",),
    "argmin": ("axes",),
    "broadcast_in_dim": ("broadcast_dimensions",),
    "concatenate": ("dimension",),
    "dot_general": ("dimension_numbers",),
    "integer_pow": ("y",),
    "iota": ("dimension",),
    "pad": ("padding_config",),
    "rev": ("dimensions",),
    "round": ("rounding_method",),
    "scan": ("length", "reverse", "num_consts", "num_carry", "jaxpr"),
    "slice": ("start_indices", "limit_indices", "strides"),
    "sort": ("dimension", "num_keys"),
    "split": ("axis",),
    "stack": ("axis",),
    "tile": ("reps",),
    "transpose": ("permutation",),
    "triangular_solve": ("left_side", "lower", "transpose_a", "unit_diagonal"),
    "unstack": ("axis",),
    "while": ("cond_nconsts", "body_nconsts", "cond_jaxpr", "body_jaxpr"),
    "cond": ("branches",),
}
PARAMETERS |= {f"reduce_{name}": ("axes",) for name in ("sum", "prod", "max", "min", "and", "or")}
PARAMETERS |= {f"cum{name}": ("axis", "reverse") for name in ("sum", "prod", "max", "min", "logsumexp")}


@dataclass
class Step:
    """One operation, before its values have numbers."""

    name: str
    inputs: list[Any]  # values or constants
    results: list[Value]
    params: dict[str, Any]


@dataclass(eq=False)
class Value:
    """What an operation gives, known by identity."""

    aval: Any


@dataclass
class Program:
    """A program under construction: tables of types and constants, and the functions.

    Args:
        types: `(dtype, shape)`, each once.
        constants: the arrays of more than one element, each once.
        functions: as JSON has them; each calls those before it only.
    """

    types: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    constants: list[np.ndarray] = field(default_factory=list)
    functions: list[dict[str, Any]] = field(default_factory=list)
    _known: dict[Any, int] = field(default_factory=dict)

    def add(self, function: Callable, arguments: Sequence[jax.ShapeDtypeStruct]) -> int:
        """Trace a function of arrays; the number of its program.

        Raises:
            ValueError: it needs an operation or a type that the runtime does not have.
        """
        return self._function(jax.make_jaxpr(function)(*arguments))

    def table(self) -> dict[str, Any]:
        """The tables as JSON has them, all but the constants' values."""
        return {
            "types": [[dtype, list(shape)] for dtype, shape in self.types],
            "constants": [self._type(array.dtype, array.shape) for array in self.constants],
            "functions": self.functions,
        }

    def _function(self, closed: ClosedJaxpr) -> int:
        # What no result needs is left out, also inside loops: a sampler gathers no log-determinants.
        jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)
        inputs = [Value(var.aval) for var in jaxpr.invars]
        steps: list[Step] = []
        outputs = self._flatten(jaxpr, closed.consts, inputs, steps)
        kept = _needed(steps, outputs)
        numbers = {id(value): n for n, value in enumerate(inputs)}
        last: dict[int, int] = {}
        for n, step in enumerate(kept):
            last |= {id(value): n for value in step.inputs if isinstance(value, Value)}
        for value in outputs:
            last.pop(id(value), None)
        equations = []
        for n, step in enumerate(kept):
            atoms = [self._atom(value, numbers) for value in step.inputs]
            for value in step.results:
                numbers[id(value)] = len(numbers)
            done = {id(v) for v in step.inputs if isinstance(v, Value) and last.get(id(v)) == n}
            freed = sorted(numbers[key] for key in done)
            results = [self._type(*_array_type(value.aval)) for value in step.results]
            equations.append([step.name, atoms, results, step.params, freed])
        self.functions.append(
            {
                "inputs": [self._type(*_array_type(value.aval)) for value in inputs],
                "equations": equations,
                "outputs": [self._atom(value, numbers) for value in outputs],
            }
        )
        return len(self.functions) - 1

    def _flatten(self, jaxpr: Jaxpr, consts: Sequence[Any], arguments: list[Any], steps: list[Step]) -> list[Any]:
        """Append the operations of `jaxpr` to `steps`; its results."""
        known: dict[Var, Any] = dict(zip(jaxpr.constvars, map(np.asarray, consts), strict=True))
        known |= dict(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Any:
            aval: Any = atom.aval
            return np.asarray(atom.val, aval.dtype) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            name, inputs = equation.primitive.name, [read(atom) for atom in equation.invars]
            if name in INLINED or name == "random_gamma":
                inner = _gamma(equation) if name == "random_gamma" else equation.params[INLINED[name]]
                closed = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
                results = self._flatten(closed.jaxpr, closed.consts, inputs, steps)
            else:
                results = [Value(var.aval) for var in equation.outvars]
                steps.append(Step(name, inputs, results, self._params(equation)))
            known |= dict(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _params(self, equation: Any) -> dict[str, Any]:
        name, params = equation.primitive.name, equation.params
        if name not in OPERATIONS:
            fix = "Export to StableHLO, which takes any model: --to stablehlo, export_stablehlo(...)."
            solves = name.startswith("unvmap")  # of Equinox's loops, in which diffrax steps
            got = f"a solver of differential equations ({name!r})" if solves else repr(name)
            raise ValueError(message("export_numpy", "a model of NumPy's operations", f"{got} in it", fix))
        if name in ("gather", "scatter", "scatter-add"):
            return _index_params(params, equation.invars[0].aval.dtype)
        if name == "reshape" and params.get("dimensions") is not None:
            raise ValueError("export_numpy: expected a reshape in row-major order, got another. Transpose it first.")
        if name == "random_wrap" and "fry" not in str(params["impl"]):
            raise ValueError(f"export_numpy: expected Threefry keys, got {params['impl']}.")
        chosen = {key: params[key] for key in PARAMETERS.get(name, ())}
        for key, value in chosen.items():
            if isinstance(value, ClosedJaxpr):
                chosen[key] = self._function(value)
            elif key == "branches":
                chosen[key] = [self._function(branch) for branch in value]
            elif key == "rounding_method":
                chosen[key] = int(value)
        return _plain(chosen)

    def _atom(self, value: Any, numbers: dict[int, int]) -> Any:
        """A value by its number, a constant by its number as text, a constant of one element as it is."""
        if isinstance(value, Value):
            return numbers[id(value)]
        if value.size == 1:
            item = value.reshape(-1)[0].item()
            return [self._type(value.dtype, value.shape), item.hex() if isinstance(item, float) else item]
        key = (value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest())
        if key not in self._known:
            self._known[key] = len(self.constants)
            self._type(value.dtype, value.shape)
            self.constants.append(np.ascontiguousarray(value))
        return str(self._known[key])

    def _type(self, dtype: Any, shape: tuple[int, ...]) -> int:
        kind = (str(np.dtype(dtype)), tuple(int(n) for n in shape))
        if kind[0] not in DTYPES:
            raise ValueError(message("export_numpy", f"arrays of {', '.join(DTYPES)}", kind[0], "Convert them."))
        if kind not in self._known:
            self._known[kind] = len(self.types)
            self.types.append(kind)
        return self._known[kind]


def _array_type(aval: Any) -> tuple[Any, tuple[int, ...]]:
    """Type and shape in NumPy, where a key is one uint64."""
    is_key = jnp.issubdtype(aval.dtype, jax.dtypes.prng_key)
    return np.uint64 if is_key else aval.dtype, aval.shape


def _needed(steps: list[Step], outputs: list[Any]) -> list[Step]:
    """The operations whose results are used; none has a side effect."""
    used, kept = {id(value) for value in outputs}, []
    for step in reversed(steps):
        if any(id(value) in used for value in step.results):
            used |= {id(value) for value in step.inputs}
            kept.append(step)
    return kept[::-1]


def _gamma(equation: Any) -> ClosedJaxpr:
    """The rejection sampler behind the primitive `random_gamma`, all draws at once."""
    specs = [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in equation.invars]
    return jax.make_jaxpr(lambda *args: [equation.primitive.impl(*args, **equation.params, use_vmap=True)])(*specs)


def _index_params(params: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Where the windows of a gather or scatter lie."""
    numbers = params["dimension_numbers"]
    mode = {"FILL_OR_DROP": "fill"}.get(params["mode"].name, "clip")
    if hasattr(numbers, "offset_dims"):
        fill = params["fill_value"]
        if fill is None:  # as jax.lax.gather has it
            kind = "O" if jnp.issubdtype(dtype, jax.dtypes.prng_key) else np.dtype(dtype).kind
            fills = {"f": lambda: np.nan, "i": lambda: np.iinfo(dtype).min, "u": lambda: np.iinfo(dtype).max}
            fill = fills.get(kind, lambda: 1)()
        own = {
            "slice_sizes": params["slice_sizes"],
            "offset_dims": numbers.offset_dims,
            "collapsed": numbers.collapsed_slice_dims,
            "index_map": numbers.start_index_map,
            "indices_batching": numbers.start_indices_batching_dims,
            "fill": float(fill).hex() if isinstance(fill, float) else int(fill),
        }
    else:
        own = {
            "window_dims": numbers.update_window_dims,
            "inserted": numbers.inserted_window_dims,
            "index_map": numbers.scatter_dims_to_operand_dims,
            "indices_batching": numbers.scatter_indices_batching_dims,
        }
    return _plain({"mode": mode, "operand_batching": numbers.operand_batching_dims, **own})


def _plain(value: Any) -> Any:
    """Tuples as lists and NumPy's integers as Python's, for JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
