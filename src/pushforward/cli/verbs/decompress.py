"""`pushforward decompress`: the images of a file that `compress` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import Force, Model, verb

OUT = "Where the images go: .npz, .png for one picture, or a folder of PNG files."
MAX_MEBIBYTES = 2048
# The largest file that is read; what it unpacks to has a limit of its own.
MAX_FILE = 2**33


@verb("pushforward decompress model images.pfz --out images.npz")
def decompress(
    model: Model,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File that `compress` wrote with this model.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help=OUT, show_default=False)],
    limit: Annotated[
        int, typer.Option(metavar="MIB", min=1, help="Largest size of the images, in mebibytes.")
    ] = MAX_MEBIBYTES,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Give back the images of a compressed file, exactly as they were.

    A file that is truncated, altered, too large, or of another model is refused, and nothing is written.
    """
    from pushforward._files import UntrustedModelError, read_regular
    from pushforward.images.compression import CompressedImagesError, codec
    from pushforward.images.density import ImageDensity
    from pushforward.images.writing import check_images_target, write_images
    from pushforward.tables.errors import DataError

    try:
        check_images_target(out, force)
    except ValueError as error:
        raise typer.BadParameter(f"--out: {error}") from error
    density = ImageDensity.load(model)
    if not file.exists():
        raise DataError("not-found", f"{file}: there is no such file.")
    try:
        levels = codec.decompress(density, read_regular(file, MAX_FILE), max_bytes=limit * 2**20)
    except TypeError as error:
        raise typer.BadParameter(f"{model}: {error}") from error
    except (CompressedImagesError, UntrustedModelError) as error:
        raise DataError("unreadable", f"{file}: {error}") from error
    write_images(levels, out, n_levels=density.recipe_.n_levels, force=force)
    shape = " x ".join(map(str, density.recipe_.shape))
    reporter.say(f"{len(levels):,} images of {shape} pixels: {out}")
    reporter.result("decompress", {"model": model, "file": file, "out": out, "images": len(levels)})
    return OK
