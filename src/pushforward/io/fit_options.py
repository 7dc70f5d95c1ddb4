"""The options of a fit as one typed model: the flags of the command line, a TOML file, and keywords in Python."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from pushforward._words import nearest
from pushforward.flows.registry import ENTRIES
from pushforward.io.flow_options import OPTIONS, BaseName, FlowName, ObjectiveName

MAX_FILE = 2**20


class ConfigError(ValueError):
    """Options do not fit; the message names the key, what was expected and, for an unknown key, the nearest one."""


class Section(BaseModel):
    """The base of all sections: unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataOptions(Section):
    """Which columns are modelled, and what they are."""

    columns: list[str] | None = Field(default=None, description="Columns to model; all columns by default.")
    given: list[str] = Field(default=[], description="Columns that are conditions; the others are fitted given these.")
    weights: str | None = Field(
        default=None, description="Column that holds the weights of the rows; it is not modelled."
    )
    schema_file: Path | None = Field(
        default=None, description="JSON file that says what the columns are, as `pushforward schema` writes it."
    )
    missing: Literal["error", "drop", "model"] = Field(
        default="error", description="What happens to rows with missing values: they are refused, dropped, or modelled."
    )
    bounds: Literal["observed", "natural", "none"] = Field(
        default="natural",
        description="Which bounds numbers have: the smallest and largest seen, those that are plausible, or none.",
    )
    unseen: Literal["error", "other"] = Field(
        default="error",
        description="What happens to a condition with a level that the fit never saw: refused, or scored as rare.",
    )
    na: list[str] = Field(default=[], description="Values that mean that a cell is missing, such as 99,-999.")
    decimal: Literal[".", ","] = Field(default=".", description="Mark before the fraction of a number.")
    strip: str | None = Field(
        default=None, description="Characters that are left out of numbers, such as '$%'; 45% is read as 45."
    )
    stream: bool | None = Field(
        default=None,
        description="Read the rows in pieces while the model trains; by default from 1 GiB of numbers on.",
    )


class ModelOptions(Section):
    """Which flow is fitted, and its options."""

    name: FlowName = Field(default="nsf", description="Name of the flow in the zoo.")  # pyright: ignore[reportInvalidTypeForm]
    base: BaseName = Field(default="normal", description="Distribution of the latents.")

    def given(self) -> dict[str, Any]:
        """The options of the flow that have values."""
        values = {name: getattr(self, name) for name in OPTIONS}
        return {name: value for name, value in values.items() if value is not None}


_FIELDS: Any = {
    name: (option.kind | None, Field(default=None, description=option.text)) for name, option in OPTIONS.items()
}
FlowOptions: type[ModelOptions] = create_model(
    "FlowOptions", __base__=ModelOptions, __doc__="Which flow is fitted, and its options.", **_FIELDS
)


class TrainingOptions(Section):
    """How and how long the model is trained, and from which seed."""

    objective: ObjectiveName | None = Field(
        default=None, description="Objective that is minimised; by default the one that the flow is made for."
    )
    n_members: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Number of models that are trained at once and averaged; by default 5 for up to 1000 rows.",
    )
    max_epochs: int | None = Field(default=None, ge=1, description="Largest number of passes over the rows.")
    max_minutes: float | None = Field(default=None, ge=0.01, description="Longest time of training, in minutes.")
    batch_size: int | None = Field(default=None, ge=1, description="Number of rows per step.")
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="Learning rate of Adam at the top of its schedule."
    )
    weight_decay: float | None = Field(
        default=None, ge=0, le=100, description="Strength of the decoupled weight decay."
    )
    validation_fraction: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the rows that is held out, to stop early by."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of the random numbers; the same seed gives the same model."
    )
    verify: bool = Field(default=True, description="Check the trained model and compare it with simple densities.")


class FitOptions(Section):
    """All options of a fit."""

    data: DataOptions = DataOptions()
    flow: FlowOptions = FlowOptions()  # pyright: ignore[reportInvalidTypeForm] - made of the options
    training: TrainingOptions = TrainingOptions()

    @staticmethod
    def gather(
        file: Path | None = None, settings: Sequence[str] = (), flags: Mapping[str, Any] | None = None
    ) -> FitOptions:
        """The options of a TOML file, overridden by `section.key=value` settings, overridden by flags.

        Args:
            file: TOML file, or None.
            settings: Settings such as `"flow.n_layers=3"`; a value that is not TOML is taken as a word.
            flags: Values by `section.key`.

        Raises:
            ConfigError: A key is unknown, or a value is of the wrong kind.
        """
        values: dict[str, dict[str, Any]] = {}
        if file is not None:
            values = read_toml(file)
        for setting in settings:
            key, sign, text = setting.partition("=")
            if not sign:
                raise ConfigError(f"--set {setting}: expected section.key=value, such as flow.n_layers=3.")
            _put(values, key.strip(), value_of(text.strip()), "--set")
        for key, value in (flags or {}).items():
            _put(values, key, value, "options")
        return FitOptions.check(values, str(file) if file is not None else "options")

    @staticmethod
    def check(values: Mapping[str, Any], label: str = "options") -> FitOptions:
        """Validate options in nested dicts.

        Raises:
            ConfigError: See `gather`.
        """
        try:
            options = FitOptions.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(error, label)) from error
        sentence = ENTRIES[options.flow.name].wrong(options.flow.given())
        if sentence is not None:
            raise ConfigError(f"{label}: flow: {sentence}")
        return options

    def to_toml(self) -> str:
        """A TOML file with every option of data, training and the chosen flow; defaults stand in comments."""
        lines, flow, chosen = [], ENTRIES[self.flow.name], self.flow.scalar_map
        own = flow.accepted(chosen)
        for name in type(self).model_fields:
            section = getattr(self, name)
            lines += [f"# {section.__doc__}", f"[{name}]"]
            for key, info in type(section).model_fields.items():
                if name == "flow" and key in OPTIONS and key not in own:
                    continue
                value = getattr(section, key)
                default = flow.default(key, chosen) if name == "flow" and key in own else None
                shown = toml_of(default if value is None else value)
                lines.append(f"{'# ' if value is None else ''}{key} = {shown}  # {info.description}".rstrip())
            lines.append("")
        return "\n".join(lines)

    def keywords(self) -> dict[str, Any]:
        """The options as keywords of `FlowDensity`. Columns and weights are left to the caller."""
        flow, training, data = self.flow, self.training, self.data
        named = ("n_layers", "width", "depth", "bins", "autoregressive")
        others = {key: getattr(flow, key) for key in OPTIONS if key not in named}
        return {
            "flow": flow.name,
            "base": flow.base,
            **{key: getattr(flow, key) for key in named},
            "flow_options": {key: value for key, value in others.items() if value is not None} or None,
            "given": list(data.given) or None,
            "schema": data.schema_file,
            "missing": data.missing,
            "bounds": data.bounds,
            "unseen": data.unseen,
            "na": list(data.na) or None,
            "decimal": data.decimal,
            "strip": data.strip,
            "objective": training.objective,
            "n_members": training.n_members,
            "max_epochs": training.max_epochs,
            "max_seconds": None if training.max_minutes is None else 60 * training.max_minutes,
            "batch_size": training.batch_size,
            "learning_rate": training.learning_rate,
            "weight_decay": training.weight_decay,
            "validation_fraction": training.validation_fraction,
            "random_state": training.seed,
            "verify": training.verify,
        }


def options_of() -> Iterator[tuple[str, str, FieldInfo]]:
    """Section, key and field of every option, for the flags."""
    for section, outer in FitOptions.model_fields.items():
        for key, info in outer.annotation.model_fields.items():  # pyright: ignore
            yield section, key, info


def read_toml(file: Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises:
        ConfigError: It is too large, or no TOML.
    """
    with file.open("rb") as stream:
        data = stream.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ConfigError(f"{file}: larger than {MAX_FILE:,} bytes, so it is no configuration.")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid TOML: {str(error)[:200]}.") from error


def value_of(text: str) -> Any:
    """A TOML value, or the text itself, so that words need no quotes."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _put(values: dict[str, Any], key: str, value: Any, label: str) -> None:
    section, dot, name = key.partition(".")
    sections = list(FitOptions.model_fields)
    if not dot or section not in sections:
        known = [f"{own}.{other}" for own, other, _ in options_of()]
        raise ConfigError(f"{label}: unknown key {key!r}.{nearest(key, known)}")
    if not isinstance(values.setdefault(section, {}), dict):
        raise ConfigError(f"{label}: expected [{section}] to be a table of keys, got {values[section]!r}.")
    values[section][name] = value


def _explain(error: ValidationError, label: str) -> str:
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    key = ".".join(place[:2])[:120]
    if first["type"] == "extra_forbidden":
        known = list(FitOptions.model_fields) if len(place) == 1 else [f"{s}.{k}" for s, k, _ in options_of()]
        return f"{label}: unknown key {key!r}.{nearest(key, known)}"
    if first["type"] == "literal_error":
        info = next((info for s, k, info in options_of() if f"{s}.{k}" == key), None)
        words = [] if info is None else list(_words(info.annotation))
        got = str(first["input"])[:60]
        return f"{label}: {key}: expected one of {', '.join(words)}, got {got!r}.{nearest(got, words)}"
    return f"{label}: {key}: {first['msg']}, got {str(first['input'])[:60]!r}."


def _words(annotation: Any) -> Iterator[str]:
    for part in get_args(annotation):
        if isinstance(part, str):
            yield part
        else:
            yield from _words(part)


def toml_of(value: Any) -> str:
    """A value as TOML writes it; None as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(toml_of(item) for item in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)  # a JSON string is a TOML string
