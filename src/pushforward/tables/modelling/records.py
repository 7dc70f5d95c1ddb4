"""What the JSON files of a model may say: a closed list of names, and a bound on every number.

Nothing in a file names code. The bounds keep a small file from asking for a large model; how much memory is used in
the end is decided by the size of the weights file that is really there (`model_folder.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from pushforward.distributions.spaces import Space
from pushforward.io.errors import UntrustedModelError
from pushforward.io.flow_options import MAX_DIM, OPTIONS, BaseName, FlowName, ObjectiveName

FORMAT_VERSION = 1
MAX_ROWS = 10**6


def _printable(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("a name must be printable and not blank")
    return name


Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]
Text = Annotated[str, Field(max_length=10_000), AfterValidator(_printable)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z.+!-]{1,64}$")]


class Strict(BaseModel):
    """The base of all records: values are not converted, unknown keys are refused, records do not change."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Arguments(Strict):
    """Arguments of a function of the zoo; those that are absent keep its defaults."""

    def given(self) -> dict[str, Any]:
        """The arguments that the file states, also where it states null."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


# An absent argument is None, which a file may say only where the option's own type does.
_FIELDS: Any = {name: (option.kind, None) for name, option in OPTIONS.items()}
FlowArguments: type[Arguments] = create_model("FlowArguments", __base__=Arguments, **_FIELDS)


class FlowConfig(Strict):
    """The flow: its name in the zoo, its arguments, its base distribution."""

    name: FlowName  # pyright: ignore[reportInvalidTypeForm] - as many as the zoo has
    arguments: FlowArguments  # pyright: ignore[reportInvalidTypeForm] - made of the options
    base: BaseName = "normal"


class MassConfig(Strict):
    """The network of the states, and how states and conditions reach the flow."""

    width: Annotated[int, Field(ge=1, le=MAX_DIM)]
    depth: Annotated[int, Field(ge=1, le=64)]
    smoothing: Annotated[float, Field(ge=0, lt=1)]
    embed: Annotated[int, Field(ge=1, le=MAX_DIM)] | None


class Settings(Strict):
    """The parameters of the estimator: `n_layers` and the like as the user gave them, None where a default was taken.

    `schema` says whether there was one; the schema itself lies in a file of its own. `output` is what `set_output` set.
    """

    flow: FlowName  # pyright: ignore[reportInvalidTypeForm] - as many as the zoo has
    base: BaseName
    given: Annotated[list[Name], Field(max_length=MAX_DIM)] | None
    order: Annotated[list[Name], Field(max_length=MAX_DIM)] | None = None
    n_layers: Count | None
    width: Count | None
    depth: Count | None
    bins: Count | None
    autoregressive: bool | None
    flow_options: FlowArguments | None  # pyright: ignore[reportInvalidTypeForm] - made of the options
    objective: ObjectiveName | None
    with_schema: bool = Field(alias="schema")
    missing: Literal["error", "drop", "model"]
    bounds: Literal["observed", "natural", "none"] = "natural"
    unseen: Literal["error", "other"] = "error"
    verify: bool
    n_members: Annotated[int, Field(ge=1, le=255)] | None = None
    max_epochs: Count | None
    max_seconds: Annotated[float, Field(gt=0, le=1e12)] | None
    batch_size: Count | None
    learning_rate: Number | None
    weight_decay: Number | None
    validation_fraction: Number
    progress: bool | Literal["auto"]
    random_state: Annotated[int, Field(ge=0, lt=2**32)] | None
    output: Literal["default", "pandas", "polars", "pyarrow"] | None

    def plain(self) -> dict[str, Any]:
        """The parameters by name, the options of the flow as the file states them."""
        values = self.model_dump(by_alias=True, exclude={"flow_options"})
        return {**values, "flow_options": None if self.flow_options is None else self.flow_options.given()}


class MarginRecord(Strict):
    """A value with a space of its own."""

    name: Name
    space: Space
    heavy: bool = False
    rounded: bool = False


class MarginConfig(Strict):
    """The values with spaces of their own, and the network that they share."""

    columns: Annotated[list[MarginRecord], Field(max_length=MAX_DIM)]
    width: Annotated[int, Field(ge=1, le=MAX_DIM)]
    depth: Annotated[int, Field(ge=1, le=64)]
    bins: Annotated[int, Field(ge=2, le=256)]


class Config(Strict):
    """The contents of `config.json`: how the model is built."""

    format: Literal["pushforward"]
    format_version: Literal[1]
    pushforward_version: Version
    flow: FlowConfig
    masses: MassConfig
    gaussian_start: bool = False
    column_bins: Literal[0] | Annotated[int, Field(ge=2, le=256)] = 0
    members: Annotated[int, Field(ge=1, le=256)] = 1
    margins: MarginConfig
    given: Annotated[list[Name], Field(max_length=MAX_DIM)]
    settings: Settings | None = None
    named: bool
    frame: Literal["pandas", "polars", "pyarrow", "dict"] | None

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if len(set(self.given)) < len(self.given):
            raise ValueError("a column is listed twice")
        return self


class VerdictRecord(Strict):
    """How the fit ended: the fields of `training.Verdict`."""

    status: Annotated[str, Field(max_length=64), AfterValidator(_printable)]
    judgement: Annotated[str, Field(max_length=64)]
    text: Text
    held_out_nats: Number | None
    standard_error: Number | None
    epochs: Count
    steps: Count
    best_step: Count
    seconds: Annotated[float, Field(ge=0, le=1e12)]
    n_skipped: Count
    n_rewinds: Count
    n_rows_left_out: Count = 0
    n_rows_unscored: Count = 0
    n_rows_streamed: Count = 0
    n_rows_met: Count = 0

    @model_validator(mode="after")
    def _known(self) -> VerdictRecord:
        from pushforward.training.result import Judgement

        if self.judgement not in get_args(Judgement):
            raise ValueError(f"judgement: expected one of {', '.join(get_args(Judgement))}")
        return self


Column = Annotated[list[Number | None], Field(max_length=MAX_ROWS)]


class BaselineRecord(Strict):
    """How a simple density does on the held-out rows."""

    name: Annotated[str, Field(max_length=64)]
    nats: Number | None
    standard_error: Number | None
    detail: Text
    gain: Number | None = None
    gain_error: Number | None = None
    comparison: Text | None = None


class Metrics(Strict):
    """`metrics.json`: the learning curve, how the fit ended, and what it was fitted to."""

    rows: Count
    rows_left_out: Count = 0
    history: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")], Column], Field(max_length=32)]
    verdict: VerdictRecord
    baselines: Annotated[list[BaselineRecord], Field(max_length=16)] = []
    notes: Annotated[list[Text], Field(max_length=10_000)] = []
    # Null is minus infinity: a row that the model holds to be impossible.
    held_out_scores: Annotated[list[Number | None], Field(max_length=100_000)] = []

    @model_validator(mode="after")
    def _consistent(self) -> Metrics:
        if len({len(column) for column in self.history.values()}) > 1:
            raise ValueError("the columns of the history differ in length")
        return self


def validate(kind: type[Strict], value: Any, label: str) -> Any:
    """Read a value as a record.

    Raises:
        UntrustedModelError: The value does not follow the schema; the message says in one sentence where.
    """
    if isinstance(value, dict) and value.get("format") == "pushforward" and "format_version" in kind.model_fields:
        version = value.get("format_version")
        if isinstance(version, int) and not isinstance(version, bool) and version != FORMAT_VERSION:
            raise UntrustedModelError(
                f"{label}: the model has format_version {str(version)[:20]}, but this pushforward reads format "
                f"{FORMAT_VERSION} alone. Load it with the pushforward that wrote it, or fit the model again."
            )
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"][:6]) or "the whole file"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UntrustedModelError(f"{label}: {where}: {first['msg']}{more}: not as pushforward writes it.") from error
