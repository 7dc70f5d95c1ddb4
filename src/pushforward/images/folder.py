"""A fitted model of images as a folder of JSON and safetensors with a manifest, and back.

Loading runs no code from the folder. The configuration is held against a schema with bounds, the model is built as
shapes alone, and only then filled, so that a small file cannot ask for a large model.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pushforward._files import parse_json, read_manifested
from pushforward._json import to_json
from pushforward.images.pixel_map import PixelMap
from pushforward.images.recipe import Recipe
from pushforward.images.scoring import Bits
from pushforward.images.zoo import IMAGE_ENTRIES
from pushforward.images.zoo.plan import MAX_NUMBERS
from pushforward.io.errors import UntrustedModelError
from pushforward.io.files import CARD, IMAGES, MAX_BYTES, says_of_itself, write_folder
from pushforward.io.weights import weights_from_bytes, weights_to_bytes
from pushforward.tables.modelling.records import Count, Name, Number, Strict, Version, validate
from pushforward.training import FitResult, Verdict

if TYPE_CHECKING:
    from pushforward.images.density import ImageDensity

FORMAT_VERSION = 1
FILES = ("config.json", "metrics.json", "model.safetensors")
# A number among a model's options may not exceed this, or the bytes of the weights: nets with so many units and no
# weights to fill them are an attack on the memory.
FREE_OPTION = 4096

Side = Annotated[int, Field(ge=1, le=MAX_NUMBERS)]
Word = Annotated[str, Field(max_length=10_000)]


class RecipeRecord(Strict):
    """What the model is made of."""

    flow: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    shape: Annotated[list[Side], Field(min_length=3, max_length=3)]
    n_levels: Annotated[int, Field(ge=2, le=2**16)]
    n_classes: Annotated[int, Field(ge=1, le=2**16)] | None
    options: Annotated[dict[Name, Any], Field(max_length=100)]
    dequantization: Literal["uniform", "variational"] | None
    pixel_map: PixelMap | None


class ConfigRecord(Strict):
    """`config.json` of a model of images."""

    format: Literal["pushforward.images"]
    format_version: Literal[1]
    pushforward_version: Version
    recipe: RecipeRecord
    classes: Annotated[list[Annotated[str, Field(max_length=256)] | int], Field(max_length=2**16)] | None
    class_shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(max_length=2**16)] | None
    n_images: Count
    flips: bool


class BitsRecord(Strict):
    """`Bits` of the held-out images."""

    mean: Number
    standard_error: Number | None
    kind: Literal["exact", "bound"]
    n: Count
    n_draws: Count


class MetricsRecord(Strict):
    """`metrics.json` of a model of images."""

    history: Annotated[dict[Name, list[Number | None]], Field(max_length=50)]
    verdict: Annotated[dict[Name, Number | int | Word | None], Field(max_length=50)]
    held_out_bits: BitsRecord | None
    notes: Annotated[list[Word], Field(max_length=100)]
    round_trip: Number | None


def save_images_model(density: ImageDensity, folder: str | os.PathLike, *, force: bool) -> None:
    """Write a fitted model; see `ImageDensity.save`.

    Args:
        density: The fitted model.
        folder: Folder to write.
        force: Whether an existing one is replaced.
    """
    result, bits = density.result_, density.held_out_bits_
    config = {
        "format": IMAGES,
        "format_version": FORMAT_VERSION,
        "pushforward_version": version("pushforward"),
        "recipe": {**dataclasses.asdict(density.recipe_), "options": dict(density.recipe_.options)},
        "classes": None if density.classes_ is None else density.classes_.tolist(),
        "class_shares": None if density.class_shares_ is None else density.class_shares_.tolist(),
        "n_images": density.n_images_,
        "flips": bool(density.flips),
    }
    metrics = {
        "history": {name: np.asarray(column).tolist() for name, column in result.history.items()},
        "verdict": dataclasses.asdict(result.verdict),
        "held_out_bits": None if bits is None else dataclasses.asdict(bits),
        "notes": list(density.notes_),
        "round_trip": density.round_trip_,
    }
    card = (
        f"# A model of images\n\n{density.describe()}\n\n```bash\npushforward sample MODEL -n 64 --out grid.png\n```\n"
    )
    files = {
        "config.json": (to_json(config) + "\n").encode(),
        "metrics.json": (to_json(metrics) + "\n").encode(),
        "model.safetensors": weights_to_bytes(density.model_),
        CARD: card.encode(),
    }
    write_folder(Path(folder), files, force, unlisted=(CARD,))


def is_images_model(folder: str | os.PathLike) -> bool:
    """Whether a folder holds a model of images, as far as its first file says.

    Args:
        folder: The folder.
    """
    return says_of_itself(folder, IMAGES)


def load_images_model(folder: str | os.PathLike) -> ImageDensity:
    """Read a model; see `ImageDensity.load`.

    Args:
        folder: The folder.
    """
    from pushforward.images.density import ImageDensity

    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such model folder. Name the folder that `fit --out` wrote.")
    if not is_images_model(path):
        fix = "Name the folder that ImageDensity.save or `pushforward fit` of images wrote."
        raise UntrustedModelError(f"{path}: expected a model of images, got another folder. {fix}")
    files = read_manifested(path, {name: MAX_BYTES[name] for name in FILES})
    config: ConfigRecord = validate(ConfigRecord, parse_json(files[FILES[0]], path / FILES[0]), f"{path / FILES[0]}")
    metrics: MetricsRecord = validate(MetricsRecord, parse_json(files[FILES[1]], path / FILES[1]), f"{path / FILES[1]}")
    recipe = _recipe(config, len(files[FILES[2]]), f"{path}")
    try:
        template = recipe.template()
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UntrustedModelError(f"{path}: {FILES[0]}: no model can be made of it: {str(error)[:300]}") from error
    model = weights_from_bytes(template, files[FILES[2]], f"{path}")
    density = ImageDensity(
        recipe.flow,
        flow_options=dict(recipe.options),
        dequantization=config.recipe.dequantization,
        pixel_map=config.recipe.pixel_map,
        flips=config.flips,
    )
    density.recipe_, density.n_images_ = recipe, config.n_images
    density.classes_ = None if config.classes is None else np.array(config.classes)
    density.class_shares_ = None if config.class_shares is None else np.array(config.class_shares)
    density._keep(model, _result(model, metrics, f"{path}"))
    bits = metrics.held_out_bits
    density.held_out_bits_ = None if bits is None else Bits(**_numbers(bits.model_dump()))
    density.notes_, density.round_trip_ = tuple(metrics.notes), metrics.round_trip
    return density


def _recipe(config: ConfigRecord, n_bytes: int, label: str) -> Recipe:
    """The recipe of a configuration, refused where no file of this length can hold its weights.

    Raises:
        UntrustedModelError: The model is unknown, an option is out of its bounds, or the parts contradict each other.
    """
    own = config.recipe
    if own.flow not in IMAGE_ENTRIES:
        raise UntrustedModelError(f"{label}: {own.flow!r} is no image model of this pushforward.")
    c, h, w = own.shape
    most = max(FREE_OPTION, n_bytes)
    numbers = [value for value in own.options.values() if isinstance(value, int | float)]
    if c * h * w > min(MAX_NUMBERS, most) or any(abs(value) > most for value in numbers):
        raise UntrustedModelError(f"{label}: its configuration asks for more than its weights can fill.")
    count = None if config.classes is None else len(config.classes)
    kinds = {type(label) for label in config.classes or ()}
    shares = config.class_shares
    if count != own.n_classes or (shares is None) != (count is None) or len(shares or ()) != (count or 0):
        raise UntrustedModelError(f"{label}: its classes are not those of the model.")
    if len(kinds) > 1 or (shares and not math.isclose(sum(shares), 1.0, rel_tol=1e-6)):
        raise UntrustedModelError(f"{label}: its classes or their shares are not those of a fit.")
    discrete = IMAGE_ENTRIES[own.flow].kind == "discrete"
    if discrete != (own.dequantization is None) or discrete != (own.pixel_map is None):
        raise UntrustedModelError(f"{label}: a discrete model has no noise, and any other model has some.")
    try:
        IMAGE_ENTRIES[own.flow].arguments(own.options)
    except (TypeError, ValueError) as error:
        raise UntrustedModelError(f"{label}: {error}") from error
    return Recipe(own.flow, (c, h, w), own.n_levels, own.n_classes, own.options, own.dequantization, own.pixel_map)


def _result(model: Any, metrics: MetricsRecord, label: str) -> FitResult:
    history = {name: np.array([np.nan if v is None else v for v in column]) for name, column in metrics.history.items()}
    try:
        return FitResult(model, history, Verdict(**metrics.verdict))  # pyright: ignore[reportArgumentType]
    except TypeError as error:
        raise UntrustedModelError(f"{label}: metrics.json holds no verdict: {str(error)[:200]}.") from error


def _numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record in which null stands for a number that is not finite."""
    return {name: math.nan if value is None else value for name, value in record.items()}
