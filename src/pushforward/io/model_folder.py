"""A fitted model as a folder: `config.json`, `model.safetensors`, `metrics.json`, `manifest.sha256`.

Loading never runs code from the folder and never allocates more than the files that are there: the config is held
against a schema with bounds, the weights file is counted before a model of the config's size is even imagined, the
model is built as shapes alone, and only then filled.
"""

from __future__ import annotations

import inspect
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward._files import parse_json
from pushforward.bijections import Standardize
from pushforward.distributions import DiagonalNormal, Flow, StandardNormal, StudentT
from pushforward.flows import ZOO
from pushforward.io.errors import UntrustedModelError
from pushforward.io.files import read_folder, write_folder
from pushforward.io.schema import FORMAT_VERSION, Config, FlowConfig, Metrics, validate
from pushforward.io.weights import fill, named_arrays, parse_weights, weights_to_bytes
from pushforward.training import in_data_units

BASES: dict[str, Any] = {
    "normal": lambda dim: StandardNormal((dim,)),
    "student_t": lambda dim: StudentT(5.0, (dim,)),
    "diagonal_normal": lambda dim: DiagonalNormal(np.zeros(dim), np.ones(dim)),
}


@dataclass(frozen=True)
class ModelParts:
    """What a model folder holds, on its way in or out.

    Args:
        name: of the flow, in `pushforward.flows.ZOO`.
        arguments: of that function, `dim` and `condition_dim` among them, without `base`.
        base: of the latent: `"normal"`, `"student_t"` or `"diagonal_normal"`.
        flow: the flow in the data's units, by `training.in_data_units`: of the events, then of the condition if any.
        columns: all columns, conditions among them, in the order of the table.
        given: those that are conditions.
        named: whether the table had names; otherwise they are `x0`, `x1`, ...
        rows: how many rows the model was fitted to.
        history: `FitResult.history`.
        verdict: the fields of `FitResult.verdict`.
    """

    name: str
    arguments: Mapping[str, Any]
    base: str
    flow: Flow
    columns: tuple[str, ...]
    given: tuple[str, ...]
    named: bool
    rows: int
    history: Mapping[str, np.ndarray]
    verdict: Mapping[str, Any]


def save_model(parts: ModelParts, folder: str | os.PathLike, *, force: bool = False) -> None:
    """Write a model folder: complete under its name, or not at all.

    Args:
        parts: the model.
        folder: the target.
        force: replace an existing model folder.

    Raises:
        FileExistsError: the folder exists and `force` is False, or holds files that are no part of a model.
        ValueError: the model is not one that could be loaded again.
    """
    config = {
        "format": "pushforward",
        "format_version": FORMAT_VERSION,
        "pushforward_version": version("pushforward"),
        "flow": {"name": parts.name, "arguments": _all_arguments(parts), "base": parts.base},
        "columns": list(parts.columns),
        "given": list(parts.given),
        "named": parts.named,
    }
    metrics = {
        "rows": parts.rows,
        "history": {name: [_number(value) for value in column] for name, column in parts.history.items()},
        "verdict": {name: _number(value) for name, value in parts.verdict.items()},
    }
    files = {
        "config.json": _json(config),
        "metrics.json": _json(metrics),
        "model.safetensors": weights_to_bytes(parts.flow),
    }
    _parts(files, Path("the model"))  # what could not be loaded is not written
    write_folder(Path(folder), files, force)


def _all_arguments(parts: ModelParts) -> dict[str, Any]:
    """The arguments, defaults included: a later version may have others."""
    signature = inspect.signature(ZOO[parts.name]).parameters.values()
    defaults = {p.name: p.default for p in signature if p.default is not p.empty and p.name != "base"}
    return {**defaults, **parts.arguments}


def load_model(folder: str | os.PathLike) -> ModelParts:
    """Read a model folder, trusting nothing in it.

    Raises:
        FileNotFoundError: there is no such folder.
        UntrustedModelError: a file is missing, damaged, altered, out of bounds, or does not fit the others.
    """
    path = Path(folder)
    return _parts(read_folder(path), path)


def _parts(files: Mapping[str, bytes], path: Path) -> ModelParts:
    config: Config = validate(Config, parse_json(files["config.json"], path / "config.json"), f"{path / 'config.json'}")
    record = parse_json(files["metrics.json"], path / "metrics.json")
    metrics: Metrics = validate(Metrics, record, f"{path / 'metrics.json'}")
    label = f"{path / 'model.safetensors'}"
    entries = parse_weights(files["model.safetensors"], label)
    flow = fill(_skeleton(config.flow, entries, path), entries, label)
    _check_values(flow, label)
    return ModelParts(
        name=config.flow.name,
        arguments=config.flow.arguments.given(),
        base=config.flow.base,
        flow=flow,
        columns=tuple(config.columns),
        given=tuple(config.given),
        named=config.named,
        rows=metrics.rows,
        history={
            name: np.array([math.nan if value is None else value for value in column])
            for name, column in metrics.history.items()
        },
        verdict=metrics.verdict.model_dump(),
    )


def _skeleton(config: FlowConfig, entries: Mapping[str, Any], path: Path) -> Any:
    """The model as shapes alone, without memory for its weights."""
    arguments, label = config.arguments, f"{path / 'config.json'}"
    accepted = inspect.signature(ZOO[config.name]).parameters
    foreign = [name for name in arguments.given() if name not in accepted]
    if foreign:
        raise UntrustedModelError(f"{label}: flow.arguments: {config.name} has no argument {foreign[0]}.")
    # Each network has at least these weights. Checked first, because a large model costs time even as shapes.
    hidden = (arguments.depth - 1) * arguments.width
    least = arguments.n_layers * arguments.width * (arguments.dim + hidden)
    held = sum(math.prod(entry["shape"]) for entry in entries.values())
    if least > held:
        raise UntrustedModelError(
            f"{label}: describes a model of at least {least:,} numbers, but model.safetensors holds {held:,}."
        )

    def build(key: Any) -> Flow:
        base = BASES[config.base](arguments.dim)
        return ZOO[config.name](key, base=base, **arguments.given())

    try:
        flow = eqx.filter_eval_shape(build, jax.random.key(0))
    except (ValueError, TypeError) as error:  # the zoo's own checks of its arguments
        raise UntrustedModelError(f"{label}: flow: {' '.join(str(error).split())[:300]}") from error
    # The units stay NumPy arrays, which keep float64.
    flow = in_data_units(flow, _units(arguments.dim))
    return flow if arguments.condition_dim is None else in_data_units(flow, None, _units(arguments.condition_dim))


def _units(dim: int) -> Standardize:
    return Standardize(np.zeros(dim), np.ones(dim))


def _check_values(flow: Flow, label: str) -> None:
    """What shapes do not show: scales that are positive, indices that are permutations."""
    arrays = named_arrays(flow)
    for name, values in arrays.items():
        if name.endswith("scale.value") and not np.all(np.asarray(values) > 0):
            raise UntrustedModelError(f"{label}: {name}: a scale of the standardisation is not positive.")
        if name.endswith(".indices"):
            inverse = np.asarray(arrays[name.removesuffix("indices") + "inverse_indices"])
            there, length = np.asarray(values), inverse.shape[-1]
            inside = np.all((there >= 0) & (there < length)) and np.all((inverse >= 0) & (inverse < length))
            if not inside or np.any(np.take_along_axis(there, inverse, -1) != np.arange(length)):
                raise UntrustedModelError(f"{label}: {name} is not a permutation.")


def _number(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(value, np.integer) else number


def _json(value: Any) -> bytes:
    def other(item: Any) -> Any:
        if isinstance(item, np.ndarray | np.generic):
            return item.tolist()
        raise ValueError(f"save_model: {item!r} cannot be saved. Use arguments that are names, numbers and lists.")

    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False, default=other) + "\n").encode("utf-8")
