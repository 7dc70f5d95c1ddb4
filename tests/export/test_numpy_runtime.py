"""The operations of the NumPy runtime against JAX's, and what it refuses to read."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax import lax

from pushforward.distributions import StandardNormal
from pushforward.export.numpy_archive import export_numpy
from pushforward.export.numpy_program import Program
from pushforward.export.numpy_runtime import ERF, Model, ProgramError, _erf_inv, key_data, load

RNG = np.random.default_rng(5)
A = RNG.standard_normal((4, 3))
SQUARE = RNG.standard_normal((2, 3, 3)) + 3 * np.eye(3)
LONG = RNG.standard_normal((2, 3, 5))
WORDS = RNG.integers(0, 2**32, 6, dtype=np.uint32)
SIGNED = RNG.integers(-50, 50, (4, 3))
ODD = np.array([0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, np.nan])
KEYS = np.array([[0, 7], [3, 9]], np.uint32)


def model_of(function: Callable, *arguments: Any) -> tuple[Model, int]:
    program = Program()
    number = program.add(function, [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arguments])
    record = {"format": "pushforward-numpy", "version": 1, "names": ["x"], "condition_names": [], "dtype": "float64"}
    record |= {"chunk": 1, "needs_key": False, "information": {}, "log_prob": number, "sample": number}
    record = json.loads(json.dumps(record | program.table()))
    return Model(record, program.constants), number


def solve(**options: bool) -> Callable:
    return lambda a, b: lax.linalg.triangular_solve(
        a, b if options["left_side"] else jnp.swapaxes(b, -1, -2), **options
    )


def windows(mode: str) -> Callable:
    return lambda x: x.at[jnp.array([0, 7, -2])].get(mode=mode)


def added(mode: str) -> Callable:
    return lambda x: x.at[jnp.array([0, 9, 0]), 1:].add(jnp.ones((3, 2)), mode=mode)


def keys(words: Any) -> Any:
    return jax.vmap(lambda w: jax.random.wrap_key_data(w, impl="threefry2x32"))(words)


def roots(x: Any) -> Any:
    """Newton's square roots: each element of a batch takes its own number of steps."""

    def one(v: Any) -> Any:
        return lax.while_loop(lambda r: jnp.abs(r * r - v) > 1e-9, lambda r: 0.5 * (r + v / r), v)

    return jax.vmap(one)(jnp.abs(x).ravel() + 1e-3)


OPERATIONS: dict[str, tuple[Callable, tuple[Any, ...]]] = {
    "elementary": (
        lambda x: (jnp.sin(x) + jnp.tanh(x) ** 3 - jnp.arctan2(x, 2.0), x**-2, lax.rsqrt(x * x), jnp.exp2(x), -abs(x)),
        (A,),
    ),
    "special": (
        lambda x: (
            lax.erf(x),
            lax.erfc(3 * x),
            lax.lgamma(x),
            jax.nn.sigmoid(x),
            lax.lgamma(jnp.abs(x) * 40),
            lax.cbrt(x),
        ),
        (A,),
    ),
    "comparison": (lambda x: (x > 0, x <= 0.5, ~(x == x), (x > 0) ^ (x < 1), jnp.isfinite(x), jnp.sign(x)), (A,)),
    "integers": (lambda i: (i // 7, i % 7, lax.div(i, 7), lax.rem(i, 7), i << 2, i >> 1, abs(i) ** 2), (SIGNED,)),
    "bits": (
        lambda w: (
            w << 40,
            w >> 3,
            lax.shift_right_logical(w, jnp.uint32(33)),
            w * w,
            lax.bitcast_convert_type(w, "f4"),
        ),
        (WORDS,),
    ),
    "shift of signed numbers": (
        lambda i: (lax.shift_right_logical(i, 3), lax.shift_right_arithmetic(i, 70), lax.shift_left(i, 64)),
        (SIGNED,),
    ),
    "rounding": (lambda x: (jnp.round(4 * x), jnp.floor(x), lax.round(4 * x), jnp.trunc(x), x.astype(int)), (A,)),
    "reductions": (
        lambda x: (x.sum(0), x.prod(), x.max(1), x.min(), (x > 0).any(0), (x > -9).all(), x.argmax(1), x.argmin()),
        (A,),
    ),
    "cumulative": (
        lambda x: (
            jnp.cumsum(x, 1),
            lax.cumsum(x, 0, reverse=True),
            lax.cummax(x),
            lax.cumlogsumexp(x),
            lax.cumprod(x),
        ),
        (A,),
    ),
    "softmax": (
        lambda x: (jax.nn.log_softmax(x), jax.nn.logsumexp(x, axis=0), jax.nn.gelu(x), jnp.clip(x, 0, 1)),
        (A,),
    ),
    "shapes": (
        lambda x: (
            x.T,
            x.reshape(3, 4),
            x[::-1, ::2],
            x[:, None],
            jnp.tile(x, (2, 1)),
            jnp.stack([x, x], 1),
            *jnp.split(x, [1], 1),
        ),
        (A,),
    ),
    "stack": (lambda x: jnp.stack(list(x.T), axis=-1), (A,)),
    "sort": (lambda x: (jnp.sort(x, 0), jnp.argsort(x, 1), lax.sort((jnp.round(x), x), num_keys=2)[1]), (A,)),
    "searchsorted": (lambda x: jnp.searchsorted(jnp.linspace(-2, 2, 9), x, side="right"), (A,)),
    "order": (lambda x: (lax.lt_to_p.bind(x, -x), lax.le_to_p.bind(x, x), lax.eq_to_p.bind(x, -x)), (ODD,)),
    "pad": (lambda x: (lax.pad(x, 7.0, [(1, 2, 1), (-1, 1, 0)]), jnp.pad(x, 1)), (A,)),
    "gather, fill": (windows("fill"), (A,)),
    "gather, clip": (windows("clip"), (A,)),
    "gather, batched": (lambda x, i: jnp.take_along_axis(x, abs(i) % 4, 0), (A, SIGNED)),
    "gather, mapped": (lambda x: jax.vmap(lambda row, i: lax.dynamic_slice(row, (i,), (2,)))(x, jnp.arange(4)), (A,)),
    "scatter, drop": (added("drop"), (A,)),
    "scatter, clip": (added("clip"), (A,)),
    "scatter": (lambda x: x.at[jnp.array([3, 1])].set(0.5), (A,)),
    "dynamic slices": (
        lambda x: (lax.dynamic_slice(x, (9, -1), (2, 2)), lax.dynamic_update_slice(x, x[:2], (5, 0))),
        (A,),
    ),
    "dot": (lambda a, b: (a @ b, jnp.einsum("bij,bkj->ikb", a, jnp.swapaxes(b, 1, 2)), jnp.vdot(a, a)), (SQUARE, LONG)),
    "solve, lower": (solve(left_side=True, lower=True), (SQUARE, LONG)),
    "solve, upper, transposed": (solve(left_side=True, transpose_a=True), (SQUARE, LONG)),
    "solve, from the right": (solve(left_side=False, lower=True, unit_diagonal=True), (SQUARE, LONG)),
    "solve, from the right, transposed": (solve(left_side=False, transpose_a=True), (SQUARE, LONG)),
    "loops": (
        lambda x: (
            lax.scan(lambda c, r: (c + r, c * r), x[0], x, reverse=True),
            lax.fori_loop(0, 5, lambda i, c: c * 1.1 + i, x),
            lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
            lax.switch(1, [jnp.sin, jnp.cos, jnp.exp], x),
        ),
        (A,),
    ),
    "loop, batched": (roots, (A,)),
    "random": (
        lambda w: (
            jax.vmap(lambda k: jax.random.normal(k, (3,)))(keys(w)),
            jax.vmap(lambda k: jax.random.uniform(k, (2, 2), "float32"))(keys(w)),
            jax.vmap(lambda k: jax.random.bits(k, (3,), "uint8"))(keys(w)),
            jax.vmap(lambda k: jax.random.key_data(jax.random.split(k, 3)))(keys(w)),
            jax.vmap(lambda k: jax.random.randint(k, (3,), 0, 100))(keys(w)),
            jax.vmap(lambda k: jax.random.permutation(k, 5))(keys(w)),
            jax.vmap(lambda k: jax.random.categorical(k, jnp.zeros(4)))(keys(w)),
        ),
        (KEYS,),
    ),
    "gamma": (lambda w: jax.vmap(lambda k: jax.random.gamma(k, jnp.array([0.3, 4.0])))(keys(w)), (KEYS,)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_those_of_jax(name: str) -> None:
    function, arguments = OPERATIONS[name]
    expected = jax.tree.leaves(jax.jit(function)(*arguments))
    model, number = model_of(lambda *a: jax.tree.leaves(function(*a)), *arguments)
    with np.errstate(all="ignore"):
        got = model._functions[number](*arguments)
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


def test_the_inverse_error_function() -> None:
    """Over its whole range, to the last digits but a few; and the check fails an approximation of three digits."""
    tail = 1 - np.geomspace(1e-16, 0.5, 200)
    x = np.concatenate([np.geomspace(1e-300, 0.5, 200), tail, -tail])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(_erf_inv({}, x), scipy.special.erfinv(x), rtol=4e-15)
        special = _erf_inv({}, np.array([0.0, -0.0, 1.0, -1.0, 1.5, np.nan]))
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(_erf_inv({}, x.astype(np.float32)), scipy.special.erfinv(x), rtol=4e-15)
    np.testing.assert_array_equal(special, [0, 0, np.inf, -np.inf, np.nan, np.nan])
    np.testing.assert_allclose(ERF({}, np.array([0.3])), scipy.special.erf(0.3))


def test_keys_are_those_of_jax() -> None:
    for seed in (0, 7, 2**40 + 3):
        np.testing.assert_array_equal(key_data(seed), jax.random.key_data(jax.random.key(seed, impl="threefry2x32")))
    with pytest.raises(ValueError, match="seed: expected 0 to"):
        key_data(-1)
    with pytest.raises(ValueError, match="two words"):
        key_data(np.zeros(3, np.uint32))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("normal")
    export_numpy(StandardNormal((2,)), folder, names=["a", "b"], rows=np.zeros((3, 2)))
    return folder / "model.npz"


def changed(archive: Path, change: Callable[[dict], Any], **arrays: np.ndarray) -> io.BytesIO:
    """The file with its program changed, and arrays added."""
    with np.load(archive, allow_pickle=False) as file:
        held = dict(file)
    program = json.loads(held["program"].tobytes())
    change(program)
    file = io.BytesIO()
    np.savez(file, **{**held, "program": np.frombuffer(json.dumps(program).encode(), np.uint8), **arrays})
    file.seek(0)
    return file


def first(program: dict) -> list:
    return program["functions"][program["log_prob"]]["equations"][0]


CHANGES: dict[str, tuple[Callable[[dict], Any], str]] = {
    "an unknown operation": (lambda p: first(p).__setitem__(0, "os.system"), "unknown operation 'os.system'"),
    "an unknown type": (lambda p: p["types"].append(["object", [1]]), "unknown type 'object'"),
    "a huge array": (lambda p: p["types"].append(["float64", [10**12, 10]]), "an array of"),
    "a value from nowhere": (lambda p: first(p)[1].__setitem__(0, 999), "slot 999"),
    "a value given up twice": (lambda p: first(p).__setitem__(4, [999]), "given up"),
    "another version": (lambda p: p.__setitem__("version", 2), "reads version 1"),
    "no names": (lambda p: p.pop("names"), "names"),
    "recursion": (lambda p: first(p).__setitem__(3, {"jaxpr": 99}), "index out of range"),
    "no rows": (lambda p: p.__setitem__("chunk", 0), "0 rows"),
    "a constant too many": (lambda p: p["constants"].append(0), "c0"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_altered_programs_are_refused(archive: Path, name: str) -> None:
    change, text = CHANGES[name]
    with pytest.raises(ProgramError, match=text):
        load(changed(archive, change))


def test_wrong_results_are_refused(archive: Path) -> None:
    def change(program: dict) -> None:
        program["types"].append(["float32", [3]])
        first(program)[2][0] = len(program["types"]) - 1

    model = load(changed(archive, change))
    with pytest.raises(ProgramError, match="expected"):
        model.log_prob(np.zeros((1, 2)))


def test_an_unchanged_program_is_read(archive: Path) -> None:
    model = load(changed(archive, lambda p: None))
    np.testing.assert_allclose(model.log_prob(np.zeros(2)), -np.log(2 * np.pi))
    assert model.information["ok"]


def test_damaged_and_hostile_files_are_refused(archive: Path, tmp_path: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(data)
    (tmp_path / "cut.npz").write_bytes(archive.read_bytes()[:-40])
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    np.savez(tmp_path / "objects.npz", program=np.array([{}]))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as file:
        file.writestr("program.npy", header.getvalue())
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ProgramError):
            load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.npz")


def test_damage_anywhere_is_refused_or_harmless(archive: Path) -> None:
    """Bytes of the file exchanged at random: it is refused, or says the same."""
    data, rng, x = archive.read_bytes(), np.random.default_rng(0), np.ones((1, 2))
    expected, refused = load(archive).log_prob(x), 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] = rng.integers(256)
        try:
            np.testing.assert_array_equal(load(io.BytesIO(damaged)).log_prob(x), expected)
        except ProgramError:
            refused += 1
    assert refused > 200


def test_arguments_are_checked(archive: Path) -> None:
    model = load(archive)
    with pytest.raises(ValueError, match="rows"):
        model.log_prob(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="expected none"):
        model.log_prob(np.zeros((4, 2)), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="number of rows"):
        model.sample(-1)
    assert model.sample(0).shape == (0, 2)
    assert model.log_prob(np.zeros((0, 2))).shape == (0,)
    assert model.log_prob(np.zeros((1030, 2))).shape == (1030,)
    np.testing.assert_array_equal(model.sample(600, seed=1)[:3], model.sample(3, seed=1))
