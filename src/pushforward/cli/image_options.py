"""The options of a fit of images from a TOML file, from `--set` and from flags, each over those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushforward._words import nearest
from pushforward.flows.option import Option
from pushforward.images.zoo import IMAGE_ENTRIES
from pushforward.io.fit_options import ConfigError, read_toml, toml_of, value_of


@dataclass(frozen=True)
class Key:
    """An option of the file beside those of the model.

    Args:
        kinds: Types of its value.
        words: What is expected, in words.
        low: Smallest number.
    """

    kinds: tuple[type, ...]
    words: str
    low: float | None = None


# By section; the section `flow` has `name` and the options of the model.
KEYS: dict[str, dict[str, Key]] = {
    "images": {
        "dequantization": Key((str,), "'uniform' or 'variational'"),
        "pixel_map": Key((str,), "'histogram', 'logit' or 'affine'"),
        "classes": Key((bool,), "true or false"),
        "levels": Key((int,), "a whole number >= 2", 2),
        "layout": Key((str,), "'channels_first' or 'channels_last'"),
        "stream": Key((bool,), "true or false"),
    },
    "training": {
        "flips": Key((bool,), "true or false"),
        "max_minutes": Key((int, float), "a number >= 0.01", 0.01),
        "max_epochs": Key((int,), "a whole number >= 1", 1),
        "batch_size": Key((int,), "a whole number >= 1", 1),
        "learning_rate": Key((int, float), "a number > 0", 1e-12),
        "seed": Key((int,), "a whole number >= 0", 0),
    },
}


@dataclass(frozen=True)
class ImageOptions:
    """The options of a fit of images.

    Args:
        flow: Name of the model.
        model: Options of the model that are given.
        others: Values of `KEYS` that are given, by name.
    """

    flow: str
    model: Mapping[str, Any]
    others: Mapping[str, Any]

    @staticmethod
    def gather(
        file: Path | None, settings: Sequence[str], flags: Mapping[str, Any], flow: str, of_model: Mapping[str, Any]
    ) -> ImageOptions:
        """The options of a TOML file, overridden by settings such as `flow.width=32`, overridden by flags.

        Args:
            file: TOML file with the sections `flow`, `images` and `training`, or None.
            settings: Settings; a key without a section is an option of the model.
            flags: Values of `KEYS` by name; None where a flag was not given.
            flow: Name of the model, which the flags or the file chose.
            of_model: Options of the model that were given as flags.

        Raises:
            ConfigError: A key is unknown, or a value is of the wrong kind.
        """
        model: dict[str, Any] = {}
        others: dict[str, Any] = {}
        places = [(section, key) for section, keys in KEYS.items() for key in keys]
        for label, section, key, value in (*_of_file(file), *_of_settings(settings)):
            if section == "flow":  # the declaration of the model checks its options
                model[key] = value
            elif (section, key) in places:
                _check(label, section, key, value)
                others[key] = value
            else:
                known = [".".join(place) for place in places]
                raise ConfigError(f"{label}: unknown key '{section}.{key}'.{nearest(f'{section}.{key}', known)}")
        model.pop("name", None)
        others |= {key: value for key, value in flags.items() if value is not None}
        model |= of_model
        try:
            IMAGE_ENTRIES[flow].arguments(model)
        except (TypeError, ValueError) as error:
            raise ConfigError(str(error)) from error
        return ImageOptions(flow, model, others)

    def to_toml(self) -> str:
        """A TOML file with these options; those that are not given stand in comments, with the model's defaults."""
        lines = ["[flow]", f"name = {toml_of(self.flow)}"]
        for name, option in options_of_model(self.flow).items():
            given = name in self.model
            shown = toml_of(self.model[name] if given else option.default)
            lines.append(f"{'' if given else '# '}{name} = {shown}  # {option.text}")
        for section, keys in KEYS.items():
            lines += ["", f"[{section}]"]
            for name, key in keys.items():
                given = name in self.others
                lines.append(f"{'' if given else '# '}{name} = {toml_of(self.others.get(name))}  # It is {key.words}.")
        return "\n".join(lines) + "\n"


def options_of_model(flow: str) -> dict[str, Option]:
    """The options of a model, without the number of levels, which the images have.

    Args:
        flow: Name of the model.
    """
    return {name: option for name, option in IMAGE_ENTRIES[flow].options.items() if name != "n_levels"}


def flow_of_file(file: str) -> str | None:
    """The name of the model in a TOML file; None without one. Errors of the file are reported later.

    Args:
        file: Path of the file.
    """
    try:
        section = read_toml(Path(file)).get("flow", {})
    except (OSError, ConfigError):
        return None
    name = section.get("name") if isinstance(section, dict) else None
    return name if isinstance(name, str) else None


def _of_file(file: Path | None) -> Iterator[tuple[str, str, str, Any]]:
    """Label, section, key and value of what a file sets."""
    for section, values in ({} if file is None else read_toml(file)).items():
        if not isinstance(values, dict):
            raise ConfigError(f"{file}: expected [{section}] to be a table of keys, got {values!r}.")
        for key, value in values.items():
            yield str(file), section, key, value


def _of_settings(settings: Sequence[str]) -> Iterator[tuple[str, str, str, Any]]:
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign:
            raise ConfigError(f"--set {setting}: expected KEY=VALUE, such as flow.width=32.")
        section, _, name = key.strip().rpartition(".")
        yield "--set", section or "flow", name, value_of(text.strip())


def _check(label: str, section: str, key: str, value: Any) -> None:
    own = KEYS[section][key]
    fits = isinstance(value, own.kinds) and (bool in own.kinds or not isinstance(value, bool))
    if not fits or (own.low is not None and not value >= own.low):
        raise ConfigError(f"{label}: {section}.{key}: expected {own.words}, got {value!r}.")
    if key in ("dequantization", "pixel_map", "layout") and repr(value) not in own.words:
        raise ConfigError(f"{label}: {section}.{key}: expected {own.words}, got {value!r}.")
