"""A fitted detector as a folder of JSON and safetensors with a manifest, and back.

`config.json` says what the detector is; `detector.safetensors` holds the calibration and the arrays of its scores; and
each density lies beside them in the files of a model folder, such as `density-0.config.json`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pushforward._files import parse_json, read_manifested
from pushforward._json import to_json
from pushforward.anomalies.base import ScoreParts
from pushforward.anomalies.calibration import Calibration
from pushforward.anomalies.scores import FITTED
from pushforward.io.errors import UntrustedModelError
from pushforward.io.files import CARD, CONTENTS, DETECTOR, MAX_BYTES, says_of_itself, write_folder
from pushforward.io.weights import arrays_from_bytes, weights_to_bytes
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.stored import fill, parameters_of, to_parts
from pushforward.tables.modelling.folder import model_files, model_parts
from pushforward.tables.modelling.records import Count, Name, Number, Strict, Version, validate

if TYPE_CHECKING:
    from pushforward.anomalies.detector import FlowOutlierDetector

CONFIG, ARRAYS = "config.json", "detector.safetensors"
# Densities of one detector, and numbers of a calibration.
MOST_DENSITIES, MOST_ROWS = 100, 2**27
CAPS = {
    CONFIG: 2**23,
    ARRAYS: MAX_BYTES["model.safetensors"],
    **{f"density-{k}.{name}": MAX_BYTES[name] for k in range(MOST_DENSITIES) for name in CONTENTS},
}
# A detector may replace a density.
KNOWN = (*CAPS, *MAX_BYTES)
# What a folder keeps of the arguments of a detector as they are.
ARGUMENTS = ("contamination", "fpr", "calibration", "calibration_fraction", "n_folds")
CALIBRATION = ("scores", "folds", "rows")

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,64}$")]


class ScoreRecord(Strict):
    """A fitted score: its name, its settings, the names of its arrays, and the numbers of its densities."""

    name: Word
    settings: dict[str, Any]
    arrays: Annotated[list[Word], Field(max_length=10_000)]
    densities: dict[Word, Annotated[int, Field(ge=0, lt=MOST_DENSITIES)]]


class DetectorRecord(Strict):
    """`config.json` of a detector."""

    format: Literal["pushforward.detector"]
    format_version: Literal[1]
    pushforward_version: Version
    contamination: Literal["auto"] | Annotated[float, Field(gt=0, le=0.5)]
    fpr: Annotated[float, Field(gt=0, lt=1)]
    calibration: Literal["auto", "split", "cross"]
    calibration_fraction: Annotated[float, Field(gt=0, lt=1)]
    n_folds: Annotated[int, Field(ge=2, le=2**31)]
    random_state: Annotated[int, Field(ge=0, lt=2**32)] | None
    n_features: Count
    names: Annotated[list[Name], Field(max_length=2**20)] | None
    offset: Number
    kind: Literal["split", "cross", "clean", "validation"]
    models: Annotated[list[ScoreRecord], Field(min_length=1, max_length=MOST_DENSITIES)]


def save_detector(detector: FlowOutlierDetector, folder: str | os.PathLike, *, force: bool) -> None:
    """Write a fitted detector to a folder; see `FlowOutlierDetector.save`.

    Args:
        detector: The fitted detector.
        folder: Folder to write.
        force: Whether an existing one is replaced.
    """
    known: dict[int, int] = {}
    files: dict[str, bytes] = {}
    arrays: dict[str, np.ndarray] = {}
    records: list[dict[str, Any]] = []
    for i, model in enumerate(detector.models_):
        parts = model.to_parts()
        places = {}
        for name, density in parts.densities.items():
            if id(density) not in known:  # scores may share a density
                known[id(density)] = k = len(known)
                files |= {f"density-{k}.{part}": data for part, data in model_files(to_parts(density)).items()}
            places[name] = known[id(density)]
        arrays |= {f"{i}.{name}": np.asarray(array) for name, array in parts.arrays.items()}
        records.append(
            {"name": parts.name, "settings": dict(parts.settings), "arrays": list(parts.arrays), "densities": places}
        )
    if len(known) > MOST_DENSITIES:
        raise ValueError(f"FlowOutlierDetector.save: {len(known)} densities are more than {MOST_DENSITIES}.")
    calibration, seed = detector.calibration_, detector.random_state
    held = (calibration.scores, calibration.folds.astype(np.int64), detector.calibration_rows_.astype(np.int64))
    arrays |= {f"calibration.{name}": array for name, array in zip(CALIBRATION, held, strict=True)}
    config = {
        "format": DETECTOR,
        "format_version": 1,
        "pushforward_version": version("pushforward"),
        **{name: getattr(detector, name) for name in ARGUMENTS},
        "random_state": int(seed) if isinstance(seed, int | np.integer) else None,
        "n_features": int(detector.n_features_in_),
        "names": detector.columns_,
        "offset": detector.offset_,
        "kind": calibration.kind,
        "models": records,
    }
    files |= {CONFIG: (to_json(config) + "\n").encode(), ARRAYS: weights_to_bytes(arrays)}
    card = f"# A detector of unusual rows\n\n{detector.describe()}\n\n```bash\npushforward detect MODEL data.csv\n```\n"
    write_folder(Path(folder), {**files, CARD: card.encode()}, force, known=KNOWN, unlisted=(CARD,))


def load_detector(folder: str | os.PathLike) -> FlowOutlierDetector:
    """Read a detector, or a density as one; see `FlowOutlierDetector.load`.

    Args:
        folder: The folder.
    """
    from pushforward.anomalies.detector import FlowOutlierDetector

    path = Path(folder)
    if not says_of_itself(path, DETECTOR):
        return FlowOutlierDetector.of_density(FlowDensity.load(path))
    files = read_manifested(path, CAPS, needed=(CONFIG, ARRAYS))
    record: DetectorRecord = validate(DetectorRecord, parse_json(files[CONFIG], path / CONFIG), f"{path / CONFIG}")
    arrays, label = arrays_from_bytes(files[ARRAYS], f"{path / ARRAYS}"), f"{path}"
    numbers = {number for model in record.models for number in model.densities.values()}
    densities = {number: _density(files, number, path) for number in sorted(numbers)}
    models = []
    for i, own in enumerate(record.models):
        if own.name not in FITTED:
            raise UntrustedModelError(f"{label}: {CONFIG}: {own.name!r} is no score of this pushforward.")
        held = {name: _array(arrays, f"{i}.{name}", label) for name in own.arrays}
        parts = ScoreParts(own.name, own.settings, held, {n: densities[k] for n, k in own.densities.items()})
        models.append(FITTED[own.name].from_parts(parts))
    arguments = {name: getattr(record, name) for name in ARGUMENTS}
    detector = FlowOutlierDetector(record.models[0].name, **arguments, random_state=record.random_state)
    vars(detector)["n_features_in_"] = record.n_features
    detector.columns_ = None if record.names is None else tuple(record.names)
    if record.names is not None:
        vars(detector)["feature_names_in_"] = np.asarray(record.names, dtype=object)
    scores, folds, rows = (_array(arrays, f"calibration.{name}", label) for name in CALIBRATION)
    groups = len(models) if record.kind == "cross" else 1
    right = scores.dtype == np.float64 and folds.dtype == rows.dtype == np.int64 and scores.ndim == 1
    if not (right and 0 < len(scores) <= MOST_ROWS and scores.shape == folds.shape == rows.shape):
        raise UntrustedModelError(f"{label}: the calibration is not one number for each of its rows.")
    if np.unique(folds).tolist() != list(range(groups)):
        raise UntrustedModelError(f"{label}: the calibration is not that of {groups} models.")
    detector.models_, detector.offset_ = tuple(models), record.offset
    detector.calibration_, detector.calibration_rows_ = Calibration(scores, folds, record.kind), rows
    return detector


def _array(arrays: Mapping[str, np.ndarray], name: str, label: str) -> np.ndarray:
    if name not in arrays:
        raise UntrustedModelError(f"{label}: {ARRAYS} lacks {name!r}.")
    return arrays[name]


def _density(files: Mapping[str, bytes], number: int, path: Path) -> FlowDensity:
    """One of the densities of a detector."""
    prefix = f"density-{number}."
    own = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
    lacking = [name for name in CONTENTS if name not in own]
    if lacking:
        raise UntrustedModelError(
            f"{path / (prefix + lacking[0])}: the file is missing, so the folder is not complete."
        )
    parts = model_parts(own, path / prefix.rstrip("."))
    density = FlowDensity(**parameters_of(parts))
    fill(density, parts)
    return density
