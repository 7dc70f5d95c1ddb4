"""A fitted model of simulations as a folder of JSON and safetensors with a manifest, and back."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward._checks import message
from pushforward._files import parse_json
from pushforward._json import to_json
from pushforward.distributions.ensemble import ensemble_like
from pushforward.distributions.scoring_form import evaluation_form
from pushforward.inference.coordinates import ObservationUnits
from pushforward.inference.simulations import FailureModel
from pushforward.io.errors import UntrustedModelError
from pushforward.io.files import read_folder, write_folder
from pushforward.io.weights import weights_from_bytes, weights_to_bytes
from pushforward.training import FitResult, Verdict

FORMAT = "pushforward.inference"
FORMAT_VERSION = 1
# What a folder keeps of the arguments of a model, by name.
ARGUMENTS = ("flow", "flow_options", "n_members", "failed", "max_epochs", "max_seconds", "random_state")
MOST_NUMBERS = 100_000  # largest observation in a file


def save(posterior: Any, folder: str | os.PathLike, force: bool) -> None:
    """Write a fitted model to a folder.

    Args:
        posterior: A fitted `NPE`.
        folder: Folder to write.
        force: Whether an existing one is replaced.
    """
    failures = posterior.failures_
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "pushforward": version("pushforward"),
        "kind": type(posterior).__name__,
        "names": list(posterior.prior_.names),
        "prior": posterior.prior_.spec,
        "arguments": {name: getattr(posterior, name) for name in ARGUMENTS},
        "embedding": posterior.embedding is not None,
        "x_shape": list(posterior.x_shape_),
        "x_names": None if posterior.x_names_ is None else list(posterior.x_names_),
        "units": posterior.units_.to_json(),
        "members": posterior.distribution_.size,
        "n_simulations": posterior.n_simulations_,
        "n_failed": posterior.n_failed_,
        "failures": None if failures is None else failures.coefficients.tolist(),
    }
    result = posterior.result_
    history = {name: [_number(v) for v in column] for name, column in result.history.items()}
    verdict = {name: _number(v) for name, v in dataclasses.asdict(result.verdict).items()}
    files = {
        "config.json": (to_json(config) + "\n").encode(),
        "metrics.json": (to_json({"history": history, "verdict": verdict}) + "\n").encode(),
        "model.safetensors": weights_to_bytes(posterior.distribution_),
    }
    write_folder(Path(folder), files, force)


def is_inference(folder: str | os.PathLike) -> bool:
    """Whether a folder holds a model of simulations, as far as its first file says."""
    path = Path(folder) / "config.json"
    try:
        with path.open("rb") as file:
            start = file.read(200)
    except OSError:
        return False
    return FORMAT.encode() in start


def load(folder: str | os.PathLike, prior: Any, embedding: Any) -> Any:
    """Read a model from a folder.

    Args:
        folder: Folder that `save` wrote.
        prior: The prior, if the folder cannot hold it.
        embedding: A module like the one that was trained.

    Raises:
        UntrustedModelError: The folder is damaged, or holds another model.
        ValueError: A prior or an embedding is missing, or is not needed.
    """
    from pushforward.inference.posterior import NPE

    path = Path(folder)
    files = read_folder(path)
    config, metrics = (parse_json(files[name], path / name) for name in ("config.json", "metrics.json"))
    label = str(path)
    try:
        if config["format"] != FORMAT or config["format_version"] != FORMAT_VERSION or config["kind"] != NPE.__name__:
            raise UntrustedModelError(f"{label}: expected a posterior of a simulator, got another model.")
        stored = config["prior"]
        if stored is None and prior is None:
            fix = "Pass the one that it was fitted with: load(folder, prior=...)."
            raise ValueError(message("NPE.load", f"the prior of {label}, which a folder cannot hold", "none", fix))
        if config["embedding"] != (embedding is not None):
            got = "one" if embedding is not None else "none"
            expected = f"{'an embedding' if config['embedding'] else 'no embedding'} for {label}"
            raise ValueError(message("NPE.load", expected, got, "Pass a module like the one that was trained."))
        arguments = {name: config["arguments"][name] for name in ARGUMENTS}
        posterior = NPE(stored if prior is None else prior, embedding=embedding, **arguments)
        if list(posterior.prior_.names) != config["names"] and stored is not None:
            raise UntrustedModelError(f"{label}: the names of the prior are not those of the model.")
        shape = tuple(int(size) for size in config["x_shape"])
        if not 0 < int(np.prod(shape)) <= MOST_NUMBERS or min(shape) < 1:
            raise UntrustedModelError(f"{label}: observations of shape {shape} are no observations.")
        posterior.x_shape_ = shape
        posterior.x_names_ = None if config["x_names"] is None else tuple(str(name) for name in config["x_names"])
        posterior.units_ = ObservationUnits.from_json(config["units"])
        if posterior.units_.loc.shape != (int(np.prod(shape)),):
            raise UntrustedModelError(f"{label}: the units are not those of observations of shape {shape}.")
        posterior.n_simulations_, posterior.n_failed_ = int(config["n_simulations"]), int(config["n_failed"])
        failures = config["failures"]
        posterior.failures_ = None if failures is None else FailureModel(np.array(failures, np.float64))
        blueprint = posterior._blueprint()
        member = evaluation_form(eqx.filter_eval_shape(blueprint.member, jax.random.key(0)))
        template = ensemble_like(member, int(config["members"]))
        posterior.distribution_ = weights_from_bytes(template, files["model.safetensors"], label)
        posterior.result_ = _result(posterior.distribution_, metrics)
    except (KeyError, TypeError, IndexError) as error:
        raise UntrustedModelError(f"{label}: config.json is not what a posterior needs: {error}.") from error
    return posterior


def _result(flow: Any, metrics: Mapping[str, Any]) -> FitResult:
    history = {name: np.array([np.nan if v is None else v for v in c]) for name, c in metrics["history"].items()}
    return FitResult(flow, history, Verdict(**metrics["verdict"]))


def _number(value: Any) -> Any:
    """A value as JSON has it: a number that is not finite is null."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return json.loads(to_json(value))
