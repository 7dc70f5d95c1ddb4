"""What an export has written, and how far its numbers are from those of the model."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pushforward._checks import check_int, message
from pushforward.export.exported_functions import Functions, model_log_prob, model_sample
from pushforward.io.files import MANIFEST, write_folder

# Number of rows that are compared when the caller gives none.
N_ROWS = 1000
# The largest difference that passes, relative to values above 1 and absolute below. Two runtimes round differently.
LIMITS = {"float64": 1e-6, "float32": 1e-3}


@dataclass(frozen=True)
class ExportReport:
    """The outcome of `export_stablehlo` or `export_onnx`.

    Args:
        format: `"stablehlo"` or `"onnx"`.
        path: Folder of the export.
        files: SHA-256 of each file that was written, by its path.
        precision: `"float64"` or `"float32"`.
        rows: Number of rows that were compared with the model in float64.
        max_abs_error_log_prob: The largest difference of their log-densities, in nats.
        max_abs_error_sample: The largest difference between as many drawn rows and those that the model draws in this
            precision, in the units of the data.
        ok: Whether no difference is above `LIMITS` (1e-6 in float64), relative to values above 1.
        custom_calls: Calls in the programs that only JAX's own loader knows, each with its reason; empty for ONNX.
    """

    format: str
    path: Path
    files: Mapping[str, str]
    precision: str
    rows: int
    max_abs_error_log_prob: float
    max_abs_error_sample: float
    ok: bool
    custom_calls: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        found = (
            f"on {self.rows} rows its log-densities differ from the model's by at most "
            f"{self.max_abs_error_log_prob:.1e} nats, its samples by at most {self.max_abs_error_sample:.1e}"
        )
        if self.ok:
            return f"Exported to {self.path} ({self.format}, {self.precision}): {found}."
        limit = LIMITS[self.precision]
        advice = "Export in float64." if self.precision == "float32" else "Do not use it; please report it."
        return f"Exported to {self.path}, but {found}: more than the {limit:.0e} allowed. {advice}"


@dataclass(frozen=True)
class Comparison:
    """Differences between the exported programs and the model, for the files and for the report."""

    rows: int
    max_abs_error_log_prob: float
    max_abs_error_sample: float
    ok: bool

    def record(self) -> dict[str, Any]:
        """The comparison as plain JSON, in which an error that is not finite is None."""
        errors = {"log_prob": self.max_abs_error_log_prob, "sample": self.max_abs_error_sample}
        finite = {f"max_abs_error_{k}": v if np.isfinite(v) else None for k, v in errors.items()}
        return {"compared_rows": self.rows, **finite, "ok": self.ok}


@dataclass(frozen=True)
class Expected:
    """What the model gives on some rows: log-densities and draws, with which programs are compared.

    Args:
        functions: Functions that are exported.
        x: Rows `(n, d)`.
        condition: Conditions `(n, k)`, or None.
        key_data: The two words of a key.
        draws: Sample of `n` rows that the model draws by this key and these conditions, in the precision of the
            functions.
    """

    functions: Functions
    x: np.ndarray
    condition: np.ndarray | None
    key_data: np.ndarray
    draws: np.ndarray

    @functools.cached_property
    def log_prob(self) -> np.ndarray:
        """The model's log-densities of the rows."""
        return model_log_prob(self.functions, self.x, self.condition, self.key_data)

    def compare(self, log_prob: Callable[..., Any], sample: Callable[..., Any]) -> Comparison:
        """Compare two exported functions with the model.

        Args:
            log_prob: Function of `x`, the condition (None without one) and the words of the key.
            sample: Function of the number of rows, the condition and the words of the key.
        """
        limit, dtype = LIMITS[str(self.functions.dtype)], self.functions.dtype
        own = None if self.condition is None else self.condition.astype(dtype)
        got = np.asarray(log_prob(self.x.astype(dtype), own, self.key_data), np.float64)
        draws = np.asarray(sample(len(self.x), own, self.key_data), np.float64)
        worst, relative = _largest(got, self.log_prob)
        worst_draw, relative_draw = _largest(draws, self.draws)
        ok = relative <= limit and relative_draw <= limit  # false for NaN
        return Comparison(len(self.x), worst, worst_draw, ok)


def _largest(got: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest difference, and the largest relative to max(1, |expected|); equal infinities and NaNs agree."""
    if got.shape != expected.shape:
        return np.inf, np.inf
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(got - expected))
    difference = np.where(np.isnan(difference), np.inf, difference)
    relative = difference / np.where(np.isfinite(expected), np.maximum(1.0, np.abs(expected)), 1.0)
    return float(difference.max(initial=0.0)), float(relative.max(initial=0.0))


def expected_of(name: str, functions: Functions, rows: Any, conditions: Any, key_seed: int) -> Expected:
    """The rows on which programs are compared, given or drawn from the model, with what the model gives on them.

    Raises:
        ValueError: Rows or conditions have another shape, or rows lack the conditions that they need.
    """
    d, k = len(functions.names), len(functions.condition_names)
    key_seed = check_int(name, "key_seed", key_seed, 0, 2**64 - 1)
    key_data = np.array([key_seed >> 32, key_seed & 0xFFFFFFFF], np.uint32)
    if rows is not None and k and conditions is None:
        fix = "Pass conditions= too, one row for each."
        raise ValueError(message(name, "rows with their conditions", "rows alone", fix))
    x = None if rows is None else _table(name, "rows", rows, d)
    given = None
    if k:
        drawn = np.random.default_rng(key_seed).standard_normal((N_ROWS, k))
        given = _table(name, "conditions", drawn if conditions is None else conditions, k)
        if x is not None and len(x) != len(given):
            raise ValueError(message(name, f"{len(x)} conditions, one for each row", f"{len(given)}", "Cut them."))
    n = len(x) if x is not None else N_ROWS if given is None else len(given)
    # What float32 cannot hold is rounded first, for the model too.
    given = None if given is None else given.astype(functions.dtype).astype(np.float64)
    draws = model_sample(functions, n, given, key_data)
    x = (draws if x is None else x).astype(functions.dtype).astype(np.float64)
    return Expected(functions, x, given, key_data, draws)


def _table(name: str, what: str, values: Any, width: int) -> np.ndarray:
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.shape[1] != width or not len(table):
        fix = "Pass some hundred rows, one column per name."
        raise ValueError(message(name, f"{what} (n, {width})", f"shape {table.shape}", fix))
    return table


def columns_in_words(functions: Functions, n: Any = "n") -> str:
    """The columns of the arguments, for the README of an export of `n` rows."""
    d, k = len(functions.names), len(functions.condition_names)
    columns = f"`x` is `({n}, {d})`: {', '.join(functions.names)}."
    return columns + (f" `condition` is `({n}, {k})`: {', '.join(functions.condition_names)}." if k else "")


README_END = """
`export.json` has the names, shapes and types of the arguments, versions, the SHA-256 of each file, and how far the
programs were from the model on {} rows. `manifest.sha256` can be checked with `sha256sum -c`.
"""


def write_export(
    path: Path,
    kind: str,
    functions: Functions,
    comparison: Comparison,
    programs: Mapping[str, bytes],
    readme: str,
    facts: Mapping[str, Any],
    *,
    packages: Sequence[str],
    force: bool,
) -> ExportReport:
    """Write the folder of an export: its programs, its README and `export.json`.

    Args:
        path: Folder to write.
        kind: `"stablehlo"` or `"onnx"`.
        functions: Functions that are exported.
        comparison: Comparison of the programs with the model.
        programs: Contents of the files of programs, by name.
        readme: Beginning of the README.
        facts: Further facts for `export.json`.
        packages: Packages whose versions `export.json` has.
        force: Whether an earlier export is replaced.
    """

    def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
        return {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}

    precision = str(functions.dtype)
    record = {
        "format": f"pushforward-{kind}",
        "format_version": 1,
        "versions": {package: version(package) for package in packages},
        "names": list(functions.names),
        "condition_names": list(functions.condition_names),
        "units": "nats",
        "precision": precision,
        **facts,
        "comparison": comparison.record(),
        "sha256": hashes(programs),
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    files = {"export.json": text.encode(), **programs}
    files["README.md"] = (readme + README_END.format(comparison.rows)).encode()
    write_folder(path, files, force, (*files, MANIFEST))
    return ExportReport(
        format=kind,
        path=path,
        files={str(path / file): sha for file, sha in hashes(files).items()},
        precision=precision,
        rows=comparison.rows,
        max_abs_error_log_prob=comparison.max_abs_error_log_prob,
        max_abs_error_sample=comparison.max_abs_error_sample,
        ok=comparison.ok,
        custom_calls=facts.get("custom_calls", {}),
    )


def path_of(name: str, path: Any) -> Path:
    """Convert a string or a path to a path.

    Raises:
        TypeError: The value is neither a string nor a path.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(message(name, "a path", type(path).__name__, "Name a folder."))
    return Path(path)
