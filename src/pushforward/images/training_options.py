"""How an image model is trained: small objects with their checks, and defaults that a declaration may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pushforward._checks import check_int, check_number, message
from pushforward.objectives import AbstractObjective


@dataclass(frozen=True)
class ImageTraining:
    """How an `ImageDensity` is trained; None leaves a choice to the model and the library.

    Args:
        max_epochs: Number of passes over the images at most.
        batch_size: Number of images per step; None takes that of the model, 128 where it has none.
        learning_rate: Learning rate of Adam at the top of its schedule; None takes that of the model, 1e-3 where it has
            none.
        weight_decay: Decoupled weight decay; None is 0.
        ema: Decay of the average of the weights that is scored and returned; None is 0.999.
        patience: Number of epochs without a better held-out score after which a fit stops.
        validation_fraction: Share of the images that is held out to stop early by, at most 2,000 of them.
        class_dropout: Probability with which training drops the class of an image, for guidance; None is 0.
        objective: What is minimised; None is what the model is made for.
        verify: Whether the trained model is checked: images come back from their latents, in float32 and in float64.

    Raises:
        ValueError: A number is out of its bounds.
    """

    max_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    ema: float | None = None
    patience: int = 20
    validation_fraction: float = 0.1
    class_dropout: float | None = None
    objective: AbstractObjective | None = None
    verify: bool = True

    def __post_init__(self):
        name = "ImageTraining"
        for what in ("max_epochs", "batch_size"):
            if getattr(self, what) is not None:
                check_int(name, what, getattr(self, what), 1)
        check_int(name, "patience", self.patience, 1)
        for what, open_low in (("learning_rate", True), ("weight_decay", False)):
            if getattr(self, what) is not None:
                check_number(name, what, getattr(self, what), low=0.0, open_low=open_low)
        for what in ("ema", "validation_fraction", "class_dropout"):
            if getattr(self, what) is not None:
                check_number(name, what, getattr(self, what), low=0.0, high=1.0)

    @staticmethod
    def of(given: ImageTraining | Mapping[str, Any] | None) -> ImageTraining:
        """The options as an object; a mapping of some of them will do.

        Raises:
            TypeError: It is neither, or names an option that there is none of.
        """
        if given is None:
            return ImageTraining()
        if isinstance(given, ImageTraining):
            return given
        known = [field.name for field in dataclasses.fields(ImageTraining)]
        if not isinstance(given, Mapping) or set(given) - set(known):
            got = repr(given)[:80] if not isinstance(given, Mapping) else ", ".join(set(given) - set(known))
            raise TypeError(message("ImageDensity", f"training with {', '.join(known)}", got, "Correct the name."))
        return ImageTraining(**given)

    def filled(self, defaults: Mapping[str, Any]) -> ImageTraining:
        """The same with the defaults of a model in the place of None.

        Args:
            defaults: Values by name; what is no option here is left out.
        """
        usual = {"batch_size": 128, "learning_rate": 1e-3, "weight_decay": 0.0, "ema": 0.999, "class_dropout": 0.0}
        known = {**usual, **defaults}
        open_ones = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) is None]
        changes: dict[str, Any] = {name: known[name] for name in open_ones if name in known}
        return dataclasses.replace(self, **changes)
