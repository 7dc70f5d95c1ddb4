"""The pictures of a flow's way: the numbers drawn are its densities, its states and its velocities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.quiver import Quiver

import pushforward as pf
from pushforward.bijections import Continuous
from pushforward.dynamics import NetworkField
from pushforward.plotting import field, plane, plot_field, plot_layers, plot_trajectories, trajectories
from pushforward.testing import randomise

KEY = jax.random.key(2)
LOC, SCALE = np.array([3e5, -2.0]), np.array([2e4, 0.5])


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Coarse grids, and no figure left open."""
    for module, name, value in ((plane, "GRID", 50), (field, "LOOKS", 3), (trajectories, "STEPS", 9)):
        monkeypatch.setattr(module, name, value)
    yield
    plt.close("all")


def carried(dim: int) -> pf.Flow:
    net = randomise(pf.nets.TimeMLP(KEY, dim, width=8), KEY, 0.5)
    layer = Continuous(NetworkField(net))
    return pf.Flow(pf.StandardNormal((dim,)), pf.Chain([layer, pf.Standardize(LOC[:dim], SCALE[:dim])]))


@pytest.fixture(scope="module")
def line() -> pf.Flow:
    return carried(1)


@pytest.fixture(scope="module")
def plain() -> pf.Flow:
    return carried(2)


def mesh_of(axis: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middles of the cells along x and y, and the numbers drawn there."""
    mesh = axis.collections[0]
    x, y = (np.unique(part) for part in np.moveaxis(np.asarray(mesh.get_coordinates()), -1, 0))
    return (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2, np.asarray(mesh.get_array()).reshape(len(y) - 1, len(x) - 1)


@pytest.mark.thorough
def test_one_column_between_base_and_data(line: pf.Flow) -> None:
    data = LOC[0] + SCALE[0] * np.random.default_rng(0).standard_normal((500, 1))
    _, (left, middle, right) = plot_trajectories(line, data, names=["income"])
    times, grid, density = mesh_of(middle)
    np.testing.assert_allclose(times, np.linspace(0, 1, 9), atol=1e-9)
    np.testing.assert_allclose(np.trapezoid(density, grid, axis=0), 1, atol=0.01)
    base = pf.Flow(pf.StandardNormal((1,)), pf.Standardize(LOC[:1], SCALE[:1]))
    np.testing.assert_allclose(density[:, 0], np.exp(base.log_prob(grid[:, None])), rtol=1e-6)
    np.testing.assert_allclose(density[:, -1], np.exp(line.log_prob(grid[:, None])), rtol=1e-6)
    # The broken twin: without the log-determinant what is drawn would be no density.
    forgotten = np.exp(line.base.log_prob(line.encode(grid[:, None]))) / SCALE[0]
    assert abs(np.trapezoid(forgotten, grid) - 1) > 0.01
    lines = np.stack([of.get_ydata() for of in middle.get_lines()])
    np.testing.assert_allclose(line.decode((lines[:, :1] - LOC[0]) / SCALE[0]), lines[:, -1:], rtol=1e-9)
    assert (np.diff(lines, axis=0) > 0).all(), "flow lines cross"
    for axis, place in ((left, 0), (right, -1)):
        np.testing.assert_allclose(axis.get_lines()[0].get_xdata(), density[:, place])
    bars = right.patches[0].get_data()
    assert np.sum(bars.values * np.diff(bars.edges)) == pytest.approx(1)
    assert "income" in left.get_ylabel()


@pytest.mark.thorough
def test_two_columns_at_several_times(plain: pf.Flow) -> None:
    times = [0.0, 0.4, 1.0]
    _, axes = plot_trajectories(plain, times=times, data=plain.sample(KEY, 300))
    x, y, last = mesh_of(axes[-1])
    points = np.stack([part.ravel() for part in np.meshgrid(x, y)], axis=1)
    np.testing.assert_allclose(last.ravel(), np.exp(plain.log_prob(points)), rtol=1e-6)
    for axis in axes:
        x, y, density = mesh_of(axis)
        assert np.trapezoid(np.trapezoid(density, x, axis=1), y) == pytest.approx(1, abs=0.01)
    dots, *paths = axes[-1].get_lines()[:-1]
    ends = np.array([path.get_xydata()[-1] for path in paths])
    starts = np.array([path.get_xydata()[0] for path in paths])
    np.testing.assert_allclose(dots.get_xydata(), ends)
    np.testing.assert_allclose(plain.decode((starts - LOC) / SCALE), ends, rtol=1e-9)
    assert [axis.get_title(loc="left") for axis in axes] == ["$t$ = 0", "$t$ = 0.4", "$t$ = 1"]
    _, swapped = plot_trajectories(plain, times=[1.0], columns=[1, 0])
    np.testing.assert_allclose(np.sort(mesh_of(swapped[0])[2].ravel())[-1], last.max(), rtol=0.2)
    x, y, density = mesh_of(swapped[0])
    points = np.stack([part.ravel() for part in np.meshgrid(x, y)], axis=1)[:, ::-1]
    np.testing.assert_allclose(density.ravel(), np.exp(plain.log_prob(points)), rtol=1e-6)


def test_layers_as_times() -> None:
    flow = randomise(pf.flows.nsf(KEY, dim=1, n_layers=3, width=8, linear="reverse", autoregressive=False), KEY, 0.3)
    _, (_, middle, _) = plot_trajectories(flow)
    times, grid, density = mesh_of(middle)
    np.testing.assert_allclose(times, range(4), atol=1e-9)
    np.testing.assert_allclose(np.trapezoid(density, grid, axis=0), 1, atol=0.01)
    np.testing.assert_allclose(density[:, -1], np.exp(flow.log_prob(grid[:, None])), rtol=1e-6)
    assert middle.get_xlabel() == "layer"


def test_columns_of_many_are_samples() -> None:
    flow = randomise(pf.flows.realnvp(KEY, dim=3, n_layers=2, width=8, linear="reverse"), KEY, 0.3)
    _, axes = plot_trajectories(flow, columns=[2, 0], data=np.zeros((5, 3)))
    assert [axis.get_title(loc="left") for axis in axes] == ["latent", "after layer 1", "after layer 2"]
    assert not any(axis.collections for axis in axes), "a density of two columns of three has no closed form"
    z = np.asarray(flow.base.sample(jax.random.key(0), plane.DRAWS))
    np.testing.assert_allclose(axes[0].get_lines()[0].get_xydata(), z[:, [2, 0]])
    np.testing.assert_allclose(axes[-1].get_lines()[0].get_xydata(), np.asarray(flow.decode(z))[:, [2, 0]], rtol=1e-9)
    _, (left, middle, _) = plot_trajectories(flow, columns=[1])
    assert not middle.collections
    assert np.sum(left.patches[0].get_data().values) > 0


@pytest.mark.thorough
def test_field(plain: pf.Flow) -> None:
    times = [0.0, 0.7]
    _, axes = plot_field(plain, times=times)
    layer: Any = plain.bijection
    ratios = []
    for axis, t in zip(axes, times, strict=True):
        arrows: Any = next(part for part in axis.collections if isinstance(part, Quiver))
        points, drawn = arrows.get_offsets()[:4], np.stack([arrows.U, arrows.V], axis=1)[:4]
        velocity = [layer.bijections[0].field(t, (point - LOC) / SCALE) for point in points]
        ratios.append(drawn / (np.stack(velocity) * SCALE))
    # In the units of the columns, by one scale for both panels and both columns.
    assert np.ptp(ratios) < 1e-6 * np.mean(ratios)


@pytest.mark.parametrize("units", [False, True])
def test_layers(units: bool) -> None:
    flow = randomise(pf.flows.realnvp(KEY, dim=2, n_layers=10, width=8, linear="reverse"), KEY, 0.2)
    if units:
        flow = pf.Flow(flow.base, pf.Chain([flow.bijection, pf.Standardize(LOC, SCALE)]))
    x = np.asarray(flow.sample(KEY, 40))
    classes = np.arange(40) % 2
    figure, axes = plot_layers(flow, x, classes=classes, names=["a", "b"])
    assert len(axes) == plane.times_of(pf.distributions.Evolution(flow), 8).size == 8
    first, last = (np.asarray(axes[i].collections[-1].get_offsets()) for i in (0, -1))
    order = np.lexsort(first.T)
    np.testing.assert_allclose(first[order], x[np.lexsort(x.T)])
    np.testing.assert_allclose(np.asarray(flow.encode(first)), last, atol=1e-9)
    straight, bent = (np.concatenate([of.get_xydata() for of in axes[i].get_lines()]) for i in (0, -1))
    np.testing.assert_allclose(flow.encode(straight), bent, atol=1e-9)
    titles = [axis.get_title(loc="left") for axis in axes]
    assert (titles[0], titles[1], titles[-1]) == ("data", "after layer 9", "latent")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1"]


def test_errors(line: pf.Flow, plain: pf.Flow) -> None:
    layers = pf.flows.realnvp(KEY, dim=2, n_layers=1, width=4, linear="reverse")
    with pytest.raises(TypeError, match="got one of layers"):
        plot_field(layers)
    with pytest.raises(ValueError, match="a flow in the plane, got one of 1 columns"):
        plot_field(line)
    with pytest.raises(TypeError, match="got one of a velocity field"):
        plot_layers(plain, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="3 classes, one per row, got 2"):
        plot_layers(layers, np.zeros((3, 2)), classes=[0, 1])
    with pytest.raises(ValueError, match="no times for one column"):
        plot_trajectories(line, times=[0.5])
    with pytest.raises(ValueError, match="one or two columns of 0 to 1"):
        plot_trajectories(plain, columns=[0, 2])
    with pytest.raises(ValueError, match="2 names, one per column, got 1"):
        plot_trajectories(plain, names=["a"])
    with pytest.raises(TypeError, match="expected a Flow, got StandardNormal"):
        plot_trajectories(pf.StandardNormal((2,)))
