"""How a data frame holds its columns beyond what Arrow says of them, so that samples come back as what was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pushforward.tables import times

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
MAX_CATEGORIES = 4096 + 256
KEY = b"pushforward.container"
Item = Annotated[str, Field(max_length=4096)] | bool | Annotated[int, Field(ge=-(2**63), lt=2**64)] | float
Nullable = Literal[
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "boolean"
]  # fmt: skip
Text = Literal["string[python]", "string[pyarrow]"]
# Types of pandas; "pyarrow" is pandas over Arrow, of whatever type. Then those of polars, and Arrow's own dictionaries.
Dtype = Nullable | Text | Literal["object", "category", "pyarrow", "Enum", "Categorical", "dictionary"]
CODED = ("category", "Enum", "Categorical", "dictionary")
Index = Literal["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
INDEX: Mapping[str, pa.DataType] = {name: pa.type_for_alias(name) for name in get_args(Index)}
TEXTS: Mapping[str, pa.DataType] = {"large_string": pa.large_string(), "string_view": pa.string_view()}


class Container(BaseModel):
    """How the data frame of the fit held a column, where the type of its cells does not say it.

    Attributes:
        dtype: the frame's own type, such as `Int64` or `category` of pandas or `Enum` of polars.
        label: the name of the column in the frame, if it is no text: a number, or a tuple of several levels.
        categories: of a categorical column, in their order, also those that no row has; dates and times as numbers.
        ordered: whether the order of the categories means something.
        index: of an Arrow dictionary, the type of its codes.
        text: the type of Arrow text, if another than `string`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    dtype: Dtype | None = None
    label: bool | int | float | Annotated[tuple[Item, ...], Field(strict=False)] | None = None
    categories: Annotated[tuple[Item, ...], Field(max_length=MAX_CATEGORIES, strict=False)] = ()
    ordered: bool = False
    index: Index | None = None
    text: Literal["large_string", "string_view"] | None = None


def field_of(name: str, array: Any, held: Container | None) -> pa.Field:
    """The field of a column that says how the frame held it, if it is known."""
    if held is None:
        return pa.field(name, array.type)
    return pa.field(name, array.type, metadata={KEY: held.model_dump_json(exclude_defaults=True)})


def containers_of(table: pa.Table) -> dict[str, Container]:
    """How the source of a table held its columns, for those of which there is something to say."""
    found = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        said = (field.metadata or {}).get(KEY)
        held = _of_arrow(column) if said is None else _read(said)
        if held != Container():
            found[field.name] = held
    return found


def _read(text: bytes) -> Container:
    try:
        return Container.model_validate_json(text)
    except ValidationError:  # a file may say what it likes
        return Container()


def held_by(series: Any, label: Any) -> Container | None:
    """How a pandas or polars series holds its cells; None for other frames, whose Arrow type says it.

    Args:
        series: the column of the frame itself.
        label: its name there.
    """
    library = type(series).__module__.split(".")[0]
    if library not in ("pandas", "polars"):
        return None
    made: dict[str, Any] = _of_pandas(series) if library == "pandas" else _of_polars(series)
    try:
        return Container(**made, label=labelled(label).label)
    except ValidationError:  # a category that JSON does not hold
        return labelled(label)


def labelled(label: Any) -> Container:
    """How a column is held whose name may be no text."""
    try:
        return Container(label=None if isinstance(label, str) else _label(label))
    except ValidationError:  # a name that JSON does not hold
        return Container()


def _label(label: Any) -> Any:
    if isinstance(label, tuple):
        return tuple(_label(item) if not isinstance(item, str) else item for item in label)
    return label.item() if isinstance(label, np.generic) else label


def _of_pandas(series: Any) -> dict[str, Any]:
    dtype = series.dtype
    name = str(dtype)
    if name in get_args(Nullable):
        return {"dtype": name}
    if name == "category":
        return {"dtype": name, "categories": _few(_of_index(dtype.categories)), "ordered": dtype.ordered}
    if getattr(dtype, "pyarrow_dtype", None) is not None:
        return {**_of_arrow(pa.chunked_array([pa.array(series)])).model_dump(exclude_defaults=True), "dtype": "pyarrow"}
    if name == "string" and dtype.na_value is not np.nan:  # the text of pandas 3 has NaN, and is what Arrow's becomes
        return {"dtype": f"string[{dtype.storage}]"}
    return {"dtype": "object"} if name == "object" else {}


def _of_index(categories: Any) -> tuple:
    """Categories as JSON holds them; those that it does not, such as intervals, as their text."""
    try:
        items = _items(pa.array(categories, from_pandas=True))
    except (pa.ArrowException, TypeError, ValueError):
        items = None
    return tuple(str(item) for item in categories) if items is None else items


def _of_polars(series: Any) -> dict[str, Any]:
    name = str(series.dtype).partition("(")[0]
    if name == "Enum":
        return {"dtype": name, "categories": _few(tuple(series.dtype.categories))}
    return {"dtype": name} if name == "Categorical" else {}


def _of_arrow(column: pa.ChunkedArray) -> Container:
    kind = column.type
    if pa.types.is_dictionary(kind):
        values = column.unify_dictionaries()
        categories = _items(values.chunk(0).dictionary) if values.num_chunks else None
        held = {"dtype": "dictionary", "index": str(kind.index_type), "ordered": kind.ordered}
        return Container(**held, categories=_few(categories or ()), text=_text(kind.value_type))
    return Container(text=_text(kind))


def _text(kind: pa.DataType) -> Any:
    return (
        "large_string" if pa.types.is_large_string(kind) else "string_view" if pa.types.is_string_view(kind) else None
    )


def _items(values: Any) -> tuple | None:
    """Categories as JSON holds them, None if it does not."""
    kind = values.type
    if values.null_count:
        return None
    if times.is_time(kind):
        return tuple(times.to_numbers(pa.chunked_array([values])).tolist())
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return tuple(values.to_pylist()) if plain or pa.types.is_string(kind) or _text(kind) else None


def _few(categories: tuple) -> tuple:
    return categories if len(categories) <= MAX_CATEGORIES else ()


def restored(column: pa.ChunkedArray, held: Container) -> pa.ChunkedArray:
    """A column of samples as the source held it, in Arrow: with its categories, and its type of text."""
    kind = column.type
    plain = column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column
    if held.dtype in CODED or held.index is not None:
        return pa.chunked_array([_coded(plain.combine_chunks(), held)])
    return plain.cast(TEXTS[held.text]) if held.text is not None and pa.types.is_string(plain.type) else column


def _coded(plain: pa.Array, held: Container) -> pa.Array:
    index = INDEX[held.index or "int32"]
    if not held.categories:
        coded = plain.dictionary_encode()
        indices, values = coded.indices, coded.dictionary
    else:
        values = known = _categories(held.categories, plain.type)
        if pa.types.is_string(plain.type):  # as the cells are read, without blanks around them
            known = pc.utf8_trim_whitespace(known)
        indices = pc.index_in(plain, value_set=known)
    if held.text is not None and pa.types.is_string(values.type):
        values = values.cast(TEXTS[held.text])
    return pa.DictionaryArray.from_arrays(indices.cast(index), values, ordered=held.ordered)


def _categories(items: tuple, kind: pa.DataType) -> pa.Array:
    if times.is_time(kind):
        return times.from_numbers(np.array(items, float), kind)
    if pa.types.is_string(kind):
        return pa.array([str(item) for item in items], kind)
    return pa.array(items).cast(kind)
