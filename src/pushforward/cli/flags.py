"""The flags of `fit`, generated from the typed options, so that flags, TOML and Python agree by construction."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from pushforward.flows.maps import MAPS
from pushforward.flows.registry import ENTRIES
from pushforward.io.fit_options import ConfigError, FitOptions, options_of, value_of
from pushforward.io.flow_options import OPTIONS

# Flags whose names are not those of their keys.
NAMES = {
    "flow.name": "--flow",
    "data.schema_file": "--schema",
    "flow.autoregressive": "--autoregressive/--coupling",
    "flow.residual": "--residual/--plain",
    "flow.actnorm": "--actnorm/--no-actnorm",
    "flow.conic": "--conic/--convex",
    "flow.potential": "--potential/--no-potential",
    "flow.whiten": "--whiten/--no-whiten",
    "training.verify": "--verify/--no-verify",
}


METAVARS = {"strip": "SIGNS"}


def flag_of(section: str, key: str) -> str:
    """The flag of an option."""
    return NAMES.get(f"{section}.{key}", "--" + key.replace("_", "-"))


@dataclass(frozen=True)
class Chosen:
    """The flow whose options the help shows, and its scalar map if another than its own is chosen."""

    flow: str = "nsf"
    scalar_map: str | None = None

    @staticmethod
    def of(arguments: Sequence[str]) -> Chosen:
        """The flow that a command line chooses by flags, by --set or in the file of --config, before it is parsed."""
        found: dict[str, str] = {}
        words = list(arguments)
        for place, word in enumerate(words):
            name, sign, value = word.partition("=")
            value = value if sign else next(iter(words[place + 1 :]), "")
            if name == "--set":
                name, _, value = value.partition("=")
            found[name] = value
        from_file = _flow_section(found["--config"]) if "--config" in found else {}
        flow = found.get("--flow") or found.get("flow.name") or from_file.get("name")
        scalar_map = found.get("--scalar-map") or found.get("flow.scalar_map") or from_file.get("scalar_map")
        return Chosen(
            flow if isinstance(flow, str) and flow in ENTRIES else "nsf",
            scalar_map if isinstance(scalar_map, str) and scalar_map in MAPS else None,
        )

    @property
    def sentence(self) -> str:
        """The sentence in the help on options that it does not show."""
        other = "maf" if self.flow != "maf" else "nsf"
        of_map = f" with --scalar-map {self.scalar_map}" if self.scalar_map else ""
        return (
            f"These are the options of the flow {self.flow}{of_map}. `pushforward fit --flow {other} --help` shows "
            f"those of {other}; the flows are {', '.join(ENTRIES)}."
        )


def _flow_section(file: str) -> dict[str, Any]:
    """The section of the flow in a TOML file. Errors of the file are reported later, when its options are gathered."""
    try:
        section = tomllib.loads(Path(file).read_text()).get("flow", {})
    except (OSError, ValueError):
        return {}
    return section if isinstance(section, dict) else {}


def with_flags(command: Callable[..., int], chosen: Chosen) -> Callable[..., int]:
    """Give a command every option of `FitOptions` as a flag; it receives those that were given as `flags`.

    The help shows the options of the chosen flow. Options of other flows are hidden, and are refused by a sentence that
    lists those of the flow.

    Args:
        command: Function that takes its own parameters and the keyword `flags`, a dict of values by `section.key`.
        chosen: The chosen flow and its scalar map.
    """
    own = inspect.signature(command, eval_str=True)
    places = {f"{section}_{key}": (section, key, info) for section, key, info in options_of()}
    kept = [p for name, p in own.parameters.items() if name != "flags"]
    made = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(*place, chosen))
        for name, place in places.items()
    ]

    def wrapped(**arguments: Any) -> int:
        given = {name: arguments.pop(name) for name in places}
        flags = {}
        for name, value in given.items():
            if value is not None:
                section, key, info = places[name]
                flags[f"{section}.{key}"] = _plain(value, info)
        return command(**arguments, flags=flags)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    signature = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in kept] + made)
    wrapped.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    wrapped.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return wrapped


def _option(section: str, key: str, info: FieldInfo, chosen: Chosen) -> Any:
    kind, metavar = _kind(key, info)
    metavar = METAVARS.get(key, metavar)
    default, hidden, entry = info.get_default(), False, ENTRIES[chosen.flow]
    if section == "flow" and key in OPTIONS:
        hidden = key not in entry.accepted(chosen.scalar_map)
        if not hidden:
            default = entry.default(key, chosen.scalar_map)
            words = entry.options[key].words
            kind = StrEnum(key, {word: word for word in words}) if words else kind
    elif key == "name":
        default = chosen.flow
    elif key == "base":
        default = entry.bases[0]
    bounds: dict[str, Any] = {}
    for part in _metadata(info):
        if kind in (int, float):  # `Ge` and `Le` of pydantic's constraints
            bounds |= {name: getattr(part, own) for name, own in (("min", "ge"), ("max", "le")) if hasattr(part, own)}
    words = info.description or ""
    if default is not None and default != [] and not isinstance(default, bool):
        words += f" [default: {default}]"
    panel = {"data": "Columns", "flow": "Model", "training": "Training"}[section]
    option = typer.Option(
        flag_of(section, key),
        metavar=metavar,
        help=words,
        show_default=False,
        rich_help_panel=panel,
        hidden=hidden,
        **bounds,
    )
    return Annotated[kind | None, option]


def _types(info: FieldInfo) -> list[Any]:
    """The types that an option may have, without bounds."""
    members = (info.annotation, *get_args(info.annotation))
    return [get_args(member)[0] if get_origin(member) is Annotated else member for member in members]


def _metadata(info: FieldInfo) -> list[Any]:
    """The bounds of an option, which stand at the field or at the type that it may have beside None."""
    fields = [
        part for member in get_args(info.annotation) if get_origin(member) is Annotated for part in get_args(member)[1:]
    ]
    return [*info.metadata, *(bound for field in fields for bound in field.metadata)]


def _kind(key: str, info: FieldInfo) -> tuple[Any, str | None]:
    """The type of the flag, and what stands for its value in the help."""
    types = _types(info)
    words = next((get_args(t) for t in types if get_origin(t) is Literal), None)
    if words is not None:
        return StrEnum(key, {word: word for word in words}), None
    for kind, metavar in ((bool, None), (int, "N"), (float, "X"), (Path, "FILE")):
        if kind in types:
            return kind, metavar
    if _is_table(types):
        return str, "[[0,1,...],...]"
    return str, "A,B,..." if any(get_origin(t) is list for t in types) else "COLUMN"


def _is_table(types: list[Any]) -> bool:
    """Whether an option is a list of lists, which is written as TOML writes it."""
    inner = [get_args(t)[0] for t in types if get_origin(t) is list]
    return any(get_origin(t) is Annotated and get_origin(get_args(t)[0]) is list for t in inner)


def _plain(value: Any, info: FieldInfo) -> Any:
    if _is_table(_types(info)):
        return value_of(value)
    if any(get_origin(t) is list for t in _types(info)) and isinstance(value, str) and not isinstance(value, StrEnum):
        return names_in(value)
    return str(value) if isinstance(value, StrEnum | Path) else value


def names_in(option: str | None) -> list[str] | None:
    r"""The names in a comma-separated list; a comma inside a name is written as `\,`."""
    if option is None:
        return None
    names = [name.replace("\0", ",").strip() for name in option.replace("\\,", "\0").split(",")]
    if not all(names):
        raise typer.BadParameter(f"expected names separated by commas, got {option!r}.")
    return names


def gather(file: Path | None, settings: list[str] | None, flags: Mapping[str, Any]) -> FitOptions:
    """Gather the options of a run from a file, from settings and from flags.

    Raises:
        typer.BadParameter: An unknown key, or a value of the wrong kind.
    """
    try:
        return FitOptions.gather(file, settings or (), flags)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
