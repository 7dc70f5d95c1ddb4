"""Models of earlier formats, brought to the present one before they are validated against it.

Every format that was ever released can be read; `tests/golden` holds a folder of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from pushforward.data.schema import Column, TableSchema
from pushforward.distributions.table import UNBOUNDED
from pushforward.io.errors import UntrustedModelError
from pushforward.io.flow_options import MAX_DIM
from pushforward.io.schema import FlowArguments, Name, Strict, Version, validate

Records = dict[str, Any]


class Arguments1(FlowArguments):  # pyright: ignore[reportGeneralTypeIssues] - made of the options
    """Arguments in format 1, the dimensions among them."""

    dim: Annotated[int, Field(ge=1, le=MAX_DIM)]
    condition_dim: Annotated[int, Field(ge=1, le=MAX_DIM)] | None = None


class Flow1(Strict):
    """The flow in format 1."""

    name: Literal["nice", "realnvp", "maf", "iaf", "nsf"]
    arguments: Arguments1
    base: Literal["normal", "student_t", "diagonal_normal"] = "normal"


class Config1(Strict):
    """`config.json` in format 1, which had real columns alone and no `schema.json`."""

    format: Literal["pushforward"]
    format_version: Literal[1]
    pushforward_version: Version
    flow: Flow1
    columns: Annotated[list[Name], Field(min_length=1, max_length=2 * MAX_DIM)]
    given: Annotated[list[Name], Field(max_length=MAX_DIM)]
    named: bool

    @model_validator(mode="after")
    def _consistent(self) -> Config1:
        if len(set(self.columns)) < len(self.columns) or not set(self.given) <= set(self.columns):
            raise ValueError("a column is listed twice, or given names a column that is not listed")
        arguments = self.flow.arguments
        if len(self.columns) - len(self.given) != arguments.dim or len(self.given) != (arguments.condition_dim or 0):
            raise ValueError("the columns do not add up to the dimensions of the flow")
        return self


def migrate(records: Records, entries: dict[str, Any], path: Path) -> tuple[Records, dict[str, Any]]:
    """The JSON records and the arrays of a model, as the present format has them.

    Args:
        records: parsed JSON by file name.
        entries: arrays by name, as safetensors describes them.
        path: of the folder, for messages.

    Raises:
        UntrustedModelError: the records do not follow the format that they claim.
    """
    config = records.get("config.json")
    if isinstance(config, dict) and config.get("format_version") == 1:
        return _from_1(records, entries, path)
    return records, entries


def _from_1(records: Records, entries: dict[str, Any], path: Path) -> tuple[Records, dict[str, Any]]:
    """Format 1: a flow in a chain with its standardisation; conditions went through one of their own."""
    config: Config1 = validate(Config1, records["config.json"], f"{path / 'config.json'}")
    arguments = config.flow.arguments.given()
    n_given, dim = len(config.given), config.flow.arguments.dim
    arguments = {name: value for name, value in arguments.items() if name not in ("dim", "condition_dim")}
    new = {
        "format": "pushforward",
        "format_version": 2,
        "pushforward_version": config.pushforward_version,
        "flow": {"name": config.flow.name, "arguments": arguments, "base": config.flow.base},
        "masses": {"width": 128, "depth": 2, "smoothing": 0.0, "embed": None},
        "given": config.given,
        "named": config.named,
        "frame": None,
    }
    columns = tuple(Column(name=name, kind="real") for name in config.columns)
    inner = "bijection.bijection.bijections" if n_given else "bijection.bijections"
    renamed: dict[str, Any] = {}
    for name, entry in entries.items():
        if name.startswith("base."):
            renamed[f"values.{name}"] = entry
        elif name.startswith(f"{inner}.0."):
            renamed[f"values.bijection.{name.removeprefix(f'{inner}.0.')}"] = entry
        elif name.startswith(f"{inner}.1."):
            renamed[f"units.{name.removeprefix(f'{inner}.1.')}"] = entry
        elif n_given and name.startswith("bijection.net.units."):
            renamed[f"given.{name.removeprefix('bijection.net.')}"] = entry
        else:
            raise UntrustedModelError(
                f"{path / 'model.safetensors'}: an array {name[:80]!r} that format 1 did not have."
            )
    _add_units(renamed, "units", dim, path)
    if n_given:
        _add_units(renamed, "given.units", n_given, path)
    renamed["steps.value"] = _entry(np.zeros(dim))
    renamed["bounds.value"] = _entry(np.tile([-UNBOUNDED, UNBOUNDED], (dim, 1)))
    records = {**records, "config.json": new, "checks.json": None}
    records["schema.json"] = TableSchema(columns=columns).model_dump(mode="json")
    return records, renamed


def _add_units(entries: dict[str, Any], name: str, dim: int, path: Path) -> None:
    """What units have beside location and scale since format 2."""
    scale = entries.get(f"{name}.scale.value")
    if scale is None or scale["dtype"] != "F64" or tuple(scale["shape"]) != (dim,):
        raise UntrustedModelError(
            f"{path / 'model.safetensors'}: the scales of the standardisation are not {dim} numbers."
        )
    values = np.frombuffer(scale["data"], "<f8")
    if not np.all(np.isfinite(values) & (values > 0)):
        raise UntrustedModelError(f"{path / 'model.safetensors'}: a scale of the standardisation is not positive.")
    entries[f"{name}.log_scale.value"] = _entry(np.log(values))
    entries[f"{name}.centre.value"] = _entry(np.zeros(dim))
    entries[f"{name}.spread.value"] = _entry(np.ones(dim))


def _entry(values: np.ndarray) -> dict[str, Any]:
    return {"dtype": "F64", "shape": list(values.shape), "data": np.ascontiguousarray(values, "<f8").tobytes()}
