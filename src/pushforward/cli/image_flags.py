"""The flags of `fit` for images: which model is chosen, and its options, generated from their declarations."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.reporter import Reporter
from pushforward.cli.verb import Force
from pushforward.flows.option import Option
from pushforward.flows.registry import ENTRIES
from pushforward.images.zoo import IMAGE_ENTRIES

DEFAULT = "realnvp"
# Options whose value is the next word, which is no DATA.
TAKES_A_PATH = ("--out", "-o", "--config", "--set", "--track", "--report", "--schema")
SUFFIXES = (".npz", ".npy", ".png", ".jpg", ".jpeg")


def chosen_model(arguments: Sequence[str]) -> str | None:
    """The image model that the words of `fit` choose; None for a fit of a table.

    A fit is one of images if its data are images, or if its flow is a model of images alone.

    Args:
        arguments: Words of the command line.
    """
    words = [word for one in arguments for word in (one.split("=", 1) if one.startswith("--flow=") else [one])]
    if not words or words[0] != "fit":
        return None
    flow = next((two for one, two in itertools.pairwise(words) if one == "--flow"), None)
    if flow is None:
        flow = _flow_of_config(words)
    if flow in IMAGE_ENTRIES and flow not in ENTRIES:
        return flow
    before = ["", *words]
    for earlier, word in zip(before, words, strict=False):
        if word.startswith("-") or earlier in TAKES_A_PATH or not _may_be_images(word):
            continue
        from pushforward.images.reading.sources import holds_images

        if holds_images(word):
            return DEFAULT if flow is None else flow
    return None


def _flow_of_config(words: Sequence[str]) -> str | None:
    """The model that the file of `--config` names."""
    pairs = itertools.pairwise([part for word in words for part in word.split("=", 1)])
    file = next((two for one, two in pairs if one == "--config"), None)
    if file is None:
        return None
    from pushforward.cli.image_options import flow_of_file

    return flow_of_file(file)


def _may_be_images(word: str) -> bool:
    """Whether a word may name images, by its form and without reading anything but the kind of what is there."""
    path = Path(word.partition("::")[0])
    return path.suffix.lower() in SUFFIXES or path.is_dir()


def image_fit(flow: str) -> Any:
    """The command `fit` for images, with the options of a model as flags.

    Args:
        flow: Name of the model.
    """
    entry = IMAGE_ENTRIES.get(flow)
    options = {} if entry is None else {name: option for name, option in entry.options.items() if name != "n_levels"}

    def fit(**arguments: Any) -> int:
        from pushforward.cli.image_fit import run_image_fit

        given = {name: arguments.pop(name) for name in options}
        chosen = {n: str(v) if isinstance(v, StrEnum) else v for n, v in given.items() if v is not None}
        reporter: Reporter = arguments.pop("reporter")
        flags = {name: arguments.pop(name) for name in (*_FLAGS, "seed")}
        flags = {name: str(v) if isinstance(v, StrEnum) else v for name, v in flags.items()}
        return run_image_fit({**arguments, "flow": flow, "flow_options": chosen, "flags": flags}, reporter)

    only = inspect.Parameter.KEYWORD_ONLY
    own = [*_OWN, *((name, kind, None) for name, kind in _FLAGS.items()), *_LAST]
    made = [inspect.Parameter(name, only, default=default, annotation=kind) for name, kind, default in own]
    made += [
        inspect.Parameter(name, only, default=None, annotation=_flag(option, entry.small.get(name)))
        for name, option in options.items()
        if entry is not None
    ]
    made.append(inspect.Parameter("reporter", only, annotation=Reporter))
    fit.__doc__ = "Fit a model to images and write it as a model folder."
    fit.__signature__ = inspect.Signature(made, return_annotation=int)  # pyright: ignore[reportFunctionMemberAccess]
    return fit


def sentence(flow: str) -> str:
    """The sentence in the help on other models.

    Args:
        flow: Name of the model.
    """
    return f"These are the options of the image model {flow}; the models are {', '.join(IMAGE_ENTRIES)}."


def _named(*names: str, panel: str, **facts: Any) -> Any:
    return typer.Option(*names, show_default=False, rich_help_panel=panel, **facts)


class Dequantization(StrEnum):
    """Noise between the levels."""

    uniform = "uniform"
    variational = "variational"


class Onto(StrEnum):
    """The map of the pixels."""

    histogram = "histogram"
    logit = "logit"
    affine = "affine"


class AxisOrder(StrEnum):
    """The order of the axes of an array of images with channels."""

    channels_first = "channels_first"
    channels_last = "channels_last"


_MODEL, _TRAINING, _IMAGES = "Model", "Training", "Images"
_DATA = "Images: an NPZ file of whole numbers, a folder of PNG or JPEG files, or a quoted glob of such files."
_OWN: tuple[tuple[str, Any, Any], ...] = (
    ("data", Annotated[str | None, typer.Argument(metavar="DATA", help=_DATA, show_default=False)], None),
    ("out", Annotated[Path | None, typer.Option("--out", "-o", metavar="PATH", help="Model folder to write.")], None),
    ("name", Annotated[str | None, _named("--flow", panel=_MODEL, help="Name of the image model.")], None),
    (
        "config",
        Annotated[
            Path | None,
            typer.Option("--config", metavar="FILE", help="TOML file with options; flags override them."),
        ],
        None,
    ),
    (
        "settings",
        Annotated[
            list[str] | None,
            typer.Option("--set", metavar="KEY=VALUE", help="Set an option by its key in the file, as flow.width=32."),
        ],
        None,
    ),
    (
        "print_config",
        Annotated[bool, typer.Option("--print-config", help="Print the options as TOML, and do nothing else.")],
        False,
    ),
    (
        "dry_run",
        Annotated[bool, typer.Option("--dry-run", help="Print what would be fitted and its time, and do no more.")],
        False,
    ),
)
# What a file may say too, with the names of `image_options.KEYS`.
_FLAGS: dict[str, Any] = {
    "dequantization": Annotated[
        Dequantization | None, _named("--dequantization", panel=_MODEL, help="Noise between the levels.")
    ],
    "pixel_map": Annotated[Onto | None, _named("--pixel-map", panel=_MODEL, help="Map from pixels to real numbers.")],
    "classes": Annotated[
        bool | None,
        _named("--classes/--no-classes", panel=_IMAGES, help="Fit given the class: labels, or names of subfolders."),
    ],
    "levels": Annotated[
        int | None, _named("--levels", panel=_IMAGES, min=2, metavar="N", help="Number of levels of a pixel.")
    ],
    "layout": Annotated[
        AxisOrder | None, _named("--layout", panel=_IMAGES, help="Where the axis of channels stands in an array.")
    ],
    "stream": Annotated[
        bool | None,
        _named("--stream/--no-stream", panel=_IMAGES, help="Decode files batch by batch, so that they need no memory."),
    ],
    "flips": Annotated[
        bool | None, _named("--flips/--no-flips", panel=_TRAINING, help="Mirror images at random in training.")
    ],
    "max_minutes": Annotated[
        float | None,
        _named("--max-minutes", panel=_TRAINING, min=0.01, metavar="X", help="Longest time of training."),
    ],
    "max_epochs": Annotated[
        int | None, _named("--max-epochs", panel=_TRAINING, min=1, metavar="N", help="Most passes.")
    ],
    "batch_size": Annotated[
        int | None, _named("--batch-size", panel=_TRAINING, min=1, metavar="N", help="Images per step.")
    ],
    "learning_rate": Annotated[
        float | None, _named("--learning-rate", panel=_TRAINING, metavar="X", help="Rate of Adam.")
    ],
}
_LAST: tuple[tuple[str, Any, Any], ...] = (
    ("resume", Annotated[bool, typer.Option("--resume", help="Continue an interrupted fit to --out.")], False),
    (
        "track",
        Annotated[
            list[str] | None,
            typer.Option(
                "--track",
                metavar="WHERE",
                help="Log the curve also to tensorboard:FOLDER, mlflow:EXPERIMENT or wandb:PROJECT.",
            ),
        ],
        None,
    ),
    (
        "report",
        Annotated[
            Path | None,
            typer.Option("--report", metavar="FILE", help="HTML file for a report on the model and DATA at the end."),
        ],
        None,
    ),
    (
        "seed",
        Annotated[
            int | None,
            typer.Option(
                "--seed", metavar="N", min=0, help="Seed of all that is random [default: 0].", show_default=False
            ),
        ],
        None,
    ),
    ("force", Force, False),
)


def _flag(option: Option, small: Any) -> Any:
    """A flag of the model from its declaration."""
    name = option.name.replace("_", "-")
    opposite = f"no-{name}"
    names = (f"--{name}/--{opposite}",) if option.kind is bool else (f"--{name}",)
    kind: Any = option.kind or str
    if option.words:
        kind = StrEnum(option.name, {word: word for word in option.words})
    bounds: dict[str, Any] = {}
    if option.kind in (int, float):
        bounds = {name: bound for name, bound in (("min", option.ge), ("max", option.le)) if bound is not None}
    shown = "" if option.default is None else f" [default: {option.default}"
    shown += f", {small} for small images]" if shown and small is not None else "]" if shown else ""
    metavar = {int: "N", float: "X"}.get(kind)
    return Annotated[
        kind | None,
        typer.Option(
            *names, help=option.text + shown, metavar=metavar, show_default=False, rich_help_panel=_MODEL, **bounds
        ),
    ]
