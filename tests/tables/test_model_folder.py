"""Model folders: what is saved is what is loaded, and whatever was altered is refused before it is used."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from pushforward.bijections.elementwise import ColumnUnits, Unit
from pushforward.distributions import evaluation_form
from pushforward.distributions.spaces import Place
from pushforward.flows import ENTRIES
from pushforward.io import UntrustedModelError
from pushforward.io.files import CARD, MANIFEST, check_folder_target
from pushforward.tables import ModelParts, load_model, save_model
from pushforward.tables.encoding import Layout
from pushforward.tables.modelling.assemble import Measured, Recipe, assemble
from pushforward.tables.modelling.places import Margin
from pushforward.tables.modelling.records import FlowArguments
from pushforward.tables.schema import Column, TableSchema

ARGUMENTS = {"autoregressive": False, "n_layers": 2, "width": 8, "depth": 2, "bins": 4, "linear": "permutation"}
SCHEMA = TableSchema(
    rows=100,
    columns=(
        Column(name="c0", kind="real"),
        Column(name="c1", kind="real", seen=(1e9, 2e9)),
        Column(name="c2", kind="count", type="int64", step=1.0, missing=True),
        Column(name="c3", kind="category", type="string", levels=("red", "blue"), rare=("teal",), rare_counts=(2,)),
        Column(name="c4", kind="constant", type="string", value="kg"),
        Column(name="c5", kind="real"),
    ),
)
FILES = ("config.json", "schema.json", "metrics.json", "checks.json", "model.safetensors")
VERDICT = {
    "status": "converged",
    "judgement": "converged",
    "text": "Converged, after 10 steps.",
    "held_out_nats": -1.25,
    "standard_error": 0.125,
    "epochs": 2,
    "steps": 10,
    "best_step": 8,
    "seconds": 1.5,
    "n_skipped": 0,
    "n_rewinds": 0,
    "n_rows_left_out": 0,
    "n_rows_unscored": 0,
    "n_rows_streamed": 0,
    "n_rows_met": 0,
}
HISTORY = {
    "epoch": np.array([1, 2]),
    "train_nats": np.array([-2.0, -1.0]),
    "held_out_nats": np.array([np.nan, -1.25]),
}


def make(name: str = "nsf", base: str = "normal", **arguments: Any) -> ModelParts:
    """A model of a mixed table given one of its columns."""
    arguments = arguments or ARGUMENTS
    layout = Layout(tuple(column for column in SCHEMA.modelled if column.name != "c0"))
    given = Layout((SCHEMA.column("c0"),))
    margins = (Margin("c2", "above", rounded=True),)
    sizes: dict[str, Any] = {
        "mass_width": 4,
        "mass_depth": 1,
        "embed": 3,
        "margin_width": 4,
        "margin_depth": 1,
        "margin_bins": 3,
    }
    recipe = Recipe(name, arguments, base, margins=margins, **sizes)
    distribution = assemble(
        layout,
        given,
        recipe,
        jax.random.key(3),
        Measured(
            ColumnUnits([Unit("real", 1e9 + 0.123456789, 1 / 3), Unit("real", 2.0, 1.5)]),
            (Place("above", 0.0, 2.0 / 3.0, step=1.0, rounded=True, counted=True),),
            given_units=ColumnUnits([Unit("real", 1.0, 2.0)]),
        ),
    )
    return ModelParts(
        schema=SCHEMA,
        given=("c0",),
        recipe=recipe,
        distribution=distribution,
        named=True,
        frame="pandas",
        rows=100,
        history=HISTORY,
        verdict=VERDICT,
        baselines=[{"name": "gaussian", "nats": -2.0, "standard_error": 0.1, "detail": "full covariance"}],
        notes=("the table: 'c4' is constant.",),
        card="# A card\n",
    )


def scores(parts: ModelParts) -> np.ndarray:
    rows = np.array([[0, 0, 1e9, 3.0, 1.5], [1, 2, 1e9 + 1, 0.0, -2.0]])
    return np.asarray(parts.distribution.log_prob(rows, np.ones((2, 1)), key=jax.random.key(0)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_model(make(), folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def test_round_trip(saved: Path) -> None:
    parts, loaded = make(), load_model(saved)
    np.testing.assert_array_equal(scores(loaded), scores(parts))
    assert np.isfinite(scores(loaded)).all()
    assert eqx.tree_equal(loaded.distribution, parts.distribution)
    assert (loaded.schema, loaded.given, loaded.recipe) == (SCHEMA, ("c0",), parts.recipe)
    assert (loaded.rows, loaded.named, loaded.frame, dict(loaded.verdict)) == (100, True, "pandas", VERDICT)
    assert (loaded.baselines, loaded.notes, loaded.checks) == (parts.baselines, parts.notes, None)
    np.testing.assert_array_equal(loaded.history["held_out_nats"], HISTORY["held_out_nats"])
    assert set(os.listdir(saved)) == {*FILES, MANIFEST, CARD}


# `tests/estimators/test_angles.py` saves the one over angles, whose columns are of another kind.
STORED = [name for name, entry in ENTRIES.items() if entry.space == "line"]
EVERY_RUN = ("nice", "maf", "nsf", "umnn", "gaussianization", "sylvester", "residual_flow")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in EVERY_RUN else pytest.mark.thorough) for name in STORED]
)
def test_the_whole_zoo(name: str, tmp_path: Path) -> None:
    entry, wanted = ENTRIES[name], {"n_layers": 2, "width": 4, "depth": 2, "linear": "lu", "actnorm": True}
    own = {option: value for option, value in wanted.items() if option in entry.options}
    parts = make(name, entry.bases[STORED.index(name) % len(entry.bases)], **own)
    save_model(parts, tmp_path / "model")
    assert eqx.tree_equal(load_model(tmp_path / "model").distribution, evaluation_form(parts.distribution))


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if not entry.has_networks])
def test_a_flow_without_networks_is_not_taken_for_a_bomb(name: str, tmp_path: Path) -> None:
    """Unconditional low-rank layers have no networks, though their options name a width and a depth."""
    parts = make(name, n_layers=1, width=512, depth=8)
    numbers = TableSchema(rows=100, columns=SCHEMA.columns[:2])
    units = ColumnUnits([Unit("real", 1.0, 2.0), Unit("real", 1e9, 3.0)])
    recipe = dataclasses.replace(parts.recipe, margins=())
    distribution = assemble(Layout(numbers.modelled), None, recipe, jax.random.key(3), Measured(units))
    parts = dataclasses.replace(parts, schema=numbers, given=(), recipe=recipe, distribution=distribution, notes=())
    save_model(parts, tmp_path / "model")
    assert eqx.tree_equal(load_model(tmp_path / "model").distribution, parts.distribution)


def test_the_units_keep_double_precision_where_single_is_the_default(tmp_path: Path) -> None:
    with jax.enable_x64(False):
        save_model(make(), tmp_path / "model")
        loaded = load_model(tmp_path / "model")
    units = loaded.distribution.units
    assert units is not None
    loc: Any = units.loc.value
    assert loc.dtype == np.float64
    assert loc[0] == 1e9 + 0.123456789


def test_every_argument_of_the_zoo_can_be_saved() -> None:
    for entry in ENTRIES.values():
        assert FlowArguments.model_validate(entry.arguments({})).given() == entry.arguments({})
    assert set(FlowArguments.model_fields) == set().union(*(entry.options for entry in ENTRIES.values()))


def test_the_manifest_is_in_the_format_of_sha256sum(saved: Path) -> None:
    for line in (saved / MANIFEST).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((saved / name).read_bytes()).hexdigest() == digest


def test_the_same_model_gives_the_same_folder(saved: Path, tmp_path: Path) -> None:
    save_model(make(), tmp_path / "again")
    for name in os.listdir(saved):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_nothing_is_overwritten_unasked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="--force"):
        save_model(make(), folder)
    save_model(make("maf", n_layers=1, width=4), folder, force=True)
    assert load_model(folder).recipe.flow == "maf"
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        save_model(make(), folder, force=True)
    assert load_model(folder).recipe.flow == "maf"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="not a folder"):
        save_model(make(), tmp_path / "file", force=True)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(FileExistsError):
        check_folder_target(tmp_path / "link", force=True)
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "model"], "a temporary folder was left behind"


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_model(make(), tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_a_failed_replacement_keeps_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, calls = os.rename, []

    def broken(source: Any, target: Any) -> None:
        calls.append(source)
        if len(calls) == 2:  # the new folder under its name
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(OSError, match="Input/output"):
        save_model(make("maf", n_layers=1, width=4), folder, force=True)
    assert load_model(folder).recipe.flow == "nsf"
    assert os.listdir(folder.parent) == ["model"]


def test_models_that_could_not_be_loaded_are_not_saved(tmp_path: Path) -> None:
    import dataclasses

    parts = make()
    for change in (
        {"given": ("c9",)},
        {"given": ("c4",)},
        {"rows": -1},
        {"notes": ("\x1b",)},
        {"checks": {"lines": 3}},
    ):
        with pytest.raises(ValueError, match="the model"):
            save_model(dataclasses.replace(parts, **change), tmp_path / "model")
    for argument, value in (("linear", lambda key, dim: None), ("width", 10**9), ("hook", 1)):
        recipe = dataclasses.replace(parts.recipe, arguments={**ARGUMENTS, argument: value})
        with pytest.raises(ValueError, match=f"save_model|{argument}"):
            save_model(dataclasses.replace(parts, recipe=recipe), tmp_path / "model")
    assert os.listdir(tmp_path) == []


# --- attacks -----------------------------------------------------------------------------------------------------


def seal(folder: Path) -> None:
    """Make the manifest right again: an attacker can."""
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES]
    (folder / MANIFEST).write_text("".join(lines))


def edit(folder: Path, file: str, *path: Any, value: Any) -> None:
    content = json.loads((folder / file).read_text())
    place = content
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    (folder / file).write_text(json.dumps(content))
    seal(folder)


def weights(folder: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    arrays = load_bytes((folder / "model.safetensors").read_bytes())
    change(arrays)
    (folder / "model.safetensors").write_bytes(save_bytes(arrays))
    seal(folder)


def poison(arrays: dict[str, np.ndarray], number: float, part: str = "weights.0") -> None:
    name = next(name for name in arrays if part in name)
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] = number


def write(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    seal(folder)


def link(folder: Path, file: str) -> None:
    (folder / file).rename(folder.parent / "elsewhere")
    (folder / file).symlink_to(folder.parent / "elsewhere")


FLOW = ("config.json", "flow", "arguments")
MASSES = ("config.json", "masses")
COLUMNS = ("schema.json", "columns")
ATTACKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "missing"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "missing"),
    "no config": (lambda f: (f / "config.json").unlink(), "missing"),
    "manifest lists less": (lambda f: (f / MANIFEST).write_text(""), "does not list config.json"),
    "manifest lists a path": (
        lambda f: (f / MANIFEST).write_text("0" * 64 + "  ../../passwd\n"),
        "unexpected line",
    ),
    "manifest lists twice": (
        lambda f: (f / MANIFEST).write_text((f / MANIFEST).read_text() * 2),
        "unexpected line",
    ),
    "manifest is binary": (lambda f: (f / MANIFEST).write_bytes(bytes(range(256))), "unexpected line"),
    "manifest is huge": (lambda f: (f / MANIFEST).write_bytes(b"0" * 10**6), "more than"),
    "unsealed edit of the config": (
        lambda f: (f / "config.json").write_bytes((f / "config.json").read_bytes().replace(b"c0", b"c9")),
        "SHA-256",
    ),
    "linked weights": (lambda f: link(f, "model.safetensors"), "symbolic link"),
    "linked config": (lambda f: link(f, "config.json"), "symbolic link"),
    "linked manifest": (lambda f: link(f, MANIFEST), "symbolic link"),
    "a folder for a file": (lambda f: ((f / "config.json").unlink(), (f / "config.json").mkdir()), "config.json"),
    "a pipe for a file": (lambda f: ((f / "config.json").unlink(), os.mkfifo(f / "config.json")), "not a regular"),
    "config is no JSON": (lambda f: write(f, "config.json", b"{"), "not valid JSON"),
    "config is UTF-16": (lambda f: write(f, "config.json", "{}".encode("utf-16")), "not valid JSON"),
    "config is a list": (lambda f: write(f, "config.json", b"[]"), "whole file"),
    "config nested deeply": (lambda f: write(f, "config.json", b"[" * 200_000), "not valid JSON"),
    "config with a repeated key": (lambda f: write(f, "config.json", b'{"format": 1, "format": 2}'), "repeated"),
    "config with NaN": (lambda f: write(f, "config.json", b'{"format": NaN}'), "NaN is not JSON"),
    "an endless number": (lambda f: write(f, "config.json", b'{"format": ' + b"9" * 10_000 + b"}"), "not valid JSON"),
    "unknown key": (lambda f: edit(f, "config.json", "_target_", value="os.system"), "_target_"),
    "unknown argument": (lambda f: edit(f, *FLOW, "hook", value="os.system"), "hook"),
    "foreign argument": (
        lambda f: edit(f, *FLOW, "max_log_scale", value=3.0),
        "max_log_scale is no option of the flow nsf",
    ),
    "unknown flow": (lambda f: edit(f, "config.json", "flow", "name", value="os.system"), "flow.name"),
    "a base of angles": (lambda f: edit(f, "config.json", "flow", "base", value="torus"), "no base of the flow nsf"),
    "unknown base": (lambda f: edit(f, "config.json", "flow", "base", value="eval"), "flow.base"),
    "another flow": (lambda f: edit(f, "config.json", "flow", "name", value="maf"), "is no option of the flow maf"),
    "text for a number": (lambda f: edit(f, *FLOW, "width", value="8"), "width"),
    "truth for a number": (lambda f: edit(f, *FLOW, "n_layers", value=True), "n_layers"),
    "fraction for a count": (lambda f: edit(f, *FLOW, "n_layers", value=2.5), "n_layers"),
    "negative width": (lambda f: edit(f, *FLOW, "width", value=-8), "width"),
    "huge width": (lambda f: edit(f, *FLOW, "width", value=10**12), "width"),
    "large width": (lambda f: edit(f, *FLOW, "width", value=16384), "describes a model of at least"),
    "large everything": (
        lambda f: (
            edit(f, *FLOW, "width", value=16384),
            edit(f, *FLOW, "depth", value=64),
            edit(f, *FLOW, "n_layers", value=512),
        ),
        "describes a model of at least",
    ),
    "other width": (lambda f: edit(f, *FLOW, "width", value=7), "expected shape"),
    "other depth": (lambda f: edit(f, *FLOW, "depth", value=1), "has no use for"),
    "other layers": (lambda f: edit(f, *FLOW, "n_layers", value=1), "expected shape"),
    "other bins": (lambda f: edit(f, *FLOW, "bins", value=5), "expected shape"),
    "infinite bound": (lambda f: edit(f, *FLOW, "bound", value=1e300), "bound"),
    "linear none": (lambda f: edit(f, *FLOW, "linear", value=None), "linear=None"),
    "split too long": (lambda f: edit(f, *FLOW, "split", value=[True] * 5), "mask of 2"),
    "later format": (lambda f: edit(f, "config.json", "format_version", value=99), "reads format 1 alone"),
    "format zero": (lambda f: edit(f, "config.json", "format_version", value=0), "fit the model again"),
    "another program": (lambda f: edit(f, "config.json", "format", value="torch"), "format"),
    "no schema": (lambda f: (f / "schema.json").unlink(), "missing"),
    "no checks": (lambda f: (f / "checks.json").unlink(), "missing"),
    "manifest lists one more": (
        lambda f: (f / MANIFEST).write_text((f / MANIFEST).read_text() + "0" * 64 + "  hooks.py\n"),
        "unexpected line",
    ),
    "manifest lists a folder above": (
        lambda f: (f / MANIFEST).write_text((f / MANIFEST).read_text().replace("schema.json", "../schema.json")),
        "unexpected line",
    ),
    "linked schema": (lambda f: link(f, "schema.json"), "symbolic link"),
    "linked checks": (lambda f: link(f, "checks.json"), "symbolic link"),
    "checks are huge": (lambda f: (f / "checks.json").write_bytes(b" " * (2**23 + 1)), "more than"),
    "schema is no JSON": (lambda f: write(f, "schema.json", b"{"), "not valid JSON"),
    "schema with an unknown key": (lambda f: edit(f, *COLUMNS, 0, "_target_", value="os.system"), "_target_"),
    "schema with an unknown kind": (lambda f: edit(f, *COLUMNS, 0, "kind", value="os.system"), "expected kind"),
    "schema of a later format": (lambda f: edit(f, "schema.json", "format_version", value=2), "format_version"),
    "schema with NaN": (lambda f: write(f, "schema.json", b'{"rows": NaN}'), "NaN is not JSON"),
    "schema with another type": (lambda f: edit(f, *COLUMNS, 1, "type", value="os.system"), "Arrow type"),
    "schema with fewer levels": (lambda f: edit(f, *COLUMNS, 3, "levels", value=["red"]), "expected shape"),
    "schema with more levels than allowed": (
        lambda f: edit(f, *COLUMNS, 3, "levels", value=[str(i) for i in range(257)]),
        "levels",
    ),
    "schema with another kind": (lambda f: edit(f, *COLUMNS, 1, "kind", value="identifier"), "expected shape"),
    "schema with another support": (lambda f: edit(f, *COLUMNS, 2, "step", value=2.0), "step"),
    "schema without a missing state": (lambda f: edit(f, *COLUMNS, 2, "missing", value=False), "expected shape"),
    "schema with a huge tail": (lambda f: edit(f, *COLUMNS, 1, "tail_index", value=1e9), "tail_index"),
    "columns repeated": (lambda f: edit(f, *COLUMNS, 1, "name", value="c0"), "listed twice"),
    "given unknown": (lambda f: edit(f, "config.json", "given", value=["z"]), "not modelled"),
    "given set aside": (lambda f: edit(f, "config.json", "given", value=["c4"]), "not modelled"),
    "given repeated": (lambda f: edit(f, "config.json", "given", value=["c0", "c0"]), "listed twice"),
    "given all": (lambda f: edit(f, "config.json", "given", value=["c0", "c1", "c2", "c3", "c5"]), "all there are"),
    "given none": (lambda f: edit(f, "config.json", "given", value=[]), "no use for"),
    "escape codes in a name": (lambda f: edit(f, *COLUMNS, 1, "name", value="\x1b[2J"), "printable"),
    "name too long": (lambda f: edit(f, *COLUMNS, 1, "name", value="b" * 300), "name"),
    "other width of the masses": (lambda f: edit(f, *MASSES, "width", value=5), "expected shape"),
    "large width of the masses": (lambda f: edit(f, *MASSES, "width", value=16384), "describes a model of at least"),
    "other depth of the masses": (lambda f: edit(f, *MASSES, "depth", value=2), "lacks"),
    "no smoothing but a number": (lambda f: edit(f, *MASSES, "smoothing", value=1.0), "smoothing"),
    "other embedding": (lambda f: edit(f, *MASSES, "embed", value=2), "expected shape"),
    "no embedding": (lambda f: edit(f, *MASSES, "embed", value=None), "no use for"),
    "unknown frame": (lambda f: edit(f, "config.json", "frame", value="os"), "frame"),
    "checks of another kind": (lambda f: write(f, "checks.json", b'{"lines": 3}'), "checks.json"),
    "checks with an unknown key": (lambda f: write(f, "checks.json", b'{"hook": "os.system"}'), "checks.json"),
    "metrics altered": (lambda f: edit(f, "metrics.json", "verdict", "held_out_nats", value="good"), "held_out_nats"),
    "metrics overflow": (lambda f: write(f, "metrics.json", b'{"rows": 1e999}'), "metrics.json"),
    "escape codes in the verdict": (lambda f: edit(f, "metrics.json", "verdict", "text", value="\x1b]0;x\x07"), "text"),
    "ragged history": (lambda f: edit(f, "metrics.json", "history", "epoch", value=[1]), "differ in length"),
    "NaN weights": (lambda f: weights(f, lambda a: poison(a, np.nan)), "NaN or infinity"),
    "infinite weights": (lambda f: weights(f, lambda a: poison(a, np.inf)), "NaN or infinity"),
    "negative scale": (lambda f: weights(f, lambda a: poison(a, -1.0, "units.scale.value")), "not positive"),
    "no spread": (lambda f: weights(f, lambda a: poison(a, 0.0, "units.spread.value")), "not positive"),
    "negative step": (lambda f: weights(f, lambda a: poison(a, -1.0, "steps.value")), "steps"),
    "bounds the wrong way round": (lambda f: weights(f, lambda a: poison(a, 2e30, "bounds.value")), "bounds"),
    "another logarithm of the scale": (
        lambda f: weights(f, lambda a: poison(a, 50.0, "units.log_scale.value")),
        "log_scale",
    ),
    "negative scale of the condition": (
        lambda f: weights(f, lambda a: poison(a, -1.0, "given.units.scale.value")),
        "not positive",
    ),
    "NaN scale": (lambda f: weights(f, lambda a: poison(a, np.nan, "scale.value")), "NaN"),
    "index out of range": (lambda f: weights(f, lambda a: poison(a, 10**6, ".indices")), "not a permutation"),
    "negative index": (lambda f: weights(f, lambda a: poison(a, -1, ".indices")), "not a permutation"),
    "repeated index": (
        lambda f: weights(f, lambda a: a.update({k: v * 0 for k, v in a.items() if "indices" in k})),
        "perm",
    ),
    "integer weights": (
        lambda f: weights(f, lambda a: a.update({k: v.astype(np.int8) for k, v in a.items() if "weights" in k})),
        "expected dtype",
    ),
    "an array too many": (lambda f: weights(f, lambda a: a.update(extra=np.zeros(2))), "no use for 'extra'"),
    "an array too few": (lambda f: weights(f, lambda a: a.pop(next(iter(a)))), "lacks"),
    "weights are a pickle": (lambda f: write(f, "model.safetensors", b"\x80\x04K\x01."), "not a safetensors"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_altered_models_are_refused(name: str, folder: Path) -> None:
    attack, words = ATTACKS[name]
    attack(folder)
    tracemalloc.start()
    try:
        with pytest.raises(UntrustedModelError) as caught:
            load_model(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert peak < 2**27


def test_every_flipped_bit_is_noticed(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in (*FILES, MANIFEST):
        original = (folder / name).read_bytes()
        for place in rng.integers(len(original), size=15):
            altered = bytearray(original)
            altered[place] ^= 1 << int(rng.integers(8))
            (folder / name).write_bytes(bytes(altered))
            with pytest.raises(UntrustedModelError):
                load_model(folder)
        (folder / name).write_bytes(original)
    load_model(folder)


def test_the_card_may_be_edited_and_is_never_read(folder: Path) -> None:
    (folder / CARD).write_bytes(b"\xff\x00 mine")
    load_model(folder)
    (folder / CARD).unlink()
    os.mkfifo(folder / CARD)  # opening it would wait for ever
    load_model(folder)


def test_other_files_are_never_opened(folder: Path) -> None:
    os.mkfifo(folder / "hooks.py")  # opening it would wait for ever
    (folder / ".DS_Store").write_bytes(b"x")
    assert load_model(folder).recipe.flow == "nsf"


def test_a_folder_may_be_reached_by_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert load_model(tmp_path / "link").recipe.flow == "nsf"


def test_where_no_model_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such model folder"):
        load_model(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="a file, not a model folder"):
        load_model(tmp_path / "file")
    with pytest.raises(UntrustedModelError, match=r"manifest\.sha256: the file is missing"):
        load_model(tmp_path)
