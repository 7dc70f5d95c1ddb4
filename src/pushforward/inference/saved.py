"""A fitted model of simulations as a folder of JSON and safetensors with a manifest, and back."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pushforward._checks import message
from pushforward._files import parse_json
from pushforward._json import to_json
from pushforward.inference.simulation_model import AbstractSimulationModel
from pushforward.io.errors import UntrustedModelError
from pushforward.io.files import read_folder, says_of_itself, write_folder
from pushforward.io.weights import weights_from_bytes, weights_to_bytes
from pushforward.training import FitResult, Verdict

FORMAT = "pushforward.inference"
FORMAT_VERSION = 1

Model = TypeVar("Model", bound=AbstractSimulationModel)


def save(model: AbstractSimulationModel, folder: str | os.PathLike, force: bool) -> None:
    """Write a fitted model to a folder.

    Args:
        model: A fitted `NPE`, `NLE` or `JointPosterior`.
        folder: Folder to write.
        force: Whether an existing one is replaced.
    """
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "pushforward": version("pushforward"),
        "kind": type(model).__name__,
        "names": list(model.prior_.names),
        "prior": model.prior_.spec,
        "arguments": {name: getattr(model, name) for name in model.ARGUMENTS},
        "objects": [name for name in model.OBJECTS if getattr(model, name) is not None],
        "n_failed": model.n_failed_,
        "fit": model._facts(),
    }
    result = model.result_
    history = {name: [_number(v) for v in column] for name, column in result.history.items()}
    verdict = {name: _number(v) for name, v in dataclasses.asdict(result.verdict).items()}
    files = {
        "config.json": (to_json(config) + "\n").encode(),
        "metrics.json": (to_json({"history": history, "verdict": verdict}) + "\n").encode(),
        "model.safetensors": weights_to_bytes(model.distribution_),
    }
    write_folder(Path(folder), files, force)


def is_inference(folder: str | os.PathLike) -> bool:
    """Whether a folder holds a model of simulations, as far as its first file says."""
    return says_of_itself(folder, FORMAT)


def load(kind: type[Model], folder: str | os.PathLike, prior: Any, **arguments: Any) -> Model:
    """Read a model from a folder.

    Args:
        kind: Class of the model.
        folder: Folder that `save` wrote.
        prior: The prior, if the folder cannot hold it.
        arguments: Arguments of the class that a folder cannot hold, such as an embedding.

    Raises:
        UntrustedModelError: The folder is damaged, or holds another model.
        ValueError: A prior is missing.
    """
    path = Path(folder)
    files = read_folder(path)
    config, metrics = (parse_json(files[name], path / name) for name in ("config.json", "metrics.json"))
    label, name = str(path), kind.__name__
    try:
        if config["format"] != FORMAT or config["format_version"] != FORMAT_VERSION:
            raise UntrustedModelError(f"{label}: expected a model of simulations, got another folder.")
        if config["kind"] != name:
            raise UntrustedModelError(f"{label}: expected {name}, got {config['kind']}. Load it by its own class.")
        stored = config["prior"]
        if stored is None and prior is None:
            fix = "Pass the one that it was fitted with: load(folder, prior=...)."
            raise ValueError(message(f"{name}.load", f"the prior of {label}, which a folder cannot hold", "none", fix))
        objects = {argument: arguments.get(argument) for argument in kind.OBJECTS}
        for argument, value in objects.items():
            if (value is not None) != (argument in config["objects"]):
                expected = f"{'an' if value is None else 'no'} {argument} for {label}"
                got = "none" if value is None else "one"
                raise ValueError(message(f"{name}.load", expected, got, "Pass a module like the one that was trained."))
        kept = {argument: config["arguments"][argument] for argument in kind.ARGUMENTS}
        make: Any = kind
        model: Model = make(stored if prior is None else prior, **kept, **objects)
        if list(model.prior_.names) != config["names"] and stored is not None:
            raise UntrustedModelError(f"{label}: the names of the prior are not those of the model.")
        model.n_failed_ = int(config["n_failed"])
        template = _restored(model, config["fit"], label)
        model.distribution_ = weights_from_bytes(template, files["model.safetensors"], label)
        model.result_ = _result(model.distribution_, metrics)
    except (KeyError, TypeError, IndexError) as error:
        raise UntrustedModelError(f"{label}: config.json is not what a model of simulations needs: {error}.") from error
    return model


def load_simulation_model(folder: str | os.PathLike) -> AbstractSimulationModel:
    """Read an `NPE`, `NLE` or `JointPosterior` from a folder, whichever it says it holds.

    Args:
        folder: Folder that `save` wrote.

    Raises:
        UntrustedModelError: The folder is damaged, or holds something else.
    """
    from pushforward.inference import NLE, NPE, JointPosterior

    path = Path(folder) / "config.json"
    kind = parse_json(read_folder(Path(folder))["config.json"], path).get("kind")
    kinds: dict[str, type[AbstractSimulationModel]] = {each.__name__: each for each in (NPE, NLE, JointPosterior)}
    chosen: type[AbstractSimulationModel] = kinds.get(str(kind)) or NPE
    return chosen.load(folder)


def _restored(model: AbstractSimulationModel, facts: Mapping[str, Any], label: str) -> Any:
    try:
        return model._restore(facts)
    except ValueError as error:
        raise UntrustedModelError(f"{label}: {error}.") from error


def _result(flow: Any, metrics: Mapping[str, Any]) -> FitResult:
    history = {name: np.array([np.nan if v is None else v for v in c]) for name, c in metrics["history"].items()}
    return FitResult(flow, history, Verdict(**metrics["verdict"]))


def _number(value: Any) -> Any:
    """A value as JSON has it: a number that is not finite is null."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return json.loads(to_json(value))
