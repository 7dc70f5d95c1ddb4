"""Images: models of images from the literature, read, fitted, sampled and scored in bits per dimension.

An image is an event `(C, H, W)`. The functions of the zoo, such as `gaussian`, assemble models of real images, or of
the whole numbers that pixels are. Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pushforward.images.zoo import IMAGE_ENTRIES, IMAGE_ZOO, ImageEntry

if TYPE_CHECKING:
    from pushforward.flows.facts import Description

_HOME: dict[str, str] = {
    "AttentionTemperature": "guidance",
    "Bits": "scoring",
    "ClassifierFree": "guidance",
    "CompressedImagesError": "compression",
    "ImageDensity": "density",
    "ImageTraining": "training_options",
    "Images": "reading.levels",
    "ProductOfNormals": "guidance",
    "Restored": "restoration",
    "complexity_ratio": "outliers",
    "compress": "compression",
    "decompress": "compression",
    "denoise": "guidance",
    "density_map": "density_maps",
    "guided": "guidance",
    "likelihood_ratio": "outliers",
    "perturbed": "outliers",
    "png_bits": "outliers",
    "read_images": "reading.sources",
    "restore": "restoration",
    "write_images": "writing",
}


def describe() -> Description:
    """What every model of images costs, how exact it is and where it comes from, as a table.

    Costs are those of a log-density and of a sample: `parallel` is one pass, `sequential` one step per number of an
    image, `iterative` a solver that runs to its tolerance.

    Example:
        >>> import pushforward as pf
        >>> [row.sampling for row in pf.images.describe() if row.call == "gaussian"]
        ['parallel']
    """
    from pushforward.images.zoo.facts import describe_images

    return describe_images()


__all__ = ["IMAGE_ENTRIES", "IMAGE_ZOO", "ImageEntry", "describe", *IMAGE_ZOO, *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in IMAGE_ZOO:
        return IMAGE_ZOO[name]
    if name in _HOME:
        return getattr(importlib.import_module(f"pushforward.images.{_HOME[name]}"), name)
    raise AttributeError(f"module 'pushforward.images' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(__all__)
