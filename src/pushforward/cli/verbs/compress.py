"""`pushforward compress`: images to a file without loss, in about as many bits as a model says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import Force, Model, verb

IMAGES = "NPZ or NPY file of whole numbers, or a folder of PNG or JPEG files, of the shape and depth of the fit."


@verb("pushforward compress model images.npz --out images.pfz")
def compress(
    model: Model,
    images: Annotated[str, typer.Argument(metavar="IMAGES", help=IMAGES, show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="File to write, such as images.pfz.", show_default=False)
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Decompress the result and compare it before it is written.")
    ] = False,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Compress images without loss by the masses of a model of levels: made, pixelcnn, pixelcnnpp, a PixelRNN.

    The file is beside the model's bits, one PNG picture of all images, and zstd. It can be read with the same model
    alone. The labels of IMAGES are used, and kept in the file, if the model has classes.
    """
    import jax
    import numpy as np

    from pushforward.images.asked import condition_of
    from pushforward.images.compression import codec, sizes
    from pushforward.images.density import ImageDensity
    from pushforward.images.scoring import log_probs
    from pushforward.io.files import check_file_target, write_file
    from pushforward.tables.errors import DataError

    check_file_target(out, force)
    density = ImageDensity.load(model)
    try:
        coded = codec.model_with_conditionals("compress", density)
    except TypeError as error:
        raise typer.BadParameter(f"{model}: {error}") from error
    found = density.read(images, images)
    levels, labels, n_levels = found.levels, found.labels, density.recipe_.n_levels
    condition = None if coded.cond_shape is None else np.zeros((len(levels), *coded.cond_shape))
    if coded.cond_shape is None:
        labels = None
    elif labels is None:
        reporter.warn(f"{images} has no labels, so that images are compressed as those of no class, in more bits.")
    else:
        try:
            condition = condition_of(density, labels, len(levels))
        except ValueError as error:
            raise DataError("labels", f"{images}: {error}") from error
    data = codec.compress(density, levels, labels=labels)
    if check and not np.array_equal(codec.decompress(coded, data), levels):
        raise DataError("unreadable", f"{images}: what was compressed does not come back. Nothing was written.")
    bits = -float(log_probs(coded, levels, condition, jax.random.key(0)).sum()) / np.log(2)
    write_file(out, lambda file: file.write(data), force)
    others = {"png": sizes.png_size(levels, n_levels), "zstd": sizes.zstd_size(levels, n_levels)}
    reporter.say(f"{len(levels):,} images, {levels.nbytes:,} bytes: {out}, {len(data):,} bytes")
    if len(levels):
        more = 100 * (8 * len(data) / bits - 1)
        per = f"{8 * len(data) / levels.size:.4f} bits per dimension"
        reporter.say(f"model's bits  {bits / 8:14,.0f} bytes; the file has {more:+.2f} % and {per}")
    for name, size in others.items():
        if size is not None:
            reporter.say(f"{name:12s}  {size:14,} bytes, {size / len(data):.2f} times the file")
    facts = {"model": model, "out": out, "images": len(levels), "bytes": len(data), "raw_bytes": levels.nbytes}
    reporter.result("compress", {**facts, "model_bits": bits, **{f"{k}_bytes": v for k, v in others.items()}})
    return OK
