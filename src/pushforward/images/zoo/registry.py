"""What a model of images is: data, from which its signature, its docstring and every check of options follow.

A new model is a declaration with `@image_entry` in a module of this package, a builder, and a case in `tests/cases/`.
Nothing here needs JAX but `make`.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Required, TypedDict, TypeVar

from pushforward.flows.option import Option, options_of
from pushforward.flows.registry import sectioned

Function = TypeVar("Function", bound=Callable[..., Any])
Kind = Literal["continuous", "discrete"]

# Arguments about the event, which are no options of a model's architecture: the images decide them.
EVENT = {
    "shape": "Shape `(C, H, W)` of an image.",
    "n_classes": "Number of classes, whose one-hot vectors are the condition; None for an unconditional model.",
}


class Images(TypedDict, total=False):
    """Arguments of every model of images."""

    shape: Required[tuple[int, int, int]]
    n_classes: int | None


class Levels(Images, total=False):
    """Arguments of every model of discrete pixels."""

    n_levels: Annotated[int, Option(256, "Number of levels of a pixel; 256 is that of 8 bits.", ge=2, le=65536)]


@dataclasses.dataclass(frozen=True)
class ImageEntry:
    """A model of images.

    Args:
        name: Name of its function in `pushforward.images`.
        builder: Where the function of an `ImagePlan` stands that assembles it, as `module.function` in this package.
        kind: `"continuous"` for a flow over real numbers, `"discrete"` for a distribution over levels of pixels.
        options: Its options by name, with its own defaults.
        small: Options that `ImageDensity` gives it for small images or few of them, where the user gives none.
        training: Arguments of `ImageDensity` for which this model has a default of its own.
        summary: One line with the equation.
        notes: Further paragraphs of the docstring.
        source: Authors, year and place of the publication.
        cost: Costs of a log-density and of a sample in the words of `Traits`.
        log_det: Exactness of the log-density in the words of `Traits`.
        conditional: Whether it takes classes.
    """

    name: str
    builder: str
    kind: Kind
    options: Mapping[str, Option]
    small: Mapping[str, Any]
    training: Mapping[str, Any]
    summary: str
    notes: str
    source: str
    cost: tuple[str, str]
    log_det: str
    conditional: bool

    def wrong(self, given: Mapping[str, Any]) -> str | None:
        """One sentence on an option that it does not have, None if it has all that are given."""
        unknown = [name for name in given if name not in self.options]
        if not unknown:
            return None
        return f"{unknown[0]} is no option of the image model {self.name}. It has {', '.join(self.options)}."

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All its options, those that are not given with their defaults.

        Raises:
            TypeError: The model does not have an option, or a value is of another kind.
            ValueError: An option is out of its bounds.
        """
        sentence = self.wrong(given)
        if sentence is not None:
            raise TypeError(sentence)
        for name, value in given.items():
            self.options[name].check(self.name, value)
        return {name: option.default for name, option in self.options.items()} | dict(given)

    def signature(self) -> inspect.Signature:
        """The signature of its function."""
        kinds = inspect.Parameter
        made = [kinds("key", kinds.POSITIONAL_OR_KEYWORD), kinds("shape", kinds.KEYWORD_ONLY, annotation=tuple)]
        made += [kinds("n_classes", kinds.KEYWORD_ONLY, default=None)]
        made += [kinds(name, kinds.KEYWORD_ONLY, default=option.default) for name, option in self.options.items()]
        return inspect.Signature(made)

    def doc(self) -> str:
        """The docstring of its function."""
        lines = ["key: JAX key for the initial weights.", *(f"{name}: {text}" for name, text in EVENT.items())]
        for name, option in self.options.items():
            lines.append(f"{name}: {option.text} It is {option.expected}; {option.default!r} by default.")
        scoring, sampling = self.cost
        sections = {
            "Args": lines,
            "Cost": [f"scoring {scoring}, sampling {sampling}; log-density {self.log_det}."],
            "Raises": [
                "TypeError: The model does not have an option, or a value is of another kind.",
                "ValueError: An option is out of its bounds, or the images are too small for it.",
            ],
            "Source": [f"{self.source}."],
        }
        return sectioned(self.summary, self.notes, sections)


IMAGE_ENTRIES: dict[str, ImageEntry] = {}


def image_entry(
    builder: str,
    options: Any,
    *,
    kind: Kind,
    source: str,
    cost: tuple[str, str] = ("parallel", "parallel"),
    log_det: str = "exact",
    small: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    conditional: bool = True,
    **defaults: Any,
) -> Callable[[Function], Function]:
    """Enter a function in the zoo of images: its signature and docstring follow from the declaration.

    Args:
        builder: Where the builder stands, as `module.function` in `pushforward.images.zoo`.
        options: Groups of options of the model, as a `TypedDict`.
        kind: `"continuous"` or `"discrete"`.
        source: Authors, year and place of the publication.
        cost: Costs of a log-density and of a sample in the words of `Traits`.
        log_det: Exactness of the log-density.
        small: Options for small images, as in `ImageEntry`.
        training: Defaults of training, as in `ImageEntry`.
        conditional: Whether the model takes classes.
        **defaults: Defaults of this model where they differ from those of the options.
    """

    def enter(function: Function) -> Function:
        name = function.__name__
        own = {
            key: dataclasses.replace(option, default=defaults.get(key, option.default))
            for key, option in options_of(options).items()
        }
        summary, _, notes = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
        made = ImageEntry(
            name=name,
            builder=builder,
            kind=kind,
            options=own,
            small=small or {},
            training=training or {},
            summary=summary,
            notes=notes,
            source=source,
            cost=cost,
            log_det=log_det,
            conditional=conditional,
        )
        IMAGE_ENTRIES[name] = made
        function.__signature__ = made.signature()  # pyright: ignore[reportFunctionMemberAccess]
        function.__doc__ = made.doc()
        return function

    return enter


def make(name: str, key: Any, given: Mapping[str, Any]) -> Any:
    """The model of that entry: a `Flow` over real images, or a distribution over levels of pixels.

    Args:
        name: Name of the entry.
        key: JAX key for the initial weights.
        given: The arguments `shape` and `n_classes`, and the options that differ from their defaults.
    """
    from pushforward.images.zoo.plan import plan_of

    entry = IMAGE_ENTRIES[name]
    module, _, function = entry.builder.partition(".")
    builder = getattr(importlib.import_module(f"pushforward.images.zoo.{module}"), function)
    return builder(plan_of(entry, key, given))
