"""Export to StableHLO: compiled-ready programs that any JAX, and with a fixed batch any StableHLO runtime, can run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.interpreters import mlir
from jax.lax import linalg

from pushforward._checks import check_int, package_of
from pushforward._types import Array
from pushforward._vectorize import in_chunks
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
from pushforward.io.files import MANIFEST, check_folder_target

PLATFORMS = ("cpu", "cuda")
FILES = ("export.json", "log_prob.stablehlo", "log_prob.mlirbc", "sample.stablehlo", "sample.mlirbc", "README.md")
# Calls that may remain although they are no operations of StableHLO, each with the reason.
REASONS = {"shape_assertion": "checks the number of rows when JAX loads the program; absent with a fixed batch"}

README = """\
# A trained model as StableHLO

`log_prob.stablehlo` and `sample.stablehlo` are programs with their weights inside, in {precision}, for {platforms},
written by pushforward {pushforward} with JAX {jax}. Any later JAX of the next six months or more runs them, without
pushforward:

```python
import jax, numpy as np
from pathlib import Path

jax.config.update("jax_enable_x64", {x64})
log_prob = jax.export.deserialize(bytearray(Path("log_prob.stablehlo").read_bytes())).call
sample = jax.export.deserialize(bytearray(Path("sample.stablehlo").read_bytes())).call

{calls}
```

{x} {rows_text} Log-densities are in nats.
Row `rows[i]` of a sample depends on the key's two words and on that number alone, so that longer samples begin with
shorter ones. {batch_text}

`log_prob.mlirbc` and `sample.mlirbc` are the same programs as plain StableHLO (a portable artifact, MLIR bytecode) for
other runtimes. Their first argument is the number of the platform, {integer}: {numbers}. {calls_text}
"""


def export_stablehlo(
    distribution: AbstractDistribution,
    folder: str | os.PathLike,
    *,
    names: Sequence[str],
    condition_names: Sequence[str] = (),
    precision: Precision = "float64",
    batch: int | None = None,
    rows: Any = None,
    conditions: Any = None,
    key_seed: int = 0,
    force: bool = False,
) -> ExportReport:
    """Write a model's log-density and sampler as StableHLO, and compare them with the model.

    The programs are `log_prob(x (n, d)[, condition (n, k)][, key_data (2,), rows (n,)]) -> (n,)`, in nats, where the
    last two are for models whose log-density is a random estimate, and
    `sample(key_data (2,), rows (n,)[, condition (n, k)]) -> (n, d)`, which with `rows = arange(n)` gives the rows of
    `distribution.sample(key, n)`. Key words and row numbers are uint32. No custom call of a library is left in them:
    triangular systems are solved in StableHLO itself, not by LAPACK or cuBLAS.

    Args:
        distribution: A `Flow` or another distribution over rows `(d,)`, with conditions `(k,)` or none.
        folder: Folder to write; it is written completely or not at all.
        names: Names of the columns of `x`.
        condition_names: Names of the columns of the condition.
        precision: `"float64"` or `"float32"`.
        batch: Fixed number of rows `n`, for runtimes that know static shapes only; None leaves it free.
        rows: Rows `(m, d)` on which programs and model are compared; None takes 1000 draws of the model.
        conditions: Conditions `(m, k)` of these rows for a conditional model; None draws standard normals.
        key_seed: Seed of the JAX key by which the comparison draws.
        force: Whether an earlier export is replaced.

    Raises:
        TypeError: The object is not a distribution.
        ValueError: The names do not fit the model.
        ImportError: The package flatbuffers is missing, which JAX needs here.
        FileExistsError: The folder exists and `force` is False, or it holds other files.

    Example:
        >>> import jax, tempfile, numpy as np, pushforward as pf
        >>> from pushforward.export import export_stablehlo
        >>> with tempfile.TemporaryDirectory() as home:
        ...     report = export_stablehlo(pf.StandardNormal((2,)), f"{home}/normal", names=["a", "b"])
        >>> report.ok, len(report.files)
        (True, 6)
    """
    name = "export_stablehlo"
    path = path_of(name, folder)
    functions = functions_of(name, distribution, names, condition_names, precision)
    if batch is not None:
        batch = check_int(name, "batch", batch, 1)
    package_of(name, "flatbuffers", "export")  # with which JAX writes programs
    check_folder_target(path, force, (*FILES, MANIFEST))
    exported = {function: _export(functions, function, batch) for function in functions.calls()}
    blobs = {function: bytes(program.serialize()) for function, program in exported.items()}
    custom = sorted({call for program in exported.values() for call in custom_calls(program.mlir_module())})
    expected = expected_of(name, functions, rows, conditions, key_seed)
    comparison = compare(expected, blobs, batch)
    files = {f"{function}.stablehlo": blob for function, blob in blobs.items()}
    files |= {f"{function}.mlirbc": bytes(program.mlir_module_serialized) for function, program in exported.items()}
    reasons = {call: REASONS.get(call, "an operation of the model that has no StableHLO of its own") for call in custom}
    facts = {
        "batch": batch,
        "platforms": list(PLATFORMS),
        "key": "threefry2x32, the two words of jax.random.key_data",
        "programs": _described(functions, batch),
        "custom_calls": reasons,
    }
    readme, packages = _readme(functions, batch, reasons), ("pushforward", "jax", "jaxlib", "numpy")
    return write_export(path, "stablehlo", functions, comparison, files, readme, facts, packages=packages, force=force)


def _export(functions: Functions, function: str, batch: int | None) -> export.Exported:
    with functions.precision():
        n = export.symbolic_shape("n")[0] if batch is None else batch
        arguments = functions.arguments(n)[function].values()
        rules = ((linalg.triangular_solve_p, mlir.lower_fun(substitute, multiple_results=False)),)
        run = jax.jit(functions.calls()[function])
        return export.export(run, platforms=PLATFORMS, _override_lowering_rules=rules)(*arguments)


def substitute(
    a: Array,
    b: Array,
    *,
    left_side: bool,
    lower: bool,
    transpose_a: bool,
    conjugate_a: bool,
    unit_diagonal: bool,
) -> Array:
    """`lax.linalg.triangular_solve` for real matrices in plain array operations, one row at a time.

    Args:
        a: Triangular matrices `(*batch, m, m)`.
        b: Right-hand sides `(*batch, m, n)`, or `(*batch, n, m)` unless `left_side`.
        left_side: Whether to solve `a x = b`, else `x a = b`.
        lower: Whether the lower triangle of `a` counts, else the upper one.
        transpose_a: Whether `a` stands for its transpose.
        conjugate_a: Ignored, because the numbers are real.
        unit_diagonal: Whether the diagonal is taken to be ones.
    """
    turned = transpose_a == left_side  # `x a = b` is solved transposed: exactly one of the two
    matrix = jnp.swapaxes(a, -1, -2) if turned else a
    right = b if left_side else jnp.swapaxes(b, -1, -2)
    m, forward = a.shape[-1], lower != turned

    def step(i: Array, x: Array) -> Array:
        row = i if forward else m - 1 - i
        # Rows that are not solved yet are zero in x, and so is the other triangle's share.
        coefficients = jax.lax.dynamic_slice_in_dim(matrix, row, 1, -2)
        own = jax.lax.dynamic_slice_in_dim(right, row, 1, -2) - coefficients @ x
        if not unit_diagonal:
            own = own / jax.lax.dynamic_slice_in_dim(coefficients, row, 1, -1)
        return jax.lax.dynamic_update_slice_in_dim(x, own, row, -2)

    x = jax.lax.fori_loop(0, m, step, jnp.zeros_like(right))
    return x if left_side else jnp.swapaxes(x, -1, -2)


def custom_calls(text: str) -> list[str]:
    """The targets of the custom calls in the text of a program."""
    return sorted(set(re.findall(r"stablehlo\.custom_call\s*@([\w.$]+)", text)))


def compare(expected: Expected, blobs: dict[str, bytes], batch: int | None) -> Comparison:
    """Compare serialised programs with the model, `batch` rows at a time if that number is fixed."""
    functions = expected.functions
    with functions.precision():
        programs = {function: export.deserialize(bytearray(blob)).call for function, blob in blobs.items()}

        def run(function: str, n: int, values: dict[str, Any]) -> np.ndarray:
            values["rows"] = np.arange(n, dtype=np.uint32)
            names = list(functions.arguments(n)[function])

            def call(*cut: Any) -> Any:
                own = dict(zip(["rows", *names], cut, strict=True))
                return programs[function](*(values[name] if name == "key_data" else own[name] for name in names))

            rows = [None if name == "key_data" else values[name] for name in names]
            return in_chunks(call, batch or n, values["rows"], *rows)

        return expected.compare(
            lambda x, c, key: run("log_prob", len(x), {"x": x, "condition": c, "key_data": key}),
            lambda n, c, key: run("sample", n, {"condition": c, "key_data": key}),
        )


def _described(functions: Functions, batch: int | None) -> dict[str, Any]:
    """The arguments and results of the programs, for `export.json`."""

    def described(argument: jax.ShapeDtypeStruct) -> dict[str, Any]:
        return {"shape": [n if n else "n" for n in argument.shape], "dtype": str(argument.dtype)}

    n: Any = batch or 0
    results = {"log_prob": [n or "n"], "sample": [n or "n", len(functions.names)]}
    programs = {}
    for function, arguments in functions.arguments(n).items():
        programs[function] = {
            "arguments": {argument: described(value) for argument, value in arguments.items()},
            "result": {"shape": results[function], "dtype": str(functions.dtype)},
        }
    return programs


def _readme(functions: Functions, batch: int | None, reasons: dict[str, str]) -> str:
    n, d, k = batch or "n", len(functions.names), len(functions.condition_names)
    given = ", condition" if k else ""
    key = "np.array([0, seed], np.uint32)"
    keyed = ", key, rows" if functions.needs_key else ""
    calls = f"log_prob(x{given}{keyed})  # ({n},)\n"
    calls += f"sample(key, rows{given})  # ({n}, {d}); key = {key}, rows = np.arange({n}, dtype=np.uint32)"
    fixed = f"The number of rows is fixed to {batch}: fill up shorter inputs, and cut the result."
    return README.format(
        precision=functions.dtype,
        platforms=" and ".join(PLATFORMS),
        x64=functions.dtype == np.float64,
        calls=calls,
        x=columns_in_words(functions, n),
        rows_text="The key words and row numbers are uint32.",
        batch_text=fixed if batch else "The number of rows is free.",
        integer="an int64" if functions.dtype == np.float64 else "an int32",
        numbers=", ".join(f"{number} for {platform}" for number, platform in enumerate(PLATFORMS)),
        calls_text="".join(f"They call `{call}`, which {reason}." for call, reason in reasons.items())
        or "They hold no custom call.",
        pushforward=version("pushforward"),
        jax=version("jax"),
    )
