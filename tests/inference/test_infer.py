"""`infer` against closed forms: log Z, separate modes, edges, and what no inference can answer, in words."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import HalfLine, Real, Simplex
from pushforward.inference import DensityError

pytest.importorskip("blackjax")


class Modes(eqx.Module):
    """Two normals of scale 1 with the total mass e^3, whose shape is in arrays, so that all tests share programs.

    To the right of `nan_above` it is NaN, to the right of `zero_above` 0, and with `flat` 1 it does not depend on x[1].
    """

    loc: jax.Array
    share: jax.Array
    nan_above: jax.Array
    zero_above: jax.Array
    flat: jax.Array

    def __init__(self, first=(0.0, 0.0), second=(0.0, 0.0), share=0.5, nan_above=1e9, zero_above=1e9, flat=0.0):
        self.loc = jnp.asarray([first, second], float)
        self.share, self.nan_above, self.zero_above = (jnp.asarray(v, float) for v in (share, nan_above, zero_above))
        self.flat = jnp.asarray(flat, float)

    def __call__(self, x):
        scale = jnp.array([1.0, 0.0]) * self.flat + (1 - self.flat)
        each = -0.5 * jnp.sum(scale * (x - self.loc) ** 2, axis=1)
        value = jax.nn.logsumexp(each, b=jnp.array([self.share, 1 - self.share])) - jnp.log(2 * jnp.pi) + 3
        value = jnp.where(x[0] > self.zero_above, -jnp.inf, value)
        return jnp.where(x[0] > self.nan_above, jnp.nan, value)


def small(key, dim):
    return pf.flows.nsf(key, dim=dim, linear="reverse", n_layers=1, width=8, bins=4).bijection


def infer(target, seed=0, n_draws=300, **options):
    return pf.infer(target, key=jax.random.key(seed), n_draws=n_draws, flow=small, progress=False, **options)


@pytest.fixture(scope="module")
def two():
    return infer(pf.Target(Modes((-8.0, 0.0), (8.0, 3.0), share=0.3), 2))


def test_separate_modes_are_found_with_their_shares(two):
    left = np.mean(two.draws["x"][:, 0] < 0)
    assert abs(left - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 300)
    assert two.verdict == "trustworthy", two.summary()
    assert abs(two.log_z - 3) < 4 * two.log_z_error < 0.2
    assert abs(two.log_z_importance.value - 3) < 4 * two.log_z_importance.error
    assert np.max(two.r_hat) < 1.05


def test_a_shifted_constant_fails_the_check_of_log_z(two):
    assert abs(two.log_z - 3.2) > 4 * two.log_z_error


@pytest.fixture(scope="module")
def one():
    return infer(pf.Target(Modes((1.0, 2.0), (1.0, 2.0)), 2))


def test_the_same_key_gives_the_same_answer(one):
    again = infer(pf.Target(Modes((1.0, 2.0), (1.0, 2.0)), 2))
    np.testing.assert_array_equal(one.draws["x"], again.draws["x"])
    assert one.log_z == again.log_z


def test_a_normal_is_known_by_its_mean_and_covariance(one):
    answer = one
    assert abs(answer.log_z - 3) < max(4 * answer.log_z_error, 1e-3)
    assert answer.ess_fraction > 0.9
    np.testing.assert_allclose(answer.draws["x"].mean(axis=0), [1.0, 2.0], atol=4 / np.sqrt(300))
    np.testing.assert_allclose(answer.draws["x"].std(axis=0), 1.0, atol=4 / np.sqrt(600))


def test_nan_in_a_corner_is_counted_and_left_out():
    answer = infer(pf.Target(Modes(nan_above=1.5), 2))
    assert answer.n_not_a_number > 0
    assert "not a number" in answer.summary()
    assert np.max(answer.draws["x"][:, 0]) <= 1.5
    assert abs(answer.log_z - (3 + np.log(0.9331928))) < 4 * answer.log_z_error + 1e-3


def test_zero_on_half_the_space():
    answer = infer(pf.Target(Modes(zero_above=0.0), 2))
    assert answer.n_not_a_number == 0
    assert np.max(answer.draws["x"][:, 0]) <= 0
    assert abs(answer.log_z - (3 - np.log(2))) < 4 * answer.log_z_error + 1e-3


def test_an_improper_target_is_told_in_words():
    answer = infer(pf.Target(Modes(flat=1.0), 2))
    assert answer.verdict.startswith("do not trust: the target is improper")
    assert "x[1]" in answer.verdict


def of_regression(p):
    x = np.random.default_rng(0).normal(size=(40, 4)) * [1, 1, 100, 100]
    residuals = (x @ np.ones(4) - x @ p["beta"]) / p["sigma"]
    return -0.5 * jnp.sum(residuals**2) - 40 * jnp.log(p["sigma"]) - jnp.log1p(p["sigma"] ** 2)


@pytest.mark.parametrize(
    ("log_density", "supports", "improper"),
    [
        (lambda p: -2 * jnp.log1p(p["t"]), {"t": HalfLine()}, False),
        (lambda p: -0.5 * (p["t"] / 1e6) ** 2, {"t": Real()}, False),
        (lambda p: -jnp.log1p(p["t"] ** 2), {"t": Real()}, False),
        (lambda p: 0 * p["t"], {"t": HalfLine()}, True),
        (lambda p: -jnp.log(p["t"]), {"t": HalfLine()}, True),
        (lambda p: 0 * p["t"], {"t": Real()}, True),
        # A regression with flat coefficients: far out the scale grows with them, and overflows in the end.
        (of_regression, {"beta": Real(4), "sigma": HalfLine()}, False),
    ],
)
def test_what_counts_as_improper(log_density, supports, improper):
    from pushforward.inference.improper import improper_direction

    assert (improper_direction(pf.Target(log_density, supports), jax.random.key(0)) is not None) == improper


@pytest.mark.parametrize(("limits", "words"), [({"nan_above": -1e9}, "not a number"), ({"zero_above": -1e9}, "-inf")])
def test_no_density_anywhere_is_told_in_words(limits, words):
    with pytest.raises(DensityError, match=words):
        infer(pf.Target(Modes(**limits), 2))


def test_a_small_budget_gives_the_best_so_far():
    answer = infer(pf.Target(Modes((1.0, 2.0), (1.0, 2.0)), 2), budget="0.001s")
    assert answer.status == "budget"
    assert answer.verdict.startswith("do not trust: the budget was used up")
    assert answer.draws["x"].shape == (300, 2)


def test_a_ladder_goes_on_from_its_folder(two, tmp_path, monkeypatch):
    from pushforward.inference import ladder

    target, calls = pf.Target(Modes((-8.0, 0.0), (8.0, 3.0), share=0.3), 2), []
    whole = ladder.next_rung

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(ladder, "next_rung", stopped)
    first = infer(target, checkpoint=tmp_path / "ladder")
    assert first.status == "interrupted"
    assert "interrupted" in first.verdict
    monkeypatch.undo()
    with pytest.raises(FileExistsError, match="resume=True"):
        infer(target, checkpoint=tmp_path / "ladder")
    second = infer(target, checkpoint=tmp_path / "ladder", resume=True)
    assert [h["stage"] for h in second.ladder] == [h["stage"] for h in two.ladder]
    np.testing.assert_array_equal(second.draws["x"], two.draws["x"])
    with pytest.raises(ValueError, match="belongs to another"):
        infer(target, seed=1, checkpoint=tmp_path / "ladder", resume=True)


def test_the_flow_scores_and_is_saved(two, tmp_path):
    flow = two.flow
    log_q = flow.log_prob(two.weighted_u)
    log_p = pf.Target(Modes((-8.0, 0.0), (8.0, 3.0), share=0.3), 2).rows(two.weighted_u)
    np.testing.assert_allclose(log_p - log_q, two.log_weights, atol=1e-3)
    pf.io.save_weights(flow, tmp_path / "flow.safetensors")
    loaded = pf.io.load_weights(flow, tmp_path / "flow.safetensors")
    np.testing.assert_array_equal(loaded.log_prob(two.u), flow.log_prob(two.u))


@pytest.mark.float32
def test_the_flow_scores_where_jax_is_in_float32(one):
    log_q = one.flow.log_prob(one.weighted_u)
    assert log_q.dtype == jnp.float32
    log_p = 3 - np.log(2 * np.pi) - 0.5 * np.sum((one.weighted_u - [1.0, 2.0]) ** 2, axis=1)
    np.testing.assert_allclose(log_p - log_q, one.log_weights, atol=1e-3)


def test_to_arviz(two):
    pytest.importorskip("arviz")
    posterior = two.to_arviz()["posterior"]
    assert posterior["x"].shape == (1, 300, 2)
    assert posterior.attrs["verdict"] == "trustworthy"


def test_figures(two):
    for plot in (pf.plotting.plot_corner, pf.plotting.plot_ladder, pf.plotting.plot_weights):
        assert plot(two)[0].axes


@pytest.mark.parametrize("bad", ["soon", "10 days", 0, -1.0])
def test_budgets_are_checked(bad):
    with pytest.raises(ValueError, match="budget"):
        infer(pf.Target(Modes(), 2), budget=bad)


def test_a_function_is_no_target():
    with pytest.raises(TypeError, match="a Target"):
        infer(lambda x: 0.0)


@pytest.mark.thorough
def test_supports_and_their_coordinates():
    def log_density(p):
        return -0.5 * p["tau"] ** 2 + 2 * jnp.log(p["shares"][0]) + jnp.log(p["shares"][1])

    answers = [
        infer(pf.Target(log_density, {"tau": HalfLine(through=through), "shares": Simplex(2)}), n_draws=1000)
        for through in ("exp", "softplus")
    ]
    # The half-normal's constant, and that of a Dirichlet with the exponents 3, 2, 1.
    true = 0.5 * np.log(np.pi / 2) + np.log(2 * 1 * 1 / 120)
    for answer in answers:
        assert abs(answer.log_z - true) < 4 * answer.log_z_error + 1e-3
        np.testing.assert_allclose(answer.draws["tau"].mean(), np.sqrt(2 / np.pi), atol=4 * 0.603 / np.sqrt(1000))
        np.testing.assert_allclose(answer.draws["shares"].mean(axis=0), [1 / 2, 1 / 3], atol=0.03)
        assert np.all(answer.draws["shares"].sum(axis=1) < 1)


@pytest.mark.thorough
def test_a_host_function_equals_the_jax_one():
    def host(x):
        return -0.5 * np.sum((x - 1) ** 2, -1), 1 - x

    own = infer(pf.Target(lambda x: -0.5 * jnp.sum((x - 1) ** 2), 2))
    called = infer(pf.Target.from_function(host, 2, batched=True))
    np.testing.assert_allclose(own.draws["x"].mean(axis=0), called.draws["x"].mean(axis=0), atol=0.2)
    for answer in (own, called):
        assert abs(answer.log_z - np.log(2 * np.pi)) < 4 * answer.log_z_error + 1e-3


@pytest.mark.thorough
def test_scalars_of_a_dict():
    answer = infer(pf.Target(lambda p: -0.5 * p["a"] ** 2, {"a": Real()}))
    assert answer.draws["a"].shape == (300,)
