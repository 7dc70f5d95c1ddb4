"""Model folders: what is saved is what is loaded, and whatever was altered is refused before it is used."""

from __future__ import annotations

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

from pushforward import flows
from pushforward.bijections import Standardize
from pushforward.io import ModelParts, UntrustedModelError, load_model, save_model
from pushforward.io.files import MANIFEST, check_folder_target
from pushforward.io.model_folder import BASES
from pushforward.io.schema import FlowArguments, FlowConfig, VerdictRecord, validate
from pushforward.training import in_data_units

ARGUMENTS = {"dim": 2, "condition_dim": 1, "n_layers": 2, "width": 8, "depth": 2, "bins": 4, "linear": "permutation"}
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
}
HISTORY = {
    "epoch": np.array([1, 2]),
    "train_nats": np.array([-2.0, -1.0]),
    "held_out_nats": np.array([np.nan, -1.25]),
}


def make(name: str = "nsf", base: str = "normal", **arguments: Any) -> ModelParts:
    arguments = arguments or ARGUMENTS
    dim, condition_dim = arguments["dim"], arguments.get("condition_dim") or 0
    bare = flows.ZOO[name](jax.random.key(3), base=BASES[base](dim), **arguments)
    flow = in_data_units(bare, Standardize(np.full(dim, 1e9 + 0.123456789), np.full(dim, 1 / 3)))
    if condition_dim:
        flow = in_data_units(flow, None, Standardize(np.ones(condition_dim), np.full(condition_dim, 2.0)))
    columns = tuple(f"c{i}" for i in range(dim + condition_dim))
    return ModelParts(
        name=name,
        arguments=arguments,
        base=base,
        flow=flow,
        columns=columns,
        given=columns[:condition_dim],
        named=True,
        rows=100,
        history=HISTORY,
        verdict=VERDICT,
    )


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
    x = 1e9 + np.random.default_rng(0).standard_normal((5, 2))
    np.testing.assert_array_equal(loaded.flow.log_prob(x, np.ones(1)), parts.flow.log_prob(x, np.ones(1)))
    assert {**loaded.arguments, **ARGUMENTS} == loaded.arguments
    assert loaded.arguments["activation"] == "relu", "defaults are written down: a later version may have others"
    assert (loaded.name, loaded.base, loaded.columns, loaded.given) == ("nsf", "normal", ("c0", "c1", "c2"), ("c0",))
    assert (loaded.rows, loaded.named, dict(loaded.verdict)) == (100, True, VERDICT)
    np.testing.assert_array_equal(loaded.history["held_out_nats"], HISTORY["held_out_nats"])
    assert set(os.listdir(saved)) == {"config.json", MANIFEST, "metrics.json", "model.safetensors"}


@pytest.mark.parametrize("name", flows.ZOO)
@pytest.mark.parametrize("base", BASES)
def test_the_whole_zoo(name: str, base: str, tmp_path: Path) -> None:
    parts = make(name, base, dim=3, n_layers=2, width=4, linear="lu", actnorm=True)
    save_model(parts, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert eqx.tree_equal(loaded.flow, parts.flow)


def test_the_standardisation_keeps_double_precision_where_single_is_the_default(tmp_path: Path) -> None:
    with jax.enable_x64(False):
        save_model(make(), tmp_path / "model")
        loaded = load_model(tmp_path / "model")
    standardize: Any = loaded.flow.bijection.bijection.bijections[-1]  # type: ignore[attr-defined]
    assert standardize.loc.value.dtype == np.float64
    assert standardize.loc.value[0] == 1e9 + 0.123456789


def test_every_argument_of_the_zoo_can_be_saved() -> None:
    import inspect

    known = set(FlowArguments.model_fields)
    for name, function in flows.ZOO.items():
        assert set(inspect.signature(function).parameters) - {"key", "base"} <= known, name
    assert set(FlowConfig.model_fields["name"].annotation.__args__) == set(flows.ZOO)  # type: ignore[union-attr]


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
    save_model(make("maf", dim=2, n_layers=1, width=4), folder, force=True)
    assert load_model(folder).name == "maf"
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        save_model(make(), folder, force=True)
    assert load_model(folder).name == "maf"
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
        save_model(make("maf", dim=2, n_layers=1, width=4), folder, force=True)
    assert load_model(folder).name == "nsf"
    assert os.listdir(folder.parent) == ["model"]


def test_models_that_could_not_be_loaded_are_not_saved(tmp_path: Path) -> None:
    import dataclasses

    parts = make()
    for change in ({"columns": ("a", "a", "b")}, {"columns": ("a\x1b", "b", "c"), "given": ("b",)}, {"rows": -1}):
        with pytest.raises(ValueError, match="the model"):
            save_model(dataclasses.replace(parts, **change), tmp_path / "model")
    for argument, value in (("linear", lambda key, dim: None), ("width", 10**9), ("hook", 1)):
        with pytest.raises(ValueError, match=f"save_model|{argument}"):
            save_model(dataclasses.replace(parts, arguments={**ARGUMENTS, argument: value}), tmp_path / "model")
    assert os.listdir(tmp_path) == []


# --- attacks -----------------------------------------------------------------------------------------------------


def seal(folder: Path) -> None:
    """Make the manifest right again: an attacker can."""
    names = ("config.json", "metrics.json", "model.safetensors")
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / MANIFEST).write_text("".join(lines))


def edit(folder: Path, file: str, *path: str, value: Any) -> None:
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
        lambda f: (f / "config.json").write_bytes((f / "config.json").read_bytes().replace(b"c1", b"c9")),
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
    "foreign argument": (lambda f: edit(f, *FLOW, "max_log_scale", value=3.0), "nsf has no argument max_log_scale"),
    "unknown flow": (lambda f: edit(f, "config.json", "flow", "name", value="os.system"), "flow.name"),
    "unknown base": (lambda f: edit(f, "config.json", "flow", "base", value="eval"), "flow.base"),
    "another flow": (lambda f: edit(f, "config.json", "flow", "name", value="maf"), "maf has no argument"),
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
    "later format": (lambda f: edit(f, "config.json", "format_version", value=99), "Upgrade"),
    "format zero": (lambda f: edit(f, "config.json", "format_version", value=0), "format_version"),
    "another program": (lambda f: edit(f, "config.json", "format", value="torch"), "format"),
    "columns too few": (lambda f: edit(f, "config.json", "columns", value=["a"]), "config.json"),
    "columns repeated": (lambda f: edit(f, "config.json", "columns", value=["c0", "c0", "c1"]), "listed twice"),
    "given unknown": (lambda f: edit(f, "config.json", "given", value=["z"]), "not listed"),
    "escape codes in a name": (lambda f: edit(f, "config.json", "columns", value=["c0", "\x1b[2J", "b"]), "printable"),
    "name too long": (lambda f: edit(f, "config.json", "columns", value=["c0", "b" * 300, "c"]), "columns.1"),
    "metrics altered": (lambda f: edit(f, "metrics.json", "verdict", "held_out_nats", value="good"), "held_out_nats"),
    "metrics overflow": (lambda f: write(f, "metrics.json", b'{"rows": 1e999}'), "metrics.json"),
    "escape codes in the verdict": (lambda f: edit(f, "metrics.json", "verdict", "text", value="\x1b]0;x\x07"), "text"),
    "ragged history": (lambda f: edit(f, "metrics.json", "history", "epoch", value=[1]), "differ in length"),
    "NaN weights": (lambda f: weights(f, lambda a: poison(a, np.nan)), "NaN or infinity"),
    "infinite weights": (lambda f: weights(f, lambda a: poison(a, np.inf)), "NaN or infinity"),
    "negative scale": (lambda f: weights(f, lambda a: poison(a, -1.0, "scale.value")), "not positive"),
    "negative scale of the condition": (
        lambda f: weights(f, lambda a: poison(a, -1.0, "net.units.scale.value")),
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
    for name in ("config.json", "metrics.json", "model.safetensors", MANIFEST):
        original = (folder / name).read_bytes()
        for place in rng.integers(len(original), size=25):
            altered = bytearray(original)
            altered[place] ^= 1 << int(rng.integers(8))
            (folder / name).write_bytes(bytes(altered))
            with pytest.raises(UntrustedModelError):
                load_model(folder)
        (folder / name).write_bytes(original)
    load_model(folder)


def test_other_files_are_never_opened(folder: Path) -> None:
    os.mkfifo(folder / "hooks.py")  # opening it would wait for ever
    (folder / ".DS_Store").write_bytes(b"x")
    assert load_model(folder).name == "nsf"


def test_a_folder_may_be_reached_by_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert load_model(tmp_path / "link").name == "nsf"


def test_where_no_model_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such model folder"):
        load_model(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="a file, not a model folder"):
        load_model(tmp_path / "file")
    with pytest.raises(UntrustedModelError, match=r"manifest\.sha256: the file is missing"):
        load_model(tmp_path)


def test_a_verdict_without_a_judgement_gets_that_of_its_status() -> None:
    before = {name: value for name, value in VERDICT.items() if name != "judgement"}
    for status, expected in (("stopped: epochs", "ran all epochs"), ("stopped: budget", "stopped by budget")):
        assert validate(VerdictRecord, {**before, "status": status}, "metrics").judgement == expected
    for wrong in ({**before, "status": "well"}, {**VERDICT, "judgement": "well"}):
        with pytest.raises(UntrustedModelError, match="judgement"):
            validate(VerdictRecord, wrong, "metrics")
