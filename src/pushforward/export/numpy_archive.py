"""Export to one `.npz` of a model, and the module beside it that runs it with NumPy alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward._files import read_regular
from pushforward.distributions import AbstractDistribution
from pushforward.export import numpy_runtime
from pushforward.export.numpy_program import Program
from pushforward.export.report import Expected, ExportReport, expected_of, path_of
from pushforward.export.trace import Functions, Precision, functions_of
from pushforward.io.files import check_file_target, write_file

MODEL, RUNTIME = "model.npz", "pushforward_numpy.py"
# Rows that are computed together. Fewer cost more calls of NumPy per row; more make a single row slow.
CHUNK = 512


def export_numpy(
    distribution: AbstractDistribution,
    path: str | os.PathLike,
    *,
    names: Sequence[str],
    condition_names: Sequence[str] = (),
    precision: Precision = "float64",
    rows: Any = None,
    conditions: Any = None,
    key_seed: int = 0,
    force: bool = False,
) -> ExportReport:
    """Write a model's log-density and sampler for NumPy alone, and compare them with the model.

    Two files: `model.npz`, which holds the programs and their constants, and `pushforward_numpy.py` beside it, which
    runs them and needs neither JAX nor this library:

        from pushforward_numpy import load
        model = load("model.npz")
        model.log_prob(x)             # nats; log_prob(x, condition) for a conditional model
        model.sample(1000, seed=0)    # the rows of distribution.sample(jax.random.key(0), 1000)

    The programs are traced for 512 rows; the runtime cuts longer inputs and fills up shorter ones. They are lists of
    operations from a closed table: nothing in the file is executed, and no pickle is in it.

    Args:
        distribution: over rows `(d,)`, given rows `(k,)` or nothing; a `Flow`, or anything with its contract.
        path: a folder, made if it is missing, or a file that ends in `.npz`.
        names: the columns of `x`.
        condition_names: the columns of the condition.
        precision: `"float64"` or `"float32"`.
        rows: `(m, d)` to compare on, or None for 1000 draws of the model.
        conditions: `(m, k)`, for a conditional model; None draws standard normals.
        key_seed: of the key for the comparison.
        force: replace files of an earlier export.

    Raises:
        TypeError: not a distribution.
        ValueError: the names do not fit the model, or it needs an operation that the runtime does not have, such as
            one of a bijection of your own.
        FileExistsError: a file exists and `force` is False.

    Example:
        >>> import jax, tempfile, numpy as np, pushforward as pf
        >>> from pushforward.export import export_numpy
        >>> from pushforward.export.numpy_runtime import load
        >>> with tempfile.TemporaryDirectory() as home:
        ...     report = export_numpy(pf.StandardNormal((2,)), home, names=["a", "b"])
        ...     model = load(f"{home}/model.npz")
        >>> report.ok, model.log_prob(np.zeros((1, 2))).round(4).tolist()
        (True, [-1.8379])
    """
    name = "export_numpy"
    target = path_of(name, path)
    functions = functions_of(name, distribution, names, condition_names, precision)
    if target.suffix != ".npz":
        if target.exists() and not target.is_dir():
            raise FileExistsError(message(name, "a folder, or a file that ends in .npz", f"{target}", "Name another."))
        target = target / MODEL
    runtime = target.with_name(RUNTIME)
    source = Path(numpy_runtime.__file__).read_bytes()
    # The same module may be there already, from the export of another model.
    same = runtime.is_file() and not runtime.is_symlink() and read_regular(runtime, 2**24) == source
    for file in [target] if same else [target, runtime]:
        if file.parent.is_dir():
            check_file_target(file, force)
    program, constants = _program(functions)
    expected = expected_of(name, functions, rows, conditions, key_seed)
    first = _archive(program, constants)
    model = numpy_runtime.load(io.BytesIO(first))
    seconds: dict[str, float] = {}
    comparison = expected.compare(*_timed(model, expected, seconds))
    # The same programs; the comparison stands with them.
    program["information"] |= comparison.record()
    data = _archive(program, constants)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not same:
        write_file(runtime, lambda file: file.write(source), force)
    write_file(target, lambda file: file.write(data), force)
    return ExportReport(
        format="numpy-npz",
        path=target,
        files={str(file): hashlib.sha256(blob).hexdigest() for file, blob in ((target, data), (runtime, source))},
        precision=str(functions.dtype),
        rows=comparison.rows,
        max_abs_error_log_prob=comparison.max_abs_error_log_prob,
        max_abs_error_sample=comparison.max_abs_error_sample,
        ok=comparison.ok,
        seconds=seconds,
    )


def _program(functions: Functions) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The JSON of the programs, and the constants."""
    program, numbers = Program(), {}
    with functions.precision():
        for function, arguments in functions.arguments(CHUNK).items():
            numbers[function] = program.add(functions.calls()[function], list(arguments.values()))
    record = {
        "format": "pushforward-numpy",
        "version": numpy_runtime.VERSION,
        "names": list(functions.names),
        "condition_names": list(functions.condition_names),
        "dtype": str(functions.dtype),
        "chunk": CHUNK,
        "needs_key": functions.needs_key,
        "information": {
            "units": "nats",
            **{package: version(package) for package in ("pushforward", "jax", "numpy")},
        },
        **numbers,
        **program.table(),
    }
    return record, program.constants


def _archive(program: dict[str, Any], constants: list[np.ndarray]) -> bytes:
    text = json.dumps(program, allow_nan=False, separators=(",", ":")).encode("utf-8")
    file = io.BytesIO()
    arrays = {f"c{n}": array for n, array in enumerate(constants)}
    np.savez_compressed(file, allow_pickle=False, program=np.frombuffer(text, np.uint8), **arrays)
    return file.getvalue()


def _timed(model: Any, expected: Expected, seconds: dict[str, float]) -> tuple[Callable, Callable]:
    def log_prob(x: Any, condition: Any, key_data: Any) -> np.ndarray:
        start = time.perf_counter()
        out = model.log_prob(x, condition, seed=key_data)
        seconds["log_prob"] = time.perf_counter() - start
        return out

    def sample(n: int, condition: Any, key_data: Any) -> np.ndarray:
        start = time.perf_counter()
        out = model.sample(n, condition, seed=key_data)
        seconds["sample"] = time.perf_counter() - start
        return out

    return log_prob, sample
