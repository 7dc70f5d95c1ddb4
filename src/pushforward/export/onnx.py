"""Export to ONNX: programs that onnxruntime runs from Python, C++, C#, Java and JavaScript."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend.core import ClosedJaxpr

from pushforward._checks import package_of
from pushforward._types import Array
from pushforward.distributions import AbstractDistribution
from pushforward.export.comparison import (
    Comparison,
    Expected,
    ExportReport,
    columns_in_words,
    expected_of,
    path_of,
    write_export,
)
from pushforward.export.exported_functions import Functions, Precision, functions_of
from pushforward.export.plain_operations import Draws, Seed, plain, refused, run
from pushforward.io.files import MANIFEST, check_folder_target

FILES = ("export.json", "log_prob.onnx", "sample.onnx", "README.md")

README = """\
# A trained model as ONNX

`log_prob.onnx` and `sample.onnx` are programs with their weights inside, in {precision}, written by pushforward
{pushforward}. onnxruntime runs them:

```python
import numpy as np
import onnxruntime

log_prob = onnxruntime.InferenceSession("log_prob.onnx")
sample = onnxruntime.InferenceSession("sample.onnx")
numbers = np.random.default_rng(0)

{calls}
```

{columns} The number of rows n is free. Log-densities are in nats.
The programs draw nothing: each row of `uniform` holds independent random numbers from 0 to 1 (1 excluded), and gives
one row of the sample.
"""


def export_onnx(
    distribution: AbstractDistribution,
    folder: str | os.PathLike,
    *,
    names: Sequence[str],
    condition_names: Sequence[str] = (),
    precision: Precision = "float64",
    rows: Any = None,
    conditions: Any = None,
    key_seed: int = 0,
    force: bool = False,
) -> ExportReport:
    """Write a model's log-density and sampler as ONNX, and compare them with the model in onnxruntime.

    The programs are `log_prob(x (n, d)[, condition (n, k)][, uniform (n, m)]) -> (n,)`, in nats, where `uniform` is for
    models whose log-density is a random estimate, and `sample(uniform (n, m)[, condition (n, k)]) -> (n, d)`. ONNX has
    no random numbers that are the same everywhere, so that the caller draws them: `m` independent uniform numbers in
    [0, 1) for each row.

    Args:
        distribution: A `Flow` or another distribution over rows `(d,)`, with conditions `(k,)` or none.
        folder: Folder to write; it is written completely or not at all.
        names: Names of the columns of `x`.
        condition_names: Names of the columns of the condition.
        precision: `"float64"` or `"float32"`.
        rows: Rows `(m, d)` on which programs and model are compared; None takes 1000 draws of the model.
        conditions: Conditions `(m, k)` of these rows for a conditional model; None draws standard normals.
        key_seed: Seed of the JAX key by which the comparison draws.
        force: Whether an earlier export is replaced.

    Raises:
        TypeError: The object is not a distribution.
        ValueError: The names do not fit the model, or the model needs what ONNX or onnxruntime does not have, such as a
            solver of differential equations, or a base that draws by rejection (Student's t).
        ImportError: The package jax2onnx or onnxruntime is missing.
        FileExistsError: The folder exists and `force` is False, or it holds other files.
    """
    name = "export_onnx"
    path = path_of(name, folder)
    functions = functions_of(name, distribution, names, condition_names, precision)
    convert, runtime = (package_of(name, package, "onnx") for package in ("jax2onnx", "onnxruntime"))
    check_folder_target(path, force, (*FILES, MANIFEST))
    expected = expected_of(name, functions, rows, conditions, key_seed)
    with functions.precision():
        programs = {function: _Program(functions, function) for function in functions.calls()}
        blobs = {function: program.convert(convert) for function, program in programs.items()}
        sessions = {function: _session(runtime, blob) for function, blob in blobs.items()}
        comparison = _compare(expected, programs, sessions)
    return write_export(
        path,
        "onnx",
        functions,
        comparison,
        {f"{function}.onnx": blob for function, blob in blobs.items()},
        _readme(functions, programs),
        {"programs": {function: program.record() for function, program in programs.items()}},
        packages=("pushforward", "jax", "jax2onnx", "onnxruntime"),
        force=force,
    )


class _Program:
    """One function of a model as a program in plain operations, which takes random numbers as an argument."""

    def __init__(self, functions: Functions, function: str):
        n = export.symbolic_shape("n")[0]
        self.dtype, self.call = functions.dtype, functions.calls()[function]
        named = functions.arguments(n)[function]
        self.drawn_by = [name in ("key_data", "rows") for name in named]
        self.traced = jax.make_jaxpr(self.call)(*named.values())
        fed = {name: spec for name, spec in named.items() if name not in ("key_data", "rows")}
        # The function is traced once to count the random numbers, and once to take them.
        counted = Draws()
        jax.make_jaxpr(lambda *values: self._run(values, counted))(*fed.values())
        self.places = counted.places
        if counted.columns:
            uniform = {"uniform": jax.ShapeDtypeStruct((n, counted.columns), functions.dtype)}
            fed = uniform | fed if function == "sample" else fed | uniform
        self.arguments = fed
        at = list(fed).index("uniform") if counted.columns else None

        def whole(*values: Array) -> Any:
            own = Draws(None if at is None else values[at])
            return self._run([value for i, value in enumerate(values) if i != at], own)

        self.closed: ClosedJaxpr = plain(whole, list(fed.values()))
        self.shape = ["n", *self.closed.out_avals[0].shape[1:]]

    def _run(self, values: Sequence[Any], draws: Draws) -> Any:
        rest = iter(values)
        inputs = [Seed("key") if drawn else next(rest) for drawn in self.drawn_by]
        result = run(self.traced, inputs, draws)[0]
        if isinstance(result, Seed):
            raise refused(f"random numbers that {result.origin!r} draws")
        return result

    def uniform(self, inputs: Sequence[Any]) -> np.ndarray:
        """The random numbers `(n, m)` that the model itself draws by the key among the inputs."""
        draws = Draws(places=self.places)
        run(jax.make_jaxpr(self.call)(*inputs), inputs, draws)
        return np.concatenate([np.asarray(part) for part in draws.recorded], axis=1).astype(self.dtype)

    def again(self, *values: Array) -> Any:
        """Run the program as a function of arrays."""
        return run(self.closed, values, Draws())[0]

    def convert(self, package: Any) -> bytes:
        """Convert the program to ONNX."""
        log = logging.getLogger("onnx_ir")
        before = log.level
        log.setLevel(logging.ERROR)  # it warns of shapes that it can do without
        try:
            model = package.to_onnx(
                self.again,
                list(self.arguments.values()),
                input_names=list(self.arguments),
                enable_double_precision=self.dtype == np.float64,
            )
        except (NotImplementedError, TypeError, ValueError) as error:
            raise refused(f"what jax2onnx cannot convert ({_words(error)})") from error
        finally:
            log.setLevel(before)
        return model.SerializeToString()

    def record(self) -> dict[str, Any]:
        """The arguments and the result, for `export.json`."""
        arguments = {
            name: {"shape": ["n", *spec.shape[1:]], "dtype": str(spec.dtype)} for name, spec in self.arguments.items()
        }
        return {"arguments": arguments, "result": {"shape": self.shape, "dtype": str(self.dtype)}}


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _session(runtime: Any, blob: bytes) -> Callable[..., np.ndarray]:
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of every number that it leaves out
    try:
        session = runtime.InferenceSession(blob, options)
    except Exception as error:  # onnxruntime's own classes, which it does not export
        raise refused(f"what onnxruntime cannot run ({_words(error)})") from error
    names = [argument.name for argument in session.get_inputs()]

    def call(values: dict[str, Any]) -> np.ndarray:
        try:
            return session.run(None, {name: values[name] for name in names})[0]
        except Exception as error:
            raise refused(f"what onnxruntime cannot run ({_words(error)})") from error

    return call


def _compare(expected: Expected, programs: dict[str, _Program], sessions: dict[str, Callable]) -> Comparison:
    """Compare the programs in onnxruntime with the model, on the random numbers that the model draws."""
    functions = expected.functions

    def of(function: str, n: int, x: Any, condition: Any, key_data: np.ndarray) -> np.ndarray:
        program = programs[function]
        given = {"x": x, "condition": condition, "key_data": key_data, "rows": np.arange(n, dtype=np.uint32)}
        values = dict(given)
        if "uniform" in program.arguments:
            inputs = [jnp.asarray(given[name]) for name in functions.arguments(n)[function]]
            values["uniform"] = program.uniform(inputs)
        return sessions[function](values)

    return expected.compare(
        lambda x, condition, key_data: of("log_prob", len(x), x, condition, key_data),
        lambda n, condition, key_data: of("sample", n, None, condition, key_data),
    )


def _readme(functions: Functions, programs: dict[str, _Program]) -> str:
    d, lines = len(functions.names), []
    for function, program in programs.items():
        fed = ", ".join(f'"{name}": {name}' for name in program.arguments)
        if "uniform" in program.arguments:
            count = program.arguments["uniform"].shape[1]
            cast = "" if functions.dtype == np.float64 else ', dtype="float32"'
            lines.append(f"uniform = numbers.random((n, {count}){cast})")
        lines.append(f"{function}.run(None, {{{fed}}})[0]  # (n,{f' {d}' if function == 'sample' else ''})")
    return README.format(
        precision=functions.dtype,
        pushforward=version("pushforward"),
        calls="\n".join(lines),
        columns=columns_in_words(functions),
    )
