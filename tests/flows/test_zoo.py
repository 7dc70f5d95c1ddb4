"""Every member of the zoo, in one, two and five dimensions, with and without a condition; its options and errors."""

# Wrong arguments on purpose.
# pyright: reportArgumentType=false

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from cases import ZOO, small
from marks import thorough
from pushforward.bijections import half_split, scalar_maps
from pushforward.dynamics.solvers import Gradient, Method
from pushforward.flows.bases import BASES
from pushforward.flows.coupling_layers import SPLITS
from pushforward.flows.maps import MAPS, MapName
from pushforward.flows.options import BaseName, LinearName
from pushforward.flows.stack import LINEAR, in_turn
from pushforward.io.flow_options import FlowName
from pushforward.nets.base import ACTIVATIONS
from pushforward.nets.time_mlp import Mixing
from pushforward.paths.base import Prediction
from pushforward.testing import compilations, randomise

KEY = jax.random.key(21)


def noisy(name: str, **options: Any) -> pf.Flow:
    return randomise(small(name, KEY, **options), KEY, 0.2)


@eqx.filter_jit
def tour(flow: pf.Flow, condition: Any) -> tuple:
    """Everything a flow does, in one program: draws, their two log-densities, latents, and the way back."""
    shape = (12,) if condition is None else (12 // len(condition),)
    x, log_prob = flow.sample_and_log_prob(KEY, shape, condition)
    z = flow.encode(x, condition)
    return x, log_prob, flow.log_prob(x, condition), z, flow.decode(z, condition), flow.base.sample(KEY, 12)


@pytest.mark.parametrize("name", ["realnvp", "maf", "nsf, autoregressive"])
def test_no_rows(name: str) -> None:
    flow = small(name, KEY, dim=3, condition_dim=2)
    assert flow.log_prob(np.zeros((0, 3)), np.zeros((0, 2))).shape == (0,)
    assert flow.sample(KEY, 0, np.zeros(2)).shape == (0, 3)


# In every run: the first flows in five dimensions, and those of other kinds in two with a condition.
EVERY_RUN = {(name, 5, False) for name in ("realnvp", "maf", "iaf", "nsf")}
EVERY_RUN |= {(name, 2, True) for name in ("nice", "umnn", "ncsf", "residual_flow", "ncsn")}
AGREEING = [
    pytest.param(name, dim, conditional, marks=[] if (name, dim, conditional) in EVERY_RUN else pytest.mark.thorough)
    for name in ZOO
    for dim in (1, 2, 5)
    for conditional in (False, True)
]


@pytest.mark.parametrize(("name", "dim", "conditional"), AGREEING)
def test_log_prob_sample_encode_decode_agree(name: str, dim: int, conditional: bool) -> None:
    flow = noisy(name, dim=dim, condition_dim=2 if conditional else None)
    assert flow.event_shape == (dim,)
    assert flow.cond_shape == ((2,) if conditional else None)
    condition = np.random.default_rng(0).standard_normal((4, 2)) if conditional else None
    x, log_prob, again, z, back, latents = tour(flow, condition)
    assert x.shape == ((3, 4, dim) if conditional else (12, dim))
    assert log_prob.shape == x.shape[:-1]
    np.testing.assert_allclose(again, log_prob, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(back, x, rtol=1e-9, atol=1e-9)
    # The latents are the base's draws for the same keys: its density and the log-det make up the rest.
    np.testing.assert_allclose(z.reshape(12, dim), latents, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["realnvp", "maf"])
def test_prefix_batches_and_given(name: str) -> None:
    flow = noisy(name, dim=2, condition_dim=2)
    condition = np.array([0.5, -1.0])
    ten = flow.sample(KEY, 10, condition)
    np.testing.assert_allclose(flow.sample(KEY, 4, condition), ten[:4], rtol=1e-12)
    fixed = flow.given(condition)
    assert fixed.cond_shape is None
    np.testing.assert_allclose(fixed.sample(KEY, 10), ten, rtol=1e-12)
    # One condition for all rows, or one per row.
    expected = flow.log_prob(ten, condition)
    np.testing.assert_allclose(fixed.log_prob(ten), expected, rtol=1e-10)
    np.testing.assert_allclose(flow.log_prob(ten, np.tile(condition, (10, 1))), expected, rtol=1e-12)
    assert not np.allclose(flow.log_prob(ten, condition + 1), expected)


@pytest.mark.parametrize("name", ["realnvp", "iaf", "nsf"])
def test_infinite_rows_have_no_density_and_nan_stays_nan(name: str) -> None:
    rows = np.array([[0.0, 0.0], [np.inf, 0.0], [0.0, -np.inf], [np.nan, 0.0], [np.nan, np.inf]])
    got = np.asarray(noisy(name, dim=2).log_prob(rows))
    assert np.isfinite(got[0])
    assert np.all(np.isneginf(got[1:3]))
    assert np.all(np.isnan(got[3:]))


@pytest.mark.parametrize("linear", ["reverse", "lu", None, *thorough("permutation", "callable")])
@pytest.mark.parametrize("name", ["realnvp", "maf"])
def test_linear_layers(name: str, linear: Any) -> None:
    if linear == "callable":
        linear = pf.LULinear
    if linear is None and name == "realnvp":
        with pytest.raises(ValueError, match="the same coordinates would pass unchanged"):
            small(name, KEY, dim=3, linear=None)
        return
    flow = noisy(name, dim=3, linear=linear)
    x, log_prob = flow.sample_and_log_prob(KEY, 5)
    np.testing.assert_allclose(flow.log_prob(x), log_prob, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "base",
    [
        pf.StudentT(3.0, shape=(2,)),
        pf.DiagonalNormal([1.0, 2.0], [3.0, 0.1]),
        pf.Mixture([pf.DiagonalNormal([-2.0, 0.0]), pf.DiagonalNormal([2.0, 0.0])]),
        pf.UniformBox([-3.0, -3.0], [3.0, 3.0]),
    ],
    ids=lambda base: type(base).__name__,
)
def test_bases(base: pf.AbstractDistribution) -> None:
    flow = pf.Flow(base, noisy("nsf", dim=2).bijection)
    x, log_prob = flow.sample_and_log_prob(KEY, 8)
    np.testing.assert_allclose(flow.log_prob(x), log_prob, rtol=1e-9, atol=1e-9)
    assert type(small("nsf", KEY, dim=2, base=base).base) is type(base)


def test_outside_the_support_of_the_base_there_is_no_density() -> None:
    flow = pf.Flow(pf.UniformBox([-1.0], [1.0]), pf.Affine([0.0], [2.0]))
    np.testing.assert_array_equal(
        np.isneginf(flow.log_prob([[0.0], [1.99], [2.01], [-3.0]])), [False, False, True, True]
    )


@pytest.mark.parametrize("actnorm", [False, True])
@pytest.mark.parametrize("name", ["nice", "maf"])
def test_initialise_standardises_a_batch(name: str, actnorm: bool) -> None:
    flow = small(name, KEY, dim=3, actnorm=actnorm)
    batch = np.random.default_rng(0).standard_normal((200, 3)) * [3.0, 0.1, 1.0] + [5.0, 0.0, -2.0]
    started = pf.initialise(flow, batch)
    latent = np.asarray(started.encode(batch))
    if actnorm:  # not exactly: the last layer's net, close to the identity when new, comes after its ActNorm
        np.testing.assert_allclose(latent.mean(0), 0, atol=0.05)
        np.testing.assert_allclose(latent.std(0), 1, atol=0.05)
    else:
        np.testing.assert_array_equal(latent, flow.encode(batch))
    alone = pf.Flow(pf.StandardNormal((3,)), pf.Chain([pf.Reverse(3), pf.ActNorm(3)]))
    latent = np.asarray(pf.initialise(alone, batch).encode(batch))
    np.testing.assert_allclose(latent.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(latent.std(0), 1, atol=1e-12)
    with pytest.raises(ValueError, match="two rows or more"):
        pf.initialise(small(name, KEY, dim=3, actnorm=True), batch[:1])


@pytest.mark.parametrize("inverted", [False, True])
def test_initialise_widens_narrow_directions(inverted: bool) -> None:
    layer = pf.bijections.PartialWhitening(3)
    flow = pf.Flow(pf.StandardNormal((3,)), pf.Invert(layer) if inverted else layer)
    rows = np.random.default_rng(0).standard_normal((400, 3))
    narrow = rows @ [[2.0, 1.0, 0.0], [0.0, 0.02, 0.0], [1.0, 0.0, 3.0]] + [5.0, 0.0, -2.0]
    for batch, is_narrow in ((rows, False), (narrow, True)):
        latent = np.asarray(pf.initialise(flow, batch).encode(batch))
        widths = [np.linalg.eigvalsh(np.cov(part.T / part.std(0)[:, None]))[0] ** 0.5 for part in (batch, latent)]
        np.testing.assert_allclose(latent.mean(0), batch.mean(0), atol=1e-10)
        assert (widths[0] < 0.03) == is_narrow
        assert widths[1] > 0.25  # of columns that are a little wider than before
        if not is_narrow:
            np.testing.assert_allclose(latent, batch, atol=1e-10)
    # A column that repeats another, one that never varies, and fewer rows than columns leave it finite.
    poor = np.c_[narrow[:, 0], narrow[:, 0], np.ones(400)]
    for batch in (poor, narrow[:2]):
        assert np.all(np.isfinite(pf.initialise(flow, batch).log_prob(batch)))


@pytest.mark.parametrize("name", ["nsf", "maf"])
def test_depth_costs_no_compile_time(name: str) -> None:
    """Twenty layers compile to as few programs as two, and log-densities and samples still agree."""
    counts = []
    for n_layers in (2, 20):
        flow = small(name, KEY, dim=3, n_layers=n_layers)
        with compilations() as events:
            x, log_prob = flow.sample_and_log_prob(KEY, 6)
        counts.append(events.count("backend_compile_duration"))
    assert counts[1] <= counts[0] + 1
    np.testing.assert_allclose(flow.log_prob(x), log_prob, rtol=1e-8, atol=1e-8)


def test_size_of_the_program_is_independent_of_depth() -> None:
    sizes = []
    for n_layers in (2, 20):
        params, rest = pf.trainable(small("nsf", KEY, dim=3, n_layers=n_layers))
        program = jax.jit(lambda params, x, rest=rest: pf.combine(params, rest).log_prob(x))
        sizes.append(len(program.lower(params, jnp.zeros((4, 3))).as_text()))
    assert sizes[1] < 1.05 * sizes[0]


def test_the_same_key_gives_the_same_flow() -> None:
    one, two = (jax.tree.leaves(small("maf", KEY, dim=2)) for _ in range(2))
    other = jax.tree.leaves(small("maf", jax.random.key(0), dim=2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_layers_of_one_flow_differ() -> None:
    layer = small("maf", KEY, dim=2, n_layers=3).bijection
    assert isinstance(layer, pf.Scan)
    weights = max(jax.tree.leaves(pf.trainable(layer)[0]), key=lambda leaf: leaf.size)
    assert not np.allclose(weights[0], weights[1])


def test_registry() -> None:
    assert list(pf.flows.ZOO) == list(pf.flows.ENTRIES) == list(get_args(FlowName))


@pytest.mark.parametrize("name", pf.flows.ENTRIES)
def test_what_an_entry_says_is_what_it_builds(name: str) -> None:
    """Signature and docstring have each option and its default; costs are those of the model; no leaf is empty."""
    entry, make = pf.flows.ENTRIES[name], pf.flows.ZOO[name]
    parameters = inspect.signature(make).parameters
    assert list(parameters)[:4] == ["key", "dim", "condition_dim", "base"]
    assert set(parameters) == {"key", "dim", "condition_dim", "base", *entry.options}
    for option, value in entry.arguments({}).items():
        assert parameters[option].default == value
        assert f"    {option}: {entry.options[option].text.split()[0]}" in (make.__doc__ or "")
        entry.options[option].check(name, value)
    assert entry.source in " ".join((make.__doc__ or "").split())
    for dim in (1, 2):
        flow = eqx.filter_eval_shape(lambda key, dim=dim: make(key, dim=dim), KEY)
        assert all(0 not in leaf.shape for leaf in jax.tree.leaves(pf.trainable(flow)[0]))
    traits = flow.bijection.traits
    assert ((traits.inverse, traits.forward), traits.log_det) == (entry.cost, entry.log_det)


def test_the_words_of_options_are_those_that_are_there() -> None:
    options = {name: option for entry in pf.flows.ENTRIES.values() for name, option in entry.options.items()}
    assert set(options["method"].words) == set(get_args(Method))
    assert set(options["gradient"].words) == set(get_args(Gradient))
    assert set(options["mixing"].words) == set(get_args(Mixing))
    assert set(options["predicts"].words) == set(get_args(Prediction))
    assert set(options["activation"].words) == set(ACTIVATIONS)
    assert set(get_args(LinearName)) == set(LINEAR)
    assert set(get_args(BaseName)) == set(BASES)
    assert set(get_args(MapName)) == set(MAPS)
    maps = {
        kind.__name__ for kind in vars(scalar_maps).values() if inspect.isclass(kind) and not inspect.isabstract(kind)
    }
    # Made of other maps, or of models of images alone.
    beside = {"ExtrapolatedMap", "InvertedMap", "ProductOfNormalsMap", "RepeatedMap", "SigmoidAffineMap"}
    assert {entry.kind for entry in MAPS.values()} | beside == maps


@pytest.mark.parametrize("name", BASES)
def test_bases_by_name(name: str) -> None:
    base = BASES[name](2)
    assert base.event_shape == (2,)
    assert np.isfinite(base.log_prob(np.full(2, 0.5)))


@pytest.mark.parametrize("split", [[True, False, False], "alternating"])
def test_no_coordinate_is_left_out(split: Any) -> None:
    """Reversal swaps the ends of three coordinates: the middle one would never be transformed, or always pass."""
    with pytest.raises(ValueError, match=r"never does \[1\]. Use linear as one of permutation, lu, qr"):
        pf.flows.realnvp(KEY, dim=3, linear="reverse", split=split)
    assert pf.flows.realnvp(KEY, dim=4, width=4, linear="reverse", split="alternating").event_shape == (4,)


@pytest.mark.parametrize("split", ["half", "alternating", [True, False, False, False, False]])
def test_permutations_leave_no_coordinate_untouched(split: Any) -> None:
    """The places of the coordinates are followed through as many layers as are needed to transform all of them."""
    dims = (2, 3, 4, 7) if isinstance(split, str) else (len(split),)
    for dim in dims:
        mask = SPLITS[split](dim) if isinstance(split, str) else np.asarray(split)
        n_layers, missed = -(-dim // int(mask.sum())), 0
        for seed in range(20):
            keys = jax.random.split(jax.random.key(seed), n_layers)
            turns = [np.asarray(in_turn(key, mask).indices) for key in keys]
            assert all(np.array_equal(np.sort(turn), np.arange(dim)) for turn in turns)
            assert touched(mask, turns).all()
            missed += not touched(
                mask, [np.random.default_rng([seed, i]).permutation(dim) for i in range(n_layers)]
            ).all()
        assert missed > 0, "the broken twin: permutations that know nothing of the mask"


def touched(mask: np.ndarray, turns: list[np.ndarray]) -> np.ndarray:
    """Which coordinates some coupling transforms, with a permutation after each."""
    found, at = np.zeros(len(mask), bool), np.arange(len(mask))
    for turn in turns:
        found[at[mask]] = True
        at = at[turn]
    return found


def test_the_zoo_permutes_in_turn() -> None:
    flow = pf.flows.realnvp(KEY, dim=5, n_layers=2, width=4, depth=1, linear="permutation")
    stacked: Any = flow.bijection
    turns = [np.asarray(layer.members[1].indices) for layer in stacked.layers()]
    assert touched(half_split(5), turns).all()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: pf.flows.nsf(KEY, dim=2, adjacency=[[0, 0], [1, 0]], autoregressive=False), "adjacency has no effect"),
        (lambda: pf.flows.cnf(KEY, dim=2, potential=True, mixing="film"), "mixing has no effect with potential=True"),
        (lambda: pf.flows.cnf(KEY, dim=2, n_probes=4), "n_probes has no effect with divergence='exact'"),
        (lambda: pf.flows.flow_matching(KEY, dim=2, residual=True, frequency=3.0), "frequency has no effect"),
        (lambda: pf.flows.flow_matching(KEY, dim=2, path="vp", sigma_min=0.1), "sigma_min has no effect with path"),
        (lambda: pf.flows.score_sde(KEY, dim=2, sde="ve", beta_max=2.0), "beta_max has no effect with sde='ve'"),
        (lambda: pf.flows.score_sde(KEY, dim=2, sigma_max=2.0), "sigma_max has no effect with sde='vp'"),
    ],
)
def test_options_that_another_makes_idle(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


def test_defaults_of_idle_options_are_no_mistake() -> None:
    """A model file holds every option."""
    for name, entry in pf.flows.ENTRIES.items():
        assert entry.wrong(entry.arguments({})) is None, name


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda: pf.flows.maf(KEY, dim=0), ValueError, "maf: expected dim an integer >= 1"),
        (lambda: pf.flows.maf(KEY, dim=2.0), TypeError, "maf: expected dim an integer"),
        (lambda: pf.flows.maf(KEY, dim=2, n_layers=0), ValueError, "maf: expected n_layers"),
        (
            lambda: pf.flows.maf(KEY, dim=2, width=0),
            ValueError,
            "maf: expected width to be an integer >= 1 and <= 16,384",
        ),
        (lambda: pf.flows.maf(KEY, dim=2, condition_dim=0), ValueError, "maf: expected condition_dim"),
        (lambda: pf.flows.maf(KEY, dim=2, linear="none"), ValueError, "maf: expected linear to be one of"),
        (
            lambda: pf.flows.maf(KEY, dim=2, linear=3),
            TypeError,
            "maf: expected linear to be one of reverse",
        ),
        (lambda: pf.flows.maf(KEY, dim=2, max_log_scale=0.0), ValueError, "max_log_scale to be a number > 0"),
        (lambda: pf.flows.maf(KEY, dim=2, base=pf.StandardNormal((3,))), ValueError, "maf: expected a base"),
        (lambda: pf.flows.maf(0, dim=2), TypeError, "maf: expected one JAX key"),
        (lambda: pf.flows.nsf(KEY, dim=2, bins=1), ValueError, "nsf: expected bins to be an integer >= 2"),
        (lambda: pf.flows.nsf(KEY, dim=2, bound=0.0), ValueError, "expected bound to be a number >= 0.001"),
        (lambda: pf.flows.nsf(KEY, dim=2, autoregressive=True, split="half"), ValueError, "split has no effect with"),
        (
            lambda: pf.flows.realnvp(KEY, dim=2, split="thirds"),
            ValueError,
            "realnvp: expected split to be one of half, alternating or a list of booleans",
        ),
        (lambda: pf.flows.realnvp(KEY, dim=3, split=[True, False]), ValueError, "a mask of 3 booleans"),
        (
            lambda: pf.flows.nice(KEY, dim=2, activation="swoosh"),
            ValueError,
            "nice: expected activation to be one of relu",
        ),
        (lambda: pf.flows.ZOO["maf"](KEY), TypeError, "maf: expected dim=, the length of an event, got none"),
        (
            lambda: pf.flows.maf(KEY, dim=2, bins=3),
            TypeError,
            "bins is no option of the flow maf with scalar_map 'affine'",
        ),
        (lambda: pf.flows.ZOO["maf"](KEY, dim=2, bin=3), TypeError, "It has n_layers, linear, actnorm"),
        (lambda: pf.flows.maf(KEY, dim=2, residual="yes"), TypeError, "maf: expected residual to be True or False"),
        (lambda: pf.flows.maf(KEY, dim=2, width=True), TypeError, "maf: expected width to be an integer"),
        (lambda: pf.Flow(pf.StandardNormal((3,)), pf.Reverse(2)), ValueError, "Build the base with shape"),
        (lambda: small("maf", KEY, dim=2).given([1.0]), ValueError, "unconditional"),
        (lambda: small("maf", KEY, dim=2).log_prob(np.zeros((4, 3))), ValueError, "Flow.log_prob: expected x"),
        (lambda: small("maf", KEY, dim=2, condition_dim=2).log_prob(np.zeros(2)), ValueError, "a condition of shape"),
        (lambda: small("maf", KEY, dim=2, condition_dim=2).given(np.zeros((4, 2))), ValueError, "one condition"),
    ],
)
def test_errors(make: Callable[[], Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        make()
