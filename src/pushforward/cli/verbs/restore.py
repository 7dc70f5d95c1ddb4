"""`pushforward restore`: images behind observations of them, by a model of images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import Force, Model, Seed, verb

if TYPE_CHECKING:
    from pushforward.images import ImageDensity
    from pushforward.images.reading.levels import Images


class Shown(StrEnum):
    """What is written of each image: the mean of its draws, or all of them."""

    mean = "mean"
    draws = "draws"


@dataclass(frozen=True)
class Lost:
    """What was lost of the images: one of three problems."""

    mask: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="Known part: left-half, right-half, top-half, bottom-half, frame; or a picture that is "
            "not black where pixels are known.",
            show_default=False,
        ),
    ] = None
    factor: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            help="The images are means over blocks of this side (super-resolution).",
            show_default=False,
        ),
    ] = None
    noise_sd: Annotated[
        float, typer.Option(metavar="SD", min=0.0, help="Standard deviation of the noise, in levels.")
    ] = 0.0


@verb("pushforward restore model broken.npz --mask top-half --out restored.npz")
def restore(
    model: Model,
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES", help="NPZ file, PNG or JPEG file, folder or quoted glob of them.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="PATH", help="Grid (.png), .npz file, or folder of PNG files.", show_default=False
        ),
    ],
    draws: Annotated[int, typer.Option(metavar="N", min=2, help="Number of draws of each image.")] = 16,
    show: Annotated[Shown, typer.Option(help="What is written: the mean of the draws, or the draws one by one.")] = (
        Shown.mean
    ),
    label: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Class of all images, for a model with classes.", show_default=False),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    *,
    lost: Lost,
    reporter: Reporter,
) -> int:
    """Restore images of which a part is missing, that are too small, or that have noise.

    One of --mask, --factor and --noise-sd says what was lost. What each answer is worth is told on standard error.
    A model with classes takes the labels of IMAGES, or --label for all of them.
    """
    import numpy as np

    from pushforward.images import ImageDensity, read_images, write_images
    from pushforward.images import restore as restored_images
    from pushforward.images.asked import images_asked
    from pushforward.images.reading.levels import level_type
    from pushforward.images.restoration import PARTS
    from pushforward.images.writing import check_images_target
    from pushforward.tables.errors import DataError

    mask, factor = lost.mask, lost.factor
    if (mask is not None) + (factor is not None) != 1 and not (lost.noise_sd and mask is None and factor is None):
        raise typer.BadParameter("expected --mask, --factor, or --noise-sd alone.")
    check_images_target(out, force)
    density = ImageDensity.load(model)
    found = images_asked(density.model_, images, means=factor is not None)
    known = mask
    if mask is not None and mask not in PARTS:
        known = np.any(read_images(mask).levels[0] > 0, axis=0)
    own = _labels(density, found, label)
    try:
        with reporter.hears():
            answer = restored_images(
                density,
                found,
                own,
                mask=known,
                factor=factor,
                noise_sd=lost.noise_sd,
                n_draws=draws,
                random_state=seed,
            )
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    levels = np.round(answer.mean) if show is Shown.mean else answer.draws.reshape(-1, *answer.draws.shape[2:])
    n_levels = density.model_.n_levels
    write_images(levels.astype(level_type(n_levels)), out, n_levels=n_levels, force=force)
    trusted = int(answer.trustworthy.sum())
    reporter.say(f"{images}: {len(found):,} images restored by {answer.method}: {out}")
    reporter.say(f"{trusted:,} of {len(found):,} answers may be taken at face value. The first: {answer.verdicts[0]}")
    facts = {"model": model, "images": images, "out": out, "n": len(found), "method": answer.method, "draws": draws}
    reporter.result("restore", {**facts, "trustworthy": trusted, "verdicts": list(answer.verdicts), "seed": seed})
    return OK


def _labels(density: ImageDensity, found: Images, label: str | None) -> Any:
    """The class of all images that was asked for, or those that the images came with, if the model has classes."""
    from pushforward.cli.image_use import class_asked

    if density.classes_ is not None and label is None:
        if found.labels is None:
            names = ", ".join(map(str, density.classes_[:20]))
            raise typer.BadParameter(f"the model has classes and the images have none: give --label, one of {names}.")
        return found.labels
    return class_asked(density, label)
