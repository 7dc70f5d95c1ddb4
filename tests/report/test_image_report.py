"""The report on a model of images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.report import make_report

pytestmark = pytest.mark.float32


def test_images_beside_samples_with_their_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (80, 4, 4)).astype(np.uint8)
    density = pf.images.ImageDensity("gaussian").fit(images[:50])
    made = make_report(density, images[50:], seed=2)
    found = density.bits_per_dim(images[50:], random_state=2)
    assert (made.facts["bits_per_dim"], made.facts["bits_kind"]) == (found.mean, "bound")
    assert {"images", "bits", "levels", "run"} <= {section.key for section in made.sections}
    text = made.html
    assert text.count("data:image/png;base64,") == 4
    assert text.count('alt="') == 4
    density.save("model")
    np.savez("rows.npz", images=images[50:])
    assert main(["report", "model", "rows.npz", "--out", "report.html", "--seed", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["standing"] == made.standing
