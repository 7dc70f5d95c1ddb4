"""Posteriors and images have pages too: their views agree with the models' own scores and draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pushforward as pf
from pushforward.report.folder import model_in

PRIOR = {"mass": (0, 1), "radius": (0, 1)}


def simulations(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    theta = rng.uniform(0, 1, (n, 2))
    return theta, theta[:, :1] + theta * [[1.0, 0.5]] + 0.1 * rng.normal(size=(n, 2))


def value_of(body: str, name: str) -> float:
    return float(body.partition(f'{name}="')[2].partition('"')[0])


@pytest.fixture(scope="module")
def posterior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("posterior") / "npe"
    small = {"n_layers": 1, "width": 8, "bins": 4}
    pf.NPE(PRIOR, flow_options=small, n_members=1, max_epochs=4).fit(*simulations(300)).save(folder)
    return folder


def test_a_posterior_follows_its_observation(posterior: Path):
    model = model_in(posterior)
    subject = pf.explore.subject_of(model, simulations(50), name=str(posterior))
    row = dict(subject.start)
    held = frozenset(c.name for c in subject.controls)
    theta = np.repeat([[row["mass"], row["radius"]]], 401, axis=0)
    theta[:, 0] = np.linspace(1e-6, 1 - 1e-6, 401)
    density = np.exp(model.log_prob(theta, x=[row["x_0"], row["x_1"]]))
    below = np.cumsum(density) / density.sum()
    panel = subject.density(("mass",), row, held)
    assert value_of(panel.body, "data-median") == pytest.approx(np.interp(0.5, below, theta[:, 0]), abs=0.01)
    moved = subject.density(("mass",), row | {"x_0": row["x_0"] + 0.5}, held)
    assert value_of(moved.body, "data-median") != value_of(panel.body, "data-median")
    score = value_of(subject.score(row).body, "data-value")
    assert score == pytest.approx(float(model.log_prob([[row["mass"], row["radius"]]], x=[row["x_0"], row["x_1"]])[0]))
    assert "5 %" in subject.draws(row, held).body


def test_images_move_along_their_latents(tmp_path: Path):
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 3, (60, 4, 4)) + (np.arange(4) > 1)).astype(np.uint8)
    pf.images.ImageDensity("gaussian").fit(images, n_levels=4).save(tmp_path / "images")
    subject = pf.explore.subject_of(model_in(tmp_path / "images"), images, name="images")
    assert subject.views == ("samples", "latents", "way")
    names, values = subject.latents({})
    still, moved = (subject.moved({}, z).panel.body for z in (values, np.array(values) + 1.5))
    assert still != moved
    assert value_of(still, "data-value") == pytest.approx(float(subject.images.bits_per_dim(images[:1]).mean), rel=1e-5)
    frames = subject.way({})
    assert len(frames.marks) == len(frames.titles) > 1
    assert "data:image/png" in subject.draws({}, frozenset()).body
    assert len(names) == 8


def test_what_has_no_page_is_said():
    with pytest.raises(TypeError, match="a fitted FlowDensity"):
        pf.explore.subject_of("model")
